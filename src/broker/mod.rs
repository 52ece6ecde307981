//! The clients of this node and what connects them: sessions, subscriptions, fan-out, Wills.
//!
//! The broker is called by connections (packets in) and by the cluster (messages of peers in). It holds one
//! lock at a time, writes to sockets only what they take at once, and never waits.

mod admission;
mod automatic;
mod client;
mod connect;
mod delayed;
mod dispatch;
mod explain;
mod groups;
mod load;
mod publish;
mod replay;
mod retained;
mod rewriting;
mod settings;
mod shared;
mod standing;
mod subscribe;
mod subscriptions;
mod sys;
#[cfg(test)]
mod tests;
mod timers;

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

pub use admission::{Admission, Candidate};
pub use client::{Client, Duty, Generation, Wire};
pub use connect::Attached;
pub use explain::{
    ClientReport, CopyReport, Explanation, NotMatching, Outcome, Question, QuestionError, RetainedReport,
    SessionReport,
};
pub use publish::Burst;

use crate::auth::Authenticator;
pub use crate::auth::{PasswordCheck, UserName};
use crate::cluster::{Cluster, Inbound, InboundBurst, NodeId};
use crate::codec::{Packet, PublishProperties, ReasonCode};
use crate::message::{MessageId, Publication};
use crate::metrics::{DropReason, Metrics};
use crate::session::{ClientId, Incoming, Request};
use crate::topic::Rewrites;
use automatic::Automatic;
use delayed::Delayed;
use publish::Destination;
use retained::Retained;
pub use settings::{
    AutoSubscribeSettings, DelayedSettings, Overlapping, RetainedSettings, RewriteSettings, Settings,
    SharedSettings, SharedStrategy, WrongKey,
};
use shared::Chooser;
use subscriptions::Subscriptions;
use sys::Sys;
use timers::Timers;

/// One node's broker.
pub struct Broker {
    authenticator: Authenticator,
    metrics: Arc<Metrics>,
    cluster: Option<Arc<Cluster>>,
    clients: DashMap<ClientId, Arc<Client>, RandomState>,
    subscriptions: Subscriptions,
    retained: Retained,
    rewrites: Rewrites,
    automatic: Automatic,
    delayed_settings: DelayedSettings,
    delayed: Mutex<Delayed>,
    /// Held while a count of subscriptions is compared with the advertised route and the route is changed, so
    /// that the last change of the count decides.
    route_turn: Mutex<()>,
    timers: Mutex<Timers>,
    sys_interval: Duration,
    /// Set at the first tick.
    sys: Mutex<Option<Sys>>,
    stopping: AtomicBool,
}

/// The connection has been closed or taken over: its owner must let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Broker {
    /// Without a `cluster` the node is on its own.
    #[must_use]
    pub fn new(
        settings: Settings,
        authenticator: Authenticator,
        metrics: Arc<Metrics>,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        let hasher = RandomState::default();
        let chooser = Chooser { strategy: settings.shared.strategy, seed: hasher.hash_one(0) };
        Self {
            authenticator,
            metrics,
            cluster,
            clients: DashMap::with_hasher(hasher),
            subscriptions: Subscriptions::new(chooser, settings.overlapping),
            retained: Retained::new(settings.retained),
            rewrites: settings.rewrite.rules,
            automatic: Automatic::new(settings.auto_subscribe.subscriptions),
            delayed: Mutex::new(Delayed::default()),
            delayed_settings: settings.delayed,
            route_turn: Mutex::new(()),
            timers: Mutex::new(Timers::default()),
            sys_interval: settings.sys_interval,
            sys: Mutex::new(None),
            stopping: AtomicBool::new(false),
        }
    }

    /// One that admits everybody, for the tests of modules above.
    #[cfg(test)]
    pub(crate) fn for_tests(metrics: Arc<Metrics>, cluster: Option<Arc<Cluster>>) -> Arc<Self> {
        let authenticator = Authenticator::with_credentials(true, None);
        Arc::new(Self::new(Settings::default(), authenticator, metrics, cluster))
    }

    /// Takes one packet of a connected client. What it causes is appended and noted in `burst`; flush that
    /// after the last packet at hand.
    ///
    /// # Errors
    /// [`Gone`] when `generation` is no longer the client's connection, or has just been closed.
    pub fn on_packet(
        self: &Arc<Self>,
        now: Instant,
        client: &Arc<Client>,
        generation: Generation,
        packet: Packet<'_>,
        burst: &mut Burst,
    ) -> Result<(), Gone> {
        let request = client
            .with_connection(generation, &self.metrics, |session, out| session.on_packet(now, packet, out));
        match request.ok_or(Gone)? {
            Ok(Request::None) => {
                // It may have been an acknowledgement.
                self.on_room(now, client, generation, burst);
                Ok(())
            }
            Ok(Request::Publish(incoming)) => {
                self.on_publish(now, client, generation, &incoming, burst);
                Ok(())
            }
            Ok(Request::Subscribe { packet_id, mut filters }) => {
                self.rewrite_filters(client, &mut filters, |subscription| &mut subscription.filter);
                self.subscribe(now, client, generation, packet_id, filters);
                Ok(())
            }
            Ok(Request::Unsubscribe { packet_id, mut filters }) => {
                self.rewrite_filters(client, &mut filters, |filter| filter);
                self.unsubscribe(now, client, generation, packet_id, filters, burst);
                Ok(())
            }
            Ok(Request::Authenticate { method, begins, data }) => {
                self.authenticate_again(client, generation, method, begins, data)
            }
            Ok(Request::Disconnect) => Err(Gone),
            Err(reason) => {
                self.refuse(client, generation, reason);
                Err(Gone)
            }
        }
    }

    /// Closes a connection because of what the client sent, or failed to send.
    pub fn refuse(&self, client: &Arc<Client>, generation: Generation, reason: ReasonCode) {
        let reason_name = crate::metrics::ReasonLabel { reason: reason.name() };
        self.metrics.protocol_errors.get_or_create(&reason_name).inc();
        client.close(generation, reason);
    }

    fn on_publish(
        &self,
        now: Instant,
        client: &Arc<Client>,
        generation: Generation,
        incoming: &Incoming<'_>,
        burst: &mut Burst,
    ) {
        self.metrics.messages_received.inc();
        let mut publication = incoming.publication(client.id().as_str());
        let rewritten = self.rewrite_topic(client, publication.topic);
        if let Ok(Some(topic)) = &rewritten {
            publication.topic = topic.as_ref();
        }
        let destination = match &rewritten {
            Ok(_) => self.destination(publication.topic),
            Err(reason) => Err(*reason),
        };
        let reason = match destination {
            Ok(Destination::Now) if self.refuses_to_retain(client, generation, &publication) => {
                ReasonCode::QuotaExceeded
            }
            Ok(destination) => self.publish(now, &destination, &publication, burst),
            Err(reason) => reason,
        };
        if let Some(id) = incoming.packet_id {
            client.with_connection(generation, &self.metrics, |session, out| {
                session.on_published(id, incoming.qos, reason, out);
            });
        }
    }

    /// The client's socket has room again.
    pub fn on_writable(&self, now: Instant, client: &Arc<Client>, generation: Generation) {
        client.on_writable(generation, now, &self.metrics);
        let mut burst = Burst::default();
        self.on_room(now, client, generation, &mut burst);
        self.flush(&mut burst);
    }

    /// An acknowledgement or the socket may have made room: what waited for it follows.
    fn on_room(&self, now: Instant, client: &Arc<Client>, generation: Generation, burst: &mut Burst) {
        if self.continue_replays(now, client, generation) {
            burst.touch(client);
        }
        if client.is_called.load(Ordering::Relaxed) {
            self.answer_call(now, client, burst);
        }
    }

    /// Does what has become due. True when that was more than is done at once: call again soon.
    #[must_use]
    pub fn on_tick(&self, now: Instant) -> bool {
        if self.retained.expire(now) > 0 {
            self.count_retained();
        }
        let mut burst = Burst::default();
        loop {
            let due = self.timers.lock().pop(now);
            let Some((client, generation, due)) = due else { break };
            self.on_due(now, &client, generation, due, &mut burst);
        }
        let is_more_due = self.publish_delayed(now, &mut burst);
        self.publish_sys(now, &mut burst);
        self.flush(&mut burst);
        is_more_due
    }

    /// Ends every connection with 0x8B, publishes the Wills that are left and takes no more clients; the node
    /// is stopping. Delayed messages are lost.
    pub fn shutdown(&self, now: Instant) {
        self.stopping.store(true, Ordering::SeqCst);
        let clients: Vec<Arc<Client>> = self.clients.iter().map(|entry| Arc::clone(entry.value())).collect();
        let mut burst = Burst::default();
        for client in &clients {
            self.say_last_words(now, client, &mut burst);
        }
        self.lose_delayed(); // Wills may have come to them.
        self.flush(&mut burst);
    }
}

impl Inbound for Broker {
    fn burst(&self) -> Box<dyn InboundBurst + '_> {
        Box::new(PeerBurst { broker: self, burst: Burst::default() })
    }
}

/// Messages of a peer, and whom they have touched.
struct PeerBurst<'a> {
    broker: &'a Broker,
    burst: Burst,
}

impl InboundBurst for PeerBurst<'_> {
    fn on_publish(&mut self, now: Instant, _from: NodeId, _id: MessageId, publication: &Publication<'_>) {
        // A peer is trusted to be one of us, not to be free of faults: what it relays is checked before it
        // becomes part of packets to clients.
        if PublishProperties::from_forwarded(publication.properties).is_err() {
            self.broker.metrics.dropped(DropReason::PeerMalformed).inc();
            return;
        }
        self.broker.publish_here(now, publication, &mut self.burst);
    }
}

impl Drop for PeerBurst<'_> {
    fn drop(&mut self) {
        self.broker.flush(&mut self.burst);
    }
}
