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

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;

use super::node_id::NodeId;

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
const FRAGMENT_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - TAG_BYTES;
/// Largest message. Chitchat fills up to 65,507 bytes, and its bound is exact only to a few bytes.
pub const MESSAGE_BYTES_MAX: usize = 66_000;
/// Fragments of the largest message.
const FRAGMENTS_MAX: usize = MESSAGE_BYTES_MAX.div_ceil(FRAGMENT_BYTES_MAX);
/// Senders whose counters are remembered; the longest silent one is forgotten first.
const SENDERS_MAX: usize = 1_024;
/// Messages that wait for missing fragments, together at most 4.3 MB and only from who knows the key.
const PARTIALS_MAX: usize = 64;
/// After this time a missing fragment will not come any more.
const PARTIAL_AGE_MAX: Duration = Duration::from_secs(5);

// The set of a message's fragments is kept in the bits of a u64, and none may outrun the replay window.
const _: () = assert!(FRAGMENTS_MAX <= 64 && 4 * FRAGMENTS_MAX <= WINDOW as usize);

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
    senders: HashMap<NodeId, Sender>,
    partials: VecDeque<Partial>,
    partials_lost: u64,
}

/// What is remembered of a sender; only an authenticated datagram makes one.
struct Sender {
    incarnation: u64,
    boot: [u8; 16],
    window: Window,
    last_seen: Instant,
}

/// A message that lacks fragments.
struct Partial {
    sender: NodeId,
    incarnation: u64,
    first_counter: u64,
    started: Instant,
    missing: u64,
    fragments: Vec<Vec<u8>>,
}

/// The authenticated header of a datagram.
struct Header {
    sender: NodeId,
    incarnation: u64,
    boot: [u8; 16],
    counter: u64,
    index: u8,
    count: u8,
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
            senders: HashMap::new(),
            partials: VecDeque::new(),
            partials_lost: 0,
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
        self.check_fresh(now, &header)?;
        if header.count == 1 && header.index == 0 {
            let message = fragment.to_vec();
            return Ok(Opened::Message { sender: header.sender, incarnation: header.incarnation, message });
        }
        self.add_fragment(now, &header, fragment)
    }

    /// Messages given up because a fragment never came, since the last call.
    pub fn take_partials_lost(&mut self) -> u64 {
        std::mem::take(&mut self.partials_lost)
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

    /// Each datagram counts once, and only those of a sender's newest start count at all.
    fn check_fresh(&mut self, now: Instant, header: &Header) -> Result<(), Refused> {
        if let Some(known) = self.senders.get_mut(&header.sender)
            && known.incarnation >= header.incarnation
        {
            if known.incarnation > header.incarnation {
                return Err(Refused::OldIncarnation);
            }
            if known.boot != header.boot {
                return Err(Refused::Twin);
            }
            known.last_seen = now;
            return if known.window.accept(header.counter) { Ok(()) } else { Err(Refused::Replay) };
        }
        self.make_room();
        let mut window = Window::default();
        window.accept(header.counter);
        let sender = Sender { incarnation: header.incarnation, boot: header.boot, window, last_seen: now };
        self.senders.insert(header.sender, sender);
        Ok(())
    }

    fn make_room(&mut self) {
        if self.senders.len() < SENDERS_MAX {
            return;
        }
        // Rare and O(senders). The Node Id decides between equals, so that the order of the map does not show.
        let longest_silent = self.senders.iter().min_by_key(|(id, sender)| (sender.last_seen, **id));
        if let Some((&id, _)) = longest_silent {
            self.senders.remove(&id);
        }
    }

    fn add_fragment(&mut self, now: Instant, header: &Header, fragment: &[u8]) -> Result<Opened, Refused> {
        let (index, count) = (usize::from(header.index), usize::from(header.count));
        let is_last = index + 1 == count;
        let fits = index < count
            && (2..=FRAGMENTS_MAX).contains(&count)
            && (is_last || fragment.len() == FRAGMENT_BYTES_MAX);
        let first_counter = header.counter.checked_sub(u64::from(header.index));
        let (true, Some(first_counter)) = (fits, first_counter) else {
            return Err(Refused::Fragment);
        };
        self.give_up_old_partials(now);
        let place = self.partials.iter().position(|partial| {
            partial.sender == header.sender
                && partial.incarnation == header.incarnation
                && partial.first_counter == first_counter
        });
        let mut partial = match place.and_then(|place| self.partials.remove(place)) {
            Some(partial) if partial.fragments.len() == count => partial,
            Some(_) => return Err(Refused::Fragment),
            None => Partial {
                sender: header.sender,
                incarnation: header.incarnation,
                first_counter,
                started: now,
                missing: u64::MAX >> (64 - count),
                fragments: vec![Vec::new(); count],
            },
        };
        // The replay window lets each counter pass once, so no fragment comes twice.
        partial.missing &= !(1 << index);
        partial.fragments[index] = fragment.to_vec();
        if partial.missing == 0 {
            let message = partial.fragments.concat();
            return Ok(Opened::Message { sender: header.sender, incarnation: header.incarnation, message });
        }
        if self.partials.len() == PARTIALS_MAX {
            self.partials.pop_front();
            self.partials_lost += 1;
        }
        self.partials.push_back(partial);
        Ok(Opened::Partial)
    }

    fn give_up_old_partials(&mut self, now: Instant) {
        let before = self.partials.len();
        self.partials.retain(|partial| now.saturating_duration_since(partial.started) < PARTIAL_AGE_MAX);
        self.partials_lost += (before - self.partials.len()) as u64;
    }
}

/// Counters kept behind the highest one: datagrams may overtake each other by this much, less one word.
const WINDOW: u64 = WORDS * 64;
const WORDS: u64 = 8;

/// Which counters of a sender were seen [RFC 6479]: a ring of bits that the highest counter moves along.
#[derive(Default)]
struct Window {
    highest: u64,
    seen: [u64; WORDS as usize],
}

impl Window {
    /// True the first time that a counter is given; false for what lies behind the window.
    fn accept(&mut self, counter: u64) -> bool {
        let word = counter / 64;
        if counter > self.highest {
            let current = self.highest / 64;
            for entered in (current + 1..=word).rev().take(WORDS as usize) {
                self.seen[(entered % WORDS) as usize] = 0;
            }
            self.highest = counter;
        } else if self.highest / 64 - word >= WORDS {
            return false;
        }
        let bits = &mut self.seen[(word % WORDS) as usize];
        let bit = 1 << (counter % 64);
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }
}
