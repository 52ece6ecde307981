//! Retained messages: kept, replaced, removed, expired, sent to new subscriptions.

use crate::node::TestNode;
use crate::packets::{Connect, PINGREQ, Publish, V5, V31, V311, subscribe};
use crate::peer::Peer;
use crate::property::{
    self, MESSAGE_EXPIRY, RECEIVE_MAXIMUM, SUBSCRIPTION_ID, four, text, two, user, varint,
};

const IF_NEW: u8 = 0x10;
const DO_NOT_SEND: u8 = 0x20;

#[track_caller]
fn keep(publisher: &mut Peer, topic: &str, payload: &str, qos: u8) {
    publisher.publish(Publish::new(topic, payload).qos(qos, 0).retained());
}

/// [MQTT5-3.3.1-5] [MQTT5-3.3.1-6] [MQTT5-3.3.1-7] [MQTT5-3.3.1-8] [MQTT5-3.3.1-9] [MQTT311-3.3.1-5] [MQTT311-3.3.1-6]
/// [MQTT311-3.3.1-7] [MQTT311-3.3.1-8] [MQTT311-3.3.1-9] [MQTT311-3.3.1-10] [MQTT311-3.3.1-11] [MQTT311-3.3.1-12]
#[test]
fn the_last_message_of_a_topic_is_kept() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        let mut publisher = node.client(version, "publisher");
        let mut watcher = node.client(version, "watcher");
        watcher.subscribe("a", 2);
        let expect = |lines: &[&str]| {
            let mut client = node.client(version, "client");
            client.subscribe("a", 2);
            client.expect(lines);
            client.expect_silence();
        };
        expect(&[]);
        keep(&mut publisher, "a", "1", 1);
        expect(&["PUBLISH a \"1\" q1 #1 retain"]);
        expect(&["PUBLISH a \"1\" q1 #1 retain"]);
        keep(&mut publisher, "a", "2", 2);
        expect(&["PUBLISH a \"2\" q2 #1 retain"]);
        publisher.say("a", "not kept", 1);
        expect(&["PUBLISH a \"2\" q2 #1 retain"]);
        publisher.say("a", "", 0);
        expect(&["PUBLISH a \"2\" q2 #1 retain"]);
        keep(&mut publisher, "a", "3", 0);
        expect(&["PUBLISH a \"3\" q0 retain"]);
        keep(&mut publisher, "a", "", 1);
        expect(&[]);
        keep(&mut publisher, "a", "", 0);
        expect(&[]);
        watcher.expect(&[
            "PUBLISH a \"1\" q1 #1",
            "PUBLISH a \"2\" q2 #2",
            "PUBLISH a \"not kept\" q1 #3",
            "PUBLISH a \"\" q0",
            "PUBLISH a \"3\" q0",
            "PUBLISH a \"\" q1 #4",
            "PUBLISH a \"\" q0",
        ]);
        watcher.expect_silence();
    }
}

/// [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11] [MQTT5-3.8.4-4] [MQTT311-3.8.4-3]: Retain Handling 0 always, 1
/// for a new subscription, 2 never; 3.x always.
#[test]
fn retain_handling_decides_on_the_replay() {
    let node = TestNode::start();
    keep(&mut node.client(V5, "publisher"), "a", "x", 0);
    let lasting = Connect::lasting(V5, "client");
    let mut client = node.connect(&lasting);
    let retained = "PUBLISH a \"x\" q0 retain";
    let check = |client: &mut Peer, options, is_sent: bool| {
        client.subscribe("a", options);
        client.expect(&[retained][..usize::from(is_sent)]);
        client.expect_silence();
    };
    check(&mut client, DO_NOT_SEND, false);
    check(&mut client, IF_NEW, false);
    check(&mut client, 0, true);
    check(&mut client, 0, true);
    check(&mut client, IF_NEW, false);
    client.unsubscribe("a");
    check(&mut client, IF_NEW, true);
    // The subscription is as old as its session.
    client.disconnect();
    let mut client = node.connect(&lasting);
    client.expect_silence();
    check(&mut client, IF_NEW, false);
    check(&mut client, 0, true);
    for version in [V31, V311] {
        let mut old = node.client(version, "old");
        check(&mut old, 0, true);
        check(&mut old, 0, true);
    }
}

/// Wildcards replay every matching message, each with its identifier, `$` topics only when named.
#[test]
fn a_wildcard_replays_all_that_matches() {
    let node = TestNode::start();
    let mut publisher = node.client(V5, "publisher");
    for topic in ["a", "a/b", "a/b/c", "b", "/", "/a"] {
        keep(&mut publisher, topic, topic, 1);
    }
    let check = |filter: &str, expected: &[&str]| {
        let mut client = node.client(V5, "client");
        client.subscribe_with(filter, 0, &varint(SUBSCRIPTION_ID, 5));
        let mut seen: Vec<String> = expected.iter().map(|_| client.receive()).collect();
        client.expect_silence();
        seen.sort_unstable();
        let mut expected: Vec<_> =
            expected.iter().map(|topic| format!("PUBLISH {topic} \"{topic}\" q0 retain id=5")).collect();
        expected.sort_unstable();
        assert_eq!(seen, expected, "{filter}");
    };
    check("#", &["a", "a/b", "a/b/c", "b", "/", "/a"]);
    check("+", &["a", "b"]);
    check("a/#", &["a", "a/b", "a/b/c"]);
    check("+/b/#", &["a/b", "a/b/c"]);
    check("+/+", &["a/b", "/", "/a"]);
    check("/+", &["/", "/a"]);
    check("c/#", &[]);
}

/// [MQTT5-3.3.4-9] [MQTT311-3.3.1-6]: a replay keeps to the client's window and loses nothing.
#[test]
fn a_replay_keeps_to_the_window() {
    let node = TestNode::start();
    let mut publisher = node.client(V5, "publisher");
    for number in 0..50 {
        keep(&mut publisher, &format!("a/{number:02}"), "x", 1);
    }
    let mut client = node.connect(&Connect::new(V5, "client").property(two(RECEIVE_MAXIMUM, 3)));
    client.subscribe("a/#", 1);
    let mut topics = std::collections::BTreeSet::new();
    for id in 1..=3 {
        topics.insert(client.receive().split(' ').nth(1).unwrap_or_default().to_owned());
        assert_eq!(topics.len(), id);
    }
    client.expect_silence();
    for id in 1..=50 {
        client.puback(id);
        if topics.len() < 50 {
            topics.insert(client.receive().split(' ').nth(1).unwrap_or_default().to_owned());
        }
    }
    assert_eq!(topics.len(), 50);
    client.expect_silence();
}

/// [MQTT5-3.3.2-5] [MQTT5-3.3.2-6]: a retained message ages where it lies, and goes when its time is over.
#[test]
fn a_retained_message_expires() {
    let node = TestNode::start();
    let mut publisher = node.client(V5, "publisher");
    publisher.publish(Publish::new("a", "x").retained().property(four(MESSAGE_EXPIRY, 10)));
    node.advance_secs(4);
    let mut client = node.client(V5, "client");
    client.subscribe("a", 0);
    client.expect(&["PUBLISH a \"x\" q0 retain expiry=6"]);
    let mut old = node.client(V311, "old");
    old.subscribe("a", 0);
    old.expect(&["PUBLISH a \"x\" q0 retain"]);
    node.advance_secs(7);
    client.subscribe("a", 0);
    old.subscribe("a", 0);
    client.expect_silence();
    old.expect_silence();
}

/// [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-18] [MQTT5-3.3.2-20]: its properties
/// are kept with it.
#[test]
fn a_retained_message_keeps_its_properties() {
    let node = TestNode::start();
    let mut publisher = node.client(V5, "publisher");
    let publish = Publish::new("a", "x")
        .retained()
        .property(user("b", "2"))
        .property(text(property::CONTENT_TYPE, "text/plain"))
        .property(user("a", "1"))
        .property(text(property::RESPONSE_TOPIC, "answers"));
    publisher.publish(publish);
    publisher.disconnect();
    let mut client = node.client(V5, "client");
    client.subscribe("a", 0);
    client.expect(&[
        "PUBLISH a \"x\" q0 retain user=b:2 content-type=text/plain user=a:1 response-topic=answers",
    ]);
}

/// Section 3.3.2.3.3: a message that replaces another also replaces its expiry.
#[test]
fn a_new_retained_message_has_its_own_expiry() {
    let node = TestNode::start();
    let mut publisher = node.client(V5, "publisher");
    publisher.publish(Publish::new("a", "1").retained().property(four(MESSAGE_EXPIRY, 5)));
    publisher.publish(Publish::new("a", "2").retained());
    node.advance_secs(10);
    let mut client = node.client(V5, "client");
    client.subscribe("a", 0);
    client.expect(&["PUBLISH a \"2\" q0 retain"]);
}

/// [MQTT5-3.2.2-13] and section 3.2.2.3.5: a node without retained messages says so and refuses them.
#[test]
fn a_node_without_retained_messages_says_so() {
    let node = TestNode::with(|config| config.session.retain_available = false);
    let mut peer = node.connecting(&Connect::new(V5, "client"));
    assert!(peer.receive().contains(" retain-available=0"));
    peer.send(&Publish::new("a", "x").retained().bytes(V5));
    peer.expect_refusal(0x9A);
    let will = crate::packets::Will::new("a", "x", 0).retained();
    let mut peer = node.connecting(&Connect::new(V5, "client").will(will.clone()));
    peer.expect(&["CONNACK 0x9a", "closed"]);
    // 3.1.1 cannot be told: the message goes to those who listen and is not kept.
    let mut old = node.connect(&Connect::new(V311, "old").will(will));
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("a", 0);
    keep(&mut old, "a", "y", 1);
    watcher.expect(&["PUBLISH a \"y\" q0"]);
    watcher.subscribe("a", 0);
    watcher.expect_silence();
}

/// A full store refuses what is new (0x97 where the version has it) and still replaces and removes.
#[test]
fn a_full_store_refuses_what_is_new() {
    let node = TestNode::with(|config| {
        config.broker.retained.messages_max = 1;
        config.broker.retained.payload_max = 10;
    });
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("#", 0);
    let mut peer = node.client(V5, "client");
    keep(&mut peer, "a", "1", 1);
    peer.send(&Publish::new("b", "2").qos(1, 1).retained().bytes(V5));
    peer.send(&Publish::new("b", "2").qos(2, 2).retained().bytes(V5));
    peer.send(&Publish::new("a", "much too long").qos(1, 3).retained().bytes(V5));
    peer.expect(&["PUBACK #1 0x97", "PUBREC #2 0x97", "PUBACK #3 0x97"]);
    keep(&mut peer, "a", "3", 1);
    keep(&mut peer, "a", "", 1);
    keep(&mut peer, "b", "4", 2);
    let lines = ["a \"1\"", "a \"3\"", "a \"\"", "b \"4\""].map(|line| format!("PUBLISH {line} q0"));
    watcher.expect(&lines.each_ref().map(String::as_str));
    watcher.expect_silence();
}

/// A node that keeps so many messages that `+/y` does not match, between two that it does.
fn haystack(hay: usize) -> TestNode {
    let node = TestNode::start();
    let mut publisher = node.client(V5, "publisher");
    for topic in ["a/y", "z/y"] {
        keep(&mut publisher, topic, "needle", 1);
    }
    let straw = |number| Publish::new(&format!("m{number}/x"), "hay").retained().bytes(V5);
    publisher.send(&(0..hay).flat_map(straw).collect::<Vec<u8>>());
    publisher.expect_silence();
    node
}

/// Some clients that wait for nothing but the answer to a PINGREQ get it.
#[track_caller]
fn expect_bystanders_are_served(node: &TestNode) {
    for number in 0..5 {
        node.client(V5, &format!("bystander {number}")).expect_silence();
    }
}

/// A replay that waits for an acknowledgement costs nothing, whatever the client sends instead: the thread, which is
/// the only one here, is there for others.
#[test]
fn replays_that_wait_do_not_hold_up_others() {
    let node = haystack(30_000);
    let attackers = ["one", "two"].map(|name| {
        let connect = Connect::new(V5, name).property(two(RECEIVE_MAXIMUM, 1));
        let mut attacker = node.connect(&connect);
        attacker.subscribe("+/y", 1);
        attacker.expect(&["PUBLISH a/y \"needle\" q1 #1 retain"]);
        attacker.send(&PINGREQ.repeat(20_000));
        attacker
    });
    expect_bystanders_are_served(&node);
    for mut attacker in attackers {
        attacker.expect(&["PINGRESP"; 20_000]);
        attacker.puback(1);
        attacker.expect(&["PUBLISH z/y \"needle\" q1 #2 retain"]);
    }
}

/// A filter that is named again and again is searched for once, and in turns.
#[test]
fn many_subscriptions_in_one_packet_do_not_hold_up_others() {
    let node = haystack(20_000);
    let filters = vec![("+/y", 0); 100_000];
    let attackers = ["one", "two"].map(|name| {
        let mut attacker = node.client(V5, name);
        attacker.send(&subscribe(V5, 1, &[], &filters));
        attacker
    });
    expect_bystanders_are_served(&node);
    for mut attacker in attackers {
        assert!(attacker.receive().starts_with("SUBACK #1 "));
        attacker.expect(&["PUBLISH a/y \"needle\" q0 retain", "PUBLISH z/y \"needle\" q0 retain"]);
        attacker.expect_silence();
    }
}
