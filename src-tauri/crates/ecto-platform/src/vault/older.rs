//! The credentials file that the scripts before Ecto left, taken over once.

use std::path::PathBuf;

use async_trait::async_trait;
use ecto_core::key::{self, Key, KeyRing};
use ecto_core::ports::{Vault, VaultFault, VaultPlace};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::document::Stored;
use super::unreachable;
use crate::blocking;
use crate::private_file::{FileFault, PrivateFile};

/// A vault that first takes over the file of the scripts `ecto-connection`, where there is one. Opening it and
/// [`Vault::look`] leave that file alone.
///
/// Its shape differed between versions. A key is taken wherever it stands, if it is one of Ecto's; a gateway token is
/// not, since OpenClaw has it and it never serves as a key. The whole file stays beside, for its owner alone.
/// Whatever fails leaves the file, and the next use tries again.
pub(super) struct ImportingVault<V> {
    vault: V,
    older: PrivateFile,
    imported: Mutex<bool>,
}

impl<V: Vault> ImportingVault<V> {
    pub(super) fn new(vault: V, older: PathBuf) -> Self {
        Self {
            vault,
            older: PrivateFile::new(older),
            imported: Mutex::new(false),
        }
    }

    async fn import(&self) {
        let mut imported = self.imported.lock().await;
        if *imported {
            return;
        }
        match import(self.older.clone(), &self.vault).await {
            Ok(found) => {
                *imported = true;
                if let Some(found) = found {
                    found.tell();
                }
            }
            Err(fault) => {
                tracing::warn!(%fault, "the credentials file of an older version was not taken over");
            }
        }
    }
}

#[async_trait]
impl<V: Vault> Vault for ImportingVault<V> {
    async fn load(&self) -> Result<Option<KeyRing>, VaultFault> {
        self.import().await;
        self.vault.load().await
    }

    async fn look(&self) -> Result<Option<KeyRing>, VaultFault> {
        self.vault.look().await
    }

    async fn store(&self, secrets: &KeyRing) -> Result<(), VaultFault> {
        self.import().await;
        self.vault.store(secrets).await
    }

    async fn erase(&self) -> Result<(), VaultFault> {
        // Else the next start would take the erased key from the older file.
        self.import().await;
        self.vault.erase().await
    }

    fn place(&self) -> VaultPlace {
        self.vault.place()
    }
}

struct Imported {
    aside: PathBuf,
    key: bool,
}

impl Imported {
    fn tell(&self) {
        let aside = self.aside.display();
        if self.key {
            tracing::info!("The key of an older version was taken over; its file is now {aside}.");
        } else {
            tracing::info!(
                "The credentials file of an older version had no key to take over; it is now {aside}."
            );
        }
    }
}

async fn import(file: PrivateFile, vault: &dyn Vault) -> Result<Option<Imported>, VaultFault> {
    let reading = file.clone();
    let Some(found) = blocking::run("vault-import", move || older(&reading))
        .await
        .map_err(unreachable)??
    else {
        return Ok(None);
    };
    let known = vault.load().await?;
    let aside = file.beside("imported.json");
    let imported = Imported {
        aside: aside.path().to_owned(),
        key: found.is_some() && known.is_none(),
    };
    // Copied first and removed last: a crash in between loses nothing and is gone over again.
    let copied = file.clone();
    blocking::run("vault-import", move || match copied.read()? {
        Some(content) => aside.replace(&content.bytes),
        None => Ok(()),
    })
    .await
    .map_err(unreachable)??;
    if let (Some(key), None) = (found, known) {
        vault
            .store(&KeyRing {
                keys: vec![Key::first(key, None)],
            })
            .await?;
    }
    blocking::run("vault-import", move || match older(&file)? {
        Some(_) => file.remove(),
        None => Ok(()),
    })
    .await
    .map_err(unreachable)??;
    Ok(Some(imported))
}

/// The key in an older file: `None` where there is no such file, `Some(None)` where it has no key.
fn older(file: &PrivateFile) -> Result<Option<Option<SecretString>>, FileFault> {
    Ok(file
        .read()?
        .and_then(|content| match Stored::read(&content.bytes) {
            Ok(Stored::Older(object)) => Some(key_in(&object)),
            Ok(Stored::Document(_)) | Err(_) => None,
        }))
}

fn key_in(object: &Map<String, Value>) -> Option<SecretString> {
    object.values().find_map(|value| match value {
        Value::String(text) if key::is_well_formed(text) => Some(SecretString::from(text.as_str())),
        Value::Object(inner) => key_in(inner),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    })
}
