//! A stream without a network: what one end writes the other reads, in pieces and with as much room as wanted.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use flockmq::server::Socket;
use parking_lot::Mutex;

/// Both ends of one connection.
pub(super) struct Pipe {
    state: Mutex<State>,
    /// Counts whatever a connection does, for the whole node.
    activity: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    /// To the server, each piece read at once.
    pieces: VecDeque<Vec<u8>>,
    has_ended: bool,
    is_broken: bool,
    /// From the server, not read yet.
    written: Vec<u8>,
    /// What the server may still write.
    room: usize,
    /// The server has ended its direction, or has let go altogether.
    is_finished: bool,
    is_dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Who waits for nothing but the end.
    watcher: Option<Waker>,
}

impl Pipe {
    pub(super) fn new(activity: Arc<AtomicU64>) -> Arc<Self> {
        let state = State { room: usize::MAX, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), activity })
    }

    /// The server's end.
    pub(super) fn server_end(self: &Arc<Self>) -> Box<dyn Socket> {
        Box::new(ServerEnd(Arc::clone(self)))
    }

    /// Sends bytes that the server reads at once.
    pub(super) fn send(&self, piece: &[u8]) {
        if piece.is_empty() {
            return; // Reading nothing would mean the end.
        }
        let mut state = self.state.lock();
        state.pieces.push_back(piece.to_vec());
        state.wake();
    }

    /// Nothing more will be sent.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.has_ended = true;
        state.wake();
    }

    /// From now on everything fails.
    pub(super) fn break_off(&self) {
        let mut state = self.state.lock();
        state.is_broken = true;
        state.wake();
    }

    /// Lets the server write so many bytes from now on.
    pub(super) fn set_room(&self, room: usize) {
        let mut state = self.state.lock();
        state.room = room;
        state.wake();
    }

    /// What the server has written since the last call.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.lock().written)
    }

    /// Whether the server has ended the connection.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.is_finished || state.is_dropped
    }

    /// Whether the server has let go of the connection.
    pub(super) fn is_dropped(&self) -> bool {
        self.state.lock().is_dropped
    }

    /// Whether the server waits for something other than this connection.
    pub(super) fn is_left_alone(&self) -> bool {
        let state = self.state.lock();
        !state.is_dropped && state.reader.is_none() && state.writer.is_none()
    }

    fn note(&self) {
        self.activity.fetch_add(1, Ordering::Relaxed);
    }
}

impl State {
    fn is_readable(&self) -> bool {
        self.is_broken || self.has_ended || !self.pieces.is_empty()
    }

    fn wake(&mut self) {
        let wakers = [self.reader.take(), self.writer.take(), self.watcher.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

struct ServerEnd(Arc<Pipe>);

impl Socket for ServerEnd {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        if state.is_readable() {
            return Poll::Ready(Ok(()));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn hung_up(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(poll_fn(|context| {
            let mut state = self.0.state.lock();
            if state.is_broken || state.has_ended {
                return Poll::Ready(());
            }
            state.watcher = Some(context.waker().clone());
            Poll::Pending
        }))
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        if state.is_broken || state.room > 0 {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.0.note();
        let mut state = self.0.state.lock();
        if state.is_broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let Some(mut piece) = state.pieces.pop_front() else {
            return if state.has_ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        };
        let read = piece.len().min(into.len());
        into[..read].copy_from_slice(&piece[..read]);
        if read < piece.len() {
            state.pieces.push_front(piece.split_off(read));
        }
        Ok(read)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.note();
        let mut state = self.0.state.lock();
        assert!(!state.is_finished, "bytes after the end");
        if state.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let written = bytes.len().min(state.room);
        if state.room != usize::MAX {
            state.room -= written;
        }
        state.written.extend_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn finish(&self) {
        self.0.note();
        self.0.state.lock().is_finished = true;
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        self.0.note();
        self.0.state.lock().is_dropped = true;
    }
}
