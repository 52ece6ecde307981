//! Topic aliases that the node makes towards clients that take some.

use crate::node::TestNode;
use crate::packets::{Connect, Publish, V5};
use crate::property::{
    PACKET_SIZE_MAX, RECEIVE_MAXIMUM, SUBSCRIPTION_ID, TOPIC_ALIAS_MAXIMUM, four, two, varint,
};

fn taking(count: u16) -> Connect {
    Connect::lasting(V5, "client").property(two(TOPIC_ALIAS_MAXIMUM, count))
}

/// [MQTT5-3.1.2-26] [MQTT5-3.1.2-27] [MQTT5-3.3.2-8] [MQTT5-3.3.2-11]: a topic with its alias at first, the alias alone
/// from then on, none beyond the client's maximum and none for a client without one.
#[test]
fn a_long_topic_goes_over_the_wire_once() {
    let node = TestNode::start();
    let mut plain = node.client(V5, "plain");
    plain.subscribe("#", 0);
    let mut client = node.connect(&taking(2));
    client.subscribe("#", 1);
    let mut publisher = node.client(V5, "publisher");
    let mut say = |topic: &str, qos| publisher.say(topic, "x", qos);
    say("first/long/topic", 0);
    say("first/long/topic", 1);
    say("short", 0);
    say("second/long/topic", 1);
    say("third/long/topic", 0);
    say("second/long/topic", 0);
    say("first/long/topic", 0);
    client.expect(&[
        "PUBLISH first/long/topic \"x\" q0 alias=1",
        "PUBLISH  \"x\" q1 #1 alias=1",
        "PUBLISH short \"x\" q0",
        "PUBLISH second/long/topic \"x\" q1 #2 alias=2",
        "PUBLISH third/long/topic \"x\" q0",
        "PUBLISH  \"x\" q0 alias=2",
        "PUBLISH  \"x\" q0 alias=1",
    ]);
    for topic in ["first", "first", "", "second", "third", "second", "first"] {
        let expected = if topic.is_empty() { "short".to_owned() } else { format!("{topic}/long/topic") };
        plain.expect(&[&format!("PUBLISH {expected} \"x\" q0")]);
    }
}

/// [MQTT5-3.3.2-7]: a new connection begins without aliases, also for what is sent again.
#[test]
fn aliases_end_with_their_connection() {
    let node = TestNode::start();
    let mut client = node.connect(&taking(5).property(two(RECEIVE_MAXIMUM, 2)));
    client.subscribe_with("#", 2, &varint(SUBSCRIPTION_ID, 9));
    let mut publisher = node.client(V5, "publisher");
    for number in 1..=3 {
        publisher.say("a/long/topic", &number.to_string(), 1);
    }
    client.expect(&["PUBLISH a/long/topic \"1\" q1 #1 alias=1 id=9", "PUBLISH  \"2\" q1 #2 alias=1 id=9"]);
    client.die();
    let mut client = node.connect(&taking(5));
    client.expect(&[
        "PUBLISH a/long/topic \"1\" q1 #1 dup alias=1 id=9",
        "PUBLISH  \"2\" q1 #2 dup alias=1 id=9",
        "PUBLISH  \"3\" q1 #3 alias=1 id=9",
    ]);
    client.die();
    let mut client = node.connect(&Connect::lasting(V5, "client"));
    for number in 1..=3 {
        client.expect(&[&format!("PUBLISH a/long/topic \"{number}\" q1 #{number} dup id=9")]);
    }
}

/// [MQTT5-3.1.2-24]: an alias that would make its first packet too large is not made, and a packet is not larger for
/// it; retained messages have aliases as well.
#[test]
fn an_alias_makes_no_packet_too_large() {
    let node = TestNode::start();
    let topic = "a/long/topic";
    // 2 bytes of header, 14 of topic, 1 of properties.
    let exact = "x".repeat(100 - 17);
    let mut publisher = node.client(V5, "publisher");
    publisher.publish(Publish::new(topic, "kept").retained());
    let mut client = node.connect(&taking(5).property(four(PACKET_SIZE_MAX, 100)));
    publisher.say(topic, "unheard", 0);
    client.subscribe(topic, 0x20);
    publisher.say(topic, &exact, 0);
    client.expect(&[&format!("PUBLISH {topic} \"{exact}\" q0")]);
    assert_eq!(client.last_len, 100);
    client.subscribe(topic, 0);
    client.expect(&[&format!("PUBLISH {topic} \"kept\" q0 retain alias=1")]);
    // Without its topic it has room for more.
    let longer = "x".repeat(100 - 17 + 12 - 3);
    publisher.say(topic, &longer, 0);
    client.expect(&[&format!("PUBLISH  \"{longer}\" q0 alias=1")]);
    assert_eq!(client.last_len, 100);
    publisher.say(topic, &format!("{longer}x"), 0);
    client.expect_silence();
}

/// The node's own limit lowers the client's.
#[test]
fn the_node_may_make_fewer_aliases() {
    let node = TestNode::with(|config| config.session.topic_aliases_made_max = 1);
    let mut client = node.connect(&taking(u16::MAX));
    client.subscribe("#", 0);
    let mut publisher = node.client(V5, "publisher");
    publisher.say("first/long/topic", "x", 0);
    publisher.say("second/long/topic", "x", 0);
    client.expect(&["PUBLISH first/long/topic \"x\" q0 alias=1", "PUBLISH second/long/topic \"x\" q0"]);
}
