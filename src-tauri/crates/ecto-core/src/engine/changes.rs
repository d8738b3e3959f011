//! What tells that node or gateway may have changed, while somebody wants to know.

use tokio::sync::watch;

use super::Ports;

/// The adapters watch for as long as this is kept, which costs them looks at ports and files: a door that is shut needs
/// none.
pub(super) struct Changes {
    tailnet: watch::Receiver<u64>,
    gateway: watch::Receiver<u64>,
}

impl Changes {
    pub fn watch(ports: &Ports) -> Self {
        Self {
            tailnet: ports.tailnet.changes(),
            gateway: ports.gateway.changes(),
        }
    }

    /// Whatever was told until now is known.
    pub fn take_note(&mut self) {
        self.tailnet.borrow_and_update();
        self.gateway.borrow_and_update();
    }

    /// What was told of the gateway was not looked at after all.
    pub fn tell_again(&mut self) {
        self.gateway.mark_changed();
    }
}

/// Waits for the next change; for ever where nothing is watched.
pub(super) async fn told(changes: &mut Option<Changes>) {
    let Some(changes) = changes else {
        return std::future::pending().await;
    };
    tokio::select! {
        Ok(()) = changes.tailnet.changed() => {}
        Ok(()) = changes.gateway.changed() => {}
        else => std::future::pending().await,
    }
}

/// Waits for the next change of the gateway; for ever where nothing is watched.
pub(super) async fn told_of_gateway(changes: &mut Option<Changes>) {
    if let Some(changes) = changes
        && let Ok(()) = changes.gateway.changed().await
    {
        return;
    }
    std::future::pending().await
}
