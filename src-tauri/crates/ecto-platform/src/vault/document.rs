//! What is stored: one small JSON document with all of Ecto's secrets, so that one prompt is enough.

use std::collections::BTreeSet;

use ecto_core::Timestamp;
use ecto_core::key::{EarlierSecret, Key, KeyDigest, KeyGrant, KeyName, KeyRing};
use ecto_core::ports::VaultFault;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::damaged;

/// The version that is written. In the first one, keys had no grants and could do everything; an Ecto that knows only
/// that one must not read this one, because it would pass over the limits.
const VERSION: u64 = 2;

const FIRST_VERSION: u64 = 1;

/// The document; fields that this version does not know are kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Document {
    version: u64,
    keys: Vec<StoredKey>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    name: KeyName,
    #[serde(serialize_with = "expose")]
    secret: SecretString,
    grant: KeyGrant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earlier: Option<StoredEarlier>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredEarlier {
    sha256: KeyDigest,
    until: Timestamp,
}

/// The document of the first version.
#[derive(Deserialize)]
struct FirstDocument {
    #[serde(rename = "version")]
    _version: u64,
    keys: Vec<FirstKey>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Deserialize)]
struct FirstKey {
    name: KeyName,
    secret: SecretString,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl From<FirstDocument> for Document {
    fn from(first: FirstDocument) -> Self {
        let key = |key: FirstKey| StoredKey {
            name: key.name,
            secret: key.secret,
            grant: KeyGrant::default(),
            made: None,
            earlier: None,
            other: key.other,
        };
        Self {
            version: VERSION,
            keys: first.keys.into_iter().map(key).collect(),
            other: first.other,
        }
    }
}

/// What stored bytes are.
pub(super) enum Stored {
    /// A document of ours.
    Document(Document),
    /// An object without a version: what the scripts before Ecto left.
    Older(Map<String, Value>),
}

/// Why bytes are not a document. No content is quoted, since it may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is not what Ecto writes.
    NotOurs,
    /// A newer Ecto wrote it.
    Newer,
}

impl From<Unreadable> for VaultFault {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::NotOurs => damaged("what is stored is not what Ecto writes"),
            Unreadable::Newer => damaged("a newer version of Ecto wrote it; update Ecto"),
        }
    }
}

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

impl StoredKey {
    fn key(&self) -> Key {
        Key {
            name: self.name.clone(),
            secret: self.secret.clone(),
            earlier: self.earlier.as_ref().map(|earlier| EarlierSecret {
                digest: earlier.sha256,
                until: earlier.until,
            }),
            grant: self.grant.clone(),
            made: self.made,
        }
    }
}

impl Stored {
    /// Reads stored bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let object: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|_| Unreadable::NotOurs)?;
        match object.get("version") {
            None => Ok(Self::Older(object)),
            Some(version) => match version.as_u64() {
                Some(VERSION) => serde_json::from_value(Value::Object(object))
                    .map_err(|_| Unreadable::NotOurs)
                    .and_then(Document::with_distinct_names)
                    .map(Self::Document),
                Some(FIRST_VERSION) => serde_json::from_value(Value::Object(object))
                    .map_err(|_| Unreadable::NotOurs)
                    .and_then(|first: FirstDocument| Document::from(first).with_distinct_names())
                    .map(Self::Document),
                Some(newer) if newer > VERSION => Err(Unreadable::Newer),
                Some(_) | None => Err(Unreadable::NotOurs),
            },
        }
    }
}

impl Document {
    /// A document with nothing in it.
    pub(super) fn empty() -> Self {
        Self {
            version: VERSION,
            keys: Vec::new(),
            other: Map::new(),
        }
    }

    fn with_distinct_names(self) -> Result<Self, Unreadable> {
        let names: BTreeSet<_> = self.keys.iter().map(|key| &key.name).collect();
        if names.len() == self.keys.len() {
            Ok(self)
        } else {
            Err(Unreadable::NotOurs)
        }
    }

    /// The keys in it.
    pub(super) fn ring(&self) -> KeyRing {
        KeyRing {
            keys: self.keys.iter().map(StoredKey::key).collect(),
        }
    }

    /// Whether it has exactly these keys.
    pub(super) fn has(&self, ring: &KeyRing) -> bool {
        ring.is(&self.ring())
    }

    /// The same document with these keys, and what else was known of each key and of all.
    pub(super) fn with(mut self, ring: &KeyRing) -> Self {
        let mut before = std::mem::take(&mut self.keys);
        for key in &ring.keys {
            let known = before
                .iter()
                .position(|stored| stored.name == key.name)
                .map(|index| before.swap_remove(index).other);
            self.keys.push(StoredKey {
                name: key.name.clone(),
                secret: key.secret.clone(),
                grant: key.grant.clone(),
                made: key.made,
                earlier: key.earlier.map(|earlier| StoredEarlier {
                    sha256: earlier.digest,
                    until: earlier.until,
                }),
                other: known.unwrap_or_default(),
            });
        }
        self
    }

    /// The bytes to store.
    pub(super) fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
        // Room enough from the start, so that growing leaves no copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(16 * 1024));
        serde_json::to_writer_pretty(&mut *bytes, self)
            .map_err(|_| damaged("the secrets cannot be written as JSON"))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
