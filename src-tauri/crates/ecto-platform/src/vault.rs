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
use self::older::ImportingVault;
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
    /// Others can read the file; it is closed to them when it is next used.
    OpenToOthers {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for VaultNotice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileInstead { path, detail } => write!(
                formatter,
                "No secret store answers here ({detail}), so Ecto keeps its keys in {}, which only you can read.",
                path.display()
            ),
            Self::OpenToOthers { path } => write!(
                formatter,
                "Other users can read {} until Ecto next uses it, which closes it to them. If somebody else uses this machine, replace every key.",
                path.display()
            ),
        }
    }
}

/// Opens the vault. No file is changed: what an older version left is taken over, and a file that others can read is
/// closed to them, when the vault is first used.
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
        Place::System => Arc::new(ImportingVault::new(
            RecordedVault::new(keyring, record, place),
            folders.credentials().to_owned(),
        )),
        Place::File => {
            if file.is_open_to_others().await? {
                notices.push(VaultNotice::OpenToOthers {
                    path: folders.credentials().to_owned(),
                });
            }
            Arc::new(ImportingVault::new(
                RecordedVault::new(file, record, place),
                folders.credentials().to_owned(),
            ))
        }
    };
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
