//! The world in which a host runs: which tailscaled, which gateway, which outside.

use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecto_core::engine::{KeyMaker, Ports};
use ecto_core::key;
use ecto_core::ports::{Clock, VaultFault};
use ecto_core::watchword::Watchword;
use ecto_core::words;
use ecto_guard::{Limits, LoopbackGuard};
use ecto_openclaw::place::Place;
use ecto_openclaw::{Environment, OpenClaw, Options};
use ecto_outside::{Limits as CheckLimits, PublicCheck, Setup, Trust};
use ecto_platform::System;
use ecto_platform::administrator::Administrator;
use ecto_platform::clock::SystemClock;
use ecto_platform::desktop::SystemDesktop;
use ecto_platform::folders::{FolderFault, Folders};
use ecto_platform::vault::{self, MemoryVault, OpenedVault, VaultChoice, VaultNotice};
use ecto_tailscale::{Places, Tailscale};
use jiff::tz::TimeZone;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::administrator::SystemAdministrator;
use crate::open_files::OpenFiles;
use crate::record::{self, Record};
use crate::report::{ClientAccess, WorldKind};
use crate::wanted_file::WantedFile;

/// Variables of the environment.
pub type Variables = Vec<(OsString, OsString)>;

/// In which world to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorldChoice {
    /// The tailnet and the gateway of this machine.
    Real,
    /// A real tailscaled and a real gateway in a closed laboratory.
    Lab(LabPlaces),
    /// Built-in stand-ins.
    Sandbox,
}

impl WorldChoice {
    /// Chooses as a person said: the sandbox, the lab that a file describes, or else this machine.
    pub fn of(sandbox: bool, lab: Option<&Path>) -> Result<Self, LabUnusable> {
        match (sandbox, lab) {
            (true, _) => Ok(Self::Sandbox),
            (false, Some(file)) => LabPlaces::read(file).map(Self::Lab),
            (false, None) => Ok(Self::Real),
        }
    }

    /// Finds the folders of this world, without touching them.
    pub fn folders(
        &self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Folders, FolderFault> {
        match self {
            Self::Real | Self::Lab(_) => Folders::locate(System::current(), environment),
            Self::Sandbox => Folders::of_sandbox(System::current(), environment),
        }
    }

    /// Which kind of world it is.
    pub fn kind(&self) -> WorldKind {
        match self {
            Self::Real => WorldKind::Real,
            Self::Lab(_) => WorldKind::Lab,
            Self::Sandbox => WorldKind::Sandbox,
        }
    }
}

/// Where things are in the lab. The gateway is found as always, by OpenClaw's own variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabPlaces {
    /// The file that says so.
    #[serde(skip)]
    pub file: PathBuf,
    /// The LocalAPI of the node.
    pub tailscaled_socket: PathBuf,
    /// The stand-ins of the public resolvers.
    pub resolvers: Vec<Url>,
    /// The root certificate to trust, PEM.
    pub root_certificate: PathBuf,
    /// Where the public address is reached.
    pub edge: SocketAddr,
}

impl LabPlaces {
    fn read(file: &Path) -> Result<Self, LabUnusable> {
        let unusable = |detail: String| LabUnusable {
            file: file.to_owned(),
            detail,
        };
        let text = std::fs::read(file).map_err(|fault| unusable(fault.to_string()))?;
        let places: Self =
            serde_json::from_slice(&text).map_err(|fault| unusable(fault.to_string()))?;
        Ok(Self {
            file: file.to_owned(),
            ..places
        })
    }
}

/// The file of the lab cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("The lab's file {} cannot be used: {detail}.", file.display())]
pub struct LabUnusable {
    /// Which.
    pub file: PathBuf,
    /// What is wrong with it.
    pub detail: String,
}

impl LabUnusable {
    /// The stable code.
    pub const CODE: &'static str = "lab_unusable";

    /// What happened and what to do.
    pub fn message(&self) -> words::Message {
        words::Message {
            what: self.to_string(),
            next: Some("Start the lab with: cargo xtask lab --keep".to_owned()),
        }
    }
}

/// A world, and what keeps it alive.
pub struct World {
    /// What the engine needs of it.
    pub ports: Ports,
    /// Which kind it is.
    pub kind: WorldKind,
    /// How a client gets there, in the lab and the sandbox.
    pub client_access: Option<ClientAccess>,
    /// The requests through the guard.
    pub record: Arc<Record>,
    /// What a person should be told about where the secrets are.
    pub notices: Vec<VaultNotice>,
    /// Ends the stand-ins of the sandbox when it is dropped.
    pub keep: Box<dyn Any + Send>,
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("World")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Why a world could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum WorldFault {
    /// The secret store.
    #[error(transparent)]
    Vault(#[from] VaultFault),
    /// The system's generator.
    #[error(transparent)]
    Randomness(#[from] key::NoRandomness),
    /// A file of the lab.
    #[error("{} cannot be read: {source}", path.display())]
    Lab {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The stand-ins.
    #[error("the sandbox could not be started: {0}")]
    Sandbox(String),
    /// The check from outside.
    #[error("the check from outside could not be prepared: {0}")]
    Outside(String),
}

/// Opens a world. `folders` must exist.
pub async fn open(
    choice: &WorldChoice,
    folders: &Folders,
    vault: VaultChoice,
    variables: Variables,
) -> Result<World, WorldFault> {
    match choice {
        WorldChoice::Real => open_real(folders, vault, variables).await,
        WorldChoice::Lab(places) => open_lab(places, folders, vault, variables).await,
        WorldChoice::Sandbox => crate::sandbox::open(folders, variables).await,
    }
}

async fn open_real(
    folders: &Folders,
    vault: VaultChoice,
    variables: Variables,
) -> Result<World, WorldFault> {
    let places = Places::of_this_machine(folders.state(), &host_name(), passed_on(&variables));
    let mut world = assemble(Parts {
        places,
        outside: Setup::production(),
        openclaw: openclaw_environment(&variables),
        folders,
        variables: &variables,
        kind: WorldKind::Real,
        client_access: None,
    })?;
    let opened = vault::open(vault, folders, vault::system_store()).await?;
    world.take_vault(opened);
    Ok(world)
}

async fn open_lab(
    lab: &LabPlaces,
    folders: &Folders,
    vault: VaultChoice,
    variables: Variables,
) -> Result<World, WorldFault> {
    let root =
        std::fs::read_to_string(&lab.root_certificate).map_err(|source| WorldFault::Lab {
            path: lab.root_certificate.clone(),
            source,
        })?;
    let edge = lab.edge;
    let mut places = Places::of_this_machine(folders.state(), &host_name(), passed_on(&variables));
    places.system_sockets = vec![lab.tailscaled_socket.clone()];
    places.standalone_folder = folders.state().join("no-app");
    places.application = folders.state().join("no-app");
    let mut world = assemble(Parts {
        places,
        outside: Setup {
            resolvers: lab.resolvers.clone(),
            trust: Trust::only_pem(&root)
                .map_err(|fault| WorldFault::Outside(fault.to_string()))?,
            dial: Arc::new(move |_| edge),
            limits: CheckLimits::default(),
        },
        openclaw: openclaw_environment(&variables),
        folders,
        variables: &variables,
        kind: WorldKind::Lab,
        client_access: Some(ClientAccess {
            edge: lab.edge,
            root_certificate: lab.root_certificate.clone(),
        }),
    })?;
    let opened = vault::open(vault, folders, vault::system_store()).await?;
    world.take_vault(opened);
    Ok(world)
}

/// What differs between worlds.
pub(crate) struct Parts<'a> {
    pub places: Places,
    pub outside: Setup,
    pub openclaw: Environment,
    pub folders: &'a Folders,
    pub variables: &'a Variables,
    pub kind: WorldKind,
    pub client_access: Option<ClientAccess>,
}

/// Puts a world together, with its secrets in memory.
pub(crate) fn assemble(parts: Parts<'_>) -> Result<World, WorldFault> {
    let system = System::current();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let administrator = Arc::new(SystemAdministrator(Administrator::of(system)));
    let variable = |name: &str| {
        let found = parts.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    let make_key: KeyMaker = Arc::new(|| key::make_key(&mut SysRng));
    let record = Arc::new(Record::open(
        &record::folder(parts.folders.logs()),
        Arc::clone(&clock),
        TimeZone::system(),
        record::Keeping::default(),
    ));
    let watchword = Watchword::make(&mut SysRng)?;
    let guard = LoopbackGuard::with_recorder(
        guard_limits(parts.kind),
        Arc::clone(&clock),
        &mut SysRng,
        Some(record.clone()),
        Some(watchword.clone()),
    )?;
    let outside = PublicCheck::new(parts.outside, watchword, &mut SysRng)?;
    let ports = Ports {
        tailnet: Arc::new(Tailscale::new(parts.places, administrator)),
        gateway: Arc::new(OpenClaw::new(Options::new(
            parts.openclaw,
            parts.folders.state().to_owned(),
            Arc::new(|| key::make_gateway_token(&mut SysRng)),
        ))),
        guard: Arc::new(guard),
        outside: Arc::new(outside),
        vault: Arc::new(MemoryVault::default()),
        desktop: Arc::new(SystemDesktop::find(system, variable)),
        clock,
        wanted: Arc::new(WantedFile::in_folder(parts.folders.state())),
        make_key,
    };
    Ok(World {
        ports,
        kind: parts.kind,
        client_access: parts.client_access,
        record,
        notices: Vec::new(),
        keep: Box::new(()),
    })
}

/// What the guard takes, with no more connections than there are open files for.
fn guard_limits(kind: WorldKind) -> Limits {
    let usual = Limits::default();
    let each = match kind {
        WorldKind::Real | WorldKind::Lab => 2,
        // The stand-ins at both ends of a stream are in this process too.
        WorldKind::Sandbox => 5,
    };
    let connections =
        OpenFiles::raise(usual.connections, each).connections(usual.connections, each);
    tracing::info!(connections, "what the guard takes at once");
    Limits {
        connections,
        ..usual
    }
}

impl World {
    fn take_vault(&mut self, opened: OpenedVault) {
        self.ports.vault = opened.vault;
        self.notices.extend(opened.notices);
    }
}

/// Where the gateway's own log is, where that is known.
pub fn gateway_log(choice: &WorldChoice, variables: &Variables) -> Option<PathBuf> {
    match choice {
        WorldChoice::Real | WorldChoice::Lab(_) => {
            Place::find(&openclaw_environment(variables)).log()
        }
        WorldChoice::Sandbox => None,
    }
}

fn openclaw_environment(variables: &Variables) -> Environment {
    let text = variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())))
        .collect();
    let home = variables
        .iter()
        .find(|(name, _)| name == "HOME")
        .map_or_else(|| PathBuf::from("/"), |(_, value)| PathBuf::from(value));
    Environment::new(text, home)
}

/// What programs that Ecto starts may see: who the person is, and how to get out.
fn passed_on(variables: &Variables) -> Variables {
    const NAMES: [&str; 10] = [
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "TMPDIR",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];
    variables
        .iter()
        .filter(|(name, _)| NAMES.iter().any(|known| name == known))
        .cloned()
        .collect()
}

fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    name.split('.').next().unwrap_or("machine").to_owned()
}

impl WorldFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Vault(VaultFault::Denied) => "vault_denied",
            Self::Vault(VaultFault::Unreachable { .. }) => "vault_unreachable",
            Self::Vault(VaultFault::Damaged { .. }) => "vault_damaged",
            Self::Randomness(_) => "no_randomness",
            Self::Lab { .. } => "lab_unusable",
            Self::Sandbox(_) => "sandbox_unusable",
            Self::Outside(_) => "outside_unusable",
        }
    }
}

/// Where a sandbox keeps its files.
pub(crate) fn sandbox_folder(folders: &Folders) -> PathBuf {
    let folder: &Path = folders.state();
    folder.join("stand-ins")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_is_the_one_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lab.json");
        assert_eq!(WorldChoice::of(false, None).unwrap(), WorldChoice::Real);
        assert_eq!(
            WorldChoice::of(true, Some(&file)).unwrap(),
            WorldChoice::Sandbox
        );
        for text in [None, Some("{"), Some("{}")] {
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            let fault = WorldChoice::of(false, Some(&file)).unwrap_err();
            let said = fault.message().to_string();
            assert!(
                said.contains("lab.json") && said.contains("cargo xtask lab"),
                "{said}"
            );
        }
        let places = serde_json::json!({
            "tailscaled_socket": "/s", "resolvers": [], "root_certificate": "/r", "edge": "127.0.0.1:1",
        });
        std::fs::write(&file, places.to_string()).unwrap();
        let chosen = WorldChoice::of(false, Some(&file)).unwrap();
        assert!(matches!(chosen, WorldChoice::Lab(places) if places.file == file));
    }

    #[test]
    fn only_the_sandbox_has_folders_of_its_own() {
        let home = |name: &str| (name == "HOME").then(|| "/home/ada".into());
        assert!(WorldChoice::Sandbox.folders(home).unwrap().are_apart());
        assert!(!WorldChoice::Real.folders(home).unwrap().are_apart());
    }
}
