//! What is done between two rounds, because somebody asked for it.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::cause::Cause;
use crate::key::DEFAULT_KEY;
use crate::ports::{Secrets, VaultFault};
use crate::step::Reporter;
use crate::wanted::Wanted;

use super::command::Action;
use super::{Engine, RunningGuard, Work};

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
                self.show_public();
                let gateway = Arc::clone(&self.ports.gateway);
                let restart = async move { gateway.start(Reporter::silent()).await };
                let limit = crate::step::Step::StartOpenClaw.limit();
                let _ = reply.send(settle(self.during(limit, None, restart).await));
            }
            Action::Restore { reply } => {
                self.want(Wanted::Private);
                self.store_present().await;
                if let Err(cause) = self.close_door().await {
                    let _ = reply.send(Err(cause));
                    return;
                }
                self.show_private();
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
        match settle(self.ensure_secrets().await) {
            // Asked for by name, a new key may take the place of what cannot be read.
            Ok(()) | Err(Cause::VaultDamaged { .. }) => {}
            Err(cause) => return Err(cause),
        }
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
        let outcome = self.during(VAULT_LIMIT, None, store).await;
        let interrupted = matches!(outcome, Work::Interrupted);
        if let Err(cause) = settle(outcome)
            && !self.is_stored(&secrets, interrupted).await
        {
            return Err(cause);
        }
        self.secrets = Some(secrets);
        if let Some(Cause::VaultDamaged { .. }) = self.given_up {
            self.given_up = None;
        }
        if let Some(running) = self.guard.take() {
            let access = running.access;
            self.void_proof();
            self.show_public();
            let guard = Arc::clone(&self.ports.guard);
            let keys = self.guard_keys();
            let swap = async move {
                let listener = guard.start(access.clone(), keys).await?;
                Ok(RunningGuard { listener, access })
            };
            match settle(self.during(Duration::from_secs(10), None, swap).await) {
                Ok(running) => self.guard = Some(running),
                Err(cause) => {
                    // The old key must not go on working.
                    let _ = self.close_door().await;
                    return Err(cause);
                }
            }
        }
        self.publish();
        Ok(())
    }

    /// Whether the vault holds these secrets although storing them failed. Where that cannot be asked any more, because
    /// the door is about to be closed, the vault is read anew before the next use.
    async fn is_stored(&mut self, secrets: &Secrets, interrupted: bool) -> bool {
        if interrupted {
            self.secrets = None;
            return false;
        }
        let vault = Arc::clone(&self.ports.vault);
        let load = async move { vault.load().await };
        match self.during(Duration::from_secs(10), None, load).await {
            Work::Done(Ok(Some(stored))) => {
                let text = |secrets: &Secrets| {
                    secrets
                        .key(DEFAULT_KEY)
                        .map(|key| key.expose_secret().to_owned())
                };
                text(&stored) == text(secrets)
            }
            Work::Done(Ok(None) | Err(_)) | Work::TimedOut => false,
            Work::Interrupted => {
                self.secrets = None;
                false
            }
        }
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

pub(super) fn interrupted() -> Cause {
    Cause::Internal {
        detail: "something else was asked for first".into(),
    }
}
