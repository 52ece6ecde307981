//! Any bytes are decoded or refused, and what is decoded means the same after it was encoded again.

use flockmq::codec::{self, ProtocolVersion, peek};

// Shared with the codec's own tests.
#[path = "../../src/codec/tests/comparison.rs"]
mod comparison;

use comparison::check_bytes;

/// Bytes for a connection of MQTT 3.1.
pub fn v31(input: &[u8]) {
    check(ProtocolVersion::V31, input);
}

/// Bytes for a connection of MQTT 3.1.1.
pub fn v311(input: &[u8]) {
    check(ProtocolVersion::V311, input);
}

/// Bytes for a connection of MQTT 5.0.
pub fn v5(input: &[u8]) {
    check(ProtocolVersion::V5, input);
}

/// The input is taken twice: as packets one after the other until one is refused, and as the body of one packet
/// whose Remaining Length is right, so that no input is lost to its header.
fn check(version: ProtocolVersion, input: &[u8]) {
    let mut rest = input;
    while let Ok(Some(header)) = peek(rest, 1 << 20) {
        let Some((frame, after)) = rest.split_at_checked(header.total_len) else { break };
        check_bytes(version, frame);
        rest = after;
    }
    check_bytes(version, rest);
    if let [first_byte, body @ ..] = input {
        check_bytes(version, &framed(*first_byte, body));
    }
}

/// A packet of this body.
pub(crate) fn framed(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![first_byte];
    let mut len = body.len();
    while len > 0x7F {
        frame.push((len & 0x7F) as u8 | 0x80);
        len >>= 7;
    }
    frame.push(len as u8);
    frame.extend_from_slice(body);
    frame
}
