//! The fixed header: types, flags, the Remaining Length, and which side may send what.

use super::case::{Case, MALFORMED, PROTOCOL_ERROR, check, connected, in_all, in_older};
use crate::packets::{
    AUTH, Connect, DISCONNECT, PUBACK, PUBCOMP, PUBREC, PUBREL, Publish, SUBSCRIBE, UNSUBSCRIBE, V5, V31,
    V311, Version, packet, put_properties, put_varint, subscribe, text, unsubscribe,
};

/// A packet of each type that has fixed flags, right but for the flags that come on top.
fn with_flags(first_byte: u8, version: Version) -> Vec<u8> {
    let mut bytes = match first_byte & 0xF0 {
        0x80 => subscribe(version, 7, &[], &[("a", 0)]),
        0xA0 => unsubscribe(version, 7, &["a"]),
        0xC0 => packet(0xC0, &[]),
        0xE0 => packet(DISCONNECT, &[]),
        0xF0 => packet(AUTH, &[]),
        _ => packet(first_byte, &[0, 7]),
    };
    bytes[0] = first_byte;
    bytes
}

pub(super) fn flags() -> Vec<Case> {
    let mut cases = Vec::new();
    for first_byte in [PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, 0xC0, DISCONNECT, AUTH] {
        for bit in 0..4 {
            let wrong = first_byte ^ 1 << bit;
            let name = format!("first byte {wrong:#04x}");
            cases.push(connected(V5, &name, with_flags(wrong, V5), MALFORMED));
            cases.push(connected(V311, &name, with_flags(wrong, V311), 0));
            // In 3.1 these three may come again with DUP.
            let may_be_dup = bit == 3 && matches!(first_byte, PUBREL | SUBSCRIBE | UNSUBSCRIBE);
            if !may_be_dup {
                cases.push(connected(V31, &name, with_flags(wrong, V31), 0));
            }
        }
    }
    for first_byte in [0x00, 0x01, 0x02, 0x0F] {
        cases.extend(in_all(
            &format!("packet type 0: {first_byte:#04x}"),
            |_| packet(first_byte, &[]),
            MALFORMED,
        ));
    }
    cases
}

pub(super) fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("PUBLISH with a Remaining Length of five bytes", &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01][..]),
        ("PUBLISH with a Remaining Length that never ends", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("PINGREQ with a Remaining Length of five bytes", &[0xC0, 0x80, 0x80, 0x80, 0x80, 0x00]),
        ("CONNECT with a Remaining Length of five bytes", &[0x10, 0x80, 0x80, 0x80, 0x80, 0x01]),
        ("PINGREQ with a body", &[0xC0, 0x01, 0x00]),
        ("PINGREQ with a long body", &[0xC0, 0xFF, 0x7F]),
    ] {
        cases.extend(in_all(name, |_| bytes.to_vec(), MALFORMED));
    }
    for (name, bytes) in [
        ("PINGREQ with a Remaining Length of two bytes", vec![0xC0, 0x80, 0x00]),
        ("PUBLISH with a Remaining Length of two bytes", vec![0x30, 0x84, 0x00, 0x00, 0x01, b'a', 0x00]),
        ("PUBACK with a Remaining Length of four bytes", vec![0x40, 0x82, 0x80, 0x80, 0x00, 0x00, 0x07]),
        ("DISCONNECT with a Remaining Length of two bytes", vec![0xE0, 0x80, 0x00]),
    ] {
        cases.push(connected(V5, name, bytes, MALFORMED));
    }
    // One byte above the node's largest packet, and the largest that MQTT can announce: refused by the header.
    for length in [(1 << 20) - 3, 268_435_455] {
        for first_byte in [0x30, 0x32, SUBSCRIBE, PUBACK] {
            let mut bytes = vec![first_byte];
            put_varint(&mut bytes, length);
            cases.extend(in_all(
                &format!("{first_byte:#04x} announces {length} bytes"),
                |_| bytes.clone(),
                0x95,
            ));
        }
    }
    cases
}

pub(super) fn directions() -> Vec<Case> {
    let codes = |first_byte, version: Version| {
        let mut body = vec![0, 7];
        put_properties(&mut body, version, &[]);
        if !(first_byte == 0xB0 && version < V5) {
            body.push(0);
        }
        packet(first_byte, &body)
    };
    let connack = |version: Version| {
        let mut body = vec![0, 0];
        put_properties(&mut body, version, &[]);
        packet(0x20, &body)
    };
    [
        in_all("CONNACK from a client", connack, PROTOCOL_ERROR),
        in_all("SUBACK from a client", |version| codes(0x90, version), PROTOCOL_ERROR),
        in_all("UNSUBACK from a client", |version| codes(0xB0, version), PROTOCOL_ERROR),
        in_all("PINGRESP from a client", |_| packet(0xD0, &[]), PROTOCOL_ERROR),
        in_all("a second CONNECT", |version| Connect::new(version, "culprit").bytes(), PROTOCOL_ERROR),
        in_all(
            "a second CONNECT of another client",
            |version| Connect::new(version, "x").bytes(),
            PROTOCOL_ERROR,
        ),
        in_older("a second CONNECT, of version 5", |_| Connect::new(V5, "culprit").bytes()),
        in_older("AUTH", |_| packet(AUTH, &[])),
        in_older("AUTH with a method", |_| packet(AUTH, &[&[0x18, 7, 0x15][..], &text("none")].concat())),
        in_older("PUBACK with a reason code", |_| packet(PUBACK, &[0, 7, 0])),
        in_older("PUBREC with a reason code", |_| packet(PUBREC, &[0, 7, 0])),
        in_older("PUBREL with a reason code", |_| packet(PUBREL, &[0, 7, 0])),
        in_older("PUBCOMP with a reason code", |_| packet(PUBCOMP, &[0, 7, 0])),
        in_older("DISCONNECT with a reason code", |_| packet(DISCONNECT, &[0])),
        vec![connected(
            V5,
            "PUBLISH in the form of 3.1.1: a payload where the properties are",
            Publish::new("a", "\u{7f}").bytes(V311),
            MALFORMED,
        )],
    ]
    .concat()
}

/// [MQTT5-2.1.3-1] [MQTT5-3.6.1-1] [MQTT5-3.8.1-1] [MQTT5-3.10.1-1] [MQTT5-3.14.1-1] [MQTT5-3.15.1-1]
/// [MQTT5-4.13.1-1] [MQTT311-2.2.2-1] [MQTT311-2.2.2-2] [MQTT311-3.6.1-1] [MQTT311-3.8.1-1] [MQTT311-3.10.1-1]
/// [MQTT311-3.14.1-1] [MQTT311-4.8.0-1]
#[test]
fn flags_that_a_packet_may_not_have_end_the_connection() {
    check(&flags());
}

/// [MQTT5-1.5.5-1] [MQTT5-4.13.1-1] [MQTT5-4.13.2-1]: and what is too large is refused by its header alone.
#[test]
fn lengths_that_cannot_be_end_the_connection() {
    check(&lengths());
}

/// [MQTT5-3.1.0-2] [MQTT311-3.1.0-2] [MQTT311-4.8.0-1], and packets that only a server may send.
#[test]
fn packets_that_a_client_may_not_send_end_the_connection() {
    check(&directions());
}
