//! What the broker has to do later: publish delayed Wills and end sessions that nobody came back for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::client::{Client, Generation};

/// Fewer entries than this are not searched for void ones.
const SWEEP_MIN: usize = 1_024;

/// Due things, soonest first. Each entry names the connection that it followed, and is void once the client has
/// had another. Void entries stay until they are as many as the others; they keep nobody's session in memory.
#[derive(Default)]
pub(super) struct Timers {
    due: BinaryHeap<Reverse<Entry>>,
    next_serial: u64,
    /// With so many entries the void ones are removed.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Will,
    SessionEnd,
}

struct Entry {
    at: Instant,
    serial: u64,
    client: Weak<Client>,
    generation: Generation,
    due: Due,
}

impl Entry {
    fn is_void(&self) -> bool {
        self.client.upgrade().is_none_or(|client| client.generation() != self.generation)
    }
}

impl Timers {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// `generation` is the client's after its connection ended.
    pub(super) fn add(&mut self, at: Instant, client: &Arc<Client>, generation: Generation, due: Due) {
        if self.due.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.due.retain(|Reverse(entry)| !entry.is_void());
            self.sweep_at = 2 * self.due.len();
        }
        self.next_serial += 1;
        let client = Arc::downgrade(client);
        self.due.push(Reverse(Entry { at, serial: self.next_serial, client, generation, due }));
    }

    /// The next thing that is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Arc<Client>, Generation, Due)> {
        while self.due.peek().is_some_and(|Reverse(entry)| entry.at <= now) {
            let Reverse(entry) = self.due.pop()?;
            if let Some(client) = entry.client.upgrade() {
                return Some((client, entry.generation, entry.due));
            }
        }
        None
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
