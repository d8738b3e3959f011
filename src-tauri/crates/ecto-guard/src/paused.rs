//! The clock of tests on paused time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::ports::Clock;
use tokio::time::Instant;

/// Goes as tokio's clock does, from 1970 on.
pub(crate) struct Paused {
    began: Instant,
    /// By how many seconds the time of day is ahead.
    ahead: AtomicU64,
}

impl Paused {
    /// Begins now.
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            ahead: AtomicU64::new(0),
        }
    }

    /// Sets the time of day so many seconds ahead.
    pub fn set_ahead(&self, seconds: u64) {
        self.ahead.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        let ahead = Duration::from_secs(self.ahead.load(Ordering::SeqCst));
        Timestamp::UNIX_EPOCH + self.uptime() + ahead
    }

    fn uptime(&self) -> Duration {
        self.began.elapsed()
    }
}
