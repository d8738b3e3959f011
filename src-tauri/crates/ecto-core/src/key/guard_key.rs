//! What the guard is handed of a key: never the key itself.

use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use super::{KeyGrant, KeyName, Route};

/// The SHA-256 of a key. A key has 32 random bytes, so nothing slower is needed against guessing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of what is presented.
    pub fn of(presented: &[u8]) -> Self {
        Self(Sha256::digest(presented).into())
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeyDigest(..)")
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| de::Error::custom("not a SHA-256 in hexadecimal"))
    }
}

/// A digest that opens the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidDigest {
    /// Of which key.
    pub digest: KeyDigest,
    /// The moment from which it no longer does; the grant alone decides where there is none.
    pub until: Option<Timestamp>,
}

/// A key as it is handed to the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardKey {
    /// Its name.
    pub name: KeyName,
    /// What opens the lock in its name: the key, and for a while the one before it; nothing while it is being revoked.
    pub digests: Vec<ValidDigest>,
    /// What its holder may do.
    pub grant: KeyGrant,
}

impl GuardKey {
    /// A key with one digest.
    pub fn new(name: KeyName, secret: &SecretString, grant: KeyGrant) -> Self {
        Self {
            name,
            digests: vec![ValidDigest {
                digest: KeyDigest::of(secret.expose_secret().as_bytes()),
                until: None,
            }],
            grant,
        }
    }

    /// A key that may do everything the guard lets through, also what is optional.
    pub fn with_all_routes(name: KeyName, secret: &SecretString) -> Self {
        let grant = KeyGrant {
            routes: Route::ALL.into(),
            ..KeyGrant::default()
        };
        Self::new(name, secret, grant)
    }
}
