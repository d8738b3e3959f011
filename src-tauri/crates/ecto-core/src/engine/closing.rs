//! The way to Private, and staying there.

use std::time::Duration;

use tokio::time::timeout;

use crate::cause::Cause;
use crate::exposure::{Closed, Exposure};
use crate::foreign::ForeignText;

use super::{Engine, Unconfirmed, Work};

/// How long tailscaled may take to remove a claim before that counts as not done.
const CLOSING_LIMIT: Duration = Duration::from_secs(5);

/// How often a closing that could not be seen to have worked is looked at again.
const CONFIRM_EVERY: Duration = Duration::from_secs(3);

impl Engine {
    /// Cuts every stream, removes the claim, and reads back that it is gone. Nobody gets through from the first moment on.
    pub(super) async fn close_door(&mut self) -> Result<(), Cause> {
        self.void_proof();
        self.outside = None;
        self.next_check = None;
        let Some(guard) = self.guard.take() else {
            return self
                .unconfirmed
                .as_ref()
                .map_or(Ok(()), |doubt| Err(doubt.cause.clone()));
        };
        self.show(Exposure::Closing);
        let Some(door) = self.door.take() else {
            self.ports.guard.stop().await;
            return self
                .unconfirmed
                .as_ref()
                .map_or(Ok(()), |doubt| Err(doubt.cause.clone()));
        };
        let node = door.node;
        let (closing, ()) = tokio::join!(
            timeout(CLOSING_LIMIT, door.claim.close()),
            self.ports.guard.stop()
        );
        let detail: ForeignText = match closing {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Cause::CouldNotClose { detail })) => detail,
            Ok(Err(cause)) => cause.code().into(),
            Err(_) => "tailscaled did not answer in time".into(),
        };
        let cause = Cause::CouldNotClose { detail };
        self.unconfirmed = Some(Unconfirmed {
            node,
            guard: guard.listener,
            cause: cause.clone(),
        });
        Err(cause)
    }

    /// Whether the door is known to be closed, once the claim is let go.
    pub(super) fn closed(&self) -> Closed {
        if self.unconfirmed.is_some() {
            Closed::Unconfirmed
        } else {
            Closed::Yes
        }
    }

    /// Closes what is open, says so, and waits for a command.
    pub(super) async fn stay_private(&mut self) {
        if self.guard.is_some() || self.door.is_some() {
            // Told below: what could not be confirmed stands in `unconfirmed`.
            let _ = self.close_door().await;
        }
        if self.unconfirmed.is_some() {
            self.confirm_closed().await;
        }
        match &self.unconfirmed {
            None => {
                self.journey.clear();
                self.show(Exposure::Private);
                for waiting in self.when_private.drain(..) {
                    let _ = waiting.send(Ok(()));
                }
                let command = self.commands.recv().await;
                self.hear(command).await;
            }
            Some(doubt) => {
                let cause = doubt.cause.clone();
                for waiting in self.when_private.drain(..) {
                    let _ = waiting.send(Err(cause.clone()));
                }
                self.show(Exposure::Blocked {
                    cause,
                    closed: Closed::Unconfirmed,
                });
                let _ = self
                    .during(CONFIRM_EVERY, None, std::future::pending::<()>())
                    .await;
            }
        }
    }

    /// Asks tailscaled whether anything still leads to the guard that has ended.
    pub(super) async fn confirm_closed(&mut self) {
        let Some(doubt) = &self.unconfirmed else {
            return;
        };
        let tailnet = std::sync::Arc::clone(&self.ports.tailnet);
        let (node, guard) = (doubt.node, doubt.guard);
        let ask = async move { tailnet.confirm_closed(node, guard).await };
        if let Work::Done(Ok(())) = self.during(CLOSING_LIMIT, None, ask).await {
            self.unconfirmed = None;
        }
    }
}
