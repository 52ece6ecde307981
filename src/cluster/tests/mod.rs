//! Several clusters in one process, over real sockets on loopback.

mod lifecycle;
mod links;
mod node;
mod peers;
mod proxy;
mod registry;
mod strangers;

use self::node::{Node, Setup, publish, until};
use super::PeerState;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_reaches_every_peer_and_its_withdrawal_too() {
    let nodes = Node::flock(3, &Setup::default()).await;
    let key = node::route("sensors/+/temperature");
    nodes[0].cluster.advertise(&key);
    for node in &nodes {
        until("the route is everywhere", || {
            let routes = node.cluster.routes();
            routes.iter().any(|route| route.filter == "sensors/+/temperature" && route.nodes == ["node1"])
        })
        .await;
    }
    nodes[0].cluster.withdraw(&key);
    for node in &nodes {
        until("the route is gone everywhere", || node.cluster.routes().is_empty()).await;
    }
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_after_a_route_is_reachable_arrives() {
    let nodes = Node::flock(2, &Setup::default()).await;
    for round in 0..1_000 {
        let topic = format!("round/{round}");
        let reach = nodes[1].reachable(&topic).await;
        assert_eq!((reach.peers, reach.acknowledged), (1, 1), "{topic}");
        assert_eq!(nodes[0].publish(&topic, b"now"), 1, "{topic}");
    }
    until("all have arrived", || nodes[1].inbound.count() == 1_000).await;
    assert_eq!(nodes[1].dropped(), 0);
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_peer_gets_one_copy_and_passes_nothing_on() {
    let nodes = Node::flock(3, &Setup::default()).await;
    for filter in ["a/b", "a/+", "a/#", "#"] {
        nodes[1].reachable(filter).await;
        nodes[2].reachable(filter).await;
    }
    assert_eq!(nodes[0].publish("a/b", b"one"), 2);
    assert_eq!(nodes[0].publish("c", b"two"), 2);
    assert_eq!(nodes[0].publish("$SYS/uptime", b"never"), 0);
    for node in &nodes[1..] {
        until("both have arrived", || node.inbound.count() == 2).await;
        let taken = node.inbound.taken();
        assert_eq!(taken.iter().map(|taken| taken.topic.as_str()).collect::<Vec<_>>(), ["a/b", "c"]);
        assert!(taken.iter().all(|taken| taken.from == nodes[0].id && taken.id.incarnation == 1));
        assert!(taken[0].id.seq < taken[1].id.seq);
    }
    assert_eq!(nodes[0].inbound.count(), 0);
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_arrives_as_it_left() {
    let nodes = Node::flock(2, &Setup::default()).await;
    nodes[1].reachable("t").await;
    let payload = vec![7; 300_000];
    let mut publication = publish("t", &payload);
    publication.retain = true;
    publication.qos = crate::message::Qos::ExactlyOnce;
    publication.properties = &[0x26, 0, 1, b'k', 0, 1, b'v'];
    publication.publisher = Some("client 1");
    assert_eq!(nodes[0].forward(&publication), 1);
    until("it has arrived", || nodes[1].inbound.count() == 1).await;
    let taken = nodes[1].inbound.taken().remove(0);
    assert_eq!((&taken.payload, taken.retain), (&payload, true));
    assert_eq!((taken.qos, taken.properties), (publication.qos, publication.properties.to_vec()));
    assert_eq!(taken.publisher.as_deref(), Some("client 1"));
    until("the burst was ended", || 0 < nodes[1].inbound.bursts()).await;
    until("it is acknowledged", || nodes[0].unacked(nodes[1].id) == 0).await;
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_ready_and_converged_once_it_is_in_step_with_its_seeds() {
    let alone = Node::start(1, &Setup::default()).await;
    until("a node without seeds is ready", || alone.cluster.is_ready()).await;
    let second = Node::start(2, &Setup { seeds: vec![alone.address()], ..Setup::default() }).await;
    assert!(!second.cluster.is_ready(), "it has not met its seed yet");
    until("it met its seed", || second.cluster.is_ready()).await;
    assert_eq!(second.state_of(alone.id), Some(PeerState::Live));
    until("both agree", || alone.cluster.status().converged && second.cluster.status().converged).await;
    let status = serde_json::to_value(alone.cluster.status()).unwrap();
    assert_eq!(status["nodes"][0]["self"], true);
    assert_eq!(status["nodes"][1]["state"], "live");
    assert_eq!(status["nodes"][1]["digest"].as_str().map(str::len), Some(16));
    Node::kill_all(vec![alone, second]);
}
