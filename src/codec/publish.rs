//! PUBLISH, decoded without an allocation. What a broker sends on is written by [`Outgoing`](super::Outgoing).

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;

use smallvec::SmallVec;

use super::error::{DecodeError, EncodeError};
use super::header::PacketType;
use super::packet_id::PacketId;
use super::property::{PropertyId, PropertyReader, pieces};
use super::qos::Qos;
use super::reader::Reader;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::writer::{self, Layout, Sink};

/// A PUBLISH packet.
#[derive(Clone, PartialEq)]
pub struct Publish<'a> {
    /// Whether this may be a repetition; never with QoS 0.
    pub dup: bool,
    /// Quality of Service.
    pub qos: Qos,
    /// Retain flag.
    pub retain: bool,
    /// Topic Name, its syntax not checked yet; empty only with a Topic Alias.
    pub topic: &'a str,
    /// Packet Identifier: with QoS 1 and 2, not with QoS 0.
    pub packet_id: Option<PacketId>,
    /// Properties; none before 5.0.
    pub properties: PublishProperties<'a>,
    /// Application Message.
    pub payload: &'a [u8],
}

/// What the Payload Format Indicator says of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PayloadFormat {
    /// Unspecified bytes.
    Unspecified = 0,
    /// UTF-8 text; not checked here.
    Utf8 = 1,
}

impl PayloadFormat {
    pub(super) fn decode(section: &mut PropertyReader<'_>) -> Result<Self, DecodeError> {
        let is_utf8 = section.flag(PropertyId::PayloadFormatIndicator)?;
        Ok(if is_utf8 { Self::Utf8 } else { Self::Unspecified })
    }
}

/// Properties of PUBLISH (section 3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishProperties<'a> {
    /// Payload Format Indicator.
    pub payload_format: Option<PayloadFormat>,
    /// Message Expiry Interval in seconds.
    pub message_expiry: Option<u32>,
    /// Topic Alias; whether it is in the range that was agreed is the session's matter.
    pub topic_alias: Option<NonZeroU16>,
    /// Response Topic, its syntax not checked yet.
    pub response_topic: Option<&'a str>,
    /// Correlation Data.
    pub correlation_data: Option<&'a [u8]>,
    /// Content Type.
    pub content_type: Option<&'a str>,
    /// Subscription Identifiers, 1 to 268,435,455; only a server may send them.
    pub subscription_ids: SmallVec<[u32; 1]>,
    /// User Properties.
    pub user: UserProperties<'a>,
    /// The bytes they were decoded from.
    pub as_received: AsReceived<'a>,
}

/// The property bytes of a decoded packet, kept so that they can be relayed without encoding them again.
/// Nothing for properties that were not decoded.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsReceived<'a>(Option<Section<'a>>);

#[derive(Clone, Copy, Debug)]
struct Section<'a> {
    bytes: &'a [u8],
    /// All of it is relayed.
    is_forwarded: bool,
}

/// Where the values came from is no part of them: always equal.
impl PartialEq for AsReceived<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<'a> AsReceived<'a> {
    #[inline]
    pub(super) fn new(section: &PropertyReader<'a>, not_forwarded: &[PropertyId]) -> Self {
        let is_forwarded = !section.has_seen(not_forwarded);
        Self(Some(Section { bytes: section.section(), is_forwarded }))
    }

    /// The section without `not_forwarded`; when there is none, the bytes of `layout`.
    #[inline]
    pub(super) fn forwarded(&self, not_forwarded: &[PropertyId], layout: &impl Layout) -> Cow<'a, [u8]> {
        match self.0 {
            Some(Section { bytes, is_forwarded: true }) => Cow::Borrowed(bytes),
            Some(Section { bytes, is_forwarded: false }) => {
                let relayed = pieces(bytes).filter(|(id, _)| !not_forwarded.contains(id));
                Cow::Owned(relayed.flat_map(|(_, piece)| piece).copied().collect())
            }
            // Whoever builds properties has `check`; what fails it has no bytes to relay.
            None => Cow::Owned(writer::properties_bytes(layout).unwrap_or_default()),
        }
    }
}

impl<'a> Publish<'a> {
    /// A QoS 0 message without properties.
    #[must_use]
    pub fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            properties: PublishProperties::default(),
            payload,
        }
    }

    /// `flags`, the lower half of the first byte, went through `peek`.
    #[inline]
    pub(super) fn decode(
        version: ProtocolVersion,
        flags: u8,
        mut reader: Reader<'a>,
    ) -> Result<Self, DecodeError> {
        let qos = Qos::from_u8((flags >> 1) & 0b11).ok_or(DecodeError::PublishQos3)?;
        let topic = reader.string()?;
        let packet_id = if qos == Qos::AtMostOnce { None } else { Some(reader.packet_id()?) };
        let properties = if version.has_properties() {
            PublishProperties::decode(PropertyReader::open(&mut reader, PacketType::Publish)?)?
        } else {
            PublishProperties::default()
        };
        if topic.is_empty() && properties.topic_alias.is_none() {
            return Err(DecodeError::EmptyTopic);
        }
        Ok(Self {
            dup: flags & 0b1000 != 0,
            qos,
            retain: flags & 0b0001 != 0,
            topic,
            packet_id,
            properties,
            payload: reader.rest(),
        })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(version)?;
        writer::write_packet(first_byte(self.dup, self.qos, self.retain), self, version, out)
    }

    /// Bytes that [`Publish::encode`] appends.
    ///
    /// # Errors
    /// Those of [`Publish::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check(version)?;
        writer::packet_len(self, version)
    }

    fn check(&self, version: ProtocolVersion) -> Result<(), EncodeError> {
        check_flags(self.dup, self.qos, self.packet_id)?;
        let has_alias = version.has_properties() && self.properties.topic_alias.is_some();
        if self.topic.is_empty() && !has_alias {
            return Err(EncodeError::EmptyTopic);
        }
        Ok(())
    }
}

pub(super) fn first_byte(dup: bool, qos: Qos, retain: bool) -> u8 {
    PacketType::Publish.first_byte() | (u8::from(dup) << 3) | (u8::from(qos) << 1) | u8::from(retain)
}

/// The rules for sending about the three fields that depend on each other.
pub(super) fn check_flags(dup: bool, qos: Qos, packet_id: Option<PacketId>) -> Result<(), EncodeError> {
    if packet_id.is_some() != (qos != Qos::AtMostOnce) {
        return Err(EncodeError::PacketIdMismatch);
    }
    if dup && qos == Qos::AtMostOnce {
        return Err(EncodeError::DupWithQos0);
    }
    Ok(())
}

impl<'a> PublishProperties<'a> {
    const NOT_FORWARDED: &'static [PropertyId] =
        &[PropertyId::MessageExpiryInterval, PropertyId::SubscriptionIdentifier, PropertyId::TopicAlias];

    #[inline]
    fn decode(mut section: PropertyReader<'a>) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        while let Some(id) = section.next()? {
            match id {
                PropertyId::PayloadFormatIndicator => {
                    properties.payload_format = Some(PayloadFormat::decode(&mut section)?);
                }
                PropertyId::MessageExpiryInterval => properties.message_expiry = Some(section.u32()?),
                PropertyId::TopicAlias => {
                    let alias = NonZeroU16::new(section.u16()?).ok_or(DecodeError::TopicAliasZero)?;
                    properties.topic_alias = Some(alias);
                }
                PropertyId::ResponseTopic => properties.response_topic = Some(section.string()?),
                PropertyId::CorrelationData => properties.correlation_data = Some(section.binary()?),
                PropertyId::ContentType => properties.content_type = Some(section.string()?),
                PropertyId::SubscriptionIdentifier => {
                    properties.subscription_ids.push(section.subscription_id()?);
                }
                PropertyId::UserProperty => section.user_property()?,
                other => return Err(section.not_allowed(other)),
            }
        }
        properties.user = section.user();
        properties.as_received = AsReceived::new(&section, Self::NOT_FORWARDED);
        Ok(properties)
    }

    /// Properties that were kept or relayed as [`PublishProperties::forwarded`] bytes: what is `Ok` here may
    /// go into [`Outgoing::forwarded`](super::Outgoing::forwarded), wherever the bytes come from.
    ///
    /// # Errors
    /// `bytes` is not a sequence of PUBLISH properties, or has one that is not relayed.
    pub fn from_forwarded(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let not_relayed = pieces(bytes).find(|(id, _)| Self::NOT_FORWARDED.contains(id));
        if let Some((id, _)) = not_relayed {
            return Err(DecodeError::PropertyNotAllowed(id, PacketType::Publish));
        }
        Self::decode(PropertyReader::over(bytes, PacketType::Publish))
    }

    /// Whether properties that did not come from a packet can become one.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn check(&self) -> Result<(), EncodeError> {
        writer::check_properties(self)
    }

    /// The property bytes that a broker relays unaltered, without the length before them: all but Topic
    /// Alias, Message Expiry and Subscription Identifiers. Of decoded properties these are the received bytes
    /// in their order, borrowed from the packet when it had none of those three; later changes to the
    /// fields do not show in them. Of others it is the fields, or nothing if they fail
    /// [`PublishProperties::check`].
    #[must_use]
    pub fn forwarded(&self) -> Cow<'a, [u8]> {
        self.as_received.forwarded(Self::NOT_FORWARDED, &Forwarded(self))
    }
}

/// Lays out the properties that are relayed.
struct Forwarded<'a, 'p>(&'p PublishProperties<'a>);

impl Layout for Forwarded<'_, '_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        let Self(properties) = self;
        let payload_format = properties.payload_format.map(|format| format as u8);
        sink.property_u8(PropertyId::PayloadFormatIndicator, payload_format);
        sink.property_string(PropertyId::ResponseTopic, properties.response_topic);
        sink.property_binary(PropertyId::CorrelationData, properties.correlation_data);
        sink.property_string(PropertyId::ContentType, properties.content_type);
        sink.user_properties(properties.user);
    }
}

impl Layout for PublishProperties<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.property_u32(PropertyId::MessageExpiryInterval, self.message_expiry);
        sink.property_u16(PropertyId::TopicAlias, self.topic_alias.map(NonZeroU16::get));
        for &id in &self.subscription_ids {
            sink.property_subscription_id(id);
        }
        Forwarded(self).lay_out(version, sink);
    }
}

impl Layout for Publish<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.string(self.topic);
        if let Some(id) = self.packet_id {
            sink.u16(id.get());
        }
        if version.has_properties() {
            sink.properties(&self.properties);
        }
        sink.raw(self.payload);
    }
}

/// The payload shows its length only: it must not end in a log.
impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("packet_id", &self.packet_id)
            .field("properties", &self.properties)
            .field("payload_len", &self.payload.len())
            .finish()
    }
}
