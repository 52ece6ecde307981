//! The body that PUBACK, PUBREC, PUBREL and PUBCOMP share.

use super::error::{DecodeError, EncodeError};
use super::header::PacketType;
use super::packet_id::PacketId;
use super::property::{PropertyId, PropertyReader};
use super::reader::Reader;
use super::reason_code::ReasonCode;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::writer::{self, Layout, Sink};

#[derive(Clone, Copy)]
pub(super) struct Acknowledgement<'a> {
    pub(super) packet_type: PacketType,
    pub(super) packet_id: PacketId,
    pub(super) reason: ReasonCode,
    pub(super) reason_string: Option<&'a str>,
    pub(super) user: UserProperties<'a>,
}

impl<'a> Acknowledgement<'a> {
    /// In 5.0 the properties may be missing, or they and the reason code (section 3.4.2.1).
    #[inline]
    pub(super) fn decode(
        packet_type: PacketType,
        version: ProtocolVersion,
        mut reader: Reader<'a>,
    ) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let mut this = Self {
            packet_type,
            packet_id,
            reason: ReasonCode::Success,
            reason_string: None,
            user: UserProperties::default(),
        };
        if !version.has_properties() {
            reader.end()?;
            return Ok(this);
        }
        if !reader.is_empty() {
            this.reason = ReasonCode::parse(reader.u8()?, packet_type)?;
        }
        if !reader.is_empty() {
            let section = PropertyReader::open(&mut reader, packet_type)?;
            (this.reason_string, this.user) = decode_reason_properties(section)?;
        }
        reader.end()?;
        Ok(this)
    }

    #[inline]
    pub(super) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        writer::write_packet(self.packet_type.first_byte(), self, version, out)
    }

    pub(super) fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check()?;
        writer::packet_len(self, version)
    }

    fn check(&self) -> Result<(), EncodeError> {
        if !self.reason.is_allowed_in(self.packet_type) {
            return Err(EncodeError::ReasonCodeNotAllowed(self.reason, self.packet_type));
        }
        Ok(())
    }
}

impl Layout for Acknowledgement<'_> {
    #[inline]
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.u16(self.packet_id.get());
        let properties = ReasonProperties { reason_string: self.reason_string, user: self.user };
        let has_properties = !properties.is_empty();
        if !version.has_properties() || (self.reason == ReasonCode::Success && !has_properties) {
            return;
        }
        sink.u8(self.reason as u8);
        if has_properties {
            sink.properties(&properties);
        }
    }
}

/// The properties of all packets that have but a Reason String and User Properties.
pub(super) struct ReasonProperties<'a> {
    pub(super) reason_string: Option<&'a str>,
    pub(super) user: UserProperties<'a>,
}

impl ReasonProperties<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.reason_string.is_none() && self.user.is_empty()
    }
}

impl Layout for ReasonProperties<'_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        sink.property_string(PropertyId::ReasonString, self.reason_string);
        sink.user_properties(self.user);
    }
}

/// Reads what [`ReasonProperties`] writes.
pub(super) fn decode_reason_properties<'a>(
    mut section: PropertyReader<'a>,
) -> Result<(Option<&'a str>, UserProperties<'a>), DecodeError> {
    let mut reason_string = None;
    while let Some(id) = section.next()? {
        match id {
            PropertyId::ReasonString => reason_string = Some(section.string()?),
            PropertyId::UserProperty => section.user_property()?,
            other => return Err(section.not_allowed(other)),
        }
    }
    Ok((reason_string, section.user()))
}
