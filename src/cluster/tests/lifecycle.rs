//! What operators do: join, leave, forget; and what a node may change from one life to the next.

use std::time::Duration;

use super::node::{Node, Setup, until};
use super::proxy::Proxy;
use super::registry::Registry;
use crate::cluster::{ForgetError, JoinError, PeerState};
use crate::net::TcpListener;

/// Whether nothing of the node is left in this one.
fn is_gone_at(node: &Node, id: crate::cluster::NodeId) -> bool {
    let status = node.cluster.status();
    let page = node.metrics.encode().unwrap();
    status.nodes.iter().all(|seen| seen.id != id)
        && !page.contains(&format!("flockmq_cluster_route_lag{{peer=\"{}\"}}", id.short()))
        && node.cluster.beliefs().owners.iter().all(|belief| belief.owner != id)
        && !node.cluster.mesh.has_link(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_node_is_gone_everywhere_and_returns_only_in_a_new_life() {
    let mut nodes = Node::flock(3, &Setup::default()).await;
    let victim = nodes.remove(1);
    victim.reachable("old/life").await;
    let (id, seeds) = (victim.id, vec![nodes[0].address()]);
    let address = victim.kill();
    for node in &nodes {
        until("it is down", || node.state_of(id) == Some(PeerState::Down)).await;
        assert_eq!(node.cluster.routes().len(), 1, "masked, not forgotten");
    }
    assert!(nodes[0].metrics.encode().unwrap().contains(&format!("route_lag{{peer=\"{}\"}}", id.short())));

    let forgotten = nodes[0].cluster.forget("node2", false).unwrap();
    assert_eq!((forgotten.id, forgotten.incarnation), (id, 1));
    for node in &nodes {
        until("it is gone", || is_gone_at(node, id)).await;
        assert!(node.cluster.routes().is_empty());
    }
    assert_eq!(nodes[1].cluster.forget("node2", false), Err(ForgetError::Unknown("node2".to_owned())));

    // Whoever comes later hears that it is forgotten, not of it.
    let newcomer = Setup { seeds: seeds.clone(), ..Setup::default() };
    nodes.push(Node::start(4, &newcomer).await);
    Node::converged(&nodes).await;
    until("the newcomer knows", || nodes[2].cluster.mesh.refuses(id, 1)).await;
    assert!(is_gone_at(&nodes[2], id));

    // The same life again, as from a copy of its disk.
    let old = Setup { listen: address.clone(), seeds: seeds.clone(), ..Setup::default() };
    let old = Node::start(2, &old).await;
    old.cluster.advertise(&super::node::route("from/the/dead"));
    until("it is refused", || 0 < nodes[0].rejected("gossip_twin")).await;
    assert!(!old.cluster.is_ready());
    assert!(nodes.iter().all(|node| is_gone_at(node, id) && node.cluster.routes().is_empty()));
    old.kill();

    let new = Setup { incarnation: 2, listen: address, seeds, ..Setup::default() };
    nodes.push(Node::start(2, &new).await);
    Node::converged(&nodes).await;
    assert_eq!(nodes[3].reachable("new/life").await.acknowledged, 3);
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_node_is_forgotten_by_force_only_and_then_it_knows() {
    let mut nodes = Node::flock(3, &Setup::default()).await;
    nodes[1].reachable("t").await;
    let id = nodes[1].id;
    let setup =
        Setup { label: Some("node3".to_owned()), seeds: vec![nodes[0].address()], ..Setup::default() };
    nodes.push(Node::start(4, &setup).await);
    Node::converged(&nodes).await;
    let ambiguous =
        ForgetError::Ambiguous { word: "node3".to_owned(), nodes: vec![nodes[2].id, nodes[3].id] };
    assert_eq!(nodes[0].cluster.forget("node3", true), Err(ambiguous));
    let alive = ForgetError::Alive { name: "node2".to_owned(), state: "live" };
    assert_eq!(nodes[0].cluster.forget(&id.to_string(), false), Err(alive));
    assert_eq!(nodes[0].cluster.forget("node1", true), Err(ForgetError::Own("node1".to_owned())));
    assert_eq!(nodes[0].publish("t", b"x"), 1, "nothing happened");

    nodes[0].cluster.forget(&id.to_string(), true).unwrap();
    until("it knows", || nodes[1].cluster.is_forgotten()).await;
    assert!(!nodes[1].cluster.is_ready());
    for node in [&nodes[0], &nodes[2]] {
        until("it is gone", || is_gone_at(node, id)).await;
        assert_eq!(node.publish("t", b"x"), 0);
    }
    assert_eq!(nodes[0].state_of(nodes[2].id), Some(PeerState::Live), "the others are not concerned");
    // It goes on knocking, and by gossip it is heard; nothing comes of it.
    until("it was refused", || 1 < nodes[0].rejected("mesh_forgotten")).await;
    assert!(is_gone_at(&nodes[0], id) && is_gone_at(&nodes[2], id));
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_no_link_learns_by_gossip_who_is_forgotten() {
    let registry = Registry::default();
    let setup = Setup { registry: Some(registry.clone()), ..Setup::default() };
    // A port where nobody listens.
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let (id, far) = (super::node::id(2), super::node::id(3));
    registry.detour(super::node::id(1), far, nowhere.clone());
    registry.detour(far, super::node::id(1), nowhere);
    let mut nodes = Vec::new();
    for number in 1..4 {
        nodes.push(Node::start(number, &setup).await);
    }
    until("two are linked", || nodes[0].state_of(id) == Some(PeerState::Live)).await;
    until("so are two others", || nodes[2].state_of(id) == Some(PeerState::Live)).await;
    nodes[1].reachable("t").await;
    nodes.remove(1).kill();
    until("it is down", || nodes[0].state_of(id) == Some(PeerState::Down)).await;
    assert_eq!(nodes[0].state_of(far), Some(PeerState::Suspect), "there is no link");
    nodes[0].cluster.forget("node2", false).unwrap();
    for node in &nodes {
        until("it is gone", || is_gone_at(node, id)).await;
    }
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_gone_for_long_is_cleaned_away_and_let_in_again() {
    let setup = Setup { autoclean: Some(Duration::from_millis(1_000)), ..Setup::default() };
    let mut nodes = Node::flock(3, &setup).await;
    let (left, killed) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    left.reachable("left").await;
    killed.reachable("killed").await;
    let ids = [left.id, killed.id];
    let addresses = [left.address(), killed.kill()];
    left.leave().await;
    until("both are gone", || ids.iter().all(|&id| is_gone_at(&nodes[0], id))).await;
    assert!(nodes[0].cluster.routes().is_empty());
    let seeds = vec![nodes[0].address()];
    for (number, listen) in [3, 2].into_iter().zip(addresses) {
        let setup = Setup { incarnation: 2, listen, seeds: seeds.clone(), ..setup.clone() };
        nodes.push(Node::start(number, &setup).await);
    }
    Node::converged(&nodes).await;
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_routes_of_a_node_that_leaves_are_dropped_at_once() {
    let mut nodes = Node::flock(2, &Setup::default()).await;
    nodes[1].reachable("mine").await;
    let leaver = nodes.remove(1);
    let id = leaver.id;
    leaver.cluster.mesh.start_leaving();
    until("it has left", || nodes[0].state_of(id) == Some(PeerState::Left)).await;
    assert!(nodes[0].cluster.routes().is_empty());
    let node = nodes[0].cluster.forget("node2", false).unwrap();
    assert_eq!(node.id, id, "whoever has left can be forgotten");
    leaver.kill();
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_seeds_joins_by_any_node() {
    let mut nodes = Node::flock(2, &Setup::default()).await;
    nodes[0].reachable("t").await;
    let alone = Node::start(3, &Setup::default()).await;
    until("it is ready", || alone.cluster.is_ready()).await;
    let met = alone.cluster.join(&nodes[1].address()).await.unwrap();
    assert_eq!((met.id, met.name.as_str()), (nodes[1].id, "node2"));
    nodes.push(alone);
    Node::converged(&nodes).await;
    assert_eq!(nodes[2].publish("t", b"x"), 1);
    nodes[2].cluster.join(&nodes[1].address()).await.unwrap();
    assert_eq!(nodes[1].rejected_by("mesh_"), 0, "asking who is there disturbs nobody");

    // And by a name.
    let alone = Node::start(4, &Setup::default()).await;
    let name = nodes[2].address().replace("127.0.0.1", "localhost");
    alone.cluster.join(&name).await.unwrap();
    nodes.push(alone);
    Node::converged(&nodes).await;
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_join_says_why() {
    let node = Node::start(1, &Setup::default()).await;
    let check = async |setup: Setup, expected: &str| {
        let joiner = Node::start(2, &setup).await;
        let error = joiner.cluster.join(&node.address()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        joiner.kill();
    };
    check(Setup { secret: "fur", ..Setup::default() }, "another secret").await;
    check(Setup { name: "herd", ..Setup::default() }, "another cluster name").await;

    let own = node.cluster.join(&node.address()).await.unwrap_err().to_string();
    assert!(own.contains("leads back to this node"), "{own}");
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = node.cluster.join(&nowhere).await.unwrap_err();
    assert!(matches!(&error, JoinError::Probe { address, .. } if *address == nowhere), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = node.cluster.join(&silent.local_addr().unwrap().to_string()).await.unwrap_err().to_string();
    assert!(error.contains("no answer within 3s"), "{error}");

    // TCP gets there, UDP does not.
    let other = Node::start(3, &Setup::default()).await;
    let (proxy, listener) = Proxy::unbound().await;
    proxy.lead_to(listener, other.cluster.local_addr());
    let error = node.cluster.join(&proxy.address).await.unwrap_err();
    assert!(matches!(&error, JoinError::NoGossip { name, .. } if name == "node3"), "{error}");
    Node::kill_all(vec![node, other]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_may_change_its_name_and_its_address() {
    let mut nodes = Node::flock(3, &Setup::default()).await;
    for incarnation in 2..4 {
        let node = nodes.remove(1);
        node.reachable(&format!("life/{}", incarnation - 1)).await;
        let (id, before) = (node.id, node.kill());
        let label = Some(format!("renamed{incarnation}"));
        let seeds = vec![nodes[0].address()];
        let setup = Setup { incarnation, label: label.clone(), seeds, ..Setup::default() };
        nodes.insert(1, Node::start(2, &setup).await);
        Node::converged(&nodes).await;
        assert_ne!(nodes[1].address(), before);
        for other in [&nodes[0], &nodes[2]] {
            let known = other.cluster.status().nodes.into_iter().find(|seen| seen.id == id).unwrap();
            assert_eq!((Some(known.name), known.address), (label.clone(), nodes[1].address()));
            assert!(other.cluster.routes().is_empty());
        }
    }
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_may_restart_at_once() {
    let nodes = Node::flock(3, &Setup::default()).await;
    nodes[2].reachable("old").await;
    let addresses: Vec<String> = nodes.into_iter().map(Node::kill).collect();
    let mut nodes = Vec::new();
    for (number, listen) in (1..).zip(&addresses) {
        let setup =
            Setup { incarnation: 2, listen: listen.clone(), seeds: addresses.clone(), ..Setup::default() };
        nodes.push(Node::start(number, &setup).await);
    }
    Node::converged(&nodes).await;
    assert!(nodes.iter().all(|node| node.cluster.routes().is_empty()));
    assert_eq!(nodes[0].reachable("new").await.acknowledged, 2);
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_meet_over_ipv6() {
    let setup = Setup { listen: "[::1]:0".to_owned(), ..Setup::default() };
    let nodes = Node::flock(3, &setup).await;
    assert!(nodes[0].address().starts_with("[::1]:"));
    nodes[2].reachable("t").await;
    assert_eq!(nodes[1].publish("t", b"x"), 1);
    until("it arrives", || nodes[2].inbound.count() == 1).await;
    let alone = Node::start(9, &setup).await;
    alone.cluster.join(&nodes[1].address()).await.unwrap();
    alone.kill();
    Node::kill_all(nodes);
}
