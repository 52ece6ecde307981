//! A token bucket: how much may pass, when there is a most per second. Sans-io: time is an argument.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

const NANOS: u128 = 1_000_000_000;

/// Fills at a rate up to one second's worth, which is what may pass at once after a pause. Within any time `t`
/// no more than rate × t + rate passes.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Tokens per second, and the most that there can be.
    rate: NonZeroU64,
    /// Tokens at the time `at`, in billionths.
    level: u128,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(now: Instant, rate: NonZeroU64) -> Self {
        Self { rate, level: u128::from(rate.get()) * NANOS, at: now }
    }

    /// Tokens that can be taken now.
    pub(super) fn available(&mut self, now: Instant) -> u64 {
        let rate = u128::from(self.rate.get());
        let passed = now.saturating_duration_since(self.at);
        self.level = (self.level + passed.as_nanos().saturating_mul(rate)).min(rate * NANOS);
        self.at = self.at.max(now);
        u64::try_from(self.level / NANOS).unwrap_or(u64::MAX)
    }

    /// Takes tokens, all of them or none: false when there are fewer.
    pub(super) fn take(&mut self, now: Instant, tokens: u64) -> bool {
        let is_enough = tokens <= self.available(now);
        if is_enough {
            self.level -= u128::from(tokens) * NANOS;
        }
        is_enough
    }

    /// How long after `now` there is this part of a second's worth, at least one token.
    pub(super) fn pause_for_a_part(&mut self, now: Instant, parts: u64) -> Duration {
        self.pause(now, (self.rate.get() / parts).max(1))
    }

    /// How long after `now` there are so many tokens, if none are taken meanwhile; no more than the bucket holds
    /// are waited for, so at most a second.
    fn pause(&mut self, now: Instant, tokens: u64) -> Duration {
        let wanted = u128::from(tokens.min(self.rate.get())) * NANOS;
        self.available(now);
        let nanos = wanted.saturating_sub(self.level).div_ceil(u128::from(self.rate.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::clock;

    fn bucket(now: Instant, rate: u64) -> Bucket {
        Bucket::new(now, NonZeroU64::new(rate).expect("a test's rate is not zero"))
    }

    #[test]
    fn it_begins_full_and_fills_at_its_rate() {
        let start = clock::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut bucket = bucket(start, 10);
        assert!(bucket.take(start, 10));
        assert!(!bucket.take(at(99), 1));
        assert!(bucket.take(at(100), 1));
        assert!(!bucket.take(at(100), 1));
        assert_eq!(bucket.available(at(650)), 5);
        assert_eq!(bucket.available(at(60_000)), 10, "no more than a second's worth");
        assert!(!bucket.take(at(60_000), 11));
        assert_eq!(bucket.available(at(60_000)), 10, "what was not taken is still there");
    }

    #[test]
    fn time_that_goes_back_gives_nothing() {
        let start = clock::now();
        let later = start + Duration::from_secs(5);
        let mut bucket = bucket(later, 2);
        assert!(bucket.take(later, 2));
        assert_eq!(bucket.available(start), 0);
        assert_eq!(bucket.available(later), 0);
        assert_eq!(bucket.available(later + Duration::from_secs(1)), 2);
    }

    #[test]
    fn the_largest_rate_does_not_overflow() {
        let start = clock::now();
        let mut bucket = bucket(start, u64::MAX);
        assert!(bucket.take(start, u64::MAX));
        assert_eq!(bucket.pause(start, u64::MAX), Duration::from_secs(1));
        assert_eq!(bucket.available(start + Duration::from_secs(1 << 32)), u64::MAX);
    }

    proptest! {
        /// Whoever takes as much as there is, at whatever times, never gets more than the rate and one burst over
        /// any stretch of time.
        #[test]
        fn no_more_passes_than_the_rate_and_one_burst(
            rate in 1..100_000_u64,
            takes in prop::collection::vec((0..3_000_000_000_u64, 1..200_000_u64), 1..60),
        ) {
            let start = clock::now();
            let mut bucket = bucket(start, rate);
            let mut at = 0_u128;
            let mut taken: Vec<(u128, u128)> = Vec::new();
            for (pause, wanted) in takes {
                at += u128::from(pause);
                let now = start + Duration::from_nanos(u64::try_from(at).expect("a few minutes"));
                let tokens = wanted.min(bucket.available(now));
                prop_assert!(bucket.take(now, tokens));
                taken.push((at, u128::from(tokens)));
            }
            for first in 0..taken.len() {
                let mut sum = 0;
                for (time, tokens) in &taken[first..] {
                    sum += tokens * NANOS;
                    let most = u128::from(rate) * (time - taken[first].0 + NANOS);
                    prop_assert!(sum <= most, "{sum} > {most}");
                }
            }
        }

        /// A pause is long enough, and not a nanosecond longer than it must be.
        #[test]
        fn after_a_pause_there_is_what_was_waited_for(
            rate in 1..1_000_000_u64,
            gone in 0..1_000_000_u64,
            wanted in 1..2_000_000_u64,
        ) {
            let now = clock::now();
            let mut bucket = bucket(now, rate);
            prop_assert!(bucket.take(now, gone.min(rate)));
            let pause = bucket.pause(now, wanted);
            prop_assert!(pause <= Duration::from_secs(1));
            let wanted = wanted.min(rate);
            if let Some(earlier) = pause.checked_sub(Duration::from_nanos(1)) {
                prop_assert!(bucket.clone().available(now + earlier) < wanted);
            }
            prop_assert!(bucket.available(now + pause) >= wanted);
        }
    }
}
