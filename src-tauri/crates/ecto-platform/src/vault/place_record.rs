//! Where the secrets were put, so that they are never looked for, and made anew, somewhere else.

use std::path::PathBuf;

use async_trait::async_trait;
use ecto_core::key::KeyRing;
use ecto_core::ports::{Vault, VaultFault, VaultPlace};
use serde::{Deserialize, Serialize};

use crate::private_file::PrivateFile;

/// The two kinds of places that outlive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// The system's secret store.
    System,
    /// The file.
    File,
}

#[derive(Serialize, Deserialize)]
struct Record {
    place: Place,
}

/// The record of where the secrets are.
#[derive(Debug, Clone)]
pub(super) struct PlaceRecord {
    file: PrivateFile,
}

impl PlaceRecord {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            file: PrivateFile::new(path),
        }
    }

    /// Where the secrets are; `None` where nothing was stored yet. A record that cannot be read says the system's store:
    /// should that not answer, nothing is made anew.
    pub(super) fn read(&self) -> Option<Place> {
        match self.file.read_unchanged() {
            Ok(None) => None,
            Ok(Some(content)) => Some(
                serde_json::from_slice(&content.bytes)
                    .map_or(Place::System, |record: Record| record.place),
            ),
            Err(_) => Some(Place::System),
        }
    }

    fn write(&self, place: Place) {
        if self.read() == Some(place) {
            return;
        }
        let written = serde_json::to_vec(&Record { place }).map(|bytes| self.file.replace(&bytes));
        if !matches!(written, Ok(Ok(()))) {
            tracing::warn!(path = %self.file.path().display(), "where the secrets are could not be recorded");
        }
    }
}

/// A vault that records where it is as soon as there is something in it.
#[derive(Debug)]
pub(super) struct RecordedVault<V> {
    vault: V,
    record: PlaceRecord,
    place: Place,
}

impl<V: Vault> RecordedVault<V> {
    pub(super) fn new(vault: V, record: PlaceRecord, place: Place) -> Self {
        Self {
            vault,
            record,
            place,
        }
    }
}

#[async_trait]
impl<V: Vault> Vault for RecordedVault<V> {
    async fn load(&self) -> Result<Option<KeyRing>, VaultFault> {
        let secrets = self.vault.load().await?;
        if secrets.is_some() {
            self.record.write(self.place);
        }
        Ok(secrets)
    }

    async fn look(&self) -> Result<Option<KeyRing>, VaultFault> {
        self.vault.look().await
    }

    async fn store(&self, secrets: &KeyRing) -> Result<(), VaultFault> {
        self.vault.store(secrets).await?;
        self.record.write(self.place);
        Ok(())
    }

    async fn erase(&self) -> Result<(), VaultFault> {
        self.vault.erase().await?;
        if let Err(fault) = self.record.file.remove() {
            tracing::warn!(%fault, "the record of where the secrets were could not be removed");
        }
        Ok(())
    }

    fn place(&self) -> VaultPlace {
        self.vault.place()
    }
}
