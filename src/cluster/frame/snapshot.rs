//! A snapshot as a row of frames, and back. A chunk is small enough not to hold up the stream for long.

use std::iter;
use std::vec;

use lz4_flex::block;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::control::{Control, get, write};
use super::route::WireRoute;
use super::{CONTROL_FRAME_LEN_MAX, FrameError, ROUTE_LEN_MAX};
use crate::cluster::node_id::NodeId;
use crate::cluster::routes::{DELTA_BYTES_MAX, Digest, RouteKey, Snapshot};

/// Routes of one owner that a snapshot may have.
pub const SNAPSHOT_KEYS_MAX: u64 = 16 * 1_024 * 1_024;

/// A chunk's routes before compression.
const CHUNK_RAW_LEN_MAX: usize = 512 * 1_024;
/// Below this, compression saves nothing worth its time.
const COMPRESS_LEN_MIN: usize = 1_024;
const _: () = assert!(DELTA_BYTES_MAX + ROUTE_LEN_MAX < CHUNK_RAW_LEN_MAX);
const _: () = assert!(CHUNK_RAW_LEN_MAX < CONTROL_FRAME_LEN_MAX);

/// What comes before the chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotBegin {
    /// Whose routes.
    pub owner: NodeId,
    /// What the table has when all chunks are applied; the proof that none is missing.
    pub digest: Digest,
}

/// Some of a snapshot's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Whose routes.
    pub owner: NodeId,
    /// Counts the chunks from 0.
    pub index: u32,
    /// The routes.
    pub keys: Vec<RouteKey>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireChunk<'a> {
    owner: NodeId,
    index: u32,
    /// 0 when `routes` is not compressed, else its length when decompressed.
    raw_len: u32,
    #[serde(borrow)]
    routes: &'a [u8],
}

impl SnapshotChunk {
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let keys: Vec<_> = self.keys.iter().map(WireRoute::key).collect();
        let mut raw = Vec::new();
        write(&mut raw, &keys)?;
        if CHUNK_RAW_LEN_MAX < raw.len() {
            return Err(FrameError::Length(raw.len()));
        }
        let mut wire = WireChunk { owner: self.owner, index: self.index, raw_len: 0, routes: &raw };
        let compressed = if COMPRESS_LEN_MIN <= raw.len() { block::compress(&raw) } else { Vec::new() };
        let is_smaller = !compressed.is_empty() && compressed.len() < raw.len();
        if is_smaller {
            wire.raw_len = u32::try_from(raw.len()).map_err(|_| FrameError::Length(raw.len()))?;
            wire.routes = &compressed;
        }
        write(out, &wire)
    }
}

impl WireChunk<'_> {
    pub(super) fn to_chunk(&self) -> Result<SnapshotChunk, FrameError> {
        let raw_len = self.raw_len as usize;
        if CHUNK_RAW_LEN_MAX < raw_len.max(self.routes.len()) {
            return Err(FrameError::Body("chunk too long"));
        }
        let raw;
        let routes = if raw_len == 0 {
            self.routes
        } else {
            raw = block::decompress(self.routes, raw_len).map_err(|_| FrameError::Body("compression"))?;
            if raw.len() != raw_len {
                return Err(FrameError::Body("decompressed length"));
            }
            &raw
        };
        let keys = get::<Vec<WireRoute<'_>>>(routes)?;
        let keys = keys.iter().map(WireRoute::to_key).collect::<Result<_, _>>()?;
        Ok(SnapshotChunk { owner: self.owner, index: self.index, keys })
    }
}

/// The frames of a snapshot, made one by one, so that other frames can go between them.
pub fn snapshot_frames(snapshot: Snapshot) -> impl Iterator<Item = Control> + Send {
    let owner = snapshot.owner;
    let begin = Control::SnapshotBegin(SnapshotBegin { owner, digest: snapshot.digest() });
    let mut keys = snapshot.keys.into_iter().peekable();
    let mut index = 0;
    let chunks = iter::from_fn(move || {
        let keys = take_chunk(&mut keys);
        if keys.is_empty() {
            return None;
        }
        let chunk = Control::SnapshotChunk(SnapshotChunk { owner, index, keys });
        index += 1;
        Some(chunk)
    });
    iter::once(begin).chain(chunks).chain(iter::once(Control::SnapshotEnd { owner }))
}

fn take_chunk(keys: &mut iter::Peekable<vec::IntoIter<RouteKey>>) -> Vec<RouteKey> {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    while let Some(key) =
        keys.next_if(|key| chunk.is_empty() || bytes + key.encoded_len_max() <= DELTA_BYTES_MAX)
    {
        bytes += key.encoded_len_max();
        chunk.push(key);
    }
    chunk
}

/// A snapshot on its way in.
#[derive(Debug)]
pub struct Assembly {
    begin: SnapshotBegin,
    next: u32,
    keys: Vec<RouteKey>,
}

/// Why frames do not make a snapshot. The pull may be tried again, elsewhere first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AssemblyError {
    /// More routes than [`SNAPSHOT_KEYS_MAX`], or than announced.
    #[error("the snapshot has too many routes")]
    TooMany,
    /// A chunk of another snapshot, not the next one, or an empty one.
    #[error("a chunk that does not follow the one before")]
    OutOfOrder,
    /// The routes are not those that the beginning promised.
    #[error("the snapshot's digest is not the announced one")]
    Digest,
}

impl Assembly {
    /// Starts with nothing but the promise; memory follows what really arrives.
    ///
    /// # Errors
    /// When it announces too many routes.
    pub fn new(begin: SnapshotBegin) -> Result<Self, AssemblyError> {
        if SNAPSHOT_KEYS_MAX < begin.digest.count {
            return Err(AssemblyError::TooMany);
        }
        Ok(Self { begin, next: 0, keys: Vec::new() })
    }

    /// Whose snapshot it is.
    #[must_use]
    pub fn owner(&self) -> NodeId {
        self.begin.owner
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// Then the assembly is of no more use.
    pub fn on_chunk(&mut self, chunk: SnapshotChunk) -> Result<(), AssemblyError> {
        // An empty chunk would never bring the end nearer.
        if chunk.owner != self.begin.owner || chunk.index != self.next || chunk.keys.is_empty() {
            return Err(AssemblyError::OutOfOrder);
        }
        let count = self.keys.len() as u64 + chunk.keys.len() as u64;
        if self.begin.digest.count < count {
            return Err(AssemblyError::TooMany);
        }
        self.next += 1;
        self.keys.extend(chunk.keys);
        Ok(())
    }

    /// Takes the end.
    ///
    /// # Errors
    /// When it is another snapshot's end, or routes are missing or wrong.
    pub fn on_end(self, owner: NodeId) -> Result<Snapshot, AssemblyError> {
        if owner != self.begin.owner {
            return Err(AssemblyError::OutOfOrder);
        }
        let snapshot = Snapshot { owner, position: self.begin.digest.position, keys: self.keys };
        if snapshot.digest() != self.begin.digest {
            return Err(AssemblyError::Digest);
        }
        Ok(snapshot)
    }
}
