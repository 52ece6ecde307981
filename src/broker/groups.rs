//! The groups of one filter: the members of its shared subscriptions, by Share Name.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use foldhash::HashMapExt as _;

use super::client::Client;
use super::explain::{Asked, FoundGroup};
use super::shared::{Candidate, Chooser, Hand, Turns};
use super::subscriptions::{Subscriber, Target, key};
use crate::message::Publication;
use crate::session::Room;
use crate::topic::{ShareName, SubscriptionFilter};

/// All groups of one filter. There is none without members.
#[derive(Default)]
pub(super) struct Groups {
    by_name: BTreeMap<ShareName, Group>,
}

/// One shared subscription: each of its messages goes to one member.
struct Group {
    share: Arc<SubscriptionFilter>,
    members: Vec<Subscriber>,
    /// Where each member stands in `members`.
    places: HashMap<usize, usize>,
    turns: Turns,
}

/// The member of a group that is to get a message.
pub(super) struct SharedTarget {
    pub(super) share: Arc<SubscriptionFilter>,
    pub(super) target: Target,
    /// Where the message would go, as far as is known; [`Room::Full`] when nobody has a better place.
    pub(super) room: Room,
}

impl Groups {
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Adds or replaces a member. True when it is new.
    pub(super) fn add(&mut self, share: &SubscriptionFilter, name: &ShareName, member: Subscriber) -> bool {
        self.by_name.entry(name.clone()).or_insert_with(|| Group::new(share)).add(member)
    }

    /// False when the client is no member.
    pub(super) fn remove(&mut self, name: &ShareName, client: &Arc<Client>) -> bool {
        let Some(group) = self.by_name.get_mut(name) else { return false };
        let was_member = group.remove(client);
        if group.members.is_empty() {
            self.by_name.remove(name);
        }
        was_member
    }

    /// The member that each group chooses.
    pub(super) fn choose(
        &self,
        chooser: Chooser,
        publication: &Publication<'_>,
        mut chosen: impl FnMut(SharedTarget),
    ) {
        for group in self.by_name.values() {
            chosen(group.choose(chooser, publication));
        }
    }

    /// What each group would choose, and from whom.
    pub(super) fn explain<'a>(&'a self, asked: &Asked<'a>) -> impl Iterator<Item = FoundGroup> {
        self.by_name.values().filter_map(move |group| group.explain(asked))
    }

    /// The member that one group chooses.
    pub(super) fn choose_of(
        &self,
        name: &ShareName,
        chooser: Chooser,
        publication: &Publication<'_>,
    ) -> Option<SharedTarget> {
        self.by_name.get(name).map(|group| group.choose(chooser, publication))
    }

    /// The members of one group.
    pub(super) fn members(&self, name: &ShareName) -> &[Subscriber] {
        self.by_name.get(name).map_or(&[], |group| &group.members)
    }
}

impl Group {
    fn new(share: &SubscriptionFilter) -> Self {
        Self {
            share: Arc::new(share.clone()),
            members: Vec::new(),
            places: HashMap::new(),
            turns: Turns::new(),
        }
    }

    fn add(&mut self, member: Subscriber) -> bool {
        let place = *self.places.entry(key(&member.client)).or_insert(self.members.len());
        match self.members.get_mut(place) {
            Some(old) => *old = member,
            None => self.members.push(member),
        }
        place + 1 == self.members.len()
    }

    fn remove(&mut self, client: &Arc<Client>) -> bool {
        let Some(place) = self.places.remove(&key(client)) else { return false };
        self.turns.on_removed(place, self.members.len() - 1);
        // The last one moves, so that hashed choices change for as few as possible.
        self.members.swap_remove(place);
        if let Some(moved) = self.members.get(place) {
            self.places.insert(key(&moved.client), place);
        }
        true
    }

    fn choose(&self, chooser: Chooser, publication: &Publication<'_>) -> SharedTarget {
        self.choose_by(&self.turns, chooser, publication)
    }

    fn choose_by(&self, turns: &Turns, chooser: Chooser, publication: &Publication<'_>) -> SharedTarget {
        let hand =
            Hand { publisher: publication.publisher.unwrap_or_default(), topic: publication.topic.as_str() };
        let choice = turns.choose(chooser, hand, self.members.len(), |place| {
            let member = &self.members[place];
            let standing = member.client.standing();
            Candidate { room: standing.room(publication.qos.min(member.options.qos)), load: standing.load }
        });
        SharedTarget {
            share: Arc::clone(&self.share),
            target: Target::new(&self.members[choice.place]),
            room: choice.room,
        }
    }
    /// `None` when it is asked about a client that is no member.
    fn explain(&self, asked: &Asked<'_>) -> Option<FoundGroup> {
        let asked_place = match asked.only {
            Some(client) => Some(*self.places.get(&key(client))?),
            None => None,
        };
        let chosen = self.choose_by(&self.turns.copy(), asked.chooser, asked.publication);
        let shown: &[Subscriber] = match asked_place {
            Some(place) => &self.members[place..=place],
            None => &self.members[..self.members.len().min(asked.found_max)],
        };
        Some(FoundGroup {
            chosen,
            members: shown.iter().map(Target::new).collect(),
            count: self.members.len(),
        })
    }
}
