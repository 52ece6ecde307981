//! A network between two nodes that the test can break.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::net::mesh::{TcpListener, TcpStream};
use crate::tasks::Tasks;

pub(super) struct Proxy {
    pub(super) address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Grows with each cut; connections of an older number end.
    cuts: watch::Sender<u64>,
    frozen: watch::Sender<bool>,
    refuses: AtomicBool,
    corrupts: AtomicBool,
    accepted: AtomicU64,
}

impl Proxy {
    /// An address that leads nowhere yet.
    pub(super) async fn unbound() -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (Self { address, state: Arc::default() }, listener)
    }

    /// Lets what is dialed there through to `target`.
    pub(super) fn lead_to(&self, listener: TcpListener, target: SocketAddr) {
        let accepting = Arc::clone(&self.state);
        Tasks::new().spawn("proxy", async move {
            while let Ok((stream, _)) = listener.accept().await {
                if !accepting.refuses.load(Ordering::SeqCst) {
                    accepting.accepted.fetch_add(1, Ordering::SeqCst);
                    let state = Arc::clone(&accepting);
                    Tasks::new().spawn("proxied", async move { state.run(stream, target).await });
                }
            }
        });
    }

    /// Lets nothing through and closes nothing, or goes on.
    pub(super) fn freeze(&self, frozen: bool) {
        self.state.frozen.send_replace(frozen);
    }

    /// Breaks every connection; what is in flight is lost.
    pub(super) fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Refuses new connections, or no longer.
    pub(super) fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::SeqCst);
        if refuses {
            self.cut();
        }
    }

    /// Damages one byte of what passes next.
    pub(super) fn corrupt_once(&self) {
        self.state.corrupts.store(true, Ordering::SeqCst);
    }

    /// Connections that were let through.
    pub(super) fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::SeqCst)
    }
}

impl State {
    async fn run(&self, mut near: TcpStream, target: SocketAddr) {
        let mut cuts = self.cuts.subscribe();
        let Ok(mut far) = TcpStream::connect(target).await else { return };
        let (mut near_read, mut near_write) = near.split();
        let (mut far_read, mut far_write) = far.split();
        let there = async {
            // Small pieces, so that a cut meets the middle of something.
            let mut buffer = [0; 1_000];
            while let Ok(read @ 1..) = near_read.read(&mut buffer).await {
                if self.corrupts.swap(false, Ordering::SeqCst) {
                    buffer[read / 2] ^= 1;
                }
                self.thawed().await;
                if far_write.write_all(&buffer[..read]).await.is_err() {
                    break;
                }
            }
        };
        let back = async {
            let mut buffer = [0; 1_000];
            while let Ok(read @ 1..) = far_read.read(&mut buffer).await {
                self.thawed().await;
                if near_write.write_all(&buffer[..read]).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = there => {}
            () = back => {}
            _ = cuts.changed() => {}
        }
    }

    async fn thawed(&self) {
        // The sender is this very state, so it is there.
        let _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }
}
