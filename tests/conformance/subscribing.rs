//! SUBSCRIBE and UNSUBSCRIBE, and which messages a client gets for them.

use crate::node::TestNode;
use crate::packets::{self, Connect, Publish, V5, V31, V311};
use crate::property::{RECEIVE_MAXIMUM, SUBSCRIPTION_ID, two, varint};

const NO_LOCAL: u8 = 0x04;
const AS_PUBLISHED: u8 = 0x08;

/// [MQTT5-3.8.4-1] [MQTT5-3.8.4-2] [MQTT5-3.8.4-5] [MQTT5-3.8.4-6] [MQTT5-3.8.4-7] [MQTT5-3.9.3-1] [MQTT5-3.9.3-2]
/// [MQTT5-2.2.1-6] [MQTT311-3.8.4-1] [MQTT311-3.8.4-2] [MQTT311-3.8.4-4] [MQTT311-3.8.4-5] [MQTT311-3.9.3-1]
/// [MQTT311-3.9.3-2] [MQTT311-2.3.1-7] [MQTT5-4.7.1-1] [MQTT5-4.7.1-2] [MQTT311-4.7.1-2] [MQTT311-4.7.1-3]
/// [MQTT5-4.7.3-1] [MQTT311-4.7.3-1]: one code for each filter, in order; a bad one does not spoil the others.
#[test]
fn suback_answers_every_filter() {
    let node = TestNode::start();
    let filters = [
        ("a", 2),
        ("a/#/b", 1),
        ("b/+", 1),
        ("c+", 0),
        ("#d", 0),
        ("", 0),
        ("+/#", 0),
        ("/", 1),
        ("a//b", 2),
    ];
    for version in [V31, V311, V5] {
        let mut client = node.client(version, "client");
        client.send(&packets::subscribe(version, 300, &[], &filters));
        let bad = if version == V5 { "8F" } else { "80" };
        client.expect(&[&format!("SUBACK #300 [02 {bad} 01 {bad} {bad} {bad} 00 01 02]")]);
        node.client(version, "publisher").say("b/x", "x", 1);
        client.expect(&["PUBLISH b/x \"x\" q1 #1"]);
    }
}

/// [MQTT5-3.10.4-1] [MQTT5-3.10.4-2] [MQTT5-3.10.4-4] [MQTT5-3.10.4-5] [MQTT5-3.10.4-6] [MQTT5-3.11.3-1]
/// [MQTT5-3.11.3-2] [MQTT5-2.2.1-6] [MQTT311-3.10.4-1] [MQTT311-3.10.4-2] [MQTT311-3.10.4-4] [MQTT311-3.10.4-5]
/// [MQTT311-3.10.4-6] [MQTT311-2.3.1-7]
#[test]
fn unsuback_answers_every_filter() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        let mut client = node.client(version, "client");
        for filter in ["a/+", "a/b", "c/#", "d"] {
            client.subscribe(filter, 0);
        }
        client.send(&packets::unsubscribe(version, 400, &["a/+", "A/b", "c/d", "d", "d", "a/#/b"]));
        let codes = if version == V5 { "00 11 11 00 11 8F" } else { "" };
        client.expect(&[&format!("UNSUBACK #400 [{codes}]")]);
        let mut publisher = node.client(V5, "publisher");
        for topic in ["a/b", "a/x", "c/d", "d"] {
            publisher.say(topic, "x", 0);
        }
        client.expect(&["PUBLISH a/b \"x\" q0", "PUBLISH c/d \"x\" q0"]);
        client.expect_silence();
    }
}

/// [MQTT5-3.10.4-3] [MQTT311-3.10.4-3]: what has begun is completed.
#[test]
fn deliveries_under_way_are_completed_after_unsubscribe() {
    let node = TestNode::start();
    for version in [V311, V5] {
        let mut client = node.client(version, "client");
        client.subscribe("a", 2);
        let mut publisher = node.client(V5, "publisher");
        publisher.say("a", "1", 1);
        publisher.say("a", "2", 2);
        client.expect(&["PUBLISH a \"1\" q1 #1", "PUBLISH a \"2\" q2 #2"]);
        client.unsubscribe("a");
        client.puback(1);
        client.pubrec(2);
        client.expect(&["PUBREL #2"]);
        client.pubcomp(2);
        publisher.say("a", "3", 2);
        client.expect_silence();
    }
}

/// [MQTT5-3.8.4-3] [MQTT5-3.8.4-4] [MQTT311-3.8.4-3]: the same filter again replaces the subscription; what waited for
/// the old one is not lost.
#[test]
fn the_same_filter_again_replaces_the_subscription() {
    let node = TestNode::start();
    let mut client = node.connect(&Connect::new(V5, "client").property(two(RECEIVE_MAXIMUM, 1)));
    client.subscribe_with("a", 2, &varint(SUBSCRIPTION_ID, 1));
    let mut publisher = node.client(V5, "publisher");
    publisher.say("a", "1", 2);
    publisher.say("a", "2", 2);
    client.expect(&["PUBLISH a \"1\" q2 #1 id=1"]);
    client.subscribe_with("a", 1, &varint(SUBSCRIPTION_ID, 268_435_455));
    publisher.say("a", "3", 2);
    client.pubrec(1);
    client.expect(&["PUBREL #1"]);
    client.pubcomp(1);
    client.expect(&["PUBLISH a \"2\" q2 #2 id=1"]);
    client.pubrec(2);
    client.expect(&["PUBREL #2"]);
    client.pubcomp(2);
    client.expect(&["PUBLISH a \"3\" q1 #3 id=268435455"]);
    client.puback(3);
    client.subscribe("a", 0);
    publisher.say("a", "4", 2);
    client.expect(&["PUBLISH a \"4\" q0"]);
    client.unsubscribe("a");
    publisher.say("a", "5", 2);
    client.expect_silence();
}

/// [MQTT5-3.3.4-2] [MQTT5-3.3.4-3] [MQTT5-3.3.4-4] [MQTT311-3.3.5-1]: one copy at the highest QoS, with the identifiers
/// of all subscriptions that match and have one.
#[test]
fn overlapping_subscriptions_bring_one_copy() {
    let node = TestNode::start();
    let mut client = node.client(V5, "client");
    client.subscribe_with("a/+", 0, &varint(SUBSCRIPTION_ID, 7));
    client.subscribe_with("a/#", 2, &varint(SUBSCRIPTION_ID, 300));
    client.subscribe("a/b", 1);
    client.subscribe_with("+/b", 1, &varint(SUBSCRIPTION_ID, 7));
    client.subscribe_with("x", 1, &varint(SUBSCRIPTION_ID, 9));
    let mut publisher = node.client(V5, "publisher");
    publisher.say("a/b", "x", 2);
    let line = client.receive();
    let (head, ids) = line.split_once(" id=").expect("identifiers");
    assert_eq!(head, "PUBLISH a/b \"x\" q2 #1");
    let mut ids: Vec<_> = ids.split(" id=").collect();
    ids.sort_unstable();
    assert!(ids == ["300", "7", "7"] || ids == ["300", "7"], "{line}");
    client.expect_silence();
    let mut old = node.client(V311, "old");
    for (filter, qos) in [("a/+", 0), ("a/#", 1), ("a/b", 0)] {
        old.subscribe(filter, qos);
    }
    publisher.say("a/b", "y", 2);
    old.expect(&["PUBLISH a/b \"y\" q1 #1"]);
    old.expect_silence();
}

/// [MQTT5-3.8.3-3]: No Local by Client Identifier; a subscription without it still brings the message.
#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    let node = TestNode::start();
    let mut client = node.client(V5, "client");
    let mut other = node.client(V5, "other");
    client.subscribe("a", NO_LOCAL);
    other.subscribe("a", NO_LOCAL);
    client.say("a", "mine", 0);
    other.expect(&["PUBLISH a \"mine\" q0"]);
    other.say("a", "yours", 0);
    client.expect(&["PUBLISH a \"yours\" q0"]);
    client.subscribe("#", 0);
    client.send(&Publish::new("a", "again").bytes(V5));
    client.expect(&["PUBLISH a \"again\" q0"]);
    client.expect_silence();
    // It goes with the session, not with the connection.
    let lasting = Connect::lasting(V5, "lasting");
    let mut client = node.connect(&lasting);
    client.subscribe("b", 1 | NO_LOCAL);
    client.disconnect();
    let mut client = node.connect(&lasting);
    client.say("b", "mine", 1);
    client.expect_silence();
}

/// [MQTT5-3.8.3-3]: when every matching subscription is No Local with an identifier, only those without count for
/// the copy that one of them brings.
#[test]
fn a_no_local_subscription_adds_nothing_to_the_copy_of_another() {
    let node = TestNode::start();
    let mut client = node.client(V5, "client");
    client.subscribe_with("a/b", 2 | NO_LOCAL, &varint(SUBSCRIPTION_ID, 1));
    client.subscribe_with("a/#", 0, &varint(SUBSCRIPTION_ID, 2));
    client.send(&Publish::new("a/b", "mine").qos(2, 5).bytes(V5));
    client.expect(&["PUBLISH a/b \"mine\" q0 id=2", "PUBREC #5"]);
}

/// [MQTT5-3.3.1-12] [MQTT5-3.3.1-13] [MQTT311-3.3.1-9]: RETAIN on what is forwarded.
#[test]
fn retain_as_published_keeps_the_flag() {
    let node = TestNode::start();
    let mut kept = node.client(V5, "kept");
    kept.subscribe("a", AS_PUBLISHED);
    let mut cleared = node.client(V5, "cleared");
    cleared.subscribe("a", 0);
    let mut old = node.client(V311, "old");
    old.subscribe("a", 0);
    let mut publisher = node.client(V5, "publisher");
    publisher.publish(Publish::new("a", "x").retained());
    publisher.publish(Publish::new("a", "y"));
    kept.expect(&["PUBLISH a \"x\" q0 retain", "PUBLISH a \"y\" q0"]);
    cleared.expect(&["PUBLISH a \"x\" q0", "PUBLISH a \"y\" q0"]);
    old.expect(&["PUBLISH a \"x\" q0", "PUBLISH a \"y\" q0"]);
}

/// [MQTT5-3.3.2-3] [MQTT5-4.7.1-1] [MQTT5-4.7.1-2] [MQTT5-4.7.3-4] [MQTT311-3.3.2-3] [MQTT311-4.7.1-2]
/// [MQTT311-4.7.1-3] [MQTT311-4.7.3-4]: the examples of section 4.7, and no normalising.
#[test]
fn filters_match_as_the_standard_says() {
    let node = TestNode::start();
    let mut publisher = node.client(V5, "publisher");
    let mut client = node.client(V5, "client");
    let mut check = |filter: &str, matching: &[&str], others: &[&str]| {
        client.subscribe(filter, 0);
        for topic in matching {
            publisher.say(topic, "x", 0);
            client.expect(&[&format!("PUBLISH {topic} \"x\" q0")]);
        }
        for topic in others {
            publisher.say(topic, "x", 0);
        }
        client.expect_silence();
        client.unsubscribe(filter);
    };
    check(
        "sport/tennis/player1/#",
        &["sport/tennis/player1", "sport/tennis/player1/ranking"],
        &["sport/tennis"],
    );
    check("sport/#", &["sport", "sport/", "sport/a/b"], &["sports", "/sport"]);
    check("#", &["a", "/", "a/b/c", "//"], &[]);
    check("sport/tennis/+", &["sport/tennis/player1"], &["sport/tennis/player1/ranking", "sport/tennis"]);
    check("sport/+", &["sport/"], &["sport", "sport/a/b"]);
    check("+/+", &["/finance", "a/b"], &["finance", "a/b/c"]);
    check("/+", &["/finance"], &["finance", "a/finance"]);
    check("+", &["finance"], &["/finance"]);
    check("+/tennis/#", &["sport/tennis", "/tennis/x"], &["tennis"]);
    check("A", &["A"], &["a", "A/", " A"]);
    check("ä", &["ä"], &["a\u{308}"]); // One character, and the same of two code points.
    check("a b", &["a b"], &["a%20b", "a+b".split('+').next().unwrap_or_default()]);
    check("\u{FEFF}a", &["\u{FEFF}a"], &["a"]);
}

/// [MQTT5-4.7.2-1] [MQTT311-4.7.2-1], and clients publish to none of them.
#[test]
fn wildcards_at_the_first_level_do_not_match_dollar_topics() {
    let node = TestNode::start();
    let mut client = node.client(V5, "client");
    for filter in ["#", "+/x", "+/#", "$SYS/#"] {
        client.subscribe(filter, 0);
    }
    // Clients may not publish there, so nothing at all may come of it.
    let mut publisher = node.client(V5, "publisher");
    publisher.send(&Publish::new("$SYS/x", "x").qos(1, 1).bytes(V5));
    publisher.expect(&["PUBACK #1 0x87"]);
    client.expect_silence();
}

/// [MQTT5-1.5.4-3] [MQTT311-1.5.3-3]: a byte order mark is a character like others.
#[test]
fn a_byte_order_mark_is_kept() {
    let node = TestNode::start();
    let mut client = node.client(V5, "\u{FEFF}client");
    client.subscribe("#", 0);
    node.client(V311, "publisher").say("\u{FEFF}a/\u{FEFF}", "x", 0);
    client.expect(&["PUBLISH \u{FEFF}a/\u{FEFF} \"x\" q0"]);
}

/// [MQTT5-4.7.3-3] [MQTT311-4.7.3-3]: the longest topic there can be.
#[test]
fn a_topic_of_65535_bytes_is_taken() {
    let node = TestNode::start();
    let long = "x".repeat(65_535);
    for version in [V311, V5] {
        let mut client = node.client(version, "client");
        client.subscribe(&long, 1);
        node.client(version, "publisher").say(&long, "x", 0);
        client.expect(&[&format!("PUBLISH {long} \"x\" q0")]);
        client.unsubscribe(&long);
    }
}

/// Sections 3.3.1.3 and 3.3.4: a subscription made twice in one SUBSCRIBE counts once, as the later one says.
#[test]
fn the_same_filter_twice_in_one_subscribe_counts_once() {
    let node = TestNode::start();
    let mut client = node.client(V5, "client");
    client.send(&packets::subscribe(V5, 7, &[], &[("a", 2), ("a", 0)]));
    client.expect(&["SUBACK #7 [02 00]"]);
    node.client(V5, "publisher").say("a", "x", 2);
    client.expect(&["PUBLISH a \"x\" q0"]);
    client.expect_silence();
}
