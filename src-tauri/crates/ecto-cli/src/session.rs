//! What every command has at hand: the terminal, the folders, and the way to a host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ecto_core::settings::Settings;
use ecto_host::client::{Client, ClientFault};
use ecto_host::control::Surroundings;
use ecto_host::host::Host;
use ecto_host::lock::{HostLock, LockFault};
use ecto_host::offers::Offers;
use ecto_host::request::{Answer, Request};
use ecto_host::world::{self, LabUnusable, World, WorldChoice};
use ecto_platform::folders::{FolderFault, Folders};
use ecto_platform::vault::{VaultChoice, VaultNotice};

use crate::arguments::{Arguments, VaultArgument};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Terminal;
use ecto_core::words::Message;

/// How long a host that is starting or ending is waited for.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// Whose turn it is to be the host.
#[derive(Debug)]
pub enum Turn {
    /// This process's: it holds the lock.
    Ours(HostLock),
    /// Another's, which answers.
    Theirs(Client),
}

/// What every command has at hand.
#[derive(Debug)]
pub struct Session {
    /// Where it prints.
    pub terminal: Terminal,
    /// Where Ecto keeps its files.
    pub folders: Folders,
    /// In which world it works.
    pub world: WorldChoice,
    /// Where the secrets are to be.
    pub vault: VaultChoice,
    socket: PathBuf,
}

/// A host in this process, and the world it runs in.
pub struct OwnHost {
    /// The host.
    pub host: Host,
    // Ends after the host: the stand-ins of the sandbox.
    _world: Box<dyn std::any::Any + Send>,
}

/// How long a host that has the lock may stay silent before that is told.
const SILENCE_LIMIT: Duration = Duration::from_secs(2);

impl Session {
    /// Finds the folders and makes them.
    pub fn new(arguments: &Arguments, terminal: Terminal) -> Result<Self, Failure> {
        let world = WorldChoice::of(arguments.sandbox, arguments.lab.as_deref())?;
        let folders = world.folders(|name| std::env::var_os(name))?;
        folders.create()?;
        Ok(Self {
            terminal,
            socket: folders.socket()?,
            folders,
            world,
            vault: match arguments.vault {
                VaultArgument::Auto => VaultChoice::Auto,
                VaultArgument::File => VaultChoice::File,
            },
        })
    }

    /// The way to the running host; `None` where none runs.
    pub async fn client(&self) -> Option<Client> {
        Client::connect(&self.socket).await.ok()
    }

    /// The way to the running host; `None` only where the lock says that none runs. One that is just starting or ending
    /// is waited for; one that has the lock and stays silent is told as such, because it may hold the door.
    pub async fn find_host(&self) -> Result<Option<Client>, Failure> {
        let end = tokio::time::Instant::now() + SILENCE_LIMIT;
        loop {
            if let Some(client) = self.client().await {
                return Ok(Some(client));
            }
            match HostLock::look(self.folders.runtime()) {
                Ok(()) => return Ok(None),
                Err(LockFault::Taken { .. }) if tokio::time::Instant::now() < end => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(LockFault::Taken { process }) => return Err(Failure::silent_host(process)),
                Err(fault @ LockFault::Unusable { .. }) => return Err(fault.into()),
            }
        }
    }

    /// Takes the lock, or finds the host that has it. One that is just starting or ending is waited for.
    pub async fn take_turn(&self) -> Result<Turn, Failure> {
        let end = tokio::time::Instant::now() + TURN_LIMIT;
        loop {
            if let Some(mut client) = self.client().await {
                match client.ask(&Request::Status).await {
                    Ok(_) => return Ok(Turn::Theirs(client)),
                    // It was just ending; its lock is free in a moment.
                    Err(ClientFault::Ended) => {}
                    Err(fault) => return Err(fault.into()),
                }
            }
            match HostLock::take(self.folders.runtime()) {
                Ok(lock) => return Ok(Turn::Ours(lock)),
                Err(LockFault::Taken { .. }) if tokio::time::Instant::now() < end => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(fault @ (LockFault::Taken { .. } | LockFault::Unusable { .. })) => {
                    return Err(fault.into());
                }
            }
        }
    }

    /// Asks the running host, or a host that is started for this one errand and opens nothing.
    pub async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        let lock = loop {
            match self.take_turn().await? {
                Turn::Ours(lock) => break lock,
                Turn::Theirs(mut client) => match client.ask(&request).await {
                    Err(ClientFault::Ended) => {}
                    answer => return Ok(answer?.settle()?),
                },
            }
        };
        if self.world == WorldChoice::Sandbox && request.is_about_keys() {
            return Err(Failure::own(
                "sandbox_not_running",
                "The sandbox does not run, and its keys are kept only while it does.",
                "Connect first with `ecto connect`.",
            ));
        }
        // Nobody else can ask this host: whoever comes waits for its end.
        let own = self
            .start(
                lock,
                None,
                Settings {
                    follow_wanted: false,
                    ..Settings::default()
                },
                false,
            )
            .await?;
        let answer = own.host.desk().answer(request).await;
        let ended = own.host.end().await;
        let answer = answer.settle()?;
        ended?;
        Ok(answer)
    }

    /// Opens the world, for whoever holds the lock.
    pub async fn open_world(&self, _lock: &HostLock) -> Result<World, Failure> {
        let environment = std::env::vars_os().collect();
        let world = world::open(&self.world, &self.folders, self.vault, environment).await?;
        for notice in &world.notices {
            self.terminal.tell(&notice.to_string());
            if matches!(notice, VaultNotice::OpenToOthers { .. }) {
                self.terminal
                    .tell("Make it with `ecto token --regenerate`.");
            }
        }
        Ok(world)
    }

    /// Starts a host in this process, which others may ask.
    pub async fn start_host(
        &self,
        lock: HostLock,
        settings: Settings,
        metrics: bool,
    ) -> Result<OwnHost, Failure> {
        self.start(lock, Some(&self.socket), settings, metrics)
            .await
    }

    async fn start(
        &self,
        lock: HostLock,
        socket: Option<&Path>,
        settings: Settings,
        metrics: bool,
    ) -> Result<OwnHost, Failure> {
        let world = self.open_world(&lock).await?;
        let settings = Settings {
            // A stand-in's link leads nowhere.
            open_links: settings.open_links && self.world == WorldChoice::Real,
            ..settings
        };
        let surroundings = Surroundings {
            world: world.kind,
            client_access: world.client_access,
            record: world.record,
            offers: Offers::in_folder(self.folders.state()),
            metrics,
        };
        let host = Host::start(lock, socket, world.ports, settings, surroundings)?;
        Ok(OwnHost {
            host,
            _world: world.keep,
        })
    }
}

impl From<LabUnusable> for Failure {
    fn from(fault: LabUnusable) -> Self {
        Self::Own {
            code: LabUnusable::CODE,
            message: fault.message(),
            exit: Exit::Failed,
        }
    }
}

impl From<FolderFault> for Failure {
    fn from(fault: FolderFault) -> Self {
        Self::Own {
            code: fault.code(),
            message: Message {
                what: fault.to_string(),
                next: None,
            },
            exit: Exit::Failed,
        }
    }
}
