//! Finds the tailscaled that answers, whichever variant it is, and what is installed where none does.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ecto_core::tailnet::{Installer, NodeChoice, NodeKind};
use futures_util::future::join_all;
use secrecy::SecretString;
use tokio::net::TcpStream;

use crate::command;
use crate::local_api::{ApiError, Endpoint, LocalApi};
use crate::places::{OperatingSystem, Places};
use crate::status::{State, Status};

const LSOF_LIMIT: Duration = Duration::from_secs(5);
const DIAL_LIMIT: Duration = Duration::from_secs(1);

/// A tailscaled that was found.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) api: LocalApi,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// It answers as tailscaled does.
    Answering(Node, Box<Status>),
    /// Something is there and does not answer as tailscaled does.
    Failing(ApiError),
    /// Nobody is there.
    Silent,
}

/// Something may run at a place, and whether it does could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    /// The app listens, and its password cannot be read.
    #[error("the Tailscale app runs, and its password cannot be read: {0}")]
    Password(ErrorKind),
    /// `lsof`, which finds the app of the App Store, did not do its work.
    #[error("whether the Tailscale app runs could not be found out")]
    Search,
}

/// What is installed where nobody answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Installed {
    /// This one would be started.
    Startable(NodeKind),
    /// Nothing is.
    Nothing(Installer),
}

/// A place at which a tailscaled may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Socket(NodeKind, PathBuf),
    Standalone,
    AppStore,
}

/// Looks for a tailscaled.
#[derive(Debug)]
pub(crate) struct Finder {
    places: Places,
    /// Where the App Store app answered last: asking `lsof` takes long.
    app_store: Mutex<Option<Endpoint>>,
}

impl Finder {
    pub(crate) fn new(places: Places) -> Self {
        Self {
            places,
            app_store: Mutex::new(None),
        }
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The places at which a tailscaled may answer, the preferred one first.
    pub(crate) fn sources(&self, choice: NodeChoice) -> Vec<Source> {
        let own = Source::Socket(NodeKind::Own, self.places.own.socket.clone());
        let sockets = self.places.system_sockets.iter();
        let mut sources: Vec<Source> = sockets
            .map(|path| Source::Socket(NodeKind::System, path.clone()))
            .collect();
        match self.places.system {
            OperatingSystem::MacOs => sources.extend([Source::Standalone, Source::AppStore]),
            OperatingSystem::Linux => {}
        }
        match choice {
            NodeChoice::Own => return vec![own],
            NodeChoice::Auto => sources.push(own),
            NodeChoice::System => {}
        }
        sources
    }

    /// Finds the node to use. One that runs comes before one that must be signed in, and that before one that fails.
    pub(crate) async fn find(&self, choice: NodeChoice) -> Found {
        let sources = self.sources(choice);
        let (slow, quick): (Vec<Source>, Vec<Source>) = sources
            .into_iter()
            .partition(|source| *source == Source::AppStore);
        let mut best = self.best_of(&quick).await;
        if !runs(&best) {
            best = better(best, self.best_of(&slow).await);
        }
        best
    }

    async fn best_of(&self, sources: &[Source]) -> Found {
        let asked = sources.iter().map(|source| self.ask(source));
        join_all(asked)
            .await
            .into_iter()
            .fold(Found::Silent, better)
    }

    async fn ask(&self, source: &Source) -> Found {
        // Who cannot find out how to ask an app has no use of it.
        let Ok(Some(node)) = self.node(source).await else {
            return Found::Silent;
        };
        match node.api.status().await {
            Ok(status) => Found::Answering(node, Box::new(status)),
            Err(ApiError::Absent) => Found::Silent,
            Err(error) => Found::Failing(error),
        }
    }

    /// The node at a source, where there is reason to think that it answers. An error says that one may be there that
    /// cannot be asked.
    pub(crate) async fn node(&self, source: &Source) -> Result<Option<Node>, Unknown> {
        let (kind, endpoint) = match source {
            Source::Socket(kind, path) => (*kind, Some(Endpoint::Socket(path.clone()))),
            Source::Standalone => (NodeKind::Standalone, self.standalone().await?),
            Source::AppStore => (NodeKind::AppStore, self.app_store().await?),
        };
        Ok(endpoint.map(|endpoint| Node {
            kind,
            api: LocalApi::new(endpoint),
        }))
    }

    /// The link may be stale, and only administrators can read the password (tailscale 1.104,
    /// `safesocket/safesocket_darwin.go`).
    async fn standalone(&self) -> Result<Option<Endpoint>, Unknown> {
        let folder = &self.places.standalone_folder;
        let link = match tokio::fs::read_link(folder.join("ipnport")).await {
            Ok(link) => link,
            Err(fault) if fault.kind() == ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(Unknown::Password(fault.kind())),
        };
        let Some(port) = link.to_str().and_then(|port| port.parse().ok()) else {
            return Ok(None);
        };
        let proof = folder.join(format!("sameuserproof-{port}"));
        match tokio::fs::read_to_string(proof).await {
            Ok(password) => {
                let password = SecretString::from(password.trim());
                Ok(Some(Endpoint::Port { port, password }))
            }
            Err(fault) if listens(port).await => Err(Unknown::Password(fault.kind())),
            Err(_) => Ok(None),
        }
    }

    /// The port and the password stand in the name of a file that the app holds open. Looking into its folder would
    /// make macOS ask the person; `lsof` does not.
    async fn app_store(&self) -> Result<Option<Endpoint>, Unknown> {
        let kept = self.kept_app_store();
        if let Some(endpoint) = kept
            && LocalApi::new(endpoint.clone()).status().await.is_ok()
        {
            return Ok(Some(endpoint));
        }
        let found = if self.application() == Some(NodeKind::AppStore) {
            self.ask_lsof().await?
        } else {
            None
        };
        *self
            .app_store
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = found.clone();
        Ok(found)
    }

    fn kept_app_store(&self) -> Option<Endpoint> {
        self.app_store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn ask_lsof(&self) -> Result<Option<Endpoint>, Unknown> {
        let mut command = command::bare_command(&self.places.lsof, &self.places.environment);
        let user = rustix::process::getuid().as_raw();
        command
            .args(["-n", "-a", "-F", "-c", "IPNExtension"])
            .arg(format!("-u{user}"));
        let mut endpoint = None;
        let run = command::run(&mut command, |line| {
            endpoint = app_store_endpoint(&line).or(endpoint.take());
        });
        // Its exit code says no more than that nothing was found.
        let ran = tokio::time::timeout(LSOF_LIMIT, run).await;
        match (endpoint, ran) {
            (Some(endpoint), _) => Ok(Some(endpoint)),
            (None, Ok(Ok(_))) => Ok(None),
            (None, Ok(Err(_)) | Err(_)) => Err(Unknown::Search),
        }
    }

    /// What would be started, or how it can come.
    pub(crate) fn installed(&self, choice: NodeChoice) -> Installed {
        let program = self.program("tailscaled");
        let application = self.application();
        let startable = match choice {
            NodeChoice::Own => program.map(|_| NodeKind::Own),
            NodeChoice::Auto => application.or(program.map(|_| NodeKind::Own)),
            NodeChoice::System => application.or(program.map(|_| NodeKind::System)),
        };
        match startable {
            Some(kind) => Installed::Startable(kind),
            None => Installed::Nothing(self.installer()),
        }
    }

    /// Which app is installed. The App Store leaves a receipt in what it installs.
    pub(crate) fn application(&self) -> Option<NodeKind> {
        let application = &self.places.application;
        if self.places.system != OperatingSystem::MacOs || !application.is_dir() {
            return None;
        }
        if application.join("Contents/_MASReceipt").exists() {
            Some(NodeKind::AppStore)
        } else {
            Some(NodeKind::Standalone)
        }
    }

    /// A program at one of the known places.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        self.places
            .program_folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_absolute() && is_executable(path))
    }

    fn installer(&self) -> Installer {
        match self.places.system {
            OperatingSystem::MacOs if self.program("brew").is_some() => Installer::Homebrew,
            OperatingSystem::MacOs => Installer::Download,
            OperatingSystem::Linux => {
                let text = std::fs::read_to_string(&self.places.os_release).unwrap_or_default();
                install_command(&text).map_or(Installer::Download, |command| Installer::Person {
                    command: command.to_owned(),
                })
            }
        }
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether anybody listens at this port; where that cannot be found out, somebody does.
async fn listens(port: u16) -> bool {
    let dialed = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    match tokio::time::timeout(DIAL_LIMIT, dialed).await {
        Ok(Err(fault)) => fault.kind() != ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => true,
    }
}

fn runs(found: &Found) -> bool {
    rank(found) == 0
}

fn rank(found: &Found) -> u8 {
    match found {
        Found::Answering(_, status) if status.state == State::Running && !status.expired() => 0,
        Found::Answering(..) => 1,
        Found::Failing(_) => 2,
        Found::Silent => 3,
    }
}

fn better(first: Found, second: Found) -> Found {
    if rank(&second) < rank(&first) {
        second
    } else {
        first
    }
}

/// Reads one line of `lsof -F`: `n/…/io.tailscale.ipn.macos/sameuserproof-<port>-<password>`
/// (tailscale 1.104, `safesocket/safesocket_darwin.go`).
fn app_store_endpoint(line: &str) -> Option<Endpoint> {
    let name = line.strip_prefix('n')?;
    let (_, proof) = name.split_once(".tailscale.ipn.macos/sameuserproof-")?;
    let (port, password) = proof.split_once('-')?;
    if password.is_empty() || password.contains(char::is_whitespace) {
        return None;
    }
    Some(Endpoint::Port {
        port: port.parse().ok()?,
        password: SecretString::from(password),
    })
}

/// The command, where the distribution has Tailscale in its own archive.
fn install_command(os_release: &str) -> Option<&'static str> {
    let names = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches(['"', '\'']).split_whitespace());
    for name in names {
        match name {
            "debian" | "ubuntu" | "rhel" | "centos" => return None,
            "fedora" => return Some("sudo dnf install tailscale"),
            "arch" => return Some("sudo pacman -S tailscale"),
            "suse" | "opensuse" => return Some("sudo zypper install tailscale"),
            "alpine" => return Some("sudo apk add tailscale"),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_app_store_app_is_found_in_what_lsof_prints() {
        let output = "p714\nfcwd\nn/\nf12\nn/Users/sam smith/Library/Group Containers/W5364U7YZB.group.io.tailscale.ipn.macos/sameuserproof-49158-0a1b2c3d\nf13\nn/dev/null\n";
        let found: Vec<Endpoint> = output.lines().filter_map(app_store_endpoint).collect();
        let [Endpoint::Port { port, password }] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((*port, password.expose_secret()), (49158, "0a1b2c3d"));
        assert!(!format!("{found:?}").contains("0a1b2c3d"));
    }

    #[test]
    fn other_lines_of_lsof_find_nothing() {
        for line in [
            "",
            "n",
            "n/x/io.tailscale.ipn.macos/sameuserproof-",
            "n/x/io.tailscale.ipn.macos/sameuserproof-99999-abc",
            "n/x/io.tailscale.ipn.macos/sameuserproof-1-",
            "p/x/io.tailscale.ipn.macos/sameuserproof-1-a",
        ] {
            assert!(app_store_endpoint(line).is_none(), "{line}");
        }
    }

    #[test]
    fn the_command_to_install_fits_the_distribution() {
        assert_eq!(
            install_command("NAME=x\nID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"),
            None
        );
        assert_eq!(
            install_command("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n"),
            None
        );
        assert_eq!(
            install_command("ID=fedora\n"),
            Some("sudo dnf install tailscale")
        );
        assert_eq!(install_command("ID=\"nixos\"\n"), None);
        assert_eq!(install_command(""), None);
    }
}
