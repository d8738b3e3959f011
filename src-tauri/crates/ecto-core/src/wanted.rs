//! What the person asked for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::tailnet::NodeChoice;

/// The two ends of the switch. Kept across restarts; see [`Wanted::from_record`] for how it is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "wanted", rename_all = "snake_case")]
pub enum Wanted {
    /// Nothing is to be reachable from outside.
    #[default]
    Private,
    /// The gateway is to be reachable from the internet, through the guard.
    Public {
        /// When it ends by itself; `None` means until somebody says otherwise.
        until: Option<Timestamp>,
        /// Which tailscaled is to hold the claim.
        #[serde(default)]
        node: NodeChoice,
    },
}

/// When a door is to close by itself that is asked for while one may be wanted already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewDeadline {
    /// When the one that is wanted already does; never, where none is.
    AsBefore,
    /// Never: it stays open until somebody says otherwise.
    Unlimited,
    /// At this moment.
    At(Timestamp),
}

impl NewDeadline {
    /// The moment, where what was wanted before is `before`.
    fn after(self, before: &Wanted) -> Option<Timestamp> {
        match self {
            Self::AsBefore => before.deadline(),
            Self::Unlimited => None,
            Self::At(until) => Some(until),
        }
    }
}

/// Why a stored wish was not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordDoubt {
    /// The record is damaged or from a newer version.
    Unreadable,
    /// The deadline passed while nobody was watching.
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    #[serde(flatten)]
    wanted: Wanted,
}

impl Wanted {
    const VERSION: u32 = 1;

    /// Reads a stored wish at `now`. Always succeeds: whatever cannot be read, is from another version or has run out
    /// is [`Wanted::Private`], with the reason beside it.
    pub fn from_record(bytes: &[u8], now: Timestamp) -> (Self, Option<RecordDoubt>) {
        let Ok(record) = serde_json::from_slice::<Record>(bytes) else {
            return (Self::Private, Some(RecordDoubt::Unreadable));
        };
        if record.version != Self::VERSION {
            return (Self::Private, Some(RecordDoubt::Unreadable));
        }
        if record.wanted.deadline().is_some_and(|until| until <= now) {
            return (Self::Private, Some(RecordDoubt::Expired));
        }
        (record.wanted, None)
    }

    /// The bytes that [`Wanted::from_record`] reads.
    pub fn to_record(&self) -> Vec<u8> {
        let record = Record {
            version: Self::VERSION,
            wanted: self.clone(),
        };
        serde_json::to_vec(&record).unwrap_or_default()
    }

    /// Whether the gateway is to be reachable.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::Public { .. })
    }

    /// Public, where this was wanted before: what is not said anew stays as it is.
    pub fn public_again(&self, until: NewDeadline, node: Option<NodeChoice>) -> Self {
        Self::Public {
            until: until.after(self),
            node: node.unwrap_or_else(|| self.node()),
        }
    }

    /// Which tailscaled is to hold the claim.
    pub fn node(&self) -> NodeChoice {
        match self {
            Self::Private => NodeChoice::Auto,
            Self::Public { node, .. } => *node,
        }
    }

    /// When it ends by itself.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Private => None,
            Self::Public { until, .. } => *until,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_wish_survives_a_restart() {
        let wish = Wanted::Public {
            until: Some(at(2_000)),
            node: NodeChoice::Own,
        };
        assert_eq!(
            Wanted::from_record(&wish.to_record(), at(1_000)),
            (wish, None)
        );
    }

    #[test]
    fn a_deadline_that_passed_means_private() {
        let wish = Wanted::Public {
            until: Some(at(2_000)),
            node: NodeChoice::Auto,
        };
        let read = Wanted::from_record(&wish.to_record(), at(2_000));
        assert_eq!(read, (Wanted::Private, Some(RecordDoubt::Expired)));
    }

    #[test]
    fn a_record_of_a_newer_version_means_private() {
        let newer = br#"{"version":2,"wanted":"public","until":null}"#;
        let read = Wanted::from_record(newer, at(0));
        assert_eq!(read, (Wanted::Private, Some(RecordDoubt::Unreadable)));
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_mean_public(cut in 0usize..60, flip in any::<u8>()) {
            let wish = Wanted::Public { until: None, node: NodeChoice::Auto };
            let mut bytes = wish.to_record();
            bytes.truncate(cut.min(bytes.len() - 1));
            if let Some(last) = bytes.last_mut() { *last ^= flip; }
            prop_assert_eq!(Wanted::from_record(&bytes, at(0)).0, Wanted::Private);
        }
    }
}
