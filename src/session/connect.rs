//! What a CONNECT and this node agree on, and the CONNACK that says so.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use super::client_id::{ClientId, ClientIdError};
use super::settings::Settings;
use super::will::Will;
use crate::codec::{ConnAck, ConnAckProperties, Connect, ProtocolVersion, Qos, ReasonCode};
use crate::topic::TopicName;

/// The Session Expiry Interval value that means "never" [MQTT5-3.1.2.11.2].
const NEVER_EXPIRES: u32 = u32::MAX;

/// How long a session outlives its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It ends with the connection.
    AtClose,
    /// It ends this long after the connection.
    After(Duration),
    /// It is kept until the client ends it.
    Never,
}

impl Expiry {
    /// From the wire, no longer than `max`.
    fn new(seconds: u32, max: Option<Duration>) -> Self {
        let asked = match seconds {
            0 => return Self::AtClose,
            NEVER_EXPIRES => None,
            seconds => Some(Duration::from_secs(u64::from(seconds))),
        };
        match (asked, max) {
            (None, None) => Self::Never,
            (None, Some(max)) => Self::After(max),
            (Some(asked), max) => Self::After(max.map_or(asked, |max| asked.min(max))),
        }
    }

    /// The value on the wire, in whole seconds.
    fn seconds(self) -> u32 {
        match self {
            Self::AtClose => 0,
            Self::After(time) => u32::try_from(time.as_secs()).unwrap_or(NEVER_EXPIRES - 1),
            Self::Never => NEVER_EXPIRES,
        }
    }

    /// Whether the session outlives its connection.
    #[must_use]
    pub fn is_persistent(self) -> bool {
        self != Self::AtClose
    }

    /// What a DISCONNECT asks for: `None` when it may not (from zero to more, section 3.14.2.2.2).
    pub(super) fn changed_to(self, seconds: u32, max: Option<Duration>) -> Option<Self> {
        if self == Self::AtClose && seconds != 0 {
            return None;
        }
        Some(Self::new(seconds, max))
    }
}

/// A CONNECT that this node accepts, with both sides' limits applied. Authentication comes on top.
#[derive(Clone, Debug)]
pub struct Negotiated {
    /// The protocol version of the connection.
    pub version: ProtocolVersion,
    /// The client's own identifier, or the one assigned to it.
    pub client_id: ClientId,
    /// Clean Start (5.0) or Clean Session (3.x).
    pub clean_start: bool,
    /// How long the session outlives the connection.
    pub expiry: Expiry,
    /// Who the client proved to be; `None` for an anonymous one.
    pub user: Option<Arc<str>>,
    /// Seconds of the keep alive that is in force; 0 is off.
    pub keep_alive: u16,
    /// QoS 1 and 2 publishes that the client takes unacknowledged.
    pub(super) client_receive_maximum: u16,
    /// The largest packet that the client takes.
    pub(super) client_packet_size_max: u32,
    /// Whether reason strings and user properties may be sent with more than PUBLISH, CONNACK and DISCONNECT
    /// [MQTT5-3.1.2-29].
    pub(super) problem_information: bool,
    /// Aliases that the client takes.
    pub(super) client_topic_alias_maximum: u16,
    pub(super) will: Option<Box<Will>>,
    /// For a client that asks for it [MQTT5-3.1.2-28].
    response_information: Option<String>,
    exchange: Option<Exchange>,
    assigned: bool,
    keep_alive_changed: bool,
    expiry_changed: bool,
    /// This node's limits, by the listener that the client came through.
    pub(super) settings: Arc<Settings>,
}

/// The enhanced authentication by which a client has proven itself.
#[derive(Clone)]
struct Exchange {
    method: &'static str,
    last_data: Vec<u8>,
}

impl Negotiated {
    /// Applies the limits of the client's listener to a CONNECT. `random` names a client that came without a Client Identifier.
    ///
    /// # Errors
    /// The reason code of the CONNACK that refuses it.
    pub fn new(connect: &Connect<'_>, settings: &Arc<Settings>, random: u128) -> Result<Self, ReasonCode> {
        let properties = &connect.properties;
        let (client_id, assigned) = client_id(connect, settings, random)?;
        let will = connect.will.as_ref();
        let retained_will = will.is_some_and(|will| will.retain) && connect.version == ProtocolVersion::V5;
        if retained_will && !settings.retain_available {
            return Err(ReasonCode::RetainNotSupported);
        }
        if will.is_some_and(|will| will.qos > settings.qos_max) {
            return Err(ReasonCode::QosNotSupported); // [MQTT5-3.2.2-12]
        }
        let will = will.map(|will| Will::new(will, settings)).transpose()?;
        let asked = match (connect.version, connect.clean_start) {
            (ProtocolVersion::V5, _) => properties.session_expiry.unwrap_or(0),
            (_, true) => 0,
            (_, false) => NEVER_EXPIRES,
        };
        let expiry = Expiry::new(asked, settings.session_expiry_max);
        // Only MQTT 5 can tell the client of another keep alive; an older one keeps its own.
        let keep_alive = match connect.version {
            ProtocolVersion::V5 => settings.keep_alive(connect.keep_alive),
            ProtocolVersion::V31 | ProtocolVersion::V311 => connect.keep_alive,
        };
        let asks = properties.request_response_information == Some(true);
        let information = settings.response_information.as_deref().filter(|_| asks);
        let response_information = information.map(|text| text.replace("%c", client_id.as_str()));
        Ok(Self {
            version: connect.version,
            client_id,
            clean_start: connect.clean_start,
            expiry,
            user: None,
            keep_alive,
            client_receive_maximum: properties.receive_maximum.map_or(u16::MAX, NonZeroU16::get),
            client_packet_size_max: properties.packet_size_max.map_or(u32::MAX, |size| size.get()),
            problem_information: properties.request_problem_information.unwrap_or(true),
            client_topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            will: will.map(Box::new),
            response_information,
            exchange: None,
            assigned,
            keep_alive_changed: keep_alive != connect.keep_alive,
            expiry_changed: expiry.seconds() != asked && connect.version == ProtocolVersion::V5,
            settings: Arc::clone(settings),
        })
    }

    /// The client has proven with its password to be `user`.
    #[must_use]
    pub fn by_password(self, user: Arc<str>) -> Self {
        Self { user: Some(user), ..self }
    }

    /// The client has proven to be `user` by an exchange of this method; CONNACK brings it the server's
    /// `last_data` [MQTT5-3.2.2.3.18].
    #[must_use]
    pub fn by_exchange(self, user: Arc<str>, method: &'static str, last_data: Vec<u8>) -> Self {
        Self { user: Some(user), exchange: Some(Exchange { method, last_data }), ..self }
    }

    /// Where the Will is to be published, if there is one.
    #[must_use]
    pub fn will_topic(&self) -> Option<&TopicName> {
        self.will.as_deref().map(Will::topic)
    }

    /// The limits of the client's listener.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Lets the Will, if there is one, be published to another topic than the client's.
    pub fn set_will_topic(&mut self, topic: TopicName) {
        if let Some(will) = &mut self.will {
            will.set_topic(topic);
        }
    }

    /// The Authentication Method of the connection, when the client was proven by one.
    pub(super) fn method(&self) -> Option<&'static str> {
        self.exchange.as_ref().map(|exchange| exchange.method)
    }

    /// The largest packet that the client takes, in bytes.
    #[must_use]
    pub fn client_packet_size_max(&self) -> u32 {
        self.client_packet_size_max
    }

    /// How long the client may be silent: one and a half times its keep alive [MQTT5-3.1.2-22].
    #[must_use]
    pub fn silence_max(&self) -> Option<Duration> {
        (self.keep_alive != 0).then(|| Duration::from_millis(u64::from(self.keep_alive) * 1_500))
    }

    /// Whether the CONNACK that accepts the client is no larger than it takes [MQTT5-3.1.2-24]. If not, it has to
    /// be refused.
    #[must_use]
    pub fn connack_fits(&self) -> bool {
        self.fits(&self.connack_without_information(false))
    }

    fn fits(&self, connack: &ConnAck<'_>) -> bool {
        connack.encoded_len(self.version).is_ok_and(|len| len <= self.client_packet_size_max as usize)
    }

    /// The CONNACK that accepts it, with every limit that differs from the protocol's default.
    pub(super) fn connack(&self, session_present: bool) -> ConnAck<'_> {
        let mut connack = self.connack_without_information(session_present);
        connack.properties.response_information = self.response_information.as_deref();
        if !self.fits(&connack) {
            connack.properties.response_information = None;
        }
        connack
    }

    fn connack_without_information(&self, session_present: bool) -> ConnAck<'_> {
        let settings = &self.settings;
        let receive_maximum = NonZeroU16::new(settings.receive_maximum).filter(|max| max.get() != u16::MAX);
        let last_data = self.exchange.as_ref().map(|exchange| exchange.last_data.as_slice());
        ConnAck {
            session_present,
            reason: ReasonCode::Success,
            properties: ConnAckProperties {
                session_expiry: self.expiry_changed.then(|| self.expiry.seconds()),
                receive_maximum,
                packet_size_max: std::num::NonZeroU32::new(settings.packet_size_max),
                assigned_client_id: self.assigned.then(|| self.client_id.as_str()),
                topic_alias_maximum: Some(settings.topic_alias_maximum).filter(|max| *max != 0),
                server_keep_alive: self.keep_alive_changed.then_some(self.keep_alive),
                maximum_qos: Some(settings.qos_max).filter(|max| *max != Qos::ExactlyOnce),
                retain_available: (!settings.retain_available).then_some(false),
                wildcard_subscription_available: (!settings.wildcard_available).then_some(false),
                subscription_ids_available: (!settings.subscription_ids_available).then_some(false),
                shared_subscription_available: (!settings.shared_available).then_some(false),
                authentication_method: self.method(),
                authentication_data: last_data.filter(|data| !data.is_empty()),
                ..ConnAckProperties::default()
            },
        }
    }
}

/// Without the data: it must not end in a log.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The Client Identifier by the rules of each version, and whether this node made it.
fn client_id(
    connect: &Connect<'_>,
    settings: &Settings,
    random: u128,
) -> Result<(ClientId, bool), ReasonCode> {
    match ClientId::parse(connect.client_id, settings.client_id_len_max) {
        Ok(id) => Ok((id, false)),
        Err(ClientIdError::TooLong { .. }) => Err(ReasonCode::ClientIdentifierNotValid),
        Err(ClientIdError::Empty) => {
            let may_be_empty = match connect.version {
                ProtocolVersion::V31 => false,
                // [MQTT311-3.1.3-7] and [MQTT311-3.1.3-8].
                ProtocolVersion::V311 => connect.clean_start,
                ProtocolVersion::V5 => true,
            };
            if !may_be_empty {
                return Err(ReasonCode::ClientIdentifierNotValid);
            }
            Ok((ClientId::assigned(random), true))
        }
    }
}
