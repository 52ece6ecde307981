//! A small blocking MQTT client for tests: it does what it is told, in one thread, and nothing by itself
//! except acknowledging what arrives while it reads.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::inbox::{Message, Properties};
use super::wire::{self, Fields, Packet};

/// How long an answer of the broker may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// MQTT protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V31,
    V311,
    V5,
}

impl Version {
    pub(crate) const ALL: [Self; 3] = [Self::V31, Self::V311, Self::V5];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }

    fn protocol(self) -> (&'static str, u8) {
        match self {
            Self::V31 => ("MQIsdp", 3),
            Self::V311 => ("MQTT", 4),
            Self::V5 => ("MQTT", 5),
        }
    }
}

/// What a CONNECT says. Keep alive is off unless set, so that only tests about it depend on time.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) clean_start: bool,
    /// Version 5 only.
    pub(crate) session_expiry: Option<u32>,
    pub(crate) keep_alive: u16,
    /// Topic, payload, QoS.
    pub(crate) will: Option<(String, Vec<u8>, u8)>,
}

impl Options {
    pub(crate) fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            clean_start: true,
            session_expiry: None,
            keep_alive: 0,
            will: None,
        }
    }

    /// The session outlives the connection, in the words of the version.
    pub(crate) fn persistent(self) -> Self {
        let session_expiry = (self.version == Version::V5).then_some(3_600);
        Self { clean_start: false, session_expiry, ..self }
    }

    pub(crate) fn keep_alive(self, seconds: u16) -> Self {
        Self { keep_alive: seconds, ..self }
    }

    pub(crate) fn will(self, topic: &str, payload: &[u8], qos: u8) -> Self {
        Self { will: Some((topic.to_owned(), payload.to_vec(), qos)), ..self }
    }

    /// The bytes of the CONNECT packet.
    pub(crate) fn connect_packet(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let (name, level) = self.version.protocol();
        wire::string(&mut body, name);
        body.push(level);
        let will_flags = self.will.as_ref().map_or(0, |(_, _, qos)| 0x04 | qos << 3);
        body.push(u8::from(self.clean_start) << 1 | will_flags);
        body.extend_from_slice(&self.keep_alive.to_be_bytes());
        let mut properties = Vec::new();
        if let Some(seconds) = self.session_expiry {
            properties.push(0x11);
            properties.extend_from_slice(&seconds.to_be_bytes());
        }
        wire::properties(&mut body, self.version, &properties);
        wire::string(&mut body, &self.client_id);
        if let Some((topic, payload, _)) = &self.will {
            wire::properties(&mut body, self.version, &[]);
            wire::string(&mut body, topic);
            wire::binary(&mut body, payload);
        }
        wire::packet(wire::CONNECT, &body)
    }
}

/// Why no packet came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The broker closed the connection.
    Closed,
    /// Nothing within the time given.
    TimedOut,
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    version: Version,
    packet_id: u16,
    inbox: VecDeque<Message>,
    /// Packet identifiers of QoS 2 messages whose PUBREL has not come [MQTT5-4.3.3-9].
    unreleased: BTreeSet<u16>,
    pub(crate) session_present: bool,
    /// The reason code of the DISCONNECT that the broker sent.
    pub(crate) disconnect_reason: Option<u8>,
}

impl Client {
    /// Connects and expects to be accepted.
    #[track_caller]
    pub(crate) fn connect(at: SocketAddr, options: &Options) -> Self {
        Self::try_connect(at, options)
            .unwrap_or_else(|error| panic!("{} was not accepted by {at}: {error}", options.client_id))
    }

    /// Connects; an error when the broker is not there, closes, or refuses.
    pub(crate) fn try_connect(at: SocketAddr, options: &Options) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&at, ANSWER_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let mut client = Self {
            stream,
            received: Vec::new(),
            version: options.version,
            packet_id: 0,
            inbox: VecDeque::new(),
            unreleased: BTreeSet::new(),
            session_present: false,
            disconnect_reason: None,
        };
        client.stream.write_all(&options.connect_packet())?;
        let answer = client
            .next_packet(ANSWER_TIMEOUT)
            .map_err(|silence| io::Error::other(format!("no CONNACK: {silence:?}")))?;
        if answer.first_byte != wire::CONNACK || answer.body.len() < 2 || answer.body[1] != 0 {
            return Err(io::Error::other(format!("answered with {answer:?}")));
        }
        client.session_present = answer.body[0] == 1;
        Ok(client)
    }

    /// Subscribes to one filter and returns after its SUBACK.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        let packet_id = self.next_packet_id();
        let mut body = packet_id.to_be_bytes().to_vec();
        wire::properties(&mut body, self.version, &[]);
        wire::string(&mut body, filter);
        body.push(qos);
        self.send(&wire::packet(wire::SUBSCRIBE, &body));
        let answer = self.answer(wire::SUBACK, packet_id);
        let code = answer.body.last().copied().expect("SUBACK has a code for each filter");
        assert_eq!(code, qos, "the code for {filter} in {answer:?}");
    }

    /// Unsubscribes from one filter and returns after its UNSUBACK.
    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, filter: &str) {
        let packet_id = self.next_packet_id();
        let mut body = packet_id.to_be_bytes().to_vec();
        wire::properties(&mut body, self.version, &[]);
        wire::string(&mut body, filter);
        self.send(&wire::packet(wire::UNSUBSCRIBE, &body));
        let answer = self.answer(wire::UNSUBACK, packet_id);
        if self.version == Version::V5 {
            assert_eq!(answer.body.last(), Some(&0), "the code for {filter} in {answer:?}");
        }
    }

    /// Publishes and returns when the broker has taken over the message, by the rules of the QoS.
    #[track_caller]
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8], qos: u8) {
        self.publish_with(topic, payload, qos, &Properties::default());
    }

    /// As `publish`, with properties (left out before version 5).
    #[track_caller]
    pub(crate) fn publish_with(&mut self, topic: &str, payload: &[u8], qos: u8, properties: &Properties) {
        let mut body = Vec::new();
        wire::string(&mut body, topic);
        let packet_id = if qos > 0 { self.next_packet_id() } else { 0 };
        if qos > 0 {
            body.extend_from_slice(&packet_id.to_be_bytes());
        }
        wire::properties(&mut body, self.version, &wire::publish_properties(properties));
        body.extend_from_slice(payload);
        self.send(&wire::packet(wire::PUBLISH | qos << 1, &body));
        match qos {
            0 => {}
            1 => self.check_acknowledged(wire::PUBACK, packet_id),
            _ => {
                self.check_acknowledged(wire::PUBREC, packet_id);
                self.send(&wire::packet(wire::PUBREL, &packet_id.to_be_bytes()));
                self.check_acknowledged(wire::PUBCOMP, packet_id);
            }
        }
    }

    /// Waits for the PINGRESP: everything sent before has been read by the broker.
    #[track_caller]
    pub(crate) fn ping(&mut self) {
        self.send(&wire::packet(wire::PINGREQ, &[]));
        self.packet_of(wire::PINGRESP);
    }

    /// Leaves in good order: no will.
    pub(crate) fn disconnect(mut self) {
        self.send(&wire::packet(wire::DISCONNECT, &[]));
        // The broker may already have closed; either way the connection is over.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.wait_closed(ANSWER_TIMEOUT);
    }

    /// Breaks the connection without a DISCONNECT.
    pub(crate) fn die(self) {
        // The broker may have closed first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The next application message, when it comes within `limit`.
    pub(crate) fn message(&mut self, limit: Duration) -> Option<Message> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Some(message);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_packet(left) {
                Ok(packet) => self.take_in(packet),
                Err(_) => return None,
            }
        }
    }

    /// The next application message, which must come.
    #[track_caller]
    pub(crate) fn expect_message(&mut self) -> Message {
        self.message(ANSWER_TIMEOUT).expect("a message")
    }

    /// All messages before the one on topic `sentinel`, which must come.
    #[track_caller]
    pub(crate) fn messages_before(&mut self, sentinel: &str) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            let message = self
                .message(ANSWER_TIMEOUT)
                .unwrap_or_else(|| panic!("the sentinel {sentinel} did not come; what came: {messages:?}"));
            if message.topic == sentinel {
                return messages;
            }
            messages.push(message);
        }
    }

    /// Whether the broker closes the connection within `limit`. Messages that come before are read over.
    pub(crate) fn wait_closed(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next_packet(left) {
                Ok(packet) if packet.kind() == wire::DISCONNECT => {
                    self.disconnect_reason = Some(packet.body.first().copied().unwrap_or(0));
                }
                Ok(_) => {}
                Err(silence) => return silence == Silence::Closed,
            }
        }
    }

    fn next_packet_id(&mut self) -> u16 {
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        self.packet_id
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads what it is sent");
    }

    #[track_caller]
    fn check_acknowledged(&mut self, kind: u8, packet_id: u16) {
        let answer = self.answer(kind, packet_id);
        // Success, or "no matching subscribers": both mean taken over.
        let reason = answer.body.get(2).copied().unwrap_or(0);
        assert!(reason < 0x80, "the publish was refused: {answer:?}");
    }

    /// The acknowledgement of `packet_id`, which must be the next one of its kind.
    #[track_caller]
    fn answer(&mut self, kind: u8, packet_id: u16) -> Packet {
        let packet = self.packet_of(kind);
        assert_eq!(packet.packet_id(), packet_id, "{packet:?} acknowledges another packet");
        packet
    }

    /// The next packet of a kind; messages that come before it are kept.
    #[track_caller]
    fn packet_of(&mut self, kind: u8) -> Packet {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let packet = self
                .next_packet(left)
                .unwrap_or_else(|silence| panic!("no packet of type {kind:#04x}: {silence:?}"));
            if packet.kind() == kind & 0xF0 {
                return packet;
            }
            self.take_in(packet);
        }
    }

    /// Handles a packet that nobody waits for.
    #[track_caller]
    fn take_in(&mut self, packet: Packet) {
        match packet.kind() {
            wire::PUBLISH => self.on_publish(&packet),
            0x60 => {
                self.unreleased.remove(&packet.packet_id());
                self.send(&wire::packet(wire::PUBCOMP, &packet.packet_id().to_be_bytes()));
            }
            wire::DISCONNECT => self.disconnect_reason = Some(packet.body.first().copied().unwrap_or(0)),
            _ => panic!("the broker sent {packet:?} unasked"),
        }
    }

    #[track_caller]
    fn on_publish(&mut self, packet: &Packet) {
        let mut fields = Fields(&packet.body);
        let topic = fields.string();
        let qos = packet.first_byte >> 1 & 0x03;
        let packet_id = if qos > 0 { fields.two_bytes() } else { 0 };
        let properties = match self.version {
            Version::V5 => fields.publish_properties(),
            Version::V31 | Version::V311 => Properties::default(),
        };
        let retain = packet.first_byte & 0x01 == 1;
        let message = Message { topic, payload: fields.0.to_vec(), qos, retain, properties };
        match qos {
            0 => self.inbox.push_back(message),
            1 => {
                self.inbox.push_back(message);
                self.send(&wire::packet(wire::PUBACK, &packet_id.to_be_bytes()));
            }
            _ => {
                if self.unreleased.insert(packet_id) {
                    self.inbox.push_back(message);
                }
                self.send(&wire::packet(wire::PUBREC, &packet_id.to_be_bytes()));
            }
        }
    }

    /// The next packet, whatever it is.
    pub(crate) fn next_packet(&mut self, limit: Duration) -> Result<Packet, Silence> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(packet) = Packet::take(&mut self.received) {
                return Ok(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Silence::TimedOut);
            }
            self.stream.set_read_timeout(Some(left)).expect("the time is not zero");
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Silence::Closed),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if is_timeout(&error) => return Err(Silence::TimedOut),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Silence::Closed),
            }
        }
    }
}

/// What a read that took too long returns.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
