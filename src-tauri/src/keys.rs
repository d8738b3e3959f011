//! What the page says of keys, read.

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::key::grant::parse_ranges;
use ecto_core::key::{KeyGrant, KeyName, NewEnd, Period, Rate, Route};
use serde::Deserialize;

use crate::refusal::Refusal;

const DAY: Duration = Duration::from_hours(24);

/// A key that a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What it is called, as it was typed.
    name: String,
    /// The agent that it is bound to, as it was typed; none where it is empty.
    agent: String,
    /// What may be asked for.
    #[cfg_attr(test, ts(type = "Array<Route>"))]
    routes: BTreeSet<Route>,
    /// For how many days it is good; for ever where there is no number.
    days: Option<NonZeroU16>,
    /// How many requests it may make before it has to wait; they come back over a minute.
    per_minute: Option<NonZeroU16>,
    /// The most requests at once.
    concurrent: Option<NonZeroU16>,
    /// From which addresses and networks it may be used, parted by commas or blanks, as it was typed; from anywhere where
    /// it is empty.
    from: String,
}

impl NewKey {
    /// Reads what was typed.
    pub fn read(self, now: Timestamp) -> Result<(KeyName, KeyGrant), Refusal> {
        let name = key_name(&self.name)?;
        let agent = match self.agent.trim() {
            "" => None,
            agent => Some(agent.parse().map_err(|fault| {
                Refusal::new(
                    "agent_unusable",
                    format!("That cannot be an agent: {fault}."),
                    "Type it as OpenClaw lists it, or leave it empty for any.",
                )
            })?),
        };
        if self.routes.is_empty() {
            return Err(Refusal::new(
                "key_opens_nothing",
                "A key that opens nothing is of no use, so none was made.",
                "Switch on what it may ask for.",
            ));
        }
        let from = parse_ranges(&self.from).map_err(|fault| {
            Refusal::new(
                "address_unusable",
                format!("A key cannot be bound to that: {fault}."),
                "Separate several by commas, or leave it empty for anywhere.",
            )
        })?;
        let grant = KeyGrant {
            routes: self.routes,
            agent,
            rate: self.per_minute.map(|count| Rate {
                count: count.into(),
                per: Period::Minute,
            }),
            concurrent: self.concurrent.map(NonZeroU32::from),
            expires: self.days.map(|days| {
                let end = now.checked_add(DAY * u32::from(days.get()));
                end.unwrap_or(Timestamp::MAX)
            }),
            from,
        };
        Ok((name, grant))
    }
}

/// For how long the key before a rotation is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Grace {
    /// Not at all.
    None,
    /// An hour.
    Hour,
}

impl Grace {
    /// The same in seconds.
    pub fn seconds(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Hour => 60 * 60,
        }
    }
}

/// When the key ends that takes the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// When the one before would have.
    AsBefore,
    /// Never.
    Never,
    /// In a day.
    Day,
    /// In 30 days.
    Month,
    /// In a year.
    Year,
}

impl End {
    /// The same, counted from `now`.
    pub fn after(self, now: Timestamp) -> NewEnd {
        let days = match self {
            Self::AsBefore => return NewEnd::AsBefore,
            Self::Never => return NewEnd::Never,
            Self::Day => 1,
            Self::Month => 30,
            Self::Year => 365,
        };
        NewEnd::At(now.checked_add(DAY * days).unwrap_or(Timestamp::MAX))
    }
}

/// Reads a name as it was typed. What looks like a key is not repeated.
pub fn key_name(text: &str) -> Result<KeyName, Refusal> {
    text.trim().parse().map_err(|fault| {
        Refusal::new(
            "key_name_unusable",
            format!("That cannot be the name of a key: {fault}."),
            "Type another name.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(name: &str, agent: &str) -> NewKey {
        NewKey {
            name: name.to_owned(),
            agent: agent.to_owned(),
            routes: Route::USUAL.into(),
            days: None,
            per_minute: None,
            concurrent: None,
            from: String::new(),
        }
    }

    #[test]
    fn what_is_typed_becomes_a_grant_and_what_is_left_open_is_no_limit() {
        let now = Timestamp::UNIX_EPOCH;
        let (name, grant) = typed(" phone ", " ").read(now).unwrap();
        assert_eq!((name.as_str(), grant), ("phone", KeyGrant::default()));
        let key = NewKey {
            routes: [Route::Chat].into(),
            days: NonZeroU16::new(30),
            per_minute: NonZeroU16::new(60),
            concurrent: NonZeroU16::new(4),
            from: " 203.0.113.7,2001:db8::1/32,\n198.51.100.9/24 ".to_owned(),
            ..typed("phone", "Notes")
        };
        let (_, grant) = key.read(now).unwrap();
        assert_eq!(
            ecto_core::words::grant(&grant),
            "chat; agent notes alone; 60 requests, which come back over a minute; 4 under way at once; from 203.0.113.7, 2001:db8::/32, 198.51.100.0/24"
        );
        assert_eq!(grant.expires.unwrap().as_second(), 30 * 24 * 60 * 60);
    }

    #[test]
    fn what_cannot_be_is_refused_in_words_and_a_pasted_key_is_not_repeated() {
        let refused = |key: NewKey| key.read(Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(refused(typed("", "")).code, "key_name_unusable");
        assert_eq!(refused(typed("phone", "../main")).code, "agent_unusable");
        let nothing = NewKey {
            routes: BTreeSet::new(),
            ..typed("phone", "")
        };
        assert_eq!(refused(nothing).code, "key_opens_nothing");
        for from in ["203.0.113.0/33", "203.0.113.7, localhost", ",", "ecto_4f1c"] {
            let refusal = refused(NewKey {
                from: from.to_owned(),
                ..typed("phone", "")
            });
            assert_eq!(refusal.code, "address_unusable", "{from}");
            assert!(!refusal.to_string().contains("4f1c"), "{refusal}");
        }
        let pasted = refused(typed("ecto_4f1c", ""));
        assert!(!pasted.to_string().contains("4f1c"), "{pasted}");
    }
}
