//! DISCONNECT: from the client in all versions, from the server since 5.0.

use super::error::{DecodeError, EncodeError};
use super::header::PacketType;
use super::property::{PropertyId, PropertyReader};
use super::reader::Reader;
use super::reason_code::ReasonCode;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::writer::{self, Layout, Sink};

/// A DISCONNECT packet. Which side may send which code and property is the session's matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Disconnect<'a> {
    /// Why; 3.x has only the normal disconnection.
    pub reason: ReasonCode,
    /// Session Expiry Interval in seconds, from the client.
    pub session_expiry: Option<u32>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// Server Reference, from the server.
    pub server_reference: Option<&'a str>,
    /// User Properties.
    pub user: UserProperties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A packet without properties.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry: None,
            reason_string: None,
            server_reference: None,
            user: UserProperties::default(),
        }
    }

    pub(super) fn decode(version: ProtocolVersion, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let mut this = Self::new(ReasonCode::NormalDisconnection);
        if !version.has_properties() {
            let has_body = !reader.is_empty();
            return if has_body {
                Err(DecodeError::UnexpectedBody(PacketType::Disconnect))
            } else {
                Ok(this)
            };
        }
        if !reader.is_empty() {
            this.reason = ReasonCode::parse(reader.u8()?, PacketType::Disconnect)?;
        }
        if !reader.is_empty() {
            this.decode_properties(PropertyReader::open(&mut reader, PacketType::Disconnect)?)?;
        }
        reader.end()?;
        Ok(this)
    }

    fn decode_properties(&mut self, mut section: PropertyReader<'a>) -> Result<(), DecodeError> {
        while let Some(id) = section.next()? {
            match id {
                PropertyId::SessionExpiryInterval => self.session_expiry = Some(section.u32()?),
                PropertyId::ReasonString => self.reason_string = Some(section.string()?),
                PropertyId::ServerReference => self.server_reference = Some(section.string()?),
                PropertyId::UserProperty => section.user_property()?,
                other => return Err(section.not_allowed(other)),
            }
        }
        self.user = section.user();
        Ok(())
    }

    /// Appends the packet: nothing but its header when all is well, else the code and the properties' length.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then. In 3.x, where DISCONNECT says that all is well, that is
    /// every code but the normal disconnection.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(version)?;
        writer::write_packet(PacketType::Disconnect.first_byte(), self, version, out)
    }

    /// Bytes that [`Disconnect::encode`] appends.
    ///
    /// # Errors
    /// Those of [`Disconnect::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check(version)?;
        writer::packet_len(self, version)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        let is_allowed = if version.has_properties() {
            self.reason.is_allowed_in(PacketType::Disconnect)
        } else {
            self.reason == ReasonCode::NormalDisconnection
        };
        if !is_allowed {
            return Err(EncodeError::ReasonCodeNotAllowed(self.reason, PacketType::Disconnect));
        }
        Ok(())
    }
}

struct Properties<'a, 'p>(&'p Disconnect<'a>);

impl Properties<'_, '_> {
    fn is_empty(&self) -> bool {
        let Self(packet) = self;
        packet.session_expiry.is_none()
            && packet.reason_string.is_none()
            && packet.server_reference.is_none()
            && packet.user.is_empty()
    }
}

impl Layout for Properties<'_, '_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        let Self(packet) = self;
        sink.property_u32(PropertyId::SessionExpiryInterval, packet.session_expiry);
        sink.property_string(PropertyId::ServerReference, packet.server_reference);
        sink.property_string(PropertyId::ReasonString, packet.reason_string);
        sink.user_properties(packet.user);
    }
}

impl Layout for Disconnect<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        let properties = Properties(self);
        let is_plain = self.reason == ReasonCode::NormalDisconnection && properties.is_empty();
        if !version.has_properties() || is_plain {
            return;
        }
        sink.u8(self.reason as u8);
        // The standard lets a length of no properties be left out (section 3.14.2.2.1), but there are clients that
        // take that for malformed, and so never learn the code.
        sink.properties(&properties);
    }
}
