//! What a program and its children take from the machine, as Linux counts it.

use std::collections::HashMap;
use std::fs;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The length of one tick of `/proc/PID/stat`: the kernel reports in hundredths of a second on every system.
const TICK: Duration = Duration::from_millis(10);

/// Memory in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Resident, with what is shared counted in full.
    pub resident: u64,
    /// Resident, with what is shared counted in parts (PSS).
    pub proportional: u64,
    /// Resident and not shared.
    pub own: u64,
}

impl AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.resident += other.resident;
        self.proportional += other.proportional;
        self.own += other.own;
    }
}

/// Processor time since the start, and how often each thread waited and was woken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    processor: Duration,
    waits: HashMap<u32, u64>,
}

impl Usage {
    /// The processor time since an earlier look.
    #[must_use]
    pub fn processor_since(&self, earlier: &Self) -> Duration {
        self.processor.saturating_sub(earlier.processor)
    }

    /// How often a thread was woken since an earlier look.
    #[must_use]
    pub fn wake_ups_since(&self, earlier: &Self) -> u64 {
        self.waits
            .iter()
            .map(|(thread, waits)| {
                waits.saturating_sub(earlier.waits.get(thread).copied().unwrap_or_default())
            })
            .sum()
    }
}

/// A process and all that descend from it.
///
/// # Errors
///
/// Where there is no `/proc`.
pub fn processes(root: u32) -> Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Ok(fields) = statistics(pid)
            && let Some(parent) = fields.get(1).and_then(|field| field.parse().ok())
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children.remove(&pid).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

/// The memory of a process and all that descend from it.
///
/// # Errors
///
/// Where the process has ended.
pub fn memory(root: u32) -> Result<Memory> {
    let mut sum = memory_of(root)?;
    for pid in processes(root)?.into_iter().skip(1) {
        // A child may end while it is looked at.
        sum += memory_of(pid).unwrap_or_default();
    }
    Ok(sum)
}

/// What a process and all that descend from it have used so far.
///
/// # Errors
///
/// Where there is no `/proc`.
pub fn usage(root: u32) -> Result<Usage> {
    let mut sum = Usage::default();
    for pid in processes(root)? {
        let Ok(fields) = statistics(pid) else {
            continue;
        };
        for field in fields.iter().skip(11).take(2) {
            sum.processor += TICK * field.parse().unwrap_or_default();
        }
        for thread in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
        {
            let path = thread?.path();
            let Some(id) = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok())
            else {
                continue;
            };
            let status = fs::read_to_string(path.join("status")).unwrap_or_default();
            if let Some(waits) = number(&status, "voluntary_ctxt_switches:") {
                sum.waits.insert(id, waits);
            }
        }
    }
    Ok(sum)
}

fn memory_of(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .with_context(|| format!("process {pid} has ended"))?;
    let kilobytes = |name| number(&text, name).unwrap_or_default();
    Ok(Memory {
        resident: kilobytes("Rss:"),
        proportional: kilobytes("Pss:"),
        own: kilobytes("Private_Clean:") + kilobytes("Private_Dirty:"),
    })
}

/// The fields of `/proc/PID/stat` after the name, which may itself have spaces and brackets in it.
fn statistics(pid: u32) -> Result<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("not a line of stat")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

fn number(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory_and_time_and_has_itself_first() {
        let own = std::process::id();
        assert_eq!(processes(own).unwrap().first(), Some(&own));
        let taken = memory(own).unwrap();
        assert!(taken.own <= taken.proportional && taken.proportional <= taken.resident);
        assert!(taken.own > 0);
        let before = usage(own).unwrap();
        let busy = std::time::Instant::now();
        while busy.elapsed() < TICK * 5 {
            std::hint::spin_loop();
        }
        let after = usage(own).unwrap();
        assert!(after.processor_since(&before) >= TICK);
        assert_eq!(before.wake_ups_since(&before), 0);
    }
}
