//! Routes, changes and digests as they stand in frames.

use serde::{Deserialize, Serialize};

use super::FrameError;
use crate::cluster::node_id::NodeId;
use crate::cluster::routes::{Change, Delta, Digest, Position, RouteKey};
use crate::topic::{ShareName, TopicFilter};

const FLAG_DURABLE: u8 = 1;
const FLAG_WITHDRAW: u8 = 2;

/// A route, or a change when its flag says so.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireRoute<'a> {
    flags: u8,
    share: Option<&'a str>,
    filter: &'a str,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WirePosition {
    incarnation: u64,
    seq: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireDigest {
    position: WirePosition,
    count: u64,
    hash: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireDelta<'a> {
    owner: NodeId,
    since: WirePosition,
    #[serde(borrow)]
    changes: Vec<WireRoute<'a>>,
}

impl<'a> WireRoute<'a> {
    pub(super) fn key(key: &'a RouteKey) -> Self {
        let flags = if key.durable { FLAG_DURABLE } else { 0 };
        Self { flags, share: key.share.as_ref().map(ShareName::as_str), filter: key.filter.as_str() }
    }

    fn change(change: &'a Change) -> Self {
        let mut wire = Self::key(change.key());
        if let Change::Withdraw(_) = change {
            wire.flags |= FLAG_WITHDRAW;
        }
        wire
    }

    /// Reads a route that is not a change.
    pub(super) fn to_key(&self) -> Result<RouteKey, FrameError> {
        self.parse(FLAG_DURABLE)
    }

    fn to_change(&self) -> Result<Change, FrameError> {
        let key = self.parse(FLAG_DURABLE | FLAG_WITHDRAW)?;
        let is_withdrawal = self.flags & FLAG_WITHDRAW != 0;
        Ok(if is_withdrawal { Change::Withdraw(key) } else { Change::Advertise(key) })
    }

    fn parse(&self, flags_known: u8) -> Result<RouteKey, FrameError> {
        if self.flags & !flags_known != 0 {
            return Err(FrameError::Body("route flags"));
        }
        let filter = TopicFilter::parse(self.filter).map_err(|_| FrameError::Body("topic filter"))?;
        let share = match self.share {
            Some(share) => Some(ShareName::parse(share).map_err(|_| FrameError::Body("share name"))?),
            None => None,
        };
        Ok(RouteKey { filter, share, durable: self.flags & FLAG_DURABLE != 0 })
    }
}

impl From<Position> for WirePosition {
    fn from(position: Position) -> Self {
        Self { incarnation: position.incarnation, seq: position.seq }
    }
}

impl From<WirePosition> for Position {
    fn from(wire: WirePosition) -> Self {
        Self { incarnation: wire.incarnation, seq: wire.seq }
    }
}

impl From<Digest> for WireDigest {
    fn from(digest: Digest) -> Self {
        Self { position: digest.position.into(), count: digest.count, hash: digest.hash }
    }
}

impl From<WireDigest> for Digest {
    fn from(wire: WireDigest) -> Self {
        Self { position: wire.position.into(), count: wire.count, hash: wire.hash }
    }
}

impl<'a> From<&'a Delta> for WireDelta<'a> {
    fn from(delta: &'a Delta) -> Self {
        let changes = delta.changes.iter().map(WireRoute::change).collect();
        Self { owner: delta.owner, since: delta.since.into(), changes }
    }
}

impl WireDelta<'_> {
    pub(super) fn into_delta(self) -> Result<Delta, FrameError> {
        let changes = self.changes.iter().map(WireRoute::to_change).collect::<Result<_, _>>()?;
        Ok(Delta { owner: self.owner, since: self.since.into(), changes })
    }
}
