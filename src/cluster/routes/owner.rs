//! What the table knows of one owner besides the routes themselves, which are in the matching index.

use super::key::{Change, Delta, RouteKey};
use super::log::Log;
use super::position::{Digest, Position};
use crate::cluster::node_id::NodeId;

/// Encoded routes in one delta or snapshot chunk; one with a single longer route is still made.
pub const DELTA_BYTES_MAX: usize = 256 * 1_024;

/// What a peer that stands at some position is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing that this table has.
    UpToDate,
    /// The next piece of the log; not always all of the rest.
    Delta(Delta),
    /// The log does not reach back that far, or the range would expose a half-loaded new life.
    SnapshotNeeded,
}

/// One owner's log position, digest and recent changes.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) id: NodeId,
    /// The prefix of the log that the table holds the result of.
    pub(super) position: Position,
    /// The highest life that was heard of. While it is above `position.incarnation`, the routes of the older life
    /// stay in use, but only the new life's log or snapshot is taken.
    pub(super) announced: u64,
    pub(super) count: u64,
    hash: u64,
    log: Log,
}

impl Owner {
    pub(super) fn new(id: NodeId, announced: u64, log_len_max: usize) -> Self {
        Self { id, position: Position::NONE, announced, count: 0, hash: 0, log: Log::new(log_len_max) }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest { position: self.position, count: self.count, hash: self.hash }
    }

    /// The set gained a route.
    pub(super) fn count_in(&mut self, key: &RouteKey) {
        self.count += 1;
        self.hash = self.hash.wrapping_add(key.hash64());
    }

    /// The set lost a route.
    pub(super) fn count_out(&mut self, key: &RouteKey) {
        self.count -= 1;
        self.hash = self.hash.wrapping_sub(key.hash64());
    }

    /// The next change happened.
    pub(super) fn record(&mut self, change: Change) {
        self.position.seq = self.position.seq.saturating_add(1);
        self.log.push(change);
    }

    /// The set is now empty and stands at `position`; the log starts after it.
    pub(super) fn restart_at(&mut self, position: Position) {
        self.position = position;
        self.announced = self.announced.max(position.incarnation);
        self.count = 0;
        self.hash = 0;
        self.log.restart_after(position.seq);
    }

    pub(super) fn tail(&self, since: Position, changes_max: usize) -> Tail {
        if self.position <= since {
            return Tail::UpToDate;
        }
        let is_new_life = since.incarnation < self.position.incarnation;
        let since = if is_new_life { Position::start_of(self.position.incarnation) } else { since };
        let missing = self.position.seq - since.seq;
        let Some(newer) = self.log.after(since.seq) else { return Tail::SnapshotNeeded };
        let mut bytes = 0;
        let mut changes = Vec::new();
        for change in newer.take(changes_max) {
            bytes += change.key().encoded_len_max();
            if !changes.is_empty() && DELTA_BYTES_MAX < bytes {
                break;
            }
            changes.push(change.clone());
        }
        // The receiver drops the old life's routes with the first piece of the new one. A single piece makes the swap
        // atomic; several would leave it with a part of the routes in between.
        if is_new_life && (changes.len() as u64) < missing {
            return Tail::SnapshotNeeded;
        }
        Tail::Delta(Delta { owner: self.id, since, changes })
    }
}
