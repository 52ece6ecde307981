//! A client as the broker knows it: its session, the bytes that wait for its socket, and who writes them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::Mutex;

use super::replay::Replays;
use super::standing::{Notice, Standing};
use crate::auth::Exchange;
use crate::codec::{Qos, ReasonCode};
use crate::metrics::{DropReason, Metrics};
use crate::session::{
    Ahead, Backlog, ClientId, Closing, Copies, Delivery, Farewell, Outbox, Outlook, Room, Session, Tally,
    Will,
};

/// The socket of a connected client, as far as the broker needs it.
pub trait Wire: Send + Sync + 'static {
    /// Writes without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when the socket is full, anything else when the connection is broken.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Asks the owner of the connection to look at it again: output is blocked, or it is to be closed.
    fn wake(&self);
}

/// Distinguishes the connections that one client has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

/// One client: connected, or away with a session that is kept.
pub struct Client {
    id: ClientId,
    /// Whether `replays` has something, for those who look without the lock. Written with the lock held.
    pub(super) has_replays: AtomicBool,
    /// Something waits that this client could have, once it has room: see `Broker::answer_call`.
    pub(super) is_called: AtomicBool,
    /// Written with the lock held, whenever something has changed.
    notice: Notice,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) session: Session,
    pub(super) generation: Generation,
    /// The client of the present connection is authenticating again.
    pub(super) exchange: Option<Box<dyn Exchange>>,
    wire: Option<Arc<dyn Wire>>,
    outbox: Outbox,
    output: Output,
    /// Already in some burst's list of clients to flush.
    touched: bool,
    /// The connection is to be closed once the outbox is written.
    closing: bool,
    /// The Will of a client that is away, until its delay has passed.
    pub(super) pending_will: Option<Box<Will>>,
    /// Retained messages that new subscriptions have not got yet.
    pub(super) replays: Replays,
    /// The session has ended: its subscriptions are being removed and nothing may be added.
    pub(super) ended: bool,
    /// The last words of a connection that was taken away while somebody was writing to it.
    parting: Option<Box<Parting>>,
}

/// What the writer of a connection that is gone has to write at the end.
struct Parting {
    generation: Generation,
    bytes: Vec<u8>,
}

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// The message can go to somebody else.
    Refused,
    /// The client has it.
    Taken {
        /// Whether the caller must see to it that the client is flushed.
        must_flush: bool,
    },
}

/// What would become of one more message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prospect {
    pub(super) outlook: Outlook,
    /// The same, as an offer would find it.
    pub(super) room: Room,
    pub(super) backlog: Backlog,
    pub(super) is_connected: bool,
    pub(super) is_persistent: bool,
    /// The socket has taken nothing for a while.
    pub(super) is_blocked: bool,
    /// The session has ended.
    pub(super) is_ended: bool,
}

/// Who may write to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// Whoever flushes next.
    Idle,
    /// Somebody is writing and will write what is appended meanwhile.
    Writing,
    /// The socket or the outbox was full: the owner goes on when the socket has room again.
    Blocked,
}

/// What the owner of a connection has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Wait for the client, or for a wake-up.
    Wait,
    /// Wait for room in the socket as well, then call [`Broker::on_writable`](super::Broker::on_writable).
    AwaitRoom,
    /// The same, and read nothing until then: the client sends without reading, so each of its packets would add
    /// an answer to those that wait already.
    AwaitRoomOnly,
    /// The connection is to be closed, but what was said last is not written yet. Wait for a wake-up and, with
    /// `room`, for room in the socket as well, for as long as that client is worth; then close.
    Part {
        /// Whether the socket was full: then call [`Broker::on_writable`](super::Broker::on_writable).
        room: bool,
    },
    /// Close the connection: everything is written, or nothing can be.
    Close,
}

impl Client {
    pub(super) fn new(session: Session) -> Self {
        let state = State {
            generation: Generation(0),
            exchange: None,
            wire: None,
            outbox: Outbox::default(),
            output: Output::Idle,
            touched: false,
            closing: false,
            pending_will: None,
            replays: Replays::default(),
            ended: false,
            parting: None,
            session,
        };
        let id = state.session.client_id().clone();
        Self {
            id,
            has_replays: AtomicBool::new(false),
            is_called: AtomicBool::new(false),
            notice: Notice::default(),
            state: Mutex::new(state),
        }
    }

    /// The Client Identifier.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    /// Runs `act` on the session if `generation` is still its connection; appended bytes wait for a flush.
    pub(super) fn with_connection<T>(
        &self,
        generation: Generation,
        metrics: &Metrics,
        act: impl FnOnce(&mut Session, &mut Outbox) -> T,
    ) -> Option<T> {
        self.with_connected(generation, metrics, |state| {
            let (session, outbox) = state.session_and_outbox();
            act(session, outbox)
        })
    }

    /// Like [`Client::with_connection`], for what is not the session's.
    pub(super) fn with_connected<T>(
        &self,
        generation: Generation,
        metrics: &Metrics,
        act: impl FnOnce(&mut State) -> T,
    ) -> Option<T> {
        let mut state = self.state.lock();
        if state.generation != generation || state.wire.is_none() || state.closing {
            return None;
        }
        let result = act(&mut state);
        let tally = state.take_tally();
        self.notice.set(state.standing());
        drop(state);
        count(metrics, &tally);
        Some(result)
    }

    /// Which of its connections the client has, or had last.
    pub(super) fn generation(&self) -> Generation {
        self.state.lock().generation
    }

    /// Runs `act` on everything.
    pub(super) fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = act(&mut state);
        self.notice.set(state.standing());
        result
    }

    /// Where a message would go as far as is known without the lock.
    pub(super) fn standing(&self) -> Standing {
        self.notice.get()
    }

    /// Takes a copy of a message. True when the caller must see to it that the client is flushed.
    pub(super) fn deliver(
        &self,
        now: Instant,
        copies: &mut Copies<'_>,
        delivery: &Delivery<'_>,
        metrics: &Metrics,
    ) -> bool {
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            metrics.dropped(DropReason::SessionEnded).inc();
            return false;
        }
        let State { session, outbox, .. } = &mut *state;
        session.deliver(now, copies, delivery, outbox);
        let (tally, must_flush) = state.touch();
        self.notice.set(state.standing());
        drop(state);
        count(metrics, &tally);
        must_flush
    }

    /// Takes a copy of a message if its place is `least` or better.
    pub(super) fn offer(
        &self,
        now: Instant,
        copies: &mut Copies<'_>,
        delivery: &Delivery<'_>,
        least: Room,
        metrics: &Metrics,
    ) -> Offered {
        let mut state = self.state.lock();
        let is_possible = state.room_max(copies.publication().qos.min(delivery.qos_max)) >= least;
        let State { session, outbox, .. } = &mut *state;
        if !is_possible || !session.offer(now, copies, delivery, least, outbox) {
            return Offered::Refused;
        }
        let (tally, must_flush) = state.touch();
        self.notice.set(state.standing());
        drop(state);
        count(metrics, &tally);
        Offered::Taken { must_flush }
    }

    /// What [`Client::deliver`] would do with one more message that costs `bytes` in a queue. Changes nothing.
    pub(super) fn prospect(&self, qos: Qos, bytes: usize, ahead: &Ahead) -> Prospect {
        let state = self.state.lock();
        let State { session, outbox, .. } = &*state;
        let outlook = session.outlook(qos, bytes, ahead, outbox);
        Prospect {
            outlook,
            room: outlook.room().min(session.room(qos, 0, outbox)).min(state.room_max(qos)),
            backlog: session.backlog(outbox),
            is_connected: state.wire.is_some() && !state.closing,
            is_persistent: session.is_persistent(),
            is_blocked: state.output == Output::Blocked,
            is_ended: state.ended,
        }
    }

    /// Writes what waits, unless somebody else is at it or the socket is full. Never waits.
    pub fn flush(&self) {
        loop {
            let (bytes, wire, generation) = {
                let mut state = self.state.lock();
                state.touched = false;
                if state.output != Output::Idle || state.outbox.is_empty() {
                    return;
                }
                let Some(wire) = state.wire.clone() else {
                    state.outbox.clear();
                    return;
                };
                state.output = Output::Writing;
                (state.outbox.take(), wire, state.generation)
            };
            let (written, outcome) = write_all(&*wire, &bytes);
            let mut state = self.state.lock();
            if state.generation != generation {
                drop(state);
                // Another connection has taken over; these bytes were the old one's.
                self.write_parting(&*wire, generation, outcome.is_ok());
                return;
            }
            let must_wake = match outcome {
                Ok(()) => {
                    // The owner of a connection that closes may have looked while the last bytes were being
                    // written.
                    let was_last = state.closing && state.outbox.is_empty();
                    // The outbox was full, so messages may wait for room in it, and perhaps for no
                    // acknowledgement: the owner goes on with them as after a full socket.
                    let was_full = !state.closing && state.session.outbox_bytes_max() <= bytes.len();
                    state.output = if was_full { Output::Blocked } else { Output::Idle };
                    was_last || was_full
                }
                Err(error) => {
                    let is_full = error.kind() == io::ErrorKind::WouldBlock;
                    state.output = Output::Blocked;
                    if is_full {
                        state.outbox.restore(bytes, written);
                    } else {
                        state.closing = true;
                        state.outbox.clear();
                        state.replays.on_loss();
                    }
                    true
                }
            };
            self.notice.set(state.standing());
            drop(state);
            if must_wake {
                wire.wake();
                return;
            }
        }
    }

    /// Writes the last words of a connection that was taken away during a write; what is left of that write itself
    /// cannot be followed by anything.
    fn write_parting(&self, wire: &dyn Wire, generation: Generation, was_all_written: bool) {
        let bytes = match &mut self.state.lock().parting {
            Some(parting) if parting.generation == generation => std::mem::take(&mut parting.bytes),
            _ => return,
        };
        if was_all_written {
            _ = write_all(wire, &bytes);
        }
        // Only now may its owner close it.
        self.state.lock().parting.take_if(|parting| parting.generation == generation);
        wire.wake();
    }

    /// The socket has room again.
    pub(super) fn on_writable(&self, generation: Generation, now: Instant, metrics: &Metrics) {
        {
            let mut state = self.state.lock();
            if state.generation != generation || state.output != Output::Blocked {
                return;
            }
            state.output = Output::Idle;
            self.notice.set(state.standing());
        }
        self.flush();
        // What waited in the session for room in the outbox follows.
        self.with_connection(generation, metrics, |session, outbox| session.on_drained(now, outbox));
        self.flush();
    }

    /// What the connection's owner has to do next.
    #[must_use]
    pub fn duty(&self, generation: Generation) -> Duty {
        let state = self.state.lock();
        if state.parting.as_ref().is_some_and(|parting| parting.generation == generation) {
            return Duty::Part { room: false };
        }
        if state.generation != generation || state.wire.is_none() {
            return Duty::Close;
        }
        match (state.closing, state.output, state.outbox.is_empty()) {
            (true, Output::Idle | Output::Blocked, true) => Duty::Close,
            (true, output, _) => Duty::Part { room: output == Output::Blocked },
            // Deliveries stop at the limit; answers alone go beyond it.
            (false, Output::Blocked, _) if 2 * state.session.outbox_bytes_max() <= state.outbox.len() => {
                Duty::AwaitRoomOnly
            }
            (false, Output::Blocked, _) => Duty::AwaitRoom,
            _ => Duty::Wait,
        }
    }

    /// Says goodbye with `reason` and asks the owner to close the connection.
    pub(super) fn close(&self, generation: Generation, reason: ReasonCode) {
        let wire = {
            let mut state = self.state.lock();
            if state.generation != generation || state.closing {
                return;
            }
            let wire = state.say_goodbye(reason);
            self.notice.set(state.standing());
            wire
        };
        self.flush();
        if let Some(wire) = wire {
            wire.wake();
        }
    }
}

impl State {
    fn say_goodbye(&mut self, reason: ReasonCode) -> Option<Arc<dyn Wire>> {
        self.session.say_goodbye(reason, &mut self.outbox);
        self.closing = true;
        self.wire.clone()
    }

    /// Gives the session a new connection. The old one, if there is one, must have been detached.
    pub(super) fn attach(&mut self, wire: Arc<dyn Wire>) -> Generation {
        self.generation = Generation(self.generation.0 + 1);
        self.exchange = None;
        self.wire = Some(wire);
        self.outbox.clear();
        self.output = Output::Idle;
        self.closing = false;
        self.touched = false;
        self.generation
    }

    /// Takes the connection away: what is left to do for the session, or `None` when there was none. A last
    /// DISCONNECT with `reason` is written if the socket takes it at once, by whoever is writing just now if
    /// somebody is.
    pub(super) fn detach(
        &mut self,
        now: Instant,
        closing: Closing,
        reason: Option<ReasonCode>,
    ) -> Option<Farewell> {
        let wire = self.wire.take()?;
        if let Some(reason) = reason {
            self.session.say_goodbye(reason, &mut self.outbox);
        }
        let farewell = self.session.on_closed(now, closing);
        let bytes = self.outbox.take();
        let is_lost = self.output != Output::Idle && !bytes.is_empty();
        if self.output != Output::Writing {
            // Nobody reads the result: the connection ends either way.
            _ = write_all(&*wire, &bytes);
        } else if reason.is_some() {
            self.parting = Some(Box::new(Parting { generation: self.generation, bytes }));
        }
        // What could not be written is lost, retained messages with it.
        if is_lost {
            self.replays.on_loss();
        }
        self.exchange = None;
        self.generation = Generation(self.generation.0 + 1);
        wire.wake();
        farewell
    }

    /// The session's part for code that appends packets under the lock.
    pub(super) fn session_and_outbox(&mut self) -> (&mut Session, &mut Outbox) {
        (&mut self.session, &mut self.outbox)
    }

    /// The same for a replay.
    pub(super) fn replaying(&mut self) -> (&mut Replays, &mut Session, &mut Outbox) {
        (&mut self.replays, &mut self.session, &mut self.outbox)
    }

    /// Something may have been appended: the tally of it, and whether the caller must see to a flush.
    fn touch(&mut self) -> (Tally, bool) {
        let must_flush = !self.touched && !self.outbox.is_empty();
        self.touched |= must_flush;
        (self.take_tally(), must_flush)
    }

    /// What became of copies since the last call.
    pub(super) fn take_tally(&mut self) -> Tally {
        let tally = self.outbox.take_tally();
        if tally.has_losses() {
            self.replays.on_loss();
        }
        tally
    }

    /// Asks the owner of the connection, if there is one, to look at it again.
    pub(super) fn wake(&self) {
        if let Some(wire) = &self.wire {
            wire.wake();
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let room = |qos| self.session.room(qos, 0, &self.outbox).min(self.room_max(qos));
        Standing {
            unacknowledged: room(Qos::AtMostOnce),
            acknowledged: room(Qos::AtLeastOnce),
            is_connected: self.wire.is_some() && !self.closing,
            load: u32::try_from(self.session.load()).unwrap_or(u32::MAX),
        }
    }

    /// The best place that a message can have, whatever the session says.
    fn room_max(&self, qos: Qos) -> Room {
        let is_kept = qos != Qos::AtMostOnce && self.session.is_persistent();
        match (self.ended, self.closing, self.output) {
            (true, ..) => Room::Full,
            (false, true, _) if is_kept => Room::Away,
            (false, true, _) => Room::Full,
            (false, false, Output::Blocked) => Room::Queue,
            (false, false, _) => Room::Now,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.wire.is_some()
    }
}

fn write_all(wire: &dyn Wire, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match wire.try_write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Adds a session's tally to the node's counters.
pub(super) fn count(metrics: &Metrics, tally: &Tally) {
    if *tally == Tally::default() {
        return;
    }
    metrics.messages_delivered.inc_by(u64::from(tally.delivered));
    let drops = [
        (DropReason::Expired, tally.expired),
        (DropReason::PacketTooLarge, tally.too_large),
        (DropReason::OutboxFull, tally.outbox_full),
        (DropReason::Offline, tally.offline),
        (DropReason::QueueFull, tally.queue_full),
    ];
    for (reason, copies) in drops {
        metrics.dropped(reason).inc_by(u64::from(copies));
    }
}
