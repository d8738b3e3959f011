//! One process at a time: one host, and one app.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FILE: &str = "host.lock";

fn read_process(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// A lock of one process, held until it is dropped. The system lets go of it when the process ends, however it ends, so
/// there is no stale one.
#[derive(Debug)]
pub struct ProcessLock {
    file: File,
}

/// The lock of the host, held until it is dropped.
#[derive(Debug)]
pub struct HostLock {
    _lock: ProcessLock,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockFault {
    /// Another process has it.
    #[error("another one is running")]
    Taken {
        /// That process, where it could be read.
        process: Option<u32>,
    },
    /// The file cannot be used.
    #[error("the lock {} cannot be used: {source}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HostLock {
    /// Takes the lock in `folder`, which must exist.
    pub fn take(folder: &Path) -> Result<Self, LockFault> {
        let lock = ProcessLock::take(&folder.join(FILE))?;
        Ok(Self { _lock: lock })
    }

    /// Looks whether somebody has the lock in `folder`, and changes nothing: `Ok` where it is free.
    pub fn look(folder: &Path) -> Result<(), LockFault> {
        ProcessLock::look(&folder.join(FILE))
    }
}

impl ProcessLock {
    /// Takes the lock that this file is. Its folder must exist.
    pub fn take(path: &Path) -> Result<Self, LockFault> {
        let unusable = |source| LockFault::Unusable {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = read_process(&mut file);
                return Err(LockFault::Taken { process });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let mut lock = Self { file };
        lock.write_process().map_err(unusable)?;
        Ok(lock)
    }

    fn look(path: &Path) -> Result<(), LockFault> {
        let unusable = |source| LockFault::Unusable {
            path: path.to_owned(),
            source,
        };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(fault) => return Err(unusable(fault)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(LockFault::Taken {
                process: read_process(&mut file),
            }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    fn write_process(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        write!(self.file, "{}", std::process::id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_host_is_told_who_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let first = HostLock::take(folder.path()).unwrap();
        match HostLock::take(folder.path()) {
            Err(LockFault::Taken { process }) => assert_eq!(process, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(first);
        HostLock::take(folder.path()).unwrap();
    }
}
