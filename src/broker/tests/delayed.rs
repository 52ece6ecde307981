//! `$delayed/{seconds}/{topic}`: kept, published at its time, refused, lost. Also what else begins with `$`.

use super::*;
use crate::broker::DelayedSettings;
use crate::codec::{Publish, PublishProperties, Qos, SubscribeOptions, Will, WillProperties};

const ALL: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

fn limited(delayed: DelayedSettings) -> Node {
    Node::with(Settings { delayed, ..Settings::default() }, session::Settings::default())
}

fn accepted(qos: Qos) -> &'static str {
    if qos == Qos::AtMostOnce { "" } else { "Success" }
}

#[test]
fn a_message_is_published_when_its_time_has_come() {
    let node = Node::new();
    let watcher = node.client("watcher");
    watcher.subscribe("#", Qos::ExactlyOnce);
    watcher.subscribe("$delayed/#", Qos::ExactlyOnce);
    for version in [ProtocolVersion::V31, V311, V5] {
        let publisher = node.welcome(&Connect::new(version, "publisher"));
        for qos in ALL {
            assert_eq!(publisher.publish("$delayed/2/a/b", "x", qos), accepted(qos), "{version:?}");
            assert_eq!(node.metrics.delayed.get(), 1);
            node.advance(Duration::from_millis(1_999));
            assert_eq!(watcher.received(), [""; 0], "{version:?} {qos:?}");
            node.advance(Duration::from_millis(1));
            assert_eq!(watcher.consume(), ["a/b:x"], "{version:?} {qos:?}");
            assert_eq!(node.metrics.delayed.get(), 0);
        }
    }
    assert_eq!(node.dropped_in_all(), 0);
}

/// What the publisher said is what subscribers get, although it has left by then. The expiry counts from the
/// publisher's PUBLISH.
#[test]
fn a_message_keeps_its_flags_properties_and_publisher() {
    let node = Node::new();
    let options = SubscribeOptions {
        no_local: true,
        retain_as_published: true,
        ..SubscribeOptions::with_qos(Qos::ExactlyOnce)
    };
    let [fin, gus] = ["fin", "gus"].map(|client_id| {
        let peer = node.durable(client_id);
        peer.subscribe_with("a", options, Some(7));
        peer
    });
    let properties = PublishProperties { message_expiry: Some(10), ..PublishProperties::default() };
    fin.publish_with(Publish {
        qos: Qos::ExactlyOnce,
        retain: true,
        properties,
        ..Publish::new("$delayed/4/a", b"x")
    });
    assert_eq!(node.metrics.retained.get(), 0, "not before its time");
    fin.lose_connection();
    node.advance(secs(4));
    assert_eq!(node.metrics.retained.get(), 1);
    assert_eq!(gus.received(), ["PUBLISH a:x q2 #1 retain expiry=6 ids=[7]"]);
    assert_eq!(node.durable("fin").received(), [""; 0], "No Local");
}

#[test]
fn a_message_that_expires_before_its_time_is_dropped() {
    let node = Node::new();
    let watcher = node.client("watcher");
    watcher.subscribe("#", Qos::AtMostOnce);
    let publish = |delay, expiry| {
        let properties = PublishProperties { message_expiry: Some(expiry), ..PublishProperties::default() };
        let topic = format!("$delayed/{delay}/a");
        let publish =
            Publish { qos: Qos::AtLeastOnce, retain: true, properties, ..Publish::new(&topic, b"x") };
        assert_eq!(watcher.publish_with(publish), "Success");
    };
    for (delay, expiry) in [(5, 4), (5, 5), (0, 0)] {
        publish(delay, expiry);
        assert_eq!(node.metrics.delayed.get(), 0, "there is nothing to wait for");
    }
    assert_eq!(node.dropped(DropReason::Expired), 3);
    // In time when it was taken, but the next tick comes too late.
    publish(5, 6);
    assert_eq!(node.metrics.delayed.get(), 1);
    node.advance(secs(6));
    assert_eq!(node.dropped(DropReason::Expired), 4);
    assert_eq!((watcher.received(), node.metrics.retained.get()), (vec![], 0));
}

#[test]
fn equal_times_keep_the_order_across_the_ends_of_batches() {
    let node = Node::new();
    let watcher = node.client("watcher");
    watcher.subscribe("#", Qos::AtMostOnce);
    let publisher = node.client("publisher");
    for number in 0..2_500 {
        publisher.publish("$delayed/1/a", &number.to_string(), Qos::AtMostOnce);
    }
    node.clock.0.set(node.clock.now() + secs(1));
    assert!(node.broker.on_tick(node.clock.now()), "one tick does not do it all");
    assert_eq!(node.metrics.delayed.get(), 1_500);
    node.advance(Duration::ZERO);
    let expected: Vec<String> = (0..2_500).map(|number| format!("a:{number}")).collect();
    assert_eq!(watcher.consume(), expected);
}

/// What no longer fits goes nowhere: MQTT 5 clients are told, older ones have no code for it.
#[test]
fn a_full_store_takes_no_more() {
    let node = limited(DelayedSettings { messages_max: 2, ..DelayedSettings::default() });
    let watcher = node.client("watcher");
    watcher.subscribe("#", Qos::AtMostOnce);
    let old = node.welcome(&Connect::new(V311, "old"));
    for number in 0..2 {
        assert_eq!(watcher.publish("$delayed/1/a", &number.to_string(), Qos::AtLeastOnce), "Success");
    }
    assert_eq!(watcher.publish("$delayed/1/a", "x", Qos::AtLeastOnce), "QuotaExceeded");
    assert_eq!(watcher.publish("$delayed/1/a", "x", Qos::ExactlyOnce), "QuotaExceeded");
    assert_eq!(watcher.publish("$delayed/1/a", "x", Qos::AtMostOnce), "");
    assert_eq!(old.publish("$delayed/1/a", "x", Qos::AtLeastOnce), "Success");
    assert_eq!(node.dropped(DropReason::DelayedFull), 4);
    node.advance(secs(1));
    assert_eq!(watcher.consume(), ["a:0", "a:1"]);
    assert_eq!(watcher.publish("$delayed/1/a", "2", Qos::AtLeastOnce), "Success");
    assert_eq!(node.dropped_in_all(), 4);
}

/// [MQTT5-4.7.2-1]: `$` topics are the node's own, by whatever way and however late.
#[test]
fn what_a_client_may_not_publish_to_is_refused_and_counted() {
    let check = |node: &Node, topic: &str, reason: &str| {
        let (watcher, peer) = (node.client("watcher"), node.client("peer"));
        let old = node.welcome(&Connect::new(V311, "old"));
        for filter in ["#", "$SYS/x", "$delayed/#"] {
            watcher.subscribe(filter, Qos::AtMostOnce);
        }
        let before = node.dropped(DropReason::TopicRefused);
        for qos in ALL {
            let expected = if qos == Qos::AtMostOnce { "" } else { reason };
            assert_eq!(peer.publish(topic, "x", qos), expected, "{topic}");
            assert_eq!(old.publish(topic, "x", qos), accepted(qos), "{topic}");
        }
        let will = Will {
            topic,
            payload: b"x",
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: WillProperties::default(),
        };
        node.welcome(&Connect { will: Some(will), ..Connect::new(V5, "mortal") }).lose_connection();
        node.advance(secs(3_600));
        assert_eq!(node.dropped(DropReason::TopicRefused) - before, 7, "{topic}");
        assert_eq!(watcher.received(), [""; 0], "{topic}");
    };
    let node = Node::with(
        Settings { sys_interval: Duration::ZERO, ..Settings::default() },
        session::Settings::default(),
    );
    for topic in ["$SYS/x", "$", "$share/g/a", "$exclusive/a", "$delayed", "$Delayed/1/a"] {
        check(&node, topic, "NotAuthorized");
    }
    for topic in [
        "$delayed/x/a",
        "$delayed/1",
        "$delayed/1/",
        "$delayed//a",
        "$delayed/-1/a",
        "$delayed/4294968/a",
        "$delayed/1/$SYS/x",
        "$delayed/1/$delayed/1/a",
    ] {
        check(&node, topic, "TopicNameInvalid");
    }
    let off = limited(DelayedSettings { messages_max: 0, ..DelayedSettings::default() });
    check(&off, "$delayed/1/a", "NotAuthorized");
    check(&off, "$delayed/x", "NotAuthorized");
}

/// The delay begins when the Will would have been published.
#[test]
fn a_will_may_be_delayed_like_any_message() {
    let node = limited(DelayedSettings { messages_max: 1, ..DelayedSettings::default() });
    let watcher = node.client("watcher");
    watcher.subscribe("#", Qos::AtMostOnce);
    let properties = WillProperties { message_expiry: Some(10), ..WillProperties::default() };
    let will =
        Will { topic: "$delayed/4/a", payload: b"gone", qos: Qos::AtLeastOnce, retain: false, properties };
    let connect = |client_id| Connect { will: Some(will.clone()), ..Connect::new(V5, client_id) };
    let peers = ["fin", "gus"].map(|client_id| node.welcome(&connect(client_id)));
    node.advance(secs(100));
    peers.iter().for_each(Peer::lose_connection);
    assert_eq!(node.dropped(DropReason::DelayedFull), 1, "of the second");
    node.advance(secs(3));
    assert_eq!(watcher.received(), [""; 0]);
    node.advance(secs(1));
    assert_eq!(watcher.received(), ["PUBLISH a:gone q0 expiry=6"]);
}

#[test]
fn a_node_that_stops_counts_what_it_loses() {
    let node = Node::new();
    let will = Will {
        topic: "$delayed/4/a",
        payload: b"gone",
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: WillProperties::default(),
    };
    let peer = node.welcome(&Connect { will: Some(will), ..Connect::new(V5, "fin") });
    peer.publish("$delayed/1/a", "x", Qos::AtLeastOnce);
    peer.publish("$delayed/2/a", "x", Qos::AtMostOnce);
    node.broker.shutdown(node.clock.now());
    assert_eq!(node.dropped(DropReason::NodeStopped), 3);
    assert_eq!(node.metrics.delayed.get(), 0);
}

/// A message at its time goes through shared subscriptions, and into queues, like any other.
#[test]
fn a_message_at_its_time_is_a_message_like_any_other() {
    let node = Node::new();
    let member = node.client("member");
    member.subscribe("$share/g/a", Qos::AtLeastOnce);
    let away = node.durable("away");
    away.subscribe("+", Qos::AtLeastOnce);
    away.lose_connection();
    member.publish("$delayed/1/a", "x", Qos::AtLeastOnce);
    node.advance(secs(1));
    assert_eq!(member.consume(), ["a:x"]);
    assert_eq!(node.durable("away").consume(), ["a:x"]);
}
