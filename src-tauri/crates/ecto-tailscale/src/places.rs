//! Everything that points at this machine: where Tailscale may be, and what its processes are given.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use url::Url;

/// The two systems that Ecto knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatingSystem {
    /// macOS.
    MacOs,
    /// Linux.
    Linux,
}

impl OperatingSystem {
    /// The one this was built for.
    pub fn current() -> Self {
        if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Linux
        }
    }
}

/// Where to look, and what to start with. Tests, the lab and the sandbox give their own.
#[derive(Debug, Clone)]
pub struct Places {
    /// Whose customs apply.
    pub system: OperatingSystem,
    /// Sockets of a tailscaled for the whole machine, the preferred one first.
    pub system_sockets: Vec<PathBuf>,
    /// Folder in which the app from Tailscale's package leaves its port and password (`/Library/Tailscale`).
    pub standalone_folder: PathBuf,
    /// The app, from the App Store or from Tailscale's package.
    pub application: PathBuf,
    /// Folders in which `tailscaled` and `brew` may be. Nothing is ever looked up in `PATH` or the current folder.
    pub program_folders: Vec<PathBuf>,
    /// Folder with the services of the whole machine (`/Library/LaunchDaemons`).
    pub launch_daemons: PathBuf,
    /// File that names the distribution.
    pub os_release: PathBuf,
    /// The `lsof` program, which finds the App Store app's port without looking into its files.
    pub lsof: PathBuf,
    /// The `open` program of macOS.
    pub open: PathBuf,
    /// What Ecto's own node has.
    pub own: OwnNodePlaces,
    /// Environment for everything that is started, beside a fixed `PATH`: `HOME`, `USER`, a proxy.
    pub environment: Vec<(OsString, OsString)>,
    /// Name of this machine, from which the own node gets its name in the tailnet: `ecto-<name>`.
    pub host_name: String,
    /// The control server to sign in to; `None` for what the node already uses, which is Tailscale's unless somebody changed it.
    pub control: Option<Url>,
}

/// What Ecto's own node has.
#[derive(Debug, Clone)]
pub struct OwnNodePlaces {
    /// Its state folder; made with mode 0700.
    pub state: PathBuf,
    /// Its socket: at most 103 bytes, the limit of macOS.
    pub socket: PathBuf,
    /// Its log; made with mode 0600.
    pub log: PathBuf,
    /// Further arguments for `tailscaled`.
    pub arguments: Vec<OsString>,
    /// Further environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl Places {
    /// The places of this machine. `folder` is Ecto's own folder, in which its own node lives in `tailscale`.
    pub fn of_this_machine(
        folder: &Path,
        host_name: &str,
        environment: Vec<(OsString, OsString)>,
    ) -> Self {
        let system = OperatingSystem::current();
        let sockets: &[&str] = match system {
            OperatingSystem::MacOs => &["/var/run/tailscaled.socket"],
            OperatingSystem::Linux => &["/var/run/tailscale/tailscaled.sock"],
        };
        let program_folders: &[&str] = match system {
            OperatingSystem::MacOs => &["/opt/homebrew/bin", "/usr/local/bin"],
            OperatingSystem::Linux => {
                &["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
            }
        };
        let lsof = match system {
            OperatingSystem::MacOs => "/usr/sbin/lsof",
            OperatingSystem::Linux => "/usr/bin/lsof",
        };
        let own = folder.join("tailscale");
        Self {
            system,
            system_sockets: sockets.iter().map(PathBuf::from).collect(),
            standalone_folder: "/Library/Tailscale".into(),
            application: "/Applications/Tailscale.app".into(),
            program_folders: program_folders.iter().map(PathBuf::from).collect(),
            launch_daemons: "/Library/LaunchDaemons".into(),
            os_release: "/etc/os-release".into(),
            lsof: lsof.into(),
            open: "/usr/bin/open".into(),
            own: OwnNodePlaces {
                socket: own.join("tailscaled.sock"),
                log: own.join("tailscaled.log"),
                state: own,
                arguments: Vec::new(),
                environment: Vec::new(),
            },
            environment,
            host_name: host_name.to_owned(),
            control: None,
        }
    }
}
