//! Limits of either side: packet sizes, windows, silence.

use std::time::Duration;

use flockmq::session::Settings;

use crate::node::TestNode;
use crate::packets::{self, Connect, PUBACK, Publish, V5, V31, V311, acknowledgement_with};
use crate::property::{
    PACKET_SIZE_MAX, PAYLOAD_FORMAT, RECEIVE_MAXIMUM, REQUEST_PROBLEM, REQUEST_RESPONSE, SESSION_EXPIRY,
    SUBSCRIPTION_ID, byte, four, two, varint,
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

/// [MQTT5-3.1.2-24]: a client that takes less than it asks for is let go: the CONNACK and the SUBACK are never larger.
#[test]
fn answers_that_the_client_does_not_take_are_not_sent() {
    let node = TestNode::start();
    let taking = |bytes| Connect::new(V5, "client").property(four(PACKET_SIZE_MAX, bytes));
    let mut length = 0;
    for bytes in (1..=40).rev() {
        let mut peer = node.connecting(&taking(bytes));
        let answer = peer.receive();
        if length == 0 {
            length = peer.last_len;
        }
        if bytes as usize >= length {
            assert!(answer.starts_with("CONNACK 0x00"), "{bytes}: {answer}");
        } else if bytes >= 5 {
            assert_eq!(answer, "CONNACK 0x95", "{bytes}");
            peer.expect_closed();
        } else {
            assert_eq!(answer, "closed", "{bytes}");
        }
    }
    let filters: Vec<(&str, u8)> = (0..100).map(|_| ("a", 0)).collect();
    let mut peer = node.connect(&taking(105));
    peer.send(&packets::subscribe(V5, 7, &[], &filters));
    assert!(peer.receive().starts_with("SUBACK #7 [00 00"));
    assert_eq!(peer.last_len, 105);
    let names: Vec<&str> = filters.iter().map(|(filter, _)| *filter).collect();
    peer.send(&packets::unsubscribe(V5, 8, &names));
    assert!(peer.receive().starts_with("UNSUBACK #8 [00 11"));
    let mut peer = node.connect(&taking(104));
    peer.send(&packets::subscribe(V5, 7, &[], &filters));
    peer.expect_refusal(0x95);
    let mut peer = node.connect(&taking(104));
    peer.send(&packets::unsubscribe(V5, 8, &names));
    peer.expect_refusal(0x95);
}

/// A full queue drops the message that comes, or the one that has waited longest.
#[test]
fn a_full_queue_drops_by_its_rule() {
    for (drops_oldest, left) in [(false, ["1", "2", "3"]), (true, ["4", "5", "6"])] {
        let node = TestNode::with(|config| {
            config.session.queue_len_max = 3;
            config.session.queue_drops_oldest = drops_oldest;
        });
        let lasting = Connect::lasting(V5, "client");
        let mut client = node.connect(&lasting);
        client.subscribe("a", 1);
        client.disconnect();
        let mut publisher = node.client(V5, "publisher");
        for number in 1..=6 {
            publisher.say("a", &number.to_string(), 1);
        }
        let mut client = node.connect(&lasting);
        for (id, payload) in (1..).zip(left) {
            client.expect(&[&format!("PUBLISH a \"{payload}\" q1 #{id}")]);
        }
        client.expect_silence();
    }
}

/// The bytes in the queue are limited too; what is larger than all of it drops nothing else.
#[test]
fn a_full_queue_makes_room_for_no_message_that_never_fits() {
    let node = TestNode::with(|config| {
        config.session.queue_bytes_max = 2_000;
        config.session.queue_drops_oldest = true;
    });
    let lasting = Connect::lasting(V5, "client");
    let mut client = node.connect(&lasting);
    client.subscribe("a", 1);
    client.disconnect();
    let mut publisher = node.client(V5, "publisher");
    let large = "x".repeat(1_200);
    for payload in ["small", &large, &"y".repeat(3_000), &"z".repeat(1_000)] {
        publisher.say("a", payload, 1);
    }
    let mut client = node.connect(&lasting);
    assert!(client.receive().starts_with("PUBLISH a \"zzz"));
    client.expect_silence();
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

/// Sections 3.3.4, 3.1.3.3 and 3.9.3: a Topic Name or Topic Filter that is too long or too deep is not valid here.
#[test]
fn topics_have_a_length_and_a_depth() {
    let limits: [fn(&mut Settings); 2] =
        [|settings| settings.topic_len_max = 7, |settings| settings.topic_levels_max = 4];
    for limit in limits {
        let node = TestNode::with(|config| limit(&mut config.session));
        let (longest, too_long) = ("a/b/c/d", "a/b/c/d/");
        for version in [V31, V311, V5] {
            let mut peer = node.client(version, "client");
            peer.subscribe(longest, 0);
            peer.subscribe("+/+/+/#", 0);
            for filter in [too_long, "+/+/+/+/#"] {
                let code = if version == V5 { "8F" } else { "80" };
                peer.send(&packets::subscribe(version, 1, &[], &[("a", 0), (filter, 0)]));
                peer.expect(&[&format!("SUBACK #1 [00 {code}]")]);
            }
            peer.send(&Publish::new(longest, "x").bytes(version));
            assert!(peer.receive().starts_with("PUBLISH a/b/c/d \"x\" q0"));
            peer.send(&Publish::new(too_long, "x").bytes(version));
            peer.expect_refusal(0x90);
            let will = |topic| Connect::new(version, "client").will(packets::Will::new(topic, "gone", 0));
            node.connect(&will(longest)).disconnect();
            let refused = if version == V5 { "CONNACK 0x90" } else { "closed" };
            node.connecting(&will(too_long)).expect(&[refused]);
        }
    }
    // The name of a share counts: it is kept as well.
    let node = TestNode::with(|config| config.session.topic_len_max = 11);
    let mut peer = node.client(V5, "client");
    peer.subscribe("$share/ab/c", 0);
    peer.send(&packets::subscribe(V5, 1, &[], &[("$share/abc/d", 0)]));
    peer.expect(&["SUBACK #1 [8F]"]);
}

/// [MQTT5-3.1.2-28] and section 3.2.2.3.15: told to clients that ask, and left out where it does not fit.
#[test]
fn response_information_is_told_to_those_who_ask() {
    let ask = |value| Connect::new(V5, "me").property(byte(REQUEST_RESPONSE, value));
    let silent = TestNode::start();
    assert!(!silent.connecting(&ask(1)).receive().contains("response-information"));
    let node = TestNode::with(|config| config.session.response_information = Some("answers/%c/".into()));
    assert!(node.connecting(&ask(1)).receive().contains(" response-information=answers/me/"));
    assert!(!node.connecting(&ask(0)).receive().contains("response-information"));
    assert!(!node.connecting(&Connect::new(V5, "me")).receive().contains("response-information"));
    let mut small = node.connecting(&ask(1).property(four(PACKET_SIZE_MAX, 29)));
    let connack = small.receive();
    assert!(connack.starts_with("CONNACK 0x00") && !connack.contains("response-information"), "{connack}");
}

/// [MQTT5-4.3.3-9] and section 3.3.2.3.2: where payloads are looked at, one that is not what it says is refused: by its
/// acknowledgement, by DISCONNECT where there is none, by CONNACK for a Will.
#[test]
fn a_payload_that_is_not_utf_8_is_refused_where_that_is_looked_at() {
    let broken = |qos, format| {
        let mut publish = Publish::new("a", "").qos(qos, 5).property(byte(PAYLOAD_FORMAT, format));
        publish.payload = vec![b'a', 0xFF];
        publish.bytes(V5)
    };
    let will = |format| {
        let mut will = packets::Will::new("a", "", 0).property(byte(PAYLOAD_FORMAT, format));
        will.payload = vec![0xC0, 0x80];
        Connect::new(V5, "client").will(will)
    };
    for is_checked in [false, true] {
        let node = TestNode::with(|config| config.session.payload_format_check = is_checked);
        let mut watcher = node.client(V5, "watcher");
        watcher.subscribe("a", 0);
        let mut peer = node.client(V5, "client");
        peer.send(&[broken(1, 1), broken(2, 1)].concat());
        if is_checked {
            peer.expect(&["PUBACK #5 0x99", "PUBREC #5 0x99"]);
            // Refused, so the identifier is free.
            peer.publish(Publish::new("a", "ä").qos(2, 0).property(byte(PAYLOAD_FORMAT, 1)));
            watcher.expect(&["PUBLISH a \"\\xc3\\xa4\" q0 format=1"]);
            peer.send(&broken(1, 0));
            peer.expect(&["PUBACK #5"]);
            watcher.expect(&["PUBLISH a \"a\\xff\" q0 format=0"]);
            peer.send(&broken(0, 1));
            peer.expect_refusal(0x99);
            assert_eq!(node.connecting(&will(1)).receive(), "CONNACK 0x99");
            assert!(node.connecting(&will(0)).receive().starts_with("CONNACK 0x00"));
        } else {
            peer.expect(&["PUBACK #5", "PUBREC #5"]);
            watcher.expect(&["PUBLISH a \"a\\xff\" q0 format=1", "PUBLISH a \"a\\xff\" q0 format=1"]);
            assert!(node.connecting(&will(1)).receive().starts_with("CONNACK 0x00"));
        }
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
