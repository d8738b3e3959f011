//! The vault on a real Secret Service (gnome-keyring), on a session bus and in a home of its own.
//!
//! The bus is found through the environment, so each test starts this program again inside a session that was made for it.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops where something is not as it should be"
)]

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

use ecto_core::key::{Key, KeyRing};
use ecto_core::ports::{VaultFault, VaultPlace};
use ecto_platform::System;
use ecto_platform::folders::Folders;
use ecto_platform::vault::{OpenedVault, VaultChoice, VaultNotice, open, system_store};
use secrecy::{ExposeSecret, SecretString};

/// Says to the started program which part of its test it is.
const PART: &str = "ECTO_TEST_PART";

const UNLOCKED: &str =
    "printf password | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1";
const LOCKED: &str = "gnome-keyring-daemon --start --components=secrets </dev/null >/dev/null 2>&1";

/// A bus that starts no service by itself.
const BARE_BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

fn part() -> Option<String> {
    env::var(PART).ok()
}

/// Whether the programs are there; without them the tests say so and do nothing.
fn can_run() -> bool {
    let there = ["dbus-run-session", "gnome-keyring-daemon"]
        .into_iter()
        .all(|program| {
            env::split_paths(&env::var_os("PATH").unwrap_or_default())
                .any(|folder| folder.join(program).is_file())
        });
    if !there {
        eprintln!("not run: install gnome-keyring and dbus to test the Secret Service");
    }
    there
}

struct Session {
    home: tempfile::TempDir,
}

impl Session {
    fn new() -> Self {
        let home = tempfile::Builder::new().prefix("ss").tempdir().unwrap();
        for folder in ["run", "data", "config", "state"] {
            DirBuilder::new()
                .mode(0o700)
                .create(home.path().join(folder))
                .unwrap();
        }
        fs::write(home.path().join("bus.conf"), BARE_BUS).unwrap();
        Self { home }
    }

    fn command(&self, program: &str) -> Command {
        let home = self.home.path();
        let mut command = Command::new(program);
        command
            .env("HOME", home)
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_STATE_HOME", home.join("state"));
        for inherited in [
            "ECTO_HOME",
            "DISPLAY",
            "WAYLAND_DISPLAY",
            "DBUS_SESSION_BUS_ADDRESS",
            "GNOME_KEYRING_CONTROL",
        ] {
            command.env_remove(inherited);
        }
        command
    }

    /// Runs one part of `test` in a new session, after the shell command `first`.
    fn run(&self, test: &str, part: &str, first: &str) {
        let mut session = self.command("dbus-run-session");
        session.args(["--", "sh", "-c"]);
        self.finish(
            session.arg(format!(r#"{first}; exec "$0" --exact "$1" --nocapture"#)),
            test,
            part,
        );
    }

    /// Runs one part of `test` on a bus where nobody answers.
    fn run_on_bare_bus(&self, test: &str, part: &str) {
        let mut session = self.command("dbus-run-session");
        session
            .arg("--config-file")
            .arg(self.home.path().join("bus.conf"))
            .args(["--", "sh", "-c"]);
        self.finish(
            session.arg(r#"exec "$0" --exact "$1" --nocapture"#),
            test,
            part,
        );
    }

    /// Runs one part of `test` without any bus.
    fn run_without_bus(&self, test: &str, part: &str) {
        let mut shell = self.command("sh");
        shell
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
            .arg("-c");
        self.finish(
            shell.arg(r#"exec "$0" --exact "$1" --nocapture"#),
            test,
            part,
        );
    }

    fn finish(&self, command: &mut Command, test: &str, part: &str) {
        let output = command
            .arg(env::current_exe().unwrap())
            .arg(test)
            .env(PART, part)
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{test}, {part}:\n{said}"
        );
    }
}

fn folders() -> Folders {
    Folders::locate(System::Linux, |name| env::var_os(name)).unwrap()
}

async fn vault() -> OpenedVault {
    open(VaultChoice::Auto, &folders(), system_store())
        .await
        .unwrap()
}

fn secrets(secret: &str) -> KeyRing {
    KeyRing {
        keys: vec![Key::first(SecretString::from(secret), None)],
    }
}

fn default_key(secrets: Option<KeyRing>) -> Option<String> {
    Some(secrets?.first_key()?.expose_secret().to_owned())
}

fn no_file(path: &Path) -> bool {
    !path.try_exists().unwrap()
}

#[tokio::test]
async fn secrets_outlive_the_session_and_a_locked_store_is_denied_and_not_empty() {
    let test = "secrets_outlive_the_session_and_a_locked_store_is_denied_and_not_empty";
    match part().as_deref() {
        None if can_run() => {
            let session = Session::new();
            session.run(test, "store", UNLOCKED);
            session.run(test, "load", UNLOCKED);
            session.run(test, "locked", LOCKED);
            session.run_on_bare_bus(test, "unreachable");
            session.run(test, "erase", UNLOCKED);
        }
        None => {}
        Some("store") => {
            let opened = vault().await;
            assert_eq!(opened.notices, []);
            assert_eq!(opened.vault.place(), VaultPlace::SecretService);
            assert!(opened.vault.load().await.unwrap().is_none());
            opened.vault.store(&secrets("one")).await.unwrap();
            opened.vault.store(&secrets("two")).await.unwrap();
            assert_eq!(
                default_key(opened.vault.load().await.unwrap()).as_deref(),
                Some("two")
            );
            assert!(no_file(folders().credentials()));
        }
        Some("load") => {
            assert_eq!(
                default_key(vault().await.vault.load().await.unwrap()).as_deref(),
                Some("two")
            );
        }
        Some("locked") => {
            let vault = vault().await.vault;
            assert_eq!(vault.load().await.unwrap_err(), VaultFault::Denied);
            assert_eq!(
                vault.store(&secrets("three")).await.unwrap_err(),
                VaultFault::Denied
            );
        }
        Some("unreachable") => {
            let opened = vault().await;
            assert!(matches!(
                opened.vault.load().await.unwrap_err(),
                VaultFault::Unreachable { .. }
            ));
            assert!(matches!(
                opened.vault.store(&secrets("three")).await.unwrap_err(),
                VaultFault::Unreachable { .. }
            ));
            assert!(no_file(folders().credentials()));
        }
        Some("erase") => {
            let vault = vault().await.vault;
            assert_eq!(
                default_key(vault.load().await.unwrap()).as_deref(),
                Some("two")
            );
            vault.erase().await.unwrap();
            assert!(vault.load().await.unwrap().is_none());
        }
        Some(other) => panic!("there is no part {other}"),
    }
}

#[tokio::test]
async fn where_no_store_answers_the_file_is_used() {
    let test = "where_no_store_answers_the_file_is_used";
    match part().as_deref() {
        None if can_run() => {
            Session::new().run_on_bare_bus(test, "file");
            Session::new().run_without_bus(test, "file");
        }
        None => {}
        Some(_) => {
            let opened = vault().await;
            assert!(
                matches!(opened.notices[..], [VaultNotice::FileInstead { .. }]),
                "{:?}",
                opened.notices
            );
            opened.vault.store(&secrets("one")).await.unwrap();
            assert!(!no_file(folders().credentials()));
            assert_eq!(
                default_key(vault().await.vault.load().await.unwrap()).as_deref(),
                Some("one")
            );
        }
    }
}
