//! Listeners and connections: sockets in front of the broker.
//!
//! Each client has one task with a socket and little else. It reads into a buffer that its thread's
//! connections share, hands packets to the broker, and writes only what the socket takes at once.

mod bucket;
mod connection;
mod conversation;
mod handshakes;
mod password_checks;
mod settings;
mod socket;
#[cfg(test)]
mod tests;
mod throttle;
mod wheel;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{info, warn};

pub use settings::{Listener, Settings};
pub use socket::Socket;

use crate::broker::Broker;
use crate::metrics::Metrics;
use crate::net::backoff::Backoff;
use crate::net::{TcpListener, clock};
use crate::session;
use crate::tasks::Tasks;
use connection::Connection;
use conversation::Conversation;
use handshakes::Handshakes;
use password_checks::PasswordChecks;
use wheel::{TICK, Wheel};

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {bind}: {error}")]
pub struct BindError {
    /// The address of the configuration.
    pub bind: SocketAddr,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

/// Open listeners that do not accept yet.
pub struct Server {
    listeners: Vec<(TcpListener, Listener)>,
    session: Arc<session::Settings>,
}

/// What all connections share.
pub struct Shared {
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    tasks: Tasks,
    password_checks: PasswordChecks,
    started: Instant,
    /// Connections whose silence is watched.
    silent: Mutex<Wheel<Watch>>,
}

/// A connection to look at later. It is void once another limit is in force: then another watch follows it.
struct Watch {
    connection: Weak<Connection>,
    silence_max_ms: u32,
}

impl Server {
    /// Opens all listeners. `session` are the limits of sessions where a listener has none of its own.
    ///
    /// # Errors
    /// The first address that cannot be opened.
    pub async fn bind(settings: Settings, session: session::Settings) -> Result<Self, BindError> {
        let mut listeners = Vec::with_capacity(settings.listeners.len());
        for listener in settings.listeners {
            let bind = listener.bind;
            let socket = TcpListener::bind(bind).await.map_err(|error| BindError { bind, error })?;
            listeners.push((socket, listener));
        }
        Ok(Self { listeners, session: Arc::new(session) })
    }

    /// The addresses that clients can connect to, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(socket, _)| socket.local_addr().ok()).collect()
    }

    /// Starts to accept. The tasks end when `tasks` are asked to stop; connections end when the broker closes
    /// them.
    pub fn start(self, broker: Arc<Broker>, metrics: Arc<Metrics>, tasks: &Tasks) {
        let shared = Shared::start(broker, metrics, tasks);
        for (socket, listener) in self.listeners {
            let door = Door::new(Arc::clone(&shared), listener, &self.session);
            tasks.spawn_essential("listener", accept(socket, door));
        }
    }
}

impl Shared {
    /// Begins to watch connections for their silence, until `tasks` are asked to stop.
    #[must_use]
    pub fn start(broker: Arc<Broker>, metrics: Arc<Metrics>, tasks: &Tasks) -> Arc<Self> {
        let shared = Arc::new(Self {
            broker,
            metrics,
            tasks: tasks.clone(),
            password_checks: PasswordChecks::new(tasks.clone()),
            started: clock::now(),
            silent: Mutex::new(Wheel::new()),
        });
        tasks.spawn_essential("silence", watch_silence(Arc::clone(&shared)));
        shared
    }

    /// Milliseconds of the server's clock.
    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }

    /// Looks at the connection again when its present silence would be too long.
    fn watch(&self, connection: &Arc<Connection>) {
        let silence_max_ms = connection.silence_max_ms();
        if silence_max_ms != 0 {
            let watch = Watch { connection: Arc::downgrade(connection), silence_max_ms };
            let mut silent = self.silent.lock();
            silent.sweep(|watch| watch.connection.strong_count() > 0);
            silent.add(connection.overdue_at_ms(silence_max_ms), watch);
        }
    }
}

async fn accept(socket: TcpListener, door: Door) {
    info!(bind = %door.settings.bind, "listening for MQTT");
    let stopping = door.shared.tasks.stopping().clone();
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), 0);
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                backoff.reset();
                // Our writes are gathered already; waiting for more would only delay them. Fails when the
                // connection was reset before it was accepted.
                if stream.set_nodelay(true).is_ok() {
                    door.welcome(Box::new(stream));
                }
            }
            Err(error) => {
                // Out of descriptors or memory: those that are connected go on, new ones wait.
                warn!(%error, "cannot accept a connection");
                door.shared.count_refused("accept_error");
                tokio::time::sleep(backoff.next_pause()).await;
            }
        }
    }
}

/// Where the connections of one listener come in, with the listener's limits and how much of them is taken. Whatever
/// carries their bytes comes through here.
pub struct Door {
    shared: Arc<Shared>,
    settings: Listener,
    session: Arc<session::Settings>,
    /// Connections that are open.
    open: Arc<AtomicUsize>,
    handshakes: Arc<Handshakes<Weak<Connection>>>,
}

impl Door {
    /// Nobody has come in yet. `session` are the limits of sessions if the listener has none of its own.
    #[must_use]
    pub fn new(shared: Arc<Shared>, mut settings: Listener, session: &Arc<session::Settings>) -> Self {
        let session = settings.session.take().map_or_else(|| Arc::clone(session), Arc::new);
        let handshakes = Handshakes::new(settings.handshakes_max);
        Self { shared, settings, session, open: Arc::default(), handshakes }
    }

    /// Begins the conversation with a new client, as a task, or closes the connection when there are too many.
    pub fn welcome(&self, socket: Box<dyn Socket>) {
        let Self { shared, settings, session, open, handshakes } = self;
        let now = clock::now();
        let silence_max = u32::try_from(settings.connect_timeout.as_millis()).unwrap_or(u32::MAX);
        let connection =
            Arc::new(Connection::new(socket, Arc::clone(&shared.metrics), shared.ms(now), silence_max));
        // With all connections taken, too, a silent one is worth less than one that may have something to say.
        let is_full = settings.connections_max <= open.load(Ordering::Relaxed);
        let Some((handshake, displaced)) = handshakes.begin(now, Arc::downgrade(&connection), is_full) else {
            shared.count_refused(if is_full { "connections_max" } else { "handshakes_max" });
            return;
        };
        if let Some(displaced) = displaced {
            shared.count_refused("handshake_put_out");
            // Else it is about to leave by itself.
            if let Some(connection) = displaced.upgrade() {
                connection.put_out();
            }
        }
        let place = Place::take(open);
        shared.watch(&connection);
        let conversation = Conversation::new(Arc::clone(shared), Arc::clone(session), connection, handshake);
        shared.tasks.spawn("connection", async move {
            conversation.run().await;
            drop(place);
        });
    }
}

/// One of a listener's places for connections.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Closes connections that were silent for too long; when the node stops, those that have no client yet.
async fn watch_silence(shared: Arc<Shared>) {
    let stopping = shared.tasks.stopping().clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = stopping.cancelled() => break,
        }
        let now_ms = shared.ms(clock::now());
        let due = shared.silent.lock().advance(now_ms);
        for watch in due {
            let Some(connection) = watch.connection.upgrade() else { continue };
            if connection.silence_max_ms() != watch.silence_max_ms {
                continue;
            }
            if connection.overdue_at_ms(watch.silence_max_ms) <= now_ms {
                connection.set_overdue();
            } else {
                shared.watch(&connection);
            }
        }
    }
    let left: Vec<Watch> = shared.silent.lock().drain().collect();
    left.iter()
        .filter_map(|watch| watch.connection.upgrade())
        .for_each(|connection| connection.set_overdue());
}
