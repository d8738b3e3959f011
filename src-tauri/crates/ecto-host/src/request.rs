//! What is said on the control socket: one JSON object a line, each way.

use ecto_core::cause::Cause;
use ecto_core::engine::command::{FoundKey, RevealedKey};
use ecto_core::gateway::RestoredKey;
use ecto_core::key::{KeyDigest, KeyGrant, KeyName, NewEnd, Route};
use ecto_core::offer::{Offer, Origin};
use ecto_core::ports::RequestLine;
use ecto_core::snapshot::KeyView;
use ecto_core::tailnet::NodeChoice;
use ecto_core::wanted::NewDeadline;
use ecto_core::words::{self, Message};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::report::Report;

/// The longest line that is read, in bytes.
pub const LINE_LIMIT: u64 = 64 * 1024;

/// What a client asks of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// One report.
    Status,
    /// A report now, and one whenever something changes, until the client hangs up.
    Watch,
    /// Looks at node and gateway, then one report.
    Look,
    /// Public.
    Connect {
        /// When it ends by itself.
        until: NewDeadline,
        /// Which node; the one that is wanted already, where this is not said.
        node: Option<NodeChoice>,
    },
    /// Private; answered when it is.
    Disconnect {
        /// Whether it is because the machine goes to sleep, which is told afterwards.
        #[serde(default)]
        for_sleep: bool,
    },
    /// The key itself.
    RevealKey,
    /// Another key in place of this one.
    RegenerateKey,
    /// All keys, as far as they may be shown.
    Keys {
        /// Whether the default one is made where there is none yet.
        #[serde(default)]
        makes_default: bool,
    },
    /// One key itself.
    ShowKey {
        /// Which.
        name: KeyName,
    },
    /// Whose a key is.
    FindKey {
        /// Its digest: whoever asks has the key, and the host need not.
        digest: KeyDigest,
    },
    /// Another key beside the ones there are.
    AddKey {
        /// What it is called.
        name: KeyName,
        /// What its holder may do.
        grant: KeyGrant,
    },
    /// Another secret in place of a key's.
    RotateKey {
        /// Which.
        name: KeyName,
        /// For how many seconds more the one before is good.
        #[serde(default)]
        grace_seconds: u64,
        /// When the new one ends.
        #[serde(default)]
        end: NewEnd,
    },
    /// Takes a key away.
    RevokeKey {
        /// Which.
        name: KeyName,
    },
    /// Gives a key another name.
    RenameKey {
        /// Which.
        name: KeyName,
        /// What it is called from now on.
        to: KeyName,
    },
    /// Restarts the gateway; answered when it is ready.
    RestartGateway,
    /// Private, and OpenClaw as it was.
    Restore,
    /// The check from outside, now.
    CheckOutside,
    /// The last requests through the guard.
    Requests {
        /// How many, at most [`AT_HAND`](crate::record::AT_HAND).
        limit: usize,
    },
    /// What is offered beside what always is.
    Offer,
    /// Allows or forbids an optional route.
    SetRoute {
        /// Which.
        route: Route,
        /// Whether it is offered from now on.
        allowed: bool,
    },
    /// Allows or forbids calls from the pages of an origin.
    SetOrigin {
        /// Which.
        origin: Origin,
        /// Whether its pages may call from now on.
        allowed: bool,
    },
    /// Closes the door and ends the host; answered when it is closed.
    Quit,
}

impl Request {
    /// Private, because somebody asks for it.
    pub const DISCONNECT: Self = Self::Disconnect { for_sleep: false };

    /// Whether it makes, shows or changes keys and does nothing else.
    pub fn is_about_keys(&self) -> bool {
        match self {
            Self::RevealKey
            | Self::RegenerateKey
            | Self::Keys { .. }
            | Self::ShowKey { .. }
            | Self::FindKey { .. }
            | Self::AddKey { .. }
            | Self::RotateKey { .. }
            | Self::RevokeKey { .. }
            | Self::RenameKey { .. } => true,
            Self::Status
            | Self::Watch
            | Self::Look
            | Self::Connect { .. }
            | Self::Disconnect { .. }
            | Self::RestartGateway
            | Self::Restore
            | Self::CheckOutside
            | Self::Requests { .. }
            | Self::Offer
            | Self::SetRoute { .. }
            | Self::SetOrigin { .. }
            | Self::Quit => false,
        }
    }
}

/// What the host answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`], [`Request::Watch`] and [`Request::Look`].
    Report(Box<Report>),
    /// It is done.
    Done,
    /// To [`Request::RevealKey`].
    Key {
        /// The key.
        #[serde(serialize_with = "expose")]
        key: SecretString,
    },
    /// To [`Request::Keys`].
    Keys {
        /// All of them.
        keys: Vec<KeyView>,
    },
    /// To [`Request::ShowKey`], [`Request::AddKey`] and [`Request::RotateKey`].
    NamedKey {
        /// What the client presents.
        #[serde(serialize_with = "expose")]
        secret: SecretString,
        /// What may be shown of it.
        key: Box<KeyView>,
    },
    /// To [`Request::FindKey`].
    FoundKey {
        /// Whose it is; `None` where it opens nothing.
        found: Option<Box<FoundKey>>,
    },
    /// To [`Request::Restore`].
    Restored {
        /// What became of each.
        keys: Vec<RestoredKey>,
    },
    /// To [`Request::Requests`], oldest first.
    Requests {
        /// A line each.
        lines: Vec<RequestLine>,
    },
    /// To [`Request::Offer`], [`Request::SetRoute`] and [`Request::SetOrigin`].
    Offered {
        /// What is offered now.
        offer: Offer,
    },
    /// It did not work.
    Failed {
        /// Why.
        cause: Cause,
        /// The same in a sentence.
        message: Message,
    },
    /// The request was not understood.
    NotUnderstood,
}

impl Answer {
    /// Whether it is better not told where the host ended meanwhile, so that whoever asked turns to the next one. That a key
    /// was not revoked is told: until somebody goes on from there, it is good.
    pub fn is_left_to_the_next(&self) -> bool {
        match self {
            Self::Failed { cause, .. } => !matches!(cause, Cause::KeyNotRevoked { .. }),
            Self::Report(_)
            | Self::Done
            | Self::Key { .. }
            | Self::Keys { .. }
            | Self::NamedKey { .. }
            | Self::FoundKey { .. }
            | Self::Restored { .. }
            | Self::Requests { .. }
            | Self::Offered { .. }
            | Self::NotUnderstood => false,
        }
    }

    /// Makes the answer for a cause.
    pub fn failed(cause: Cause) -> Self {
        Self::Failed {
            message: words::cause(&cause),
            cause,
        }
    }

    /// Makes the answer that carries a key.
    pub fn from_key(result: Result<RevealedKey, Cause>) -> Self {
        match result {
            Ok(RevealedKey { secret, view }) => Self::NamedKey {
                secret,
                key: Box::new(view),
            },
            Err(cause) => Self::failed(cause),
        }
    }

    /// Makes the answer for something that has no other result.
    pub fn from_done(result: Result<(), Cause>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(cause) => Self::failed(cause),
        }
    }

    /// Gives the answer back where it is one.
    pub fn settle(self) -> Result<Self, Unanswered> {
        match self {
            Self::Failed { cause, .. } => Err(Unanswered::Failed(cause)),
            Self::NotUnderstood => Err(Unanswered::NotUnderstood),
            Self::Report(_)
            | Self::Done
            | Self::Key { .. }
            | Self::Keys { .. }
            | Self::NamedKey { .. }
            | Self::FoundKey { .. }
            | Self::Restored { .. }
            | Self::Requests { .. }
            | Self::Offered { .. } => Ok(self),
        }
    }

    /// The report, where this is one.
    pub fn into_report(self) -> Result<Report, Unanswered> {
        let Self::Report(report) = self.settle()? else {
            return Err(Unanswered::NotUnderstood);
        };
        Ok(*report)
    }

    /// The key itself, where this is the answer to [`Request::RevealKey`].
    pub fn into_key(self) -> Result<SecretString, Unanswered> {
        let Self::Key { key } = self.settle()? else {
            return Err(Unanswered::NotUnderstood);
        };
        Ok(key)
    }

    /// What may be shown of all keys, where this is that.
    pub fn into_keys(self) -> Result<Vec<KeyView>, Unanswered> {
        let Self::Keys { keys } = self.settle()? else {
            return Err(Unanswered::NotUnderstood);
        };
        Ok(keys)
    }

    /// One key itself and what may be shown of it, where this is that.
    pub fn into_named_key(self) -> Result<(SecretString, KeyView), Unanswered> {
        let Self::NamedKey { secret, key } = self.settle()? else {
            return Err(Unanswered::NotUnderstood);
        };
        Ok((secret, *key))
    }

    /// Whose key it is, where this is the answer to [`Request::FindKey`].
    pub fn into_found_key(self) -> Result<Option<FoundKey>, Unanswered> {
        let Self::FoundKey { found } = self.settle()? else {
            return Err(Unanswered::NotUnderstood);
        };
        Ok(found.map(|found| *found))
    }

    /// What became of OpenClaw's keys, where this is the answer to [`Request::Restore`].
    pub fn into_restored(self) -> Result<Vec<RestoredKey>, Unanswered> {
        let Self::Restored { keys } = self.settle()? else {
            return Err(Unanswered::NotUnderstood);
        };
        Ok(keys)
    }

    /// The last requests, where this is that.
    pub fn into_requests(self) -> Result<Vec<RequestLine>, Unanswered> {
        let Self::Requests { lines } = self.settle()? else {
            return Err(Unanswered::NotUnderstood);
        };
        Ok(lines)
    }

    /// What is offered, where this is that.
    pub fn into_offer(self) -> Result<Offer, Unanswered> {
        let Self::Offered { offer } = self.settle()? else {
            return Err(Unanswered::NotUnderstood);
        };
        Ok(offer)
    }
}

/// Why an answer does not have what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// It did not work.
    Failed(Cause),
    /// The host did not understand the request, or it answered another one: it is of another version.
    NotUnderstood,
}

/// The socket is for its owner alone; no other answers carry a key over it.
fn expose<S: Serializer>(key: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stays_is_told_although_the_host_ended() {
        let stays = Cause::KeyNotRevoked {
            name: "phone".parse().unwrap(),
            detail: "no session".into(),
        };
        assert!(!Answer::failed(stays).is_left_to_the_next());
        assert!(!Answer::Done.is_left_to_the_next());
        let ended = Cause::Internal {
            detail: "the engine has ended".into(),
        };
        assert!(Answer::failed(ended).is_left_to_the_next());
    }
}
