//! Loopback ports that are free for TCP and UDP alike and are never handed out twice by one process.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which the kernel takes the ports of outgoing connections, so that a port stays free
/// while a killed node is away.
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

/// Test processes that run at the same time start at different places.
const STRIDE_PER_PROCESS: u32 = 509;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A port on 127.0.0.1 that nothing listens on.
pub(crate) fn free_port() -> u16 {
    for _ in 0..COUNT {
        let offset = process::id().wrapping_mul(STRIDE_PER_PROCESS) + TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + offset % COUNT).expect("the range ends below 65,536");
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if tcp.is_ok() && udp.is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1");
}
