//! One thing the engine does on the way from Private to Public.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::foreign::ForeignText;
use crate::tailnet::Link;

/// One thing the engine does. The order of the variants is the order of the journey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Brings Tailscale onto the machine.
    InstallTailscale,
    /// Starts tailscaled, and waits until it answers.
    StartTailscale,
    /// Signs in, by a link that a person opens, and waits for approval where the tailnet asks for it.
    SignIn,
    /// Gets HTTPS and Funnel allowed, by a link that a person opens.
    AllowFunnel,
    /// Sets the keys that OpenClaw needs.
    SetUpOpenClaw,
    /// Starts or restarts the gateway, and waits until it is ready.
    StartOpenClaw,
    /// Starts the guard in front of the gateway.
    StartGuard,
    /// Proves that the lock holds.
    Prove,
    /// Opens the door: claims the address.
    Open,
    /// Asks from outside whether it is reachable, and only with the key.
    CheckOutside,
}

impl Step {
    /// All steps in the order of the journey.
    pub const ALL: [Self; 10] = [
        Self::InstallTailscale,
        Self::StartTailscale,
        Self::SignIn,
        Self::AllowFunnel,
        Self::SetUpOpenClaw,
        Self::StartOpenClaw,
        Self::StartGuard,
        Self::Prove,
        Self::Open,
        Self::CheckOutside,
    ];

    /// How long the step may take before it is given up. The steps that wait for a person are generous.
    pub fn limit(self) -> Duration {
        let seconds = match self {
            Self::InstallTailscale => 20 * 60,
            Self::SignIn | Self::AllowFunnel => 30 * 60,
            Self::StartTailscale => 5 * 60,
            Self::StartOpenClaw => 3 * 60,
            Self::SetUpOpenClaw | Self::CheckOutside => 60,
            Self::StartGuard | Self::Prove | Self::Open => 20,
        };
        Duration::from_secs(seconds)
    }
}

/// What a running step waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Waiting {
    /// A person opens the link and signs in.
    SignIn {
        /// Where.
        link: Link,
    },
    /// An administrator of the tailnet approves this machine.
    Approval {
        /// Where.
        link: Link,
    },
    /// A person with the right to do so allows Funnel.
    FunnelPermission {
        /// Where.
        link: Link,
    },
    /// A person answers the administrator prompt.
    AdministratorPrompt,
    /// Tailscale gets ready.
    Tailscale,
    /// The gateway gets ready.
    Gateway,
}

impl Waiting {
    /// The link a person is asked to open, where there is one.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Self::SignIn { link } | Self::Approval { link } | Self::FunnelPermission { link } => {
                Some(link)
            }
            Self::AdministratorPrompt | Self::Tailscale | Self::Gateway => None,
        }
    }
}

/// What a running step tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepNote {
    /// It waits for something; replaces the note before it.
    Waiting(Waiting),
    /// A line of live progress, such as an installer prints.
    Progress(ForeignText),
}

/// Where a running step puts its notes. Cheap to clone; telling never waits and never fails.
#[derive(Debug, Clone)]
pub struct Reporter(Option<mpsc::UnboundedSender<StepNote>>);

impl Reporter {
    /// Makes a reporter and the end at which its notes arrive.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<StepNote>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Makes a reporter to which nobody listens.
    pub fn silent() -> Self {
        Self(None)
    }

    /// Tells what the step waits for.
    pub fn waiting(&self, waiting: Waiting) {
        self.tell(StepNote::Waiting(waiting));
    }

    /// Tells a line of live progress.
    pub fn progress(&self, line: impl AsRef<str>) {
        self.tell(StepNote::Progress(ForeignText::new(line)));
    }

    fn tell(&self, note: StepNote) {
        if let Some(sender) = &self.0 {
            // Nobody listens any more once the step was given up.
            let _ = sender.send(note);
        }
    }
}
