//! Where Ecto keeps its state, its logs and its control socket.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::System;

/// The longest path of a socket in bytes: `sun_path` of macOS has 104, one of them for the end. Linux has 108.
pub const SOCKET_PATH_LIMIT: usize = 103;

/// Names the folder under which everything is kept, in place of the system's own folders.
pub const HOME_VARIABLE: &str = "ECTO_HOME";

/// Ecto's folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    state: PathBuf,
    logs: PathBuf,
    runtime: PathBuf,
    credentials: PathBuf,
    apart: bool,
}

/// Why the folders cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderFault {
    /// Nothing says where the person's home is.
    #[error(
        "Ecto does not know where to keep its files: neither HOME nor ECTO_HOME names a folder. Set one of them."
    )]
    NoHome,
    /// A variable names a folder that is not absolute.
    #[error("{HOME_VARIABLE} must be an absolute path, and {} is not one.", .0.display())]
    NotAbsolute(PathBuf),
    /// The path of the control socket would not fit.
    #[error("The path of the control socket, {}, has more than {SOCKET_PATH_LIMIT} bytes. Set {HOME_VARIABLE} to a shorter folder.", .0.display())]
    SocketPathTooLong(PathBuf),
    /// The folder belongs to somebody else.
    #[error("The folder {} belongs to another user, so Ecto keeps nothing in it. Remove it, or set {HOME_VARIABLE} to a folder of your own.", .0.display())]
    NotOurs(PathBuf),
    /// The folder cannot be made or looked at.
    #[error("The folder {} cannot be used: {source}. Make it writable, or set {HOME_VARIABLE} to another folder.", path.display())]
    Unusable {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FolderFault {
    /// The stable code of this fault.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoHome => "folders.no_home",
            Self::NotAbsolute(_) => "folders.not_absolute",
            Self::SocketPathTooLong(_) => "folders.socket_path_too_long",
            Self::NotOurs(_) => "folders.not_ours",
            Self::Unusable { .. } => "folders.unusable",
        }
    }
}

impl Folders {
    /// Finds the folders from the environment, without touching them.
    ///
    /// macOS: `~/Library/Application Support/Ecto`, `~/Library/Logs/Ecto`. Linux: `ecto` under `XDG_STATE_HOME`
    /// (`~/.local/state`); a relative value of it is ignored, as its specification asks.
    ///
    /// Lock and control socket are in the state folder too. Under `XDG_RUNTIME_DIR` a command that has another
    /// environment than the host (started by `cron`, `sudo` or a service) would not find the host, and would say Private
    /// while the door is open.
    pub fn locate(
        system: System,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, FolderFault> {
        let named = |name| environment(name).filter(|value| !value.is_empty());
        if let Some(apart) = named(HOME_VARIABLE) {
            let apart = PathBuf::from(apart);
            if !apart.is_absolute() {
                return Err(FolderFault::NotAbsolute(apart));
            }
            return Ok(Self {
                logs: apart.join("logs"),
                runtime: apart.join("run"),
                credentials: apart.join("ecto-credentials.json"),
                state: apart,
                apart: true,
            });
        }
        let absolute = |name| {
            named(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = absolute("HOME").ok_or(FolderFault::NoHome)?;
        let credentials = home.join(".openclaw/ecto-credentials.json");
        Ok(match system {
            System::MacOs => {
                let state = home.join("Library/Application Support/Ecto");
                Self {
                    logs: home.join("Library/Logs/Ecto"),
                    runtime: state.join("run"),
                    state,
                    credentials,
                    apart: false,
                }
            }
            System::Linux => {
                let state = absolute("XDG_STATE_HOME")
                    .unwrap_or_else(|| home.join(".local/state"))
                    .join("ecto");
                Self {
                    logs: state.join("logs"),
                    runtime: state.join("run"),
                    state,
                    credentials,
                    apart: false,
                }
            }
        })
    }

    /// Finds the sandbox's folders: all of them inside the state folder, so that nothing in the sandbox touches what is
    /// a person's own.
    pub fn of_sandbox(
        system: System,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, FolderFault> {
        let apart = Self::locate(system, &environment)?.state.join("sandbox");
        Self::locate(system, |name| {
            if name == HOME_VARIABLE {
                Some(apart.clone().into_os_string())
            } else {
                environment(name)
            }
        })
    }

    /// Makes the folders of state, logs and control socket where they are missing, for their owner alone (0700).
    pub fn create(&self) -> Result<(), FolderFault> {
        [&self.state, &self.logs, &self.runtime]
            .into_iter()
            .try_for_each(|folder| create_private(folder))
    }

    /// What is wanted, the journal, the own node's state.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The logs.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The folder of the control socket and the lock.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The control socket; fails where its path would not fit into a socket address.
    pub fn socket(&self) -> Result<PathBuf, FolderFault> {
        let socket = self.runtime.join("ecto.sock");
        if socket.as_os_str().as_bytes().len() > SOCKET_PATH_LIMIT {
            return Err(FolderFault::SocketPathTooLong(socket));
        }
        Ok(socket)
    }

    /// The file of the file vault, which is also where older versions left their credentials.
    pub fn credentials(&self) -> &Path {
        &self.credentials
    }

    /// Whether `ECTO_HOME` keeps this apart from the person's own folders and secret store.
    pub fn are_apart(&self) -> bool {
        self.apart
    }
}

/// Makes a folder for its owner alone, or closes an existing one to others.
fn create_private(folder: &Path) -> Result<(), FolderFault> {
    let unusable = |source| FolderFault::Unusable {
        path: folder.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(unusable)?;
    let found = fs::metadata(folder).map_err(unusable)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(FolderFault::NotOurs(folder.to_owned()));
    }
    if found.mode() & 0o777 != 0o700 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(system: System, environment: &[(&str, &str)]) -> Result<Folders, FolderFault> {
        Folders::locate(system, |name| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn on_a_mac_everything_is_in_the_library() {
        let folders = located(
            System::MacOs,
            &[("HOME", "/Users/ada"), ("XDG_STATE_HOME", "/elsewhere")],
        )
        .unwrap();
        assert_eq!(
            folders.state(),
            Path::new("/Users/ada/Library/Application Support/Ecto")
        );
        assert_eq!(folders.logs(), Path::new("/Users/ada/Library/Logs/Ecto"));
        assert_eq!(
            folders.socket().unwrap(),
            Path::new("/Users/ada/Library/Application Support/Ecto/run/ecto.sock")
        );
        assert_eq!(
            folders.credentials(),
            Path::new("/Users/ada/.openclaw/ecto-credentials.json")
        );
        assert!(!folders.are_apart());
    }

    #[test]
    fn on_linux_the_xdg_folder_is_used_and_has_a_fallback() {
        let named = located(
            System::Linux,
            &[("HOME", "/home/ada"), ("XDG_STATE_HOME", "/state")],
        )
        .unwrap();
        assert_eq!(named.state(), Path::new("/state/ecto"));
        assert_eq!(named.logs(), Path::new("/state/ecto/logs"));

        let plain = located(
            System::Linux,
            &[("HOME", "/home/ada"), ("XDG_STATE_HOME", "relative")],
        )
        .unwrap();
        assert_eq!(plain.state(), Path::new("/home/ada/.local/state/ecto"));
        assert_eq!(
            plain.runtime(),
            Path::new("/home/ada/.local/state/ecto/run")
        );
    }

    #[test]
    fn a_command_without_a_login_finds_the_host_of_the_one_who_has_one() {
        let at_the_desk = [("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        let by_cron = [("HOME", "/home/ada")];
        for system in [System::Linux, System::MacOs] {
            assert_eq!(
                located(system, &at_the_desk).unwrap(),
                located(system, &by_cron).unwrap()
            );
        }
    }

    #[test]
    fn ecto_home_takes_everything_apart() {
        let folders = located(
            System::Linux,
            &[("HOME", "/home/ada"), ("ECTO_HOME", "/apart")],
        )
        .unwrap();
        for path in [
            folders.state(),
            folders.logs(),
            folders.runtime(),
            folders.credentials(),
        ] {
            assert!(path.starts_with("/apart"), "{}", path.display());
        }
        assert!(folders.are_apart());
        assert_eq!(
            located(System::Linux, &[("ECTO_HOME", "apart")])
                .unwrap_err()
                .code(),
            "folders.not_absolute"
        );
    }

    #[test]
    fn the_sandbox_has_everything_inside_the_state_folder() {
        for variables in [
            &[("HOME", "/home/ada"), ("XDG_STATE_HOME", "/state")][..],
            &[("HOME", "/home/ada"), ("ECTO_HOME", "/state/ecto")],
        ] {
            let folders = Folders::of_sandbox(System::Linux, |name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.into())
            })
            .unwrap();
            for path in [
                folders.state(),
                folders.logs(),
                folders.runtime(),
                folders.credentials(),
            ] {
                assert!(
                    path.starts_with("/state/ecto/sandbox"),
                    "{}",
                    path.display()
                );
            }
            assert!(folders.are_apart());
        }
    }

    #[test]
    fn without_a_home_there_is_a_sentence_and_not_a_guess() {
        let fault = located(System::Linux, &[]).unwrap_err();
        assert_eq!(fault.code(), "folders.no_home");
        assert!(fault.to_string().contains("ECTO_HOME"));
    }

    #[test]
    fn a_socket_path_fits_or_is_refused() {
        let fits = "/".to_owned() + &"a".repeat(SOCKET_PATH_LIMIT - 1 - "/run/ecto.sock".len());
        let socket = located(System::Linux, &[("ECTO_HOME", &fits)])
            .unwrap()
            .socket()
            .unwrap();
        assert_eq!(socket.as_os_str().len(), SOCKET_PATH_LIMIT);
        let long = fits + "a";
        let fault = located(System::Linux, &[("ECTO_HOME", &long)])
            .unwrap()
            .socket()
            .unwrap_err();
        assert_eq!(fault.code(), "folders.socket_path_too_long");
    }

    #[test]
    fn folders_are_for_their_owner_alone_even_if_they_were_open_before() {
        let folder = tempfile::tempdir().unwrap();
        let apart = folder.path().join("deep/ecto");
        let folders = located(System::Linux, &[("ECTO_HOME", apart.to_str().unwrap())]).unwrap();
        fs::create_dir_all(folders.logs()).unwrap();
        fs::set_permissions(folders.logs(), fs::Permissions::from_mode(0o755)).unwrap();
        folders.create().unwrap();
        for path in [folders.state(), folders.logs(), folders.runtime()] {
            assert_eq!(
                fs::metadata(path).unwrap().mode() & 0o777,
                0o700,
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn a_file_in_the_way_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "").unwrap();
        let fault = located(System::Linux, &[("ECTO_HOME", taken.to_str().unwrap())])
            .unwrap()
            .create()
            .unwrap_err();
        assert_eq!(fault.code(), "folders.unusable");
        assert!(fault.to_string().contains(taken.to_str().unwrap()));
    }
}
