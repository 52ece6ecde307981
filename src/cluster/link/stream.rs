//! Sealed records over a socket: a reader that hands out whole bursts, a writer that sends what it is given.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::channel::{Opener, RECORD_BYTES_MAX, RecordError, Sealer};

/// The most that one read takes from the socket: two of the longest records.
const READ_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;
/// A buffer that grew beyond this for one large frame is given back when it is empty.
const KEPT_BYTES_MAX: usize = 4 * RECORD_BYTES_MAX;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// The connection broke or was closed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The peer closed it.
    #[error("the peer closed the connection")]
    Closed,
    /// Bytes that the peer cannot have sent.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The receiving half of a link.
pub(super) struct Reader<R> {
    io: R,
    opener: Opener,
    sealed: Vec<u8>,
    sealed_len: usize,
    plain: Vec<u8>,
    consumed: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(io: R, opener: Opener) -> Self {
        Self { io, opener, sealed: vec![0; READ_BYTES_MAX], sealed_len: 0, plain: Vec::new(), consumed: 0 }
    }

    /// Waits for bytes and opens what is complete; afterwards [`Reader::bytes`] may have grown.
    ///
    /// Cancelling it loses nothing.
    pub(super) async fn fill(&mut self) -> Result<(), StreamError> {
        self.plain.drain(..self.consumed);
        self.consumed = 0;
        if self.plain.is_empty() && self.plain.capacity() > KEPT_BYTES_MAX {
            self.plain = Vec::new();
        }
        let read = self.io.read(&mut self.sealed[self.sealed_len..]).await?;
        if read == 0 {
            return Err(StreamError::Closed);
        }
        self.sealed_len += read;
        let taken = self.opener.open(&self.sealed[..self.sealed_len], &mut self.plain)?;
        self.sealed.copy_within(taken..self.sealed_len, 0);
        self.sealed_len -= taken;
        Ok(())
    }

    /// The opened bytes that were not consumed yet.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.plain[self.consumed..]
    }

    /// Marks the first `len` of [`Reader::bytes`] as used.
    pub(super) fn consume(&mut self, len: usize) {
        self.consumed += len;
        debug_assert!(self.consumed <= self.plain.len(), "only what is there can be consumed");
    }
}

/// The sending half of a link.
pub(super) struct Writer<W> {
    io: W,
    sealer: Sealer,
    sealed: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(io: W, sealer: Sealer) -> Self {
        Self { io, sealer, sealed: Vec::new() }
    }

    /// Writes all of `plain`. Cancelling it ends the link: half a record may have been written.
    pub(super) async fn send(&mut self, plain: &[u8]) -> Result<(), StreamError> {
        // One record at a time for what is large, so that the memory for it stays small.
        for piece in plain.chunks(super::channel::PLAIN_BYTES_MAX) {
            self.sealed.clear();
            self.sealer.seal(piece, &mut self.sealed);
            self.io.write_all(&self.sealed).await?;
        }
        Ok(())
    }
}
