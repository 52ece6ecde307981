//! What a conversation needs of the stream under it: bytes in and out without waiting, and to be told when
//! there are more or there is room.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::Interest;

use crate::net::TcpStream;

/// One client's stream of bytes.
pub trait Socket: Send + Sync + 'static {
    /// Ready when bytes, the end or an error can be read.
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits until the peer has closed its side or the connection is broken, whatever is still to be read. Used only
    /// while nothing is read.
    fn hung_up(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Ready when bytes can be written, or an error shows.
    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads without waiting; 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come, anything else when the connection is broken.
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, anything else when the connection is broken.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Ends the sending direction, so that the peer reads what was written and then the end.
    fn finish(&self);
}

/// The end of the stream but not its bytes: urgent bytes, which nobody has asked the system for, stand for it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const END: Interest = Interest::PRIORITY.add(Interest::ERROR);
/// Elsewhere only errors can be told from bytes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const END: Interest = Interest::ERROR;

impl Socket for TcpStream {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, context)
    }

    fn hung_up(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            // A failed wait shows at the next read.
            _ = self.ready(END).await;
        })
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, context)
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        Self::try_read(self, into)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }

    fn finish(&self) {
        // Fails only when the connection is broken, which is as good.
        _ = SockRef::from(self).shutdown(Shutdown::Write);
    }
}
