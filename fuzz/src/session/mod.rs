//! One session through its public side: connections, packets, deliveries, time and acknowledgements in any order,
//! right and wrong ones. What it writes is followed by a [`Line`] (what the standard allows on the wire) and read
//! by an [`App`] (what arrives at the application behind a client).

mod app;
mod line;
mod packets;
mod steps;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use flockmq::codec::{
    Connect, ConnectProperties, PacketId, ProtocolVersion, Qos, ReasonCode, Will, WillProperties, decode,
    peek,
};
use flockmq::net::clock;
use flockmq::session::{Closing, Negotiated, Outbox, Session, Settings, Tally};

use app::App;
use line::Line;

/// Steps of one history.
const STEPS_MAX: usize = 300;

/// A history of one session, or of several with the same name one after the other.
pub fn check(input: &[u8]) {
    let mut choices = Unstructured::new(input);
    let Ok(mut world) = World::new(&mut choices) else { return };
    for _ in 0..STEPS_MAX {
        // The input is used up.
        if choices.is_empty() || world.step(&mut choices).is_err() {
            break;
        }
    }
    world.close(Closing::Ended);
    world.end_session();
}

struct World {
    settings: Arc<Settings>,
    now: Instant,
    session: Option<Session>,
    outbox: Outbox,
    /// Bytes of the outbox that were looked at.
    seen: usize,
    /// The client does not read: its outbox fills.
    stalled: bool,
    line: Line,
    app: App,
    /// Messages that were given to the session; each has a number of its own.
    messages: Vec<Given>,
    ledger: Ledger,
    connection: Option<Connection>,
    /// When a session without a connection ends.
    ends_at: Option<Instant>,
    /// QoS 2 messages of the client that were published and not released.
    unreleased: BTreeSet<PacketId>,
    /// Those of them from before the present connection, which opens the client's window anew [MQTT5-4.9.0-1].
    carried: BTreeSet<PacketId>,
    /// Its publications that are still to be answered.
    unanswered: Vec<(PacketId, Qos)>,
}

/// What the client said in its CONNECT, as far as the checks need it.
struct Connection {
    version: ProtocolVersion,
    has_will: bool,
    will_delay: Duration,
}

/// A message that was given to the session.
struct Given {
    topic: &'static str,
    qos: Qos,
    expires_at: Option<Instant>,
    bytes: usize,
}

/// What became of the copies: `given` is what was sent, dropped, taken back and what still waits.
#[derive(Default)]
struct Ledger {
    given: usize,
    tally: Tally,
    taken_back: usize,
    /// Copies that may have been counted twice: sent, and then too large for another connection.
    slack: usize,
}

impl Ledger {
    fn add(&mut self, tally: &Tally) {
        self.tally.delivered += tally.delivered;
        self.tally.expired += tally.expired;
        self.tally.too_large += tally.too_large;
        self.tally.outbox_full += tally.outbox_full;
        self.tally.offline += tally.offline;
        self.tally.queue_full += tally.queue_full;
    }

    fn gone(&self) -> usize {
        let Tally { delivered, expired, too_large, outbox_full, offline, queue_full } = self.tally;
        let counted = [delivered, expired, too_large, outbox_full, offline, queue_full];
        counted.iter().map(|count| *count as usize).sum::<usize>() + self.taken_back
    }
}

impl World {
    fn new(choices: &mut Unstructured<'_>) -> Result<Self> {
        let settings = Settings {
            receive_maximum: choices.int_in_range(1..=4)?,
            inflight_max: choices.int_in_range(1..=4)?,
            queue_len_max: choices.int_in_range(0..=6)?,
            queue_bytes_max: *choices.choose(&[0, 300, 1_000, 16 << 20])?,
            queue_drops_oldest: choices.arbitrary()?,
            outbox_bytes_max: *choices.choose(&[1, 60, 200, 4 << 20])?,
            session_expiry_max: *choices.choose(&[None, Some(Duration::from_secs(10))])?,
            topic_alias_maximum: choices.int_in_range(0..=2)?,
            topic_aliases_made_max: choices.int_in_range(0..=2)?,
            response_information: choices.arbitrary::<bool>()?.then(|| "info/%c".into()),
            payload_format_check: choices.arbitrary()?,
            subscriptions_max: choices.int_in_range(0..=3)?,
            topic_levels_max: choices.int_in_range(1..=4)?,
            qos_max: *choices.choose(&[
                Qos::ExactlyOnce,
                Qos::ExactlyOnce,
                Qos::AtLeastOnce,
                Qos::AtMostOnce,
            ])?,
            retain_available: choices.ratio(7, 8)?,
            shared_available: choices.ratio(7, 8)?,
            wildcard_available: choices.ratio(7, 8)?,
            subscription_ids_available: choices.ratio(7, 8)?,
            ..Settings::default()
        };
        Ok(Self {
            settings: Arc::new(settings),
            now: clock::now(),
            session: None,
            outbox: Outbox::default(),
            seen: 0,
            stalled: false,
            line: Line::default(),
            app: App::default(),
            messages: Vec::new(),
            ledger: Ledger::default(),
            connection: None,
            ends_at: None,
            unreleased: BTreeSet::new(),
            carried: BTreeSet::new(),
            unanswered: Vec::new(),
        })
    }

    /// A CONNECT, and what a node does with it: takes over, resumes or begins.
    fn connect(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        let version = packets::version(choices)?;
        let is_5 = version == ProtocolVersion::V5;
        let mut properties = ConnectProperties::default();
        if is_5 {
            properties.session_expiry =
                *choices.choose(&[None, Some(0), Some(5), Some(60), Some(u32::MAX)])?;
            properties.receive_maximum = packets::non_zero(choices)?;
            properties.packet_size_max =
                std::num::NonZeroU32::new(*choices.choose(&[0, 0, 0, 20, 40, 60, 90])?);
            properties.topic_alias_maximum = *choices.choose(&[None, Some(0), Some(1), Some(5)])?;
            properties.request_response_information = choices.arbitrary()?;
            properties.request_problem_information = choices.arbitrary()?;
        }
        let will_delay = if is_5 { *choices.choose(&[0, 3, 100])? } else { 0 };
        let has_will = choices.ratio(1, 3)?;
        let will = Will {
            topic: packets::topic(choices)?,
            payload: b"will",
            qos: packets::qos(choices)?,
            retain: choices.arbitrary()?,
            properties: WillProperties { delay: is_5.then_some(will_delay), ..WillProperties::default() },
        };
        let connect = Connect {
            clean_start: choices.ratio(1, 4)?,
            keep_alive: choices.arbitrary()?,
            will: has_will.then_some(will),
            properties,
            ..Connect::new(version, "client")
        };
        let by_exchange = is_5 && choices.ratio(1, 8)?;
        let Ok(mut negotiated) = Negotiated::new(&connect, &self.settings, 0) else { return Ok(()) };
        if by_exchange {
            negotiated = negotiated.by_exchange("user".into(), packets::METHOD, b"last".to_vec());
        }
        if !negotiated.connack_fits() {
            return Ok(());
        }
        let continues =
            !connect.clean_start && self.session.as_ref().is_some_and(|session| session.is_persistent());
        self.close(Closing::TakenOver { continues });
        if !continues {
            self.end_session();
        }
        let session = self.session.get_or_insert_with(|| Session::new(&negotiated));
        session.on_connected(self.now, &negotiated, continues, &mut self.outbox);
        let properties = &connect.properties;
        let limits = line::Limits {
            version,
            receive_maximum: properties.receive_maximum.map_or(u16::MAX, |max| max.get()),
            inflight_max: self.settings.inflight_max,
            packet_size_max: properties.packet_size_max.map_or(u32::MAX, |max| max.get()),
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            session_present: continues,
        };
        if limits.packet_size_max != u32::MAX {
            self.ledger.slack += self.line.inflight();
        }
        self.line.on_connected(limits);
        self.carried.clone_from(&self.unreleased);
        self.connection =
            Some(Connection { version, has_will, will_delay: Duration::from_secs(u64::from(will_delay)) });
        self.ends_at = None;
        self.check_progress();
        self.look();
        Ok(())
    }

    /// The session had its chance to send: what waits has a reason to [MQTT5-4.4.0-1].
    fn check_progress(&mut self) {
        let is_full = self.outbox.len() >= self.settings.outbox_bytes_max;
        let stalled = std::mem::replace(&mut self.stalled, true);
        self.look();
        self.stalled = stalled;
        let (has_room, unsent) = self.line.room_and_unsent();
        if has_room && !is_full && self.ledger.slack == 0 {
            let waiting = self.session.as_ref().map_or(0, |session| session.load()) - self.line.inflight();
            assert_eq!((unsent, waiting), (0, 0), "nothing keeps them");
        }
    }

    /// Follows what the session has written, counts what it has counted, and looks at its bounds.
    fn look(&mut self) {
        self.ledger.add(&self.outbox.take_tally());
        let Some(session) = &self.session else { return };
        let Some(connection) = &self.connection else {
            assert!(self.outbox.is_empty(), "nothing is written without a connection");
            self.check_bounds();
            return;
        };
        let bytes = self.outbox.take();
        let mut at = self.seen;
        while at < bytes.len() {
            let header = peek(&bytes[at..], u32::MAX).expect("own packets are sound");
            let frame = &bytes[at..at + header.expect("and whole").total_len];
            let packet = decode(connection.version, frame).expect("own packets decode");
            self.line.on_written(self.now, &packet, frame.len(), &self.messages);
            at += frame.len();
        }
        assert_eq!(session.version(), Some(connection.version));
        self.seen = bytes.len();
        self.outbox.restore(bytes, 0);
        if !self.stalled {
            self.read();
        }
        self.check_bounds();
    }

    /// The client reads everything.
    fn read(&mut self) {
        let Some(connection) = &self.connection else { return };
        let bytes = self.outbox.take();
        let mut rest = &bytes[..];
        while let Ok(Some(header)) = peek(rest, u32::MAX) {
            let (frame, after) = rest.split_at(header.total_len);
            self.app.on_packet(&decode(connection.version, frame).expect("it decoded before"));
            rest = after;
        }
        self.seen = 0;
    }

    fn check_bounds(&self) {
        let Some(session) = &self.session else { return };
        let settings = &self.settings;
        let (load, inflight) = (session.load(), self.line.inflight());
        // What was too large for another connection is gone, and the line does not know.
        let waiting_max = load - inflight.min(load) + self.ledger.slack.min(inflight);
        let waiting = load.saturating_sub(inflight);
        assert!(waiting <= settings.queue_len_max, "{waiting} wait of at most {}", settings.queue_len_max);
        assert!(load <= settings.queue_len_max + usize::from(settings.inflight_max));
        assert!(session.pending() <= load);
        let smallest = self.messages.iter().map(|given| given.bytes).min().unwrap_or(0);
        assert!(waiting * smallest <= settings.queue_bytes_max, "{waiting} messages wait");
        assert!(session.subscriptions().count() <= settings.subscriptions_max);
        let (given, gone) = (self.ledger.given, self.ledger.gone());
        assert!(given <= gone + waiting_max, "{given} given, {gone} gone, at most {waiting_max} wait");
        assert!(gone + waiting <= given + self.ledger.slack, "{given} given, {gone} gone, {waiting} wait");
        if self.ledger.slack == 0 {
            assert_eq!(load - inflight, waiting);
        }
    }

    /// The connection ends; what was not read is lost.
    fn close(&mut self, closing: Closing) {
        let Some(session) = &mut self.session else { return };
        let farewell = session.on_closed(self.now, closing);
        self.outbox.clear();
        self.seen = 0;
        self.stalled = false;
        self.unanswered.clear();
        self.line.on_closed();
        assert_eq!(farewell.is_some(), self.connection.is_some());
        let (Some(farewell), Some(connection)) = (farewell, self.connection.take()) else { return };
        let is_kept =
            matches!(closing, Closing::TakenOver { continues: true }) && !connection.will_delay.is_zero();
        assert_eq!(farewell.will.is_some(), connection.has_will && !is_kept, "{closing:?}");
        if let Some((will, at)) = &farewell.will {
            assert!(self.now <= *at && *at <= self.now + connection.will_delay);
            let publication = will.publication(*at, session.client_id().as_str());
            assert_eq!(publication.payload, b"will");
        }
        assert_eq!(farewell.ends_at == Some(self.now), !session.is_persistent());
        self.ends_at = farewell.ends_at;
        self.look();
    }

    /// The session is over, with all that it holds.
    fn end_session(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        assert!(self.connection.is_none());
        let load = session.load();
        let taken = session.take_shared().len();
        assert!(taken <= load && session.load() == load - taken);
        let waiting = load.saturating_sub(self.line.inflight());
        self.ledger.taken_back += waiting;
        self.ledger.slack = 0;
        self.ledger.given = self.ledger.gone();
        self.line = Line::default();
        self.app.on_session_lost();
        self.unreleased.clear();
        self.carried.clear();
        self.ends_at = None;
    }

    /// The node closes the connection because of what the client did.
    fn refuse(&mut self, reason: ReasonCode) {
        if let Some(session) = &mut self.session {
            session.say_goodbye(reason, &mut self.outbox);
        }
        self.look();
        self.close(Closing::Ended);
    }
}
