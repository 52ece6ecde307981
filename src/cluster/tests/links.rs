//! What links promise when the network does not: nothing lost, nothing twice, order kept, bounds held.

use super::node::{Node, Setup, id, publish, route, until};
use super::proxy::Proxy;
use super::registry::Registry;
use crate::cluster::PeerState;
use crate::metrics::DropReason;

/// Two nodes in step, each of which reaches the other through a proxy.
struct Pair {
    sender: Node,
    receiver: Node,
    /// What the sender dials.
    proxy: Proxy,
    /// What the receiver dials.
    back: Proxy,
    registry: Registry,
}

impl Pair {
    async fn start(setup: &Setup) -> Self {
        let registry = Registry::default();
        let setup = Setup { registry: Some(registry.clone()), ..setup.clone() };
        let (back, back_listener) = Proxy::unbound().await;
        registry.detour(id(2), id(1), back.address.clone());
        let receiver = Node::start(2, &setup).await;
        let (proxy, listener) = Proxy::unbound().await;
        registry.detour(id(1), id(2), proxy.address.clone());
        proxy.lead_to(listener, receiver.cluster.local_addr());
        let sender = Node::start(1, &setup).await;
        back.lead_to(back_listener, sender.cluster.local_addr());
        let nodes = [sender, receiver];
        Node::converged(&nodes).await;
        let [sender, receiver] = nodes;
        receiver.reachable("t").await;
        Self { sender, receiver, proxy, back, registry }
    }

    fn check_received(&self, expected: impl Iterator<Item = u32>) {
        let taken = self.receiver.inbound.taken();
        let numbers: Vec<u32> =
            taken.iter().map(|taken| u32::from_be_bytes(taken.payload[..4].try_into().unwrap())).collect();
        let expected: Vec<u32> = expected.collect();
        let differs = numbers.iter().zip(&expected).position(|(number, expected)| number != expected);
        assert_eq!((differs, numbers.len()), (None, expected.len()), "where it differs, and how many");
    }

    fn end(self) {
        self.sender.kill();
        self.receiver.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_links_lose_nothing_double_nothing_and_keep_the_order() {
    let pair = Pair::start(&Setup::default()).await;
    let mut sent = 0u32;
    for _ in 0..20 {
        for _ in 0..200 {
            let mut payload = sent.to_be_bytes().to_vec();
            payload.resize(4 + (sent as usize * 37) % 500, 0);
            assert_eq!(pair.sender.publish("t", &payload), 1);
            sent += 1;
        }
        // Some arrive, then the connection breaks with the rest on the way.
        let before = pair.receiver.inbound.count();
        until("some arrive", || before < pair.receiver.inbound.count()).await;
        pair.proxy.cut();
    }
    until("all have arrived", || sent as usize <= pair.receiver.inbound.count()).await;
    until("all are acknowledged", || pair.sender.unacked(pair.receiver.id) == 0).await;
    pair.check_received(0..sent);
    assert_eq!((pair.sender.dropped(), pair.receiver.dropped()), (0, 0));
    pair.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_bytes_end_the_connection_and_lose_nothing() {
    let pair = Pair::start(&Setup::default()).await;
    for number in 0..500u32 {
        if number % 100 == 50 {
            pair.proxy.corrupt_once();
        }
        pair.sender.publish("t", &number.to_be_bytes());
        if number % 10 == 0 {
            until("it arrives", || number as usize <= pair.receiver.inbound.count()).await;
        }
    }
    until("all have arrived", || 500 <= pair.receiver.inbound.count()).await;
    pair.check_received(0..500);
    let damaged = pair.receiver.rejected("mesh_record") + pair.receiver.rejected("mesh_proof");
    assert!(0 < damaged, "the damage was seen");
    pair.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_into_the_buffer_is_dropped_and_counted() {
    let pair = Pair::start(&Setup { link_buffer_bytes: 100_000, ..Setup::default() }).await;
    pair.proxy.refuse(true);
    until("the link is lost", || pair.sender.state_of(pair.receiver.id) == Some(PeerState::Suspect)).await;
    let mut kept = 0;
    for number in 0..2_000u32 {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(100, 0);
        kept += pair.sender.publish("t", &payload);
    }
    assert!(0 < kept && kept < 1_000, "{kept} fit");
    assert_eq!(pair.sender.dropped_as(DropReason::LinkFull), 2_000 - kept as u64);
    pair.proxy.refuse(false);
    until("what was kept arrives", || pair.receiver.inbound.count() == kept).await;
    pair.check_received(0..kept as u32);
    until("it is acknowledged", || pair.sender.unacked(pair.receiver.id) == 0).await;
    assert_eq!(pair.sender.publish("t", &[0; 200_000]), 0, "longer than the buffer");
    assert_eq!(pair.sender.publish("t", &[0; 4]), 1, "there is room again");
    pair.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_the_broker_cannot_bear_does_not_come_back() {
    let pair = Pair::start(&Setup::default()).await;
    pair.receiver.reachable("panic").await;
    pair.sender.forward(&publish("panic", b"boom"));
    pair.sender.publish("t", &0u32.to_be_bytes());
    until("the next one arrives", || pair.receiver.inbound.count() == 1).await;
    until("both are acknowledged", || pair.sender.unacked(pair.receiver.id) == 0).await;
    assert_eq!(pair.receiver.rejected("mesh_panic"), 1);
    pair.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_without_a_link_is_suspect_and_still_learns_routes_by_gossip() {
    let pair = Pair::start(&Setup::default()).await;
    pair.proxy.refuse(true);
    until("the link is lost", || pair.sender.state_of(pair.receiver.id) == Some(PeerState::Suspect)).await;
    for n in 0..20 {
        pair.sender.cluster.advertise(&route(&format!("by/gossip/{n}")));
    }
    until("the routes are there", || {
        let routes = pair.receiver.cluster.routes();
        (0..20).all(|n| routes.iter().any(|route| route.filter == format!("by/gossip/{n}")))
    })
    .await;
    let status = pair.sender.cluster.status();
    assert!(status.nodes[1].reason.starts_with("link: "), "{}", status.nodes[1].reason);
    assert!(!status.converged);
    // A barrier counts it, since its clients may publish; what gossip tells is an acknowledgement too.
    let reach = pair.sender.reachable("by/gossip/20").await;
    assert_eq!((reach.peers, reach.acknowledged), (1, 1));
    assert_eq!(pair.receiver.publish("by/gossip/20", b"x"), 1, "the other direction has its own connection");
    until("it arrives", || pair.sender.inbound.count() == 1).await;
    pair.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_falls_silent_without_closing_anything_is_down() {
    let pair = Pair::start(&Setup::default()).await;
    // Like a host that lost its power: connections stay open and nothing comes.
    pair.proxy.freeze(true);
    pair.back.freeze(true);
    pair.registry.set_silent(pair.receiver.id, true);
    pair.sender.publish("t", &0u32.to_be_bytes());
    until("it is down", || pair.sender.state_of(pair.receiver.id) == Some(PeerState::Down)).await;
    assert_eq!(pair.sender.dropped_as(DropReason::PeerDown), 1);
    pair.proxy.freeze(false);
    pair.back.freeze(false);
    pair.registry.set_silent(pair.receiver.id, false);
    until("it is back", || pair.sender.state_of(pair.receiver.id) == Some(PeerState::Live)).await;
    until("its routes are in use again", || pair.sender.publish("t", &1u32.to_be_bytes()) == 1).await;
    // What was given up may have been on its way all the same; it never comes after what was sent later.
    until("messages arrive", || {
        pair.receiver.inbound.taken().last().is_some_and(|taken| taken.payload == 1u32.to_be_bytes())
    })
    .await;
    assert!(pair.receiver.inbound.count() <= 2);
    pair.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_peer_cannot_tell_another_one_does() {
    let registry = Registry::default();
    // A log that is shorter than what is missing, so that gossip alone cannot carry it.
    let setup = Setup { registry: Some(registry.clone()), route_log_max: 8, ..Setup::default() };
    let (second, third) = (Node::start(2, &setup).await, Node::start(3, &setup).await);
    let (proxy, listener) = Proxy::unbound().await;
    proxy.refuse(true);
    proxy.lead_to(listener, second.cluster.local_addr());
    registry.detour(id(1), id(2), proxy.address.clone());
    let first = Node::start(1, &setup).await;
    for n in 0..1_000 {
        first.cluster.advertise(&route(&format!("many/{n}")));
    }
    until("the third node knows them", || third.cluster.routes().len() == 1_000).await;
    until("so does the second", || second.cluster.routes().len() == 1_000).await;
    assert_eq!(proxy.accepted(), 0);
    Node::kill_all(vec![first, second, third]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_table_comes_as_a_snapshot() {
    let setup = Setup { route_log_max: 100, ..Setup::default() };
    let first = Node::start(1, &setup).await;
    for n in 0..20_000 {
        first.cluster.advertise(&route(&format!("building/{n}/+/temperature")));
    }
    let second = Node::start(2, &Setup { seeds: vec![first.address()], ..setup }).await;
    let nodes = [first, second];
    Node::converged(&nodes).await;
    let [first, second] = nodes;
    assert_eq!(second.cluster.status().nodes[1].routes, 20_000);
    assert_eq!(second.publish("building/19999/3/temperature", b"x"), 1);
    first.cluster.withdraw(&route("building/19999/+/temperature"));
    until("changes go on", || second.cluster.status().nodes[1].routes == 19_999).await;
    Node::kill_all(vec![first, second]);
}
