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
/// Every key that nodes advertise. `x0` names forgotten nodes; the other three are free: a later version may use them,
/// and this one lets them pass.
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

#[cfg(test)]
pub(super) mod tests {
    use chitchat::{ChitchatMessage, Deserializable};
    use proptest::prelude::*;

    use super::*;
    use crate::net::clock;

    const ME: u128 = 1;
    const PEER: u128 = 2;
    const SYN: u8 = 0;
    pub(in crate::cluster) const SYN_ACK: u8 = 1;
    pub(in crate::cluster) const ACK: u8 = 2;
    const OWN_VERSION: u64 = 5;

    fn inspector() -> Inspector {
        let own_version = Arc::new(AtomicU64::new(OWN_VERSION));
        Inspector::new(NodeId::new(ME), 1, "flock".to_owned(), own_version, Duration::from_secs(60))
    }

    fn inspect(inspector: &mut Inspector, message: &[u8]) -> Result<Option<SocketAddr>, EnvelopeError> {
        inspector.inspect(clock::now(), NodeId::new(PEER), 1, message)
    }

    #[track_caller]
    fn check(message: &[u8], expected: Result<Option<SocketAddr>, EnvelopeError>) {
        assert_eq!(inspect(&mut inspector(), message), expected);
        if expected.is_ok() {
            // The tests know the format as well as the crate does.
            ChitchatMessage::deserialize(&mut &message[..]).unwrap();
        }
    }

    pub(in crate::cluster) fn envelope(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0x53, 0xb0, 0, kind];
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
    }

    fn process(id: u128, incarnation: u64) -> Vec<u8> {
        let mut bytes = text(&format!("{id:032x}"));
        bytes.extend_from_slice(&incarnation.to_le_bytes());
        bytes.extend_from_slice(&[4, 127, 0, 0, 1, 1, 2]);
        bytes
    }

    fn numbers(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    pub(in crate::cluster) fn digest(ids: &[u128]) -> Vec<u8> {
        let mut bytes = (ids.len() as u16).to_le_bytes().to_vec();
        for &id in ids {
            bytes.extend(process(id, 1));
            bytes.extend(numbers(&[9, 0, 3]));
        }
        bytes
    }

    fn peer_digest() -> Vec<u8> {
        digest(&[PEER])
    }

    pub(in crate::cluster) fn node(id: u128) -> Vec<u8> {
        [vec![0], process(id, 1), numbers(&[0, 0])].concat()
    }

    pub(in crate::cluster) fn key_value(key: &str, value: &str, version: u64) -> Vec<u8> {
        [vec![1], text(key), text(value), numbers(&[version]), vec![0]].concat()
    }

    pub(in crate::cluster) fn set_max_version(version: u64) -> Vec<u8> {
        [vec![2], numbers(&[version])].concat()
    }

    pub(in crate::cluster) fn delta(ops: &[Vec<u8>]) -> Vec<u8> {
        let bytes = ops.concat();
        [vec![2], (bytes.len() as u16).to_le_bytes().to_vec(), bytes, vec![0]].concat()
    }

    fn compressed_block(bytes: &[u8]) -> Vec<u8> {
        let compressed = zstd::bulk::compress(bytes, 0).unwrap();
        [vec![1], (compressed.len() as u16).to_le_bytes().to_vec(), compressed].concat()
    }

    fn ack(ops: &[Vec<u8>]) -> Vec<u8> {
        envelope(ACK, &[&delta(ops)])
    }

    #[test]
    fn what_nodes_say_to_each_other_passes() {
        let address = Some(SocketAddr::from(([127, 0, 0, 1], 0x201)));
        check(&envelope(SYN, &[&digest(&[ME, PEER]), &text("flock")]), Ok(address));
        let ops =
            [node(PEER), key_value("name", "n", 1), key_value("d0", "", 3), node(3), set_max_version(2)];
        check(&envelope(SYN_ACK, &[&peer_digest(), &delta(&ops)]), Ok(address));
        check(&ack(&ops), Ok(None));
        let compressed = [compressed_block(&ops.concat()), vec![0]].concat();
        check(&envelope(ACK, &[&compressed]), Ok(None));
        check(&envelope(ACK, &[&[0]]), Ok(None));
    }

    #[test]
    fn another_format_is_refused() {
        check(b"", Err(EnvelopeError::Truncated));
        check(&[0, 0, 0, ACK, 0], Err(EnvelopeError::Format));
        check(&[0x53, 0xb0, 1, ACK, 0], Err(EnvelopeError::Format));
        check(&envelope(3, &[]), Err(EnvelopeError::Format));
        check(&envelope(ACK, &[&[0, 0]]), Err(EnvelopeError::Trailing));
        check(&envelope(SYN, &[&peer_digest(), &text("flock2")]), Err(EnvelopeError::Cluster));
    }

    #[test]
    fn a_truncated_message_is_refused_at_every_length() {
        let ops = [node(PEER), key_value("name", "n", 1)];
        let whole = envelope(SYN_ACK, &[&peer_digest(), &delta(&ops)]);
        for len in 0..whole.len() {
            assert!(inspect(&mut inspector(), &whole[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn processes_are_named_in_one_way() {
        let entry = |name: &str, address: &[u8]| {
            [vec![1, 0], text(name), numbers(&[1]), address.to_vec(), numbers(&[9, 0, 3])].concat()
        };
        let id = format!("{PEER:032x}");
        let v4 = [4, 127, 0, 0, 1, 1, 2];
        for (entry, expected) in [
            (entry("node1", &v4), EnvelopeError::Identity),
            (entry("", &v4), EnvelopeError::Identity),
            (entry(&format!("{:032X}", 0xabc), &v4), EnvelopeError::Identity),
            (entry(&id, &[5, 127, 0, 0, 1, 1, 2]), EnvelopeError::Identity),
            (entry(&id, &[4, 127, 0, 0, 1, 0, 0]), EnvelopeError::Identity),
            (entry(&id, &[4, 0, 0, 0, 0, 1, 2]), EnvelopeError::Identity),
            (digest(&[3]), EnvelopeError::SenderMissing),
        ] {
            check(&envelope(SYN, &[&entry, &text("flock")]), Err(expected));
        }
    }

    #[test]
    fn counts_stay_where_nothing_can_overflow() {
        for counts in [[u64::MAX, 0, 3], [9, 1, 3], [9, 0, u64::MAX]] {
            let digest = [vec![1, 0], process(PEER, 1), numbers(&counts)].concat();
            check(&envelope(SYN, &[&digest, &text("flock")]), Err(EnvelopeError::Count));
        }
        check(&ack(&[node(3), key_value("name", "n", u64::MAX)]), Err(EnvelopeError::Count));
        check(&ack(&[node(3), set_max_version(u64::MAX)]), Err(EnvelopeError::Count));
        check(&ack(&[node(3), key_value("name", "n", 0)]), Err(EnvelopeError::Count));
        check(
            &ack(&[node(3), key_value("name", "n", 2), key_value("mesh", "n", 2)]),
            Err(EnvelopeError::Count),
        );
        // The order in which chitchat 0.11.2 asserts.
        check(&ack(&[node(3), key_value("name", "n", 2), set_max_version(1)]), Err(EnvelopeError::Count));
        let mut deleted = key_value("name", "n", 2);
        *deleted.last_mut().unwrap() = 1;
        check(&ack(&[node(3), deleted]), Err(EnvelopeError::Count));
        let collected = [vec![0], process(3, 1), numbers(&[1, 0])].concat();
        check(&ack(&[collected]), Err(EnvelopeError::Count));
    }

    #[test]
    fn keys_are_known_and_values_short() {
        for key in ["", "é", "nam", "Name", "d4"] {
            check(&ack(&[node(3), key_value(key, "v", 1)]), Err(EnvelopeError::KeyValue));
        }
        let longest = "v".repeat(VALUE_BYTES_MAX);
        check(&ack(&[node(3), key_value("x3", &longest, 1)]), Ok(None));
        check(&ack(&[node(3), key_value("rt", &format!("{longest}v"), 1)]), Err(EnvelopeError::KeyValue));
        check(&ack(&[key_value("name", "v", 1)]), Err(EnvelopeError::Delta));
    }

    #[test]
    fn nobody_knows_more_of_a_node_than_itself() {
        check(&ack(&[node(ME), key_value("name", "n", OWN_VERSION)]), Ok(None));
        check(&ack(&[node(ME), key_value("name", "n", OWN_VERSION + 1)]), Err(EnvelopeError::OwnState));
        check(&ack(&[node(ME), set_max_version(OWN_VERSION + 1)]), Err(EnvelopeError::OwnState));
    }

    #[test]
    fn nodes_are_counted_over_all_messages() {
        let (mut inspector, now) = (inspector(), clock::now());
        let mut say = |now, ids: Vec<u128>| {
            let message = envelope(SYN, &[&digest(&ids), &text("flock")]);
            inspector.inspect(now, NodeId::new(PEER), 1, &message).map(|_| ())
        };
        let first: Vec<u128> = (PEER..PEER + 500).collect();
        assert_eq!(say(now, first.clone()), Ok(()));
        assert_eq!(say(now, first), Ok(()), "no new ones");
        let more: Vec<u128> = std::iter::once(PEER).chain(10_000..10_000 + 100).collect();
        assert_eq!(say(now, more.clone()), Err(EnvelopeError::TooManyNodes));
        assert_eq!(say(now, vec![PEER]), Ok(()), "those who are known still count");
        let later = now + Duration::from_secs(61);
        assert_eq!(say(later, more), Ok(()), "the silent ones are forgotten");
        let too_many: Vec<u128> = (PEER..=PEER + NODES_MAX as u128).collect();
        assert_eq!(say(later, too_many), Err(EnvelopeError::TooManyNodes));
    }

    #[test]
    fn a_small_message_cannot_become_a_large_one() {
        let full = vec![0; BLOCK_BYTES_MAX + 1];
        let bomb = [compressed_block(&full), vec![0]].concat();
        check(&envelope(ACK, &[&bomb]), Err(EnvelopeError::Delta));
        let many = compressed_block(&full[1..]).repeat(2_000);
        assert!(many.len() < 65_507);
        check(&envelope(ACK, &[&many, &[0]]), Err(EnvelopeError::Delta));
        check(&envelope(ACK, &[&[2, 0, 0].repeat(20_000), &[0]]), Err(EnvelopeError::Delta));
        check(&envelope(ACK, &[&[1, 3, 0, 1, 2, 3, 0]]), Err(EnvelopeError::Delta));
        check(&envelope(ACK, &[&[7, 0, 0, 0]]), Err(EnvelopeError::Delta));
    }

    proptest! {
        /// Whatever passes, chitchat deserializes or refuses without a panic.
        #[test]
        fn arbitrary_messages_do_not_panic(kind in 0..4u8, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let message = envelope(kind, &[&bytes]);
            if inspect(&mut inspector(), &message).is_ok() {
                let _ = ChitchatMessage::deserialize(&mut message.as_slice());
            }
        }

        /// The same for messages that were right before some bytes changed.
        #[test]
        fn mutated_messages_do_not_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)) {
            let ops = [node(PEER), key_value("name", "n", 1), key_value("d0", "", 3), node(3), set_max_version(2)];
            let mut message = envelope(SYN_ACK, &[&peer_digest(), &delta(&ops)]);
            for (index, byte) in changes {
                let index = index.index(message.len());
                message[index] = byte;
            }
            if inspect(&mut inspector(), &message).is_ok() {
                let _ = ChitchatMessage::deserialize(&mut message.as_slice());
            }
        }
    }
}
