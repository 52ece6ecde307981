//! SUBSCRIBE and UNSUBSCRIBE from a client.

use super::case::{Case, MALFORMED, PROTOCOL_ERROR, check, connected, in_all, in_older};
use super::connect_properties::broken_sections;
use crate::packets::{
    SUBSCRIBE, UNSUBSCRIBE, V5, V311, Version, packet, put_properties, subscribe as bytes_of, text,
};
use crate::property::{SUBSCRIPTION_ID, USER, varint};

/// Identifier and properties, and what is to follow.
fn body(version: Version, packet_id: u16, rest: &[u8]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    put_properties(&mut body, version, &[]);
    body.extend_from_slice(rest);
    body
}

/// What is wrong with both packets alike.
fn in_both(name: &str, first_byte: u8, options: &[u8]) -> Vec<Case> {
    let of = |what: &str| format!("{name} {what}");
    let rest = |filter: &[u8]| [filter, options].concat();
    let with = |rest: Vec<u8>| move |version| packet(first_byte, &body(version, 7, &rest));
    let mut cases = [
        in_all(&of("without a body"), |_| packet(first_byte, &[]), MALFORMED),
        in_all(&of("of one byte"), |_| packet(first_byte, &[0]), MALFORMED),
        in_all(
            &of("for identifier 0"),
            |v| packet(first_byte, &body(v, 0, &rest(&text("a")))),
            PROTOCOL_ERROR,
        ),
        in_all(&of("without a filter"), with(Vec::new()), PROTOCOL_ERROR),
        in_all(&of("with half a length"), with(vec![0]), MALFORMED),
        in_all(&of("with a filter longer than the packet"), with(vec![0, 9, b'a']), MALFORMED),
        in_all(
            &of("with half a second filter"),
            with([&rest(&text("a"))[..], &[0, 9, b'a']].concat()),
            MALFORMED,
        ),
    ]
    .concat();
    let mut v5 = |what: &str, section: &[u8], code| {
        let mut body = vec![0, 7];
        put_properties(&mut body, V5, section);
        body.extend(rest(&text("a")));
        cases.push(connected(V5, &of(what), packet(first_byte, &body), code));
    };
    let allowed: &[u8] = if first_byte == SUBSCRIBE { &[SUBSCRIPTION_ID, USER] } else { &[USER] };
    for (what, section, code) in broken_sections(allowed) {
        v5(&format!("with {what}"), &section, code);
    }
    let no_length = packet(first_byte, &[0, 7]);
    cases.push(connected(V5, &of("without property length"), no_length, MALFORMED));
    let too_long = packet(first_byte, &[&[0, 7, 0x7F][..], &rest(&text("a"))].concat());
    cases.push(connected(V5, &of("with a property length beyond the packet"), too_long, MALFORMED));
    cases
}

pub(super) fn subscribe() -> Vec<Case> {
    let mut cases = in_both("SUBSCRIBE", SUBSCRIBE, &[0]);
    let no_options = |version| packet(SUBSCRIBE, &body(version, 7, &text("a")));
    cases.extend(in_all("SUBSCRIBE without options", no_options, MALFORMED));
    for options in [0x40, 0x80, 0xC0, 0x41] {
        let name = format!("SUBSCRIBE with reserved bits {options:#04x}");
        cases.push(connected(V5, &name, bytes_of(V5, 7, &[], &[("a", options)]), MALFORMED));
    }
    for options in [0x03, 0x07, 0x0B] {
        let name = format!("SUBSCRIBE with QoS 3 in {options:#04x}");
        cases.push(connected(V5, &name, bytes_of(V5, 7, &[], &[("a", options)]), PROTOCOL_ERROR));
    }
    for options in [0x30, 0x31, 0x3E] {
        let name = format!("SUBSCRIBE with Retain Handling 3 in {options:#04x}");
        cases.push(connected(V5, &name, bytes_of(V5, 7, &[], &[("a", options)]), PROTOCOL_ERROR));
    }
    for options in [0x03, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80] {
        let bytes = |version| bytes_of(version, 7, &[], &[("a", options)]);
        cases.extend(in_older(&format!("SUBSCRIBE with options {options:#04x}"), bytes));
    }
    // A bad second filter spoils the packet.
    let second = |version| bytes_of(version, 7, &[], &[("a", 0), ("b", 0x03)]);
    cases.extend(in_all("SUBSCRIBE with QoS 3 for the second filter", second, PROTOCOL_ERROR));
    for (name, section, code) in [
        ("Subscription Identifier 0", varint(SUBSCRIPTION_ID, 0), PROTOCOL_ERROR),
        (
            "Subscription Identifier of five bytes",
            vec![SUBSCRIPTION_ID, 0x80, 0x80, 0x80, 0x80, 1],
            MALFORMED,
        ),
        ("Subscription Identifier that is not minimal", vec![SUBSCRIPTION_ID, 0x81, 0x00], MALFORMED),
    ] {
        cases.push(connected(
            V5,
            &format!("SUBSCRIBE with {name}"),
            bytes_of(V5, 7, &section, &[("a", 0)]),
            code,
        ));
    }
    for share in ["$share/g/a", "$share/group/#"] {
        let name = format!("No Local on {share}");
        cases.push(connected(V5, &name, bytes_of(V5, 7, &[], &[(share, 0x04)]), PROTOCOL_ERROR));
    }
    cases
}

pub(super) fn unsubscribe() -> Vec<Case> {
    let mut cases = in_both("UNSUBSCRIBE", UNSUBSCRIBE, &[]);
    let options = packet(UNSUBSCRIBE, &body(V311, 7, &[&text("a")[..], &[0]].concat()));
    cases.extend(in_older("UNSUBSCRIBE with options", |_| options.clone()));
    cases
}

/// [MQTT5-3.8.3-2] [MQTT5-3.8.3-4] [MQTT5-3.8.3-5] [MQTT5-1.5.5-1] [MQTT311-2.3.1-1] [MQTT311-3.8.3-3]
/// [MQTT311-3.8.3-4]
#[test]
fn subscribes_that_cannot_be_end_the_connection() {
    check(&subscribe());
}

/// [MQTT5-3.10.3-2] [MQTT311-2.3.1-1] [MQTT311-3.10.3-2]
#[test]
fn unsubscribes_that_cannot_be_end_the_connection() {
    check(&unsubscribe());
}
