//! Real clients against one real node: what their libraries do, see and take.
//!
//! Each module is a family of clients and names the flows that it can do. A flow is written once, for all; what only
//! one family can do stands in its module. `scripts/setup-tests` installs the clients.
#![expect(clippy::disallowed_methods, reason = "process tests run in real time against real processes")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// One test for each flow that a family of clients can do.
macro_rules! flows {
    (library: $library:expr, both: [$($both:ident,)*], v5: [$($v5:ident,)*]) => {
        $(
            #[test]
            fn $both() {
                use crate::support::mqtt::Version::{V5, V311};
                crate::check(&mut $library, &[V311, V5], crate::flows::$both);
            }
        )*
        $(
            #[test]
            fn $v5() {
                use crate::support::mqtt::Version::V5;
                crate::check(&mut $library, &[V5], crate::flows_v5::$v5);
            }
        )*
    };
}

mod clients;
mod flows;
mod flows_v5;
mod gmqtt;
mod job;
mod mosquitto;
mod mqttjs;
mod paho;
mod rumqttc;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the tests of the flock use the rest")]
mod support;
mod sys;

use clients::{Clients, Library};
use support::mqtt::Version;
use support::node::{Node, PROGRAM, Spec};

const USER: &str = "fin";
const PASSWORD: &str = "feather";

/// The longest keep alive that the node takes, in seconds.
const KEEP_ALIVE_MAX: u16 = 1_200;

/// A node of its own, with [`USER`]; its files live as long as this.
struct Standalone {
    node: Node,
    _directory: tempfile::TempDir,
}

impl Standalone {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the node");
        let passwords = directory.path().join("passwords");
        add_user(&passwords);
        let passwords = passwords.display().to_string();
        let auth_lines = format!(
            "password_file = {passwords:?}\n\
             [mqtt]\n\
             max_keep_alive = {KEEP_ALIVE_MAX}\n\
             [sys]\n\
             interval = \"1s\"\n"
        );
        let spec = Spec { in_cluster: false, auth_lines, ..Spec::new("alone") };
        let mut node = Node::spawn(spec, directory.path());
        node.wait_ready();
        Self { node, _directory: directory }
    }
}

fn add_user(passwords: &Path) {
    let mut command = Command::new(PROGRAM);
    command.args(["passwd".as_ref(), passwords.as_os_str(), USER.as_ref()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("flockmq starts");
    writeln!(child.stdin.take().expect("stdin is a pipe"), "{PASSWORD}").expect("flockmq reads the password");
    assert!(child.wait().expect("flockmq can be waited for").success(), "flockmq passwd");
}

/// Runs a flow in each version, with a fresh node for each.
fn check(library: &mut dyn Library, versions: &[Version], flow: impl Fn(&mut Clients<'_>)) {
    for &version in versions {
        let mut alone = Standalone::start();
        flow(&mut Clients::new(library, version, alone.node.mqtt()));
        alone.node.assert_alive();
    }
}
