//! The properties of CONNECT and of its Will.

use super::case::{Case, MALFORMED, PROTOCOL_ERROR, check, first};
use crate::packets::{CONNECT, Connect, V5, Will, packet};
use crate::property::{self, ALL, binary, byte, four, sample, text, two};

const OF_CONNECT: [u8; 9] = [
    property::SESSION_EXPIRY,
    property::AUTH_METHOD,
    property::AUTH_DATA,
    property::REQUEST_PROBLEM,
    property::REQUEST_RESPONSE,
    property::RECEIVE_MAXIMUM,
    property::TOPIC_ALIAS_MAXIMUM,
    property::USER,
    property::PACKET_SIZE_MAX,
];

const OF_WILL: [u8; 7] = [
    property::PAYLOAD_FORMAT,
    property::MESSAGE_EXPIRY,
    property::CONTENT_TYPE,
    property::RESPONSE_TOPIC,
    property::CORRELATION_DATA,
    property::WILL_DELAY,
    property::USER,
];

/// What no property section may be, whatever packet it is in: name, bytes, reason code.
pub(super) fn broken_sections(allowed: &[u8]) -> Vec<(String, Vec<u8>, u8)> {
    let mut sections = Vec::new();
    for (id, kind, name) in ALL {
        let one = sample(id, kind);
        if !allowed.contains(&id) {
            sections.push((format!("{name}, which does not belong here"), one, MALFORMED));
        } else if id != property::USER {
            sections.push((format!("{name} twice"), [&one[..], &one].concat(), PROTOCOL_ERROR));
        }
    }
    for id in [0x00, 0x04, 0x0A, 0x14, 0x20, 0x2B, 0x7F] {
        sections.push((format!("property {id:#04x}, which does not exist"), vec![id, 0], MALFORMED));
    }
    sections.push(("a property identifier of two bytes".to_owned(), vec![0xA6, 0x00, 0, 0, 0, 0], MALFORMED));
    for (id, kind, name) in ALL {
        if allowed.contains(&id) {
            let mut short = sample(id, kind);
            short.pop();
            sections.push((format!("{name} without its last byte"), short, MALFORMED));
        }
    }
    sections
}

/// A CONNECT with that property section.
fn with(section: Vec<u8>) -> Vec<u8> {
    Connect::new(V5, "culprit").property(section).bytes()
}

pub(super) fn connect() -> Vec<Case> {
    let case = |name: &str, section, code| first(V5, &format!("CONNECT: {name}"), with(section), Some(code));
    let mut cases: Vec<Case> = broken_sections(&OF_CONNECT)
        .into_iter()
        // Data without a method is an error of its own.
        .filter(|(name, ..)| name != "auth-data twice")
        .map(|(name, section, code)| case(&name, section, code))
        .collect();
    cases.extend([
        case("Receive Maximum 0", two(property::RECEIVE_MAXIMUM, 0), PROTOCOL_ERROR),
        case("Maximum Packet Size 0", four(property::PACKET_SIZE_MAX, 0), PROTOCOL_ERROR),
        case("Request Problem Information 2", byte(property::REQUEST_PROBLEM, 2), PROTOCOL_ERROR),
        case("Request Response Information 2", byte(property::REQUEST_RESPONSE, 2), PROTOCOL_ERROR),
        case("Authentication Data without a method", binary(property::AUTH_DATA, b"x"), PROTOCOL_ERROR),
        case("an unknown Authentication Method", text(property::AUTH_METHOD, "NONE-SUCH"), 0x8C),
    ]);
    // The length of the section: too long for the packet, of five bytes, not minimal.
    let whole = with(Vec::new())[2..].to_vec();
    let length_at = 10;
    let with_length = |length: &[u8]| {
        let (before, after) = (&whole[..length_at], &whole[length_at + 1..]);
        packet(CONNECT, &[before, length, after].concat())
    };
    for (name, length) in [
        ("a property length beyond the packet", &[0x7F][..]),
        ("a property length that takes in the identifier", &[0x03]),
        ("a property length of five bytes", &[0x80, 0x80, 0x80, 0x80, 0x01]),
        ("a property length that is not minimal", &[0x80, 0x00]),
    ] {
        cases.push(first(V5, &format!("CONNECT: {name}"), with_length(length), Some(MALFORMED)));
    }
    cases
}

pub(super) fn will() -> Vec<Case> {
    let case = |name: &str, section, code| {
        let connect = Connect::new(V5, "culprit").will(Will::new("will", "gone", 0).property(section));
        first(V5, &format!("Will: {name}"), connect.bytes(), Some(code))
    };
    let mut cases: Vec<Case> = broken_sections(&OF_WILL)
        .into_iter()
        .map(|(name, section, code)| case(&name, section, code))
        .collect();
    cases.push(case("Payload Format Indicator 2", byte(property::PAYLOAD_FORMAT, 2), PROTOCOL_ERROR));
    for topic in ["#", "a/+", ""] {
        let response = text(property::RESPONSE_TOPIC, topic);
        cases.push(case(&format!("Response Topic {topic:?}"), response, PROTOCOL_ERROR));
    }
    cases
}

/// [MQTT5-1.5.5-1] [MQTT5-2.2.2-1] [MQTT5-3.1.4-1] [MQTT5-3.2.2-7] [MQTT5-4.12.0-1] and section 2.2.2.2: an identifier
/// that does not belong to the packet is malformed, one that comes twice a protocol error.
#[test]
fn properties_that_connect_may_not_have_refuse_it() {
    check(&connect());
}

/// [MQTT5-3.1.4-1] [MQTT5-3.3.2-14] and section 3.1.3.2.
#[test]
fn properties_that_a_will_may_not_have_refuse_it() {
    check(&will());
}
