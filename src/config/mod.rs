//! The configuration: one TOML file, environment variables over it, flags over those.
//!
//! It fills the `Settings` that each module owns and checks what they must agree on. Nothing else reads the
//! file or the environment. `config/flockmq.toml` describes every key.

mod cluster;
mod environment;
mod error;
mod kind;
mod listener;
pub mod log;
mod mqtt;
mod rules;
mod section;
mod tree;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use error::ConfigError;
use error::Origin;
use section::Reader;
use tree::{Node, Table, Value, overlay};

/// A configuration file is a page or two: whatever is larger is the wrong file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything that a node needs to know to start; every value has been checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the node keeps its identity and state; `None` keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// A label for people; need not be unique.
    pub node_name: String,
    /// The node's place in a cluster; `None` for a node that stands alone.
    pub cluster: Option<crate::cluster::Settings>,
    /// The MQTT listeners.
    pub server: crate::server::Settings,
    /// Limits of one client's session, where its listener has none of its own.
    pub session: crate::session::Settings,
    /// Limits of what is kept for everybody.
    pub broker: crate::broker::Settings,
    /// Who may connect.
    pub auth: crate::auth::Settings,
    /// Health, metrics and API.
    pub http: crate::http::Settings,
    /// What the node writes about itself.
    pub log: log::Settings,
}

/// What the command line sets; it wins over everything else.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    values: Vec<(&'static str, &'static str, String)>,
    listeners: Vec<(&'static str, String)>,
}

impl Overrides {
    /// Sets the dotted `key`; `flag` is for messages. Without a value nothing is set.
    #[must_use]
    pub fn with(mut self, flag: &'static str, key: &'static str, value: Option<impl Into<String>>) -> Self {
        self.values.extend(value.map(|value| (flag, key, value.into())));
        self
    }

    /// Replaces all listeners by TCP listeners at these addresses; without any the listeners stay.
    #[must_use]
    pub fn with_listeners(mut self, flag: &'static str, addresses: impl IntoIterator<Item = String>) -> Self {
        self.listeners.extend(addresses.into_iter().map(|address| (flag, address)));
        self
    }

    fn overlay(&self, root: &mut Table) -> Result<(), ConfigError> {
        for (flag, key, value) in &self.values {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            overlay(root, &path, value.clone(), &Origin::Flag(flag))?;
        }
        let listeners: Vec<Node> = self
            .listeners
            .iter()
            .map(|(flag, address)| {
                let node = |value| Node { value, origin: Origin::Flag(flag) };
                node(Value::Table(Table::from([("bind".to_owned(), node(Value::Text(address.clone())))])))
            })
            .collect();
        if let Some(first) = listeners.first() {
            let origin = first.origin.clone();
            root.insert("listener".to_owned(), Node { value: Value::Array(listeners), origin });
        }
        Ok(())
    }
}

/// Reads and checks the whole configuration. Without a file the defaults are one node on loopback, in memory.
///
/// # Errors
/// The first thing that is wrong, with its key and its place.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Overrides,
) -> Result<Config, ConfigError> {
    let (root, host_name) = read_sources(file, environment, flags)?;
    let mut reader = Reader::new(root);
    let draft = Draft::read(&mut reader)?;
    reader.finish()?;
    draft.settle(host_name)
}

/// Where the node of this configuration answers over HTTP: for commands that talk to it, so the rest of the
/// configuration may be wrong or meant for another machine.
///
/// # Errors
/// The file cannot be read, or `http.bind` is not an address.
pub fn http_bind(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<SocketAddr, ConfigError> {
    let (root, _) = read_sources(file, environment, &Overrides::default())?;
    let (settings, _) = listener::read_http(&mut Reader::new(root))?;
    Ok(settings.bind)
}

/// Every key there is, as `section.key`, sorted.
#[must_use]
pub fn keys() -> Vec<String> {
    let mut reader = Reader::new(Table::new());
    let read = Draft::read(&mut reader);
    let keys = read.and_then(|_| reader.finish());
    assert!(keys.is_ok(), "an empty configuration is right: {keys:?}");
    keys.unwrap_or_default()
}

/// The tree of all sources, and the host's name as far as the environment knows it.
fn read_sources(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Overrides,
) -> Result<(Table, Option<String>), ConfigError> {
    let mut root = match file {
        Some(file) => read_file(file)?,
        None => Table::new(),
    };
    let mut host_name = None;
    let variables = environment.into_iter().inspect(|(name, value)| {
        if name == "HOSTNAME" {
            host_name = Some(value.clone());
        }
    });
    environment::overlay_environment(&mut root, variables)?;
    flags.overlay(&mut root)?;
    Ok((root, host_name))
}

fn read_file(file: &Path) -> Result<Table, ConfigError> {
    let path = file.display().to_string();
    let whole = Origin::File { path: path.as_str().into(), line: None };
    let unreadable = |error: std::io::Error| ConfigError::new(&whole, "", format!("cannot read: {error}"));
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > FILE_BYTES_MAX {
        let problem = format!("{size} bytes are too many for a configuration file");
        return Err(ConfigError::new(&whole, "", problem));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    tree::parse_file(&path, &text)
}

/// What the sources say, each value by itself.
struct Draft {
    data_dir: Option<PathBuf>,
    node_name: Option<String>,
    cluster: Option<cluster::Draft>,
    session: crate::session::Settings,
    broker: crate::broker::Settings,
    listeners: listener::Listeners,
    auth: listener::AuthDraft,
    http: (crate::http::Settings, section::Place),
    log: log::Settings,
}

impl Draft {
    fn read(reader: &mut Reader) -> Result<Self, ConfigError> {
        let mut root = reader.root(&["data_dir"]);
        let data_dir = root.take("data_dir", kind::path)?.map(|placed| placed.value);
        reader.close(root);
        let mut node = reader.section("node")?;
        let node_name = node.take("name", kind::name)?.map(|placed| placed.value);
        reader.close(node);
        let cluster = cluster::read(reader)?;
        let session = mqtt::read(reader)?;
        let mut broker = mqtt::read_broker(reader)?;
        broker.rewrite = rules::read_rewrites(reader)?;
        broker.auto_subscribe = rules::read_auto_subscribe(reader)?;
        let listeners = listener::read(reader, &session)?;
        let auth = listener::read_auth(reader)?;
        let http = listener::read_http(reader)?;
        let log = log::read(reader)?;
        Ok(Self { data_dir, node_name, cluster, session, broker, listeners, auth, http, log })
    }

    /// Checks what the values must agree on.
    fn settle(self, host_name: Option<String>) -> Result<Config, ConfigError> {
        let auth = self.listeners.settle_auth(self.auth)?;
        let mut ports = vec![(&self.http.1, self.http.0.bind)];
        ports.extend(self.cluster.as_ref().map(cluster::Draft::listen));
        let server = self.listeners.settle(&ports)?;
        let cluster = self.cluster.map(cluster::Draft::settle).transpose()?;
        Ok(Config {
            data_dir: self.data_dir,
            node_name: self.node_name.unwrap_or_else(|| default_name(host_name)),
            cluster,
            server,
            session: self.session,
            broker: self.broker,
            auth,
            http: self.http.0,
            log: self.log,
        })
    }
}

/// The host's name, as far as it is a name in our sense; else "node".
fn default_name(from_environment: Option<String>) -> String {
    let from_system = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host_name = from_environment.or_else(from_system).unwrap_or_default();
    let node = Node { value: Value::Text(host_name.trim().to_owned()), origin: Origin::Default };
    kind::name(&node).unwrap_or_else(|_| "node".to_owned())
}
