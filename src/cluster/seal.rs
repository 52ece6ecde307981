//! Sealed gossip datagrams: who may speak, and what one datagram may look like. Sans-io.
//!
//! A message is cut into fragments that each fit one unfragmented IP packet; every fragment is encrypted and
//! authenticated with the cluster's key (XChaCha20-Poly1305), its header being the associated data:
//!
//! ```text
//!  0  magic "FLK", version 1            4 bytes
//!  4  sender's Node Id, big-endian     16
//! 20  sender's incarnation             8
//! 28  nonce: boot, then the counter    16 + 8
//! 52  fragment index, fragment count   1 + 1
//! 54  ciphertext, then the tag         n + 16
//! ```
//!
//! Nonces never repeat although all nodes share one key: `boot` is 16 random bytes that a process draws once,
//! and `counter` grows by one with each fragment. Two processes would have to draw the same 128 bits, so
//! nothing hangs on incarnations being unique: a copied data directory or a restored disk image is safe.
//! The first fragment's counter also names the message that its siblings belong to.
//!
//! The key is shared, so it proves membership, not identity: who knows the secret can speak as any node.

use std::fmt;
use std::time::Instant;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;

use super::fragments::Partials;
use super::node_id::NodeId;
use super::replay::{Replays, WINDOW};

/// A 256-bit key that only the nodes of one cluster can derive. Shows nothing of itself in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// Derives the key for one `purpose` ("gossip", "mesh") from the cluster's shared secret: HKDF-SHA256.
    ///
    /// The cluster name is part of it, so that clusters that share a secret stay strangers. The secret should
    /// be long and random: a short one can be guessed offline by whoever records a datagram.
    #[must_use]
    pub fn derive(cluster_name: &str, secret: &[u8], purpose: &str) -> Self {
        let mut info = Vec::with_capacity(32 + purpose.len() + cluster_name.len());
        info.extend_from_slice(b"key 1");
        // Length first: no two pairs of purpose and name may run together to the same bytes.
        info.extend_from_slice(&(purpose.len() as u64).to_be_bytes());
        info.extend_from_slice(purpose.as_bytes());
        info.extend_from_slice(cluster_name.as_bytes());
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(b"flockmq"), secret)
            .expand(&info, &mut key)
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        Self(key)
    }

    /// The key itself, for the cipher that it is meant for.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

const MAGIC: [u8; 3] = *b"FLK";
const VERSION: u8 = 1;
const SENDER: usize = 4;
const INCARNATION: usize = 20;
const NONCE: usize = 28;
const COUNTER: usize = 44;
const FRAGMENT: usize = 52;
const HEADER_BYTES: usize = 54;
const TAG_BYTES: usize = 16;

/// Largest datagram: what any path carries in one packet, by the experience of QUIC [RFC 9000, 14].
pub const DATAGRAM_BYTES_MAX: usize = 1_200;
/// Part of a message that one datagram carries.
pub(super) const FRAGMENT_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - TAG_BYTES;
/// Largest message. Chitchat fills up to 65,507 bytes, and its bound is exact only to a few bytes.
pub const MESSAGE_BYTES_MAX: usize = 66_000;
/// Fragments of the largest message.
pub(super) const FRAGMENTS_MAX: usize = MESSAGE_BYTES_MAX.div_ceil(FRAGMENT_BYTES_MAX);

// What belongs to one message must not fall out of the replay window while it comes in any order.
const _: () = assert!(4 * FRAGMENTS_MAX <= WINDOW as usize);

/// Why a datagram was refused. Nothing is ever answered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Shorter than a header or longer than a datagram may be.
    #[error("size out of bounds")]
    Size,
    /// One of ours by its first bytes, but of another format version.
    #[error("unknown version")]
    Version,
    /// Not sealed with this cluster's key, or altered on the way.
    #[error("not sealed with the cluster's key")]
    Unsealed,
    /// Seen before, or too old to tell.
    #[error("replayed")]
    Replay,
    /// From an earlier start of a node that has started again since.
    #[error("from an older incarnation")]
    OldIncarnation,
    /// Two processes speak with the same Node Id and incarnation.
    #[error("two processes use one node id")]
    Twin,
    /// A fragment that does not fit to its siblings.
    #[error("inconsistent fragment")]
    Fragment,
}

/// What an accepted datagram gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// A complete message.
    Message {
        /// Who sealed it.
        sender: NodeId,
        /// The sender's incarnation.
        incarnation: u64,
        /// Its bytes.
        message: Vec<u8>,
    },
    /// One fragment of a message whose other fragments are missing so far.
    Partial,
    /// This process sent it: its own address is among the seeds.
    Own,
}

/// Seals messages of one process.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    header: [u8; HEADER_BYTES],
    counter: u64,
}

impl Sealer {
    /// `boot` must be drawn anew, at random, by each process.
    #[must_use]
    pub fn new(key: &Key, sender: NodeId, incarnation: u64, boot: [u8; 16]) -> Self {
        let mut header = [0; HEADER_BYTES];
        header[..3].copy_from_slice(&MAGIC);
        header[3] = VERSION;
        header[SENDER..INCARNATION].copy_from_slice(&sender.as_u128().to_be_bytes());
        header[INCARNATION..NONCE].copy_from_slice(&incarnation.to_be_bytes());
        header[NONCE..COUNTER].copy_from_slice(&boot);
        Self { cipher: XChaCha20Poly1305::new(key.bytes().into()), header, counter: 0 }
    }

    /// Cuts `message` into sealed datagrams; `None` when it is longer than [`MESSAGE_BYTES_MAX`].
    #[must_use]
    pub fn seal(&mut self, message: &[u8]) -> Option<Vec<Vec<u8>>> {
        if message.len() > MESSAGE_BYTES_MAX {
            return None;
        }
        let count = message.len().div_ceil(FRAGMENT_BYTES_MAX).max(1);
        let mut datagrams = Vec::with_capacity(count);
        for index in 0..count {
            let start = index * FRAGMENT_BYTES_MAX;
            let end = message.len().min(start + FRAGMENT_BYTES_MAX);
            datagrams.push(self.seal_fragment(index, count, &message[start..end]));
        }
        Some(datagrams)
    }

    fn seal_fragment(&mut self, index: usize, count: usize, fragment: &[u8]) -> Vec<u8> {
        self.counter += 1;
        self.header[COUNTER..FRAGMENT].copy_from_slice(&self.counter.to_be_bytes());
        // Both fit: the count is at most FRAGMENTS_MAX.
        self.header[FRAGMENT] = index as u8;
        self.header[FRAGMENT + 1] = count as u8;
        let mut datagram = Vec::with_capacity(HEADER_BYTES + fragment.len() + TAG_BYTES);
        datagram.extend_from_slice(&self.header);
        datagram.extend_from_slice(fragment);
        let nonce = XNonce::from_slice(&self.header[NONCE..FRAGMENT]);
        let tag = self
            .cipher
            .encrypt_in_place_detached(nonce, &self.header, &mut datagram[HEADER_BYTES..])
            .expect("a fragment is far below the cipher's limit of 256 GiB");
        datagram.extend_from_slice(&tag);
        datagram
    }
}

/// Opens sealed datagrams: authenticates, drops replays, puts fragments together.
pub struct Opener {
    cipher: XChaCha20Poly1305,
    me: NodeId,
    boot: [u8; 16],
    replays: Replays,
    partials: Partials,
}

/// The authenticated header of a datagram.
pub(super) struct Header {
    pub(super) sender: NodeId,
    pub(super) incarnation: u64,
    pub(super) boot: [u8; 16],
    pub(super) counter: u64,
    pub(super) index: u8,
    pub(super) count: u8,
}

impl Header {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        Self {
            sender: NodeId::new(u128::from_be_bytes(array(&bytes[SENDER..INCARNATION]))),
            incarnation: u64::from_be_bytes(array(&bytes[INCARNATION..NONCE])),
            boot: array(&bytes[NONCE..COUNTER]),
            counter: u64::from_be_bytes(array(&bytes[COUNTER..FRAGMENT])),
            index: bytes[FRAGMENT],
            count: bytes[FRAGMENT + 1],
        }
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the ranges of the header are as wide as its fields")
}

impl Opener {
    /// `me` and `boot` are this process's own, so that it knows its own voice.
    #[must_use]
    pub fn new(key: &Key, me: NodeId, boot: [u8; 16]) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(key.bytes().into()),
            me,
            boot,
            replays: Replays::default(),
            partials: Partials::default(),
        }
    }

    /// Takes one datagram, which is decrypted in place.
    ///
    /// # Errors
    /// Says why the datagram was refused; nothing was remembered of it unless it was authentic.
    pub fn open(&mut self, now: Instant, datagram: &mut [u8]) -> Result<Opened, Refused> {
        let (header, fragment) = self.authenticate(datagram)?;
        if header.sender == self.me {
            return if header.boot == self.boot { Ok(Opened::Own) } else { Err(Refused::Twin) };
        }
        self.replays.check(now, &header)?;
        let is_whole = header.count == 1 && header.index == 0;
        let message =
            if is_whole { Some(fragment.to_vec()) } else { self.partials.add(now, &header, fragment)? };
        Ok(message.map_or(Opened::Partial, |message| Opened::Message {
            sender: header.sender,
            incarnation: header.incarnation,
            message,
        }))
    }

    /// Messages given up because a fragment never came, since the last call.
    pub fn take_partials_lost(&mut self) -> u64 {
        self.partials.take_lost()
    }

    fn authenticate<'d>(&self, datagram: &'d mut [u8]) -> Result<(Header, &'d [u8]), Refused> {
        if !(HEADER_BYTES + TAG_BYTES..=DATAGRAM_BYTES_MAX).contains(&datagram.len()) {
            return Err(Refused::Size);
        }
        let (header, body) = datagram.split_first_chunk_mut::<HEADER_BYTES>().ok_or(Refused::Size)?;
        let (body, tag) = body.split_last_chunk_mut::<TAG_BYTES>().ok_or(Refused::Size)?;
        if header[..3] != MAGIC {
            return Err(Refused::Unsealed);
        }
        if header[3] != VERSION {
            return Err(Refused::Version);
        }
        let nonce = XNonce::from_slice(&header[NONCE..FRAGMENT]);
        self.cipher
            .decrypt_in_place_detached(nonce, &header[..], body, Tag::from_slice(tag))
            .map_err(|_| Refused::Unsealed)?;
        Ok((Header::parse(header), body))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::clock;

    const SENDER_ID: NodeId = NodeId::new(0xa);
    const RECEIVER_ID: NodeId = NodeId::new(0xb);

    fn key() -> Key {
        Key::derive("flock", b"secret", "gossip")
    }

    fn sealer() -> Sealer {
        Sealer::new(&key(), SENDER_ID, 7, [1; 16])
    }

    fn opener() -> Opener {
        Opener::new(&key(), RECEIVER_ID, [2; 16])
    }

    fn open(opener: &mut Opener, datagram: &[u8]) -> Result<Opened, Refused> {
        opener.open(clock::now(), &mut datagram.to_vec())
    }

    fn message(bytes: &[u8]) -> Opened {
        Opened::Message { sender: SENDER_ID, incarnation: 7, message: bytes.to_vec() }
    }

    #[test]
    fn messages_of_every_size_arrive_in_datagrams_of_bounded_size() {
        for len in [
            0,
            1,
            FRAGMENT_BYTES_MAX,
            FRAGMENT_BYTES_MAX + 1,
            2 * FRAGMENT_BYTES_MAX,
            65_507,
            MESSAGE_BYTES_MAX,
        ] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let datagrams = sealer().seal(&bytes).unwrap();
            let mut opener = opener();
            let (last, first) = datagrams.split_last().unwrap();
            for datagram in first {
                assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
                assert_eq!(open(&mut opener, datagram), Ok(Opened::Partial), "{len} bytes");
            }
            assert_eq!(open(&mut opener, last), Ok(message(&bytes)), "{len} bytes");
        }
        assert_eq!(sealer().seal(&vec![0; MESSAGE_BYTES_MAX + 1]), None);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let mut opener = opener();
        let datagram = sealer().seal(b"a message").unwrap().remove(0);
        for bit in 0..datagram.len() * 8 {
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit / 8 == 3 { Refused::Version } else { Refused::Unsealed };
            assert_eq!(open(&mut opener, &flipped), Err(expected), "bit {bit}");
        }
        assert_eq!(open(&mut opener, &datagram), Ok(message(b"a message")), "nothing was remembered");
    }

    #[test]
    fn only_whole_datagrams_of_bounded_size_are_looked_at() {
        let datagram = sealer().seal(b"a message").unwrap().remove(0);
        for len in 0..datagram.len() {
            let expected = if len < HEADER_BYTES + TAG_BYTES { Refused::Size } else { Refused::Unsealed };
            assert_eq!(open(&mut opener(), &datagram[..len]), Err(expected), "{len} bytes");
        }
        let mut longer = datagram;
        longer.push(0);
        assert_eq!(open(&mut opener(), &longer), Err(Refused::Unsealed));
        longer.resize(DATAGRAM_BYTES_MAX + 1, 0);
        assert_eq!(open(&mut opener(), &longer), Err(Refused::Size));
    }

    #[test]
    fn a_key_fits_one_secret_one_cluster_and_one_purpose() {
        let keys = [
            key(),
            Key::derive("flock", b"secret2", "gossip"),
            Key::derive("flock2", b"secret", "gossip"),
            Key::derive("flock", b"secret", "mesh"),
            // Text that moves from the name into the purpose or the other way.
            Key::derive("pflock", b"secret", "gossi"),
            Key::derive("flock", b"secret\0", "gossip"),
            Key::derive("flock\0", b"secret", "gossip"),
        ];
        for (n, sealing) in keys.iter().enumerate() {
            let datagram = Sealer::new(sealing, SENDER_ID, 7, [1; 16]).seal(b"x").unwrap().remove(0);
            for (m, opening) in keys.iter().enumerate() {
                let result = open(&mut Opener::new(opening, RECEIVER_ID, [2; 16]), &datagram);
                let expected = if n == m { Ok(message(b"x")) } else { Err(Refused::Unsealed) };
                assert_eq!(result, expected, "sealed with key {n}, opened with key {m}");
            }
        }
        assert_eq!(format!("{:?}", key()), "Key(..)");
    }

    #[test]
    fn a_datagram_counts_once() {
        let (mut sealer, mut opener) = (sealer(), opener());
        let first = sealer.seal(b"first").unwrap().remove(0);
        let second = sealer.seal(b"second").unwrap().remove(0);
        assert_eq!(open(&mut opener, &second), Ok(message(b"second")));
        assert_eq!(open(&mut opener, &first), Ok(message(b"first")), "overtaken, not replayed");
        assert_eq!(open(&mut opener, &first), Err(Refused::Replay));
        assert_eq!(open(&mut opener, &second), Err(Refused::Replay));
    }

    #[test]
    fn a_fragment_counts_once() {
        let mut opener = opener();
        let datagrams = sealer().seal(&[1; 3 * FRAGMENT_BYTES_MAX]).unwrap();
        assert_eq!(open(&mut opener, &datagrams[1]), Ok(Opened::Partial));
        assert_eq!(open(&mut opener, &datagrams[1]), Err(Refused::Replay));
    }

    #[test]
    fn an_earlier_start_of_a_node_is_silenced_by_its_next() {
        let mut opener = opener();
        let mut old = Sealer::new(&key(), SENDER_ID, 6, [3; 16]);
        let recorded = old.seal(b"old").unwrap().remove(0);
        let new = sealer().seal(b"new").unwrap().remove(0);
        assert_eq!(open(&mut opener, &new), Ok(message(b"new")));
        assert_eq!(open(&mut opener, &recorded), Err(Refused::OldIncarnation));
    }

    #[test]
    fn a_process_knows_its_own_voice_and_that_of_a_twin() {
        let mut own = Sealer::new(&key(), RECEIVER_ID, 7, [2; 16]);
        let mut twin = Sealer::new(&key(), RECEIVER_ID, 8, [3; 16]);
        assert_eq!(open(&mut opener(), &own.seal(b"x").unwrap()[0]), Ok(Opened::Own));
        assert_eq!(open(&mut opener(), &twin.seal(b"x").unwrap()[0]), Err(Refused::Twin));
    }

    #[test]
    fn no_two_datagrams_share_a_nonce() {
        let (mut one, mut other) = (sealer(), Sealer::new(&key(), SENDER_ID, 7, [9; 16]));
        let mut nonces = std::collections::HashSet::new();
        for sealer in [&mut one, &mut other] {
            for len in [0, 10, 3 * FRAGMENT_BYTES_MAX] {
                for datagram in sealer.seal(&vec![0; len]).unwrap() {
                    assert!(nonces.insert(datagram[NONCE..FRAGMENT].to_vec()));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..1_400)) {
            prop_assert!(open(&mut opener(), &bytes).is_err());
        }

        /// The same behind a header that looks like ours.
        #[test]
        fn arbitrary_bodies_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..1_200)) {
            let mut datagram = sealer().seal(b"").unwrap().remove(0);
            datagram.truncate(HEADER_BYTES);
            datagram.extend_from_slice(&bytes);
            prop_assert!(open(&mut opener(), &datagram).is_err());
        }
    }
}
