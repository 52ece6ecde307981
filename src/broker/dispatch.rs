//! Messages of shared subscriptions: one member each, and another one when that member goes.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
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

/// Where a message has been put.
enum Placed {
    /// Sent, or in the queue of a member that is connected; or dropped, and counted.
    Done,
    /// In the queue of a member that is away.
    Away {
        client: Arc<Client>,
        /// Whether other members were asked, and not only looked at.
        asked: bool,
    },
}

impl Broker {
    /// Gives a message to the chosen member, or to another one when that cannot take it after all.
    pub(super) fn deliver_shared(
        &self,
        now: Instant,
        copies: &mut Copies<'_>,
        chosen: &SharedTarget,
        burst: &mut Burst,
    ) {
        let Placed::Away { client, asked } = self.place(now, copies, chosen, burst) else { return };
        let somebody_is_idle = self.call_members(&chosen.share);
        // A member came in the meantime, and saw nothing waiting.
        if somebody_is_idle && !asked {
            self.give_back(now, &client, &chosen.share, burst);
        }
    }

    fn place(
        &self,
        now: Instant,
        copies: &mut Copies<'_>,
        chosen: &SharedTarget,
        burst: &mut Burst,
    ) -> Placed {
        let SharedTarget { share, target, room } = chosen;
        let placed = |target: &Target, room, asked| match room {
            Room::Away => Placed::Away { client: Arc::clone(&target.client), asked },
            _ => Placed::Done,
        };
        // With no room anywhere, it is dropped for the reason that the chosen one has.
        if *room != Room::Full {
            if self.offer(now, copies, share, target, *room, burst) {
                return placed(target, *room, false);
            }
            // What was known was out of date, or the message too large for this client.
            let members = self.subscriptions.members(share);
            for room in [Room::Now, Room::Queue, Room::Away] {
                let taker = members.iter().find(|it| self.offer(now, copies, share, it, room, burst));
                if let Some(taker) = taker {
                    return placed(taker, room, true);
                }
            }
        }
        let delivery = delivery(copies, share, target);
        if target.client.deliver(now, copies, &delivery, &self.metrics) {
            burst.touch(&target.client);
        }
        Placed::Done
    }

    /// Something waits for a member that is away: whoever is connected, but busy, looks for it once it is not.
    /// True when somebody is connected and not even busy.
    fn call_members(&self, share: &SubscriptionFilter) -> bool {
        // Either this sees a member that is just coming, or that one sees what waits.
        fence(Ordering::SeqCst);
        let mut somebody_is_idle = false;
        self.subscriptions.for_each_connected(share, |client| match client.standing().acknowledged {
            Room::Now => somebody_is_idle = true,
            _ => client.is_called.store(true, Ordering::Relaxed),
        });
        somebody_is_idle
    }

    /// An acknowledgement or room in the socket may have made a member idle that was called.
    pub(super) fn answer_call(&self, now: Instant, client: &Arc<Client>, burst: &mut Burst) {
        let is_idle = client.standing().acknowledged == Room::Now;
        if is_idle && client.is_called.swap(false, Ordering::Relaxed) {
            self.on_member_back(now, client, burst);
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
            if let Placed::Away { .. } = self.place(now, &mut copies, &chosen, burst) {
                self.call_members(&share);
            }
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
            let mut somebody_is_there = false;
            self.subscriptions.for_each_connected(&share, |_| somebody_is_there = true);
            if somebody_is_there {
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
        fence(Ordering::SeqCst);
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
