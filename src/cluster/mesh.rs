//! The cluster's state and what each event does to it. Its methods do not wait: links, listener and ticker
//! call them, and none calls out while it holds a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Inbound;
use super::frame::{Control, decode_control};
use super::link::{Credentials, Hello, Link, Pull};
use super::membership::Member;
use super::node_id::NodeId;
use super::peers::{PEER_STATES, PeerEvent, PeerState, Peers};
use super::reach::{Barriers, Done, Ended};
use super::routes::{Applied, Delta, Digest, NodeIdx, Position, RouteKey, Routes, Snapshot};
use super::settings::{Identity, Settings, SubackMode};
use super::sync::{self, Action, AntiEntropy};
use crate::metrics::{DropReason, Metrics, PeerLabel, ReasonLabel, StateLabel};
use crate::net::clock::now;
use crate::tasks::Tasks;

/// Everything that the links share.
///
/// Where two locks are held at once, the order is `state`, then `routes`.
pub(super) struct Mesh {
    /// For the tasks that this spawns.
    this: Weak<Mesh>,
    pub(super) settings: Settings,
    pub(super) identity: Identity,
    pub(super) credentials: Credentials,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tasks: Tasks,
    /// Cancelled when this cluster stops, also without the rest of the node.
    pub(super) stop: CancellationToken,
    pub(super) inbound: OnceLock<Arc<dyn Inbound>>,
    pub(super) routes: RwLock<Routes>,
    state: Mutex<State>,
    links: Mutex<BTreeMap<NodeId, Arc<Link>>>,
    /// The same links by the route table's index of the node, for the hot path.
    by_index: ArcSwap<Vec<Option<Arc<Link>>>>,
    barriers_changed: Notify,
    sync_changed: Notify,
    message_seq: AtomicU64,
    started_at: Instant,
    membership_started: AtomicBool,
    is_leaving: AtomicBool,
    was_ready: AtomicBool,
}

/// What changes together.
struct State {
    peers: Peers,
    barriers: Barriers,
    sync: AntiEntropy,
}

impl Mesh {
    pub(super) fn new(
        settings: Settings,
        identity: Identity,
        credentials: Credentials,
        tasks: Tasks,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let (me, incarnation) = (identity.id, identity.incarnation);
        let state = State {
            peers: Peers::new(me, settings.dead_after),
            barriers: Barriers::default(),
            sync: AntiEntropy::new(me, sync::Settings::default()),
        };
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            routes: RwLock::new(Routes::new(me, incarnation, settings.route_log_max)),
            stop: tasks.stopping().child_token(),
            settings,
            identity,
            credentials,
            metrics,
            tasks,
            inbound: OnceLock::new(),
            state: Mutex::new(state),
            links: Mutex::new(BTreeMap::new()),
            by_index: ArcSwap::default(),
            barriers_changed: Notify::new(),
            sync_changed: Notify::new(),
            message_seq: AtomicU64::new(0),
            started_at: now(),
            membership_started: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
        })
    }

    pub(super) fn me(&self) -> NodeId {
        self.identity.id
    }

    /// Counts something that was refused.
    pub(super) fn count_rejected(&self, reason: &'static str) {
        self.metrics.cluster_rejected.get_or_create(&ReasonLabel { reason }).inc();
    }

    // Own routes and their barriers.

    pub(super) fn advertise(&self, key: &RouteKey) -> Position {
        let position = self.routes.write().advertise(key);
        self.wake_control();
        position
    }

    pub(super) fn withdraw(&self, key: &RouteKey) -> Position {
        let position = self.routes.write().withdraw(key);
        self.wake_control();
        position
    }

    fn wake_control(&self) {
        for link in self.by_index.load().iter().flatten() {
            link.wake_control();
        }
    }

    pub(super) fn reach(&self, position: Position, done: Done) {
        if self.settings.suback == SubackMode::Local {
            done(Default::default());
            return;
        }
        let deadline = now() + self.settings.suback_timeout;
        let (ended, is_first) = {
            let barriers = &mut self.state.lock().barriers;
            let nobody_waited = barriers.deadline().is_none();
            let ended = barriers.wait(position, deadline, done);
            (ended, nobody_waited && barriers.deadline().is_some())
        };
        if is_first {
            self.barriers_changed.notify_one();
        }
        ended.run();
    }

    /// Ends barriers whose time is up, until the cluster stops.
    pub(super) async fn run_barrier_timer(&self) {
        loop {
            let deadline = self.state.lock().barriers.deadline();
            let sleep = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {
                    let ended = self.state.lock().barriers.on_timeout(now());
                    self.end(ended);
                }
                () = self.barriers_changed.notified() => {}
                () = self.stop.cancelled() => break,
            }
        }
        let ended = self.state.lock().barriers.finish_all();
        ended.run();
    }

    fn end(&self, ended: Ended) {
        let incomplete = ended.incomplete() as u64;
        if 0 < incomplete {
            self.metrics.suback_timeouts.inc_by(incomplete);
        }
        ended.run();
    }

    // What links and gossip tell.

    /// A node proved itself. False when it is not to be talked to.
    pub(super) fn on_hello(&self, hello: &Hello) -> bool {
        self.change_peers(|peers, events| {
            peers.on_hello(now(), hello.node, hello.incarnation, &hello.name, events)
        })
    }

    /// The dialed control stream is up, and the peer says this of its own routes.
    pub(super) fn on_link_up(&self, peer: NodeId, claim: Digest) {
        let ours = self.own_digest().position;
        self.change_peers(|peers, _| peers.on_link_up(peer, ours));
        self.state.lock().sync.on_link(now(), peer, true);
        self.on_claim(peer, claim);
    }

    /// The dialed control stream ended, or could not be made.
    pub(super) fn on_link_down(&self, peer: NodeId, error: String) {
        self.change_peers(|peers, _| peers.on_link_down(peer, error));
        self.state.lock().sync.on_link(now(), peer, false);
        self.sync_changed.notify_one();
    }

    /// Something arrived from the peer.
    pub(super) fn on_sign(&self, peer: NodeId) {
        self.change_peers(|peers, events| peers.on_sign(now(), peer, events));
    }

    pub(super) fn on_bye(&self, peer: NodeId, incarnation: u64) {
        self.change_peers(|peers, events| peers.on_bye(peer, incarnation, events));
    }

    /// The peer has this node's routes up to `position`.
    pub(super) fn on_route_ack(&self, peer: NodeId, position: Position) {
        let mut events = Vec::new();
        let ended = {
            let mut state = self.state.lock();
            state.peers.on_ack(peer, position, &mut events);
            let mut ended = state.barriers.on_ack(peer, position);
            ended.append(state.on_events(&events));
            ended
        };
        self.end(ended);
        self.on_events(events);
    }

    /// What the peer says of its own routes.
    pub(super) fn on_claim(&self, peer: NodeId, claim: Digest) {
        let have = self.routes.read().position(peer);
        self.change_peers(|peers, events| {
            peers.on_claim(peer, claim);
            if let Some(have) = have {
                peers.on_applied(peer, have, events);
            }
        });
        self.state.lock().sync.on_digest(now(), peer, claim);
        self.sync_changed.notify_one();
    }

    /// A piece of some owner's log arrived, whichever way.
    pub(super) fn on_delta(&self, delta: &Delta) {
        let applied = self.routes.write().on_delta(delta);
        self.on_applied(delta.owner, applied);
    }

    /// A whole table of some owner arrived.
    pub(super) fn on_snapshot(&self, snapshot: &Snapshot) {
        let applied = self.routes.write().on_snapshot(snapshot);
        self.on_applied(snapshot.owner, applied);
    }

    fn on_applied(&self, owner: NodeId, applied: Applied) {
        let position = match applied {
            Applied::Advanced(position) | Applied::Duplicate(position) => position,
            // Anti-entropy compares claims and table by itself, so a gap needs no message.
            Applied::Gap { .. } | Applied::Stale | Applied::Own | Applied::Forgotten | Applied::Full => {
                return;
            }
        };
        self.change_peers(|peers, events| peers.on_applied(owner, position, events));
        if matches!(applied, Applied::Advanced(_)) {
            self.on_pull_progress(owner);
            if let Some(link) = self.known_link(owner) {
                link.wake_answers();
            }
        }
    }

    /// A part of what was pulled arrived.
    pub(super) fn on_pull_progress(&self, owner: NodeId) {
        let mut state = self.state.lock();
        state.sync.on_progress(now(), owner);
        if state.sync.deadline().is_some() {
            self.sync_changed.notify_one();
        }
    }

    pub(super) fn on_pull_refused(&self, peer: NodeId, owner: NodeId) {
        self.state.lock().sync.on_refused(now(), peer, owner);
        self.sync_changed.notify_one();
    }

    /// Pulls what pushes lost, until the cluster stops.
    pub(super) async fn run_sync(&self) {
        loop {
            let deadline = self.state.lock().sync.deadline();
            let sleep = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.look_for_lags(),
                () = self.sync_changed.notified() => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    fn look_for_lags(&self) {
        let mut actions = Vec::new();
        {
            let mut state = self.state.lock();
            let routes = self.routes.read();
            state.sync.on_timeout(now(), &routes, &mut actions);
        }
        for Action::Pull { from, owner, since } in actions {
            let kind = if since.is_some() { "pull" } else { "digest" };
            self.metrics.cluster_repairs.get_or_create(&ReasonLabel { reason: kind }).inc();
            if since.is_none() {
                error!(owner = %owner.short(), "routes differ from their owner's at the same position");
            }
            if let Some(link) = self.known_link(from) {
                link.pull(Pull { owner, since });
            }
        }
    }

    /// One look at everything, each gossip round.
    pub(super) fn on_round(&self, members: &[Member]) {
        self.membership_started.store(true, Ordering::Release);
        let now = now();
        self.change_peers(|peers, events| {
            peers.on_members(now, members, events);
            peers.on_tick(now, events);
        });
        for member in members {
            self.take_gossiped_routes(member);
        }
        self.feed_sync(now);
        self.update_masks();
        self.update_metrics();
    }

    /// Routes travel by gossip too, for the time that two nodes cannot connect to each other.
    fn take_gossiped_routes(&self, member: &Member) {
        let mut deltas: Vec<Delta> = Vec::new();
        for bytes in &member.advertised.recent {
            match decode_control(bytes) {
                Ok(Control::Delta(delta)) if delta.owner == member.id => deltas.push(delta),
                _ => self.count_rejected("gossip_delta"),
            }
        }
        deltas.sort_by_key(|delta| delta.since);
        for delta in deltas {
            let have = self.routes.read().position(delta.owner).unwrap_or(Position::NONE);
            let is_next = delta.since <= have && have < delta.end();
            if is_next || (have.incarnation < delta.since.incarnation && delta.since.seq == 0) {
                self.on_delta(&delta);
            }
        }
        if let Some(digest) = member.advertised.digest {
            self.on_claim(member.id, digest);
        }
        let acked = member.advertised.have.iter().find(|(owner, _)| *owner == self.me());
        if let Some((_, position)) = acked {
            self.on_route_ack(member.id, *position);
        }
    }

    fn feed_sync(&self, now: Instant) {
        let mut state = self.state.lock();
        let State { peers, sync, .. } = &mut *state;
        for (id, peer) in peers.iter() {
            let have: Vec<(NodeId, Position)> =
                peer.have.iter().map(|(owner, position)| (*owner, *position)).collect();
            sync.on_claims(now, id, &have);
        }
        drop(state);
        self.sync_changed.notify_one();
    }

    /// Events set the masks at once; this makes sure that they never stay wrong.
    fn update_masks(&self) {
        let states: Vec<(NodeId, bool)> = {
            let state = self.state.lock();
            state.peers.iter().map(|(id, peer)| (id, is_usable(peer.state()))).collect()
        };
        for (peer, live) in states {
            let is_right = self.routes.read().is_live(peer) == live;
            if !is_right {
                self.set_live(peer, live);
            }
        }
    }

    fn update_metrics(&self) {
        let metrics = &self.metrics;
        let mut lags = Vec::new();
        {
            let state = self.state.lock();
            let routes = self.routes.read();
            for peer_state in PEER_STATES {
                let label = StateLabel { state: peer_state.as_str() };
                metrics.cluster_peers.get_or_create(&label).set(state.peers.count(peer_state) as i64);
            }
            for (id, _) in state.peers.iter() {
                lags.push((id, state.sync.lag(id, &routes)));
            }
            metrics.routes.set(routes.len() as i64);
        }
        for (peer, lag) in lags {
            let label = PeerLabel { peer: peer.short() };
            metrics.cluster_route_lag.get_or_create(&label).set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
    }

    /// Runs a change of the peers, then what follows from it.
    fn change_peers<T>(&self, change: impl FnOnce(&mut Peers, &mut Vec<PeerEvent>) -> T) -> T {
        let mut events = Vec::new();
        let (result, ended) = {
            let mut state = self.state.lock();
            let result = change(&mut state.peers, &mut events);
            (result, state.on_events(&events))
        };
        self.end(ended);
        self.on_events(events);
        result
    }

    fn on_events(&self, events: Vec<PeerEvent>) {
        for event in events {
            self.on_event(event);
        }
    }

    fn on_event(&self, event: PeerEvent) {
        match event {
            PeerEvent::Dial { peer, address } => self.link(peer).dial(address),
            PeerEvent::Restarted { peer, incarnation } => {
                info!(peer = %peer.short(), incarnation, "peer known");
                self.link(peer).restart_connections();
                self.set_live(peer, true);
                self.routes.write().on_incarnation(peer, incarnation);
            }
            PeerEvent::Live { peer } => {
                info!(peer = %peer.short(), "peer live");
                self.set_live(peer, true);
            }
            PeerEvent::Back { peer } => {
                info!(peer = %peer.short(), "peer back");
                self.set_live(peer, true);
            }
            PeerEvent::Down { peer } => {
                warn!(peer = %peer.short(), "peer down");
                self.set_live(peer, false);
                self.give_up_outbox(peer);
                self.link(peer).restart_connections();
            }
            PeerEvent::Left { peer } => {
                info!(peer = %peer.short(), "peer left");
                self.set_live(peer, false);
                self.link(peer).hang_up();
            }
            PeerEvent::Replaced { peer } => {
                info!(peer = %peer.short(), "peer replaced at its address");
                self.remove_link(peer);
                self.routes.write().forget(peer);
            }
        }
    }

    /// Masks or unmasks a peer's routes, and keeps the table of links by index right.
    fn set_live(&self, peer: NodeId, live: bool) {
        let index = {
            let mut routes = self.routes.write();
            routes.set_live(peer, live);
            routes.index(peer)
        };
        if live && let Some(index) = index {
            self.place_link(index, Some(self.link(peer)));
        }
    }

    fn place_link(&self, index: NodeIdx, link: Option<Arc<Link>>) {
        self.by_index.rcu(|links| {
            let mut links = Vec::clone(links);
            if links.len() <= index.index() {
                links.resize(index.index() + 1, None);
            }
            links[index.index()].clone_from(&link);
            links
        });
    }

    /// The links by the route table's index of their nodes.
    pub(super) fn links_by_index(&self) -> arc_swap::Guard<Arc<Vec<Option<Arc<Link>>>>> {
        self.by_index.load()
    }

    /// The link to a peer; made when there is none yet.
    pub(super) fn link(&self, peer: NodeId) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&peer) {
            return Arc::clone(link);
        }
        let bytes_max = self.settings.link_buffer_bytes;
        let link = Arc::new(Link::new(peer, bytes_max, rand::random(), self.stop.child_token()));
        links.insert(peer, Arc::clone(&link));
        if let Some(this) = self.this.upgrade() {
            link.spawn(&this);
        }
        link
    }

    fn known_link(&self, peer: NodeId) -> Option<Arc<Link>> {
        self.links.lock().get(&peer).cloned()
    }

    fn remove_link(&self, peer: NodeId) {
        let link = self.links.lock().remove(&peer);
        let index = self.routes.read().index(peer);
        if let Some(index) = index {
            self.place_link(index, None);
        }
        if let Some(link) = link {
            link.stop();
            self.drop_buffered(&link);
        }
        self.state.lock().sync.on_gone(now(), peer);
    }

    /// Drops what waits for a peer that is not coming back soon.
    pub(super) fn give_up_outbox(&self, peer: NodeId) {
        if let Some(link) = self.known_link(peer) {
            self.drop_buffered(&link);
        }
    }

    fn drop_buffered(&self, link: &Link) {
        let dropped = link.outbox.with(|buffer| buffer.clear());
        link.outbox.wake();
        if 0 < dropped {
            warn!(peer = %link.peer.short(), messages = dropped, "unacknowledged messages given up");
            self.metrics.dropped(DropReason::PeerDown).inc_by(dropped);
        }
    }

    pub(super) fn own_digest(&self) -> Digest {
        let routes = self.routes.read();
        let nothing = Digest { position: routes.own_position(), count: 0, hash: 0 };
        routes.digest(self.me()).unwrap_or(nothing)
    }

    pub(super) fn next_message_seq(&self) -> u64 {
        self.message_seq.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Messages to a peer that it has not acknowledged.
    pub(super) fn unacked(&self, peer: NodeId) -> u64 {
        self.known_link(peer).map_or(0, |link| link.outbox.with(|buffer| buffer.unacked()))
    }

    // Readiness and leaving.

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    pub(super) fn start_leaving(&self) {
        self.is_leaving.store(true, Ordering::Release);
        self.wake_control();
    }

    /// Whether everything that is buffered was acknowledged, and goodbye was said on every link that is up.
    pub(super) fn has_said_everything(&self) -> bool {
        let links: Vec<Arc<Link>> = self.links.lock().values().map(Arc::clone).collect();
        let up: BTreeSet<NodeId> = {
            let state = self.state.lock();
            state.peers.iter().filter(|(_, peer)| peer.link_up).map(|(id, _)| id).collect()
        };
        links
            .iter()
            .filter(|link| up.contains(&link.peer))
            .all(|link| link.has_said_bye() && link.outbox.with(|buffer| buffer.unacked()) == 0)
    }

    /// Whether seeds have had their time to answer.
    pub(super) fn is_grace_over(&self) -> bool {
        self.settings.join_grace <= now().saturating_duration_since(self.started_at)
    }

    /// Whether this node has caught up with the cluster. Once it has, it stays ready until it leaves: a later
    /// partition is no reason to turn clients away, since both sides serve.
    pub(super) fn is_ready(&self, seeds_are_known: bool) -> bool {
        if self.is_leaving() || !self.membership_started.load(Ordering::Acquire) {
            return false;
        }
        if self.was_ready.load(Ordering::Acquire) {
            return true;
        }
        let grace_is_over = self.is_grace_over();
        let state = self.state.lock();
        let is_ready = (seeds_are_known && state.peers.all_synced())
            || (grace_is_over && state.peers.none_half_synced());
        if is_ready {
            self.was_ready.store(true, Ordering::Release);
        }
        is_ready
    }

    /// Runs a look at the peers.
    pub(super) fn with_peers<T>(&self, look: impl FnOnce(&Peers) -> T) -> T {
        look(&self.state.lock().peers)
    }
}

impl State {
    /// Keeps the barriers in step with the peers; runs under the same lock, so that neither can run ahead.
    fn on_events(&mut self, events: &[PeerEvent]) -> Ended {
        let mut ended = Ended::default();
        for event in events {
            match event {
                PeerEvent::Live { peer } => {
                    let acked = self.peers.get(*peer).map_or(Position::NONE, |known| known.acked);
                    ended.append(self.barriers.count(*peer, acked));
                }
                PeerEvent::Restarted { peer, .. }
                | PeerEvent::Down { peer }
                | PeerEvent::Left { peer }
                | PeerEvent::Replaced { peer } => ended.append(self.barriers.discount(*peer)),
                PeerEvent::Dial { .. } | PeerEvent::Back { .. } => {}
            }
        }
        ended
    }
}

/// Whether messages are to be forwarded to a peer in this state; what cannot be sent yet is buffered.
fn is_usable(state: PeerState) -> bool {
    matches!(state, PeerState::Joining | PeerState::Live | PeerState::Suspect)
}
