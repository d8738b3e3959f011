//! The system's secret store: the Keychain of macOS, the Secret Service of a Linux desktop.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread;

use async_trait::async_trait;
use ecto_core::key::KeyRing;
use ecto_core::ports::{Vault, VaultFault, VaultPlace};
use keyring_core::{CredentialStore, Entry, Error};
use zeroize::Zeroizing;

use super::document::{Document, Stored, Unreadable};
use super::{damaged, unreachable};
use crate::blocking;

/// How the item is named in the store.
const SERVICE: &str = "Ecto";
const ACCOUNT: &str = "keys";
/// Where an item that cannot be read is put aside.
const ACCOUNT_OF_DAMAGED: &str = "keys (damaged)";

/// Opens the store; called on a thread that may block, and again when the store was lost.
pub type OpenStore = Arc<dyn Fn() -> Result<Arc<CredentialStore>, Error> + Send + Sync>;

/// The store of the system this was built for.
pub fn system_store() -> OpenStore {
    Arc::new(|| {
        #[cfg(target_os = "macos")]
        let store = apple_native_keyring_store::keychain::Store::new()?;
        #[cfg(target_os = "linux")]
        let store = zbus_secret_service_keyring_store::Store::new()?;
        Ok(store)
    })
}

/// Secrets in one item of the system's store.
#[derive(Clone)]
pub struct KeyringVault {
    store: Arc<Mutex<Reopening>>,
}

/// The store, opened again where it was lost.
struct Reopening {
    open: OpenStore,
    opened: Option<Arc<CredentialStore>>,
}

impl fmt::Debug for KeyringVault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyringVault")
            .finish_non_exhaustive()
    }
}

impl KeyringVault {
    /// Keeps the secrets in the store that `open` opens. Nothing is opened yet.
    pub fn new(open: OpenStore) -> Self {
        Self {
            store: Arc::new(Mutex::new(Reopening { open, opened: None })),
        }
    }

    /// Asks whether the store answers at all. Never prompts.
    pub(super) async fn reach(&self) -> Result<(), VaultFault> {
        self.with_store(|_| Ok(())).await
    }

    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CredentialStore) -> Result<T, VaultFault> + Send + 'static,
    ) -> Result<T, VaultFault> {
        let store = Arc::clone(&self.store);
        blocking::run_in_turn("vault-keyring", store, |store| store.with_store(work))
            .await
            .map_err(unreachable)?
    }
}

impl Reopening {
    fn with_store<T>(
        &mut self,
        work: impl FnOnce(&CredentialStore) -> Result<T, VaultFault>,
    ) -> Result<T, VaultFault> {
        let store = match &self.opened {
            Some(store) => Arc::clone(store),
            None => Arc::clone(self.opened.insert((self.open)().map_err(fault)?)),
        };
        let done = work(store.as_ref());
        if matches!(done, Err(VaultFault::Unreachable { .. })) {
            // The bus may have been restarted: the next call connects anew.
            self.opened = None;
        }
        done
    }
}

impl Drop for Reopening {
    fn drop(&mut self) {
        // Ending a Secret Service session blocks, which no thread of the runtime may.
        if let Some(store) = self.opened.take() {
            let _detached = thread::Builder::new().spawn(move || drop(store));
        }
    }
}

fn entry(store: &CredentialStore, account: &str) -> Result<Entry, VaultFault> {
    let modifiers = cfg!(target_os = "linux").then(|| HashMap::from([("label", SERVICE)]));
    match store.build(SERVICE, account, modifiers.as_ref()) {
        // Not every store has labels.
        Err(Error::Invalid(..) | Error::NotSupportedByStore(_)) => {
            store.build(SERVICE, account, None).map_err(fault)
        }
        built => built.map_err(fault),
    }
}

fn read(store: &CredentialStore) -> Result<Option<Zeroizing<Vec<u8>>>, VaultFault> {
    match entry(store, ACCOUNT)?.get_secret() {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

/// Stores the secrets. What is there and cannot be read is put aside first, unless a newer version wrote it.
fn store(keyring: &CredentialStore, secrets: &KeyRing) -> Result<(), VaultFault> {
    let document = match read(keyring)? {
        None => Document::empty(),
        Some(bytes) => match Stored::read(&bytes) {
            Ok(Stored::Document(document)) if document.has(secrets) => return Ok(()),
            Ok(Stored::Document(document)) => document,
            Ok(Stored::Older(_)) | Err(Unreadable::NotOurs) => {
                entry(keyring, ACCOUNT_OF_DAMAGED)?
                    .set_secret(&bytes)
                    .map_err(fault)?;
                Document::empty()
            }
            Err(newer @ Unreadable::Newer) => return Err(newer.into()),
        },
    };
    entry(keyring, ACCOUNT)?
        .set_secret(&document.with(secrets).bytes()?)
        .map_err(fault)
}

/// What a store's error means. Its `Debug` may hold the secret, so only what it displays is passed on.
fn fault(error: Error) -> VaultFault {
    match error {
        refusal if is_refusal(&refusal) => VaultFault::Denied,
        Error::NoStorageAccess(source) | Error::PlatformFailure(source) => unreachable(source),
        Error::BadEncoding(_) | Error::BadDataFormat(..) | Error::BadStoreFormat(_) => {
            damaged("the store gave something that is not what Ecto wrote")
        }
        Error::Ambiguous(_) => {
            damaged("the store has more than one item of Ecto's; remove all but one")
        }
        Error::NoEntry
        | Error::TooLong(..)
        | Error::Invalid(..)
        | Error::NoDefaultStore
        | Error::NotSupportedByStore(_) => unreachable(error),
        _ => unreachable("the store failed in a way that is not known"),
    }
}

/// Whether the store answered and refused: it is locked and the prompt was dismissed or cannot be shown
/// (`zbus-secret-service-keyring-store` 1.0.1, `errors.rs`, uses `NoStorageAccess` for nothing else).
#[cfg(target_os = "linux")]
fn is_refusal(error: &Error) -> bool {
    if let Error::PlatformFailure(source) = error {
        return source
            .to_string()
            .contains("org.freedesktop.Secret.Error.IsLocked");
    }
    matches!(error, Error::NoStorageAccess(_))
}

/// Whether the Keychain answered and refused: no permission to write (-61), the owner or the keychain may not be
/// changed (-25244, -25292), the person cancelled (-128), a wrong password (-25293), nobody to ask (-25308).
#[cfg(target_os = "macos")]
fn is_refusal(error: &Error) -> bool {
    let (Error::NoStorageAccess(source) | Error::PlatformFailure(source)) = error else {
        return false;
    };
    source
        .downcast_ref::<security_framework::base::Error>()
        .is_some_and(|error| matches!(error.code(), -61 | -128 | -25244 | -25292 | -25293 | -25308))
}

#[async_trait]
impl Vault for KeyringVault {
    async fn load(&self) -> Result<Option<KeyRing>, VaultFault> {
        self.with_store(|store| {
            let Some(bytes) = read(store)? else {
                return Ok(None);
            };
            match Stored::read(&bytes)? {
                Stored::Document(document) => Ok(Some(document.ring())),
                Stored::Older(_) => Err(Unreadable::NotOurs.into()),
            }
        })
        .await
    }

    async fn store(&self, secrets: &KeyRing) -> Result<(), VaultFault> {
        let secrets = secrets.clone();
        self.with_store(move |keyring| store(keyring, &secrets))
            .await
    }

    async fn erase(&self) -> Result<(), VaultFault> {
        self.with_store(|store| match entry(store, ACCOUNT)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(fault(error)),
        })
        .await
    }

    fn place(&self) -> VaultPlace {
        if cfg!(target_os = "macos") {
            VaultPlace::Keychain
        } else {
            VaultPlace::SecretService
        }
    }
}
