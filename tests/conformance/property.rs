//! MQTT 5 properties: their bytes, and their names in the text form of packets.

use super::packets::{put_binary, put_text, put_varint};

pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
pub(crate) const CONTENT_TYPE: u8 = 0x03;
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
pub(crate) const CORRELATION_DATA: u8 = 0x09;
pub(crate) const SUBSCRIPTION_ID: u8 = 0x0B;
pub(crate) const SESSION_EXPIRY: u8 = 0x11;
pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(crate) const AUTH_METHOD: u8 = 0x15;
pub(crate) const AUTH_DATA: u8 = 0x16;
pub(crate) const REQUEST_PROBLEM: u8 = 0x17;
pub(crate) const WILL_DELAY: u8 = 0x18;
pub(crate) const REQUEST_RESPONSE: u8 = 0x19;
pub(crate) const RESPONSE_INFORMATION: u8 = 0x1A;
pub(crate) const SERVER_REFERENCE: u8 = 0x1C;
pub(crate) const REASON_STRING: u8 = 0x1F;
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
pub(crate) const MAXIMUM_QOS: u8 = 0x24;
pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
pub(crate) const USER: u8 = 0x26;
pub(crate) const PACKET_SIZE_MAX: u8 = 0x27;
pub(crate) const WILDCARD_AVAILABLE: u8 = 0x28;
pub(crate) const SUBSCRIPTION_ID_AVAILABLE: u8 = 0x29;
pub(crate) const SHARED_AVAILABLE: u8 = 0x2A;

/// How the value of a property is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Byte,
    TwoBytes,
    FourBytes,
    Varint,
    Text,
    Binary,
    Pair,
}

/// Every property there is, by section 2.2.2.2.
pub(crate) const ALL: [(u8, Kind, &str); 27] = [
    (PAYLOAD_FORMAT, Kind::Byte, "format"),
    (MESSAGE_EXPIRY, Kind::FourBytes, "expiry"),
    (CONTENT_TYPE, Kind::Text, "content-type"),
    (RESPONSE_TOPIC, Kind::Text, "response-topic"),
    (CORRELATION_DATA, Kind::Binary, "correlation"),
    (SUBSCRIPTION_ID, Kind::Varint, "id"),
    (SESSION_EXPIRY, Kind::FourBytes, "session-expiry"),
    (ASSIGNED_CLIENT_ID, Kind::Text, "assigned"),
    (SERVER_KEEP_ALIVE, Kind::TwoBytes, "keep-alive"),
    (AUTH_METHOD, Kind::Text, "auth-method"),
    (AUTH_DATA, Kind::Binary, "auth-data"),
    (REQUEST_PROBLEM, Kind::Byte, "request-problem"),
    (WILL_DELAY, Kind::FourBytes, "will-delay"),
    (REQUEST_RESPONSE, Kind::Byte, "request-response"),
    (RESPONSE_INFORMATION, Kind::Text, "response-information"),
    (SERVER_REFERENCE, Kind::Text, "server-reference"),
    (REASON_STRING, Kind::Text, "reason"),
    (RECEIVE_MAXIMUM, Kind::TwoBytes, "receive-maximum"),
    (TOPIC_ALIAS_MAXIMUM, Kind::TwoBytes, "alias-maximum"),
    (TOPIC_ALIAS, Kind::TwoBytes, "alias"),
    (MAXIMUM_QOS, Kind::Byte, "maximum-qos"),
    (RETAIN_AVAILABLE, Kind::Byte, "retain-available"),
    (USER, Kind::Pair, "user"),
    (PACKET_SIZE_MAX, Kind::FourBytes, "packet-size"),
    (WILDCARD_AVAILABLE, Kind::Byte, "wildcard-available"),
    (SUBSCRIPTION_ID_AVAILABLE, Kind::Byte, "subscription-id-available"),
    (SHARED_AVAILABLE, Kind::Byte, "shared-available"),
];

pub(crate) fn byte(id: u8, value: u8) -> Vec<u8> {
    vec![id, value]
}

pub(crate) fn two(id: u8, value: u16) -> Vec<u8> {
    [&[id][..], &value.to_be_bytes()].concat()
}

pub(crate) fn four(id: u8, value: u32) -> Vec<u8> {
    [&[id][..], &value.to_be_bytes()].concat()
}

pub(crate) fn varint(id: u8, value: usize) -> Vec<u8> {
    let mut out = vec![id];
    put_varint(&mut out, value);
    out
}

pub(crate) fn text(id: u8, value: &str) -> Vec<u8> {
    let mut out = vec![id];
    put_text(&mut out, value);
    out
}

pub(crate) fn binary(id: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![id];
    put_binary(&mut out, value);
    out
}

pub(crate) fn user(key: &str, value: &str) -> Vec<u8> {
    let mut out = text(USER, key);
    put_text(&mut out, value);
    out
}

/// A property of that kind with a value that is valid as such.
pub(crate) fn sample(id: u8, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Byte => byte(id, 1),
        Kind::TwoBytes => two(id, 1),
        Kind::FourBytes => four(id, 1),
        Kind::Varint => varint(id, 1),
        Kind::Text => text(id, "text"),
        Kind::Binary => binary(id, b"data"),
        Kind::Pair => user("key", "value"),
    }
}
