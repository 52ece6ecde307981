//! PUBLISH from a client.

use super::case::{Case, MALFORMED, PROTOCOL_ERROR, check, connected, in_all};
use super::connect_properties::broken_sections;
use crate::packets::{PUBLISH, Publish, V5, V311, packet, put_properties, text as field};
use crate::property::{self, byte, text, two, varint};

const OF_PUBLISH: [u8; 8] = [
    property::PAYLOAD_FORMAT,
    property::MESSAGE_EXPIRY,
    property::CONTENT_TYPE,
    property::RESPONSE_TOPIC,
    property::CORRELATION_DATA,
    property::SUBSCRIPTION_ID,
    property::TOPIC_ALIAS,
    property::USER,
];

pub(super) fn headers() -> Vec<Case> {
    let mut cases = Vec::new();
    for flags in [0x06, 0x07, 0x0E, 0x0F] {
        let bytes = |version| {
            let mut bytes = Publish::new("a", "x").qos(1, 7).bytes(version);
            bytes[0] = PUBLISH | flags;
            bytes
        };
        cases.extend(in_all(&format!("QoS 3, flags {flags:#x}"), bytes, MALFORMED));
    }
    cases.extend(in_all("DUP with QoS 0", |version| Publish::new("a", "x").dup().bytes(version), MALFORMED));
    let retained = |version| Publish::new("a", "x").dup().retained().bytes(version);
    cases.extend(in_all("DUP and RETAIN with QoS 0", retained, MALFORMED));
    for qos in [1, 2] {
        let zero = |version| Publish::new("a", "x").qos(qos, 0).bytes(version);
        cases.extend(in_all(&format!("QoS {qos} with Packet Identifier 0"), zero, PROTOCOL_ERROR));
    }
    // Cut off inside the topic, the identifier, the properties.
    for (name, first_byte, body) in [
        ("nothing", 0x30, Vec::new()),
        ("half a length", 0x30, vec![0]),
        ("a topic longer than the packet", 0x30, vec![0, 9, b'a']),
        ("no Packet Identifier", 0x32, field("a")),
        ("half a Packet Identifier", 0x34, [&field("a")[..], &[0]].concat()),
    ] {
        cases.extend(in_all(&format!("PUBLISH of {name}"), |_| packet(first_byte, &body), MALFORMED));
    }
    let no_properties = packet(0x30, &field("a"));
    cases.push(connected(V5, "PUBLISH without property length", no_properties, MALFORMED));
    let too_long = packet(0x30, &[&field("a")[..], &[5, 0x26, 0, 0]].concat());
    cases.push(connected(V5, "a property length beyond the packet", too_long, MALFORMED));
    for (name, length) in
        [("not minimal", &[0x80, 0x00][..]), ("of five bytes", &[0x80, 0x80, 0x80, 0x80, 0x00])]
    {
        let bytes = packet(0x30, &[&field("a")[..], length].concat());
        cases.push(connected(V5, &format!("a property length {name}"), bytes, MALFORMED));
    }
    cases
}

pub(super) fn topics() -> Vec<Case> {
    let mut cases = Vec::new();
    for topic in ["#", "+", "a/#", "a/+", "+/a", "a/+/b", "a#", "a+b", "#/a", "$share/+/a"] {
        for qos in [0, 1] {
            let bytes = |version| Publish::new(topic, "x").qos(qos, 7).bytes(version);
            cases.extend(in_all(&format!("PUBLISH to {topic} at QoS {qos}"), bytes, 0x90));
        }
    }
    for qos in [0, 1, 2] {
        let bytes = |version| Publish::new("", "x").qos(qos, 7).bytes(version);
        cases.extend(in_all(&format!("PUBLISH without topic at QoS {qos}"), bytes, PROTOCOL_ERROR));
    }
    let deep = "/".repeat(200);
    cases.extend(in_all("PUBLISH to 201 levels", |version| Publish::new(&deep, "x").bytes(version), 0x90));
    cases
}

pub(super) fn properties() -> Vec<Case> {
    let case = |name: &str, section, code| {
        let bytes = Publish::new("a", "x").property(section).bytes(V5);
        connected(V5, &format!("PUBLISH: {name}"), bytes, code)
    };
    let mut cases: Vec<Case> = broken_sections(&OF_PUBLISH)
        .into_iter()
        // A server may send several, a client none: below.
        .filter(|(name, ..)| name != "id twice")
        .map(|(name, section, code)| case(&name, section, code))
        .collect();
    let aliased =
        |topic: &str, alias| Publish::new(topic, "x").property(two(property::TOPIC_ALIAS, alias)).bytes(V5);
    cases.extend([
        case("Payload Format Indicator 2", byte(property::PAYLOAD_FORMAT, 2), PROTOCOL_ERROR),
        case("Subscription Identifier 7", varint(property::SUBSCRIPTION_ID, 7), PROTOCOL_ERROR),
        case("Subscription Identifier 0", varint(property::SUBSCRIPTION_ID, 0), PROTOCOL_ERROR),
        case("Response Topic #", text(property::RESPONSE_TOPIC, "#"), PROTOCOL_ERROR),
        case("Response Topic a/+/b", text(property::RESPONSE_TOPIC, "a/+/b"), PROTOCOL_ERROR),
        case("an empty Response Topic", text(property::RESPONSE_TOPIC, ""), PROTOCOL_ERROR),
        connected(V5, "Topic Alias 0", aliased("a", 0), 0x94),
        connected(V5, "Topic Alias 0 without topic", aliased("", 0), 0x94),
        connected(V5, "Topic Alias 17, one above the maximum", aliased("a", 17), 0x94),
        connected(V5, "Topic Alias 65535", aliased("a", 65_535), 0x94),
        connected(V5, "Topic Alias 17 without topic", aliased("", 17), 0x94),
        connected(V5, "Topic Alias 1 before it stands for anything", aliased("", 1), PROTOCOL_ERROR),
        connected(
            V5,
            "Topic Alias 2 where 1 stands for a topic",
            [aliased("a", 1), aliased("", 2)].concat(),
            PROTOCOL_ERROR,
        ),
    ]);
    let five = {
        let mut body = field("a");
        put_properties(&mut body, V5, &[property::SUBSCRIPTION_ID, 0x80, 0x80, 0x80, 0x80, 0x01]);
        packet(0x30, &body)
    };
    cases.push(connected(V5, "Subscription Identifier of five bytes", five, MALFORMED));
    // More QoS 2 messages without PUBREL than the announced 256.
    let flood: Vec<u8> = (1..=257).flat_map(|id| Publish::new("a", "x").qos(2, id).bytes(V5)).collect();
    let mut flood = connected(V5, "257 unreleased messages", flood, 0x93);
    flood.skip("PUBREC");
    cases.push(flood);
    cases
}

/// [MQTT5-2.2.1-2] [MQTT5-2.2.1-3] [MQTT5-3.3.1-2] [MQTT5-3.3.1-4] [MQTT5-3.3.2-1] [MQTT5-1.5.5-1] [MQTT5-2.2.2-1]
/// [MQTT311-2.3.1-1] [MQTT311-2.3.1-5] [MQTT311-3.3.1-2] [MQTT311-3.3.1-4] [MQTT311-3.3.2-1] [MQTT311-4.8.0-1]
#[test]
fn publish_headers_that_cannot_be_end_the_connection() {
    check(&headers());
}

/// [MQTT5-3.3.2-2] [MQTT5-4.7.0-1] [MQTT5-4.7.3-1] [MQTT311-3.3.2-2] [MQTT311-4.7.1-1] [MQTT311-4.7.3-1]
#[test]
fn what_is_no_topic_name_ends_the_connection() {
    check(&topics());
}

/// [MQTT5-3.3.2-8] [MQTT5-3.3.2-9] [MQTT5-3.3.2-14] [MQTT5-3.3.4-6] [MQTT5-3.3.4-7] and section 2.2.2.2.
#[test]
fn properties_that_publish_may_not_have_end_the_connection() {
    check(&properties());
}

/// The fixed flags of a PUBLISH are all meant: what is valid stays so.
#[test]
fn flags_that_publish_may_have_are_taken() {
    let node = crate::node::TestNode::start();
    for version in [V5, V311] {
        let mut peer = node.client(version, "peer");
        for publish in [
            Publish::new("a", "x").qos(1, 1).dup(),
            Publish::new("a", "x").qos(1, 2).dup().retained(),
            Publish::new("a", "").qos(1, 3).retained(),
        ] {
            peer.send(&publish.bytes(version));
            assert!(peer.receive().starts_with("PUBACK"), "{publish:?}");
        }
    }
}
