//! SUBACK: one code for each Topic Filter of the SUBSCRIBE, in order.

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

/// A SUBACK packet.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck<'a> {
    /// That of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Reason String, since 5.0.
    pub reason_string: Option<&'a str>,
    /// User Properties, since 5.0.
    pub user: UserProperties<'a>,
    /// At least one. 3.x has one code for all errors, 0x80.
    pub codes: SmallVec<[ReasonCode; 4]>,
}

impl<'a> SubAck<'a> {
    pub(super) fn decode(version: ProtocolVersion, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let (reason_string, user) = if version.has_properties() {
            decode_reason_properties(PropertyReader::open(&mut reader, PacketType::SubAck)?)?
        } else {
            (None, UserProperties::default())
        };
        if reader.is_empty() {
            return Err(DecodeError::NoReasonCodes(PacketType::SubAck));
        }
        let mut codes = SmallVec::with_capacity(reader.len());
        for &code in reader.rest() {
            // [MQTT311-3.9.3-2]; 3.1 has no failure, but servers of 3.1 send it.
            if !version.has_properties() && !matches!(code, 0..=2 | 0x80) {
                return Err(DecodeError::UnknownReasonCode(code));
            }
            codes.push(ReasonCode::parse(code, PacketType::SubAck)?);
        }
        Ok(Self { packet_id, reason_string, user, codes })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        writer::write_packet(PacketType::SubAck.first_byte(), self, version, out)
    }

    /// Bytes that [`SubAck::encode`] appends.
    ///
    /// # Errors
    /// Those of [`SubAck::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check()?;
        writer::packet_len(self, version)
    }

    fn check(&self) -> Result<(), EncodeError> {
        if self.codes.is_empty() {
            return Err(EncodeError::NoReasonCodes(PacketType::SubAck));
        }
        match self.codes.iter().find(|code| !code.is_allowed_in(PacketType::SubAck)) {
            Some(&code) => Err(EncodeError::ReasonCodeNotAllowed(code, PacketType::SubAck)),
            None => Ok(()),
        }
    }
}

impl Layout for SubAck<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.u16(self.packet_id.get());
        if version.has_properties() {
            sink.properties(&ReasonProperties { reason_string: self.reason_string, user: self.user });
        }
        for &code in &self.codes {
            let is_coarse = code.is_error() && !version.has_properties();
            sink.u8(if is_coarse { ReasonCode::UnspecifiedError } else { code } as u8);
        }
    }
}
