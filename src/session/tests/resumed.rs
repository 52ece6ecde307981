//! A session that goes on under the limits of another listener.

use super::*;

impl Peer {
    /// Comes back through a listener with these limits; what is sent behind the CONNACK.
    fn move_to(&mut self, settings: Settings) -> Vec<String> {
        self.session.on_closed(self.now, Closing::Ended);
        self.settings = Arc::new(settings);
        self.reconnect(&connect(V5, false, persistent()))
    }
}

/// Bytes of a message that [`Peer::deliver`] makes.
fn bytes_of_one() -> usize {
    let publication = Publication {
        topic: TopicRef::parse("a").unwrap(),
        payload: b"payload",
        qos: Qos::AtLeastOnce,
        retain: false,
        properties: &[],
        expires_at: None,
        publisher: None,
    };
    Copies::new(publication, crate::net::clock::now(), 1).message().bytes()
}

/// What exceeds a smaller queue is dropped by the rule of the listener that has it, and counted.
#[test]
fn a_queue_is_cut_to_the_new_limits() {
    let narrow = Settings { inflight_max: 1, ..Settings::default() };
    let by_len = Settings { queue_len_max: 2, ..narrow.clone() };
    let by_bytes = Settings { queue_bytes_max: 3 * bytes_of_one() - 1, ..narrow.clone() };
    let nothing = Settings { queue_len_max: 0, ..narrow.clone() };
    let check = |settings: &Settings, drops_oldest, expected: &[&str]| {
        let mut peer = Peer::v5();
        peer.session.on_closed(peer.now, Closing::Ended);
        for topic in ["a", "b", "c", "d", "e", "f"] {
            peer.deliver(topic, Qos::AtLeastOnce);
        }
        let mut got = peer.move_to(Settings { queue_drops_oldest: drops_oldest, ..settings.clone() });
        let tally = peer.out.take_tally();
        assert_eq!((tally.delivered, tally.queue_full), (1, 6 - expected.len() as u32));
        assert_eq!(peer.session.pending(), expected.len());
        for number in 1..=6 {
            peer.send(puback(number)).unwrap();
        }
        got.extend(peer.sent());
        let topics: Vec<&str> = got.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(topics, expected, "{settings:?}");
    };
    check(&narrow, false, &["a", "b", "c", "d", "e", "f"]);
    check(&by_len, false, &["a", "b", "c"]);
    check(&by_len, true, &["a", "e", "f"]);
    check(&by_bytes, false, &["a", "b", "c"]);
    check(&by_bytes, true, &["a", "e", "f"]);
    check(&nothing, false, &["a"]);
}

/// The queue of a client that is away is that of its last listener.
#[test]
fn a_client_that_is_away_keeps_the_limits_that_it_had() {
    let mut peer = Peer::v5();
    peer.move_to(Settings { queue_len_max: 1, ..Settings::default() });
    peer.session.on_closed(peer.now, Closing::Ended);
    peer.deliver("a", Qos::AtLeastOnce);
    peer.deliver("b", Qos::AtLeastOnce);
    assert_eq!(peer.out.take_tally().queue_full, 1);
    assert_eq!(peer.move_to(Settings::default()), ["PUBLISH a q1 #1"]);
}

/// Section 4.9: each connection opens the client's window anew; [MQTT5-4.3.3-10]: what was published is known still.
#[test]
fn identifiers_of_earlier_connections_take_nothing_of_the_window() {
    let mut peer = Peer::v5();
    let publish = |number| Packet::Publish(publish("a", Qos::ExactlyOnce, Some(number)));
    let publish_new = |peer: &mut Peer, number| {
        assert_eq!(names(&peer.send(publish(number))), "publish");
        peer.session.on_published(id(number), Qos::ExactlyOnce, ReasonCode::Success, &mut peer.out);
    };
    (1..=3).for_each(|number| publish_new(&mut peer, number));
    peer.move_to(Settings { receive_maximum: 2, ..Settings::default() });
    (4..=5).for_each(|number| publish_new(&mut peer, number));
    peer.sent();
    assert!(matches!(peer.send(publish(1)), Ok(Request::None)));
    assert_eq!(peer.sent(), ["PUBREC #1 Success"]);
    // Its PUBREL ends it and gives no place back that it did not have.
    peer.send(pubrel(1)).unwrap();
    assert_eq!(peer.sent(), ["PUBCOMP #1 Success"]);
    assert_eq!(peer.send(publish(6)).map(|_| ()), Err(ReasonCode::ReceiveMaximumExceeded));
}
