//! A coarse timing wheel: things to look at again after some time, without a timer for each.

use std::time::Duration;

/// The wheel's resolution: nothing comes up early, and at most this much late.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// Slots of the wheel; what lies further ahead comes up after a whole turn and is put back by its owner.
const SLOTS: usize = 128;

/// Things by the tick at which they come up. Time is in milliseconds of the caller's clock.
pub(super) struct Wheel<T> {
    slots: Vec<Vec<T>>,
    /// The next tick that has not come up.
    next_tick: u64,
}

impl<T> Wheel<T> {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), next_tick: 0 }
    }

    /// Lets `thing` come up at `at_ms`, or earlier when that is more than one turn ahead.
    pub(super) fn add(&mut self, at_ms: u64, thing: T) {
        let tick = at_ms.div_ceil(TICK.as_millis() as u64);
        let last = self.next_tick + SLOTS as u64 - 1;
        let tick = tick.clamp(self.next_tick, last);
        self.slots[(tick % SLOTS as u64) as usize].push(thing);
    }

    /// Everything that has come up by `now_ms`.
    pub(super) fn advance(&mut self, now_ms: u64) -> Vec<T> {
        let now = now_ms / TICK.as_millis() as u64;
        let mut up = Vec::new();
        while self.next_tick <= now {
            up.append(&mut self.slots[(self.next_tick % SLOTS as u64) as usize]);
            self.next_tick += 1;
        }
        up
    }

    /// Everything there is.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.slots.iter_mut().flat_map(std::mem::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_up_early_and_all_comes_up() {
        let tick = TICK.as_millis() as u64;
        let mut wheel = Wheel::new();
        let times = [1, tick, tick + 1, 5 * tick, 100 * tick];
        for at in times {
            wheel.add(at, at);
        }
        let mut seen = Vec::new();
        for now in (0..=110 * tick).step_by(tick as usize / 2) {
            for at in wheel.advance(now) {
                assert!(at <= now && now < at + 2 * tick, "{at} came up at {now}");
                seen.push(at);
            }
        }
        assert_eq!(seen, times);
    }

    #[test]
    fn what_lies_further_ahead_than_a_turn_comes_up_after_one() {
        let tick = TICK.as_millis() as u64;
        let mut wheel = Wheel::new();
        wheel.add(10_000 * tick, "late");
        assert!(wheel.advance((SLOTS as u64 - 2) * tick).is_empty());
        assert_eq!(wheel.advance(SLOTS as u64 * tick), ["late"]);
    }
}
