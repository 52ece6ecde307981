//! Each sealed datagram counts once, and only those of a sender's newest start count at all. Sans-io.

use std::collections::HashMap;
use std::time::Instant;

use super::node_id::NodeId;
use super::seal::{Header, Refused};

/// Senders whose counters are remembered; the longest silent one is forgotten first.
const SENDERS_MAX: usize = 1_024;

/// What was seen of each sender. Only authenticated datagrams come here.
#[derive(Default)]
pub(super) struct Replays {
    senders: HashMap<NodeId, Sender>,
}

struct Sender {
    incarnation: u64,
    boot: [u8; 16],
    window: Window,
    last_seen: Instant,
}

impl Replays {
    /// Passes each counter of a sender's newest incarnation once.
    pub(super) fn check(&mut self, now: Instant, header: &Header) -> Result<(), Refused> {
        if let Some(known) = self.senders.get_mut(&header.sender)
            && known.incarnation >= header.incarnation
        {
            if known.incarnation > header.incarnation {
                return Err(Refused::OldIncarnation);
            }
            if known.boot != header.boot {
                return Err(Refused::Twin);
            }
            if !known.window.accept(header.counter) {
                return Err(Refused::Replay);
            }
            known.last_seen = now;
            return Ok(());
        }
        self.make_room();
        let mut window = Window::default();
        window.accept(header.counter);
        let sender = Sender { incarnation: header.incarnation, boot: header.boot, window, last_seen: now };
        self.senders.insert(header.sender, sender);
        Ok(())
    }

    fn make_room(&mut self) {
        if self.senders.len() < SENDERS_MAX {
            return;
        }
        // Rare and O(senders). The Node Id decides between equals, so that the order of the map does not show.
        let longest_silent = self.senders.iter().min_by_key(|(id, sender)| (sender.last_seen, **id));
        if let Some((&id, _)) = longest_silent {
            self.senders.remove(&id);
        }
    }
}

/// Counters kept behind the highest one: datagrams may overtake each other by this much, less one word.
pub(super) const WINDOW: u64 = WORDS * 64;
const WORDS: u64 = 8;

/// Which counters of a sender were seen [RFC 6479]: a ring of bits that the highest counter moves along.
#[derive(Default)]
struct Window {
    highest: u64,
    seen: [u64; WORDS as usize],
}

impl Window {
    /// True the first time that a counter is given; false for what lies behind the window.
    fn accept(&mut self, counter: u64) -> bool {
        let word = counter / 64;
        if counter > self.highest {
            let current = self.highest / 64;
            for entered in (current + 1..=word).rev().take(WORDS as usize) {
                self.seen[(entered % WORDS) as usize] = 0;
            }
            self.highest = counter;
        } else if self.highest / 64 - word >= WORDS {
            return false;
        }
        let bits = &mut self.seen[(word % WORDS) as usize];
        let bit = 1 << (counter % 64);
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::net::clock;

    fn header(sender: u128, incarnation: u64, boot: u8, counter: u64) -> Header {
        Header { sender: NodeId::new(sender), incarnation, boot: [boot; 16], counter, index: 0, count: 1 }
    }

    /// Sender, incarnation, boot, counter.
    type Seen = (u128, u64, u8, u64);

    fn check(cases: &[(Seen, Result<(), Refused>)]) {
        let mut replays = Replays::default();
        for ((sender, incarnation, boot, counter), expected) in cases {
            let result = replays.check(clock::now(), &header(*sender, *incarnation, *boot, *counter));
            assert_eq!(result, *expected, "sender {sender} {incarnation}/{boot} counter {counter}");
        }
    }

    #[test]
    fn a_counter_passes_once_per_sender() {
        check(&[
            ((1, 5, 9, 10), Ok(())),
            ((1, 5, 9, 10), Err(Refused::Replay)),
            ((2, 5, 9, 10), Ok(())),
            ((1, 5, 9, 12), Ok(())),
            ((1, 5, 9, 11), Ok(())),
            ((1, 5, 9, 11), Err(Refused::Replay)),
            ((1, 5, 9, u64::MAX), Ok(())),
            ((1, 5, 9, u64::MAX), Err(Refused::Replay)),
            ((1, 5, 9, 13), Err(Refused::Replay)),
        ]);
    }

    #[test]
    fn an_older_incarnation_is_refused_and_a_newer_one_starts_afresh() {
        check(&[
            ((1, 5, 9, 1_000), Ok(())),
            ((1, 6, 8, 1), Ok(())),
            ((1, 5, 9, 1_001), Err(Refused::OldIncarnation)),
            ((1, 6, 8, 2), Ok(())),
        ]);
    }

    #[test]
    fn a_second_process_with_the_same_identity_is_refused() {
        check(&[((1, 5, 9, 1), Ok(())), ((1, 5, 8, 2), Err(Refused::Twin)), ((1, 5, 9, 2), Ok(()))]);
    }

    #[test]
    fn of_too_many_senders_the_longest_silent_one_is_forgotten() {
        let (mut replays, start) = (Replays::default(), clock::now());
        for n in 0..=SENDERS_MAX as u128 {
            let now = start + Duration::from_secs(n as u64);
            replays.check(now, &header(n, 1, 0, 1)).unwrap();
        }
        assert_eq!(replays.senders.len(), SENDERS_MAX);
        assert!(!replays.senders.contains_key(&NodeId::new(0)));
        assert_eq!(replays.check(start, &header(1, 1, 0, 1)), Err(Refused::Replay));
    }

    proptest! {
        /// Against a set that forgets nothing: no counter passes twice, and none within the window is lost.
        #[test]
        fn the_window_is_a_set(steps in prop::collection::vec((any::<bool>(), 0..700u64), 1..300)) {
            let (mut window, mut seen, mut highest) = (Window::default(), HashSet::new(), 0u64);
            for (up, distance) in steps {
                let counter = if up { highest + distance } else { highest.saturating_sub(distance) };
                let passed = window.accept(counter);
                let is_new = seen.insert(counter);
                prop_assert!(is_new || !passed, "counter {} passed twice", counter);
                let is_inside = highest.saturating_sub(counter) < WINDOW - 64;
                prop_assert!(!(is_new && is_inside) || passed, "counter {} was lost", counter);
                highest = highest.max(counter);
            }
        }
    }
}
