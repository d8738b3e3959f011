//! How many files the host may have open, and how many of them are for connections through the guard.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// macOS refuses more than `OPEN_MAX` (`sys/syslimits.h`).
const OPEN_MAX: u64 = 10_240;

/// So many are kept for Ecto's own work, whatever comes through the guard: the control socket, the record and the logs, what
/// is said to tailscaled and to OpenClaw, the check from outside, programs that are started, connections that are turned
/// away, and the page of the app.
const RESERVE: u64 = 300;

/// How many files this process may have open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenFiles(u64);

impl OpenFiles {
    /// Asks the system for as many as so many connections need, of which each takes up `each`, or for as many as it gives:
    /// it starts programs with as few as 256. Returns how many there are then.
    pub fn raise(connections: usize, each: u64) -> Self {
        let most = if cfg!(target_os = "macos") {
            OPEN_MAX
        } else {
            u64::MAX
        };
        let limit = getrlimit(Resource::Nofile);
        let connections = u64::try_from(connections).unwrap_or(u64::MAX);
        let wanted = connections.saturating_mul(each).saturating_add(RESERVE);
        let wanted = wanted.min(limit.maximum.unwrap_or(most)).min(most);
        let current = limit.current.unwrap_or(most);
        // A Mac's own limit (`kern.maxfilesperproc`) may be lower than what stands as the most.
        let mut tried = wanted;
        while current < tried {
            let raised = Rlimit {
                current: Some(tried),
                ..limit
            };
            match setrlimit(Resource::Nofile, raised) {
                Ok(()) => break,
                Err(fault) => {
                    tracing::warn!(%fault, tried, "the limit on open files could not be raised");
                }
            }
            tried /= 2;
        }
        let limit = getrlimit(Resource::Nofile);
        Self(limit.current.unwrap_or(most).min(most))
    }

    /// For how many connections there are enough, of which each takes up `each`; at most `most`. Where there are few files,
    /// half of them are kept for everything else.
    pub fn connections(self, most: usize, each: u64) -> usize {
        let reserve = RESERVE.min(self.0 / 2);
        let fit = self.0.saturating_sub(reserve) / each.max(1);
        usize::try_from(fit).unwrap_or(usize::MAX).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_for_ectos_own_work_however_many_there_are() {
        for (files, connections) in [
            (u64::MAX, 12_000),
            (1_048_576, 12_000),
            (24_300, 12_000),
            (24_299, 11_999),
            (OPEN_MAX, 4_970),
            (4_096, 1_898),
            (1_024, 362),
            (600, 150),
            (256, 64),
            (0, 0),
        ] {
            assert_eq!(
                OpenFiles(files).connections(12_000, 2),
                connections,
                "{files}"
            );
        }
        assert_eq!(OpenFiles(24_300).connections(12_000, 5), 4_800);
    }

    #[test]
    fn what_was_raised_is_what_there_is() {
        let files = OpenFiles::raise(12_000, 2);
        let limit = getrlimit(Resource::Nofile);
        if cfg!(target_os = "linux") {
            assert_eq!(limit.current.unwrap_or(u64::MAX), files.0);
        }
        assert_eq!(OpenFiles::raise(1, 2), files, "nothing is taken away");
    }
}
