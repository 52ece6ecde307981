//! The composition root: makes one node out of its parts, and takes it down in reverse order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::auth::{Authenticator, PasswordFileError};
use crate::broker::Broker;
use crate::cluster::{self, Cluster, Identity, Inbound, NodeId};
use crate::config::Config;
use crate::http;
use crate::metrics::Metrics;
use crate::net::clock;
use crate::server::{self, Server};
use crate::session;
use crate::storage::{DataDir, DataDirError, Incarnation};
use crate::tasks::Tasks;

/// How often the broker looks for Wills, sessions and delayed messages that are due.
const BROKER_TICK: Duration = Duration::from_millis(200);
/// How long a stopping node waits for its links and tasks.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A running node.
pub struct Node {
    id: NodeId,
    tasks: Tasks,
    broker: Arc<Broker>,
    cluster: Option<Arc<Cluster>>,
    mqtt_addresses: Vec<SocketAddr>,
    http_address: SocketAddr,
    /// Cancelled when an operator asks the node to leave.
    leave: CancellationToken,
    /// Held until the node has stopped.
    _data_dir: Option<DataDir>,
}

/// Why a node did not start. The text is one line and names the configuration key.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The credentials.
    #[error("auth.password_file: {0}")]
    PasswordFile(#[from] PasswordFileError),
    /// The cluster's sockets.
    #[error("cluster.listen: {0}")]
    Cluster(#[from] cluster::StartError),
    /// An MQTT listener.
    #[error("listener.bind: {0}")]
    Listener(#[from] server::BindError),
    /// The HTTP listener.
    #[error("http.bind: {0}")]
    Http(#[from] http::BindError),
}

impl Node {
    /// Opens everything first and starts it then, so that a node either runs or leaves nothing behind.
    ///
    /// # Errors
    /// The first thing that cannot be opened.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let authenticator = Authenticator::new(&config.auth)?;
        if let Some(users) = authenticator.users() {
            info!(users, "credentials read");
        }
        let data_dir = config.data_dir.as_deref().map(DataDir::open).transpose()?;
        let identity = identity(data_dir.as_ref(), &config.node_name)?;
        let (id, name, own) = (identity.id, identity.name.clone(), identity.clone());
        let tasks = Tasks::new();
        let metrics = Arc::new(Metrics::new());

        let (listeners, session) = offered(config.server, config.session, config.cluster.is_none());
        let server = Server::bind(listeners, session).await?;
        let http = http::Server::bind(&config.http).await?;
        let cluster = match config.cluster {
            Some(settings) => {
                Some(Cluster::bind(settings, identity, tasks.clone(), Arc::clone(&metrics)).await?)
            }
            None => None,
        };
        let broker =
            Arc::new(Broker::new(config.broker, authenticator, Arc::clone(&metrics), cluster.clone()));

        if let Some(cluster) = &cluster {
            cluster.set_http(http.address());
            cluster.start(Arc::clone(&broker) as Arc<dyn Inbound>);
        }
        let (mqtt_addresses, http_address) = (server.addresses(), http.address());
        server.start(Arc::clone(&broker), Arc::clone(&metrics), &tasks);
        tasks.spawn_essential("broker", tick(Arc::clone(&broker), tasks.clone()));
        let changes =
            http::Changes { allowed: config.http.changes_allowed(), leave: CancellationToken::new() };
        let leave = changes.leave.clone();
        let state =
            http::State::new(own, Arc::clone(&broker), cluster.clone(), metrics).with_changes(changes);
        http.start(state, &tasks);
        info!(node = %id, name, "node started");
        Ok(Self { id, tasks, broker, cluster, mqtt_addresses, http_address, leave, _data_dir: data_dir })
    }

    /// The Node Id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where MQTT clients connect.
    #[must_use]
    pub fn mqtt_addresses(&self) -> &[SocketAddr] {
        &self.mqtt_addresses
    }

    /// Where HTTP clients connect.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Waits until an operator asks the node to leave.
    pub async fn leave_requested(&self) {
        self.leave.cancelled().await;
    }

    /// Waits until an essential task has failed.
    pub async fn failed(&self) {
        self.tasks.stopping().cancelled().await;
    }

    /// Says goodbye to clients and peers and stops everything. False when an essential task had failed.
    pub async fn stop(self) -> bool {
        info!("stopping: clients");
        self.broker.shutdown(clock::now());
        if let Some(cluster) = &self.cluster {
            info!("stopping: links");
            cluster.leave(STOP_GRACE).await;
        }
        info!("stopping: tasks");
        self.tasks.shutdown(STOP_GRACE).await;
        info!("stopped");
        !self.tasks.failed()
    }
}

/// What clients are offered through any listener. Retained messages, shared and exclusive subscriptions know only
/// their own node; offering them in a cluster would be half a promise.
fn offered(
    mut listeners: server::Settings,
    mut session: session::Settings,
    is_alone: bool,
) -> (server::Settings, session::Settings) {
    if !is_alone {
        let own = listeners.listeners.iter_mut().filter_map(|listener| listener.session.as_mut());
        for settings in own.chain([&mut session]) {
            settings.retain_available = false;
            settings.shared_available = false;
            settings.exclusive_available = false;
        }
    }
    (listeners, session)
}

/// A node without a data directory is a new one at every start.
fn identity(data_dir: Option<&DataDir>, name: &str) -> Result<Identity, DataDirError> {
    let (random, unix_ms) = (rand::random(), clock::unix_ms());
    let Incarnation { node, incarnation } = match data_dir {
        Some(data_dir) => data_dir.next_incarnation(random, unix_ms)?,
        None => Incarnation { node: random, incarnation: unix_ms.max(1) },
    };
    Ok(Identity { id: NodeId::new(node), incarnation, name: name.to_owned() })
}

async fn tick(broker: Arc<Broker>, tasks: Tasks) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(BROKER_TICK) => {
                while broker.on_tick(clock::now()) {
                    tokio::task::yield_now().await; // Others have their turn in between.
                }
            }
            () = tasks.stopping().cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 3.2.2.3 of MQTT 5: no listener of a member announces what its cluster does not do.
    #[test]
    fn in_a_cluster_no_listener_offers_what_only_one_node_can_do() {
        let mut own = server::Listener::new(([127, 0, 0, 1], 0).into());
        own.session = Some(session::Settings { inflight_max: 7, ..session::Settings::default() });
        let plain = server::Listener { session: None, ..own.clone() };
        for is_alone in [true, false] {
            let listeners = server::Settings { listeners: vec![plain.clone(), own.clone()] };
            let (listeners, all) = offered(listeners, session::Settings::default(), is_alone);
            let [None, Some(own)] = [0, 1].map(|n| listeners.listeners[n].session.as_ref()) else {
                panic!("limits came or went: {listeners:?}");
            };
            assert_eq!(own.inflight_max, 7);
            for settings in [own, &all] {
                assert_eq!(settings.retain_available, is_alone);
                assert_eq!(settings.shared_available, is_alone);
            }
        }
    }
}
