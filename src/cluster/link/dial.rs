//! Keeps one dialed connection to a peer up: dial, prove, run, and again after a pause.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, info};

use super::handshake::{self, HandshakeError, Hello, Opened, StreamKind, dial};
use super::stream::{Reader, Writer};
use super::{HANDSHAKE_MAX, Link, LinkError, control, data};
use crate::cluster::mesh::Mesh;
use crate::net::backoff::Backoff;
use crate::net::mesh::TcpStream;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why nobody of the cluster was found at an address. The text says what happened.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProbeError(#[from] DialError);

/// Who answers at an address, if it is a node of this cluster. It takes no notice of the question.
pub(in crate::cluster) async fn probe(mesh: &Mesh, address: &str) -> Result<Hello, ProbeError> {
    let asked = timeout(HANDSHAKE_MAX, async {
        let mut stream = TcpStream::connect(address).await?;
        Ok::<_, DialError>(handshake::probe(&mut stream, &mesh.credentials).await?)
    });
    Ok(asked.await.unwrap_or(Err(DialError::Timeout))?)
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("no answer within {HANDSHAKE_MAX:?}")]
    Timeout,
    #[error("another node answers there")]
    OtherNode,
    #[error("an older life of the node answers there")]
    OlderLife,
}

/// Runs until the link stops.
pub(super) async fn run(mesh: Arc<Mesh>, link: Arc<Link>, kind: StreamKind) {
    tokio::select! {
        () = keep_up(&mesh, &link, kind) => {}
        () = link.stop.cancelled() => {}
    }
}

async fn keep_up(mesh: &Arc<Mesh>, link: &Arc<Link>, kind: StreamKind) {
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX, rand::random());
    let mut address = link.address.subscribe();
    let mut last_error = String::new();
    let mut was_wanted = false;
    loop {
        let is_over = was_wanted && address.borrow_and_update().is_none();
        if kind == StreamKind::Data && is_over {
            // The peer left, and what it took until its connection ended is all that it will take.
            mesh.give_up_outbox(link.peer);
        }
        // The sender lives in the link itself, so it cannot be gone.
        let Ok(wanted) = address.wait_for(Option::is_some).await.map(|wanted| wanted.clone()) else { return };
        let Some(wanted) = wanted else { continue };
        address.mark_unchanged();
        was_wanted = true;
        let error = match connect(mesh, link, kind, &wanted).await {
            Ok((opened, stream)) => {
                backoff.reset();
                last_error.clear();
                let error = run_connection(mesh, link, opened, stream).await;
                debug!(peer = %link.peer.short(), ?kind, %error, "link ended");
                error
            }
            Err(error) => error.to_string(),
        };
        if kind == StreamKind::Control {
            mesh.on_link_down(link.peer, error.clone());
        }
        if error != last_error {
            info!(peer = %link.peer.short(), address = %wanted, ?kind, %error, "no link");
            last_error = error;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_pause()) => {}
            _ = address.changed() => backoff.reset(),
        }
    }
}

async fn connect(
    mesh: &Arc<Mesh>,
    link: &Link,
    kind: StreamKind,
    address: &str,
) -> Result<(Opened, TcpStream), DialError> {
    let result = timeout(HANDSHAKE_MAX, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let opening = match kind {
            StreamKind::Control => Vec::new(),
            StreamKind::Data => data::opening(link),
        };
        let opened = dial(&mut stream, kind, &mesh.credentials, &opening).await?;
        Ok::<_, DialError>((opened, stream))
    });
    let (opened, stream) = match result.await {
        Err(_) => Err(DialError::Timeout),
        Ok(result) => result,
    }
    .inspect_err(|error| {
        if let DialError::Handshake(error) = error
            && let Some(reason) = error.reason()
        {
            mesh.count_rejected(reason);
        }
    })?;
    if opened.peer.node != link.peer {
        return Err(DialError::OtherNode);
    }
    if !mesh.on_hello(&opened.peer) {
        return Err(DialError::OlderLife);
    }
    Ok((opened, stream))
}

async fn run_connection(mesh: &Arc<Mesh>, link: &Arc<Link>, opened: Opened, stream: TcpStream) -> String {
    let life = link.life();
    let (read_half, write_half) = stream.into_split();
    let mut reader = Reader::new(read_half, opened.opener);
    let mut writer = Writer::new(write_half, opened.sealer);
    let ended = async {
        match opened.kind {
            StreamKind::Control => {
                control::run_dialed(mesh, link, opened.peer.features, &mut reader, &mut writer).await
            }
            StreamKind::Data => data::run_dialed(mesh, link, &mut reader, &mut writer).await,
        }
    };
    let error = tokio::select! {
        error = ended => error,
        () = life.cancelled() => return "the peer's life ended".to_owned(),
    };
    report(mesh, &error)
}

/// Counts what was the peer's fault.
pub(super) fn report(mesh: &Mesh, error: &LinkError) -> String {
    if let Some(reason) = error.reason() {
        mesh.count_rejected(reason);
    }
    error.to_string()
}
