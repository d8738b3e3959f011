//! A file that only its owner can read, replaced as a whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// No file of ours is larger; anything that is, is not ours.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// One such file, which may not be there.
#[derive(Debug, Clone)]
pub(crate) struct PrivateFile {
    path: PathBuf,
    write: fn(&mut File, &[u8]) -> io::Result<()>,
}

/// What was read.
pub(crate) struct Content {
    /// The bytes, wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Others could read the file when it was opened.
    pub was_open_to_others: bool,
}

/// Why a file was neither read nor written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault {
    #[error("{} is a symbolic link, which is not followed; replace it with a file", .0.display())]
    SymbolicLink(PathBuf),
    #[error("{} is not an ordinary file", .0.display())]
    NotAFile(PathBuf),
    #[error("{} belongs to another user", .0.display())]
    NotOurs(PathBuf),
    #[error("{} is far larger than a file of Ecto's", .0.display())]
    TooLarge(PathBuf),
    #[error("{}: {source}", path.display())]
    Failed { path: PathBuf, source: io::Error },
}

impl PrivateFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            write: File::write_all,
        }
    }

    /// A file whose writes go through `write`.
    #[cfg(test)]
    pub(crate) fn with_write(path: PathBuf, write: fn(&mut File, &[u8]) -> io::Result<()>) -> Self {
        Self { path, write }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same file under another name beside it, for what must not be lost.
    pub(crate) fn beside(&self, extension: &str) -> Self {
        Self {
            path: self.path.with_extension(extension),
            write: self.write,
        }
    }

    /// Reads the file; `None` where there is none. A file that others could read is closed to them.
    pub(crate) fn read(&self) -> Result<Option<Content>, FileFault> {
        self.read_and(|file| file.set_permissions(fs::Permissions::from_mode(0o600)))
    }

    /// Reads the file as [`PrivateFile::read`] does, and leaves its mode as it is.
    pub(crate) fn read_unchanged(&self) -> Result<Option<Content>, FileFault> {
        self.read_and(|_| Ok(()))
    }

    fn read_and(
        &self,
        close: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<Option<Content>, FileFault> {
        if !self.look()? {
            return Ok(None);
        }
        // Should the file become a link between the look and this, it is still not followed.
        let no_follow =
            i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(no_follow)
            .open(&self.path)
            .map_err(|source| self.failed(source))?;
        let metadata = file.metadata().map_err(|source| self.failed(source))?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(FileFault::NotOurs(self.path.clone()));
        }
        if metadata.len() > SIZE_LIMIT {
            return Err(FileFault::TooLarge(self.path.clone()));
        }
        let was_open_to_others = metadata.mode() & 0o077 != 0;
        if was_open_to_others {
            close(&file).map_err(|source| self.failed(source))?;
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            usize::try_from(metadata.len()).unwrap_or_default() + 1,
        ));
        file.read_to_end(&mut bytes)
            .map_err(|source| self.failed(source))?;
        Ok(Some(Content {
            bytes,
            was_open_to_others,
        }))
    }

    /// Puts these bytes in the file's place, so that a crash or a full disk leaves the old content or the new.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<(), FileFault> {
        self.look()?;
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        self.write_whole(folder, bytes)
            .map_err(|source| self.failed(source))
    }

    fn write_whole(&self, folder: &Path, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut unfinished = tempfile::Builder::new()
            .prefix(".ecto-")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        (self.write)(unfinished.as_file_mut(), bytes)?;
        unfinished.as_file().sync_all()?;
        unfinished.persist(&self.path)?;
        File::open(folder)?.sync_all()
    }

    /// Removes the file; it need not be there.
    pub(crate) fn remove(&self) -> Result<(), FileFault> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Whether there is a file of its own, and not something that must be left alone.
    fn look(&self) -> Result<bool, FileFault> {
        let kind = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(self.failed(source)),
        };
        if kind.is_symlink() {
            return Err(FileFault::SymbolicLink(self.path.clone()));
        }
        if !kind.is_file() {
            return Err(FileFault::NotAFile(self.path.clone()));
        }
        Ok(true)
    }

    fn failed(&self, source: io::Error) -> FileFault {
        FileFault::Failed {
            path: self.path.clone(),
            source,
        }
    }
}
