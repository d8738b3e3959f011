//! Where processes run and what they take.

use std::fs;
use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, set_current_timer_slack};

use crate::desktop::processes;

/// How many files each process of the measurement wants open: two for each of 10,000 streams, and some.
const OPEN_FILES: u64 = 65_536;

/// Lets this process and those that it starts have as many files open as they want, or as the system allows, and be
/// woken when they want to. Says how many files that are.
///
/// # Errors
///
/// Where the system does not take a limit that it allows.
pub fn raise_open_files() -> Result<u64> {
    set_current_timer_slack(NonZeroU64::new(1))?;
    let before = getrlimit(Resource::Nofile);
    if before.current.is_none_or(|limit| limit >= OPEN_FILES) {
        return Ok(OPEN_FILES);
    }
    let raise = |current, maximum| {
        let limit = Rlimit {
            current: Some(current),
            maximum,
        };
        setrlimit(Resource::Nofile, limit).map(|()| current)
    };
    match before.maximum {
        Some(maximum) if maximum < OPEN_FILES => {
            // Only the system's administrator may go beyond the maximum, and not everywhere.
            Ok(raise(OPEN_FILES, Some(OPEN_FILES)).or_else(|_| raise(maximum, Some(maximum)))?)
        }
        maximum => Ok(raise(OPEN_FILES, maximum)?),
    }
}

/// How many streams a proxy with so many files can have: one file on each side of each, and some for itself.
#[must_use]
pub const fn streams_within(open_files: u64) -> u64 {
    open_files.saturating_sub(200) / 2
}

/// Keeps the present thread, and what it starts meanwhile, on one processor; dropping it gives the others back.
pub struct Pinned(CpuSet);

impl Pinned {
    /// Stays on the processor of this number, whatever it was kept to before.
    ///
    /// # Errors
    ///
    /// Where the machine has no such processor, or the system does not allow it.
    pub fn to(processor: usize) -> Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        one.set(processor);
        sched_setaffinity(None, &one)
            .with_context(|| format!("keep to processor {processor}; --unpinned does not"))?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// The processor time that a process and all that descend from it have used, to the nanosecond.
///
/// # Errors
///
/// Where there is no `/proc`.
pub fn processor_time(root: u32) -> Result<Duration> {
    let mut sum = 0;
    for pid in processes(root)? {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let ran: u64 = text
                .split_whitespace()
                .next()
                .and_then(|field| field.parse().ok())
                .unwrap_or_default();
            sum += ran;
        }
    }
    Ok(Duration::from_nanos(sum))
}
