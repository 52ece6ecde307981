//! Connections whose client is not in yet: how many there may be, and who makes room for a newcomer.
//!
//! A client that means it sends its CONNECT within a round trip of the network; silence costs an attacker nothing.
//! So a newcomer that finds all places taken gets the place of the one that the node has waited for longest, if that
//! is [`GRACE`] at least: silent connections can fill the places, not keep them. Within the grace nobody is put
//! out, for in a rush of clients each would put out the one before it and none would arrive. A newcomer that finds
//! no such place is turned away. Those that wait for the node itself, for a password check, are never put out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A client may take so long, whoever else comes.
const GRACE: Duration = Duration::from_secs(1);

/// A listener's places. `T` is how a connection is reached that is put out.
pub(super) struct Handshakes<T> {
    max: usize,
    places: Mutex<Places<T>>,
}

struct Places<T> {
    next_ticket: u64,
    /// Those that the node waits for, with their beginnings: in the order in which they came.
    awaited: BTreeMap<u64, (Instant, T)>,
    /// Those that wait for the node.
    waiting: usize,
}

/// One place; dropping it gives it back.
pub(super) struct Handshake<T> {
    handshakes: Arc<Handshakes<T>>,
    ticket: u64,
    is_waiting: bool,
}

/// The place has gone to somebody else: close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PutOut;

impl<T> Handshakes<T> {
    pub(super) fn new(max: usize) -> Arc<Self> {
        let places = Places { next_ticket: 0, awaited: BTreeMap::new(), waiting: 0 };
        Arc::new(Self { max, places: Mutex::new(places) })
    }

    /// A place for a new connection, and who has to leave for it; `None` when it is to be turned away.
    /// `must_replace` when it may come only in the place of another one, however many there are.
    pub(super) fn begin(
        self: &Arc<Self>,
        now: Instant,
        who: T,
        must_replace: bool,
    ) -> Option<(Handshake<T>, Option<T>)> {
        let mut places = self.places.lock();
        let is_full = self.max <= places.awaited.len() + places.waiting;
        let displaced =
            if is_full || must_replace { Some(places.put_out_the_longest_awaited(now)?) } else { None };
        let ticket = places.next_ticket;
        places.next_ticket += 1;
        places.awaited.insert(ticket, (now, who));
        drop(places);
        Some((Handshake { handshakes: Arc::clone(self), ticket, is_waiting: false }, displaced))
    }
}

impl<T> Places<T> {
    fn put_out_the_longest_awaited(&mut self, now: Instant) -> Option<T> {
        let longest = self.awaited.first_entry()?;
        let waited = now.saturating_duration_since(longest.get().0);
        (GRACE <= waited).then(|| longest.remove().1)
    }
}

impl<T> Handshake<T> {
    /// The client has done its part and waits for the node now.
    pub(super) fn wait(&mut self) -> Result<(), PutOut> {
        let mut places = self.handshakes.places.lock();
        places.awaited.remove(&self.ticket).ok_or(PutOut)?;
        places.waiting += 1;
        self.is_waiting = true;
        Ok(())
    }

    /// The client is in.
    pub(super) fn complete(self) -> Result<(), PutOut> {
        if self.is_waiting {
            return Ok(()); // The drop gives the place back.
        }
        let removed = self.handshakes.places.lock().awaited.remove(&self.ticket);
        removed.map(|_| ()).ok_or(PutOut)
    }
}

impl<T> Drop for Handshake<T> {
    fn drop(&mut self) {
        let mut places = self.handshakes.places.lock();
        if self.is_waiting {
            places.waiting -= 1;
        } else {
            places.awaited.remove(&self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Begun = Option<(Handshake<&'static str>, Option<&'static str>)>;

    /// Two places, and a clock that tests move.
    struct Door {
        handshakes: Arc<Handshakes<&'static str>>,
        now: Instant,
    }

    impl Door {
        fn new() -> Self {
            Self { handshakes: Handshakes::new(2), now: crate::net::clock::now() }
        }

        fn knock(&self, who: &'static str) -> Begun {
            self.handshakes.begin(self.now, who, false)
        }

        #[track_caller]
        fn enter(&self, who: &'static str, expected: Option<&'static str>) -> Handshake<&'static str> {
            let (handshake, displaced) = self.knock(who).expect("there is a place");
            assert_eq!(displaced, expected, "for {who}");
            handshake
        }
    }

    #[test]
    fn a_newcomer_gets_the_place_of_the_one_that_is_awaited_longest() {
        let mut door = Door::new();
        let first = door.enter("first", None);
        door.now += Duration::from_millis(600);
        let second = door.enter("second", None);
        assert!(door.knock("third").is_none(), "nobody has had a second");
        door.now += Duration::from_millis(400);
        let third = door.enter("third", Some("first"));
        assert!(door.knock("fourth").is_none(), "the second has had 400 ms");
        // Who was put out does not come in any more and gives no place back.
        assert_eq!(first.complete(), Err(PutOut));
        assert!(door.knock("fourth").is_none());
        assert_eq!(second.complete(), Ok(()));
        let _fourth = door.enter("fourth", None);
        drop(third);
        let _fifth = door.enter("fifth", None);
    }

    #[test]
    fn who_waits_for_the_node_is_not_put_out() {
        let mut door = Door::new();
        let mut checked = door.enter("checked", None);
        assert_eq!(checked.wait(), Ok(()));
        let mut silent = door.enter("silent", None);
        door.now += GRACE;
        let mut third = door.enter("third", Some("silent"));
        assert_eq!(silent.wait(), Err(PutOut));
        drop(silent);
        assert_eq!(third.wait(), Ok(()));
        door.now += 10 * GRACE;
        assert!(door.knock("fourth").is_none(), "both wait for the node");
        assert_eq!(checked.complete(), Ok(()));
        let _fourth = door.enter("fourth", None);
        assert!(door.knock("fifth").is_none());
        drop(third);
        let _fifth = door.enter("fifth", None);
    }

    #[test]
    fn where_a_place_must_be_replaced_free_ones_do_not_count() {
        let mut door = Door::new();
        assert!(door.handshakes.begin(door.now, "first", true).is_none());
        let _second = door.enter("second", None);
        assert!(door.handshakes.begin(door.now, "third", true).is_none());
        door.now += GRACE;
        let third = door.handshakes.begin(door.now, "third", true);
        assert_eq!(third.and_then(|(_, displaced)| displaced), Some("second"));
    }
}
