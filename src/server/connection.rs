//! One client's socket: woken by the network or by the node, with no buffer and no timer of its own.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;

use super::socket::Socket;
use crate::broker::Wire;
use crate::metrics::Metrics;

/// A socket with what others need to reach its owner.
pub(super) struct Connection {
    socket: Box<dyn Socket>,
    metrics: Arc<Metrics>,
    owner: AtomicWaker,
    woken: AtomicBool,
    /// When the client was last heard, in milliseconds of the server's clock.
    heard_ms: AtomicU64,
    /// How long it may be silent, in milliseconds; 0 for ever.
    silence_max_ms: AtomicU32,
    /// It was silent for too long, or the server stops.
    overdue: AtomicBool,
    /// It lost its place among the handshakes.
    put_out: AtomicBool,
}

/// What the owner of a connection wakes up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Bytes, or the end, are to be read.
    Readable,
    /// The socket has room.
    Writable,
    /// Somebody asks the owner to look.
    Woken,
    /// Nothing of all that, and the owner has something to go on with.
    Idle,
}

/// What the owner of a connection waits for beside a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wants {
    /// Something to read.
    pub(super) bytes: bool,
    /// Room in the socket.
    pub(super) room: bool,
    /// To go on if there is nothing else.
    pub(super) turn: bool,
}

impl Connection {
    pub(super) fn new(
        socket: Box<dyn Socket>,
        metrics: Arc<Metrics>,
        now_ms: u64,
        silence_max_ms: u32,
    ) -> Self {
        Self {
            socket,
            metrics,
            owner: AtomicWaker::new(),
            woken: AtomicBool::new(false),
            heard_ms: AtomicU64::new(now_ms),
            silence_max_ms: AtomicU32::new(silence_max_ms),
            overdue: AtomicBool::new(false),
            put_out: AtomicBool::new(false),
        }
    }

    /// Waits for the next input that is wanted; a wake-up always is.
    pub(super) async fn next(&self, wants: Wants) -> Input {
        poll_fn(|context| {
            self.owner.register(context.waker());
            if self.woken.swap(false, Ordering::AcqRel) {
                return Poll::Ready(Input::Woken);
            }
            if wants.room && self.socket.poll_write_ready(context).is_ready() {
                return Poll::Ready(Input::Writable);
            }
            // A failed poll shows at the next read.
            if wants.bytes && self.socket.poll_read_ready(context).is_ready() {
                return Poll::Ready(Input::Readable);
            }
            if wants.turn { Poll::Ready(Input::Idle) } else { Poll::Pending }
        })
        .await
    }

    /// Waits until time is up; neither reads nor looks at anything else.
    pub(super) async fn overdue(&self) {
        poll_fn(|context| {
            self.owner.register(context.waker());
            if self.is_overdue() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until the peer has closed or the connection is broken, whatever is still to be read.
    pub(super) async fn hung_up(&self) {
        self.socket.hung_up().await;
    }

    /// Reads without waiting.
    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.socket.try_read(into)?;
        self.metrics.bytes_received.inc_by(read as u64);
        Ok(read)
    }

    /// The client was heard.
    pub(super) fn on_heard(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// From now on the client may be silent for so long; 0 is for ever.
    pub(super) fn set_silence_max(&self, milliseconds: u32) {
        self.silence_max_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// How long the client may be silent; 0 for ever.
    pub(super) fn silence_max_ms(&self) -> u32 {
        self.silence_max_ms.load(Ordering::Relaxed)
    }

    /// When the present silence becomes longer than `silence_max_ms`.
    pub(super) fn overdue_at_ms(&self, silence_max_ms: u32) -> u64 {
        self.heard_ms.load(Ordering::Relaxed) + u64::from(silence_max_ms)
    }

    /// Tells the owner that time is up.
    pub(super) fn set_overdue(&self) {
        self.overdue.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.overdue.load(Ordering::Acquire)
    }

    /// Tells the owner that somebody else has got its place among the handshakes.
    pub(super) fn put_out(&self) {
        self.put_out.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_put_out(&self) -> bool {
        self.put_out.load(Ordering::Acquire)
    }

    /// Ends the sending direction, so that the peer reads what was written and then the end.
    pub(super) fn finish(&self) {
        self.socket.finish();
    }
}

impl Wire for Connection {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.socket.try_write(bytes)?;
        self.metrics.bytes_sent.inc_by(written as u64);
        Ok(written)
    }

    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.owner.wake();
    }
}
