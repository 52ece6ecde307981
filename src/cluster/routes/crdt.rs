//! The table in the words of the CRDT literature, so that its laws can be tested like any other CRDT's.
//!
//! As an operation-based CRDT its operations are log ranges; as a state-based one it takes, of every owner, the state
//! of whoever has seen more of the owner's log. Both are idempotent, and the order between owners does not matter.

use std::convert::Infallible;

use crdts::{CmRDT, CvRDT, Dot, DotRange, VClock};

use super::position::{Position, Writer};
use super::{Delta, Routes};
use crate::cluster::node_id::NodeId;

impl Position {
    /// The newest change at this position as a dot of `node`'s present life.
    #[must_use]
    pub fn dot(self, node: NodeId) -> Dot<Writer> {
        Dot::new(Writer { node, incarnation: self.incarnation }, self.seq)
    }
}

impl Routes {
    /// The causal past of the table: for each owner, the dots that were applied.
    #[must_use]
    pub fn clock(&self) -> VClock<Writer> {
        let mut clock = VClock::new();
        for (owner, digest) in self.digests() {
            clock.apply(digest.position.dot(owner));
        }
        clock
    }
}

impl CmRDT for Routes {
    type Op = Delta;
    type Validation = DotRange<Writer>;

    /// Fails with the missing dots when the range would leave a gap.
    fn validate_op(&self, delta: &Delta) -> Result<(), DotRange<Writer>> {
        let have = self.position(delta.owner).unwrap_or(Position::NONE);
        let is_old_life = delta.since.incarnation < have.incarnation;
        let start = if have.incarnation == delta.since.incarnation { have.seq } else { 0 };
        if is_old_life || delta.since.seq <= start {
            return Ok(());
        }
        let actor = Writer { node: delta.owner, incarnation: delta.since.incarnation };
        Err(DotRange { actor, counter_range: start + 1..delta.since.seq + 1 })
    }

    fn apply(&mut self, delta: Delta) {
        self.on_delta(&delta);
    }
}

impl CvRDT for Routes {
    type Validation = Infallible;

    fn validate_merge(&self, _: &Self) -> Result<(), Infallible> {
        Ok(())
    }

    /// Takes each owner's set from whichever table is further; masks and forgotten owners are local and stay.
    fn merge(&mut self, other: Self) {
        for (owner, digest) in other.digests() {
            let is_ahead = self.position(owner) < Some(digest.position);
            if let (true, Some(snapshot)) = (is_ahead, other.snapshot(owner)) {
                self.on_snapshot(&snapshot);
            }
        }
    }
}
