//! What everybody else sees of the engine: the one source for menu, popover, `ecto status` and diagnostics.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::exposure::Exposure;
use crate::gateway::GatewayView;
use crate::key::{KeyGrant, KeyName};
use crate::ports::{Activity, VaultPlace};
use crate::step::Step;
use crate::tailnet::TailnetView;
use crate::wanted::Wanted;

/// Everything that may be shown. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Snapshot {
    /// What the person asked for.
    pub wanted: Wanted,
    /// What is.
    pub exposure: Exposure,
    /// The steps of the journey that is under way or was last made, in order.
    pub journey: Vec<JourneyStep>,
    /// The node, as last seen.
    pub tailnet: Option<TailnetView>,
    /// The gateway, as last seen.
    pub gateway: Option<GatewayView>,
    /// The key that clients present, as far as it may be shown.
    pub key: Option<KeyHint>,
    /// All keys, in the order in which they were made; empty until they were first read.
    pub keys: Vec<KeyView>,
    /// Where the secrets are.
    pub vault: VaultPlace,
    /// What went through the guard.
    pub activity: Activity,
    /// Something that happened and that a person should hear of.
    pub notice: Option<Notice>,
}

impl Snapshot {
    /// What there is to see before anything was looked at.
    pub fn new(vault: VaultPlace) -> Self {
        Self {
            wanted: Wanted::Private,
            exposure: Exposure::Private,
            journey: Vec::new(),
            tailnet: None,
            gateway: None,
            key: None,
            keys: Vec::new(),
            vault,
            activity: Activity::default(),
            notice: None,
        }
    }
}

/// One step of a journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct JourneyStep {
    /// Which.
    pub step: Step,
    /// How far it is.
    pub progress: StepProgress,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "progress", rename_all = "snake_case")]
pub enum StepProgress {
    /// Done.
    Done {
        /// How long it took.
        milliseconds: u64,
    },
    /// Being done.
    Now,
    /// To come.
    Ahead,
    /// It did not work.
    Failed,
}

/// By what a key is told from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct KeyHint {
    /// Its name.
    pub name: KeyName,
    /// Its prefix and last four characters.
    pub hint: String,
}

/// What may be shown of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct KeyView {
    /// Its name.
    pub name: KeyName,
    /// Its prefix and last four characters.
    pub hint: String,
    /// What its holder may do.
    pub grant: KeyGrant,
    /// The same in words, but for the end.
    pub summary: String,
    /// When it was made or last rotated, where that is known.
    pub made: Option<Timestamp>,
    /// When it was last used, where that is known.
    pub last_used: Option<Timestamp>,
    /// Until when the key before the last rotation is good, while it is.
    pub earlier_until: Option<Timestamp>,
    /// Whether it is good.
    pub state: KeyState,
}

/// Whether a key is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It is.
    Good,
    /// It has run out.
    Expired,
}

/// Something that happened and that a person should hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// What was wanted could not be read, so it is Private.
    WantedUnreadable,
    /// The deadline passed while Ecto was not running or the machine slept.
    DeadlinePassed,
    /// It was closed because the machine went to sleep, as the person chose.
    EndedBySleep,
    /// The door closed without anybody having asked for it.
    ClosedUnexpectedly {
        /// Why.
        cause: Cause,
        /// When.
        at: Timestamp,
    },
}
