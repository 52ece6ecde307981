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

    /// The same turns for a choice that only wants to be known: what it changes is thrown away.
    pub(super) fn copy(&self) -> Self {
        let load = |turn: &AtomicU32| AtomicU32::new(turn.load(Ordering::Relaxed));
        Self { next: std::array::from_fn(|turn| load(&self.next[turn])), held: load(&self.held) }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const NOW: Candidate = Candidate { room: Room::Now, load: 0 };
    const QUEUE: Candidate = Candidate { room: Room::Queue, load: 9 };
    const AWAY: Candidate = Candidate { room: Room::Away, load: 0 };
    const FULL: Candidate = Candidate { room: Room::Full, load: 9 };

    fn chooser(strategy: SharedStrategy) -> Chooser {
        Chooser { strategy, seed: 7 }
    }

    fn hand(publisher: &'static str) -> Hand<'static> {
        Hand { publisher, topic: "topic" }
    }

    /// Members of a group that a test moves about, in a row.
    struct Row {
        turns: Turns,
        chooser: Chooser,
        members: Vec<Candidate>,
    }

    impl Row {
        fn new(strategy: SharedStrategy, members: &[Candidate]) -> Self {
            Self { turns: Turns::new(), chooser: chooser(strategy), members: members.to_vec() }
        }

        fn choose(&self, hand: Hand<'_>) -> usize {
            let choice = self.turns.choose(self.chooser, hand, self.members.len(), |at| self.members[at]);
            assert_eq!(choice.room, self.members[choice.place].room);
            choice.place
        }

        fn run(&self, publisher: &'static str, messages: usize) -> Vec<usize> {
            (0..messages).map(|_| self.choose(hand(publisher))).collect()
        }
    }

    /// How often each place of `chosen` occurs.
    fn shares(chosen: &[usize], count: usize) -> Vec<usize> {
        (0..count).map(|place| chosen.iter().filter(|at| **at == place).count()).collect()
    }

    #[test]
    fn members_take_turns_and_those_passed_over_leave_theirs_to_all_others() {
        let check = |members: &[Candidate], expected: &[usize]| {
            let row = Row::new(SharedStrategy::RoundRobinPerGroup, members);
            assert_eq!(row.run("a", expected.len()), expected, "{members:?}");
        };
        check(&[NOW], &[0, 0, 0]);
        check(&[NOW, NOW, NOW], &[0, 1, 2, 0, 1, 2, 0]);
        check(&[AWAY, NOW, NOW], &[1, 2, 1, 2, 1, 2]);
        check(&[NOW, FULL, QUEUE, AWAY, NOW], &[0, 4, 0, 4]);
        check(&[FULL, QUEUE, AWAY, QUEUE], &[1, 3, 1, 3]);
        check(&[FULL, AWAY, FULL], &[1, 1, 1]);
        check(&[FULL, FULL], &[0, 1, 0]);
    }

    #[test]
    fn each_publisher_has_turns_of_its_own() {
        let row = Row::new(SharedStrategy::RoundRobin, &[NOW, NOW, NOW]);
        let alone = Row::new(SharedStrategy::RoundRobin, &[NOW, NOW, NOW]);
        let mut interleaved = BTreeMap::<&str, Vec<usize>>::new();
        // These two do not meet at the same turn.
        for _ in 0..6 {
            for publisher in ["fin", "gus"] {
                interleaved.entry(publisher).or_default().push(row.choose(hand(publisher)));
            }
        }
        for publisher in ["fin", "gus"] {
            assert_eq!(interleaved[publisher], alone.run(publisher, 6), "{publisher}");
        }
    }

    #[test]
    fn one_member_is_held_until_it_is_away() {
        let mut row = Row::new(SharedStrategy::Sticky, &[AWAY, NOW, NOW, NOW]);
        assert_eq!(row.run("a", 3), [1, 1, 1]);
        row.members[0] = NOW;
        assert_eq!(row.run("b", 2), [1, 1], "nobody moves it");
        row.members[1] = QUEUE;
        assert_eq!(row.run("a", 2), [2, 2], "what it cannot take at once goes to another one");
        row.members[1] = NOW;
        assert_eq!(row.run("a", 2), [1, 1], "and it is held all the same");
        row.members[1] = AWAY;
        assert_eq!(row.run("a", 2), [2, 2]);
        row.members[1] = NOW;
        assert_eq!(row.run("a", 2), [2, 2], "the new one is held now");
        // The held one is the last, and moves when another one leaves.
        row.members[2] = AWAY;
        assert_eq!(row.run("a", 1), [3]);
        row.turns.on_removed(0, 3);
        row.members.swap_remove(0);
        assert_eq!(row.run("a", 2), [0, 0]);
        row.turns.on_removed(0, 2);
        row.members = vec![AWAY, AWAY];
        assert_eq!(row.run("a", 2), [0, 0], "nobody is there");
        row.members[1] = NOW;
        assert_eq!(row.run("a", 2), [1, 1]);
    }

    #[test]
    fn the_least_loaded_is_chosen_and_equals_take_turns() {
        let at = |room, load| Candidate { room, load };
        let check = |members: &[Candidate], expected: &[usize]| {
            let row = Row::new(SharedStrategy::LeastInflight, members);
            assert_eq!(row.run("a", expected.len()), expected, "{members:?}");
        };
        check(&[at(Room::Now, 3), at(Room::Now, 1), at(Room::Now, 2)], &[1, 1, 1]);
        check(&[NOW, NOW, NOW], &[0, 1, 2, 0]);
        check(&[at(Room::Queue, 0), at(Room::Now, 100)], &[1, 1]);
        check(&[at(Room::Queue, 5), at(Room::Queue, 4), at(Room::Away, 0)], &[1, 1]);
        let mut many = vec![FULL; 200];
        many[150] = AWAY;
        check(&many, &[150, 150, 150, 150]);
        many[20] = NOW;
        check(&many, &[20, 20, 20, 20]);
    }

    #[test]
    fn a_key_has_its_member_and_another_one_while_that_is_not_there() {
        for strategy in [SharedStrategy::HashTopic, SharedStrategy::HashClientId] {
            let mut row = Row::new(strategy, &[NOW; 8]);
            let keys: Vec<String> = (0..200).map(|key| format!("key/{key}")).collect();
            let homes = |row: &Row| {
                let hand = |key| match strategy {
                    SharedStrategy::HashTopic => Hand { publisher: "same", topic: key },
                    _ => Hand { publisher: key, topic: "same" },
                };
                keys.iter().map(|key| row.choose(hand(key))).collect::<Vec<_>>()
            };
            let before = homes(&row);
            assert_eq!(before, homes(&row), "{strategy:?}: the same again");
            assert!(shares(&before, 8).iter().all(|share| *share > 8), "{strategy:?}: {before:?}");
            row.members[3] = AWAY;
            let without = homes(&row);
            for (before, without) in before.iter().zip(&without) {
                let moved = before != without;
                assert_eq!(moved, *before == 3, "{strategy:?}: only those move whose member is away");
            }
            let heirs: Vec<usize> =
                without.iter().zip(&before).filter(|(_, b)| **b == 3).map(|(w, _)| *w).collect();
            assert!(
                shares(&heirs, 8).iter().filter(|share| **share > 0).count() > 2,
                "{strategy:?}: {heirs:?}"
            );
            row.members[3] = NOW;
            assert_eq!(before, homes(&row), "{strategy:?}: back home");
        }
    }

    /// The property that the hash is chosen for: one more member takes its share from all, and no key moves
    /// between the old ones.
    #[test]
    fn a_new_member_takes_its_share_and_nothing_else_moves() {
        for count in 1..40 {
            for key in 0..200 {
                let key = mix(1, key);
                let (old, new) = (bucket(key, count), bucket(key, count + 1));
                assert!(old < count && (new == old || new == count), "{key} of {count}: {old} {new}");
            }
        }
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let room = prop_oneof![
            Just(Room::Full),
            Just(Room::Away),
            Just(Room::Queue),
            Just(Room::Now),
            Just(Room::Now)
        ];
        proptest::collection::vec((room, 0..5_u32).prop_map(|(room, load)| Candidate { room, load }), 1..100)
    }

    proptest! {
        /// Whatever the strategy: nobody gets a message while somebody else has a better place for it.
        #[test]
        fn nobody_is_chosen_while_another_has_better_room(
            members in candidates(),
            (_, strategy) in proptest::sample::select(SharedStrategy::WORDS),
            seed in any::<u64>(),
        ) {
            let turns = Turns::new();
            let chooser = Chooser { strategy, seed };
            let best = members.iter().map(|member| member.room).max().unwrap();
            for message in 0..20 {
                let topic = message.to_string();
                let hand = Hand { publisher: &topic, topic: &topic };
                let choice = turns.choose(chooser, hand, members.len(), |at| members[at]);
                prop_assert_eq!(choice.room, members[choice.place].room);
                prop_assert_eq!(choice.room, best, "{:?}", strategy);
            }
        }

        /// Strict turns: after any number of messages nobody who can take them has had two more than another.
        #[test]
        fn turns_are_fair_to_one_message(members in candidates(), messages in 0..500_usize) {
            for strategy in [SharedStrategy::RoundRobin, SharedStrategy::RoundRobinPerGroup, SharedStrategy::Local] {
                let row = Row::new(strategy, &members);
                let counts = shares(&row.run("a", messages), members.len());
                let best = members.iter().map(|member| member.room).max().unwrap();
                let able: Vec<usize> =
                    counts.iter().zip(&members).filter(|(_, it)| it.room == best).map(|(n, _)| *n).collect();
                let (min, max) = (able.iter().min().unwrap(), able.iter().max().unwrap());
                prop_assert!(max - min <= 1, "{:?}: {:?}", strategy, able);
                prop_assert_eq!(able.iter().sum::<usize>(), messages);
            }
        }

        /// Chance and hashes: the greatest share is at most 1.5 times the smallest of those that can take it,
        /// also when others cannot.
        #[test]
        fn chance_is_fair_in_the_long_run(
            able in 1..12_usize,
            unable in 0..12_usize,
            room in proptest::sample::select(&[Room::Now, Room::Queue, Room::Away][..]),
            seed in any::<u64>(),
        ) {
            let mut members = vec![Candidate { room, load: 0 }; able];
            members.extend(vec![FULL; unable]);
            let turns = Turns::new();
            let chooser = Chooser { strategy: SharedStrategy::Random, seed };
            let messages = able * 2_000;
            let chosen: Vec<usize> = (0..messages)
                .map(|_| turns.choose(chooser, hand("a"), members.len(), |at| members[at]).place)
                .collect();
            let counts = shares(&chosen, able);
            let (min, max) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(*max as f64 / *min as f64 <= 1.5, "{:?}", counts);
        }

        /// Members that work at different speeds: loads stay level, so the fast ones get more.
        #[test]
        fn the_least_loaded_keeps_loads_level(speeds in proptest::collection::vec(1..10_u32, 2..20)) {
            let row = Turns::new();
            let mut loads = vec![0_u32; speeds.len()];
            for _ in 0..500 {
                let candidate = |at: usize| Candidate { room: Room::Now, load: loads[at] };
                let chooser = chooser(SharedStrategy::LeastInflight);
                let chosen = row.choose(chooser, hand("a"), loads.len(), candidate).place;
                loads[chosen] += 10;
                for (load, speed) in loads.iter_mut().zip(&speeds) {
                    *load = load.saturating_sub(*speed);
                }
            }
            let (min, max) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            prop_assert!(max - min <= 20, "{:?}", loads);
        }

        /// Many publishers of one message each, and turns of their own: still level.
        #[test]
        fn single_messages_of_many_publishers_are_spread(count in 1..12_usize, seed in any::<u64>()) {
            let turns = Turns::new();
            let chooser = Chooser { strategy: SharedStrategy::RoundRobin, seed };
            let chosen: Vec<usize> = (0..count * 200)
                .map(|publisher| {
                    let publisher = format!("client-{publisher}");
                    let hand = Hand { publisher: &publisher, topic: "topic" };
                    turns.choose(chooser, hand, count, |_| NOW).place
                })
                .collect();
            let counts = shares(&chosen, count);
            let (min, max) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(max - min <= PUBLISHER_TURNS, "{:?}", counts);
        }
    }
}
