//! The links to one peer. Each node dials every other one, twice: a control stream and a data stream. What a
//! node has to say travels on the connections that it dialed; the answers come back on the same ones. So the
//! two directions between two nodes are independent, and nothing has to decide which connection wins.

mod accept;
mod channel;
mod control;
mod data;
mod dial;
mod handshake;
mod stream;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedMutexGuard, watch};
use tokio_util::sync::CancellationToken;

pub(super) use self::accept::run_listener;
pub(super) use self::dial::ProbeError;
pub(super) use self::dial::probe;
pub(super) use self::handshake::{Credentials, FEATURES, Hello, cluster_hash};

use self::channel::RecordError;
use self::handshake::StreamKind;
use self::stream::StreamError;
use super::frame::{AssemblyError, FrameError};
use super::mesh::Mesh;
use super::node_id::NodeId;
use super::outbox::{NeverSent, Outbox};
use super::routes::Position;

/// The longest that a connection may take to prove itself.
const HANDSHAKE_MAX: Duration = Duration::from_secs(3);
/// Pulls that wait to be sent or answered; the asker repeats what does not fit.
const PULLS_MAX: usize = 64;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("a frame is malformed: {0}")]
    Frame(#[from] FrameError),
    #[error("a snapshot is malformed: {0}")]
    Snapshot(#[from] AssemblyError),
    #[error("{0}")]
    Ack(#[from] NeverSent),
    #[error("a frame of kind {0} has no place here")]
    Misplaced(&'static str),
    #[error("nothing came from the peer for too long")]
    Silent,
    #[error("buffered messages were given up")]
    Cut,
}

impl LinkError {
    /// The word under which the peer's fault is counted; `None` when the network is to blame.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Stream(StreamError::Record(RecordError)) => Some("mesh_record"),
            Self::Stream(_) | Self::Silent | Self::Cut => None,
            Self::Frame(_) | Self::Misplaced(_) => Some("mesh_frame"),
            Self::Snapshot(_) => Some("mesh_snapshot"),
            Self::Ack(_) => Some("mesh_ack"),
        }
    }
}

/// A request for a part of some owner's log, on its way to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pull {
    pub(super) owner: NodeId,
    /// What this node has; `None` asks for a snapshot in any case.
    pub(super) since: Option<Position>,
}

/// How far a peer's publishes were taken, by the numbering of its outbox. It outlives connections.
#[derive(Debug, Default)]
struct Received {
    numbering: u64,
    through: u64,
}

/// Everything between this node and one peer.
pub(super) struct Link {
    pub(super) peer: NodeId,
    pub(super) outbox: Outbox,
    /// Names the numbering of the outbox, so that a peer never takes one that starts over for the old one.
    numbering: u64,
    /// Where to dial the peer; `None` while it is not to be dialed.
    address: watch::Sender<Option<String>>,
    /// Something for the control stream: routes changed, or pulls wait.
    control_wake: Notify,
    pulls: Mutex<VecDeque<Pull>>,
    /// Routes of the peer were applied, so the control stream that it dialed has something to acknowledge.
    answer_wake: Notify,
    /// Ends every connection to the peer's present life.
    life: Mutex<CancellationToken>,
    /// The connections that the peer dialed: a newer one ends the one before.
    accepted: Mutex<[Option<CancellationToken>; 2]>,
    received: Arc<tokio::sync::Mutex<Received>>,
    said_bye: AtomicBool,
    stop: CancellationToken,
}

impl Link {
    /// A link that is not dialed yet.
    pub(super) fn new(
        peer: NodeId,
        outbox_bytes_max: usize,
        numbering: u64,
        stop: CancellationToken,
    ) -> Self {
        Self {
            peer,
            outbox: Outbox::new(outbox_bytes_max),
            numbering,
            address: watch::Sender::new(None),
            control_wake: Notify::new(),
            pulls: Mutex::default(),
            answer_wake: Notify::new(),
            life: Mutex::new(stop.child_token()),
            accepted: Mutex::default(),
            received: Arc::default(),
            said_bye: AtomicBool::new(false),
            stop,
        }
    }

    /// Starts the two tasks that keep the dialed connections up.
    pub(super) fn spawn(self: &Arc<Self>, mesh: &Arc<Mesh>) {
        mesh.tasks.spawn("mesh-control", dial::run(Arc::clone(mesh), Arc::clone(self), StreamKind::Control));
        mesh.tasks.spawn("mesh-data", dial::run(Arc::clone(mesh), Arc::clone(self), StreamKind::Data));
    }

    /// Dials the peer there from now on.
    pub(super) fn dial(&self, address: String) {
        self.address.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&address);
            *known = Some(address);
            is_new
        });
    }

    /// Stops dialing the peer.
    pub(super) fn hang_up(&self) {
        self.address.send_replace(None);
    }

    /// Ends all connections; those that are still wanted are made anew.
    pub(super) fn restart_connections(&self) {
        let ended = std::mem::replace(&mut *self.life.lock(), self.stop.child_token());
        ended.cancel();
    }

    /// Ends the link for good.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Wakes the control stream's writer.
    pub(super) fn wake_control(&self) {
        self.control_wake.notify_one();
    }

    /// Wakes the writer that acknowledges the peer's routes.
    pub(super) fn wake_answers(&self) {
        self.answer_wake.notify_one();
    }

    /// Asks the peer for routes. Dropped when too many requests wait: they are repeated.
    pub(super) fn pull(&self, pull: Pull) {
        {
            let mut pulls = self.pulls.lock();
            pulls.retain(|waiting| waiting.owner != pull.owner);
            if PULLS_MAX <= pulls.len() {
                return;
            }
            pulls.push_back(pull);
        }
        self.control_wake.notify_one();
    }

    /// The goodbye is on its way.
    fn said_bye(&self) {
        self.said_bye.store(true, Ordering::Release);
    }

    /// Whether the goodbye is on its way.
    pub(super) fn has_said_bye(&self) -> bool {
        self.said_bye.load(Ordering::Acquire)
    }

    fn take_pulls(&self) -> VecDeque<Pull> {
        std::mem::take(&mut *self.pulls.lock())
    }

    fn life(&self) -> CancellationToken {
        self.life.lock().child_token()
    }

    /// Takes the place of the connection of this kind that the peer dialed before.
    fn take_place(&self, kind: StreamKind) -> CancellationToken {
        let token = self.life();
        let place = match kind {
            StreamKind::Control => 0,
            StreamKind::Data => 1,
        };
        if let Some(before) = self.accepted.lock()[place].replace(token.clone()) {
            before.cancel();
        }
        token
    }

    /// Waits until the data connection before has let go, so that frames are never taken out of order.
    async fn take_received(&self, numbering: u64) -> OwnedMutexGuard<Received> {
        let mut received = Arc::clone(&self.received).lock_owned().await;
        if received.numbering != numbering {
            *received = Received { numbering, through: 0 };
        }
        received
    }
}
