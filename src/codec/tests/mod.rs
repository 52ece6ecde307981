//! The codec against the standards: tables of packets as bytes, and properties of all packets.

mod arbitrary;
mod comparison;
mod encoding;
mod forwarding;
mod golden;
mod malformed;
mod matrices;
mod round_trip;
mod unusual;

use super::{DecodeError, Packet, ProtocolVersion, decode, peek};
use crate::codec;

const V31: ProtocolVersion = ProtocolVersion::V31;
const V311: ProtocolVersion = ProtocolVersion::V311;
const V5: ProtocolVersion = ProtocolVersion::V5;

/// Bytes from a readable form, tokens separated by blanks:
/// `0A1B` hexadecimal; `'text'` a string with its length before it; `<text>` text without; `{ … }` what is
/// inside, as a property section with its length before it; `30:` a first byte, and the Remaining Length of
/// what follows after it.
fn bytes(text: &str) -> Vec<u8> {
    let mut sections = vec![Vec::new()];
    let mut first_byte = None;
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let current = sections.last_mut().expect("braces are balanced");
        let token_len = match rest.as_bytes()[0] {
            b'\'' => {
                let inner = rest[1..].split('\'').next().expect("split yields one");
                current.extend_from_slice(&(inner.len() as u16).to_be_bytes());
                current.extend_from_slice(inner.as_bytes());
                inner.len() + 2
            }
            b'<' => {
                let inner = rest[1..].split('>').next().expect("split yields one");
                current.extend_from_slice(inner.as_bytes());
                inner.len() + 2
            }
            b'{' => {
                sections.push(Vec::new());
                1
            }
            b'}' => {
                let section = sections.pop().expect("braces are balanced");
                let current = sections.last_mut().expect("braces are balanced");
                push_varint(current, section.len());
                current.extend_from_slice(&section);
                1
            }
            _ => {
                let token = rest.split_whitespace().next().expect("rest is not blank");
                let digits = token.trim_end_matches(':');
                let mut decoded = (0..digits.len()).step_by(2).map(|at| {
                    u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_else(|_| panic!("token {token}"))
                });
                if token.ends_with(':') {
                    first_byte = decoded.next_back();
                } else {
                    current.extend(decoded);
                }
                token.len()
            }
        };
        rest = rest[token_len..].trim_start();
    }
    let body = sections.pop().expect("braces are balanced");
    assert!(sections.is_empty(), "braces are balanced in {text}");
    match first_byte {
        Some(first_byte) => frame(first_byte, &body),
        None => body,
    }
}

fn frame(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![first_byte];
    push_varint(&mut frame, body.len());
    frame.extend_from_slice(body);
    frame
}

fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7F {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// As a connection does it: the header first, then the packet that it announces.
fn receive(version: ProtocolVersion, bytes: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let header = peek(bytes, u32::MAX)?.expect("the header is complete");
    assert_eq!(header.total_len, bytes.len(), "the announced length");
    decode(version, bytes)
}

fn encoded(version: ProtocolVersion, packet: &Packet<'_>) -> Vec<u8> {
    // Something is already in the buffer, as in an outbox.
    let mut out = vec![0xAA];
    packet.encode(version, &mut out).unwrap_or_else(|error| panic!("{error}: {packet:?}"));
    assert_eq!(packet.encoded_len(version), Ok(out.len() - 1), "encoded_len of {packet:?}");
    assert_eq!(out.remove(0), 0xAA);
    out
}
