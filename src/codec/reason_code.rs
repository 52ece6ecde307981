//! The Reason Codes of MQTT 5.0 (section 2.4), which packet may carry which, and the return codes of 3.x.

use super::error::DecodeError;
use super::header::PacketType;
use super::qos::Qos;

macro_rules! reason_codes {
    ($($name:ident = $code:literal, $doc:literal;)*) => {
        /// A Reason Code; below 0x80 is success. Where the standard has several names for one code, the
        /// others are associated constants.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ReasonCode {
            $(#[doc = $doc] $name = $code,)*
        }

        impl ReasonCode {
            /// Every code, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code's name, for logs and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The code with this value, if the standard has one.
            #[must_use]
            pub const fn from_u8(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

reason_codes! {
    Success = 0x00, "Success; also Normal disconnection and Granted QoS 0.";
    GrantedQos1 = 0x01, "Granted QoS 1.";
    GrantedQos2 = 0x02, "Granted QoS 2.";
    DisconnectWithWill = 0x04, "Disconnect with Will Message.";
    NoMatchingSubscribers = 0x10, "No matching subscribers.";
    NoSubscriptionExisted = 0x11, "No subscription existed.";
    ContinueAuthentication = 0x18, "Continue authentication.";
    ReAuthenticate = 0x19, "Re-authenticate.";
    UnspecifiedError = 0x80, "Unspecified error.";
    MalformedPacket = 0x81, "Malformed Packet.";
    ProtocolError = 0x82, "Protocol Error.";
    ImplementationSpecificError = 0x83, "Implementation specific error.";
    UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version.";
    ClientIdentifierNotValid = 0x85, "Client Identifier not valid.";
    BadUserNameOrPassword = 0x86, "Bad User Name or Password.";
    NotAuthorized = 0x87, "Not authorized.";
    ServerUnavailable = 0x88, "Server unavailable.";
    ServerBusy = 0x89, "Server busy.";
    Banned = 0x8A, "Banned.";
    ServerShuttingDown = 0x8B, "Server shutting down.";
    BadAuthenticationMethod = 0x8C, "Bad authentication method.";
    KeepAliveTimeout = 0x8D, "Keep Alive timeout.";
    SessionTakenOver = 0x8E, "Session taken over.";
    TopicFilterInvalid = 0x8F, "Topic Filter invalid.";
    TopicNameInvalid = 0x90, "Topic Name invalid.";
    PacketIdentifierInUse = 0x91, "Packet Identifier in use.";
    PacketIdentifierNotFound = 0x92, "Packet Identifier not found.";
    ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded.";
    TopicAliasInvalid = 0x94, "Topic Alias invalid.";
    PacketTooLarge = 0x95, "Packet too large.";
    MessageRateTooHigh = 0x96, "Message rate too high.";
    QuotaExceeded = 0x97, "Quota exceeded.";
    AdministrativeAction = 0x98, "Administrative action.";
    PayloadFormatInvalid = 0x99, "Payload format invalid.";
    RetainNotSupported = 0x9A, "Retain not supported.";
    QosNotSupported = 0x9B, "QoS not supported.";
    UseAnotherServer = 0x9C, "Use another server.";
    ServerMoved = 0x9D, "Server moved.";
    SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported.";
    ConnectionRateExceeded = 0x9F, "Connection rate exceeded.";
    MaximumConnectTime = 0xA0, "Maximum connect time.";
    SubscriptionIdentifiersNotSupported = 0xA1, "Subscription Identifiers not supported.";
    WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported.";
}

#[expect(non_upper_case_globals, reason = "a second name of a code reads, and matches, like the first")]
impl ReasonCode {
    /// What DISCONNECT calls 0x00.
    pub const NormalDisconnection: Self = Self::Success;
    /// What SUBACK calls 0x00.
    pub const GrantedQos0: Self = Self::Success;
}

impl ReasonCode {
    /// Whether the operation failed (0x80 and above).
    #[must_use]
    pub const fn is_error(self) -> bool {
        self as u8 >= 0x80
    }

    /// The SUBACK code that grants this QoS.
    #[must_use]
    pub const fn granted(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::GrantedQos0,
            Qos::AtLeastOnce => Self::GrantedQos1,
            Qos::ExactlyOnce => Self::GrantedQos2,
        }
    }

    /// The CONNACK return code of MQTT 3.1 and 3.1.1 (0 to 5) that says this best; what has no
    /// counterpart becomes 3, Server unavailable.
    #[must_use]
    pub const fn connect_return_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::BadUserNameOrPassword => 4,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }

    /// The Reason Code of a 3.x CONNACK return code; none above 5.
    #[must_use]
    pub const fn from_connect_return_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedProtocolVersion),
            2 => Some(Self::ClientIdentifierNotValid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadUserNameOrPassword),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }

    /// Whether a packet of this type may carry this code in MQTT 5.0, whichever side sends it.
    ///
    /// The tables 3-1 and 3.4 to 3.15 of the standard, and 0x8C in DISCONNECT, which only table 2-6 lists.
    #[must_use]
    pub const fn is_allowed_in(self, packet_type: PacketType) -> bool {
        let code = self as u8;
        match packet_type {
            PacketType::ConnAck => matches!(
                code,
                0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
            ),
            PacketType::PubAck | PacketType::PubRec => {
                matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            PacketType::PubRel | PacketType::PubComp => matches!(code, 0x00 | 0x92),
            PacketType::SubAck => {
                matches!(code, 0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2)
            }
            PacketType::UnsubAck => matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91),
            PacketType::Disconnect => matches!(
                code,
                0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B..=0x90 | 0x93..=0xA2
            ),
            PacketType::Auth => matches!(code, 0x00 | 0x18 | 0x19),
            PacketType::Connect
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq
            | PacketType::PingResp => false,
        }
    }

    /// A byte of the wire as the code of a 5.0 packet. A value that the standard does not know cannot be
    /// parsed (malformed), one that belongs to other packets is a protocol error.
    pub(super) fn parse(code: u8, packet_type: PacketType) -> Result<Self, DecodeError> {
        let reason = Self::from_u8(code).ok_or(DecodeError::UnknownReasonCode(code))?;
        if !reason.is_allowed_in(packet_type) {
            return Err(DecodeError::ReasonCodeNotAllowed(reason, packet_type));
        }
        Ok(reason)
    }
}
