//! Where what is wanted is kept across restarts.

use std::path::Path;

use async_trait::async_trait;
use ecto_core::cause::Cause;
use ecto_core::ports::WantedStore;

use crate::kept_file::KeptFile;

/// One small file, replaced as a whole.
#[derive(Debug, Clone)]
pub struct WantedFile {
    file: KeptFile,
}

impl WantedFile {
    /// A file in this folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            file: KeptFile::in_folder(folder, "wanted.json"),
        }
    }

    /// Reads the bytes; `None` where there is no file.
    pub fn read(&self) -> std::io::Result<Option<Vec<u8>>> {
        self.file.read()
    }

    fn cause(&self, fault: &std::io::Error) -> Cause {
        if fault.kind() == std::io::ErrorKind::StorageFull {
            return Cause::DiskFull {
                path: self.file.path().display().to_string(),
            };
        }
        Cause::WantedNotStored {
            detail: fault.to_string().into(),
        }
    }
}

#[async_trait]
impl WantedStore for WantedFile {
    async fn load(&self) -> Result<Option<Vec<u8>>, Cause> {
        self.read().map_err(|fault| self.cause(&fault))
    }

    async fn store(&self, record: &[u8]) -> Result<(), Cause> {
        let (wanted, record) = (self.clone(), record.to_vec());
        let written = tokio::task::spawn_blocking(move || {
            let written = wanted.file.replace(&record);
            written.map_err(|fault| wanted.cause(&fault))
        });
        written.await.unwrap_or_else(|fault| {
            Err(Cause::Internal {
                detail: fault.to_string().into(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_stored_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = WantedFile::in_folder(folder.path());
        assert_eq!(file.load().await.unwrap(), None);
        file.store(b"one").await.unwrap();
        file.store(b"two").await.unwrap();
        assert_eq!(file.load().await.unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = WantedFile::in_folder(&folder.path().join("gone"));
        let cause = file.store(b"one").await.unwrap_err();
        assert_eq!(cause.code(), "wanted_not_stored");
    }
}
