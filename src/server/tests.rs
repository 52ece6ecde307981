//! Conversations over streams in memory, on one thread: what one client sends, and what others get meanwhile.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Door, Listener, Shared, Socket};
use crate::broker::Broker;
use crate::metrics::Metrics;
use crate::session::Settings;
use crate::tasks::Tasks;

const PINGREQ: [u8; 2] = [0xC0, 0];
const PINGRESP: [u8; 2] = [0xD0, 0];

/// The client's end of a stream, and the node's.
#[derive(Clone, Default)]
struct Stream(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    to_node: Vec<u8>,
    from_node: Vec<u8>,
    is_closed: bool,
    reader: Option<Waker>,
}

impl Socket for Stream {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.0.lock();
        if ends.to_node.is_empty() && !ends.is_closed {
            ends.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn hung_up(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::poll_fn(|context| {
            let mut ends = self.0.lock();
            if ends.is_closed {
                return Poll::Ready(());
            }
            ends.reader = Some(context.waker().clone());
            Poll::Pending
        }))
    }

    fn poll_write_ready(&self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut ends = self.0.lock();
        if ends.to_node.is_empty() && !ends.is_closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = into.len().min(ends.to_node.len());
        into[..len].copy_from_slice(&ends.to_node[..len]);
        ends.to_node.drain(..len);
        Ok(len)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().from_node.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn finish(&self) {}
}

impl Stream {
    fn send(&self, bytes: &[u8]) {
        let mut ends = self.0.lock();
        ends.to_node.extend_from_slice(bytes);
        if let Some(reader) = ends.reader.take() {
            reader.wake();
        }
    }

    fn close(&self) {
        let mut ends = self.0.lock();
        ends.is_closed = true;
        if let Some(reader) = ends.reader.take() {
            reader.wake();
        }
    }

    fn has_got(&self, bytes: &[u8]) -> bool {
        self.0.lock().from_node.ends_with(bytes)
    }
}

/// A node with one listener.
struct Node {
    metrics: Arc<Metrics>,
    door: Door,
}

impl Node {
    fn new(session: Settings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let broker = Broker::for_tests(Arc::clone(&metrics), None);
        let shared = Shared::start(broker, Arc::clone(&metrics), &Tasks::new());
        let door = Door::new(shared, Listener::new(([127, 0, 0, 1], 0).into()), &Arc::new(session));
        Self { metrics, door }
    }

    /// A client of MQTT 3.1.1 that is connected.
    async fn client(&self, name: u8) -> Stream {
        let stream = Stream::default();
        self.door.welcome(Box::new(stream.clone()));
        stream.send(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, name]);
        until(|| stream.has_got(&[0x20, 2, 0, 0])).await;
        stream
    }

    fn received(&self) -> u64 {
        self.metrics.messages_received.get()
    }
}

/// Lets the others work until it is so.
async fn until(is_so: impl Fn() -> bool) {
    let turns = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), turns).await.expect("it becomes so");
}

/// A SUBSCRIBE for all filters of so many levels `a` or `+`.
fn subscribe_overlapping(levels: u32) -> Vec<u8> {
    let mut body = vec![0, 1];
    for number in 0..1_u32 << levels {
        let filter: Vec<&str> =
            (0..levels).map(|level| if number >> level & 1 == 0 { "a" } else { "+" }).collect();
        push_text(&mut body, &filter.join("/"));
        body.push(0);
    }
    packet(0x82, &body)
}

fn publish(topic: &str) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, topic);
    packet(0x30, &body)
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap();
    // A length in three bytes, whatever it is.
    let digits = [len & 0x7F | 0x80, len >> 7 & 0x7F | 0x80, len >> 14].map(|it| it as u8);
    let digits: &[u8] = match len {
        0..=0x7F => &[len as u8],
        _ => &digits,
    };
    [&[first], digits, body].concat()
}

#[tokio::test]
async fn packets_that_are_much_work_do_not_keep_others_waiting() {
    const MESSAGES: u64 = 200;
    let node = Node::new(Settings::default());
    let reader = node.client(b'r').await;
    reader.send(&subscribe_overlapping(12));
    until(|| reader.0.lock().from_node.len() > 4_096).await;
    let (publisher, other) = (node.client(b'p').await, node.client(b'o').await);
    // All of it comes with one read.
    publisher.send(&publish("a/a/a/a/a/a/a/a/a/a/a/a").repeat(MESSAGES as usize));
    other.send(&PINGREQ);
    until(|| other.has_got(&PINGRESP)).await;
    assert!((1..MESSAGES / 2).contains(&node.received()), "{} messages before", node.received());
    // Nothing more needs to come for the rest to go on.
    until(|| node.received() == MESSAGES).await;
    publisher.send(&PINGREQ);
    until(|| publisher.has_got(&PINGRESP)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_while_it_is_held_back_is_gone_at_once() {
    let node = Node::new(Settings { message_rate_max: 1, ..Settings::default() });
    let client = node.client(b'c').await;
    let packet = publish("t");
    // More than is read of it in the end.
    let sent = packet.len() * 20_000;
    let began = crate::net::clock::now();
    client.send(&packet.repeat(sent / packet.len()));
    until(|| node.received() == 1).await;
    assert_eq!(node.metrics.connections.get(), 1);
    client.close();
    until(|| node.metrics.connections.get() == 0).await;
    assert!(
        crate::net::clock::now() < began + Duration::from_secs(1),
        "no second message was within the rate"
    );
    let read = sent - client.0.lock().to_node.len();
    assert!((64 << 10..=68 << 10).contains(&read), "{read} bytes were read");
    assert_eq!(node.received(), (read / packet.len()) as u64);
}

#[tokio::test(start_paused = true)]
async fn what_a_held_client_says_before_it_closes_counts() {
    let node = Node::new(Settings { message_rate_max: 1, ..Settings::default() });
    let (reader, client) = (node.client(b'r').await, node.client(b'c').await);
    let mut subscribe = vec![0, 1];
    push_text(&mut subscribe, "t");
    reader.send(&packet(0x82, &[&subscribe[..], &[0]].concat()));
    until(|| reader.has_got(&[0x90, 3, 0, 1, 0])).await;
    client.send(&publish("t").repeat(400));
    client.close();
    until(|| node.metrics.connections.get() == 1).await;
    assert_eq!(node.received(), 400);
    assert!(reader.has_got(&publish("t").repeat(400)));
}
