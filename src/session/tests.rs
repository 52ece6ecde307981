//! The session against the standard: packets in, packets out, time added by hand.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::*;
use crate::codec::{
    Connect, ConnectProperties, PubRel, Publish, PublishProperties, RetainHandling, SubscribeFilter, peek,
};
use crate::message::Publication;
use crate::topic::TopicRef;

mod resumed;
mod shared;

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn connect(version: ProtocolVersion, clean_start: bool, properties: ConnectProperties<'_>) -> Connect<'_> {
    Connect { clean_start, properties, ..Connect::new(version, "client") }
}

fn persistent<'a>() -> ConnectProperties<'a> {
    ConnectProperties { session_expiry: Some(3_600), ..ConnectProperties::default() }
}

/// One session, its outbox, and a clock that tests move.
struct Peer {
    session: Session,
    out: Outbox,
    now: Instant,
    settings: Arc<Settings>,
}

impl Peer {
    fn connected(connect: &Connect<'_>, settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let negotiated = Negotiated::new(connect, &settings, 1).unwrap();
        let session = Session::new(&negotiated);
        let mut peer = Self { session, out: Outbox::default(), now: crate::net::clock::now(), settings };
        peer.session.on_connected(peer.now, &negotiated, false, &mut peer.out);
        peer.out.take();
        peer
    }

    fn v5() -> Self {
        Self::connected(&connect(V5, true, persistent()), Settings::default())
    }

    /// The next connection; what the session sends on it, without the CONNACK.
    fn reconnect(&mut self, connect: &Connect<'_>) -> Vec<String> {
        let negotiated = Negotiated::new(connect, &self.settings, 1).unwrap();
        self.session.on_connected(self.now, &negotiated, true, &mut self.out);
        let mut sent = self.sent();
        sent.remove(0);
        sent
    }

    fn send<'a>(&mut self, packet: Packet<'a>) -> Result<Request<'a>, ReasonCode> {
        self.session.on_packet(self.now, packet, &mut self.out)
    }

    fn deliver(&mut self, topic: &str, qos: Qos) {
        self.deliver_with(topic, qos, None, &[]);
    }

    fn deliver_with(&mut self, topic: &str, qos: Qos, expiry: Option<Duration>, subscription_ids: &[u32]) {
        let publication = Publication {
            topic: TopicRef::parse(topic).unwrap(),
            payload: b"payload",
            qos,
            retain: false,
            properties: &[],
            expires_at: expiry.map(|expiry| self.now + expiry),
            publisher: None,
        };
        let mut copies = Copies::new(publication, self.now, 2);
        let delivery = Delivery { qos_max: Qos::ExactlyOnce, retain: false, subscription_ids, share: None };
        self.session.deliver(self.now, &mut copies, &delivery, &mut self.out);
    }

    /// What was sent since the last call, in short form.
    fn sent(&mut self) -> Vec<String> {
        let version = self.session.version().unwrap_or(V5);
        let bytes = self.out.take();
        let mut sent = Vec::new();
        let mut rest = &bytes[..];
        while let Some(header) = peek(rest, u32::MAX).unwrap() {
            sent.push(short(&crate::codec::decode(version, &rest[..header.total_len]).unwrap()));
            rest = &rest[header.total_len..];
        }
        assert!(rest.is_empty(), "half a packet: {rest:?}");
        sent
    }
}

fn short(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(publish) => {
            let dup = if publish.dup { " dup" } else { "" };
            let id = publish.packet_id.map_or(String::new(), |id| format!(" #{}", id.get()));
            let expiry = publish.properties.message_expiry.map_or(String::new(), |s| format!(" expiry={s}"));
            let ids = &publish.properties.subscription_ids;
            let ids = if ids.is_empty() { String::new() } else { format!(" ids={ids:?}") };
            format!("PUBLISH {} q{}{id}{dup}{expiry}{ids}", publish.topic, publish.qos as u8)
        }
        Packet::PubAck(ack) => format!("PUBACK #{} {:?}", ack.packet_id.get(), ack.reason),
        Packet::PubRec(ack) => format!("PUBREC #{} {:?}", ack.packet_id.get(), ack.reason),
        Packet::PubRel(ack) => format!("PUBREL #{} {:?}", ack.packet_id.get(), ack.reason),
        Packet::PubComp(ack) => format!("PUBCOMP #{} {:?}", ack.packet_id.get(), ack.reason),
        Packet::Disconnect(disconnect) => format!("DISCONNECT {:?}", disconnect.reason),
        Packet::ConnAck(connack) => format!("CONNACK {:?}", connack.reason),
        Packet::SubAck(suback) => format!("SUBACK #{} {:?}", suback.packet_id.get(), &suback.codes[..]),
        Packet::UnsubAck(unsuback) => {
            format!("UNSUBACK #{} {:?}", unsuback.packet_id.get(), &unsuback.codes[..])
        }
        other => format!("{other:?}"),
    }
}

fn publish(topic: &str, qos: Qos, packet_id: Option<u16>) -> Publish<'_> {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic,
        packet_id: packet_id.map(id),
        properties: PublishProperties::default(),
        payload: b"payload",
    }
}

fn puback<'a>(number: u16) -> Packet<'a> {
    Packet::PubAck(PubAck {
        packet_id: id(number),
        reason: ReasonCode::Success,
        reason_string: None,
        user: UserProperties::default(),
    })
}

fn pubrec<'a>(number: u16, reason: ReasonCode) -> Packet<'a> {
    Packet::PubRec(received(id(number), reason))
}

fn pubrel<'a>(number: u16) -> Packet<'a> {
    Packet::PubRel(PubRel {
        packet_id: id(number),
        reason: ReasonCode::Success,
        reason_string: None,
        user: UserProperties::default(),
    })
}

fn pubcomp<'a>(number: u16) -> Packet<'a> {
    Packet::PubComp(PubComp {
        packet_id: id(number),
        reason: ReasonCode::Success,
        reason_string: None,
        user: UserProperties::default(),
    })
}

fn names(requests: &Result<Request<'_>, ReasonCode>) -> &'static str {
    match requests {
        Ok(Request::None) => "none",
        Ok(Request::Publish(_)) => "publish",
        Ok(Request::Subscribe { .. }) => "subscribe",
        Ok(Request::Unsubscribe { .. }) => "unsubscribe",
        Ok(Request::Authenticate { .. }) => "authenticate",
        Ok(Request::Disconnect) => "disconnect",
        Err(_) => "error",
    }
}

/// [MQTT5-3.1.3-6] [MQTT311-3.1.3-7] [MQTT311-3.1.3-8]: who may come without a Client Identifier.
#[test]
fn a_client_without_an_identifier_is_named_where_the_version_allows_it() {
    let check = |version, clean_start, expected: Result<(), ReasonCode>| {
        let connect = Connect { clean_start, ..Connect::new(version, "") };
        let negotiated = Negotiated::new(&connect, &Arc::default(), 0xF10C);
        assert_eq!(
            negotiated.as_ref().map(|_| ()).map_err(|reason| *reason),
            expected,
            "{version:?} {clean_start}"
        );
        if let Ok(negotiated) = negotiated {
            assert_eq!(negotiated.client_id.as_str(), format!("auto-{:032x}", 0xF10C));
        }
    };
    check(V5, true, Ok(()));
    check(V5, false, Ok(()));
    check(V311, true, Ok(()));
    check(V311, false, Err(ReasonCode::ClientIdentifierNotValid));
    check(ProtocolVersion::V31, true, Err(ReasonCode::ClientIdentifierNotValid));
}

/// [MQTT5-3.1.2.11.2] [MQTT5-3.2.2.3.2]: the interval that is asked for, capped by the node.
#[test]
fn session_expiry_is_capped_and_the_client_is_told() {
    let hour = Some(Duration::from_secs(3_600));
    let check = |version, clean_start, asked, max, expected: Expiry, told: Option<u32>| {
        let settings = Arc::new(Settings { session_expiry_max: max, ..Settings::default() });
        let properties = ConnectProperties { session_expiry: asked, ..ConnectProperties::default() };
        let negotiated = Negotiated::new(&connect(version, clean_start, properties), &settings, 1).unwrap();
        assert_eq!(negotiated.expiry, expected, "{version:?} {clean_start} {asked:?} {max:?}");
        assert_eq!(negotiated.connack(false).properties.session_expiry, told);
    };
    check(V5, true, None, None, Expiry::AtClose, None);
    check(V5, false, None, None, Expiry::AtClose, None);
    check(V5, true, Some(60), None, Expiry::After(Duration::from_secs(60)), None);
    check(V5, true, Some(u32::MAX), None, Expiry::Never, None);
    check(V5, true, Some(u32::MAX), hour, Expiry::After(Duration::from_secs(3_600)), Some(3_600));
    check(V5, true, Some(7_200), hour, Expiry::After(Duration::from_secs(3_600)), Some(3_600));
    check(V311, true, None, None, Expiry::AtClose, None);
    check(V311, false, None, None, Expiry::Never, None);
    check(V311, false, None, hour, Expiry::After(Duration::from_secs(3_600)), None);
}

/// [MQTT5-3.1.2-21] [MQTT5-3.1.2-22]: one and a half times the keep alive; the server's own wins in 5.0.
#[test]
fn keep_alive_is_one_and_a_half_times_and_may_be_shortened() {
    let check = |version, asked, max, expected_ms: Option<u64>, told: Option<u16>| {
        let settings = Arc::new(Settings { keep_alive_max: max, ..Settings::default() });
        let connect = Connect { keep_alive: asked, ..Connect::new(version, "client") };
        let negotiated = Negotiated::new(&connect, &settings, 1).unwrap();
        assert_eq!(negotiated.silence_max(), expected_ms.map(Duration::from_millis), "{asked} {max}");
        assert_eq!(negotiated.connack(false).properties.server_keep_alive, told, "{asked} {max}");
    };
    check(V5, 10, u16::MAX, Some(15_000), None);
    check(V5, 0, u16::MAX, None, None);
    check(V5, 0, 60, Some(90_000), Some(60));
    check(V5, 61, 60, Some(90_000), Some(60));
    check(V311, 61, 60, Some(91_500), None);
}

/// [MQTT5-4.3.1] [MQTT5-4.3.2] [MQTT5-4.3.3]: the flows from the client.
#[test]
fn each_quality_of_service_is_acknowledged_in_its_own_way() {
    let mut peer = Peer::v5();
    let request = peer.send(Packet::Publish(publish("a", Qos::AtMostOnce, None)));
    assert_eq!(names(&request), "publish");
    let request = peer.send(Packet::Publish(publish("a", Qos::AtLeastOnce, Some(1))));
    assert_eq!(names(&request), "publish");
    peer.session.on_published(id(1), Qos::AtLeastOnce, ReasonCode::Success, &mut peer.out);
    let request = peer.send(Packet::Publish(publish("a", Qos::ExactlyOnce, Some(2))));
    assert_eq!(names(&request), "publish");
    peer.session.on_published(id(2), Qos::ExactlyOnce, ReasonCode::Success, &mut peer.out);
    assert_eq!(peer.sent(), ["PUBACK #1 Success", "PUBREC #2 Success"]);
    // The same identifier before its PUBREL is the same message [MQTT5-4.3.3-10], also after a reconnect.
    let request = peer.send(Packet::Publish(publish("a", Qos::ExactlyOnce, Some(2))));
    assert_eq!(names(&request), "none");
    assert_eq!(peer.sent(), ["PUBREC #2 Success"]);
    peer.session.on_closed(peer.now, Closing::Ended);
    peer.reconnect(&connect(V5, false, persistent()));
    let again = Publish { dup: true, ..publish("a", Qos::ExactlyOnce, Some(2)) };
    assert_eq!(names(&peer.send(Packet::Publish(again))), "none");
    peer.send(pubrel(2)).unwrap();
    peer.send(pubrel(2)).unwrap();
    assert_eq!(
        peer.sent(),
        ["PUBREC #2 Success", "PUBCOMP #2 Success", "PUBCOMP #2 PacketIdentifierNotFound"]
    );
    // Released: the identifier stands for a new message.
    assert_eq!(names(&peer.send(Packet::Publish(publish("a", Qos::ExactlyOnce, Some(2))))), "publish");
}

/// [MQTT5-4.3.3-4]: an error code in PUBREC ends the flow, so the identifier is free at once.
#[test]
fn a_refused_qos_2_message_leaves_nothing_behind() {
    let mut peer = Peer::v5();
    assert_eq!(names(&peer.send(Packet::Publish(publish("a", Qos::ExactlyOnce, Some(2))))), "publish");
    peer.session.on_published(id(2), Qos::ExactlyOnce, ReasonCode::NotAuthorized, &mut peer.out);
    assert_eq!(names(&peer.send(Packet::Publish(publish("a", Qos::ExactlyOnce, Some(2))))), "publish");
    assert_eq!(peer.sent(), ["PUBREC #2 NotAuthorized"]);
}

/// [MQTT5-3.3.4-7] and the errors of section 3.3.
#[test]
fn what_a_publish_may_not_be_closes_the_connection() {
    let alias =
        |number| PublishProperties { topic_alias: NonZeroU16::new(number), ..PublishProperties::default() };
    let check = |packet: Publish<'_>, expected: ReasonCode| {
        let mut peer = Peer::v5();
        let text = format!("{packet:?}");
        assert_eq!(peer.send(Packet::Publish(packet)).map(|_| ()), Err(expected), "{text}");
    };
    check(publish("a/#", Qos::AtMostOnce, None), ReasonCode::TopicNameInvalid);
    check(publish("a/+/b", Qos::AtMostOnce, None), ReasonCode::TopicNameInvalid);
    check(
        Publish { properties: alias(17), ..publish("a", Qos::AtMostOnce, None) },
        ReasonCode::TopicAliasInvalid,
    );
    check(Publish { properties: alias(1), ..publish("", Qos::AtMostOnce, None) }, ReasonCode::ProtocolError);
    let mut with_id = PublishProperties::default();
    with_id.subscription_ids.push(7);
    check(Publish { properties: with_id, ..publish("a", Qos::AtMostOnce, None) }, ReasonCode::ProtocolError);
    let deep = "/".repeat(200);
    check(publish(&deep, Qos::AtMostOnce, None), ReasonCode::TopicNameInvalid);
}

#[test]
fn a_client_may_not_exceed_the_receive_maximum() {
    let settings = Settings { receive_maximum: 2, ..Settings::default() };
    let mut peer = Peer::connected(&connect(V5, true, persistent()), settings.clone());
    for number in 1..=2 {
        assert_eq!(
            names(&peer.send(Packet::Publish(publish("a", Qos::ExactlyOnce, Some(number))))),
            "publish"
        );
    }
    let third = peer.send(Packet::Publish(publish("a", Qos::AtLeastOnce, Some(3)))).map(|_| ());
    assert_eq!(third, Err(ReasonCode::ReceiveMaximumExceeded));
    // Older versions know no such limit.
    let mut peer = Peer::connected(&connect(V311, true, ConnectProperties::default()), settings);
    for number in 1..=3 {
        assert_eq!(
            names(&peer.send(Packet::Publish(publish("a", Qos::ExactlyOnce, Some(number))))),
            "publish"
        );
    }
}

/// [MQTT5-3.3.2-7] [MQTT5-3.3.2.3.4]: an alias stands for its topic, on its connection only.
#[test]
fn an_alias_stands_for_its_topic_until_the_connection_ends() {
    let aliased = |topic| Publish {
        properties: PublishProperties { topic_alias: NonZeroU16::new(3), ..PublishProperties::default() },
        ..publish(topic, Qos::AtMostOnce, None)
    };
    let mut peer = Peer::v5();
    for (sent, expected) in [("a/b", "a/b"), ("", "a/b"), ("c", "c"), ("", "c")] {
        let Ok(Request::Publish(incoming)) = peer.send(Packet::Publish(aliased(sent))) else {
            panic!("{sent}")
        };
        assert_eq!(incoming.publication("client").topic.as_str(), expected);
    }
    peer.session.on_closed(peer.now, Closing::Ended);
    peer.reconnect(&connect(V5, false, persistent()));
    assert_eq!(peer.send(Packet::Publish(aliased(""))).map(|_| ()), Err(ReasonCode::ProtocolError));
}

/// [MQTT5-4.9.0-1] [MQTT5-4.9.0-2]: no more than the client's Receive Maximum is unacknowledged, and the rest
/// follows in order.
#[test]
fn the_window_opens_with_each_acknowledgement() {
    let properties = ConnectProperties { receive_maximum: NonZeroU16::new(2), ..persistent() };
    let mut peer = Peer::connected(&connect(V5, true, properties), Settings::default());
    for topic in ["a", "b", "c", "d"] {
        peer.deliver(topic, Qos::AtLeastOnce);
    }
    peer.deliver("free", Qos::AtMostOnce);
    assert_eq!(peer.sent(), ["PUBLISH a q1 #1", "PUBLISH b q1 #2", "PUBLISH free q0"]);
    peer.send(puback(2)).unwrap();
    assert_eq!(peer.sent(), ["PUBLISH c q1 #3"]);
    peer.send(puback(2)).unwrap(); // Twice acknowledged opens nothing.
    assert_eq!(peer.sent(), [""; 0]);
    peer.send(puback(1)).unwrap();
    assert_eq!(peer.sent(), ["PUBLISH d q1 #4"]);
    assert_eq!(peer.session.pending(), 2);
}

/// [MQTT5-4.3.3]: the QoS 2 flow to the client holds its place in the window until PUBCOMP.
#[test]
fn a_qos_2_delivery_ends_with_pubcomp() {
    let properties = ConnectProperties { receive_maximum: NonZeroU16::new(1), ..persistent() };
    let mut peer = Peer::connected(&connect(V5, true, properties), Settings::default());
    peer.deliver("a", Qos::ExactlyOnce);
    peer.deliver("b", Qos::ExactlyOnce);
    assert_eq!(peer.sent(), ["PUBLISH a q2 #1"]);
    peer.send(puback(1)).unwrap(); // The wrong kind.
    assert_eq!(peer.sent(), [""; 0]);
    peer.send(pubrec(1, ReasonCode::Success)).unwrap();
    assert_eq!(peer.sent(), ["PUBREL #1 Success"]);
    peer.send(pubcomp(1)).unwrap();
    assert_eq!(peer.sent(), ["PUBLISH b q2 #2"]);
    peer.send(pubrec(2, ReasonCode::QuotaExceeded)).unwrap();
    assert_eq!(peer.session.pending(), 0);
    peer.send(pubrec(9, ReasonCode::Success)).unwrap();
    assert_eq!(peer.sent(), ["PUBREL #9 PacketIdentifierNotFound"]);
}

/// [MQTT5-4.4.0-1] [MQTT5-4.6.0-1]: after a reconnect everything unacknowledged comes again, in order, with DUP
/// and the same identifiers; then what was queued meanwhile.
#[test]
fn a_resumed_session_sends_again_what_was_not_acknowledged() {
    let mut peer = Peer::v5();
    peer.deliver("a", Qos::AtLeastOnce);
    peer.deliver("b", Qos::ExactlyOnce);
    peer.deliver("c", Qos::ExactlyOnce);
    peer.send(pubrec(2, ReasonCode::Success)).unwrap();
    peer.sent();
    peer.session.on_closed(peer.now, Closing::Ended);
    peer.deliver("d", Qos::AtLeastOnce);
    peer.deliver("lost", Qos::AtMostOnce);
    let sent = peer.reconnect(&connect(V5, false, persistent()));
    assert_eq!(sent, ["PUBLISH a q1 #1 dup", "PUBREL #2 Success", "PUBLISH c q2 #3 dup", "PUBLISH d q1 #4"]);
    assert_eq!(peer.out.take_tally(), Tally { delivered: 4, offline: 1, ..Tally::default() });
    // A narrower window: one at a time, still in order.
    peer.session.on_closed(peer.now, Closing::Ended);
    let narrow = ConnectProperties { receive_maximum: NonZeroU16::new(1), ..persistent() };
    assert_eq!(peer.reconnect(&connect(V5, false, narrow)), ["PUBLISH a q1 #1 dup"]);
    peer.send(puback(1)).unwrap();
    assert_eq!(peer.sent(), ["PUBREL #2 Success"]);
    peer.send(pubcomp(2)).unwrap();
    assert_eq!(peer.sent(), ["PUBLISH c q2 #3 dup"]);
}

/// [MQTT5-3.3.2-5] [MQTT5-3.3.2-6]: the remaining time is counted down while a message waits; none is sent late.
#[test]
fn a_queued_message_ages() {
    let mut peer = Peer::v5();
    peer.session.on_closed(peer.now, Closing::Ended);
    peer.deliver_with("short", Qos::AtLeastOnce, Some(Duration::from_secs(5)), &[]);
    peer.deliver_with("long", Qos::AtLeastOnce, Some(Duration::from_secs(60)), &[]);
    peer.now += Duration::from_millis(10_400);
    let sent = peer.reconnect(&connect(V5, false, persistent()));
    assert_eq!(sent, ["PUBLISH long q1 #2 expiry=50"]);
    assert_eq!(peer.out.take_tally(), Tally { delivered: 1, expired: 1, ..Tally::default() });
}

/// [MQTT5-3.1.2-25]: what the client cannot take is dropped as if it had been delivered.
#[test]
fn a_message_too_large_for_the_client_is_dropped_and_counted() {
    let properties = ConnectProperties { packet_size_max: NonZeroU32::new(30), ..persistent() };
    let mut peer = Peer::connected(&connect(V5, true, properties), Settings::default());
    let long = "x".repeat(30);
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        peer.deliver(&long, qos);
        peer.deliver("a", qos);
    }
    assert_eq!(peer.sent(), ["PUBLISH a q0", "PUBLISH a q1 #2"]);
    assert_eq!(peer.out.take_tally(), Tally { delivered: 2, too_large: 2, ..Tally::default() });
}

#[test]
fn queue_and_outbox_are_bounded_and_what_does_not_fit_is_counted() {
    let settings =
        Settings { queue_len_max: 2, outbox_bytes_max: 40, inflight_max: 10, ..Settings::default() };
    let mut peer = Peer::connected(&connect(V5, true, persistent()), settings);
    for topic in ["a", "b", "c", "d", "e", "f"] {
        peer.deliver(topic, Qos::AtLeastOnce); // 15 bytes each
    }
    peer.deliver("g", Qos::AtMostOnce);
    assert_eq!(
        peer.out.take_tally(),
        Tally { delivered: 3, queue_full: 1, outbox_full: 1, ..Tally::default() }
    );
    assert_eq!(peer.sent(), ["PUBLISH a q1 #1", "PUBLISH b q1 #2", "PUBLISH c q1 #3"]);
    // The socket took it all: what waited in the queue follows.
    peer.session.on_drained(peer.now, &mut peer.out);
    assert_eq!(peer.sent(), ["PUBLISH d q1 #4", "PUBLISH e q1 #5"]);
}

/// A message that matches thousands of subscriptions carries their identifiers.
#[test]
fn subscription_identifiers_count_for_the_queue() {
    let settings = Settings { queue_bytes_max: 10_000, ..Settings::default() };
    let mut peer = Peer::connected(&connect(V5, true, persistent()), settings);
    peer.session.on_closed(peer.now, Closing::Ended);
    let ids: Vec<u32> = (1..=1_000).collect();
    for topic in ["a", "b", "c"] {
        peer.deliver_with(topic, Qos::AtLeastOnce, None, &ids);
    }
    assert_eq!(peer.out.take_tally(), Tally { queue_full: 1, ..Tally::default() });
    peer.reconnect(&connect(V5, false, persistent()));
    (1..=2).for_each(|number| peer.send(puback(number)).map(drop).unwrap());
    // What has left the queue counts no more.
    peer.session.on_closed(peer.now, Closing::Ended);
    peer.deliver_with("d", Qos::AtLeastOnce, None, &ids);
    peer.deliver_with("e", Qos::AtLeastOnce, None, &ids);
    assert_eq!(peer.out.take_tally().queue_full, 0);
}

/// [MQTT5-2.2.1-4]: identifiers go round and never meet one in use.
#[test]
fn packet_identifiers_in_use_are_passed_over() {
    let mut peer = Peer::v5();
    peer.deliver("stuck", Qos::AtLeastOnce);
    for round in 0..70_000_u32 {
        peer.deliver("a", Qos::AtLeastOnce);
        let sent = peer.sent();
        let number: u16 = sent[sent.len() - 1].rsplit('#').next().unwrap().parse().unwrap();
        assert_ne!(number, 1, "round {round}");
        peer.send(puback(number)).unwrap();
    }
}

/// Encodings shared by several clients differ only where they may.
#[test]
fn a_shared_encoding_carries_each_clients_own_identifier() {
    let mut peers = [
        Peer::v5(),
        Peer::v5(),
        Peer::connected(&connect(V311, true, ConnectProperties::default()), Settings::default()),
    ];
    peers[1].deliver("first", Qos::AtLeastOnce);
    peers[1].sent();
    let topic = "t".repeat(200); // A remaining length of two bytes.
    let now = peers[0].now;
    let publication = Publication {
        topic: TopicRef::parse(&topic).unwrap(),
        payload: b"payload",
        qos: Qos::ExactlyOnce,
        retain: true,
        properties: &[0x01, 0x01],
        expires_at: None,
        publisher: None,
    };
    let mut copies = Copies::new(publication, now, 6);
    let mut lines = Vec::new();
    for (qos_max, retain) in [(Qos::ExactlyOnce, true), (Qos::AtLeastOnce, false), (Qos::AtMostOnce, false)] {
        for peer in &mut peers {
            let delivery = Delivery { qos_max, retain, subscription_ids: &[], share: None };
            peer.session.deliver(now, &mut copies, &delivery, &mut peer.out);
            lines.extend(peer.sent().into_iter().map(|line| line.replace(&topic, "t")));
        }
    }
    let expected = [
        "PUBLISH t q2 #1",
        "PUBLISH t q2 #2",
        "PUBLISH t q2 #1",
        "PUBLISH t q1 #2",
        "PUBLISH t q1 #3",
        "PUBLISH t q1 #2",
        "PUBLISH t q0",
        "PUBLISH t q0",
        "PUBLISH t q0",
    ];
    assert_eq!(lines, expected);
}

/// [MQTT5-3.8.4] [MQTT5-3.9.3-1]: one code for each filter, in order; the bad ones do not spoil the good ones.
#[test]
fn each_filter_of_a_subscribe_has_its_own_fate() {
    let options = SubscribeOptions {
        qos: Qos::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::SendAlways,
    };
    let filter = |filter| SubscribeFilter { filter, options };
    let subscribe = Subscribe {
        packet_id: id(5),
        subscription_id: Some(9),
        user: UserProperties::default(),
        filters: vec![filter("a/+"), filter("a/#/b"), filter("$share/g")],
    };
    let mut peer = Peer::v5();
    let Ok(Request::Subscribe { packet_id, filters }) = peer.send(Packet::Subscribe(subscribe)) else {
        panic!()
    };
    assert_eq!(packet_id, id(5));
    let codes: Vec<_> = filters.iter().map(|filter| filter.as_ref().err().copied()).collect();
    let refused = ReasonCode::TopicFilterInvalid;
    assert_eq!(codes, [None, Some(refused), Some(refused)]);
    assert!(peer.session.on_granted(filters[0].as_ref().unwrap()));
    assert!(!peer.session.on_granted(filters[0].as_ref().unwrap()), "the same filter replaces itself");
    let codes = [ReasonCode::GrantedQos1, refused, ReasonCode::QuotaExceeded];
    assert_eq!(peer.session.on_subscribed(packet_id, &codes, None, &mut peer.out), Ok(()));
    assert_eq!(peer.sent(), ["SUBACK #5 [GrantedQos1, TopicFilterInvalid, QuotaExceeded]"]);
}

/// [MQTT5-3.1.0-2] and packets that only a server may send.
#[test]
fn packets_that_a_client_may_not_send_are_protocol_errors() {
    let unsuback = UnsubAck {
        packet_id: id(1),
        reason_string: None,
        user: UserProperties::default(),
        codes: (&[ReasonCode::Success][..]).into(),
    };
    for packet in [Packet::PingResp, Packet::Connect(Connect::new(V5, "client")), Packet::UnsubAck(unsuback)]
    {
        let text = format!("{packet:?}");
        assert_eq!(Peer::v5().send(packet).map(|_| ()), Err(ReasonCode::ProtocolError), "{text}");
    }
}

/// [MQTT5-3.14.4] [MQTT5-3.1.2-8] [MQTT5-3.1.2-10] [MQTT5-3.1.3.2.2]: when the Will is published, and when the
/// session ends.
#[test]
fn the_end_of_a_connection_decides_on_will_and_session() {
    let secs = Duration::from_secs;
    let goodbye = |reason, session_expiry| {
        Packet::Disconnect(Disconnect {
            reason,
            session_expiry,
            reason_string: None,
            server_reference: None,
            user: UserProperties::default(),
        })
    };
    let check =
        |delay: u32, goodbye: Option<Packet<'static>>, closing, will_after: Option<u64>, ends_after: u64| {
            let properties = crate::codec::WillProperties { delay: Some(delay), ..Default::default() };
            let will = crate::codec::Will {
                topic: "will",
                payload: b"gone",
                qos: Qos::AtLeastOnce,
                retain: false,
                properties,
            };
            let connect = Connect { will: Some(will), ..connect(V5, true, persistent()) };
            let mut peer = Peer::connected(&connect, Settings::default());
            let text = format!("delay {delay}, {goodbye:?}, {closing:?}");
            if let Some(goodbye) = goodbye {
                peer.send(goodbye).unwrap();
            }
            let farewell = peer.session.on_closed(peer.now, closing).unwrap();
            assert_eq!(farewell.will.map(|(_, at)| at - peer.now), will_after.map(secs), "{text}");
            assert_eq!(farewell.ends_at, Some(peer.now + secs(ends_after)), "{text}");
            assert!(peer.session.on_closed(peer.now, closing).is_none(), "{text}");
        };
    let normal = ReasonCode::NormalDisconnection;
    let with_will = ReasonCode::DisconnectWithWill;
    check(0, None, Closing::Ended, Some(0), 3_600);
    check(10, None, Closing::Ended, Some(10), 3_600);
    check(7_200, None, Closing::Ended, Some(3_600), 3_600);
    check(10, Some(goodbye(normal, None)), Closing::Ended, None, 3_600);
    check(10, Some(goodbye(with_will, None)), Closing::Ended, Some(10), 3_600);
    check(10, Some(goodbye(with_will, Some(0))), Closing::Ended, Some(0), 0);
    check(0, None, Closing::TakenOver { continues: true }, Some(0), 3_600);
    check(10, None, Closing::TakenOver { continues: true }, None, 3_600);
    check(10, None, Closing::TakenOver { continues: false }, Some(0), 3_600);
}

/// Section 3.14.2.2.2: a session that was to end with its connection cannot be prolonged by the DISCONNECT.
#[test]
fn disconnect_may_not_make_a_session_persistent() {
    let mut peer = Peer::connected(&connect(V5, true, ConnectProperties::default()), Settings::default());
    let disconnect = Disconnect {
        reason: ReasonCode::NormalDisconnection,
        session_expiry: Some(60),
        reason_string: None,
        server_reference: None,
        user: UserProperties::default(),
    };
    assert_eq!(peer.send(Packet::Disconnect(disconnect)).map(|_| ()), Err(ReasonCode::ProtocolError));
}

/// After the last DISCONNECT of either side nothing is processed any more.
#[test]
fn after_goodbye_nothing_is_heard() {
    let mut peer = Peer::v5();
    peer.session.say_goodbye(ReasonCode::ServerShuttingDown, &mut peer.out);
    peer.session.say_goodbye(ReasonCode::ServerBusy, &mut peer.out);
    assert_eq!(peer.sent(), ["DISCONNECT ServerShuttingDown"]);
    assert_eq!(names(&peer.send(Packet::Publish(publish("a", Qos::AtMostOnce, None)))), "none");
    let mut old = Peer::connected(&connect(V311, true, ConnectProperties::default()), Settings::default());
    old.session.say_goodbye(ReasonCode::ServerShuttingDown, &mut old.out);
    assert!(old.out.is_empty(), "3.1.1 has no DISCONNECT from the server");
}

/// [MQTT5-4.6.0-1]
#[test]
fn what_a_full_outbox_kept_from_being_sent_again_still_goes_before_what_is_new() {
    let settings = Settings { outbox_bytes_max: 16, ..Settings::default() };
    let mut peer = Peer::connected(&connect(V5, true, persistent()), settings);
    for topic in ["a", "b", "c"] {
        peer.deliver(topic, Qos::AtLeastOnce);
        peer.sent();
    }
    let mut topics = peer.reconnect(&connect(V5, false, persistent()));
    peer.deliver("d", Qos::AtLeastOnce);
    topics.extend(peer.sent());
    for _ in 0..4 {
        peer.session.on_drained(peer.now, &mut peer.out);
        topics.extend(peer.sent());
    }
    let again = ["PUBLISH a q1 #1 dup", "PUBLISH b q1 #2 dup", "PUBLISH c q1 #3 dup"];
    assert_eq!(topics[..3], again);
    assert_eq!(topics[3..], ["PUBLISH d q1 #4"]);
}

/// [MQTT5-3.1.2-26] [MQTT5-3.1.2-27] [MQTT5-3.3.2-11]: no client gets an alias that it, or the node, did not allow.
/// [MQTT5-3.1.2-28]: nor Response Information without asking for it.
#[test]
fn a_client_gets_aliases_and_response_information_only_where_both_sides_allow_it() {
    let information = Some(Box::from("answers/"));
    for (allowed, made_max) in [(None, 16), (Some(0), 16), (Some(1), 0), (Some(1), 16), (Some(u16::MAX), 1)] {
        for asked in [None, Some(false), Some(true)] {
            let settings = Settings {
                topic_aliases_made_max: made_max,
                response_information: information.clone(),
                ..Settings::default()
            };
            let properties = ConnectProperties {
                topic_alias_maximum: allowed,
                request_response_information: asked,
                ..persistent()
            };
            let connect = connect(V5, true, properties);
            let negotiated = Negotiated::new(&connect, &Arc::new(settings.clone()), 1).unwrap();
            let connack = negotiated.connack(false);
            let expected = (asked == Some(true)).then_some("answers/");
            assert_eq!(connack.properties.response_information, expected);
            let mut peer = Peer::connected(&connect, settings);
            for round in 0..3 {
                peer.deliver("a/long/topic/again/and/again", Qos::AtMostOnce);
                let bytes = peer.out.take();
                let Packet::Publish(publish) = crate::codec::decode(V5, &bytes).unwrap() else { panic!() };
                let has_alias = allowed.unwrap_or(0).min(made_max) > 0;
                assert_eq!(publish.properties.topic_alias, NonZeroU16::new(u16::from(has_alias)));
                assert_eq!(publish.topic.is_empty(), has_alias && round > 0);
            }
        }
    }
}
