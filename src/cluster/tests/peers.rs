//! Nodes that come and go.

use super::node::{Node, Setup, until};
use crate::cluster::PeerState;
use crate::metrics::DropReason;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_down_and_its_next_life_is_live_again() {
    let mut nodes = Node::flock(3, &Setup::default()).await;
    let victim = nodes.remove(1);
    let id = victim.id;
    victim.reachable("old/life").await;
    nodes[0].reachable("others").await;
    let seeds = vec![nodes[0].address()];
    let address = victim.kill();
    // Messages that nobody takes any more.
    for _ in 0..3 {
        nodes[0].publish("old/life", b"lost");
    }
    for node in &nodes {
        until("it is down", || node.state_of(id) == Some(PeerState::Down)).await;
        assert_eq!(node.publish("old/life", b"x"), 0, "its routes are masked");
    }
    assert_eq!(nodes[0].dropped_as(DropReason::PeerDown), 3);
    assert_eq!(nodes[0].state_of(nodes[1].id), Some(PeerState::Live), "the others are not concerned");
    let reach = nodes[0].reachable("while/it/is/down").await;
    assert_eq!((reach.peers, reach.acknowledged), (1, 1));

    let setup = Setup { incarnation: 2, listen: address, seeds, ..Setup::default() };
    nodes.insert(1, Node::start(2, &setup).await);
    Node::converged(&nodes).await;
    assert_eq!(nodes[0].publish("old/life", b"x"), 0, "the old life's routes are gone");
    let reach = nodes[1].reachable("new/life").await;
    assert_eq!((reach.peers, reach.acknowledged), (2, 2));
    assert_eq!(nodes[0].publish("new/life", b"x"), 1);
    assert_eq!(nodes[1].publish("others", b"x"), 1);
    until("it takes messages", || nodes[1].inbound.count() == 1).await;
    until("and sends some", || nodes[0].inbound.count() == 1).await;
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_nobody_noticed_brings_the_new_routes_in_place_of_the_old() {
    let mut nodes = Node::flock(2, &Setup::default()).await;
    for incarnation in 2..6 {
        let node = nodes.remove(1);
        node.reachable(&format!("life/{}", incarnation - 1)).await;
        let seeds = vec![nodes[0].address()];
        let setup = Setup { incarnation, listen: node.kill(), seeds, ..Setup::default() };
        nodes.push(Node::start(2, &setup).await);
        Node::converged(&nodes).await;
        assert!(nodes[0].cluster.routes().is_empty(), "life {incarnation}");
    }
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_says_so_and_everything_it_sent_arrives() {
    let mut nodes = Node::flock(2, &Setup::default()).await;
    nodes[0].reachable("t").await;
    nodes[1].reachable("mine").await;
    let leaver = nodes.remove(1);
    let id = leaver.id;
    for _ in 0..1_000 {
        leaver.publish("t", b"last words");
    }
    leaver.leave().await;
    until("it has left", || nodes[0].state_of(id) == Some(PeerState::Left)).await;
    until("all has arrived", || nodes[0].inbound.count() == 1_000).await;
    assert_eq!(nodes[0].publish("mine", b"x"), 0);
    assert_eq!(nodes[0].dropped(), 0);

    let setup = Setup { incarnation: 2, seeds: vec![nodes[0].address()], ..Setup::default() };
    nodes.push(Node::start(2, &setup).await);
    Node::converged(&nodes).await;
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_set_up_anew_at_the_address_of_a_dead_one_replaces_it() {
    let mut nodes = Node::flock(2, &Setup::default()).await;
    let dead = nodes.remove(1);
    dead.reachable("t").await;
    let id = dead.id;
    let seeds = vec![nodes[0].address()];
    let setup = Setup { listen: dead.kill(), seeds, ..Setup::default() };
    until("it is down", || nodes[0].state_of(id) == Some(PeerState::Down)).await;
    nodes.push(Node::start(7, &setup).await);
    until("the dead one is forgotten", || nodes[0].state_of(id).is_none()).await;
    Node::converged(&nodes).await;
    assert!(nodes[0].cluster.routes().is_empty());
    Node::kill_all(nodes);
}
