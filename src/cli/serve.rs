//! `flockmq serve` and `flockmq check-config`.

use std::path::PathBuf;

use super::console::{Failure, say};
use super::{logging, signal};
use crate::auth::Authenticator;
use crate::config::{self, Overrides};
use crate::node::Node;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  flockmq serve
  flockmq serve --config config/node1.toml
  flockmq serve --listen 0.0.0.0:1883 --allow-anonymous true --data-dir /var/lib/flockmq
  FLOCKMQ__CLUSTER__SECRET_FILE=/run/secrets/flock flockmq serve --config node.toml

A flag wins over the environment (FLOCKMQ__SECTION__KEY), which wins over the file.
config/flockmq.toml describes every key.")]
pub(super) struct Arguments {
    /// Configuration file; without it one node on loopback, in memory
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// MQTT over TCP at this address, instead of the file's listeners; may be repeated
    #[arg(short, long, value_name = "IP:PORT")]
    listen: Vec<String>,
    /// Health, metrics and API at this address
    #[arg(long, value_name = "IP:PORT")]
    http: Option<String>,
    /// Directory for the node's identity and state
    #[arg(short, long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Label of the node
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Address for peers; makes the node a member of a cluster
    #[arg(long, value_name = "IP:PORT")]
    cluster_listen: Option<String>,
    /// A node to join by; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    seed: Vec<String>,
    /// File with the cluster's secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
    /// Whether clients without credentials are taken
    #[arg(long, value_name = "true|false")]
    allow_anonymous: Option<String>,
    /// error, warn, info, debug or trace, or per module: info,flockmq::cluster=debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Arguments {
    fn overrides(self) -> (Option<PathBuf>, Overrides) {
        let seeds = (!self.seed.is_empty()).then(|| self.seed.join(","));
        let overrides = Overrides::default()
            .with_listeners("--listen", self.listen)
            .with("--http", "http.bind", self.http)
            .with("--data-dir", "data_dir", self.data_dir)
            .with("--name", "node.name", self.name)
            .with("--cluster-listen", "cluster.listen", self.cluster_listen)
            .with("--seed", "cluster.node_address", seeds)
            .with("--secret-file", "cluster.secret_file", self.secret_file)
            .with("--allow-anonymous", "auth.allow_anonymous", self.allow_anonymous)
            .with("--log-level", "log.level", self.log_level)
            .with("--log-format", "log.format", self.log_format);
        (self.config, overrides)
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let (file, overrides) = arguments.overrides();
    let config = config::load(file.as_deref(), environment(), &overrides)
        .map_err(|error| Failure::new(error.to_string()))?;
    logging::start(&config.log);
    runtime()?.block_on(async {
        let node = Node::start(config).await.map_err(|error| Failure::new(error.to_string()))?;
        tokio::select! {
            () = signal::stop_requested() => {}
            () = node.leave_requested() => {}
            () = node.failed() => {}
        }
        tokio::select! {
            whole = node.stop() => if whole { Ok(()) } else { Err(Failure::new("the node failed: its log says why")) },
            // Whoever asks twice does not want to wait.
            () = signal::stop_requested() => Err(Failure::new("stopped before everything was closed")),
        }
    })
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  flockmq check-config config/node1.toml

The environment (FLOCKMQ__SECTION__KEY) is taken into account, as `serve` does.")]
pub(super) struct CheckArguments {
    /// Configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    let config = config::load(Some(&arguments.file), environment(), &Overrides::default())
        .map_err(|error| Failure::new(error.to_string()))?;
    Authenticator::new(&config.auth).map_err(|error| Failure::new(format!("auth.password_file: {error}")))?;
    say(format_args!("{}: ok", arguments.file.display()))
}

/// The process's environment, as far as it is text: our own variables are.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The runtime of a command.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the threads of the runtime: {error}")))
}
