//! Retained messages of this node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{RwLock, RwLockReadGuard};

use super::Broker;
use super::client::{Client, Generation};
use super::settings::RetainedSettings;
use crate::codec::{ProtocolVersion, Qos};
use crate::message::{Message, Publication};
use crate::metrics::DropReason;
use crate::topic::{TopicIndex, TopicName, TopicRef};

/// All retained messages.
pub(super) struct Retained {
    settings: RetainedSettings,
    store: RwLock<Store>,
}

/// The messages and what is counted of them.
pub(super) struct Store {
    pub(super) messages: TopicIndex<Entry>,
    /// Memory of the clients' messages, in bytes.
    bytes: usize,
    /// Those that expire, soonest first.
    expiring: BTreeSet<(Instant, TopicName)>,
    /// Changes so far.
    pub(super) version: u64,
    /// How many of the messages are the node's own, under `$`.
    own: usize,
}

/// One of them.
pub(super) struct Entry {
    pub(super) message: Arc<Message>,
    /// The change that stored it.
    pub(super) version: u64,
}

/// The message does not fit the limits, so it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Retained {
    pub(super) fn new(settings: RetainedSettings) -> Self {
        let store =
            Store { messages: TopicIndex::new(), bytes: 0, expiring: BTreeSet::new(), version: 0, own: 0 };
        Self { settings, store: RwLock::new(store) }
    }

    /// Messages of clients.
    pub(super) fn len(&self) -> usize {
        let store = self.store.read();
        store.messages.len() - store.own
    }

    /// What is kept for the topic.
    pub(super) fn get(&self, topic: TopicRef<'_>) -> Option<Arc<Message>> {
        self.store.read().messages.get(topic.as_str()).map(|entry| Arc::clone(&entry.message))
    }

    /// Whether the topic has another payload so far, or none.
    pub(super) fn changes(&self, publication: &Publication<'_>) -> bool {
        let store = self.store.read();
        let old = store.messages.get(publication.topic.as_str());
        old.is_none_or(|entry| entry.message.payload() != publication.payload)
    }

    /// Whether [`Retained::set`] would refuse the message.
    pub(super) fn is_full_for(&self, publication: &Publication<'_>) -> bool {
        self.store.read().check(publication, &self.settings).is_err()
    }

    /// Keeps a message in place of the topic's last one; an empty payload removes that [MQTT5-3.3.1-6].
    pub(super) fn set(&self, publication: &Publication<'_>) -> Result<(), Full> {
        let mut store = self.store.write();
        if publication.payload.is_empty() {
            store.remove(publication.topic);
            return Ok(());
        }
        store.check(publication, &self.settings)?;
        store.insert(publication.to_message());
        Ok(())
    }

    /// Drops what has expired. Returns how many there were.
    pub(super) fn expire(&self, now: Instant) -> usize {
        if self.store.read().expiring.first().is_none_or(|(at, _)| *at > now) {
            return 0;
        }
        let mut store = self.store.write();
        let mut expired = 0;
        while let Some((at, topic)) = store.expiring.first().cloned() {
            if at > now {
                break;
            }
            store.remove(topic.as_ref());
            expired += 1;
        }
        expired
    }

    /// Changes so far.
    pub(super) fn version(&self) -> u64 {
        self.store.read().version
    }

    /// The messages as they are while the result is held, for a short time.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read()
    }
}

impl Store {
    /// The limits are for the clients' messages; what the node says of itself is bounded by itself.
    fn check(&self, publication: &Publication<'_>, settings: &RetainedSettings) -> Result<(), Full> {
        if publication.topic.is_dollar() {
            return Ok(());
        }
        let old = self.messages.get(publication.topic.as_str());
        let old_bytes = old.map_or(0, |entry| entry.message.bytes());
        let bytes =
            publication.payload.len() + publication.properties.len() + publication.topic.as_str().len();
        let fits = publication.payload.len() <= settings.payload_max
            && self.bytes - old_bytes + bytes <= settings.bytes_max
            && (old.is_some() || self.messages.len() - self.own < settings.messages_max);
        if fits { Ok(()) } else { Err(Full) }
    }

    fn insert(&mut self, message: Arc<Message>) {
        self.remove(message.topic().as_ref());
        self.version += 1;
        if message.topic().as_ref().is_dollar() {
            self.own += 1;
        } else {
            self.bytes += message.bytes();
        }
        if let Some(at) = message.expires_at() {
            self.expiring.insert((at, message.topic().clone()));
        }
        let topic = message.topic().clone();
        self.messages.insert(&topic, Entry { message, version: self.version });
    }

    fn remove(&mut self, topic: TopicRef<'_>) {
        let Some(old) = self.messages.remove(topic.as_str()) else { return };
        if topic.is_dollar() {
            self.own -= 1;
        } else {
            self.bytes -= old.message.bytes();
        }
        if let Some(at) = old.message.expires_at() {
            self.expiring.remove(&(at, old.message.topic().clone()));
        }
    }
}

impl Broker {
    /// Whether the publisher is told that its message does not fit: MQTT 5 has a code for it, and then the
    /// message goes nowhere. Older clients and QoS 0 have none; theirs is delivered but not kept.
    pub(super) fn refuses_to_retain(
        &self,
        client: &Arc<Client>,
        generation: Generation,
        publication: &Publication<'_>,
    ) -> bool {
        let wants_room =
            publication.retain && !publication.payload.is_empty() && publication.qos != Qos::AtMostOnce;
        if !wants_room || !self.retained.is_full_for(publication) {
            return false;
        }
        let version = client.with_connection(generation, &self.metrics, |session, _| session.version());
        version.flatten() == Some(ProtocolVersion::V5)
    }

    /// Keeps a message, or counts that it could not be kept.
    pub(super) fn retain(&self, publication: &Publication<'_>) {
        if self.retained.set(publication).is_err() {
            self.metrics.dropped(DropReason::RetainedFull).inc();
        }
        self.count_retained();
    }

    pub(super) fn count_retained(&self) {
        self.metrics.retained.set(self.retained.len() as i64);
    }
}
