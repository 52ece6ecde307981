//! The mesh port: accepts connections, lets nobody in without the proof, and runs what peers dialed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::handshake::{HandshakeError, Opened, StreamKind, accept};
use super::stream::{Reader, Writer};
use super::{HANDSHAKE_MAX, Link, control, data, dial};
use crate::cluster::mesh::Mesh;
use crate::net::{TcpListener, TcpStream};

/// Connections that may be proving themselves at a time; further ones are closed at once.
const UNPROVEN_MAX: usize = 64;
/// The pause after an error of the listener itself, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the cluster stops.
pub(in crate::cluster) async fn run_listener(mesh: Arc<Mesh>, listener: TcpListener) {
    let unproven = Arc::new(Semaphore::new(UNPROVEN_MAX));
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
        let Ok(permit) = Arc::clone(&unproven).try_acquire_owned() else {
            mesh.count_rejected("mesh_busy");
            continue;
        };
        debug!(%from, "mesh connection");
        let mesh = Arc::clone(&mesh);
        mesh.tasks.clone().spawn("mesh-accepted", async move {
            let stop = mesh.stop.clone();
            tokio::select! {
                () = run(&mesh, stream, permit) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn run(mesh: &Arc<Mesh>, mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let Some(opened) = prove(mesh, &mut stream).await else { return };
    drop(permit);
    if !mesh.on_hello(&opened.peer) {
        mesh.count_rejected("mesh_stale");
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
            debug!(?from, %error, "mesh connection refused");
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

async fn run_proven(mesh: &Arc<Mesh>, link: &Arc<Link>, opened: Opened, mut stream: TcpStream) {
    let (read_half, write_half) = stream.split();
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
