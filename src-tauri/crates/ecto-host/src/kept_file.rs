//! A small file of Ecto's own, read whole and replaced as a whole.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A larger file is not read, in bytes.
pub(crate) const SIZE_LIMIT: u64 = 64 * 1024;

/// Such a file.
#[derive(Debug, Clone)]
pub(crate) struct KeptFile {
    path: PathBuf,
}

impl KeptFile {
    /// The file of this name in a folder that exists.
    pub fn in_folder(folder: &Path, name: &str) -> Self {
        Self {
            path: folder.join(name),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; `None` where there is no file.
    pub fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > SIZE_LIMIT => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => std::fs::read(&self.path).map(Some),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Puts these bytes in its place, so that a crash or a full disk leaves the old ones or the new.
    pub fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut unfinished = tempfile::NamedTempFile::new_in(folder)?;
        unfinished.write_all(bytes)?;
        unfinished.as_file().sync_all()?;
        unfinished.persist(&self.path)?;
        std::fs::File::open(folder)?.sync_all()
    }

    /// Where it is put aside.
    pub fn aside(&self) -> PathBuf {
        self.path.with_extension("json.bad")
    }

    /// Puts one that cannot be understood aside, so that it is not lost.
    pub fn put_aside(&self) {
        if let Err(fault) = std::fs::rename(&self.path, self.aside()) {
            let file = self.path.display();
            tracing::warn!(%fault, %file, "what cannot be understood could not be put aside");
        }
    }
}
