//! What is done between two rounds, because somebody asked for it.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::cause::Cause;
use crate::key::DEFAULT_KEY;
use crate::ports::{Secrets, VaultFault};
use crate::step::Reporter;
use crate::wanted::Wanted;

use super::command::Action;
use super::{Engine, Work};

const VAULT_LIMIT: Duration = Duration::from_secs(120);

impl From<VaultFault> for Cause {
    fn from(fault: VaultFault) -> Self {
        match fault {
            VaultFault::Denied => Self::VaultDenied,
            VaultFault::Unreachable { detail } => Self::VaultUnreachable { detail },
            VaultFault::Damaged { detail } => Self::VaultDamaged { detail },
        }
    }
}

impl Engine {
    pub(super) async fn act(&mut self, action: Action) {
        match action {
            Action::Look { reply } => {
                let seen = self.observe().await;
                let _ = reply.send(seen.map(|_| ()).ok_or_else(interrupted));
            }
            Action::RevealKey { reply } => {
                let _ = reply.send(self.reveal_key().await);
            }
            Action::RegenerateKey { reply } => {
                let _ = reply.send(self.regenerate_key().await);
            }
            Action::RestartGateway { reply } => {
                self.void_proof();
                let gateway = Arc::clone(&self.ports.gateway);
                let restart = async move { gateway.start(Reporter::silent()).await };
                let limit = crate::step::Step::StartOpenClaw.limit();
                let _ = reply.send(settle(self.during(limit, None, restart).await));
            }
            Action::Restore { reply } => {
                self.want(Wanted::Private);
                // What is wanted no longer stands once OpenClaw is as it was; a wish that could not be replaced is
                // followed only after a restart, and sets OpenClaw up anew.
                let _ = self.store_wanted(&Wanted::Private).await;
                if let Err(cause) = self.close_door().await {
                    let _ = reply.send(Err(cause));
                    return;
                }
                let gateway = Arc::clone(&self.ports.gateway);
                let restore = async move { gateway.restore(Reporter::silent()).await };
                let _ = reply.send(settle(
                    self.during(Duration::from_secs(60), None, restore).await,
                ));
            }
        }
    }

    async fn reveal_key(&mut self) -> Result<SecretString, Cause> {
        settle(self.ensure_secrets().await)?;
        self.publish();
        self.secrets
            .as_ref()
            .and_then(|secrets| secrets.key(DEFAULT_KEY))
            .cloned()
            .ok_or_else(interrupted)
    }

    async fn regenerate_key(&mut self) -> Result<(), Cause> {
        settle(self.ensure_secrets().await)?;
        let key = (self.ports.make_key)().map_err(|fault| Cause::Internal {
            detail: fault.to_string().into(),
        })?;
        let mut keys = self
            .secrets
            .clone()
            .map_or_else(Vec::new, |secrets| secrets.keys);
        match keys.iter_mut().find(|(name, _)| name == DEFAULT_KEY) {
            Some((_, secret)) => *secret = key,
            None => keys.push((DEFAULT_KEY.to_owned(), key)),
        }
        let secrets = Secrets { keys };
        let vault = Arc::clone(&self.ports.vault);
        let stored = secrets.clone();
        let store = async move { vault.store(&stored).await.map_err(Cause::from) };
        if let Err(cause) = settle(self.during(VAULT_LIMIT, None, store).await) {
            // It is not known which of the two is stored now: the vault is asked again before the next use.
            self.secrets = None;
            return Err(cause);
        }
        self.secrets = Some(secrets);
        if let Some(running) = &self.guard {
            let access = running.access.clone();
            self.void_proof();
            let guard = Arc::clone(&self.ports.guard);
            let keys = self.guard_keys();
            let swap = async move { guard.start(access, keys).await.map(|_| ()) };
            if let Err(cause) = settle(self.during(Duration::from_secs(10), None, swap).await) {
                // The old key must not go on working.
                let _ = self.close_door().await;
                return Err(cause);
            }
        }
        self.publish();
        Ok(())
    }
}

fn settle<T>(work: Work<Result<T, Cause>>) -> Result<T, Cause> {
    match work {
        Work::Done(result) => result,
        Work::Interrupted => Err(interrupted()),
        Work::TimedOut => Err(Cause::Internal {
            detail: "it took too long".into(),
        }),
    }
}

fn interrupted() -> Cause {
    Cause::Internal {
        detail: "something else was asked for first".into(),
    }
}
