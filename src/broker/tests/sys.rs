//! What the node says of itself under `$SYS`.

use super::*;
use crate::broker::RetainedSettings;
use crate::codec::{Publish, Qos};

/// Lets the interval pass and returns the value of one topic below `$SYS/broker/`, as a new subscriber gets it.
fn value(node: &Node, name: &str) -> Option<String> {
    node.advance(secs(10));
    let reader = node.client("reader");
    let topic = format!("$SYS/broker/{name}");
    reader.subscribe(&topic, Qos::AtMostOnce);
    let received = reader.received();
    reader.disconnect();
    let start = format!("PUBLISH {topic}:");
    received.iter().find_map(|packet| Some(packet.strip_prefix(&start)?.split(" q").next()?.to_owned()))
}

#[test]
fn values_are_there_for_new_subscribers() {
    let node = Node::new();
    node.advance(secs(1));
    let [fin, gus] = ["fin", "gus"].map(|client_id| node.client(client_id));
    fin.subscribe("t", Qos::AtMostOnce);
    gus.publish("t", "1", Qos::AtMostOnce);
    gus.publish("t", "2", Qos::AtMostOnce);
    for (name, expected) in [
        ("version", format!("flockmq {}", env!("CARGO_PKG_VERSION")).as_str()),
        ("clients/connected", "2"),
        ("clients/total", "2"),
        ("clients/disconnected", "0"),
        ("subscriptions/count", "1"),
        ("publish/messages/received", "2"),
        ("publish/messages/dropped", "0"),
    ] {
        assert_eq!(value(&node, name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(value(&node, "uptime").as_deref(), Some("80 seconds"));
}

#[test]
fn the_maximum_of_clients_stays() {
    let node = Node::new();
    node.advance(secs(1));
    let clients = ["fin", "gus", "hal"].map(|client_id| node.client(client_id));
    assert_eq!(value(&node, "clients/maximum").as_deref(), Some("3"));
    clients.iter().for_each(Peer::disconnect);
    assert_eq!(value(&node, "clients/connected").as_deref(), Some("0"));
    assert_eq!(value(&node, "clients/maximum").as_deref(), Some("3"));
}

#[test]
fn loads_are_per_minute() {
    let node = Node::new();
    node.advance(secs(1));
    let publisher = node.client("publisher");
    for _ in 0..100 {
        publisher.publish("t", "1", Qos::AtMostOnce);
    }
    // 100 in ten seconds are 600 a minute; the average over one minute has come 1 - exp(-1/6) of the way.
    assert_eq!(value(&node, "load/publish/received/1min").as_deref(), Some("92.11"));
}

#[test]
fn a_value_is_sent_again_only_when_it_changes() {
    let node = Node::new();
    let peer = node.client("fin");
    peer.subscribe("$SYS/broker/clients/#", Qos::AtMostOnce);
    node.advance(secs(10));
    assert_ne!(peer.received(), [""; 0]);
    node.advance(secs(10));
    assert_eq!(peer.received(), [""; 0]);
    node.client("gus");
    node.advance(secs(10));
    let received = peer.received();
    assert!(received.contains(&"PUBLISH $SYS/broker/clients/connected:2 q0".to_owned()), "{received:?}");
}

#[test]
fn an_interval_of_zero_says_nothing() {
    let settings = Settings { sys_interval: Duration::ZERO, ..Settings::default() };
    let node = Node::with(settings, session::Settings::default());
    let peer = node.client("fin");
    peer.subscribe("$SYS/#", Qos::AtMostOnce);
    node.advance(secs(100));
    assert_eq!(peer.received(), [""; 0]);
}

#[test]
fn what_the_node_says_takes_no_room_from_clients() {
    let settings = Settings {
        retained: RetainedSettings { messages_max: 2, ..RetainedSettings::default() },
        ..Settings::default()
    };
    let node = Node::with(settings, session::Settings::default());
    node.advance(secs(1));
    let publisher = node.client("publisher");
    let retain = |topic: &'static str| {
        publisher.publish_with(Publish { qos: Qos::AtLeastOnce, retain: true, ..Publish::new(topic, b"1") })
    };
    assert_eq!(retain("a"), "NoMatchingSubscribers");
    assert_eq!(retain("b"), "NoMatchingSubscribers");
    assert_eq!(retain("c"), "QuotaExceeded");
    node.advance(secs(10));
    assert_eq!(node.dropped(DropReason::RetainedFull), 0);
    assert_eq!(value(&node, "retained messages/count").as_deref(), Some("2"));
}
