//! The flock: membership, replicated routes, and the links that carry publishes between nodes.
//!
//! [`Cluster`] is what the broker calls; it knows no client connection and calls up only through
//! [`Inbound`].

mod advertised;
mod beliefs;
mod envelope;
mod explain;
mod forgotten;
mod forward;
mod fragments;
pub mod frame;
mod lifecycle;
mod link;
pub mod membership;
mod mesh;
pub mod node_id;
mod outbox;
mod peers;
mod reach;
mod replay;
mod round;
pub mod routes;
pub mod seal;
mod settings;
mod status;
pub mod sync;
#[cfg(test)]
mod tests;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{info, warn};

pub use self::beliefs::{Belief, Beliefs, OwnedRoute, RoutePage};
pub use self::explain::{Hop, HopRoute};
pub use self::forward::Touched;
pub use self::lifecycle::{ForgetError, JoinError, NodeName};
pub use self::node_id::NodeId;
pub use self::peers::PeerState;
pub use self::reach::Reach;
pub use self::routes::{Position, RouteKey};
pub use self::settings::{Identity, Secret, SecretError, Settings, SubackMode};
use self::status::reachable;
pub use self::status::{NodeStatus, RouteListing, Status};

use self::link::{Credentials, FEATURES, Hello, cluster_hash, run_listener};
use self::membership::{Gossip, GossipError, GossipSettings, Membership};
use self::mesh::Mesh;
use self::round::Rounds;
use self::seal::Key;
use crate::message::{MessageId, Publication};
use crate::metrics::Metrics;
use crate::net::mesh::TcpListener;
use crate::tasks::Tasks;
use crate::topic::TopicRef;

/// Ports that are tried until one is free for TCP and UDP, when the system chooses.
const PORT_ATTEMPTS_MAX: usize = 16;

/// What the cluster calls when something arrives for this node's clients. The broker implements it.
pub trait Inbound: Send + Sync + 'static {
    /// Some publishes have arrived and are handed over one after the other, without a wait between them.
    fn burst(&self) -> Box<dyn InboundBurst + '_>;
}

/// The publishes that one read of a link brought. Dropping it means that these are all: what they have touched
/// is to be written then.
pub trait InboundBurst: Send {
    /// A peer's client published this, and this node had told the peer that it wants it. To be delivered to
    /// this node's clients only, never forwarded.
    fn on_publish(&mut self, now: Instant, from: NodeId, id: MessageId, publication: &Publication<'_>);
}

/// Why the cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The TCP address could not be bound.
    #[error("cannot bind {listen}/TCP for the mesh: {error}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The advertised address is none.
    #[error("cluster.advertise \"{text}\" does not name an address: {error}")]
    Advertise {
        /// As configured.
        text: String,
        /// What resolving it gave.
        error: std::io::Error,
    },
    /// Gossip did not start.
    #[error(transparent)]
    Gossip(#[from] GossipError),
}

/// This node's part in the cluster.
pub struct Cluster {
    mesh: Arc<Mesh>,
    membership: Arc<dyn Membership>,
    rounds: Arc<Rounds>,
    listener: Mutex<Option<TcpListener>>,
    local_addr: SocketAddr,
    /// `host:port` that peers dial.
    address: String,
}

impl Cluster {
    /// Binds the TCP and the UDP port and begins to gossip. Nothing is forwarded or taken before
    /// [`Cluster::start`].
    ///
    /// # Errors
    /// An address cannot be bound or advertised.
    pub async fn bind(
        settings: Settings,
        identity: Identity,
        tasks: Tasks,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, StartError> {
        if settings.secret.is_none() {
            warn!("no cluster secret: every process on this machine can join");
        }
        let mut attempts = 1;
        let (listener, gossip, address) = loop {
            let (listener, local_addr) = bind_tcp(settings.listen).await?;
            let (address, resolved) = advertised_address(&settings, local_addr).await?;
            let gossip_settings = GossipSettings {
                cluster_name: settings.name.clone(),
                listen: local_addr,
                advertise: resolved,
                seeds: settings.node_address.clone(),
                interval: settings.gossip_interval,
                key: key(&settings, "gossip"),
            };
            let (id, incarnation, name) = (identity.id, identity.incarnation, &identity.name);
            let started =
                Gossip::start(gossip_settings, id, incarnation, name, &address, &metrics, &tasks).await;
            match started {
                Ok(gossip) => break (listener, gossip, address),
                // The system gave a TCP port whose UDP twin is taken.
                Err(GossipError::Bind { .. })
                    if settings.listen.port() == 0 && attempts < PORT_ATTEMPTS_MAX =>
                {
                    attempts += 1;
                }
                Err(error) => return Err(error.into()),
            }
        };
        Self::with_membership(settings, identity, tasks, metrics, listener, address, Arc::new(gossip))
    }

    /// A cluster over any kind of membership.
    fn with_membership(
        settings: Settings,
        identity: Identity,
        tasks: Tasks,
        metrics: Arc<Metrics>,
        listener: TcpListener,
        address: String,
        membership: Arc<dyn Membership>,
    ) -> Result<Arc<Self>, StartError> {
        let listen = settings.listen;
        let local_addr = listener.local_addr().map_err(|error| StartError::Bind { listen, error })?;
        let credentials = Credentials {
            cluster_hash: cluster_hash(&settings.name),
            key: *key(&settings, "mesh").bytes(),
            hello: Hello {
                node: identity.id,
                incarnation: identity.incarnation,
                name: identity.name.clone(),
                features: FEATURES,
            },
        };
        let mesh = Mesh::new(settings, identity, credentials, tasks, metrics);
        let rounds = Rounds::new(&mesh, Arc::clone(&membership), local_addr, &address);
        let listener = Mutex::new(Some(listener));
        Ok(Arc::new(Self { mesh, membership, rounds: Arc::new(rounds), listener, local_addr, address }))
    }

    /// Starts to accept and dial links. A second call does nothing.
    pub fn start(self: &Arc<Self>, inbound: Arc<dyn Inbound>) {
        let Some(listener) = self.listener.lock().take() else { return };
        let (mesh, rounds) = (&self.mesh, Arc::clone(&self.rounds));
        // Nobody else sets it, and this runs once.
        let _ = mesh.inbound.set(inbound);
        let (accepting, waiting, comparing) = (Arc::clone(mesh), Arc::clone(mesh), Arc::clone(mesh));
        mesh.tasks.spawn("mesh-listener", run_listener(accepting, listener));
        mesh.tasks.spawn("mesh-barriers", async move { waiting.run_barrier_timer().await });
        mesh.tasks.spawn("mesh-sync", async move { comparing.run_sync().await });
        mesh.tasks.spawn("mesh-rounds", async move { rounds.run().await });
        info!(address = %self.address, node = %mesh.me().short(), "cluster started");
    }

    /// The bound TCP address; the UDP one is the same.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// `host:port` that peers dial.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.mesh.identity
    }

    /// Tells peers where this node's HTTP interface is. One that listens on every address is reached where the links
    /// are.
    pub fn set_http(&self, address: SocketAddr) {
        self.rounds.set_http(reachable(address, &self.address));
    }

    /// Makes this node a destination for what `key` matches. Returns the position of the own log at which a
    /// peer knows it; doing it twice changes nothing.
    pub fn advertise(&self, key: &RouteKey) -> Position {
        self.mesh.advertise(key)
    }

    /// Takes an advertised route back.
    pub fn withdraw(&self, key: &RouteKey) {
        self.mesh.withdraw(key);
    }

    /// Calls `done` once: when every live peer has acknowledged `position`, or after the SUBACK timeout; at
    /// once when no peer is live or SUBACKs wait for nobody. No lock of the cluster is held meanwhile.
    pub fn reach(self: &Arc<Self>, position: Position, done: Box<dyn FnOnce(Reach) + Send>) {
        self.mesh.reach(position, done);
    }

    /// Buffers one copy for each live peer with a matching route and remembers whom it touched. Returns the
    /// number of copies. `$SYS` is never forwarded.
    pub fn forward(&self, publication: &Publication<'_>, touched: &mut Touched) -> usize {
        self.mesh.forward(publication, touched)
    }

    /// Lets each touched link send.
    pub fn flush(&self, touched: &mut Touched) {
        touched.flush();
    }

    /// The cluster as this node sees it.
    #[must_use]
    pub fn status(&self) -> Status {
        self.mesh.status(&self.address, &self.rounds.http(), self.is_ready())
    }

    /// Where a message to this topic would go from here, and why not elsewhere: every peer, in the order of the ids.
    #[must_use]
    pub fn explain(&self, topic: TopicRef<'_>) -> Vec<Hop> {
        self.mesh.explain(topic)
    }

    /// The route table, for people.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteListing> {
        self.mesh.route_listing()
    }

    /// Whether this node has caught up with the cluster, so that its clients get what they subscribe to. Once
    /// ready, it stays so until it leaves.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.mesh.is_ready(self.rounds.seeds_are_known())
    }

    /// Says goodbye on every link, waits until peers have what they were sent, at most `grace`, and stops.
    pub async fn leave(&self, grace: Duration) {
        self.mesh.start_leaving();
        let flushed = async {
            while !self.mesh.has_said_everything() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(grace, flushed).await.is_err() {
            warn!("left the cluster with messages unacknowledged");
        }
        self.membership.stop().await;
        self.mesh.stop.cancel();
    }
}

/// Binds the TCP port.
async fn bind_tcp(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Bind { listen, error };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let local_addr = listener.local_addr().map_err(failed)?;
    Ok((listener, local_addr))
}

/// What peers dial, as text and as address.
async fn advertised_address(
    settings: &Settings,
    local_addr: SocketAddr,
) -> Result<(String, SocketAddr), StartError> {
    let Some(text) = &settings.advertise else { return Ok((local_addr.to_string(), local_addr)) };
    let failed = |error| StartError::Advertise { text: text.clone(), error };
    let mut found = tokio::net::lookup_host(text).await.map_err(failed)?;
    let none = || failed(std::io::Error::from(std::io::ErrorKind::NotFound));
    let mut resolved = found.next().ok_or_else(none)?;
    if resolved.port() != 0 {
        return Ok((text.clone(), resolved));
    }
    resolved.set_port(local_addr.port());
    Ok((resolved.to_string(), resolved))
}

/// The key for one purpose. Without a secret the cluster's name stands in for it, which keeps clusters apart
/// and protects nothing.
fn key(settings: &Settings, purpose: &str) -> Key {
    let secret = settings.secret.as_ref().map_or(&b"no secret"[..], Secret::expose);
    Key::derive(&settings.name, secret, purpose)
}
