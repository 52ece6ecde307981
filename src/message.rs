//! One application message on its way through the node: borrowed while it passes, owned when it must wait.
//!
//! Pure data. Who gets it is decided by whoever holds it; the packets around it are the codec's.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

// Part of every message: who may not import the codec, such as the cluster, finds it here.
pub use crate::codec::Qos;
use crate::topic::{TopicName, TopicRef};

/// Names one publication in the whole cluster, so that a copy that arrives twice is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The Node Id of the node that accepted the PUBLISH.
    pub node: u128,
    /// That node's incarnation.
    pub incarnation: u64,
    /// Its number among the publications of that incarnation.
    pub seq: u64,
}

/// The Message Expiry Interval has passed [MQTT5-3.3.2-5].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the message has expired")]
pub struct Expired;

/// One application message while it passes through: everything is borrowed from where it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Publication<'a> {
    /// What it is published to.
    pub topic: TopicRef<'a>,
    /// The Application Message; opaque.
    pub payload: &'a [u8],
    /// The QoS of the publisher, which deliveries lower to that of the subscription.
    pub qos: Qos,
    /// The RETAIN flag as the publisher set it.
    pub retain: bool,
    /// MQTT 5 properties that travel unaltered, in their encoded form without the length in front: neither
    /// topic alias nor message expiry nor subscription identifiers.
    pub properties: &'a [u8],
    /// When it expires; none: never.
    pub expires_at: Option<Instant>,
    /// Client Identifier of the publisher, for No Local; none for messages of the node itself.
    pub publisher: Option<&'a str>,
}

impl Publication<'_> {
    /// An owned copy, to be shared by all that must keep the message.
    #[must_use]
    pub fn to_message(&self) -> Arc<Message> {
        let mut body = Vec::with_capacity(self.properties.len() + self.payload.len());
        body.extend_from_slice(self.properties);
        body.extend_from_slice(self.payload);
        Arc::new(Message {
            topic: self.topic.into(),
            publisher: self.publisher.map(Box::from),
            properties_len: self.properties.len(),
            body: body.into_boxed_slice(),
            expires_at: self.expires_at,
            qos: self.qos,
            retain: self.retain,
        })
    }

    /// The Message Expiry Interval to send at `now`, in seconds; none when the message has no expiry.
    ///
    /// A part of a second counts as a whole one, so a message that has not expired never says 0
    /// [MQTT5-3.3.2-6].
    #[must_use]
    pub fn remaining_expiry(&self, now: Instant) -> Option<Result<u32, Expired>> {
        self.expires_at.map(|expires_at| remaining(expires_at, now))
    }
}

fn remaining(expires_at: Instant, now: Instant) -> Result<u32, Expired> {
    let left = expires_at.saturating_duration_since(now);
    if left == Duration::ZERO {
        return Err(Expired);
    }
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    Ok(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Shows how much payload there is, never what it says.
impl fmt::Debug for Publication<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("topic", &self.topic.as_str())
            .field("payload_bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties_bytes", &self.properties.len())
            .field("expires_at", &self.expires_at)
            .field("publisher", &self.publisher)
            .finish()
    }
}

/// One application message that is kept: retained, queued or in flight. Immutable, so it is shared.
pub struct Message {
    topic: TopicName,
    publisher: Option<Box<str>>,
    /// The properties and behind them the payload, in one allocation.
    body: Box<[u8]>,
    properties_len: usize,
    expires_at: Option<Instant>,
    qos: Qos,
    retain: bool,
}

impl Message {
    /// The same message, borrowed, as it passed through.
    #[must_use]
    pub fn publication(&self) -> Publication<'_> {
        let (properties, payload) = self.body.split_at(self.properties_len);
        Publication {
            topic: self.topic.as_ref(),
            payload,
            qos: self.qos,
            retain: self.retain,
            properties,
            expires_at: self.expires_at,
            publisher: self.publisher.as_deref(),
        }
    }

    /// What it was published to.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The Application Message; opaque.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.body[self.properties_len..]
    }

    /// The QoS of the publisher.
    #[must_use]
    pub fn qos(&self) -> Qos {
        self.qos
    }

    /// The RETAIN flag as the publisher set it.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.retain
    }

    /// When it expires; none: never.
    #[must_use]
    pub fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    /// Like [`Publication::remaining_expiry`].
    #[must_use]
    pub fn remaining_expiry(&self, now: Instant) -> Option<Result<u32, Expired>> {
        self.expires_at.map(|expires_at| remaining(expires_at, now))
    }

    /// Memory that the message takes once, however many hold it, in bytes; without what an allocator adds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        const COUNTERS: usize = 2 * size_of::<usize>();
        let publisher = self.publisher.as_ref().map_or(0, |publisher| publisher.len());
        COUNTERS + size_of::<Self>() + COUNTERS + self.topic.as_str().len() + self.body.len() + publisher
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.publication().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock;

    fn publication(expires_at: Option<Instant>) -> Publication<'static> {
        Publication {
            topic: TopicRef::parse("sensors/1").unwrap(),
            payload: b"a secret",
            qos: Qos::AtLeastOnce,
            retain: true,
            properties: &[0x01, 0x01],
            expires_at,
            publisher: Some("client-1"),
        }
    }

    #[test]
    fn a_kept_message_is_the_one_that_passed() {
        let passed = publication(Some(clock::now()));
        let kept = passed.to_message();
        assert_eq!(kept.publication(), passed);
        assert_eq!(kept.topic().as_str(), "sensors/1");
        assert_eq!(kept.payload(), b"a secret");
        assert_eq!((kept.qos(), kept.retain()), (Qos::AtLeastOnce, true));
        let bare = Publication { properties: &[], payload: &[], publisher: None, ..passed };
        assert_eq!(bare.to_message().publication(), bare);
    }

    /// [MQTT5-3.3.2-5], [MQTT5-3.3.2-6].
    #[test]
    fn expiry_counts_whole_seconds_down_to_one() {
        let start = clock::now();
        let kept = publication(Some(start + Duration::from_secs(10))).to_message();
        let check = |after_ms, expected| {
            let now = start + Duration::from_millis(after_ms);
            assert_eq!(kept.remaining_expiry(now), expected, "after {after_ms} ms");
            assert_eq!(kept.publication().remaining_expiry(now), expected, "after {after_ms} ms");
        };
        check(0, Some(Ok(10)));
        check(400, Some(Ok(10)));
        check(1_000, Some(Ok(9)));
        check(9_999, Some(Ok(1)));
        check(10_000, Some(Err(Expired)));
        check(60_000, Some(Err(Expired)));
        assert_eq!(publication(None).remaining_expiry(start), None);
        let long = start + Duration::from_secs(u64::from(u32::MAX));
        assert_eq!(publication(Some(long)).remaining_expiry(start), Some(Ok(u32::MAX)));
    }

    #[test]
    fn the_cost_covers_every_part() {
        let small = publication(None).to_message().bytes();
        let long = "x".repeat(1_000);
        let big = Publication {
            topic: TopicRef::parse(&long).unwrap(),
            payload: long.as_bytes(),
            properties: long.as_bytes(),
            publisher: Some(&long),
            ..publication(None)
        };
        let parts = "sensors/1".len() + "a secret".len() + 2 + "client-1".len();
        assert_eq!(big.to_message().bytes() - small, 4_000 - parts);
    }

    #[test]
    fn a_payload_is_never_printed() {
        let shown = format!("{:?} {:?}", publication(None), publication(None).to_message());
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
        assert!(shown.contains("payload_bytes: 8"), "{shown}");
    }
}
