//! The replay of retained messages to new subscriptions: at the client's own pace, in turns of bounded work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Broker;
use super::client::{Client, Generation};
use super::retained::Store;
use crate::codec::Qos;
use crate::session::{Outbox, Session, Subscription};
use crate::topic::{Step, SubscriptionFilter, TopicName};

/// Topics that are looked at for one client in one turn of its connection, whether they match or not. The store and
/// the client are locked meanwhile, and others wait for the thread: this is a fraction of a millisecond.
pub(super) const TURN_VISITS_MAX: usize = 1_024;
/// Messages that are sent in one turn. Each costs about as much as some dozen topics that are passed by.
const TURN_MESSAGES_MAX: usize = 128;

/// The replay that one subscription still has to get.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    filter: SubscriptionFilter,
    qos_max: Qos,
    subscription_id: Option<u32>,
    /// What was stored later reached the subscription as it was published.
    until_version: u64,
    /// The first topic that has not been dealt with, once it is known.
    next: Option<TopicName>,
}

/// What a client's subscriptions still have to get: at most one replay for each.
#[derive(Debug)]
pub(super) struct Replays {
    pending: BTreeMap<SubscriptionFilter, Replay>,
    pause: Pause,
    allowance: Allowance,
    /// Some copy did not reach the client since `lost_version` was set.
    has_losses: bool,
    /// Up to here what was published may have been lost on its way to the client.
    lost_version: u64,
    /// Topics looked at so far.
    #[cfg(test)]
    pub(super) visited: usize,
}

/// What a replay waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// The next turn.
    Turn,
    /// Room for a message that goes out at this QoS.
    Room(Qos),
}

/// The work that is left until the connection's next turn.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    visits: usize,
    messages: usize,
}

const WHOLE: Allowance = Allowance { visits: TURN_VISITS_MAX, messages: TURN_MESSAGES_MAX };

impl Replay {
    /// A replay of everything that the subscription matches, for a subscription that gets what is stored after
    /// `until_version`.
    pub(super) fn new(subscription: &Subscription, until_version: u64) -> Self {
        Self {
            filter: subscription.filter.clone(),
            qos_max: subscription.options.qos,
            subscription_id: subscription.id,
            until_version,
            next: None,
        }
    }
}

impl Default for Replays {
    fn default() -> Self {
        Self {
            pending: BTreeMap::new(),
            pause: Pause::Turn,
            allowance: WHOLE,
            has_losses: false,
            lost_version: 0,
            #[cfg(test)]
            visited: 0,
        }
    }
}

impl Replays {
    /// Adds a replay, in place of the one that is under way for the same subscription.
    pub(super) fn put(&mut self, replay: Replay) {
        self.pending.insert(replay.filter.clone(), replay);
        self.pause = Pause::Turn;
    }

    /// The subscription has other options from now on.
    pub(super) fn revise(&mut self, subscription: &Subscription) {
        if let Some(replay) = self.pending.get_mut(&subscription.filter) {
            replay.qos_max = subscription.options.qos;
            replay.subscription_id = subscription.id;
            self.pause = Pause::Turn;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// No more for this subscription.
    fn stop(&mut self, filter: &SubscriptionFilter) {
        self.pending.remove(filter);
        self.pause = Pause::Turn;
    }

    /// A copy did not reach the client. It may have been the present message of a topic that is still to come, so
    /// none of those is left out as delivered.
    pub(super) fn on_loss(&mut self) {
        self.has_losses = true; // Also while nothing is pending: a subscription may be waiting for its SUBACK.
    }

    /// The client is back: what room there was says nothing any more.
    pub(super) fn on_connected(&mut self) {
        self.pause = Pause::Turn;
    }

    /// Whether something can be done now or in the next turn. Looks at nothing that is stored.
    fn is_ready(&self, session: &Session, out: &Outbox) -> bool {
        let has_room = match self.pause {
            Pause::Turn => true,
            Pause::Room(qos) => session.takes_retained(qos, out),
        };
        !self.pending.is_empty() && has_room
    }

    /// Whether the present turn allows more.
    fn has_allowance(&self) -> bool {
        self.allowance.visits > 0 && self.allowance.messages > 0
    }

    /// Goes on until the allowance is used up, there is no room, or nothing is left.
    fn advance(&mut self, now: Instant, session: &mut Session, out: &mut Outbox, store: &Store) {
        if std::mem::take(&mut self.has_losses) {
            self.lost_version = store.version;
        }
        #[cfg(test)]
        let before = self.allowance.visits;
        self.pause = Pause::Turn;
        let Allowance { visits, messages } = &mut self.allowance;
        while let Some(mut entry) = self.pending.first_entry() {
            if *visits == 0 {
                break;
            }
            let replay = entry.get_mut();
            let until_version = replay.until_version.max(self.lost_version);
            let mut search = match &replay.next {
                Some(next) => store.messages.matches_from(&replay.filter.filter, next),
                None => store.messages.matches(&replay.filter.filter),
            };
            let mut is_first = true;
            let stopped_at = loop {
                let (topic, stored) = match search.step(visits) {
                    Step::Match(topic, stored) => (topic, stored),
                    Step::Cut(topic) => break Some(topic),
                    Step::End => break None,
                };
                is_first = false;
                if stored.version > until_version {
                    continue;
                }
                if *messages == 0 {
                    break Some(topic);
                }
                let ids = replay.subscription_id.as_slice();
                if !session.deliver_retained(now, &stored.message, replay.qos_max, ids, out) {
                    self.pause = Pause::Room(stored.message.qos().min(replay.qos_max));
                    break Some(topic);
                }
                *messages -= 1;
            };
            // A search costs something even if it comes to nothing.
            *visits = visits.saturating_sub(usize::from(is_first));
            let Some(topic) = stopped_at else {
                entry.remove();
                continue;
            };
            replay.next = Some(topic.clone());
            break;
        }
        #[cfg(test)]
        {
            self.visited += before - self.allowance.visits;
        }
    }
}

impl Broker {
    /// Starts to replay to new subscriptions, from the beginning where a replay is under way.
    pub(super) fn start_replays(
        &self,
        now: Instant,
        client: &Arc<Client>,
        generation: Generation,
        replays: Replays,
    ) {
        if replays.pending.is_empty() {
            return;
        }
        client.with_state(|state| {
            for (filter, replay) in replays.pending {
                // It may have been unsubscribed meanwhile.
                if !state.ended && state.session.has_subscription(&filter) {
                    state.replays.put(replay);
                }
            }
            client.has_replays.store(!state.replays.is_empty(), Ordering::Relaxed);
        });
        self.continue_replays(now, client, generation);
        // The rest is for the connection's turns, and this may be another task than theirs.
        client.with_state(|state| {
            if !state.replays.is_empty() {
                state.wake();
            }
        });
    }

    /// The client has left the filter: nothing more is sent for it [MQTT5-3.10.4-2].
    pub(super) fn stop_replays(&self, client: &Client, filter: &SubscriptionFilter) {
        if client.has_replays.load(Ordering::Relaxed) {
            client.with_state(|state| {
                state.replays.stop(filter);
                client.has_replays.store(!state.replays.is_empty(), Ordering::Relaxed);
            });
        }
    }

    /// One turn of a connection: its owner calls this whenever it has handled an input, and goes on with its
    /// client's replays. True when more can be done at once: let others have their turn, then call again.
    #[must_use]
    pub fn on_turn(&self, now: Instant, client: &Arc<Client>, generation: Generation) -> bool {
        if !client.has_replays.load(Ordering::Relaxed) {
            return false;
        }
        client.with_state(|state| state.replays.allowance = WHOLE);
        if self.continue_replays(now, client, generation) {
            client.flush();
        }
        let goes_on = client.with_connected(generation, &self.metrics, |state| {
            let (replays, session, outbox) = state.replaying();
            replays.is_ready(session, outbox)
        });
        goes_on == Some(true)
    }

    /// Carries on with the client's replays as far as its window, its outbox and this turn's allowance have room.
    /// True when the caller has to see to it that the client is flushed.
    pub(super) fn continue_replays(
        &self,
        now: Instant,
        client: &Arc<Client>,
        generation: Generation,
    ) -> bool {
        if !client.has_replays.load(Ordering::Relaxed) {
            return false;
        }
        let is_ready = client.with_connected(generation, &self.metrics, |state| {
            let (replays, session, outbox) = state.replaying();
            replays.has_allowance() && replays.is_ready(session, outbox)
        });
        if is_ready != Some(true) {
            return false;
        }
        // The store stays locked until the messages are in the outbox, although that takes the client's lock as
        // well: a newer message is stored before it is delivered, so it cannot overtake an older one here.
        // Nobody takes the two locks the other way round.
        let store = self.retained.read();
        client.with_connected(generation, &self.metrics, |state| {
            let (replays, session, outbox) = state.replaying();
            replays.advance(now, session, outbox, &store);
            client.has_replays.store(!replays.is_empty(), Ordering::Relaxed);
        });
        true
    }
}
