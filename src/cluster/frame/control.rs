//! Frames of the control stream: route changes, snapshots, acknowledgements, heartbeats.

use serde::{Deserialize, Serialize};

use super::route::{WireDelta, WireDigest, WirePosition};
use super::snapshot::{SnapshotBegin, SnapshotChunk, WireChunk};
use super::{CONTROL_FRAME_LEN_MAX, FrameError, append, open};
use crate::cluster::forgotten::{FORGOTTEN_MAX, Floor};
use crate::cluster::node_id::NodeId;
use crate::cluster::routes::{Delta, Digest, Position};

const HELLO: u8 = 0x01;
const HELLO_REPLY: u8 = 0x02;
const ROUTE_DELTA: u8 = 0x03;
const ROUTE_ACK: u8 = 0x04;
const SNAPSHOT_BEGIN: u8 = 0x05;
const SNAPSHOT_CHUNK: u8 = 0x06;
const SNAPSHOT_END: u8 = 0x07;
const PING: u8 = 0x08;
const PONG: u8 = 0x09;
const PULL: u8 = 0x0a;
const PULL_REFUSED: u8 = 0x0b;
const BYE: u8 = 0x0c;
const FORGOTTEN: u8 = 0x0d;

/// What the control stream of a link carries, in both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// First frame of whoever dialed.
    Hello {
        /// The dialer's own routes.
        own: Digest,
    },
    /// Answer to [`Control::Hello`].
    HelloReply {
        /// The answering node's own routes.
        own: Digest,
        /// What the answering node has of the dialer's routes: the dialer's log goes on from here.
        have: Option<Digest>,
    },
    /// A piece of a log: pushed by its owner, or the answer to a pull.
    Delta(Delta),
    /// The sender's table is at this position of the receiver's own log. Cumulative.
    Ack(Position),
    /// A snapshot starts.
    SnapshotBegin(SnapshotBegin),
    /// Some of its routes.
    SnapshotChunk(SnapshotChunk),
    /// It is complete.
    SnapshotEnd {
        /// Whose routes.
        owner: NodeId,
    },
    /// Asks for a pong with the same number.
    Ping(u64),
    /// Answers a ping.
    Pong(u64),
    /// Asks for an owner's log after a position. The answer is one [`Control::Delta`], a snapshot, or
    /// [`Control::PullRefused`].
    Pull {
        /// Whose log.
        owner: NodeId,
        /// What the asking node has; `None` asks for a snapshot in any case.
        since: Option<Position>,
    },
    /// The asked node has nothing newer, or cannot answer now.
    PullRefused {
        /// Whose log.
        owner: NodeId,
    },
    /// The sender leaves the cluster for good or for a restart; its routes may be masked at once.
    Bye,
    /// Every node that the sender knows to be forgotten, with its last life that is refused; at most
    /// 1,024 nodes. Only for peers whose hello has the feature bit.
    Forgotten(Vec<Floor>),
}

#[derive(Serialize, Deserialize)]
struct WireHelloReply {
    own: WireDigest,
    have: Option<WireDigest>,
}

#[derive(Serialize, Deserialize)]
struct WirePull {
    owner: NodeId,
    since: Option<WirePosition>,
}

#[derive(Serialize, Deserialize)]
struct WireSnapshotBegin {
    owner: NodeId,
    digest: WireDigest,
}

impl Control {
    /// Appends the frame.
    ///
    /// # Errors
    /// When it would be longer than [`CONTROL_FRAME_LEN_MAX`], which nothing that `Routes` and
    /// [`super::snapshot_frames`] make is; `out` is then unchanged.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        match self {
            Control::Hello { own } => put(out, HELLO, &WireDigest::from(*own)),
            Control::HelloReply { own, have } => {
                let wire = WireHelloReply { own: (*own).into(), have: have.map(WireDigest::from) };
                put(out, HELLO_REPLY, &wire)
            }
            Control::Delta(delta) => put(out, ROUTE_DELTA, &WireDelta::from(delta)),
            Control::Ack(position) => put(out, ROUTE_ACK, &WirePosition::from(*position)),
            Control::SnapshotBegin(begin) => {
                let wire = WireSnapshotBegin { owner: begin.owner, digest: begin.digest.into() };
                put(out, SNAPSHOT_BEGIN, &wire)
            }
            Control::SnapshotChunk(chunk) => {
                append(out, SNAPSHOT_CHUNK, CONTROL_FRAME_LEN_MAX, |out| chunk.write(out))
            }
            Control::SnapshotEnd { owner } => put(out, SNAPSHOT_END, owner),
            Control::Ping(number) => put(out, PING, number),
            Control::Pong(number) => put(out, PONG, number),
            Control::Pull { owner, since } => {
                put(out, PULL, &WirePull { owner: *owner, since: since.map(WirePosition::from) })
            }
            Control::PullRefused { owner } => put(out, PULL_REFUSED, owner),
            Control::Bye => put(out, BYE, &()),
            Control::Forgotten(floors) => put(out, FORGOTTEN, floors),
        }
    }
}

/// Reads exactly one frame of the control stream.
///
/// # Errors
/// The peer's fault, whatever it is: the link is to be closed.
pub fn decode_control(frame: &[u8]) -> Result<Control, FrameError> {
    let (kind, body) = open(frame, CONTROL_FRAME_LEN_MAX)?;
    Ok(match kind {
        HELLO => Control::Hello { own: get::<WireDigest>(body)?.into() },
        HELLO_REPLY => {
            let wire = get::<WireHelloReply>(body)?;
            Control::HelloReply { own: wire.own.into(), have: wire.have.map(Digest::from) }
        }
        ROUTE_DELTA => Control::Delta(get::<WireDelta<'_>>(body)?.into_delta()?),
        ROUTE_ACK => Control::Ack(get::<WirePosition>(body)?.into()),
        SNAPSHOT_BEGIN => {
            let WireSnapshotBegin { owner, digest } = get(body)?;
            Control::SnapshotBegin(SnapshotBegin { owner, digest: digest.into() })
        }
        SNAPSHOT_CHUNK => Control::SnapshotChunk(get::<WireChunk<'_>>(body)?.to_chunk()?),
        SNAPSHOT_END => Control::SnapshotEnd { owner: get(body)? },
        PING => Control::Ping(get(body)?),
        PONG => Control::Pong(get(body)?),
        PULL => {
            let wire = get::<WirePull>(body)?;
            Control::Pull { owner: wire.owner, since: wire.since.map(Position::from) }
        }
        PULL_REFUSED => Control::PullRefused { owner: get(body)? },
        BYE => {
            get::<()>(body)?;
            Control::Bye
        }
        FORGOTTEN => {
            let floors = get::<Vec<Floor>>(body)?;
            if FORGOTTEN_MAX < floors.len() {
                return Err(FrameError::Body("too many forgotten nodes"));
            }
            Control::Forgotten(floors)
        }
        _ => return Err(FrameError::Kind(kind)),
    })
}

fn put(out: &mut Vec<u8>, kind: u8, body: &impl Serialize) -> Result<(), FrameError> {
    append(out, kind, CONTROL_FRAME_LEN_MAX, |out| write(out, body))
}

/// Appends a value in postcard's encoding.
pub(super) fn write(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), FrameError> {
    postcard::to_io(value, out).map_err(|_| FrameError::Body("not encodable"))?;
    Ok(())
}

/// Reads a value that fills `body` exactly.
pub(super) fn get<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, FrameError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(FrameError::Body("followed by something")),
        Err(_) => Err(FrameError::Body("not what its kind has")),
    }
}
