//! A tiny MQTT codec of the tests' own, so that a mistake of the broker's codec cannot hide itself.

use super::inbox::Properties;
use super::mqtt::Version;

pub(crate) const CONNECT: u8 = 0x10;
pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const SUBSCRIBE: u8 = 0x82;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const UNSUBSCRIBE: u8 = 0xA2;
pub(crate) const UNSUBACK: u8 = 0xB0;
pub(crate) const PINGREQ: u8 = 0xC0;
pub(crate) const PINGRESP: u8 = 0xD0;
pub(crate) const DISCONNECT: u8 = 0xE0;

/// A packet as it came: the first byte and what follows the remaining length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first_byte: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    /// The packet type in the upper half of the first byte, flags cleared.
    pub(crate) fn kind(&self) -> u8 {
        self.first_byte & 0xF0
    }

    /// The Packet Identifier at the start of the body of every acknowledgement.
    pub(crate) fn packet_id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    /// Takes one packet off the front of `bytes`, when it is there completely.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let mut length = 0;
        let mut header = 1;
        loop {
            let byte = *bytes.get(header)?;
            length |= usize::from(byte & 0x7F) << (7 * (header - 1));
            header += 1;
            if byte & 0x80 == 0 {
                break;
            }
            assert!(header < 5, "a remaining length of more than four bytes");
        }
        if bytes.len() < header + length {
            return None;
        }
        let body = bytes[header..header + length].to_vec();
        let first_byte = bytes[0];
        bytes.drain(..header + length);
        Some(Self { first_byte, body })
    }
}

/// A whole packet from its parts.
pub(crate) fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    variable_length(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn variable_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7F).expect("seven bits");
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    binary(out, text.as_bytes());
}

pub(crate) fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("a string of MQTT is short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Properties with their length in front; nothing at all before version 5.
pub(crate) fn properties(out: &mut Vec<u8>, version: Version, encoded: &[u8]) {
    if version == Version::V5 {
        variable_length(out, encoded.len());
        out.extend_from_slice(encoded);
    }
}

/// The PUBLISH properties without their length.
pub(crate) fn publish_properties(wanted: &Properties) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(format) = wanted.payload_format {
        out.extend_from_slice(&[0x01, format]);
    }
    if let Some(seconds) = wanted.message_expiry {
        out.push(0x02);
        out.extend_from_slice(&seconds.to_be_bytes());
    }
    for (id, text) in
        [(0x03, &wanted.content_type), (0x08, &wanted.response_topic), (0x09, &wanted.correlation_data)]
    {
        if let Some(text) = text {
            out.push(id);
            string(&mut out, text);
        }
    }
    for (key, value) in &wanted.user {
        out.push(0x26);
        string(&mut out, key);
        string(&mut out, value);
    }
    out
}

/// Reads fields off the front of a body. A body that ends too early fails the test: the broker sent it.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count);
        self.0 = rest;
        front
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    pub(crate) fn two_bytes(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes(2).try_into().expect("two bytes"))
    }

    pub(crate) fn four_bytes(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes(4).try_into().expect("four bytes"))
    }

    pub(crate) fn binary(&mut self) -> &'a [u8] {
        let length = self.two_bytes();
        self.bytes(usize::from(length))
    }

    pub(crate) fn string(&mut self) -> String {
        String::from_utf8(self.binary().to_vec()).expect("the broker sends well-formed UTF-8")
    }

    pub(crate) fn variable_length(&mut self) -> usize {
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte();
            length |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return length;
            }
        }
        panic!("a variable length of more than four bytes");
    }

    /// The properties of a PUBLISH.
    pub(crate) fn publish_properties(&mut self) -> Properties {
        let length = self.variable_length();
        let mut fields = Fields(self.bytes(length));
        let mut seen = Properties::default();
        while !fields.0.is_empty() {
            match fields.byte() {
                0x01 => seen.payload_format = Some(fields.byte()),
                0x02 => seen.message_expiry = Some(fields.four_bytes()),
                0x03 => seen.content_type = Some(fields.string()),
                0x08 => seen.response_topic = Some(fields.string()),
                0x09 => seen.correlation_data = Some(fields.string()),
                0x0B => seen.subscription_ids.push(fields.variable_length() as u32),
                0x23 => seen.topic_alias = Some(fields.two_bytes()),
                0x26 => seen.user.push((fields.string(), fields.string())),
                id => panic!("property {id:#04x} in a PUBLISH"),
            }
        }
        seen
    }
}
