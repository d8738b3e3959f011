//! What is seen of the tailnet: the node that holds the claim, and how far it is from being able to.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::cause::Cause;
use crate::foreign::ForeignText;

/// Which tailscaled the person wants to hold the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum NodeChoice {
    /// The one that answers; where none does, Ecto's own.
    #[default]
    Auto,
    /// Ecto's own, even where another answers.
    Own,
    /// The one for the whole machine, installed and started where it is missing.
    System,
}

/// Which tailscaled it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A child of the host, in userspace, with its own state folder.
    Own,
    /// The open-source daemon that runs for the whole machine.
    System,
    /// The Mac App Store app.
    AppStore,
    /// The app from Tailscale's package.
    Standalone,
}

/// A web address that a person is asked to open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(transparent)]
#[cfg_attr(feature = "typescript", ts(type = "string"))]
pub struct Link(Url);

impl Link {
    /// Takes an address that may be opened: https, or http on loopback (the lab and the sandbox).
    /// Returns `None` for anything else.
    pub fn new(address: &str) -> Option<Self> {
        let url = Url::parse(address).ok()?;
        let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        let allowed = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        allowed.then_some(Self(url))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The name under which the node is known: `machine.tailnet.ts.net`, lower case, no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(transparent)]
#[cfg_attr(feature = "typescript", ts(type = "string"))]
pub struct HostName(String);

impl HostName {
    /// Takes a DNS name as tailscaled gives it (`Self.DNSName`, with or without a trailing dot).
    /// Returns `None` where it could not stand in a web address.
    pub fn new(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let fits = name.len() <= 253 && name.contains('.') && name.split('.').all(label);
        fits.then_some(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One of the three ports that Funnel serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(into = "u16", try_from = "u16")]
#[cfg_attr(feature = "typescript", ts(type = "443 | 8443 | 10000"))]
pub enum FunnelPort {
    /// 443, which needs no port in the address.
    Https,
    /// 8443.
    Alternative,
    /// 10000.
    Last,
}

impl FunnelPort {
    /// The ports in the order in which they are tried.
    pub const ALL: [Self; 3] = [Self::Https, Self::Alternative, Self::Last];

    /// The number.
    pub fn number(self) -> u16 {
        self.into()
    }
}

impl From<FunnelPort> for u16 {
    fn from(port: FunnelPort) -> Self {
        match port {
            FunnelPort::Https => 443,
            FunnelPort::Alternative => 8443,
            FunnelPort::Last => 10000,
        }
    }
}

impl TryFrom<u16> for FunnelPort {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::ALL
            .into_iter()
            .find(|port| port.number() == number)
            .ok_or_else(|| format!("{number} is not a Funnel port"))
    }
}

/// Where the world finds the guard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PublicAddress {
    /// The node's name.
    pub host: HostName,
    /// The port.
    pub port: FunnelPort,
}

impl PublicAddress {
    /// `https://host[:port]`, without a trailing slash.
    pub fn origin(&self) -> String {
        match self.port {
            FunnelPort::Https => format!("https://{}", self.host.as_str()),
            FunnelPort::Alternative | FunnelPort::Last => {
                format!("https://{}:{}", self.host.as_str(), self.port.number())
            }
        }
    }

    /// The address a client calls for a chat completion.
    pub fn chat_completions(&self) -> String {
        format!("{}/v1/chat/completions", self.origin())
    }
}

/// Who is to install Tailscale, where it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", tag = "installer")]
pub enum Installer {
    /// Homebrew, which Ecto runs after saying so.
    Homebrew,
    /// The person, from Tailscale's page: Homebrew is not there, or the Linux distribution does not have it.
    Download,
    /// The person, with this command.
    Person {
        /// What to type.
        command: String,
    },
}

/// Whether the tailnet lets this node use Funnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum FunnelPermission {
    /// HTTPS and Funnel are allowed, on at least one port.
    Allowed,
    /// HTTPS, the `funnel` attribute or the ports are missing.
    Missing,
}

/// A node that is signed in and running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct RunningNode {
    /// Which tailscaled it is.
    pub kind: NodeKind,
    /// Its name in the tailnet.
    pub host: HostName,
    /// What it says of its version.
    pub version: ForeignText,
    /// Whether Funnel is allowed.
    pub funnel: FunnelPermission,
}

/// What is seen of the tailnet at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", tag = "tailnet")]
pub enum TailnetView {
    /// No tailscaled answers and no binary is there.
    Missing {
        /// How it can come.
        installer: Installer,
    },
    /// It is installed and does not answer.
    NotRunning {
        /// Which one would be started.
        kind: NodeKind,
    },
    /// It runs and is getting there by itself.
    Starting {
        /// Which tailscaled it is.
        kind: NodeKind,
    },
    /// Somebody has to sign in.
    NeedsSignIn {
        /// Which tailscaled it is.
        kind: NodeKind,
    },
    /// Signed in, switched off.
    Stopped {
        /// Which tailscaled it is.
        kind: NodeKind,
    },
    /// An administrator of the tailnet has to approve this machine.
    NeedsApproval {
        /// Which tailscaled it is.
        kind: NodeKind,
    },
    /// It can hold a claim, once Funnel is allowed.
    Running(RunningNode),
    /// It cannot be used as it is.
    Refused {
        /// Why.
        cause: Cause,
    },
}

impl TailnetView {
    /// Which tailscaled it is, where there is one.
    pub fn kind(&self) -> Option<NodeKind> {
        match self {
            Self::NotRunning { kind }
            | Self::Starting { kind }
            | Self::NeedsSignIn { kind }
            | Self::Stopped { kind }
            | Self::NeedsApproval { kind } => Some(*kind),
            Self::Running(node) => Some(node.kind),
            Self::Missing { .. } | Self::Refused { .. } => None,
        }
    }
}
