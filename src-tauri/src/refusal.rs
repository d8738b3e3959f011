//! Why something was not done, as it crosses to the page and to a notification.

use ecto_core::cause::Cause;
use ecto_core::words::{self, Message};
use ecto_host::client::ClientFault;
use ecto_host::lock::LockFault;
use ecto_host::request::Unanswered;
use ecto_host::world::LabUnusable;
use ecto_platform::clipboard::CopyFault;
use ecto_platform::folders::FolderFault;
use serde::Serialize;

/// Said of a host that is there and says nothing. What was shown last may no longer be so.
pub const HOST_SILENT: &str =
    "The Ecto that runs in a terminal does not answer, so nobody knows whether the door is open.";

/// Why something was not done: a stable code, and the sentences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Refusal {
    /// The stable code.
    pub code: String,
    /// What happened.
    pub what: String,
    /// What to do next.
    pub next: Option<String>,
}

impl Refusal {
    /// Makes a refusal of the app's own.
    pub fn new(code: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            what: what.into(),
            next: Some(next.into()),
        }
    }

    fn of_message(code: impl Into<String>, message: Message) -> Self {
        Self {
            code: code.into(),
            what: message.what,
            next: message.next,
        }
    }

    fn other_version() -> Self {
        Self::new(
            "host_not_understood",
            "The Ecto that runs in a terminal speaks another version than this app.",
            "End it there, then connect again.",
        )
    }

    /// There is nothing of that kind to act on right now.
    pub fn nothing(what: &str) -> Self {
        Self {
            code: "nothing_there".to_owned(),
            what: what.to_owned(),
            next: None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.what)?;
        match &self.next {
            Some(next) => write!(formatter, " {next}"),
            None => Ok(()),
        }
    }
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Self {
        Self::of_message(cause.code(), words::app::cause(&cause))
    }
}

impl From<FolderFault> for Refusal {
    fn from(fault: FolderFault) -> Self {
        Self {
            code: fault.code().to_owned(),
            what: fault.to_string(),
            next: None,
        }
    }
}

impl From<LabUnusable> for Refusal {
    fn from(fault: LabUnusable) -> Self {
        Self::of_message(LabUnusable::CODE, fault.message())
    }
}

impl From<CopyFault> for Refusal {
    fn from(fault: CopyFault) -> Self {
        let what = match fault {
            CopyFault::NoDisplay => "There is no clipboard here: no display is in use.".to_owned(),
            CopyFault::Unavailable(detail) => {
                format!("The clipboard cannot be used: {detail}.")
            }
            CopyFault::Thread(fault) => format!("The clipboard cannot be used: {fault}."),
        };
        Self::new(
            "clipboard_unusable",
            what,
            "The address, and the key while its eye is held, can be read in Ecto instead.",
        )
    }
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Failed(cause) => cause.into(),
            Unanswered::NotUnderstood => Self::other_version(),
        }
    }
}

impl From<ClientFault> for Refusal {
    fn from(fault: ClientFault) -> Self {
        match fault {
            ClientFault::NoHost => Self::new(
                "no_host",
                "The Ecto that ran in a terminal has ended, so the door is closed.",
                "Connect again.",
            ),
            ClientFault::Ended => Self::new(
                "host_ended",
                "The Ecto that ran in a terminal ended before it answered, so the door is closed.",
                "Connect again.",
            ),
            ClientFault::Silent => Self::new(
                "host_silent",
                HOST_SILENT,
                "End it there, which closes the door. After Ctrl-Z, type fg there first.",
            ),
            ClientFault::NotUnderstood { .. } => Self::other_version(),
        }
    }
}

impl From<LockFault> for Refusal {
    fn from(fault: LockFault) -> Self {
        match fault {
            LockFault::Taken { process } => {
                let who =
                    process.map_or_else(String::new, |process| format!(" (process {process})"));
                Self::new(
                    "host_busy",
                    format!("Another Ecto is starting or ending{who}."),
                    "Wait a moment, then try again.",
                )
            }
            LockFault::Unusable { path, source } => Self::new(
                "lock_unusable",
                format!("The lock {} cannot be used: {source}.", path.display()),
                "Make the folder writable for your user, then start Ecto again.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_app_sends_nobody_to_the_command() {
        let refusals = [
            Refusal::from(CopyFault::NoDisplay),
            Refusal::from(CopyFault::Unavailable("no answer".into())),
            Refusal::from(Cause::DefaultKeyStays),
            Refusal::from(Unanswered::Failed(Cause::GatewayTokenRefused)),
        ];
        for refusal in refusals {
            assert!(!refusal.to_string().contains("`ecto "), "{refusal}");
            assert!(refusal.next.is_some(), "{refusal}");
        }
    }
}
