//! PUBREC: the first answer to a QoS 2 PUBLISH. A code of 0x80 and above ends the flow.

use super::acknowledgement::Acknowledgement;
use super::error::{DecodeError, EncodeError};
use super::header::PacketType;
use super::packet_id::PacketId;
use super::reader::Reader;
use super::reason_code::ReasonCode;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;

/// A PUBREC packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PubRec<'a> {
    /// That of the PUBLISH.
    pub packet_id: PacketId,
    /// The outcome; 3.x has none on the wire, which reads as success.
    pub reason: ReasonCode,
    /// Reason String, since 5.0.
    pub reason_string: Option<&'a str>,
    /// User Properties, since 5.0.
    pub user: UserProperties<'a>,
}

impl<'a> PubRec<'a> {
    /// A packet without properties.
    #[must_use]
    pub fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, reason_string: None, user: UserProperties::default() }
    }

    #[inline]
    pub(super) fn decode(version: ProtocolVersion, reader: Reader<'a>) -> Result<Self, DecodeError> {
        let body = Acknowledgement::decode(PacketType::PubRec, version, reader)?;
        let Acknowledgement { packet_type: _, packet_id, reason, reason_string, user } = body;
        Ok(Self { packet_id, reason, reason_string, user })
    }

    /// Appends the packet in its shortest form.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then.
    #[inline]
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.body().encode(version, out)
    }

    /// Bytes that [`PubRec::encode`] appends.
    ///
    /// # Errors
    /// Those of [`PubRec::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.body().encoded_len(version)
    }

    fn body(&self) -> Acknowledgement<'a> {
        let Self { packet_id, reason, reason_string, user } = *self;
        Acknowledgement { packet_type: PacketType::PubRec, packet_id, reason, reason_string, user }
    }
}
