//! The keys that open the lock. The guard holds their hashes alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::key::{GuardKey, KeyDigest, KeyGrant, KeyName, Route, ValidDigest};
use ecto_core::ports::Clock;
use ecto_core::refusal::Refusal;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio_util::sync::CancellationToken;

use crate::rate::{Allowance, Pace, RetryAfter};

/// The longest key that is looked at, in bytes.
const LONGEST_KEY: usize = 512;

/// Stands for a key that was not used yet.
const NEVER: i64 = i64::MIN;

/// One key.
#[derive(Debug, Clone)]
pub(crate) struct KnownKey {
    name: KeyName,
    /// The name, for the line of each request.
    pub label: Arc<str>,
    grant: KeyGrant,
    /// The id of its agent as a header, where it has one.
    pub agent: Option<HeaderValue>,
    secrets: Vec<KnownSecret>,
    usage: Arc<Usage>,
}

/// One of the secrets that open the lock in the name of a key.
#[derive(Debug, Clone)]
struct KnownSecret {
    valid: ValidDigest,
    cuts: Cuts,
}

/// What ends what was opened with a secret.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cuts {
    /// Cancelled when the secret is taken away or has ended.
    all: CancellationToken,
    /// Each cancelled also when its route is no longer offered.
    optional: Arc<Mutex<BTreeMap<Route, CancellationToken>>>,
}

impl Cuts {
    /// What ends a request for this route.
    pub fn of_route(&self, route: Route) -> CancellationToken {
        if !route.is_optional() {
            return self.all.clone();
        }
        self.optional()
            .entry(route)
            .or_insert_with(|| self.all.child_token())
            .clone()
    }

    fn cut_route(&self, route: Route) {
        if let Some(cut) = self.optional().remove(&route) {
            cut.cancel();
        }
    }

    fn optional(&self) -> MutexGuard<'_, BTreeMap<Route, CancellationToken>> {
        self.optional.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a key was used. Stays with it when it is renamed, rotated, or given another grant.
#[derive(Debug)]
struct Usage {
    allowance: Mutex<Allowance>,
    under_way: AtomicU32,
    /// Milliseconds since 1970.
    last: AtomicI64,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            allowance: Mutex::default(),
            under_way: AtomicU32::new(0),
            last: AtomicI64::new(NEVER),
        }
    }
}

/// A key that was presented, and by which of its secrets it was known.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    /// The key.
    pub key: Arc<KnownKey>,
    /// What ends when what was presented is no longer good.
    pub cuts: Cuts,
}

/// Why a holder is not let in: the refusal, and how long to wait where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyRefusal {
    /// Which.
    pub refusal: Refusal,
    /// How long to wait.
    pub retry: Option<RetryAfter>,
}

impl From<Refusal> for KeyRefusal {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            retry: None,
        }
    }
}

/// One of the requests that a key may have under way at once. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct Place(Arc<Usage>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Usage {
    fn take_place(self: &Arc<Self>, most: Option<NonZeroU32>) -> Option<Place> {
        let most = most.map_or(u32::MAX, NonZeroU32::get);
        self.under_way
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
                (now < most).then(|| now + 1)
            })
            .ok()
            .map(|_| Place(Arc::clone(self)))
    }
}

impl KnownKey {
    /// Judges what depends on the request alone: time, address and route.
    pub fn judge(
        &self,
        route: Route,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.grant.judge(route, address, now)
    }

    /// Gives a request its place, where there is one and its rate leaves one more. Nothing is counted yet, so that what is
    /// refused costs nothing.
    pub fn enter(&self, clock: &dyn Clock) -> Result<Place, KeyRefusal> {
        let place = self
            .usage
            .take_place(self.grant.concurrent)
            .ok_or(Refusal::KeyBusy)?;
        self.with_allowance(|allowance, pace| allowance.check(pace, clock.uptime()))?;
        Ok(place)
    }

    /// Counts a request that is let through.
    pub fn count(&self, clock: &dyn Clock, now: Timestamp) -> Result<(), KeyRefusal> {
        self.with_allowance(|allowance, pace| allowance.take(pace, clock.uptime()))?;
        self.usage
            .last
            .store(now.as_millisecond(), Ordering::Relaxed);
        Ok(())
    }

    fn with_allowance(
        &self,
        ask: impl FnOnce(&mut Allowance, &Pace) -> Result<(), RetryAfter>,
    ) -> Result<(), KeyRefusal> {
        let Some(rate) = self.grant.rate else {
            return Ok(());
        };
        let pace = Pace::new(rate.count, rate.per.duration());
        let allowance = self.usage.allowance.lock();
        let mut allowance = allowance.unwrap_or_else(PoisonError::into_inner);
        ask(&mut allowance, &pace).map_err(|retry| KeyRefusal {
            refusal: Refusal::KeyRateReached,
            retry: Some(retry),
        })
    }

    /// The model under which its agent is known, where it has one.
    pub fn model(&self) -> Option<String> {
        let agent = self.grant.agent.as_ref()?;
        Some(format!("openclaw/{agent}"))
    }

    /// The moment from which what was opened with `secret` is cut.
    fn end(&self, secret: &KnownSecret) -> Option<Timestamp> {
        let ends = secret.valid.until.into_iter().chain(self.grant.expires);
        ends.min()
    }

    /// Whether `secret` was cut because it had ended, and by `now` has not.
    fn was_cut_early(&self, secret: &KnownSecret, now: Timestamp) -> bool {
        secret.cuts.all.is_cancelled() && self.end(secret).is_none_or(|end| now < end)
    }
}

/// All keys.
#[derive(Debug, Default)]
pub(crate) struct KnownKeys(Vec<Arc<KnownKey>>);

impl KnownKeys {
    /// Takes the keys over. A secret that was known before keeps what is in flight; one that is not among them any more
    /// has its requests cut.
    pub fn replace(&self, keys: Vec<GuardKey>) -> Self {
        let next = Self(
            keys.into_iter()
                .map(|key| Arc::new(self.take(key)))
                .collect(),
        );
        for secret in self.secrets() {
            let stays = |other: &KnownSecret| other.valid.digest == secret.valid.digest;
            if !next.secrets().any(stays) {
                secret.cuts.all.cancel();
            }
        }
        next
    }

    /// Cuts everything that was opened for an optional route.
    pub fn cut_route(&self, route: Route) {
        for secret in self.secrets() {
            secret.cuts.cut_route(route);
        }
    }

    fn secrets(&self) -> impl Iterator<Item = &KnownSecret> {
        self.0.iter().flat_map(|key| &key.secrets)
    }

    fn take(&self, key: GuardKey) -> KnownKey {
        let known = |digest: KeyDigest| {
            self.0.iter().find_map(|before| {
                let mut secrets = before.secrets.iter();
                let secret = secrets.find(|secret| secret.valid.digest == digest)?;
                Some((before, secret))
            })
        };
        let usage = key
            .digests
            .iter()
            .find_map(|valid| known(valid.digest))
            .map(|(before, _)| before)
            .or_else(|| self.0.iter().find(|before| before.name == key.name))
            .map(|before| Arc::clone(&before.usage));
        let secrets = key.digests.iter().map(|valid| KnownSecret {
            valid: *valid,
            // One that has ended is good again where it was given more time; what was cut stays cut.
            cuts: known(valid.digest)
                .map(|(_, secret)| secret.cuts.clone())
                .filter(|cuts| !cuts.all.is_cancelled())
                .unwrap_or_default(),
        });
        KnownKey {
            label: key.name.as_str().into(),
            agent: key
                .grant
                .agent
                .as_ref()
                .and_then(|agent| HeaderValue::from_str(agent.as_str()).ok()),
            secrets: secrets.collect(),
            name: key.name,
            grant: key.grant,
            usage: usage.unwrap_or_default(),
        }
    }

    /// Finds the key that was presented. Takes the same time whichever it is, and whether it is one: what is presented is
    /// hashed, and the hash compared with every known one by [`ConstantTimeEq`] and chosen by [`ConditionallySelectable`],
    /// without a branch before the last. Nothing else in the guard compares what a client presents as a key. A secret
    /// that has ended is not known any more.
    pub fn find(&self, presented: &[u8], now: Timestamp) -> Option<Holder> {
        if presented.len() > LONGEST_KEY {
            return None;
        }
        let digest = KeyDigest::of(presented);
        let mut found = Choice::from(0);
        let mut place = (0u32, 0u32);
        for (index, key) in (0u32..).zip(&self.0) {
            for (inner, secret) in (0u32..).zip(&key.secrets) {
                let same = secret.valid.digest.bytes().ct_eq(digest.bytes());
                place.0.conditional_assign(&index, same);
                place.1.conditional_assign(&inner, same);
                found |= same;
            }
        }
        if !bool::from(found) {
            return None;
        }
        let key = self.0.get(place.0 as usize)?;
        let secret = key.secrets.get(place.1 as usize)?;
        if secret.valid.until.is_some_and(|until| until <= now) {
            return None;
        }
        Some(Holder {
            key: Arc::clone(key),
            cuts: secret.cuts.clone(),
        })
    }

    /// Cuts what was opened with keys that have ended by `now`. Returns how long until the next one ends.
    pub fn cut_ended(&self, now: Timestamp) -> Option<Duration> {
        let mut next: Option<Timestamp> = None;
        for key in &self.0 {
            for secret in &key.secrets {
                match key.end(secret) {
                    Some(end) if end <= now => secret.cuts.all.cancel(),
                    Some(end) => next = Some(next.map_or(end, |next| next.min(end))),
                    None => {}
                }
            }
        }
        let left = next?.duration_since(now);
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// The same keys, where some were cut when they had ended and by `now` have not: the clock was ahead, and was set back.
    /// They are good again; what was cut stays cut. `None` where there are none.
    pub fn reopened(&self, now: Timestamp) -> Option<Self> {
        let is_closed = |key: &Arc<KnownKey>| {
            let mut secrets = key.secrets.iter();
            secrets.any(|secret| key.was_cut_early(secret, now))
        };
        if !self.0.iter().any(is_closed) {
            return None;
        }
        let reopen = |key: &Arc<KnownKey>| {
            let secrets = key.secrets.iter().map(|secret| KnownSecret {
                valid: secret.valid,
                cuts: if key.was_cut_early(secret, now) {
                    Cuts::default()
                } else {
                    secret.cuts.clone()
                },
            });
            Arc::new(KnownKey {
                secrets: secrets.collect(),
                ..KnownKey::clone(key)
            })
        };
        Some(Self(self.0.iter().map(reopen).collect()))
    }

    /// When each key was last used.
    pub fn uses(&self) -> Vec<(KeyName, Timestamp)> {
        let used = |key: &Arc<KnownKey>| {
            let last = key.usage.last.load(Ordering::Relaxed);
            let at = Timestamp::from_millisecond(last).ok()?;
            Some((key.name.clone(), at))
        };
        self.0.iter().filter_map(used).collect()
    }
}

/// What the client presents as its key: `Authorization: Bearer …`, the scheme in any case, one such header.
pub(crate) fn presented_key(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().ok_or(Refusal::MissingKey)?;
    if all.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let (scheme, key) = value
        .as_bytes()
        .split_at_checked("Bearer ".len())
        .ok_or(Refusal::MissingKey)?;
    let key = key.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"Bearer ") || key.is_empty() {
        return Err(Refusal::MissingKey);
    }
    Ok(key)
}

#[cfg(test)]
mod tests;
