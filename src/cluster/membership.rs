//! Who is in the cluster and what each node says of itself, learnt by gossip.
//!
//! Membership only: whether a node is alive is decided elsewhere, on heartbeats. Behind [`Membership`] stands
//! chitchat, over our own sealed transport; nothing of it shows, so that it can be replaced.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, spawn_chitchat,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::advertised::{self, RING_KEYS};
use super::envelope::{self, Inspector};
use super::forgotten::Floor;
use super::node_id::NodeId;
use super::routes::{Digest, Position};
use super::seal::{Key, Opener, Sealer};
use super::transport::{Rejection, Rejections, SealedSocket, SealedTransport};
use crate::metrics::Metrics;
use crate::net::mesh::UdpSocket;
use crate::tasks::Tasks;

/// Deltas kept in the gossip ring (`d0`..`d3`).
pub const RECENT_MAX: usize = 4;
/// Longest encoded delta that travels by gossip; longer ones go over the mesh only.
pub const RECENT_BYTES_MAX: usize = 150;

/// What a node says of itself and passes on by gossip. Small: about 1 KB in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// The state of the node's own routes.
    pub digest: Option<Digest>,
    /// How far the node's copies of other nodes' routes are. With many nodes a rotating part of them: merge
    /// what comes, and do not conclude anything from what is missing.
    pub have: Vec<(NodeId, Position)>,
    /// The newest few deltas, encoded, at most [`RECENT_MAX`] of at most [`RECENT_BYTES_MAX`] bytes. Received
    /// ones may be old and in any order.
    pub recent: Vec<Vec<u8>>,
    /// Address of the HTTP interface, `host:port`.
    pub http: Option<String>,
    /// Nodes that are to stay forgotten, with the last life that is refused. With many of them a rotating part.
    pub forgotten: Vec<Floor>,
    /// The node is leaving on purpose: no need to wait for its heartbeat to fail. Never taken back.
    pub leaving: bool,
}

/// One node, as gossip knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Identity.
    pub id: NodeId,
    /// The highest incarnation heard of.
    pub incarnation: u64,
    /// Label, unique by convention only.
    pub name: String,
    /// Where its mesh listener is, `host:port`.
    pub mesh_address: String,
    /// Grows while the node lives. Compare it with itself only.
    pub heartbeat: u64,
    /// What it says of itself.
    pub advertised: Advertised,
}

/// The small part of a gossip library that the cluster needs.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// Every other node that gossip knows, dead ones included for some minutes, each with its highest
    /// incarnation only, by ascending id.
    async fn members(&self) -> Vec<Member>;
    /// Replaces what this node says of itself. What did not change costs nothing; call it at most once per
    /// gossip interval.
    async fn advertise(&self, advertised: Advertised);
    /// Takes part in the gossip of whoever answers at this address, `host:port`, from now on. False when there are
    /// [`JOINED_MAX`] such addresses already.
    async fn join(&self, address: &str) -> bool;
    /// Says goodbye and stops gossiping.
    async fn stop(&self);
}

/// How to take part in gossip.
#[derive(Clone, Debug)]
pub struct GossipSettings {
    /// Nodes of another name are strangers.
    pub cluster_name: String,
    /// UDP address to bind; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where peers reach that address; port 0 stands for the bound one.
    pub advertise: SocketAddr,
    /// Where to find a first peer, `host:port`. Names are resolved again from time to time; the node's own
    /// address does no harm.
    pub seeds: Vec<String>,
    /// Time between two rounds.
    pub interval: Duration,
    /// Seals every datagram; derived for the purpose "gossip".
    pub key: Key,
}

/// Why gossip did not start.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The UDP address could not be bound.
    #[error("cannot bind {listen}/UDP for gossip: {error}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// Peers cannot send to this address.
    #[error("{0} cannot be advertised to peers: name an address that they can reach (cluster.advertise)")]
    Advertise(SocketAddr),
    /// The name of the node or the cluster or the mesh address is too long or empty.
    #[error("{what} must have 1 to {max} bytes")]
    Length {
        /// Which one.
        what: &'static str,
        /// The limit in bytes.
        max: usize,
    },
    /// The gossip library refused to start.
    #[error("gossip did not start: {0}")]
    Start(String),
}

/// Addresses that can be added at run time; they are greeted until the node stops.
pub const JOINED_MAX: usize = 64;
/// Longest name of a node or a cluster, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest mesh or HTTP address: a DNS name, a colon, a port.
pub const ADDRESS_BYTES_MAX: usize = 253 + 6;
/// How long gossip lists a process that fell silent. Long enough to find it again after a short partition,
/// short enough that the earlier lives of a node that restarts in a loop do not pile up.
const DEAD_NODE_GRACE: Duration = Duration::from_secs(180);
/// How long a silent process may be known to chitchat: until its detector notices, then the grace period.
const PROCESS_MEMORY: Duration = Duration::from_secs(2 * 180);
/// Longest gap between two heartbeats that its detector averages.
const HEARTBEAT_GAP_MAX: Duration = Duration::from_secs(10);
/// Between two looks at seeds that are names: often while nobody is known, else to find who moved.
const SEED_INTERVAL_ALONE: Duration = Duration::from_secs(1);
const SEED_INTERVAL: Duration = Duration::from_secs(5);
/// What `stop` gives the goodbye, and then chitchat to end.
const GOODBYE: Duration = Duration::from_millis(300);
const STOP_MAX: Duration = Duration::from_secs(1);

/// Membership by chitchat.
///
/// Chitchat's own failure detector only chooses whom it gossips with and when it forgets a process; nobody
/// else may ask it.
pub struct Gossip {
    id: NodeId,
    local_address: SocketAddr,
    handle: Arc<ChitchatHandle>,
    own_version: Arc<AtomicU64>,
    rejections: Arc<Rejections>,
    /// Next place of the ring that a new delta overwrites.
    ring_next: AtomicUsize,
    /// Counts what was advertised: long lists take turns.
    round: AtomicUsize,
    /// State versions in which malformed values were counted, so that each counts once.
    malformed: Mutex<BTreeMap<NodeId, (u64, u64)>>,
    stopped: Arc<AtomicBool>,
    /// Seeds that are greeted by ourselves: names, and what was added at run time.
    greeted: Arc<Greeted>,
    /// How many of those were configured.
    configured_seeds: usize,
    /// Ends the greetings.
    stop: CancellationToken,
}

impl Gossip {
    /// Binds the socket and starts to gossip. When gossip ends by itself, the node stops loudly.
    ///
    /// # Errors
    /// The address cannot be bound or advertised, or the name or the mesh address is too long.
    pub async fn start(
        settings: GossipSettings,
        id: NodeId,
        incarnation: u64,
        name: &str,
        mesh_address: &str,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, GossipError> {
        check_length("the cluster's name", &settings.cluster_name, NAME_BYTES_MAX)?;
        check_length("the node's name", name, NAME_BYTES_MAX)?;
        check_length("the mesh address", mesh_address, ADDRESS_BYTES_MAX)?;
        let listen = settings.listen;
        let bind_error = |error| GossipError::Bind { listen, error };
        let socket = UdpSocket::bind(listen).await.map_err(bind_error)?;
        let local_address = socket.local_addr().map_err(bind_error)?;
        let mut advertise = settings.advertise;
        if advertise.port() == 0 {
            advertise.set_port(local_address.port());
        }
        if advertise.ip().is_unspecified() {
            return Err(GossipError::Advertise(advertise));
        }

        let boot = rand::random();
        let own_version = Arc::new(AtomicU64::new(0));
        let rejections = Arc::new(Rejections::new(metrics));
        let cluster_name = settings.cluster_name.clone();
        let inspector =
            Inspector::new(id, incarnation, cluster_name, Arc::clone(&own_version), PROCESS_MEMORY);
        let transport = SealedTransport::new(SealedSocket::new(
            socket,
            Sealer::new(&settings.key, id, incarnation, boot),
            Opener::new(&settings.key, id, boot),
            inspector,
            Arc::clone(&rejections),
        ));
        let (seeds, named_seeds): (Vec<_>, Vec<_>) =
            settings.seeds.iter().cloned().partition(|seed| seed.parse::<SocketAddr>().is_ok());
        let process = ChitchatId::new(id.to_string(), incarnation, advertise);
        let config = chitchat_config(&settings, process, local_address, seeds);
        let handle = spawn_chitchat(config, advertised::initial(name, mesh_address), &transport)
            .await
            .map_err(|error| GossipError::Start(error.to_string()))?;

        let gossip = Self {
            id,
            local_address,
            handle: Arc::new(handle),
            own_version,
            rejections,
            ring_next: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            malformed: Mutex::default(),
            stopped: Arc::default(),
            configured_seeds: named_seeds.len(),
            stop: tasks.stopping().child_token(),
            greeted: Arc::new(Greeted { seeds: Mutex::new(named_seeds), changed: Notify::new() }),
        };
        gossip.write(&[]).await;
        gossip.watch(tasks);
        let (greeted, handle) = (Arc::clone(&gossip.greeted), Arc::clone(&gossip.handle));
        let greeter = Greeter { greeted, local_address, handle, stop: gossip.stop.clone() };
        tasks.spawn("gossip-seeds", greeter.run());
        Ok(gossip)
    }

    /// The bound UDP address.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Chitchat runs in a task of its own, where a panic would go unseen.
    fn watch(&self, tasks: &Tasks) {
        let (ended, stopped) = (self.handle.termination_watcher(), Arc::clone(&self.stopped));
        let stopping = tasks.stopping().clone();
        tasks.spawn_essential("gossip", async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                result = ended => {
                    if stopped.load(Ordering::SeqCst) {
                        stopping.cancelled().await;
                    } else {
                        error!(?result, "gossip ended by itself");
                    }
                }
            }
        });
    }

    /// Sets what changed among the node's own keys, and publishes the version that results.
    async fn write(&self, values: &[(&'static str, String)]) {
        self.handle.with_chitchat(|chitchat| self.write_locked(chitchat, values, &[])).await;
    }

    fn write_locked(&self, chitchat: &mut Chitchat, values: &[(&'static str, String)], recent: &[String]) {
        let state = chitchat.self_node_state();
        for (key, value) in values {
            if state.get(key) != Some(value) {
                state.set(key, value);
            }
        }
        for delta in recent {
            let is_in_ring = RING_KEYS.iter().any(|key| state.get(key) == Some(delta));
            if !is_in_ring {
                let place = self.ring_next.fetch_add(1, Ordering::Relaxed) % RING_KEYS.len();
                state.set(RING_KEYS[place], delta);
            }
        }
        self.own_version.store(state.max_version(), Ordering::SeqCst);
    }

    /// Each other node's newest process, copied out under the lock.
    async fn newest_processes(&self) -> BTreeMap<NodeId, Process> {
        self.handle
            .with_chitchat(|chitchat| {
                let mut newest: BTreeMap<NodeId, &NodeState> = BTreeMap::new();
                for (process, state) in chitchat.node_states() {
                    let Some(id) = envelope::node_id(&process.node_id) else { continue };
                    if id == self.id {
                        continue;
                    }
                    let is_newer = newest.get(&id).is_none_or(|known| precedence(known) < precedence(state));
                    if is_newer {
                        newest.insert(id, state);
                    }
                }
                newest.into_iter().map(|(id, state)| (id, Process::copy(state))).collect()
            })
            .await
    }

    /// Counts a malformed state once per version of it.
    fn count_malformed(&self, id: NodeId, process: &Process) {
        let version = (process.incarnation, process.version);
        let is_new = self.malformed.lock().insert(id, version) != Some(version);
        if is_new {
            self.rejections.count(Rejection::Value, id, "a value that this node advertises");
        }
    }
}

#[async_trait]
impl Membership for Gossip {
    async fn members(&self) -> Vec<Member> {
        let processes = self.newest_processes().await;
        let mut members = Vec::with_capacity(processes.len());
        for (id, process) in &processes {
            let parsed = advertised::parse(&process.values);
            if parsed.malformed {
                self.count_malformed(*id, process);
            }
            // Heard of, while its keys are still on their way; or nothing that one could connect to.
            let (Some(name), Some(mesh_address)) = (parsed.name, parsed.mesh_address) else { continue };
            members.push(Member {
                id: *id,
                incarnation: process.incarnation,
                name,
                mesh_address,
                heartbeat: process.heartbeat,
                advertised: parsed.advertised,
            });
        }
        self.malformed.lock().retain(|id, _| processes.contains_key(id));
        members
    }

    async fn advertise(&self, advertised: Advertised) {
        let values = advertised::values(&advertised, self.round.fetch_add(1, Ordering::Relaxed));
        let recent = advertised::ring_values(&advertised.recent);
        self.handle.with_chitchat(|chitchat| self.write_locked(chitchat, &values, &recent)).await;
    }

    async fn join(&self, address: &str) -> bool {
        {
            let mut seeds = self.greeted.seeds.lock();
            if !seeds.iter().any(|seed| seed == address) {
                if self.configured_seeds + JOINED_MAX <= seeds.len() {
                    return false;
                }
                seeds.push(address.to_owned());
            }
        }
        self.greeted.changed.notify_one();
        true
    }

    async fn stop(&self) {
        if self.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        self.stop.cancel();
        self.write(&[advertised::leaving()]).await;
        let peers = self.newest_processes().await;
        for process in peers.values() {
            // Fails only when chitchat has ended already.
            let _ = self.handle.gossip(process.address);
        }
        if !peers.is_empty() {
            tokio::time::sleep(GOODBYE).await;
        }
        let _ = self.handle.initiate_shutdown();
        let ended = tokio::time::timeout(STOP_MAX, self.handle.termination_watcher()).await;
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "gossip had failed before it was stopped"),
            Err(_) => self.handle.abort(),
        }
    }
}

/// What is copied of a process's state.
struct Process {
    incarnation: u64,
    address: SocketAddr,
    heartbeat: u64,
    version: u64,
    values: Vec<(String, String)>,
}

impl Process {
    fn copy(state: &NodeState) -> Self {
        Self {
            incarnation: state.chitchat_id().generation_id,
            address: state.chitchat_id().gossip_advertise_addr,
            heartbeat: state.heartbeat().into(),
            version: state.max_version(),
            values: state.key_values().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }
}

/// Which of two states of one node counts: the newest start; should two processes share it, the livelier.
fn precedence(state: &NodeState) -> (u64, u64) {
    (state.chitchat_id().generation_id, state.heartbeat().into())
}

fn check_length(what: &'static str, text: &str, max: usize) -> Result<(), GossipError> {
    if (1..=max).contains(&text.len()) { Ok(()) } else { Err(GossipError::Length { what, max }) }
}

fn chitchat_config(
    settings: &GossipSettings,
    process: ChitchatId,
    listen: SocketAddr,
    seeds: Vec<String>,
) -> ChitchatConfig {
    ChitchatConfig {
        chitchat_id: process,
        cluster_id: settings.cluster_name.clone(),
        // A timer of no length would panic.
        gossip_interval: settings.interval.max(Duration::from_millis(1)),
        listen_addr: listen,
        seed_nodes: seeds,
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: 8.0,
            sampling_window_size: 100,
            max_interval: HEARTBEAT_GAP_MAX,
            initial_interval: settings.interval,
            dead_node_grace_period: DEAD_NODE_GRACE,
        },
        // No key is ever deleted.
        marked_for_deletion_grace_period: DEAD_NODE_GRACE,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}

/// Seeds that are greeted by ourselves.
struct Greeted {
    seeds: Mutex<Vec<String>>,
    /// One was added.
    changed: Notify,
}

/// Greets the seeds that are names or were added at run time. Chitchat would resolve names once before it starts,
/// however long that takes, and then once a minute: too rarely for nodes whose names appear while they all start.
struct Greeter {
    greeted: Arc<Greeted>,
    local_address: SocketAddr,
    handle: Arc<ChitchatHandle>,
    stop: CancellationToken,
}

impl Greeter {
    async fn run(self) {
        while !self.stop.is_cancelled() {
            self.greet().await;
            let is_alone = self.handle.with_chitchat(|chitchat| chitchat.node_states().len() < 2).await;
            let pause = if is_alone { SEED_INTERVAL_ALONE } else { SEED_INTERVAL };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.greeted.changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn greet(&self) {
        let seeds = self.greeted.seeds.lock().clone();
        for seed in &seeds {
            let addresses = match tokio::net::lookup_host(seed).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    debug!(seed, %error, "seed does not resolve");
                    continue;
                }
            };
            // A name often has addresses of both kinds; an IPv4 socket reaches only one.
            let is_reachable = |address: &SocketAddr| address.is_ipv4() || self.local_address.is_ipv6();
            for address in addresses.filter(is_reachable) {
                // Fails only when chitchat has ended; its watcher says so.
                let _ = self.handle.gossip(address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
