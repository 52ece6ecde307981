//! One application message: borrowed while it passes through, owned once somebody must keep it.

use std::sync::Arc;
use std::time::Instant;

use crate::codec::Qos;
use crate::topic::{TopicName, TopicRef};

/// Names a message in the whole cluster: the node that took it from its publisher, which of that node's lives
/// it was, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The Node Id.
    pub node: u128,
    /// The node's incarnation.
    pub incarnation: u64,
    /// Grows by one with each message.
    pub seq: u64,
}

/// One application message while it passes through: everything borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    /// Where it was published.
    pub topic: TopicRef<'a>,
    /// What was published.
    pub payload: &'a [u8],
    /// The publisher's Quality of Service.
    pub qos: Qos,
    /// The publisher's RETAIN flag.
    pub retain: bool,
    /// MQTT 5 properties that travel unaltered [MQTT5-3.3.2.3], encoded as in a PUBLISH.
    pub properties: &'a [u8],
    /// When its Message Expiry Interval has passed.
    pub expires_at: Option<Instant>,
    /// The publisher's Client Identifier.
    pub publisher: Option<&'a str>,
}

impl Publication<'_> {
    /// An owned copy.
    #[must_use]
    pub fn to_message(&self) -> Arc<Message> {
        Arc::new(Message {
            topic: TopicName::from(self.topic),
            payload: self.payload.into(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties.into(),
            expires_at: self.expires_at,
            publisher: self.publisher.map(Into::into),
        })
    }
}

/// One application message that is kept, in a queue or until it is acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    topic: TopicName,
    payload: Box<[u8]>,
    qos: Qos,
    retain: bool,
    properties: Box<[u8]>,
    expires_at: Option<Instant>,
    publisher: Option<Box<str>>,
}

impl Message {
    /// The borrowed form.
    #[must_use]
    pub fn publication(&self) -> Publication<'_> {
        Publication {
            topic: self.topic.as_ref(),
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: &self.properties,
            expires_at: self.expires_at,
            publisher: self.publisher.as_deref(),
        }
    }

    /// Memory that the message takes, roughly, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let publisher = self.publisher.as_ref().map_or(0, |name| name.len());
        size_of::<Self>() + self.topic.as_str().len() + self.payload.len() + self.properties.len() + publisher
    }
}
