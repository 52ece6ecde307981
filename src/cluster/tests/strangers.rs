//! Who does not know the secret: what it gets, and what it can do.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::node::{Node, Setup, until};
use crate::net::mesh::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_secret_or_name_never_joins() {
    let nodes = Node::flock(2, &Setup::default()).await;
    nodes[0].reachable("private/#").await;
    for (number, setup) in [
        (8, Setup { secret: "scales", ..Setup::default() }),
        (9, Setup { name: "other", ..Setup::default() }),
    ] {
        let setup = Setup { seeds: vec![nodes[0].address()], ..setup };
        let before = nodes[0].rejected_by("gossip");
        let stranger = Node::start(number, &setup).await;
        until("its datagrams are refused", || before + 5 < nodes[0].rejected_by("gossip")).await;
        assert_eq!(stranger.cluster.status().nodes.len(), 1, "it learned of nobody");
        assert!(stranger.cluster.routes().is_empty());
        assert!(!stranger.cluster.is_ready());
        assert!(nodes.iter().all(|node| node.state_of(stranger.id).is_none()));
        stranger.kill();
    }
    assert!(nodes[0].cluster.status().converged);
    Node::kill_all(nodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_on_the_mesh_port_is_closed_counted_and_not_answered() {
    let nodes = Node::flock(2, &Setup::default()).await;
    check_junk(&nodes[0], b"GET / HTTP/1.1\r\nHost: flock\r\n\r\n", "mesh_preamble").await;
    check_junk(&nodes[0], &[0; 4_096], "mesh_preamble").await;
    check_junk(&nodes[0], b"\x10\x1c\0\x04MQTT\x05\x02\0\0\0\0\x0fjunk-junk-junk-", "mesh_preamble").await;
    check_junk(&nodes[0], b"FLKM\x01\x01\x01\0otherflk", "mesh_cluster").await;
    assert!(nodes[0].cluster.status().converged, "nobody else noticed");
    Node::kill_all(nodes);
}

async fn check_junk(node: &Node, junk: &[u8], reason: &'static str) {
    let before = node.rejected(reason);
    let mut stream = TcpStream::connect(node.cluster.local_addr()).await.unwrap();
    stream.write_all(junk).await.unwrap();
    let mut answer = Vec::new();
    // A reset is a close too: the junk was not read to its end.
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"", "answer to {junk:?}");
    until(reason, || node.rejected(reason) == before + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_silent_connections_is_bounded_and_keeps_nobody_out() {
    let first = Node::start(1, &Setup::default()).await;
    let mut crowd = Vec::new();
    while first.rejected("mesh_busy") < 10 {
        crowd.push(TcpStream::connect(first.cluster.local_addr()).await.unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(crowd.len() < 500, "the bound is not there");
    }
    let second = Node::start(2, &Setup { seeds: vec![first.address()], ..Setup::default() }).await;
    let nodes = [first, second];
    Node::converged(&nodes).await;
    until("the silent ones are closed", || 0 < nodes[0].rejected("mesh_timeout")).await;
    Node::kill_all(nodes.into());
}
