//! AUTH: a step of an enhanced authentication, since 5.0.

use std::fmt;

use super::error::{DecodeError, EncodeError};
use super::header::PacketType;
use super::property::{PropertyId, PropertyReader};
use super::reader::Reader;
use super::reason_code::ReasonCode;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::writer::{self, Layout, Sink};

/// An AUTH packet.
#[derive(Clone, Copy, PartialEq)]
pub struct Auth<'a> {
    /// Success, Continue authentication or Re-authenticate.
    pub reason: ReasonCode,
    /// Authentication Method. Absent only in the form without a body, which means Success.
    pub method: Option<&'a str>,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    /// A packet with nothing but a code.
    const fn bare(reason: ReasonCode, user: UserProperties<'a>) -> Self {
        Self { reason, method: None, data: None, reason_string: None, user }
    }

    pub(super) fn decode(version: ProtocolVersion, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        if !version.has_properties() {
            return Err(DecodeError::PacketTypeNotInVersion(PacketType::Auth, version));
        }
        if reader.is_empty() {
            return Ok(Self::bare(ReasonCode::Success, UserProperties::default()));
        }
        let reason = ReasonCode::parse(reader.u8()?, PacketType::Auth)?;
        let mut section = PropertyReader::open(&mut reader, PacketType::Auth)?;
        let mut this = Self::bare(reason, UserProperties::default());
        while let Some(id) = section.next()? {
            match id {
                PropertyId::AuthenticationMethod => this.method = Some(section.string()?),
                PropertyId::AuthenticationData => this.data = Some(section.binary()?),
                PropertyId::ReasonString => this.reason_string = Some(section.string()?),
                PropertyId::UserProperty => section.user_property()?,
                other => return Err(section.not_allowed(other)),
            }
        }
        if this.method.is_none() {
            return Err(DecodeError::AuthenticationMethodMissing);
        }
        this.user = section.user();
        reader.end()?;
        Ok(this)
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(version)?;
        writer::write_packet(PacketType::Auth.first_byte(), self, version, out)
    }

    /// Bytes that [`Auth::encode`] appends.
    ///
    /// # Errors
    /// Those of [`Auth::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check(version)?;
        writer::packet_len(self, version)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if !version.has_properties() {
            return Err(EncodeError::PacketTypeNotInVersion(PacketType::Auth, version));
        }
        if !self.reason.is_allowed_in(PacketType::Auth) {
            return Err(EncodeError::ReasonCodeNotAllowed(self.reason, PacketType::Auth));
        }
        if self.method.is_none() && !self.has_no_body() {
            return Err(EncodeError::AuthenticationMethodMissing);
        }
        Ok(())
    }

    fn has_no_body(&self) -> bool {
        self.reason == ReasonCode::Success
            && self.method.is_none()
            && self.data.is_none()
            && self.reason_string.is_none()
            && self.user.is_empty()
    }
}

struct Properties<'a, 'p>(&'p Auth<'a>);

impl Layout for Properties<'_, '_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        let Self(packet) = self;
        sink.property_string(PropertyId::AuthenticationMethod, packet.method);
        sink.property_binary(PropertyId::AuthenticationData, packet.data);
        sink.property_string(PropertyId::ReasonString, packet.reason_string);
        sink.user_properties(packet.user);
    }
}

impl Layout for Auth<'_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        if self.has_no_body() {
            return;
        }
        sink.u8(self.reason as u8);
        sink.properties(&Properties(self));
    }
}

/// Without the authentication data: they must not end in a log.
impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("reason", &self.reason)
            .field("method", &self.method)
            .field("has_data", &self.data.is_some())
            .field("reason_string", &self.reason_string)
            .field("user", &self.user)
            .finish()
    }
}
