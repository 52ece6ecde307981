//! A session as a member of shared subscriptions: what it could take, and what another member gets instead.

use std::sync::Arc;
use std::time::Instant;

use super::copies::Copies;
use super::outbound::{Delivery, fits, queued_bytes};
use super::outbox::Outbox;
use super::{Session, open};
use crate::codec::Qos;
use crate::message::Message;
use crate::topic::SubscriptionFilter;

/// Where one more message for a client would go, from the worst to the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Nowhere: it would be dropped.
    #[default]
    Full,
    /// Into the queue of a client that is away.
    Away,
    /// Behind others: the client is connected, but at its Receive Maximum or slow to read.
    Queue,
    /// To the client at once.
    Now,
}

impl Session {
    /// The filters of its shared subscriptions.
    pub fn shared_filters(&self) -> impl Iterator<Item = &SubscriptionFilter> {
        // They are ordered behind all that have no share.
        self.subscriptions.keys().rev().take_while(|filter| filter.share().is_some())
    }

    /// Where one more message of this QoS would go. It costs `message_bytes` if it has to wait.
    #[must_use]
    pub fn room(&self, qos: Qos, message_bytes: usize, out: &Outbox) -> Room {
        let connected = open(&self.connected);
        if connected.is_none() && !self.is_persistent() {
            return Room::Full; // It is about to end.
        }
        let window = connected.map(|connected| &connected.window);
        self.outbound.room(qos, message_bytes, window, &self.settings, out)
    }

    /// How many messages of QoS 1 and 2 it has to get through.
    #[must_use]
    pub fn load(&self) -> usize {
        self.outbound.load()
    }

    /// Takes one copy if its place is `least` or better and the client takes its size; otherwise it could go
    /// to another client, and nothing is counted. True when it was taken.
    pub fn offer(
        &mut self,
        now: Instant,
        copies: &mut Copies<'_>,
        delivery: &Delivery<'_>,
        least: Room,
        out: &mut Outbox,
    ) -> bool {
        let qos = copies.publication().qos.min(delivery.qos_max);
        let must_wait = qos != Qos::AtMostOnce && least != Room::Now;
        let message_bytes =
            if must_wait { queued_bytes(&copies.message(), delivery.subscription_ids) } else { 0 };
        let window = open(&self.connected).map(|connected| &connected.window);
        let is_taken = self.room(qos, message_bytes, out) >= least
            && window.is_none_or(|window| fits(copies, qos, delivery, window));
        if is_taken {
            self.deliver(now, copies, delivery, out);
        }
        is_taken
    }

    /// Takes back the messages of one shared subscription that were never sent, oldest first: another member
    /// can have them.
    pub fn take_waiting(&mut self, share: &SubscriptionFilter) -> Vec<Arc<Message>> {
        self.outbound.take_waiting(share)
    }

    /// The session ends: takes back the messages of its shared subscriptions that another member is to get,
    /// oldest first. Those are the ones that were never sent, and QoS 1 without an acknowledgement. What was
    /// sent at QoS 2 stays and ends with the session [MQTT5-4.8.2-5].
    pub fn take_shared(&mut self) -> Vec<(Arc<SubscriptionFilter>, Arc<Message>)> {
        self.outbound.take_shared()
    }
}
