//! The properties that travel with a message.

use crate::node::TestNode;
use crate::packets::{Connect, Publish, V5, V311};
use crate::property::{self, MESSAGE_EXPIRY, binary, byte, four, text, user};

/// [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-18] [MQTT5-3.3.2-20] [MQTT5-1.5.7-1]:
/// unaltered and in their order, at once and after waiting.
#[test]
fn properties_are_forwarded_unaltered() {
    let node = TestNode::start();
    let lasting = Connect::lasting(V5, "lasting");
    let mut away = node.connect(&lasting);
    away.subscribe("a", 1);
    away.disconnect();
    let mut client = node.client(V5, "client");
    client.subscribe("a", 1);
    let mut old = node.client(V311, "old");
    old.subscribe("a", 1);
    let sections = [
        vec![],
        user("", ""),
        [user("b", "1"), user("a", "2"), user("b", "1"), user("ü", "\u{FEFF}")].concat(),
        byte(property::PAYLOAD_FORMAT, 0),
        byte(property::PAYLOAD_FORMAT, 1),
        text(property::CONTENT_TYPE, ""),
        text(property::CONTENT_TYPE, "text/plain; charset=utf-8"),
        binary(property::CORRELATION_DATA, &[]),
        binary(property::CORRELATION_DATA, &[0, 1, 0x80, 0xFF]),
        text(property::RESPONSE_TOPIC, "/answers/ü/"),
        [
            user("first", "1"),
            binary(property::CORRELATION_DATA, b"id"),
            user("second", "2"),
            text(property::RESPONSE_TOPIC, "answers"),
            byte(property::PAYLOAD_FORMAT, 1),
            user("third", "3"),
            text(property::CONTENT_TYPE, "x"),
        ]
        .concat(),
    ];
    let names = [
        "",
        " user=:",
        " user=b:1 user=a:2 user=b:1 user=ü:\u{FEFF}",
        " format=0",
        " format=1",
        " content-type=",
        " content-type=text/plain; charset=utf-8",
        " correlation=",
        " correlation=\\x00\\x01\\x80\\xff",
        " response-topic=/answers/ü/",
        " user=first:1 correlation=id user=second:2 response-topic=answers format=1 user=third:3 content-type=x",
    ];
    let mut publisher = node.client(V5, "publisher");
    for (number, (section, name)) in sections.into_iter().zip(names).enumerate() {
        publisher.publish(Publish::new("a", "x").qos(1, 0).property(section));
        let id = number + 1;
        client.expect(&[&format!("PUBLISH a \"x\" q1 #{id}{name}")]);
        client.puback(id as u16);
        old.expect(&[&format!("PUBLISH a \"x\" q1 #{id}")]);
        old.puback(id as u16);
    }
    let mut back = node.connect(&lasting);
    for (number, name) in names.into_iter().enumerate() {
        back.expect(&[&format!("PUBLISH a \"x\" q1 #{}{name}", number + 1)]);
    }
}

/// [MQTT5-3.3.2-5] [MQTT5-3.3.2-6]: counted down while it waits; not sent when it is over.
#[test]
fn the_expiry_is_counted_down() {
    let node = TestNode::start();
    let lasting = Connect::lasting(V5, "client");
    let mut client = node.connect(&lasting);
    client.subscribe("a", 2);
    let mut publisher = node.client(V5, "publisher");
    let mut say = |payload, qos, seconds| {
        publisher.publish(Publish::new("a", payload).qos(qos, 0).property(four(MESSAGE_EXPIRY, seconds)));
    };
    say("now", 0, 10);
    client.expect(&["PUBLISH a \"now\" q0 expiry=10"]);
    client.disconnect();
    say("short", 1, 5);
    say("long", 2, 60);
    say("longest", 1, u32::MAX);
    say("none", 1, 0);
    node.advance_secs(10);
    let mut client = node.connect(&lasting);
    // The expired one may have taken an identifier.
    for (start, end) in
        [("PUBLISH a \"long\" q2 #", "expiry=50"), ("PUBLISH a \"longest\" q1 #", "=4294967285")]
    {
        let line = client.receive();
        assert!(line.starts_with(start) && line.ends_with(end), "{line}");
    }
    client.expect_silence();
}

/// Section 4.10: a request finds its way and its answer back.
#[test]
fn a_request_is_answered() {
    let node = TestNode::start();
    let mut server = node.client(V5, "server");
    server.subscribe("questions", 1);
    let mut client = node.client(V5, "client");
    client.subscribe("answers/client", 1);
    let question = Publish::new("questions", "?")
        .qos(1, 0)
        .property(text(property::RESPONSE_TOPIC, "answers/client"))
        .property(binary(property::CORRELATION_DATA, &[7]));
    client.publish(question);
    server.expect(&["PUBLISH questions \"?\" q1 #1 response-topic=answers/client correlation=\\x07"]);
    server.publish(
        Publish::new("answers/client", "!").qos(1, 0).property(binary(property::CORRELATION_DATA, &[7])),
    );
    client.expect(&["PUBLISH answers/client \"!\" q1 #1 correlation=\\x07"]);
}
