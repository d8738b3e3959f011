//! The keys that open the lock. The guard holds their hashes alone.

use std::sync::Arc;

use ecto_core::key::{GuardKey, Route};
use ecto_core::refusal::Refusal;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio_util::sync::CancellationToken;

/// The longest key that is looked at, in bytes.
const LONGEST_KEY: usize = 512;

/// One key.
#[derive(Debug)]
pub(crate) struct KnownKey {
    /// Its name.
    pub name: Arc<str>,
    /// What it may do.
    routes: Vec<Route>,
    digest: [u8; 32],
    /// Cancelled when the key is taken away: everything that its holder has in flight ends.
    pub cut: CancellationToken,
}

impl KnownKey {
    /// Whether it may use this route.
    pub fn allows(&self, route: Route) -> bool {
        self.routes.contains(&route)
    }
}

/// All keys.
#[derive(Debug, Default)]
pub(crate) struct KnownKeys(Vec<Arc<KnownKey>>);

impl KnownKeys {
    /// Takes the keys over. One that was known before keeps what is in flight; one that is not among them any more has
    /// its requests cut.
    pub fn replace(&self, keys: Vec<GuardKey>) -> Self {
        let next = keys
            .into_iter()
            .map(|key| {
                let digest: [u8; 32] = Sha256::digest(key.secret.expose_secret()).into();
                let before = self.0.iter().find(|known| known.digest == digest);
                Arc::new(KnownKey {
                    name: key.name.into(),
                    routes: key.routes,
                    digest,
                    cut: before.map_or_else(CancellationToken::new, |known| known.cut.clone()),
                })
            })
            .collect::<Vec<_>>();
        for known in &self.0 {
            if !next.iter().any(|key| key.digest == known.digest) {
                known.cut.cancel();
            }
        }
        Self(next)
    }

    /// Finds the key that was presented. Takes the same time whichever it is, and whether it is one.
    pub fn find(&self, presented: &[u8]) -> Option<&Arc<KnownKey>> {
        if presented.len() > LONGEST_KEY {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let mut found = Choice::from(0);
        let mut place = 0u32;
        for (index, known) in (0u32..).zip(&self.0) {
            let same = known.digest.ct_eq(&digest);
            place.conditional_assign(&index, same);
            found |= same;
        }
        if bool::from(found) {
            self.0.get(place as usize)
        } else {
            None
        }
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
    use secrecy::SecretString;

    use super::*;

    fn key(name: &str, secret: &str) -> GuardKey {
        GuardKey::with_all_routes(name, SecretString::from(secret.to_owned()))
    }

    #[test]
    fn each_key_is_found_and_nothing_else() {
        let keys =
            KnownKeys::default().replace(vec![key("one", "1"), key("two", "2"), key("three", "3")]);
        for (name, secret) in [("one", "1"), ("two", "2"), ("three", "3")] {
            assert_eq!(&*keys.find(secret.as_bytes()).unwrap().name, name);
        }
        assert!(keys.find(b"4").is_none());
        assert!(keys.find(b"").is_none());
        assert!(keys.find(&[b'1'; LONGEST_KEY + 1]).is_none());
        assert!(KnownKeys::default().find(b"1").is_none());
    }

    #[test]
    fn only_the_requests_of_a_key_that_is_gone_are_cut() {
        let before = KnownKeys::default().replace(vec![key("stays", "1"), key("goes", "2")]);
        let after = before.replace(vec![key("stays under another name", "1"), key("new", "3")]);
        assert!(!before.find(b"1").unwrap().cut.is_cancelled());
        assert!(before.find(b"2").unwrap().cut.is_cancelled());
        assert!(!after.find(b"1").unwrap().cut.is_cancelled());
        assert!(!after.find(b"3").unwrap().cut.is_cancelled());
        let none = after.replace(Vec::new());
        assert!(none.find(b"1").is_none());
        assert!(before.find(b"1").unwrap().cut.is_cancelled());
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
