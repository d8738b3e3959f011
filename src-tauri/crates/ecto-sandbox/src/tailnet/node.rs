//! What a node is and knows: identity, keys, grants, health.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::prefs::Prefs;
use super::version::Release;

/// The state of the daemon, as `ipn.State` (`ipn/backend.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum BackendState {
    /// Not known yet.
    NoState = 0,
    /// Another user of this machine uses the daemon.
    InUseOtherUser = 1,
    /// Somebody must sign in.
    NeedsLogin = 2,
    /// An admin of the tailnet must approve this machine.
    NeedsMachineAuth = 3,
    /// Signed in and off.
    Stopped = 4,
    /// On its way to running.
    Starting = 5,
    /// Connected.
    Running = 6,
}

impl BackendState {
    /// The name in `BackendState` of a status.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoState => "NoState",
            Self::InUseOtherUser => "InUseOtherUser",
            Self::NeedsLogin => "NeedsLogin",
            Self::NeedsMachineAuth => "NeedsMachineAuth",
            Self::Stopped => "Stopped",
            Self::Starting => "Starting",
            Self::Running => "Running",
        }
    }

    /// The number in `State` of a bus message.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// What the tailnet allows the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grants {
    pub(crate) https: bool,
    pub(crate) funnel: bool,
    /// Ports in the form of the capability: `443,8443,10000`, with ranges `a-b`.
    pub(crate) ports: String,
}

impl Grants {
    pub(crate) fn allows_port(&self, port: u16) -> bool {
        self.funnel
            && self.https
            && self.ports.split(',').any(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
                    (Ok(first), Ok(last)) => (first..=last).contains(&port),
                    (Err(_), _) | (_, Err(_)) => false,
                }
            })
    }
}

/// A health warning (`health.UnhealthyState`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Stable code, such as `no-derp-connection`.
    pub code: String,
    /// `high`, `medium` or `low`.
    pub severity: String,
    /// A title.
    pub title: String,
    /// What is wrong, as a sentence.
    pub text: String,
}

impl Warning {
    fn new(code: &str, title: &str, text: &str) -> Self {
        Self {
            code: code.to_owned(),
            severity: "low".to_owned(),
            title: title.to_owned(),
            text: text.to_owned(),
        }
    }
}

/// The certificate of the node's name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum CertificateState {
    /// It is there.
    #[default]
    Ready,
    /// It is being fetched: TLS handshakes fail with `internal_error`, and a health warning tells it.
    Pending,
    /// The authority refuses for now: 429 with these seconds in `Retry-After`.
    Limited {
        /// Seconds until it may be tried again.
        retry_after: u64,
    },
    /// It cannot be had, with this text: 500.
    Failed(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) version: String,
    pub(crate) host_name: String,
    pub(crate) suffix: String,
    pub(crate) tailnet: String,
    pub(crate) login: String,
    pub(crate) magic_dns: bool,
    pub(crate) prefs: Prefs,
    pub(crate) has_key: bool,
    pub(crate) key_expired: bool,
    pub(crate) machine_approved: bool,
    pub(crate) starting: bool,
    pub(crate) in_use_by_other: bool,
    pub(crate) sign_in_url: Option<String>,
    pub(crate) grants: Grants,
    pub(crate) certificate: CertificateState,
    pub(crate) raised: BTreeMap<String, Warning>,
}

impl Node {
    pub(crate) fn release(&self) -> Release {
        Release::of(&self.version)
    }

    /// The public name, without a dot at its end.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}", self.host_name, self.suffix)
    }

    pub(crate) fn is_in_network_map(&self) -> bool {
        self.has_key && !self.prefs.flag("LoggedOut")
    }

    pub(crate) fn state(&self) -> BackendState {
        if self.in_use_by_other {
            BackendState::InUseOtherUser
        } else if !self.is_in_network_map() || self.key_expired {
            BackendState::NeedsLogin
        } else if !self.prefs.flag("WantRunning") {
            BackendState::Stopped
        } else if !self.machine_approved {
            BackendState::NeedsMachineAuth
        } else if self.starting {
            BackendState::Starting
        } else {
            BackendState::Running
        }
    }

    /// What is unhealthy now: what follows from the state, and what was raised.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        match self.state() {
            BackendState::Running => {}
            BackendState::NeedsLogin if self.prefs.flag("WantRunning") => {
                warnings.push(Warning::new(
                    "warming-up",
                    "Tailscale is starting",
                    "Tailscale is starting. Please wait.",
                ))
            }
            BackendState::Starting | BackendState::NoState => warnings.push(Warning::new(
                "warming-up",
                "Tailscale is starting",
                "Tailscale is starting. Please wait.",
            )),
            BackendState::NeedsLogin | BackendState::Stopped => warnings.push(Warning::new(
                "wantrunning-false",
                "Tailscale off",
                "Tailscale is stopped.",
            )),
            BackendState::NeedsMachineAuth | BackendState::InUseOtherUser => {}
        }
        if self.certificate == CertificateState::Pending && self.state() == BackendState::Running {
            warnings.push(Warning::new(
                "tls-cert-pending",
                "TLS certificate pending",
                &format!("Fetching TLS certificate via ACME for: {}", self.host()),
            ));
        }
        warnings.extend(self.raised.values().cloned());
        warnings
    }

    pub(crate) fn health_texts(&self) -> Vec<String> {
        self.warnings()
            .into_iter()
            .map(|warning| warning.text)
            .collect()
    }

    /// `Health` of a bus message.
    pub(crate) fn health(&self) -> Value {
        let warnings = self.warnings();
        if warnings.is_empty() {
            return json!({"Warnings": null});
        }
        let warnings: serde_json::Map<String, Value> = warnings
            .into_iter()
            .map(|warning| {
                let entry = json!({
                    "WarnableCode": warning.code,
                    "Severity": warning.severity,
                    "Title": warning.title,
                    "Text": warning.text,
                    "BrokenSince": "2026-01-01T00:00:00Z",
                    "ETag": etag(&warning),
                });
                (warning.code, entry)
            })
            .collect();
        json!({"Warnings": warnings})
    }
}

fn etag(warning: &Warning) -> String {
    use sha2::Digest;
    let text = format!("{}|{}|{}", warning.code, warning.severity, warning.text);
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(text))
}
