//! How far one owner's log is known: the position, and the digest that makes it checkable.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cluster::node_id::NodeId;

/// A place in one owner's log: the first `seq` changes of the owner's life number `incarnation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Grows with every start of the owner; 0 is no life at all.
    pub incarnation: u64,
    /// How many changes of that life; the changes are numbered from 1.
    pub seq: u64,
}

impl Position {
    /// Before everything: what is known of an owner of which nothing is known.
    pub const NONE: Self = Self { incarnation: 0, seq: 0 };

    /// The start of a life, before its first change.
    #[must_use]
    pub const fn start_of(incarnation: u64) -> Self {
        Self { incarnation, seq: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.incarnation, self.seq)
    }
}

/// What a table holds of one owner, small enough for gossip. Two correct tables at the same position have equal
/// digests; anything else is a bug that this makes visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The applied prefix of the owner's log.
    pub position: Position,
    /// Routes that the owner holds at that position.
    pub count: u64,
    /// Sum, modulo 2^64, of the hashes of those routes (`RouteKey::hash64`), so their order does not matter.
    pub hash: u64,
}

/// A change's name in the words of the CRDT literature: the actor is one life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer {
    /// The owner of the log.
    pub node: NodeId,
    /// The life in which it wrote.
    pub incarnation: u64,
}
