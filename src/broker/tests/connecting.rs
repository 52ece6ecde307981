//! CONNECT, takeover, sessions that are resumed and sessions that end.

use super::*;
use crate::codec::{Packet, Qos};

/// [MQTT5-3.1.2-4] [MQTT5-3.1.2-5] [MQTT5-3.1.2-6] [MQTT5-3.2.2-2] [MQTT5-3.2.2-3]: Session Present says
/// whether there was a session to go on with.
#[test]
fn session_present_tells_whether_a_session_is_resumed() {
    let check = |first: &Connect<'_>, second: &Connect<'_>, expected: &str| {
        let node = Node::new();
        let peer = node.connect(first);
        assert_eq!(peer.take("CONNACK"), "Success", "{first:?}");
        peer.lose_connection();
        assert_eq!(node.connect(second).take("CONNACK"), expected, "{first:?} {second:?}");
    };
    let clean = |session_expiry| Connect { clean_start: true, ..resuming("fin", session_expiry) };
    let old = |clean_start| Connect { clean_start, ..Connect::new(V311, "fin") };
    check(&clean(60), &resuming("fin", 60), "Success present");
    check(&resuming("fin", 60), &resuming("fin", 0), "Success present");
    check(&resuming("fin", 0), &resuming("fin", 60), "Success");
    check(&resuming("fin", 60), &clean(60), "Success");
    check(&resuming("fin", 60), &resuming("gus", 60), "Success");
    check(&old(false), &old(false), "Success present");
    check(&old(true), &old(false), "Success");
    check(&old(false), &old(true), "Success");
    check(&old(false), &resuming("fin", 60), "Success present");
}

/// [MQTT5-4.1.0-1] [MQTT5-4.4.0-1]: subscriptions and unacknowledged messages outlive the connection.
#[test]
fn a_resumed_session_has_its_subscriptions_and_messages() {
    let node = Node::new();
    let peer = node.durable("fin");
    peer.subscribe("a/+", Qos::ExactlyOnce);
    let publisher = node.client("publisher");
    publisher.publish("a/1", "sent", Qos::AtLeastOnce);
    publisher.publish("a/2", "released", Qos::ExactlyOnce);
    peer.pubrec(2, ReasonCode::Success);
    peer.lose_connection();
    publisher.publish("a/3", "missed", Qos::AtMostOnce);
    publisher.publish("a/4", "queued", Qos::ExactlyOnce);
    let peer = node.durable("fin");
    assert_eq!(
        peer.received(),
        ["PUBLISH a/1:sent q1 #1 dup", "PUBREL #2 Success", "PUBLISH a/4:queued q2 #3"]
    );
    assert_eq!(peer.unsubscribe("a/+"), "Success");
    assert_eq!(node.dropped(DropReason::Offline), 1);
}

/// [MQTT5-3.1.2-23] [MQTT5-4.1.0-2]: a session is kept for its time and no longer, and every connection begins
/// it anew.
#[test]
fn a_session_ends_when_its_time_is_over() {
    let node = Node::new();
    let peer = node.durable("fin");
    peer.subscribe("t", Qos::AtLeastOnce);
    peer.lose_connection();
    node.client("publisher").publish("t", "1", Qos::AtLeastOnce);
    node.advance(secs(3_599));
    assert_eq!(node.gauges(), [1, 2, 1]);
    let peer = node.connect(&resuming("fin", 3_600));
    assert_eq!(peer.take("CONNACK"), "Success present");
    node.advance(secs(7_200));
    assert_eq!(node.gauges(), [2, 2, 1], "the old date is void while it is connected");
    peer.lose_connection();
    node.advance(secs(3_599));
    assert_eq!(node.gauges()[2], 1, "and counted from the last connection's end");
    node.advance(secs(1));
    assert_eq!(node.gauges()[2], 0);
    assert_eq!(node.dropped(DropReason::SessionEnded), 1, "the message that was never acknowledged");
    assert_eq!(node.connect(&resuming("fin", 60)).take("CONNACK"), "Success");
}

/// [MQTT5-3.1.2.11.2]: 0xFFFFFFFF is for ever; [MQTT5-3.14.2.2.2]: DISCONNECT may change the time.
#[test]
fn the_expiry_may_be_never_and_may_change_at_the_end() {
    let node = Node::new();
    node.welcome(&resuming("forever", u32::MAX)).lose_connection();
    node.welcome(&resuming("shorter", 3_600)).disconnect_with(ReasonCode::NormalDisconnection, Some(10));
    node.welcome(&resuming("ended", 3_600)).disconnect_with(ReasonCode::NormalDisconnection, Some(0));
    assert_eq!(node.gauges(), [0, 2, 0]);
    node.advance(secs(10));
    assert_eq!(node.gauges(), [0, 1, 0]);
    node.advance(secs(100 * 365 * 86_400));
    assert_eq!(node.connect(&resuming("forever", 0)).take("CONNACK"), "Success present");
}

/// [MQTT5-3.14.2-2]: a session that was to end with its connection cannot be prolonged.
#[test]
fn a_disconnect_cannot_make_a_session_persistent() {
    let node = Node::new();
    let peer = node.client("fin");
    peer.disconnect_with(ReasonCode::NormalDisconnection, Some(60));
    assert_eq!(peer.received(), ["DISCONNECT ProtocolError"]);
    assert_eq!(node.gauges(), [0, 0, 0]);
}

/// [MQTT5-3.1.4-3] [MQTT311-3.1.4-2]: the older connection is closed, with 0x8E where the version has it. Its
/// late packets do nothing.
#[test]
fn a_second_connection_takes_over() {
    for version in [V5, V311] {
        let node = Node::new();
        let connect = |clean_start| Connect {
            clean_start,
            properties: if version == V5 { expiring(60) } else { ConnectProperties::default() },
            ..Connect::new(version, "fin")
        };
        let old = node.welcome(&connect(false));
        old.subscribe("t", Qos::AtLeastOnce);
        let publisher = node.client("publisher");
        publisher.publish("t", "1", Qos::AtLeastOnce);
        old.take("PUBLISH");
        let new = node.connect(&connect(false));
        assert!(old.is_closed() && !new.is_closed());
        let goodbye: &[&str] = if version == V5 { &["DISCONNECT SessionTakenOver"] } else { &[] };
        assert_eq!(old.received(), goodbye, "{version:?}");
        assert_eq!(new.received(), ["CONNACK Success present", "PUBLISH t:1 q1 #1 dup"]);
        old.puback(1);
        old.lose_connection();
        publisher.publish("t", "2", Qos::AtLeastOnce);
        assert_eq!(new.received(), ["PUBLISH t:2 q1 #2"]);
        assert_eq!(old.received(), [""; 0]);
        assert_eq!(node.gauges(), [2, 2, 1]);
        // With Clean Start the session ends.
        let newest = node.connect(&connect(true));
        assert_eq!(newest.received(), ["CONNACK Success"]);
        assert_eq!(node.gauges(), [2, 2, 0]);
        assert_eq!(node.dropped(DropReason::SessionEnded), 2, "{version:?}");
    }
}

/// [MQTT5-3.1.0-2]: a second CONNECT is a protocol error; the others go on.
#[test]
fn a_protocol_error_closes_its_own_connection_only() {
    let node = Node::new();
    let bystander = node.client("bystander");
    bystander.subscribe("t", Qos::AtMostOnce);
    let peer = node.client("fin");
    peer.send(&Packet::Connect(Connect::new(V5, "fin")));
    assert!(peer.is_closed());
    assert_eq!(peer.received(), ["DISCONNECT ProtocolError"]);
    peer.send(&Packet::PingReq);
    assert_eq!(peer.received(), [""; 0], "nothing is heard after that");
    node.client("publisher").publish("t", "1", Qos::AtMostOnce);
    assert_eq!(bystander.received(), ["PUBLISH t:1 q0"]);
}

/// A client that does not read keeps nobody waiting, and gets everything in order once it reads.
#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let settings =
        session::Settings { outbox_bytes_max: 100, inflight_max: 2, ..session::Settings::default() };
    let node = Node::with_sessions(settings);
    let [slow, quick] = ["slow", "quick"].map(|client_id| {
        let peer = node.client(client_id);
        peer.subscribe("t", Qos::AtLeastOnce);
        peer
    });
    slow.stop_reading();
    let publisher = node.client("publisher");
    for number in 0..3 {
        publisher.publish("t", &number.to_string(), Qos::AtLeastOnce);
    }
    for _ in 0..30 {
        publisher.publish("t", "x", Qos::AtMostOnce);
    }
    assert_eq!(quick.consume().len(), 33);
    assert_eq!(slow.received(), [""; 0]);
    let dropped = node.dropped(DropReason::OutboxFull);
    assert!(dropped > 15, "{dropped} of 30");
    slow.go_on_reading();
    let received = slow.consume();
    assert_eq!(received.len() as u64, 33 - dropped);
    let numbers: Vec<&String> = received.iter().filter(|message| *message != "t:x").collect();
    assert_eq!(numbers, ["t:0", "t:1", "t:2"]);
}

#[test]
fn a_broken_socket_is_closed_by_its_owner() {
    let node = Node::new();
    let peer = node.client("fin");
    peer.subscribe("t", Qos::AtMostOnce);
    peer.break_line();
    node.client("publisher").publish("t", "1", Qos::AtMostOnce);
    assert!(peer.is_closed());
    peer.lose_connection();
    assert_eq!(node.gauges()[2], 0);
}

/// [MQTT5-4.13.2-1]: 0x8B, and nobody new.
#[test]
fn a_node_that_stops_says_so() {
    let node = Node::new();
    let new = node.client("new");
    let old = node.welcome(&Connect::new(V311, "old"));
    node.broker.shutdown(node.clock.now());
    assert_eq!(new.received(), ["DISCONNECT ServerShuttingDown"]);
    assert_eq!(old.received(), [""; 0]);
    assert!(new.is_closed() && old.is_closed());
    let refused = node.try_connect(&Connect::new(V5, "late")).map(|_| ());
    assert_eq!(refused, Err(ReasonCode::ServerUnavailable));
    assert_eq!(node.gauges()[0], 0);
}
