//! How often a key may be used.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time over which requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Period {
    /// How long it is.
    pub fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        })
    }

    /// Its name in a sentence, with its article.
    pub fn word(self) -> &'static str {
        match self {
            Self::Second => "a second",
            Self::Minute => "a minute",
            Self::Hour => "an hour",
            Self::Day => "a day",
        }
    }
}

/// How many requests, and over which time they come back once they are used; written `60/min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many requests may be used in one moment.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub count: NonZeroU32,
    /// Over which time all of them come back, each after its part of it.
    pub per: Period,
}

/// Something that is not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate is written as 5/sec, 60/min, 500/hour or 1000/day")]
pub struct BadRate;

impl Rate {
    /// The most requests of one.
    pub const MOST: u32 = 1_000_000;
}

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let (count, per) = text.split_once('/').ok_or(BadRate)?;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| BadRate)?;
        if count.get() > Self::MOST {
            return Err(BadRate);
        }
        let per = match per.trim() {
            "s" | "sec" | "second" => Period::Second,
            "m" | "min" | "minute" => Period::Minute,
            "h" | "hour" => Period::Hour,
            "d" | "day" => Period::Day,
            _ => return Err(BadRate),
        };
        Ok(Self { count, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Period::Second => "sec",
            Period::Minute => "min",
            Period::Hour => "hour",
            Period::Day => "day",
        };
        write!(formatter, "{}/{per}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_a_rate_is_refused() {
        for text in [
            "",
            "60",
            "0/min",
            "-1/min",
            "60/week",
            "/min",
            "60/",
            "1000001/day",
            "6 0/min",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(BadRate), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_rate_is_read_as_it_is_written(count in 1u32..=Rate::MOST, per in prop::sample::select(vec!["sec", "min", "hour", "day"])) {
            let text = format!("{count}/{per}");
            prop_assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }
}
