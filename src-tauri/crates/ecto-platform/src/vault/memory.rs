//! Secrets that end with the process: the sandbox's.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use ecto_core::key::KeyRing;
use ecto_core::ports::{Vault, VaultFault, VaultPlace};

/// Secrets in memory alone.
#[derive(Debug, Default)]
pub struct MemoryVault {
    secrets: Mutex<Option<KeyRing>>,
}

impl MemoryVault {
    fn secrets(&self) -> std::sync::MutexGuard<'_, Option<KeyRing>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Vault for MemoryVault {
    async fn load(&self) -> Result<Option<KeyRing>, VaultFault> {
        Ok(self.secrets().clone())
    }

    async fn store(&self, secrets: &KeyRing) -> Result<(), VaultFault> {
        *self.secrets() = Some(secrets.clone());
        Ok(())
    }

    async fn erase(&self) -> Result<(), VaultFault> {
        *self.secrets() = None;
        Ok(())
    }

    fn place(&self) -> VaultPlace {
        VaultPlace::Memory
    }
}
