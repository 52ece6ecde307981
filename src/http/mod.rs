//! The node's HTTP server: health, metrics, what the node knows of its cluster and of a message's way, and the few
//! requests that change something there.

mod answer;
mod beliefs;
mod changes;
mod connection;
mod explain;
mod query;
mod settings;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

pub use changes::Changes;
pub use settings::Settings;

use crate::broker::Broker;
use crate::cluster::{Cluster, Identity};
use crate::metrics::Metrics;
use crate::net::TcpListener;
use crate::tasks::Tasks;

/// The listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {bind}: {error}")]
pub struct BindError {
    /// The address of the configuration.
    pub bind: SocketAddr,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

/// What the answers are made of.
#[derive(Clone)]
pub struct State {
    identity: Identity,
    broker: Arc<Broker>,
    cluster: Option<Arc<Cluster>>,
    metrics: Arc<Metrics>,
    readiness: Arc<dyn Readiness>,
    changes: Changes,
}

impl State {
    /// `cluster` is `None` for a node that stands alone; such a node is ready, a member of a cluster is ready
    /// once it is in step with its live peers.
    #[must_use]
    pub fn new(
        identity: Identity,
        broker: Arc<Broker>,
        cluster: Option<Arc<Cluster>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let asked = cluster.clone();
        let readiness = move || match &asked {
            Some(cluster) if cluster.is_forgotten() => {
                vec!["the cluster has forgotten this node: restart it".to_owned()]
            }
            Some(cluster) if !cluster.is_ready() => {
                vec!["the routes of the live peers are not all here yet".to_owned()]
            }
            Some(_) | None => Vec::new(),
        };
        Self {
            identity,
            broker,
            cluster,
            metrics,
            readiness: Arc::new(readiness),
            changes: Changes::default(),
        }
    }

    /// The same, and requests may change something if these say so; without it none may.
    #[must_use]
    pub fn with_changes(self, changes: Changes) -> Self {
        Self { changes, ..self }
    }

    /// The same with another judgement of whether the node is ready.
    #[must_use]
    pub fn with_readiness(self, readiness: Arc<dyn Readiness>) -> Self {
        Self { readiness, ..self }
    }
}

/// Whether the node can take clients.
pub trait Readiness: Send + Sync + 'static {
    /// What keeps it from being ready, each a short sentence; empty when it is ready.
    fn obstacles(&self) -> Vec<String>;
}

impl<F: Fn() -> Vec<String> + Send + Sync + 'static> Readiness for F {
    fn obstacles(&self) -> Vec<String> {
        self()
    }
}

/// An open listener that does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// # Errors
    /// The address cannot be opened.
    pub async fn bind(settings: &Settings) -> Result<Self, BindError> {
        let bind = settings.bind;
        let refused = |error| BindError { bind, error };
        let listener = TcpListener::bind(bind).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the tasks are asked to stop.
    pub fn start(self, state: State, tasks: &Tasks) {
        let answers = answer::router(state);
        tasks.spawn_essential("http", connection::accept(self.listener, answers, tasks.clone()));
    }
}

#[cfg(test)]
mod tests;
