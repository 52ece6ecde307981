//! What a sealed gossip message may contain: checked before chitchat sees it. Sans-io.
//!
//! The seal keeps strangers out; this keeps a peer with a fault from taking others down. Chitchat 0.11.2 trusts
//! what it deserializes, so each rule stands against something that its source would do:
//!
//! - a delta is a row of zstd blocks that it decompresses without a limit on their number (65,507 bytes can
//!   become 190 MB): blocks are at most as large as it writes them, all together at most [`DELTA_BYTES_MAX`];
//! - a key whose first character has several bytes panics its listeners (it slices `key[0..1]`): keys are known;
//! - a `SetMaxVersion` below a key's version breaks an assertion, and a version of 2^64-1 for the receiver's own
//!   state breaks one at the next write;
//! - a digest of more than some 570 nodes leaves less room for a delta than one zstd block, which breaks an
//!   assertion; beyond 890 the room is less than nothing: nodes are counted, over all messages;
//! - a garbage collection version resets states, and a tombstone starts one: this cluster deletes no keys.
//!
//! The format is chitchat's, pinned with its version: little-endian, strings behind a u16 length.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::node_id::NodeId;

/// Processes (node, incarnation, address) that gossip may know at the same time.
pub(super) const NODES_MAX: usize = 512;
/// Longest value of a key.
pub(super) const VALUE_BYTES_MAX: usize = 1_024;
/// Every key that nodes advertise. The last ones are free: a later version may use them, and this one lets
/// them pass.
const KEYS: [&str; 15] =
    ["name", "mesh", "http", "ver", "rt", "vv", "d0", "d1", "d2", "d3", "bye", "x0", "x1", "x2", "x3"];
/// Size of chitchat's zstd blocks before compression.
const BLOCK_BYTES_MAX: usize = 16_384;
/// Largest delta after decompression: every node's values, filled to the brim, would be 8 MB; they are 1 KB.
const DELTA_BYTES_MAX: usize = 1 << 20;
/// Blocks of the largest delta: all but the last are full.
const BLOCKS_MAX: usize = DELTA_BYTES_MAX / BLOCK_BYTES_MAX + 1;
/// Most operations that a delta needs: each node and each of its keys.
const OPS_MAX: usize = NODES_MAX * (1 + KEYS.len());
/// Versions and heartbeats count single events; none gets here honestly.
const COUNT_MAX: u64 = 1 << 62;

/// What one node takes in a digest: id 2 + 32, incarnation 8, an IPv6 address 1 + 16 + 2, three counts.
const DIGEST_ENTRY_BYTES_MAX: usize = 2 + 32 + 8 + 19 + 24;
// A delta of which the digest leaves less than one block would break an assertion of chitchat.
const _: () = assert!(2 + NODES_MAX * DIGEST_ENTRY_BYTES_MAX + BLOCK_BYTES_MAX < 65_506);

/// What is wrong with a sealed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EnvelopeError {
    #[error("ends too early")]
    Truncated,
    #[error("bytes left over")]
    Trailing,
    #[error("not a chitchat message of version 0")]
    Format,
    #[error("for another cluster")]
    Cluster,
    #[error("a node id, address or text that no node has")]
    Identity,
    #[error("does not list its sender")]
    SenderMissing,
    #[error("more nodes than a cluster may have")]
    TooManyNodes,
    #[error("version, heartbeat or status out of bounds")]
    Count,
    #[error("unknown key or value too long")]
    KeyValue,
    #[error("delta too large or not compressed as chitchat does")]
    Delta,
    #[error("claims to know more of this node than itself")]
    OwnState,
}

/// A process as chitchat tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Process {
    id: NodeId,
    incarnation: u64,
    address: SocketAddr,
}

/// Checks messages for one node.
pub(super) struct Inspector {
    me: NodeId,
    incarnation: u64,
    cluster_name: String,
    /// Version of the node's own state, kept up to date by who writes it.
    own_version: Arc<AtomicU64>,
    /// When each process was last mentioned; forgotten after `memory`.
    known: HashMap<Process, Instant>,
    /// At least as long as chitchat keeps a silent process.
    memory: Duration,
}

impl Inspector {
    pub(super) fn new(
        me: NodeId,
        incarnation: u64,
        cluster_name: String,
        own_version: Arc<AtomicU64>,
        memory: Duration,
    ) -> Self {
        Self { me, incarnation, cluster_name, own_version, known: HashMap::new(), memory }
    }

    /// Checks one message and gives the address under which its sender wants answers; `None` for an ACK.
    pub(super) fn inspect(
        &mut self,
        now: Instant,
        sender: NodeId,
        incarnation: u64,
        message: &[u8],
    ) -> Result<Option<SocketAddr>, EnvelopeError> {
        const MAGIC: u16 = 45_139;
        let mut reader = Reader(message);
        if reader.u16()? != MAGIC || reader.u8()? != 0 {
            return Err(EnvelopeError::Format);
        }
        let reply_to = match reader.u8()? {
            // SYN, its cluster name behind the digest.
            0 => {
                let address = self.digest(now, sender, incarnation, &mut reader)?;
                if reader.text()? != self.cluster_name {
                    return Err(EnvelopeError::Cluster);
                }
                Some(address)
            }
            // SYN-ACK.
            1 => {
                let address = self.digest(now, sender, incarnation, &mut reader)?;
                self.delta(&mut reader)?;
                Some(address)
            }
            // ACK.
            2 => {
                self.delta(&mut reader)?;
                None
            }
            // "Bad cluster" is what nobody answers who cannot open a stranger's datagram.
            _ => return Err(EnvelopeError::Format),
        };
        if reader.is_empty() { Ok(reply_to) } else { Err(EnvelopeError::Trailing) }
    }

    fn digest(
        &mut self,
        now: Instant,
        sender: NodeId,
        incarnation: u64,
        reader: &mut Reader<'_>,
    ) -> Result<SocketAddr, EnvelopeError> {
        let count = usize::from(reader.u16()?);
        if count > NODES_MAX {
            return Err(EnvelopeError::TooManyNodes);
        }
        let mut mentioned = Vec::with_capacity(count);
        let mut sender_address = None;
        for _ in 0..count {
            let process = reader.process()?;
            let (heartbeat, collected, version) = (reader.u64()?, reader.u64()?, reader.u64()?);
            if heartbeat > COUNT_MAX || collected != 0 || version > COUNT_MAX {
                return Err(EnvelopeError::Count);
            }
            if process.id == sender && process.incarnation == incarnation {
                sender_address = Some(process.address);
            }
            mentioned.push(process);
        }
        let sender_address = sender_address.ok_or(EnvelopeError::SenderMissing)?;
        self.remember(now, &mentioned)?;
        Ok(sender_address)
    }

    fn remember(&mut self, now: Instant, mentioned: &[Process]) -> Result<(), EnvelopeError> {
        let new = mentioned.iter().filter(|process| !self.known.contains_key(process)).count();
        if self.known.len() + new > NODES_MAX {
            let memory = self.memory;
            self.known.retain(|_, seen| now.saturating_duration_since(*seen) < memory);
            let new = mentioned.iter().filter(|process| !self.known.contains_key(process)).count();
            if self.known.len() + new > NODES_MAX {
                return Err(EnvelopeError::TooManyNodes);
            }
        }
        self.known.extend(mentioned.iter().map(|process| (*process, now)));
        Ok(())
    }

    fn delta(&self, reader: &mut Reader<'_>) -> Result<(), EnvelopeError> {
        let bytes = decompress(reader)?;
        let mut reader = Reader(&bytes);
        let mut ops = 0;
        let mut node: Option<NodeDelta> = None;
        while !reader.is_empty() {
            ops += 1;
            if ops > OPS_MAX {
                return Err(EnvelopeError::Delta);
            }
            match reader.u8()? {
                // From here on the operations are about this process.
                0 => {
                    let process = reader.process()?;
                    let (collected, from_version) = (reader.u64()?, reader.u64()?);
                    if collected != 0 || from_version > COUNT_MAX {
                        return Err(EnvelopeError::Count);
                    }
                    let is_own = process.id == self.me && process.incarnation == self.incarnation;
                    node = Some(NodeDelta { is_own, version: 0 });
                }
                // A key and its value.
                1 => {
                    let key = reader.text()?;
                    let value = reader.text()?;
                    if !KEYS.contains(&key) || value.len() > VALUE_BYTES_MAX {
                        return Err(EnvelopeError::KeyValue);
                    }
                    let (version, status) = (reader.u64()?, reader.u8()?);
                    let node = node.as_mut().ok_or(EnvelopeError::Delta)?;
                    if version <= node.version || status != 0 {
                        return Err(EnvelopeError::Count);
                    }
                    self.advance(node, version)?;
                }
                // The state's version, where it has no keys to tell it.
                2 => {
                    let version = reader.u64()?;
                    let node = node.as_mut().ok_or(EnvelopeError::Delta)?;
                    if node.version != 0 {
                        return Err(EnvelopeError::Count);
                    }
                    self.advance(node, version)?;
                }
                _ => return Err(EnvelopeError::Delta),
            }
        }
        Ok(())
    }

    fn advance(&self, node: &mut NodeDelta, version: u64) -> Result<(), EnvelopeError> {
        if version > COUNT_MAX {
            return Err(EnvelopeError::Count);
        }
        if node.is_own && version > self.own_version.load(Ordering::SeqCst) {
            return Err(EnvelopeError::OwnState);
        }
        node.version = version;
        Ok(())
    }
}

/// The node that a delta's operations are about.
struct NodeDelta {
    is_own: bool,
    version: u64,
}

/// Takes a delta's blocks out of the message and decompresses them, within limits.
fn decompress(reader: &mut Reader<'_>) -> Result<Vec<u8>, EnvelopeError> {
    let mut bytes = Vec::new();
    let mut block = Vec::new();
    for _ in 0..=BLOCKS_MAX {
        let kind = reader.u8()?;
        if kind == 0 {
            return Ok(bytes);
        }
        let len = usize::from(reader.u16()?);
        let data = reader.take(len)?;
        match kind {
            1 => {
                block.resize(BLOCK_BYTES_MAX, 0);
                let len = zstd::bulk::decompress_to_buffer(data, &mut block[..])
                    .map_err(|_| EnvelopeError::Delta)?;
                bytes.extend_from_slice(&block[..len]);
            }
            2 if len <= BLOCK_BYTES_MAX => bytes.extend_from_slice(data),
            _ => return Err(EnvelopeError::Delta),
        }
        if bytes.len() > DELTA_BYTES_MAX {
            return Err(EnvelopeError::Delta);
        }
    }
    Err(EnvelopeError::Delta)
}

/// Reads from the front of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], EnvelopeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(EnvelopeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EnvelopeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(EnvelopeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, EnvelopeError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, EnvelopeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, EnvelopeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, EnvelopeError> {
        let len = usize::from(self.u16()?);
        std::str::from_utf8(self.take(len)?).map_err(|_| EnvelopeError::Identity)
    }

    fn process(&mut self) -> Result<Process, EnvelopeError> {
        let id = node_id(self.text()?).ok_or(EnvelopeError::Identity)?;
        let incarnation = self.u64()?;
        let ip = match self.u8()? {
            4 => IpAddr::from(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::from(Ipv6Addr::from(self.array::<16>()?)),
            _ => return Err(EnvelopeError::Identity),
        };
        let port = self.u16()?;
        if port == 0 || ip.is_unspecified() {
            return Err(EnvelopeError::Identity);
        }
        Ok(Process { id, incarnation, address: SocketAddr::new(ip, port) })
    }
}

/// Parses a Node Id in the one spelling that nodes use, so that no node can appear twice.
pub(super) fn node_id(text: &str) -> Option<NodeId> {
    let has_capitals = text.bytes().any(|byte| byte.is_ascii_uppercase());
    if has_capitals { None } else { text.parse().ok() }
}
