//! What tailscaled says of itself.

use std::collections::BTreeMap;
use std::fmt;

use ecto_core::foreign::ForeignText;
use ecto_core::tailnet::{FunnelPermission, FunnelPort, HostName};
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

/// State of the backend (tailscale 1.104, `ipn/backend.go`, `State`): a number on the bus, a word in `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Unset,
    InUseOtherUser,
    NeedsLogin,
    NeedsMachineAuth,
    Stopped,
    Starting,
    Running,
    /// One that came after this version of Ecto.
    Unknown(String),
}

impl State {
    fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Unset,
            1 => Self::InUseOtherUser,
            2 => Self::NeedsLogin,
            3 => Self::NeedsMachineAuth,
            4 => Self::Stopped,
            5 => Self::Starting,
            6 => Self::Running,
            other => Self::Unknown(other.to_string()),
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "NoState" => Self::Unset,
            "InUseOtherUser" => Self::InUseOtherUser,
            "NeedsLogin" => Self::NeedsLogin,
            "NeedsMachineAuth" => Self::NeedsMachineAuth,
            "Stopped" => Self::Stopped,
            "Starting" => Self::Starting,
            "Running" => Self::Running,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = State;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the number or the name of a state")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<State, E> {
                Ok(State::from_number(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<State, E> {
                Ok(State::from_number(
                    i64::try_from(number).unwrap_or(i64::MAX),
                ))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<State, E> {
                Ok(State::from_word(word))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Answer to `GET status`, as far as Ecto needs it (tailscale 1.104, `ipn/ipnstate/ipnstate.go`, `Status`).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Status {
    #[serde(rename = "Version", default)]
    pub(crate) version: String,
    #[serde(rename = "BackendState")]
    pub(crate) state: State,
    #[serde(rename = "HaveNodeKey", default)]
    pub(crate) have_node_key: bool,
    #[serde(rename = "AuthURL", default)]
    pub(crate) sign_in_link: String,
    #[serde(rename = "Self", default)]
    node: Option<SelfNode>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SelfNode {
    #[serde(rename = "DNSName", default)]
    name: String,
    #[serde(rename = "Expired", default)]
    expired: bool,
    #[serde(rename = "CapMap", default)]
    capabilities: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(rename = "Capabilities", default)]
    old_capabilities: Option<Vec<String>>,
}

/// What is known to be wrong with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionFault {
    /// It came before the serve configuration and the capabilities that Ecto needs.
    TooOld,
    /// Its Funnel refuses everybody.
    BrokenFunnel,
}

impl Status {
    /// Whether the node's key has run out, so that somebody has to sign in again.
    pub(crate) fn expired(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.expired)
    }

    pub(crate) fn host(&self) -> Option<HostName> {
        HostName::new(&self.node.as_ref()?.name)
    }

    pub(crate) fn shown_version(&self) -> ForeignText {
        ForeignText::new(self.version.split('-').next().unwrap_or_default())
    }

    /// 1.52 is the first with the serve configuration as it is written here. 1.102.0 and 1.102.1 refuse every Funnel
    /// connection ("peerapi: ingress: denied; no ingress cap", mended in 1.102.2). A version that cannot be read passes.
    pub(crate) fn version_fault(&self) -> Option<VersionFault> {
        let number = self.version.split(['-', '+']).next()?;
        let mut parts = number.split('.').map(str::parse::<u32>);
        let major = parts.next()?.ok()?;
        let minor = parts.next()?.ok()?;
        let patch = parts.next().and_then(Result::ok).unwrap_or(0);
        if (major, minor) < (1, 52) {
            return Some(VersionFault::TooOld);
        }
        matches!((major, minor, patch), (1, 102, 0 | 1)).then_some(VersionFault::BrokenFunnel)
    }

    pub(crate) fn https_allowed(&self) -> bool {
        self.has_capability("https")
    }

    pub(crate) fn funnel(&self) -> FunnelPermission {
        if self.funnel_ports().is_empty() {
            FunnelPermission::Missing
        } else {
            FunnelPermission::Allowed
        }
    }

    /// The ports on which Funnel is allowed; none where HTTPS or the `funnel` attribute is missing
    /// (tailscale 1.104, `ipn/serve.go`, `NodeCanFunnel` and `CheckFunnelPort`).
    pub(crate) fn funnel_ports(&self) -> Vec<FunnelPort> {
        if !self.has_capability("https") || !self.has_capability("funnel") {
            return Vec::new();
        }
        let allowed = |port: &FunnelPort| {
            self.capabilities()
                .any(|name| allows_port(name, port.number()))
        };
        FunnelPort::ALL.into_iter().filter(allowed).collect()
    }

    fn has_capability(&self, wanted: &str) -> bool {
        self.capabilities().any(|name| name == wanted)
    }

    fn capabilities(&self) -> impl Iterator<Item = &str> {
        let node = self.node.iter();
        node.flat_map(|node| {
            let named = node.capabilities.iter().flat_map(BTreeMap::keys);
            let listed = node.old_capabilities.iter().flatten();
            named.chain(listed).map(String::as_str)
        })
    }
}

fn allows_port(capability: &str, port: u16) -> bool {
    let Some(query) = capability.strip_prefix("https://tailscale.com/cap/funnel-ports?") else {
        return false;
    };
    url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "ports")
        .any(|(_, ports)| ports.split(',').any(|range| in_range(range, port)))
}

fn in_range(range: &str, port: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last).contains(&port),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Answer to `query-feature` (tailscale 1.104, `tailcfg/tailcfg.go`, `QueryFeatureResponse`).
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct FeatureAnswer {
    #[serde(rename = "Complete", default)]
    pub(crate) complete: bool,
    #[serde(rename = "Text", default)]
    pub(crate) text: String,
    #[serde(rename = "URL", default)]
    pub(crate) link: String,
    #[serde(rename = "ShouldWait", default)]
    pub(crate) should_wait: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: &str, capabilities: &[&str]) -> Status {
        let map: BTreeMap<&str, Option<()>> =
            capabilities.iter().map(|name| (*name, None)).collect();
        let value = serde_json::json!({
            "Version": version,
            "BackendState": "Running",
            "HaveNodeKey": true,
            "AuthURL": "",
            "Self": {"DNSName": "Mac.tail1234.ts.net.", "CapMap": map},
            "SomethingNew": [1, 2],
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_running_node_tells_its_name_and_what_it_may_do() {
        let all = status(
            "1.96.5-t0123456789",
            &[
                "https",
                "funnel",
                "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000",
            ],
        );
        assert_eq!(all.host().unwrap().as_str(), "mac.tail1234.ts.net");
        assert_eq!(all.funnel_ports(), FunnelPort::ALL);
        assert_eq!(all.shown_version().as_str(), "1.96.5");
    }

    #[test]
    fn funnel_needs_https_the_attribute_and_a_port() {
        let ports = "https://tailscale.com/cap/funnel-ports?ports=8000-9000,10000";
        assert!(
            status("1.96.5", &["funnel", ports])
                .funnel_ports()
                .is_empty()
        );
        assert!(
            status("1.96.5", &["https", ports])
                .funnel_ports()
                .is_empty()
        );
        assert!(
            status("1.96.5", &["https", "funnel"])
                .funnel_ports()
                .is_empty()
        );
        assert_eq!(
            status("1.96.5", &["https", "funnel", ports]).funnel_ports(),
            [FunnelPort::Alternative, FunnelPort::Last]
        );
        assert_eq!(
            status(
                "1.96.5",
                &[
                    "https",
                    "funnel",
                    "https://tailscale.com/cap/funnel-ports?ports=443-x,z"
                ]
            )
            .funnel(),
            FunnelPermission::Missing
        );
    }

    #[test]
    fn versions_are_judged_by_their_numbers() {
        let fault = |version: &str| status(version, &[]).version_fault();
        assert_eq!(fault("1.50.1-tabc"), Some(VersionFault::TooOld));
        assert_eq!(fault("1.52.0"), None);
        assert_eq!(fault("1.102.0-t1-g2"), Some(VersionFault::BrokenFunnel));
        assert_eq!(fault("1.102.1"), Some(VersionFault::BrokenFunnel));
        assert_eq!(fault("1.102.2"), None);
        assert_eq!(fault("1.102.10"), None);
        assert_eq!(fault("2.0.0"), None);
        assert_eq!(fault("1.103.0-dev20260822"), None);
        assert_eq!(fault("from-source"), None);
    }
}
