//! What the guard offers beside what it always does. Each is off until a person allows it, because each has a danger of its
//! own.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::key::Route;

/// The most origins.
pub const MOST_ORIGINS: usize = 32;

/// The longest origin, in bytes: a scheme, the longest host name and a port.
const LONGEST_ORIGIN: usize = 8 + 253 + 6;

/// What a person allowed. A field that is not known makes the whole unreadable: it may be a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The optional routes that are allowed.
    #[cfg_attr(feature = "typescript", ts(as = "Vec<Route>"))]
    pub routes: BTreeSet<Route>,
    /// The web pages whose programs may call.
    #[cfg_attr(feature = "typescript", ts(as = "Vec<Origin>"))]
    pub origins: BTreeSet<Origin>,
}

impl Offer {
    /// Whether this route is offered at all.
    pub fn has(&self, route: Route) -> bool {
        !route.is_optional() || self.routes.contains(&route)
    }
}

/// Where a web page comes from, exactly as browsers write it in `Origin`: a scheme, a host, and a port where it is not the
/// scheme's own. Never `*` and never `null`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

/// Something that is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is written as browsers send it: https://app.example or http://localhost:3000, in lower case, without a path"
)]
pub struct BadOrigin;

impl Origin {
    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let (own_port, rest) = match text.split_once("://") {
            Some(("https", rest)) => (443, rest),
            Some(("http", rest)) => (80, rest),
            Some(_) | None => return Err(BadOrigin),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, Some(port.strip_prefix(':').ok_or(BadOrigin)?)),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let good_host = if rest.starts_with('[') {
            host.parse::<std::net::Ipv6Addr>()
                .is_ok_and(|address| address.to_string() == host)
        } else {
            let label = |label: &str| {
                !label.is_empty()
                    && label.bytes().all(|byte| {
                        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
                    })
            };
            host.split('.').all(label)
        };
        let good_port = port.is_none_or(|port| {
            port.parse::<u16>()
                .is_ok_and(|number| number != own_port && number != 0 && number.to_string() == port)
        });
        if text.len() <= LONGEST_ORIGIN && good_host && good_port {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadOrigin)
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = BadOrigin;

    fn try_from(text: String) -> Result<Self, BadOrigin> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends_and_nothing_wider() {
        for text in [
            "https://app.example",
            "http://localhost:3000",
            "https://127.0.0.1:8443",
            "http://[::1]:5173",
            "https://xn--bcher-kva.example",
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "*",
            "null",
            "https://*",
            "https://*.example",
            "https://",
            "app.example",
            "file://",
            "ftp://app.example",
            "HTTPS://app.example",
            "https://App.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?x",
            "https://app.example#x",
            "https://user@app.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://app.example:",
            "https://app.example:0",
            "https://app.example:08443",
            "https://app.example:+8443",
            "https://app.example:70000",
            "https://app..example",
            "https://app.example https://b.example",
            "https://app.example,https://b.example",
            "https://[::1",
            "https://[::1]8443",
            "https://[0::1]",
            "https://bücher.example",
            "https://app.example\r\nx: y",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(BadOrigin), "{text}");
        }
    }

    #[test]
    fn nothing_optional_is_offered_unless_it_was_allowed() {
        let mut offer = Offer::default();
        for route in Route::ALL {
            assert_eq!(offer.has(route), !route.is_optional());
        }
        offer.routes.insert(Route::Hooks);
        assert!(offer.has(Route::Hooks) && !offer.has(Route::Embeddings));
    }

    #[test]
    fn what_is_not_understood_is_not_passed_over() {
        for text in [
            r#"{"routes":[],"origins":["*"]}"#,
            r#"{"routes":["shell"],"origins":[]}"#,
            r#"{"routes":[],"origins":[],"except":[]}"#,
        ] {
            serde_json::from_str::<Offer>(text).unwrap_err();
        }
    }
}
