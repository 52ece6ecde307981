//! Subscriptions as the cluster sees them: SUBACK means reachable, one copy per node, routes end with their
//! last subscription; and what travels arrives unaltered.

use crate::support::flock::Flock;
use crate::support::inbox::Properties;
use crate::support::mqtt::{Client, Options, Version};
use crate::support::node::Node;
use crate::support::{PATIENCE, wait_until};

const ROUNDS: usize = 1_000;

#[test]
fn a_publish_elsewhere_right_after_suback_arrives_in_each_of_1000_rounds() {
    let flock = Flock::start(3);
    let mut publishers: Vec<Client> = connect_everywhere(&flock, "publisher", Version::V311);
    let mut subscribers: Vec<Client> = connect_everywhere(&flock, "subscriber", Version::V5);
    for round in 0..ROUNDS {
        let at = round % 3;
        let from = (at + 1 + round / 3 % 2) % 3;
        let (filter, topic) = match round % 4 {
            0 => (format!("round/{round}/+"), format!("round/{round}/x")),
            1 => (format!("round/{round}/#"), format!("round/{round}")),
            _ => (format!("round/{round}"), format!("round/{round}")),
        };
        subscribers[at].subscribe(&filter, 1);
        publishers[from].publish(&topic, round.to_string().as_bytes(), 0);
        let message = subscribers[at].message(PATIENCE);
        let message = message.unwrap_or_else(|| {
            panic!("round {round}: a publish at node {from} after SUBACK at node {at} was lost")
        });
        assert_eq!((message.topic, message.payload), (topic, round.to_string().into_bytes()));
        if round % 2 == 0 {
            subscribers[at].unsubscribe(&filter);
        }
    }
    flock.wait_converged(3);
    let timeouts: f64 =
        flock.nodes.iter().map(|node| node.metric("flockmq_cluster_suback_timeouts_total")).sum();
    assert!(timeouts < 1.0, "{timeouts} SUBACKs did not wait for every live peer");
}

fn connect_everywhere(flock: &Flock, name: &str, version: Version) -> Vec<Client> {
    flock.nodes.iter().map(|node| Client::connect(node.mqtt(), &Options::new(version, name))).collect()
}

/// Copies that a node sent to peers and received from peers.
fn traffic(node: &Node) -> (f64, f64) {
    (node.metric("flockmq_messages_forwarded_total"), node.metric("flockmq_messages_from_peers_total"))
}

#[test]
fn overlapping_subscriptions_on_one_node_cost_one_copy_on_the_link() {
    const MESSAGES: usize = 10;
    let flock = Flock::start(3);
    let [here, there, elsewhere] = [0, 1, 2].map(|n| &flock.nodes[n]);
    let mut both = Client::connect(there.mqtt(), &Options::new(Version::V311, "both"));
    both.subscribe("a/+", 1);
    both.subscribe("a/b", 0);
    let mut all = Client::connect(there.mqtt(), &Options::new(Version::V5, "all"));
    all.subscribe("a/#", 2);
    all.subscribe("end", 1);
    let before = [traffic(here), traffic(there), traffic(elsewhere)];

    let mut publisher = Client::connect(here.mqtt(), &Options::new(Version::V5, "publisher"));
    for n in 0..MESSAGES {
        publisher.publish("a/b", n.to_string().as_bytes(), 1);
    }
    publisher.publish("end", b"", 1);

    let payloads: Vec<Vec<u8>> = all.messages_before("end").into_iter().map(|m| m.payload).collect();
    let expected: Vec<Vec<u8>> = (0..MESSAGES).map(|n| n.to_string().into_bytes()).collect();
    assert_eq!(payloads, expected, "one copy of each message in order");

    let copies = (MESSAGES + 1) as f64;
    let what = "one copy for each message leaves the publisher's node and arrives at the subscribers'";
    wait_until(
        what,
        PATIENCE,
        || {
            let after = [traffic(here), traffic(there), traffic(elsewhere)];
            [0, 1, 2].map(|n| (after[n].0 - before[n].0, after[n].1 - before[n].1))
        },
        |grown| *grown == [(copies, 0.0), (0.0, copies), (0.0, 0.0)],
    );
}

#[test]
fn a_route_lives_as_long_as_its_last_subscription() {
    let flock = Flock::start(3);
    let home = flock.nodes[1].mqtt();
    let mut first = Client::connect(home, &Options::new(Version::V5, "first"));
    let mut second = Client::connect(home, &Options::new(Version::V311, "second"));
    first.subscribe("shed/+/door", 1);
    second.subscribe("shed/+/door", 0);
    flock.wait_route("shed/+/door", &["node2"]);

    let mut third = Client::connect(flock.nodes[2].mqtt(), &Options::new(Version::V311, "at the third node"));
    third.subscribe("shed/+/door", 1);
    flock.wait_route("shed/+/door", &["node2", "node3"]);
    third.disconnect();
    flock.wait_route("shed/+/door", &["node2"]);

    first.unsubscribe("shed/+/door");
    // The proof that the route stayed: a message still takes it.
    let mut publisher = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "publisher"));
    publisher.publish("shed/7/door", b"open", 1);
    assert_eq!(second.expect_message().payload, b"open");
    flock.wait_route("shed/+/door", &["node2"]);

    second.unsubscribe("shed/+/door");
    flock.wait_route("shed/+/door", &[]);
    flock.wait_converged(3);
}

#[test]
fn a_client_that_dies_takes_its_routes_along() {
    let flock = Flock::start(2);
    let mut client = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "mortal"));
    client.subscribe("only/mine", 1);
    flock.wait_route("only/mine", &["node1"]);
    client.die();
    flock.wait_route("only/mine", &[]);
}

/// Sizes at which the length fields grow, and one that does not fit a single read or segment.
const SIZES: [usize; 8] = [0, 1, 120, 127, 128, 16_383, 16_384, 300_000];

#[test]
fn payloads_of_every_size_travel_unaltered_at_every_qos() {
    let flock = Flock::start(2);
    for version in Version::ALL {
        let mut subscriber = Client::connect(flock.nodes[1].mqtt(), &Options::new(version, "sizes"));
        subscriber.subscribe("sizes/#", 2);
        let mut publisher = Client::connect(flock.nodes[0].mqtt(), &Options::new(version, "sizes-publisher"));
        for qos in 0..=2 {
            for size in SIZES {
                let payload: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
                let topic = format!("sizes/{qos}/{size}");
                publisher.publish(&topic, &payload, qos);
                let message = subscriber.expect_message();
                assert_eq!((message.topic.as_str(), message.qos), (topic.as_str(), qos));
                assert!(message.payload == payload, "{size} bytes at QoS {qos} arrived altered");
            }
        }
        subscriber.disconnect();
    }
}

/// [MQTT5-3.3.2-4], [MQTT5-3.3.2-15], [MQTT5-3.3.2-16], [MQTT5-3.3.2-17], [MQTT5-3.3.2-20]: properties are sent on
/// unaltered; [MQTT5-3.3.2-18]: user properties in order, a name given twice included.
#[test]
fn properties_travel_unaltered_and_in_order() {
    let flock = Flock::start(2);
    let mut subscriber = Client::connect(flock.nodes[1].mqtt(), &Options::new(Version::V5, "reader"));
    subscriber.subscribe("letters", 2);
    let mut old_subscriber = Client::connect(flock.nodes[1].mqtt(), &Options::new(Version::V31, "old"));
    old_subscriber.subscribe("letters", 2);
    let mut publisher = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "writer"));
    let pairs = [("z", "1"), ("a", "2"), ("z", "3"), ("", ""), ("z", "1")];
    let user = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let properties = Properties { user, ..Properties::one_of_each("letter") };
    for qos in 0..=2 {
        publisher.publish_with("letters", b"Dear", qos, &properties);
        let message = subscriber.expect_message();
        assert!(properties.arrived_as(&message.properties), "{properties:?} arrived as {message:?}");
        assert_eq!((message.payload.as_slice(), message.qos), (b"Dear".as_slice(), qos));
        let message = old_subscriber.expect_message();
        assert_eq!((message.payload.as_slice(), message.qos), (b"Dear".as_slice(), qos));
    }
}

/// The lower of the two QoS is the QoS of delivery [MQTT5-3.8.4-8], whatever the versions on either side.
#[test]
fn versions_mix_and_the_lower_qos_counts() {
    let flock = Flock::start(2);
    for publisher_version in Version::ALL {
        for subscriber_version in Version::ALL {
            let options = Options::new(publisher_version, "mixing-publisher");
            let mut publisher = Client::connect(flock.nodes[0].mqtt(), &options);
            for granted in 0..=2 {
                let options = Options::new(subscriber_version, "mixing-subscriber");
                let mut subscriber = Client::connect(flock.nodes[1].mqtt(), &options);
                subscriber.subscribe("mix", granted);
                for qos in 0..=2 {
                    publisher.publish("mix", &[qos, granted], qos);
                    let message = subscriber.expect_message();
                    assert_eq!(
                        (message.payload.as_slice(), message.qos),
                        (&[qos, granted][..], qos.min(granted))
                    );
                }
                subscriber.disconnect();
            }
            publisher.disconnect();
        }
    }
}
