//! Retained messages as subscribers get them.

use super::*;
use crate::codec::{Publish, PublishProperties, Qos, RetainHandling, SubscribeOptions};

fn keep(peer: &Peer, topic: &str, payload: &str, qos: Qos) -> String {
    peer.publish_with(Publish { qos, retain: true, ..Publish::new(topic, payload.as_bytes()) })
}

/// [MQTT5-3.3.1-5] [MQTT5-3.3.1-6] [MQTT5-3.3.1-7] [MQTT5-3.3.1-8]: the last one of each topic, at the lower
/// QoS, with the flag set; an empty payload clears it, and is itself delivered.
#[test]
fn a_new_subscription_gets_the_last_message_of_each_topic() {
    let node = Node::new();
    let publisher = node.client("publisher");
    keep(&publisher, "a/1", "old", Qos::AtMostOnce);
    keep(&publisher, "a/1", "new", Qos::ExactlyOnce);
    keep(&publisher, "a/2", "kept", Qos::AtMostOnce);
    keep(&publisher, "a/3", "cleared", Qos::AtLeastOnce);
    let early = node.client("early");
    early.subscribe("a/3", Qos::AtMostOnce);
    assert_eq!(early.received(), ["PUBLISH a/3:cleared q0 retain"]);
    keep(&publisher, "a/3", "", Qos::AtLeastOnce);
    assert_eq!(early.received(), ["PUBLISH a/3: q0"]);
    publisher.publish("a/4", "passed", Qos::AtLeastOnce);
    keep(&publisher, "b", "other", Qos::AtLeastOnce);
    assert_eq!(node.metrics.retained.get(), 3);
    let late = node.client("late");
    late.send_subscribe("a/#", SubscribeOptions::with_qos(Qos::AtLeastOnce), Some(9));
    assert_eq!(
        late.received(),
        ["SUBACK GrantedQos1", "PUBLISH a/1:new q1 #1 retain ids=[9]", "PUBLISH a/2:kept q0 retain ids=[9]"]
    );
}

/// [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11] [MQTT5-3.8.4-4]: Retain Handling, with what comes at the
/// first and at the second SUBSCRIBE.
#[test]
fn retain_handling_decides_when_they_are_sent() {
    let check = |retain_handling, expected: [usize; 2]| {
        let node = Node::new();
        keep(&node.client("publisher"), "t", "kept", Qos::AtMostOnce);
        let peer = node.client("fin");
        let options = SubscribeOptions { retain_handling, ..SubscribeOptions::default() };
        let counts = [0; 2].map(|_| {
            peer.subscribe_with("t", options, None);
            peer.received().len()
        });
        assert_eq!(counts, expected, "{retain_handling:?}");
    };
    check(RetainHandling::SendAlways, [1, 1]);
    check(RetainHandling::SendIfNew, [1, 0]);
    check(RetainHandling::DoNotSend, [0, 0]);
}

/// [MQTT5-3.3.1-12] [MQTT5-3.3.1-13]: the flag of a message that is published now.
#[test]
fn the_flag_is_kept_only_where_it_is_asked_for() {
    let node = Node::new();
    let [plain, exact] = ["plain", "exact"].map(|client_id| node.client(client_id));
    plain.subscribe("t", Qos::AtMostOnce);
    let options = SubscribeOptions { retain_as_published: true, ..SubscribeOptions::default() };
    exact.subscribe_with("t", options, None);
    let publisher = node.client("publisher");
    keep(&publisher, "t", "1", Qos::AtMostOnce);
    publisher.publish("t", "2", Qos::AtMostOnce);
    assert_eq!(plain.received(), ["PUBLISH t:1 q0", "PUBLISH t:2 q0"]);
    assert_eq!(exact.received(), ["PUBLISH t:1 q0 retain", "PUBLISH t:2 q0"]);
}

/// [MQTT5-4.9.0-1]: a replay keeps to the client's Receive Maximum and goes on with each acknowledgement.
#[test]
fn a_replay_goes_at_the_clients_pace() {
    let node = Node::new();
    let publisher = node.client("publisher");
    for number in 100..150 {
        keep(&publisher, &format!("t/{number}"), "kept", Qos::AtLeastOnce);
    }
    let receive_maximum = std::num::NonZeroU16::new(3);
    let properties = ConnectProperties { receive_maximum, ..ConnectProperties::default() };
    let peer = node.welcome(&Connect { properties, ..Connect::new(V5, "fin") });
    peer.subscribe("t/#", Qos::AtLeastOnce);
    let first = peer.received();
    assert_eq!(first.len(), 3);
    // What is published meanwhile is not sent twice, nor the older one after it.
    keep(&publisher, "t/149", "newer", Qos::AtMostOnce);
    assert_eq!(peer.received(), ["PUBLISH t/149:newer q0"]);
    for id in 1..=3 {
        peer.puback(id);
    }
    let rest = peer.consume();
    assert_eq!(rest.len(), 46, "{rest:?}");
    assert_eq!((&*rest[0], &*rest[45]), ("t/103:kept", "t/148:kept"));
}

/// The same with a socket that is full.
#[test]
fn a_replay_waits_for_room_in_the_socket() {
    let settings = session::Settings { outbox_bytes_max: 200, ..session::Settings::default() };
    let node = Node::with_sessions(settings);
    let publisher = node.client("publisher");
    for number in 100..150 {
        keep(&publisher, &format!("t/{number}"), "kept", Qos::AtMostOnce);
    }
    let peer = node.client("fin");
    peer.stop_reading();
    peer.send_subscribe("t/#", SubscribeOptions::default(), None);
    assert_eq!(peer.received(), [""; 0]);
    let mut received = Vec::new();
    for _ in 0..50 {
        peer.go_on_reading();
        received.extend(peer.consume());
    }
    assert_eq!(received.len(), 50, "{received:?}");
    assert_eq!(node.dropped_in_all(), 0);
}

/// [MQTT5-3.3.2-5]: a retained message expires like any other.
#[test]
fn a_retained_message_expires() {
    let node = Node::new();
    let properties = PublishProperties { message_expiry: Some(10), ..PublishProperties::default() };
    node.client("publisher").publish_with(Publish { retain: true, properties, ..Publish::new("t", b"kept") });
    node.advance(secs(4));
    let peer = node.client("fin");
    peer.subscribe("t", Qos::AtMostOnce);
    assert_eq!(peer.received(), ["PUBLISH t:kept q0 retain expiry=6"]);
    node.advance(secs(6));
    assert_eq!(node.metrics.retained.get(), 0);
    peer.subscribe("t", Qos::AtMostOnce);
    assert_eq!(peer.received(), [""; 0]);
}

/// A limit is told to those who can be told; for the others the message is delivered and not kept.
#[test]
fn what_is_too_much_to_keep_is_refused_or_only_delivered() {
    let retained = super::super::RetainedSettings { messages_max: 1, ..Default::default() };
    let settings = Settings { retained, ..Settings::default() };
    let node = Node::with(settings, session::Settings::default());
    let watcher = node.client("watcher");
    watcher.subscribe("#", Qos::AtMostOnce);
    let new = node.client("new");
    let old = node.welcome(&Connect::new(V311, "old"));
    assert_eq!(keep(&new, "a", "1", Qos::AtLeastOnce), "Success");
    assert_eq!(keep(&new, "a", "2", Qos::AtLeastOnce), "Success", "in place of the first");
    assert_eq!(keep(&new, "b", "refused", Qos::AtLeastOnce), "QuotaExceeded");
    keep(&new, "b", "3", Qos::AtMostOnce);
    assert_eq!(keep(&old, "b", "4", Qos::AtLeastOnce), "Success");
    assert_eq!(watcher.consume(), ["a:1", "a:2", "b:3", "b:4"]);
    assert_eq!(node.dropped(DropReason::RetainedFull), 2);
    assert_eq!(keep(&new, "a", "", Qos::AtLeastOnce), "Success");
    assert_eq!(keep(&new, "b", "5", Qos::AtLeastOnce), "Success", "there is room again");
    assert_eq!(node.metrics.retained.get(), 1);
}

/// [MQTT5-3.2.2-14] [MQTT5-3.2.2.3.5]: where nothing is retained, a flag is an error and nothing is replayed.
#[test]
fn where_nothing_is_retained_a_retain_flag_closes_the_connection() {
    let settings = session::Settings { retain_available: false, ..session::Settings::default() };
    let node = Node::with_sessions(settings);
    let peer = node.client("fin");
    peer.publish_with(Publish { retain: true, ..Publish::new("t", b"kept") });
    assert_eq!(peer.received(), ["DISCONNECT RetainNotSupported"]);
    assert!(peer.is_closed());
}
