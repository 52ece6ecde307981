//! Sessions: how they begin, go on, change hands and end.

use crate::node::TestNode;
use crate::packets::{Connect, Publish, V5, V31, V311, Version, disconnect};
use crate::property::{ASSIGNED_CLIENT_ID, SESSION_EXPIRY, four};

const NEVER: u32 = u32::MAX;

/// Connects, and says whether the node had a session.
#[track_caller]
fn is_present(node: &TestNode, connect: &Connect) -> bool {
    let mut peer = node.connecting(connect);
    let connack = peer.receive();
    assert!(connack.starts_with("CONNACK 0x00"), "{connack}");
    peer.disconnect();
    connack.starts_with("CONNACK 0x00 present")
}

fn lasting_v5(seconds: u32) -> Connect {
    Connect::new(V5, "client").clean(false).property(four(SESSION_EXPIRY, seconds))
}

/// [MQTT5-3.1.4-5] [MQTT5-3.2.0-1] [MQTT5-3.2.0-2] [MQTT5-3.2.2-1] [MQTT5-3.2.2-8] [MQTT5-2.2.2-1] [MQTT311-3.1.4-4]
/// [MQTT311-3.2.0-1] [MQTT311-3.2.2-3]: one CONNACK, before everything else, with the limits that are not the
/// protocol's own.
#[test]
fn connack_comes_first_and_once() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        let mut peer = node.open(version);
        // A client need not wait for the CONNACK before it goes on.
        let connect = Connect::new(version, "client").bytes();
        let subscribe = crate::packets::subscribe(version, 7, &[], &[("a", 0)]);
        let publish = Publish::new("a", "x").bytes(version);
        peer.send(&[connect, subscribe, publish].concat());
        let connack = peer.receive();
        if version == V5 {
            let rest = connack.strip_prefix("CONNACK 0x00 receive-maximum=256 packet-size=1048576");
            assert!(rest.is_some_and(|rest| rest.contains(" alias-maximum=16")), "{connack}");
        } else {
            assert_eq!(connack, "CONNACK 0x00");
        }
        peer.expect(&["SUBACK #7 [00]", "PUBLISH a \"x\" q0"]);
        peer.expect_silence();
    }
}

/// [MQTT5-3.1.2-4] [MQTT5-3.1.2-5] [MQTT5-3.1.2-6] [MQTT5-3.1.4-4] [MQTT5-3.2.2-2] [MQTT5-3.2.2-3] [MQTT5-4.1.0-2]
/// [MQTT311-3.1.2-4] [MQTT311-3.1.2-6] [MQTT311-3.1.4-3] [MQTT311-3.2.2-1] [MQTT311-3.2.2-2] [MQTT311-3.2.2-3]
#[test]
fn session_present_tells_what_there_was() {
    let node = TestNode::start();
    // In 3.1 the byte is reserved.
    assert!(!is_present(&node, &Connect::lasting(V31, "client")));
    assert!(!is_present(&node, &Connect::lasting(V31, "client")));
    is_present(&node, &Connect::new(V31, "client"));
    for version in [V311, V5] {
        let lasting = Connect::lasting(version, "client");
        let clean = Connect::new(version, "client");
        assert!(!is_present(&node, &lasting), "{version:?}: there was none");
        assert!(is_present(&node, &lasting), "{version:?}: it was kept");
        assert!(!is_present(&node, &clean), "{version:?}: it is discarded");
        assert!(!is_present(&node, &lasting), "{version:?}: the clean one ended with its connection");
        assert!(!is_present(&node, &clean));
    }
}

/// [MQTT311-3.1.2-4]: a session outlives a change of the version in which its client speaks.
#[test]
fn a_session_survives_a_change_of_version() {
    let node = TestNode::start();
    let mut publisher = node.client(V5, "publisher");
    let mut client = node.connect(&Connect::lasting(V311, "client"));
    client.subscribe("a", 1);
    client.disconnect();
    publisher.say("a", "x", 1);
    let mut client = node.connecting(&Connect::lasting(V5, "client"));
    assert!(client.receive().starts_with("CONNACK 0x00 present"));
    client.expect(&["PUBLISH a \"x\" q1 #1"]);
    client.puback(1);
    client.expect_silence();
    client.disconnect();
    assert!(is_present(&node, &Connect::lasting(V311, "client")));
}

/// [MQTT5-3.1.2-23] [MQTT5-4.1.0-2] and section 3.1.2.11.2: 0, a time, never.
#[test]
fn a_session_expires_after_its_interval() {
    let node = TestNode::start();
    let check = |seconds: u32, wait: u64, kept: bool| {
        assert!(!is_present(&node, &Connect::new(V5, "client")));
        is_present(&node, &lasting_v5(seconds));
        node.advance_secs(wait);
        assert_eq!(is_present(&node, &lasting_v5(0)), kept, "{seconds} s, looked at after {wait} s");
    };
    check(0, 0, false);
    check(10, 0, true);
    check(10, 9, true);
    check(10, 11, false);
    check(NEVER, 7_200, true);
    // Without the property, Clean Start 0 alone keeps nothing.
    assert!(!is_present(&node, &Connect::new(V5, "client").clean(false)));
    assert!(!is_present(&node, &Connect::new(V5, "client").clean(false)));
}

/// Section 3.14.2.2.2: DISCONNECT may change the interval, but not from zero (that is in the tables of malformed).
#[test]
fn disconnect_changes_the_expiry_of_the_session() {
    let node = TestNode::start();
    let check = |connect: u32, goodbye: u32, wait: u64, kept: bool| {
        let mut peer = node.connect(&lasting_v5(connect).clean(true));
        peer.send(&disconnect(0, &four(SESSION_EXPIRY, goodbye)));
        peer.expect_closed();
        node.advance_secs(wait);
        assert_eq!(is_present(&node, &lasting_v5(0)), kept, "{connect} s, then {goodbye} s, after {wait} s");
    };
    check(100, 0, 0, false);
    check(100, 5, 6, false);
    check(5, 100, 50, true);
    check(5, NEVER, 5_000, true);
    check(NEVER, 5, 6, false);
    check(0, 0, 0, false);
}

/// [MQTT5-3.1.2-5] [MQTT5-3.1.3-2] [MQTT5-4.1.0-1] [MQTT5-4.5.0-1] [MQTT311-3.1.2-5] [MQTT311-3.1.3-2] [MQTT311-4.1.0-1]
/// [MQTT311-4.5.0-1]: subscriptions stay, QoS 1 and 2 wait in order, QoS 0 does not.
#[test]
fn messages_wait_for_a_client_that_is_away() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        let name = format!("{version:?}");
        let lasting = Connect::lasting(version, &name);
        let mut client = node.connect(&lasting);
        client.subscribe("a/#", 2);
        client.disconnect();
        let mut publisher = node.client(V5, "publisher");
        for (number, qos) in [1, 0, 2, 1].into_iter().enumerate() {
            publisher.say("a/b", &number.to_string(), qos);
        }
        let mut client = node.connect(&lasting);
        client.expect(&["PUBLISH a/b \"0\" q1 #1", "PUBLISH a/b \"2\" q2 #2", "PUBLISH a/b \"3\" q1 #3"]);
        client.expect_silence();
        client.puback(1);
        client.pubrec(2);
        client.expect(&["PUBREL #2"]);
        client.pubcomp(2);
        client.puback(3);
        client.expect_silence();
        client.disconnect();
        let mut client = node.connect(&lasting);
        client.expect_silence();
    }
}

/// [MQTT5-3.1.4-3] [MQTT5-4.13.2-1] [MQTT5-3.14.4-2] [MQTT311-3.1.4-2]
#[test]
fn a_second_connection_of_a_client_displaces_the_first() {
    let node = TestNode::start();
    for (old, new) in [(V5, V5), (V5, V311), (V311, V5), (V31, V31)] {
        let mut first = node.connect(&Connect::lasting(old, "client"));
        first.subscribe("a", 1);
        let mut second = node.connecting(&Connect::lasting(new, "client"));
        let connack = second.receive();
        let expected = if new == V31 { "CONNACK 0x00" } else { "CONNACK 0x00 present" };
        assert!(connack.starts_with(expected), "{old:?} {new:?}: {connack}");
        first.expect_refusal(0x8E);
        // The subscription went over.
        second.expect_silence();
        let mut publisher = node.client(V5, "publisher");
        publisher.say("a", "y", 0);
        second.expect(&["PUBLISH a \"y\" q0"]);
        second.disconnect();
        assert!(is_present(&node, &Connect::lasting(V311, "client")));
        assert!(!is_present(&node, &Connect::new(V5, "client")));
    }
}

/// [MQTT5-3.1.4-3]: with Clean Start the first one's session ends as well.
#[test]
fn a_clean_start_displaces_the_session_too() {
    let node = TestNode::start();
    let mut first = node.connect(&Connect::lasting(V5, "client"));
    first.subscribe("a", 1);
    let mut second = node.client(V5, "client");
    first.expect_refusal(0x8E);
    node.client(V5, "publisher").say("a", "x", 1);
    second.expect_silence();
}

/// [MQTT5-3.1.3-5] [MQTT311-3.1.3-5], and longer ones, and ones of other characters.
#[test]
fn identifiers_of_letters_and_digits_are_taken() {
    let node = TestNode::start();
    let letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let pieces = letters.as_bytes().chunks(23).map(|piece| std::str::from_utf8(piece).expect("ASCII"));
    let long = "x".repeat(256);
    for id in pieces.chain(["x", "ä/+#$ \u{FEFF}", &long]) {
        for version in [V31, V311, V5] {
            node.client(version, id).expect_silence();
        }
    }
}

/// [MQTT5-3.1.3-6] [MQTT5-3.1.3-7] [MQTT5-3.2.2-16] [MQTT311-3.1.3-6]
#[test]
fn a_client_without_identifier_gets_one_of_its_own() {
    let node = TestNode::start();
    let assigned = |connect: &Connect| {
        let mut peer = node.connecting(connect);
        let connack = peer.receive();
        let id = connack.split(" assigned=").nth(1).and_then(|rest| rest.split(' ').next());
        (id.unwrap_or_else(|| panic!("no property {ASSIGNED_CLIENT_ID:#04x} in {connack}")).to_owned(), peer)
    };
    let lasting = Connect::lasting(V5, "");
    let (first, mut first_peer) = assigned(&lasting);
    let (second, _second_peer) = assigned(&lasting);
    assert_ne!(first, second);
    first_peer.subscribe("a", 0);
    first_peer.disconnect();
    assert!(is_present(&node, &Connect::lasting(V5, &first)), "the assigned name is the session's");
    // 3.1.1 has no way to tell; two of them do not displace each other.
    let mut one = node.client(V311, "");
    let mut two = node.client(V311, "");
    one.expect_silence();
    two.expect_silence();
    // A client with a name is not told one.
    let mut named = node.connecting(&Connect::new(V5, "named"));
    assert!(!named.receive().contains("assigned"));
}

/// [MQTT311-3.1.2-7]: retained messages stay when the session of their publisher ends.
#[test]
fn retained_messages_survive_the_session_that_published_them() {
    let node = TestNode::start();
    let mut publisher = node.client(V311, "publisher");
    publisher.publish(Publish::new("a", "x").retained());
    publisher.disconnect();
    assert!(!is_present(&node, &Connect::new(V311, "publisher")));
    let mut client = node.client(V311, "client");
    client.subscribe("a", 0);
    client.expect(&["PUBLISH a \"x\" q0 retain"]);
}

/// [MQTT5-3.12.4-1] [MQTT311-3.12.4-1] [MQTT5-2.2.2-1]
#[test]
fn pings_are_answered() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        let mut peer = node.client(version, "client");
        for _ in 0..3 {
            peer.expect_silence();
        }
    }
}

/// [MQTT5-3.14.4-1] [MQTT5-3.14.4-2] [MQTT311-4.1.0-2]: after DISCONNECT nothing is heard and the broker closes, in
/// every form of the packet.
#[test]
fn nothing_is_processed_after_disconnect() {
    let node = TestNode::start();
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("a", 0);
    let check = |version: Version, goodbye: &[u8]| {
        let mut peer = node.client(version, "client");
        peer.send(&[goodbye, &Publish::new("a", "late").bytes(version)].concat());
        peer.expect_closed();
    };
    for version in [V31, V311, V5] {
        check(version, &[0xE0, 0]);
    }
    check(V5, &[0xE0, 1, 0]);
    check(V5, &[0xE0, 2, 0, 0]);
    check(V5, &[0xE0, 1, 4]);
    for reason in [0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
        check(V5, &disconnect(reason, &[]));
    }
    watcher.expect_silence();
}
