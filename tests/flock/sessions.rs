//! Sessions as clients see them on one node of a flock.

use std::time::Duration;

use crate::support::flock::Flock;
use crate::support::mqtt::{Client, Options, Version};

#[test]
fn messages_published_elsewhere_while_a_persistent_client_is_away_arrive_when_it_returns() {
    const MESSAGES: u8 = 20;
    let flock = Flock::start(2);
    for version in Version::ALL {
        let name = format!("traveller {}", version.name());
        let options = Options::new(version, &name).persistent();
        let mut client = Client::connect(flock.nodes[1].mqtt(), &options);
        assert!(!client.session_present);
        client.subscribe("post/#", 2);
        client.disconnect();

        let mut publisher = Client::connect(flock.nodes[0].mqtt(), &Options::new(version, "post office"));
        for n in 0..MESSAGES {
            publisher.publish("post/letter", &[n], 1 + n % 2);
        }

        let mut client = Client::connect(flock.nodes[1].mqtt(), &options);
        // Before 3.1.1 a CONNACK cannot say that there is a session.
        assert_eq!(client.session_present, version != Version::V31, "{version:?}: the session was kept");
        publisher.publish("post/end", b"", 1);
        let received: Vec<(u8, u8)> =
            client.messages_before("post/end").into_iter().map(|m| (m.payload[0], m.qos)).collect();
        let expected: Vec<(u8, u8)> = (0..MESSAGES).map(|n| (n, 1 + n % 2)).collect();
        assert_eq!(received, expected, "{version:?}: every message once and in order");
        client.disconnect();

        // Clean Start discards the session [MQTT5-3.1.2-4].
        let clean = Client::connect(flock.nodes[1].mqtt(), &Options::new(version, &name));
        assert!(!clean.session_present);
        clean.disconnect();
    }
    flock.wait_route("post/#", &[]);
}

/// [MQTT5-3.1.2-22]: within one and a half times the Keep Alive without a packet, the server closes.
#[test]
fn a_client_that_says_nothing_for_too_long_is_closed() {
    const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
    let flock = Flock::start(1);
    for version in Version::ALL {
        let mut silent =
            Client::connect(flock.nodes[0].mqtt(), &Options::new(version, "silent").keep_alive(1));
        silent.ping();
        assert!(silent.wait_closed(Duration::from_secs(20)), "{version:?}: the connection is closed");
        let expected = (version == Version::V5).then_some(KEEP_ALIVE_TIMEOUT);
        assert_eq!(silent.disconnect_reason, expected, "{version:?}");
    }
}

/// [MQTT5-3.1.4-3], [MQTT311-3.1.4-2]: a second CONNECT with the Client Identifier closes the first connection.
#[test]
fn a_client_identifier_belongs_to_one_connection() {
    const SESSION_TAKEN_OVER: u8 = 0x8E;
    let flock = Flock::start(1);
    for version in Version::ALL {
        let mut first = Client::connect(flock.nodes[0].mqtt(), &Options::new(version, "one"));
        let mut second = Client::connect(flock.nodes[0].mqtt(), &Options::new(version, "one"));
        assert!(first.wait_closed(Duration::from_secs(20)), "{version:?}: the first is closed");
        let expected = (version == Version::V5).then_some(SESSION_TAKEN_OVER);
        assert_eq!(first.disconnect_reason, expected, "{version:?}");
        second.ping();
    }
}
