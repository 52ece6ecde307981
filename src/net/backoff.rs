//! Growing pauses between attempts, spread out so that a crowd does not retry in step.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Exponential backoff with full jitter: the n-th pause lies between `min` and `min * 2^n`, at most `max`.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    ceiling: Duration,
    rng: SmallRng,
}

impl Backoff {
    /// `seed` makes the pauses repeatable.
    #[must_use]
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, ceiling: min, rng: SmallRng::seed_from_u64(seed) }
    }

    /// The next pause; each call doubles the ceiling of the one after it.
    pub fn next_pause(&mut self) -> Duration {
        self.ceiling = (self.ceiling * 2).min(self.max);
        if self.ceiling <= self.min {
            return self.min;
        }
        self.rng.random_range(self.min..=self.ceiling)
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.ceiling = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_in_bounds_and_start_over() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(5));
        let mut backoff = Backoff::new(min, max, 7);
        for n in 1..20u32 {
            let ceiling = (min * 2u32.saturating_pow(n)).min(max);
            let pause = backoff.next_pause();
            assert!((min..=ceiling).contains(&pause), "pause {n} is {pause:?}, ceiling {ceiling:?}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= min * 2);
    }
}
