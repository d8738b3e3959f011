//! Whom the guard lets in, and to where: swapped as one when the gateway or the keys change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ecto_core::cause::Cause;
use ecto_core::gateway::GatewayAccess;
use ecto_core::key::GuardKey;

use crate::gateway::Gateway;
use crate::key::KnownKeys;
use crate::limits::Limits;

/// The gateway and the keys as they are now.
#[derive(Clone)]
pub(crate) struct Admission {
    /// Where requests go.
    pub gateway: Arc<Gateway>,
    /// Who may send them.
    pub keys: Arc<KnownKeys>,
}

/// The present admission, and whether it is in force.
pub(crate) struct Gate {
    held: AtomicBool,
    present: RwLock<Option<Admission>>,
}

impl Gate {
    /// Held, and with nothing behind it.
    pub fn new() -> Self {
        Self {
            held: AtomicBool::new(true),
            present: RwLock::new(None),
        }
    }

    /// What is in force for a request that comes now. `None` when the guard does not run.
    pub fn admission(&self) -> Option<Admission> {
        self.present
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes over the gateway and the keys, and holds. What is in flight for a key that is gone is cut; what is in
    /// flight for the others goes on, also towards the gateway as it was.
    pub fn swap(
        &self,
        access: &GatewayAccess,
        keys: Vec<GuardKey>,
        limits: &Limits,
    ) -> Result<(), Cause> {
        self.set_held(true);
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        let gateway = match &*present {
            Some(admission) if admission.gateway.is(access) => admission.gateway.clone(),
            Some(_) | None => Arc::new(Gateway::new(access, limits.clone())?),
        };
        let keys = match &*present {
            Some(admission) => admission.keys.replace(keys),
            None => KnownKeys::default().replace(keys),
        };
        *present = Some(Admission {
            gateway,
            keys: Arc::new(keys),
        });
        Ok(())
    }

    /// Lets nobody in and forgets everything.
    pub fn shut(&self) {
        self.set_held(true);
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether key holders have to wait.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Makes key holders wait, or no longer.
    pub fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }
}
