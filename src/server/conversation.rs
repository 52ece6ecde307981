//! What is said on one connection: frames out of the byte stream, the CONNECT first, then packets to the broker.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tracing::debug;

use super::Shared;
use super::connection::{Connection, Input, Wants};
use super::handshakes::Handshake;
use super::throttle::{Limit, Throttle};
use crate::broker::{Admission, Attached, Burst, Candidate, Duty, PasswordCheck, Wire};
use crate::codec::{
    self, ConnAck, ConnAckProperties, Connect, DecodeError, Packet, ProtocolVersion, ReasonCode,
};
use crate::metrics::ReasonLabel;
use crate::net::clock;
use crate::session::{Negotiated, Settings};

/// Bytes read at once. All connections of a thread share one such buffer.
const SCRATCH_BYTES: usize = 64 << 10;
/// Reads of one connection before others get their turn.
const READS_MAX: usize = 8;
/// The largest first packet: nobody is known yet, so nobody gets more.
const CONNECT_BYTES_MAX: u32 = 64 << 10;
/// How long a client may take to make room for what is said to it last, then again to read it; and how much it may
/// still send.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

/// Why a conversation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer closed or the network failed, or nothing is to be said.
    Network,
    /// This node closes, having said why where it could.
    Ours,
}

/// How far a connection has come.
enum Stage {
    /// The CONNECT is awaited.
    New,
    /// Its password is to be checked. What the client has sent behind its CONNECT waits, and nothing is read.
    Checking(Box<Negotiated>, PasswordCheck),
    /// The client is proving who it is, AUTH by AUTH [MQTT5-4.12].
    Proving(Box<Candidate>),
    /// It has its session.
    Attached(Attached),
    /// It is refused: there will be nothing more.
    Refused,
}

/// One connection and how far it has come. Dropping it tells the broker that the connection is gone.
pub(super) struct Conversation {
    shared: Arc<Shared>,
    /// The limits of the listener.
    settings: Arc<Settings>,
    connection: Arc<Connection>,
    /// The place that it takes until the client is in.
    handshake: Option<Handshake<Weak<Connection>>>,
    stage: Stage,
    version: ProtocolVersion,
    /// The largest packet that the client takes, once its CONNECT has said so.
    client_packet_size_max: u32,
    /// What was read and not handled: the beginning of a packet, or packets that have to wait.
    tail: Vec<u8>,
    /// Whether that has packets which wait for nothing but a turn.
    has_backlog: bool,
    /// The client's rates, when it has a session and they are limited.
    throttle: Option<Box<Throttle>>,
    /// How many bytes are still read of a client that has closed while it was held back.
    last_bytes: Option<usize>,
}

impl Conversation {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: Arc<Settings>,
        connection: Arc<Connection>,
        handshake: Handshake<Weak<Connection>>,
    ) -> Self {
        Self {
            shared,
            settings,
            connection,
            handshake: Some(handshake),
            stage: Stage::New,
            version: ProtocolVersion::V5,
            client_packet_size_max: u32::MAX,
            tail: Vec::new(),
            has_backlog: false,
            throttle: None,
            last_bytes: None,
        }
    }

    /// Talks until either side ends it.
    pub(super) async fn run(mut self) {
        let end = self.talk().await;
        if end == End::Ours {
            // When the time is up the rest is not written.
            _ = tokio::time::timeout(LINGER, self.part()).await;
        }
        let connection = Arc::clone(&self.connection);
        drop(self); // The broker learns of the end now, not after the lingering.
        if end == End::Ours {
            connection.finish();
            linger(&connection).await;
        }
    }

    async fn talk(&mut self) -> End {
        loop {
            if matches!(self.stage, Stage::Checking(..))
                && let Err(end) = self.check_password().await
            {
                return end;
            }
            let broker = &self.shared.broker;
            let turn =
                self.attached().is_some_and(|it| broker.on_turn(clock::now(), &it.client, it.generation));
            let duty = self.attached().map_or(Duty::Wait, |it| it.client.duty(it.generation));
            let wants = match duty {
                Duty::Close | Duty::Part { .. } => return End::Ours,
                Duty::Wait => Wants { bytes: true, room: false, turn },
                Duty::AwaitRoom => Wants { bytes: true, room: true, turn },
                Duty::AwaitRoomOnly => Wants { bytes: false, room: true, turn },
            };
            // What has come already is handled before more is read, and nothing is while the client must read.
            let is_working = self.has_backlog && wants.bytes;
            let input = match self.held_until() {
                None if is_working => {
                    let wants = Wants { bytes: false, ..wants };
                    tokio::select! {
                        biased;
                        input = self.connection.next(wants) => input,
                        () = std::future::ready(()) => {
                            if let Err(end) = self.in_burst(Self::on_backlog) {
                                return end;
                            }
                            tokio::task::yield_now().await;
                            continue;
                        }
                    }
                }
                None => self.connection.next(wants).await,
                Some(until) => {
                    let wants = Wants { bytes: false, ..wants };
                    tokio::select! {
                        input = self.connection.next(wants) => input,
                        () = self.connection.hung_up() => {
                            self.on_hung_up();
                            continue;
                        }
                        () = tokio::time::sleep_until(until.into()) => {
                            if let Err(end) = self.in_burst(Self::release) {
                                return end;
                            }
                            continue;
                        }
                    }
                }
            };
            match input {
                Input::Readable => {
                    if let Err(end) = self.in_burst(Self::read_burst) {
                        return end;
                    }
                    // A socket that always has more must not keep the thread from the others.
                    tokio::task::yield_now().await;
                }
                Input::Writable => {
                    if let Some(it) = self.attached() {
                        self.shared.broker.on_writable(clock::now(), &it.client, it.generation);
                    }
                }
                Input::Woken if self.connection.is_overdue() => return self.on_overdue(),
                // Nothing is said to it, so there is nothing to linger for.
                Input::Woken if self.handshake.is_some() && self.connection.is_put_out() => {
                    return End::Network;
                }
                Input::Woken => {}
                Input::Idle => tokio::task::yield_now().await,
            }
        }
    }

    /// Waits until the client's socket has taken what was said last to it.
    async fn part(&mut self) {
        let Some(it) = self.attached() else { return };
        while let Duty::Part { room } = it.client.duty(it.generation) {
            if self.connection.next(Wants { bytes: false, room, turn: false }).await == Input::Writable {
                self.shared.broker.on_writable(clock::now(), &it.client, it.generation);
            }
        }
    }

    fn attached(&self) -> Option<&Attached> {
        match &self.stage {
            Stage::Attached(attached) => Some(attached),
            Stage::New | Stage::Checking(..) | Stage::Proving(_) | Stage::Refused => None,
        }
    }

    /// Handles packets, then flushes everybody they have touched.
    fn in_burst(
        &mut self,
        act: impl FnOnce(&mut Self, Instant, &mut Burst) -> Result<(), End>,
    ) -> Result<(), End> {
        let mut burst = Burst::default();
        let result = act(self, clock::now(), &mut burst);
        self.shared.broker.flush(&mut burst);
        if let Some(it) = self.attached() {
            it.client.flush();
        }
        result
    }

    /// Waits for the outcome, at most until the time for the CONNECT is up, and goes on with what is there.
    async fn check_password(&mut self) -> Result<(), End> {
        let Stage::Checking(negotiated, check) = std::mem::replace(&mut self.stage, Stage::Refused) else {
            return Ok(());
        };
        let shared = Arc::clone(&self.shared);
        let checked = tokio::select! {
            checked = shared.password_checks.run(move || check.run()) => checked,
            () = self.connection.overdue() => return Err(self.on_overdue()),
        };
        let granted = checked.and_then(|user| shared.broker.on_password_checked(*negotiated, user));
        let granted = granted.map_err(|reason| self.refuse_connect(reason))?;
        self.in_burst(|this, now, burst| {
            this.attach(now, &granted, burst)?;
            this.on_backlog(now, burst)
        })
    }

    /// Until when nothing is taken from the client, because it sends more than it may.
    fn held_until(&self) -> Option<Instant> {
        self.throttle.as_ref().and_then(|throttle| throttle.held_until())
    }

    /// Takes nothing more from the client until its rate allows it.
    fn hold(&mut self, now: Instant, limit: Limit) {
        if let Some(throttle) = &mut self.throttle {
            throttle.hold(now, limit);
            self.shared.metrics.throttled.get_or_create(&ReasonLabel { reason: limit.name() }).inc();
            self.connection.on_heard(self.shared.ms(now));
        }
    }

    /// Goes on with a client that was held back.
    fn release(&mut self, now: Instant, burst: &mut Burst) -> Result<(), End> {
        self.end_hold(now);
        self.on_backlog(now, burst)
    }

    fn end_hold(&mut self, now: Instant) {
        if let Some(throttle) = &mut self.throttle {
            self.shared.metrics.throttled_seconds.inc_by(throttle.release(now).as_secs_f64());
            // It may have sent anything meanwhile: that time was not its silence.
            self.connection.on_heard(self.shared.ms(now));
        }
    }

    /// The client has closed while it was held back. Its Will and its place must not wait until all that it has
    /// sent is within its rate: what was read counts, and one more read, and that at once.
    fn on_hung_up(&mut self) {
        self.end_hold(clock::now());
        self.throttle = None;
        self.last_bytes = Some(SCRATCH_BYTES);
        self.has_backlog = true;
    }

    /// Goes on with what was read before.
    fn on_backlog(&mut self, now: Instant, burst: &mut Burst) -> Result<(), End> {
        let bytes = std::mem::take(&mut self.tail);
        self.on_all_bytes(now, bytes, burst)
    }

    /// Whether a PUBLISH is within the client's rate. If not, it waits.
    fn may_publish(&mut self, now: Instant) -> bool {
        let may = self.throttle.as_mut().is_none_or(|throttle| throttle.take_message(now));
        if !may {
            self.hold(now, Limit::Messages);
        }
        may
    }

    /// Reads and handles what is there.
    fn read_burst(&mut self, now: Instant, burst: &mut Burst) -> Result<(), End> {
        SCRATCH.with_borrow_mut(|scratch| self.read_all(now, scratch, burst))
    }

    fn read_all(&mut self, now: Instant, scratch: &mut [u8], burst: &mut Burst) -> Result<(), End> {
        for _ in 0..READS_MAX {
            let must_wait = matches!(self.stage, Stage::Checking(..)) || self.held_until().is_some();
            if must_wait || burst.is_spent() {
                return Ok(());
            }
            if self.last_bytes == Some(0) {
                return Err(End::Network);
            }
            let room = self.throttle.as_mut().map_or(usize::MAX, |throttle| throttle.readable(now));
            if room == 0 {
                self.hold(now, Limit::Bytes);
                return Ok(());
            }
            let room = room.min(self.last_bytes.unwrap_or(usize::MAX)).min(scratch.len());
            let read = match self.connection.try_read(&mut scratch[..room]) {
                Ok(0) => return Err(End::Network),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(End::Network),
            };
            if let Some(throttle) = &mut self.throttle {
                throttle.on_read(now, read);
            }
            if let Some(left) = &mut self.last_bytes {
                *left -= read;
            }
            if self.tail.is_empty() {
                let used = self.on_bytes(now, &scratch[..read], burst)?;
                self.tail.extend_from_slice(&scratch[used..read]);
            } else {
                // Grows with what has arrived, never with what was announced.
                let mut bytes = std::mem::take(&mut self.tail);
                bytes.extend_from_slice(&scratch[..read]);
                self.on_all_bytes(now, bytes, burst)?;
            }
        }
        Ok(())
    }

    /// Handles all complete packets and keeps the rest.
    fn on_all_bytes(&mut self, now: Instant, mut bytes: Vec<u8>, burst: &mut Burst) -> Result<(), End> {
        let used = self.on_bytes(now, &bytes, burst)?;
        if used < bytes.len() {
            bytes.drain(..used);
            self.tail = bytes;
        }
        Ok(())
    }

    /// Handles complete packets, up to one that has to wait or is too many for this burst, and returns how many
    /// bytes they took.
    fn on_bytes(&mut self, now: Instant, bytes: &[u8], burst: &mut Burst) -> Result<usize, End> {
        let mut used = 0;
        self.has_backlog = false;
        loop {
            let size_max = match self.attached() {
                _ if matches!(self.stage, Stage::Checking(..)) => return Ok(used),
                Some(_) => self.settings.packet_size_max,
                None => self.settings.packet_size_max.min(CONNECT_BYTES_MAX),
            };
            let header = match codec::peek(&bytes[used..], size_max) {
                Ok(Some(header)) if used + header.total_len <= bytes.len() && !burst.is_spent() => header,
                Ok(header) => {
                    self.has_backlog = header.is_some_and(|header| used + header.total_len <= bytes.len());
                    // Whole packets count, not bytes: a client that trickles is as good as silent, and one that
                    // has not sent its CONNECT is not heard at all.
                    if used > 0 && self.attached().is_some() {
                        self.connection.on_heard(self.shared.ms(now));
                    }
                    return Ok(used);
                }
                Err(error) => return Err(self.on_malformed(&bytes[used..], &error)),
            };
            burst.on_taken(header.total_len);
            let frame = &bytes[used..used + header.total_len];
            match codec::decode(self.version, frame) {
                Ok(Packet::Publish(_)) if !self.may_publish(now) => return Ok(used),
                Ok(packet) => self.on_packet(now, packet, burst)?,
                Err(error) => return Err(self.on_malformed(frame, &error)),
            }
            used += header.total_len;
        }
    }

    fn on_packet(&mut self, now: Instant, packet: Packet<'_>, burst: &mut Burst) -> Result<(), End> {
        if let Stage::Attached(it) = &self.stage {
            let broker = &self.shared.broker;
            return broker.on_packet(now, &it.client, it.generation, packet, burst).map_err(|_| End::Ours);
        }
        match (std::mem::replace(&mut self.stage, Stage::Refused), packet) {
            (Stage::New, Packet::Connect(connect)) => self.on_connect(now, &connect, burst),
            // The first packet must be a CONNECT [MQTT5-3.1.0-1]; without one there is nobody to answer.
            (Stage::New, _) => {
                self.shared.count_refused("not_connect");
                Err(End::Ours)
            }
            (Stage::Proving(candidate), Packet::Auth(auth)) => {
                let admission = self.shared.broker.on_auth(*candidate, &auth);
                self.on_admission(now, admission, burst)
            }
            (Stage::Proving(_), Packet::Disconnect(_)) => {
                self.shared.count_refused("gave_up");
                Err(End::Ours)
            }
            // [MQTT5-3.1.2-30]
            (Stage::Proving(_), _) => Err(self.refuse_connect(ReasonCode::ProtocolError)),
            // No packet is handled in these.
            (Stage::Checking(..) | Stage::Attached(_) | Stage::Refused, _) => Err(End::Ours),
        }
    }

    fn on_connect(&mut self, now: Instant, connect: &Connect<'_>, burst: &mut Burst) -> Result<(), End> {
        self.version = connect.version;
        self.client_packet_size_max = connect.properties.packet_size_max.map_or(u32::MAX, |size| size.get());
        let admission = self.shared.broker.admit(connect, &self.settings, rand::random());
        self.on_admission(now, admission, burst)
    }

    fn on_admission(
        &mut self,
        now: Instant,
        admission: Result<Admission, ReasonCode>,
        burst: &mut Burst,
    ) -> Result<(), End> {
        match admission.map_err(|reason| self.refuse_connect(reason))? {
            Admission::Granted(negotiated) => self.attach(now, &negotiated, burst)?,
            Admission::Password(negotiated, check) => {
                if self.handshake.as_mut().is_some_and(|handshake| handshake.wait().is_err()) {
                    return Err(End::Network);
                }
                self.stage = Stage::Checking(negotiated, check);
            }
            Admission::Challenged(candidate, packet) => {
                self.stage = Stage::Proving(candidate);
                // Nothing else was written but such packets, each answered: a few bytes fit the socket.
                let written = self.connection.try_write(&packet);
                if !written.is_ok_and(|written| written == packet.len()) {
                    return Err(End::Network);
                }
            }
        }
        Ok(())
    }

    /// Gives the client its session, unless it takes too little to be told so [MQTT5-3.1.2-24].
    fn attach(&mut self, now: Instant, negotiated: &Negotiated, burst: &mut Burst) -> Result<(), End> {
        if !negotiated.connack_fits() {
            return Err(self.refuse_connect(ReasonCode::PacketTooLarge));
        }
        if self.handshake.take().is_some_and(|handshake| handshake.complete().is_err()) {
            return Err(End::Network);
        }
        let wire: Arc<dyn Wire> = Arc::clone(&self.connection) as Arc<dyn Wire>;
        let attached = self.shared.broker.connect(now, negotiated, &wire, burst);
        let silence_max = negotiated.silence_max().map_or(0, |time| time.as_millis() as u32);
        self.connection.on_heard(self.shared.ms(now));
        self.connection.set_silence_max(silence_max);
        self.shared.watch(&self.connection);
        self.throttle = Throttle::new(now, &self.settings).map(Box::new);
        debug!(client = %negotiated.client_id, user = ?negotiated.user, version = ?negotiated.version, "connected");
        self.stage = Stage::Attached(attached);
        Ok(())
    }

    /// A packet that breaks the rules: the connection is closed, with the reason where the version has a way
    /// to say it [MQTT5-4.13.1-1].
    fn on_malformed(&mut self, frame: &[u8], error: &DecodeError) -> End {
        let reason = error.reason_code();
        match &self.stage {
            Stage::Attached(it) => {
                debug!(client = %it.client.id(), %error, "malformed packet");
                self.shared.broker.refuse(&it.client, it.generation, reason);
                End::Ours
            }
            // In the version of the CONNECT that began it, which is 5.
            Stage::Proving(_) => self.refuse_connect(reason),
            Stage::New | Stage::Checking(..) | Stage::Refused => {
                let answer_in = match error {
                    DecodeError::UnsupportedProtocolVersion { answer_in, .. } => Some(*answer_in),
                    // Only MQTT 5 has a code for a malformed CONNECT; the others are just closed.
                    _ => codec::connect_version(frame).filter(|version| *version == ProtocolVersion::V5),
                };
                let Some(version) = answer_in else {
                    self.shared.count_refused(reason.name());
                    return End::Ours;
                };
                self.version = version;
                self.refuse_connect(reason)
            }
        }
    }

    fn refuse_connect(&self, reason: ReasonCode) -> End {
        self.shared.count_refused(reason.name());
        if self.version < ProtocolVersion::V5 && !has_return_code(reason) {
            return End::Ours;
        }
        let connack = ConnAck { session_present: false, reason, properties: ConnAckProperties::default() };
        let mut bytes = Vec::new();
        let encoded = connack.encode(self.version, &mut bytes);
        if encoded.is_ok() && bytes.len() <= self.client_packet_size_max as usize {
            // The socket is empty, so a packet of a few bytes fits or the connection is broken.
            _ = self.connection.try_write(&bytes);
        }
        End::Ours
    }

    fn on_overdue(&self) -> End {
        match self.attached() {
            Some(it) => self.shared.broker.refuse(&it.client, it.generation, ReasonCode::KeepAliveTimeout),
            None => self.shared.count_refused("connect_timeout"),
        }
        End::Ours
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Some(it) = self.attached() {
            self.shared.broker.on_closed(clock::now(), &it.client, it.generation);
        }
    }
}

/// Whether one of the five return codes of 3.x says it. For the rest the connection is closed without a CONNACK
/// [MQTT311-3.2.2-6].
fn has_return_code(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::UnsupportedProtocolVersion
            | ReasonCode::ClientIdentifierNotValid
            | ReasonCode::BadUserNameOrPassword
            | ReasonCode::NotAuthorized
            | ReasonCode::Banned
            | ReasonCode::BadAuthenticationMethod
            | ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::UseAnotherServer
            | ReasonCode::ServerMoved
            | ReasonCode::QuotaExceeded
            | ReasonCode::ConnectionRateExceeded
    )
}

/// Reads and forgets until the peer has closed, so that its unread packets do not reset the connection before
/// it has read ours.
async fn linger(connection: &Connection) {
    let drained = async {
        let mut bytes = 0;
        let mut scratch = [0; 1 << 10];
        while bytes < LINGER_BYTES_MAX {
            match connection.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(read) => bytes += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    _ = connection.next(Wants { bytes: true, room: false, turn: false }).await;
                }
                Err(_) => return,
            }
        }
    };
    // When the time is up the connection is dropped all the same.
    _ = tokio::time::timeout(LINGER, drained).await;
}

impl Shared {
    pub(super) fn count_refused(&self, reason: &'static str) {
        self.metrics.connections_refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}
