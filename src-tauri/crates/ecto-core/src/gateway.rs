//! What is seen of the OpenClaw gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::foreign::ForeignText;

/// Which gateway, in which state, a proof was made for. Two equal fingerprints mean: same process, same effective
/// configuration of what Ecto relies on. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(transparent)]
#[cfg_attr(feature = "typescript", ts(type = "string"))]
pub struct GatewayFingerprint(pub String);

/// A gateway that runs, is set up as Ecto needs it, and says it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ReadyGateway {
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    /// What it says of its version, where it says one.
    pub version: Option<ForeignText>,
    /// The file that configures it.
    pub config: PathBuf,
    /// Whether its hooks are enabled, with a token and at a path at which the guard can reach them.
    #[serde(default)]
    pub hooks: bool,
    /// Changes whenever a proof would have to be made anew.
    pub fingerprint: GatewayFingerprint,
}

/// What is seen of the gateway at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", tag = "gateway")]
pub enum GatewayView {
    /// OpenClaw is not on this machine.
    Missing,
    /// It is configured in a way that Ecto must not fight, or cannot be read.
    Refused {
        /// Why.
        cause: Cause,
    },
    /// Some of the keys Ecto needs have other values.
    NeedsSetUp {
        /// The file that configures it.
        config: PathBuf,
        /// Dotted names of the keys that would change.
        keys: Vec<String>,
        /// Whether it runs now.
        running: bool,
    },
    /// It is set up and does not run.
    NotRunning {
        /// The file that configures it.
        config: PathBuf,
    },
    /// It runs and is not ready yet.
    Starting {
        /// The file that configures it.
        config: PathBuf,
    },
    /// It runs with an older configuration and has to be restarted.
    NeedsRestart {
        /// The file that configures it.
        config: PathBuf,
    },
    /// It can be put behind the guard.
    Ready(ReadyGateway),
}

/// How the guard reaches the gateway.
#[derive(Debug, Clone)]
pub struct GatewayAccess {
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    /// Its own token, which never leaves the machine.
    pub token: SecretString,
    /// How its hooks are reached, where they are enabled and offered.
    pub hooks: Option<HooksAccess>,
    /// The state it was read in.
    pub fingerprint: GatewayFingerprint,
}

/// How the guard reaches the gateway's hooks.
#[derive(Debug, Clone)]
pub struct HooksAccess {
    /// The path below which they are, with no slash at its end: `/hooks` unless the configuration says otherwise.
    pub path: String,
    /// Their own token, which is not the gateway's and never leaves the machine.
    pub token: SecretString,
}

/// What [`crate::ports::Gateway::restore`] did with one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct RestoredKey {
    /// Dotted name.
    pub key: String,
    /// What became of it.
    pub outcome: RestoreOutcome,
}

/// What became of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum RestoreOutcome {
    /// It has its earlier value again, or is absent again.
    Restored,
    /// Somebody else changed it since, so it was left alone.
    LeftAlone,
}
