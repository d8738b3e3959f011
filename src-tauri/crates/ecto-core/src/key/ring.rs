//! All keys together, and what may be done with them.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{
    DEFAULT_KEY, GuardKey, KeyDigest, KeyGrant, KeyName, NewEnd, Route, ValidDigest, hint,
};
use crate::cause::Cause;
use crate::snapshot::{KeyState, KeyView};

/// The most keys. What is presented is compared with all of them.
pub const MOST_KEYS: usize = 100;

/// One key, as it is kept.
#[derive(Debug, Clone)]
pub struct Key {
    /// What a person calls it.
    pub name: KeyName,
    /// What the client presents.
    pub secret: SecretString,
    /// What it was before the last rotation, where that is still good for a while.
    pub earlier: Option<EarlierSecret>,
    /// What its holder may do.
    pub grant: KeyGrant,
    /// When it was made or last rotated; keys of Ecto's first versions do not say.
    pub made: Option<Timestamp>,
}

/// What a key was before it was rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierSecret {
    /// Its digest.
    pub digest: KeyDigest,
    /// The moment from which it is no longer good.
    pub until: Timestamp,
}

/// Which of a key's secrets something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhichSecret {
    /// The one that it has.
    Present,
    /// The one before its last rotation, which is good until [`KeyView::earlier_until`].
    Earlier,
}

impl Key {
    /// A key that may do everything, for the name that is there from the start.
    pub fn first(secret: SecretString, made: Option<Timestamp>) -> Self {
        Self {
            name: KeyName::default(),
            secret,
            earlier: None,
            grant: KeyGrant::default(),
            made,
        }
    }

    /// Whether both are the same in everything.
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.secret.expose_secret() == other.secret.expose_secret()
            && self.earlier == other.earlier
            && self.grant == other.grant
            && self.made == other.made
    }

    /// What the guard is handed of it. The first key, where it has all usual routes, also has the optional ones, which the
    /// guard offers only once they are allowed; any other key has them by name alone.
    pub fn for_the_guard(&self) -> GuardKey {
        let mut key = GuardKey::new(self.name.clone(), &self.secret, self.grant.clone());
        let usual = Route::USUAL.iter();
        if self.name.is_default()
            && usual
                .copied()
                .all(|route| key.grant.routes.contains(&route))
        {
            key.grant.routes.extend(Route::OPTIONAL);
        }
        key.digests.extend(self.earlier.map(|earlier| ValidDigest {
            digest: earlier.digest,
            until: Some(earlier.until),
        }));
        key
    }

    /// What may be shown of it at `now`.
    pub fn view(&self, now: Timestamp, last_used: Option<Timestamp>) -> KeyView {
        KeyView {
            name: self.name.clone(),
            hint: hint(&self.secret),
            summary: crate::words::grant(&self.grant),
            grant: self.grant.clone(),
            made: self.made,
            last_used,
            earlier_until: self
                .earlier
                .map(|earlier| earlier.until)
                .filter(|until| now < *until),
            state: if self.grant.has_expired(now) {
                KeyState::Expired
            } else {
                KeyState::Good
            },
        }
    }
}

/// All keys, in the order in which they were made. No two have the same name.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    /// The keys.
    pub keys: Vec<Key>,
}

impl KeyRing {
    /// The key with this name.
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name.as_str() == name)
    }

    /// Whose this is at `now`: a key's, or that of one before its last rotation which is still good.
    pub fn whose(&self, digest: &KeyDigest, now: Timestamp) -> Option<(&Key, WhichSecret)> {
        self.keys.iter().find_map(|key| {
            if KeyDigest::of(key.secret.expose_secret().as_bytes()) == *digest {
                return Some((key, WhichSecret::Present));
            }
            key.earlier
                .filter(|earlier| earlier.digest == *digest && now < earlier.until)
                .map(|_| (key, WhichSecret::Earlier))
        })
    }

    /// The key that is there from the start.
    pub fn first_key(&self) -> Option<&SecretString> {
        self.key(DEFAULT_KEY).map(|key| &key.secret)
    }

    /// Whether both have the same keys.
    pub fn is(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|(a, b)| a.is(b))
    }

    /// What the guard is handed.
    pub fn for_the_guard(&self) -> Vec<GuardKey> {
        self.keys.iter().map(Key::for_the_guard).collect()
    }

    fn known(&mut self, name: &KeyName) -> Result<&mut Key, Cause> {
        self.keys
            .iter_mut()
            .find(|key| key.name == *name)
            .ok_or_else(|| Cause::KeyNotFound { name: name.clone() })
    }

    /// Refuses a name that another key than `own` has. People take names that differ only in case for the same.
    fn refuse_taken(&self, name: &KeyName, own: Option<&KeyName>) -> Result<(), Cause> {
        let folded = name.as_str().to_lowercase();
        let is_taken =
            |key: &&Key| Some(&key.name) != own && key.name.as_str().to_lowercase() == folded;
        match self.keys.iter().find(is_taken) {
            Some(key) => Err(Cause::KeyNameTaken {
                name: key.name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Adds a key. Errors: the name is taken, or there are [`MOST_KEYS`].
    pub fn add(&mut self, key: Key) -> Result<(), Cause> {
        self.refuse_taken(&key.name, None)?;
        if self.keys.len() >= MOST_KEYS {
            return Err(Cause::TooManyKeys {
                limit: MOST_KEYS as u64,
            });
        }
        self.keys.push(key);
        Ok(())
    }

    /// Replaces the secret of a key, and gives the new one its end. The one before is good for `grace` more, but never
    /// longer than it would have been, nor than the new one is; the one before that ends now. Errors: there is no such key,
    /// what takes its place would have run out by `now`, or it is the first key, which has no end.
    pub fn rotate(
        &mut self,
        name: &KeyName,
        secret: SecretString,
        grace: Duration,
        end: NewEnd,
        now: Timestamp,
    ) -> Result<(), Cause> {
        let key = self.known(name)?;
        if name.is_default() && matches!(end, NewEnd::At(_)) {
            return Err(Cause::DefaultKeyStays);
        }
        let grant = KeyGrant {
            expires: end.after(key.grant.expires),
            ..key.grant.clone()
        };
        if grant.has_expired(now) {
            return Err(Cause::KeyExpired { name: name.clone() });
        }
        let until = [key.grant.expires, grant.expires]
            .into_iter()
            .flatten()
            .fold(now.checked_add(grace).unwrap_or(Timestamp::MAX), Ord::min);
        key.earlier = (now < until).then(|| EarlierSecret {
            digest: KeyDigest::of(key.secret.expose_secret().as_bytes()),
            until,
        });
        key.grant = grant;
        key.secret = secret;
        key.made = Some(now);
        Ok(())
    }

    /// Takes a key away. The first key stays: Ecto proves its lock with it.
    pub fn revoke(&mut self, name: &KeyName) -> Result<(), Cause> {
        self.known(name)?;
        if name.is_default() {
            return Err(Cause::DefaultKeyStays);
        }
        self.keys.retain(|key| key.name != *name);
        Ok(())
    }

    /// Gives a key another name. The first key keeps its own.
    pub fn rename(&mut self, name: &KeyName, to: KeyName) -> Result<(), Cause> {
        self.known(name)?;
        if *name == to {
            return Ok(());
        }
        if name.is_default() {
            return Err(Cause::DefaultKeyStays);
        }
        self.refuse_taken(&to, Some(name))?;
        self.known(name)?.name = to;
        Ok(())
    }

    /// Forgets what has ended by `now`.
    pub fn forget_ended(&mut self, now: Timestamp) {
        for key in &mut self.keys {
            key.earlier = key.earlier.filter(|earlier| now < earlier.until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// When what takes the place of a key ends, in seconds from then.
    #[derive(Debug, Clone)]
    enum Ends {
        AsBefore,
        Never,
        In(u16),
    }

    /// What should open the lock.
    struct Good {
        name: KeyName,
        is_earlier: bool,
        /// Until when.
        until: Option<i64>,
    }

    #[derive(Debug, Clone)]
    enum Change {
        Add(u8, Option<u16>),
        Rotate(u8, u64, Ends),
        Revoke(u8),
        Rename(u8, u8),
    }

    fn ends() -> impl Strategy<Value = Ends> {
        prop_oneof![
            Just(Ends::AsBefore),
            Just(Ends::Never),
            (0u16..100).prop_map(Ends::In),
        ]
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (0u8..5, prop::option::of(0u16..100)).prop_map(|(name, end)| Change::Add(name, end)),
            (0u8..5, 0u64..50, ends())
                .prop_map(|(name, grace, ends)| Change::Rotate(name, grace, ends)),
            (0u8..5).prop_map(Change::Revoke),
            (0u8..5, 0u8..5).prop_map(|(name, to)| Change::Rename(name, to)),
        ]
    }

    fn name(number: u8) -> KeyName {
        match number {
            0 => KeyName::default(),
            other => format!("key{other}").parse().unwrap(),
        }
    }

    fn secret(number: usize) -> SecretString {
        SecretString::from(format!("secret {number}"))
    }

    fn digest(number: usize) -> KeyDigest {
        KeyDigest::of(secret(number).expose_secret().as_bytes())
    }

    /// What opens the lock at `now`, and in whose name.
    fn open_at(ring: &KeyRing, now: Timestamp) -> BTreeMap<[u8; 32], KeyName> {
        let keys = ring.for_the_guard();
        keys.iter()
            .filter(|key| !key.grant.has_expired(now))
            .flat_map(|key| key.digests.iter().map(|digest| (digest, key.name.clone())))
            .filter(|(digest, _)| digest.until.is_none_or(|until| now < until))
            .map(|(digest, name)| (*digest.digest.bytes(), name))
            .collect()
    }

    #[test]
    fn what_replaces_a_key_has_an_end_to_come_and_what_has_ended_stays_ended() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut ring = KeyRing::default();
        let mut key = Key::first(secret(1), Some(at(0)));
        key.name = name(1);
        key.grant.expires = Some(at(100));
        ring.add(key).unwrap();
        let mut rotate = |number, end, now| {
            let hour = Duration::from_secs(3600);
            ring.rotate(&name(1), secret(number), hour, end, at(now))?;
            let opens: Vec<_> = [1, 2, 3, 4]
                .into_iter()
                .filter(|number| {
                    let digest = KeyDigest::of(secret(*number).expose_secret().as_bytes());
                    open_at(&ring, at(now)).contains_key(digest.bytes())
                })
                .collect();
            let key = ring.key("key1").unwrap();
            Ok((
                key.grant.expires,
                key.earlier.map(|earlier| earlier.until),
                opens,
            ))
        };
        // More time for the new one is none for the one before.
        let longer = rotate(2, NewEnd::At(at(5000)), 40);
        assert_eq!(longer, Ok((Some(at(5000)), Some(at(100)), vec![1, 2])));
        let expired = Err(Cause::KeyExpired { name: name(1) });
        assert_eq!(rotate(3, NewEnd::AsBefore, 5000), expired);
        assert_eq!(rotate(3, NewEnd::At(at(4999)), 5000), expired);
        let after = rotate(3, NewEnd::At(at(6000)), 5000);
        assert_eq!(after, Ok((Some(at(6000)), None, vec![3])));
        let kept = rotate(4, NewEnd::AsBefore, 5500);
        assert_eq!(kept, Ok((Some(at(6000)), Some(at(6000)), vec![3, 4])));
        let never = rotate(1, NewEnd::Never, 6000);
        assert_eq!(never, Ok((None, None, vec![1])));
    }

    #[test]
    fn the_first_key_gets_no_end() {
        let mut ring = KeyRing::default();
        ring.add(Key::first(secret(1), None)).unwrap();
        let mut rotate = |end| {
            ring.rotate(
                &name(0),
                secret(2),
                Duration::ZERO,
                end,
                Timestamp::UNIX_EPOCH,
            )
        };
        assert_eq!(
            rotate(NewEnd::At(Timestamp::MAX)),
            Err(Cause::DefaultKeyStays)
        );
        assert_eq!(rotate(NewEnd::Never), Ok(()));
    }

    proptest! {
        #[test]
        fn what_was_taken_away_never_opens_the_lock_again(changes in prop::collection::vec(change(), 0..30)) {
            let mut ring = KeyRing::default();
            ring.add(Key::first(secret(1000), None)).unwrap();
            let first = Good { name: name(0), is_earlier: false, until: None };
            // Told by secret.
            let mut good: BTreeMap<usize, Good> = BTreeMap::from([(1000, first)]);
            for (second, change) in changes.into_iter().enumerate() {
                let now = second as i64 * 10;
                let at = Timestamp::from_second(now).unwrap();
                match change {
                    Change::Add(number, end) => {
                        let until = end.map(|end| now + i64::from(end));
                        let mut key = Key { name: name(number), ..Key::first(secret(second), Some(at)) };
                        key.grant.expires = until.map(|until| Timestamp::from_second(until).unwrap());
                        let taken = good.values().any(|known| known.name == name(number));
                        prop_assert_eq!(ring.add(key).is_err(), taken);
                        if !taken {
                            good.insert(second, Good { name: name(number), is_earlier: false, until });
                        }
                    }
                    Change::Rotate(number, grace, ends) => {
                        let name = name(number);
                        let end = match &ends {
                            Ends::AsBefore => NewEnd::AsBefore,
                            Ends::Never => NewEnd::Never,
                            Ends::In(seconds) => NewEnd::At(at + jiff::SignedDuration::from_secs((*seconds).into())),
                        };
                        let rotated = ring.rotate(&name, secret(second), Duration::from_secs(grace), end, at);
                        let present = good.values().find(|known| known.name == name && !known.is_earlier);
                        let before = present.map(|known| known.until);
                        let until = match ends {
                            Ends::AsBefore => before.flatten(),
                            Ends::Never => None,
                            Ends::In(seconds) => Some(now + i64::from(seconds)),
                        };
                        let may = before.is_some()
                            && until.is_none_or(|until| now < until)
                            && !(number == 0 && matches!(ends, Ends::In(_)));
                        prop_assert_eq!(rotated.is_ok(), may);
                        if may {
                            good.retain(|_, known| known.name != name || !known.is_earlier);
                            for known in good.values_mut().filter(|known| known.name == name) {
                                known.is_earlier = true;
                                known.until = [Some(now + grace as i64), known.until, until].into_iter().flatten().min();
                            }
                            good.insert(second, Good { name, is_earlier: false, until });
                        }
                    }
                    Change::Revoke(number) => {
                        let known = good.values().any(|known| known.name == name(number));
                        prop_assert_eq!(ring.revoke(&name(number)).is_ok(), known && number != 0);
                        if number != 0 {
                            good.retain(|_, known| known.name != name(number));
                        }
                    }
                    Change::Rename(number, to) => {
                        let names: Vec<_> = good.values().map(|known| known.name.clone()).collect();
                        let may = names.contains(&name(number))
                            && (number == to || (number != 0 && !names.contains(&name(to))));
                        prop_assert_eq!(ring.rename(&name(number), name(to)).is_ok(), may);
                        if may {
                            for known in good.values_mut().filter(|known| known.name == name(number)) {
                                known.name = name(to);
                            }
                        }
                    }
                }
                ring.forget_ended(at);
                good.retain(|_, known| !known.is_earlier || known.until.is_none_or(|until| now < until));
                let expected: BTreeMap<[u8; 32], KeyName> = good
                    .iter()
                    .filter(|(_, known)| known.until.is_none_or(|until| now < until))
                    .map(|(number, known)| (*digest(*number).bytes(), known.name.clone()))
                    .collect();
                prop_assert_eq!(open_at(&ring, at), expected);
                for (number, known) in &good {
                    let opens = known.until.is_none_or(|until| now < until);
                    let found = ring.whose(&digest(*number), at);
                    let found = found.map(|(key, which)| (&key.name, which));
                    let which = if known.is_earlier { WhichSecret::Earlier } else { WhichSecret::Present };
                    prop_assert_eq!(found, Some((&known.name, which)));
                    if known.is_earlier {
                        // What is told of it holds to the second.
                        prop_assert!(opens);
                        let told = ring.key(known.name.as_str()).and_then(|key| key.view(at, None).earlier_until);
                        prop_assert_eq!(told.map(Timestamp::as_second), known.until);
                    }
                }
                let others = (0..1001).filter(|number| !good.contains_key(number));
                for number in others.take(40) {
                    prop_assert!(ring.whose(&digest(number), at).is_none());
                }
            }
        }
    }
}
