//! Anti-entropy: compares what peers claim to have of each owner's log with what the table has, and decides what to
//! pull from whom. Sans-io.
//!
//! Pushes do the daily work; this finds what they lost. It acts only when a lag lasts, asks the owner while there is a
//! link to it, else whichever peer is furthest, and has at most one pull in flight per owner.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::node_id::NodeId;
use super::routes::{Digest, Position, Routes};

/// How patient anti-entropy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a lag must last without progress before it is pulled; until then the push link may deliver.
    pub lag_grace: Duration,
    /// How long a pull may go without anything of its answer arriving.
    pub pull_timeout: Duration,
    /// Pause before a peer that failed is asked again; doubles with each failure.
    pub retry_min: Duration,
    /// The longest such pause.
    pub retry_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lag_grace: Duration::from_millis(200),
            pull_timeout: Duration::from_secs(2),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(5),
        }
    }
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a `Pull` frame to this peer.
    Pull {
        /// Whom to ask; there is a link to it.
        from: NodeId,
        /// Whose log.
        owner: NodeId,
        /// What this table has. `None`: the contents disagree with the owner's digest at the same position, which is a
        /// bug; raise the alarm, count it, and ask for a snapshot.
        since: Option<Position>,
    },
}

/// What one peer was heard to claim.
#[derive(Debug, Default)]
struct Peer {
    linked: bool,
    own: Option<Digest>,
    have: BTreeMap<NodeId, Position>,
}

/// One owner of whose log this table lacks something.
#[derive(Debug)]
struct Lag {
    /// What the table had when it was last looked at.
    seen: Position,
    /// Since when there has been no progress; `None`: the last pull brought some, so go on at once.
    stuck_since: Option<Instant>,
    pull: Option<Pull>,
    failures: BTreeMap<NodeId, Failures>,
    /// When to look again if nothing happens before.
    wake: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Pull {
    from: NodeId,
    deadline: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// The state of anti-entropy of one node.
#[derive(Debug)]
pub struct AntiEntropy {
    me: NodeId,
    settings: Settings,
    peers: BTreeMap<NodeId, Peer>,
    lags: BTreeMap<NodeId, Lag>,
    /// Something changed since the last look; the time of the change.
    changed: Option<Instant>,
}

impl AntiEntropy {
    /// Nothing is known of any peer.
    #[must_use]
    pub fn new(me: NodeId, settings: Settings) -> Self {
        Self { me, settings, peers: BTreeMap::new(), lags: BTreeMap::new(), changed: None }
    }

    /// Frames can, or can no longer, be exchanged with a peer.
    pub fn on_link(&mut self, now: Instant, peer: NodeId, up: bool) {
        self.peers.entry(peer).or_default().linked = up;
        // A new link is a new chance: after a heal nobody waits for the pauses of the time before it.
        for lag in self.lags.values_mut() {
            lag.failures.remove(&peer);
        }
        self.changed = Some(now);
    }

    /// The digest of a peer's own routes, from the peer itself. An older one than known is ignored.
    pub fn on_digest(&mut self, now: Instant, peer: NodeId, own: Digest) {
        let known = &mut self.peers.entry(peer).or_default().own;
        if known.is_none_or(|known| known.position <= own.position) {
            *known = Some(own);
            self.changed = Some(now);
        }
    }

    /// What a peer claims to have of other owners' logs; takes the place of what it claimed before.
    pub fn on_claims(&mut self, now: Instant, peer: NodeId, have: &[(NodeId, Position)]) {
        self.peers.entry(peer).or_default().have = have.iter().copied().collect();
        self.changed = Some(now);
    }

    /// A single claim beside the others: what a delta that left a gap showed to exist.
    pub fn on_claim(&mut self, now: Instant, peer: NodeId, owner: NodeId, position: Position) {
        let claim = self.peers.entry(peer).or_default().have.entry(owner).or_insert(position);
        *claim = position.max(*claim);
        self.changed = Some(now);
    }

    /// The peer left the membership: what it claimed counts no more.
    pub fn on_gone(&mut self, now: Instant, peer: NodeId) {
        self.peers.remove(&peer);
        self.changed = Some(now);
    }

    /// The table took something of an owner's log, or a chunk of a snapshot arrived.
    pub fn on_progress(&mut self, now: Instant, owner: NodeId) {
        let timeout = self.settings.pull_timeout;
        if let Some(lag) = self.lags.get_mut(&owner) {
            if let Some(pull) = &mut lag.pull {
                pull.deadline = now + timeout;
            }
            self.changed = Some(now);
        }
    }

    /// A peer refused a pull, or its answer was of no use.
    pub fn on_refused(&mut self, now: Instant, from: NodeId, owner: NodeId) {
        if from != owner
            && let Some(peer) = self.peers.get_mut(&from)
        {
            peer.have.remove(&owner);
        }
        if let Some(lag) = self.lags.get_mut(&owner)
            && lag.pull.is_some_and(|pull| pull.from == from)
        {
            lag.fail(now, from);
        }
        self.changed = Some(now);
    }

    /// When [`AntiEntropy::on_timeout`] is to be called; after any other input this may have come nearer.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let wakes = self.lags.values().filter_map(|lag| lag.wake);
        wakes.chain(self.changed).min()
    }

    /// Compares and decides. Cheap when nothing lags, so it may be called more often than asked for.
    pub fn on_timeout(&mut self, now: Instant, routes: &Routes, actions: &mut Vec<Action>) {
        self.changed = None;
        let claimed = self.peers.values().flat_map(|peer| peer.have.keys());
        let owners: BTreeSet<NodeId> =
            claimed.chain(self.peers.keys()).chain(self.lags.keys()).copied().collect();
        for owner in owners {
            if owner != self.me {
                actions.extend(self.look_at(now, owner, routes));
            }
        }
    }

    /// Changes of an owner's log that exist and are not in the table; at least 1 when a whole life is missing.
    #[must_use]
    pub fn lag(&self, owner: NodeId, routes: &Routes) -> u64 {
        let have = routes.position(owner).unwrap_or(Position::NONE);
        let target = self.target(owner);
        if target <= have {
            0
        } else if target.incarnation == have.incarnation {
            target.seq - have.seq
        } else {
            target.seq.max(1)
        }
    }

    /// The furthest position of an owner's log that anyone claims to have.
    fn target(&self, owner: NodeId) -> Position {
        let own = self.peers.get(&owner).and_then(|peer| peer.own).map(|digest| digest.position);
        let claims = self.peers.values().filter_map(|peer| peer.have.get(&owner).copied());
        claims.chain(own).max().unwrap_or(Position::NONE)
    }

    fn look_at(&mut self, now: Instant, owner: NodeId, routes: &Routes) -> Option<Action> {
        let have = routes.position(owner).unwrap_or(Position::NONE);
        let own = self.peers.get(&owner).and_then(|peer| peer.own);
        let is_wrong = own.is_some_and(|own| own.position == have && routes.digest(owner) != Some(own));
        let is_behind = have < self.target(owner);
        if routes.is_forgotten(owner) || !(is_behind || is_wrong) {
            self.lags.remove(&owner);
            return None;
        }

        let lag = self.lags.entry(owner).or_insert_with(|| Lag::new(now, have));
        lag.note_progress(now, have);
        if let Some(pull) = lag.pull {
            let linked = self.peers.get(&pull.from).is_some_and(|peer| peer.linked);
            if linked && now < pull.deadline {
                lag.wake = Some(pull.deadline);
                return None;
            }
            lag.fail(now, pull.from);
        }
        lag.wake = None;

        let grace = if is_wrong { Duration::ZERO } else { self.settings.lag_grace };
        if let Some(start) = lag.stuck_since.map(|since| since + grace).filter(|&start| now < start) {
            lag.wake = Some(start);
            return None;
        }
        let (from, failures) = choose(&self.peers, lag, owner, have, is_wrong)?;
        if let Some(start) =
            failures.map(|failures| self.settings.retry_at(failures)).filter(|&start| now < start)
        {
            lag.wake = Some(start);
            return None;
        }
        let deadline = now + self.settings.pull_timeout;
        lag.pull = Some(Pull { from, deadline });
        lag.wake = Some(deadline);
        Some(Action::Pull { from, owner, since: (!is_wrong).then_some(have) })
    }
}

/// The linked peer to ask: the one that failed least, of those the owner, then the one that is furthest.
fn choose(
    peers: &BTreeMap<NodeId, Peer>,
    lag: &Lag,
    owner: NodeId,
    have: Position,
    owner_only: bool,
) -> Option<(NodeId, Option<Failures>)> {
    let candidates = peers.iter().filter(|(_, peer)| peer.linked).filter_map(|(&id, peer)| {
        if id == owner {
            // The owner has everything that anybody claims to have of it.
            return Some((id, Position { incarnation: u64::MAX, seq: u64::MAX }));
        }
        let claimed = *peer.have.get(&owner)?;
        (!owner_only && have < claimed).then_some((id, claimed))
    });
    let (id, _) = candidates.min_by_key(|&(id, claimed)| {
        (lag.failures.get(&id).map_or(0, |failures| failures.count), Reverse(claimed), id)
    })?;
    Some((id, lag.failures.get(&id).copied()))
}

impl Lag {
    fn new(now: Instant, have: Position) -> Self {
        Self { seen: have, stuck_since: Some(now), pull: None, failures: BTreeMap::new(), wake: None }
    }

    fn note_progress(&mut self, now: Instant, have: Position) {
        if self.seen == have {
            return;
        }
        self.seen = have;
        self.failures.clear();
        // Whatever brought it, the pull that was made for the older position is answered or of no use any longer.
        let was_pulled = self.pull.take().is_some();
        self.stuck_since = (!was_pulled).then_some(now);
    }

    fn fail(&mut self, now: Instant, from: NodeId) {
        self.pull = None;
        let failures = self.failures.entry(from).or_insert(Failures { count: 0, last: now });
        *failures = Failures { count: failures.count.saturating_add(1), last: now };
    }
}

impl Settings {
    fn retry_at(&self, failures: Failures) -> Instant {
        let doublings = failures.count.saturating_sub(1).min(16);
        failures.last + self.retry_min.saturating_mul(1 << doublings).min(self.retry_max)
    }
}
