//! Notices changes: one session on the bus of every tailscaled that may be used, connected again whenever it ends.

use std::sync::Arc;
use std::time::Duration;

use ecto_core::tailnet::NodeChoice;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::bus::{INITIAL_HEALTH, INITIAL_PREFS, INITIAL_STATE};
use crate::find::{Finder, Source};

/// Notifications come in bursts.
const SETTLE: Duration = Duration::from_millis(100);
const FIRST_REDIAL: Duration = Duration::from_millis(100);
/// Nothing can tell that a tailscaled appeared, so its door is tried now and then.
const REDIAL: Duration = Duration::from_secs(2);
/// While nobody wants to know, and where trying is costly.
const SLOW_REDIAL: Duration = Duration::from_secs(15);

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    changes: watch::Sender<u64>,
    redial: Arc<Notify>,
    _sessions: Vec<AbortOnDropHandle<()>>,
}

impl Watcher {
    /// Starts watching. Has to be called within a Tokio runtime.
    pub(crate) fn start(finder: &Arc<Finder>) -> Self {
        let changes = watch::Sender::new(0);
        let redial = Arc::new(Notify::new());
        let sessions = finder
            .sources(NodeChoice::Auto)
            .into_iter()
            .map(|source| {
                let session = Session {
                    finder: finder.clone(),
                    source,
                    changes: changes.clone(),
                    redial: redial.clone(),
                };
                AbortOnDropHandle::new(tokio::spawn(session.watch()))
            })
            .collect();
        Self {
            changes,
            redial,
            _sessions: sessions,
        }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tries at once whatever does not answer: something was started.
    pub(crate) fn redial(&self) {
        self.redial.notify_waiters();
    }
}

struct Session {
    finder: Arc<Finder>,
    source: Source,
    changes: watch::Sender<u64>,
    redial: Arc<Notify>,
}

impl Session {
    async fn watch(self) {
        let mut pause = FIRST_REDIAL;
        loop {
            if self.follow().await {
                pause = FIRST_REDIAL;
            }
            let slow = self.source == Source::AppStore || self.changes.receiver_count() == 0;
            let pause_now = if slow { SLOW_REDIAL } else { pause };
            tokio::select! {
                () = tokio::time::sleep(pause_now) => {}
                () = self.redial.notified() => {}
            }
            pause = (pause * 2).min(REDIAL);
        }
    }

    /// Follows the bus until it ends. Returns whether it was there.
    async fn follow(&self) -> bool {
        let Ok(Some(node)) = self.finder.node(&self.source).await else {
            return false;
        };
        let mask = INITIAL_STATE | INITIAL_PREFS | INITIAL_HEALTH;
        let Ok(mut bus) = node.api.watch(mask).await else {
            return false;
        };
        while bus.changed(SETTLE).await.is_ok() {
            self.mark();
        }
        self.mark();
        true
    }

    fn mark(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }
}
