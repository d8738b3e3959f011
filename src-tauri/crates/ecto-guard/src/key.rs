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
#[derive(Debug)]
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
#[derive(Debug)]
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
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;

    fn key(name: &str, secret: &str) -> GuardKey {
        GuardKey::with_all_routes(name.parse().unwrap(), &SecretString::from(secret))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn find(keys: &KnownKeys, presented: &str) -> Option<Holder> {
        keys.find(presented.as_bytes(), at(0))
    }

    fn is_cut(holder: &Holder) -> bool {
        holder.cuts.all.is_cancelled()
    }

    #[test]
    fn each_key_is_found_and_nothing_else() {
        let keys =
            KnownKeys::default().replace(vec![key("one", "1"), key("two", "2"), key("three", "3")]);
        for (name, secret) in [("one", "1"), ("two", "2"), ("three", "3")] {
            assert_eq!(&*find(&keys, secret).unwrap().key.label, name);
        }
        for unknown in ["4", "", &"1".repeat(LONGEST_KEY + 1)] {
            assert!(find(&keys, unknown).is_none());
        }
        assert!(find(&KnownKeys::default(), "1").is_none());
    }

    #[test]
    fn only_the_requests_of_a_key_that_is_gone_are_cut() {
        let before = KnownKeys::default().replace(vec![key("stays", "1"), key("goes", "2")]);
        let (stays, goes) = (find(&before, "1").unwrap(), find(&before, "2").unwrap());
        let after = before.replace(vec![key("stays under another name", "1"), key("new", "3")]);
        assert!(!is_cut(&stays));
        assert!(is_cut(&goes));
        assert!(!is_cut(&find(&after, "1").unwrap()));
        assert!(!is_cut(&find(&after, "3").unwrap()));
        let none = after.replace(Vec::new());
        assert!(find(&none, "1").is_none());
        assert!(is_cut(&stays));
    }

    #[test]
    fn a_rotated_key_has_two_secrets_until_the_grace_is_over() {
        let before = KnownKeys::default().replace(vec![key("phone", "old")]);
        let old = find(&before, "old").unwrap();
        let mut rotated = key("phone", "new");
        rotated.digests.push(ValidDigest {
            until: Some(at(100)),
            ..key("phone", "old").digests[0]
        });
        let after = before.replace(vec![rotated]);
        assert_eq!(after.cut_ended(at(40)), Some(Duration::from_secs(60)));
        assert!(!is_cut(&old));
        for secret in ["old", "new"] {
            assert!(after.find(secret.as_bytes(), at(99)).is_some(), "{secret}");
        }
        assert!(after.find(b"old", at(100)).is_none());
        let new = after.find(b"new", at(100)).unwrap();
        assert_eq!(after.cut_ended(at(100)), None);
        assert!(is_cut(&old) && !is_cut(&new));
    }

    #[test]
    fn a_key_that_was_cut_when_it_ended_can_be_given_more_time() {
        let mut short = key("phone", "1");
        short.grant.expires = Some(at(10));
        let before = KnownKeys::default().replace(vec![short]);
        let open = find(&before, "1").unwrap();
        before.cut_ended(at(10));
        assert!(is_cut(&open));
        let after = before.replace(vec![key("phone", "1")]);
        assert!(!is_cut(&find(&after, "1").unwrap()));
    }

    struct Now(u64);

    impl Clock for Now {
        fn now(&self) -> Timestamp {
            at(self.0.try_into().unwrap())
        }

        fn uptime(&self) -> Duration {
            Duration::from_secs(self.0)
        }
    }

    #[test]
    fn what_a_key_used_up_stays_used_up_when_it_is_renamed_or_rotated() {
        let mut once = key("phone", "1");
        once.grant.rate = Some("1/min".parse().unwrap());
        let before = KnownKeys::default().replace(vec![once.clone()]);
        let holder = find(&before, "1").unwrap();
        holder.key.count(&Now(0), at(0)).unwrap();
        once.name = "tablet".parse().unwrap();
        let fresh = key("tablet", "2").digests[0];
        once.digests.insert(0, fresh);
        let after = before.replace(vec![once]);
        let tablet = find(&after, "2").unwrap().key;
        let refused = tablet.enter(&Now(1)).unwrap_err();
        assert_eq!(tablet.count(&Now(1), at(1)), Err(refused));
        assert_eq!(refused.refusal, Refusal::KeyRateReached);
        assert_eq!(refused.retry, Some(RetryAfter(Duration::from_secs(59))));
        assert_eq!(after.uses(), [("tablet".parse().unwrap(), at(0))]);
        find(&after, "2")
            .unwrap()
            .key
            .count(&Now(60), at(60))
            .unwrap();
        // Without a grace nothing of the old secret is left.
        let mut anew = key("tablet", "3");
        anew.grant.rate = Some("1/min".parse().unwrap());
        let at_once = after.replace(vec![anew]);
        find(&at_once, "3")
            .unwrap()
            .key
            .count(&Now(61), at(61))
            .unwrap_err();
    }

    proptest! {
        #[test]
        fn no_more_than_granted_are_ever_under_way(most in 1u32..5, moves in prop::collection::vec(any::<bool>(), 0..60)) {
            let mut limited = key("phone", "1");
            limited.grant.concurrent = NonZeroU32::new(most);
            let keys = KnownKeys::default().replace(vec![limited]);
            let holder = find(&keys, "1").unwrap();
            let mut places = Vec::new();
            for begins in moves {
                if begins {
                    match holder.key.enter(&Now(0)) {
                        Ok(place) => places.push(place),
                        Err(refused) => {
                            prop_assert_eq!(refused.refusal, Refusal::KeyBusy);
                            prop_assert_eq!(places.len(), most as usize);
                        }
                    }
                } else {
                    places.pop();
                }
                prop_assert!(places.len() <= most as usize);
            }
        }
    }

    #[test]
    fn a_key_is_one_bearer_token() {
        let presented = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            presented_key(&headers).map(|key| String::from_utf8(key.to_vec()).unwrap())
        };
        for value in ["Bearer k", "bearer k", "BEARER   k ", "bEaReR k"] {
            assert_eq!(presented(&[value]), Ok("k".to_owned()), "{value}");
        }
        for value in [
            "",
            "Bearer",
            "Bearer  ",
            "Basic azpr",
            "k",
            "Bearerk",
            "Token k",
        ] {
            assert_eq!(presented(&[value]), Err(Refusal::MissingKey), "{value}");
        }
        assert_eq!(presented(&[]), Err(Refusal::MissingKey));
        assert_eq!(
            presented(&["Bearer k", "Bearer k"]),
            Err(Refusal::Malformed)
        );
    }
}
