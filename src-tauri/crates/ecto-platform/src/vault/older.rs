//! The credentials file that the scripts before Ecto left, taken over once.

use std::path::Path;

use ecto_core::key::{self, DEFAULT_KEY};
use ecto_core::ports::{Secrets, Vault, VaultFault};
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::document::Stored;
use super::{VaultNotice, unreachable};
use crate::blocking;
use crate::private_file::{FileFault, PrivateFile};

/// Takes over a file of the scripts `ecto-connection` where there is one.
///
/// Its shape differed between versions. A key is taken wherever it stands, if it is one of Ecto's; a gateway token is
/// not, since OpenClaw has it and it never serves as a key. The whole file stays beside, for its owner alone.
/// Whatever fails leaves the file, and the next start tries again.
pub(super) async fn import(path: &Path, vault: &dyn Vault) -> Option<VaultNotice> {
    match try_import(PrivateFile::new(path.to_owned()), vault).await {
        Ok(notice) => notice,
        Err(fault) => {
            tracing::warn!(%fault, "the credentials file of an older version was not taken over");
            None
        }
    }
}

async fn try_import(
    file: PrivateFile,
    vault: &dyn Vault,
) -> Result<Option<VaultNotice>, VaultFault> {
    let reading = file.clone();
    let Some(found) = blocking::run("vault-import", move || older(&reading))
        .await
        .map_err(unreachable)??
    else {
        return Ok(None);
    };
    let known = vault.load().await?;
    let aside = file.beside("imported.json");
    let notice = VaultNotice::Imported {
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
            .store(&Secrets {
                keys: vec![(DEFAULT_KEY.to_owned(), key)],
            })
            .await?;
    }
    blocking::run("vault-import", move || match older(&file)? {
        Some(_) => file.remove(),
        None => Ok(()),
    })
    .await
    .map_err(unreachable)??;
    Ok(Some(notice))
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
