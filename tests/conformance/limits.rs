//! Limits of either side: packet sizes, windows, silence.

use std::time::Duration;

use crate::node::TestNode;
use crate::packets::{self, Connect, PUBACK, Publish, V5, V31, V311, acknowledgement_with};
use crate::property::{
    PACKET_SIZE_MAX, RECEIVE_MAXIMUM, REQUEST_PROBLEM, SESSION_EXPIRY, SUBSCRIPTION_ID, byte, four, two,
    varint,
};

/// [MQTT5-3.1.2-24] [MQTT5-3.1.2-25]: nothing larger than the client takes; what is too large is as if delivered, and
/// others get it.
#[test]
fn the_clients_maximum_packet_size_is_kept() {
    let node = TestNode::start();
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("a", 0);
    for qos in [0, 1, 2] {
        let mut client = node.connect(&Connect::new(V5, "client").property(four(PACKET_SIZE_MAX, 100)));
        client.subscribe("a", qos);
        let mut publisher = node.client(V5, "publisher");
        // 2 bytes of header, 3 of topic, 1 of properties, 2 of identifier.
        let room = 100 - 2 - 3 - 1 - if qos == 0 { 0 } else { 2 };
        let fits = "x".repeat(room);
        let too_large = "x".repeat(room + 1);
        publisher.say("a", &too_large, qos);
        publisher.say("a", &fits, qos);
        let line = client.receive();
        assert!(line.contains(&format!("\"{fits}\"")), "{line}");
        assert_eq!(client.last_len, 100, "QoS {qos}");
        client.expect_silence();
        for payload in [&too_large, &fits] {
            watcher.expect(&[&format!("PUBLISH a \"{payload}\" q0")]);
        }
    }
}

/// [MQTT5-3.1.2-25]: a message that is dropped so gives its place back and does not come after a reconnect.
#[test]
fn a_message_that_is_too_large_leaves_nothing_behind() {
    let node = TestNode::start();
    let small =
        Connect::lasting(V5, "client").property(four(PACKET_SIZE_MAX, 50)).property(two(RECEIVE_MAXIMUM, 1));
    let mut client = node.connect(&small);
    client.subscribe("a", 2);
    let mut publisher = node.client(V5, "publisher");
    let large = "x".repeat(100);
    publisher.say("a", &large, 1);
    publisher.say("a", &large, 2);
    publisher.say("a", "small", 2);
    let line = client.receive();
    assert!(line.starts_with("PUBLISH a \"small\" q2 #"), "{line}");
    client.die();
    let mut client = node.connect(&Connect::lasting(V5, "client"));
    assert!(client.receive().starts_with("PUBLISH a \"small\" q2 #"));
    client.expect_silence();
    // What waits meanwhile is measured against the connection that it meets.
    client.disconnect();
    publisher.say("a", &large, 1);
    let mut client = node.connect(&small);
    assert!(client.receive().starts_with("PUBLISH a \"small\" q2 #"));
    client.expect_silence();
}

/// [MQTT5-3.2.2-19] [MQTT5-3.2.2-20] [MQTT5-3.4.2-2] [MQTT5-3.4.2-3] [MQTT5-3.5.2-2] [MQTT5-3.5.2-3] [MQTT5-3.6.2-2]
/// [MQTT5-3.6.2-3] [MQTT5-3.7.2-2] [MQTT5-3.7.2-3] [MQTT5-3.9.2-1] [MQTT5-3.9.2-2] [MQTT5-3.11.2-1] [MQTT5-3.11.2-2]
/// [MQTT5-3.14.2-2] [MQTT5-3.14.2-3] [MQTT5-3.14.2-4] [MQTT5-3.1.2-29]: acknowledgements of the node say no more than
/// their codes, so they fit into a packet size that leaves room for nothing else.
#[test]
fn acknowledgements_stay_small() {
    let node = TestNode::start();
    for request_problem in [0, 1] {
        let connect = Connect::new(V5, "client")
            .property(four(PACKET_SIZE_MAX, 40))
            .property(byte(REQUEST_PROBLEM, request_problem));
        let mut client = node.connect(&connect);
        assert!(client.last_len <= 40, "CONNACK of {} bytes", client.last_len);
        client.send(&packets::subscribe(V5, 1, &[], &[("a", 2), ("#/a", 0)]));
        client.expect(&["SUBACK #1 [02 8F]"]);
        client.send(&packets::unsubscribe(V5, 2, &["b"]));
        client.expect(&["UNSUBACK #2 [11]"]);
        client.send(&Publish::new("nobody", "x").qos(1, 3).bytes(V5));
        client.send(&Publish::new("$x", "x").qos(2, 4).bytes(V5));
        client.pubrel(9);
        client.pubrec(9);
        client.expect(&["PUBACK #3 0x10", "PUBREC #4 0x87", "PUBCOMP #9 0x92", "PUBREL #9 0x92"]);
        client.send(&[0x00, 0x00]);
        client.expect(&["DISCONNECT 0x81", "closed"]);
    }
}

/// [MQTT5-3.2.2-15] [MQTT5-3.3.4-7]: the node's own limits are announced and kept.
#[test]
fn the_nodes_own_limits_are_announced() {
    let node = TestNode::with(|config| {
        config.session.receive_maximum = 2;
        config.session.packet_size_max = 200;
        config.session.topic_alias_maximum = 0;
    });
    let mut peer = node.connecting(&Connect::new(V5, "client"));
    let connack = peer.receive();
    assert!(connack.starts_with("CONNACK 0x00 receive-maximum=2 packet-size=200"), "{connack}");
    assert!(!connack.contains("alias-maximum"), "{connack}");
    for id in [1, 2] {
        peer.send(&Publish::new("a", "x").qos(2, id).bytes(V5));
        peer.expect(&[&format!("PUBREC #{id} 0x10")]);
    }
    // QoS 0 needs no place, and a PUBREL gives one back.
    peer.say("a", "x", 0);
    peer.pubrel(1);
    peer.expect(&["PUBCOMP #1"]);
    peer.send(&Publish::new("a", "x").qos(1, 3).bytes(V5));
    peer.expect(&["PUBACK #3 0x10"]);
    peer.send(&Publish::new("a", "x").qos(2, 4).bytes(V5));
    peer.expect(&["PUBREC #4 0x10"]);
    peer.send(&Publish::new("a", "x").qos(1, 5).bytes(V5));
    peer.expect_refusal(0x93);
    let mut peer = node.client(V5, "client");
    peer.send(&Publish::new("a", "x").property(two(crate::property::TOPIC_ALIAS, 1)).bytes(V5));
    peer.expect_refusal(0x94);
    // 200 bytes pass, one more does not; older versions are not told, but held to it as well.
    for version in [V311, V5] {
        let room = 200 - 3 - 3 - usize::from(version == V5);
        let mut peer = node.client(version, "client");
        peer.say("a", &"x".repeat(room), 0);
        peer.send(&Publish::new("a", &"x".repeat(room + 1)).bytes(version));
        peer.expect_refusal(0x95);
    }
}

/// [MQTT5-3.1.2-22] [MQTT5-3.2.2-22] [MQTT311-3.1.2-24]: one and a half Keep Alives of silence end the connection;
/// any packet counts.
#[test]
fn silence_ends_the_connection() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        let mut peer = node.connect(&Connect::new(version, "client").keep_alive(10));
        for _ in 0..4 {
            node.advance_secs(14);
            peer.expect_silence();
        }
        node.advance_secs(14);
        peer.say("a", "x", 1);
        node.advance_secs(14);
        peer.expect_silence();
        node.advance_secs(17);
        peer.expect_refusal(0x8D);
        // What the node sends does not count.
        let mut peer = node.connect(&Connect::new(version, "client").keep_alive(10));
        peer.subscribe("a", 0);
        let mut publisher = node.client(V5, "publisher");
        for _ in 0..4 {
            node.advance_secs(4);
            publisher.say("a", "x", 0);
        }
        let heard = peer.until_closed(Duration::from_secs(5));
        assert!(heard.len() >= 4 && heard.last().is_some_and(|last| last == "closed"), "{heard:?}");
    }
}

/// [MQTT5-3.1.2-22]: Keep Alive 0 turns it off.
#[test]
fn without_keep_alive_silence_is_no_matter() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        let mut peer = node.client(version, "client");
        node.advance_secs(10_000);
        peer.expect_silence();
    }
}

/// [MQTT5-3.1.2-21] [MQTT5-3.2.2-21]: the node's own Keep Alive is told, and then it counts.
#[test]
fn the_servers_keep_alive_overrides_the_clients() {
    let node = TestNode::with(|config| config.session.keep_alive_max = 20);
    for (asked, silence) in [(100, 30), (0, 30), (65_535, 30), (20, 30), (10, 15)] {
        let mut peer = node.connecting(&Connect::new(V5, "client").keep_alive(asked));
        let connack = peer.receive();
        assert_eq!(connack.contains(" keep-alive=20"), asked == 0 || asked > 20, "{asked}: {connack}");
        node.advance_secs(silence - 1);
        peer.expect_silence();
        node.advance_secs(silence + 2);
        peer.expect_refusal(0x8D);
    }
    // 3.1.1 has no way to tell, so the client's own counts.
    let mut old = node.connect(&Connect::new(V311, "old").keep_alive(100));
    node.advance_secs(140);
    old.expect_silence();
}

/// Section 3.1.4: a connection that never sends its CONNECT is closed.
#[test]
fn a_connection_without_connect_is_closed() {
    let node = TestNode::start();
    let mut silent = node.open(V5);
    let mut slow = node.open(V311);
    slow.send(&Connect::new(V311, "slow").bytes()[..5]);
    node.advance_secs(12);
    silent.expect_closed();
    slow.expect_closed();
}

/// [MQTT5-3.1.3-8] and section 3.1.2.11.2: the limits on identifiers and sessions are told.
#[test]
fn the_limit_on_sessions_is_told() {
    let node = TestNode::with(|config| config.session.session_expiry_max = Some(Duration::from_secs(60)));
    for (asked, told) in [(30, None), (60, None), (61, Some(60)), (u32::MAX, Some(60))] {
        let mut peer = node.connecting(&Connect::new(V5, "client").property(four(SESSION_EXPIRY, asked)));
        let connack = peer.receive();
        let expected = told.map(|seconds: u32| format!(" session-expiry={seconds}"));
        assert_eq!(connack.contains(" session-expiry="), expected.is_some(), "{connack}");
        assert!(connack.contains(&expected.unwrap_or_default()), "{connack}");
    }
}

/// Section 3.9.3: a client with too many subscriptions hears 0x97, or 0x80, for the one too many.
#[test]
fn the_limit_on_subscriptions_is_told_filter_by_filter() {
    let node = TestNode::with(|config| config.session.subscriptions_max = 2);
    for (version, code) in [(V31, "80"), (V311, "80"), (V5, "97")] {
        let mut peer = node.client(version, "client");
        peer.send(&packets::subscribe(version, 1, &[], &[("a", 0), ("b", 1), ("c", 2), ("a", 1)]));
        peer.expect(&[&format!("SUBACK #1 [00 01 {code} 01]")]);
        peer.unsubscribe("a");
        peer.subscribe("c", 2);
    }
}

/// Section 3.3.2.3.8: the identifier may be as large as a variable byte integer.
#[test]
fn the_largest_subscription_identifier_is_taken() {
    let node = TestNode::start();
    let mut client = node.client(V5, "client");
    let mut publisher = node.client(V5, "publisher");
    for id in [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
        client.subscribe_with("a", 0, &varint(SUBSCRIPTION_ID, id));
        publisher.say("a", "x", 0);
        client.expect(&[&format!("PUBLISH a \"x\" q0 id={id}")]);
    }
}

/// A code of the client's acknowledgement is no reason to close.
#[test]
fn every_code_of_an_acknowledgement_is_taken() {
    let node = TestNode::start();
    let mut client = node.client(V5, "client");
    client.subscribe("a", 1);
    let mut publisher = node.client(V5, "publisher");
    for (id, code) in (1..).zip([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]) {
        publisher.say("a", "x", 1);
        client.expect(&[&format!("PUBLISH a \"x\" q1 #{id}")]);
        client.send(&acknowledgement_with(PUBACK, id, code));
    }
    client.expect_silence();
}
