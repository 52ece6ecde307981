//! The node under test: a broker and the server's conversations in front of it, with small limits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use flockmq::auth::{Authenticator, Credentials, Password, SALT_BYTES, Verifier};
use flockmq::broker::{
    Broker, DelayedSettings, Overlapping, RetainedSettings, Settings, SharedSettings, SharedStrategy,
};
use flockmq::metrics::Metrics;
use flockmq::net::clock;
use flockmq::server::{Door, Listener, Shared};
use flockmq::session;
use flockmq::tasks::Tasks;
use parking_lot::Mutex;

use super::pipe::Pipe;

/// Rounds in which a node comes to rest: each client can cause a few, and none is endless.
const ROUNDS_MAX: usize = 2_000;

pub(super) struct Node {
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    tasks: Tasks,
    door: Door,
    activity: Arc<AtomicU64>,
    pipes: Mutex<Vec<Arc<Pipe>>>,
}

impl Node {
    pub(super) fn new(choices: &mut Unstructured<'_>) -> Result<Self> {
        let strategies = SharedStrategy::WORDS;
        let settings = Settings {
            sys_interval: *choices.choose(&[Duration::ZERO, Duration::from_secs(10)])?,
            retained: RetainedSettings { messages_max: 24, payload_max: 200, bytes_max: 8_000 },
            shared: SharedSettings { strategy: choices.choose(strategies)?.1 },
            overlapping: choices.choose(Overlapping::WORDS)?.1,
            delayed: DelayedSettings { messages_max: 8, bytes_max: 2_000, seconds_max: 100 },
            ..Settings::default()
        };
        let sessions = session::Settings {
            receive_maximum: 4,
            inflight_max: 4,
            queue_len_max: 8,
            queue_bytes_max: 4_000,
            queue_drops_oldest: choices.arbitrary()?,
            outbox_bytes_max: 2_000,
            session_expiry_max: Some(Duration::from_secs(3_600)),
            packet_size_max: 1_000,
            topic_alias_maximum: 2,
            topic_aliases_made_max: 2,
            payload_format_check: choices.arbitrary()?,
            subscriptions_max: 6,
            topic_levels_max: 8,
            client_id_len_max: 64,
            ..session::Settings::default()
        };
        // Password checks take milliseconds each, so only a few nodes have any.
        let has_credentials = choices.ratio(1, 16)?;
        let authenticator = Authenticator::with_credentials(true, has_credentials.then(credentials));
        let metrics = Arc::new(Metrics::new());
        let broker = Arc::new(Broker::new(settings, authenticator, Arc::clone(&metrics), None));
        let tasks = Tasks::new();
        let shared = Shared::start(Arc::clone(&broker), Arc::clone(&metrics), &tasks);
        let listener = Listener { connections_max: 12, ..Listener::new(([127, 0, 0, 1], 0).into()) };
        Ok(Self {
            broker,
            metrics,
            tasks,
            door: Door::new(shared, listener, &Arc::new(sessions)),
            activity: Arc::default(),
            pipes: Mutex::default(),
        })
    }

    /// A new connection.
    pub(super) fn connect(&self) -> Arc<Pipe> {
        let pipe = Pipe::new(Arc::clone(&self.activity));
        self.door.welcome(pipe.server_end());
        let mut pipes = self.pipes.lock();
        pipes.retain(|pipe| !pipe.is_dropped());
        pipes.push(Arc::clone(&pipe));
        pipe
    }

    /// Lets every connection do what it can without more input or time.
    pub(super) async fn settle(&self) {
        for _ in 0..ROUNDS_MAX {
            let before = self.activity.load(Ordering::Relaxed);
            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
            if self.pipes.lock().iter().any(|pipe| pipe.is_left_alone()) {
                // Perhaps a password is being checked on the one thread for that, which does this next.
                self.tasks.compute("settle", || ()).await;
                tokio::task::yield_now().await;
            }
            if self.activity.load(Ordering::Relaxed) == before {
                return;
            }
        }
        panic!("the node does not come to rest");
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, milliseconds: u64) {
        tokio::time::advance(Duration::from_millis(milliseconds)).await;
        while self.broker.on_tick(clock::now()) {}
    }

    /// Stops the node: everybody has to let go.
    pub(super) async fn stop(self) {
        self.broker.shutdown(clock::now());
        assert!(self.tasks.shutdown(Duration::from_secs(5)).await, "all tasks end");
        assert!(!self.tasks.failed(), "no essential task ends early");
        assert_eq!(self.metrics.connections.get(), 0);
        assert!(self.pipes.lock().iter().all(|pipe| pipe.is_dropped()));
    }
}

/// One user, whose password costs as little as it may.
fn credentials() -> Credentials {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let password = Password::parse(b"feather").expect("a password");
        let rounds = 4_096.try_into().expect("not zero");
        format!("fin:{}", Verifier::new(&password, &[1; SALT_BYTES], rounds).text())
    });
    Credentials::parse(text).expect("own text")
}
