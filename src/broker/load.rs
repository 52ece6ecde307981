//! How much passes per minute: exponentially weighted averages over one, five and fifteen minutes.

use std::time::Duration;

const MINUTE: f64 = 60.0;

/// The averages of one count that only grows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    last: u64,
    per_minute: [f64; 3],
}

impl Load {
    /// How long the averages look back, as the names under `$SYS` have it.
    pub(super) const SPANS: [(&'static str, f64); 3] =
        [("1min", MINUTE), ("5min", 5.0 * MINUTE), ("15min", 15.0 * MINUTE)];

    /// Takes the count as it is now, `elapsed` after the last time.
    pub(super) fn update(&mut self, count: u64, elapsed: Duration) {
        let elapsed = elapsed.as_secs_f64();
        if elapsed <= 0.0 {
            return;
        }
        let rate = count.saturating_sub(self.last) as f64 * MINUTE / elapsed;
        self.last = count;
        for (average, (_, span)) in self.per_minute.iter_mut().zip(Self::SPANS) {
            *average = rate + (*average - rate) * (-elapsed / span).exp();
        }
    }

    /// Per minute, in the order of [`Load::SPANS`].
    pub(super) fn per_minute(&self) -> [f64; 3] {
        self.per_minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load after the count has grown by `step` every ten seconds, so many times.
    fn after(step: u64, times: u64) -> [f64; 3] {
        let mut load = Load::default();
        for n in 1..=times {
            load.update(n * step, Duration::from_secs(10));
        }
        load.per_minute()
    }

    #[test]
    fn a_steady_rate_becomes_every_average() {
        for average in after(100, 3_000) {
            assert!((average - 600.0).abs() < 1e-3, "{average}");
        }
    }

    #[test]
    fn a_short_span_follows_faster_than_a_long_one() {
        let [one, five, fifteen] = after(100, 6);
        assert!(600.0 > one && one > five && five > fifteen && fifteen > 0.0, "{one} {five} {fifteen}");
        // One span has passed: 1 - 1/e of the way.
        assert!((one - 379.27).abs() < 0.01, "{one}");
    }

    #[test]
    fn the_averages_do_not_depend_on_how_often_they_are_taken() {
        let mut rarely = Load::default();
        rarely.update(600, Duration::from_secs(60));
        for (often, rarely) in after(100, 6).into_iter().zip(rarely.per_minute()) {
            assert!((often - rarely).abs() < 1e-6, "{often} {rarely}");
        }
    }

    #[test]
    fn what_stops_fades() {
        let mut load = Load::default();
        load.update(600, Duration::from_secs(60));
        let [before, ..] = load.per_minute();
        load.update(600, Duration::from_secs(60));
        let [after, ..] = load.per_minute();
        assert!((after / before - (-1.0_f64).exp()).abs() < 1e-9, "{before} {after}");
    }

    #[test]
    fn no_time_changes_nothing() {
        let mut load = Load::default();
        load.update(600, Duration::ZERO);
        assert_eq!(load.per_minute(), [0.0; 3]);
    }
}
