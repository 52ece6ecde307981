//! MQTT 3.1, 3.1.1 and 5.0 packets, both directions: bytes to borrowed packets and back. Sans-io, and
//! without a notion of sessions: it knows neither which side sent a packet nor what came before it.
//!
//! What comes in is checked for all that one packet alone can show, and refused with an error that names
//! its Reason Code; nothing is allocated from an announced length. What goes out is measured first, written
//! once, and always something that [`decode`] accepts, given relayed parts that were accepted before.
//!
//! Where the standards leave a choice:
//! - A variable byte integer that is not minimal is malformed in 5.0 [MQTT5-1.5.5-1]; 3.x does not forbid it.
//! - Reserved bits must be zero in 3.1 too, but for what 3.1 says is disregarded or may be missing: Will QoS
//!   and Will Retain without a will, DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE, User Name and Password beyond
//!   the Remaining Length.
//! - Control characters and non-characters in strings are accepted.
//! - What cannot be parsed is malformed (0x81); what can be but has a value that the standard forbids is a
//!   protocol error (0x82), unless the standard names another code.
//! - Topic Names and Topic Filters are strings here; the `topic` module knows their syntax.

mod acknowledgement;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod error;
mod header;
mod outgoing;
mod packet_id;
pub mod pingreq;
pub mod pingresp;
mod property;
mod puback;
mod pubcomp;
mod publish;
mod pubrec;
mod pubrel;
mod qos;
mod reader;
mod reason_code;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;
mod user_properties;
mod version;
mod will;
mod writer;

#[cfg(test)]
mod tests;

pub use auth::Auth;
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, connect_version};
pub use disconnect::Disconnect;
pub use error::{DecodeError, EncodeError};
pub use header::{FrameHeader, PacketType, REMAINING_LENGTH_MAX, peek};
pub use outgoing::Outgoing;
pub use packet_id::PacketId;
pub use property::PropertyId;
pub use puback::PubAck;
pub use pubcomp::PubComp;
pub use publish::{AsReceived, PayloadFormat, Publish, PublishProperties};
pub use pubrec::PubRec;
pub use pubrel::PubRel;
pub use qos::Qos;
pub use reason_code::ReasonCode;
pub use suback::SubAck;
pub use subscribe::{RetainHandling, Subscribe, SubscribeFilter, SubscribeOptions};
pub use unsuback::UnsubAck;
pub use unsubscribe::Unsubscribe;
pub use user_properties::UserProperties;
pub use version::ProtocolVersion;
pub use will::{Will, WillProperties};

use reader::Reader;

/// Any control packet.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the packet it names")]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(PubAck<'a>),
    PubRec(PubRec<'a>),
    PubRel(PubRel<'a>),
    PubComp(PubComp<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(UnsubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

/// Decodes `frame`, which is exactly one packet, fixed header included (see [`peek`]).
///
/// `version` is that of the connection; CONNECT names its own.
///
/// # Errors
/// The packet breaks the standard; [`DecodeError::reason_code`] says how to tell the sender.
#[inline]
pub fn decode(version: ProtocolVersion, frame: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let header = peek(frame, u32::MAX)?.ok_or(DecodeError::Truncated)?;
    if frame.len() > header.total_len {
        return Err(DecodeError::TrailingBytes);
    }
    if frame.len() < header.total_len {
        return Err(DecodeError::Truncated);
    }
    let (head, body) = frame.split_at(header.header_len);
    let reader = Reader::new(body);
    let is_minimal = head.len() == 2 || head.last() != Some(&0);
    let flags = header.first_byte & 0x0F;
    let names_its_version = header.packet_type == PacketType::Connect;
    if version.has_properties() && !is_minimal && !names_its_version {
        return Err(DecodeError::VariableByteIntegerNotMinimal);
    }
    let has_flags = header.packet_type == PacketType::Publish || version == ProtocolVersion::V31;
    if !has_flags && header.first_byte != header.packet_type.first_byte() {
        return Err(DecodeError::InvalidFlags(header.packet_type, flags));
    }
    match header.packet_type {
        PacketType::Connect => Connect::decode(reader, is_minimal).map(Packet::Connect),
        PacketType::ConnAck => ConnAck::decode(version, reader).map(Packet::ConnAck),
        PacketType::Publish => Publish::decode(version, flags, reader).map(Packet::Publish),
        PacketType::PubAck => PubAck::decode(version, reader).map(Packet::PubAck),
        PacketType::PubRec => PubRec::decode(version, reader).map(Packet::PubRec),
        PacketType::PubRel => PubRel::decode(version, reader).map(Packet::PubRel),
        PacketType::PubComp => PubComp::decode(version, reader).map(Packet::PubComp),
        PacketType::Subscribe => Subscribe::decode(version, reader).map(Packet::Subscribe),
        PacketType::SubAck => SubAck::decode(version, reader).map(Packet::SubAck),
        PacketType::Unsubscribe => Unsubscribe::decode(version, reader).map(Packet::Unsubscribe),
        PacketType::UnsubAck => UnsubAck::decode(version, reader).map(Packet::UnsubAck),
        // `peek` saw that they have no body.
        PacketType::PingReq => Ok(Packet::PingReq),
        PacketType::PingResp => Ok(Packet::PingResp),
        PacketType::Disconnect => Disconnect::decode(version, reader).map(Packet::Disconnect),
        PacketType::Auth => Auth::decode(version, reader).map(Packet::Auth),
    }
}

impl Packet<'_> {
    /// Appends the packet to `out`. What `version` does not have (properties, most reason codes) is left out;
    /// CONNECT is written in its own version.
    ///
    /// # Errors
    /// The packet cannot be represented; `out` is unchanged then.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Connect(packet) => packet.encode(version, out),
            Self::ConnAck(packet) => packet.encode(version, out),
            Self::Publish(packet) => packet.encode(version, out),
            Self::PubAck(packet) => packet.encode(version, out),
            Self::PubRec(packet) => packet.encode(version, out),
            Self::PubRel(packet) => packet.encode(version, out),
            Self::PubComp(packet) => packet.encode(version, out),
            Self::Subscribe(packet) => packet.encode(version, out),
            Self::SubAck(packet) => packet.encode(version, out),
            Self::Unsubscribe(packet) => packet.encode(version, out),
            Self::UnsubAck(packet) => packet.encode(version, out),
            Self::PingReq => {
                pingreq::encode(out);
                Ok(())
            }
            Self::PingResp => {
                pingresp::encode(out);
                Ok(())
            }
            Self::Disconnect(packet) => packet.encode(version, out),
            Self::Auth(packet) => packet.encode(version, out),
        }
    }

    /// Bytes that [`Packet::encode`] appends.
    ///
    /// # Errors
    /// Those of [`Packet::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        match self {
            Self::Connect(packet) => packet.encoded_len(version),
            Self::ConnAck(packet) => packet.encoded_len(version),
            Self::Publish(packet) => packet.encoded_len(version),
            Self::PubAck(packet) => packet.encoded_len(version),
            Self::PubRec(packet) => packet.encoded_len(version),
            Self::PubRel(packet) => packet.encoded_len(version),
            Self::PubComp(packet) => packet.encoded_len(version),
            Self::Subscribe(packet) => packet.encoded_len(version),
            Self::SubAck(packet) => packet.encoded_len(version),
            Self::Unsubscribe(packet) => packet.encoded_len(version),
            Self::UnsubAck(packet) => packet.encoded_len(version),
            Self::PingReq => Ok(pingreq::PINGREQ.len()),
            Self::PingResp => Ok(pingresp::PINGRESP.len()),
            Self::Disconnect(packet) => packet.encoded_len(version),
            Self::Auth(packet) => packet.encoded_len(version),
        }
    }

    /// The type of this packet.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}
