//! What the holder of a key may do.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AgentId, Rate};
use crate::refusal::Refusal;

/// One thing the guard lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/responses`.
    Responses,
    /// `GET /v1/models` and `GET /v1/models/{id}`.
    Models,
    /// `POST /v1/embeddings`; see [`Offer`](crate::offer::Offer).
    Embeddings,
    /// `POST /hooks/…`, OpenClaw's own hooks; see [`Offer`](crate::offer::Offer).
    Hooks,
}

impl Route {
    /// All routes.
    pub const ALL: [Self; 5] = [
        Self::Chat,
        Self::Responses,
        Self::Models,
        Self::Embeddings,
        Self::Hooks,
    ];

    /// Those that are always offered, and that a key has unless it was made with others.
    pub const USUAL: [Self; 3] = [Self::Chat, Self::Responses, Self::Models];

    /// Those that are offered once a person allowed them.
    pub const OPTIONAL: [Self; 2] = [Self::Embeddings, Self::Hooks];

    /// Whether it is offered only once a person allowed it.
    pub fn is_optional(self) -> bool {
        match self {
            Self::Chat | Self::Responses | Self::Models => false,
            Self::Embeddings | Self::Hooks => true,
        }
    }

    /// Its name, as it is written in JSON and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Models => "models",
            Self::Embeddings => "embeddings",
            Self::Hooks => "hooks",
        }
    }
}

/// Something that is not a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the routes are chat, responses and models, and, where they are allowed, embeddings and hooks"
)]
pub struct BadRoute;

impl FromStr for Route {
    type Err = BadRoute;

    fn from_str(text: &str) -> Result<Self, BadRoute> {
        Self::ALL
            .into_iter()
            .find(|route| route.word() == text)
            .ok_or(BadRoute)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// What the holder of a key may do. A field that is not known makes the whole unreadable: it may be a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct KeyGrant {
    /// What may be asked for. Empty means nothing.
    #[cfg_attr(feature = "typescript", ts(as = "Vec<Route>"))]
    pub routes: BTreeSet<Route>,
    /// The only agent that is reached; any where there is none.
    #[serde(default)]
    pub agent: Option<AgentId>,
    /// How many requests, and over which time they come back.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// The most requests at once.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(type = "number | null"))]
    pub concurrent: Option<NonZeroU32>,
    /// The moment from which it is no longer good.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// The addresses from which it may be used; any where there are none.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(type = "Array<string>"))]
    pub from: Vec<IpNet>,
}

impl Default for KeyGrant {
    /// Everything the guard always offers, for ever, from anywhere.
    fn default() -> Self {
        Self {
            routes: Route::USUAL.into(),
            agent: None,
            rate: None,
            concurrent: None,
            expires: None,
            from: Vec::new(),
        }
    }
}

/// When a key ends that takes the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewEnd {
    /// When the one before would have.
    #[default]
    AsBefore,
    /// Never.
    Never,
    /// At this moment.
    At(Timestamp),
}

impl NewEnd {
    /// The moment, where the one before had `before`.
    pub fn after(self, before: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Self::AsBefore => before,
            Self::Never => None,
            Self::At(end) => Some(end),
        }
    }
}

impl KeyGrant {
    /// Whether it has run out by `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether a caller at `address` may use it. A caller whose address was not told may where anybody may.
    pub fn allows_address(&self, address: Option<IpAddr>) -> bool {
        self.from.is_empty()
            || address.is_some_and(|address| {
                let address = address.to_canonical();
                self.from.iter().any(|net| net.contains(&address))
            })
    }

    /// Whether it is for one agent and for hooks. A hook names the agent it runs in its body, past what the guard pins, so
    /// such a key opens no hook.
    pub fn names_agent_and_hooks(&self) -> bool {
        self.agent.is_some() && self.routes.contains(&Route::Hooks)
    }

    /// Judges what can be judged without counting: time, address and route, in this order.
    pub fn judge(
        &self,
        route: Route,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.has_expired(now) {
            return Err(Refusal::KeyExpired);
        }
        if !self.allows_address(address) {
            return Err(Refusal::AddressNotAllowed);
        }
        let is_past_the_pin = route == Route::Hooks && self.names_agent_and_hooks();
        if is_past_the_pin || !self.routes.contains(&route) {
            return Err(Refusal::RouteNotAllowed);
        }
        Ok(())
    }
}

/// Reads an address or a range of addresses (CIDR); an address alone is a range of one.
pub fn parse_range(text: &str) -> Result<IpNet, BadRange> {
    let text = text.trim();
    let range = match text.parse::<IpNet>() {
        Ok(range) => range,
        Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| BadRange)?),
    };
    Ok(range.trunc())
}

/// The most ranges that are read at once: those who need more have a firewall.
const MOST_RANGES: usize = 100;

/// Reads addresses and ranges that are parted by commas or blanks, at most a hundred; none where there is nothing but blanks.
pub fn parse_ranges(text: &str) -> Result<Vec<IpNet>, BadRanges> {
    let parts: Vec<_> = text
        .split(|mark: char| mark == ',' || mark.is_whitespace())
        .filter(|part| !part.is_empty())
        .collect();
    if parts.len() > MOST_RANGES {
        return Err(BadRanges::TooMany);
    }
    // Whoever typed something meant to bound it.
    if parts.is_empty() && !text.trim().is_empty() {
        return Err(BadRange.into());
    }
    let read = |(index, part): (usize, &&str)| match parse_range(part) {
        Err(_) if parts.len() > 1 => Err(BadRanges::At { place: index + 1 }),
        range => range.map_err(BadRanges::from),
    };
    parts.iter().enumerate().map(read).collect()
}

/// What is wrong with several ranges. What was typed is not repeated: it may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRanges {
    /// There is but one, or none.
    #[error(transparent)]
    Alone(#[from] BadRange),
    /// One of several.
    #[error("number {place} of them is none; {BadRange}")]
    At {
        /// Which, from 1.
        place: usize,
    },
    /// More than can be read.
    #[error("those are more than {MOST_RANGES}")]
    TooMany,
}

/// Something that is not a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("addresses are written as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32")]
pub struct BadRange;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes))),
            any::<[u8; 16]>().prop_map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))),
            any::<[u8; 4]>().prop_map(|bytes| IpAddr::V6(Ipv4Addr::from(bytes).to_ipv6_mapped())),
        ]
    }

    fn range() -> impl Strategy<Value = IpNet> {
        (address(), 0u8..=128).prop_map(|(address, bits)| {
            let address = address.to_canonical();
            let most = if address.is_ipv4() { 32 } else { 128 };
            IpNet::new(address, bits.min(most)).unwrap()
        })
    }

    fn moment() -> impl Strategy<Value = Timestamp> {
        (0i64..1000).prop_map(|second| Timestamp::from_second(second).unwrap())
    }

    fn grant() -> impl Strategy<Value = KeyGrant> {
        (
            prop::collection::btree_set(prop::sample::select(Route::ALL.to_vec()), 0..=5),
            prop::option::of(moment()),
            prop::collection::vec(range(), 0..4),
        )
            .prop_map(|(routes, expires, from)| KeyGrant {
                routes,
                expires,
                from,
                ..KeyGrant::default()
            })
    }

    fn within(range: &IpNet, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => (32, u128::from(address.to_bits())),
            IpAddr::V6(address) => (128, address.to_bits()),
        };
        let ((width, here), (other, there)) = (bits(address), bits(range.addr()));
        let shift = width - u32::from(range.prefix_len().min(width as u8));
        width == other && (shift >= 128 || here >> shift == there >> shift)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_not_granted_is_refused(
            grant in grant(),
            route in prop::sample::select(Route::ALL.to_vec()),
            address in prop::option::of(address()),
            now in moment(),
        ) {
            let in_time = grant.expires.is_none_or(|expires| now < expires);
            let from_there = grant.from.is_empty()
                || address.is_some_and(|address| {
                    grant.from.iter().any(|range| within(range, address.to_canonical()))
                });
            let granted = in_time && from_there && grant.routes.contains(&route);
            prop_assert_eq!(grant.judge(route, address, now).is_ok(), granted);
        }

        #[test]
        fn a_grant_is_read_as_it_is_written(grant in grant()) {
            let text = serde_json::to_string(&grant).unwrap();
            prop_assert_eq!(serde_json::from_str::<KeyGrant>(&text).unwrap(), grant);
        }
    }

    #[test]
    fn a_limit_that_is_not_known_is_not_passed_over() {
        let text = r#"{"routes":["chat"],"weekdays":["mon"]}"#;
        serde_json::from_str::<KeyGrant>(text).unwrap_err();
        serde_json::from_str::<KeyGrant>(r#"{"routes":["shell"]}"#).unwrap_err();
    }

    #[test]
    fn a_range_may_be_one_address() {
        assert_eq!(
            parse_range("203.0.113.7").unwrap().to_string(),
            "203.0.113.7/32"
        );
        assert_eq!(
            parse_range("203.0.113.7/24").unwrap().to_string(),
            "203.0.113.0/24"
        );
        assert_eq!(
            parse_range("2001:db8::1").unwrap().to_string(),
            "2001:db8::1/128"
        );
        for text in ["", "203.0.113", "203.0.113.0/33", "example.org", "::/129"] {
            assert_eq!(parse_range(text), Err(BadRange), "{text}");
        }
    }

    #[test]
    fn several_ranges_are_parted_by_commas_or_blanks_and_what_is_none_spoils_all() {
        let read = |text: &str| -> Result<Vec<String>, BadRanges> {
            let ranges = parse_ranges(text)?;
            Ok(ranges.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        for text in ["203.0.113.7,10.0.0.0/8", " 203.0.113.7 ,, 10.0.0.0/8,\n"] {
            let wanted = ["203.0.113.7/32", "10.0.0.0/8"].map(str::to_owned).into();
            assert_eq!(read(text), Ok(wanted), "{text}");
        }
        assert_eq!(read(" \t"), Ok(Vec::new()));
        for text in [",", "example.org", "203.0.113.7;10.0.0.0/8"] {
            assert_eq!(read(text), Err(BadRange.into()), "{text}");
        }
        let second = read("203.0.113.7, example.org").unwrap_err();
        assert_eq!(
            second.to_string(),
            "number 2 of them is none; addresses are written as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"
        );
        let many = |count| vec!["203.0.113.7"; count].join(",");
        assert_eq!(read(&many(100)).unwrap().len(), 100);
        assert_eq!(read(&many(101)), Err(BadRanges::TooMany));
    }
}
