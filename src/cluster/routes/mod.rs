//! The replicated route table: which node wants messages of which Topic Filter. Sans-io: no clock, socket or lock.
//!
//! An observed-remove set without tombstones. A route is a pair (key, owner), and only the owner ever writes it, so it
//! numbers its changes, removals too: a gapless log per owner. Applying a prefix of the log gives the owner's set at
//! that position, whoever delivered it; (incarnation, seq) says all, and a count and a hash prove it. Concurrency
//! exists only between two lives of one owner, and there the higher incarnation wins.
//!
//! A dead owner is masked, not deleted; `forget` is the only thing that deletes what its owner did not withdraw, it is
//! local, and the owner's return undoes it.

mod crdt;
mod key;
mod leaf;
mod log;
mod nodes;
mod owner;
mod position;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::key::{Change, Delta, RouteKey, Snapshot};
pub use self::leaf::RouteInfo;
pub use self::log::LOG_BYTES_MAX;
pub use self::nodes::{NODES_MAX, NodeIdx, NodeSet};
pub use self::owner::{DELTA_BYTES_MAX, Tail};
pub use self::position::{Digest, Position, Writer};

use self::leaf::Leaf;
use self::owner::Owner;
use super::node_id::NodeId;
use crate::seeded_bugs::{self, Bug};
use crate::topic::{FilterIndex, TopicFilter, TopicRef};

/// Forgotten owners whose last incarnation is remembered; beyond it the one that started first is dropped.
const FLOORS_MAX: usize = 65_536;
const _: () = assert!(NODES_MAX <= FLOORS_MAX);

/// What became of a delta or snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It brought something new; the table is now at this position of the owner's log.
    Advanced(Position),
    /// Nothing new; the table is at this position. Acknowledge it all the same.
    Duplicate(Position),
    /// Changes before it are missing: pull what follows this position.
    Gap {
        /// What the table has.
        have: Position,
    },
    /// From a life of the owner that is over.
    Stale,
    /// About this node's own routes, which nobody else may change.
    Own,
    /// The owner was forgotten and has not been seen alive since.
    Forgotten,
    /// The table already knows [`NODES_MAX`] owners.
    Full,
}

/// The table of one node: its own routes and those of every other owner.
#[derive(Clone, Debug)]
pub struct Routes {
    index: FilterIndex<Leaf>,
    /// By [`NodeIdx`]; the first is this node. `None` is a place that `forget` freed.
    owners: Vec<Option<Owner>>,
    by_id: BTreeMap<NodeId, NodeIdx>,
    /// Remote owners that are not masked.
    live: NodeSet,
    /// Forgotten owners: lives up to this incarnation are not taken from third parties again.
    floors: BTreeMap<NodeId, u64>,
    log_len_max: usize,
}

impl Routes {
    /// An empty table of node `me` in its life `incarnation` (at least 1), with at most `log_len_max` changes kept of
    /// each owner's log.
    ///
    /// The own position is `(incarnation, 0)` and is to be told to peers at once: it is what makes them drop the routes
    /// of the life before.
    #[must_use]
    pub fn new(me: NodeId, incarnation: u64, log_len_max: usize) -> Self {
        assert!(0 < incarnation, "incarnations count from 1");
        let mut own = Owner::new(me, incarnation, log_len_max);
        own.restart_at(Position::start_of(incarnation));
        Self {
            index: FilterIndex::new(),
            owners: vec![Some(own)],
            by_id: BTreeMap::from([(me, NodeIdx::ME)]),
            live: NodeSet::new(),
            floors: BTreeMap::new(),
            log_len_max,
        }
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.own().id
    }

    /// The own log's position.
    #[must_use]
    pub fn own_position(&self) -> Position {
        self.own().position
    }

    /// Adds an own route. Returns the position at which peers know it; nothing changes when it is there already.
    pub fn advertise(&mut self, key: &RouteKey) -> Position {
        if !self.contains(NodeIdx::ME, key) {
            self.change(NodeIdx::ME, &Change::Advertise(key.clone()));
        }
        self.own_position()
    }

    /// Takes an own route out. Returns the position at which peers know that; nothing changes when there is none.
    pub fn withdraw(&mut self, key: &RouteKey) -> Position {
        if self.contains(NodeIdx::ME, key) {
            self.change(NodeIdx::ME, &Change::Withdraw(key.clone()));
        }
        self.own_position()
    }

    /// The applied prefix of an owner's log; `None` when nothing of it was applied.
    #[must_use]
    pub fn position(&self, owner: NodeId) -> Option<Position> {
        self.owner(owner).map(|owner| owner.position).filter(|&position| position != Position::NONE)
    }

    /// The highest incarnation of an owner that was heard of, even when nothing of it was applied yet.
    #[must_use]
    pub fn announced(&self, owner: NodeId) -> Option<u64> {
        self.owner(owner).map(|owner| owner.announced).or_else(|| self.floors.get(&owner).copied())
    }

    /// What the table holds of an owner; `None` when nothing was applied.
    #[must_use]
    pub fn digest(&self, owner: NodeId) -> Option<Digest> {
        self.owner(owner).map(Owner::digest).filter(|digest| digest.position != Position::NONE)
    }

    /// All digests, the own one included, in order of the ids.
    #[must_use]
    pub fn digests(&self) -> Vec<(NodeId, Digest)> {
        self.by_id.keys().filter_map(|&id| Some((id, self.digest(id)?))).collect()
    }

    /// Whether the owner was forgotten and not seen alive since; nothing of it should be asked of third parties.
    #[must_use]
    pub fn is_forgotten(&self, owner: NodeId) -> bool {
        self.floors.contains_key(&owner)
    }

    /// What a peer that is at `since` of this owner's log is missing: at most `changes_max` changes (at least one) and
    /// about [`DELTA_BYTES_MAX`] bytes; call again from where the delta ends. A life that the peer does not know
    /// comes in one piece, so that it replaces the older one at once.
    #[must_use]
    pub fn tail(&self, owner: NodeId, since: Position, changes_max: usize) -> Tail {
        self.owner(owner).map_or(Tail::UpToDate, |owner| owner.tail(since, changes_max.max(1)))
    }

    /// All routes of an owner. Looks at every filter of the table.
    #[must_use]
    pub fn snapshot(&self, owner: NodeId) -> Option<Snapshot> {
        let position = self.position(owner)?;
        let node = *self.by_id.get(&owner)?;
        let mut keys = Vec::with_capacity(self.routes_of(owner));
        for (filter, leaf) in self.index.iter() {
            leaf.for_each(|other, share, durable| {
                if other == node {
                    keys.push(RouteKey { filter: filter.clone(), share: share.cloned(), durable });
                }
            });
        }
        Some(Snapshot { owner, position, keys })
    }

    /// Takes a piece of another owner's log. One that overlaps what is known is applied from where it gets new.
    pub fn on_delta(&mut self, delta: &Delta) -> Applied {
        let node = match self.admit(delta.owner, delta.since.incarnation) {
            Ok(node) => node,
            Err(refusal) => return refusal,
        };
        let owner = self.owner_mut(node);
        let have = owner.position;
        let is_new_life = have.incarnation < delta.since.incarnation;
        if is_new_life && delta.since.seq == 0 {
            self.restart(node, delta.since);
            for change in &delta.changes {
                self.change(node, change);
            }
            return Applied::Advanced(self.owner_mut(node).position);
        }
        if is_new_life || (have.seq < delta.since.seq && !seeded_bugs::has(Bug::GapIgnored)) {
            return Applied::Gap { have };
        }
        if delta.end() <= have {
            return Applied::Duplicate(have);
        }
        let known = usize::try_from(have.seq.saturating_sub(delta.since.seq)).unwrap_or(usize::MAX);
        if seeded_bugs::has(Bug::DroppedDelta) && delta.end().seq.is_multiple_of(16) {
            delta.changes.iter().skip(known).for_each(|change| self.owner_mut(node).record(change.clone()));
            return Applied::Advanced(self.owner_mut(node).position);
        }
        for change in delta.changes.iter().skip(known) {
            self.change(node, change);
        }
        Applied::Advanced(self.owner_mut(node).position)
    }

    /// Takes another owner's whole set in place of what is known of it.
    ///
    /// At the position that the table has, it changes something only when the contents differ, which repairs a table
    /// whose digest disagrees with the owner's.
    pub fn on_snapshot(&mut self, snapshot: &Snapshot) -> Applied {
        let node = match self.admit(snapshot.owner, snapshot.position.incarnation) {
            Ok(node) => node,
            Err(refusal) => return refusal,
        };
        let have = self.owner_mut(node).digest();
        let is_known = have.position == snapshot.position && have == snapshot.digest();
        if is_known || snapshot.position < have.position {
            return Applied::Duplicate(have.position);
        }
        self.restart(node, snapshot.position);
        for key in &snapshot.keys {
            self.insert(node, key);
        }
        Applied::Advanced(snapshot.position)
    }

    /// The owner announced a life. Its older lives' routes stay in use until something of this one arrives; what still
    /// arrives of the older ones is refused from now on.
    pub fn on_incarnation(&mut self, owner: NodeId, incarnation: u64) {
        if let Ok(node) = self.admit(owner, incarnation) {
            let owner = self.owner_mut(node);
            owner.announced = owner.announced.max(incarnation);
        }
    }

    /// Masks or unmasks an owner's routes; deletes nothing. An owner starts masked. Seeing one alive ends its being
    /// forgotten.
    pub fn set_live(&mut self, owner: NodeId, live: bool) {
        if owner == self.me() {
            return;
        }
        if !live {
            if let Some(&node) = self.by_id.get(&owner) {
                self.live.remove(node);
            }
            return;
        }
        if let Some(node) = self.intern(owner) {
            self.live.insert(node);
        }
    }

    /// Whether the owner is remote and not masked.
    #[must_use]
    pub fn is_live(&self, owner: NodeId) -> bool {
        self.by_id.get(&owner).is_some_and(|&node| self.live.contains(node))
    }

    /// Removes what is known of an owner and returns how many routes that were. Its incarnation is kept as a floor, so
    /// that a peer that did not forget it cannot bring the routes back; only the owner's return or its next life can.
    pub fn forget(&mut self, owner: NodeId) -> usize {
        let Some(&node) = self.by_id.get(&owner) else { return 0 };
        if node == NodeIdx::ME {
            return 0;
        }
        let removed = self.clear(node);
        let floor = self.owner_mut(node).announced;
        self.owners[node.index()] = None;
        self.by_id.remove(&owner);
        self.live.remove(node);
        self.raise_floor(owner, floor);
        removed
    }

    /// As [`Routes::forget`], but only of the owner's lives up to `incarnation`, and also when nothing is known of it. A
    /// later life stays untouched.
    pub fn forget_lives(&mut self, owner: NodeId, incarnation: u64) {
        let announced = self.owner(owner).map(|owner| owner.announced);
        if owner == self.me() || announced.is_some_and(|announced| incarnation < announced) {
            return;
        }
        self.forget(owner);
        self.raise_floor(owner, incarnation);
    }

    /// Calls `f` with every remote route whose filter matches, masked owners' too; one node may come several times.
    pub fn for_each_match(
        &self,
        topic: TopicRef<'_>,
        mut f: impl FnMut(&TopicFilter, NodeIdx, &RouteInfo<'_>),
    ) {
        self.index.for_each_matching_filter(topic, |filter, leaf| {
            leaf.for_each(|node, share, durable| {
                if node != NodeIdx::ME {
                    f(filter, node, &RouteInfo { share, durable, live: self.live.contains(node) });
                }
            });
        });
    }

    /// Adds each live remote node that has a matching route to `into`.
    pub fn nodes(&self, topic: TopicRef<'_>, into: &mut NodeSet) {
        if self.live.is_empty() {
            return;
        }
        self.index.for_each_match(topic, |leaf| {
            leaf.for_each(|node, _, _| {
                if self.live.contains(node) {
                    into.insert(node);
                }
            });
        });
    }

    /// The id behind an index that a lookup gave.
    #[must_use]
    pub fn node(&self, node: NodeIdx) -> Option<NodeId> {
        self.owners.get(node.index())?.as_ref().map(|owner| owner.id)
    }

    /// The index that lookups give for a node that the table knows.
    #[must_use]
    pub fn index(&self, node: NodeId) -> Option<NodeIdx> {
        self.by_id.get(&node).copied()
    }

    /// Every route with its owners, own and masked ones included, in order. Copies the table: for people, not for code.
    pub fn listing(&self) -> impl Iterator<Item = (RouteKey, Vec<NodeId>)> {
        let mut listing: BTreeMap<RouteKey, Vec<NodeId>> = BTreeMap::new();
        for (filter, leaf) in self.index.iter() {
            leaf.for_each(|node, share, durable| {
                let key = RouteKey { filter: filter.clone(), share: share.cloned(), durable };
                listing.entry(key).or_default().extend(self.node(node));
            });
        }
        for owners in listing.values_mut() {
            owners.sort_unstable();
        }
        listing.into_iter()
    }

    /// Routes of all owners.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.iter().flatten().map(|owner| owner.count as usize).sum()
    }

    /// Whether nobody has a route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Routes of one owner.
    #[must_use]
    pub fn routes_of(&self, owner: NodeId) -> usize {
        self.owner(owner).map_or(0, |owner| owner.count as usize)
    }

    fn raise_floor(&mut self, owner: NodeId, incarnation: u64) {
        let floor = self.floors.entry(owner).or_insert(incarnation);
        *floor = incarnation.max(*floor);
        if FLOORS_MAX < self.floors.len() {
            let oldest = self.floors.iter().min_by_key(|&(_, &floor)| floor).map(|(&id, _)| id);
            self.floors.remove(&oldest.unwrap_or(owner));
        }
    }

    fn own(&self) -> &Owner {
        self.owners[0].as_ref().expect("the own node is never forgotten")
    }

    fn owner(&self, id: NodeId) -> Option<&Owner> {
        self.owners[self.by_id.get(&id)?.index()].as_ref()
    }

    fn owner_mut(&mut self, node: NodeIdx) -> &mut Owner {
        self.owners[node.index()].as_mut().expect("an index in use has an owner")
    }

    /// Decides whether something about this life of this owner may be taken at all.
    fn admit(&mut self, owner: NodeId, incarnation: u64) -> Result<NodeIdx, Applied> {
        if owner == self.me() {
            return Err(Applied::Own);
        }
        if self.floors.get(&owner).is_some_and(|&floor| incarnation <= floor) {
            return Err(Applied::Forgotten);
        }
        if incarnation == 0 || incarnation < self.owner(owner).map_or(0, |owner| owner.announced) {
            return Err(Applied::Stale);
        }
        self.intern(owner).ok_or(Applied::Full)
    }

    fn intern(&mut self, id: NodeId) -> Option<NodeIdx> {
        if let Some(&node) = self.by_id.get(&id) {
            return Some(node);
        }
        let free = self.owners.iter().position(Option::is_none).unwrap_or(self.owners.len());
        if NODES_MAX <= free {
            return None;
        }
        let node = NodeIdx(u16::try_from(free).ok()?);
        let floor = self.floors.remove(&id).unwrap_or(0);
        let owner = Some(Owner::new(id, floor, self.log_len_max));
        match self.owners.get_mut(free) {
            Some(place) => *place = owner,
            None => self.owners.push(owner),
        }
        self.by_id.insert(id, node);
        Some(node)
    }

    fn contains(&self, node: NodeIdx, key: &RouteKey) -> bool {
        self.index.get(&key.filter).is_some_and(|leaf| leaf.contains(node, key.share.as_ref(), key.durable))
    }

    fn change(&mut self, node: NodeIdx, change: &Change) {
        match change {
            Change::Advertise(key) => self.insert(node, key),
            Change::Withdraw(key) => self.remove(node, key),
        }
        self.owner_mut(node).record(change.clone());
    }

    fn insert(&mut self, node: NodeIdx, key: &RouteKey) {
        let leaf = self.index.get_or_insert_with(&key.filter, Leaf::new);
        if leaf.insert(node, key.share.as_ref(), key.durable) {
            self.owner_mut(node).count_in(key);
        }
    }

    fn remove(&mut self, node: NodeIdx, key: &RouteKey) {
        let Some(leaf) = self.index.get_mut(&key.filter) else { return };
        let was_there = leaf.remove(node, key.share.as_ref(), key.durable);
        if leaf.is_empty() {
            self.index.remove(&key.filter);
        }
        if was_there {
            self.owner_mut(node).count_out(key);
        }
    }

    /// Empties an owner's set and puts its log to `position`.
    fn restart(&mut self, node: NodeIdx, position: Position) {
        self.clear(node);
        self.owner_mut(node).restart_at(position);
    }

    /// Takes all routes of one owner out of the index.
    fn clear(&mut self, node: NodeIdx) -> usize {
        if self.owner_mut(node).count == 0 {
            return 0;
        }
        let mut removed = 0;
        self.index.retain(|_, leaf| {
            removed += leaf.remove_node(node);
            !leaf.is_empty()
        });
        removed
    }
}
