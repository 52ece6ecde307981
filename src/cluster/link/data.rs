//! The data stream: publishes from its dialer, cumulative acknowledgements from the other end.
//!
//! The dialer's outbox numbers the publishes; the opening of a connection says which number comes first, and
//! from there both ends count. The other end remembers the last number that it took, skips what it has, and
//! so nothing is lost or taken twice when a connection breaks and its successor starts a little earlier.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tracing::error;

use super::handshake::Hello;
use super::stream::{Reader, Writer};
use super::{Link, LinkError};
use crate::cluster::frame::{DATA_FRAME_LEN_MAX, Data, Publish, decode_data, encode_data_ack, peek};
use crate::cluster::mesh::Mesh;
use crate::cluster::{Inbound, InboundBurst};
use crate::message::MessageId;
use crate::net::clock::now;
use crate::seeded_bugs::{self, Bug};

const OPENING_BYTES: usize = 16;

/// What a dialed data connection says first: the numbering of the outbox, and the number of the first frame.
pub(super) fn opening(link: &Link) -> Vec<u8> {
    if seeded_bugs::has(Bug::NoResend) {
        link.outbox.with(|buffer| buffer.clear());
    }
    let first = link.outbox.with(|buffer| buffer.rewind());
    let mut opening = Vec::with_capacity(OPENING_BYTES);
    opening.extend_from_slice(&link.numbering.to_be_bytes());
    opening.extend_from_slice(&first.to_be_bytes());
    opening
}

/// Runs a data connection that this node dialed, to its end.
pub(super) async fn run_dialed(
    mesh: &Arc<Mesh>,
    link: &Arc<Link>,
    reader: &mut Reader<impl AsyncRead + Unpin>,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> LinkError {
    tokio::select! {
        Err(error) = read_acks(mesh, link, reader) => error,
        Err(error) = write_publishes(link, writer) => error,
    }
}

async fn write_publishes(
    link: &Link,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> Result<Infallible, LinkError> {
    loop {
        while let Some(chunk) = link.outbox.with(|buffer| buffer.take()) {
            writer.send(&chunk).await?;
        }
        if link.outbox.with(|buffer| buffer.is_cut()) {
            return Err(LinkError::Cut);
        }
        link.outbox.woken().await;
    }
}

async fn read_acks(
    mesh: &Arc<Mesh>,
    link: &Link,
    reader: &mut Reader<impl AsyncRead + Unpin>,
) -> Result<Infallible, LinkError> {
    // The connection may be stuck while the control stream is not; what waits is then better off on a new one.
    let patience = mesh.settings.dead_after;
    loop {
        while let Some(len) = complete_frame(reader)? {
            let frame = decode_data(&reader.bytes()[..len])?;
            let Data::Ack(through) = frame else { return Err(LinkError::Misplaced("publish")) };
            reader.consume(len);
            link.outbox.with(|buffer| buffer.on_ack(through))?;
        }
        let waiting_for = link.outbox.with(|buffer| buffer.awaits_ack().then(|| buffer.gone()));
        tokio::select! {
            filled = reader.fill() => {
                filled?;
                mesh.on_sign(link.peer);
            }
            () = tokio::time::sleep(patience) => {
                let still = link.outbox.with(|buffer| buffer.awaits_ack().then(|| buffer.gone()));
                if still.is_some() && still == waiting_for {
                    return Err(LinkError::Silent);
                }
            }
        }
    }
}

/// Runs a data connection that the peer dialed, to its end.
pub(super) async fn run_accepted(
    mesh: &Arc<Mesh>,
    link: &Arc<Link>,
    peer: &Hello,
    opening: &[u8],
    reader: &mut Reader<impl AsyncRead + Unpin>,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> LinkError {
    let Some((numbering, first)) = parse_opening(opening) else { return LinkError::Misplaced("opening") };
    let Some(inbound) = mesh.inbound.get() else { return LinkError::Silent };
    let mut received = link.take_received(numbering).await;
    let intake = Intake {
        mesh,
        inbound: inbound.as_ref(),
        from: peer,
        through: &mut received.through,
        number: first - 1,
        burst: None,
    };
    let (taken, wake) = (AtomicU64::new(0), Notify::new());
    tokio::select! {
        Err(error) = read_publishes(intake, &taken, &wake, reader) => error,
        Err(error) = write_acks(&taken, &wake, writer) => error,
    }
}

fn parse_opening(opening: &[u8]) -> Option<(u64, u64)> {
    let (numbering, first) = opening.split_first_chunk::<8>()?;
    let first = u64::from_be_bytes(first.try_into().ok()?);
    (0 < first).then(|| (u64::from_be_bytes(*numbering), first))
}

async fn read_publishes(
    mut intake: Intake<'_>,
    taken: &AtomicU64,
    wake: &Notify,
    reader: &mut Reader<impl AsyncRead + Unpin>,
) -> Result<Infallible, LinkError> {
    loop {
        let before = intake.number;
        while let Some(len) = complete_frame(reader)? {
            match decode_data(&reader.bytes()[..len])? {
                Data::Publish(publish) => intake.take(&publish),
                Data::Ack(_) => return Err(LinkError::Misplaced("acknowledgement")),
            }
            reader.consume(len);
        }
        if before < intake.number {
            intake.end_burst();
            taken.store(intake.number, Ordering::Release);
            wake.notify_one();
        }
        reader.fill().await?;
        intake.mesh.on_sign(intake.from.node);
    }
}

async fn write_acks(
    taken: &AtomicU64,
    wake: &Notify,
    writer: &mut Writer<impl AsyncWrite + Unpin>,
) -> Result<Infallible, LinkError> {
    let mut out = Vec::new();
    loop {
        wake.notified().await;
        out.clear();
        encode_data_ack(taken.load(Ordering::Acquire), &mut out);
        writer.send(&out).await?;
    }
}

/// The length of the frame that was read completely.
fn complete_frame(reader: &Reader<impl AsyncRead + Unpin>) -> Result<Option<usize>, LinkError> {
    let bytes = reader.bytes();
    Ok(peek(bytes, DATA_FRAME_LEN_MAX)?.filter(|len| *len <= bytes.len()))
}

/// Hands publishes up, each once.
struct Intake<'a> {
    mesh: &'a Mesh,
    inbound: &'a dyn Inbound,
    from: &'a Hello,
    /// The last number that was taken on any connection.
    through: &'a mut u64,
    /// The last number on this one.
    number: u64,
    /// What the present read brings, and when that was.
    burst: Option<(Instant, Box<dyn InboundBurst + 'a>)>,
}

impl Intake<'_> {
    fn take(&mut self, publish: &Publish<'_>) {
        self.number += 1;
        if self.number <= *self.through && !seeded_bugs::has(Bug::NoDeduplication) {
            return;
        }
        *self.through = self.number;
        self.mesh.metrics.messages_from_peers.inc();
        let id = MessageId {
            node: self.from.node.as_u128(),
            incarnation: self.from.incarnation,
            seq: publish.seq,
        };
        let inbound = self.inbound;
        let from = self.from.node;
        let (now, mut burst) = self.burst.take().unwrap_or_else(|| (now(), inbound.burst()));
        let publication = publish.publication(now);
        self.guard(|| burst.on_publish(now, from, id, &publication));
        self.burst = Some((now, burst));
    }

    fn end_burst(&mut self) {
        let burst = self.burst.take();
        self.guard(|| drop(burst));
    }

    /// A panic up there must not make the peer send the same message again and again.
    fn guard(&self, act: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(act)).is_err() {
            error!(peer = %self.from.node.short(), "taking a message from a peer panicked");
            self.mesh.count_rejected("mesh_panic");
        }
    }
}
