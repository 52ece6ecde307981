//! CONNACK: the server's answer to CONNECT.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::error::{DecodeError, EncodeError};
use super::header::PacketType;
use super::property::{PropertyId, PropertyReader};
use super::qos::Qos;
use super::reader::Reader;
use super::reason_code::ReasonCode;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::writer::{self, Layout, Sink};

/// A CONNACK packet.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnAck<'a> {
    /// Whether the server has a session of this client; not on the wire in 3.1.
    pub session_present: bool,
    /// The outcome; in 3.x it travels as the nearest return code.
    pub reason: ReasonCode,
    /// Properties; none before 5.0.
    pub properties: ConnAckProperties<'a>,
}

/// Properties of CONNACK (section 3.2.2.3).
#[derive(Clone, Default, PartialEq)]
pub struct ConnAckProperties<'a> {
    /// Session Expiry Interval in seconds, when it is not what the client asked for.
    pub session_expiry: Option<u32>,
    /// Receive Maximum; absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum QoS: 0 or 1; absent means 2.
    pub maximum_qos: Option<Qos>,
    /// Retain Available; absent means true.
    pub retain_available: Option<bool>,
    /// Maximum Packet Size in bytes that the server takes.
    pub packet_size_max: Option<NonZeroU32>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<&'a str>,
    /// Topic Alias Maximum; absent means 0.
    pub topic_alias_maximum: Option<u16>,
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user: UserProperties<'a>,
    /// Wildcard Subscription Available; absent means true.
    pub wildcard_subscription_available: Option<bool>,
    /// Subscription Identifiers Available; absent means true.
    pub subscription_ids_available: Option<bool>,
    /// Shared Subscription Available; absent means true.
    pub shared_subscription_available: Option<bool>,
    /// Server Keep Alive in seconds, when it is not the client's.
    pub server_keep_alive: Option<u16>,
    /// Response Information.
    pub response_information: Option<&'a str>,
    /// Server Reference.
    pub server_reference: Option<&'a str>,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data.
    pub authentication_data: Option<&'a [u8]>,
}

const SESSION_PRESENT: u8 = 1;

impl<'a> ConnAck<'a> {
    /// An answer without properties.
    #[must_use]
    pub fn new(session_present: bool, reason: ReasonCode) -> Self {
        Self { session_present, reason, properties: ConnAckProperties::default() }
    }

    pub(super) fn decode(version: ProtocolVersion, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        // 3.1 has no Session Present: all of the byte is reserved.
        let known = if version == ProtocolVersion::V31 { 0 } else { SESSION_PRESENT };
        if flags & !known != 0 {
            return Err(DecodeError::ReservedConnAckFlags);
        }
        let session_present = flags & SESSION_PRESENT != 0;
        let code = reader.u8()?;
        let reason = if version.has_properties() {
            ReasonCode::parse(code, PacketType::ConnAck)?
        } else {
            ReasonCode::from_connect_return_code(code).ok_or(DecodeError::UnknownReasonCode(code))?
        };
        if session_present && reason != ReasonCode::Success {
            return Err(DecodeError::SessionPresentWithError);
        }
        let properties = if version.has_properties() {
            ConnAckProperties::decode(PropertyReader::open(&mut reader, PacketType::ConnAck)?)?
        } else {
            ConnAckProperties::default()
        };
        reader.end()?;
        Ok(Self { session_present, reason, properties })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(version)?;
        writer::write_packet(PacketType::ConnAck.first_byte(), self, version, out)
    }

    /// Bytes that [`ConnAck::encode`] appends.
    ///
    /// # Errors
    /// Those of [`ConnAck::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check(version)?;
        writer::packet_len(self, version)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        if self.session_present && self.reason != ReasonCode::Success {
            return Err(EncodeError::SessionPresentWithError);
        }
        if !self.reason.is_allowed_in(PacketType::ConnAck) {
            return Err(EncodeError::ReasonCodeNotAllowed(self.reason, PacketType::ConnAck));
        }
        if version.has_properties() && self.properties.maximum_qos == Some(Qos::ExactlyOnce) {
            return Err(EncodeError::PropertyValue(PropertyId::MaximumQos, 2));
        }
        Ok(())
    }
}

impl<'a> ConnAckProperties<'a> {
    fn decode(mut section: PropertyReader<'a>) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        while let Some(id) = section.next()? {
            match id {
                PropertyId::SessionExpiryInterval => properties.session_expiry = Some(section.u32()?),
                PropertyId::ReceiveMaximum => properties.receive_maximum = Some(section.nonzero_u16(id)?),
                PropertyId::MaximumQos => {
                    let is_one = section.flag(id)?;
                    let qos = if is_one { Qos::AtLeastOnce } else { Qos::AtMostOnce };
                    properties.maximum_qos = Some(qos);
                }
                PropertyId::RetainAvailable => properties.retain_available = Some(section.flag(id)?),
                PropertyId::MaximumPacketSize => properties.packet_size_max = Some(section.nonzero_u32(id)?),
                PropertyId::AssignedClientIdentifier => {
                    properties.assigned_client_id = Some(section.string()?);
                }
                PropertyId::TopicAliasMaximum => properties.topic_alias_maximum = Some(section.u16()?),
                PropertyId::ReasonString => properties.reason_string = Some(section.string()?),
                PropertyId::UserProperty => section.user_property()?,
                PropertyId::WildcardSubscriptionAvailable => {
                    properties.wildcard_subscription_available = Some(section.flag(id)?);
                }
                PropertyId::SubscriptionIdentifierAvailable => {
                    properties.subscription_ids_available = Some(section.flag(id)?);
                }
                PropertyId::SharedSubscriptionAvailable => {
                    properties.shared_subscription_available = Some(section.flag(id)?);
                }
                PropertyId::ServerKeepAlive => properties.server_keep_alive = Some(section.u16()?),
                PropertyId::ResponseInformation => properties.response_information = Some(section.string()?),
                PropertyId::ServerReference => properties.server_reference = Some(section.string()?),
                PropertyId::AuthenticationMethod => {
                    properties.authentication_method = Some(section.string()?);
                }
                PropertyId::AuthenticationData => properties.authentication_data = Some(section.binary()?),
                other => return Err(section.not_allowed(other)),
            }
        }
        properties.user = section.user();
        Ok(properties)
    }
}

impl Layout for ConnAck<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        let has_flags = version != ProtocolVersion::V31;
        sink.u8(if self.session_present && has_flags { SESSION_PRESENT } else { 0 });
        if version.has_properties() {
            sink.u8(self.reason as u8);
            sink.properties(&self.properties);
        } else {
            sink.u8(self.reason.connect_return_code());
        }
    }
}

impl Layout for ConnAckProperties<'_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        let receive_maximum = self.receive_maximum.map(NonZeroU16::get);
        let packet_size_max = self.packet_size_max.map(NonZeroU32::get);
        sink.property_u32(PropertyId::SessionExpiryInterval, self.session_expiry);
        sink.property_u16(PropertyId::ReceiveMaximum, receive_maximum);
        sink.property_u8(PropertyId::MaximumQos, self.maximum_qos.map(u8::from));
        sink.property_flag(PropertyId::RetainAvailable, self.retain_available);
        sink.property_u32(PropertyId::MaximumPacketSize, packet_size_max);
        sink.property_string(PropertyId::AssignedClientIdentifier, self.assigned_client_id);
        sink.property_u16(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        sink.property_flag(PropertyId::WildcardSubscriptionAvailable, self.wildcard_subscription_available);
        sink.property_flag(PropertyId::SubscriptionIdentifierAvailable, self.subscription_ids_available);
        sink.property_flag(PropertyId::SharedSubscriptionAvailable, self.shared_subscription_available);
        sink.property_u16(PropertyId::ServerKeepAlive, self.server_keep_alive);
        sink.property_string(PropertyId::ResponseInformation, self.response_information);
        sink.property_string(PropertyId::ServerReference, self.server_reference);
        sink.property_string(PropertyId::AuthenticationMethod, self.authentication_method);
        sink.property_binary(PropertyId::AuthenticationData, self.authentication_data);
        sink.property_string(PropertyId::ReasonString, self.reason_string);
        sink.user_properties(self.user);
    }
}

/// Without the authentication data: they must not end in a log.
impl fmt::Debug for ConnAckProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnAckProperties")
            .field("session_expiry", &self.session_expiry)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_qos", &self.maximum_qos)
            .field("retain_available", &self.retain_available)
            .field("packet_size_max", &self.packet_size_max)
            .field("assigned_client_id", &self.assigned_client_id)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("reason_string", &self.reason_string)
            .field("user", &self.user)
            .field("server_keep_alive", &self.server_keep_alive)
            .field("server_reference", &self.server_reference)
            .field("authentication_method", &self.authentication_method)
            .finish_non_exhaustive()
    }
}
