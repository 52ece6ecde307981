//! The table of modules (ARCHITECTURE.md, DESIGN.md section 2) and the rules that go with it, as data.
//! A new arrow is a change here, alone in its commit.

/// One module of the top level and what it may import.
pub(crate) struct Row {
    pub(crate) module: &'static str,
    pub(crate) may_import: &'static [Arrow],
    /// Whether it may count and spawn, that is import [`LEAVES`].
    pub(crate) leaves: bool,
}

/// A module that may be imported: all of it, or the paths only in which one of these names occurs. `*Name`
/// stands for every name that ends so.
pub(crate) struct Arrow {
    pub(crate) to: &'static str,
    pub(crate) only: Option<&'static [&'static str]>,
}

const fn all(to: &'static str) -> Arrow {
    Arrow { to, only: None }
}

const fn only(to: &'static str, names: &'static [&'static str]) -> Arrow {
    Arrow { to, only: Some(names) }
}

const fn row(module: &'static str, may_import: &'static [Arrow], leaves: bool) -> Row {
    Row { module, may_import, leaves }
}

/// What `config` fills in: the settings of a module and the types of their fields.
const SETTINGS: &[&str] = &["*Settings", "Listener", "Overlapping", "Secret", "SharedStrategy", "SubackMode"];

/// From the top down: a row may name rows below it only.
pub(crate) const TABLE: &[Row] = &[
    row("main", &[all("cli")], false),
    row("lib", &[], false),
    // Its own MQTT client tools (pub, sub, bench) speak the protocol without a broker, and `passwd` changes the
    // file of credentials without a node.
    row("cli", &[all("node"), all("config"), all("auth"), all("codec"), all("topic"), all("net")], true),
    // The composition root: the one place that wires everything.
    row(
        "node",
        &[
            all("config"),
            all("http"),
            all("server"),
            all("broker"),
            all("auth"),
            all("cluster"),
            all("storage"),
            all("session"),
            all("message"),
            all("topic"),
            all("codec"),
            all("net"),
        ],
        true,
    ),
    row(
        "config",
        &[
            only("http", SETTINGS),
            only("server", SETTINGS),
            only("broker", SETTINGS),
            only("auth", SETTINGS),
            only("cluster", SETTINGS),
            only("storage", SETTINGS),
            only("session", SETTINGS),
            only("net", SETTINGS),
        ],
        true,
    ),
    row("http", &[all("broker"), all("cluster"), all("net")], true),
    row(
        "server",
        &[all("broker"), all("session"), all("message"), all("topic"), all("codec"), all("net")],
        true,
    ),
    row(
        "broker",
        &[
            all("cluster"),
            all("storage"),
            all("auth"),
            all("session"),
            all("message"),
            all("topic"),
            all("codec"),
        ],
        true,
    ),
    row("auth", &[only("session", &["ClientId"]), all("topic"), all("net")], true),
    row(
        "cluster",
        &[
            only("session", &["ClientId", "Snapshot"]),
            all("message"),
            all("topic"),
            all("net"),
            all("seeded_bugs"),
        ],
        true,
    ),
    row("storage", &[only("session", &["ClientId", "Snapshot"]), all("message"), all("topic")], true),
    row("session", &[all("message"), all("topic"), all("codec")], false),
    row("message", &[all("topic"), all("codec")], false),
    row("topic", &[], false),
    row("codec", &[], false),
    row("net", &[], false),
    row("metrics", &[], false),
    row("tasks", &[], false),
    row("seeded_bugs", &[], false),
];

/// Imported by every module that does I/O, so that not every row has to say so.
pub(crate) const LEAVES: &[&str] = &["metrics", "tasks"];

/// What tests may import beside what their module may: a clock to begin at, tasks to run something.
pub(crate) const LEAVES_OF_TESTS: &[&str] = &["net", "metrics", "tasks"];

/// Modules that are plain functions of what they are given. All files below are meant.
pub(crate) const SANS_IO: &[&str] = &[
    "codec",
    "topic",
    "message",
    "session",
    "cluster::routes",
    "cluster::frame",
    "cluster::sync",
    "cluster::takeover",
    "cluster::retained",
    "cluster::directory",
];

/// What a sans-io module does not say, as tokens between spaces, and what it does instead.
pub(crate) const SANS_IO_WORDS: &[(&str, &str)] = &[
    ("tokio", "a driver around it uses the runtime"),
    ("async", "it returns, it does not wait"),
    (". await", "it returns, it does not wait"),
    ("TcpListener", "a driver around it has the sockets"),
    ("TcpStream", "a driver around it has the sockets"),
    ("UdpSocket", "a driver around it has the sockets"),
    ("UnixListener", "a driver around it has the sockets"),
    ("UnixStream", "a driver around it has the sockets"),
    ("ToSocketAddrs", "a driver around it resolves names"),
    ("fs ::", "a driver around it has the files"),
    ("thread ::", "a driver around it has the threads"),
    ("Mutex", "who owns it needs no lock"),
    ("RwLock", "who owns it needs no lock"),
    ("Condvar", "who owns it needs no lock"),
    ("DashMap", "who owns it needs no lock"),
    ("Instant :: now", "time is an argument"),
    (". elapsed", "time is an argument"),
    ("SystemTime", "time is an argument"),
];

/// Modules that a sans-io file inside a driver's module does not import, though its neighbours may.
pub(crate) const NOT_FOR_SANS_IO: &[&str] = &["net", "metrics", "tasks"];

/// STYLE.md asks for 150 to 400 lines. Tables and tests may make a file longer; from here on there is a
/// second noun in it for certain.
pub(crate) const LINES_MAX: usize = 800;

/// Names that say nothing, so that everything ends up in there.
pub(crate) const EMPTY_NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "types", "manager", "misc"];
