//! Fan-out: who gets a copy, and as what.

use super::*;
use crate::codec::{Publish, Qos, SubscribeOptions};

/// [MQTT5-3.8.4-8] [MQTT311-3.8.4-6]: the lower QoS of publisher and subscription.
#[test]
fn a_copy_has_the_lower_quality_of_service() {
    let node = Node::new();
    let all = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
    let peers = all.map(|qos| {
        let peer = node.client(&format!("{qos:?}"));
        assert_eq!(peer.subscribe("t", qos), ReasonCode::granted(qos).name());
        peer
    });
    let publisher = node.client("publisher");
    for (number, qos) in all.into_iter().enumerate() {
        publisher.publish("t", &number.to_string(), qos);
    }
    assert_eq!(peers[0].received(), ["PUBLISH t:0 q0", "PUBLISH t:1 q0", "PUBLISH t:2 q0"]);
    assert_eq!(peers[1].received(), ["PUBLISH t:0 q0", "PUBLISH t:1 q1 #1", "PUBLISH t:2 q1 #2"]);
    assert_eq!(peers[2].received(), ["PUBLISH t:0 q0", "PUBLISH t:1 q1 #1", "PUBLISH t:2 q2 #2"]);
}

/// [MQTT5-3.3.4-2] [MQTT5-3.3.4-3] [MQTT5-3.3.4-4]: one copy at the highest QoS, with all identifiers.
#[test]
fn overlapping_subscriptions_make_one_copy() {
    let node = Node::new();
    let peer = node.client("fin");
    peer.subscribe_with("a/+", SubscribeOptions::with_qos(Qos::ExactlyOnce), Some(1));
    peer.subscribe_with("a/#", SubscribeOptions::with_qos(Qos::AtMostOnce), Some(2));
    peer.subscribe_with("#", SubscribeOptions::with_qos(Qos::AtLeastOnce), None);
    peer.subscribe_with("b", SubscribeOptions::with_qos(Qos::AtLeastOnce), Some(3));
    node.client("publisher").publish("a/b", "1", Qos::ExactlyOnce);
    let received = peer.received();
    assert_eq!(received.len(), 1, "{received:?}");
    assert!(received[0].starts_with("PUBLISH a/b:1 q2 #1 ids="), "{received:?}");
    assert!(received[0].ends_with("[1, 2]") || received[0].ends_with("[2, 1]"), "{received:?}");
}

/// The other way that [MQTT5-3.3.4] leaves open.
#[test]
fn overlapping_subscriptions_make_a_copy_each_when_configured() {
    let settings = Settings { overlapping: Overlapping::Each, ..Settings::default() };
    let node = Node::with(settings, session::Settings::default());
    let [peer, other] = ["fin", "gus"].map(|client_id| node.client(client_id));
    peer.subscribe_with("a/+", SubscribeOptions::with_qos(Qos::ExactlyOnce), Some(1));
    peer.subscribe_with("a/#", SubscribeOptions::with_qos(Qos::AtMostOnce), Some(2));
    peer.subscribe_with("#", SubscribeOptions { no_local: true, ..SubscribeOptions::default() }, None);
    other.publish("a/b", "1", Qos::AtLeastOnce);
    let mut received = peer.received();
    received.sort();
    let expected = ["PUBLISH a/b:1 q0", "PUBLISH a/b:1 q0 ids=[2]", "PUBLISH a/b:1 q1 #1 ids=[1]"];
    assert_eq!(received, expected);
    peer.publish("a/b", "2", Qos::AtMostOnce);
    let mut received = peer.received();
    received.sort();
    assert_eq!(received, ["PUBLISH a/b:2 q0 ids=[1]", "PUBLISH a/b:2 q0 ids=[2]"]);
}

/// [MQTT5-3.8.3-3]
#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    let node = Node::new();
    let [fin, gus] = ["fin", "gus"].map(|client_id| {
        let peer = node.client(client_id);
        let options = SubscribeOptions { no_local: true, ..SubscribeOptions::default() };
        peer.subscribe_with("t", options, None);
        peer
    });
    fin.publish("t", "1", Qos::AtMostOnce);
    assert_eq!(fin.received(), [""; 0]);
    assert_eq!(gus.received(), ["PUBLISH t:1 q0"]);
}

/// [MQTT5-4.7.2-1]: what begins with `$` is matched by no wildcard at the front and published by no client.
#[test]
fn dollar_topics_are_the_nodes_own() {
    let node = Node::new();
    let peer = node.client("fin");
    for filter in ["#", "+/x", "$SYS/#"] {
        peer.subscribe(filter, Qos::AtMostOnce);
    }
    assert_eq!(peer.publish("$SYS/x", "1", Qos::AtLeastOnce), "NotAuthorized");
    assert_eq!(peer.received(), [""; 0]);
}

/// [MQTT5-3.8.4-3] [MQTT5-3.10.4-1] [MQTT5-3.10.4-2]: a subscription is replaced by its like, and gone after
/// UNSUBSCRIBE. 0x10 says that nobody was there.
#[test]
fn a_subscription_is_replaced_and_removed() {
    let node = Node::new();
    let peer = node.client("fin");
    let publisher = node.client("publisher");
    peer.subscribe("t/+", Qos::AtLeastOnce);
    peer.subscribe("t/+", Qos::AtMostOnce);
    assert_eq!(node.gauges()[2], 1);
    assert_eq!(publisher.publish("t/1", "1", Qos::AtLeastOnce), "Success");
    assert_eq!(peer.received(), ["PUBLISH t/1:1 q0"]);
    assert_eq!(peer.unsubscribe("t/#"), "NoSubscriptionExisted");
    assert_eq!(peer.unsubscribe("t/+"), "Success");
    assert_eq!(publisher.publish("t/1", "2", Qos::AtLeastOnce), "NoMatchingSubscribers");
    assert_eq!(publisher.publish("t/1", "3", Qos::ExactlyOnce), "NoMatchingSubscribers");
    assert_eq!(peer.received(), [""; 0]);
}

/// [MQTT5-4.6.0-5] [MQTT5-4.6.0-6]: what one client publishes to a topic arrives in that order, whatever waits.
#[test]
fn messages_of_one_publisher_arrive_in_order() {
    let node = Node::new();
    let receive_maximum = std::num::NonZeroU16::new(2);
    let properties = ConnectProperties { receive_maximum, ..expiring(60) };
    let peer = node.welcome(&Connect { properties: properties.clone(), ..resuming("fin", 60) });
    peer.subscribe("t", Qos::ExactlyOnce);
    let publisher = node.client("publisher");
    let publish = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let qos = if number % 2 == 0 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
            publisher.publish("t", &number.to_string(), qos);
        }
    };
    publish(0..5);
    peer.lose_connection();
    peer.received();
    publish(5..9);
    let peer = node.welcome(&Connect { properties, ..resuming("fin", 60) });
    publish(9..12);
    let expected: Vec<String> = (0..12).map(|number| format!("t:{number}")).collect();
    assert_eq!(peer.consume(), expected);
}

/// Many subscribers of one filter: beyond a few they are kept in another way.
#[test]
fn every_subscriber_of_a_filter_gets_its_copy() {
    let node = Node::new();
    let mut peers: Vec<Peer> = (0..40).map(|number| node.client(&format!("client-{number}"))).collect();
    for peer in &peers {
        peer.subscribe("t", Qos::AtLeastOnce);
    }
    let publisher = node.client("publisher");
    while !peers.is_empty() {
        publisher.publish_with(Publish { qos: Qos::AtLeastOnce, ..Publish::new("t", b"1") });
        for (number, peer) in peers.iter().enumerate() {
            assert_eq!(peer.consume(), ["t:1"], "client {number}");
        }
        for peer in peers.drain(..5) {
            assert_eq!(peer.unsubscribe("t"), "Success");
        }
    }
    assert_eq!(publisher.publish("t", "2", Qos::AtLeastOnce), "NoMatchingSubscribers");
}

/// [MQTT5-3.3.4-2], [MQTT5-3.3.4-3], in whatever order the filters name their clients.
#[test]
fn each_client_gets_one_copy_of_overlapping_subscriptions_with_all_identifiers() {
    let node = Node::new();
    let peers = ["a", "b", "c"].map(|name| node.client(name));
    let filters = ["t/1", "t/+", "+/1", "#", "t/#", "+/+"];
    for (number, filter) in filters.iter().enumerate() {
        for turn in 0..peers.len() {
            let peer = &peers[(turn + number) % peers.len()];
            // Not everybody has every filter.
            if (turn + number) % 4 != 3 {
                let id = u32::try_from(number).unwrap() + 1;
                peer.subscribe_with(filter, SubscribeOptions::with_qos(Qos::AtMostOnce), Some(id));
            }
        }
    }
    node.client("publisher").publish("t/1", "x", Qos::AtMostOnce);
    let expected = ["[1, 5, 6]", "[1, 2, 3, 4, 5]", "[1, 2, 3, 4, 5, 6]"];
    for (peer, expected) in peers.iter().zip(expected) {
        let received = peer.received();
        let [copy] = &received[..] else { panic!("{received:?}") };
        let (before, ids) = copy.split_once("ids=").expect("a copy has identifiers");
        let mut ids: Vec<&str> = ids.trim_matches(['[', ']']).split(", ").collect();
        ids.sort_unstable();
        assert_eq!((before, format!("[{}]", ids.join(", "))), ("PUBLISH t/1:x q0 ", expected.to_owned()));
    }
}
