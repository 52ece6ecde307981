//! CONNECT: the first packet of a client, which names the version of all that follow.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::error::{DecodeError, EncodeError};
use super::header::{self, PacketType};
use super::property::{PropertyId, PropertyReader};
use super::qos::Qos;
use super::reader::Reader;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::will::Will;
use super::writer::{self, Layout, Sink};

/// A CONNECT packet.
#[derive(Clone, PartialEq)]
pub struct Connect<'a> {
    /// The version of this connection.
    pub version: ProtocolVersion,
    /// Clean Start; in 3.x Clean Session, which also ends the session with the connection.
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 turns it off.
    pub keep_alive: u16,
    /// Client Identifier, possibly empty; which ones are taken is the session's matter.
    pub client_id: &'a str,
    /// Will Message.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub user_name: Option<&'a str>,
    /// Password; before 5.0 only together with a User Name.
    pub password: Option<&'a [u8]>,
    /// Properties; none before 5.0.
    pub properties: ConnectProperties<'a>,
}

/// Properties of CONNECT (section 3.1.2.11).
#[derive(Clone, Default, PartialEq)]
pub struct ConnectProperties<'a> {
    /// Session Expiry Interval in seconds; absent means 0, `u32::MAX` never.
    pub session_expiry: Option<u32>,
    /// Receive Maximum; absent means 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size in bytes that the client takes; absent means no limit but the protocol's.
    pub packet_size_max: Option<NonZeroU32>,
    /// Topic Alias Maximum; absent means 0.
    pub topic_alias_maximum: Option<u16>,
    /// Request Response Information; absent means false.
    pub request_response_information: Option<bool>,
    /// Request Problem Information; absent means true.
    pub request_problem_information: Option<bool>,
    /// User Properties.
    pub user: UserProperties<'a>,
    /// Authentication Method.
    pub authentication_method: Option<&'a str>,
    /// Authentication Data; only together with a method.
    pub authentication_data: Option<&'a [u8]>,
}

const RESERVED: u8 = 0b0000_0001;
const CLEAN_START: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// The version that a CONNECT packet names, when it is a supported one: for answering a packet that
/// [`decode`](super::decode) refused. `frame` begins with the fixed header.
#[must_use]
pub fn connect_version(frame: &[u8]) -> Option<ProtocolVersion> {
    let header = header::peek(frame, u32::MAX).ok()??;
    if header.packet_type != PacketType::Connect {
        return None;
    }
    decode_version(&mut Reader::new(frame.get(header.header_len..)?)).ok()
}

fn decode_version(reader: &mut Reader<'_>) -> Result<ProtocolVersion, DecodeError> {
    let name = reader.string()?;
    let is_mqtt = match name {
        "MQTT" => true,
        "MQIsdp" => false,
        _ => return Err(DecodeError::UnknownProtocolName),
    };
    let level = reader.u8()?;
    match (is_mqtt, level) {
        (false, 3) => Ok(ProtocolVersion::V31),
        (true, 4) => Ok(ProtocolVersion::V311),
        (true, 5) => Ok(ProtocolVersion::V5),
        (false, _) => Err(unsupported(level, ProtocolVersion::V31)),
        // Some bridges set the highest bit to say what they are.
        (true, _) if level & 0x7F <= 4 => Err(unsupported(level, ProtocolVersion::V311)),
        (true, _) => Err(unsupported(level, ProtocolVersion::V5)),
    }
}

const fn unsupported(level: u8, answer_in: ProtocolVersion) -> DecodeError {
    DecodeError::UnsupportedProtocolVersion { level, answer_in }
}

impl<'a> Connect<'a> {
    /// A CONNECT with Clean Start, without keep alive, will, credentials and properties.
    #[must_use]
    pub fn new(version: ProtocolVersion, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    /// `is_minimal` says whether the Remaining Length was, which matters once the version is known.
    pub(super) fn decode(mut reader: Reader<'a>, is_minimal: bool) -> Result<Self, DecodeError> {
        let version = decode_version(&mut reader)?;
        if version.has_properties() && !is_minimal {
            return Err(DecodeError::VariableByteIntegerNotMinimal);
        }
        let flags = reader.u8()?;
        let will_flags = decode_flags(version, flags)?;
        let keep_alive = reader.u16()?;
        let properties = if version.has_properties() {
            ConnectProperties::decode(PropertyReader::open(&mut reader, PacketType::Connect)?)?
        } else {
            ConnectProperties::default()
        };
        let client_id = reader.string()?;
        let will = match will_flags {
            Some((qos, retain)) => Some(Will::decode(version, qos, retain, &mut reader)?),
            None => None,
        };
        // In 3.1 the Remaining Length takes precedence over these two flags: a field that is announced but
        // missing is as if it had not been announced.
        let may_be_missing = version == ProtocolVersion::V31;
        let has = |flag: u8, reader: &Reader<'_>| flags & flag != 0 && !(may_be_missing && reader.is_empty());
        let user_name = if has(USER_NAME, &reader) { Some(reader.string()?) } else { None };
        let password = if has(PASSWORD, &reader) { Some(reader.binary()?) } else { None };
        reader.end()?;
        let clean_start = flags & CLEAN_START != 0;
        Ok(Self { version, clean_start, keep_alive, client_id, will, user_name, password, properties })
    }

    /// Appends the packet in its own version, whatever `version` says.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then.
    pub fn encode(&self, _version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        writer::write_packet(PacketType::Connect.first_byte(), self, self.version, out)
    }

    /// Bytes that [`Connect::encode`] appends.
    ///
    /// # Errors
    /// Those of [`Connect::encode`].
    pub fn encoded_len(&self, _version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check()?;
        writer::packet_len(self, self.version)
    }

    fn check(&self) -> Result<(), EncodeError> {
        let is_v5 = self.version.has_properties();
        if !is_v5 && self.password.is_some() && self.user_name.is_none() {
            return Err(EncodeError::PasswordWithoutUserName);
        }
        let has_method = self.properties.authentication_method.is_some();
        if is_v5 && self.properties.authentication_data.is_some() && !has_method {
            return Err(EncodeError::AuthenticationDataWithoutMethod);
        }
        Ok(())
    }

    fn flags(&self) -> u8 {
        let set = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
        let will = self
            .will
            .as_ref()
            .map_or(0, |will| WILL | (u8::from(will.qos) << WILL_QOS_SHIFT) | set(WILL_RETAIN, will.retain));
        will | set(CLEAN_START, self.clean_start)
            | set(PASSWORD, self.password.is_some())
            | set(USER_NAME, self.user_name.is_some())
    }
}

/// QoS and retain of the will, when there is one.
fn decode_flags(version: ProtocolVersion, flags: u8) -> Result<Option<(Qos, bool)>, DecodeError> {
    if flags & RESERVED != 0 {
        return Err(DecodeError::ReservedConnectFlag);
    }
    let password_only = flags & (PASSWORD | USER_NAME) == PASSWORD;
    if password_only && version != ProtocolVersion::V5 {
        return Err(DecodeError::PasswordWithoutUserName);
    }
    if flags & WILL == 0 {
        // 3.1 says of both that their "value is disregarded" without a will.
        let has_remains = flags & (WILL_QOS | WILL_RETAIN) != 0;
        if has_remains && version != ProtocolVersion::V31 {
            return Err(DecodeError::WillFlagsWithoutWill);
        }
        return Ok(None);
    }
    let qos = Qos::from_u8((flags & WILL_QOS) >> WILL_QOS_SHIFT).ok_or(DecodeError::WillQos3)?;
    Ok(Some((qos, flags & WILL_RETAIN != 0)))
}

impl<'a> ConnectProperties<'a> {
    fn decode(mut section: PropertyReader<'a>) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        while let Some(id) = section.next()? {
            match id {
                PropertyId::SessionExpiryInterval => properties.session_expiry = Some(section.u32()?),
                PropertyId::ReceiveMaximum => properties.receive_maximum = Some(section.nonzero_u16(id)?),
                PropertyId::MaximumPacketSize => properties.packet_size_max = Some(section.nonzero_u32(id)?),
                PropertyId::TopicAliasMaximum => properties.topic_alias_maximum = Some(section.u16()?),
                PropertyId::RequestResponseInformation => {
                    properties.request_response_information = Some(section.flag(id)?);
                }
                PropertyId::RequestProblemInformation => {
                    properties.request_problem_information = Some(section.flag(id)?);
                }
                PropertyId::AuthenticationMethod => {
                    properties.authentication_method = Some(section.string()?);
                }
                PropertyId::AuthenticationData => properties.authentication_data = Some(section.binary()?),
                PropertyId::UserProperty => section.user_property()?,
                other => return Err(section.not_allowed(other)),
            }
        }
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationDataWithoutMethod);
        }
        properties.user = section.user();
        Ok(properties)
    }
}

impl Layout for Connect<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.string(version.protocol_name());
        sink.u8(version.level());
        sink.u8(self.flags());
        sink.u16(self.keep_alive);
        if version.has_properties() {
            sink.properties(&self.properties);
        }
        sink.string(self.client_id);
        if let Some(will) = &self.will {
            will.lay_out(version, sink);
        }
        if let Some(user_name) = self.user_name {
            sink.string(user_name);
        }
        if let Some(password) = self.password {
            sink.binary(password);
        }
    }
}

impl Layout for ConnectProperties<'_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        let receive_maximum = self.receive_maximum.map(NonZeroU16::get);
        let packet_size_max = self.packet_size_max.map(NonZeroU32::get);
        sink.property_u32(PropertyId::SessionExpiryInterval, self.session_expiry);
        sink.property_u16(PropertyId::ReceiveMaximum, receive_maximum);
        sink.property_u32(PropertyId::MaximumPacketSize, packet_size_max);
        sink.property_u16(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
        sink.property_flag(PropertyId::RequestResponseInformation, self.request_response_information);
        sink.property_flag(PropertyId::RequestProblemInformation, self.request_problem_information);
        sink.property_string(PropertyId::AuthenticationMethod, self.authentication_method);
        sink.property_binary(PropertyId::AuthenticationData, self.authentication_data);
        sink.user_properties(self.user);
    }
}

/// Without the password: it must not end in a log.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("has_password", &self.password.is_some())
            .field("properties", &self.properties)
            .finish()
    }
}

/// Without the authentication data: they must not end in a log.
impl fmt::Debug for ConnectProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectProperties")
            .field("session_expiry", &self.session_expiry)
            .field("receive_maximum", &self.receive_maximum)
            .field("packet_size_max", &self.packet_size_max)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("request_response_information", &self.request_response_information)
            .field("request_problem_information", &self.request_problem_information)
            .field("user", &self.user)
            .field("authentication_method", &self.authentication_method)
            .finish_non_exhaustive()
    }
}
