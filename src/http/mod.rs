//! The node's HTTP server: health, metrics, and what the node knows of its cluster. It only answers questions;
//! nothing that arrives here changes anything.

mod answer;
mod connection;
mod settings;

use std::sync::Arc;

pub use settings::Settings;

use crate::cluster::{Cluster, Identity};
use crate::metrics::Metrics;
use crate::net::TcpListener;
use crate::tasks::Tasks;

/// What the answers are made of.
#[derive(Clone)]
pub struct State {
    /// Who this node is.
    pub identity: Identity,
    /// The node's part in a cluster; `None` for a node that stands alone.
    pub cluster: Option<Arc<Cluster>>,
    /// For /metrics.
    pub metrics: Arc<Metrics>,
    /// For /health/ready.
    pub readiness: Arc<dyn Readiness>,
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

/// Answers on an open listener until the tasks are asked to stop.
pub fn serve(listener: TcpListener, state: State, tasks: &Tasks) {
    let answers = answer::router(state);
    tasks.spawn_essential("http", connection::accept(listener, answers, tasks.clone()));
}

#[cfg(test)]
mod tests;
