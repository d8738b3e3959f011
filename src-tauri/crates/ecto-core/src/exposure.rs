//! What is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cause::{Cause, ReachCause};
use crate::foreign::ForeignText;
use crate::step::{Step, Waiting};
use crate::tailnet::PublicAddress;

/// What is, as opposed to what is [wanted](crate::wanted::Wanted).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Exposure {
    /// Nothing is reachable from outside, and tailscaled said so.
    #[default]
    Private,
    /// On the way to Public; the door is closed.
    Preparing {
        /// What is being done.
        step: Step,
        /// Since when.
        since: Timestamp,
        /// What it waits for, where it waits.
        waiting: Option<Waiting>,
        /// The last line of live progress.
        progress: Option<ForeignText>,
    },
    /// The door is open, to holders of a key.
    Public {
        /// Where.
        address: PublicAddress,
        /// Since when.
        since: Timestamp,
        /// When it closes by itself.
        until: Option<Timestamp>,
        /// What the check from outside says.
        reach: Reach,
        /// Why key holders are told to come back later, while they are: the gateway is away or being proven anew.
        held: Option<Cause>,
    },
    /// On the way to Private.
    Closing,
    /// It does not go on by itself, or not at once.
    Blocked {
        /// Why.
        cause: Cause,
        /// Whether the door is known to be closed.
        closed: Closed,
    },
}

impl Exposure {
    /// Whether the check from outside fails only because the first minutes are not over.
    pub fn is_settling(&self) -> bool {
        match self {
            Self::Public {
                reach: Reach::Unreachable { cause, .. },
                ..
            } => cause.is_settling(),
            Self::Public {
                reach: Reach::Unchecked | Reach::Reachable { .. },
                ..
            }
            | Self::Private
            | Self::Preparing { .. }
            | Self::Closing
            | Self::Blocked { .. } => false,
        }
    }
}

/// Whether the door is known to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// There is no claim, as far as tailscaled said.
    Yes,
    /// It could not be confirmed. The guard behind the door has ended, so whoever comes finds nobody.
    Unconfirmed,
}

/// Result of the check from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "reach", rename_all = "snake_case")]
pub enum Reach {
    /// It was not made yet.
    Unchecked,
    /// Reachable, and only with the key.
    Reachable {
        /// When it was seen.
        at: Timestamp,
    },
    /// Not reachable as it should be.
    Unreachable {
        /// Why.
        cause: ReachCause,
        /// When it was seen.
        at: Timestamp,
    },
}
