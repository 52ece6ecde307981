//! Retained messages as subscribers get them.

use super::super::replay::TURN_VISITS_MAX;
use super::*;
use crate::codec::{
    Packet, Publish, PublishProperties, Qos, RetainHandling, Subscribe, SubscribeFilter, SubscribeOptions,
    UserProperties,
};

impl Peer {
    /// Topics that the replays of this client have looked at so far.
    fn visited(&self) -> usize {
        self.client().with_state(|state| state.replays.visited)
    }

    /// Subscribes to these in one packet.
    fn subscribe_all<'a>(&self, filters: impl IntoIterator<Item = (&'a str, SubscribeOptions)>) {
        let filters = filters.into_iter().map(|(filter, options)| SubscribeFilter { filter, options });
        self.send(&Packet::Subscribe(Subscribe {
            packet_id: crate::codec::PacketId::MAX,
            subscription_id: None,
            user: UserProperties::default(),
            filters: filters.collect(),
        }));
        self.take("SUBACK");
    }
}

/// A client that acknowledges each message before the next: one that resumes its session, kept for an hour.
fn one_by_one(client_id: &str) -> Connect<'_> {
    let connect = resuming(client_id, 3_600);
    let receive_maximum = std::num::NonZeroU16::new(1);
    Connect { properties: ConnectProperties { receive_maximum, ..connect.properties }, ..connect }
}

/// A node that keeps so many messages that `+/y` looks at and passes by, between two that it matches.
fn haystack(hay: usize) -> Node {
    let node = Node::new();
    let publisher = node.client("publisher");
    for topic in ["a/y", "z/y"] {
        keep(&publisher, topic, "needle", Qos::AtLeastOnce);
    }
    for number in 0..hay {
        keep(&publisher, &format!("m{number}/x"), "hay", Qos::AtMostOnce);
    }
    node
}

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

/// A replay that waits for an acknowledgement costs nothing until that comes, whatever the client sends.
#[test]
fn only_room_lets_a_replay_go_on() {
    let node = haystack(50);
    let peer = node.welcome(&one_by_one("fin"));
    peer.subscribe("+/y", Qos::AtLeastOnce);
    assert_eq!(peer.received(), ["PUBLISH a/y:needle q1 #1 retain"]);
    let visited = peer.visited();
    for _ in 0..1_000 {
        peer.send(&Packet::PingReq);
    }
    assert_eq!(peer.received().len(), 1_000);
    assert_eq!(peer.visited(), visited);
    peer.puback(1);
    assert_eq!(peer.received(), ["PUBLISH z/y:needle q1 #2 retain"]);
    // Each name once, but for those that the search was stopped at.
    assert!(peer.visited() <= 52 + 2, "{}", peer.visited());
}

/// What a search passes by counts as what it finds: it is done in turns.
#[test]
fn a_turn_looks_at_a_bounded_number_of_topics() {
    let hay = 3 * TURN_VISITS_MAX;
    let node = haystack(hay);
    let peer = node.client("fin");
    peer.send_subscribe_alone("+/y", SubscribeOptions::default(), None);
    assert_eq!(peer.visited(), TURN_VISITS_MAX);
    assert_eq!(peer.take_turns(), 2);
    assert_eq!(peer.consume(), ["a/y:needle", "z/y:needle"]);
    assert!(peer.visited() <= hay + 2 + 3, "{}", peer.visited());
}

/// However often a client asks between two turns, it gets no more work done than in one.
#[test]
fn asking_again_and_again_does_not_add_work() {
    let node = haystack(2 * TURN_VISITS_MAX);
    let peer = node.client("fin");
    for _ in 0..20 {
        peer.send_subscribe_alone("+/y", SubscribeOptions::default(), None);
    }
    assert_eq!(peer.visited(), TURN_VISITS_MAX);
    peer.take_turns();
    assert_eq!(peer.received().iter().filter(|line| line.contains("z/y")).count(), 1);
}

/// [MQTT5-3.8.4-5]: as many codes as filters, and one search.
#[test]
fn a_filter_that_is_named_many_times_is_searched_once() {
    let node = haystack(50);
    let peer = node.client("fin");
    let options = SubscribeOptions::with_qos(Qos::AtLeastOnce);
    peer.subscribe_all(std::iter::repeat_n(("+/y", options), 1_000));
    assert_eq!(peer.consume(), ["a/y:needle", "z/y:needle"]);
    assert!(peer.visited() <= 52, "{}", peer.visited());
}

/// The last QoS counts for what is sent; whether it is sent is decided by each as if it came in its own packet.
#[test]
fn of_a_filter_named_twice_the_last_options_count() {
    use RetainHandling::{DoNotSend, SendAlways, SendIfNew};
    let check = |handlings: [RetainHandling; 2], expected: &[&str]| {
        let node = Node::new();
        keep(&node.client("publisher"), "t", "kept", Qos::AtLeastOnce);
        let peer = node.client("fin");
        let options =
            |retain_handling, qos| SubscribeOptions { retain_handling, ..SubscribeOptions::with_qos(qos) };
        peer.subscribe_all([
            ("t", options(handlings[0], Qos::AtLeastOnce)),
            ("t", options(handlings[1], Qos::AtMostOnce)),
        ]);
        assert_eq!(peer.received(), expected, "{handlings:?}");
    };
    let sent = ["PUBLISH t:kept q0 retain"];
    check([SendAlways, SendAlways], &sent);
    check([SendIfNew, SendIfNew], &sent);
    check([SendAlways, DoNotSend], &sent);
    check([SendIfNew, DoNotSend], &sent);
    check([DoNotSend, SendAlways], &sent);
    check([DoNotSend, SendIfNew], &[]);
    check([DoNotSend, DoNotSend], &[]);
}

/// A subscription that is made again while its replay is under way starts it anew, and does not add one.
#[test]
fn a_repeated_subscription_starts_its_replay_again() {
    let node = Node::new();
    let publisher = node.client("publisher");
    for topic in ["t/1", "t/2", "t/3"] {
        keep(&publisher, topic, "kept", Qos::AtLeastOnce);
    }
    let peer = node.welcome(&one_by_one("fin"));
    for _ in 0..100 {
        peer.subscribe("t/#", Qos::AtLeastOnce);
    }
    assert_eq!(peer.consume(), ["t/1:kept", "t/1:kept", "t/2:kept", "t/3:kept"]);
}

/// The same for subscriptions that the node makes at every connection.
#[test]
fn connecting_again_does_not_add_replays() {
    let mut auto_subscribe = super::super::AutoSubscribeSettings::default();
    auto_subscribe.add("t/#", 1, false, false, 0).unwrap();
    let settings = Settings { auto_subscribe, ..Settings::default() };
    let node = Node::with(settings, session::Settings::default());
    let publisher = node.client("publisher");
    for topic in ["t/1", "t/2", "t/3"] {
        keep(&publisher, topic, "kept", Qos::AtLeastOnce);
    }
    for _ in 0..20 {
        node.welcome(&one_by_one("fin")).lose_connection();
    }
    // The first was sent on an earlier connection already.
    assert_eq!(node.durable("fin").consume(), ["t/1:kept", "t/1:kept", "t/2:kept", "t/3:kept"]);
}

/// A newer message that the session could not take is not left out as if it had been delivered.
#[test]
fn what_was_lost_while_a_replay_waited_comes_with_it() {
    let check = |settings: session::Settings, is_away: bool, lost_at: Qos, expected: &[&str]| {
        let node = Node::with_sessions(settings);
        let publisher = node.client("publisher");
        for topic in ["t/0", "t/1"] {
            keep(&publisher, topic, "old", Qos::AtLeastOnce);
        }
        let mut peer = node.welcome(&one_by_one("fin"));
        peer.subscribe("t/#", Qos::AtLeastOnce);
        assert_eq!(peer.received(), ["PUBLISH t/0:old q1 #1 retain"]);
        if is_away {
            peer.lose_connection();
        } else {
            peer.stop_reading();
            // Answers alone fill the outbox.
            (0..100).for_each(|_| peer.send(&Packet::PingReq));
        }
        keep(&publisher, "t/1", "new", lost_at);
        publisher.publish("t/2", "other", lost_at);
        if is_away {
            peer = node.welcome(&one_by_one("fin"));
        } else {
            peer.puback(1);
            peer.go_on_reading();
        }
        assert_eq!(peer.consume(), expected);
        assert_ne!(node.dropped_in_all(), 0);
    };
    let settings = session::Settings::default;
    check(settings(), true, Qos::AtMostOnce, &["t/0:old", "t/1:new"]);
    let no_queue = session::Settings { queue_len_max: 0, ..settings() };
    check(no_queue, true, Qos::AtLeastOnce, &["t/0:old", "t/1:new"]);
    // The oldest of the queue is lost, which is not the message that finds it full.
    let short_queue = session::Settings { queue_len_max: 1, queue_drops_oldest: true, ..settings() };
    check(short_queue, true, Qos::AtLeastOnce, &["t/0:old", "t/2:other", "t/1:new"]);
    let short_outbox = session::Settings { outbox_bytes_max: 200, ..settings() };
    check(short_outbox, false, Qos::AtMostOnce, &["t/1:new"]);
}

/// A replay does not overtake what waits in the session's queue: that may be older.
#[test]
fn a_replay_waits_behind_the_queue() {
    let node = Node::new();
    let publisher = node.client("publisher");
    for topic in ["t/0", "t/1"] {
        keep(&publisher, topic, "old", Qos::AtLeastOnce);
    }
    let peer = node.welcome(&one_by_one("fin"));
    peer.subscribe("t/#", Qos::AtLeastOnce);
    peer.lose_connection();
    keep(&publisher, "t/1", "newer", Qos::AtLeastOnce);
    keep(&publisher, "t/1", "newest", Qos::AtMostOnce);
    let peer = node.welcome(&one_by_one("fin"));
    assert_eq!(peer.consume(), ["t/0:old", "t/1:newer", "t/1:newest"]);
}

/// [MQTT5-3.10.4-2]: also when the UNSUBSCRIBE comes while the search has not ended.
#[test]
fn unsubscribing_ends_a_replay() {
    let node = haystack(2 * TURN_VISITS_MAX);
    let peer = node.client("fin");
    peer.send_subscribe_alone("+/y", SubscribeOptions::default(), None);
    assert_eq!(peer.unsubscribe("+/y"), "Success");
    let visited = peer.visited();
    assert_eq!(peer.take_turns(), 0);
    assert_eq!((peer.visited(), peer.consume()), (visited, vec!["a/y:needle".to_owned()]));
}
