//! What this node thinks of every other one: joining, live, suspect, down or left. Sans-io.
//!
//! Death is a local decision: nothing was heard of the peer, over no link and by no gossip heartbeat, for
//! `dead_after`. A peer whose links fail while gossip still hears of it is suspect, not down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::forgotten::{Floor, Forgotten};
use super::membership::Member;
use super::node_id::NodeId;
use super::routes::{Digest, Position};

/// Peers that this node keeps track of at most; more are not let in.
pub(super) const PEERS_MAX: usize = 1_024;

/// A peer's state as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerState {
    /// Known, but the link is not up yet, or the route tables are not in step yet.
    Joining,
    /// The link is up, and each side has the other's routes.
    Live,
    /// It was live and lost its link, or gossip hears of it and no link can be made.
    Suspect,
    /// Nothing was heard of it for `dead_after`. Its routes are masked.
    Down,
    /// It said goodbye.
    Left,
}

/// All states in the order of their listing.
pub(super) const PEER_STATES: [PeerState; 5] =
    [PeerState::Joining, PeerState::Live, PeerState::Suspect, PeerState::Down, PeerState::Left];

impl PeerState {
    /// The word used outside: status, metrics, logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Live => "live",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        }
    }
}

/// What the rest of the cluster module has to do about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PeerEvent {
    /// The peer is wanted at this address: dial it there.
    Dial { peer: NodeId, address: String },
    /// The peer runs in a newer life than before.
    Restarted { peer: NodeId, incarnation: u64 },
    /// The peer is live.
    Live { peer: NodeId },
    /// The peer has this node's routes, so its clients' messages come here: SUBACKs wait for it from now on.
    Counts { peer: NodeId },
    /// The peer shows signs of life after it was down or had left.
    Back { peer: NodeId },
    /// The peer is down: mask its routes, give up what waits for it.
    Down { peer: NodeId },
    /// The peer left for good: drop its routes, stop dialing it.
    Left { peer: NodeId },
    /// Another node took the peer's address: the peer is known no longer.
    Replaced { peer: NodeId },
    /// The peer has been gone for so long that it is known no longer. Should it return, it is welcome.
    Expired { peer: NodeId },
    /// An operator had the node forgotten: its lives up to `floor` are over, whether it was a peer or not.
    Forgotten { peer: NodeId, floor: u64 },
}

/// One peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) incarnation: u64,
    pub(super) name: String,
    /// `host:port`; empty until gossip tells it.
    pub(super) address: String,
    /// `host:port` of its HTTP interface; empty until gossip tells it.
    pub(super) http: String,
    /// The last time that anything showed it alive.
    pub(super) last_sign: Instant,
    /// Whether the control link that this node dialed is up.
    pub(super) link_up: bool,
    /// Why the last attempt to link failed.
    pub(super) link_error: Option<String>,
    /// What the peer says of its own routes.
    pub(super) claim: Option<Digest>,
    /// What the peer says it has of the routes of others.
    pub(super) have: BTreeMap<NodeId, Position>,
    /// What the peer has acknowledged of this node's routes.
    pub(super) acked: Position,
    heartbeat: u64,
    /// Where this node's log stood when the present link came up.
    ours_at_link_up: Position,
    /// Whether it acknowledged that much on the present link.
    has_ours: bool,
    /// Whether its whole table, as of the start of the present link, was applied here.
    have_theirs: bool,
    was_live: bool,
    /// Whether SUBACKs wait for it. Not the same as live: when only one of two directions works, a peer can
    /// have the routes and send messages here although this node cannot link to it.
    counts: bool,
    is_down: bool,
    has_left: bool,
    /// Since when it is down or left.
    gone_since: Option<Instant>,
}

impl Peer {
    fn new(incarnation: u64, now: Instant) -> Self {
        Self {
            incarnation,
            name: String::new(),
            address: String::new(),
            http: String::new(),
            last_sign: now,
            link_up: false,
            link_error: None,
            claim: None,
            have: BTreeMap::new(),
            acked: Position::NONE,
            heartbeat: 0,
            ours_at_link_up: Position::NONE,
            has_ours: false,
            have_theirs: false,
            was_live: false,
            counts: false,
            is_down: false,
            has_left: false,
            gone_since: None,
        }
    }

    pub(super) fn state(&self) -> PeerState {
        let is_live = self.link_up && self.has_ours && self.have_theirs;
        match () {
            () if self.has_left => PeerState::Left,
            () if self.is_down => PeerState::Down,
            () if is_live => PeerState::Live,
            () if self.was_live || self.link_error.is_some() => PeerState::Suspect,
            () => PeerState::Joining,
        }
    }

    fn restart(&mut self, incarnation: u64, now: Instant) {
        self.incarnation = incarnation;
        self.last_sign = now;
        self.heartbeat = 0;
        // Gossip says it again, and then it is dialed there.
        self.address.clear();
        self.link_up = false;
        self.link_error = None;
        self.claim = None;
        self.have.clear();
        self.acked = Position::NONE;
        (self.has_ours, self.have_theirs, self.was_live) = (false, false, false);
        (self.counts, self.is_down, self.has_left, self.gone_since) = (false, false, false, None);
    }
}

/// All peers of this node.
pub(super) struct Peers {
    me: NodeId,
    dead_after: Duration,
    /// How long a peer is kept after it went; `None` for ever.
    autoclean: Option<Duration>,
    peers: BTreeMap<NodeId, Peer>,
    /// Peers that were replaced or expired, with the life and heartbeat that gossip still repeats of them.
    gone: BTreeMap<NodeId, (u64, u64)>,
    forgotten: Forgotten,
    last_tick: Option<Instant>,
}

impl Peers {
    pub(super) fn new(me: NodeId, dead_after: Duration, autoclean: Option<Duration>) -> Self {
        Self {
            me,
            dead_after,
            autoclean,
            peers: BTreeMap::new(),
            gone: BTreeMap::new(),
            forgotten: Forgotten::default(),
            last_tick: None,
        }
    }

    pub(super) fn get(&self, peer: NodeId) -> Option<&Peer> {
        self.peers.get(&peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    /// What gossip knows of the other nodes, once per round.
    pub(super) fn on_members(&mut self, now: Instant, members: &[&Member], events: &mut Vec<PeerEvent>) {
        for &member in members {
            self.on_member(now, member, events);
        }
    }

    fn on_member(&mut self, now: Instant, member: &Member, events: &mut Vec<PeerEvent>) {
        if self.gone.get(&member.id) == Some(&(member.incarnation, member.heartbeat)) {
            return;
        }
        if !self.admit(now, member.id, member.incarnation, events) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&member.id) else { return };
        if member.incarnation < peer.incarnation {
            return;
        }
        if member.heartbeat > peer.heartbeat {
            // The first value says nothing: it may be years old.
            let is_sign = peer.heartbeat > 0;
            peer.heartbeat = member.heartbeat;
            if is_sign {
                self.on_sign(now, member.id, events);
            }
        }
        let Some(peer) = self.peers.get_mut(&member.id) else { return };
        peer.name.clone_from(&member.name);
        let advertised = &member.advertised;
        peer.http = advertised.http.clone().unwrap_or_default();
        if let Some(digest) = advertised.digest
            && peer.claim.is_none_or(|claim| claim.position <= digest.position)
        {
            peer.claim = Some(digest);
        }
        for (owner, position) in &advertised.have {
            let known = peer.have.entry(*owner).or_insert(*position);
            *known = (*position).max(*known);
        }
        if peer.address != member.mesh_address {
            peer.address.clone_from(&member.mesh_address);
            events.push(PeerEvent::Dial { peer: member.id, address: member.mesh_address.clone() });
        }
        if advertised.leaving {
            self.on_bye(now, member.id, member.incarnation, events);
        }
    }

    /// A node proved itself on a link, ours or its own.
    ///
    /// False when it is an older life than the one that is known, or a forgotten one, or there is no room for it.
    pub(super) fn on_hello(
        &mut self,
        now: Instant,
        id: NodeId,
        incarnation: u64,
        name: &str,
        events: &mut Vec<PeerEvent>,
    ) -> bool {
        if !self.admit(now, id, incarnation, events) {
            return false;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        if incarnation < peer.incarnation {
            return false;
        }
        name.clone_into(&mut peer.name);
        self.on_sign(now, id, events);
        true
    }

    /// Makes sure that the peer is known with at least this incarnation. False when it is not to be known.
    fn admit(&mut self, now: Instant, id: NodeId, incarnation: u64, events: &mut Vec<PeerEvent>) -> bool {
        if id == self.me || self.forgotten.refuses(id, incarnation) {
            return false;
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            if peer.incarnation < incarnation {
                peer.restart(incarnation, now);
                events.push(PeerEvent::Restarted { peer: id, incarnation });
            }
            return true;
        }
        if self.peers.len() >= PEERS_MAX {
            // Whoever is here goes before whoever is gone.
            let gone = self.peers.iter().filter_map(|(id, peer)| Some((peer.gone_since?, *id)));
            let Some((_, longest_gone)) = gone.min() else { return false };
            self.remove_gone(longest_gone);
            events.push(PeerEvent::Expired { peer: longest_gone });
        }
        self.gone.remove(&id);
        self.peers.insert(id, Peer::new(incarnation, now));
        events.push(PeerEvent::Restarted { peer: id, incarnation });
        true
    }

    /// Something arrived from the peer.
    pub(super) fn on_sign(&mut self, now: Instant, id: NodeId, events: &mut Vec<PeerEvent>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.last_sign = now.max(peer.last_sign);
        if peer.is_down && !peer.has_left {
            (peer.is_down, peer.gone_since) = (false, None);
            events.push(PeerEvent::Back { peer: id });
        }
    }

    /// The control link that this node dialed is up, while its own log stands at `ours`.
    pub(super) fn on_link_up(&mut self, id: NodeId, ours: Position) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        (peer.link_up, peer.has_ours, peer.have_theirs) = (true, false, false);
        (peer.ours_at_link_up, peer.acked) = (ours, Position::NONE);
        peer.link_error = None;
    }

    /// The control link is gone or could not be made.
    pub(super) fn on_link_down(&mut self, id: NodeId, error: String) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.link_up = false;
        peer.link_error = Some(error);
    }

    /// The peer has this node's routes up to `position` of `ours`, as it says on a link or by gossip.
    pub(super) fn on_ack(
        &mut self,
        id: NodeId,
        position: Position,
        ours: Position,
        events: &mut Vec<PeerEvent>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.acked = peer.acked.max(position);
        if ours <= position {
            self.on_told(id, events);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.link_up && peer.ours_at_link_up <= position && !peer.has_ours {
            peer.has_ours = true;
            self.check_live(id, events);
        }
    }

    /// The peer has this node's whole table, or is being sent it because it asked.
    pub(super) fn on_told(&mut self, id: NodeId, events: &mut Vec<PeerEvent>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.counts && !peer.is_down && !peer.has_left {
            peer.counts = true;
            events.push(PeerEvent::Counts { peer: id });
        }
    }

    /// What the peer says of its own routes, on a link.
    pub(super) fn on_claim(&mut self, id: NodeId, claim: Digest) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.claim.is_none_or(|known| known.position <= claim.position) {
            peer.claim = Some(claim);
        }
    }

    /// The peer's routes are applied here up to `position`.
    pub(super) fn on_applied(&mut self, id: NodeId, position: Position, events: &mut Vec<PeerEvent>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let is_whole = peer.claim.is_some_and(|claim| {
            claim.position.incarnation == peer.incarnation && claim.position <= position
        });
        if is_whole && !peer.have_theirs {
            peer.have_theirs = true;
            self.check_live(id, events);
        }
    }

    fn check_live(&mut self, id: NodeId, events: &mut Vec<PeerEvent>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.state() == PeerState::Live {
            peer.was_live = true;
            events.push(PeerEvent::Live { peer: id });
            self.on_told(id, events);
        }
    }

    /// The peer says goodbye in this life.
    pub(super) fn on_bye(&mut self, now: Instant, id: NodeId, incarnation: u64, events: &mut Vec<PeerEvent>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.incarnation == incarnation && !peer.has_left {
            (peer.has_left, peer.counts) = (true, false);
            peer.gone_since = peer.gone_since.or(Some(now));
            events.push(PeerEvent::Left { peer: id });
        }
    }

    /// Looks who is silent for too long. Call it about once per gossip interval.
    pub(super) fn on_tick(&mut self, now: Instant, events: &mut Vec<PeerEvent>) {
        self.forgive_own_pause(now);
        for (id, peer) in &mut self.peers {
            let is_silent = now.saturating_duration_since(peer.last_sign) >= self.dead_after;
            if is_silent && !peer.is_down && !peer.has_left {
                (peer.is_down, peer.was_live, peer.link_up) = (true, false, false);
                (peer.counts, peer.gone_since) = (false, Some(now));
                events.push(PeerEvent::Down { peer: *id });
            }
        }
        self.drop_replaced(events);
        self.drop_expired(now, events);
    }

    /// When this process itself was stopped, the silence in between was not the peers'.
    fn forgive_own_pause(&mut self, now: Instant) {
        let pause = self.last_tick.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last_tick = Some(now);
        if pause * 2 < self.dead_after {
            return;
        }
        for peer in self.peers.values_mut() {
            peer.last_sign = (peer.last_sign + pause).min(now);
            peer.gone_since = peer.gone_since.map(|since| (since + pause).min(now));
        }
    }

    /// A node that was set up anew has a new id at an old address: the id that is down there is no more.
    fn drop_replaced(&mut self, events: &mut Vec<PeerEvent>) {
        let in_use: BTreeSet<String> = self
            .peers
            .values()
            .filter(|peer| !matches!(peer.state(), PeerState::Down | PeerState::Left))
            .map(|peer| peer.address.clone())
            .collect();
        let replaced: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(_, peer)| matches!(peer.state(), PeerState::Down | PeerState::Left))
            .filter(|(_, peer)| !peer.address.is_empty() && in_use.contains(&peer.address))
            .map(|(id, _)| *id)
            .collect();
        for id in replaced {
            self.remove_gone(id);
            events.push(PeerEvent::Replaced { peer: id });
        }
    }

    /// Nobody waits for ever for a peer that went.
    fn drop_expired(&mut self, now: Instant, events: &mut Vec<PeerEvent>) {
        let Some(autoclean) = self.autoclean else { return };
        let is_over = |since: Instant| autoclean <= now.saturating_duration_since(since);
        let expired: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.gone_since.is_some_and(is_over))
            .map(|(id, _)| *id)
            .collect();
        for id in expired {
            self.remove_gone(id);
            events.push(PeerEvent::Expired { peer: id });
        }
    }

    /// Takes a peer out that is not heard of, and remembers what gossip will still repeat of it.
    fn remove_gone(&mut self, id: NodeId) {
        let Some(peer) = self.peers.remove(&id) else { return };
        if self.gone.len() >= PEERS_MAX {
            self.gone.pop_first();
        }
        self.gone.insert(id, (peer.incarnation, peer.heartbeat));
    }

    /// An operator, here or anywhere, had this node forgotten. True when that is news.
    pub(super) fn forget(&mut self, floor: Floor, events: &mut Vec<PeerEvent>) -> bool {
        let (id, incarnation) = floor;
        if id == self.me || !self.forgotten.insert(floor) {
            return false;
        }
        if self.peers.get(&id).is_some_and(|peer| peer.incarnation <= incarnation) {
            self.peers.remove(&id);
        }
        events.push(PeerEvent::Forgotten { peer: id, floor: incarnation });
        true
    }

    /// The forgotten nodes.
    pub(super) fn forgotten(&self) -> &Forgotten {
        &self.forgotten
    }

    /// Peers in a state.
    pub(super) fn count(&self, state: PeerState) -> usize {
        self.peers.values().filter(|peer| peer.state() == state).count()
    }

    /// Whether every peer that shows signs of life is in step with this node.
    pub(super) fn all_synced(&self) -> bool {
        self.peers
            .values()
            .all(|peer| matches!(peer.state(), PeerState::Live | PeerState::Down | PeerState::Left))
    }

    /// Whether every peer that was ever live is so now, or is gone.
    pub(super) fn none_half_synced(&self) -> bool {
        self.peers.values().all(|peer| !peer.link_up || peer.state() != PeerState::Joining)
    }
}

#[cfg(test)]
mod tests;
