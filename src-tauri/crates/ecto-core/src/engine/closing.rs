//! The way to Private, and staying there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::cause::Cause;
use crate::exposure::{Closed, Exposure};
use crate::foreign::ForeignText;
use crate::tailnet::NodeChoice;
use crate::words;

use super::{Engine, Unconfirmed, Work};

/// How long tailscaled may take to remove a claim before that counts as not done.
const CLOSING_LIMIT: Duration = Duration::from_secs(5);

/// How often a closing that could not be seen to have worked is looked at again.
pub(super) const CONFIRM_EVERY: Duration = Duration::from_secs(3);

impl Engine {
    /// Cuts every stream, removes the claim, and reads back that it is gone. Nobody gets through from the first moment on.
    pub(super) async fn close_door(&mut self) -> Result<(), Cause> {
        self.void_proof();
        self.forget_door();
        self.guard = None;
        let door = self.door.take();
        if door.is_some() || self.guard_up {
            self.show(Exposure::Closing);
        }
        let place = door.as_ref().map(|door| (door.node, door.guard));
        let close = async move {
            match door {
                Some(door) => timeout(CLOSING_LIMIT, door.claim.close()).await,
                None => Ok(Ok(())),
            }
        };
        let guard_up = self.guard_up;
        let guard = Arc::clone(&self.ports.guard);
        let stop = async move {
            if guard_up {
                guard.stop().await;
            }
        };
        self.uses = self.key_uses();
        let (closing, ()) = tokio::join!(close, stop);
        self.guard_up = false;
        let detail: Option<ForeignText> = match closing {
            Ok(Ok(())) => None,
            Ok(Err(Cause::CouldNotClose { detail, node: _ })) => Some(detail),
            Ok(Err(cause)) => Some(words::cause(&cause).what.trim_end_matches('.').into()),
            Err(_) => Some("Tailscale did not answer in time".into()),
        };
        if let (Some((node, guard)), Some(detail)) = (place, detail) {
            self.doubt_closing(node, guard, detail);
        }
        self.unconfirmed
            .as_ref()
            .map_or(Ok(()), |doubt| Err(doubt.cause.clone()))
    }

    /// Remembers that something may still lead to `guard`, until tailscaled says that nothing does.
    pub(super) fn doubt_closing(
        &mut self,
        node: NodeChoice,
        guard: SocketAddr,
        detail: impl Into<ForeignText>,
    ) {
        let kind = self.seen.as_ref().and_then(|(tailnet, _)| tailnet.kind());
        self.unconfirmed = Some(Unconfirmed {
            node,
            guard,
            cause: Cause::CouldNotClose {
                detail: detail.into(),
                node: kind,
            },
        });
    }

    /// Whether the door is known to be closed, once the claim is let go.
    pub(super) fn closed(&self) -> Closed {
        if self.unconfirmed.is_some() {
            Closed::Unconfirmed
        } else {
            Closed::Yes
        }
    }

    /// Whether nothing runs that a Private machine does not need, and everybody who asked for Private was answered.
    pub(super) fn is_settled(&self) -> bool {
        self.door.is_none() && !self.guard_up && self.when_private.is_empty()
    }

    /// Closes what is open, and answers those who asked for it.
    pub(super) async fn go_private(&mut self) {
        // Told below: what could not be confirmed stands in `unconfirmed`.
        let _ = self.close_door().await;
        if !self.confirm_closed().await {
            return;
        }
        let unstored = self.store_again().await;
        self.show_private();
        let doubt = self.unconfirmed.as_ref().map(|doubt| doubt.cause.clone());
        let outcome = doubt.or(unstored).map_or(Ok(()), Err);
        for waiting in self.when_private.drain(..) {
            let _ = waiting.send(outcome.clone());
        }
    }

    /// Says what is while Private is wanted, and waits for a command; meanwhile goes on with what is left to do.
    pub(super) async fn stay_private(&mut self) {
        self.changes = None;
        self.show_private();
        if self.unconfirmed.is_none() && self.unstored.is_none() {
            let command = self.commands.recv().await;
            self.hear(command).await;
            return;
        }
        let pause = self.during(CONFIRM_EVERY, None, std::future::pending::<()>());
        if let Work::Interrupted = pause.await {
            return;
        }
        if self.confirm_closed().await {
            self.store_again().await;
        }
    }

    pub(super) fn show_private(&mut self) {
        let doubt = self.unconfirmed.as_ref().map(|doubt| doubt.cause.clone());
        if doubt.is_none() {
            self.journey.clear();
        }
        // Why it was shut says more than that it may not be.
        self.show(match self.found.clone().or(doubt) {
            Some(cause) => Exposure::Blocked {
                cause,
                closed: self.closed(),
            },
            None => Exposure::Private,
        });
    }

    /// Asks tailscaled whether anything still leads to the guard that has ended, where that is in doubt. Returns
    /// whether to go on; `false` when a command came first.
    pub(super) async fn confirm_closed(&mut self) -> bool {
        let Some(doubt) = &self.unconfirmed else {
            return true;
        };
        let tailnet = Arc::clone(&self.ports.tailnet);
        let (node, guard) = (doubt.node, doubt.guard);
        let ask = async move { tailnet.confirm_closed(node, guard).await };
        match self.during(CLOSING_LIMIT, None, ask).await {
            Work::Done(Ok(())) => {
                self.unconfirmed = None;
                true
            }
            Work::Done(Err(_)) | Work::TimedOut => true,
            Work::Interrupted => false,
        }
    }
}
