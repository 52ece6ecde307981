//! Shared subscriptions when members go: what was sent, what waited, and who gets it.

use super::*;
use crate::codec::Qos;

/// A member of `$share/g/t` at QoS 2, whose session is kept, with room for so many unacknowledged messages.
fn member(node: &Node, client_id: &str, window: u16) -> Peer {
    let receive_maximum = std::num::NonZeroU16::new(window);
    let properties = ConnectProperties { receive_maximum, ..expiring(60) };
    let peer = node.welcome(&Connect { properties, ..resuming(client_id, 60) });
    assert_eq!(peer.subscribe("$share/g/t", Qos::ExactlyOnce), "GrantedQos2");
    peer
}

fn publish(node: &Node, qos: Qos, payloads: &[&str]) {
    let publisher = node.client("publisher");
    for payload in payloads {
        publisher.publish("t", payload, qos);
    }
    publisher.disconnect();
}

/// Members that are away get nothing while one is there.
#[test]
fn members_that_are_away_are_passed_over() {
    for &(_, strategy) in SharedStrategy::WORDS {
        let node = Node::with_strategy(strategy);
        let [a, b, c] = ["a", "b", "c"].map(|client_id| member(&node, client_id, 100));
        a.lose_connection();
        c.disconnect();
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            publish(&node, qos, &["1", "2", "3"]);
        }
        assert_eq!(b.consume().len(), 9, "{strategy:?}");
        assert_eq!(node.dropped_in_all(), 0, "{strategy:?}");
    }
}

/// While all are away a message waits; whoever comes first gets it.
#[test]
fn what_comes_while_all_are_away_waits_for_the_first_to_come_back() {
    for &(_, strategy) in SharedStrategy::WORDS {
        let node = Node::with_strategy(strategy);
        let [a, b] = ["a", "b"].map(|client_id| member(&node, client_id, 100));
        let passing = node.client("passing");
        passing.subscribe("$share/g/t", Qos::AtLeastOnce);
        for peer in [&passing, &a, &b] {
            peer.lose_connection();
        }
        publish(&node, Qos::AtLeastOnce, &["1", "2", "3", "4"]);
        publish(&node, Qos::AtMostOnce, &["lost"]);
        assert_eq!(node.dropped(DropReason::Offline), 1, "{strategy:?}: QoS 0 does not wait");
        assert_eq!(node.dropped_in_all(), 1, "{strategy:?}");
        let b = node.connect(&resuming("b", 60));
        assert_eq!(b.take("CONNACK"), "Success present");
        let mut received = b.consume();
        received.sort();
        assert_eq!(received, ["t:1", "t:2", "t:3", "t:4"], "{strategy:?}");
        let a = node.durable("a");
        assert_eq!(a.consume(), [""; 0], "{strategy:?}");
    }
}

/// The same for a client that is new to the group.
#[test]
fn who_joins_a_group_gets_what_waits_for_it() {
    let node = Node::new();
    let a = member(&node, "a", 100);
    a.lose_connection();
    publish(&node, Qos::ExactlyOnce, &["1", "2"]);
    let stranger = node.client("stranger");
    stranger.subscribe("$share/other/t", Qos::AtLeastOnce);
    stranger.subscribe("t", Qos::AtLeastOnce);
    assert_eq!(stranger.received(), [""; 0]);
    stranger.subscribe("$share/g/t", Qos::AtLeastOnce);
    assert_eq!(stranger.received(), ["PUBLISH t:1 q1 #1", "PUBLISH t:2 q1 #2"]);
}

/// What waits in the queue of a member that goes away goes on with the others; what was sent to it waits.
#[test]
fn a_queue_does_not_wait_for_its_member_while_others_are_there() {
    let node = Node::with_strategy(SharedStrategy::Sticky);
    let a = member(&node, "a", 1);
    publish(&node, Qos::AtLeastOnce, &["1", "2", "3"]);
    let b = member(&node, "b", 100);
    assert_eq!(b.received(), [""; 0], "it waits for a member that is there");
    a.lose_connection();
    assert_eq!(a.received(), ["PUBLISH t:1 q1 #1"]);
    assert_eq!(b.consume(), ["t:2", "t:3"]);
    // [MQTT5-4.4.0-1]: the one that was sent is the client's own.
    let a = node.durable("a");
    assert_eq!(a.received(), ["PUBLISH t:1 q1 #1 dup"]);
}

/// A session that ends gives back QoS 1 without acknowledgement and all that was never sent; [MQTT5-4.8.2-5]
/// QoS 2 that was sent goes to nobody else. However it ends.
#[test]
fn what_a_session_had_not_acknowledged_goes_to_another_member() {
    type End = fn(&Node, &Peer);
    // What was never sent does not wait for the end of the session.
    let (at_once, in_two_steps) = (["1", "2", "3", "4", "5"], ["4", "5", "1", "2", "3"]);
    let ends: [(&str, End, [&str; 5]); 4] = [
        (
            "its expiry",
            |node, peer| {
                peer.lose_connection();
                node.advance(secs(61));
            },
            in_two_steps,
        ),
        ("DISCONNECT", |_, peer| peer.disconnect_with(ReasonCode::NormalDisconnection, Some(0)), at_once),
        ("Clean Start while connected", |node, _| drop(node.client("a")), at_once),
        (
            "Clean Start afterwards",
            |node, peer| {
                peer.lose_connection();
                drop(node.client("a"));
            },
            in_two_steps,
        ),
    ];
    for (how, end, expected) in ends {
        let node = Node::with_strategy(SharedStrategy::Sticky);
        let a = member(&node, "a", 5);
        publish(&node, Qos::AtLeastOnce, &["acknowledged", "1"]);
        publish(&node, Qos::ExactlyOnce, &["sent", "released"]);
        publish(&node, Qos::AtLeastOnce, &["2", "3"]);
        a.puback(1);
        a.pubrec(4, ReasonCode::Success);
        publish(&node, Qos::ExactlyOnce, &["4"]);
        publish(&node, Qos::AtLeastOnce, &["5"]);
        assert_eq!(a.received().len(), 7, "{how}: six messages and a PUBREL");
        let b = member(&node, "b", 100);
        end(&node, &a);
        let expected = expected.iter().zip(1..).map(|(payload, id)| {
            let qos = if *payload == "4" { 2 } else { 1 };
            format!("PUBLISH t:{payload} q{qos} #{id}")
        });
        assert_eq!(b.received(), expected.collect::<Vec<_>>(), "{how}");
        assert_eq!(node.dropped(DropReason::SessionEnded), 1, "{how}: the QoS 2 message that was sent");
        assert_eq!(node.dropped_in_all(), 1, "{how}");
    }
}

/// [MQTT5-4.8.2-4]: it is completed with the same client, while others of the group are there.
#[test]
fn qos_2_that_was_sent_is_completed_with_the_same_client() {
    let node = Node::with_strategy(SharedStrategy::Sticky);
    let a = member(&node, "a", 100);
    let b = member(&node, "b", 100);
    publish(&node, Qos::ExactlyOnce, &["1", "2"]);
    a.pubrec(2, ReasonCode::Success);
    a.lose_connection();
    node.advance(secs(59));
    assert_eq!(b.received(), [""; 0]);
    let a = node.durable("a");
    assert_eq!(a.received(), ["PUBLISH t:1 q2 #1 dup", "PUBREL #2 Success"]);
}

/// [MQTT5-4.8.2-6]
#[test]
fn what_a_member_refuses_goes_to_nobody_else() {
    let node = Node::with_strategy(SharedStrategy::Sticky);
    let a = member(&node, "a", 100);
    let b = member(&node, "b", 100);
    publish(&node, Qos::AtLeastOnce, &["1"]);
    publish(&node, Qos::ExactlyOnce, &["2"]);
    a.puback_with(1, ReasonCode::QuotaExceeded);
    a.pubrec(2, ReasonCode::NotAuthorized);
    a.disconnect_with(ReasonCode::NormalDisconnection, Some(0));
    assert_eq!(b.received(), [""; 0]);
    assert_eq!(node.dropped_in_all(), 0);
}

/// [MQTT5-3.10.4-5]: what was sent is completed with the client; what was not goes to the other members. Without
/// other members it is still delivered.
#[test]
fn who_unsubscribes_keeps_what_was_sent() {
    let node = Node::with_strategy(SharedStrategy::Sticky);
    let a = member(&node, "a", 1);
    publish(&node, Qos::AtLeastOnce, &["1", "2"]);
    let b = member(&node, "b", 100);
    assert_eq!(a.unsubscribe("$share/g/t"), "Success");
    assert_eq!(b.received(), ["PUBLISH t:2 q1 #1"]);
    assert_eq!(a.received(), ["PUBLISH t:1 q1 #1"]);
    a.lose_connection();
    let a = node.durable("a");
    assert_eq!(a.received(), ["PUBLISH t:1 q1 #1 dup"]);

    let alone = Node::new();
    let a = member(&alone, "a", 1);
    publish(&alone, Qos::AtLeastOnce, &["1", "2"]);
    assert_eq!(a.unsubscribe("$share/g/t"), "Success");
    assert_eq!(a.consume(), ["t:1", "t:2"]);
}

/// The member that a sticky group holds on to is the same one after others have left.
#[test]
fn a_held_member_is_held_while_others_leave() {
    let node = Node::with_strategy(SharedStrategy::Sticky);
    let [a, b, c] = ["a", "b", "c"].map(|client_id| member(&node, client_id, 100));
    a.lose_connection();
    b.lose_connection();
    publish(&node, Qos::AtLeastOnce, &["1"]);
    let [a, b] = ["a", "b"].map(|client_id| node.durable(client_id));
    assert_eq!(b.unsubscribe("$share/g/t"), "Success");
    publish(&node, Qos::AtLeastOnce, &["2"]);
    assert_eq!(c.consume(), ["t:1", "t:2"]);
    assert_eq!(c.unsubscribe("$share/g/t"), "Success");
    publish(&node, Qos::AtLeastOnce, &["3"]);
    assert_eq!(a.consume(), ["t:3"]);
}

/// Between the end of a session and that of its subscriptions nothing is put into it.
#[test]
fn a_session_that_is_ending_takes_nothing() {
    let node = Node::new();
    let a = member(&node, "a", 100);
    a.lose_connection();
    a.client().with_state(|state| state.ended = true);
    publish(&node, Qos::AtLeastOnce, &["1"]);
    assert_eq!(node.dropped(DropReason::SessionEnded), 1, "there is nobody else");
    let b = member(&node, "b", 100);
    publish(&node, Qos::AtLeastOnce, &["2", "3"]);
    assert_eq!(b.consume(), ["t:2", "t:3"]);
}

/// When the last member's session ends, its messages end with it, and are counted.
#[test]
fn the_last_member_takes_its_messages_along() {
    let node = Node::new();
    let a = member(&node, "a", 1);
    publish(&node, Qos::AtLeastOnce, &["1", "2", "3"]);
    a.disconnect_with(ReasonCode::NormalDisconnection, Some(0));
    assert_eq!(node.dropped(DropReason::SessionEnded), 3);
    assert_eq!(node.gauges(), [0, 0, 0]);
}

/// Messages that are dispatched again go where there is room, and are dropped only when there is none.
#[test]
fn what_is_given_back_does_not_overflow_one_member() {
    let sessions = session::Settings { queue_len_max: 2, ..session::Settings::default() };
    let node = Node::with_sessions(sessions);
    let a = member(&node, "a", 3);
    publish(&node, Qos::AtLeastOnce, &["1", "2", "3", "4", "5"]);
    let b = member(&node, "b", 1);
    let c = member(&node, "c", 1);
    c.lose_connection();
    a.disconnect_with(ReasonCode::NormalDisconnection, Some(0));
    assert_eq!(node.dropped_in_all(), 0);
    publish(&node, Qos::AtLeastOnce, &["6"]);
    assert_eq!(node.dropped(DropReason::QueueFull), 1, "now everything is full");
    assert_eq!(b.received(), ["PUBLISH t:1 q1 #1"]);
    let c = node.durable("c");
    assert_eq!(c.consume(), ["t:4", "t:5"]);
    assert_eq!(b.received(), [""; 0]);
    b.puback(1);
    assert_eq!(b.consume(), ["t:2", "t:3"]);
}

/// What had to be put into the queue of a member that is away is fetched once a busy one has room again.
#[test]
fn what_overflows_to_a_member_that_is_away_is_fetched_by_the_others() {
    let sessions = session::Settings { queue_len_max: 3, ..session::Settings::default() };
    let node = Node::with_sessions(sessions);
    let a = member(&node, "a", 2);
    let b = member(&node, "b", 2);
    b.lose_connection();
    publish(&node, Qos::AtLeastOnce, &["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(node.dropped_in_all(), 0);
    assert_eq!(a.consume(), ["t:1", "t:2", "t:3", "t:4", "t:5", "t:6", "t:7", "t:8"]);
    assert_eq!(node.durable("b").consume(), [""; 0]);
}

/// What nobody else can take because of its size stays with the member that can, and stops nothing.
#[test]
fn what_is_too_large_for_the_others_waits_for_the_member_that_can_take_it() {
    let node = Node::new();
    let a = member(&node, "a", 100);
    a.lose_connection();
    let packet_size_max = std::num::NonZeroU32::new(40);
    let properties = ConnectProperties { packet_size_max, ..ConnectProperties::default() };
    let small = node.welcome(&Connect { properties, ..Connect::new(V5, "small") });
    small.subscribe("$share/g/t", Qos::AtLeastOnce);
    let long = "x".repeat(100);
    publish(&node, Qos::AtLeastOnce, &["1", &long, "2", &long]);
    assert_eq!(small.consume(), ["t:1", "t:2"]);
    assert_eq!(node.dropped_in_all(), 0);
    assert_eq!(node.durable("a").consume().len(), 2);
}

/// The time that is left goes along, and what has expired goes nowhere.
#[test]
fn a_message_ages_on_its_way_from_member_to_member() {
    use crate::codec::{Publish, PublishProperties};
    let node = Node::new();
    let a = member(&node, "a", 100);
    a.lose_connection();
    let publisher = node.client("publisher");
    for (payload, expiry) in [("short", 5), ("long", 60)] {
        let properties = PublishProperties { message_expiry: Some(expiry), ..PublishProperties::default() };
        let publish = Publish { qos: Qos::AtLeastOnce, properties, ..Publish::new("t", payload.as_bytes()) };
        publisher.publish_with(publish);
    }
    node.advance(secs(10));
    let b = member(&node, "b", 100);
    assert_eq!(b.received(), ["PUBLISH t:long q1 #1 expiry=50"]);
    assert_eq!(node.dropped(DropReason::Expired), 1);
}
