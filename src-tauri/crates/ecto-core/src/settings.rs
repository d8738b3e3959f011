//! What the person can choose once and for all.

use std::time::Duration;

/// How the engine behaves where it has a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether what was wanted before the last end is pursued at the start. A host that was started for one errand
    /// does not.
    pub follow_wanted: bool,
    /// Whether links that a person has to open are opened in the browser as well as shown.
    pub open_links: bool,
    /// Whether the check from outside is made at all.
    pub check_outside: bool,
    /// How long a good result of the check from outside stands before it is made again.
    pub recheck_after: Duration,
    /// How often a claim is read back from tailscaled, which does not tell when somebody removes it
    /// (tailscale 1.96, `ipn/ipnlocal/serve.go`: a changed serve configuration makes no notification).
    pub verify_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            follow_wanted: true,
            open_links: true,
            check_outside: true,
            recheck_after: Duration::from_secs(15 * 60),
            verify_every: Duration::from_secs(15),
        }
    }
}
