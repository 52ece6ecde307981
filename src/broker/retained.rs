//! Retained messages of this node, and their replay to new subscriptions at the client's own pace.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::RwLock;

use super::Broker;
use super::client::{Client, Generation};
use super::settings::RetainedSettings;
use crate::codec::{ProtocolVersion, Qos};
use crate::message::{Message, Publication};
use crate::metrics::DropReason;
use crate::topic::{SubscriptionFilter, TopicIndex, TopicName, TopicRef};

/// Messages replayed under one hold of the store's lock.
const REPLAY_BATCH: usize = 64;

/// All retained messages.
pub(super) struct Retained {
    settings: RetainedSettings,
    store: RwLock<Store>,
}

struct Store {
    messages: TopicIndex<Entry>,
    /// Memory of the clients' messages, in bytes.
    bytes: usize,
    /// Those that expire, soonest first.
    expiring: BTreeSet<(Instant, TopicName)>,
    /// Changes so far.
    version: u64,
    /// How many of the messages are the node's own, under `$`.
    own: usize,
}

struct Entry {
    message: Arc<Message>,
    /// The change that stored it.
    version: u64,
}

/// The message does not fit the limits, so it is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// A replay that is under way for one new subscription.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    filter: SubscriptionFilter,
    qos_max: Qos,
    subscription_id: Option<u32>,
    /// What was stored later reached the subscription as it was published.
    until_version: u64,
    /// The last topic that was sent.
    after: Option<TopicName>,
}

impl Replay {
    fn is_same(&self, other: &Self) -> bool {
        (&self.filter, self.until_version) == (&other.filter, other.until_version)
    }
}

/// Who carries on with a client's replays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// Whoever comes next.
    #[default]
    Free,
    /// Somebody is at it.
    Taken,
    /// Somebody is at it, and has to look once more.
    TakenAgain,
}

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

    /// A replay of everything that matches and is stored by now.
    pub(super) fn replay(
        &self,
        filter: &SubscriptionFilter,
        qos_max: Qos,
        subscription_id: Option<u32>,
    ) -> Replay {
        let until_version = self.store.read().version;
        Replay { filter: filter.clone(), qos_max, subscription_id, until_version, after: None }
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

    /// Starts to replay to new subscriptions.
    pub(super) fn start_replays(
        &self,
        now: Instant,
        client: &Arc<Client>,
        generation: Generation,
        replays: Vec<Replay>,
    ) {
        if replays.is_empty() {
            return;
        }
        client.with_state(|state| state.replays.extend(replays));
        client.has_replays.store(true, Ordering::Relaxed);
        self.continue_replays(now, client, generation);
    }

    /// The client has left the filter: nothing more is sent for it [MQTT5-3.10.4-2].
    pub(super) fn stop_replays(&self, client: &Client, filter: &SubscriptionFilter) {
        if client.has_replays.load(Ordering::Relaxed) {
            client.with_state(|state| state.replays.retain(|replay| replay.filter != *filter));
        }
    }

    /// Carries on with the client's replays for as long as its window and outbox have room. The caller sees to
    /// it that the client is flushed.
    pub(super) fn continue_replays(&self, now: Instant, client: &Arc<Client>, generation: Generation) {
        loop {
            let mine = client.with_state(|state| match (state.replays.is_empty(), state.replay_turn) {
                (true, _) => false,
                (false, Turn::Free) => {
                    state.replay_turn = Turn::Taken;
                    true
                }
                (false, _) => {
                    state.replay_turn = Turn::TakenAgain;
                    false
                }
            });
            if !mine {
                return;
            }
            while self.replay_batch(now, client, generation) {}
            let again = client.with_state(|state| {
                std::mem::take(&mut state.replay_turn) == Turn::TakenAgain && !state.replays.is_empty()
            });
            if !again {
                return;
            }
        }
    }

    /// Sends some messages of the client's first replay. False when there is no room or nothing left.
    fn replay_batch(&self, now: Instant, client: &Arc<Client>, generation: Generation) -> bool {
        let Some(mut replay) = client.with_state(|state| state.replays.front().cloned()) else {
            return false;
        };
        // The store stays locked until the batch is in the outbox, although that takes the client's lock as
        // well: a newer message is stored before it is delivered, so it cannot overtake an older one here.
        // Nobody takes the two locks the other way round.
        let store = self.retained.store.read();
        let mut blocked = false;
        let mut sent = 0;
        let done = client.with_connection(generation, &self.metrics, |session, out| {
            let matches = match &replay.after {
                Some(after) => store.messages.matches_after(&replay.filter.filter, after),
                None => store.messages.matches(&replay.filter.filter),
            };
            let ids = replay.subscription_id.as_slice();
            let mut after = None;
            for (topic, entry) in matches {
                if entry.version > replay.until_version {
                    continue;
                }
                if sent == REPLAY_BATCH
                    || !session.deliver_retained(now, &entry.message, replay.qos_max, ids, out)
                {
                    blocked = sent < REPLAY_BATCH;
                    replay.after = after.or(replay.after.take());
                    return false;
                }
                after = Some(topic.clone());
                sent += 1;
            }
            true
        });
        drop(store);
        let Some(done) = done else { return false };
        client.with_state(|state| {
            if !state.replays.front().is_some_and(|front| front.is_same(&replay)) {
                return; // Its subscription has ended meanwhile.
            }
            if done {
                state.replays.pop_front();
                client.has_replays.store(!state.replays.is_empty(), Ordering::Relaxed);
            } else if let Some(front) = state.replays.front_mut() {
                *front = replay;
            }
        });
        done || !blocked
    }
}
