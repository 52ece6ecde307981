//! Wills: when they are published, when not, and as what.

use crate::node::TestNode;
use crate::packets::{Connect, DISCONNECT, V5, V31, V311, Version, Will, disconnect, packet};
use crate::peer::Peer;
use crate::property::{self, SESSION_EXPIRY, WILL_DELAY, binary, byte, four, text, user};

/// A node and a client that sees every Will.
fn watched() -> (TestNode, Peer) {
    let node = TestNode::start();
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("will/#", 2);
    (node, watcher)
}

fn with_will(version: Version) -> Connect {
    Connect::new(version, "client").will(Will::new("will", "gone", 0))
}

/// A Will after `delay` seconds and a session that lasts for `expiry` seconds.
fn delayed(delay: u32, expiry: u32) -> Connect {
    let will = Will::new("will", "gone", 0).property(four(WILL_DELAY, delay));
    Connect::new(V5, "client").will(will).property(four(SESSION_EXPIRY, expiry))
}

const GONE: &str = "PUBLISH will \"gone\" q0";

/// [MQTT5-3.1.2-7] [MQTT5-3.1.2-8] [MQTT5-3.1.2-10] [MQTT5-3.14.4-3] [MQTT311-3.1.2-8] [MQTT311-3.1.2-10]
/// [MQTT311-3.1.2-12] [MQTT311-3.14.4-3]: every end but the normal DISCONNECT.
#[test]
fn every_end_but_a_normal_goodbye_publishes_the_will() {
    let (node, mut watcher) = watched();
    for version in [V31, V311, V5] {
        let connect = with_will(version);
        node.connect(&connect).disconnect();
        watcher.expect_silence();
        node.connect(&connect).die();
        watcher.expect(&[GONE]);
        // Errors of the client, in DISCONNECT too.
        for bytes in [&[0xC0, 1, 0][..], &[0x20, 2, 0, 0], &[0xE1, 0], &packet(DISCONNECT, &[0, 0, 0, 0])] {
            let mut peer = node.connect(&connect);
            peer.send(bytes);
            peer.until_closed(std::time::Duration::from_secs(5));
            watcher.expect(&[GONE]);
        }
        // Silence.
        let mut peer = node.connect(&connect.clone().keep_alive(2));
        node.advance_secs(5);
        peer.expect_refusal(0x8D);
        watcher.expect(&[GONE]);
        // Without a Will there is none.
        node.client(version, "client").die();
        watcher.expect_silence();
    }
}

/// [MQTT5-3.1.2-8] [MQTT5-3.14.4-3] and section 3.14.2.1: any code but 0x00 publishes it.
#[test]
fn only_a_normal_disconnect_discards_the_will() {
    let (node, mut watcher) = watched();
    for goodbye in [vec![0xE0, 0], vec![0xE0, 1, 0], disconnect(0, &user("a", "b"))] {
        let mut peer = node.connect(&with_will(V5));
        peer.send(&goodbye);
        peer.expect_closed();
        watcher.expect_silence();
    }
    for reason in [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
        let mut peer = node.connect(&with_will(V5));
        peer.send(&disconnect(reason, &[]));
        peer.expect_closed();
        watcher.expect(&[GONE]);
        watcher.expect_silence();
    }
}

/// [MQTT5-3.1.2-14] [MQTT5-3.1.2-15] [MQTT311-3.1.2-16] [MQTT311-3.1.2-17]
#[test]
fn a_will_is_retained_when_it_says_so() {
    for version in [V31, V311, V5] {
        let (node, mut watcher) = watched();
        node.connect(&Connect::new(version, "client").will(Will::new("will/a", "1", 1))).die();
        node.connect(&Connect::new(version, "client").will(Will::new("will/b", "2", 2).retained())).die();
        watcher.expect(&["PUBLISH will/a \"1\" q1 #1", "PUBLISH will/b \"2\" q2 #2"]);
        let mut late = node.client(version, "late");
        late.subscribe("will/#", 2);
        late.expect(&["PUBLISH will/b \"2\" q2 #1 retain"]);
        // An empty one removes.
        node.connect(&Connect::new(version, "client").will(Will::new("will/b", "", 0).retained())).die();
        late.expect(&["PUBLISH will/b \"\" q0"]);
        late.unsubscribe("will/#");
        late.subscribe("will/#", 2);
        late.expect_silence();
    }
}

/// [MQTT5-3.1.2-8] [MQTT5-3.1.3-9] and section 3.1.3.2.2: the delay, the end of the session, or the client back in
/// time.
#[test]
fn a_delayed_will_waits_for_the_client() {
    let (node, mut watcher) = watched();
    // The delay.
    node.connect(&delayed(10, 100)).die();
    node.advance_secs(9);
    watcher.expect_silence();
    node.advance_secs(2);
    watcher.expect(&[GONE]);
    // Published once: not again when the session ends.
    node.advance_secs(200);
    watcher.expect_silence();
    // The session ends first.
    node.connect(&delayed(100, 10)).die();
    node.advance_secs(9);
    watcher.expect_silence();
    node.advance_secs(2);
    watcher.expect(&[GONE]);
    node.connect(&delayed(100, 0)).die();
    watcher.expect(&[GONE]);
    // Back in time, and then gone for good.
    node.connect(&delayed(10, 100)).die();
    node.advance_secs(5);
    let peer = node.connect(&delayed(10, 100).clean(false));
    node.advance_secs(50);
    watcher.expect_silence();
    peer.disconnect();
    node.advance_secs(200);
    watcher.expect_silence();
    // Back in time without a Will.
    node.connect(&delayed(10, 100)).die();
    node.connect(&Connect::lasting(V5, "client")).die();
    node.advance_secs(50);
    watcher.expect_silence();
}

/// Section 3.1.3.2.2: the delay of a session that lasts for ever, and a Clean Start, which ends the old session.
#[test]
fn a_clean_start_ends_the_wait_of_a_will() {
    let (node, mut watcher) = watched();
    node.connect(&delayed(10, 100)).die();
    watcher.expect_silence();
    let _peer = node.client(V5, "client");
    watcher.expect(&[GONE]);
    node.advance_secs(50);
    watcher.expect_silence();
    node.connect(&delayed(5_000, u32::MAX)).die();
    node.advance_secs(4_990);
    watcher.expect_silence();
    node.advance_secs(20);
    watcher.expect(&[GONE]);
}

/// Section 3.14.2.2.2: a session expiry of the DISCONNECT counts for the delay.
#[test]
fn disconnect_with_will_and_a_shorter_session() {
    let (node, mut watcher) = watched();
    let mut peer = node.connect(&delayed(50, 100));
    peer.send(&disconnect(0x04, &four(SESSION_EXPIRY, 10)));
    peer.expect_closed();
    node.advance_secs(9);
    watcher.expect_silence();
    node.advance_secs(2);
    watcher.expect(&[GONE]);
}

/// [MQTT5-3.1.4-3] [MQTT5-3.1.2-8] [MQTT5-3.1.3-9] [MQTT311-3.1.2-8]: a takeover is the end of the old connection; a
/// delayed Will is not published when its session goes on.
#[test]
fn a_takeover_publishes_a_will_that_does_not_wait() {
    let (node, mut watcher) = watched();
    let check = |watcher: &mut Peer, old: &Connect, new: &Connect, is_published: bool| {
        let mut first = node.connect(old);
        let second = node.connect(new);
        first.expect_refusal(0x8E);
        watcher.expect(&[GONE][..usize::from(is_published)]);
        second.disconnect();
        node.advance_secs(500);
        watcher.expect_silence();
    };
    let plain = Connect::lasting(V5, "client");
    check(&mut watcher, &delayed(0, 100), &plain, true);
    check(&mut watcher, &delayed(10, 100), &plain, false);
    check(&mut watcher, &delayed(10, 100), &plain.clone().clean(true), true);
    check(&mut watcher, &delayed(10, 0), &plain, true);
    let old = with_will(V311).clean(false);
    check(&mut watcher, &old, &Connect::lasting(V311, "client"), true);
}

/// [MQTT5-3.1.3-10] [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-18] [MQTT5-3.3.2-20]
#[test]
fn a_will_keeps_its_properties() {
    let (node, mut watcher) = watched();
    let will = Will::new("will", "{}", 1)
        .property(user("z", "1"))
        .property(byte(property::PAYLOAD_FORMAT, 1))
        .property(four(WILL_DELAY, 0))
        .property(text(property::CONTENT_TYPE, "application/json"))
        .property(user("a", "2"))
        .property(text(property::RESPONSE_TOPIC, "answers/client"))
        .property(binary(property::CORRELATION_DATA, &[0, 255]))
        .property(user("z", "0"));
    node.connect(&Connect::new(V5, "client").will(will)).die();
    watcher.expect(&["PUBLISH will \"{}\" q1 #1 user=z:1 format=1 content-type=application/json user=a:2 \
         response-topic=answers/client correlation=\\x00\\xff user=z:0"]);
}

/// Section 3.1.3.2.4: the expiry of a Will runs from its publication.
#[test]
fn the_expiry_of_a_will_begins_when_it_is_published() {
    let (node, mut watcher) = watched();
    let lasting = Connect::lasting(V5, "late");
    let mut late = node.connect(&lasting);
    late.subscribe("will", 1);
    late.disconnect();
    let will = Will::new("will", "gone", 1)
        .property(four(WILL_DELAY, 20))
        .property(four(property::MESSAGE_EXPIRY, 10));
    node.connect(&Connect::lasting(V5, "client").clean(true).will(will)).die();
    node.advance_secs(21);
    let line = watcher.receive();
    assert!(line.starts_with("PUBLISH will \"gone\" q1 #1 expiry=10"), "{line}");
    node.advance_secs(4);
    let mut late = node.connect(&lasting);
    let line = late.receive();
    assert!(["expiry=5", "expiry=6"].iter().any(|left| line.ends_with(left)), "{line}");
}

/// `$` topics are the node's own, also for a Will.
#[test]
fn a_will_for_a_dollar_topic_goes_nowhere() {
    let (node, mut watcher) = watched();
    watcher.subscribe("$SYS/x", 0);
    node.connect(&Connect::new(V5, "client").will(Will::new("$SYS/x", "forged", 0))).die();
    node.connect(&Connect::new(V311, "client").will(Will::new("$SYS/x", "forged", 0).retained())).die();
    watcher.expect_silence();
    watcher.subscribe("$SYS/x", 0);
    watcher.expect_silence();
}
