//! How long the stand-in takes for what the real gateway takes its time for.

use std::time::Duration;

/// The durations of one stand-in gateway.
///
/// [`Timing::short`] is for tests; [`Timing::real`] is what OpenClaw 2026.9.6 was measured to take
/// on a small Linux machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From noticing a changed configuration to applying it.
    pub hot_apply: Duration,
    /// From the start of the process until the port is open.
    pub load: Duration,
    /// From the open port until `/readyz` answers 200.
    pub warm: Duration,
    /// How long a restart that was asked for is put off for requests in flight, before it drains.
    pub deferral_limit: Duration,
    /// The shortest time between a restart request and the closed port, in which `/readyz` answers 503.
    pub drain: Duration,
    /// How long a restart waits for requests in flight before it cuts them.
    pub drain_limit: Duration,
    /// How long the port stays closed in a restart, before `load`.
    pub down: Duration,
    /// Between two words of a streamed answer.
    pub word: Duration,
    /// The delay of the first wrong token from loopback; it doubles with each further one, up to twenty times.
    pub wrong_token: Duration,
}

impl Timing {
    /// Short durations for tests.
    #[must_use]
    pub const fn short() -> Self {
        Self {
            hot_apply: Duration::from_millis(30),
            load: Duration::from_millis(10),
            warm: Duration::from_millis(20),
            deferral_limit: Duration::from_secs(300),
            drain: Duration::from_millis(20),
            drain_limit: Duration::from_millis(200),
            down: Duration::from_millis(60),
            word: Duration::from_millis(5),
            wrong_token: Duration::ZERO,
        }
    }

    /// What the real gateway takes.
    #[must_use]
    pub const fn real() -> Self {
        Self {
            hot_apply: Duration::from_millis(600),
            load: Duration::from_secs(5),
            warm: Duration::from_secs(2),
            deferral_limit: Duration::from_secs(300),
            drain: Duration::from_millis(100),
            drain_limit: Duration::from_secs(30),
            down: Duration::from_millis(700),
            word: Duration::from_millis(40),
            wrong_token: Duration::from_millis(250),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::short()
    }
}
