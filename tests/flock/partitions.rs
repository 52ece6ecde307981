//! Real partitions: nodes in network namespaces, cut apart by the kernel and joined again.
//!
//! Where namespaces cannot be made (no root, no `nft`) each test says SKIPPED and passes.

use std::time::Duration;

use crate::network::{Network, Traffic};
use crate::support::flock::Flock;
use crate::support::mqtt::{Client, Options, Version};
use crate::support::node::Node;
use crate::support::{PATIENCE, wait_until};

/// By default the others must report a lost node within this time. Part of the outside contract.
const REPORTED_DOWN_WITHIN: Duration = Duration::from_secs(5);

/// Three nodes, each in a namespace; `None` where there can be none.
fn three_nodes() -> Option<(Network, Flock)> {
    let network = Network::new(3)?;
    let flock = Flock::start_with(3, |node, spec| network.place(node, spec));
    Some((network, flock))
}

fn client(flock: &Flock, node: usize, name: &str) -> Client {
    Client::connect(flock.nodes[node].mqtt(), &Options::new(Version::V5, name))
}

/// A message that is published at one node now reaches a subscriber at another.
#[track_caller]
fn check_flow(publisher: &mut Client, subscriber: &mut Client, topic: &str, payload: &str) {
    publisher.publish(topic, payload.as_bytes(), 1);
    let message = subscriber.expect_message();
    assert_eq!((message.topic.as_str(), message.payload.as_slice()), (topic, payload.as_bytes()));
}

#[test]
fn both_sides_of_a_partition_serve_and_join_without_a_restart() {
    let Some((network, mut flock)) = three_nodes() else { return };
    let mut clients = [0, 1, 2].map(|node| client(&flock, node, &format!("client{node}")));
    clients[2].subscribe("from/#", 1);
    let before = flock.nodes[0].status();

    network.cut(Traffic::All, &[0, 1], &[2]);
    for (node, lost) in [(0, "node3"), (1, "node3"), (2, "node1"), (2, "node2")] {
        flock.wait_state(node, lost, &["down"]);
    }
    // Each side serves itself, and its clients change their minds meanwhile.
    clients[0].subscribe("majority/#", 1);
    let [first, second, third] = &mut clients;
    third.subscribe("minority/#", 1);
    check_flow(second, first, "majority/1", "two nodes are left");
    third.publish("minority/1", b"one node is left", 1);
    assert_eq!(third.expect_message().payload, b"one node is left");
    third.unsubscribe("from/#");

    network.heal();
    flock.wait_converged(3);
    flock.wait_route("from/#", &[]);
    check_flow(third, first, "majority/2", "from the other side");
    check_flow(first, third, "minority/2", "and back");
    let after = flock.nodes[0].status();
    for name in ["node1", "node2", "node3"] {
        let (before, after) = (before.node(name).unwrap(), after.node(name).unwrap());
        assert_eq!((&before.id, before.incarnation), (&after.id, after.incarnation), "{name} was restarted");
    }
    flock.nodes.iter_mut().for_each(Node::assert_alive);
}

#[test]
fn a_partition_shows_in_metrics_and_under_sys() {
    let Some((network, flock)) = three_nodes() else { return };
    let mut reader = client(&flock, 0, "reader");
    reader.subscribe("$SYS/cluster/nodes/live", 0);
    network.cut(Traffic::All, &[0], &[1, 2]);
    let down = || flock.nodes[0].metric_of("flockmq_cluster_peers", "state=\"down\"");
    wait_until("both peers are counted as down", REPORTED_DOWN_WITHIN, down, |count| *count == 2.0);
    loop {
        if reader.expect_message().payload == b"1" {
            break;
        }
    }
    network.heal();
    flock.wait_converged(3);
    wait_until("no peer is counted as down", PATIENCE, down, |count| *count == 0.0);
}

#[test]
fn a_cut_in_one_direction_is_named_and_heals() {
    let Some((network, flock)) = three_nodes() else { return };
    let mut subscriber = client(&flock, 1, "subscriber");
    let mut publisher = client(&flock, 0, "publisher");
    network.cut_one_way(Traffic::All, 0, 1);
    // Nothing that needs an answer works between the two, while node3 still hears of both.
    for (node, other) in [(0, "node2"), (1, "node1")] {
        flock.wait_state(node, other, &["suspect", "down"]);
    }
    let mut third = client(&flock, 2, "third");
    third.subscribe("one/way", 1);
    check_flow(&mut publisher, &mut third, "one/way", "to node3");
    network.heal();
    flock.wait_converged(3);
    subscriber.subscribe("both/ways", 1);
    check_flow(&mut publisher, &mut subscriber, "both/ways", "again");
}

/// Links alone carry everything: heartbeats, routes and messages.
#[test]
fn without_gossip_the_links_carry_on() {
    let Some((network, flock)) = three_nodes() else { return };
    network.cut(Traffic::Udp, &[0], &[1, 2]);
    network.cut(Traffic::Udp, &[1], &[2]);
    let mut subscriber = client(&flock, 1, "subscriber");
    let mut publisher = client(&flock, 0, "publisher");
    let start = std::time::Instant::now();
    let mut round = 0;
    // Longer than a silent node is believed in.
    while start.elapsed() < Duration::from_secs(4) {
        let topic = format!("round/{round}");
        subscriber.subscribe(&topic, 1);
        check_flow(&mut publisher, &mut subscriber, &topic, "by the links");
        subscriber.unsubscribe(&topic);
        round += 1;
    }
    for node in &flock.nodes {
        assert_eq!(node.status().live(), 3, "{} sees all as live", node.spec.name);
    }
    network.heal();
    flock.wait_converged(3);
}

/// Without links nothing can be forwarded: the peers are suspect, and known to be alive.
#[test]
fn without_links_gossip_tells_that_a_peer_lives() {
    let Some((network, flock)) = three_nodes() else { return };
    let mut publisher = client(&flock, 0, "publisher");
    let mut subscriber = client(&flock, 1, "subscriber");
    subscriber.subscribe("kept/#", 1);
    network.cut(Traffic::Tcp, &[0], &[1]);
    flock.wait_state(0, "node2", &["suspect"]);
    flock.wait_state(1, "node1", &["suspect"]);
    // What is published meanwhile is kept for the peer and comes when a link is there again.
    publisher.publish("kept/1", b"kept", 1);
    network.heal();
    assert_eq!(subscriber.expect_message().payload, b"kept");
    flock.wait_converged(3);
}
