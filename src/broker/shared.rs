//! Which member of a shared subscription gets a message. Pure: it sees places, rooms and loads, no clients.
//!
//! Whatever the strategy prefers, a member that cannot take the message at once is passed over while another
//! one can; after that a connected member whose queue has room is better than one that is away.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::quality::FixedState;

use super::settings::SharedStrategy;
use crate::session::Room;

/// Turns that publishers take: those that meet at the same one share it.
const PUBLISHER_TURNS: usize = 16;
/// Members that are compared for one message when the least loaded is wanted.
const COMPARED_MAX: usize = 64;
/// Attempts before all members are looked at.
const ATTEMPTS_MAX: u64 = 4;
/// No member is held.
const NOBODY: u32 = u32::MAX;

/// How one node chooses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chooser {
    pub(super) strategy: SharedStrategy,
    /// Makes the random and the hashed choices of this node its own.
    pub(super) seed: u64,
}

/// What a message brings to the choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hand<'a> {
    /// Client Identifier of the publisher.
    pub(super) publisher: &'a str,
    /// Its Topic Name.
    pub(super) topic: &'a str,
}

/// What a member brings to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Where the message would go.
    pub(super) room: Room,
    /// How much the member has to get through.
    pub(super) load: u32,
}

/// Who gets the message: the place of a member, and its room as it was seen. When that is [`Room::Full`],
/// nobody's was better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) place: usize,
    pub(super) room: Room,
}

/// What a group remembers from one message to the next.
pub(super) struct Turns {
    /// The place at which the next choice begins.
    next: [AtomicU32; PUBLISHER_TURNS],
    /// The place of the member that a sticky group holds on to.
    held: AtomicU32,
}

impl Turns {
    pub(super) fn new() -> Self {
        // Different beginnings, so that many publishers of one message each do not all meet the first member.
        let next = std::array::from_fn(|turn| AtomicU32::new(turn as u32));
        Self { next, held: AtomicU32::new(NOBODY) }
    }

    /// Chooses one of the members `0..count`, of which there must be some.
    pub(super) fn choose(
        &self,
        chooser: Chooser,
        hand: Hand<'_>,
        count: usize,
        look: impl Fn(usize) -> Candidate,
    ) -> Choice {
        assert!(count > 0, "a group without members is removed");
        let hash = |text: &str| FixedState::with_seed(chooser.seed).hash_one(text);
        match chooser.strategy {
            // Every member is local on the node that chooses.
            SharedStrategy::RoundRobinPerGroup | SharedStrategy::Local => rotate(&self.next[0], count, look),
            SharedStrategy::RoundRobin => {
                let turn = hash(hand.publisher) % PUBLISHER_TURNS as u64;
                rotate(&self.next[turn as usize], count, look)
            }
            SharedStrategy::Random => {
                let ticket = self.next[0].fetch_add(1, Ordering::Relaxed);
                scatter(mix(chooser.seed, u64::from(ticket)), count, look)
            }
            SharedStrategy::Sticky => self.hold(count, look),
            SharedStrategy::HashClientId => settle(hash(hand.publisher), count, look),
            SharedStrategy::HashTopic => settle(hash(hand.topic), count, look),
            SharedStrategy::LeastInflight => least(&self.next[0], count, look),
        }
    }

    /// The member at `place` goes, and the one at `last` takes its place.
    pub(super) fn on_removed(&self, place: usize, last: usize) {
        let held = self.held.load(Ordering::Relaxed) as usize;
        if held == place {
            self.held.store(NOBODY, Ordering::Relaxed);
        } else if held == last {
            self.held.store(place as u32, Ordering::Relaxed);
        }
    }

    /// The held member for as long as it is connected; what it cannot take at once goes to others meanwhile.
    fn hold(&self, count: usize, look: impl Fn(usize) -> Candidate) -> Choice {
        let held = self.held.load(Ordering::Relaxed) as usize;
        let room = if held < count { look(held).room } else { Room::Full };
        match room {
            Room::Now => Choice { place: held, room },
            Room::Queue => best_from(held, count, look),
            Room::Away | Room::Full => {
                let choice = best_from(held.min(count), count, look);
                let is_connected = choice.room >= Room::Queue;
                let held = if is_connected { choice.place as u32 } else { NOBODY };
                self.held.store(held, Ordering::Relaxed);
                choice
            }
        }
    }
}

/// Goes round: the next message begins behind the member that gets this one, so that a member that is passed
/// over leaves its share to all the others alike.
fn rotate(turn: &AtomicU32, count: usize, look: impl Fn(usize) -> Candidate) -> Choice {
    loop {
        let start = turn.load(Ordering::Relaxed);
        let choice = best_from(start as usize, count, &look);
        let next = (choice.place + 1) as u32;
        // When somebody else has chosen meanwhile, the turn is another one.
        if turn.compare_exchange_weak(start, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return choice;
        }
    }
}

/// The first member from `start` on that has the best room of all.
fn best_from(start: usize, count: usize, look: impl Fn(usize) -> Candidate) -> Choice {
    let start = start % count;
    let mut best = Choice { place: start, room: Room::Full };
    for place in (start..count).chain(0..start) {
        let room = look(place).room;
        if room > best.room {
            best = Choice { place, room };
        }
        if room == Room::Now {
            break;
        }
    }
    best
}

/// Any member, each as likely as the others that have as good a room.
fn scatter(random: u64, count: usize, look: impl Fn(usize) -> Candidate) -> Choice {
    for attempt in 0..ATTEMPTS_MAX {
        let place = below(mix(random, attempt), count);
        let room = look(place).room;
        if room == Room::Now {
            return Choice { place, room };
        }
    }
    let mut best = Choice { place: 0, room: Room::Full };
    let mut equals = 0;
    for place in 0..count {
        let room = look(place).room;
        if room > best.room {
            equals = 0;
        }
        if room >= best.room {
            equals += 1;
            // The n-th of the equals replaces the one before with a chance of one in n.
            if below(mix(random, ATTEMPTS_MAX + place as u64), equals) == 0 {
                best = Choice { place, room };
            }
        }
    }
    best
}

/// The same member for the same key, as far as possible whoever else comes or goes.
fn settle(key: u64, count: usize, look: impl Fn(usize) -> Candidate) -> Choice {
    let home = bucket(key, count);
    // Who belongs to a member that is not there is spread over the others, and always in the same way.
    let others = (0..ATTEMPTS_MAX).map(|attempt| bucket(mix(key, attempt), count));
    for place in std::iter::once(home).chain(others) {
        let room = look(place).room;
        if room == Room::Now {
            return Choice { place, room };
        }
    }
    best_from(home, count, look)
}

/// The member that has least to get through; equals take turns. Of a large group only some are compared,
/// others each time.
fn least(turn: &AtomicU32, count: usize, look: impl Fn(usize) -> Candidate) -> Choice {
    let start = turn.load(Ordering::Relaxed) as usize % count;
    let mut best = (start, look(start));
    for offset in 1..count.min(COMPARED_MAX) {
        let place = (start + offset) % count;
        let candidate = look(place);
        let is_better =
            candidate.room > best.1.room || (candidate.room == best.1.room && candidate.load < best.1.load);
        if is_better {
            best = (place, candidate);
        }
    }
    let mut choice = Choice { place: best.0, room: best.1.room };
    if count > COMPARED_MAX && choice.room != Room::Now {
        choice = best_from(start + COMPARED_MAX, count, &look);
    }
    turn.store((choice.place + 1) as u32, Ordering::Relaxed);
    choice
}

/// A number below `count` for a key, such that few keys change theirs when `count` does: the jump consistent
/// hash of Lamping and Veach (2014).
fn bucket(key: u64, count: usize) -> usize {
    let mut state = key;
    let mut at = 0;
    let mut next = 0;
    while next < count as u64 {
        at = next;
        state = state.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let chance = ((state >> 33) + 1) as f64 / (1_u64 << 31) as f64;
        next = ((at + 1) as f64 / chance) as u64;
    }
    at as usize
}

/// A number below `count`, from a random one.
fn below(random: u64, count: usize) -> usize {
    ((u128::from(random) * count as u128) >> 64) as usize
}

/// A number that looks random, from a seed and a number that does not: the finish of SplitMix64.
fn mix(seed: u64, number: u64) -> u64 {
    let mut bits = seed.wrapping_add((number.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
