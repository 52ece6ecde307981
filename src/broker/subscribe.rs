//! SUBSCRIBE and UNSUBSCRIBE: the client's session, this node's index and the cluster's route table in step.

use std::sync::Arc;
use std::time::Instant;

use super::Broker;
use super::client::{Client, Generation};
use super::publish::Burst;
use super::replay::{Replay, Replays};
use super::subscriptions::Held;
use crate::cluster::{Position, Reach, RouteKey};
use crate::codec::{PacketId, Qos, ReasonCode, RetainHandling};
use crate::session::Subscription;
use crate::topic::SubscriptionFilter;

/// The user property on a SUBACK that came before every live peer knew the route.
const REACH_PROPERTY: &str = "flockmq-reached";

/// A subscription that was made.
pub(super) struct Added {
    /// Where the cluster's routes must have come to before the SUBACK.
    known_at: Option<Position>,
    /// The retained messages that follow the SUBACK.
    pub(super) replay: Option<Replay>,
}

impl Broker {
    pub(super) fn subscribe(
        self: &Arc<Self>,
        now: Instant,
        client: &Arc<Client>,
        generation: Generation,
        packet_id: PacketId,
        filters: Vec<Result<Subscription, ReasonCode>>,
    ) {
        let mut codes = Vec::with_capacity(filters.len());
        let mut known_at: Option<Position> = None;
        let mut replays = Replays::default();
        let mut joined = Vec::new();
        for filter in filters {
            let granted = filter.and_then(|subscription| {
                let added = self.add_subscription(client, generation, &subscription)?;
                // As after a sequence of SUBSCRIBE packets [MQTT5-3.8.4-5], but what is asked for twice is sent once.
                replays.revise(&subscription);
                if subscription.filter.share().is_some() {
                    joined.push(subscription.filter);
                }
                Ok((granted_code(subscription.options.qos), added))
            });
            codes.push(match granted {
                Ok((code, added)) => {
                    known_at = known_at.max(added.known_at);
                    if let Some(replay) = added.replay {
                        replays.put(replay);
                    }
                    code
                }
                Err(code) => code,
            });
        }
        let broker = Arc::clone(self);
        let subscriber = Arc::clone(client);
        let acknowledge = move |reach: Reach| {
            broker.on_reached(&subscriber, generation, packet_id, &codes, reach);
            broker.start_replays(now, &subscriber, generation, replays);
            let mut burst = Burst::default();
            joined.iter().for_each(|share| broker.on_joined(now, share, &mut burst));
            broker.flush(&mut burst);
            subscriber.flush();
        };
        match (&self.cluster, known_at) {
            (Some(cluster), Some(position)) => cluster.reach(position, Box::new(acknowledge)),
            _ => acknowledge(Reach::default()),
        }
    }

    /// Sends the SUBACK: the peers know the routes, or have had their time.
    fn on_reached(
        &self,
        client: &Arc<Client>,
        generation: Generation,
        packet_id: PacketId,
        codes: &[ReasonCode],
        reach: Reach,
    ) {
        let everybody = reach.acknowledged >= reach.peers;
        let note = (!everybody).then(|| format!("{} of {} peers", reach.acknowledged, reach.peers));
        let answered = client.with_connection(generation, &self.metrics, |session, out| {
            let note = note.as_deref().map(|note| (REACH_PROPERTY, note));
            session.on_subscribed(packet_id, codes, note, out)
        });
        if let Some(Err(reason)) = answered {
            self.refuse(client, generation, reason);
        }
    }

    /// Makes one subscription.
    pub(super) fn add_subscription(
        &self,
        client: &Arc<Client>,
        generation: Generation,
        subscription: &Subscription,
    ) -> Result<Added, ReasonCode> {
        let durable = client.with_connection(generation, &self.metrics, |session, _| {
            session.may_subscribe(&subscription.filter).then(|| session.is_persistent())
        });
        let Some(durable) = durable else { return Err(ReasonCode::UnspecifiedError) };
        let durable = durable.ok_or(ReasonCode::QuotaExceeded)?;
        let added = self.subscriptions.add(client, subscription, durable);
        added.map_err(|Held| ReasonCode::QuotaExceeded)?;
        // The session may have ended meanwhile, having listed its subscriptions without this one.
        let is_new = client.with_state(|state| {
            state.replays.revise(subscription);
            (!state.ended).then(|| state.session.on_granted(subscription))
        });
        let Some(is_new) = is_new else {
            self.subscriptions.remove(client, &subscription.filter);
            self.align_routes(&subscription.filter);
            return Err(ReasonCode::UnspecifiedError);
        };
        if is_new {
            self.metrics.subscriptions.inc();
        }
        let known_at = self.align_routes(&subscription.filter)[usize::from(durable)];
        let filter = &subscription.filter;
        if filter.share().is_some() {
            // No retained messages for a shared subscription [MQTT5-4.8.2].
            return Ok(Added { known_at, replay: None });
        }
        let wants_retained = match subscription.options.retain_handling {
            RetainHandling::SendAlways => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        let replay = wants_retained.then(|| Replay::new(subscription, self.retained.version()));
        Ok(Added { known_at, replay })
    }

    pub(super) fn unsubscribe(
        &self,
        now: Instant,
        client: &Arc<Client>,
        generation: Generation,
        packet_id: PacketId,
        filters: Vec<Result<SubscriptionFilter, ReasonCode>>,
        burst: &mut Burst,
    ) {
        let mut codes = Vec::with_capacity(filters.len());
        for filter in filters {
            let removed = filter.map(|filter| {
                let had = client
                    .with_connection(generation, &self.metrics, |session, _| session.on_removed(&filter));
                had.flatten().map(|_| {
                    self.remove_subscription(client, &filter);
                    if filter.share().is_some() {
                        self.on_left(now, client, &filter, burst);
                    }
                })
            });
            codes.push(match removed {
                Ok(Some(())) => ReasonCode::Success,
                Ok(None) => ReasonCode::NoSubscriptionExisted,
                Err(code) => code,
            });
        }
        let answered = client.with_connection(generation, &self.metrics, |session, out| {
            session.on_unsubscribed(packet_id, &codes, out)
        });
        if let Some(Err(reason)) = answered {
            self.refuse(client, generation, reason);
        }
    }

    pub(super) fn remove_subscription(&self, client: &Arc<Client>, filter: &SubscriptionFilter) {
        if self.subscriptions.remove(client, filter) {
            self.stop_replays(client, filter);
            self.metrics.subscriptions.dec();
            self.align_routes(filter);
        }
    }

    /// Makes the advertised routes of a filter agree with its subscribers. Returns, for each class that has
    /// any, the position at which a peer knows its route.
    ///
    /// A shared subscription has no route: peers would not know which of several members is to get a message.
    fn align_routes(&self, filter: &SubscriptionFilter) -> [Option<Position>; 2] {
        let Some(cluster) = &self.cluster else { return [None; 2] };
        if filter.share().is_some() {
            return [None; 2];
        }
        let filter = &filter.filter;
        let _turn = self.route_turn.lock();
        let counts = self.subscriptions.counts(filter);
        [false, true].map(|durable| {
            let key = RouteKey { filter: filter.clone(), share: None, durable };
            if counts[usize::from(durable)] == 0 {
                cluster.withdraw(&key);
                return None;
            }
            Some(cluster.advertise(&key))
        })
    }
}

fn granted_code(qos: Qos) -> ReasonCode {
    match qos {
        Qos::AtMostOnce => ReasonCode::Success,
        Qos::AtLeastOnce => ReasonCode::GrantedQos1,
        Qos::ExactlyOnce => ReasonCode::GrantedQos2,
    }
}
