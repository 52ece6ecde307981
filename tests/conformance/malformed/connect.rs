//! CONNECT: what goes before it, its flags, its fields, its identifiers.

use super::case::{Case, MALFORMED, PROTOCOL_ERROR, check, first};
use crate::packets::{
    AUTH, CONNECT, Connect, DISCONNECT, PINGREQ, PUBACK, PUBREL, Publish, V5, V31, V311, Version, Will,
    packet, subscribe, text, unsubscribe,
};

/// Every field that there is.
fn full(version: Version) -> Connect {
    Connect::new(version, "culprit").will(Will::new("will", "gone", 1)).user_name("name").password(b"word")
}

pub(super) fn first_packets() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("PUBLISH", Publish::new("watched/never", "x").bytes(V311)),
        ("PUBACK", packet(PUBACK, &[0, 1])),
        ("PUBREL", packet(PUBREL, &[0, 1])),
        ("SUBSCRIBE", subscribe(V311, 1, &[], &[("watched/#", 0)])),
        ("UNSUBSCRIBE", unsubscribe(V311, 1, &["a"])),
        ("PINGREQ", PINGREQ.to_vec()),
        ("DISCONNECT", packet(DISCONNECT, &[])),
        ("AUTH", packet(AUTH, &[&[0x18, 7, 0x15][..], &text("none")].concat())),
        ("CONNACK", packet(0x20, &[0, 0, 0])),
        ("PINGRESP", packet(0xD0, &[])),
        ("packet type 0", packet(0x00, &[])),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("a TLS hello", [&[0x16, 0x03, 0x01, 0x00, 0x20][..], &[0x01; 32]].concat()),
    ]
    .map(|(name, bytes)| first(V5, &format!("{name} before CONNECT"), bytes, None))
    .to_vec();
    let mut levels = |name: &str, level, answer_in, connack| {
        let body = Connect::new(V311, "culprit").body(&text(name), level, 0x02);
        cases.push(first(answer_in, &format!("{name} level {level}"), packet(CONNECT, &body), connack));
    };
    for name in ["MQTX", "mqtt", "", "MQT", "MQTTT", "MQIsdP", "MQIsd"] {
        levels(name, 4, V5, None);
    }
    for level in [0, 1, 2, 3] {
        levels("MQTT", level, V311, Some(0x01));
    }
    for level in [6, 7, 127] {
        levels("MQTT", level, V5, Some(0x84));
    }
    for level in [0, 2, 4, 5] {
        levels("MQIsdp", level, V31, Some(0x01));
    }
    cases
}

pub(super) fn flags() -> Vec<Case> {
    let mut cases = Vec::new();
    let plain = |version| Connect::new(version, "culprit");
    for bit in 0..4 {
        for version in [V5, V311, V31] {
            let mut bytes = plain(version).bytes();
            bytes[0] ^= 1 << bit;
            cases.push(first(version, &format!("first byte {:#04x}", bytes[0]), bytes, None));
        }
    }
    for version in [V5, V311, V31] {
        let connack = |code| (version == V5).then_some(code);
        let mut case = |name: &str, connect: Connect, flags, code| {
            cases.push(first(version, name, connect.bytes_with_flags(flags), connack(code)));
        };
        case("the reserved flag", plain(version), 0x03, MALFORMED);
        case("the reserved flag with everything else", full(version), full(version).flags() | 1, MALFORMED);
        case("Will QoS 3", full(version), full(version).flags() | 0x18, MALFORMED);
        if version != V31 {
            case("Will QoS 1 without Will", plain(version), 0x0A, MALFORMED);
            case("Will QoS 2 without Will", plain(version), 0x12, MALFORMED);
            case("Will Retain without Will", plain(version), 0x22, MALFORMED);
        }
        case("a Will that is not there", plain(version), 0x06, MALFORMED);
        if version != V5 {
            case("a password without user name", plain(version).password(b"word"), 0x42, PROTOCOL_ERROR);
        }
        if version != V31 {
            case("a user name that is not there", plain(version), 0x82, MALFORMED);
            case("a password that is not there", plain(version).user_name("name"), 0xC2, MALFORMED);
        }
        case("a Will without its flag", full(version), 0xC2, MALFORMED);
        case("a user name without its flag", plain(version).user_name("name"), 0x02, MALFORMED);
        case(
            "a password without its flag",
            plain(version).user_name("name").password(b"word"),
            0x82,
            MALFORMED,
        );
    }
    cases
}

pub(super) fn fields() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in [V5, V311, V31] {
        let whole = full(version).bytes()[2..].to_vec();
        // Name and level say in which version to answer; before they are there nobody can be answered.
        let level_at = if version == V31 { 8 } else { 6 };
        // In 3.1 user name and password may be missing at the end although their flags are set.
        let optional = if version == V31 { 12 } else { 0 };
        let is_whole =
            |length: usize| optional > 0 && (length == whole.len() - 12 || length == whole.len() - 6);
        for length in (0..whole.len()).filter(|length| !is_whole(*length)) {
            let connack = (version == V5 && length > level_at).then_some(MALFORMED);
            let name = format!("the first {length} of {} bytes", whole.len());
            cases.push(first(version, &name, packet(CONNECT, &whole[..length]), connack));
        }
        let longer = [&whole[..], &[0]].concat();
        let connack = (version == V5).then_some(MALFORMED);
        cases.push(first(version, "one byte after the end", packet(CONNECT, &longer), connack));
    }
    let mut not_minimal = full(V5).bytes();
    not_minimal[1] |= 0x80;
    not_minimal.insert(2, 0);
    cases.push(first(V5, "a Remaining Length of two bytes", not_minimal, Some(MALFORMED)));
    cases
}

pub(super) fn identifiers() -> Vec<Case> {
    let long = "x".repeat(257);
    let empty_will = |version| Connect::new(version, "culprit").will(Will::new("", "gone", 0)).bytes();
    let wildcard_will =
        |version, topic| Connect::new(version, "culprit").will(Will::new(topic, "gone", 0)).bytes();
    let mut cases = vec![
        first(V31, "no identifier", Connect::new(V31, "").bytes(), Some(2)),
        first(V31, "no identifier, session kept", Connect::new(V31, "").clean(false).bytes(), Some(2)),
        first(V311, "no identifier, session kept", Connect::new(V311, "").clean(false).bytes(), Some(2)),
        first(V311, "an identifier of 257 bytes", Connect::new(V311, &long).bytes(), Some(2)),
        first(V31, "an identifier of 257 bytes", Connect::new(V31, &long).bytes(), Some(2)),
        first(V5, "an identifier of 257 bytes", Connect::new(V5, &long).bytes(), Some(0x85)),
    ];
    for version in [V5, V311, V31] {
        let connack = (version == V5).then_some(0x90);
        cases.push(first(version, "a Will without a topic", empty_will(version), connack));
        for topic in ["#", "a/#", "+", "a/+/b"] {
            let name = format!("a Will for {topic}");
            cases.push(first(version, &name, wildcard_will(version, topic), connack));
        }
    }
    cases
}

/// [MQTT5-3.1.0-1] [MQTT5-3.1.2-1] [MQTT5-3.1.2-2] [MQTT5-3.1.4-6] [MQTT5-3.2.2-7] [MQTT5-3.14.0-1] [MQTT311-3.1.0-1]
/// [MQTT311-3.1.2-1] [MQTT311-3.1.2-2] [MQTT311-3.1.4-5] [MQTT311-3.2.2-5]
#[test]
fn what_is_no_connect_of_a_known_version_ends_the_connection() {
    check(&first_packets());
}

/// [MQTT5-3.1.2-3] [MQTT5-3.1.2-9] [MQTT5-3.1.2-11] [MQTT5-3.1.2-12] [MQTT5-3.1.2-13] [MQTT5-3.1.2-16]
/// [MQTT5-3.1.2-17] [MQTT5-3.1.2-18] [MQTT5-3.1.2-19] [MQTT5-3.1.4-1] [MQTT311-3.1.2-3] [MQTT311-3.1.2-9]
/// [MQTT311-3.1.2-11] [MQTT311-3.1.2-13] [MQTT311-3.1.2-14] [MQTT311-3.1.2-15] [MQTT311-3.1.2-18] [MQTT311-3.1.2-19]
/// [MQTT311-3.1.2-20] [MQTT311-3.1.2-21] [MQTT311-3.1.2-22] [MQTT311-3.1.4-1]
#[test]
fn connect_flags_agree_with_each_other_and_with_the_fields() {
    check(&flags());
}

/// [MQTT5-3.1.3-1] [MQTT5-3.1.3-3] [MQTT5-3.1.4-1] [MQTT5-3.1.4-6] [MQTT311-3.1.3-1] [MQTT311-3.1.3-3]
/// [MQTT311-3.1.4-1] [MQTT311-3.1.4-5]
#[test]
fn a_connect_of_the_wrong_length_ends_the_connection() {
    check(&fields());
}

/// [MQTT5-3.1.3-8] [MQTT5-3.2.2-7] [MQTT5-4.7.0-1] [MQTT311-3.1.3-7] [MQTT311-3.1.3-8] [MQTT311-3.1.3-9]
/// [MQTT311-3.2.2-5] [MQTT311-3.2.2-6]: what 3.x has no return code for is closed without a word.
#[test]
fn identifiers_and_wills_that_are_not_taken_are_refused() {
    check(&identifiers());
}
