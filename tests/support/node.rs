//! One real `flockmq serve` process with its own config file, data directory and log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::ports::free_port;
use super::{PATIENCE, http, wait_for};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_flockmq");

pub(crate) const SECRET: &str = "a secret that only the tests' nodes know";

/// What goes into a node's config file.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) cluster_name: String,
    pub(crate) secret: Option<String>,
    /// Where it listens.
    pub(crate) host: Ipv4Addr,
    /// The network namespace that it runs in, when that is not the test's.
    pub(crate) namespace: Option<String>,
    pub(crate) mqtt_port: u16,
    /// The address that the mesh port is on, IPv6 in brackets.
    pub(crate) mesh_host: String,
    pub(crate) mesh_port: u16,
    pub(crate) http_port: u16,
    /// Where peers reach it, when that is not its own mesh port.
    pub(crate) advertise: Option<String>,
    pub(crate) seeds: Vec<String>,
    /// Lines that are added under `[cluster]`.
    pub(crate) cluster_lines: String,
    /// Lines that are added under `[[listener]]`.
    pub(crate) listener_lines: String,
    /// Lines that are added under `[auth]`; may end with further sections.
    pub(crate) auth_lines: String,
    /// Whether the node has peers at all.
    pub(crate) in_cluster: bool,
}

impl Spec {
    /// A node with free ports.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cluster_name: "flock".to_owned(),
            secret: Some(SECRET.to_owned()),
            host: Ipv4Addr::LOCALHOST,
            namespace: None,
            mqtt_port: free_port(),
            mesh_host: "127.0.0.1".to_owned(),
            mesh_port: free_port(),
            http_port: free_port(),
            advertise: None,
            seeds: Vec::new(),
            cluster_lines: String::new(),
            listener_lines: String::new(),
            auth_lines: String::new(),
            in_cluster: true,
        }
    }

    /// What peers and seed lists call it.
    pub(crate) fn mesh_address(&self) -> String {
        self.advertise.clone().unwrap_or_else(|| format!("{}:{}", self.mesh_host, self.mesh_port))
    }

    /// The config file's text.
    pub(crate) fn config(&self, data_dir: &Path) -> String {
        let Self { name, host, mqtt_port, http_port, listener_lines, auth_lines, .. } = self;
        let cluster = if self.in_cluster { self.cluster_section() } else { String::new() };
        let data_dir = data_dir.display().to_string();
        format!(
            "data_dir = {data_dir:?}\n\
             \n\
             [node]\n\
             name = {name:?}\n\
             \n\
             {cluster}\n\
             [[listener]]\n\
             type = \"tcp\"\n\
             bind = \"{host}:{mqtt_port}\"\n\
             {listener_lines}\n\
             [http]\n\
             bind = \"{host}:{http_port}\"\n\
             \n\
             [auth]\n\
             allow_anonymous = true\n\
             {auth_lines}"
        )
    }

    fn cluster_section(&self) -> String {
        let Self { cluster_name, mesh_host, mesh_port, seeds, cluster_lines, .. } = self;
        let secret = self.secret.as_ref().map_or_else(String::new, |secret| format!("secret = {secret:?}\n"));
        let advertise = self.advertise.as_ref().map_or_else(String::new, |a| format!("advertise = {a:?}\n"));
        format!(
            "[cluster]\n\
             name = {cluster_name:?}\n\
             listen = \"{mesh_host}:{mesh_port}\"\n\
             node_address = {seeds:?}\n\
             {secret}{advertise}{cluster_lines}\n"
        )
    }
}

/// One line of `cluster status`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeStatus {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) link: String,
    pub(crate) incarnation: u64,
}

/// What `GET /api/v1/cluster` says, as far as tests look at it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) nodes: Vec<NodeStatus>,
}

impl Status {
    /// The node of that name; the youngest, when an older self is still listed.
    pub(crate) fn node(&self, name: &str) -> Option<&NodeStatus> {
        self.nodes.iter().filter(|node| node.name == name).max_by_key(|node| node.incarnation)
    }

    /// How many nodes are live, the answering one included.
    pub(crate) fn live(&self) -> usize {
        self.nodes.iter().filter(|node| node.state == "live").count()
    }
}

/// One entry of `cluster routes`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Route {
    pub(crate) filter: String,
    pub(crate) nodes: Vec<String>,
}

#[derive(Deserialize)]
struct Routes {
    routes: Vec<Route>,
}

/// A started node. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spec: Spec,
    directory: PathBuf,
    child: Child,
}

impl Node {
    /// Starts the process; its files live below `directory`.
    #[track_caller]
    pub(crate) fn spawn(spec: Spec, directory: &Path) -> Self {
        fs::write(config_path(directory, &spec.name), spec.config(&directory.join(&spec.name)))
            .expect("the config can be written");
        let child = start(&spec, directory);
        Self { spec, directory: directory.to_owned(), child }
    }

    pub(crate) fn mqtt(&self) -> SocketAddr {
        SocketAddr::from((self.spec.host, self.spec.mqtt_port))
    }

    pub(crate) fn mesh(&self) -> SocketAddr {
        SocketAddr::from((self.spec.host, self.spec.mesh_port))
    }

    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::from((self.spec.host, self.spec.http_port))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the node has logged so far, restarts included.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log_path(&self.directory, &self.spec.name)).unwrap_or_default()
    }

    /// Waits until the node says that it is ready to serve.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) {
        let address = self.http();
        let name = self.spec.name.clone();
        wait_for(&format!("{name} becomes ready"), PATIENCE, || {
            if let Some(status) = self.child.try_wait().expect("the node can be waited for") {
                panic!("{name} ended with {status}; its log:\n{}", self.log());
            }
            http::get(address, "/health/ready").ok().filter(|answer| answer.status == 200)
        });
    }

    #[track_caller]
    fn json<T: for<'a> Deserialize<'a>>(&self, path: &str) -> T {
        let answer = http::get(self.http(), path)
            .unwrap_or_else(|error| panic!("{} does not answer {path}: {error}", self.spec.name));
        serde_json::from_str(&answer.body)
            .unwrap_or_else(|error| panic!("{path} of {}: {error} in {answer:?}", self.spec.name))
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        self.json("/api/v1/cluster")
    }

    /// The route table by `flockmq cluster routes --json`, so that the command is tested as well.
    #[track_caller]
    pub(crate) fn routes(&self) -> Vec<Route> {
        let output = flockmq(&["cluster", "routes", "--json", "--node", &self.http().to_string()]);
        assert!(output.status.success(), "{output:?}");
        let routes: Routes = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("cluster routes --json: {error} in {output:?}"));
        routes.routes
    }

    /// The names of the nodes to which this node would forward for a filter, sorted.
    #[track_caller]
    pub(crate) fn nodes_of_route(&self, filter: &str) -> Vec<String> {
        let routes = self.routes();
        let mut nodes: Vec<String> =
            routes.into_iter().filter(|route| route.filter == filter).flat_map(|route| route.nodes).collect();
        nodes.sort();
        nodes
    }

    /// A counter or gauge, all label values together; 0 while nothing was counted.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.metric_of(name, "")
    }

    /// The samples of a counter or gauge whose labels contain `labels`, added up.
    #[track_caller]
    pub(crate) fn metric_of(&self, name: &str, labels: &str) -> f64 {
        let answer = http::get(self.http(), "/metrics")
            .unwrap_or_else(|error| panic!("{} shows no metrics: {error}", self.spec.name));
        http::sample(&answer.body, name, labels).unwrap_or(0.0)
    }

    /// Resident memory in bytes.
    #[track_caller]
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// One of the sizes that Linux tells of a process, in bytes.
    #[track_caller]
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the node runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a process has a size");
        let kibibytes: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        kibibytes * 1_024
    }

    #[track_caller]
    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("the node can be waited for");
        assert!(ended.is_none(), "{} ended with {ended:?}; its log:\n{}", self.spec.name, self.log());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the node runs");
        self.child.wait().expect("the node can be waited for");
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.pid());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.spec.name);
        wait_for(&what, PATIENCE, || self.child.try_wait().expect("the node can be waited for"))
    }

    /// Starts the same node again after `kill` or `wait_exit`.
    pub(crate) fn restart(&mut self) {
        self.child = start(&self.spec, &self.directory);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about an error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn log_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.log"))
}

fn config_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.toml"))
}

fn start(spec: &Spec, directory: &Path) -> Child {
    let log = log_path(directory, &spec.name);
    let open = || -> io::Result<File> { OpenOptions::new().create(true).append(true).open(&log) };
    let mut command = match &spec.namespace {
        // It becomes the program, so the process is the node's.
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace, PROGRAM]);
            command
        }
        None => Command::new(PROGRAM),
    };
    command
        .args(["serve", "--config"])
        .arg(config_path(directory, &spec.name))
        .stdin(Stdio::null())
        .stdout(open().expect("the log can be written"))
        .stderr(open().expect("the log can be written"))
        .spawn()
        .expect("flockmq starts")
}

/// Runs a command of the program to its end, in an environment without FLOCKMQ__ variables.
#[track_caller]
pub(crate) fn flockmq(arguments: &[&str]) -> Output {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("flockmq starts");
    let limit = Duration::from_secs(60);
    let deadline = std::time::Instant::now() + limit;
    while child.try_wait().expect("flockmq can be waited for").is_none() {
        if std::time::Instant::now() > deadline {
            // The output says why, so it is read before the test fails.
            let _ = child.kill();
            let output = child.wait_with_output();
            panic!("flockmq {arguments:?} did not end within {limit:?}: {output:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("flockmq can be waited for")
}
