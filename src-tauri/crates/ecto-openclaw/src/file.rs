//! Replaces one file so that at any moment it has its old or its new content, and never against somebody else's change.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use ecto_core::cause::Cause;

use crate::config::{reason, shown};

/// The calls to the system that a replacement makes, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Makes the new file beside the old one.
    Create,
    /// Gives it the owner of the old one.
    SetOwner,
    /// Writes its content.
    Write,
    /// Makes sure that the content is on the disk.
    SyncFile,
    /// Compares the old file with what it was when it was read.
    Compare,
    /// Puts the new file in the place of the old one.
    Rename,
    /// Makes sure that the folder is on the disk.
    SyncFolder,
}

impl Call {
    /// All calls.
    pub const ALL: [Self; 7] = [
        Self::Create,
        Self::SetOwner,
        Self::Write,
        Self::SyncFile,
        Self::Compare,
        Self::Rename,
        Self::SyncFolder,
    ];
}

/// The seam at which tests let a call fail or do something at the same moment.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Is asked before each call. An error stands for what the call would have answered.
    fn before(&self, call: Call, path: &Path) -> io::Result<()>;
}

/// The disk as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn before(&self, _call: Call, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Why a file was not replaced. It has its old content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFault {
    /// Somebody else changed it since it was read.
    Changed,
    /// The disk is full.
    Full,
    /// It may not be written.
    NotWritable(String),
}

impl FileFault {
    /// The cause for a file of OpenClaw's.
    pub fn cause(self, path: &Path) -> Cause {
        let path = shown(path);
        match self {
            Self::Changed => Cause::ConfigContended { path },
            Self::Full => Cause::DiskFull { path },
            Self::NotWritable(detail) => Cause::ConfigNotWritable {
                path,
                detail: detail.into(),
            },
        }
    }

    fn from_system(error: &io::Error) -> Self {
        if is_full(error) {
            Self::Full
        } else if error.kind() == io::ErrorKind::NotFound {
            Self::Changed
        } else {
            Self::NotWritable(reason(error))
        }
    }
}

/// Whether there is no space left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Replaces the content of `named`, whose content was `expected` when it was read at `real`. Keeps mode and owner, and the
/// symlink where `named` is one.
pub fn replace(
    named: &Path,
    real: &Path,
    expected: &[u8],
    content: &[u8],
    disk: &dyn Disk,
) -> Result<(), FileFault> {
    let fault = |error: io::Error| FileFault::from_system(&error);
    let data = fs::metadata(real).map_err(fault)?;
    if data.permissions().readonly() {
        return Err(FileFault::NotWritable("the file is read-only".to_owned()));
    }
    let folder = real
        .parent()
        .ok_or_else(|| FileFault::NotWritable("it has no folder".to_owned()))?;

    disk.before(Call::Create, folder).map_err(fault)?;
    let mut new = tempfile::Builder::new()
        .prefix(".ecto-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(fault)?;
    new.as_file()
        .set_permissions(data.permissions())
        .map_err(fault)?;
    disk.before(Call::SetOwner, new.path()).map_err(fault)?;
    keep_owner(new.as_file(), &data).map_err(fault)?;
    disk.before(Call::Write, new.path()).map_err(fault)?;
    new.write_all(content).map_err(fault)?;
    disk.before(Call::SyncFile, new.path()).map_err(fault)?;
    new.as_file().sync_all().map_err(fault)?;

    disk.before(Call::Compare, real).map_err(fault)?;
    let same_target = named.canonicalize().is_ok_and(|now| now == real);
    if !same_target || fs::read(real).map_err(fault)? != expected {
        return Err(FileFault::Changed);
    }
    disk.before(Call::Rename, real).map_err(fault)?;
    new.persist(real)
        .map_err(|failed| FileFault::from_system(&failed.error))?;
    // The content is in place; a folder that cannot be synced is no reason to say that it is not.
    let synced = disk
        .before(Call::SyncFolder, folder)
        .and_then(|()| File::open(folder)?.sync_all());
    if let Err(error) = synced {
        tracing::warn!(folder = %folder.display(), %error, "the folder could not be synced");
    }
    Ok(())
}

/// Writes a file of Ecto's own, only its owner may read it.
pub fn write_private(path: &Path, content: &[u8], disk: &dyn Disk) -> io::Result<()> {
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    make_private_folder(folder)?;
    disk.before(Call::Create, folder)?;
    let mut new = tempfile::Builder::new()
        .prefix(".ecto-")
        .suffix(".tmp")
        .tempfile_in(folder)?;
    disk.before(Call::Write, new.path())?;
    new.write_all(content)?;
    disk.before(Call::SyncFile, new.path())?;
    new.as_file().sync_all()?;
    disk.before(Call::Rename, path)?;
    new.persist(path).map_err(|failed| failed.error)?;
    disk.before(Call::SyncFolder, folder)?;
    File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn make_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(not(unix))]
fn make_private_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(unix)]
fn keep_owner(new: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let data = new.metadata()?;
    if (data.uid(), data.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    std::os::unix::fs::fchown(new, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_new: &File, _old: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// How many names the file has; more than one means that replacing it leaves the others with the old content.
#[cfg(unix)]
pub(crate) fn link_count(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map_or(1, |data| data.nlink())
}

/// How many names the file has; more than one means that replacing it leaves the others with the old content.
#[cfg(not(unix))]
pub(crate) fn link_count(_path: &Path) -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Failing(Call, i32);

    impl Disk for Failing {
        fn before(&self, call: Call, _path: &Path) -> io::Result<()> {
            if call == self.0 {
                return Err(io::Error::from_raw_os_error(self.1));
            }
            Ok(())
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn whatever_call_fails_the_file_is_old_or_new_and_nothing_is_left_over() {
        let full = rustix::io::Errno::NOSPC.raw_os_error();
        let denied = rustix::io::Errno::ACCESS.raw_os_error();
        for call in Call::ALL {
            for (error, expected) in [
                (full, FileFault::Full),
                (denied, FileFault::NotWritable("Permission denied".into())),
            ] {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().canonicalize().unwrap().join("openclaw.json");
                fs::write(&file, "old").unwrap();
                let result = replace(&file, &file, b"old", b"new", &Failing(call, error));
                let content = fs::read_to_string(&file).unwrap();
                if call == Call::SyncFolder {
                    assert_eq!((result, content.as_str()), (Ok(()), "new"));
                } else {
                    assert_eq!(
                        (result, content.as_str()),
                        (Err(expected), "old"),
                        "{call:?}"
                    );
                }
                assert_eq!(names(folder.path()), ["openclaw.json"], "{call:?}");
            }
        }
    }

    #[derive(Debug)]
    struct Editor(&'static str);

    impl Disk for Editor {
        fn before(&self, call: Call, path: &Path) -> io::Result<()> {
            if call == Call::Compare {
                fs::write(path, self.0)?;
            }
            Ok(())
        }
    }

    #[test]
    fn a_change_at_the_same_moment_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().canonicalize().unwrap().join("openclaw.json");
        fs::write(&file, "old").unwrap();
        assert_eq!(
            replace(&file, &file, b"old", b"new", &Editor("theirs")),
            Err(FileFault::Changed)
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
    }

    #[cfg(unix)]
    #[test]
    fn symlink_and_mode_are_kept() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let real = folder.join("real.json");
        let named = folder.join("openclaw.json");
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.json", &named).unwrap();
        replace(&named, &real, b"old", b"new", &RealDisk).unwrap();
        assert_eq!(fs::read_link(&named).unwrap(), Path::new("real.json"));
        assert_eq!(fs::read_to_string(&named).unwrap(), "new");
        assert_eq!(
            fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }

    #[test]
    fn a_read_only_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().canonicalize().unwrap().join("openclaw.json");
        fs::write(&file, "old").unwrap();
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&file, permissions).unwrap();
        assert!(matches!(
            replace(&file, &file, b"old", b"new", &RealDisk),
            Err(FileFault::NotWritable(_))
        ));
    }
}
