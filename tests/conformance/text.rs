//! Packets from the broker as one line of text each, read without the broker's codec.
//!
//! `PUBLISH a/b "payload" q1 #7 dup retain expiry=5`, `SUBACK #1 [01 8F]`, `DISCONNECT 0x8E`; properties in the
//! order in which they came.

use std::fmt::Write as _;

use super::packets::{V5, Version};
use super::property::{ALL, Kind};

/// Reads fields off the front of a body. A body that ends too early fails the test: the broker sent it.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count);
        self.0 = rest;
        front
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn two(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn four(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn varint(&mut self) -> usize {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte();
            value |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("a variable byte integer of more than four bytes");
    }

    fn binary(&mut self) -> &'a [u8] {
        let length = self.two();
        self.take(usize::from(length))
    }

    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.binary()).expect("the broker sends well-formed UTF-8")
    }

    fn properties(&mut self, out: &mut String) {
        let length = self.varint();
        let mut section = Fields(self.take(length));
        while !section.0.is_empty() {
            let id = section.byte();
            let (_, kind, name) =
                ALL.iter().find(|(known, ..)| *known == id).expect("a property of section 2.2.2.2");
            let value = match kind {
                Kind::Byte => section.byte().to_string(),
                Kind::TwoBytes => section.two().to_string(),
                Kind::FourBytes => section.four().to_string(),
                Kind::Varint => section.varint().to_string(),
                Kind::Text => section.text().to_owned(),
                Kind::Binary => section.binary().escape_ascii().to_string(),
                Kind::Pair => format!("{}:{}", section.text(), section.text()),
            };
            write!(out, " {name}={value}").expect("a string takes everything");
        }
    }
}

/// Takes one packet off the front of `bytes` when it is there completely: its line and how many bytes it had.
pub(crate) fn take(bytes: &mut Vec<u8>, version: Version) -> Option<(String, usize)> {
    let header = 1 + bytes.get(1..)?.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let length = Fields(&bytes[1..header]).varint();
    let total = header + length;
    if bytes.len() < total {
        return None;
    }
    let packet: Vec<u8> = bytes.drain(..total).collect();
    Some((line(packet[0], &packet[header..], version), total))
}

fn line(first_byte: u8, body: &[u8], version: Version) -> String {
    let mut fields = Fields(body);
    let is_v5 = version == V5;
    match (first_byte & 0xF0, first_byte & 0x0F) {
        (0x20, 0) => connack(&mut fields, is_v5),
        (0x30, flags) => publish(&mut fields, flags, is_v5),
        (0x40, 0) => acknowledgement("PUBACK", &mut fields, is_v5),
        (0x50, 0) => acknowledgement("PUBREC", &mut fields, is_v5),
        (0x60, 2) => acknowledgement("PUBREL", &mut fields, is_v5),
        (0x70, 0) => acknowledgement("PUBCOMP", &mut fields, is_v5),
        (0x90, 0) => codes("SUBACK", &mut fields, is_v5),
        (0xB0, 0) => codes("UNSUBACK", &mut fields, is_v5),
        (0xD0, 0) if body.is_empty() => "PINGRESP".to_owned(),
        (0xE0, 0) if is_v5 => coded("DISCONNECT", &mut fields),
        (0xF0, 0) if is_v5 => coded("AUTH", &mut fields),
        _ => panic!("the broker sent {first_byte:#04x} {body:02x?} to a client of {version:?}"),
    }
}

fn connack(fields: &mut Fields<'_>, is_v5: bool) -> String {
    let flags = fields.byte();
    assert_eq!(flags & 0xFE, 0, "reserved flags of CONNACK");
    let mut line = format!("CONNACK {:#04x}{}", fields.byte(), if flags == 1 { " present" } else { "" });
    if is_v5 {
        fields.properties(&mut line);
    }
    assert!(fields.0.is_empty(), "bytes after the end of {line}");
    line
}

fn publish(fields: &mut Fields<'_>, flags: u8, is_v5: bool) -> String {
    let topic = fields.text().to_owned();
    let qos = flags >> 1 & 3;
    assert_ne!(qos, 3, "QoS 3 on {topic}");
    let id = if qos > 0 { format!(" #{}", fields.two()) } else { String::new() };
    let mut properties = String::new();
    if is_v5 {
        fields.properties(&mut properties);
    }
    let payload = fields.0.escape_ascii();
    let dup = if flags & 8 != 0 { " dup" } else { "" };
    let retain = if flags & 1 != 0 { " retain" } else { "" };
    format!("PUBLISH {topic} \"{payload}\" q{qos}{id}{dup}{retain}{properties}")
}

fn acknowledgement(name: &str, fields: &mut Fields<'_>, is_v5: bool) -> String {
    let mut line = format!("{name} #{}", fields.two());
    if is_v5 && !fields.0.is_empty() {
        write!(line, " {:#04x}", fields.byte()).expect("a string takes everything");
    }
    if is_v5 && !fields.0.is_empty() {
        fields.properties(&mut line);
    }
    assert!(fields.0.is_empty(), "bytes after the end of {line}");
    line
}

fn codes(name: &str, fields: &mut Fields<'_>, is_v5: bool) -> String {
    let id = fields.two();
    let mut properties = String::new();
    if is_v5 {
        fields.properties(&mut properties);
    }
    let codes: Vec<String> = fields.0.iter().map(|code| format!("{code:02X}")).collect();
    format!("{name} #{id} [{}]{properties}", codes.join(" "))
}

fn coded(name: &str, fields: &mut Fields<'_>) -> String {
    let reason = if fields.0.is_empty() { 0 } else { fields.byte() };
    let mut line = format!("{name} {reason:#04x}");
    if !fields.0.is_empty() {
        fields.properties(&mut line);
    }
    assert!(fields.0.is_empty(), "bytes after the end of {line}");
    line
}
