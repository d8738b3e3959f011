//! What is done between two rounds, because somebody asked for it.

use std::sync::Arc;
use std::time::Duration;

use crate::cause::Cause;
use crate::ports::VaultFault;
use crate::step::{Reporter, Step};
use crate::wanted::Wanted;

use super::command::Action;
use super::keys::settle_keys;
use super::{Engine, Work};

/// How long undoing the changes to OpenClaw's configuration may take.
const RESTORE_LIMIT: Duration = Duration::from_secs(60);

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
                let _ = reply.send(seen.map(|_| ()).ok_or(Cause::BrokenOff));
            }
            Action::RegenerateKey { reply } => {
                let _ = reply.send(self.regenerate_key().await);
            }
            Action::ShowKeys {
                makes_default,
                reply,
            } => {
                let _ = reply.send(self.show_keys(makes_default).await);
            }
            Action::FindKey { digest, reply } => {
                let _ = reply.send(self.find_key(&digest).await);
            }
            Action::RevealKey { name, reply } => {
                let _ = reply.send(self.reveal_key(&name).await);
            }
            Action::AddKey { name, grant, reply } => {
                let _ = reply.send(self.add_key(name, grant).await);
            }
            Action::RotateKey {
                name,
                grace,
                end,
                reply,
            } => {
                let _ = reply.send(self.rotate_key(&name, grace, end).await);
            }
            Action::RevokeKey { name, reply } => {
                match self.revoke_key(&name).await {
                    // Whoever asks to have it closed may be asking because that key is in wrong hands: once it is closed,
                    // this comes before everything else.
                    Work::Interrupted => self.actions.push_front(Action::RevokeKey { name, reply }),
                    settled @ (Work::Done(_) | Work::TimedOut) => {
                        let _ = reply.send(settle_keys(settled));
                    }
                }
            }
            Action::RenameKey { name, to, reply } => {
                let _ = reply.send(self.rename_key(&name, to).await);
            }
            Action::RestartGateway { reply } => {
                let late = Cause::GatewayNotReady { log: None };
                let _ = reply.send(settle(self.restart_gateway().await, late));
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
                let restored = self.during(RESTORE_LIMIT, None, restore).await;
                let late = Cause::GatewayNotReady { log: None };
                let _ = reply.send(settle(restored, late));
            }
        }
    }

    /// Callers are let through until something about the gateway changes: it may put the restart off for minutes.
    async fn restart_gateway(&mut self) -> Work<Result<(), Cause>> {
        self.expect_new_proof();
        let limit = Step::StartOpenClaw.limit();
        let gateway = Arc::clone(&self.ports.gateway);
        let mut changes = gateway.changes();
        let mut restart = Box::pin(async move { gateway.restart(Reporter::silent()).await });
        let change = async {
            tokio::select! {
                biased;
                restarted = &mut restart => Some(restarted),
                _ = changes.changed() => None,
            }
        };
        let restarted = match self.during(limit, None, change).await {
            Work::Done(Some(restarted)) => Work::Done(restarted),
            Work::Done(None) => {
                self.void_proof();
                self.show_public();
                self.during(limit, None, restart).await
            }
            Work::Interrupted => Work::Interrupted,
            Work::TimedOut => Work::TimedOut,
        };
        if !matches!(restarted, Work::Done(Err(Cause::GatewayRestartDeferred))) {
            self.void_proof();
            self.show_public();
        }
        restarted
    }
}

/// What came of it; `late` where it took too long.
pub(super) fn settle<T>(work: Work<Result<T, Cause>>, late: Cause) -> Result<T, Cause> {
    match work {
        Work::Done(result) => result,
        Work::Interrupted => Err(Cause::BrokenOff),
        Work::TimedOut => Err(late),
    }
}
