//! One client's session in the reference: what it wants, what waits for it, what is on its way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::history::{SubscribeOp, WillOp};
use super::message::{Copy, Message, normal, packet_id};
use crate::packets::Version;

/// How long a session outlives its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    AtClose,
    After(u64),
    Never,
}

/// The present connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) version: Version,
    pub(super) window: usize,
    pub(super) is_stalled: bool,
    /// What must come, in this order.
    pub(super) expected: VecDeque<Expected>,
}

#[derive(Debug)]
pub(super) enum Expected {
    Line(String),
    /// A QoS 0 message, sent at that time: what waits for a socket does not age.
    Once {
        copy: Copy,
        sent_at: u64,
    },
    /// A QoS 1 or 2 message: the entry of `inflight` with this key.
    Flight {
        key: u64,
        is_dup: bool,
        sent_at: u64,
    },
}

/// A QoS 1 or 2 message on its way.
#[derive(Debug)]
pub(super) struct Flight {
    key: u64,
    /// Known once the client has seen it.
    pub(super) id: Option<u16>,
    copy: Copy,
    /// PUBREC came.
    is_released: bool,
    /// Sent on the present connection.
    is_sent: bool,
}

/// A retained message that a new subscription is still to get.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) filter: &'static str,
    pub(super) copy: Copy,
    /// The topic had a message when the replay began, so the replay comes to it.
    pub(super) is_original: bool,
    /// It was delivered when it was published: it comes again only if something else was lost.
    pub(super) is_optional: bool,
}

impl Replay {
    fn new(filter: &'static str, message: &Rc<Message>, options: &SubscribeOp) -> Self {
        let qos = options.qos.min(message.qos);
        let ids = options.id.into_iter().collect();
        let copy = Copy { message: Rc::clone(message), qos, retain: true, ids };
        Self { filter, copy, is_original: true, is_optional: false }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) expiry: Expiry,
    pub(super) connection: Option<Connection>,
    /// Counts connections and ends of connections: what was planned for another one is void.
    pub(super) epoch: u64,
    pub(super) will: Option<WillOp>,
    pub(super) pending_will: Option<WillOp>,
    pub(super) subscriptions: BTreeMap<&'static str, SubscribeOp>,
    pub(super) queue: VecDeque<Copy>,
    pub(super) inflight: Vec<Flight>,
    pub(super) replays: Vec<Replay>,
    /// QoS 2 messages from the client that wait for PUBREL.
    pub(super) unreleased: BTreeSet<u16>,
    next_key: u64,
}

impl Session {
    pub(super) fn new(expiry: Expiry, epoch: u64) -> Self {
        Self {
            expiry,
            connection: None,
            epoch,
            will: None,
            pending_will: None,
            subscriptions: BTreeMap::new(),
            queue: VecDeque::new(),
            inflight: Vec::new(),
            replays: Vec::new(),
            unreleased: BTreeSet::new(),
            next_key: 0,
        }
    }

    pub(super) fn expect(&mut self, expected: Expected) {
        if let Some(connection) = &mut self.connection {
            connection.expected.push_back(expected);
        }
    }

    pub(super) fn expect_line(&mut self, line: String) {
        self.expect(Expected::Line(line));
    }

    fn has_room(&self) -> bool {
        let sent = self.inflight.iter().filter(|flight| flight.is_sent).count();
        self.connection.as_ref().is_some_and(|connection| sent < connection.window)
    }

    /// Takes one copy.
    pub(super) fn deliver(&mut self, copy: Copy, now: u64) {
        if copy.qos == 0 {
            self.expect(Expected::Once { copy, sent_at: now });
        } else {
            self.queue.push_back(copy);
            self.pump(now);
        }
    }

    /// Sends what there is room for: first what the last connection left, in order, then the queue.
    pub(super) fn pump(&mut self, now: u64) {
        while self.has_room() {
            if let Some(flight) = self.inflight.iter_mut().find(|flight| !flight.is_sent) {
                flight.is_sent = true;
                let key = flight.key;
                let expected = match (flight.is_released, flight.id) {
                    (true, Some(id)) => Expected::Line(format!("PUBREL #{id}")),
                    _ => Expected::Flight { key, is_dup: true, sent_at: now },
                };
                self.expect(expected);
            } else if let Some(copy) = self.queue.pop_front() {
                if !copy.message.is_expired(now) {
                    let key = self.start(copy, None);
                    self.expect(Expected::Flight { key, is_dup: false, sent_at: now });
                }
            } else {
                return;
            }
        }
    }

    fn start(&mut self, copy: Copy, id: Option<u16>) -> u64 {
        self.next_key += 1;
        let key = self.next_key;
        self.inflight.push(Flight { key, id, copy, is_released: false, is_sent: true });
        key
    }

    /// A new connection begins: nothing was sent on it.
    pub(super) fn forget_sent(&mut self) {
        self.inflight.iter_mut().for_each(|flight| flight.is_sent = false);
    }

    /// Messages that the client has seen on this connection and can acknowledge, by their place in `inflight`.
    pub(super) fn acknowledgeable(&self) -> Vec<usize> {
        let is_seen = |flight: &Flight| flight.is_sent && flight.id.is_some();
        (0..self.inflight.len()).filter(|at| is_seen(&self.inflight[*at])).collect()
    }

    /// The client acknowledges: the first byte of its packet, and the identifier.
    pub(super) fn acknowledge(&mut self, at: usize, is_refused: bool, now: u64) -> (u8, u16) {
        let flight = &mut self.inflight[at];
        let id = flight.id.expect("only what was seen is acknowledged");
        let first_byte = match (flight.copy.qos, flight.is_released) {
            (1, _) => 0x40,
            (_, false) => 0x50,
            (_, true) => 0x70,
        };
        if first_byte == 0x50 && !is_refused {
            flight.is_released = true;
            self.expect_line(format!("PUBREL #{id}"));
        } else {
            self.inflight.remove(at);
        }
        self.pump(now);
        (first_byte, id)
    }

    /// Takes what the broker sent. An error says what was expected instead.
    pub(super) fn observe(&mut self, line: &str, now: u64) -> Result<(), String> {
        let line = normal(line);
        let id = packet_id(&line);
        let Some(connection) = &mut self.connection else { return Err("nothing, being away".to_owned()) };
        let version = connection.version;
        let is_next = match connection.expected.front() {
            None => false,
            Some(Expected::Line(expected)) => {
                *expected == line || expected == "CONNACK 0x00" && is_plain_connack(&line) || {
                    expected == "CONNACK 0x00 present" && line.starts_with(expected.as_str())
                }
            }
            Some(Expected::Once { copy, sent_at }) => copy.line(None, false, version, *sent_at) == line,
            Some(Expected::Flight { key, is_dup, sent_at }) => {
                let (key, is_dup, sent_at) = (*key, *is_dup, *sent_at);
                let is_used = self.inflight.iter().any(|other| other.key != key && other.id == id);
                let flight = self.inflight.iter_mut().find(|flight| flight.key == key);
                let flight = flight.ok_or("the reference has lost a message")?;
                let fits = flight.copy.line(id, is_dup, version, sent_at) == line
                    && id.is_some_and(|id| id != 0)
                    && !is_used
                    && flight.id.is_none_or(|known| Some(known) == id);
                if fits {
                    flight.id = id;
                }
                fits
            }
        };
        if is_next {
            connection.expected.pop_front();
            return Ok(());
        }
        let expected = format!("{:?}", connection.expected.front());
        self.observe_replay(&line, id, version, now).ok_or(expected)
    }

    fn observe_replay(&mut self, line: &str, id: Option<u16>, version: Version, now: u64) -> Option<()> {
        let fits = |replay: &Replay| {
            let is_free = id.is_none() || !self.inflight.iter().any(|flight| flight.id == id);
            replay.copy.line(id, false, version, now) == line && is_free
        };
        let is_due = |replay: &Replay| !replay.is_optional && fits(replay);
        // Where the line says too little to tell them apart, before version 5, it is the first by its filter: a session
        // gets its replays in that order.
        let first = |is_one: &dyn Fn(&Replay) -> bool| {
            let candidates = self.replays.iter().enumerate().filter(|(_, replay)| is_one(replay));
            candidates.min_by_key(|(_, replay)| replay.filter).map(|(at, _)| at)
        };
        let at = first(&is_due).or_else(|| first(&fits))?;
        let copy = self.replays[at].copy.clone();
        if !self.queue.is_empty() || copy.qos > 0 && !self.has_room() {
            return None;
        }
        if copy.qos > 0 {
            self.start(copy, id);
        }
        self.replays.remove(at);
        Some(())
    }

    /// A retained message is published: it takes the place of the one that is to be replayed.
    pub(super) fn on_retained(&mut self, message: &Rc<Message>, client: usize) {
        if self.must_have_replayed() {
            return; // Nothing waits.
        }
        let is_lost =
            self.connection.is_none() && self.copy_of(message, client).is_some_and(|copy| copy.qos == 0);
        for (&filter, options) in self.subscriptions.iter().filter(|(it, _)| matches(it, &message.topic)) {
            let is_same =
                |replay: &Replay| replay.filter == filter && replay.copy.message.topic == message.topic;
            let is_original = self.replays.iter().any(|replay| is_same(replay) && replay.is_original);
            self.replays.retain(|replay| !is_same(replay));
            if !message.payload.is_empty() {
                let mut replay = Replay::new(filter, message, options);
                // After a copy that came as it was published, the replay may pass the topic at any time.
                replay.is_original = is_original && is_lost;
                replay.is_optional = !replay.is_original;
                self.replays.push(replay);
            }
        }
    }

    /// The messages of a new subscription, or what is left of them for one with other options.
    pub(super) fn on_subscribed(
        &mut self,
        filter: &'static str,
        options: &SubscribeOp,
        retained: Option<Vec<Rc<Message>>>,
    ) {
        match retained {
            Some(retained) => {
                self.replays.retain(|replay| replay.filter != filter);
                self.replays.extend(retained.iter().map(|message| Replay::new(filter, message, options)));
            }
            None => {
                for replay in self.replays.iter_mut().filter(|replay| replay.filter == filter) {
                    let revised = Replay::new(filter, &replay.copy.message, options);
                    replay.copy = revised.copy;
                }
            }
        }
    }

    /// Whether the replays must be over: there is room for them.
    pub(super) fn must_have_replayed(&self) -> bool {
        self.has_room() && self.queue.is_empty()
    }

    /// The copy that the subscriptions ask for, if any of them matches.
    pub(super) fn copy_of(&self, message: &Rc<Message>, client: usize) -> Option<Copy> {
        let is_own = message.publisher == client;
        let mut matching = self
            .subscriptions
            .iter()
            .filter(|(filter, options)| matches(filter, &message.topic) && !(options.no_local && is_own))
            .map(|(_, options)| options)
            .peekable();
        matching.peek()?;
        let mut copy = Copy { message: Rc::clone(message), qos: 0, retain: false, ids: Vec::new() };
        for options in matching {
            copy.qos = copy.qos.max(options.qos.min(message.qos));
            copy.retain |= options.as_published && message.retain;
            copy.ids.extend(options.id);
        }
        Some(copy)
    }
}

fn is_plain_connack(line: &str) -> bool {
    line.starts_with("CONNACK 0x00") && !line.contains(" present")
}

/// Section 4.7, level by level.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}
