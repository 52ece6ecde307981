//! What can be wrong with bytes that should be a packet, and with a packet that should become bytes.

use super::header::PacketType;
use super::property::PropertyId;
use super::reason_code::ReasonCode;
use super::version::ProtocolVersion;

/// Why bytes are not a packet. Always the sender's fault; the connection is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Packet type 0 (section 2.1.2).
    #[error("packet type 0 is forbidden")]
    ReservedPacketType,
    /// A packet type that the version of this connection does not have: AUTH before 5.0.
    #[error("{0:?} does not exist in MQTT {1}")]
    PacketTypeNotInVersion(PacketType, ProtocolVersion),
    /// Reserved bits of the first byte [MQTT5-2.1.3-1].
    #[error("{0:?} with flags {1:#06b}")]
    InvalidFlags(PacketType, u8),
    /// Both QoS bits of a PUBLISH [MQTT5-3.3.1-4].
    #[error("PUBLISH with QoS 3")]
    PublishQos3,
    /// DUP on a QoS 0 PUBLISH [MQTT5-3.3.1-2].
    #[error("DUP with QoS 0")]
    DupWithQos0,
    /// More than four bytes of variable byte integer (section 1.5.5).
    #[error("variable byte integer of more than four bytes")]
    VariableByteIntegerTooLong,
    /// More bytes than needed for the value [MQTT5-1.5.5-1].
    #[error("variable byte integer is not minimal")]
    VariableByteIntegerNotMinimal,
    /// Longer than the receiver takes [MQTT5-3.2.2-15].
    #[error("packet of {total_len} bytes where {packet_size_max} are allowed")]
    PacketTooLarge {
        /// Bytes of the whole packet, as announced.
        total_len: usize,
        /// The greatest packet that is accepted, in bytes.
        packet_size_max: u32,
    },
    /// A packet or property section ends inside a field.
    #[error("a field does not fit into its packet")]
    Truncated,
    /// Bytes after the last field.
    #[error("bytes after the end of the packet")]
    TrailingBytes,
    /// A packet without a variable header and payload that has bytes there.
    #[error("{0:?} has a body")]
    UnexpectedBody(PacketType),
    /// Not well-formed UTF-8, surrogates included [MQTT5-1.5.4-1].
    #[error("string is not UTF-8")]
    InvalidUtf8,
    /// U+0000 in a string [MQTT5-1.5.4-2].
    #[error("string contains U+0000")]
    NulInString,
    /// Neither `MQTT` nor `MQIsdp` [MQTT5-3.1.2-1]: maybe not MQTT at all, so there is no version to answer in.
    #[error("unknown protocol name")]
    UnknownProtocolName,
    /// A protocol level that is not supported [MQTT5-3.1.2-2] [MQTT311-3.1.2-2].
    #[error("unsupported protocol level {level}")]
    UnsupportedProtocolVersion {
        /// The level byte of the CONNECT.
        level: u8,
        /// The version in which the peer probably understands a CONNACK.
        answer_in: ProtocolVersion,
    },
    /// Bit 0 of the connect flags [MQTT5-3.1.2-3].
    #[error("reserved connect flag is set")]
    ReservedConnectFlag,
    /// Will QoS 3 [MQTT5-3.1.2-12].
    #[error("Will QoS 3")]
    WillQos3,
    /// Will QoS or Will Retain without Will Flag [MQTT5-3.1.2-11] [MQTT5-3.1.2-13].
    #[error("Will QoS or Will Retain without Will Flag")]
    WillFlagsWithoutWill,
    /// Password without User Name, before 5.0 [MQTT311-3.1.2-22].
    #[error("Password without User Name")]
    PasswordWithoutUserName,
    /// Reserved bits of the CONNACK flags (section 3.2.2.1).
    #[error("reserved CONNACK flags are set")]
    ReservedConnAckFlags,
    /// Session Present with an error [MQTT5-3.2.2-6].
    #[error("Session Present with a reason code other than Success")]
    SessionPresentWithError,
    /// An identifier that no packet has (section 2.2.2.2).
    #[error("unknown property {0:#04x}")]
    UnknownProperty(u8),
    /// A property that this packet type does not have (section 2.2.2.2).
    #[error("{0:?} is not a property of {1:?}")]
    PropertyNotAllowed(PropertyId, PacketType),
    /// A property that may be there once only.
    #[error("{0:?} more than once")]
    DuplicateProperty(PropertyId),
    /// A value outside what the standard allows for the property.
    #[error("{0:?} with value {1}")]
    PropertyValue(PropertyId, u32),
    /// Topic Alias 0 [MQTT5-3.3.2-8].
    #[error("Topic Alias 0")]
    TopicAliasZero,
    /// Packet Identifier 0 [MQTT5-2.2.1-3].
    #[error("Packet Identifier 0")]
    PacketIdZero,
    /// A zero-length Topic Name without Topic Alias (section 3.3.2.1) [MQTT5-4.7.3-1].
    #[error("empty Topic Name without Topic Alias")]
    EmptyTopic,
    /// SUBSCRIBE or UNSUBSCRIBE without Topic Filter [MQTT5-3.8.3-2] [MQTT5-3.10.3-2].
    #[error("{0:?} without Topic Filter")]
    NoTopicFilter(PacketType),
    /// SUBACK or UNSUBACK without reason codes, though every request has a Topic Filter.
    #[error("{0:?} without reason codes")]
    NoReasonCodes(PacketType),
    /// Reserved bits of the Subscription Options [MQTT5-3.8.3-5] [MQTT311-3.8.3-4].
    #[error("reserved subscription options are set")]
    ReservedSubscriptionOptions,
    /// Maximum QoS 3 in the Subscription Options (section 3.8.3.1).
    #[error("subscription with QoS 3")]
    SubscriptionQos3,
    /// Retain Handling 3 (section 3.8.3.1).
    #[error("Retain Handling 3")]
    RetainHandling3,
    /// A reason or return code that the standard does not have.
    #[error("unknown reason code {0:#04x}")]
    UnknownReasonCode(u8),
    /// A reason code that belongs to other packets.
    #[error("{0:?} in {1:?}")]
    ReasonCodeNotAllowed(ReasonCode, PacketType),
    /// Authentication Data without Authentication Method (section 3.1.2.11.10).
    #[error("Authentication Data without Authentication Method")]
    AuthenticationDataWithoutMethod,
    /// AUTH without Authentication Method (section 3.15.2.2.2).
    #[error("AUTH without Authentication Method")]
    AuthenticationMethodMissing,
}

impl DecodeError {
    /// The Reason Code to close the connection with. MQTT 3.x has none on the wire: there the connection is
    /// just closed, but for CONNACK (see [`ReasonCode::connect_return_code`]).
    #[must_use]
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::ReservedPacketType
            | Self::PacketTypeNotInVersion(..)
            | Self::InvalidFlags(..)
            | Self::PublishQos3
            | Self::DupWithQos0
            | Self::VariableByteIntegerTooLong
            | Self::VariableByteIntegerNotMinimal
            | Self::Truncated
            | Self::TrailingBytes
            | Self::UnexpectedBody(_)
            | Self::InvalidUtf8
            | Self::NulInString
            | Self::ReservedConnectFlag
            | Self::WillQos3
            | Self::WillFlagsWithoutWill
            | Self::ReservedConnAckFlags
            | Self::UnknownProperty(_)
            | Self::PropertyNotAllowed(..)
            | Self::ReservedSubscriptionOptions
            | Self::UnknownReasonCode(_) => ReasonCode::MalformedPacket,
            Self::PasswordWithoutUserName
            | Self::SessionPresentWithError
            | Self::DuplicateProperty(_)
            | Self::PropertyValue(..)
            | Self::PacketIdZero
            | Self::EmptyTopic
            | Self::NoTopicFilter(_)
            | Self::NoReasonCodes(_)
            | Self::SubscriptionQos3
            | Self::RetainHandling3
            | Self::ReasonCodeNotAllowed(..)
            | Self::AuthenticationDataWithoutMethod
            | Self::AuthenticationMethodMissing => ReasonCode::ProtocolError,
            Self::UnknownProtocolName | Self::UnsupportedProtocolVersion { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
        }
    }
}

/// Why a packet cannot become bytes. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string or binary field longer than 65,535 bytes.
    #[error("field of {0} bytes is longer than 65,535")]
    FieldTooLong(usize),
    /// U+0000 in a string [MQTT5-1.5.4-2].
    #[error("string contains U+0000")]
    NulInString,
    /// More than 268,435,455 bytes after the fixed header.
    #[error("packet body of {0} bytes is longer than 268,435,455")]
    PacketTooLong(usize),
    /// A value the standard does not allow for the property: Subscription Identifier 0 or too great,
    /// Maximum QoS 2.
    #[error("{0:?} with value {1}")]
    PropertyValue(PropertyId, u32),
    /// A Packet Identifier with QoS 0, or none with QoS 1 or 2 [MQTT5-2.2.1-2].
    #[error("Packet Identifier does not fit the QoS")]
    PacketIdMismatch,
    /// DUP on a QoS 0 PUBLISH [MQTT5-3.3.1-2].
    #[error("DUP with QoS 0")]
    DupWithQos0,
    /// A zero-length Topic Name without Topic Alias.
    #[error("empty Topic Name without Topic Alias")]
    EmptyTopic,
    /// Password without User Name, before 5.0 [MQTT311-3.1.2-22].
    #[error("Password without User Name")]
    PasswordWithoutUserName,
    /// Session Present with an error [MQTT5-3.2.2-6].
    #[error("Session Present with a reason code other than Success")]
    SessionPresentWithError,
    /// A packet type that the version does not have: AUTH before 5.0.
    #[error("{0:?} does not exist in MQTT {1}")]
    PacketTypeNotInVersion(PacketType, ProtocolVersion),
    /// A reason code that this packet may not carry in this version.
    #[error("{0:?} in {1:?}")]
    ReasonCodeNotAllowed(ReasonCode, PacketType),
    /// SUBSCRIBE or UNSUBSCRIBE without Topic Filter.
    #[error("{0:?} without Topic Filter")]
    NoTopicFilter(PacketType),
    /// SUBACK or UNSUBACK without reason codes.
    #[error("{0:?} without reason codes")]
    NoReasonCodes(PacketType),
    /// Authentication Data without Authentication Method.
    #[error("Authentication Data without Authentication Method")]
    AuthenticationDataWithoutMethod,
    /// AUTH without Authentication Method.
    #[error("AUTH without Authentication Method")]
    AuthenticationMethodMissing,
}
