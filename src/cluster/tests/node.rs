//! One cluster node of a test: the real thing, with a recorder in place of the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::registry::Registry;
use crate::cluster::{
    Cluster, Identity, Inbound, InboundBurst, NodeId, PeerState, Reach, RouteKey, Secret, Settings, Touched,
};
use crate::message::{MessageId, Publication, Qos};
use crate::metrics::{DROP_REASONS, DropReason, Metrics};
use crate::net::mesh::TcpListener;
use crate::tasks::Tasks;
use crate::topic::{TopicFilter, TopicRef};

/// What differs between tests.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) incarnation: u64,
    pub(super) listen: String,
    pub(super) advertise: Option<String>,
    pub(super) seeds: Vec<String>,
    pub(super) secret: &'static str,
    pub(super) name: &'static str,
    /// In place of "node" and the number.
    pub(super) label: Option<String>,
    pub(super) autoclean: Option<Duration>,
    pub(super) link_buffer_bytes: usize,
    pub(super) route_log_max: usize,
    /// In place of gossip.
    pub(super) registry: Option<Registry>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            incarnation: 1,
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            seeds: Vec::new(),
            secret: "feathers",
            name: "test",
            label: None,
            autoclean: None,
            link_buffer_bytes: 16 * 1_024 * 1_024,
            route_log_max: 65_536,
            registry: None,
        }
    }
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) cluster: Arc<Cluster>,
    pub(super) inbound: Arc<Recorder>,
    pub(super) metrics: Arc<Metrics>,
    tasks: Tasks,
    /// A runtime of its own, so that it can end like a killed process.
    runtime: Runtime,
}

impl Node {
    pub(super) async fn start(number: u128, setup: &Setup) -> Self {
        let settings = Settings {
            name: setup.name.to_owned(),
            listen: setup.listen.parse().unwrap(),
            advertise: setup.advertise.clone(),
            node_address: setup.seeds.clone(),
            secret: Some(Secret::new(setup.secret).unwrap()),
            gossip_interval: Duration::from_millis(50),
            heartbeat_interval: Duration::from_millis(100),
            dead_after: Duration::from_millis(1_000),
            // Long enough that no test meets it on a busy machine by accident.
            suback_timeout: Duration::from_secs(20),
            link_buffer_bytes: setup.link_buffer_bytes,
            route_log_max: setup.route_log_max,
            autoclean: setup.autoclean,
            join_grace: Duration::from_secs(60),
            ..Settings::default()
        };
        let id = id(number);
        let name = setup.label.clone().unwrap_or_else(|| format!("node{number}"));
        let identity = Identity { id, incarnation: setup.incarnation, name };
        let (tasks, metrics) = (Tasks::new(), Arc::new(Metrics::new()));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let inbound = Arc::new(Recorder::default());
        let starting = bind(settings, identity, tasks.clone(), Arc::clone(&metrics), setup.registry.clone());
        let upper = Arc::clone(&inbound) as Arc<dyn Inbound>;
        let starting = async move {
            let cluster = starting.await;
            cluster.start(upper);
            cluster
        };
        let cluster = runtime.spawn(starting).await.unwrap();
        Self { id, cluster, inbound, metrics, tasks, runtime }
    }

    /// Starts nodes 1, 2, … that all know the first, and waits until they are in step.
    pub(super) async fn flock(count: u128, setup: &Setup) -> Vec<Self> {
        let mut nodes = vec![Self::start(1, setup).await];
        let setup = Setup { seeds: vec![nodes[0].address()], ..setup.clone() };
        for number in 2..=count {
            nodes.push(Self::start(number, &setup).await);
        }
        Self::converged(&nodes).await;
        nodes
    }

    pub(super) async fn converged(nodes: &[Self]) {
        for node in nodes {
            until("all are in step", || {
                let status = node.cluster.status();
                let live = status.nodes.iter().filter(|node| node.state == "live").count();
                status.converged && live == nodes.len()
            })
            .await;
        }
    }

    pub(super) fn address(&self) -> String {
        self.cluster.local_addr().to_string()
    }

    /// Advertises a filter and waits until it is reachable.
    pub(super) async fn reachable(&self, filter: &str) -> Reach {
        let position = self.cluster.advertise(&route(filter));
        let (done, reached) = oneshot::channel();
        self.cluster.reach(position, Box::new(move |reach| done.send(reach).unwrap()));
        reached.await.unwrap()
    }

    pub(super) fn publish(&self, topic: &str, payload: &[u8]) -> usize {
        self.forward(&publish(topic, payload))
    }

    pub(super) fn forward(&self, publication: &Publication<'_>) -> usize {
        let mut touched = Touched::new();
        let copies = self.cluster.forward(publication, &mut touched);
        self.cluster.flush(&mut touched);
        copies
    }

    pub(super) fn state_of(&self, peer: NodeId) -> Option<PeerState> {
        self.cluster.mesh.with_peers(|peers| peers.get(peer).map(|peer| peer.state()))
    }

    pub(super) fn unacked(&self, peer: NodeId) -> u64 {
        self.cluster.mesh.unacked(peer)
    }

    /// Copies that were dropped for any reason.
    pub(super) fn dropped(&self) -> u64 {
        DROP_REASONS.iter().map(|(reason, _)| self.dropped_as(*reason)).sum()
    }

    pub(super) fn dropped_as(&self, reason: DropReason) -> u64 {
        self.metrics.dropped(reason).get()
    }

    pub(super) fn rejected(&self, reason: &'static str) -> u64 {
        self.metrics.cluster_rejected.get_or_create(&crate::metrics::ReasonLabel { reason }).get()
    }

    /// Everything that was refused for a reason that begins so.
    pub(super) fn rejected_by(&self, prefix: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let prefix = format!("flockmq_cluster_rejected_total{{reason=\"{prefix}");
        let counts = text.lines().filter(|line| line.starts_with(&prefix));
        counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Ends at once, without a goodbye, and returns where it was.
    pub(super) fn kill(self) -> String {
        let address = self.address();
        self.runtime.shutdown_background();
        address
    }

    /// Leaves in good order.
    pub(super) async fn leave(self) {
        self.cluster.leave(Duration::from_secs(20)).await;
        assert!(self.tasks.shutdown(Duration::from_secs(20)).await);
        self.runtime.shutdown_background();
    }

    pub(super) fn kill_all(nodes: Vec<Self>) {
        for node in nodes {
            node.kill();
        }
    }
}

async fn bind(
    settings: Settings,
    identity: Identity,
    tasks: Tasks,
    metrics: Arc<Metrics>,
    registry: Option<Registry>,
) -> Arc<Cluster> {
    if let Some(registry) = registry {
        let listener = TcpListener::bind(settings.listen).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let membership = registry.join(identity.id, identity.incarnation, &address);
        return Cluster::with_membership(settings, identity, tasks, metrics, listener, address, membership)
            .unwrap();
    }
    loop {
        match Cluster::bind(settings.clone(), identity.clone(), tasks.clone(), Arc::clone(&metrics)).await {
            Ok(cluster) => return cluster,
            // The process that was killed has not let go of its port yet.
            Err(_) if settings.listen.port() != 0 => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Ids whose short forms differ, too.
pub(super) fn id(number: u128) -> NodeId {
    NodeId::new(number << 96 | number)
}

pub(super) fn route(filter: &str) -> RouteKey {
    RouteKey { filter: TopicFilter::parse(filter).unwrap(), share: None, durable: false }
}

pub(super) fn publish<'a>(topic: &'a str, payload: &'a [u8]) -> Publication<'a> {
    Publication {
        topic: TopicRef::parse(topic).unwrap(),
        payload,
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: &[],
        expires_at: None,
        publisher: None,
    }
}

/// Waits until something has happened; fails when it does not.
pub(super) async fn until(what: &str, happened: impl Fn() -> bool) {
    let wait = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(), "{what}: did not happen");
}

/// What arrived at a node.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) from: NodeId,
    pub(super) id: MessageId,
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) properties: Vec<u8>,
    pub(super) publisher: Option<String>,
}

#[derive(Default)]
pub(super) struct Recorder {
    taken: Mutex<Vec<Taken>>,
    bursts: Mutex<usize>,
}

impl Recorder {
    pub(super) fn count(&self) -> usize {
        self.taken.lock().len()
    }

    pub(super) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().clone()
    }

    pub(super) fn bursts(&self) -> usize {
        *self.bursts.lock()
    }
}

impl Inbound for Recorder {
    fn burst(&self) -> Box<dyn InboundBurst + '_> {
        Box::new(RecorderBurst(self))
    }
}

struct RecorderBurst<'a>(&'a Recorder);

impl InboundBurst for RecorderBurst<'_> {
    fn on_publish(&mut self, _now: Instant, from: NodeId, id: MessageId, publication: &Publication<'_>) {
        assert!(publication.topic.as_str() != "panic", "a message that is too much for the broker");
        self.0.taken.lock().push(Taken {
            from,
            id,
            topic: publication.topic.as_str().to_owned(),
            payload: publication.payload.to_vec(),
            qos: publication.qos,
            retain: publication.retain,
            properties: publication.properties.to_vec(),
            publisher: publication.publisher.map(str::to_owned),
        });
    }
}

impl Drop for RecorderBurst<'_> {
    fn drop(&mut self) {
        *self.0.bursts.lock() += 1;
    }
}
