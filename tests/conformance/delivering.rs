//! Messages to a client: QoS, DUP, identifiers, windows, what is sent again.

use crate::node::TestNode;
use crate::packets::{Connect, PUBACK, PUBREC, Publish, V5, V31, V311, acknowledgement_with};
use crate::property::{MESSAGE_EXPIRY, RECEIVE_MAXIMUM, four, two};

/// [MQTT5-3.8.4-7] [MQTT5-3.8.4-8] [MQTT5-3.3.1-2] [MQTT5-4.3.1-1] [MQTT5-4.3.2-2] [MQTT5-4.3.3-2] [MQTT311-3.8.4-6]
/// [MQTT311-3.3.1-2] [MQTT311-4.3.1-1] [MQTT311-4.3.2-1] [MQTT311-4.3.3-1] [MQTT311-2.3.1-5]
#[test]
fn a_delivery_has_the_lower_qos_and_no_dup() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        for granted in 0..=2 {
            for published in 0..=2 {
                let mut client = node.client(version, "client");
                client.subscribe("a", granted);
                node.client(V311, "publisher").say("a", "x", published);
                let expected = match granted.min(published) {
                    0 => "PUBLISH a \"x\" q0".to_owned(),
                    qos => format!("PUBLISH a \"x\" q{qos} #1"),
                };
                client.expect(&[&expected]);
            }
        }
    }
}

/// [MQTT5-3.3.1-3] [MQTT311-3.3.1-3]: DUP of the publisher is its own affair.
#[test]
fn dup_is_not_handed_on() {
    let node = TestNode::start();
    for version in [V311, V5] {
        let mut client = node.client(version, "client");
        client.subscribe("a", 2);
        let mut publisher = node.client(version, "publisher");
        publisher.send(&Publish::new("a", "x").qos(1, 1).dup().bytes(version));
        publisher.send(&Publish::new("a", "y").qos(2, 2).dup().bytes(version));
        client.expect(&["PUBLISH a \"x\" q1 #1", "PUBLISH a \"y\" q2 #2"]);
    }
}

/// [MQTT5-3.3.1-1] [MQTT5-4.3.2-3] [MQTT5-4.3.3-3] [MQTT5-4.3.3-4] [MQTT5-4.3.3-5] [MQTT5-4.3.3-6] [MQTT5-4.4.0-1]
/// [MQTT5-2.2.1-5] [MQTT311-3.3.1-1] [MQTT311-2.3.1-4] [MQTT311-4.3.2-1] [MQTT311-4.3.3-1] [MQTT311-4.4.0-1]
/// [MQTT311-4.6.0-1] [MQTT311-4.6.0-4]: what was not acknowledged comes again on the next connection, in order, and
/// never on this one.
#[test]
fn a_resumed_session_gets_what_it_had_not_acknowledged() {
    let node = TestNode::start();
    for version in [V31, V311, V5] {
        let connect = Connect::lasting(version, &format!("{version:?}"));
        let mut client = node.connect(&connect);
        client.subscribe("a", 2);
        let mut publisher = node.client(V5, "publisher");
        for (payload, qos) in [("1", 1), ("2", 2), ("3", 2), ("4", 1), ("5", 2)] {
            publisher.say("a", payload, qos);
        }
        client.expect(&[
            "PUBLISH a \"1\" q1 #1",
            "PUBLISH a \"2\" q2 #2",
            "PUBLISH a \"3\" q2 #3",
            "PUBLISH a \"4\" q1 #4",
            "PUBLISH a \"5\" q2 #5",
        ]);
        client.pubrec(2);
        client.expect(&["PUBREL #2"]);
        client.puback(4);
        node.advance_secs(100);
        client.expect_silence();
        client.die();
        let mut client = node.connect(&connect);
        client.expect(&[
            "PUBLISH a \"1\" q1 #1 dup",
            "PUBREL #2",
            "PUBLISH a \"3\" q2 #3 dup",
            "PUBLISH a \"5\" q2 #5 dup",
        ]);
        client.expect_silence();
        client.puback(1);
        client.pubcomp(2);
        client.pubrec(3);
        client.pubrec(5);
        client.expect(&["PUBREL #3", "PUBREL #5"]);
        client.die();
        let mut client = node.connect(&connect);
        client.expect(&["PUBREL #3", "PUBREL #5"]);
        client.pubcomp(3);
        client.pubcomp(5);
        client.expect_silence();
        client.disconnect();
        let mut client = node.connect(&connect);
        client.expect_silence();
    }
}

/// [MQTT5-4.3.3-7] [MQTT5-4.4.0-1]: a delivery that has begun is completed although the message has expired.
#[test]
fn what_was_sent_once_does_not_expire() {
    let node = TestNode::start();
    let connect = Connect::lasting(V5, "client");
    let mut client = node.connect(&connect);
    client.subscribe("a", 2);
    let mut publisher = node.client(V5, "publisher");
    for qos in [1, 2] {
        publisher.publish(Publish::new("a", "x").qos(qos, 0).property(four(MESSAGE_EXPIRY, 5)));
    }
    client.expect(&["PUBLISH a \"x\" q1 #1 expiry=5", "PUBLISH a \"x\" q2 #2 expiry=5"]);
    client.die();
    node.advance_secs(10);
    let mut client = node.connect(&connect);
    client.expect(&["PUBLISH a \"x\" q1 #1 dup expiry=0", "PUBLISH a \"x\" q2 #2 dup expiry=0"]);
    client.puback(1);
    client.pubrec(2);
    client.expect(&["PUBREL #2"]);
    client.pubcomp(2);
    client.expect_silence();
}

/// [MQTT5-4.4.0-2] [MQTT5-4.3.3-4]: a code of 0x80 or more ends the flow as well.
#[test]
fn a_refused_delivery_is_over() {
    let node = TestNode::start();
    let connect = Connect::lasting(V5, "client");
    let mut client = node.connect(&connect);
    client.subscribe("a", 2);
    let mut publisher = node.client(V5, "publisher");
    publisher.say("a", "x", 1);
    publisher.say("a", "y", 2);
    client.expect(&["PUBLISH a \"x\" q1 #1", "PUBLISH a \"y\" q2 #2"]);
    client.send(&acknowledgement_with(PUBACK, 1, 0x97));
    client.send(&acknowledgement_with(PUBREC, 2, 0x80));
    client.expect_silence();
    client.die();
    let mut client = node.connect(&connect);
    client.expect_silence();
}

/// [MQTT5-2.2.1-5] and section 4.3.3: what is not known is told (5.0) or passed over, and changes nothing.
#[test]
fn acknowledgements_for_nothing_do_no_harm() {
    let node = TestNode::start();
    for (version, pubrel) in [(V31, "PUBREL #9"), (V311, "PUBREL #9"), (V5, "PUBREL #9 0x92")] {
        let mut client = node.client(version, "client");
        client.subscribe("a", 2);
        client.puback(9);
        client.pubcomp(9);
        client.expect_silence();
        client.pubrec(9);
        client.expect(&[pubrel]);
        let mut publisher = node.client(V5, "publisher");
        publisher.say("a", "x", 1);
        publisher.say("a", "y", 2);
        client.expect(&["PUBLISH a \"x\" q1 #1", "PUBLISH a \"y\" q2 #2"]);
        // The wrong kinds.
        client.pubcomp(1);
        client.puback(2);
        client.pubcomp(2);
        client.expect_silence();
        client.puback(1);
        client.pubrec(2);
        client.expect(&["PUBREL #2"]);
        client.pubrec(2);
        client.expect(&["PUBREL #2"]);
        client.pubcomp(2);
        client.expect_silence();
    }
}

/// [MQTT5-3.3.4-9] [MQTT5-3.3.4-10] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2] [MQTT5-4.9.0-3]: no more than the client's Receive
/// Maximum, QoS 0 and everything else in spite of it.
#[test]
fn the_window_of_the_client_is_kept() {
    let node = TestNode::start();
    let mut client = node.connect(&Connect::new(V5, "client").property(two(RECEIVE_MAXIMUM, 2)));
    client.subscribe("a", 2);
    let mut publisher = node.client(V5, "publisher");
    for number in 1..=5 {
        publisher.say("a", &number.to_string(), if number % 2 == 0 { 2 } else { 1 });
    }
    publisher.say("a", "free", 0);
    client.expect(&["PUBLISH a \"1\" q1 #1", "PUBLISH a \"2\" q2 #2", "PUBLISH a \"free\" q0"]);
    client.expect_silence();
    client.subscribe("b", 0);
    client.send(&Publish::new("b", "still heard").bytes(V5));
    client.expect(&["PUBLISH b \"still heard\" q0"]);
}

/// [MQTT5-4.9.0-2]: PUBREC of a QoS 2 delivery keeps its place; PUBACK, PUBCOMP and a refusal give it back.
#[test]
fn places_in_the_window_are_given_back() {
    let node = TestNode::start();
    let mut client = node.connect(&Connect::new(V5, "client").property(two(RECEIVE_MAXIMUM, 1)));
    client.subscribe("a", 2);
    let mut publisher = node.client(V5, "publisher");
    for (payload, qos) in [("1", 1), ("2", 2), ("3", 2), ("4", 1)] {
        publisher.say("a", payload, qos);
    }
    client.expect(&["PUBLISH a \"1\" q1 #1"]);
    client.puback(1);
    client.expect(&["PUBLISH a \"2\" q2 #2"]);
    client.pubrec(2);
    client.expect(&["PUBREL #2"]);
    client.expect_silence();
    client.pubcomp(2);
    client.expect(&["PUBLISH a \"3\" q2 #3"]);
    client.send(&acknowledgement_with(PUBREC, 3, 0x83));
    client.expect(&["PUBLISH a \"4\" q1 #4"]);
}

/// [MQTT5-4.6.0-5] [MQTT5-4.6.0-6] [MQTT311-4.6.0-5] [MQTT311-4.6.0-6]: a publisher's messages keep their order,
/// through the window, the queue and a reconnect.
#[test]
fn messages_keep_their_order() {
    let node = TestNode::start();
    for version in [V311, V5] {
        let connect = Connect::lasting(version, &format!("{version:?}"));
        let mut client = node.connect(&connect);
        client.subscribe("a", 1);
        let mut publisher = node.client(version, "publisher");
        for number in 0..300 {
            publisher.say("a", &number.to_string(), 1);
        }
        for number in 0..50_u16 {
            client.expect(&[&format!("PUBLISH a \"{number}\" q1 #{}", number + 1)]);
            client.puback(number + 1);
        }
        client.die();
        let mut client = node.connect(&connect);
        for number in 50..300_u16 {
            let line = client.receive();
            let start = format!("PUBLISH a \"{number}\" q1 #{}", number + 1);
            assert!(line.starts_with(&start), "{line} instead of {start}");
            client.puback(number + 1);
        }
        client.expect_silence();
    }
}

/// [MQTT5-2.2.1-4] [MQTT5-4.3.2-1] [MQTT5-4.3.3-1] [MQTT311-2.3.1-4]: no identifier is used twice at a time, none is 0.
#[test]
fn identifiers_in_flight_are_all_different() {
    let node = TestNode::with(|config| config.session.inflight_max = 500);
    let mut client = node.client(V5, "client");
    client.subscribe("a", 2);
    let mut publisher = node.client(V5, "publisher");
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..500_u16 {
        publisher.say("a", "x", 1 + (number % 2) as u8);
        let line = client.receive();
        let id: u16 = line.rsplit('#').next().and_then(|id| id.parse().ok()).expect("an identifier");
        assert!(id != 0 && seen.insert(id), "{line}");
    }
}
