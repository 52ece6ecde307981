//! The Will Message inside CONNECT.

use std::borrow::Cow;
use std::fmt;

use super::error::DecodeError;
use super::header::PacketType;
use super::property::{PropertyId, PropertyReader};
use super::publish::{AsReceived, PayloadFormat};
use super::qos::Qos;
use super::reader::Reader;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::writer::{Layout, Sink};

/// What the server publishes when the client ends abnormally.
#[derive(Clone, PartialEq)]
pub struct Will<'a> {
    /// Topic Name, its syntax not checked yet.
    pub topic: &'a str,
    /// Payload, at most 65,535 bytes. (3.1 calls it a string, but publishes its bytes.)
    pub payload: &'a [u8],
    /// QoS to publish it with.
    pub qos: Qos,
    /// Whether to publish it retained.
    pub retain: bool,
    /// Properties; none before 5.0.
    pub properties: WillProperties<'a>,
}

/// Will Properties (section 3.1.3.2).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WillProperties<'a> {
    /// Will Delay Interval in seconds; absent means 0.
    pub delay: Option<u32>,
    /// Payload Format Indicator.
    pub payload_format: Option<PayloadFormat>,
    /// Message Expiry Interval in seconds.
    pub message_expiry: Option<u32>,
    /// Content Type.
    pub content_type: Option<&'a str>,
    /// Response Topic, its syntax not checked yet.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation_data: Option<&'a [u8]>,
    /// User Properties.
    pub user: UserProperties<'a>,
    /// The bytes they were decoded from.
    pub as_received: AsReceived<'a>,
}

impl<'a> Will<'a> {
    /// Reads properties, topic and payload; QoS and retain were in the connect flags.
    pub(super) fn decode(
        version: ProtocolVersion,
        qos: Qos,
        retain: bool,
        reader: &mut Reader<'a>,
    ) -> Result<Self, DecodeError> {
        let properties = if version.has_properties() {
            WillProperties::decode(PropertyReader::open(reader, PacketType::Connect)?)?
        } else {
            WillProperties::default()
        };
        let topic = reader.string()?;
        let payload = reader.binary()?;
        Ok(Self { topic, payload, qos, retain, properties })
    }
}

impl<'a> WillProperties<'a> {
    const NOT_FORWARDED: &'static [PropertyId] =
        &[PropertyId::WillDelayInterval, PropertyId::MessageExpiryInterval];

    fn decode(mut section: PropertyReader<'a>) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        while let Some(id) = section.next()? {
            match id {
                PropertyId::WillDelayInterval => properties.delay = Some(section.u32()?),
                PropertyId::PayloadFormatIndicator => {
                    properties.payload_format = Some(PayloadFormat::decode(&mut section)?);
                }
                PropertyId::MessageExpiryInterval => properties.message_expiry = Some(section.u32()?),
                PropertyId::ContentType => properties.content_type = Some(section.string()?),
                PropertyId::ResponseTopic => properties.response_topic = Some(section.string()?),
                PropertyId::CorrelationData => properties.correlation_data = Some(section.binary()?),
                PropertyId::UserProperty => section.user_property()?,
                other => return Err(section.not_allowed(other)),
            }
        }
        properties.user = section.user();
        properties.as_received = AsReceived::new(&section, Self::NOT_FORWARDED);
        Ok(properties)
    }

    /// The property bytes that travel with the message, without the length before them: all but Will Delay
    /// and Message Expiry. Of decoded properties these are the received bytes in their order.
    #[must_use]
    pub fn forwarded(&self) -> Cow<'a, [u8]> {
        let layout = ForwardedWill(self);
        self.as_received.forwarded(Self::NOT_FORWARDED, &layout)
    }
}

/// Lays out the properties that PUBLISH has too.
struct ForwardedWill<'a, 'p>(&'p WillProperties<'a>);

impl Layout for ForwardedWill<'_, '_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        let Self(properties) = self;
        let payload_format = properties.payload_format.map(|format| format as u8);
        sink.property_u8(PropertyId::PayloadFormatIndicator, payload_format);
        sink.property_string(PropertyId::ContentType, properties.content_type);
        sink.property_string(PropertyId::ResponseTopic, properties.response_topic);
        sink.property_binary(PropertyId::CorrelationData, properties.correlation_data);
        sink.user_properties(properties.user);
    }
}

impl Layout for WillProperties<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.property_u32(PropertyId::WillDelayInterval, self.delay);
        sink.property_u32(PropertyId::MessageExpiryInterval, self.message_expiry);
        ForwardedWill(self).lay_out(version, sink);
    }
}

impl Layout for Will<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        if version.has_properties() {
            sink.properties(&self.properties);
        }
        sink.string(self.topic);
        sink.binary(self.payload);
    }
}

/// The payload shows its length only: it must not end in a log.
impl fmt::Debug for Will<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties)
            .finish()
    }
}
