//! Messages from the client: topic aliases, the two acknowledgement flows and the receive window.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use super::settings::Settings;
use crate::codec::{PacketId, PayloadFormat, ProtocolVersion, Publish, Qos, ReasonCode};
use crate::message::Publication;
use crate::topic::{TopicName, TopicRef};

/// A message from the client that is to be published now.
#[derive(Debug)]
pub struct Incoming<'a> {
    topic: Topic<'a>,
    payload: &'a [u8],
    retain: bool,
    properties: Cow<'a, [u8]>,
    expires_at: Option<Instant>,
    /// The Quality of Service it came with.
    pub qos: Qos,
    /// Set for QoS 1 and 2: the session is to be told the outcome with it.
    pub packet_id: Option<PacketId>,
}

/// A Topic Name from the packet, or the one an alias stands for.
#[derive(Debug)]
enum Topic<'a> {
    Named(TopicRef<'a>),
    Aliased(TopicName),
}

impl Incoming<'_> {
    /// The message in the name of the client that sent it.
    #[must_use]
    pub fn publication<'b>(&'b self, publisher: &'b str) -> Publication<'b> {
        let topic = match &self.topic {
            Topic::Named(topic) => *topic,
            Topic::Aliased(topic) => topic.as_ref(),
        };
        Publication {
            topic,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: &self.properties,
            expires_at: self.expires_at,
            publisher: Some(publisher),
        }
    }
}

/// A Response Topic is a Topic Name [MQTT5-3.3.2-14]; the codec knows it as a string only.
pub(super) fn check_response_topic(topic: Option<&str>) -> Result<(), ReasonCode> {
    match topic.map(TopicRef::parse) {
        Some(Err(_)) => Err(ReasonCode::ProtocolError),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Whether a payload that is called UTF-8 is so, where the node looks at it (section 3.3.2.3.2).
pub(super) fn check_payload_format(
    format: Option<PayloadFormat>,
    payload: &[u8],
    settings: &Settings,
) -> Result<(), ReasonCode> {
    let is_checked = settings.payload_format_check && format == Some(PayloadFormat::Utf8);
    if is_checked && simdutf8::basic::from_utf8(payload).is_err() {
        return Err(ReasonCode::PayloadFormatInvalid);
    }
    Ok(())
}

/// What a PUBLISH asks for.
#[derive(Debug)]
pub(super) enum Arrival<'a> {
    /// It is new: publish it.
    New(Incoming<'a>),
    /// A QoS 2 message that was published already: acknowledge it again [MQTT5-4.3.3-10].
    Again(PacketId),
    /// It is not taken: acknowledge it with this code, and that is the end of it.
    Refused(PacketId, Qos, ReasonCode),
}

/// State of the direction from the client.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    aliases: BTreeMap<NonZeroU16, TopicName>,
    /// QoS 2 messages that were published on this connection and wait for their PUBREL.
    unreleased: BTreeSet<PacketId>,
    /// The same of earlier connections. They take nothing of the client's window, which each connection opens anew
    /// (section 4.9), perhaps with another limit.
    unreleased_before: BTreeSet<PacketId>,
    /// QoS 1 messages that are being published.
    unacknowledged: u16,
}

impl Inbound {
    /// A new connection: aliases and unfinished QoS 1 publishes do not outlive the old one [MQTT5-3.3.2-7].
    pub(super) fn on_connected(&mut self) {
        self.aliases.clear();
        self.unacknowledged = 0;
        self.unreleased_before.append(&mut self.unreleased);
    }

    pub(super) fn on_publish<'a>(
        &mut self,
        now: Instant,
        version: ProtocolVersion,
        publish: Publish<'a>,
        settings: &Settings,
    ) -> Result<Arrival<'a>, ReasonCode> {
        let properties = &publish.properties;
        if !properties.subscription_ids.is_empty() {
            // [MQTT5-3.3.4-6]
            return Err(ReasonCode::ProtocolError);
        }
        if publish.qos > settings.qos_max {
            return Err(ReasonCode::QosNotSupported);
        }
        if publish.retain && version == ProtocolVersion::V5 && !settings.retain_available {
            return Err(ReasonCode::RetainNotSupported);
        }
        check_response_topic(properties.response_topic)?;
        let topic = self.topic(&publish, settings)?;
        let format = check_payload_format(properties.payload_format, publish.payload, settings);
        if publish.qos == Qos::AtMostOnce {
            format?; // Nothing else would tell the client.
        }
        if let Some(id) = publish.packet_id {
            let is_known = self.unreleased.contains(&id) || self.unreleased_before.contains(&id);
            if publish.qos == Qos::ExactlyOnce && is_known {
                return Ok(Arrival::Again(id));
            }
            let pending = self.unreleased.len() + usize::from(self.unacknowledged);
            let window_full = pending >= usize::from(settings.receive_maximum);
            if window_full && version == ProtocolVersion::V5 {
                // [MQTT5-3.3.4-7]
                return Err(ReasonCode::ReceiveMaximumExceeded);
            }
            if let Err(reason) = format {
                return Ok(Arrival::Refused(id, publish.qos, reason));
            }
            match publish.qos {
                Qos::ExactlyOnce => _ = self.unreleased.insert(id),
                _ => self.unacknowledged = self.unacknowledged.saturating_add(1),
            }
        }
        let expiry = properties.message_expiry.map(|seconds| Duration::from_secs(u64::from(seconds)));
        Ok(Arrival::New(Incoming {
            topic,
            payload: publish.payload,
            // Only a 3.x client can come here with a flag that means nothing: it was not told.
            retain: publish.retain && settings.retain_available,
            properties: properties.forwarded(),
            expires_at: expiry.and_then(|expiry| now.checked_add(expiry)),
            qos: publish.qos,
            packet_id: publish.packet_id,
        }))
    }

    /// The PUBLISH was acknowledged with a PUBACK, or with a PUBREC that ends the flow when `refused`.
    pub(super) fn on_published(&mut self, id: PacketId, qos: Qos, refused: bool) {
        match qos {
            Qos::ExactlyOnce if refused => _ = self.unreleased.remove(&id),
            Qos::ExactlyOnce => {}
            _ => self.unacknowledged = self.unacknowledged.saturating_sub(1),
        }
    }

    /// A PUBREL: whether the identifier was in use.
    pub(super) fn on_release(&mut self, id: PacketId) -> bool {
        self.unreleased.remove(&id) || self.unreleased_before.remove(&id)
    }

    fn topic<'a>(&mut self, publish: &Publish<'a>, settings: &Settings) -> Result<Topic<'a>, ReasonCode> {
        let alias = publish.properties.topic_alias;
        if alias.is_some_and(|alias| alias.get() > settings.topic_alias_maximum) {
            // [MQTT5-3.3.2-9]
            return Err(ReasonCode::TopicAliasInvalid);
        }
        if publish.topic.is_empty() {
            // The codec lets an empty topic pass only with an alias.
            let known = alias.and_then(|alias| self.aliases.get(&alias));
            return known.cloned().map(Topic::Aliased).ok_or(ReasonCode::ProtocolError);
        }
        let topic = TopicRef::parse(publish.topic).map_err(|_| ReasonCode::TopicNameInvalid)?;
        if !settings.takes_topic(publish.topic.len(), topic.levels().count()) {
            return Err(ReasonCode::TopicNameInvalid);
        }
        if let Some(alias) = alias {
            self.aliases.insert(alias, TopicName::from(topic));
        }
        Ok(Topic::Named(topic))
    }
}
