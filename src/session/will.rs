//! The Will Message: what is published when a client goes without saying goodbye.

use std::time::{Duration, Instant};

use super::inbound::{check_payload_format, check_response_topic};
use super::settings::Settings;
use crate::codec::{self, ReasonCode};
use crate::message::Publication;
use crate::topic::TopicName;

/// A Will as the session keeps it [MQTT5-3.1.2.5].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    topic: TopicName,
    payload: Box<[u8]>,
    qos: codec::Qos,
    retain: bool,
    properties: Box<[u8]>,
    message_expiry: Option<Duration>,
    delay: Duration,
}

impl Will {
    /// Takes over what the CONNECT said.
    ///
    /// # Errors
    /// 0x90 when the topic is not a Topic Name that this node takes, 0x82 when the Response Topic is none, 0x99
    /// when the payload is not what it says.
    pub(super) fn new(will: &codec::Will<'_>, settings: &Settings) -> Result<Self, ReasonCode> {
        let topic = TopicName::parse(will.topic).map_err(|_| ReasonCode::TopicNameInvalid)?;
        if !settings.takes_topic(will.topic.len(), topic.as_ref().levels().count()) {
            return Err(ReasonCode::TopicNameInvalid);
        }
        check_response_topic(will.properties.response_topic)?;
        check_payload_format(will.properties.payload_format, will.payload, settings)?;
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        Ok(Self {
            topic,
            payload: will.payload.into(),
            qos: will.qos,
            // A 3.x client cannot be told that nothing is retained.
            retain: will.retain && settings.retain_available,
            properties: will.properties.forwarded().into(),
            message_expiry: will.properties.message_expiry.map(seconds),
            delay: will.properties.delay.map(seconds).unwrap_or_default(),
        })
    }

    pub(super) fn topic(&self) -> &TopicName {
        &self.topic
    }

    pub(super) fn set_topic(&mut self, topic: TopicName) {
        self.topic = topic;
    }

    /// How long after the end of the connection it is published, unless the session ends before
    /// [MQTT5-3.1.3.2.2].
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// The message, published `now` in the name of `publisher`.
    #[must_use]
    pub fn publication<'a>(&'a self, now: Instant, publisher: &'a str) -> Publication<'a> {
        Publication {
            topic: self.topic.as_ref(),
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: &self.properties,
            expires_at: self.message_expiry.and_then(|expiry| now.checked_add(expiry)),
            publisher: Some(publisher),
        }
    }
}
