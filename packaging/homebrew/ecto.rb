# The release workflow fills in the version and the checksum.
cask "ecto" do
  version "@VERSION@"
  sha256 "@SHA256@"

  url "https://github.com/@REPOSITORY@/releases/download/v#{version}/Ecto_#{version}_universal.dmg"
  name "Ecto"
  desc "Puts the OpenClaw gateway of this machine on the internet, behind a lock"
  homepage "https://github.com/@REPOSITORY@"

  depends_on macos: ">= :ventura"

  app "Ecto.app"
  binary "#{appdir}/Ecto.app/Contents/MacOS/ecto"
  bash_completion "#{appdir}/Ecto.app/Contents/Resources/completions/ecto.bash", target: "ecto"
  zsh_completion "#{appdir}/Ecto.app/Contents/Resources/completions/_ecto"
  fish_completion "#{appdir}/Ecto.app/Contents/Resources/completions/ecto.fish"

  # Homebrew runs the script on upgrades as well, so it closes the door and undoes the changes to OpenClaw, and keeps the key.
  uninstall early_script: {
              executable:   "#{appdir}/Ecto.app/Contents/MacOS/ecto",
              args:         ["restore"],
              must_succeed: false,
            },
            quit:         "dev.ecto.app",
            login_item:   "Ecto"

  # The app is gone by then, and with it `ecto uninstall`. Takes the keys, and those that were put aside as damaged.
  zap script: {
        executable:   "/bin/sh",
        args:         ["-c", "while /usr/bin/security delete-generic-password -s Ecto >/dev/null 2>&1; do :; done"],
        must_succeed: false,
      },
      trash:  [
        "~/.openclaw/ecto-credentials.json",
        "~/.openclaw/skills/ecto-connection",
        "~/Library/Application Support/Ecto",
        "~/Library/Caches/dev.ecto.app",
        "~/Library/HTTPStorages/dev.ecto.app",
        "~/Library/Logs/Ecto",
        "~/Library/Preferences/dev.ecto.app.plist",
        "~/Library/Saved Application State/dev.ecto.app.savedState",
        "~/Library/WebKit/dev.ecto.app",
      ]

  caveats <<~EOS
    An upgrade closes the door and takes Ecto's settings out of OpenClaw; your keys stay.
    Open Ecto afterwards and turn the switch on again.
  EOS
end
