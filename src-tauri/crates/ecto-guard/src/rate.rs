//! How often something may happen: the generic cell rate algorithm, which needs one moment for each thing it limits.

use std::num::NonZeroU32;
use std::time::Duration;

/// How often: up to `count` at once, and after that one for each `count`th part of `per`. In any stretch as long as
/// `per` it may happen up to twice `count` times: what was saved up, and what came in since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    step: Duration,
    whole: Duration,
}

impl Pace {
    /// `count` times in each `per`. At most once a nanosecond.
    pub fn new(count: NonZeroU32, per: Duration) -> Self {
        let step = (per / count.get()).max(Duration::from_nanos(1));
        Self {
            step,
            whole: step.saturating_mul(count.get()),
        }
    }
}

/// How long to wait until it may happen again. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// For the `Retry-After` header: whole seconds, rounded up, so that whoever waits that long is let through.
    pub fn seconds(self) -> u64 {
        let whole = self.0.as_secs();
        let begun = u64::from(self.0.subsec_nanos() > 0);
        whole.saturating_add(begun)
    }
}

/// How much is left of what a [`Pace`] allows. Full at first. Moments are measured from any fixed one
/// ([`Clock::uptime`](ecto_core::ports::Clock::uptime)); one that lies before an earlier one gives nothing back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    full_at: Duration,
}

impl Allowance {
    /// Takes one, or says how long to wait for it. What is refused costs nothing.
    pub fn take(&mut self, pace: &Pace, now: Duration) -> Result<(), RetryAfter> {
        self.check(pace, now)?;
        self.full_at = self.full_at.max(now).saturating_add(pace.step);
        Ok(())
    }

    /// Whether one is left, without taking it.
    pub fn check(&self, pace: &Pace, now: Duration) -> Result<(), RetryAfter> {
        let next = self.full_at.max(now).saturating_add(pace.step);
        let free_at = next.saturating_sub(pace.whole);
        if free_at > now {
            return Err(RetryAfter(free_at.saturating_sub(now)));
        }
        Ok(())
    }

    /// Whether all is left, so that this allowance is as good as a new one.
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(count: u32, per: Duration) -> Pace {
        Pace::new(NonZeroU32::new(count).unwrap(), per)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn sixty_a_minute_are_sixty_at_once_and_then_one_a_second() {
        let pace = pace(60, MINUTE);
        let start = Duration::from_secs(1000);
        let mut allowance = Allowance::default();
        for _ in 0..60 {
            assert_eq!(allowance.take(&pace, start), Ok(()));
        }
        let second = Duration::from_secs(1);
        assert_eq!(allowance.take(&pace, start), Err(RetryAfter(second)));
        let half = start + second / 2;
        assert_eq!(allowance.take(&pace, half), Err(RetryAfter(second / 2)));
        assert_eq!(allowance.take(&pace, start + second), Ok(()));
        assert!(allowance.take(&pace, start + second).is_err());
        assert!(!allowance.is_full(start + MINUTE));
        assert!(allowance.is_full(start + MINUTE + second));
    }

    #[test]
    fn waiting_as_long_as_the_header_says_is_enough() {
        assert_eq!(RetryAfter(Duration::from_nanos(1)).seconds(), 1);
        assert_eq!(RetryAfter(Duration::from_secs(1)).seconds(), 1);
        assert_eq!(RetryAfter(Duration::from_millis(1001)).seconds(), 2);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_back() {
        let pace = pace(1, MINUTE);
        let mut allowance = Allowance::default();
        allowance.take(&pace, MINUTE * 2).unwrap();
        assert_eq!(allowance.take(&pace, MINUTE), Err(RetryAfter(MINUTE * 2)));
    }

    proptest! {
        #[test]
        fn never_more_than_saved_up_and_come_in(
            count in 1u32..50,
            per in 1u64..100_000_000_000,
            waits in prop::collection::vec(0u64..3_000_000_000, 1..200),
        ) {
            let pace = pace(count, Duration::from_nanos(per));
            let mut allowance = Allowance::default();
            let (mut now, mut taken) = (Duration::from_secs(5), 0u128);
            let start = now;
            for wait in waits {
                now += Duration::from_nanos(wait);
                let before = allowance;
                match allowance.take(&pace, now) {
                    Ok(()) => taken += 1,
                    Err(wait) => {
                        prop_assert_eq!(allowance, before);
                        prop_assert!(wait.0 > Duration::ZERO);
                        prop_assert_eq!(allowance.check(&pace, now + wait.0), Ok(()));
                        prop_assert!(allowance.check(&pace, now + wait.0 - Duration::from_nanos(1)).is_err());
                    }
                }
                let come_in = (now - start).as_nanos() / pace.step.as_nanos();
                prop_assert!(taken <= u128::from(count) + come_in);
            }
        }

        #[test]
        fn who_keeps_to_the_pace_is_never_refused(count in 1u32..1000, per in 1u64..100_000_000_000) {
            let pace = pace(count, Duration::from_nanos(per));
            let mut allowance = Allowance::default();
            for turn in 0..2000u32 {
                prop_assert_eq!(allowance.take(&pace, pace.step * turn), Ok(()));
            }
        }
    }
}
