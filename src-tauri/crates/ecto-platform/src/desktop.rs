//! Opening a link in the browser.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use ecto_core::ports::Desktop;
use ecto_core::tailnet::Link;
use tokio::process::Command;
use tokio::time::timeout;

use crate::System;

/// How long the opening program is waited for; one that runs longer has become the browser.
const OPENING: Duration = Duration::from_secs(5);

/// The desktop of the person who runs Ecto.
#[derive(Debug, Clone)]
pub struct SystemDesktop {
    opener: Option<PathBuf>,
}

/// A part of macOS's System Settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsPane {
    /// Who may show notifications.
    Notifications,
    /// What opens at login.
    LoginItems,
}

impl SettingsPane {
    /// The address by which `open` finds it (macOS 13 and newer).
    fn address(self) -> &'static str {
        match self {
            Self::Notifications => {
                "x-apple.systempreferences:com.apple.Notifications-Settings.extension"
            }
            Self::LoginItems => "x-apple.systempreferences:com.apple.LoginItems-Settings.extension",
        }
    }
}

/// Why a link was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// There is no desktop to open it on.
    #[error("There is no desktop here to open the link on. Open it on another device.")]
    NoDesktop,
    /// The program that opens links could not be started.
    #[error("The browser could not be started: {0}. Open the link yourself.")]
    NotStarted(#[from] io::Error),
    /// The program that opens links failed.
    #[error("The browser did not open the link ({0}). Open it yourself.")]
    Failed(std::process::ExitStatus),
}

impl SystemDesktop {
    /// Finds the program that opens links: `/usr/bin/open` on macOS; on Linux `xdg-open`, but only where there is a display,
    /// since it would start a browser in the terminal otherwise.
    pub fn find(system: System, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| environment(name).is_some_and(|value| !value.is_empty());
        let opener = match system {
            System::MacOs => Some(PathBuf::from("/usr/bin/open")),
            System::Linux if !set("DISPLAY") && !set("WAYLAND_DISPLAY") => None,
            System::Linux => [
                "/usr/bin/xdg-open",
                "/usr/local/bin/xdg-open",
                "/run/current-system/sw/bin/xdg-open",
            ]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.is_file()),
        };
        Self { opener }
    }

    /// Opens links with this program.
    pub fn with_opener(opener: PathBuf) -> Self {
        Self {
            opener: Some(opener),
        }
    }

    /// Opens the link in the browser. No shell is involved, and a [`Link`] is never anything but a web address.
    pub async fn open(&self, link: &Link) -> Result<(), OpenFault> {
        self.start(link.as_str()).await
    }

    /// Opens a part of macOS's System Settings.
    pub async fn open_settings(&self, pane: SettingsPane) -> Result<(), OpenFault> {
        self.start(pane.address()).await
    }

    async fn start(&self, address: &str) -> Result<(), OpenFault> {
        let opener = self.opener.as_ref().ok_or(OpenFault::NoDesktop)?;
        let mut child = Command::new(opener)
            .arg(address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        match timeout(OPENING, child.wait()).await {
            Ok(status) => match status? {
                status if status.success() => Ok(()),
                status => Err(OpenFault::Failed(status)),
            },
            Err(_) => {
                tokio::spawn(async move { child.wait().await });
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Desktop for SystemDesktop {
    async fn open_link(&self, link: &Link) {
        if let Err(fault) = self.open(link).await {
            tracing::info!(%fault, "the link was not opened");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn opener(folder: &Path, script: &str) -> SystemDesktop {
        let path = folder.join("opener");
        crate::script::write(&path, script);
        SystemDesktop::with_opener(path)
    }

    #[tokio::test]
    async fn a_part_of_the_settings_is_opened_by_its_own_address() {
        let folder = tempfile::tempdir().unwrap();
        let desktop = opener(
            folder.path(),
            r#"printf '%s' "$#:$1" > "$(dirname "$0")/opened""#,
        );
        desktop
            .open_settings(SettingsPane::Notifications)
            .await
            .unwrap();
        let opened = fs::read_to_string(folder.path().join("opened")).unwrap();
        assert_eq!(
            opened,
            "1:x-apple.systempreferences:com.apple.Notifications-Settings.extension"
        );
    }

    #[tokio::test]
    async fn the_link_arrives_whole_and_no_shell_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let desktop = opener(
            folder.path(),
            r#"printf '%s' "$#:$1" > "$(dirname "$0")/opened""#,
        );
        let link = Link::new("https://login.tailscale.com/a/1?x=$(touch%20y)&z='1';true").unwrap();
        desktop.open(&link).await.unwrap();
        let opened = fs::read_to_string(folder.path().join("opened")).unwrap();
        assert_eq!(opened, format!("1:{}", link.as_str()));
    }

    #[tokio::test]
    async fn a_browser_that_cannot_open_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let link = Link::new("https://example.com/").unwrap();
        let fault = opener(folder.path(), "exit 3")
            .open(&link)
            .await
            .unwrap_err();
        assert!(matches!(fault, OpenFault::Failed(_)), "{fault}");
        let fault = SystemDesktop::with_opener(folder.path().join("none"))
            .open(&link)
            .await
            .unwrap_err();
        assert!(matches!(fault, OpenFault::NotStarted(_)), "{fault}");
    }

    #[tokio::test]
    async fn without_a_display_nothing_is_started() {
        let desktop = SystemDesktop::find(System::Linux, |_| None);
        let fault = desktop
            .open(&Link::new("https://example.com/").unwrap())
            .await
            .unwrap_err();
        assert!(matches!(fault, OpenFault::NoDesktop), "{fault}");
    }
}
