//! PINGREQ: nothing but its fixed header.

use super::header::PacketType;

/// The whole packet, in every version.
pub const PINGREQ: [u8; 2] = [PacketType::PingReq.first_byte(), 0];

/// Appends the packet.
pub fn encode(out: &mut Vec<u8>) {
    out.extend_from_slice(&PINGREQ);
}
