//! An MQTT 5 client without a network: its packets go through the codec into a broker, and what the broker writes is
//! decoded, acknowledged and noted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flockmq::broker::{Admission, Attached, Broker, Burst, Wire};
use flockmq::codec::{
    Connect, Packet, PacketId, ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish, Qos, ReasonCode,
    Subscribe, SubscribeFilter, SubscribeOptions, Unsubscribe, UserProperties, decode, peek,
};
use flockmq::session;
use parking_lot::Mutex;

use crate::history::{Delivery, History, Life, View};

const V5: ProtocolVersion = ProtocolVersion::V5;

/// A socket that takes everything.
#[derive(Default)]
struct Line(Mutex<Vec<u8>>);

impl Wire for Line {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn wake(&self) {}
}

/// What an acknowledgement is for.
enum Awaited {
    Subscription(usize),
    End(usize),
    Message(usize),
}

/// A connected client.
pub struct Client {
    number: u32,
    life: Life,
    broker: Arc<Broker>,
    line: Arc<Line>,
    attached: Attached,
    last_id: u16,
    awaited: BTreeMap<u16, Awaited>,
}

impl Client {
    /// Connects, with a session that ends with the connection.
    pub fn connect(
        number: u32,
        life: Life,
        broker: &Arc<Broker>,
        sessions: &Arc<session::Settings>,
        now: Instant,
    ) -> Result<Self, ReasonCode> {
        let name = format!("client{number}");
        let Admission::Granted(negotiated) =
            broker.admit(&Connect::new(V5, &name), sessions, u128::from(number))?
        else {
            return Err(ReasonCode::NotAuthorized);
        };
        let line = Arc::new(Line::default());
        let wire: Arc<dyn Wire> = Arc::clone(&line) as Arc<dyn Wire>;
        let mut burst = Burst::default();
        let attached = broker.connect(now, &negotiated, &wire, &mut burst);
        broker.flush(&mut burst);
        let broker = Arc::clone(broker);
        Ok(Self { number, life, broker, line, attached, last_id: 0, awaited: BTreeMap::new() })
    }

    /// Sends SUBSCRIBE for the subscription at this place of the history.
    pub fn subscribe(&mut self, now: Instant, at: usize, filter: &str, qos: Qos) {
        let packet_id = self.next_id(Awaited::Subscription(at));
        let options = SubscribeOptions::with_qos(qos);
        let filters = vec![SubscribeFilter { filter, options }];
        let user = UserProperties::default();
        self.send(now, Packet::Subscribe(Subscribe { packet_id, subscription_id: None, user, filters }));
    }

    /// Sends UNSUBSCRIBE for the subscription at this place of the history.
    pub fn unsubscribe(&mut self, now: Instant, at: usize, filter: &str) {
        let packet_id = self.next_id(Awaited::End(at));
        let (user, filters) = (UserProperties::default(), vec![filter]);
        self.send(now, Packet::Unsubscribe(Unsubscribe { packet_id, user, filters }));
    }

    /// Sends PUBLISH for the message at this place of the history.
    pub fn publish(&mut self, now: Instant, at: usize, topic: &str, qos: Qos) {
        let packet_id = (qos != Qos::AtMostOnce).then(|| self.next_id(Awaited::Message(at)));
        let payload = at.to_string();
        self.send(
            now,
            Packet::Publish(Publish { packet_id, qos, ..Publish::new(topic, payload.as_bytes()) }),
        );
    }

    /// Takes what the broker has written. `view` is what the node thinks of the others now.
    pub fn read(&mut self, now: Instant, at: Duration, view: &dyn Fn() -> View, history: &Mutex<History>) {
        loop {
            let bytes = std::mem::take(&mut *self.line.0.lock());
            if bytes.is_empty() {
                return;
            }
            let mut rest = bytes.as_slice();
            while let Ok(Some(header)) = peek(rest, u32::MAX) {
                let Some((frame, after)) = rest.split_at_checked(header.total_len) else { break };
                match decode(V5, frame) {
                    Ok(packet) => self.on_packet(now, at, &packet, view, history),
                    Err(error) => {
                        history.lock().impossible.push(format!("the broker wrote nonsense: {error}"))
                    }
                }
                rest = after;
            }
            if !rest.is_empty() {
                history.lock().impossible.push("the broker wrote half a packet".to_owned());
            }
        }
    }

    fn on_packet(
        &mut self,
        now: Instant,
        at: Duration,
        packet: &Packet<'_>,
        view: &dyn Fn() -> View,
        history: &Mutex<History>,
    ) {
        let (reason, reason_string, user) = (ReasonCode::Success, None, UserProperties::default());
        match packet {
            Packet::Publish(publish) => {
                self.on_publish(at, publish, history);
                let Some(packet_id) = publish.packet_id else { return };
                let answer = match publish.qos {
                    Qos::ExactlyOnce => Packet::PubRec(PubRec { packet_id, reason, reason_string, user }),
                    _ => Packet::PubAck(PubAck { packet_id, reason, reason_string, user }),
                };
                self.send(now, answer);
            }
            Packet::PubRel(release) => {
                let packet_id = release.packet_id;
                self.send(now, Packet::PubComp(PubComp { packet_id, reason, reason_string, user }));
            }
            Packet::PubAck(PubAck { packet_id, .. }) => self.on_message_acknowledged(*packet_id, history),
            Packet::PubRec(received) => {
                // After a refusal nothing follows [MQTT5-4.3.3-4].
                if received.reason as u8 >= 0x80 {
                    self.on_message_acknowledged(received.packet_id, history);
                    return;
                }
                let packet_id = received.packet_id;
                self.send(now, Packet::PubRel(PubRel { packet_id, reason, reason_string, user }));
            }
            Packet::PubComp(PubComp { packet_id, .. }) => self.on_message_acknowledged(*packet_id, history),
            Packet::SubAck(answer) => {
                let Some(Awaited::Subscription(place)) = self.awaited.remove(&answer.packet_id.get()) else {
                    return;
                };
                let reached_all = answer.user.iter().all(|(name, _)| name != "flockmq-reached");
                let mut history = history.lock();
                history.mark(at, &[1, u64::from(self.number), place as u64, u64::from(reached_all)]);
                let subscription = &mut history.subscriptions[place];
                subscription.acknowledged = Some(at);
                subscription.reached = if reached_all { view() } else { View::new() };
            }
            Packet::UnsubAck(answer) => {
                if let Some(Awaited::End(place)) = self.awaited.remove(&answer.packet_id.get()) {
                    history.lock().subscriptions[place].ended = Some(at);
                }
            }
            Packet::ConnAck(_) => {}
            other => history.lock().impossible.push(format!("the broker sent {other:?}")),
        }
    }

    fn on_publish(&self, at: Duration, publish: &Publish<'_>, history: &Mutex<History>) {
        let number = std::str::from_utf8(publish.payload).ok().and_then(|text| text.parse::<usize>().ok());
        let mut history = history.lock();
        let Some(message) = number.filter(|number| *number < history.messages.len()) else {
            history.impossible.push(format!("nobody ever published {:?}", publish.payload));
            return;
        };
        history.mark(at, &[2, u64::from(self.number), message as u64]);
        history.deliveries.push(Delivery {
            life: self.life,
            client: self.number,
            message,
            qos: publish.qos,
            at,
        });
    }

    fn on_message_acknowledged(&mut self, id: PacketId, history: &Mutex<History>) {
        if let Some(Awaited::Message(place)) = self.awaited.remove(&id.get()) {
            history.lock().messages[place].acknowledged = true;
        }
    }

    fn send(&self, now: Instant, packet: Packet<'_>) {
        let mut burst = Burst::default();
        let Attached { client, generation } = &self.attached;
        // What the broker refuses shows in its answer.
        let _ = self.broker.on_packet(now, client, *generation, packet, &mut burst);
        self.broker.flush(&mut burst);
        client.flush();
    }

    fn next_id(&mut self, awaited: Awaited) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let Some(id) = PacketId::new(self.last_id) else { continue };
            if let Entry::Vacant(place) = self.awaited.entry(id.get()) {
                place.insert(awaited);
                return id;
            }
        }
    }
}
