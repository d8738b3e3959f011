//! Makes what people install: on a Mac the app and its disk image, on Linux a Debian package, and an AppImage if asked.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    requirements,
    workspace::{Workspace, run},
};

/// The app's package and program.
const PACKAGE: &str = "ecto";
const PROGRAM: &str = "ecto-app";

/// The name that desktops and macOS know the app by.
const IDENTIFIER: &str = "dev.ecto.app";

const TAURI_CLI: &str = "2.12.4";

/// What the program needs at run time; the second name is the one since 64-bit time came to Debian.
const DEPENDS: &str = "libc6 (>= 2.35), libgtk-3-0 | libgtk-3-0t64, libwebkit2gtk-4.1-0, xdg-utils";

/// The shells that completions are made for: name, file on a Mac, place on Linux.
const SHELLS: [(&str, &str, &str); 3] = [
    (
        "bash",
        "ecto.bash",
        "share/bash-completion/completions/ecto",
    ),
    ("zsh", "_ecto", "share/zsh/vendor-completions/_ecto"),
    (
        "fish",
        "ecto.fish",
        "share/fish/vendor_completions.d/ecto.fish",
    ),
];

/// What to make beside the usual.
#[derive(Args)]
pub struct Wanted {
    /// On a Mac: for both processors.
    #[arg(long)]
    universal: bool,
    /// On a Mac: the signed archive that running apps update themselves from.
    #[arg(long)]
    updates: bool,
    /// On Linux: an AppImage too. Its runtime is fetched from the net.
    #[arg(long)]
    app_image: bool,
}

/// Makes the bundles of this system.
pub fn make(workspace: &Workspace, wanted: &Wanted) -> Result<ExitCode> {
    if !requirements::web_view() {
        // It has said what to install.
        return Ok(ExitCode::from(2));
    }
    if cfg!(target_os = "macos") {
        mac(workspace, wanted)?;
        return Ok(ExitCode::SUCCESS);
    }
    let package = debian(workspace, &build_program(workspace)?)?;
    println!("{}", package.display());
    if wanted.app_image {
        app_image(workspace)?;
    } else {
        println!(
            "No AppImage: its runtime has to be fetched from the net; `cargo xtask bundle --app-image` makes one where that is possible."
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn mac(workspace: &Workspace, wanted: &Wanted) -> Result<()> {
    // The command that builds alone tells its completions; the app's own needs the bundle to be there.
    let folder = workspace.target.join("bundle/completions");
    fs::create_dir_all(&folder)?;
    for (shell, file, _) in SHELLS {
        let mut command = workspace.cargo();
        command.args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "ecto-cli",
            "--bin",
            "ecto",
        ]);
        fs::write(
            folder.join(file),
            completions(&mut command, &["--"], shell)?,
        )?;
    }
    let resources = serde_json::json!({ folder.display().to_string(): "completions" });
    let mut configuration = serde_json::json!({ "bundle": {
        "resources": resources,
        "createUpdaterArtifacts": wanted.updates,
    } });
    if wanted.updates {
        // Without the plugin's settings tauri-cli refuses to make the archive (get_bundle_settings, interface/rust.rs, 2.12).
        let key = env::var("TAURI_SIGNING_PUBLIC_KEY").context(
            "TAURI_SIGNING_PUBLIC_KEY is not set; it is the other half of TAURI_SIGNING_PRIVATE_KEY, which signs the update.",
        )?;
        configuration["plugins"]["updater"] = serde_json::json!({ "pubkey": key, "endpoints": [] });
    }
    let mut build = tauri(workspace)?;
    build.args(["build", "--bundles", "app,dmg"]);
    build.args(["--config", &configuration.to_string()]);
    if wanted.universal {
        build.args(["--target", "universal-apple-darwin"]);
    }
    run(&mut build)
}

/// Builds the program as it is shipped, and says where it is.
pub fn build_program(workspace: &Workspace) -> Result<PathBuf> {
    run(workspace
        .cargo()
        .args(["build", "--release", "--package", PACKAGE])
        .args(["--features", "custom-protocol"]))?;
    Ok(workspace.target.join("release").join(PROGRAM))
}

/// Puts the files where Debian has them, lets its own tool make a package of them, and says where that is.
pub fn debian(workspace: &Workspace, program: &Path) -> Result<PathBuf> {
    which::which("dpkg-deb").context(
        "There is no dpkg-deb on this system, so no Debian package can be made; the release workflow makes one.",
    )?;
    let metadata = workspace.metadata()?;
    let version = metadata
        .packages
        .iter()
        .find(|package| package.name == PACKAGE)
        .map(|package| package.version.to_string())
        .context("The app's package is not in the workspace.")?;
    let folder = workspace.target.join("bundle");
    let tree = folder.join("deb");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let place = Place(tree.join("usr"));
    place.copy(program, "bin/ecto", 0o755)?;
    for (shell, _, path) in SHELLS {
        let text = completions(&mut Command::new(program), &[], shell)?;
        place.write(path, &text)?;
    }
    let packaging = workspace.root.join("packaging/linux");
    let named = |end: &str| format!("{IDENTIFIER}.{end}");
    place.copy(
        &packaging.join(named("desktop")),
        &format!("share/applications/{}", named("desktop")),
        0o644,
    )?;
    place.copy(
        &packaging.join(named("metainfo.xml")),
        &format!("share/metainfo/{}", named("metainfo.xml")),
        0o644,
    )?;
    place.copy(
        &workspace.root.join("icons/ghost.svg"),
        &format!("share/icons/hicolor/scalable/apps/{}", named("svg")),
        0o644,
    )?;
    place.copy(
        &workspace.root.join("LICENSE"),
        "share/doc/ecto/copyright",
        0o644,
    )?;
    let architecture = architecture(env::consts::ARCH)?;
    let kilobytes = size(&tree)?.div_ceil(1024);
    Place(tree.clone()).write(
        "DEBIAN/control",
        control(&version, architecture, kilobytes).as_bytes(),
    )?;
    let package = folder.join(format!("ecto_{version}_{architecture}.deb"));
    run(Command::new("dpkg-deb")
        .args(["--build", "--root-owner-group"])
        .arg(&tree)
        .arg(&package))?;
    Ok(package)
}

fn app_image(workspace: &Workspace) -> Result<()> {
    run(tauri(workspace)?.args(["build", "--bundles", "appimage"])).context(
        "No AppImage could be made: tauri-cli fetches its runtime from GitHub, which has to be reachable.",
    )
}

/// Tauri's command in the app's folder, installed under the target folder where it is missing.
fn tauri(workspace: &Workspace) -> Result<Command> {
    let folder = workspace
        .target
        .join("tools")
        .join(format!("tauri-cli-{TAURI_CLI}"));
    let program = folder.join("bin/cargo-tauri");
    if !program.exists() {
        println!(
            "Building tauri-cli {TAURI_CLI} in {}, which takes some minutes.",
            folder.display()
        );
        let mut install = workspace.cargo();
        install
            .args([
                "install",
                "--quiet",
                "--locked",
                "--version",
                TAURI_CLI,
                "--root",
            ])
            .arg(&folder)
            .arg("tauri-cli");
        run(&mut install).context("tauri-cli could not be installed.")?;
    }
    let mut command = workspace.command(program);
    command
        .current_dir(workspace.root.join("src-tauri"))
        // Called as cargo calls it.
        .arg("tauri")
        .env("CARGO_TARGET_DIR", &workspace.target);
    Ok(command)
}

fn completions(command: &mut Command, before: &[&str], shell: &str) -> Result<Vec<u8>> {
    let output = command.args(before).args(["completions", shell]).output()?;
    if !output.status.success() || output.stdout.is_empty() {
        bail!(
            "The completions for {shell} could not be made: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output.stdout)
}

/// A folder that is being filled.
struct Place(PathBuf);

impl Place {
    fn copy(&self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let content =
            fs::read(from).with_context(|| format!("{} cannot be read.", from.display()))?;
        self.write(to, &content)?;
        fs::set_permissions(self.0.join(to), fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    fn write(&self, to: &str, content: &[u8]) -> Result<()> {
        let file = self.0.join(to);
        fs::create_dir_all(file.parent().context("a file without a folder")?)?;
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        Ok(())
    }
}

fn control(version: &str, architecture: &str, kilobytes: u64) -> String {
    format!(
        "Package: ecto\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: The authors of Ecto <ecto@localhost>\n\
         Installed-Size: {kilobytes}\n\
         Depends: {DEPENDS}\n\
         Recommends: tailscale\n\
         Section: net\n\
         Priority: optional\n\
         Description: puts the OpenClaw gateway of this machine on the internet, behind a lock\n \
         One switch opens the gateway through Tailscale Funnel, behind a guard that lets only\n \
         holders of a key through to a few routes, and closes it again.\n"
    )
}

/// What Debian calls a processor.
fn architecture(rust: &str) -> Result<&'static str> {
    Ok(match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("Ecto is not packaged for {other}."),
    })
}

fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        sum += if kind.is_dir() {
            size(&entry.path())?
        } else {
            kind.len()
        };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_file_has_one_field_a_line_and_ends_with_one() {
        let text = control("1.2.3", "amd64", 9000);
        assert!(text.starts_with("Package: ecto\nVersion: 1.2.3\nArchitecture: amd64\n"));
        assert!(text.contains("\nInstalled-Size: 9000\n"));
        assert!(text.ends_with(".\n"));
        for line in text.lines() {
            assert!(line.starts_with(' ') || line.contains(": "), "{line}");
        }
    }

    #[test]
    fn a_processor_that_is_not_packaged_for_is_named() {
        assert_eq!(architecture("aarch64").unwrap(), "arm64");
        let refused = architecture("riscv64").unwrap_err().to_string();
        assert_eq!(refused, "Ecto is not packaged for riscv64.");
    }

    #[test]
    fn files_are_counted_in_all_folders_and_have_their_modes() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place(folder.path().to_owned());
        place.write("a/b.txt", b"12345").unwrap();
        let from = folder.path().join("a/b.txt");
        place.copy(&from, "bin/c", 0o755).unwrap();
        assert_eq!(size(folder.path()).unwrap(), 10);
        let mode = fs::metadata(folder.path().join("bin/c"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
