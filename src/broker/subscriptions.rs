//! Which clients of this node want which topics, and how many: the counts behind the advertised routes.

use std::sync::Arc;

use foldhash::HashMap;
use foldhash::HashMapExt as _;
use parking_lot::RwLock;
use smallvec::SmallVec;

use super::client::Client;
use super::explain::{Asked, Found};
use super::groups::{Groups, SharedTarget};
use super::settings::{Overlapping, SharedStrategy};
use super::shared::Chooser;
use crate::codec::SubscribeOptions;
use crate::message::Publication;
use crate::session::Subscription;
use crate::topic::{FilterIndex, ShareName, SubscriptionFilter, SubscriptionKind, TopicFilter};

/// Above this many subscribers of one filter they are found by hashing instead of comparing.
const FEW_MAX: usize = 16;

/// All subscriptions of the node's clients.
pub(super) struct Subscriptions {
    index: RwLock<FilterIndex<Leaf>>,
    chooser: Chooser,
    overlapping: Overlapping,
}

/// The subscribers of one filter, and how many of them have a durable (persistent) session.
#[derive(Default)]
struct Leaf {
    subscribers: Subscribers,
    durable: u32,
    /// Who holds it exclusively, beside the others. Few filters have anybody.
    exclusive: Option<Box<Subscriber>>,
    /// Its shared subscriptions. Few filters have any.
    groups: Option<Box<Groups>>,
}

enum Subscribers {
    Few(Vec<Subscriber>),
    Many(HashMap<usize, Subscriber>),
}

pub(super) struct Subscriber {
    pub(super) client: Arc<Client>,
    pub(super) options: SubscribeOptions,
    id: Option<u32>,
    durable: bool,
}

/// Another client has the exclusive subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held;

/// Who gets copies of a message.
#[derive(Default)]
pub(super) struct Targets {
    /// Every client with a matching subscription that is not shared, once [MQTT5-3.3.4-2] unless the settings say
    /// otherwise.
    pub(super) plain: SmallVec<[Target; 4]>,
    /// One member of every matching shared subscription. Each is a copy of its own [MQTT5-4.8.2].
    pub(super) shared: SmallVec<[SharedTarget; 1]>,
    /// How many matching subscriptions were looked at to find them.
    pub(super) looked_at: usize,
}

/// A client that gets a copy, with what all its matching subscriptions say together.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) client: Arc<Client>,
    pub(super) options: SubscribeOptions,
    pub(super) ids: SmallVec<[u32; 1]>,
}

impl Subscriptions {
    pub(super) fn new(chooser: Chooser, overlapping: Overlapping) -> Self {
        Self { index: RwLock::new(FilterIndex::new()), chooser, overlapping }
    }

    /// Adds or replaces the client's subscription for a filter, unless another client holds it exclusively.
    pub(super) fn add(
        &self,
        client: &Arc<Client>,
        subscription: &Subscription,
        durable: bool,
    ) -> Result<(), Held> {
        let SubscriptionFilter { kind, filter } = &subscription.filter;
        let mut index = self.index.write();
        let leaf = index.get_or_insert_with(filter, Leaf::default);
        let subscriber = Subscriber {
            client: Arc::clone(client),
            options: subscription.options,
            id: subscription.id,
            durable,
        };
        match kind {
            SubscriptionKind::Plain => leaf.subscribe(subscriber),
            SubscriptionKind::Exclusive => leaf.claim(subscriber)?,
            SubscriptionKind::Shared(name) => {
                leaf.groups.get_or_insert_default().add(&subscription.filter, name, subscriber);
            }
        }
        Ok(())
    }

    /// Removes the client's subscription for a filter. False when it has none.
    pub(super) fn remove(&self, client: &Arc<Client>, filter: &SubscriptionFilter) -> bool {
        let SubscriptionFilter { kind, filter } = filter;
        let mut index = self.index.write();
        let Some(leaf) = index.get_mut(filter) else { return false };
        let removed = match kind {
            SubscriptionKind::Plain => leaf.unsubscribe(client),
            SubscriptionKind::Exclusive => leaf.release(client),
            SubscriptionKind::Shared(name) => leaf.leave(name, client),
        };
        if leaf.is_empty() {
            index.remove(filter);
        }
        removed
    }

    /// How many subscribers that share with nobody a filter has, by class: without and with a durable session.
    pub(super) fn counts(&self, filter: &TopicFilter) -> [usize; 2] {
        self.index.read().get(filter).map_or([0, 0], Leaf::counts)
    }

    /// Everybody who gets the message. What the publisher has asked for with No Local
    /// counts for nothing here [MQTT5-3.8.3-3].
    pub(super) fn targets(&self, publication: &Publication<'_>) -> Targets {
        let mut plain = Overlap::new(self.overlapping);
        let mut shared = SmallVec::new();
        let mut looked_at = 0;
        self.index.read().for_each_match(publication.topic, |leaf| {
            plain.begin(leaf);
            leaf.for_each(|subscriber| {
                looked_at += 1;
                let is_own = subscriber.options.no_local
                    && publication.publisher == Some(subscriber.client.id().as_str());
                if !is_own {
                    plain.add(subscriber);
                }
            });
            if let Some(groups) = &leaf.groups {
                groups.choose(self.chooser, publication, |target| shared.push(target));
            }
        });
        Targets { plain: plain.finish(), looked_at: looked_at + shared.len(), shared }
    }

    /// The member of one shared subscription that gets the message; `None` when there are no members.
    pub(super) fn choose(
        &self,
        share: &SubscriptionFilter,
        publication: &Publication<'_>,
    ) -> Option<SharedTarget> {
        let index = self.index.read();
        let groups = index.get(&share.filter)?.groups.as_ref()?;
        groups.choose_of(share.share()?, self.chooser, publication)
    }

    /// Everybody with a matching subscription, and what their groups would choose, without choosing it.
    pub(super) fn explain(
        &self,
        publication: &Publication<'_>,
        only: Option<&Arc<Client>>,
        found_max: usize,
    ) -> Found {
        let asked = Asked { chooser: self.chooser, publication, only, found_max };
        let mut found = Found { overlapping: self.overlapping, ..Found::default() };
        self.index.read().for_each_matching_filter(publication.topic, |filter, leaf| {
            leaf.for_each_of(only, |kind, subscriber| found.add_plain(found_max, kind, filter, subscriber));
            if let Some(groups) = &leaf.groups {
                groups.explain(&asked).for_each(|group| found.add_group(&asked, group));
            }
        });
        found
    }

    /// How the members of groups are chosen.
    pub(super) fn strategy(&self) -> SharedStrategy {
        self.chooser.strategy
    }

    /// All members of a shared subscription.
    pub(super) fn members(&self, share: &SubscriptionFilter) -> Vec<Target> {
        self.with_members(share, |members| members.iter().map(Target::new).collect())
    }

    pub(super) fn has_members(&self, share: &SubscriptionFilter) -> bool {
        self.with_members(share, |members| !members.is_empty())
    }

    pub(super) fn for_each_connected(&self, share: &SubscriptionFilter, act: impl FnMut(&Client)) {
        self.with_members(share, |members| {
            let clients = members.iter().map(|member| &*member.client);
            clients.filter(|client| client.standing().is_connected).for_each(act);
        });
    }

    /// The members of a shared subscription that are away while messages wait for them.
    pub(super) fn away_with_messages(&self, share: &SubscriptionFilter) -> Vec<Arc<Client>> {
        let is_wanted = |client: &Client| {
            let standing = client.standing();
            !standing.is_connected && standing.load > 0
        };
        self.with_members(share, |members| {
            let clients = members.iter().map(|member| &member.client);
            clients.filter(|client| is_wanted(client)).cloned().collect()
        })
    }

    fn with_members<T>(&self, share: &SubscriptionFilter, act: impl FnOnce(&[Subscriber]) -> T) -> T {
        let index = self.index.read();
        let groups = index.get(&share.filter).and_then(|leaf| leaf.groups.as_ref());
        act(match (groups, share.share()) {
            (Some(groups), Some(name)) => groups.members(name),
            _ => &[],
        })
    }
}

/// The targets of one message while they are collected from one filter after the other.
///
/// Clients that subscribe to the same filters mostly stand in the same order there. So the target after the last
/// one that was found again is the first to be compared, and only when that fails is everything sorted at the end.
struct Overlap {
    targets: SmallVec<[Target; 4]>,
    overlapping: Overlapping,
    /// Whether the present filter may have a client that is among the targets already.
    may_repeat: bool,
    /// Whether a client may be there twice.
    is_mixed: bool,
    /// The target to compare with next.
    next: usize,
}

impl Overlap {
    fn new(overlapping: Overlapping) -> Self {
        Self { targets: SmallVec::new(), overlapping, may_repeat: false, is_mixed: false, next: 0 }
    }

    fn begin(&mut self, leaf: &Leaf) {
        let is_first = self.targets.is_empty() && leaf.exclusive.is_none();
        self.may_repeat = !is_first && self.overlapping == Overlapping::Once;
        self.next = 0;
    }

    fn add(&mut self, subscriber: &Subscriber) {
        if self.may_repeat {
            let known = self.targets.get_mut(self.next);
            if let Some(known) = known.filter(|known| Arc::ptr_eq(&known.client, &subscriber.client)) {
                known.merge(subscriber.options, subscriber.id);
                self.next += 1;
                return;
            }
            self.is_mixed = true;
        }
        self.targets.push(Target::new(subscriber));
    }

    fn finish(mut self) -> SmallVec<[Target; 4]> {
        if self.is_mixed {
            self.targets.sort_by_key(|target| key(&target.client));
            self.targets.dedup_by(|later, kept| {
                let same = Arc::ptr_eq(&later.client, &kept.client);
                if same {
                    kept.merge(later.options, later.ids.drain(..));
                }
                same
            });
        }
        self.targets
    }
}

impl Targets {
    /// The number of copies.
    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.shared.len()
    }
}

impl Target {
    pub(super) fn new(subscriber: &Subscriber) -> Self {
        let client = Arc::clone(&subscriber.client);
        Self { client, options: subscriber.options, ids: subscriber.id.into_iter().collect() }
    }

    /// Another matching subscription of the same client: the highest QoS and all identifiers.
    fn merge(&mut self, options: SubscribeOptions, ids: impl IntoIterator<Item = u32>) {
        self.options.qos = self.options.qos.max(options.qos);
        // One subscription that wants the flag as published is enough.
        self.options.retain_as_published |= options.retain_as_published;
        self.ids.extend(ids);
    }
}

impl Leaf {
    fn counts(&self) -> [usize; 2] {
        let durable = self.durable as usize;
        let mut counts = [self.subscribers.len() - durable, durable];
        if let Some(holder) = &self.exclusive {
            counts[usize::from(holder.durable)] += 1;
        }
        counts
    }

    fn is_empty(&self) -> bool {
        self.subscribers.len() == 0 && self.exclusive.is_none() && self.groups.is_none()
    }

    /// Everybody but the members of groups; the holder may come twice.
    fn for_each(&self, mut act: impl FnMut(&Subscriber)) {
        self.subscribers.for_each(&mut act);
        self.exclusive.iter().for_each(|holder| act(holder));
    }

    /// Everybody but the members of groups, or one of them, each with the kind of its subscription.
    fn for_each_of(&self, only: Option<&Arc<Client>>, mut act: impl FnMut(SubscriptionKind, &Subscriber)) {
        let is_asked = |holder: &Subscriber| only.is_none_or(|client| Arc::ptr_eq(client, &holder.client));
        match only {
            None => self.subscribers.for_each(|subscriber| act(SubscriptionKind::Plain, subscriber)),
            Some(client) => {
                self.subscribers.get(client).into_iter().for_each(|it| act(SubscriptionKind::Plain, it));
            }
        }
        let holder = self.exclusive.iter().filter(|holder| is_asked(holder));
        holder.for_each(|holder| act(SubscriptionKind::Exclusive, holder));
    }

    fn subscribe(&mut self, subscriber: Subscriber) {
        self.durable += u32::from(subscriber.durable);
        if let Some(old) = self.subscribers.insert(subscriber) {
            self.durable -= u32::from(old.durable);
        }
    }

    /// The session of a client may be followed by another one before all its subscriptions are removed. That is
    /// no other client.
    fn claim(&mut self, subscriber: Subscriber) -> Result<(), Held> {
        match &mut self.exclusive {
            Some(holder) if holder.client.id() != subscriber.client.id() => return Err(Held),
            Some(holder) => **holder = subscriber,
            None => self.exclusive = Some(Box::new(subscriber)),
        }
        Ok(())
    }

    fn release(&mut self, client: &Arc<Client>) -> bool {
        // See `claim`: the client's next session may have it already.
        let was_held = self.exclusive.as_ref().is_some_and(|holder| holder.client.id() == client.id());
        self.exclusive.take_if(|holder| Arc::ptr_eq(&holder.client, client));
        was_held
    }

    fn unsubscribe(&mut self, client: &Arc<Client>) -> bool {
        let Some(old) = self.subscribers.remove(client) else { return false };
        self.durable -= u32::from(old.durable);
        true
    }

    fn leave(&mut self, name: &ShareName, client: &Arc<Client>) -> bool {
        let Some(groups) = &mut self.groups else { return false };
        let was_member = groups.remove(name, client);
        if groups.is_empty() {
            self.groups = None;
        }
        was_member
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

    fn get(&self, client: &Arc<Client>) -> Option<&Subscriber> {
        match self {
            Self::Many(many) => many.get(&key(client)),
            Self::Few(few) => few.iter().find(|subscriber| Arc::ptr_eq(&subscriber.client, client)),
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
pub(super) fn key(client: &Arc<Client>) -> usize {
    Arc::as_ptr(client) as usize
}
