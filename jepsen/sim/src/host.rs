//! One node of the simulated cluster: the real cluster module and the real broker, with clients in the same process.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flockmq::auth::Authenticator;
use flockmq::broker::{self, Broker};
use flockmq::cluster::{self, Cluster, Identity, Inbound, NodeId, Secret};
use flockmq::codec::Qos;
use flockmq::metrics::{DROP_REASONS, Metrics};
use flockmq::net::clock;
use flockmq::session;
use flockmq::tasks::Tasks;
use parking_lot::Mutex;

use crate::client::Client;
use crate::history::{History, Life, Message, NodeAt, Subscription, View};

/// How often a node looks after its clients, and the broker after its timers.
const CLIENT_STEP: Duration = Duration::from_millis(2);
const BROKER_TICK: Duration = Duration::from_millis(200);
/// Where nodes meet.
pub const MESH_PORT: u16 = 7946;

/// What the schedule asks the clients of one node to do.
#[derive(Debug)]
pub enum Command {
    /// A client subscribes; it connects first when it is not there.
    Subscribe { client: u32, filter: &'static str, qos: Qos },
    /// A client unsubscribes, if it has the subscription.
    Unsubscribe { client: u32, filter: &'static str },
    /// A client publishes; it connects first when it is not there.
    Publish { client: u32, topic: &'static str, qos: Qos },
}

/// What stays of a node from one life to the next, and what the schedule sees of it.
pub struct Slot {
    /// Which node.
    pub node: NodeAt,
    /// Its address in the simulated network.
    pub ip: IpAddr,
    /// Every node's address.
    pub seeds: Vec<String>,
    lives: AtomicU64,
    has_incarnations: bool,
    commands: Mutex<VecDeque<Command>>,
    running: Mutex<Option<Running>>,
    history: Arc<Mutex<History>>,
}

/// A life that is under way.
#[derive(Clone)]
pub struct Running {
    /// Which.
    pub life: Life,
    /// Its cluster.
    pub cluster: Arc<Cluster>,
    /// Its counters.
    pub metrics: Arc<Metrics>,
}

impl Slot {
    /// A node that has not been started.
    pub fn new(
        node: NodeAt,
        ip: IpAddr,
        seeds: Vec<String>,
        has_incarnations: bool,
        history: Arc<Mutex<History>>,
    ) -> Self {
        let (commands, running, lives) = (Mutex::default(), Mutex::default(), AtomicU64::new(0));
        Self { node, ip, seeds, lives, has_incarnations, commands, running, history }
    }

    /// Asks for something; lost when the node is not up.
    pub fn command(&self, command: Command) {
        if self.running.lock().is_some() {
            self.commands.lock().push_back(command);
        }
    }

    /// The life that is under way.
    pub fn running(&self) -> Option<Running> {
        self.running.lock().clone()
    }

    /// The node's power fails.
    pub fn crash(&self, at: Duration) {
        self.commands.lock().clear();
        if let Some(running) = self.running.lock().take() {
            let mut history = self.history.lock();
            history.drops.insert(running.life, running.drops());
            history.crashes.insert(running.life, at);
        }
    }
}

impl Running {
    /// What this life has dropped so far.
    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        DROP_REASONS.iter().map(|(reason, name)| (*name, self.metrics.dropped(*reason).get())).collect()
    }

    /// What it thinks of the others.
    pub fn view(&self) -> View {
        let peers = self.cluster.status().nodes;
        let peers = peers.into_iter().filter(|node| !node.is_self);
        peers.map(|node| (node_of(node.id), (node.incarnation, node.state))).collect()
    }
}

/// The id of a node, and back.
fn id_of(node: NodeAt) -> NodeId {
    NodeId::new(node as u128 + 1)
}

fn node_of(id: NodeId) -> NodeAt {
    usize::try_from(id.as_u128()).map_or(usize::MAX, |id| id - 1)
}

/// One life of a node, until it is crashed.
pub async fn run(slot: Arc<Slot>) -> turmoil::Result {
    let number = slot.lives.fetch_add(1, Ordering::Relaxed) + 1;
    let life = Life { node: slot.node, incarnation: number };
    let incarnation = if slot.has_incarnations { number } else { 1 };
    let settings = cluster::Settings {
        name: "simulated".to_owned(),
        listen: (std::net::Ipv4Addr::UNSPECIFIED, MESH_PORT).into(),
        advertise: Some(format!("{}:{MESH_PORT}", slot.ip)),
        node_address: slot.seeds.clone(),
        secret: Some(Secret::new("feathers")?),
        ..cluster::Settings::default()
    };
    let identity = Identity { id: id_of(slot.node), incarnation, name: format!("node{}", slot.node) };
    let (tasks, metrics) = (Tasks::new(), Arc::new(Metrics::new()));
    let cluster = Cluster::bind(settings, identity, tasks.clone(), Arc::clone(&metrics)).await?;
    // As a node in a cluster offers it today.
    let sessions = Arc::new(session::Settings {
        retain_available: false,
        shared_available: false,
        ..session::Settings::default()
    });
    let authenticator = Authenticator::with_credentials(true, None);
    let settings = broker::Settings { sys_interval: Duration::ZERO, ..broker::Settings::default() };
    let broker = Broker::new(settings, authenticator, Arc::clone(&metrics), Some(Arc::clone(&cluster)));
    let broker = Arc::new(broker);
    cluster.start(Arc::clone(&broker) as Arc<dyn Inbound>);
    let ticking = Arc::clone(&broker);
    tasks.spawn("broker", async move {
        loop {
            tokio::time::sleep(BROKER_TICK).await;
            while ticking.on_tick(clock::now()) {}
        }
    });
    let running = Running { life, cluster, metrics };
    *slot.running.lock() = Some(running.clone());
    attend(&slot, &running, &broker, &sessions).await
}

async fn attend(
    slot: &Slot,
    running: &Running,
    broker: &Arc<Broker>,
    sessions: &Arc<session::Settings>,
) -> turmoil::Result {
    let mut clients: BTreeMap<u32, Client> = BTreeMap::new();
    loop {
        let (now, at) = (clock::now(), turmoil::sim_elapsed().unwrap_or_default());
        let commands = std::mem::take(&mut *slot.commands.lock());
        for command in commands {
            obey(slot, running, (broker, sessions), &mut clients, command, at);
        }
        for client in clients.values_mut() {
            client.read(now, at, &|| running.view(), &slot.history);
        }
        tokio::time::sleep(CLIENT_STEP).await;
    }
}

fn obey(
    slot: &Slot,
    running: &Running,
    (broker, sessions): (&Arc<Broker>, &Arc<session::Settings>),
    clients: &mut BTreeMap<u32, Client>,
    command: Command,
    at: Duration,
) {
    let now = clock::now();
    let (Command::Subscribe { client: number, .. }
    | Command::Unsubscribe { client: number, .. }
    | Command::Publish { client: number, .. }) = command;
    if let std::collections::btree_map::Entry::Vacant(place) = clients.entry(number) {
        match Client::connect(number, running.life, broker, sessions, now) {
            Ok(client) => _ = place.insert(client),
            Err(reason) => {
                slot.history.lock().impossible.push(format!("a client was refused: {reason:?}"));
                return;
            }
        }
    }
    let Some(client) = clients.get_mut(&number) else { return };
    let mut history = slot.history.lock();
    match command {
        Command::Subscribe { filter, qos, .. } => {
            let place = history.subscriptions.len();
            history.subscriptions.push(Subscription {
                life: running.life,
                client: number,
                filter: filter.to_owned(),
                acknowledged: None,
                reached: View::new(),
                ending: None,
                ended: None,
            });
            drop(history);
            client.subscribe(now, place, filter, qos);
        }
        Command::Unsubscribe { filter, .. } => {
            let mut last = None;
            for (place, subscription) in history.subscriptions.iter_mut().enumerate() {
                let is_it = subscription.life == running.life
                    && (subscription.client, subscription.filter.as_str()) == (number, filter);
                if is_it && subscription.ending.is_none() {
                    subscription.ending = Some(at);
                    last = Some(place);
                }
            }
            drop(history);
            if let Some(place) = last {
                client.unsubscribe(now, place, filter);
            }
        }
        Command::Publish { topic, qos, .. } => {
            let place = history.messages.len();
            history.messages.push(Message {
                life: running.life,
                client: number,
                topic: topic.to_owned(),
                sent: at,
                acknowledged: qos == Qos::AtMostOnce,
                view: running.view(),
            });
            drop(history);
            client.publish(now, place, topic, qos);
        }
    }
}
