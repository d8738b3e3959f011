//! Where Ecto's own secrets live: the system's secret store, or a file that only the owner can read.

mod document;
mod file;
mod keyring;
mod memory;
mod older;
mod place_record;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ecto_core::foreign::ForeignText;
use ecto_core::ports::{Vault, VaultFault};
use tokio::time::timeout;

pub use self::file::FileVault;
pub use self::keyring::{KeyringVault, OpenStore, system_store};
pub use self::memory::MemoryVault;
use self::place_record::{Place, PlaceRecord, RecordedVault};
use crate::folders::Folders;

/// How long a secret store may take to answer at all. Prompts come later and wait for the person.
const ANSWER: Duration = Duration::from_secs(10);

/// Where the person wants the secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VaultChoice {
    /// Where they are already; else the system's store, or the file where no store answers.
    #[default]
    Auto,
    /// The system's store, and nowhere else.
    System,
    /// The file, and nowhere else.
    File,
}

/// A vault, and what the person should be told about it.
pub struct OpenedVault {
    /// The vault.
    pub vault: Arc<dyn Vault>,
    /// What happened while it was opened.
    pub notices: Vec<VaultNotice>,
}

/// What the person should know about where the secrets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultNotice {
    /// No secret store answers, so the file is used.
    FileInstead {
        /// The file.
        path: PathBuf,
        /// What the store said.
        detail: ForeignText,
    },
    /// Others could read the file; it was closed to them.
    WasOpenToOthers {
        /// The file.
        path: PathBuf,
    },
    /// A file left by an older version was taken over and put aside.
    Imported {
        /// Where it is now.
        aside: PathBuf,
        /// Whether it had a key that goes on being valid.
        key: bool,
    },
}

impl fmt::Display for VaultNotice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileInstead { path, detail } => write!(
                formatter,
                "No secret store answers here ({detail}), so the key is kept in {}, which only you can read.",
                path.display()
            ),
            Self::WasOpenToOthers { path } => write!(
                formatter,
                "Other users could read {}; that is mended. If somebody else uses this machine, make a new key with `ecto token --regenerate`.",
                path.display()
            ),
            Self::Imported { aside, key: true } => write!(
                formatter,
                "The key of an older version was taken over; its file is now {}.",
                aside.display()
            ),
            Self::Imported { aside, key: false } => write!(
                formatter,
                "The credentials file of an older version had no key to take over; it is now {}.",
                aside.display()
            ),
        }
    }
}

/// Opens the vault.
///
/// Once secrets are in a place, they are looked for in that place alone: a store that does not answer today is
/// unreachable, and not a reason to make new secrets elsewhere. Where `ECTO_HOME` sets the folders apart,
/// [`VaultChoice::Auto`] means the file, so that the person's own store is left alone.
pub async fn open(
    choice: VaultChoice,
    folders: &Folders,
    store: OpenStore,
) -> Result<OpenedVault, VaultFault> {
    let file = FileVault::new(folders.credentials().to_owned());
    let record = PlaceRecord::new(folders.state().join("vault.json"));
    let keyring = KeyringVault::new(store);
    let mut notices = Vec::new();
    let place = match choice {
        VaultChoice::System => Place::System,
        VaultChoice::File => Place::File,
        VaultChoice::Auto if folders.are_apart() => Place::File,
        VaultChoice::Auto => match record.read() {
            Some(place) => place,
            None => match reached(&keyring).await {
                Ok(()) => Place::System,
                Err(detail) => {
                    notices.push(VaultNotice::FileInstead {
                        path: folders.credentials().to_owned(),
                        detail,
                    });
                    Place::File
                }
            },
        },
    };
    let vault: Arc<dyn Vault> = match place {
        Place::System => Arc::new(RecordedVault::new(keyring, record, place)),
        Place::File => {
            if file.close_to_others().await? {
                notices.push(VaultNotice::WasOpenToOthers {
                    path: folders.credentials().to_owned(),
                });
            }
            Arc::new(RecordedVault::new(file, record, place))
        }
    };
    if let Some(imported) = older::import(folders.credentials(), vault.as_ref()).await {
        notices.push(imported);
    }
    Ok(OpenedVault { vault, notices })
}

async fn reached(keyring: &KeyringVault) -> Result<(), ForeignText> {
    match timeout(ANSWER, keyring.reach()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(VaultFault::Unreachable { detail })) => Err(detail),
        // It is there; whether it lets us in shows when it is asked.
        Ok(Err(VaultFault::Denied | VaultFault::Damaged { .. })) => Ok(()),
        Err(_) => Err(ForeignText::new("it did not answer in ten seconds")),
    }
}

fn unreachable(detail: impl fmt::Display) -> VaultFault {
    VaultFault::Unreachable {
        detail: ForeignText::new(detail.to_string()),
    }
}

fn damaged(detail: impl fmt::Display) -> VaultFault {
    VaultFault::Damaged {
        detail: ForeignText::new(detail.to_string()),
    }
}

#[cfg(test)]
mod tests;
