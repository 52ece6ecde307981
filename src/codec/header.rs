//! The fixed header: packet type, flags, Remaining Length.

use super::error::DecodeError;

/// The greatest Remaining Length, and the greatest variable byte integer at all.
pub const REMAINING_LENGTH_MAX: u32 = 268_435_455;

/// The type of a control packet; the number is the upper half of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// CONNECT.
    Connect = 1,
    /// CONNACK.
    ConnAck = 2,
    /// PUBLISH.
    Publish = 3,
    /// PUBACK.
    PubAck = 4,
    /// PUBREC.
    PubRec = 5,
    /// PUBREL.
    PubRel = 6,
    /// PUBCOMP.
    PubComp = 7,
    /// SUBSCRIBE.
    Subscribe = 8,
    /// SUBACK.
    SubAck = 9,
    /// UNSUBSCRIBE.
    Unsubscribe = 10,
    /// UNSUBACK.
    UnsubAck = 11,
    /// PINGREQ.
    PingReq = 12,
    /// PINGRESP.
    PingResp = 13,
    /// DISCONNECT.
    Disconnect = 14,
    /// AUTH, since 5.0.
    Auth = 15,
}

impl PacketType {
    /// From the upper half of the first byte; none for 0 and above 15.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The first byte of a packet of this type with the flags that the standard fixes [MQTT5-2.1.3-1].
    pub(super) const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        };
        ((self as u8) << 4) | flags
    }
}

/// The fixed header of a packet whose body may still be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Packet type and flags as they are on the wire.
    pub first_byte: u8,
    /// The type in the first byte.
    pub packet_type: PacketType,
    /// Bytes of the fixed header, 2 to 5.
    pub header_len: usize,
    /// Bytes of the whole packet, fixed header included.
    pub total_len: usize,
}

/// Reads the fixed header at the start of `bytes`; `Ok(None)` when it is not complete yet.
///
/// Type, flags, Remaining Length and `packet_size_max` (bytes of the whole packet) are checked as soon as
/// their bytes are there, so that nothing is ever buffered for a packet that will be refused.
///
/// The version is not known here: what only one version forbids is left to [`decode`](super::decode),
/// which sees the header again. That is the DUP bit of PUBREL, SUBSCRIBE and UNSUBSCRIBE, which 3.1 allows,
/// and a Remaining Length that is not minimal, which 3.x does not forbid.
///
/// # Errors
/// The header cannot begin a packet, or announces too many bytes.
#[inline]
pub fn peek(bytes: &[u8], packet_size_max: u32) -> Result<Option<FrameHeader>, DecodeError> {
    let Some(&first_byte) = bytes.first() else { return Ok(None) };
    let packet_type = check_first_byte(first_byte)?;
    let Some((remaining, remaining_len)) = read_varint(&bytes[1..])? else { return Ok(None) };
    let is_ping = matches!(packet_type, PacketType::PingReq | PacketType::PingResp);
    if is_ping && remaining != 0 {
        return Err(DecodeError::UnexpectedBody(packet_type));
    }
    let header_len = 1 + remaining_len;
    let total_len = header_len + remaining as usize;
    if total_len > packet_size_max as usize {
        return Err(DecodeError::PacketTooLarge { total_len, packet_size_max });
    }
    Ok(Some(FrameHeader { first_byte, packet_type, header_len, total_len }))
}

#[inline]
fn check_first_byte(first_byte: u8) -> Result<PacketType, DecodeError> {
    let packet_type = PacketType::from_u8(first_byte >> 4).ok_or(DecodeError::ReservedPacketType)?;
    let flags = first_byte & 0x0F;
    match packet_type {
        PacketType::Publish if flags & 0b0110 == 0b0110 => Err(DecodeError::PublishQos3),
        PacketType::Publish if flags & 0b1110 == 0b1000 => Err(DecodeError::DupWithQos0),
        PacketType::Publish => Ok(packet_type),
        // The QoS of these packets is 1, and 3.1 lets them be repeated with DUP.
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe if flags & 0b0111 == 0b0010 => {
            Ok(packet_type)
        }
        _ if first_byte == packet_type.first_byte() => Ok(packet_type),
        _ => Err(DecodeError::InvalidFlags(packet_type, flags)),
    }
}

/// A variable byte integer and its length in bytes, minimal or not; `Ok(None)` when `bytes` ends inside it.
#[inline]
pub(super) fn read_varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(DecodeError::VariableByteIntegerTooLong) }
}

/// Bytes of the minimal encoding of `value`.
#[inline]
pub(super) const fn varint_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}
