//! Texts that are not UTF-8, or contain U+0000, in every field that is a text.

use super::case::{Case, MALFORMED, check, connected, first, in_all};
use crate::packets::{
    CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, V5, V311, Version, packet, put_binary, put_properties,
    put_text, text,
};
use crate::property::{CONTENT_TYPE, REASON_STRING, RESPONSE_TOPIC, USER};

/// What no text may be.
const BROKEN: [(&str, &[u8]); 10] = [
    ("a lone continuation byte", b"a\x80b"),
    ("the byte FF", b"a\xFFb"),
    ("a sequence that is cut off", b"a\xE2\x82"),
    ("an overlong slash", b"a\xC0\xAFb"),
    ("an overlong U+0000", b"a\xC0\x80b"),
    ("the surrogate U+D800", b"a\xED\xA0\x80b"),
    ("the surrogate U+DFFF", b"a\xED\xBF\xBFb"),
    ("a pair of surrogates", b"\xED\xA0\xBD\xED\xB8\x80"),
    ("U+110000", b"a\xF4\x90\x80\x80b"),
    ("U+0000", b"a\0b"),
];

fn connect(version: Version, client_id: &[u8], will_topic: &[u8], user_name: &[u8]) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend_from_slice(&[if version == V5 { 5 } else { 4 }, 0x86, 0, 0]);
    put_properties(&mut body, version, &[]);
    put_binary(&mut body, client_id);
    put_properties(&mut body, version, &[]);
    put_binary(&mut body, will_topic);
    put_text(&mut body, "gone");
    put_binary(&mut body, user_name);
    packet(CONNECT, &body)
}

fn property(id: u8, value: &[u8]) -> Vec<u8> {
    let mut property = vec![id];
    put_binary(&mut property, value);
    property
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, broken) in BROKEN {
        for version in [V5, V311] {
            let connack = (version == V5).then_some(MALFORMED);
            for (field, bytes) in [
                ("Client Identifier", connect(version, broken, b"will", b"name")),
                ("Will Topic", connect(version, b"culprit", broken, b"name")),
                ("user name", connect(version, b"culprit", b"will", broken)),
            ] {
                cases.push(first(version, &format!("{field} with {name}"), bytes, connack));
            }
        }
        let mut filter = Vec::new();
        put_binary(&mut filter, broken);
        let request = |first_byte, options: &'static [u8]| {
            let filter = filter.clone();
            move |version| {
                let mut body = vec![0, 7];
                put_properties(&mut body, version, &[]);
                packet(first_byte, &[&body[..], &filter, options].concat())
            }
        };
        let publish = |version| {
            let mut body = filter.clone();
            put_properties(&mut body, version, &[]);
            packet(PUBLISH, &body)
        };
        cases.extend(in_all(&format!("Topic Name with {name}"), publish, MALFORMED));
        cases.extend(in_all(&format!("Topic Filter with {name}"), request(SUBSCRIBE, &[0]), MALFORMED));
        cases.extend(in_all(&format!("filter to leave with {name}"), request(UNSUBSCRIBE, &[]), MALFORMED));
        let with_section = |section: &[u8]| {
            let mut body = text("a");
            put_properties(&mut body, V5, section);
            packet(PUBLISH, &body)
        };
        let user_key = [&property(USER, broken)[..], &text("value")].concat();
        let user_value = [&property(USER, b"key")[..], &filter].concat();
        for (field, section) in [
            ("Content Type", property(CONTENT_TYPE, broken)),
            ("Response Topic", property(RESPONSE_TOPIC, broken)),
            ("user property's key", user_key),
            ("user property's value", user_value),
        ] {
            cases.push(connected(V5, &format!("{field} with {name}"), with_section(&section), MALFORMED));
        }
        let mut reason = vec![0, 7, 0];
        put_properties(&mut reason, V5, &property(REASON_STRING, broken));
        cases.push(connected(V5, &format!("Reason String with {name}"), packet(0x40, &reason), MALFORMED));
    }
    cases
}

/// [MQTT5-1.5.4-1] [MQTT5-1.5.4-2] [MQTT5-1.5.7-1] [MQTT5-3.1.3-4] [MQTT5-3.1.3-11] [MQTT5-3.1.3-12] [MQTT5-3.3.2-1]
/// [MQTT5-3.3.2-13] [MQTT5-3.3.2-19] [MQTT5-3.8.3-1] [MQTT5-3.10.3-1] [MQTT5-4.7.3-2] [MQTT311-1.5.3-1]
/// [MQTT311-1.5.3-2] [MQTT311-3.1.3-4] [MQTT311-3.1.3-10] [MQTT311-3.1.3-11] [MQTT311-3.3.2-1] [MQTT311-3.8.3-1]
/// [MQTT311-3.10.3-1] [MQTT311-4.7.3-2]
#[test]
fn texts_that_are_none_end_the_connection() {
    check(&all());
}
