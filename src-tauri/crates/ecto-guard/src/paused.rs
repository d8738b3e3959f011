//! The clock of tests on paused time.

use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::ports::Clock;
use tokio::time::Instant;

/// Goes as tokio's clock does, from 1970 on.
pub(crate) struct Paused(Instant);

impl Paused {
    /// Begins now.
    pub fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.uptime()
    }

    fn uptime(&self) -> Duration {
        self.0.elapsed()
    }
}
