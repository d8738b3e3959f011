//! Why a command did not work, as it is told.

use ecto_core::cause::Cause;
use ecto_core::words::{self, Message};
use ecto_host::client::ClientFault;
use ecto_host::host::HostFault;
use ecto_host::lock::LockFault;
use ecto_host::report::SCHEMA;
use ecto_host::request::Unanswered;
use ecto_host::world::WorldFault;
use serde_json::{Value, json};

use crate::exit::Exit;

const UNPRINTED: &str = "result_unprinted";

/// Why a command did not work.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The engine said so.
    Cause(Cause),
    /// Something of the command's own.
    Own {
        /// The stable code.
        code: &'static str,
        /// The sentences.
        message: Message,
        /// How it ends.
        exit: Exit,
    },
}

impl Failure {
    /// Makes a failure of the command's own.
    pub fn own(code: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Own {
            code,
            message: Message {
                what: what.into(),
                next: Some(next.into()),
            },
            exit: Exit::Failed,
        }
    }

    /// Makes the failure of a command that was not understood, from what the parser says about it.
    pub fn usage(said: &str) -> Self {
        let first = said.split("\n\n").next().unwrap_or_default();
        Self::Own {
            code: "usage",
            message: Message {
                what: first.trim_start_matches("error: ").trim().to_owned(),
                next: Some("See: ecto --help".to_owned()),
            },
            exit: Exit::Usage,
        }
    }

    /// A host has the lock and does not answer.
    pub fn silent_host(process: Option<u32>) -> Self {
        let who = process.map_or_else(String::new, |process| format!(" (process {process})"));
        Self::Own {
            code: "host_silent",
            message: Message {
                what: format!(
                    "Ecto runs{who} and does not answer, so whether the door is open is not known."
                ),
                next: Some(
                    "Try again in a moment. To be sure, end that process: the door closes with it."
                        .to_owned(),
                ),
            },
            exit: Exit::Danger,
        }
    }

    /// What a command did is done, and its result could not be written.
    pub fn unprinted(fault: &std::io::Error) -> Self {
        Self::own(
            UNPRINTED,
            format!("The result could not be printed: {fault}."),
            "Free some room there, or have it printed elsewhere.",
        )
    }

    /// Says of a result that could not be printed what it was and how to see it. Other failures stay as they are.
    pub fn or_unprinted(self, what: &str, next: impl Into<String>) -> Self {
        if self.code() != UNPRINTED {
            return self;
        }
        let said = self.message().what;
        Self::own(UNPRINTED, format!("{what} {said}"), next)
    }

    fn other_version() -> Self {
        Self::own(
            "host_not_understood",
            "The running Ecto speaks another version than this command.",
            "End it, then try again with one version.",
        )
    }

    /// What happened and what to do.
    pub fn message(&self) -> Message {
        match self {
            Self::Cause(cause) => words::cause(cause),
            Self::Own { message, .. } => message.clone(),
        }
    }

    /// The stable code.
    pub fn code(&self) -> String {
        match self {
            Self::Cause(cause) => cause.code(),
            Self::Own { code, .. } => (*code).to_owned(),
        }
    }

    /// How it ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Cause(cause) => Exit::of(cause),
            Self::Own { exit, .. } => *exit,
        }
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        let message = self.message();
        json!({
            "schema": SCHEMA,
            "error": { "code": self.code(), "what": message.what, "next": message.next },
        })
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self::Cause(cause)
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Failed(cause) => cause.into(),
            Unanswered::NotUnderstood => Self::other_version(),
        }
    }
}

impl From<ClientFault> for Failure {
    fn from(fault: ClientFault) -> Self {
        match fault {
            ClientFault::NoHost => Self::own(
                "no_host",
                "Ecto is not running.",
                "Start it with `ecto connect`.",
            ),
            ClientFault::Ended => Self::own(
                "host_ended",
                "Ecto ended before it answered, so the door is closed.",
                "Look at `ecto logs`, then try again.",
            ),
            ClientFault::Silent => Self::own(
                "host_silent",
                "Ecto is running and does not answer.",
                "Wait a moment and try again. If it stays so, end its process: that closes the door.",
            ),
            ClientFault::NotUnderstood { .. } => Self::other_version(),
        }
    }
}

impl From<LockFault> for Failure {
    fn from(fault: LockFault) -> Self {
        match fault {
            LockFault::Taken { process } => {
                let who =
                    process.map_or_else(String::new, |process| format!(" (process {process})"));
                Self::own(
                    "host_busy",
                    format!("Another Ecto is starting or ending{who}."),
                    "Wait a moment, then try again.",
                )
            }
            LockFault::Unusable { path, source } => Self::own(
                "lock_unusable",
                format!("The lock {} cannot be used: {source}.", path.display()),
                "Make the folder writable for your user, then try again.",
            ),
        }
    }
}

impl From<HostFault> for Failure {
    fn from(fault: HostFault) -> Self {
        match fault {
            HostFault::Socket { path, source } => Self::own(
                "socket_unusable",
                format!(
                    "The control socket {} cannot be made: {source}.",
                    path.display()
                ),
                "Make the folder writable for your user, then try again.",
            ),
        }
    }
}

impl From<WorldFault> for Failure {
    fn from(fault: WorldFault) -> Self {
        let message = match &fault {
            WorldFault::Vault(fault) => words::cause(&fault.clone().into()),
            WorldFault::Randomness(_)
            | WorldFault::Lab { .. }
            | WorldFault::Sandbox(_)
            | WorldFault::Outside(_) => Message {
                what: format!("Ecto could not start: {fault}."),
                next: Some("Try again; `ecto logs` may tell more.".to_owned()),
            },
        };
        Self::Own {
            code: fault.code(),
            message,
            exit: Exit::Failed,
        }
    }
}
