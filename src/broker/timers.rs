//! What the broker has to do later: publish delayed Wills and end sessions that nobody came back for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use super::client::{Client, Generation};

/// Due things, soonest first. Entries are not removed early: each names the connection that it followed, and
/// is void once the client has had another.
#[derive(Default)]
pub(super) struct Timers {
    due: BinaryHeap<Reverse<Entry>>,
    next_serial: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Will,
    SessionEnd,
}

struct Entry {
    at: Instant,
    serial: u64,
    client: Arc<Client>,
    generation: Generation,
    due: Due,
}

impl Timers {
    /// `generation` is the client's after its connection ended.
    pub(super) fn add(&mut self, at: Instant, client: &Arc<Client>, generation: Generation, due: Due) {
        self.next_serial += 1;
        let client = Arc::clone(client);
        self.due.push(Reverse(Entry { at, serial: self.next_serial, client, generation, due }));
    }

    /// The next thing that is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Arc<Client>, Generation, Due)> {
        if self.due.peek().is_none_or(|Reverse(entry)| entry.at > now) {
            return None;
        }
        self.due.pop().map(|Reverse(entry)| (entry.client, entry.generation, entry.due))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}
