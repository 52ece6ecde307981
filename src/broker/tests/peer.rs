//! A client and its connection, as a test holds them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::short::short;
use super::{Clock, Node};
use crate::broker::{Attached, Broker, Burst, Client, Duty, Gone, Wire};
use crate::codec::{
    Disconnect, Packet, PacketId, ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish, Qos, ReasonCode,
    Subscribe, SubscribeFilter, SubscribeOptions, Unsubscribe, UserProperties, decode, peek,
};

/// How often a packet is looked for before it counts as missing.
const WRITER_TURNS_MAX: usize = 100_000;

/// A socket that a test can fill up and break.
#[derive(Default)]
pub(super) struct Line {
    state: Mutex<LineState>,
}

#[derive(Default)]
struct LineState {
    written: Vec<u8>,
    is_full: bool,
    is_broken: bool,
}

impl Wire for Line {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        match (state.is_broken, state.is_full) {
            (true, _) => Err(io::ErrorKind::BrokenPipe.into()),
            (false, true) => Err(io::ErrorKind::WouldBlock.into()),
            (false, false) => {
                // Never all at once, as sockets do.
                let written = bytes.len().div_ceil(2);
                state.written.extend_from_slice(&bytes[..written]);
                Ok(written)
            }
        }
    }

    fn wake(&self) {}
}

/// A client with one connection to a node. It does by itself only what it is asked to; its packets are noted
/// in the order in which they came.
pub(super) struct Peer {
    broker: Arc<Broker>,
    clock: Clock,
    line: Arc<Line>,
    attached: Attached,
    version: ProtocolVersion,
    received: RefCell<VecDeque<String>>,
    last_id: Cell<u16>,
}

impl Peer {
    pub(super) fn new(node: &Node, line: Arc<Line>, attached: Attached, version: ProtocolVersion) -> Self {
        Self {
            broker: Arc::clone(&node.broker),
            clock: node.clock.clone(),
            line,
            attached,
            version,
            received: RefCell::default(),
            last_id: Cell::new(0),
        }
    }

    /// Sends one packet, as the bytes that it is on the wire. When the broker closes the connection because of
    /// it, the connection's owner lets go as it has to.
    pub(super) fn send(&self, packet: &Packet<'_>) {
        self.send_alone(packet);
        self.take_turns();
    }

    /// The same, as one of many packets that are handled before the connection's next turn.
    pub(super) fn send_alone(&self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).expect("the test's packet encodes");
        let packet = decode(self.version, &bytes).expect("the test's packet decodes");
        let mut burst = Burst::default();
        let now = self.clock.now();
        let Attached { client, generation } = &self.attached;
        let result = self.broker.on_packet(now, client, *generation, packet, &mut burst);
        self.broker.flush(&mut burst);
        client.flush();
        if result == Err(Gone) {
            self.lose_connection();
        }
    }

    /// Does what the owner of the connection does when it has handled an input. Returns how many turns that took
    /// beyond the first.
    pub(super) fn take_turns(&self) -> usize {
        let Attached { client, generation } = &self.attached;
        std::iter::repeat_with(|| self.broker.on_turn(self.clock.now(), client, *generation))
            .take_while(|goes_on| *goes_on)
            .count()
    }

    /// The network fails, or the connection's owner has to let go.
    pub(super) fn lose_connection(&self) {
        self.broker.on_closed(self.clock.now(), &self.attached.client, self.attached.generation);
    }

    /// The node closes the connection with a reason of its own, such as a keep alive that has run out.
    pub(super) fn be_refused(&self, reason: ReasonCode) {
        self.broker.refuse(&self.attached.client, self.attached.generation, reason);
        self.lose_connection();
    }

    /// Whether the connection is over.
    pub(super) fn is_closed(&self) -> bool {
        self.attached.client.duty(self.attached.generation) == Duty::Close
    }

    /// The client stops reading: the socket is full at once.
    pub(super) fn stop_reading(&self) {
        self.line.state.lock().is_full = true;
    }

    /// The client reads again.
    pub(super) fn go_on_reading(&self) {
        self.let_through();
        self.attend();
    }

    /// The socket has room again, and its owner does not know it yet.
    pub(super) fn let_through(&self) {
        self.line.state.lock().is_full = false;
    }

    /// Does what the owner of the connection does when it is woken.
    fn attend(&self) {
        let (client, generation) = (&self.attached.client, self.attached.generation);
        let has_room = || !self.line.state.lock().is_full;
        while has_room() && matches!(client.duty(generation), Duty::AwaitRoom | Duty::AwaitRoomOnly) {
            self.broker.on_writable(self.clock.now(), client, generation);
            self.take_turns();
        }
    }

    /// From now on every write fails.
    pub(super) fn break_line(&self) {
        self.line.state.lock().is_broken = true;
    }

    /// Everything received since the last call.
    pub(super) fn received(&self) -> Vec<String> {
        self.attend();
        self.read();
        self.received.take().into()
    }

    /// Takes the first packet of that kind out of what was received, without its name.
    pub(super) fn take(&self, kind: &str) -> String {
        self.try_take(kind).unwrap_or_else(|| panic!("no {kind} in {:?}", self.received.borrow()))
    }

    fn try_take(&self, kind: &str) -> Option<String> {
        for _ in 0..WRITER_TURNS_MAX {
            self.read();
            let mut received = self.received.borrow_mut();
            let index = received.iter().position(|line| line.split(' ').next() == Some(kind));
            if let Some(line) = index.and_then(|index| received.remove(index)) {
                return Some(line[kind.len()..].trim_start().to_owned());
            }
            // Another thread may be writing to this connection, and then writes what was appended meanwhile.
            std::thread::yield_now();
        }
        None
    }

    /// The client as the broker knows it.
    pub(super) fn client(&self) -> &Arc<Client> {
        &self.attached.client
    }

    /// Receives and acknowledges until nothing more comes: `topic:payload` of each message.
    pub(super) fn consume(&self) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            let received = self.received();
            if received.is_empty() {
                return messages;
            }
            for line in received {
                let words: Vec<&str> = line.split(' ').collect();
                let id = words.iter().find_map(|word| word.strip_prefix('#')).and_then(|id| id.parse().ok());
                match (words[0], words.get(2), id) {
                    ("PUBLISH", Some(&"q1"), Some(id)) => self.puback(id),
                    ("PUBLISH", Some(&"q2"), Some(id)) => self.pubrec(id, ReasonCode::Success),
                    ("PUBREL", _, Some(id)) => self.pubcomp(id),
                    _ => {}
                }
                if words[0] == "PUBLISH" {
                    messages.push(words[1].to_owned());
                }
            }
        }
    }

    /// Subscribes to one filter; the name of the SUBACK's code.
    pub(super) fn subscribe(&self, filter: &str, qos: Qos) -> String {
        self.subscribe_with(filter, SubscribeOptions::with_qos(qos), None)
    }

    pub(super) fn subscribe_with(
        &self,
        filter: &str,
        options: SubscribeOptions,
        subscription_id: Option<u32>,
    ) -> String {
        self.send_subscribe(filter, options, subscription_id);
        self.take("SUBACK")
    }

    pub(super) fn send_subscribe(
        &self,
        filter: &str,
        options: SubscribeOptions,
        subscription_id: Option<u32>,
    ) {
        self.send_subscribe_alone(filter, options, subscription_id);
        self.take_turns();
    }

    /// The same as one of many packets.
    pub(super) fn send_subscribe_alone(
        &self,
        filter: &str,
        options: SubscribeOptions,
        subscription_id: Option<u32>,
    ) {
        self.send_alone(&Packet::Subscribe(Subscribe {
            packet_id: self.next_id(),
            subscription_id,
            user: UserProperties::default(),
            filters: vec![SubscribeFilter { filter, options }],
        }));
    }

    /// Unsubscribes from one filter; the name of the UNSUBACK's code.
    pub(super) fn unsubscribe(&self, filter: &str) -> String {
        self.send_unsubscribe(filter);
        self.take("UNSUBACK")
    }

    pub(super) fn send_unsubscribe(&self, filter: &str) {
        let user = UserProperties::default();
        self.send(&Packet::Unsubscribe(Unsubscribe {
            packet_id: self.next_id(),
            user,
            filters: vec![filter],
        }));
    }

    /// Publishes and completes the flow; the name of the code in PUBACK or PUBREC, nothing at QoS 0.
    pub(super) fn publish(&self, topic: &str, payload: &str, qos: Qos) -> String {
        self.publish_with(Publish { qos, ..Publish::new(topic, payload.as_bytes()) })
    }

    /// The same with other flags and properties; the Packet Identifier is set here.
    pub(super) fn publish_with(&self, publish: Publish<'_>) -> String {
        let packet_id = (publish.qos != Qos::AtMostOnce).then(|| self.next_id());
        let qos = publish.qos;
        self.send(&Packet::Publish(Publish { packet_id, ..publish }));
        let answer = match qos {
            Qos::AtMostOnce => return String::new(),
            Qos::AtLeastOnce => self.take("PUBACK"),
            Qos::ExactlyOnce => self.take("PUBREC"),
        };
        let (id, reason) = answer.split_once(' ').expect("an acknowledgement has an identifier and a reason");
        assert_eq!(id.strip_prefix('#'), packet_id.map(|id| id.to_string()).as_deref());
        let is_received = matches!(reason, "Success" | "NoMatchingSubscribers");
        if let (Qos::ExactlyOnce, true, Some(packet_id)) = (qos, is_received, packet_id) {
            self.send(&Packet::PubRel(PubRel {
                packet_id,
                reason: ReasonCode::Success,
                reason_string: None,
                user: UserProperties::default(),
            }));
            self.take("PUBCOMP");
        }
        reason.to_owned()
    }

    pub(super) fn puback(&self, number: u16) {
        self.puback_with(number, ReasonCode::Success);
    }

    pub(super) fn puback_with(&self, number: u16, reason: ReasonCode) {
        let user = UserProperties::default();
        self.send(&Packet::PubAck(PubAck { packet_id: id(number), reason, reason_string: None, user }));
    }

    pub(super) fn pubrec(&self, number: u16, reason: ReasonCode) {
        let user = UserProperties::default();
        self.send(&Packet::PubRec(PubRec { packet_id: id(number), reason, reason_string: None, user }));
    }

    pub(super) fn pubcomp(&self, number: u16) {
        let user = UserProperties::default();
        let reason = ReasonCode::Success;
        self.send(&Packet::PubComp(PubComp { packet_id: id(number), reason, reason_string: None, user }));
    }

    /// Says goodbye: the connection is over afterwards.
    pub(super) fn disconnect(&self) {
        self.disconnect_with(ReasonCode::NormalDisconnection, None);
    }

    pub(super) fn disconnect_with(&self, reason: ReasonCode, session_expiry: Option<u32>) {
        self.send(&Packet::Disconnect(Disconnect {
            reason,
            session_expiry,
            reason_string: None,
            server_reference: None,
            user: UserProperties::default(),
        }));
        assert!(self.is_closed());
    }

    fn next_id(&self) -> PacketId {
        self.last_id.set(self.last_id.get() + 1);
        id(self.last_id.get())
    }

    fn read(&self) {
        let mut state = self.line.state.lock();
        let mut used = 0;
        // The end of a packet may still be on its way, when other threads are at work.
        while let Some(header) =
            peek(&state.written[used..], u32::MAX).expect("the broker's packets are sound")
        {
            let Some(frame) = state.written.get(used..used + header.total_len) else { break };
            let packet = decode(self.version, frame).expect("the broker's packets decode");
            self.received.borrow_mut().push_back(short(&packet));
            used += header.total_len;
        }
        state.written.drain(..used);
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("no test uses 0")
}
