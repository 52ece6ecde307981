//! The broker with sockets that take what a test lets them take, and time that is added.

use std::io;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::super::*;
use crate::auth::Authenticator;
use crate::codec::{
    Connect, ConnectProperties, ProtocolVersion, Publish, Qos, RetainHandling, Subscribe, SubscribeFilter,
    SubscribeOptions, UserProperties, peek,
};
use crate::net::clock;
use crate::session;

const V5: ProtocolVersion = ProtocolVersion::V5;
const OUTBOX_BYTES_MAX: usize = 4 << 10;

/// A socket with so much room, and what was written to it.
#[derive(Default)]
struct Socket {
    room: AtomicUsize,
    written: Mutex<Vec<u8>>,
}

impl Wire for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.load(Ordering::Relaxed);
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = room.min(bytes.len());
        self.room.store(room - len, Ordering::Relaxed);
        self.written.lock().extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn wake(&self) {}
}

impl Socket {
    /// How many PUBLISH packets were written.
    fn publishes(&self) -> usize {
        let written = self.written.lock();
        let (mut at, mut publishes) = (0, 0);
        while let Ok(Some(header)) = peek(&written[at..], u32::MAX) {
            publishes += usize::from(written[at] >> 4 == 3);
            at += header.total_len;
        }
        publishes
    }
}

struct Case {
    broker: Arc<Broker>,
    sessions: Arc<session::Settings>,
    now: Instant,
}

struct Peer {
    socket: Arc<Socket>,
    attached: Attached,
}

impl Case {
    fn new() -> Self {
        let sessions = session::Settings { outbox_bytes_max: OUTBOX_BYTES_MAX, ..Default::default() };
        let authenticator = Authenticator::with_credentials(true, None);
        let broker = Broker::new(Settings::default(), authenticator, Arc::new(Metrics::new()), None);
        Self { broker: Arc::new(broker), sessions: Arc::new(sessions), now: clock::now() }
    }

    fn connect(&self, name: &str, clean_start: bool, expiry: u32) -> Peer {
        let properties = ConnectProperties { session_expiry: Some(expiry), ..Default::default() };
        let connect = Connect { clean_start, properties, ..Connect::new(V5, name) };
        let negotiated = self.broker.negotiate(&connect, &self.sessions, 1).unwrap();
        let socket = Arc::new(Socket { room: AtomicUsize::new(usize::MAX), ..Default::default() });
        let wire = Arc::clone(&socket) as Arc<dyn Wire>;
        let mut burst = Burst::default();
        let attached = self.broker.connect(self.now, &negotiated, &wire, &mut burst);
        self.broker.flush(&mut burst);
        Peer { socket, attached }
    }

    fn send(&self, peer: &Peer, packet: Packet<'_>) {
        let mut burst = Burst::default();
        let Attached { client, generation } = &peer.attached;
        self.broker.on_packet(self.now, client, *generation, packet, &mut burst).unwrap();
        self.broker.flush(&mut burst);
        client.flush();
    }

    fn subscribe(&self, peer: &Peer, filter: &str, qos: Qos) {
        let options = SubscribeOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAlways,
        };
        let packet_id = crate::codec::PacketId::new(1).unwrap();
        let filters = vec![SubscribeFilter { filter, options }];
        let user = UserProperties::default();
        self.send(peer, Packet::Subscribe(Subscribe { packet_id, subscription_id: None, user, filters }));
    }

    fn publish(&self, peer: &Peer, topic: &str, payload: &[u8], retain: bool) {
        let properties = PublishProperties::default();
        let (dup, qos, packet_id) = (false, Qos::AtMostOnce, None);
        self.send(peer, Packet::Publish(Publish { dup, qos, retain, topic, packet_id, properties, payload }));
    }

    /// What the owner of the connection does until there is nothing left to do.
    fn settle(&self, peer: &Peer) {
        let Attached { client, generation } = &peer.attached;
        while client.duty(*generation) == Duty::AwaitRoom {
            self.broker.on_writable(self.now, client, *generation);
        }
    }

    fn close(&self, peer: Peer) {
        self.broker.on_closed(self.now, &peer.attached.client, peer.attached.generation);
    }
}

#[test]
fn a_replay_that_fills_the_outbox_goes_on_although_the_socket_never_fills() {
    let case = Case::new();
    let publisher = case.connect("publisher", true, 0);
    for n in 0..50 {
        case.publish(&publisher, &format!("kept/{n}"), &[0; 1_000], true);
    }
    let subscriber = case.connect("subscriber", true, 0);
    case.subscribe(&subscriber, "kept/#", Qos::AtMostOnce);
    case.settle(&subscriber);
    assert_eq!(subscriber.socket.publishes(), 50);
}

#[test]
fn a_client_that_sends_without_reading_is_not_read_any_more() {
    let case = Case::new();
    let client = case.connect("client", true, 0);
    let Attached { client: state, generation } = &client.attached;
    client.socket.room.store(0, Ordering::Relaxed);
    for answers in 1..=OUTBOX_BYTES_MAX {
        case.send(&client, Packet::PingReq);
        let expected = if answers < OUTBOX_BYTES_MAX { Duty::AwaitRoom } else { Duty::AwaitRoomOnly };
        assert_eq!(state.duty(*generation), expected, "{answers} answers of two bytes");
    }
    client.socket.room.store(usize::MAX, Ordering::Relaxed);
    case.broker.on_writable(case.now, state, *generation);
    case.settle(&client);
    assert_eq!(state.duty(*generation), Duty::Wait);
}

#[test]
fn an_ended_session_is_not_kept_for_the_timer_that_would_have_ended_it() {
    let case = Case::new();
    let first = case.connect("client", true, u32::MAX - 1);
    let ended = Arc::downgrade(&first.attached.client);
    case.close(first);
    assert!(ended.upgrade().is_some(), "the session waits for its client");
    let _second = case.connect("client", true, 0);
    assert!(ended.upgrade().is_none());
}

#[test]
fn reconnections_do_not_pile_up_timers() {
    let mut case = Case::new();
    for _ in 0..10_000 {
        let client = case.connect("client", false, 3_600);
        case.close(client);
        case.now += Duration::from_millis(1);
    }
    assert!(case.broker.timers.lock().len() < 2_000);
    assert_eq!(case.broker.clients.len(), 1);
    while case.broker.on_tick(case.now + Duration::from_secs(3_600)) {}
    assert_eq!(case.broker.clients.len(), 0, "the timer of the last connection is still there");
}
