//! What a route says besides whose it is: filter, share group and class; and the changes made of it.

use super::position::{Digest, Position};
use crate::cluster::node_id::NodeId;
use crate::topic::{ShareName, TopicFilter};

/// One element of the replicated set. Together with its owner it is a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// Messages whose Topic Name this matches go to the owner.
    pub filter: TopicFilter,
    /// The shared subscription group, or `None` for an ordinary subscription.
    pub share: Option<ShareName>,
    /// Whether a persistent session holds it, so that messages are worth keeping while the owner is away.
    pub durable: bool,
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Flags, whether there is a share group, and two lengths.
const ENCODED_OVERHEAD: usize = 8;

const FLAG_DURABLE: u8 = 1;
const FLAG_SHARED: u8 = 2;

impl RouteKey {
    /// The route's part in a digest: FNV-1a of the canonical bytes, then MurmurHash3's final mix.
    ///
    /// Canonical bytes: one flag byte (1 durable, 2 shared); when shared, the group's length as two bytes, big end
    /// first, and the group; the filter. It is part of the protocol, so it depends on no library, seed or platform.
    /// It finds mistakes, not forgers: peers are authenticated.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        let flags =
            if self.durable { FLAG_DURABLE } else { 0 } | if self.share.is_some() { FLAG_SHARED } else { 0 };
        let mut hash = fnv(FNV_OFFSET, &[flags]);
        if let Some(share) = &self.share {
            // A share name is part of a filter, so its length fits into 16 bits; the lossless cast needs no care.
            let len = (share.as_str().len() as u64).to_be_bytes();
            hash = fnv(hash, &len[6..]);
            hash = fnv(hash, share.as_str().as_bytes());
        }
        mix(fnv(hash, self.filter.as_str().as_bytes()))
    }

    /// Upper bound of the bytes that it takes in a frame.
    #[must_use]
    pub fn encoded_len_max(&self) -> usize {
        self.text_len() + ENCODED_OVERHEAD
    }

    /// Bytes of the texts in it.
    pub(super) fn text_len(&self) -> usize {
        self.filter.as_str().len() + self.share.as_ref().map_or(0, |share| share.as_str().len())
    }
}

fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
    hash
}

/// FNV-1a alone leaves the high bits of short inputs alike; a sum of such hashes would cancel out too easily.
fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// One numbered entry of an owner's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The owner now has this route.
    Advertise(RouteKey),
    /// The owner no longer has it.
    Withdraw(RouteKey),
}

impl Change {
    /// The route that changes.
    #[must_use]
    pub fn key(&self) -> &RouteKey {
        match self {
            Change::Advertise(key) | Change::Withdraw(key) => key,
        }
    }
}

/// A gapless piece of one owner's log: the changes numbered `since.seq + 1 ..= since.seq + changes.len()`.
///
/// Without changes it still says something: the owner has lived to `since`. `since.seq == 0` starts a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Whose log.
    pub owner: NodeId,
    /// Where it starts: the receiver needs everything up to here.
    pub since: Position,
    /// In the order of their numbers.
    pub changes: Vec<Change>,
}

impl Delta {
    /// Where the owner's log stands after the last change in here.
    #[must_use]
    pub fn end(&self) -> Position {
        let seq = self.since.seq.saturating_add(self.changes.len() as u64);
        Position { incarnation: self.since.incarnation, seq }
    }
}

/// All routes of one owner at one position. Takes the place of everything known of that owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Whose routes.
    pub owner: NodeId,
    /// The prefix of the owner's log that they are the result of.
    pub position: Position,
    /// In no order that means anything.
    pub keys: Vec<RouteKey>,
}

impl Snapshot {
    /// The digest that a table has after taking it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let hash = self.keys.iter().fold(0u64, |sum, key| sum.wrapping_add(key.hash64()));
        Digest { position: self.position, count: self.keys.len() as u64, hash }
    }
}
