//! The last words to a client: they are the last, and they are written.

use std::io;

use parking_lot::Mutex;

use super::super::{Attached, Duty};
use super::*;
use crate::codec::{Qos, peek};

/// A socket during whose next write something else happens, as another thread could do it.
#[derive(Default)]
struct Interrupted {
    written: Mutex<Vec<u8>>,
    interruption: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Wire for Interrupted {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let interruption = self.interruption.lock().take();
        if let Some(interrupt) = interruption {
            interrupt();
        }
        self.written.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn wake(&self) {}
}

impl Interrupted {
    fn attach(self: &Arc<Self>, node: &Node) -> Attached {
        let connect = Connect::new(V5, "reader");
        let Ok(Admission::Granted(negotiated)) = node.broker.admit(&connect, &node.sessions, 1) else {
            panic!("the CONNECT is accepted")
        };
        let wire: Arc<dyn Wire> = Arc::clone(self) as Arc<dyn Wire>;
        let mut burst = Burst::default();
        let attached = node.broker.connect(node.clock.now(), &negotiated, &wire, &mut burst);
        node.broker.flush(&mut burst);
        attached.client.flush();
        attached
    }

    /// The first bytes of all packets that were written.
    fn packets(&self) -> Vec<u8> {
        let written = self.written.lock();
        let (mut at, mut packets) = (0, Vec::new());
        while let Ok(Some(header)) = peek(&written[at..], u32::MAX) {
            packets.push(written[at]);
            at += header.total_len;
        }
        packets
    }
}

const CONNACK: u8 = 0x20;
const PINGRESP: u8 = 0xD0;
const DISCONNECT: u8 = 0xE0;

/// [MQTT5-3.14.4-1]
#[test]
fn nothing_follows_the_goodbye() {
    let node = Node::new();
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        for filter in ["t", "$share/g/t"] {
            let (reader, publisher) = (node.durable("reader"), node.client("publisher"));
            reader.subscribe(filter, qos);
            reader.stop_reading();
            publisher.publish("t", "before", qos);
            node.broker.refuse(reader.client(), reader.client().generation(), ReasonCode::MalformedPacket);
            publisher.publish("t", "after", qos);
            reader.let_through();
            let (client, generation) = (reader.client(), reader.client().generation());
            node.broker.on_writable(node.clock.now(), client, generation);
            let received = reader.received();
            assert_eq!(received.len(), 2, "{received:?}");
            assert!(received[0].starts_with("PUBLISH t:before"), "{received:?}");
            assert!(received[1].starts_with("DISCONNECT"), "{received:?}");
            reader.lose_connection();
            let back = node.durable("reader");
            let kept = back.received();
            let has_after = kept.iter().any(|line| line.starts_with("PUBLISH t:after"));
            assert_eq!(has_after, qos == Qos::AtLeastOnce, "{kept:?}");
            drop(node.client("reader"));
        }
    }
}

#[test]
fn a_connection_is_closed_once_its_goodbye_is_written() {
    let node = Node::new();
    let reader = node.client("reader");
    let (client, generation) = (reader.client(), reader.client().generation());
    reader.subscribe("t", Qos::AtMostOnce);
    reader.stop_reading();
    node.client("publisher").publish("t", "1", Qos::AtMostOnce);
    assert_eq!(client.duty(generation), Duty::AwaitRoom);
    node.broker.refuse(client, generation, ReasonCode::MalformedPacket);
    assert_eq!(client.duty(generation), Duty::Part { room: true });
    reader.let_through();
    node.broker.on_writable(node.clock.now(), client, generation);
    assert_eq!(client.duty(generation), Duty::Close);
    reader.break_line();
}

#[test]
fn a_connection_that_fails_is_not_waited_for() {
    let node = Node::new();
    let reader = node.client("reader");
    reader.break_line();
    node.broker.refuse(reader.client(), reader.client().generation(), ReasonCode::MalformedPacket);
    assert!(reader.is_closed());
}

/// Whoever writes when the goodbye is said writes that too, and the owner waits for it.
#[test]
fn a_goodbye_said_during_a_write_is_written() {
    type Act = fn(&Node, &Attached);
    let check = |act: Act| {
        let node = Node::new();
        let wire = Arc::new(Interrupted::default());
        let attached = wire.attach(&node);
        let (client, generation) = (Arc::clone(&attached.client), attached.generation);
        let now = node.clock.now();
        let (broker, metrics) = (Arc::clone(&node.broker), Arc::clone(&node.metrics));
        let sessions = Arc::clone(&node.sessions);
        *wire.interruption.lock() = Some(Box::new(move || {
            let clock = Clock(Rc::new(Cell::new(now)));
            let node = Node { broker, metrics, sessions, clock };
            let attached = Attached { client: Arc::clone(&client), generation };
            act(&node, &attached);
            assert_eq!(client.duty(generation), Duty::Part { room: false });
        }));
        let mut burst = Burst::default();
        let ping = crate::codec::Packet::PingReq;
        let sent = node.broker.on_packet(now, &attached.client, generation, ping, &mut burst);
        assert_eq!(sent, Ok(()));
        attached.client.flush();
        assert_eq!(wire.packets(), [CONNACK, PINGRESP, DISCONNECT]);
        assert_eq!(attached.client.duty(generation), Duty::Close);
    };
    check(|node, it| node.broker.refuse(&it.client, it.generation, ReasonCode::MalformedPacket));
    check(|node, _| drop(node.durable("reader"))); // Takes over.
    check(|node, _| node.broker.shutdown(node.clock.now()));
}
