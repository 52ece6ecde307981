//! A node in this process, behind a real socket, whose clock stands still until a test moves it.

use std::net::SocketAddr;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;
use std::time::Duration;

use flockmq::config::{self, Config, Overrides};
use flockmq::node::Node;
use tokio::sync::mpsc;

use super::packets::{Connect, Version};
use super::peer::Peer;

/// Time moves in steps shorter than the node's own ticks, so that everything comes due in order.
const STEP: Duration = Duration::from_millis(100);

/// How often the node's tasks get their turn after each step.
const TURNS: usize = 4;

enum Command {
    Advance(Duration),
    Stop,
}

/// A node and the thread it runs on; it stops when this is dropped.
pub(crate) struct TestNode {
    pub(crate) address: SocketAddr,
    /// Of every listener, in the order of the configuration.
    pub(crate) addresses: Vec<SocketAddr>,
    commands: mpsc::Sender<Command>,
    done: blocking::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl TestNode {
    /// One node on loopback, in memory, with the default limits.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// The same with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let overrides = Overrides::default().with_listeners("listen", ["127.0.0.1:0".to_owned()]).with(
            "http",
            "http.bind",
            Some("127.0.0.1:0"),
        );
        let mut config = config::load(None, [], &overrides).unwrap();
        change(&mut config);
        let (commands, inbox) = mpsc::channel(1);
        let (started, starting) = blocking::sync_channel(1);
        let (finished, done) = blocking::sync_channel(1);
        let thread = std::thread::spawn(move || run(config, &started, inbox, &finished));
        let addresses = starting.recv().expect("the node starts");
        Self { address: addresses[0], addresses, commands, done, thread: Some(thread) }
    }

    /// Lets time pass for the node.
    pub(crate) fn advance(&self, by: Duration) {
        self.commands.blocking_send(Command::Advance(by)).expect("the node runs");
        self.done.recv().expect("the node runs");
    }

    pub(crate) fn advance_secs(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// A bare connection.
    pub(crate) fn open(&self, version: Version) -> Peer {
        Peer::open(self.address, version)
    }

    /// The same client as of [`TestNode::connecting`], through another listener.
    pub(crate) fn connecting_through(&self, listener: usize, connect: &Connect) -> Peer {
        let mut peer = Peer::open(self.addresses[listener], connect.version);
        peer.send(&connect.bytes());
        peer
    }

    /// A client that has sent its CONNECT; the CONNACK is not read yet.
    pub(crate) fn connecting(&self, connect: &Connect) -> Peer {
        let mut peer = self.open(connect.version);
        peer.send(&connect.bytes());
        peer
    }

    /// A client whose CONNECT was accepted.
    #[track_caller]
    pub(crate) fn connect(&self, connect: &Connect) -> Peer {
        let mut peer = self.connecting(connect);
        let connack = peer.receive();
        assert!(connack.starts_with("CONNACK 0x00"), "{connack}");
        peer
    }

    /// A client with a clean session, without a keep alive.
    #[track_caller]
    pub(crate) fn client(&self, version: Version, client_id: &str) -> Peer {
        self.connect(&Connect::new(version, client_id))
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if self.commands.blocking_send(Command::Stop).is_ok() {
            let ended = self.thread.take().map(JoinHandle::join);
            assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the node panicked");
        }
    }
}

fn run(
    config: Config,
    started: &blocking::SyncSender<Vec<SocketAddr>>,
    mut commands: mpsc::Receiver<Command>,
    finished: &blocking::SyncSender<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        // While a blocking task is under way, the paused clock does not jump ahead to the next timer.
        let (release, held) = blocking::sync_channel::<()>(0);
        let holder = tokio::task::spawn_blocking(move || held.recv().is_err());
        let node = Node::start(config).await.expect("the node starts");
        started.send(node.mqtt_addresses().to_vec()).expect("the test waits");
        while let Some(Command::Advance(by)) = commands.recv().await {
            pass(by).await;
            finished.send(()).expect("the test waits");
        }
        drop(release);
        assert!(holder.await.expect("the holder only waits"));
        assert!(node.stop().await, "an essential task of the node had failed");
    });
}

async fn pass(mut left: Duration) {
    while !left.is_zero() {
        let step = left.min(STEP);
        tokio::time::advance(step).await;
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        left -= step;
    }
}
