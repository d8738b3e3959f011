//! What people and programs are shown: the engine's snapshot with its sentences.

use std::net::SocketAddr;
use std::path::PathBuf;

use ecto_core::cause::{Cause, Remedy, Severity};
use ecto_core::exposure::Exposure;
use ecto_core::offer::Offer;
use ecto_core::snapshot::Snapshot;
use ecto_core::words::{self, Message};
use serde::{Deserialize, Serialize};

use crate::record::{KeyDay, Strangers};

/// The version of everything that Ecto prints as JSON. Fields may be added; a change of meaning makes it another number.
pub const SCHEMA: u32 = 1;

/// In which world the host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum WorldKind {
    /// The tailnet and the gateway of this machine.
    Real,
    /// A real tailscaled and a real gateway in a closed laboratory.
    Lab,
    /// Built-in stand-ins: no account, no network.
    Sandbox,
}

/// How a client reaches the public address where its name is not in public DNS: in the lab and the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ClientAccess {
    /// The edge, in place of every public address.
    pub edge: SocketAddr,
    /// The file with the root certificate to trust.
    pub root_certificate: PathBuf,
}

/// How bad a cause is, and what brings Ecto on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Trouble {
    /// How bad it is.
    pub severity: Severity,
    /// What brings Ecto on.
    pub remedy: Remedy,
}

impl Trouble {
    fn of(cause: &Cause) -> Self {
        Self {
            severity: cause.severity(),
            remedy: cause.remedy(),
        }
    }
}

/// Everything that may be shown, with its sentences. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Report {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// Ecto's version.
    pub version: String,
    /// In which world.
    pub world: WorldKind,
    /// The process that holds the door; `None` where no host runs, which also means that nothing is open.
    pub host: Option<u32>,
    /// What is, in a sentence.
    pub message: Message,
    /// What the cause asks for, while it is Blocked, or Public and nobody gets through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub trouble: Option<Trouble>,
    /// What happened, in a sentence.
    pub notice_message: Option<Message>,
    /// Whether the check from outside fails only because the first minutes are not over.
    #[serde(default)]
    pub settling: bool,
    /// Where a client sends a chat completion, while it is Public.
    pub url: Option<String>,
    /// The base address for client libraries, while it is Public.
    pub base_url: Option<String>,
    /// How a client gets there, in the lab and the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub client_access: Option<ClientAccess>,
    /// What each key did today; those without a known key last.
    #[serde(default)]
    pub today: Vec<KeyDay>,
    /// Those who try keys right now, if there are many.
    #[serde(default)]
    pub strangers: Option<Strangers>,
    /// What is offered beside what always is, because somebody allowed it.
    #[serde(default)]
    pub offer: Offer,
    /// The engine's own view.
    #[serde(flatten)]
    pub snapshot: Snapshot,
}

impl Report {
    /// Makes the report of a running host, as far as the engine tells it.
    pub fn of_host(snapshot: Snapshot, world: WorldKind, process: u32) -> Self {
        Self::new(snapshot, world, Some(process))
    }

    /// Makes the report where no host runs: whatever is wanted, nothing is open.
    pub fn without_host(snapshot: Snapshot, world: WorldKind) -> Self {
        Self::new(snapshot, world, None)
    }

    fn new(snapshot: Snapshot, world: WorldKind, host: Option<u32>) -> Self {
        let (address, trouble) = match &snapshot.exposure {
            Exposure::Public { address, held, .. } => {
                (Some(address.clone()), held.as_ref().map(Trouble::of))
            }
            Exposure::Blocked { cause, .. } => (None, Some(Trouble::of(cause))),
            Exposure::Private | Exposure::Preparing { .. } | Exposure::Closing => (None, None),
        };
        let mut message = words::exposure(&snapshot.exposure);
        if host.is_none() && snapshot.wanted.is_public() {
            message = Message {
                what: "Private: Ecto is not running, so nothing is reachable from the internet."
                    .to_owned(),
                next: Some("Public was asked for; `ecto connect` opens it again.".to_owned()),
            };
        }
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            world,
            host,
            message,
            trouble,
            notice_message: snapshot.notice.as_ref().map(words::notice),
            settling: snapshot.exposure.is_settling(),
            url: address.as_ref().map(|address| address.chat_completions()),
            base_url: address
                .as_ref()
                .map(|address| format!("{}/v1", address.origin())),
            client_access: None,
            today: Vec::new(),
            strangers: None,
            offer: Offer::default(),
            snapshot,
        }
    }
}
