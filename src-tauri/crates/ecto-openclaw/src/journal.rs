//! What Ecto changed in OpenClaw's configuration, so that exactly that can be undone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ecto_core::cause::Cause;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::change::Plan;
use crate::config::{reason, shown};
use crate::edit::Undo;
use crate::file::{Disk, is_full, write_private};
use crate::token;

/// The name of the file in Ecto's state folder.
pub const FILE: &str = "openclaw-journal.json";

const VERSION: u32 = 1;

/// What Ecto changed, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    version: u32,
    /// One for each key, in the order in which they were set.
    pub entries: Vec<Entry>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            version: VERSION,
            entries: Vec::new(),
        }
    }
}

/// One key that Ecto set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The main configuration file.
    pub config: PathBuf,
    /// The file in which the key stands: the main one or an included one.
    pub file: PathBuf,
    /// The name of the key.
    pub key: Vec<String>,
    /// How many leading names of the key stand above `file`, where it is an included one.
    pub above: usize,
    /// What it was set to.
    pub set: Mark,
    /// What it was, and how it is undone. Never a secret: Ecto writes a token only where there was none.
    pub undo: Undo,
}

impl Entry {
    /// The name of the key inside its file.
    pub fn local_key(&self) -> Vec<&str> {
        self.key
            .iter()
            .skip(self.above)
            .map(String::as_str)
            .collect()
    }

    /// The whole name of the key.
    pub fn whole_key(&self) -> Vec<&str> {
        self.key.iter().map(String::as_str).collect()
    }
}

/// What a key was set to, as far as it has to be known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The value itself.
    Value(Value),
    /// A secret, known again by a salted digest alone.
    Secret {
        /// 16 bytes in hexadecimal digits.
        salt: String,
        /// SHA-256 of salt and secret, in hexadecimal digits.
        digest: String,
    },
}

impl Mark {
    /// Marks a secret.
    pub fn secret(secret: &SecretString, salt: &[u8; 16]) -> Self {
        Self::Secret {
            salt: HEXLOWER.encode(salt),
            digest: HEXLOWER.encode(&token::digest(secret, salt)),
        }
    }

    /// Whether this value is the one that was set.
    pub fn is(&self, value: &Value) -> bool {
        match self {
            Self::Value(set) => set == value,
            Self::Secret { salt, digest } => {
                let Some(text) = value.as_str() else {
                    return false;
                };
                let Ok(salt) = HEXLOWER.decode(salt.as_bytes()) else {
                    return false;
                };
                let secret = SecretString::from(text.to_owned());
                HEXLOWER.encode(&token::digest(&secret, &salt)) == *digest
            }
        }
    }
}

impl Journal {
    /// Reads the journal in Ecto's state folder; none yet is an empty one.
    pub fn read(folder: &Path) -> Result<Self, Cause> {
        let path = folder.join(FILE);
        let damaged = |detail: String| {
            Cause::Internal {
            detail: format!(
                "the record of what Ecto changed in OpenClaw cannot be read ({}: {detail}); nothing was changed",
                shown(&path)
            )
            .into(),
        }
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(damaged(reason(&error))),
        };
        let journal: Self =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if journal.version != VERSION {
            return Err(damaged(format!("its version is {}", journal.version)));
        }
        Ok(journal)
    }

    /// Writes the journal; an empty one removes the file.
    pub fn write(&self, folder: &Path, disk: &dyn Disk) -> Result<(), Cause> {
        let path = folder.join(FILE);
        let result = if self.entries.is_empty() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            }
        } else {
            serde_json::to_vec_pretty(self)
                .map_err(io::Error::other)
                .and_then(|bytes| write_private(&path, &bytes, disk))
        };
        result.map_err(|error| {
            let path = shown(&path);
            if is_full(&error) {
                return Cause::DiskFull { path };
            }
            Cause::ConfigNotWritable {
                path,
                detail: reason(&error).into(),
            }
        })
    }

    /// This journal with what a plan set in some files.
    pub(crate) fn with(&self, plan: &Plan, files: &[PathBuf]) -> Self {
        let mut journal = self.clone();
        let set = plan.entries.iter();
        journal.add(
            set.filter(|entry| files.contains(&entry.file))
                .cloned()
                .collect(),
        );
        journal
    }

    /// Adds entries; an older entry for the same key goes, because somebody else changed that key in between.
    pub fn add(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.entries
                .retain(|old| (&old.config, &old.key) != (&entry.config, &entry.key));
            self.entries.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::edit::Spacing;
    use crate::file::RealDisk;

    fn journal() -> Journal {
        let token = SecretString::from("very-secret-token");
        Journal {
            version: VERSION,
            entries: vec![Entry {
                config: "/c.json".into(),
                file: "/c.json".into(),
                key: vec!["gateway".into(), "auth".into(), "token".into()],
                above: 0,
                set: Mark::secret(&token, &[7; 16]),
                undo: Undo::Inserted {
                    depth: 1,
                    spacing: Spacing::default(),
                },
            }],
        }
    }

    #[test]
    fn a_secret_is_known_again_and_never_stored() {
        let folder = tempfile::tempdir().unwrap();
        journal().write(folder.path(), &RealDisk).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!text.contains("very-secret-token"));
        let read = Journal::read(folder.path()).unwrap();
        assert_eq!(read, journal());
        assert!(read.entries[0].set.is(&json!("very-secret-token")));
        assert!(!read.entries[0].set.is(&json!("another")));
        assert!(!read.entries[0].set.is(&json!(1)));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        journal().write(&state, &RealDisk).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
    }

    #[test]
    fn a_damaged_journal_is_an_error_and_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{}", "{\"version\": 99, \"entries\": []}", "nonsense"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert!(Journal::read(folder.path()).is_err(), "{text}");
        }
    }
}
