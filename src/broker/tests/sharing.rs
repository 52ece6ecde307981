//! Shared subscriptions: who gets a message, and as what.

use super::*;
use crate::codec::{Publish, Qos, RetainHandling, SubscribeOptions};
use crate::session::Room;

/// Members `0..count` of `$share/g/+`, with sessions that are kept and a Receive Maximum of `window`.
fn members(node: &Node, count: usize, window: u16) -> Vec<Peer> {
    let member = |number: usize| {
        let peer = node.welcome(&narrow(&format!("member-{number}"), window));
        assert_eq!(peer.subscribe("$share/g/+", Qos::ExactlyOnce), "GrantedQos2");
        peer
    };
    (0..count).map(member).collect()
}

/// Like [`resuming`], with a Receive Maximum.
fn narrow(client_id: &str, window: u16) -> Connect<'_> {
    let receive_maximum = std::num::NonZeroU16::new(window);
    let properties = ConnectProperties { receive_maximum, ..expiring(3_600) };
    Connect { properties, ..resuming(client_id, 3_600) }
}

/// How many messages each has received, all acknowledged.
fn counts(peers: &[Peer]) -> Vec<usize> {
    peers.iter().map(|peer| peer.consume().len()).collect()
}

fn publish_all(from: &Peer, qos: Qos, payloads: impl IntoIterator<Item = usize>) {
    for payload in payloads {
        let answer = from.publish("t", &payload.to_string(), qos);
        assert!(matches!(&*answer, "" | "Success"), "{answer}");
    }
}

/// [MQTT5-4.8.2]: each message goes to one member, whatever the version, the QoS and the spelling.
#[test]
fn one_member_gets_each_message() {
    for &(_, strategy) in SharedStrategy::WORDS {
        let node = Node::with_strategy(strategy);
        let new = node.client("new");
        let old = node.welcome(&Connect::new(V311, "old"));
        let older = node.welcome(&Connect::new(ProtocolVersion::V31, "older"));
        let outsider = node.client("outsider");
        assert_eq!(new.subscribe("$queue/#", Qos::AtLeastOnce), "GrantedQos1");
        assert_eq!(old.subscribe("$share/$queue/#", Qos::AtMostOnce), "Success");
        assert_eq!(older.subscribe("$queue/#", Qos::ExactlyOnce), "GrantedQos2");
        assert_eq!(node.gauges(), [4, 4, 3]);
        for number in 0..60 {
            let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][number % 3];
            outsider.publish(&format!("t/{number}"), &number.to_string(), qos);
        }
        let mut all: Vec<String> = [&new, &old, &older].iter().flat_map(|peer| peer.consume()).collect();
        all.sort_by_key(|line| line.rsplit(':').next().and_then(|number| number.parse::<usize>().ok()));
        let expected: Vec<String> = (0..60).map(|number| format!("t/{number}:{number}")).collect();
        assert_eq!(all, expected, "{strategy:?}");
        assert_eq!(node.dropped_in_all(), 0, "{strategy:?}");
        assert_eq!(outsider.received(), [""; 0]);
    }
}

/// The strategies as a whole node shows them.
#[test]
fn each_strategy_chooses_in_its_way() {
    let check = |strategy, expected: [&[&str]; 3]| {
        let node = Node::with_strategy(strategy);
        let members = members(&node, 3, 100);
        let publisher = node.client("publisher");
        publish_all(&publisher, Qos::AtLeastOnce, 0..6);
        let received: Vec<Vec<String>> = members.iter().map(Peer::consume).collect();
        assert_eq!(received, expected.map(|it| it.iter().map(|n| format!("t:{n}")).collect::<Vec<_>>()));
    };
    check(SharedStrategy::RoundRobinPerGroup, [&["0", "3"], &["1", "4"], &["2", "5"]]);
    check(SharedStrategy::Local, [&["0", "3"], &["1", "4"], &["2", "5"]]);
    check(SharedStrategy::LeastInflight, [&["0", "3"], &["1", "4"], &["2", "5"]]);
    check(SharedStrategy::Sticky, [&["0", "1", "2", "3", "4", "5"], &[], &[]]);
    for strategy in [SharedStrategy::HashClientId, SharedStrategy::HashTopic] {
        let node = Node::with_strategy(strategy);
        let members = members(&node, 3, 100);
        let publisher = node.client("publisher");
        publish_all(&publisher, Qos::AtLeastOnce, 0..6);
        let mut counts = counts(&members);
        counts.sort_unstable();
        assert_eq!(counts, [0, 0, 6], "{strategy:?}");
    }
    let node = Node::new();
    let members = members(&node, 3, 100);
    let publisher = node.client("publisher");
    publish_all(&publisher, Qos::AtLeastOnce, 0..9);
    assert_eq!(counts(&members), [3, 3, 3], "round_robin, the default");
}

/// A member that is slow to acknowledge has less to do with `least_inflight`.
#[test]
fn the_least_loaded_member_gets_more() {
    let node = Node::with_strategy(SharedStrategy::LeastInflight);
    let members = members(&node, 2, 100);
    let publisher = node.client("publisher");
    let mut done = 0;
    for number in 0..20 {
        publish_all(&publisher, Qos::AtLeastOnce, [number]);
        done += members[1].consume().len(); // The other one acknowledges nothing.
    }
    assert_eq!((members[0].received().len(), done), (1, 19));
}

/// [MQTT5-4.8.2]: groups and plain subscriptions have each a copy of their own.
#[test]
fn every_group_and_every_plain_subscription_has_its_own_copy() {
    let node = Node::new();
    let both = node.client("both");
    let worker = node.client("worker");
    both.subscribe("t", Qos::AtLeastOnce);
    both.subscribe("$share/g/t", Qos::AtLeastOnce);
    both.subscribe("$share/h/t", Qos::AtLeastOnce);
    worker.subscribe("$share/h/+", Qos::AtLeastOnce);
    let publisher = node.client("publisher");
    publish_all(&publisher, Qos::AtLeastOnce, [1]);
    assert_eq!(both.consume(), ["t:1", "t:1", "t:1"]);
    assert_eq!(worker.consume(), ["t:1"], "the same name with another filter is another group");
    assert_eq!(publisher.publish("u", "", Qos::AtLeastOnce), "Success");
    assert_eq!(worker.consume(), ["u:"]);
    assert_eq!(publisher.publish("u/v", "", Qos::AtLeastOnce), "NoMatchingSubscribers");
}

/// [MQTT5-4.8.2-3] [MQTT5-3.3.1-12] [MQTT5-3.3.4-3]: QoS, RETAIN flag and Subscription Identifier are those of
/// the member that gets the message.
#[test]
fn a_copy_is_as_the_members_own_subscription_says() {
    let node = Node::with_strategy(SharedStrategy::RoundRobinPerGroup);
    let options = |qos, retain_as_published| SubscribeOptions {
        retain_as_published,
        ..SubscribeOptions::with_qos(qos)
    };
    let [a, b, c] = ["a", "b", "c"].map(|client_id| node.client(client_id));
    a.subscribe_with("$share/g/t", options(Qos::AtMostOnce, true), Some(7));
    b.subscribe_with("$share/g/t", options(Qos::AtLeastOnce, false), Some(8));
    c.subscribe_with("$share/g/t", options(Qos::ExactlyOnce, true), None);
    let publisher = node.client("publisher");
    let publish = Publish { qos: Qos::ExactlyOnce, retain: true, ..Publish::new("t", b"1") };
    for _ in 0..3 {
        publisher.publish_with(publish.clone());
    }
    assert_eq!(a.received(), ["PUBLISH t:1 q0 retain ids=[7]"]);
    assert_eq!(b.received(), ["PUBLISH t:1 q1 #1 ids=[8]"]);
    assert_eq!(c.received(), ["PUBLISH t:1 q2 #1 retain"]);
}

/// [MQTT5-4.8.2]: a second SUBSCRIBE changes the options and does not count twice; one UNSUBSCRIBE ends it.
#[test]
fn a_member_is_a_member_once() {
    let node = Node::with_strategy(SharedStrategy::RoundRobinPerGroup);
    let [a, b] = ["a", "b"].map(|client_id| node.client(client_id));
    a.subscribe("$share/g/t", Qos::AtLeastOnce);
    b.subscribe("$share/g/t", Qos::AtLeastOnce);
    a.subscribe("$share/g/t", Qos::AtMostOnce);
    assert_eq!(node.gauges()[2], 2);
    let publisher = node.client("publisher");
    publish_all(&publisher, Qos::AtLeastOnce, 0..4);
    assert_eq!(a.received(), ["PUBLISH t:0 q0", "PUBLISH t:2 q0"]);
    assert_eq!(b.consume(), ["t:1", "t:3"]);
    assert_eq!(a.unsubscribe("t"), "NoSubscriptionExisted");
    assert_eq!(a.unsubscribe("$share/h/t"), "NoSubscriptionExisted");
    assert_eq!(a.unsubscribe("$share/g/t"), "Success");
    assert_eq!(a.unsubscribe("$share/g/t"), "NoSubscriptionExisted");
    publish_all(&publisher, Qos::AtLeastOnce, 4..6);
    assert_eq!(b.consume(), ["t:4", "t:5"]);
    assert_eq!(b.unsubscribe("$share/g/t"), "Success");
    assert_eq!(publisher.publish("t", "", Qos::AtLeastOnce), "NoMatchingSubscribers");
    assert_eq!(node.gauges()[2], 0);
}

/// [MQTT5-4.8.2], [MQTT5-3.8.4-4]: a shared subscription brings no retained messages, whatever it asks for.
#[test]
fn a_shared_subscription_brings_no_retained_messages() {
    let node = Node::new();
    let publisher = node.client("publisher");
    publisher.publish_with(Publish { retain: true, ..Publish::new("t", b"kept") });
    let member = node.client("member");
    for retain_handling in [RetainHandling::SendAlways, RetainHandling::SendIfNew] {
        let options = SubscribeOptions { retain_handling, ..SubscribeOptions::default() };
        assert_eq!(member.subscribe_with("$share/g/#", options, None), "Success");
        assert_eq!(member.received(), [""; 0]);
    }
    member.subscribe("#", Qos::AtMostOnce);
    assert_eq!(member.received(), ["PUBLISH t:kept q0 retain"], "a plain one does");
}

/// [MQTT5-3.8.3-4]
#[test]
fn no_local_on_a_shared_subscription_closes_the_connection() {
    let node = Node::new();
    let member = node.client("member");
    let no_local = SubscribeOptions { no_local: true, ..SubscribeOptions::default() };
    member.send_subscribe("$share/g/t", no_local, None);
    assert!(member.is_closed());
    assert_eq!(member.received(), ["DISCONNECT ProtocolError"]);
    assert_eq!(node.gauges(), [0, 0, 0]);
}

/// A group's own publisher is a member like the others.
#[test]
fn a_member_may_get_its_own_messages() {
    let node = Node::new();
    let member = node.client("member");
    member.subscribe("$share/g/t", Qos::AtLeastOnce);
    member.publish("t", "own", Qos::AtLeastOnce);
    assert_eq!(member.consume(), ["t:own"]);
}

#[test]
fn where_shared_subscriptions_are_off_clients_are_told() {
    let node =
        Node::with_sessions(session::Settings { shared_available: false, ..session::Settings::default() });
    let old = node.welcome(&Connect::new(V311, "old"));
    assert_eq!(old.subscribe("$queue/t", Qos::AtMostOnce), "UnspecifiedError");
    assert_eq!(old.subscribe("t", Qos::AtMostOnce), "Success");
}

/// Members at their Receive Maximum are passed over while another one can take the message; then it waits in
/// the queue of one of them, and no longer than for the next acknowledgement.
#[test]
fn members_at_their_receive_maximum_are_passed_over() {
    let node = Node::with_strategy(SharedStrategy::Sticky);
    let members = members(&node, 3, 2);
    let publisher = node.client("publisher");
    publish_all(&publisher, Qos::AtLeastOnce, 0..6);
    let received: Vec<Vec<String>> = members.iter().map(Peer::received).collect();
    assert_eq!(received[0], ["PUBLISH t:0 q1 #1", "PUBLISH t:1 q1 #2"]);
    assert_eq!(received[1], ["PUBLISH t:2 q1 #1", "PUBLISH t:3 q1 #2"]);
    assert_eq!(received[2], ["PUBLISH t:4 q1 #1", "PUBLISH t:5 q1 #2"]);
    publish_all(&publisher, Qos::AtLeastOnce, [6]);
    publish_all(&publisher, Qos::AtMostOnce, [7]);
    assert_eq!(members[0].received(), ["PUBLISH t:7 q0"], "QoS 0 has no window");
    members[1].puback(1);
    publish_all(&publisher, Qos::AtLeastOnce, [8]);
    assert_eq!(members[1].received(), ["PUBLISH t:8 q1 #3"], "the one with room");
    members[0].puback(1);
    assert_eq!(members[0].received(), ["PUBLISH t:6 q1 #3"]);
    assert_eq!(node.dropped_in_all(), 0);
}

/// Nothing is dropped before every queue is full.
#[test]
fn a_full_queue_is_passed_over_until_all_are_full() {
    for &(_, strategy) in SharedStrategy::WORDS {
        let settings = Settings { shared: SharedSettings { strategy }, ..Settings::default() };
        let sessions = session::Settings { queue_len_max: 3, ..session::Settings::default() };
        let node = Node::with(settings, sessions);
        let members = members(&node, 3, 2);
        members[2].lose_connection();
        let publisher = node.client("publisher");
        // Two members with 2 in flight and 3 in the queue, and one that is away with 3 in the queue.
        publish_all(&publisher, Qos::AtLeastOnce, 0..13);
        assert_eq!(node.dropped_in_all(), 0, "{strategy:?}");
        publish_all(&publisher, Qos::AtLeastOnce, 13..15);
        assert_eq!(node.dropped(DropReason::QueueFull), 2, "{strategy:?}");
        assert_eq!(
            counts(&members[..2]).iter().sum::<usize>(),
            13,
            "{strategy:?}: also what the third one kept"
        );
    }
}

/// A client that does not read is passed over although its window has room.
#[test]
fn a_member_that_does_not_read_is_passed_over() {
    let node = Node::with_strategy(SharedStrategy::RoundRobinPerGroup);
    let members = members(&node, 2, 100);
    let publisher = node.client("publisher");
    members[0].stop_reading();
    publish_all(&publisher, Qos::AtMostOnce, 0..5);
    assert_eq!(members[1].consume(), ["t:1", "t:2", "t:3", "t:4"], "the first one fills the socket");
    members[0].go_on_reading();
    assert_eq!(members[0].consume(), ["t:0"]);
    publish_all(&publisher, Qos::AtMostOnce, 5..7);
    assert_eq!(counts(&members), [1, 1]);
}

/// [MQTT5-3.1.2-25]: where one client cannot take the size, another one that can gets the message.
#[test]
fn a_message_too_large_for_one_member_goes_to_another() {
    let node = Node::with_strategy(SharedStrategy::Sticky);
    let properties =
        ConnectProperties { packet_size_max: std::num::NonZeroU32::new(40), ..ConnectProperties::default() };
    let small = node.welcome(&Connect { properties, ..Connect::new(V5, "small") });
    small.subscribe("$share/g/t", Qos::AtLeastOnce);
    let publisher = node.client("publisher");
    let long = "x".repeat(100);
    publisher.publish("t", &long, Qos::AtLeastOnce);
    assert_eq!(node.dropped(DropReason::PacketTooLarge), 1, "nobody can take it");
    let large = node.client("large");
    large.subscribe("$share/g/t", Qos::AtLeastOnce);
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        publisher.publish("t", &long, qos);
        publisher.publish("t", "short", qos);
    }
    assert_eq!(small.consume(), ["t:short", "t:short"]);
    assert_eq!(large.consume().len(), 2);
    assert_eq!(node.dropped_in_all(), 1);
}

/// What others go by without a client's lock is what the lock would show, after everything that can happen.
#[test]
fn what_is_known_of_a_client_is_true_after_each_step() {
    let settings = session::Settings {
        outbox_bytes_max: 60,
        inflight_max: 4,
        queue_len_max: 4,
        ..session::Settings::default()
    };
    let node = Node::with_sessions(settings);
    let publisher = node.client("publisher");
    let check = |peer: &Peer, step: &str, expected: [Room; 2]| {
        let standing = peer.client().standing();
        assert_eq!(standing, peer.client().with_state(|state| state.standing()), "{step}");
        assert_eq!([standing.room(Qos::AtMostOnce), standing.room(Qos::AtLeastOnce)], expected, "{step}");
    };
    let peer = node.durable("fin");
    check(&peer, "connected", [Room::Now, Room::Now]);
    peer.subscribe("$share/g/t", Qos::AtLeastOnce);
    publish_all(&publisher, Qos::AtLeastOnce, 0..4);
    check(&peer, "at its Receive Maximum", [Room::Now, Room::Queue]);
    publish_all(&publisher, Qos::AtLeastOnce, 4..8);
    check(&peer, "queue full", [Room::Now, Room::Full]);
    peer.consume();
    check(&peer, "all acknowledged", [Room::Now, Room::Now]);
    peer.stop_reading();
    publish_all(&publisher, Qos::AtMostOnce, 0..2);
    check(&peer, "socket full", [Room::Queue, Room::Queue]);
    publish_all(&publisher, Qos::AtMostOnce, 2..20);
    check(&peer, "outbox full", [Room::Full, Room::Queue]);
    peer.let_through();
    check(&peer, "the socket has room", [Room::Full, Room::Queue]);
    peer.go_on_reading();
    check(&peer, "everything written", [Room::Now, Room::Now]);
    let mut burst = Burst::default();
    let publish = |burst: &mut Burst, payload| {
        let topic = crate::topic::TopicRef::parse("t").expect("it is a Topic Name");
        let publication = crate::message::Publication {
            topic,
            payload,
            qos: Qos::AtMostOnce,
            retain: false,
            properties: &[],
            expires_at: None,
            publisher: None,
        };
        node.broker.publish_now(node.clock.now(), &publication, burst);
    };
    publish(&mut burst, &[b'x'; 70]);
    check(&peer, "outbox full before the flush", [Room::Full, Room::Queue]);
    node.broker.flush(&mut burst);
    check(&peer, "its owner has not looked yet", [Room::Queue, Room::Queue]);
    peer.received();
    check(&peer, "it has", [Room::Now, Room::Now]);
    peer.break_line();
    publish(&mut burst, b"lost");
    node.broker.flush(&mut burst);
    check(&peer, "broken", [Room::Full, Room::Away]);
    peer.lose_connection();
    check(&peer, "away", [Room::Full, Room::Away]);
    publish_all(&publisher, Qos::AtLeastOnce, 0..4);
    check(&peer, "queue full while away", [Room::Full, Room::Full]);
    let peer = node.durable("fin");
    check(&peer, "back with four unacknowledged", [Room::Now, Room::Queue]);
    peer.disconnect_with(ReasonCode::NormalDisconnection, Some(0));
    check(&peer, "ended", [Room::Full, Room::Full]);
}
