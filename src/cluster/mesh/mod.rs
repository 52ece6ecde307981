//! The cluster's state and what each event does to it. Its methods do not wait: links, listener and ticker
//! call them, and none calls out while it holds a lock.

mod links;
mod peering;
mod readiness;
mod replication;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Inbound;
use super::link::{Credentials, Link};
use super::node_id::NodeId;
use super::peers::Peers;
use super::reach::Barriers;
use super::routes::{Digest, Routes};
use super::settings::{Identity, Settings};
use super::sync::{self, AntiEntropy};
use crate::metrics::{Metrics, ReasonLabel};
use crate::net::clock::now;
use crate::tasks::Tasks;

/// The pause between two warnings about strangers.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// Everything that the links share.
///
/// Where two locks are held at once, the order is `state`, then `routes`.
pub(in crate::cluster) struct Mesh {
    /// For the tasks that this spawns.
    this: Weak<Mesh>,
    pub(in crate::cluster) settings: Settings,
    pub(in crate::cluster) identity: Identity,
    pub(in crate::cluster) credentials: Credentials,
    pub(in crate::cluster) metrics: Arc<Metrics>,
    pub(in crate::cluster) tasks: Tasks,
    /// Cancelled when this cluster stops, also without the rest of the node.
    pub(in crate::cluster) stop: CancellationToken,
    pub(in crate::cluster) inbound: OnceLock<Arc<dyn Inbound>>,
    pub(in crate::cluster) routes: RwLock<Routes>,
    state: Mutex<State>,
    links: Mutex<BTreeMap<NodeId, Arc<Link>>>,
    /// The same links by the route table's index of the node, for the hot path.
    by_index: ArcSwap<Vec<Option<Arc<Link>>>>,
    barriers_changed: Notify,
    sync_changed: Notify,
    message_seq: AtomicU64,
    warned_at: Mutex<Option<Instant>>,
    /// The peers that the lag metric has a series for.
    shown_lags: Mutex<BTreeSet<String>>,
    started_at: Instant,
    membership_started: AtomicBool,
    is_leaving: AtomicBool,
    /// The cluster says that this life of this node is over.
    is_forgotten: AtomicBool,
    was_ready: AtomicBool,
}

/// What changes together.
struct State {
    peers: Peers,
    barriers: Barriers,
    sync: AntiEntropy,
}

impl Mesh {
    pub(in crate::cluster) fn new(
        settings: Settings,
        identity: Identity,
        credentials: Credentials,
        tasks: Tasks,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let (me, incarnation) = (identity.id, identity.incarnation);
        let state = State {
            peers: Peers::new(me, settings.dead_after, settings.autoclean),
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
            warned_at: Mutex::default(),
            shown_lags: Mutex::default(),
            started_at: now(),
            membership_started: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            is_forgotten: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
        })
    }

    pub(in crate::cluster) fn me(&self) -> NodeId {
        self.identity.id
    }

    /// Counts something that was refused.
    pub(in crate::cluster) fn count_rejected(&self, reason: &'static str) {
        self.metrics.cluster_rejected.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Whether it is time for another warning about strangers; they decide how often they come.
    pub(in crate::cluster) fn may_warn(&self) -> bool {
        let now = now();
        let mut warned_at = self.warned_at.lock();
        let may = warned_at.is_none_or(|last| WARNING_PAUSE <= now.saturating_duration_since(last));
        if may {
            *warned_at = Some(now);
        }
        may
    }

    pub(in crate::cluster) fn own_digest(&self) -> Digest {
        let routes = self.routes.read();
        let nothing = Digest { position: routes.own_position(), count: 0, hash: 0 };
        routes.digest(self.me()).unwrap_or(nothing)
    }

    pub(in crate::cluster) fn next_message_seq(&self) -> u64 {
        self.message_seq.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Messages to a peer that it has not acknowledged.
    pub(in crate::cluster) fn unacked(&self, peer: NodeId) -> u64 {
        self.known_link(peer).map_or(0, |link| link.outbox.with(|buffer| buffer.unacked()))
    }

    /// Whether a message with so many bytes of topic, and no more, finds no room on its way to a peer.
    pub(in crate::cluster) fn is_outbox_full(&self, peer: NodeId, topic_len: usize) -> bool {
        self.known_link(peer).is_some_and(|link| link.outbox.with(|buffer| buffer.is_full_for(topic_len)))
    }

    /// Runs a look at the peers.
    pub(in crate::cluster) fn with_peers<T>(&self, look: impl FnOnce(&Peers) -> T) -> T {
        look(&self.state.lock().peers)
    }
}
