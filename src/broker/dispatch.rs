//! Messages of shared subscriptions: one member each, and another one when that member goes.

use std::sync::Arc;
use std::time::Instant;

use super::Broker;
use super::client::{Client, Offered};
use super::groups::SharedTarget;
use super::publish::Burst;
use super::subscriptions::Target;
use crate::message::Message;
use crate::metrics::DropReason;
use crate::session::{Copies, Delivery, Room};
use crate::topic::SubscriptionFilter;

impl Broker {
    /// Gives a message to the chosen member, or to another one when that cannot take it after all.
    pub(super) fn deliver_shared(
        &self,
        now: Instant,
        copies: &mut Copies<'_>,
        chosen: &SharedTarget,
        burst: &mut Burst,
    ) {
        let SharedTarget { share, target, room } = chosen;
        // With no room anywhere, it is dropped for the reason that the chosen one has.
        if *room != Room::Full {
            if self.offer(now, copies, share, target, *room, burst) {
                return;
            }
            // What was known was out of date, or the message too large for this client.
            let members = self.subscriptions.members(share);
            for room in [Room::Now, Room::Queue, Room::Away] {
                if members.iter().any(|member| self.offer(now, copies, share, member, room, burst)) {
                    return;
                }
            }
        }
        let delivery = delivery(copies, share, target);
        if target.client.deliver(now, copies, &delivery, &self.metrics) {
            burst.touch(&target.client);
        }
    }

    fn offer(
        &self,
        now: Instant,
        copies: &mut Copies<'_>,
        share: &Arc<SubscriptionFilter>,
        target: &Target,
        least: Room,
        burst: &mut Burst,
    ) -> bool {
        let delivery = delivery(copies, share, target);
        match target.client.offer(now, copies, &delivery, least, &self.metrics) {
            Offered::Refused => return false,
            Offered::Taken { must_flush: true } => burst.touch(&target.client),
            Offered::Taken { must_flush: false } => {}
        }
        true
    }

    /// Chooses again for messages that a member did not get: it has left, or its session has ended.
    pub(super) fn dispatch_again(
        &self,
        now: Instant,
        messages: impl IntoIterator<Item = (Arc<SubscriptionFilter>, Arc<Message>)>,
        burst: &mut Burst,
    ) {
        for (share, message) in messages {
            let publication = message.publication();
            let Some(chosen) = self.subscriptions.choose(&share, &publication) else {
                self.metrics.dropped(DropReason::SessionEnded).inc(); // The last member is gone.
                continue;
            };
            let mut copies = Copies::of(&message, now);
            self.deliver_shared(now, &mut copies, &chosen, burst);
        }
    }

    /// A member has left the group, but its session goes on: what was never sent to it goes to the others.
    /// Without others it is still the client's own [MQTT5-3.10.4].
    pub(super) fn on_left(
        &self,
        now: Instant,
        client: &Arc<Client>,
        share: &SubscriptionFilter,
        burst: &mut Burst,
    ) {
        if self.subscriptions.has_members(share) {
            self.give_back(now, client, share, burst);
        }
    }

    /// The client's connection has ended, its session has not: what it was never sent goes to members that are
    /// there. What is unacknowledged waits for the client.
    pub(super) fn on_member_away(&self, now: Instant, client: &Arc<Client>, burst: &mut Burst) {
        for share in shares(client) {
            if self.subscriptions.has_connected_member(&share) {
                self.give_back(now, client, &share, burst);
            }
        }
    }

    /// The client is there: it gets what waits for members of its groups that are away.
    pub(super) fn on_member_back(&self, now: Instant, client: &Arc<Client>, burst: &mut Burst) {
        for share in shares(client) {
            self.on_joined(now, &share, burst);
        }
    }

    /// A group has a member that is there: what waits for members that are away is dispatched again.
    pub(super) fn on_joined(&self, now: Instant, share: &SubscriptionFilter, burst: &mut Burst) {
        for away in self.subscriptions.away_with_messages(share) {
            self.give_back(now, &away, share, burst);
        }
    }

    fn give_back(&self, now: Instant, client: &Arc<Client>, share: &SubscriptionFilter, burst: &mut Burst) {
        let messages = client.with_state(|state| state.session.take_waiting(share));
        if messages.is_empty() {
            return;
        }
        let share = Arc::new(share.clone());
        self.dispatch_again(now, messages.into_iter().map(|it| (Arc::clone(&share), it)), burst);
    }
}

fn delivery<'a>(copies: &Copies<'_>, share: &'a Arc<SubscriptionFilter>, target: &'a Target) -> Delivery<'a> {
    Delivery {
        qos_max: target.options.qos,
        retain: copies.publication().retain && target.options.retain_as_published,
        subscription_ids: &target.ids,
        share: Some(share),
    }
}

fn shares(client: &Client) -> Vec<SubscriptionFilter> {
    client.with_state(|state| state.session.shared_filters().cloned().collect())
}
