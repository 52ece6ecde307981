//! UNSUBACK: since 5.0 with one code for each Topic Filter of the UNSUBSCRIBE, in order.

use smallvec::SmallVec;

use super::acknowledgement::{ReasonProperties, decode_reason_properties};
use super::error::{DecodeError, EncodeError};
use super::header::PacketType;
use super::packet_id::PacketId;
use super::property::PropertyReader;
use super::reader::Reader;
use super::reason_code::ReasonCode;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::writer::{self, Layout, Sink};

/// An UNSUBACK packet.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    /// That of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason String, since 5.0.
    pub reason_string: Option<&'a str>,
    /// User Properties, since 5.0.
    pub user: UserProperties<'a>,
    /// At least one in 5.0; not on the wire before.
    pub codes: SmallVec<[ReasonCode; 4]>,
}

impl<'a> UnsubAck<'a> {
    pub(super) fn decode(version: ProtocolVersion, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        if !version.has_properties() {
            reader.end()?;
            let user = UserProperties::default();
            return Ok(Self { packet_id, reason_string: None, user, codes: SmallVec::new() });
        }
        let section = PropertyReader::open(&mut reader, PacketType::UnsubAck)?;
        let (reason_string, user) = decode_reason_properties(section)?;
        if reader.is_empty() {
            return Err(DecodeError::NoReasonCodes(PacketType::UnsubAck));
        }
        let mut codes = SmallVec::with_capacity(reader.len());
        for &code in reader.rest() {
            codes.push(ReasonCode::parse(code, PacketType::UnsubAck)?);
        }
        Ok(Self { packet_id, reason_string, user, codes })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(version)?;
        writer::write_packet(PacketType::UnsubAck.first_byte(), self, version, out)
    }

    /// Bytes that [`UnsubAck::encode`] appends.
    ///
    /// # Errors
    /// Those of [`UnsubAck::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check(version)?;
        writer::packet_len(self, version)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if version.has_properties() && self.codes.is_empty() {
            return Err(EncodeError::NoReasonCodes(PacketType::UnsubAck));
        }
        match self.codes.iter().find(|code| !code.is_allowed_in(PacketType::UnsubAck)) {
            Some(&code) => Err(EncodeError::ReasonCodeNotAllowed(code, PacketType::UnsubAck)),
            None => Ok(()),
        }
    }
}

impl Layout for UnsubAck<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.u16(self.packet_id.get());
        if !version.has_properties() {
            return;
        }
        sink.properties(&ReasonProperties { reason_string: self.reason_string, user: self.user });
        for &code in &self.codes {
            sink.u8(code as u8);
        }
    }
}
