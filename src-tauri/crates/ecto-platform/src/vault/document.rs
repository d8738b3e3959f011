//! What is stored: one small JSON document with all of Ecto's secrets, so that one prompt is enough.

use ecto_core::ports::{Secrets, VaultFault};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::damaged;

const VERSION: u64 = 1;

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
    name: String,
    #[serde(serialize_with = "expose")]
    secret: SecretString,
    #[serde(flatten)]
    other: Map<String, Value>,
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

impl Stored {
    /// Reads stored bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let object: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|_| Unreadable::NotOurs)?;
        match object.get("version") {
            None => Ok(Self::Older(object)),
            Some(version) => match version.as_u64() {
                Some(VERSION) => serde_json::from_value(Value::Object(object))
                    .map(Self::Document)
                    .map_err(|_| Unreadable::NotOurs),
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

    /// The secrets in it.
    pub(super) fn secrets(self) -> Secrets {
        Secrets {
            keys: self
                .keys
                .into_iter()
                .map(|key| (key.name, key.secret))
                .collect(),
        }
    }

    /// Whether it has exactly these secrets.
    pub(super) fn has(&self, secrets: &Secrets) -> bool {
        let stored = self
            .keys
            .iter()
            .map(|key| (key.name.as_str(), key.secret.expose_secret()));
        stored.eq(secrets
            .keys
            .iter()
            .map(|(name, secret)| (name.as_str(), secret.expose_secret())))
    }

    /// The same document with these secrets, and what else was known of each key and of all.
    pub(super) fn with(mut self, secrets: &Secrets) -> Self {
        let mut before = std::mem::take(&mut self.keys);
        for (name, secret) in &secrets.keys {
            let known = before
                .iter()
                .position(|key| key.name == *name)
                .map(|index| before.swap_remove(index).other);
            self.keys.push(StoredKey {
                name: name.clone(),
                secret: secret.clone(),
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
