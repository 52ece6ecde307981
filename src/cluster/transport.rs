//! Chitchat's network: sealed datagrams over one UDP socket. What is refused is counted, never answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tracing::{debug, warn};

use super::envelope::Inspector;
use super::seal::{DATAGRAM_BYTES_MAX, Opened, Opener, Refused, Sealer};
use crate::metrics::{Metrics, ReasonLabel};
use crate::net::clock;
use crate::net::mesh::UdpSocket;

/// At most one log line of a kind in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Pause after a receive error, so that a broken socket does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(50);
/// Receive errors in a row after which the socket counts as broken: about ten seconds of them.
const ERRORS_MAX: u32 = 200;

/// Why something that came by gossip was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The seal says no.
    Sealed(Refused),
    /// A message was given up because fragments of it never came.
    Incomplete,
    /// Sealed with our key, and yet nothing that a node of ours would send.
    Envelope,
    /// A value that a peer advertises does not parse.
    Value,
}

/// Every rejection, in the order of [`Rejection::place`].
const REASONS: [&str; 10] = [
    "gossip_size",
    "gossip_version",
    "gossip_unsealed",
    "gossip_replay",
    "gossip_old_incarnation",
    "gossip_twin",
    "gossip_fragment",
    "gossip_incomplete",
    "gossip_envelope",
    "gossip_value",
];

impl Rejection {
    fn place(self) -> usize {
        match self {
            Self::Sealed(Refused::Size) => 0,
            Self::Sealed(Refused::Version) => 1,
            Self::Sealed(Refused::Unsealed) => 2,
            Self::Sealed(Refused::Replay) => 3,
            Self::Sealed(Refused::OldIncarnation) => 4,
            Self::Sealed(Refused::Twin) => 5,
            Self::Sealed(Refused::Fragment) => 6,
            Self::Incomplete => 7,
            Self::Envelope => 8,
            Self::Value => 9,
        }
    }
}

/// Counts rejections and logs a few of them.
pub(super) struct Rejections {
    counters: [Counter; REASONS.len()],
    gates: Mutex<[LogGate; REASONS.len()]>,
}

impl Rejections {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let counters =
            REASONS.map(|reason| metrics.cluster_rejected.get_or_create(&ReasonLabel { reason }).clone());
        Self { counters, gates: Mutex::default() }
    }

    /// Counts one rejection; `source` and `detail` are for the log only.
    pub(super) fn count(&self, rejection: Rejection, source: impl std::fmt::Display, detail: &str) {
        let place = rejection.place();
        self.counters[place].inc();
        let passed = self.gates.lock()[place].pass(clock::now());
        if let Some(suppressed) = passed {
            warn!(reason = REASONS[place], %source, detail, suppressed, "gossip refused");
        }
    }
}

/// Lets one log line pass per [`LOG_INTERVAL`].
#[derive(Default)]
struct LogGate {
    next: Option<Instant>,
    suppressed: u64,
}

impl LogGate {
    /// The number of lines suppressed since the last one, when this one may pass.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.suppressed += 1;
            return None;
        }
        self.next = Some(now + LOG_INTERVAL);
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Hands chitchat the socket that was bound for it.
pub(super) struct SealedTransport(Mutex<Option<Box<dyn Socket>>>);

impl SealedTransport {
    pub(super) fn new(socket: SealedSocket) -> Self {
        Self(Mutex::new(Some(Box::new(socket))))
    }
}

#[async_trait]
impl Transport for SealedTransport {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        self.0.lock().take().ok_or_else(|| anyhow::anyhow!("the gossip socket was opened before"))
    }
}

/// One bound UDP socket with the seal around it.
pub(super) struct SealedSocket {
    socket: UdpSocket,
    sealer: Sealer,
    opener: Opener,
    inspector: Inspector,
    rejections: Arc<Rejections>,
    /// One byte more than a datagram may have, to notice those that are longer.
    buffer: Box<[u8; DATAGRAM_BYTES_MAX + 1]>,
    errors_in_a_row: u32,
    send_errors: LogGate,
}

impl SealedSocket {
    pub(super) fn new(
        socket: UdpSocket,
        sealer: Sealer,
        opener: Opener,
        inspector: Inspector,
        rejections: Arc<Rejections>,
    ) -> Self {
        Self {
            socket,
            sealer,
            opener,
            inspector,
            rejections,
            buffer: Box::new([0; DATAGRAM_BYTES_MAX + 1]),
            errors_in_a_row: 0,
            send_errors: LogGate::default(),
        }
    }

    /// What one received datagram is worth: a message and where its answer goes, or nothing.
    fn accept(&mut self, len: usize, source: SocketAddr) -> Option<(SocketAddr, ChitchatMessage)> {
        let now = clock::now();
        let opened = self.opener.open(now, &mut self.buffer[..len]);
        for _ in 0..self.opener.take_partials_lost() {
            self.rejections.count(Rejection::Incomplete, source, "fragments are missing");
        }
        let (sender, incarnation, message) = match opened {
            Ok(Opened::Message { sender, incarnation, message }) => (sender, incarnation, message),
            Ok(Opened::Partial | Opened::Own) => return None,
            Err(refused) => {
                self.rejections.count(Rejection::Sealed(refused), source, &refused.to_string());
                return None;
            }
        };
        let reply_to = match self.inspector.inspect(now, sender, incarnation, &message) {
            // The address that the sender names under seal, not the one on the outside: a datagram that
            // somebody else sends on must not draw an answer to that somebody. An ACK has no answer.
            Ok(address) => address.unwrap_or(source),
            Err(error) => {
                self.rejections.count(Rejection::Envelope, sender, &error.to_string());
                return None;
            }
        };
        match ChitchatMessage::deserialize(&mut message.as_slice()) {
            Ok(message) => Some((reply_to, message)),
            Err(error) => {
                self.rejections.count(Rejection::Envelope, sender, &error.to_string());
                None
            }
        }
    }

    /// A socket error is logged; it ends gossip only when nothing but errors came for long.
    async fn on_receive_error(&mut self, error: io::Error) -> anyhow::Result<()> {
        self.errors_in_a_row += 1;
        debug!(%error, "gossip receive failed");
        if self.errors_in_a_row >= ERRORS_MAX {
            return Err(anyhow::Error::new(error).context("the gossip socket is broken"));
        }
        tokio::time::sleep(ERROR_PAUSE).await;
        Ok(())
    }
}

#[async_trait]
impl Socket for SealedSocket {
    /// Never fails: a datagram that cannot be sent is a lost datagram, and gossip repeats itself.
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let bytes = message.serialize_to_vec();
        let Some(datagrams) = self.sealer.seal(&bytes) else {
            warn!(bytes = bytes.len(), "gossip message too large to send");
            return Ok(());
        };
        for datagram in datagrams {
            let Err(error) = self.socket.send_to(&datagram, to).await else { continue };
            if let Some(suppressed) = self.send_errors.pass(clock::now()) {
                warn!(%to, %error, suppressed, "gossip not sent");
            }
            break;
        }
        Ok(())
    }

    /// Dropped and called again by chitchat at each of its ticks: all progress is kept in `self`.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            match self.socket.recv_from(&mut self.buffer[..]).await {
                Ok((len, source)) => {
                    self.errors_in_a_row = 0;
                    if let Some(accepted) = self.accept(len, source) {
                        return Ok(accepted);
                    }
                }
                Err(error) => self.on_receive_error(error).await?,
            }
        }
    }
}
