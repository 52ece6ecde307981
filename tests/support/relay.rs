//! Stands in front of a node's mesh port and passes everything on, TCP and UDP, while it keeps a copy of what
//! came from outside: an eavesdropper's view, to be replayed later.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::mqtt::is_timeout;

/// How often a thread looks whether it shall stop.
const TICK: Duration = Duration::from_millis(20);

/// Enough for every handshake; what comes later on a connection is of no use to a replayer.
const STREAM_BYTES_KEPT_MAX: usize = 64 * 1024;
const DATAGRAMS_KEPT_MAX: usize = 1_000;

#[derive(Default)]
struct Kept {
    datagrams: Vec<Vec<u8>>,
    streams: Vec<Vec<u8>>,
}

/// A running relay. Dropping it stops its threads.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    stopping: Arc<AtomicBool>,
}

impl Relay {
    /// Listens on `port` of 127.0.0.1 and passes on to `target`.
    pub(crate) fn start(port: u16, target: SocketAddr) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let kept = Arc::new(Mutex::new(Kept::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let listener = TcpListener::bind(address).expect("the relay's TCP port is free");
        listener.set_nonblocking(true).expect("a listener can be polled");
        let socket = Arc::new(UdpSocket::bind(address).expect("the relay's UDP port is free"));
        socket.set_read_timeout(Some(TICK)).expect("the tick is not zero");
        {
            let (kept, stopping) = (Arc::clone(&kept), Arc::clone(&stopping));
            thread::spawn(move || relay_streams(&listener, target, &kept, &stopping));
        }
        {
            let (kept, stopping) = (Arc::clone(&kept), Arc::clone(&stopping));
            thread::spawn(move || relay_datagrams(&socket, target, &kept, &stopping));
        }
        Self { address, kept, stopping }
    }

    /// The datagrams that went to the node.
    pub(crate) fn datagrams(&self) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap().datagrams.clone()
    }

    /// Forgets the datagrams so far.
    pub(crate) fn forget_datagrams(&self) {
        self.kept.lock().unwrap().datagrams.clear();
    }

    /// The first bytes of each connection to the node, as far as the connecting side sent them.
    pub(crate) fn streams(&self) -> Vec<Vec<u8>> {
        self.kept.lock().unwrap().streams.clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

fn relay_datagrams(
    socket: &Arc<UdpSocket>,
    target: SocketAddr,
    kept: &Mutex<Kept>,
    stopping: &Arc<AtomicBool>,
) {
    // One socket towards the node for each sender, so that answers find their way back.
    let mut upstream: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    while !stopping.load(Ordering::Relaxed) {
        let (count, sender) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(_) => continue,
        };
        {
            let mut kept = kept.lock().unwrap();
            // A node that finds its own address among the seeds also talks to itself: nothing from outside.
            if sender != target && kept.datagrams.len() < DATAGRAMS_KEPT_MAX {
                kept.datagrams.push(buffer[..count].to_vec());
            }
        }
        let out = upstream.entry(sender).or_insert_with(|| answer_path(socket, sender, stopping));
        // A lost datagram is a thing that happens to datagrams.
        let _ = out.send_to(&buffer[..count], target);
    }
}

fn answer_path(socket: &Arc<UdpSocket>, sender: SocketAddr, stopping: &Arc<AtomicBool>) -> Arc<UdpSocket> {
    let out = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free UDP port"));
    out.set_read_timeout(Some(TICK)).expect("the tick is not zero");
    let (from_node, back, stopping) = (Arc::clone(&out), Arc::clone(socket), Arc::clone(stopping));
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while !stopping.load(Ordering::Relaxed) {
            if let Ok(count) = from_node.recv(&mut buffer) {
                // A lost datagram is a thing that happens to datagrams.
                let _ = back.send_to(&buffer[..count], sender);
            }
        }
    });
    out
}

fn relay_streams(
    listener: &TcpListener,
    target: SocketAddr,
    kept: &Arc<Mutex<Kept>>,
    stopping: &Arc<AtomicBool>,
) {
    while !stopping.load(Ordering::Relaxed) {
        let Ok((inside, _)) = listener.accept() else {
            thread::sleep(TICK);
            continue;
        };
        // The node may be down: then the connecting side sees a closed connection.
        let Ok(outside) = TcpStream::connect(target) else { continue };
        let number = {
            let mut kept = kept.lock().unwrap();
            kept.streams.push(Vec::new());
            kept.streams.len() - 1
        };
        inside.set_nonblocking(false).expect("a stream can be blocking");
        let (Ok(inside_back), Ok(outside_back)) = (inside.try_clone(), outside.try_clone()) else { continue };
        let kept = Arc::clone(kept);
        let keep = move |bytes: &[u8]| {
            let stream = &mut kept.lock().unwrap().streams[number];
            let room = STREAM_BYTES_KEPT_MAX - stream.len();
            stream.extend_from_slice(&bytes[..bytes.len().min(room)]);
        };
        let stop = Arc::clone(stopping);
        thread::spawn(move || copy(inside, outside, &stop, keep));
        let stop = Arc::clone(stopping);
        thread::spawn(move || copy(outside_back, inside_back, &stop, |_| {}));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, stopping: &AtomicBool, mut keep: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    let mut pass = || -> io::Result<()> {
        from.set_read_timeout(Some(TICK))?;
        while !stopping.load(Ordering::Relaxed) {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    keep(&buffer[..count]);
                    to.write_all(&buffer[..count])?;
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    // Whatever ended it, the other side must see the end too.
    let _ = pass();
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
