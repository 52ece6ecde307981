//! PINGRESP: nothing but its fixed header.

use super::header::PacketType;

/// The whole packet, in every version.
pub const PINGRESP: [u8; 2] = [PacketType::PingResp.first_byte(), 0];

/// Appends the packet.
pub fn encode(out: &mut Vec<u8>) {
    out.extend_from_slice(&PINGRESP);
}
