//! PUBLISH as a broker sends it: from parts that were relayed, written once into the receiver's outbox.

use std::fmt;
use std::num::NonZeroU16;

use super::error::EncodeError;
use super::packet_id::PacketId;
use super::property::PropertyId;
use super::publish::{check_flags, first_byte};
use super::qos::Qos;
use super::version::ProtocolVersion;
use super::writer::{self, Layout, Sink};

/// A PUBLISH to one subscriber.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// Whether this is a repetition; never with QoS 0.
    pub dup: bool,
    /// Quality of Service.
    pub qos: Qos,
    /// Retain flag.
    pub retain: bool,
    /// Topic Name, valid as it was when it came in; empty only with a Topic Alias.
    pub topic: &'a str,
    /// Packet Identifier: with QoS 1 and 2, not with QoS 0.
    pub packet_id: Option<PacketId>,
    /// What is left of the Message Expiry Interval, in seconds.
    pub message_expiry: Option<u32>,
    /// Topic Alias towards this receiver.
    pub topic_alias: Option<NonZeroU16>,
    /// The Subscription Identifiers of the subscriptions that matched.
    pub subscription_ids: &'a [u32],
    /// Bytes from `forwarded` of [`PublishProperties`](super::PublishProperties) or
    /// [`WillProperties`](super::WillProperties).
    pub forwarded: &'a [u8],
    /// Application Message.
    pub payload: &'a [u8],
}

impl Outgoing<'_> {
    /// Bytes of the whole packet; 3.x gets no properties. `usize::MAX` for what cannot be encoded.
    #[inline]
    #[must_use]
    pub fn encoded_len(&self, version: ProtocolVersion) -> usize {
        writer::packet_len(self, version).unwrap_or(usize::MAX)
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then. That the topic has no U+0000 was checked on the way in.
    #[inline]
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        check_flags(self.dup, self.qos, self.packet_id)?;
        let has_alias = version.has_properties() && self.topic_alias.is_some();
        if self.topic.is_empty() && !has_alias {
            return Err(EncodeError::EmptyTopic);
        }
        writer::write_packet(first_byte(self.dup, self.qos, self.retain), self, version, out)
    }
}

struct Properties<'a, 'p>(&'p Outgoing<'a>);

impl Layout for Properties<'_, '_> {
    #[inline]
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        let Self(outgoing) = self;
        sink.property_u32(PropertyId::MessageExpiryInterval, outgoing.message_expiry);
        sink.property_u16(PropertyId::TopicAlias, outgoing.topic_alias.map(NonZeroU16::get));
        for &id in outgoing.subscription_ids {
            sink.property_subscription_id(id);
        }
        sink.raw(outgoing.forwarded);
    }
}

impl Layout for Outgoing<'_> {
    #[inline]
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.binary(self.topic.as_bytes());
        if let Some(id) = self.packet_id {
            sink.u16(id.get());
        }
        if version.has_properties() {
            sink.properties(&Properties(self));
        }
        sink.raw(self.payload);
    }
}

/// The payload shows its length only: it must not end in a log.
impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("packet_id", &self.packet_id)
            .field("message_expiry", &self.message_expiry)
            .field("topic_alias", &self.topic_alias)
            .field("subscription_ids", &self.subscription_ids)
            .field("payload_len", &self.payload.len())
            .finish_non_exhaustive()
    }
}
