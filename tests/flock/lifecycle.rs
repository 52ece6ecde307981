//! Nodes join, leave, are forgotten and return changed; and all agree in the end, as `cluster verify` says.

use std::process::Output;
use std::time::Duration;

use crate::support::flock::Flock;
use crate::support::mqtt::{Client, Options, Version};
use crate::support::node::{Node, Spec, flockmq};
use crate::support::{PATIENCE, wait_until};

fn cluster(node: &Node, arguments: &[&str]) -> Output {
    let http = node.http().to_string();
    flockmq(&[&["cluster"], arguments, &["--node", &http]].concat())
}

#[track_caller]
fn succeeded(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not in {said}");
}

#[track_caller]
fn failed(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(words.iter().all(|word| said.contains(word)), "{words:?} are not in {said}");
}

#[test]
fn a_dead_node_is_forgotten_by_all_and_returns_in_a_new_life() {
    let mut flock = Flock::start(3);
    let mut client = Client::connect(flock.nodes[1].mqtt(), &Options::new(Version::V5, "lost"));
    client.subscribe("lost/#", 1);
    flock.wait_route("lost/#", &["node2"]);
    succeeded(&cluster(&flock.nodes[0], &["verify"]), &["all 3 nodes agree"]);
    failed(&cluster(&flock.nodes[0], &["forget", "node2"]), &["node2 is live, not down"]);
    failed(&cluster(&flock.nodes[0], &["forget", "node9"]), &["node9"]);

    flock.nodes[1].kill();
    for n in [0, 2] {
        flock.wait_state(n, "node2", &["down"]);
    }
    failed(&cluster(&flock.nodes[0], &["verify"]), &["node2 could not be asked: it is down", "2 agree"]);
    succeeded(&cluster(&flock.nodes[0], &["forget", "node2"]), &["node2", "is forgotten"]);
    for n in [0, 2] {
        let node = &flock.nodes[n];
        wait_until("node2 is gone", PATIENCE, || node.status(), |status| status.node("node2").is_none());
        wait_until("so are its routes", PATIENCE, || node.routes(), Vec::is_empty);
    }
    succeeded(&cluster(&flock.nodes[2], &["verify"]), &["all 2 nodes agree"]);

    flock.nodes[1].restart();
    flock.nodes[1].wait_ready();
    flock.wait_converged(3);
    succeeded(&cluster(&flock.nodes[1], &["verify"]), &["all 3 nodes agree"]);
    let json = cluster(&flock.nodes[1], &["verify", "--json"]);
    succeeded(&json, &["\"agree\": true", "\"asked\": 3"]);
}

/// Reason code 0x8B is "Server shutting down".
#[test]
fn a_node_that_is_asked_to_leave_does_so_as_on_sigterm() {
    let mut flock = Flock::start(3);
    let mut client = Client::connect(flock.nodes[2].mqtt(), &Options::new(Version::V5, "client"));
    client.subscribe("t", 1);
    flock.wait_route("t", &["node3"]);
    succeeded(&cluster(&flock.nodes[2], &["leave"]), &["node3", "leaves"]);
    assert!(client.wait_closed(Duration::from_secs(20)), "the connection is closed");
    assert_eq!(client.disconnect_reason, Some(0x8B));
    assert_eq!(flock.nodes[2].wait_exit().code(), Some(0), "{}", flock.nodes[2].log());
    for n in [0, 1] {
        flock.wait_state(n, "node3", &["left"]);
        assert!(flock.nodes[n].routes().is_empty());
    }
    succeeded(&cluster(&flock.nodes[0], &["verify"]), &["all 2 nodes agree"]);
    succeeded(&cluster(&flock.nodes[1], &["forget", "node3"]), &["is forgotten"]);
}

#[test]
fn a_node_without_seeds_joins_at_run_time() {
    let mut flock = Flock::empty();
    for n in 1..=3 {
        let n = flock.spawn(Spec::new(&format!("node{n}")));
        flock.nodes[n].wait_ready();
    }
    let addresses: Vec<String> = flock.nodes.iter().map(|node| node.spec.mesh_address()).collect();
    succeeded(&cluster(&flock.nodes[1], &["join", &addresses[0]]), &["joined by node1"]);
    // By the one that joined last, and by a name.
    let by = addresses[1].replace("127.0.0.1", "localhost");
    succeeded(&cluster(&flock.nodes[2], &["join", &by]), &["joined by node2"]);
    flock.wait_converged(3);
    failed(&cluster(&flock.nodes[0], &["join", &addresses[0]]), &["leads back to this node"]);
    failed(&cluster(&flock.nodes[0], &["join", "127.0.0.1:1"]), &["cannot join by 127.0.0.1:1"]);
    failed(&cluster(&flock.nodes[0], &["wait"]), &["--converged"]);
}

#[test]
fn all_nodes_restart_at_once_with_seeds_that_are_names_and_one_new_address() {
    check_restart("127.0.0.1", "localhost");
}

#[test]
fn all_nodes_restart_at_once_over_ipv6() {
    check_restart("[::1]", "[::1]");
}

#[track_caller]
fn check_restart(host: &str, host_in_seeds: &str) {
    let mut flock = Flock::start_with(3, |_, spec| spec.mesh_host = host.to_owned());
    // The second and third know the first only.
    let first = flock.nodes[0].spec.mesh_address().replace(host, host_in_seeds);
    let mut client = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "client"));
    client.subscribe("t", 1);
    flock.wait_route("t", &["node1"]);
    for node in &mut flock.nodes {
        node.kill();
    }
    let specs: Vec<Spec> = flock.nodes.iter().map(|node| node.spec.clone()).collect();
    let moved = Spec::new("node3");
    for (n, spec) in specs.into_iter().enumerate() {
        let mesh_port = if n == 2 { moved.mesh_port } else { spec.mesh_port };
        let seeds = if n == 0 { Vec::new() } else { vec![first.clone()] };
        flock.nodes[n] = Node::spawn(Spec { mesh_port, seeds, ..spec }, flock.directory());
    }
    flock.wait_converged(3);
    flock.wait_route("t", &[]);
    succeeded(&cluster(&flock.nodes[0], &["verify"]), &["all 3 nodes agree"]);
}
