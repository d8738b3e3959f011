//! What every command has at hand: the terminal, the folders, and the way to a host.

use std::path::PathBuf;

use ecto_core::settings::Settings;
use ecto_host::client::{Client, ClientFault};
use ecto_host::host::Host;
use ecto_host::request::{Answer, Request};
use ecto_host::world::{self, LabPlaces, World, WorldChoice};
use ecto_platform::System;
use ecto_platform::folders::{FolderFault, Folders, HOME_VARIABLE};
use ecto_platform::vault::VaultChoice;

use crate::arguments::{Arguments, VaultArgument};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::Terminal;
use ecto_core::words::Message;

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

impl Session {
    /// Finds the folders and makes them.
    pub fn new(arguments: &Arguments, terminal: Terminal) -> Result<Self, Failure> {
        let environment = |name: &str| std::env::var_os(name);
        let mut folders = Folders::locate(System::current(), environment)?;
        if arguments.sandbox {
            let apart = folders.state().join("sandbox");
            folders = Folders::locate(System::current(), |name| {
                if name == HOME_VARIABLE {
                    Some(apart.clone().into_os_string())
                } else {
                    environment(name)
                }
            })?;
        }
        folders.create()?;
        let world = match (&arguments.lab, arguments.sandbox) {
            (_, true) => WorldChoice::Sandbox,
            (Some(path), false) => WorldChoice::Lab(read_places(path)?),
            (None, false) => WorldChoice::Real,
        };
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

    /// Asks the running host, or a host that is started for this one errand and opens nothing.
    pub async fn ask(&self, request: Request) -> Result<Answer, Failure> {
        if let Some(mut client) = self.client().await {
            return settle(client.ask(&request).await?);
        }
        let own = self
            .start_host(Settings {
                follow_wanted: false,
                ..Settings::default()
            })
            .await?;
        let answer = own.host.desk().answer(request).await;
        let ended = own.host.end().await;
        let answer = settle(answer)?;
        ended?;
        Ok(answer)
    }

    /// Opens the world, for looking at it without a host.
    pub async fn open_world(&self) -> Result<World, Failure> {
        let environment = std::env::vars_os().collect();
        let world = world::open(&self.world, &self.folders, self.vault, environment).await?;
        for notice in &world.notices {
            self.terminal.tell(notice);
        }
        Ok(world)
    }

    /// Starts a host in this process.
    pub async fn start_host(&self, settings: Settings) -> Result<OwnHost, Failure> {
        let world = self.open_world().await?;
        let settings = Settings {
            // A stand-in's link leads nowhere.
            open_links: settings.open_links && self.world == WorldChoice::Real,
            ..settings
        };
        let host = Host::start(
            self.folders.runtime(),
            &self.socket,
            world.ports,
            settings,
            world.kind,
            world.client_access,
        )?;
        Ok(OwnHost {
            host,
            _world: world.keep,
        })
    }
}

/// Makes what the host said into what the command returns.
pub fn settle(answer: Answer) -> Result<Answer, Failure> {
    match answer {
        Answer::Failed { cause, .. } => Err(Failure::Cause(cause)),
        Answer::NotUnderstood => Err(ClientFault::NotUnderstood {
            detail: "the request".to_owned(),
        }
        .into()),
        Answer::Report(_) | Answer::Done | Answer::Key { .. } | Answer::Restored { .. } => {
            Ok(answer)
        }
    }
}

fn read_places(path: &std::path::Path) -> Result<LabPlaces, Failure> {
    let unusable = |detail: String| {
        Failure::own(
            "lab_unusable",
            format!(
                "The lab's file {} cannot be used: {detail}.",
                path.display()
            ),
            "Start the lab with: cargo xtask lab --keep",
        )
    };
    let text = std::fs::read(path).map_err(|fault| unusable(fault.to_string()))?;
    let places: LabPlaces =
        serde_json::from_slice(&text).map_err(|fault| unusable(fault.to_string()))?;
    Ok(LabPlaces {
        file: path.to_owned(),
        ..places
    })
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
