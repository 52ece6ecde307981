//! `$delayed/{seconds}/{topic}` and `$exclusive/{filter}` in a flock.

use std::time::Duration;

use crate::support::flock::Flock;
use crate::support::mqtt::{Client, Options, Version};
use crate::support::wire;

/// The node that took a message keeps it, and publishes it to all.
#[test]
fn a_delayed_message_reaches_subscribers_of_every_node() {
    let flock = Flock::start(2);
    let mut subscribers = [0, 1].map(|n| {
        let mut client =
            Client::connect(flock.nodes[n].mqtt(), &Options::new(Version::V5, &format!("sub{n}")));
        client.subscribe("later", 1);
        client
    });
    let mut publisher = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V311, "pub"));
    publisher.publish("$delayed/1/later", b"x", 1);
    publisher.disconnect();
    for client in &mut subscribers {
        let message = client.expect_message();
        assert_eq!((message.topic.as_str(), &*message.payload, message.qos), ("later", &b"x"[..], 1));
    }
}

/// A node that stops says what it loses: this state is only in memory.
#[test]
fn a_node_that_stops_says_how_many_delayed_messages_it_loses() {
    let mut flock = Flock::start(1);
    let mut publisher = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "pub"));
    for _ in 0..3 {
        publisher.publish("$delayed/3600/later", b"x", 1);
    }
    assert_eq!(flock.nodes[0].metric("flockmq_delayed"), 3.0);
    let node = &mut flock.nodes[0];
    node.terminate();
    assert!(node.wait_exit().success());
    let log = node.log();
    assert!(
        log.lines().any(|line| line.contains("delayed messages are lost") && line.contains('3')),
        "{log}"
    );
}

/// Nodes do not know each other's exclusive subscriptions, so they take none. 0x8F.
#[test]
fn exclusive_subscriptions_are_refused_in_a_flock() {
    let flock = Flock::start(2);
    let mut client = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "client"));
    let mut body = 7_u16.to_be_bytes().to_vec();
    wire::properties(&mut body, Version::V5, &[]);
    wire::string(&mut body, "$exclusive/a");
    body.push(0);
    client.send(&wire::packet(wire::SUBSCRIBE, &body));
    let suback = client.next_packet(Duration::from_secs(20)).expect("an answer");
    assert_eq!((suback.kind(), suback.body.last()), (wire::SUBACK, Some(&0x8F)));
}
