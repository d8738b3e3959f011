//! The system's clocks.

use std::time::Duration;

use ecto_core::ports::Clock;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The clock that goes on while the machine sleeps. On macOS `CLOCK_MONOTONIC` does (`clock_gettime(3)`), on Linux it
/// stops and `CLOCK_BOOTTIME` does not (`clock_gettime(2)`).
#[cfg(target_os = "macos")]
const AWAKE_AND_ASLEEP: ClockId = ClockId::Monotonic;
#[cfg(not(target_os = "macos"))]
const AWAKE_AND_ASLEEP: ClockId = ClockId::Boottime;

/// Wall clock and uptime of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> Duration {
        let time = clock_gettime(AWAKE_AND_ASLEEP);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or_default();
        Duration::new(seconds, nanoseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_goes_on() {
        let before = SystemClock.uptime();
        std::thread::sleep(Duration::from_millis(2));
        let passed = SystemClock.uptime().saturating_sub(before);
        assert!(passed >= Duration::from_millis(2), "{passed:?}");
        assert!(passed < Duration::from_secs(60), "{passed:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn uptime_counts_from_when_the_machine_started() {
        let file = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = file.split(' ').next().unwrap().parse().unwrap();
        assert!((SystemClock.uptime().as_secs_f64() - seconds).abs() < 30.0);
    }
}
