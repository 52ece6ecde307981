//! The publishes on their way to one peer: numbered, kept until acknowledged, bounded in bytes.
//!
//! Frames are appended under a short lock by whoever forwards, and taken in chunks by the link's writer;
//! while one write is under way the next chunk fills, so batches form by themselves. After a reconnect
//! the chunks that the peer has not acknowledged are written again.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A chunk is closed at this size, so that an acknowledgement frees memory soon.
const CHUNK_BYTES: usize = 64 * 1_024;
/// What a chunk costs beside its frames.
const CHUNK_OVERHEAD_BYTES: usize = 64;

/// The frame did not fit into the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The peer acknowledged a frame that it was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("acknowledged a frame that was never sent")]
pub(super) struct NeverSent;

/// One peer's outbox: the buffer and the bell of its writer.
#[derive(Debug)]
pub(super) struct Outbox {
    buffer: Mutex<Buffer>,
    wake: Notify,
}

impl Outbox {
    /// Keeps at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { buffer: Mutex::new(Buffer::new(bytes_max)), wake: Notify::new() }
    }

    /// Appends a frame without waking the writer.
    pub(super) fn push(&self, frame: &[u8]) -> Result<(), Full> {
        self.buffer.lock().push(frame)
    }

    /// Wakes the writer.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns after a [`Outbox::wake`] since the last call.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Runs a short operation on the buffer.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Buffer) -> T) -> T {
        act(&mut self.buffer.lock())
    }
}

/// The buffer behind the lock. Sans-io.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes_max: usize,
    /// Bytes of `closed` and `open`, with the overhead of each closed chunk.
    bytes: usize,
    closed: VecDeque<Chunk>,
    /// How many of `closed` the present connection has taken.
    taken: usize,
    open: Vec<u8>,
    /// The number of the last frame that was pushed; the first one is 1.
    last: u64,
    /// Every frame up to this number has left.
    gone: u64,
    /// Frames were dropped, so the present connection no longer counts as this buffer does.
    is_cut: bool,
}

#[derive(Debug)]
struct Chunk {
    /// The number of its last frame.
    last: u64,
    bytes: Bytes,
}

impl Chunk {
    fn cost(&self) -> usize {
        self.bytes.len() + CHUNK_OVERHEAD_BYTES
    }
}

impl Buffer {
    fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            closed: VecDeque::new(),
            taken: 0,
            open: Vec::new(),
            last: 0,
            gone: 0,
            is_cut: false,
        }
    }

    fn push(&mut self, frame: &[u8]) -> Result<(), Full> {
        if self.is_full_for(frame.len()) {
            return Err(Full);
        }
        if !self.open.is_empty() && self.open.len() + frame.len() > CHUNK_BYTES {
            self.close_chunk();
        }
        self.open.extend_from_slice(frame);
        self.bytes += frame.len();
        self.last += 1;
        Ok(())
    }

    fn close_chunk(&mut self) {
        let chunk = Chunk { last: self.last, bytes: Bytes::from(std::mem::take(&mut self.open)) };
        self.bytes += CHUNK_OVERHEAD_BYTES;
        self.closed.push_back(chunk);
    }

    /// The next bytes to write on the present connection.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.is_cut {
            return None;
        }
        if self.taken == self.closed.len() && !self.open.is_empty() {
            self.close_chunk();
        }
        let chunk = self.closed.get(self.taken)?;
        self.taken += 1;
        Some(chunk.bytes.clone())
    }

    /// Frees what the peer has applied: every chunk whose last frame is at most `through`.
    ///
    /// # Errors
    /// `through` was never sent, which is the peer's fault.
    pub(super) fn on_ack(&mut self, through: u64) -> Result<(), NeverSent> {
        if self.is_cut {
            return Ok(());
        }
        let sent = self.taken.checked_sub(1).map_or(self.gone, |at| self.closed[at].last);
        if through > sent {
            return Err(NeverSent);
        }
        while let Some(chunk) = self.closed.front()
            && chunk.last <= through
        {
            self.gone = chunk.last;
            self.bytes -= chunk.cost();
            self.closed.pop_front();
            self.taken = self.taken.saturating_sub(1);
        }
        Ok(())
    }

    /// A new connection starts. Returns the number of the first frame that [`Buffer::take`] gives on it; the
    /// peer skips those that it has.
    pub(super) fn rewind(&mut self) -> u64 {
        self.is_cut = false;
        self.taken = 0;
        self.gone + 1
    }

    /// Drops everything and says how many frames that were. The present connection is of no use after that.
    pub(super) fn clear(&mut self) -> u64 {
        let dropped = self.last - self.gone;
        self.closed.clear();
        self.open = Vec::new();
        (self.taken, self.bytes) = (0, 0);
        self.gone = self.last;
        self.is_cut |= 0 < dropped;
        dropped
    }

    /// Whether a frame of this size finds no room.
    pub(super) fn is_full_for(&self, frame_len: usize) -> bool {
        self.bytes + frame_len + CHUNK_OVERHEAD_BYTES > self.bytes_max
    }

    /// Frames that are unsent or unacknowledged.
    pub(super) fn unacked(&self) -> u64 {
        self.last - self.gone
    }

    /// Whether frames were taken and are not acknowledged.
    pub(super) fn awaits_ack(&self) -> bool {
        self.taken > 0
    }

    /// Every frame up to this number was acknowledged or dropped.
    pub(super) fn gone(&self) -> u64 {
        self.gone
    }

    /// Whether the present connection has to end because frames were dropped under it.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 10] = [0; 10];

    fn filled(frames: usize) -> Buffer {
        let mut buffer = Buffer::new(10_000);
        for _ in 0..frames {
            buffer.push(&FRAME).unwrap();
        }
        buffer
    }

    #[test]
    fn what_is_not_acknowledged_is_given_again() {
        let mut buffer = filled(3);
        assert_eq!(buffer.take().unwrap().len(), 30);
        buffer.push(&FRAME).unwrap();
        assert_eq!(buffer.take().unwrap().len(), 10);
        assert_eq!(buffer.take(), None);
        assert_eq!(buffer.unacked(), 4);

        // The peer got into the middle of the first chunk: the whole chunk comes again.
        buffer.on_ack(2).unwrap();
        assert_eq!(buffer.rewind(), 1);
        assert_eq!(buffer.take().unwrap().len(), 30);
        buffer.on_ack(3).unwrap();
        assert_eq!(buffer.take().unwrap().len(), 10);
        assert_eq!(buffer.rewind(), 4);
        assert_eq!(buffer.take().unwrap().len(), 10);
        buffer.on_ack(4).unwrap();
        assert_eq!((buffer.unacked(), buffer.bytes), (0, 0));
        assert_eq!(buffer.rewind(), 5);
        assert_eq!(buffer.take(), None);
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_is_refused() {
        let mut buffer = filled(3);
        assert_eq!(buffer.on_ack(1), Err(NeverSent));
        buffer.take();
        buffer.push(&FRAME).unwrap();
        assert_eq!(buffer.on_ack(4), Err(NeverSent));
        assert_eq!(buffer.on_ack(3), Ok(()));
        assert_eq!(buffer.on_ack(3), Ok(()), "again");
    }

    #[test]
    fn the_bound_counts_everything_that_is_kept() {
        let mut buffer = Buffer::new(10_000);
        let mut kept = 0u64;
        while buffer.push(&FRAME).is_ok() {
            kept += 1;
            buffer.take();
        }
        assert!(
            kept <= 10_000 / (FRAME.len() + CHUNK_OVERHEAD_BYTES) as u64,
            "{kept} frames, each its own chunk"
        );
        assert_eq!(buffer.push(&FRAME), Err(Full));
        assert_eq!(buffer.clear(), kept);
        assert_eq!(buffer.push(&FRAME), Ok(()));
        assert_eq!(buffer.take(), None, "not on the connection that lost frames");
        assert_eq!(buffer.rewind(), kept + 1, "what was dropped counts as gone");
        assert_eq!(buffer.take().unwrap().len(), 10);
        assert_eq!(buffer.on_ack(kept + 1), Ok(()));
        assert_eq!(buffer.unacked(), 0);
    }

    #[test]
    fn a_large_backlog_is_given_in_pieces() {
        let mut buffer = Buffer::new(1_000_000);
        for _ in 0..1_000 {
            buffer.push(&[0; 500]).unwrap();
        }
        let mut sizes = Vec::new();
        while let Some(chunk) = buffer.take() {
            sizes.push(chunk.len());
        }
        assert_eq!(sizes.iter().sum::<usize>(), 500_000);
        assert!(sizes.iter().all(|size| *size <= CHUNK_BYTES), "{sizes:?}");
    }
}
