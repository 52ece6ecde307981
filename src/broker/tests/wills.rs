//! When a Will is published, and as what.

use super::*;
use crate::codec::{Qos, Will, WillProperties};

/// A CONNECT that resumes, with a Will after `delay` seconds and a session for `expiry` seconds.
fn mortal(delay: u32, expiry: u32) -> Connect<'static> {
    let properties = WillProperties { delay: Some(delay), ..WillProperties::default() };
    let will = Will { topic: "will", payload: b"gone", qos: Qos::AtLeastOnce, retain: false, properties };
    Connect { will: Some(will), ..resuming("mortal", expiry) }
}

/// A node and somebody who reads Wills.
fn watched() -> (Node, Peer) {
    let node = Node::new();
    let watcher = node.client("watcher");
    watcher.subscribe("will", Qos::AtMostOnce);
    (node, watcher)
}

/// [MQTT5-3.1.2-8] [MQTT5-3.1.2-10] [MQTT5-3.14.4-3] [MQTT5-3.1.3-9]: after how many seconds the Will comes.
#[test]
fn the_way_of_going_decides_on_the_will() {
    type End = fn(&Peer);
    let network: End = Peer::lose_connection;
    let keep_alive: End = |peer| peer.be_refused(ReasonCode::KeepAliveTimeout);
    let goodbye: End = Peer::disconnect;
    let with_will: End = |peer| peer.disconnect_with(ReasonCode::DisconnectWithWill, None);
    let ending: End = |peer| peer.disconnect_with(ReasonCode::DisconnectWithWill, Some(0));
    let error: End = |peer| {
        peer.send_subscribe(
            "$share/g/t",
            crate::codec::SubscribeOptions { no_local: true, ..Default::default() },
            None,
        );
    };
    let check = |connect: &Connect<'_>, end: End, expected: Option<u64>| {
        let (node, watcher) = watched();
        let peer = node.welcome(connect);
        node.advance(secs(100));
        assert_eq!(watcher.received(), [""; 0], "not while it is there");
        end(&peer);
        let came_after = (0..100).find(|_| {
            let came = !watcher.received().is_empty();
            if !came {
                node.advance(secs(1));
            }
            came
        });
        assert_eq!(came_after, expected, "{connect:?}");
        node.advance(secs(7_200));
        assert_eq!(watcher.received(), [""; 0], "once only");
    };
    check(&mortal(0, 60), network, Some(0));
    check(&mortal(0, 60), keep_alive, Some(0));
    check(&mortal(0, 60), error, Some(0));
    check(&mortal(0, 60), goodbye, None);
    check(&mortal(0, 60), with_will, Some(0));
    check(&mortal(10, 60), network, Some(10));
    check(&mortal(10, 60), goodbye, None);
    check(&mortal(10, 60), with_will, Some(10));
    check(&mortal(10, 60), ending, Some(0));
    check(&mortal(90, 60), network, Some(60));
    check(&mortal(10, 0), network, Some(0));
    let old = |version| Connect { properties: ConnectProperties::default(), version, ..mortal(0, 0) };
    check(&old(V311), network, Some(0));
    check(&old(V311), goodbye, None);
}

/// [MQTT5-3.1.3-9]: a client that is back in time has no Will from before.
#[test]
fn who_comes_back_in_time_has_not_gone() {
    let (node, watcher) = watched();
    node.welcome(&mortal(10, 60)).lose_connection();
    node.advance(secs(9));
    let back = node.welcome(&resuming("mortal", 60));
    node.advance(secs(100));
    assert_eq!(watcher.received(), [""; 0]);
    back.lose_connection();
    node.advance(secs(100));
    assert_eq!(watcher.received(), [""; 0], "and none of its new connection");
}

/// The session ends with Clean Start, so the delay does not count any more.
#[test]
fn clean_start_publishes_the_will_of_the_session_that_it_ends() {
    let (node, watcher) = watched();
    node.welcome(&mortal(10, 60)).lose_connection();
    node.client("mortal");
    assert_eq!(watcher.received(), ["PUBLISH will:gone q0"]);
    node.advance(secs(100));
    assert_eq!(watcher.received(), [""; 0]);
}

/// [MQTT5-3.1.4-3]: a takeover ends the old connection; a delayed Will is not published when the session goes
/// on.
#[test]
fn a_takeover_publishes_the_will_unless_it_is_delayed() {
    let check = |delay, clean_start, expected: &[&str]| {
        let (node, watcher) = watched();
        let old = node.welcome(&mortal(delay, 60));
        let _new = node.connect(&Connect { clean_start, ..resuming("mortal", 60) });
        assert!(old.is_closed());
        node.advance(secs(30));
        assert_eq!(watcher.received(), expected, "delay {delay}, clean start {clean_start}");
    };
    check(0, false, &["PUBLISH will:gone q0"]);
    check(0, true, &["PUBLISH will:gone q0"]);
    check(10, false, &[]);
    check(10, true, &["PUBLISH will:gone q0"]);
}

/// [MQTT5-3.1.2-14] [MQTT5-3.1.2-15] [MQTT5-3.1.3.2.4]: flags, properties and an expiry that begins when the
/// Will is published.
#[test]
fn a_will_is_published_as_the_connect_says() {
    let (node, watcher) = watched();
    let [qos_1, durable] = [node.client("qos 1"), node.durable("durable")];
    qos_1.subscribe("will", Qos::ExactlyOnce);
    durable.subscribe("will", Qos::AtLeastOnce);
    durable.lose_connection();
    let mut connect = mortal(10, 60);
    let will = connect.will.as_mut().expect("it has one");
    will.retain = true;
    will.properties.message_expiry = Some(30);
    node.welcome(&connect).lose_connection();
    node.advance(secs(10));
    assert_eq!(watcher.received(), ["PUBLISH will:gone q0 expiry=30"]);
    assert_eq!(qos_1.received(), ["PUBLISH will:gone q1 #1 expiry=30"]);
    node.advance(secs(20));
    let late = node.client("late");
    late.subscribe("will", Qos::AtMostOnce);
    assert_eq!(late.received(), ["PUBLISH will:gone q0 retain expiry=10"]);
    node.advance(secs(10));
    assert_eq!(node.durable("durable").received(), [""; 0], "expired");
}

/// A Will goes to one member of a group like any other message, and not to the session that ends.
#[test]
fn a_will_reaches_a_shared_subscription() {
    let node = Node::with_strategy(SharedStrategy::Sticky);
    let peer = node.welcome(&mortal(0, 0));
    peer.subscribe("$share/g/will", Qos::AtLeastOnce);
    let other = node.client("other");
    other.subscribe("$share/g/will", Qos::AtLeastOnce);
    peer.lose_connection();
    assert_eq!(other.consume(), ["will:gone"]);
}

/// A node that stops takes its sessions along, so what is still delayed is published.
#[test]
fn a_node_that_stops_publishes_every_will() {
    let node = Node::new();
    let retained = |client_id, topic| {
        let mut connect = Connect { client_id, ..mortal(10, 60) };
        let will = connect.will.as_mut().expect("it has one");
        (will.topic, will.retain) = (topic, true);
        connect
    };
    node.welcome(&retained("away", "will/away")).lose_connection();
    let _connected = node.welcome(&retained("connected", "will/connected"));
    node.welcome(&retained("gone", "will/gone")).disconnect();
    node.broker.shutdown(node.clock.now());
    assert_eq!(node.metrics.retained.get(), 2);
}
