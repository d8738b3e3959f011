//! What the lines add up to: today's counts, and whether somebody tries keys.

use std::collections::{BTreeMap, HashSet, VecDeque};

use ecto_core::Timestamp;
use ecto_core::foreign::ForeignText;
use ecto_core::ports::RequestLine;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use serde::{Deserialize, Serialize};

/// So many wrong keys …
const MANY: usize = 20;
/// … in this time are told about.
const SHORT: SignedDuration = SignedDuration::from_secs(60);
/// It is over when nobody tried for this long.
const QUIET: SignedDuration = SignedDuration::from_mins(10);
/// So many addresses are told apart.
const ADDRESSES: usize = 1000;

/// What one key did today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct KeyDay {
    /// Its name; `None` for everybody without a known key.
    pub key: Option<String>,
    /// How many requests.
    pub requests: u64,
    /// How many of them were answered with a status of 400 or above.
    pub failed: u64,
    /// Bytes of the answers' bodies.
    pub bytes: u64,
    /// When the last one came.
    pub last: Timestamp,
    /// Where from, as tailscaled told it.
    pub caller: ForeignText,
}

/// Many wrong keys in a short time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Strangers {
    /// Since when.
    pub since: Timestamp,
    /// How many requests without a key or with a wrong one.
    pub attempts: u64,
    /// From how many addresses, at most a thousand.
    pub addresses: u64,
}

/// What the lines add up to.
#[derive(Debug)]
pub(super) struct Tally {
    zone: TimeZone,
    day: Date,
    keys: BTreeMap<Option<String>, KeyDay>,
    attempts: VecDeque<(Timestamp, ForeignText)>,
    burst: Option<Burst>,
}

#[derive(Debug)]
struct Burst {
    since: Timestamp,
    last: Timestamp,
    attempts: u64,
    addresses: HashSet<ForeignText>,
}

impl Tally {
    pub fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self {
            day: now.to_zoned(zone.clone()).date(),
            zone,
            keys: BTreeMap::new(),
            attempts: VecDeque::with_capacity(MANY),
            burst: None,
        }
    }

    /// When today began.
    pub fn began(&self) -> Timestamp {
        let began = self.day.to_zoned(self.zone.clone());
        began.map_or(Timestamp::MIN, |began| began.timestamp())
    }

    pub fn add(&mut self, line: &RequestLine) {
        self.turn_page(line.at);
        if line.at >= self.began() {
            let day = self.keys.entry(line.key.clone()).or_insert_with(|| KeyDay {
                key: line.key.clone(),
                requests: 0,
                failed: 0,
                bytes: 0,
                last: line.at,
                caller: ForeignText::default(),
            });
            day.requests += 1;
            day.failed += u64::from(line.status >= 400);
            day.bytes = day.bytes.saturating_add(line.bytes);
            if line.at >= day.last {
                day.last = line.at;
                day.caller.clone_from(&line.address);
            }
        }
        // After some wrong keys, an address is told to wait. So it is after many preflights, which show no key.
        let is_preflight = line.route.as_str().starts_with("OPTIONS ");
        if line.key.is_none() && matches!(line.status, 401 | 429) && !is_preflight {
            self.add_attempt(line);
        }
    }

    pub fn today(&mut self, now: Timestamp) -> Vec<KeyDay> {
        self.turn_page(now);
        let (named, unnamed): (Vec<_>, Vec<_>) = self
            .keys
            .values()
            .cloned()
            .partition(|day| day.key.is_some());
        named.into_iter().chain(unnamed).collect()
    }

    pub fn strangers(&mut self, now: Timestamp) -> Option<Strangers> {
        self.end_burst(now);
        self.burst.as_ref().map(|burst| Strangers {
            since: burst.since,
            attempts: burst.attempts,
            addresses: burst.addresses.len() as u64,
        })
    }

    /// Counts begin anew with the day. A clock that was set back changes nothing.
    fn turn_page(&mut self, now: Timestamp) {
        let tomorrow = self.day.saturating_add(1.day()).to_zoned(self.zone.clone());
        if tomorrow.is_ok_and(|tomorrow| now < tomorrow.timestamp()) {
            return;
        }
        let day = now.to_zoned(self.zone.clone()).date();
        if day > self.day {
            self.day = day;
            self.keys.clear();
        }
    }

    fn add_attempt(&mut self, line: &RequestLine) {
        self.end_burst(line.at);
        if let Some(burst) = &mut self.burst {
            burst.last = burst.last.max(line.at);
            burst.attempts += 1;
            if burst.addresses.len() < ADDRESSES {
                burst.addresses.insert(line.address.clone());
            }
            return;
        }
        if self.attempts.len() == MANY {
            self.attempts.pop_front();
        }
        self.attempts.push_back((line.at, line.address.clone()));
        let Some((first, _)) = self.attempts.front() else {
            return;
        };
        if self.attempts.len() == MANY && line.at.duration_since(*first) <= SHORT {
            let since = *first;
            self.burst = Some(Burst {
                since,
                last: line.at,
                attempts: MANY as u64,
                addresses: self
                    .attempts
                    .drain(..)
                    .map(|(_, address)| address)
                    .collect(),
            });
        }
    }

    fn end_burst(&mut self, now: Timestamp) {
        if let Some(burst) = &self.burst
            && now.duration_since(burst.last) > QUIET
        {
            self.burst = None;
        }
    }
}
