//! Messages from a client: what each QoS is answered with.

use crate::node::TestNode;
use crate::packets::{Connect, PUBREL, Publish, V5, V31, V311, acknowledgement_with};
use crate::property::{MESSAGE_EXPIRY, TOPIC_ALIAS, four, two};

/// [MQTT5-3.3.4-1] [MQTT5-4.3.2-4] [MQTT5-4.3.3-8] [MQTT5-4.3.3-11] [MQTT5-2.2.1-5] [MQTT311-3.3.4-1] [MQTT311-4.3.2-2]
/// [MQTT311-4.3.3-2] [MQTT311-2.3.1-6]
#[test]
fn each_qos_is_answered_in_its_own_way() {
    let node = TestNode::start();
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("a", 0);
    for version in [V31, V311, V5] {
        let mut peer = node.client(version, "client");
        peer.send(&Publish::new("a", "0").bytes(version));
        peer.expect_silence();
        peer.send(&Publish::new("a", "1").qos(1, 10).bytes(version));
        peer.expect(&["PUBACK #10"]);
        peer.send(&Publish::new("a", "2").qos(2, 65_535).bytes(version));
        peer.expect(&["PUBREC #65535"]);
        peer.pubrel(65_535);
        peer.expect(&["PUBCOMP #65535"]);
        watcher.expect(&["PUBLISH a \"0\" q0", "PUBLISH a \"1\" q0", "PUBLISH a \"2\" q0"]);
    }
}

/// [MQTT5-4.3.2-5] [MQTT311-4.3.2-2]: after PUBACK the identifier stands for a new message, DUP or not.
#[test]
fn a_qos_1_identifier_is_new_after_its_puback() {
    let node = TestNode::start();
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("a", 0);
    for version in [V311, V5] {
        let mut peer = node.client(version, "client");
        for publish in [Publish::new("a", "x"), Publish::new("a", "y").dup()] {
            peer.send(&publish.qos(1, 5).bytes(version));
            peer.expect(&["PUBACK #5"]);
        }
        watcher.expect(&["PUBLISH a \"x\" q0", "PUBLISH a \"y\" q0"]);
    }
}

/// [MQTT5-4.3.3-10] [MQTT5-4.3.3-12] [MQTT311-4.3.3-2]: until PUBREL the same identifier is the same message, also on
/// another connection of the session; after PUBCOMP it is a new one.
#[test]
fn a_qos_2_message_is_delivered_once() {
    let node = TestNode::start();
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("a", 0);
    for version in [V31, V311, V5] {
        let connect = Connect::lasting(version, "client");
        let first = Publish::new("a", "x").qos(2, 5);
        let again = first.clone().dup();
        let mut peer = node.connect(&connect);
        peer.send(&first.bytes(version));
        peer.send(&again.bytes(version));
        peer.send(&first.bytes(version));
        peer.expect(&["PUBREC #5", "PUBREC #5", "PUBREC #5"]);
        peer.die();
        let mut peer = node.connect(&connect);
        peer.send(&again.bytes(version));
        peer.expect(&["PUBREC #5"]);
        watcher.expect(&["PUBLISH a \"x\" q0"]);
        watcher.expect_silence();
        peer.pubrel(5);
        peer.expect(&["PUBCOMP #5"]);
        peer.send(&again.bytes(version));
        peer.expect(&["PUBREC #5"]);
        watcher.expect(&["PUBLISH a \"x\" q0"]);
        peer.pubrel(5);
        peer.expect(&["PUBCOMP #5"]);
    }
}

/// [MQTT5-4.3.3-11] [MQTT311-4.3.3-2]: PUBREL always gets its PUBCOMP; 5.0 says that the identifier was unknown.
#[test]
fn an_unknown_pubrel_is_answered() {
    let node = TestNode::start();
    for (version, answer) in [(V31, "PUBCOMP #9"), (V311, "PUBCOMP #9"), (V5, "PUBCOMP #9 0x92")] {
        let mut peer = node.client(version, "client");
        peer.pubrel(9);
        peer.expect(&[answer]);
    }
    let mut peer = node.client(V5, "client");
    peer.send(&acknowledgement_with(PUBREL, 9, 0x92));
    peer.expect(&["PUBCOMP #9 0x92"]);
}

/// [MQTT5-3.4.2-1] [MQTT5-3.5.2-1]: 0x10 when nobody is there to take it.
#[test]
fn a_publisher_of_version_5_hears_that_nobody_listens() {
    let node = TestNode::start();
    let mut peer = node.client(V5, "client");
    peer.send(&Publish::new("a", "x").qos(1, 1).bytes(V5));
    peer.send(&Publish::new("a", "x").qos(2, 2).bytes(V5));
    peer.pubrel(2);
    peer.expect(&["PUBACK #1 0x10", "PUBREC #2 0x10", "PUBCOMP #2"]);
    let mut old = node.client(V311, "old");
    old.send(&Publish::new("a", "x").qos(1, 1).bytes(V311));
    old.expect(&["PUBACK #1"]);
}

/// [MQTT5-4.3.3-9] [MQTT5-4.4.0-2] [MQTT311-3.3.5-2]: what is refused ends with its PUBREC in 5.0, so its identifier
/// is free; older clients have no code for it and carry on as ever. `$` topics are the node's own.
#[test]
fn a_refused_message_is_told_where_it_can_be() {
    let node = TestNode::start();
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("$SYS/x", 0);
    watcher.subscribe("a", 0);
    let mut peer = node.client(V5, "client");
    peer.send(&Publish::new("$SYS/x", "x").qos(1, 1).bytes(V5));
    peer.send(&Publish::new("$SYS/x", "x").qos(2, 2).bytes(V5));
    peer.expect(&["PUBACK #1 0x87", "PUBREC #2 0x87"]);
    peer.send(&Publish::new("a", "new").qos(2, 2).bytes(V5));
    peer.expect(&["PUBREC #2"]);
    peer.send(&Publish::new("$SYS/x", "x").bytes(V5));
    peer.expect_silence();
    for version in [V31, V311] {
        let mut old = node.client(version, "old");
        old.send(&Publish::new("$SYS/x", "x").bytes(version));
        old.send(&Publish::new("$SYS/x", "x").qos(1, 1).bytes(version));
        old.send(&Publish::new("$SYS/x", "x").qos(2, 2).bytes(version));
        old.pubrel(2);
        old.expect(&["PUBACK #1", "PUBREC #2", "PUBCOMP #2"]);
    }
    watcher.expect(&["PUBLISH a \"new\" q0"]);
    watcher.expect_silence();
}

/// [MQTT5-4.3.3-13]: the flow goes on although the message has expired.
#[test]
fn an_expired_message_is_still_acknowledged() {
    let node = TestNode::start();
    let connect = Connect::lasting(V5, "client");
    let mut peer = node.connect(&connect);
    peer.send(&Publish::new("a", "x").qos(2, 5).property(four(MESSAGE_EXPIRY, 1)).bytes(V5));
    peer.expect(&["PUBREC #5 0x10"]);
    node.advance_secs(5);
    peer.send(&Publish::new("a", "x").qos(2, 5).dup().property(four(MESSAGE_EXPIRY, 1)).bytes(V5));
    peer.expect(&["PUBREC #5"]);
    peer.pubrel(5);
    peer.expect(&["PUBCOMP #5"]);
}

/// [MQTT311-4.6.0-2] [MQTT311-4.6.0-3] [MQTT311-4.6.0-4]: acknowledgements are in the order of what they answer.
#[test]
fn acknowledgements_keep_the_order() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        let mut watcher = node.client(version, "watcher");
        watcher.subscribe("a", 2);
        let mut peer = node.client(version, "client");
        let mut burst = Vec::new();
        for id in 1..=20_u16 {
            burst.extend(Publish::new("a", "x").qos(1 + (id % 2) as u8, id).bytes(version));
        }
        peer.send(&burst);
        for id in 1..=20_u16 {
            let name = if id % 2 == 0 { "PUBACK" } else { "PUBREC" };
            peer.expect(&[&format!("{name} #{id}")]);
            watcher.expect(&[&format!("PUBLISH a \"x\" q{} #{id}", 1 + id % 2)]);
        }
        // PUBRELs follow their PUBRECs.
        for id in (1..=20).step_by(2) {
            watcher.pubrec(id);
        }
        for id in (1..=20).step_by(2) {
            watcher.expect(&[&format!("PUBREL #{id}")]);
        }
    }
}

/// [MQTT5-3.3.2-7] [MQTT5-3.3.2-12]: every alias up to the maximum is taken, may be changed, and ends with its
/// connection.
#[test]
fn aliases_of_the_client_stand_for_their_topics() {
    let node = TestNode::start();
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("#", 0);
    let connect = Connect::lasting(V5, "client");
    let aliased = |topic: &str, alias| Publish::new(topic, "x").property(two(TOPIC_ALIAS, alias)).bytes(V5);
    let mut peer = node.connect(&connect);
    for alias in 1..=16 {
        peer.send(&aliased(&format!("topic/{alias}"), alias));
    }
    for alias in (1..=16).rev() {
        peer.send(&aliased("", alias));
    }
    for alias in (1..=16).chain((1..=16).rev()) {
        watcher.expect(&[&format!("PUBLISH topic/{alias} \"x\" q0")]);
    }
    peer.send(&aliased("other", 3));
    peer.send(&aliased("", 3));
    watcher.expect(&["PUBLISH other \"x\" q0", "PUBLISH other \"x\" q0"]);
    peer.die();
    let mut peer = node.connect(&connect);
    peer.send(&aliased("", 3));
    peer.expect_refusal(0x82);
    watcher.expect_silence();
}
