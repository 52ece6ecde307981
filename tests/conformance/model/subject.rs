//! The broker under test: wires instead of sockets, and a clock that is moved by hand.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flockmq::auth::{self, Authenticator};
use flockmq::broker::{Admission, Attached, Broker, Burst, Duty, Settings, Wire};
use flockmq::codec::{self, Packet, ProtocolVersion};
use flockmq::metrics::Metrics;
use flockmq::net::clock;
use flockmq::session;

use super::CLIENTS;
use crate::packets::{V5, V31, V311, Version};
use crate::text;

/// What the broker is given.
pub(super) enum Input {
    Connect { client: usize, version: Version, aliases_max: u16, bytes: Vec<u8> },
    Bytes { client: usize, bytes: Vec<u8> },
    Drop { client: usize },
    Stall { client: usize },
    Unstall { client: usize },
    Advance { seconds: u64 },
}

/// The Client Identifier of a client.
pub(super) fn id_of(client: usize) -> String {
    format!("client-{client}")
}

/// A socket that takes everything, or nothing.
#[derive(Default)]
struct Cable {
    bytes: Mutex<Vec<u8>>,
    is_full: AtomicBool,
}

impl Wire for Cable {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Whoever drives the connection looks at it after each step anyway.
    fn wake(&self) {}
}

struct Connection {
    cable: Arc<Cable>,
    attached: Attached,
    version: Version,
    /// Topic Alias Maximum of the client.
    aliases_max: u16,
    /// What the aliases stand for.
    aliases: BTreeMap<u16, String>,
}

impl Connection {
    fn lines(&mut self) -> Vec<String> {
        let lines: Vec<String> = {
            let mut bytes = self.cable.bytes.lock().unwrap();
            let lines = std::iter::from_fn(|| text::take(&mut bytes, self.version));
            let lines = lines.map(|(line, _)| line).collect();
            assert!(bytes.is_empty(), "half a packet: {bytes:02x?}");
            lines
        };
        lines.into_iter().map(|line| self.without_alias(&line)).collect()
    }

    /// The line of a PUBLISH with the topic that its alias stands for [MQTT5-3.3.2-11].
    fn without_alias(&mut self, line: &str) -> String {
        let Some(alias) = line.split(' ').find_map(|word| word.strip_prefix("alias=")) else {
            return line.to_owned();
        };
        let number: u16 = alias.parse().expect("a number");
        assert!((1..=self.aliases_max).contains(&number), "{line}, where {} are taken", self.aliases_max);
        let mut words: Vec<&str> = line.split(' ').filter(|word| !word.starts_with("alias=")).collect();
        if words[1].is_empty() {
            words[1] = self.aliases.get(&number).expect("an alias that was made");
        } else {
            self.aliases.insert(number, words[1].to_owned());
        }
        words.join(" ")
    }
}

pub(super) struct Subject {
    broker: Arc<Broker>,
    limits: Arc<session::Settings>,
    now: Instant,
    connections: [Option<Connection>; CLIENTS],
    taken_over: [Option<Connection>; CLIENTS],
}

impl Subject {
    pub(super) fn new() -> Self {
        let settings = Settings { sys_interval: Duration::ZERO, ..Settings::default() };
        let authenticator = Authenticator::new(&auth::Settings::default()).expect("nothing to read");
        let metrics = Arc::new(Metrics::new());
        let broker = Broker::new(settings, authenticator, metrics, None);
        Self {
            broker: Arc::new(broker),
            limits: Arc::default(),
            now: clock::now(),
            connections: [const { None }; CLIENTS],
            taken_over: [const { None }; CLIENTS],
        }
    }

    pub(super) fn perform(&mut self, input: &Input) {
        match input {
            Input::Connect { client, version, aliases_max, bytes } => {
                self.connect(*client, *version, *aliases_max, bytes);
            }
            Input::Bytes { client, bytes } => self.on_bytes(*client, bytes),
            Input::Drop { client } => self.close(*client),
            Input::Stall { client } => self.set_full(*client, true),
            Input::Unstall { client } => {
                self.set_full(*client, false);
                self.attend(*client);
            }
            Input::Advance { seconds } => {
                for _ in 0..*seconds {
                    self.now += Duration::from_secs(1);
                    while self.broker.on_tick(self.now) {}
                }
            }
        }
    }

    /// Does what the owner of the connection does when it is woken.
    fn attend(&self, client: usize) {
        let Some(Connection { attached, cable, .. }) = &self.connections[client] else { return };
        let (client, generation) = (&attached.client, attached.generation);
        while !cable.is_full.load(Ordering::Relaxed)
            && matches!(client.duty(generation), Duty::AwaitRoom | Duty::AwaitRoomOnly)
        {
            self.broker.on_writable(self.now, client, generation);
            while self.broker.on_turn(self.now, client, generation) {}
        }
    }

    /// What came on the client's connection since the last call.
    pub(super) fn lines(&mut self, client: usize) -> Vec<String> {
        self.attend(client);
        let Some(connection) = &mut self.connections[client] else { return Vec::new() };
        let mut lines = connection.lines();
        if connection.attached.client.duty(connection.attached.generation) == Duty::Close {
            lines.push("closed".to_owned());
        }
        lines
    }

    /// What came last on the connection that another one has displaced.
    pub(super) fn lines_before_takeover(&mut self, client: usize) -> Vec<String> {
        let Some(mut old) = self.taken_over[client].take() else { return Vec::new() };
        assert_eq!(old.attached.client.duty(old.attached.generation), Duty::Close);
        self.broker.on_closed(self.now, &old.attached.client, old.attached.generation);
        old.lines()
    }

    fn connect(&mut self, client: usize, version: Version, aliases_max: u16, bytes: &[u8]) {
        let Ok(Packet::Connect(connect)) = codec::decode(ProtocolVersion::V5, bytes) else {
            panic!("the history's CONNECT does not decode")
        };
        let Ok(Admission::Granted(negotiated)) = self.broker.admit(&connect, &self.limits, 0) else {
            panic!("every history's CONNECT is fine")
        };
        let cable = Arc::new(Cable::default());
        let mut burst = Burst::default();
        let wire: Arc<dyn Wire> = Arc::clone(&cable) as Arc<dyn Wire>;
        let attached = self.broker.connect(self.now, &negotiated, &wire, &mut burst);
        self.broker.flush(&mut burst);
        attached.client.flush();
        self.taken_over[client] = self.connections[client].replace(Connection {
            cable,
            attached,
            version,
            aliases_max,
            aliases: BTreeMap::new(),
        });
    }

    fn on_bytes(&mut self, client: usize, bytes: &[u8]) {
        let Some(Connection { attached, version, .. }) = &self.connections[client] else { return };
        let version = match version {
            V31 => ProtocolVersion::V31,
            V311 => ProtocolVersion::V311,
            V5 => ProtocolVersion::V5,
        };
        let mut rest = bytes;
        let mut burst = Burst::default();
        let mut is_gone = false;
        while let Some(header) = codec::peek(rest, u32::MAX).expect("histories are well-formed") {
            let (frame, after) = rest.split_at(header.total_len);
            let packet = codec::decode(version, frame).expect("histories are well-formed");
            let outcome =
                self.broker.on_packet(self.now, &attached.client, attached.generation, packet, &mut burst);
            is_gone |= outcome.is_err();
            rest = after;
        }
        self.broker.flush(&mut burst);
        attached.client.flush();
        while self.broker.on_turn(self.now, &attached.client, attached.generation) {}
        if is_gone {
            self.close(client);
        }
    }

    fn close(&mut self, client: usize) {
        if let Some(Connection { attached, .. }) = self.connections[client].take() {
            self.broker.on_closed(self.now, &attached.client, attached.generation);
        }
    }

    fn set_full(&self, client: usize, is_full: bool) {
        if let Some(connection) = &self.connections[client] {
            connection.cable.is_full.store(is_full, Ordering::Relaxed);
        }
    }
}
