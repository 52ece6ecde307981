//! The control stream: route changes, pings and pulls from its dialer; acknowledgements, pongs and what was
//! pulled from the other end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::handshake::{FEATURE_FORGOTTEN, Hello};
use super::stream::{Reader, Writer};
use super::{HANDSHAKE_MAX, Link, LinkError, PULLS_MAX, Pull};
use crate::cluster::frame::{
    Assembly, CONTROL_FRAME_LEN_MAX, Control, decode_control, peek, snapshot_frames,
};
use crate::cluster::mesh::Mesh;
use crate::cluster::routes::{Digest, Position, Snapshot, Tail};
use crate::net::clock::now;

/// Changes in one delta at most.
const CHANGES_MAX: usize = 4_096;

/// Runs a control connection that this node dialed to a peer with these features, to its end.
pub(super) async fn run_dialed(
    mesh: &Arc<Mesh>,
    link: &Arc<Link>,
    features: u64,
    reader: &mut Reader<impl AsyncRead + Unpin>,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> LinkError {
    let knows_forgotten = features & FEATURE_FORGOTTEN != 0;
    let (own, have) = match timeout(HANDSHAKE_MAX, greet(mesh, reader, writer)).await {
        Err(_) => return LinkError::Silent,
        Ok(Err(error)) => return error,
        Ok(Ok(greeting)) => greeting,
    };
    mesh.on_link_up(link.peer, own);
    let push = Push::new(mesh, have);
    mesh.on_route_ack(link.peer, push.position);
    tokio::select! {
        Err(error) = read_answers(mesh, link, reader) => error,
        Err(error) = write_dialed(mesh, link, push, knows_forgotten, writer) => error,
    }
}

/// Exchanges what each end has: the peer's own digest, and what it has of this node's routes.
async fn greet(
    mesh: &Mesh,
    reader: &mut Reader<impl AsyncRead + Unpin>,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> Result<(Digest, Option<Digest>), LinkError> {
    send(writer, &Control::Hello { own: mesh.own_digest() }).await?;
    loop {
        match next_frame(reader)? {
            Some(Control::HelloReply { own, have }) => return Ok((own, have)),
            // In place of the reply, before it closes: it will not talk to this node any longer.
            Some(Control::Forgotten(floors)) => {
                mesh.on_forgotten(&floors);
            }
            Some(other) => return Err(LinkError::Misplaced(name(&other))),
            None => reader.fill().await?,
        }
    }
}

/// What the peer answers on a connection that this node dialed.
async fn read_answers(
    mesh: &Arc<Mesh>,
    link: &Link,
    reader: &mut Reader<impl AsyncRead + Unpin>,
) -> Result<Infallible, LinkError> {
    let mut assembly = None;
    loop {
        while let Some(frame) = next_frame(reader)? {
            match frame {
                Control::Ack(position) => mesh.on_route_ack(link.peer, position),
                Control::Pong(_) => {}
                Control::PullRefused { owner } => mesh.on_pull_refused(link.peer, owner),
                Control::Delta(delta) => mesh.on_delta(&delta),
                other => on_snapshot_frame(mesh, &mut assembly, other)?,
            }
        }
        fill(mesh, link, reader).await?;
    }
}

/// Where the dialer stands in telling the peer its own routes. The log itself is in the route table, so a
/// slow link costs no memory; when it falls behind what the log keeps, a snapshot follows.
struct Push {
    position: Position,
    /// A snapshot under way, and the position that it leads to.
    snapshot: Option<(Position, Box<dyn Iterator<Item = Control> + Send>)>,
}

impl Push {
    /// Goes on from what the peer has, as far as it is a part of this node's log.
    fn new(mesh: &Mesh, have: Option<Digest>) -> Self {
        let own = mesh.own_digest();
        let position = match have {
            // The same position with other contents is a bug somewhere: repair it with everything.
            Some(have) if have.position == own.position && have != own => Position::NONE,
            Some(have) if have.position <= own.position => have.position,
            Some(_) | None => Position::NONE,
        };
        Self { position, snapshot: None }
    }

    /// Appends the next frames. Nothing means that the peer was sent everything.
    fn encode_next(&mut self, mesh: &Mesh, out: &mut Vec<u8>) -> Result<(), LinkError> {
        if let Some((position, frames)) = &mut self.snapshot {
            match frames.next() {
                Some(frame) => frame.encode(out)?,
                None => {
                    self.position = *position;
                    self.snapshot = None;
                }
            }
            return Ok(());
        }
        let tail = mesh.routes.read().tail(mesh.me(), self.position, CHANGES_MAX);
        match tail {
            Tail::UpToDate => {}
            Tail::Delta(delta) => {
                self.position = delta.end();
                Control::Delta(delta).encode(out)?;
            }
            Tail::SnapshotNeeded => {
                let snapshot = mesh.routes.read().snapshot(mesh.me());
                self.snapshot = snapshot.map(frames_of);
                if let Some((_, frames)) = &mut self.snapshot
                    && let Some(begin) = frames.next()
                {
                    begin.encode(out)?;
                }
            }
        }
        Ok(())
    }
}

fn frames_of(snapshot: Snapshot) -> (Position, Box<dyn Iterator<Item = Control> + Send>) {
    (snapshot.position, Box::new(snapshot_frames(snapshot)))
}

async fn write_dialed(
    mesh: &Arc<Mesh>,
    link: &Link,
    mut push: Push,
    knows_forgotten: bool,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> Result<Infallible, LinkError> {
    let mut out = Vec::new();
    let mut ping_at = now();
    let mut pings = 0;
    let mut said_bye = false;
    let mut told_forgotten = 0;
    loop {
        out.clear();
        if knows_forgotten && told_forgotten != mesh.forgotten_version() {
            let (version, floors) = mesh.forgotten();
            Control::Forgotten(floors).encode(&mut out)?;
            told_forgotten = version;
        }
        for Pull { owner, since } in link.take_pulls() {
            Control::Pull { owner, since }.encode(&mut out)?;
        }
        if ping_at <= now() {
            pings += 1;
            Control::Ping(pings).encode(&mut out)?;
            ping_at = now() + mesh.settings.heartbeat_interval;
        }
        push.encode_next(mesh, &mut out)?;
        if mesh.is_leaving() && !said_bye {
            said_bye = true;
            Control::Bye.encode(&mut out)?;
        }
        if out.is_empty() && push.snapshot.is_none() {
            tokio::select! {
                () = link.control_wake.notified() => {}
                () = sleep_until(ping_at.into()) => {}
            }
            continue;
        }
        writer.send(&out).await?;
        if said_bye {
            link.said_bye();
        }
    }
}

/// Tells a node that was forgotten so, if it is able to hear it.
pub(super) async fn send_away(
    peer: &Hello,
    reader: &mut Reader<impl AsyncRead + Unpin>,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) {
    if peer.features & FEATURE_FORGOTTEN == 0 {
        return;
    }
    let told = async {
        // Closing with something unread would take back what was written.
        reader.fill().await?;
        send(writer, &Control::Forgotten(vec![(peer.node, peer.incarnation)])).await
    };
    // When it fails, gossip still says it.
    let _: Result<Result<(), LinkError>, _> = timeout(HANDSHAKE_MAX, told).await;
}

/// What an accepted control connection has yet to answer.
#[derive(Default)]
struct Answers {
    pong: Option<u64>,
    /// Acknowledge even when the position is the one that was acknowledged before.
    repeat_ack: bool,
    pulls: VecDeque<Pull>,
}

/// Runs a control connection that the peer dialed in this life, to its end.
pub(super) async fn run_accepted(
    mesh: &Arc<Mesh>,
    link: &Arc<Link>,
    incarnation: u64,
    reader: &mut Reader<impl AsyncRead + Unpin>,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> LinkError {
    let acked = match timeout(HANDSHAKE_MAX, greet_back(mesh, link, reader, writer)).await {
        Err(_) => return LinkError::Silent,
        Ok(Err(error)) => return error,
        Ok(Ok(acked)) => acked,
    };
    let (answers, wake) = (Mutex::default(), Notify::new());
    tokio::select! {
        Err(error) = read_dialer(mesh, link, incarnation, &answers, &wake, reader) => error,
        Err(error) = write_answers(mesh, link, acked, &answers, &wake, writer) => error,
    }
}

async fn greet_back(
    mesh: &Arc<Mesh>,
    link: &Link,
    reader: &mut Reader<impl AsyncRead + Unpin>,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> Result<Position, LinkError> {
    loop {
        match next_frame(reader)? {
            Some(Control::Hello { own }) => {
                mesh.on_claim(link.peer, own);
                let have = mesh.routes.read().digest(link.peer);
                send(writer, &Control::HelloReply { own: mesh.own_digest(), have }).await?;
                return Ok(have.map_or(Position::NONE, |have| have.position));
            }
            Some(other) => return Err(LinkError::Misplaced(name(&other))),
            None => reader.fill().await?,
        }
    }
}

/// What the dialer of an accepted connection has to say.
async fn read_dialer(
    mesh: &Arc<Mesh>,
    link: &Link,
    incarnation: u64,
    answers: &Mutex<Answers>,
    wake: &Notify,
    reader: &mut Reader<impl AsyncRead + Unpin>,
) -> Result<Infallible, LinkError> {
    let mut assembly = None;
    loop {
        while let Some(frame) = next_frame(reader)? {
            match frame {
                Control::Delta(delta) if delta.owner == link.peer => {
                    mesh.on_delta(&delta);
                    answers.lock().repeat_ack = true;
                }
                Control::Ping(number) => answers.lock().pong = Some(number),
                Control::Pull { owner, since } => {
                    let mut answers = answers.lock();
                    if PULLS_MAX <= answers.pulls.len() {
                        return Err(LinkError::Misplaced("pull"));
                    }
                    answers.pulls.push_back(Pull { owner, since });
                }
                Control::Bye => mesh.on_bye(link.peer, incarnation),
                Control::Forgotten(floors) => {
                    mesh.on_forgotten(&floors);
                }
                Control::SnapshotBegin(begin) if begin.owner != link.peer => {
                    return Err(LinkError::Misplaced("snapshot"));
                }
                other => {
                    on_snapshot_frame(mesh, &mut assembly, other)?;
                    answers.lock().repeat_ack |= assembly.is_none();
                }
            }
        }
        wake.notify_one();
        fill(mesh, link, reader).await?;
    }
}

async fn write_answers(
    mesh: &Arc<Mesh>,
    link: &Link,
    mut acked: Position,
    answers: &Mutex<Answers>,
    wake: &Notify,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> Result<Infallible, LinkError> {
    let mut out = Vec::new();
    let mut snapshot: Option<Box<dyn Iterator<Item = Control> + Send>> = None;
    loop {
        out.clear();
        let (pong, repeat_ack, pull) = {
            let mut answers = answers.lock();
            let pull = if snapshot.is_none() { answers.pulls.pop_front() } else { None };
            (answers.pong.take(), std::mem::take(&mut answers.repeat_ack), pull)
        };
        if let Some(number) = pong {
            Control::Pong(number).encode(&mut out)?;
        }
        // The routes may have come another way too, so the table says what there is to acknowledge.
        let position = mesh.routes.read().position(link.peer).unwrap_or(Position::NONE);
        if position != acked || repeat_ack {
            acked = position;
            Control::Ack(position).encode(&mut out)?;
        }
        if let Some(pull) = pull {
            if pull.owner == mesh.me() {
                mesh.on_told(link.peer);
            }
            snapshot = answer_pull(mesh, pull, &mut out)?;
        }
        if let Some(frames) = &mut snapshot {
            match frames.next() {
                Some(frame) => frame.encode(&mut out)?,
                None => snapshot = None,
            }
        }
        if !out.is_empty() {
            writer.send(&out).await?;
            continue;
        }
        tokio::select! {
            () = wake.notified() => {}
            () = link.answer_wake.notified() => {}
        }
    }
}

/// Appends the answer, or returns the frames of a snapshot that is the answer.
fn answer_pull(
    mesh: &Mesh,
    pull: Pull,
    out: &mut Vec<u8>,
) -> Result<Option<Box<dyn Iterator<Item = Control> + Send>>, LinkError> {
    let Pull { owner, since } = pull;
    let tail = match since {
        Some(since) => mesh.routes.read().tail(owner, since, CHANGES_MAX),
        None => Tail::SnapshotNeeded,
    };
    let snapshot = match tail {
        Tail::UpToDate => None,
        Tail::Delta(delta) => {
            Control::Delta(delta).encode(out)?;
            return Ok(None);
        }
        Tail::SnapshotNeeded => mesh.routes.read().snapshot(owner),
    };
    match snapshot {
        Some(snapshot) => Ok(Some(frames_of(snapshot).1)),
        None => {
            Control::PullRefused { owner }.encode(out)?;
            Ok(None)
        }
    }
}

/// Takes the next complete frame out of what was read.
fn next_frame(reader: &mut Reader<impl AsyncRead + Unpin>) -> Result<Option<Control>, LinkError> {
    let bytes = reader.bytes();
    let Some(len) = peek(bytes, CONTROL_FRAME_LEN_MAX)? else { return Ok(None) };
    let Some(frame) = bytes.get(..len) else { return Ok(None) };
    let frame = decode_control(frame)?;
    reader.consume(len);
    Ok(Some(frame))
}

/// Reads more. Both ends of a control stream hear of each other at every heartbeat, so silence is a fault.
async fn fill(
    mesh: &Mesh,
    link: &Link,
    reader: &mut Reader<impl AsyncRead + Unpin>,
) -> Result<(), LinkError> {
    timeout(mesh.settings.dead_after, reader.fill()).await.map_err(|_| LinkError::Silent)??;
    mesh.on_sign(link.peer);
    Ok(())
}

fn on_snapshot_frame(
    mesh: &Arc<Mesh>,
    assembly: &mut Option<Assembly>,
    frame: Control,
) -> Result<(), LinkError> {
    match frame {
        Control::SnapshotBegin(begin) => *assembly = Some(Assembly::new(begin)?),
        Control::SnapshotChunk(chunk) => {
            let current = assembly.as_mut().ok_or(LinkError::Misplaced("snapshot chunk"))?;
            let owner = current.owner();
            current.on_chunk(chunk)?;
            mesh.on_pull_progress(owner);
        }
        Control::SnapshotEnd { owner } => {
            let whole = assembly.take().ok_or(LinkError::Misplaced("snapshot end"))?;
            mesh.on_snapshot(&whole.on_end(owner)?);
        }
        other => return Err(LinkError::Misplaced(name(&other))),
    }
    Ok(())
}

async fn send(writer: &mut Writer<impl AsyncWrite + Unpin>, frame: &Control) -> Result<(), LinkError> {
    let mut out = Vec::new();
    frame.encode(&mut out)?;
    Ok(writer.send(&out).await?)
}

fn name(frame: &Control) -> &'static str {
    match frame {
        Control::Hello { .. } => "hello",
        Control::HelloReply { .. } => "hello reply",
        Control::Delta(_) => "delta",
        Control::Ack(_) => "acknowledgement",
        Control::SnapshotBegin(_) | Control::SnapshotChunk(_) | Control::SnapshotEnd { .. } => "snapshot",
        Control::Ping(_) => "ping",
        Control::Pong(_) => "pong",
        Control::Pull { .. } => "pull",
        Control::PullRefused { .. } => "pull refusal",
        Control::Bye => "bye",
        Control::Forgotten(_) => "forgotten nodes",
    }
}
