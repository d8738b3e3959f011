//! What the guard is measured with: an upstream that answers at once, callers that keep a steady pace, and the proxies
//! that the guard is measured against.
//!
//! The callers work on one thread and in an open loop: a request is due at a moment that does not depend on earlier
//! answers, and its time counts from then on. So a proxy that stops for a moment is charged for every request that
//! had to wait, not for one.

mod answer;
mod calls;
mod key_timing;
mod process;
mod streams;
mod subject;
mod table;
mod upstream;
mod wires;

pub use calls::{Asking, Called, Callers, Calls, NETWORKS, Pace};
pub use key_timing::KeyTiming;
pub use process::{Pinned, processor_time, raise_open_files, streams_within};
pub use streams::{Listened, Streams, hold_quiet_streams};
pub use subject::{Kind, Secrets, Subject, guard_process};
pub use table::{Aim, Table};
pub use upstream::{Counts, Upstream, upstream_process};
pub use wires::monotonic;

/// The share of values, sorted in place, that is at most the returned one; zero where there are none.
#[must_use]
pub fn percentile(values: &mut [u64], share: f64) -> u64 {
    values.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an index between nought and the count"
    )]
    let index = ((values.len() as f64 * share).ceil() as usize).saturating_sub(1);
    values.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_the_smallest_value_that_enough_are_not_above() {
        let mut values: Vec<u64> = (1..=1000).rev().collect();
        assert_eq!(percentile(&mut values, 0.5), 500);
        assert_eq!(percentile(&mut values, 0.99), 990);
        assert_eq!(percentile(&mut values, 0.999), 999);
        assert_eq!(percentile(&mut values, 1.0), 1000);
        assert_eq!(percentile(&mut [7], 0.999), 7);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }
}
