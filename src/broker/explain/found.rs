//! What the index of subscriptions has for a topic, copied out of its lock.

use std::sync::Arc;

use crate::broker::client::Client;
use crate::broker::groups::SharedTarget;
use crate::broker::settings::Overlapping;
use crate::broker::shared::Chooser;
use crate::broker::subscriptions::{Subscriber, Target};
use crate::codec::SubscribeOptions;
use crate::message::Publication;
use crate::topic::{SubscriptionFilter, SubscriptionKind, TopicFilter};

/// What a group is asked.
#[derive(Clone, Copy)]
pub(in crate::broker) struct Asked<'a> {
    pub(in crate::broker) chooser: Chooser,
    pub(in crate::broker) publication: &'a Publication<'a>,
    /// Leaves out the others.
    pub(in crate::broker) only: Option<&'a Arc<Client>>,
    /// Members that are listed at most.
    pub(in crate::broker) found_max: usize,
}

/// Matching subscriptions, in the order in which their copies are made.
#[derive(Default)]
pub(in crate::broker) struct Found {
    pub(in crate::broker) plain: Vec<FoundPlain>,
    pub(in crate::broker) groups: Vec<FoundGroup>,
    pub(in crate::broker) overlapping: Overlapping,
    /// How many more there are.
    pub(in crate::broker) unlisted: usize,
}

/// One that is not shared.
pub(in crate::broker) struct FoundPlain {
    pub(in crate::broker) client: Arc<Client>,
    pub(in crate::broker) options: SubscribeOptions,
    pub(in crate::broker) filter: SubscriptionFilter,
}

/// A shared one: some of its members, and who would be chosen.
pub(in crate::broker) struct FoundGroup {
    pub(in crate::broker) chosen: SharedTarget,
    pub(in crate::broker) members: Vec<Target>,
    /// How many members there are in all.
    pub(in crate::broker) count: usize,
}

impl Found {
    pub(in crate::broker) fn add_plain(
        &mut self,
        found_max: usize,
        kind: SubscriptionKind,
        filter: &TopicFilter,
        subscriber: &Subscriber,
    ) {
        if self.len() >= found_max {
            self.unlisted += 1;
            return;
        }
        let filter = SubscriptionFilter { kind, filter: filter.clone() };
        let client = Arc::clone(&subscriber.client);
        self.plain.push(FoundPlain { client, options: subscriber.options, filter });
    }

    pub(in crate::broker) fn add_group(&mut self, asked: &Asked<'_>, group: FoundGroup) {
        if self.len() >= asked.found_max {
            self.unlisted += group.count;
            return;
        }
        if asked.only.is_none() {
            self.unlisted += group.count - group.members.len();
        }
        self.groups.push(group);
    }

    fn len(&self) -> usize {
        self.plain.len() + self.groups.iter().map(|group| group.members.len()).sum::<usize>()
    }
}
