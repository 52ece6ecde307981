//! Who does not know the secret can neither join, nor inject, nor learn; and what they send is counted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::support::chance::Chance;
use crate::support::flock::Flock;
use crate::support::mqtt::{Client, Options, Version, is_timeout};
use crate::support::node::{Node, Spec, Status};
use crate::support::ports::free_port;
use crate::support::relay::Relay;
use crate::support::{PATIENCE, wait_until};

const REJECTED: &str = "flockmq_cluster_rejected_total";

/// More than a hello and its proof, less than any table.
const ANSWER_BYTES_MAX: usize = 1_024;

#[test]
fn a_node_with_another_secret_stays_alone() {
    check_stays_alone(|spec| spec.secret = Some("not the secret of the others".to_owned()));
}

#[test]
fn a_node_of_another_cluster_stays_alone() {
    check_stays_alone(|spec| spec.cluster_name = "herd".to_owned());
}

fn check_stays_alone(differ: impl FnOnce(&mut Spec)) {
    let mut flock = Flock::start(3);
    let mut insider = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "insider"));
    insider.subscribe("#", 1);
    flock.wait_route("#", &["node1"]);
    let before: Vec<f64> = flock.nodes.iter().map(|node| node.metric(REJECTED)).collect();

    let mut spec = Spec::new("stranger");
    spec.seeds = flock.nodes.iter().map(|node| node.spec.mesh_address()).collect();
    differ(&mut spec);
    let stranger = flock.spawn(spec);
    flock.nodes[stranger].wait_ready();
    for (node, before) in flock.nodes[..stranger].iter().zip(before) {
        let what = format!("{} counts the stranger's attempts", node.spec.name);
        wait_until(&what, PATIENCE, || node.metric(REJECTED), |&now| now >= before + 5.0);
    }

    for node in &flock.nodes[..stranger] {
        let status = node.status();
        assert_eq!(status.live(), 3, "{status:#?}");
        assert!(status.node("stranger").is_none(), "{status:#?}");
    }
    let alone = &flock.nodes[stranger];
    assert_eq!(alone.status().live(), 1, "{:#?}", alone.status());
    assert_eq!(alone.routes(), [], "it learnt a subscription");
    let mut outsider = Client::connect(alone.mqtt(), &Options::new(Version::V5, "outsider"));
    outsider.publish("injected", b"", 1);
    let mut publisher =
        Client::connect(flock.nodes[1].mqtt(), &Options::new(Version::V5, "insider's friend"));
    publisher.publish("end", b"", 1);
    assert_eq!(insider.messages_before("end"), [], "it injected a message");
}

/// What must not change whatever is thrown at the nodes.
fn identities(status: &Status) -> Vec<(String, u64, String)> {
    let mut nodes: Vec<_> =
        status.nodes.iter().map(|node| (node.id.clone(), node.incarnation, node.state.clone())).collect();
    nodes.sort();
    nodes
}

#[test]
fn junk_and_replays_on_the_mesh_port_change_nothing_and_are_counted() {
    let mut relays = Vec::new();
    let mut flock = Flock::start_with(3, |_, spec| {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, spec.mesh_port));
        let relay = Relay::start(free_port(), target);
        spec.advertise = Some(relay.address.to_string());
        relays.push(relay);
    });
    // What came before a node was there to receive it would be late, not repeated.
    relays.iter().for_each(Relay::forget_datagrams);
    let mut insider = Client::connect(flock.nodes[2].mqtt(), &Options::new(Version::V5, "insider"));
    insider.subscribe("private/filter", 1);
    insider.subscribe("end", 1);
    flock.wait_route("private/filter", &["node3"]);
    let mut publisher = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "publisher"));
    publisher.publish("private/filter", b"private payload", 1);
    assert_eq!(insider.expect_message().payload, b"private payload");
    flock.wait_converged(3);
    let captured_datagrams: Vec<Vec<Vec<u8>>> = relays.iter().map(captured_gossip).collect();
    let captured_streams: Vec<Vec<u8>> = relays.iter().flat_map(Relay::streams).collect();
    assert!(captured_streams.iter().any(|stream| !stream.is_empty()), "links went past the relays");
    let leaks =
        captured_datagrams.iter().flatten().filter(|bytes| contains(bytes, b"private/filter")).count();
    assert_eq!(leaks, 0, "gossip datagrams show a subscription to everybody on the way");
    let before: Vec<_> = flock.nodes.iter().map(|node| identities(&node.status())).collect();

    for (node, datagrams) in flock.nodes.iter().zip(&captured_datagrams) {
        check_datagrams(node, datagrams);
    }
    for node in &flock.nodes {
        check_streams(node, &captured_streams);
    }

    for node in &mut flock.nodes {
        node.assert_alive();
    }
    flock.wait_converged(3);
    let after: Vec<_> = flock.nodes.iter().map(|node| identities(&node.status())).collect();
    assert_eq!(before, after, "a stranger changed the membership");
    flock.wait_route("private/filter", &["node3"]);
    assert_eq!(flock.nodes[0].routes().len(), 2, "a stranger changed the routes");
    publisher.publish("end", b"", 1);
    assert_eq!(insider.messages_before("end"), [], "a stranger injected a message");
}

fn captured_gossip(relay: &Relay) -> Vec<Vec<u8>> {
    wait_until(
        "gossip goes past the relay",
        PATIENCE,
        || relay.datagrams(),
        |datagrams| datagrams.len() >= 20,
    )
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Random, damaged and replayed datagrams: dropped, counted, never answered.
fn check_datagrams(node: &Node, captured: &[Vec<u8>]) {
    const BATCH: usize = 16;
    let mut chance = Chance::new(u64::from(node.spec.mesh_port));
    let mut junk: Vec<Vec<u8>> =
        (0..200).map(|n| chance.bytes(if n % 10 == 0 { 9_000 } else { 1_400 })).collect();
    for datagram in captured.iter().take(200) {
        let mut damaged = datagram.clone();
        chance.damage(&mut damaged);
        if damaged != *datagram {
            junk.push(damaged);
        }
        junk.push(datagram.clone());
    }
    junk.retain(|datagram| !datagram.is_empty());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free UDP port");
    socket.set_nonblocking(true).expect("a socket can be polled");
    for batch in junk.chunks(BATCH) {
        // In small batches, so that the kernel drops none of them before the node has seen it.
        let before = node.metric(REJECTED);
        for datagram in batch {
            socket.send_to(datagram, node.mesh()).expect("loopback takes a datagram");
        }
        let what = format!("{} counts {} strange datagrams", node.spec.name, batch.len());
        wait_until(&what, PATIENCE, || node.metric(REJECTED), |&now| now >= before + batch.len() as f64);
    }
    let answer = socket.recv_from(&mut [0; 2_048]);
    assert!(answer.is_err(), "{} answered a stranger's datagram: {answer:?}", node.spec.name);
}

/// Noise, cut and replayed beginnings of links: closed after at most a hello, and counted.
fn check_streams(node: &Node, captured: &[Vec<u8>]) {
    let mut chance = Chance::new(u64::from(node.spec.mesh_port) + 1);
    let mut junk: Vec<Vec<u8>> = (0..60).map(|_| chance.bytes(3_000)).collect();
    junk.push(vec![0xFF; 4]);
    junk.push(vec![0; 64]);
    junk.push([&[0xFF, 0xFF, 0xFF, 0x7F][..], &[0x41; 4_096][..]].concat());
    junk.push(b"GET / HTTP/1.1\r\nHost: flock\r\n\r\n".to_vec());
    for stream in captured.iter().take(12) {
        junk.push(stream.clone());
        let mut damaged = stream.clone();
        chance.damage(&mut damaged);
        junk.push(damaged);
        junk.push(stream[..chance.below(stream.len().max(1))].to_vec());
    }
    let before = node.metric(REJECTED);
    for bytes in &junk {
        check_stream(node, bytes, true);
    }
    // A few that stay open and silent after a beginning: the handshake has a deadline.
    check_stream(node, &[], false);
    check_stream(node, &captured[0][..captured[0].len().min(3)], false);
    let what = format!("{} counts {} strange connections", node.spec.name, junk.len());
    // Those that end before saying anything may count as nothing.
    let at_least = before + junk.len() as f64 / 2.0;
    wait_until(&what, PATIENCE, || node.metric(REJECTED), |&now| now >= at_least);
}

fn check_stream(node: &Node, bytes: &[u8], ends: bool) {
    let mut stream = TcpStream::connect(node.mesh()).expect("the mesh port accepts");
    // The node may close before it has read everything.
    let _ = stream.write_all(bytes);
    if ends {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let answer = read_to_end(&mut stream);
    let answer =
        answer.unwrap_or_else(|| panic!("{} keeps a stranger's link open: {bytes:02x?}", node.spec.name));
    assert!(answer.len() <= ANSWER_BYTES_MAX, "{} told a stranger {} bytes", node.spec.name, answer.len());
    assert!(!contains(&answer, b"private"), "{} told a stranger a subscription", node.spec.name);
}

/// All that comes until the connection is closed or reset; `None` when it stays open.
fn read_to_end(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("the time is not zero");
    let mut all = Vec::new();
    let mut buffer = [0; 4_096];
    while Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => return Some(all),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if is_timeout(&error) => {}
            Err(_) => return Some(all),
        }
    }
    None
}
