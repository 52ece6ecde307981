//! Sessions and their connections: CONNECT, takeover on this node, the end of a connection, the end of a session.

use std::sync::Arc;
use std::time::Instant;

use dashmap::Entry;
use tracing::debug;

use super::Broker;
use super::client::{Client, Generation, Wire, count};
use super::publish::Burst;
use super::timers::Due;
use crate::codec::ReasonCode;
use crate::metrics::DropReason;
use crate::session::{Closing, Farewell, Negotiated, Session, Will};

/// A connection that has its session.
pub struct Attached {
    /// The client.
    pub client: Arc<Client>,
    /// Which of its connections this is.
    pub generation: Generation,
}

impl Broker {
    /// Gives an accepted client its session and appends CONNACK and what it had not acknowledged. An older
    /// connection of the same client is closed with 0x8E [MQTT5-3.1.4-3].
    pub fn connect(
        &self,
        now: Instant,
        negotiated: &Negotiated,
        wire: &Arc<dyn Wire>,
        burst: &mut Burst,
    ) -> Attached {
        loop {
            let known = self.clients.get(&negotiated.client_id).map(|entry| Arc::clone(entry.value()));
            let attached = match known {
                Some(client) => self.take_over(now, &client, negotiated, wire, burst),
                None => self.start_session(now, negotiated, wire),
            };
            if let Some(attached) = attached {
                burst.touch(&attached.client);
                self.on_member_back(now, &attached.client, burst);
                self.subscribe_automatically(now, &attached, burst);
                // Behind those that are new or start again.
                self.continue_replays(now, &attached.client, attached.generation);
                self.metrics.connections.inc();
                self.metrics.connects.inc();
                return attached;
            }
        }
    }

    /// `None` when another connection of the same name was faster.
    fn start_session(&self, now: Instant, negotiated: &Negotiated, wire: &Arc<dyn Wire>) -> Option<Attached> {
        let session = Session::new(negotiated);
        let client = Arc::new(Client::new(session));
        // Attached before it can be found, so nobody sees a session without its connection.
        let generation = client.with_state(|state| {
            let generation = state.attach(Arc::clone(wire));
            let (session, out) = state.session_and_outbox();
            session.on_connected(now, negotiated, false, out);
            generation
        });
        match self.clients.entry(negotiated.client_id.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                place.insert(Arc::clone(&client));
                self.metrics.sessions.inc();
                Some(Attached { client, generation })
            }
        }
    }

    /// Continues the client's session, or ends it and returns `None`.
    fn take_over(
        &self,
        now: Instant,
        client: &Arc<Client>,
        negotiated: &Negotiated,
        wire: &Arc<dyn Wire>,
        burst: &mut Burst,
    ) -> Option<Attached> {
        let (continued, was_connected, farewell) = client.with_state(|state| {
            if state.ended {
                return (None, false, None);
            }
            let continues = !negotiated.clean_start && state.session.is_persistent();
            let was_connected = state.is_connected();
            let closing = Closing::TakenOver { continues };
            let farewell = state.detach(now, closing, Some(ReasonCode::SessionTakenOver));
            if !continues {
                return (None, was_connected, farewell);
            }
            state.pending_will = None;
            let generation = state.attach(Arc::clone(wire));
            let (session, out) = state.session_and_outbox();
            session.on_connected(now, negotiated, true, out);
            let tally = state.take_tally();
            state.replays.on_connected();
            (Some((generation, tally)), was_connected, farewell)
        });
        if was_connected {
            debug!(client = %client.id(), "connection taken over");
            self.metrics.connections.dec();
        }
        if let Some((will, _)) = farewell.and_then(|farewell| farewell.will) {
            self.publish_will(now, client, &will, burst);
        }
        let Some((generation, tally)) = continued else {
            self.end_session(now, client, burst);
            return None;
        };
        count(&self.metrics, &tally);
        Some(Attached { client: Arc::clone(client), generation })
    }

    /// The connection is gone; does nothing when another one has taken its place.
    pub fn on_closed(&self, now: Instant, client: &Arc<Client>, generation: Generation) {
        let mut burst = Burst::default();
        let closed = client.with_state(|state| {
            if state.generation != generation {
                return None;
            }
            let mut farewell = state.detach(now, Closing::Ended, None)?;
            let delayed = farewell.will.take_if(|(_, at)| *at > now);
            // Under the same lock: the connection that continues the session takes it away again.
            let will_at = delayed.map(|(will, at)| {
                state.pending_will = Some(will);
                at
            });
            Some((farewell, will_at, state.generation))
        });
        if let Some((farewell, will_at, generation)) = closed {
            self.metrics.connections.dec();
            if let Some(at) = will_at {
                self.timers.lock().add(at, client, generation, Due::Will);
            }
            self.on_farewell(now, client, generation, farewell, &mut burst);
        }
        self.flush(&mut burst);
    }

    fn on_farewell(
        &self,
        now: Instant,
        client: &Arc<Client>,
        generation: Generation,
        farewell: Farewell,
        burst: &mut Burst,
    ) {
        if let Some((will, _)) = farewell.will {
            self.publish_will(now, client, &will, burst);
        }
        match farewell.ends_at {
            Some(at) if at <= now => return self.end_session(now, client, burst),
            Some(at) => self.timers.lock().add(at, client, generation, Due::SessionEnd),
            None => {}
        }
        self.on_member_away(now, client, burst);
    }

    pub(super) fn on_due(
        &self,
        now: Instant,
        client: &Arc<Client>,
        generation: Generation,
        due: Due,
        burst: &mut Burst,
    ) {
        let is_void = client.with_state(|state| state.generation != generation || state.ended);
        if is_void {
            return;
        }
        match due {
            Due::Will => self.publish_pending_will(now, client, burst),
            Due::SessionEnd => self.end_session(now, client, burst),
        }
    }

    /// Ends a session that has no connection: its Will is published at the latest now, its subscriptions and
    /// messages go, those of shared subscriptions to other members.
    fn end_session(&self, now: Instant, client: &Arc<Client>, burst: &mut Burst) {
        let (is_gone, left) = client.with_state(|state| {
            if state.ended || state.is_connected() {
                // Ended by somebody else, or another connection has continued it meanwhile.
                return (state.ended, None);
            }
            state.ended = true;
            let shared = state.session.take_shared();
            let pending = state.session.pending();
            (true, Some((state.session.subscriptions().collect::<Vec<_>>(), shared, pending)))
        });
        if let Some((subscriptions, shared, pending)) = left {
            self.publish_pending_will(now, client, burst);
            for subscription in &subscriptions {
                self.remove_subscription(client, &subscription.filter);
            }
            self.metrics.sessions.dec();
            self.metrics.dropped(DropReason::SessionEnded).inc_by(pending as u64);
            self.dispatch_again(now, shared, burst);
        }
        if is_gone {
            self.clients.remove_if(client.id(), |_, found| Arc::ptr_eq(found, client));
        }
    }

    fn publish_will(&self, now: Instant, client: &Arc<Client>, will: &Will, burst: &mut Burst) {
        let publication = will.publication(now, client.id().as_str());
        let outcome = self
            .destination(publication.topic)
            .map(|destination| self.publish(now, &destination, &publication, burst));
        // Nobody is there to be told.
        if let Err(reason) | Ok(reason @ ReasonCode::QuotaExceeded) = outcome {
            debug!(client = %client.id(), ?reason, "a Will is not published");
        }
    }

    fn publish_pending_will(&self, now: Instant, client: &Arc<Client>, burst: &mut Burst) {
        if let Some(will) = client.with_state(|state| state.pending_will.take()) {
            self.publish_will(now, client, &will, burst);
        }
    }

    /// The node stops: closes the client's connection with 0x8B. Its session ends with the node's memory, so
    /// its Will is published now, delayed or not.
    pub(super) fn say_last_words(&self, now: Instant, client: &Arc<Client>, burst: &mut Burst) {
        let farewell = client
            .with_state(|state| state.detach(now, Closing::Ended, Some(ReasonCode::ServerShuttingDown)));
        if let Some(farewell) = farewell {
            self.metrics.connections.dec();
            if let Some((will, _)) = farewell.will {
                self.publish_will(now, client, &will, burst);
            }
        }
        self.publish_pending_will(now, client, burst);
    }
}
