//! A session as a member of shared subscriptions.

use proptest::prelude::*;

use super::*;
use crate::codec::SubscribeOptions;

fn share(text: &str) -> Arc<SubscriptionFilter> {
    Arc::new(SubscriptionFilter::parse(text).unwrap())
}

fn publication(topic: &str, qos: Qos) -> Publication<'_> {
    Publication {
        topic: TopicRef::parse(topic).unwrap(),
        payload: b"payload",
        qos,
        retain: false,
        properties: &[],
        expires_at: None,
        publisher: None,
    }
}

impl Peer {
    fn offer(&mut self, topic: &str, qos: Qos, least: Room, of: &Arc<SubscriptionFilter>) -> bool {
        let mut copies = Copies::new(publication(topic, qos), self.now, 1);
        let delivery =
            Delivery { qos_max: Qos::ExactlyOnce, retain: false, subscription_ids: &[], share: Some(of) };
        self.session.offer(self.now, &mut copies, &delivery, least, &mut self.out)
    }

    fn rooms(&self) -> [Room; 2] {
        [Qos::AtMostOnce, Qos::AtLeastOnce].map(|qos| self.session.room(qos, 0, &self.out))
    }

    fn taken(&mut self) -> Vec<String> {
        let taken = self.session.take_shared();
        taken.iter().map(|(share, message)| format!("{share} {}", message.topic().as_str())).collect()
    }
}

fn subscribe<'a>(filter: &'a str, options: SubscribeOptions) -> Packet<'a> {
    Packet::Subscribe(Subscribe {
        packet_id: id(1),
        subscription_id: None,
        user: UserProperties::default(),
        filters: vec![SubscribeFilter { filter, options }],
    })
}

/// [MQTT5-3.8.3-4]: No Local on a shared subscription is a protocol error, available or not.
#[test]
fn a_shared_subscription_is_not_local() {
    let no_local = SubscribeOptions { no_local: true, ..SubscribeOptions::with_qos(Qos::AtLeastOnce) };
    let check = |filter, options, shared_available, expected: Result<(), ReasonCode>| {
        let settings = Settings { shared_available, ..Settings::default() };
        let mut peer = Peer::connected(&connect(V5, true, persistent()), settings);
        let result = peer.send(subscribe(filter, options)).map(|_| ());
        assert_eq!(result, expected, "{filter} {options:?} {shared_available}");
    };
    for shared_available in [true, false] {
        check("$share/g/a", no_local, shared_available, Err(ReasonCode::ProtocolError));
        check("$queue/a", no_local, shared_available, Err(ReasonCode::ProtocolError));
        check("a", no_local, shared_available, Ok(()));
    }
    let refused = Err(ReasonCode::SharedSubscriptionsNotSupported);
    check("$share/g/a", SubscribeOptions::default(), false, refused);
    check("$share/g/a", SubscribeOptions::default(), true, Ok(()));
}

/// [MQTT5-3.2.2.3.13]: absent means available.
#[test]
fn the_connack_says_when_there_are_no_shared_subscriptions() {
    for (shared_available, expected) in [(true, None), (false, Some(false))] {
        let settings = Settings { shared_available, ..Settings::default() };
        let negotiated = Negotiated::new(&connect(V5, true, persistent()), &Arc::new(settings), 1).unwrap();
        let connack = negotiated.connack(false);
        assert_eq!(connack.properties.shared_subscription_available, expected);
    }
}

#[test]
fn a_message_goes_to_the_window_then_to_the_queue_then_nowhere() {
    let settings = Settings { inflight_max: 1, queue_len_max: 1, ..Settings::default() };
    let mut peer = Peer::connected(&connect(V5, true, persistent()), settings.clone());
    let group = share("$share/g/a");
    assert_eq!(peer.rooms(), [Room::Now, Room::Now]);
    assert!(peer.offer("1", Qos::AtLeastOnce, Room::Now, &group));
    assert_eq!(peer.rooms(), [Room::Now, Room::Queue]);
    assert!(!peer.offer("2", Qos::AtLeastOnce, Room::Now, &group), "it would have to wait");
    assert!(peer.offer("2", Qos::AtLeastOnce, Room::Queue, &group));
    assert_eq!(peer.rooms(), [Room::Now, Room::Full]);
    assert!(!peer.offer("3", Qos::AtLeastOnce, Room::Away, &group), "the queue is full");
    assert!(peer.offer("0", Qos::AtMostOnce, Room::Now, &group));
    assert_eq!(peer.session.load(), 2);
    assert_eq!(peer.out.take_tally(), Tally { delivered: 2, ..Tally::default() }, "a refusal is no drop");
    assert_eq!(peer.sent(), ["PUBLISH 1 q1 #1", "PUBLISH 0 q0"]);
    peer.send(puback(1)).unwrap();
    assert_eq!(peer.rooms(), [Room::Now, Room::Queue]);
    peer.session.on_closed(peer.now, Closing::Ended);
    assert_eq!(peer.rooms(), [Room::Full, Room::Away]);
    // A session that ends with its connection takes nothing for later.
    let mut passing = Peer::connected(&connect(V5, true, ConnectProperties::default()), settings);
    passing.session.on_closed(passing.now, Closing::Ended);
    assert_eq!(passing.rooms(), [Room::Full, Room::Full]);
}

/// [MQTT5-3.1.2-25]: somebody else may take what is too large for this client.
#[test]
fn what_is_too_large_is_refused_and_not_dropped() {
    let properties = ConnectProperties { packet_size_max: NonZeroU32::new(30), ..persistent() };
    let settings = Settings { inflight_max: 1, ..Settings::default() };
    let mut peer = Peer::connected(&connect(V5, true, properties), settings);
    let group = share("$share/g/a");
    let long = "x".repeat(30);
    for least in [Room::Now, Room::Queue] {
        assert!(!peer.offer(&long, Qos::AtMostOnce, least, &group));
        assert!(!peer.offer(&long, Qos::AtLeastOnce, least, &group));
        assert!(peer.offer("a", Qos::AtLeastOnce, least, &group), "{least:?}");
    }
    assert_eq!(peer.out.take_tally(), Tally { delivered: 1, ..Tally::default() });
}

/// [MQTT5-4.8.2-5]: QoS 2 that was sent is nobody else's; QoS 1 without acknowledgement and all that was never
/// sent is. What came by plain subscriptions stays.
#[test]
fn the_end_of_a_session_gives_back_what_others_may_get() {
    let properties = ConnectProperties { receive_maximum: NonZeroU16::new(5), ..persistent() };
    let mut peer = Peer::connected(&connect(V5, true, properties), Settings::default());
    let (g, h) = (share("$share/g/+"), share("$queue/+"));
    assert!(peer.offer("acknowledged", Qos::AtLeastOnce, Room::Now, &g));
    assert!(peer.offer("one", Qos::AtLeastOnce, Room::Now, &g));
    assert!(peer.offer("two", Qos::ExactlyOnce, Room::Now, &g));
    assert!(peer.offer("released", Qos::ExactlyOnce, Room::Now, &g));
    peer.deliver("plain", Qos::AtLeastOnce);
    peer.send(puback(1)).unwrap();
    assert!(peer.offer("three", Qos::AtLeastOnce, Room::Now, &h));
    peer.send(pubrec(4, ReasonCode::Success)).unwrap();
    assert!(peer.offer("four", Qos::ExactlyOnce, Room::Queue, &h));
    peer.deliver("plain", Qos::AtLeastOnce);
    assert!(peer.offer("five", Qos::AtLeastOnce, Room::Queue, &g));
    peer.session.on_closed(peer.now, Closing::Ended);
    assert_eq!(
        peer.taken(),
        ["$share/g/+ one", "$queue/+ three", "$queue/+ four", "$share/g/+ five"],
        "the oldest first"
    );
    assert_eq!(peer.session.pending(), 3, "the QoS 2 message and the two plain ones");
    assert_eq!(peer.taken(), [""; 0]);
}

/// [MQTT5-4.8.2-4]: a QoS 2 message is completed with the client that it was sent to.
#[test]
fn what_was_sent_is_completed_when_the_client_comes_back() {
    let mut peer = Peer::v5();
    let group = share("$share/g/+");
    assert!(peer.offer("one", Qos::AtLeastOnce, Room::Now, &group));
    assert!(peer.offer("two", Qos::ExactlyOnce, Room::Now, &group));
    peer.session.on_closed(peer.now, Closing::Ended);
    assert!(peer.offer("three", Qos::ExactlyOnce, Room::Away, &group));
    peer.sent();
    let waiting = peer.session.take_waiting(&group);
    assert_eq!(waiting.len(), 1, "only what was never sent");
    assert_eq!(peer.session.take_waiting(&share("$share/h/+")).len(), 0);
    let sent = peer.reconnect(&connect(V5, false, persistent()));
    assert_eq!(sent, ["PUBLISH one q1 #1 dup", "PUBLISH two q2 #2 dup"]);
}

/// [MQTT5-4.8.2-6]: what a client refuses is not for anybody else.
#[test]
fn a_refused_message_is_not_given_back() {
    let mut peer = Peer::v5();
    let group = share("$share/g/+");
    assert!(peer.offer("one", Qos::AtLeastOnce, Room::Now, &group));
    assert!(peer.offer("two", Qos::ExactlyOnce, Room::Now, &group));
    let refused = PubAck {
        packet_id: id(1),
        reason: ReasonCode::ImplementationSpecificError,
        reason_string: None,
        user: UserProperties::default(),
    };
    peer.send(Packet::PubAck(refused)).unwrap();
    peer.send(pubrec(2, ReasonCode::ImplementationSpecificError)).unwrap();
    assert_eq!(peer.taken(), [""; 0]);
}

#[derive(Clone, Debug)]
enum Step {
    Offer { qos: u8, plain: bool },
    Acknowledge,
    Reconnect,
    TakeWaiting,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..=2_u8, any::<bool>()).prop_map(|(qos, plain)| Step::Offer { qos, plain }),
        3 => Just(Step::Acknowledge),
        1 => Just(Step::Reconnect),
        1 => Just(Step::TakeWaiting),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// The room that is told is the place that a message then finds, and every acknowledged one that was taken
    /// is in exactly one place: acknowledged, given back, or still pending.
    #[test]
    fn no_message_is_lost_or_doubled(steps in steps(), window in 1..4_u16, queue in 0..4_usize) {
        let settings = Settings { queue_len_max: queue, inflight_max: window, ..Settings::default() };
        let mut peer = Peer::connected(&connect(V5, true, persistent()), settings);
        let group = share("$share/g/+");
        let (mut accepted, mut acknowledged, mut returned) = (0, 0, 0);
        let mut unacknowledged: Vec<String> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Offer { qos: 0, .. } => {
                    let expected = peer.rooms()[0] == Room::Now;
                    prop_assert_eq!(peer.offer("zero", Qos::AtMostOnce, Room::Away, &group), expected);
                }
                Step::Offer { qos, plain } => {
                    let qos = if *qos == 1 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
                    let topic = number.to_string();
                    let room = peer.rooms()[1];
                    let before = peer.session.load();
                    if *plain {
                        peer.deliver(&topic, qos);
                    } else {
                        prop_assert_eq!(peer.offer(&topic, qos, Room::Away, &group), room != Room::Full);
                    }
                    prop_assert_eq!(peer.session.load() - before, usize::from(room != Room::Full));
                    accepted += usize::from(room != Room::Full);
                }
                Step::Acknowledge => {}
                Step::Reconnect => {
                    peer.session.on_closed(peer.now, Closing::Ended);
                    unacknowledged.clear();
                    unacknowledged.extend(peer.reconnect(&connect(V5, false, persistent())));
                }
                Step::TakeWaiting => returned += peer.session.take_waiting(&group).len(),
            }
            unacknowledged.extend(peer.sent());
            unacknowledged.retain(|line| line.contains('#'));
            if matches!(step, Step::Acknowledge) && !unacknowledged.is_empty() {
                let line = unacknowledged.remove(0);
                let number = line.split('#').nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
                let number: u16 = number.parse().unwrap();
                let answer = match () {
                    () if line.starts_with("PUBREL") => pubcomp(number),
                    () if line.contains("q2") => pubrec(number, ReasonCode::Success),
                    () => puback(number),
                };
                acknowledged += usize::from(!line.contains("q2"));
                peer.send(answer).unwrap();
                unacknowledged.extend(peer.sent());
            }
            prop_assert_eq!(accepted, acknowledged + returned + peer.session.load());
        }
        peer.session.on_closed(peer.now, Closing::Ended);
        returned += peer.session.take_shared().len();
        prop_assert_eq!(accepted, acknowledged + returned + peer.session.load());
    }
}
