//! The opening of a mesh connection: preambles, then Noise with the cluster's key, then one proof record.
//!
//! `docs/mesh-protocol.md`, "Link handshake", has it byte by byte. Whoever does not hold the secret gets at
//! most a version range for an answer, and learns from it neither names nor ids nor routes.

use std::io;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use snow::{Builder, HandshakeState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::channel::{Opener, Sealer, channel};
use crate::cluster::node_id::NodeId;

/// The protocol versions that this node speaks.
pub(super) const VERSIONS: RangeInclusive<u8> = 1..=1;
/// The longest node name on the wire; a longer one is cut.
pub(super) const NAME_BYTES_MAX: usize = 128;

/// The feature bit of whoever understands the control frame `Forgotten`.
pub(super) const FEATURE_FORGOTTEN: u64 = 1;
/// What this node is able to do beyond the first release of the protocol.
pub(in crate::cluster) const FEATURES: u64 = FEATURE_FORGOTTEN;

const MAGIC: [u8; 4] = *b"FLKM";
const PREAMBLE_BYTES: usize = 16;
const NOISE: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// Room for a Noise handshake message: 32 bytes of key, 16 of tag, and the hello.
const MESSAGE_BYTES_MAX: usize = 512;
/// The longest opening that the dialer's first record may carry.
const OPENING_BYTES_MAX: usize = 64;
/// What the record around it adds: length and tag.
const RECORD_OVERHEAD_BYTES: usize = 18;

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    /// Route changes, pings, pulls, and their answers.
    Control = 1,
    /// Publishes and their acknowledgements.
    Data = 2,
}

/// Who is at one end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Hello {
    pub(in crate::cluster) node: NodeId,
    pub(in crate::cluster) incarnation: u64,
    pub(in crate::cluster) name: String,
    /// Optional abilities, one bit each; see [`FEATURES`].
    pub(in crate::cluster) features: u64,
}

/// The hello on the wire. Newer versions append fields; readers ignore what follows the ones they know.
#[derive(Serialize, Deserialize)]
struct WireHello<'a> {
    node: [u8; 16],
    incarnation: u64,
    name: &'a str,
    features: u64,
}

/// What both ends of a handshake bring.
#[derive(Clone)]
pub(in crate::cluster) struct Credentials {
    pub(in crate::cluster) cluster_hash: [u8; 8],
    pub(in crate::cluster) key: [u8; 32],
    pub(in crate::cluster) hello: Hello,
}

/// A connection whose ends have proven themselves to each other.
pub(super) struct Opened {
    pub(super) kind: StreamKind,
    pub(super) peer: Hello,
    /// What the dialer said first; its meaning is the stream's.
    pub(super) opening: Vec<u8>,
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The peer closed instead of answering the preamble.
    #[error("the peer closed the connection: another cluster name, or it is busy or stopping")]
    Refused,
    /// The peer closed instead of answering the first Noise message.
    #[error("the peer closed the connection on our proof: probably another secret")]
    ProofRefused,
    /// What arrived is not this protocol.
    #[error("not a FlockMQ mesh connection")]
    Preamble,
    /// No protocol version is common to both.
    #[error("no common protocol version: ours {VERSIONS:?}, theirs {theirs:?}")]
    Version {
        /// What the peer speaks.
        theirs: RangeInclusive<u8>,
    },
    /// The peer belongs to a cluster of another name.
    #[error("the peer's cluster has another name")]
    Cluster,
    /// The peer does not hold the same secret, or somebody altered bytes on the way.
    #[error("the peer did not prove the cluster secret")]
    Proof,
    /// The proof is good, but the hello is not one.
    #[error("the peer's hello is malformed")]
    Hello,
    /// The connection leads back to this node.
    #[error("the address leads back to this node")]
    OwnNode,
}

impl HandshakeError {
    /// The word under which the failure is counted; `None` for an ordinary broken connection.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Io(_) | Self::Refused | Self::ProofRefused => None,
            Self::Preamble => Some("mesh_preamble"),
            Self::Version { .. } => Some("mesh_version"),
            Self::Cluster => Some("mesh_cluster"),
            Self::Proof => Some("mesh_proof"),
            Self::Hello => Some("mesh_hello"),
            Self::OwnNode => Some("mesh_self"),
        }
    }
}

/// What stands in the preamble for the cluster's name: enough for a helpful error, no name for a listener.
pub(in crate::cluster) fn cluster_hash(name: &str) -> [u8; 8] {
    let mut hasher = Sha256::new();
    hasher.update(b"flockmq mesh cluster name\0");
    hasher.update(name.as_bytes());
    let mut hash = [0; 8];
    hash.copy_from_slice(&hasher.finalize()[..8]);
    hash
}

/// Opens a connection that this node dialed. `opening` is handed to the other end with the proof.
///
/// # Errors
/// Says what kept the two ends from each other. The caller sets the deadline.
pub(super) async fn dial(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    kind: StreamKind,
    own: &Credentials,
    opening: &[u8],
) -> Result<Opened, HandshakeError> {
    assert!(opening.len() <= OPENING_BYTES_MAX, "an opening of {} bytes", opening.len());
    let (peer, noise) = meet(io, kind, own).await?;
    let (mut sealer, opener) = transport(noise)?;
    let mut proof = Vec::with_capacity(RECORD_OVERHEAD_BYTES + opening.len());
    sealer.seal(opening, &mut proof);
    io.write_all(&proof).await?;
    Ok(Opened { kind, peer, opening: opening.to_vec(), sealer, opener })
}

/// Finds out who is at the other end and that it holds the secret, without proving the same to it: so it takes no notice.
///
/// # Errors
/// Says what kept the two ends from each other. The caller sets the deadline.
pub(super) async fn probe(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    own: &Credentials,
) -> Result<Hello, HandshakeError> {
    meet(io, StreamKind::Control, own).await.map(|(peer, _)| peer)
}

/// The dialer's part until the other end has proven itself.
async fn meet(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    kind: StreamKind,
    own: &Credentials,
) -> Result<(Hello, HandshakeState), HandshakeError> {
    let sent = preamble(kind, own.cluster_hash);
    io.write_all(&sent).await?;
    let mut received = [0; PREAMBLE_BYTES];
    io.read_exact(&mut received).await.map_err(|error| closed_as(error, HandshakeError::Refused))?;
    if check_preamble(&received, own.cluster_hash)? != kind {
        return Err(HandshakeError::Preamble);
    }

    let mut noise = noise(Side::Dialer, &own.key, &sent, &received)?;
    write_message(io, &mut noise, &own.hello).await?;
    let peer = match read_message(io, &mut noise).await {
        Err(HandshakeError::Io(error)) => return Err(closed_as(error, HandshakeError::ProofRefused)),
        other => other?,
    };
    if peer.node == own.hello.node {
        return Err(HandshakeError::OwnNode);
    }
    Ok((peer, noise))
}

/// A peer that closed says something by where it did.
fn closed_as(error: io::Error, meaning: HandshakeError) -> HandshakeError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => meaning,
        _ => HandshakeError::Io(error),
    }
}

/// Opens a connection that this node accepted.
///
/// The first Noise message alone proves nothing, since it may be a recording; the record that follows
/// the answer does, and nothing about the peer is believed before it.
///
/// # Errors
/// Says what kept the two ends from each other. The caller sets the deadline.
pub(super) async fn accept(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    own: &Credentials,
) -> Result<Opened, HandshakeError> {
    let mut received = [0; PREAMBLE_BYTES];
    io.read_exact(&mut received).await?;
    let kind = match check_preamble(&received, own.cluster_hash) {
        Ok(kind) => kind,
        Err(error) => {
            // A node of a neighbouring release may know what it is missing; nobody else gets a byte.
            if matches!(error, HandshakeError::Version { .. }) {
                io.write_all(&preamble(StreamKind::Control, own.cluster_hash)).await?;
            }
            return Err(error);
        }
    };
    let sent = preamble(kind, own.cluster_hash);
    io.write_all(&sent).await?;

    let mut noise = noise(Side::Acceptor, &own.key, &received, &sent)?;
    let peer = read_message(io, &mut noise).await?;
    write_message(io, &mut noise, &own.hello).await?;
    let (sealer, mut opener) = transport(noise)?;
    if peer.node == own.hello.node {
        // The dialing side is this node too, or a recording was played back.
        return Err(HandshakeError::OwnNode);
    }
    let opening = read_proof(io, &mut opener).await?;
    Ok(Opened { kind, peer, opening, sealer, opener })
}

/// The dialer's first record: that it opens is the proof.
async fn read_proof(
    io: &mut (impl AsyncRead + Unpin),
    opener: &mut Opener,
) -> Result<Vec<u8>, HandshakeError> {
    let mut record = [0; RECORD_OVERHEAD_BYTES + OPENING_BYTES_MAX];
    let (length, rest) = record.split_at_mut(2);
    io.read_exact(length).await?;
    let sealed_len = usize::from(u16::from_be_bytes([length[0], length[1]]));
    io.read_exact(rest.get_mut(..sealed_len).ok_or(HandshakeError::Proof)?).await?;
    let mut opening = Vec::new();
    let record = &record[..2 + sealed_len];
    let taken = opener.open(record, &mut opening).map_err(|_| HandshakeError::Proof)?;
    if taken == record.len() { Ok(opening) } else { Err(HandshakeError::Proof) }
}

fn preamble(kind: StreamKind, cluster_hash: [u8; 8]) -> [u8; PREAMBLE_BYTES] {
    let mut bytes = [0; PREAMBLE_BYTES];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = *VERSIONS.start();
    bytes[5] = *VERSIONS.end();
    bytes[6] = kind as u8;
    bytes[8..].copy_from_slice(&cluster_hash);
    bytes
}

/// The kind of stream, when the other end is of this cluster and shares a version. The version is the
/// highest that both know; with one version there is nothing to hand on.
fn check_preamble(bytes: &[u8; PREAMBLE_BYTES], cluster_hash: [u8; 8]) -> Result<StreamKind, HandshakeError> {
    if bytes[..4] != MAGIC {
        return Err(HandshakeError::Preamble);
    }
    if bytes[8..] != cluster_hash {
        return Err(HandshakeError::Cluster);
    }
    let theirs = bytes[4]..=bytes[5];
    let common = theirs.start().max(VERSIONS.start())..=theirs.end().min(VERSIONS.end());
    if common.is_empty() {
        return Err(HandshakeError::Version { theirs });
    }
    match bytes[6] {
        1 => Ok(StreamKind::Control),
        2 => Ok(StreamKind::Data),
        _ => Err(HandshakeError::Preamble),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Dialer,
    Acceptor,
}

/// A Noise state bound to the key and to both preambles, so that nobody in between can change a version.
fn noise(
    side: Side,
    key: &[u8; 32],
    dialer_preamble: &[u8; PREAMBLE_BYTES],
    acceptor_preamble: &[u8; PREAMBLE_BYTES],
) -> Result<HandshakeState, HandshakeError> {
    let mut prologue = [0; 2 * PREAMBLE_BYTES];
    prologue[..PREAMBLE_BYTES].copy_from_slice(dialer_preamble);
    prologue[PREAMBLE_BYTES..].copy_from_slice(acceptor_preamble);
    let params = NOISE.parse().map_err(|_| HandshakeError::Proof)?;
    Builder::new(params)
        .psk(0, key)
        .and_then(|builder| builder.prologue(&prologue))
        .and_then(|builder| match side {
            Side::Dialer => builder.build_initiator(),
            Side::Acceptor => builder.build_responder(),
        })
        .map_err(|_| HandshakeError::Proof)
}

async fn write_message(
    io: &mut (impl AsyncWrite + Unpin),
    noise: &mut HandshakeState,
    hello: &Hello,
) -> Result<(), HandshakeError> {
    let wire = WireHello {
        node: hello.node.as_u128().to_be_bytes(),
        incarnation: hello.incarnation,
        name: cut(&hello.name, NAME_BYTES_MAX),
        features: hello.features,
    };
    let payload = postcard::to_stdvec(&wire).map_err(|_| HandshakeError::Hello)?;
    let mut message = [0; 2 + MESSAGE_BYTES_MAX];
    let len = noise.write_message(&payload, &mut message[2..]).map_err(|_| HandshakeError::Proof)?;
    message[..2].copy_from_slice(&u16::try_from(len).map_err(|_| HandshakeError::Hello)?.to_be_bytes());
    io.write_all(&message[..2 + len]).await?;
    Ok(())
}

async fn read_message(
    io: &mut (impl AsyncRead + Unpin),
    noise: &mut HandshakeState,
) -> Result<Hello, HandshakeError> {
    let mut message = [0; MESSAGE_BYTES_MAX];
    let len = usize::from(io.read_u16().await?);
    let message = message.get_mut(..len).ok_or(HandshakeError::Proof)?;
    io.read_exact(message).await?;
    let mut payload = [0; MESSAGE_BYTES_MAX];
    let len = noise.read_message(message, &mut payload).map_err(|_| HandshakeError::Proof)?;
    let (wire, _newer) =
        postcard::take_from_bytes::<WireHello<'_>>(&payload[..len]).map_err(|_| HandshakeError::Hello)?;
    if wire.name.len() > NAME_BYTES_MAX {
        return Err(HandshakeError::Hello);
    }
    Ok(Hello {
        node: NodeId::new(u128::from_be_bytes(wire.node)),
        incarnation: wire.incarnation,
        name: wire.name.to_owned(),
        features: wire.features,
    })
}

fn transport(noise: HandshakeState) -> Result<(Sealer, Opener), HandshakeError> {
    noise.into_stateless_transport_mode().map(channel).map_err(|_| HandshakeError::Proof)
}

/// The longest start of `text` that has at most `bytes_max` bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
