//! The broker without a network: fake sockets, packets in, packets out, time added by hand.
//!
//! A [`Node`] is a broker on its own. [`Node::connect`] gives a [`Peer`], which is a client and its connection
//! in one: what it sends goes through the codec into the broker, and what the broker writes to its [`Line`] is
//! decoded again. Packets are compared in the short form of [`short`], in which nothing is left out that tests
//! ask about. Nothing happens unless a test does it: no packet is acknowledged and no time passes by itself.

mod backpressure;
mod churn;
mod connecting;
mod delayed;
mod exclusive;
mod explain;
mod foretold;
mod goodbye;
mod peer;
mod publishing;
mod replaying;
mod rules;
mod sharing;
mod sharing_ends;
mod short;
mod sys;
mod wills;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Admission, Broker, Burst, Overlapping, Settings, SharedSettings, SharedStrategy, Wire};
use crate::auth::Authenticator;
use crate::codec::{Connect, ConnectProperties, ProtocolVersion, ReasonCode};
use crate::metrics::{DropReason, Metrics};
use crate::session;
use peer::{Line, Peer};

const V5: ProtocolVersion = ProtocolVersion::V5;
const V311: ProtocolVersion = ProtocolVersion::V311;

/// The time of one test: all its nodes and peers share it.
#[derive(Clone)]
struct Clock(Rc<Cell<Instant>>);

impl Clock {
    fn now(&self) -> Instant {
        self.0.get()
    }
}

/// One broker without a cluster.
struct Node {
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    sessions: Arc<session::Settings>,
    clock: Clock,
}

impl Node {
    fn new() -> Self {
        Self::with(Settings::default(), session::Settings::default())
    }

    fn with_sessions(settings: session::Settings) -> Self {
        Self::with(Settings::default(), settings)
    }

    fn with_strategy(strategy: SharedStrategy) -> Self {
        let settings = Settings { shared: SharedSettings { strategy }, ..Settings::default() };
        Self::with(settings, session::Settings::default())
    }

    fn with(settings: Settings, sessions: session::Settings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let authenticator = Authenticator::with_credentials(true, None);
        let broker = Broker::new(settings, authenticator, Arc::clone(&metrics), None);
        let clock = Clock(Rc::new(Cell::new(crate::net::clock::now())));
        Self { broker: Arc::new(broker), metrics, sessions: Arc::new(sessions), clock }
    }

    /// Makes other threads their own view of this node, with a clock that stands still.
    fn shared(&self) -> impl Fn() -> Self + Copy + Send {
        let (broker, metrics, sessions) = (&self.broker, &self.metrics, &self.sessions);
        let now = self.clock.now();
        move || Self {
            broker: Arc::clone(broker),
            metrics: Arc::clone(metrics),
            sessions: Arc::clone(sessions),
            clock: Clock(Rc::new(Cell::new(now))),
        }
    }

    /// A connection whose CONNECT is accepted. The CONNACK is the first that the peer has received.
    fn connect(&self, connect: &Connect<'_>) -> Peer {
        self.try_connect(connect).expect("the CONNECT is accepted")
    }

    /// A connection, or the reason code of the CONNACK that refuses it.
    fn try_connect(&self, connect: &Connect<'_>) -> Result<Peer, ReasonCode> {
        let Admission::Granted(negotiated) = self.broker.admit(connect, &self.sessions, 0xF10C)? else {
            panic!("anonymous clients have nothing to prove")
        };
        let line = Arc::new(Line::default());
        let wire: Arc<dyn Wire> = Arc::clone(&line) as Arc<dyn Wire>;
        let mut burst = Burst::default();
        let attached = self.broker.connect(self.clock.now(), &negotiated, &wire, &mut burst);
        self.broker.flush(&mut burst);
        Ok(Peer::new(self, line, attached, connect.version))
    }

    /// A client that is connected and has read its CONNACK: MQTT 5, Clean Start, and a session that ends with
    /// the connection.
    fn client(&self, client_id: &str) -> Peer {
        self.welcome(&Connect::new(V5, client_id))
    }

    /// The same with a session that is kept for an hour, and resumed if there is one.
    fn durable(&self, client_id: &str) -> Peer {
        self.welcome(&resuming(client_id, 3_600))
    }

    fn welcome(&self, connect: &Connect<'_>) -> Peer {
        let peer = self.connect(connect);
        peer.take("CONNACK");
        peer
    }

    /// Lets time pass and does what becomes due.
    fn advance(&self, time: Duration) {
        self.clock.0.set(self.clock.now() + time);
        while self.broker.on_tick(self.clock.now()) {}
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.metrics.dropped(reason).get()
    }

    /// Copies dropped for whatever reason.
    fn dropped_in_all(&self) -> u64 {
        self.metrics.dropped_in_all()
    }

    /// Connections, sessions and subscriptions by the node's gauges.
    fn gauges(&self) -> [i64; 3] {
        [&self.metrics.connections, &self.metrics.sessions, &self.metrics.subscriptions].map(|it| it.get())
    }
}

/// A CONNECT of MQTT 5 that resumes a session, and keeps it for so many seconds afterwards.
fn resuming(client_id: &str, session_expiry: u32) -> Connect<'_> {
    Connect { clean_start: false, properties: expiring(session_expiry), ..Connect::new(V5, client_id) }
}

fn expiring<'a>(session_expiry: u32) -> ConnectProperties<'a> {
    ConnectProperties { session_expiry: Some(session_expiry), ..ConnectProperties::default() }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
