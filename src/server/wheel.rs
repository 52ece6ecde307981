//! A coarse timing wheel: things to look at again after some time, without a timer for each.

use std::time::Duration;

/// The wheel's resolution: nothing comes up early, and at most this much late.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// Slots of the wheel; what lies further ahead comes up after a whole turn and is put back by its owner.
const SLOTS: usize = 128;

/// Fewer things than this are not searched for useless ones.
const SWEEP_MIN: usize = 4_096;

/// Things by the tick at which they come up. Time is in milliseconds of the caller's clock.
pub(super) struct Wheel<T> {
    slots: Vec<Vec<T>>,
    len: usize,
    /// With so many things the useless ones are removed.
    sweep_at: usize,
    /// The next tick that has not come up.
    next_tick: u64,
}

impl<T> Wheel<T> {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), len: 0, sweep_at: SWEEP_MIN, next_tick: 0 }
    }

    /// Removes useless things once the wheel has twice as many as it had of use the last time; otherwise a storm
    /// of short connections would stay here for a whole turn.
    pub(super) fn sweep(&mut self, is_of_use: impl Fn(&T) -> bool) {
        if self.len < self.sweep_at {
            return;
        }
        for slot in &mut self.slots {
            slot.retain(&is_of_use);
            slot.shrink_to(2 * slot.len());
        }
        self.len = self.slots.iter().map(Vec::len).sum();
        self.sweep_at = SWEEP_MIN.max(2 * self.len);
    }

    /// Lets `thing` come up at `at_ms`, or earlier when that is more than one turn ahead.
    pub(super) fn add(&mut self, at_ms: u64, thing: T) {
        let tick = at_ms.div_ceil(TICK.as_millis() as u64);
        let last = self.next_tick + SLOTS as u64 - 1;
        let tick = tick.clamp(self.next_tick, last);
        self.slots[(tick % SLOTS as u64) as usize].push(thing);
        self.len += 1;
    }

    /// Everything that has come up by `now_ms`.
    pub(super) fn advance(&mut self, now_ms: u64) -> Vec<T> {
        let now = now_ms / TICK.as_millis() as u64;
        let mut up = Vec::new();
        while self.next_tick <= now {
            up.append(&mut self.slots[(self.next_tick % SLOTS as u64) as usize]);
            self.next_tick += 1;
        }
        self.len -= up.len();
        up
    }

    /// Everything there is.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.len = 0;
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

    #[test]
    fn useless_things_do_not_pile_up_and_the_others_stay() {
        let mut wheel = Wheel::new();
        for n in 0..100_000 {
            wheel.sweep(|thing| *thing % 100 == 0);
            wheel.add(n % 60_000, n);
        }
        assert!(wheel.len < 2 * SWEEP_MIN, "{} things", wheel.len);
        let left: Vec<u64> = wheel.drain().filter(|thing| thing % 100 == 0).collect();
        assert_eq!(left.len(), 1_000);
    }
}
