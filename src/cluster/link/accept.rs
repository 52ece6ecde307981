//! The mesh port: accepts connections, lets nobody in without the proof, and runs what peers dialed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::handshake::{HandshakeError, Opened, StreamKind, accept};
use super::stream::{Reader, Writer};
use super::{HANDSHAKE_MAX, Link, control, data, dial};
use crate::cluster::mesh::Mesh;
use crate::net::mesh::{TcpListener, TcpStream};

/// Connections that may be proving themselves at a time. A further one takes the place of the oldest, which
/// has had the longest time: so a crowd that only holds places keeps no peer out.
const UNPROVEN_MAX: usize = 64;
/// The pause after an error of the listener itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the cluster stops.
pub(in crate::cluster) async fn run_listener(mesh: Arc<Mesh>, listener: TcpListener) {
    let unproven = Arc::new(Unproven::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = mesh.stop.cancelled() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept mesh connections");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (place, displaced) = unproven.enter();
        if displaced {
            mesh.count_rejected("mesh_busy");
        }
        debug!(%from, "mesh connection");
        let mesh = Arc::clone(&mesh);
        mesh.tasks.clone().spawn("mesh-accepted", async move {
            let stop = mesh.stop.clone();
            tokio::select! {
                () = run(&mesh, stream, place) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// The connections that have not proven themselves yet, oldest first.
#[derive(Default)]
struct Unproven(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    by_age: BTreeMap<u64, CancellationToken>,
}

/// One of them; its place is free again when this is dropped.
struct Place {
    unproven: Arc<Unproven>,
    number: u64,
    displaced: CancellationToken,
}

impl Unproven {
    /// Lets a connection in; true when the oldest one lost its place for it.
    fn enter(self: &Arc<Self>) -> (Place, bool) {
        let mut waiting = self.0.lock();
        let is_full = UNPROVEN_MAX <= waiting.by_age.len();
        if is_full && let Some((_, oldest)) = waiting.by_age.pop_first() {
            oldest.cancel();
        }
        let (number, displaced) = (waiting.next, CancellationToken::new());
        waiting.next += 1;
        waiting.by_age.insert(number, displaced.clone());
        (Place { unproven: Arc::clone(self), number, displaced }, is_full)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.unproven.0.lock().by_age.remove(&self.number);
    }
}

async fn run(mesh: &Arc<Mesh>, mut stream: TcpStream, place: Place) {
    let proven = tokio::select! {
        proven = prove(mesh, &mut stream) => proven,
        () = place.displaced.cancelled() => None,
    };
    drop(place);
    let Some(opened) = proven else { return };
    if !mesh.on_hello(&opened.peer) {
        if mesh.refuses(opened.peer.node, opened.peer.incarnation) {
            mesh.count_rejected("mesh_forgotten");
            if opened.kind == StreamKind::Control {
                let (read_half, write_half) = stream.into_split();
                let mut reader = Reader::new(read_half, opened.opener);
                let mut writer = Writer::new(write_half, opened.sealer);
                control::send_away(&opened.peer, &mut reader, &mut writer).await;
            }
        } else {
            mesh.count_rejected("mesh_stale");
        }
        return;
    }
    let link = mesh.link(opened.peer.node);
    let place = link.take_place(opened.kind);
    tokio::select! {
        () = run_proven(mesh, &link, opened, stream) => {}
        () = place.cancelled() => {}
    }
}

/// `None` when the connection did not prove itself; why is counted and logged, and not told to it.
async fn prove(mesh: &Mesh, stream: &mut TcpStream) -> Option<Opened> {
    let from = stream.peer_addr().ok();
    let result = match stream.set_nodelay(true) {
        Ok(()) => timeout(HANDSHAKE_MAX, accept(stream, &mesh.credentials)).await,
        Err(error) => Ok(Err(HandshakeError::Io(error))),
    };
    match result {
        Ok(Ok(opened)) => Some(opened),
        Ok(Err(error)) => {
            // What an operator can mend is worth a warning, though not one for each attempt.
            let is_mendable = matches!(
                error,
                HandshakeError::Cluster | HandshakeError::Proof | HandshakeError::Version { .. }
            );
            if is_mendable && mesh.may_warn() {
                warn!(?from, %error, "mesh connection refused");
            } else {
                debug!(?from, %error, "mesh connection refused");
            }
            if let Some(reason) = error.reason() {
                mesh.count_rejected(reason);
            }
            None
        }
        Err(_) => {
            debug!(?from, "mesh connection too slow");
            mesh.count_rejected("mesh_timeout");
            None
        }
    }
}

async fn run_proven(mesh: &Arc<Mesh>, link: &Arc<Link>, opened: Opened, stream: TcpStream) {
    let (read_half, write_half) = stream.into_split();
    let Opened { kind, peer, opening, sealer, opener } = opened;
    let mut reader = Reader::new(read_half, opener);
    let mut writer = Writer::new(write_half, sealer);
    let error = match kind {
        StreamKind::Control => {
            control::run_accepted(mesh, link, peer.incarnation, &mut reader, &mut writer).await
        }
        StreamKind::Data => data::run_accepted(mesh, link, &peer, &opening, &mut reader, &mut writer).await,
    };
    let error = dial::report(mesh, &error);
    debug!(peer = %link.peer.short(), ?kind, %error, "accepted link ended");
}
