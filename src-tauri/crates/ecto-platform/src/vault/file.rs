//! The file vault, for machines without a secret store.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ecto_core::key::KeyRing;
use ecto_core::ports::{Vault, VaultFault, VaultPlace};

use super::document::{Document, Stored, Unreadable};
use super::unreachable;
use crate::blocking;
use crate::private_file::{Content, FileFault, PrivateFile};

/// Secrets in one file that only the owner can read.
#[derive(Debug, Clone)]
pub struct FileVault {
    file: Arc<Mutex<PrivateFile>>,
    path: PathBuf,
}

impl From<FileFault> for VaultFault {
    fn from(fault: FileFault) -> Self {
        unreachable(fault)
    }
}

impl FileVault {
    /// Keeps the secrets in this file. Its folder is made for the owner alone where it is missing.
    pub fn new(path: PathBuf) -> Self {
        Self::of(PrivateFile::new(path))
    }

    pub(super) fn of(file: PrivateFile) -> Self {
        Self {
            path: file.path().to_owned(),
            file: Arc::new(Mutex::new(file)),
        }
    }

    /// Whether others can read the file. Nothing is changed; loading and storing close it to them.
    pub(super) async fn is_open_to_others(&self) -> Result<bool, VaultFault> {
        self.with_file(|file| {
            Ok(file
                .read_unchanged()?
                .is_some_and(|content| content.was_open_to_others))
        })
        .await
    }

    async fn with_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PrivateFile) -> Result<T, VaultFault> + Send + 'static,
    ) -> Result<T, VaultFault> {
        let file = Arc::clone(&self.file);
        blocking::run_in_turn("vault-file", file, |file| work(file))
            .await
            .map_err(unreachable)?
    }
}

fn read(file: &PrivateFile) -> Result<Option<Content>, VaultFault> {
    let content = file.read()?;
    if content
        .as_ref()
        .is_some_and(|content| content.was_open_to_others)
    {
        tracing::warn!(path = %file.path().display(), "others could read the credentials file; it was closed to them");
    }
    Ok(content)
}

fn secrets(content: Option<Content>) -> Result<Option<KeyRing>, VaultFault> {
    let Some(content) = content else {
        return Ok(None);
    };
    match Stored::read(&content.bytes)? {
        Stored::Document(document) => Ok(Some(document.ring())),
        Stored::Older(_) => Ok(None),
    }
}

/// Stores the secrets. What is there and cannot be read is put aside first, unless a newer version wrote it.
fn store(file: &PrivateFile, secrets: &KeyRing) -> Result<(), VaultFault> {
    let document = match read(file)? {
        None => Document::empty(),
        Some(content) => match Stored::read(&content.bytes) {
            Ok(Stored::Document(document)) if document.has(secrets) => return Ok(()),
            Ok(Stored::Document(document)) => document,
            Ok(Stored::Older(_)) | Err(Unreadable::NotOurs) => {
                file.beside("damaged.json").replace(&content.bytes)?;
                Document::empty()
            }
            Err(newer @ Unreadable::Newer) => return Err(newer.into()),
        },
    };
    Ok(file.replace(&document.with(secrets).bytes()?)?)
}

#[async_trait]
impl Vault for FileVault {
    async fn load(&self) -> Result<Option<KeyRing>, VaultFault> {
        self.with_file(|file| secrets(read(file)?)).await
    }

    async fn look(&self) -> Result<Option<KeyRing>, VaultFault> {
        self.with_file(|file| secrets(file.read_unchanged()?)).await
    }

    async fn store(&self, secrets: &KeyRing) -> Result<(), VaultFault> {
        let secrets = secrets.clone();
        self.with_file(move |file| store(file, &secrets)).await
    }

    async fn erase(&self) -> Result<(), VaultFault> {
        self.with_file(|file| Ok(file.remove()?)).await
    }

    fn place(&self) -> VaultPlace {
        VaultPlace::File {
            path: self.path.display().to_string(),
        }
    }
}
