//! A network of its own for one test: each node in a namespace, all at one bridge that can be cut between any two.
//!
//! The test's thread moves into the bridge's namespace, so it reaches every node whatever is cut between them. It needs
//! root, `ip` and `nft`.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::node::Spec;

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    All,
    Udp,
    Tcp,
}

impl Traffic {
    const ALL: [Self; 3] = [Self::All, Self::Udp, Self::Tcp];

    fn set(self) -> &'static str {
        match self {
            Self::All => "cut",
            Self::Udp => "cut_udp",
            Self::Tcp => "cut_tcp",
        }
    }

    fn condition(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Udp => "ip protocol udp ",
            Self::Tcp => "ip protocol tcp ",
        }
    }
}

/// The namespaces; dropping it removes them.
#[derive(Debug)]
pub(crate) struct Network {
    name: String,
    nodes: usize,
}

impl Network {
    /// A network for so many nodes; the calling thread is in it afterwards. `None`, said aloud, where namespaces
    /// cannot be made.
    #[expect(clippy::print_stderr, reason = "a test that could not run must not pass in silence")]
    pub(crate) fn new(nodes: usize) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let network = Self { name: format!("flock{}x{count}", std::process::id()), nodes };
        match network.build() {
            Ok(()) => Some(network),
            Err(problem) => {
                eprintln!("SKIPPED: no network namespaces here: {problem}");
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let bridge = &self.name;
        run("ip", &["netns", "add", bridge])?;
        run("nft", &["--version"])?;
        ip(bridge, "link add br0 type bridge")?;
        ip(bridge, "addr add 10.77.0.254/24 dev br0")?;
        for device in ["lo", "br0"] {
            ip(bridge, &format!("link set {device} up"))?;
        }
        for node in 0..self.nodes {
            let (namespace, port) = (self.namespace(node), port(node));
            run("ip", &["netns", "add", &namespace])?;
            ip(bridge, &format!("link add {port} type veth peer name eth0 netns {namespace}"))?;
            ip(bridge, &format!("link set {port} master br0 up"))?;
            ip(&namespace, &format!("addr add {}/24 dev eth0", host(node)))?;
            for device in ["lo", "eth0"] {
                ip(&namespace, &format!("link set {device} up"))?;
            }
        }
        self.nft("add table bridge flock")?;
        self.nft("add chain bridge flock forward { type filter hook forward priority 0 ; }")?;
        for traffic in Traffic::ALL {
            let (set, condition) = (traffic.set(), traffic.condition());
            self.nft(&format!("add set bridge flock {set} {{ type ifname . ifname ; }}"))?;
            self.nft(&format!("add rule bridge flock forward {condition}iifname . oifname @{set} drop"))?;
        }
        self.enter()
    }

    /// Moves the calling thread, and what it starts, into the bridge's namespace.
    fn enter(&self) -> Result<(), String> {
        let path = format!("/run/netns/{}", self.name);
        let file = std::fs::File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("{path}: {error}"))
    }

    fn namespace(&self, node: usize) -> String {
        format!("{}n{node}", self.name)
    }

    fn nft(&self, command: &str) -> Result<(), String> {
        run("ip", &["netns", "exec", &self.name, "nft", command])
    }

    /// Puts a node's spec into the network. Each namespace has all ports for itself.
    pub(crate) fn place(&self, node: usize, spec: &mut Spec) {
        spec.host = host(node);
        spec.mesh_host = spec.host.to_string();
        spec.namespace = Some(self.namespace(node));
        (spec.mqtt_port, spec.mesh_port, spec.http_port) = (1883, 7946, 8080);
    }

    /// From now on nothing of this kind that `from` sends reaches `to`.
    #[track_caller]
    pub(crate) fn cut_one_way(&self, traffic: Traffic, from: usize, to: usize) {
        let element = format!("{} . {}", port(from), port(to));
        self.nft(&format!("add element bridge flock {} {{ {element} }}", traffic.set())).expect("nft works");
    }

    /// Nothing of this kind passes between these two sides.
    #[track_caller]
    pub(crate) fn cut(&self, traffic: Traffic, one: &[usize], other: &[usize]) {
        for (from, to) in one.iter().flat_map(|from| other.iter().map(move |to| (*from, *to))) {
            self.cut_one_way(traffic, from, to);
            self.cut_one_way(traffic, to, from);
        }
    }

    /// Everything passes again.
    #[track_caller]
    pub(crate) fn heal(&self) {
        for traffic in Traffic::ALL {
            self.nft(&format!("flush set bridge flock {}", traffic.set())).expect("nft works");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Some of them may never have been made.
        for namespace in (0..self.nodes).map(|node| self.namespace(node)).chain([self.name.clone()]) {
            let _ = run("ip", &["netns", "del", &namespace]);
        }
    }
}

fn host(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(node + 1).expect("a few nodes"))
}

fn port(node: usize) -> String {
    format!("port{node}")
}

fn ip(namespace: &str, command: &str) -> Result<(), String> {
    let arguments: Vec<&str> = ["-n", namespace].into_iter().chain(command.split(' ')).collect();
    run("ip", &arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
