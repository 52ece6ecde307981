//! Which clients of this node want which topics, and how many: the counts behind the advertised routes.

use std::sync::Arc;

use foldhash::HashMap;
use foldhash::HashMapExt as _;
use parking_lot::RwLock;
use smallvec::SmallVec;

use super::client::Client;
use crate::codec::SubscribeOptions;
use crate::session::Subscription;
use crate::topic::{FilterIndex, TopicFilter, TopicRef};

/// Above this many subscribers of one filter they are found by hashing instead of comparing.
const FEW_MAX: usize = 16;

/// All plain (not shared) subscriptions of the node's clients.
pub(super) struct Subscriptions {
    index: RwLock<FilterIndex<Leaf>>,
}

/// The subscribers of one filter, and how many of them have a durable (persistent) session.
#[derive(Default)]
struct Leaf {
    subscribers: Subscribers,
    durable: u32,
}

enum Subscribers {
    Few(Vec<Subscriber>),
    Many(HashMap<usize, Subscriber>),
}

struct Subscriber {
    client: Arc<Client>,
    options: SubscribeOptions,
    id: Option<u32>,
    durable: bool,
}

/// A client that gets a copy, with what all its matching subscriptions say together.
pub(super) struct Target {
    pub(super) client: Arc<Client>,
    pub(super) options: SubscribeOptions,
    pub(super) ids: SmallVec<[u32; 1]>,
}

impl Subscriptions {
    pub(super) fn new() -> Self {
        Self { index: RwLock::new(FilterIndex::new()) }
    }

    /// Adds or replaces the client's subscription for a filter.
    pub(super) fn add(&self, client: &Arc<Client>, subscription: &Subscription, durable: bool) {
        let mut index = self.index.write();
        let leaf = index.get_or_insert_with(&subscription.filter.filter, Leaf::default);
        let subscriber = Subscriber {
            client: Arc::clone(client),
            options: subscription.options,
            id: subscription.id,
            durable,
        };
        if let Some(old) = leaf.subscribers.insert(subscriber) {
            leaf.durable -= u32::from(old.durable);
        }
        leaf.durable += u32::from(durable);
    }

    /// Removes the client's subscription for a filter. False when it has none.
    pub(super) fn remove(&self, client: &Arc<Client>, filter: &TopicFilter) -> bool {
        let mut index = self.index.write();
        let Some(leaf) = index.get_mut(filter) else { return false };
        let Some(old) = leaf.subscribers.remove(client) else { return false };
        leaf.durable -= u32::from(old.durable);
        if leaf.counts() == [0, 0] {
            index.remove(filter);
        }
        true
    }

    /// How many subscribers a filter has, by class: without and with a durable session.
    pub(super) fn counts(&self, filter: &TopicFilter) -> [usize; 2] {
        self.index.read().get(filter).map_or([0, 0], Leaf::counts)
    }

    /// Every client with a matching subscription, once [MQTT5-3.3.4-2]. What the `publisher` has asked for with
    /// No Local counts for nothing here [MQTT5-3.8.3-3].
    pub(super) fn targets(&self, topic: TopicRef<'_>, publisher: Option<&str>) -> SmallVec<[Target; 4]> {
        let mut targets: SmallVec<[Target; 4]> = SmallVec::new();
        let mut leaves = 0;
        self.index.read().for_each_match(topic, |leaf| {
            leaves += 1;
            leaf.subscribers.for_each(|subscriber| {
                let is_own =
                    subscriber.options.no_local && publisher == Some(subscriber.client.id().as_str());
                if !is_own {
                    targets.push(Target::new(subscriber));
                }
            });
        });
        if leaves > 1 {
            merge(&mut targets);
        }
        targets
    }
}

/// Makes one target of several of the same client: the highest QoS and all identifiers.
fn merge(targets: &mut SmallVec<[Target; 4]>) {
    targets.sort_by_key(|target| key(&target.client));
    targets.dedup_by(|later, kept| {
        let same = Arc::ptr_eq(&later.client, &kept.client);
        if same {
            kept.options.qos = kept.options.qos.max(later.options.qos);
            // One subscription that wants the flag as published is enough.
            kept.options.retain_as_published |= later.options.retain_as_published;
            kept.ids.append(&mut later.ids);
        }
        same
    });
}

impl Target {
    fn new(subscriber: &Subscriber) -> Self {
        let client = Arc::clone(&subscriber.client);
        Self { client, options: subscriber.options, ids: subscriber.id.into_iter().collect() }
    }
}

impl Leaf {
    fn counts(&self) -> [usize; 2] {
        let durable = self.durable as usize;
        [self.subscribers.len() - durable, durable]
    }
}

impl Default for Subscribers {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Subscribers {
    fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    fn insert(&mut self, subscriber: Subscriber) -> Option<Subscriber> {
        let key = key(&subscriber.client);
        match self {
            Self::Many(many) => many.insert(key, subscriber),
            Self::Few(few) => {
                if let Some(old) = few.iter_mut().find(|old| Arc::ptr_eq(&old.client, &subscriber.client)) {
                    return Some(std::mem::replace(old, subscriber));
                }
                few.push(subscriber);
                if few.len() > FEW_MAX {
                    let mut many = HashMap::with_capacity(few.len() * 2);
                    many.extend(few.drain(..).map(|subscriber| (self::key(&subscriber.client), subscriber)));
                    *self = Self::Many(many);
                }
                None
            }
        }
    }

    fn remove(&mut self, client: &Arc<Client>) -> Option<Subscriber> {
        match self {
            Self::Many(many) => {
                let removed = many.remove(&key(client));
                if many.len() <= FEW_MAX / 2 {
                    *self = Self::Few(many.drain().map(|(_, subscriber)| subscriber).collect());
                }
                removed
            }
            Self::Few(few) => {
                let at = few.iter().position(|subscriber| Arc::ptr_eq(&subscriber.client, client))?;
                Some(few.swap_remove(at))
            }
        }
    }

    fn for_each(&self, act: impl FnMut(&Subscriber)) {
        match self {
            Self::Few(few) => few.iter().for_each(act),
            Self::Many(many) => many.values().for_each(act),
        }
    }
}

/// A client's identity while it is alive: its address.
fn key(client: &Arc<Client>) -> usize {
    Arc::as_ptr(client) as usize
}
