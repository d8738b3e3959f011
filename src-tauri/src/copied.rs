//! What was copied last and is to be kept from whoever comes next.

use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret, SecretString};

/// The last secret that was copied.
#[derive(Debug, Default)]
pub struct Copied(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    secret: Option<SecretString>,
    number: u64,
}

impl Copied {
    /// Remembers a secret that was copied now, and gives the number of this copy.
    pub fn remember(&self, secret: SecretString) -> u64 {
        let mut last = self.last();
        last.number += 1;
        last.secret = Some(secret);
        last.number
    }

    /// Whether the time of this copy says nothing any more: the same secret was copied again later.
    pub fn is_copied_again(&self, number: u64, secret: &SecretString) -> bool {
        let last = self.last();
        let is_same = |other: &SecretString| other.expose_secret() == secret.expose_secret();
        last.number != number && last.secret.as_ref().is_some_and(is_same)
    }

    /// The last one, which is forgotten.
    pub fn take(&self) -> Option<SecretString> {
        self.last().secret.take()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_of_the_last_copy_of_a_secret_counts() {
        let (copied, key, other) = (
            Copied::default(),
            SecretString::from("a key"),
            SecretString::from("another key"),
        );
        let first = copied.remember(key.clone());
        assert!(!copied.is_copied_again(first, &key));
        let second = copied.remember(key.clone());
        assert!(copied.is_copied_again(first, &key));
        assert!(!copied.is_copied_again(second, &key));
        // What holds another key says nothing about this one, which may still be there.
        let third = copied.remember(other.clone());
        assert!(!copied.is_copied_again(second, &key));
        assert!(!copied.is_copied_again(third, &other));
        assert_eq!(copied.take().unwrap().expose_secret(), "another key");
        assert!(copied.take().is_none());
    }
}
