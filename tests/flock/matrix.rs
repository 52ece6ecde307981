//! Every ordered pair of three nodes, every MQTT version, every QoS, every family of clients on either side:
//! what is published at one node arrives exactly once at the other, unaltered.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::support::PATIENCE;
use crate::support::clients::Family;
use crate::support::driver::Driver;
use crate::support::flock::Flock;
use crate::support::inbox::{Message, Properties};
use crate::support::mosquitto::Mosquitto;
use crate::support::mqtt::Version;

const QOS_ALL: [u8; 3] = [0, 1, 2];

/// Ends each conversation: what had to come has come before it.
const SENTINEL: &str = "the end";

#[test]
fn mqtt_3_1_messages_arrive_exactly_once_at_every_other_node() {
    check_every_pair(Version::V31);
}

#[test]
fn mqtt_3_1_1_messages_arrive_exactly_once_at_every_other_node() {
    check_every_pair(Version::V311);
}

#[test]
fn mqtt_5_messages_arrive_exactly_once_at_every_other_node() {
    check_every_pair(Version::V5);
}

fn check_every_pair(version: Version) {
    let flock = Flock::start(3);
    let nodes: Vec<SocketAddr> = flock.nodes.iter().map(|node| node.mqtt()).collect();
    check_between(&nodes, version);
}

/// One published message and how it must look on arrival.
struct Sent {
    payload: String,
    qos: u8,
    properties: Properties,
}

fn check_between(nodes: &[SocketAddr], version: Version) {
    let mut families: Vec<Box<dyn Family>> =
        vec![Box::<Mosquitto>::default(), Box::new(Driver::paho()), Box::new(Driver::mqttjs())];
    for family in &mut families {
        for (to, &node) in nodes.iter().enumerate() {
            // QoS 2 is the most a subscriber can take, so that messages keep the QoS of their PUBLISH.
            let name = subscriber(family.name(), to);
            family.subscribe(&name, node, version, &format!("to/{to}/#"), 2);
        }
    }

    let mut sent: BTreeMap<String, Sent> = BTreeMap::new();
    for (from, &node) in nodes.iter().enumerate() {
        for to in (0..nodes.len()).filter(|&to| to != from) {
            for qos in QOS_ALL {
                for family in &mut families {
                    let mark = format!("{}-{from}-{qos}", family.name());
                    let topic = format!("to/{to}/{mark}");
                    let payload = format!("Grüße \"{mark}\" → {to}");
                    let properties = match version {
                        Version::V5 => Properties::one_of_each(&mark),
                        Version::V31 | Version::V311 => Properties::default(),
                    };
                    family.publish(node, version, &topic, &[&payload, SENTINEL], qos, &properties);
                    sent.insert(topic, Sent { payload, qos, properties });
                }
            }
        }
    }

    for family in &families {
        for to in 0..nodes.len() {
            check_received(&**family, to, &sent);
        }
    }
}

fn subscriber(family: &str, to: usize) -> String {
    format!("{family}-subscriber-{to}")
}

fn check_received(family: &dyn Family, to: usize, sent: &BTreeMap<String, Sent>) {
    let prefix = format!("to/{to}/");
    let expected: Vec<(&String, &Sent)> =
        sent.iter().filter(|(topic, _)| topic.starts_with(&prefix)).collect();
    let name = subscriber(family.name(), to);
    let received = family.received(&name, 2 * expected.len(), PATIENCE);
    let mut by_topic: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
    for message in &received {
        by_topic.entry(&message.topic).or_default().push(message);
    }
    for (topic, sent) in &expected {
        let messages = by_topic.remove(topic.as_str()).unwrap_or_default();
        let payloads: Vec<String> =
            messages.iter().map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect();
        assert_eq!(payloads, [sent.payload.as_str(), SENTINEL], "what {name} received on {topic}");
        for message in messages {
            assert_eq!(message.qos, sent.qos, "the QoS at {name}: {message:?}");
            assert!(!message.retain, "an established subscription gets live messages as such: {message:?}");
            let arrived = sent.properties.arrived_as(&message.properties);
            assert!(arrived, "{name} sent {:?} and received {message:?}", sent.properties);
        }
    }
    assert!(by_topic.is_empty(), "{name} received what nobody sent to it: {by_topic:?}");
}
