//! The reference: what the standard says must come of each step.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::CLIENTS;
use super::history::{ConnectOp, Op, PublishOp, SubscribeOp, WillOp};
use super::message::Message;
use super::session::{Connection, Expected, Expiry, Session, matches};
use super::subject::{Input, id_of};
use crate::packets::{self, Connect, PUBREL, Publish, V5, V311, Version, Will};
use crate::property::{
    MESSAGE_EXPIRY, RECEIVE_MAXIMUM, SESSION_EXPIRY, SUBSCRIPTION_ID, TOPIC_ALIAS_MAXIMUM, WILL_DELAY, four,
    two, varint,
};

/// Messages that the broker has under way to one client at most.
const INFLIGHT_MAX: usize = 128;
/// Packet identifier of the requests; none of the messages gets so far.
const REQUEST_ID: u16 = 60_000;

/// Something that happens later, unless the client's epoch has changed by then.
struct Timer {
    at: u64,
    client: usize,
    epoch: u64,
    is_will: bool,
}

pub(super) struct Reference {
    /// Seconds since the beginning.
    now: u64,
    sessions: [Option<Session>; CLIENTS],
    retained: BTreeMap<String, Rc<Message>>,
    /// In the order in which they were set.
    timers: Vec<Timer>,
    /// Lines that must come on a connection that was taken over.
    last_words: [Option<VecDeque<String>>; CLIENTS],
    next_payload: u32,
    next_epoch: u64,
}

impl Reference {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            sessions: [const { None }; CLIENTS],
            retained: BTreeMap::new(),
            timers: Vec::new(),
            last_words: [const { None }; CLIENTS],
            next_payload: 0,
            next_epoch: 0,
        }
    }

    /// Takes a step: what the broker is to be given, or nothing when the client cannot do it now.
    pub(super) fn step(&mut self, op: &Op) -> Option<Input> {
        match op {
            Op::Connect { client, connect } => Some(self.connect(*client, connect)),
            Op::Drop { client } => {
                self.connected(*client)?;
                self.close(*client, true);
                Some(Input::Drop { client: *client })
            }
            Op::Disconnect { client, with_will } => {
                let version = self.able(*client)?;
                let with_will = *with_will && version == V5;
                self.close(*client, with_will);
                let bytes =
                    if with_will { packets::disconnect(0x04, &[]) } else { vec![packets::DISCONNECT, 0] };
                Some(Input::Bytes { client: *client, bytes })
            }
            Op::Subscribe { client, filter, options } => self.subscribe(*client, filter, options),
            Op::Unsubscribe { client, filter } => self.unsubscribe(*client, filter),
            Op::Publish { client, publish } => self.publish_op(*client, publish),
            Op::Repeat { client, which } => self.repeat(*client, *which),
            Op::Release { client, which } => self.release(*client, *which),
            Op::Acknowledge { client, which, refused } => self.acknowledge(*client, *which, *refused),
            Op::AcknowledgeAll { client } => self.acknowledge_all(*client),
            Op::Stall { client } => {
                self.connected(*client)?.is_stalled = true;
                Some(Input::Stall { client: *client })
            }
            Op::Unstall { client } => {
                self.connected(*client)?.is_stalled = false;
                Some(Input::Unstall { client: *client })
            }
            Op::Advance { seconds } => {
                (0..*seconds).for_each(|_| self.pass_second());
                Some(Input::Advance { seconds: *seconds })
            }
        }
    }

    fn connected(&mut self, client: usize) -> Option<&mut Connection> {
        self.sessions[client].as_mut()?.connection.as_mut()
    }

    /// The version of a client that is connected and reads what it is sent.
    fn able(&mut self, client: usize) -> Option<Version> {
        let connection = self.connected(client)?;
        (!connection.is_stalled).then_some(connection.version)
    }

    fn session(&mut self, client: usize) -> &mut Session {
        self.sessions[client].as_mut().expect("only clients with a session do this")
    }

    fn connect(&mut self, client: usize, op: &ConnectOp) -> Input {
        let expiry = match (op.version, op.clean, op.expiry) {
            (V5, _, 0) | (V311, true, _) => Expiry::AtClose,
            (V5, _, u32::MAX) | (_, false, _) if op.version == V311 || op.expiry == u32::MAX => Expiry::Never,
            (_, _, seconds) => Expiry::After(u64::from(seconds)),
        };
        let continues =
            self.sessions[client].as_ref().is_some_and(|old| !op.clean && old.expiry != Expiry::AtClose);
        let will = self.take_connection_away(client, continues);
        if !continues {
            self.publish_will(client, will.as_ref());
            self.end_session(client);
        }
        self.next_epoch += 1;
        let epoch = self.next_epoch;
        let (now, is_new) = (self.now, self.sessions[client].is_none());
        let session = self.sessions[client].get_or_insert_with(|| Session::new(expiry, epoch));
        session.expiry = expiry;
        session.epoch = epoch;
        // A delay is a property, which only version 5 has.
        let delay = |will: &WillOp| if op.version == V5 { will.delay } else { 0 };
        session.will = op.will.clone().map(|will| WillOp { delay: delay(&will), ..will });
        session.pending_will = None;
        session.connection = Some(Connection {
            version: op.version,
            window: op.window.filter(|_| op.version == V5).map_or(INFLIGHT_MAX, usize::from),
            is_stalled: false,
            expected: VecDeque::new(),
        });
        session.expect_line(if is_new { "CONNACK 0x00" } else { "CONNACK 0x00 present" }.to_owned());
        session.forget_sent();
        session.pump(now);
        if continues {
            self.publish_will(client, will.as_ref());
        }
        let aliases_max = if op.version == V5 { op.aliases } else { 0 };
        Input::Connect { client, version: op.version, aliases_max, bytes: connect_bytes(client, op) }
    }

    /// The old connection of a client that connects again: its Will, when it is to be published.
    fn take_connection_away(&mut self, client: usize, continues: bool) -> Option<WillOp> {
        let session = self.sessions[client].as_mut()?;
        let connection = session.connection.take()?;
        let said = (connection.version == V5).then(|| "DISCONNECT 0x8e".to_owned());
        // Of a socket that takes nothing the rest is lost, whatever it was.
        self.last_words[client] = (!connection.is_stalled).then(|| said.into_iter().collect());
        session.will.take().filter(|will| will.delay == 0 || !continues)
    }

    /// The connection ends, not by a takeover.
    fn close(&mut self, client: usize, with_will: bool) {
        self.next_epoch += 1;
        let (now, epoch) = (self.now, self.next_epoch);
        let session = self.session(client);
        session.connection = None;
        session.epoch = epoch;
        let will = session.will.take().filter(|_| with_will);
        let ends_at = match session.expiry {
            Expiry::AtClose => Some(now),
            Expiry::After(seconds) => Some(now + seconds),
            Expiry::Never => None,
        };
        if let Some(will) = will {
            let at = ends_at.unwrap_or(u64::MAX).min(now + u64::from(will.delay));
            if at == now {
                self.publish_will(client, Some(&will));
            } else {
                self.session(client).pending_will = Some(will);
                self.timers.push(Timer { at, client, epoch, is_will: true });
            }
        }
        match ends_at {
            Some(at) if at == now => self.end_session(client),
            Some(at) => self.timers.push(Timer { at, client, epoch, is_will: false }),
            None => {}
        }
    }

    /// A session ends: the Will that waits is published first.
    fn end_session(&mut self, client: usize) {
        let Some(session) = &mut self.sessions[client] else { return };
        let will = session.pending_will.take();
        self.publish_will(client, will.as_ref());
        self.sessions[client] = None;
    }

    fn publish_will(&mut self, client: usize, will: Option<&WillOp>) {
        let Some(will) = will else { return };
        let message = Message {
            topic: will.topic.to_owned(),
            payload: format!("will-{client}"),
            qos: will.qos,
            retain: will.retain,
            expires_at: None,
            publisher: client,
        };
        self.publish(message);
    }

    /// Publishes, and returns how many clients have a matching subscription.
    fn publish(&mut self, message: Message) -> usize {
        let message = Rc::new(message);
        if message.retain {
            self.retained.remove(&message.topic);
            if !message.payload.is_empty() {
                self.retained.insert(message.topic.clone(), Rc::clone(&message));
            }
            for (client, session) in self.sessions.iter_mut().enumerate() {
                if let Some(session) = session {
                    session.on_retained(&message, client);
                }
            }
        }
        let mut takers = 0;
        for (client, session) in self.sessions.iter_mut().enumerate() {
            let Some(session) = session else { continue };
            if let Some(copy) = session.copy_of(&message, client) {
                takers += 1;
                session.deliver(copy, self.now);
            }
        }
        takers
    }

    fn publish_op(&mut self, client: usize, op: &PublishOp) -> Option<Input> {
        let version = self.able(client)?;
        self.next_payload += 1;
        let payload = if op.empty { String::new() } else { self.next_payload.to_string() };
        let expiry = op.expiry.filter(|_| version == V5);
        let message = Message {
            topic: op.topic.to_owned(),
            payload: payload.clone(),
            qos: op.qos,
            retain: op.retain,
            expires_at: expiry.map(|seconds| self.now + u64::from(seconds)),
            publisher: client,
        };
        let takers = self.publish(message);
        let session = self.session(client);
        let id = (1..).find(|id| !session.unreleased.contains(id)).unwrap_or(1);
        let code = if version == V5 && takers == 0 { " 0x10" } else { "" };
        match op.qos {
            0 => {}
            1 => session.expect_line(format!("PUBACK #{id}{code}")),
            _ => {
                session.unreleased.insert(id);
                session.expect_line(format!("PUBREC #{id}{code}"));
            }
        }
        let mut publish = Publish::new(op.topic, &payload).qos(op.qos, id);
        publish.retain = op.retain;
        if let Some(seconds) = expiry {
            publish = publish.property(four(MESSAGE_EXPIRY, seconds));
        }
        Some(Input::Bytes { client, bytes: publish.bytes(version) })
    }

    fn repeat(&mut self, client: usize, which: usize) -> Option<Input> {
        let version = self.able(client)?;
        let session = self.session(client);
        let id = *session.unreleased.iter().nth(which)?;
        session.expect_line(format!("PUBREC #{id}"));
        Some(Input::Bytes { client, bytes: Publish::new("a", "again").qos(2, id).dup().bytes(version) })
    }

    /// PUBREL, for an identifier that nobody knows when there is none.
    fn release(&mut self, client: usize, which: usize) -> Option<Input> {
        let version = self.able(client)?;
        let session = self.session(client);
        let id = session.unreleased.iter().nth(which).copied().unwrap_or(999);
        let is_known = session.unreleased.remove(&id);
        let code = if version == V5 && !is_known { " 0x92" } else { "" };
        session.expect_line(format!("PUBCOMP #{id}{code}"));
        Some(Input::Bytes { client, bytes: packets::acknowledgement(PUBREL, id) })
    }

    fn subscribe(&mut self, client: usize, filter: &'static str, op: &SubscribeOp) -> Option<Input> {
        let version = self.able(client)?;
        let plain = SubscribeOp { qos: op.qos, no_local: false, as_published: false, handling: 0, id: None };
        let options = if version == V5 { op.clone() } else { plain };
        let retained: Vec<Rc<Message>> =
            self.retained.values().filter(|message| matches(filter, &message.topic)).cloned().collect();
        let session = self.session(client);
        session.expect_line(format!("SUBACK #{REQUEST_ID} [{:02X}]", options.qos));
        let is_new = session.subscriptions.insert(filter, options.clone()).is_none();
        let is_wanted = options.handling == 0 || options.handling == 1 && is_new;
        session.on_subscribed(filter, &options, is_wanted.then_some(retained));
        let bits = options.qos
            | u8::from(options.no_local) << 2
            | u8::from(options.as_published) << 3
            | options.handling << 4;
        let section = options.id.map_or_else(Vec::new, |id| varint(SUBSCRIPTION_ID, id as usize));
        let bytes = packets::subscribe(version, REQUEST_ID, &section, &[(filter, bits)]);
        Some(Input::Bytes { client, bytes })
    }

    fn unsubscribe(&mut self, client: usize, filter: &'static str) -> Option<Input> {
        let version = self.able(client)?;
        let session = self.session(client);
        let existed = session.subscriptions.remove(filter).is_some();
        session.replays.retain(|replay| replay.filter != filter);
        let codes = match (version, existed) {
            (V5, true) => "00",
            (V5, false) => "11",
            _ => "",
        };
        session.expect_line(format!("UNSUBACK #{REQUEST_ID} [{codes}]"));
        Some(Input::Bytes { client, bytes: packets::unsubscribe(version, REQUEST_ID, &[filter]) })
    }

    fn acknowledge(&mut self, client: usize, which: usize, refused: bool) -> Option<Input> {
        let version = self.able(client)?;
        let now = self.now;
        let session = self.session(client);
        let candidates = session.acknowledgeable();
        let at = *candidates.get(which % candidates.len().max(1))?;
        let refused = refused && version == V5;
        let (first_byte, id) = session.acknowledge(at, refused, now);
        let bytes = if refused && first_byte != packets::PUBCOMP {
            packets::acknowledgement_with(first_byte, id, 0x80)
        } else {
            packets::acknowledgement(first_byte, id)
        };
        Some(Input::Bytes { client, bytes })
    }

    /// One acknowledgement for each message that the client has seen.
    fn acknowledge_all(&mut self, client: usize) -> Option<Input> {
        self.able(client)?;
        let now = self.now;
        let session = self.session(client);
        let seen: Vec<u16> =
            session.acknowledgeable().into_iter().filter_map(|at| session.inflight[at].id).collect();
        let mut bytes = Vec::new();
        for id in seen {
            let at = session.inflight.iter().position(|flight| flight.id == Some(id));
            let (first_byte, id) = session.acknowledge(at.expect("it was seen"), false, now);
            bytes.extend(packets::acknowledgement(first_byte, id));
        }
        Some(Input::Bytes { client, bytes })
    }

    fn pass_second(&mut self) {
        self.now += 1;
        let now = self.now;
        self.retained.retain(|_, message| !message.is_expired(now));
        for session in self.sessions.iter_mut().flatten() {
            session.replays.retain(|replay| !replay.copy.message.is_expired(now));
        }
        let (due, later) =
            std::mem::take(&mut self.timers).into_iter().partition(|timer: &Timer| timer.at <= now);
        self.timers = later;
        for timer in due as Vec<Timer> {
            let is_void = self.sessions[timer.client].as_ref().is_none_or(|it| it.epoch != timer.epoch);
            if is_void {
                continue;
            }
            if timer.is_will {
                let will = self.session(timer.client).pending_will.take();
                self.publish_will(timer.client, will.as_ref());
            } else {
                self.end_session(timer.client);
            }
        }
    }

    /// Takes a line that the broker sent to the client.
    #[track_caller]
    pub(super) fn observe(&mut self, client: usize, line: &str, at: &str) {
        let now = self.now;
        let outcome = match &mut self.sessions[client] {
            Some(session) => session.observe(line, now),
            None => Err("nothing, without a session".to_owned()),
        };
        if let Err(expected) = outcome {
            panic!("{at}: client {client} got {line}, expected {expected}");
        }
    }

    /// Takes a line of the connection that was taken over in this step.
    #[track_caller]
    pub(super) fn observe_before_takeover(&mut self, client: usize, line: &str, at: &str) {
        if let Some(expected) = &mut self.last_words[client] {
            assert_eq!(expected.pop_front().as_deref(), Some(line), "{at}: last words to client {client}");
        }
    }

    /// Everything that had to come in this step has come.
    #[track_caller]
    pub(super) fn expect_complete(&mut self, client: usize, at: &str) {
        let missing = self.last_words[client].take().unwrap_or_default();
        assert!(missing.is_empty(), "{at}: client {client} was taken over without {missing:?}");
        let Some(session) = &mut self.sessions[client] else { return };
        let Some(connection) = session.connection.as_ref().filter(|connection| !connection.is_stalled) else {
            return;
        };
        let missing: Vec<&Expected> = connection.expected.iter().collect();
        assert!(missing.is_empty(), "{at}: client {client} did not get {missing:?}");
        if session.must_have_replayed() {
            session.replays.retain(|replay| !replay.is_optional);
            let missing = &session.replays;
            assert!(missing.is_empty(), "{at}: client {client} did not get the retained {missing:?}");
        }
    }

    /// How a client with a session comes back for what is left.
    pub(super) fn comeback(&self, client: usize) -> Option<Op> {
        let session = self.sessions[client].as_ref()?;
        let is_gone = session.connection.is_none();
        let connect =
            ConnectOp { version: V5, clean: false, expiry: u32::MAX, window: None, aliases: 0, will: None };
        is_gone.then_some(Op::Connect { client, connect })
    }

    pub(super) fn has_unacknowledged(&self, client: usize) -> bool {
        self.sessions[client].as_ref().is_some_and(|session| !session.inflight.is_empty())
    }

    #[track_caller]
    pub(super) fn expect_drained(&self, client: usize) {
        if let Some(session) = &self.sessions[client] {
            let left = (&session.queue, &session.replays);
            assert!(left.0.is_empty() && left.1.is_empty(), "client {client} never gets {left:?}");
        }
    }
}

fn connect_bytes(client: usize, op: &ConnectOp) -> Vec<u8> {
    let mut connect = Connect::new(op.version, &id_of(client)).clean(op.clean);
    if op.version == V5 {
        connect = connect.property(four(SESSION_EXPIRY, op.expiry));
        if op.aliases > 0 {
            connect = connect.property(two(TOPIC_ALIAS_MAXIMUM, op.aliases));
        }
        if let Some(window) = op.window {
            connect = connect.property(two(RECEIVE_MAXIMUM, window));
        }
    }
    if let Some(will) = &op.will {
        let mut parts = Will::new(will.topic, &format!("will-{client}"), will.qos);
        parts.retain = will.retain;
        if op.version == V5 {
            parts = parts.property(four(WILL_DELAY, will.delay));
        }
        connect = connect.will(parts);
    }
    connect.bytes()
}
