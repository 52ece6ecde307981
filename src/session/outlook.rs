//! What would become of one more message for a client: for people who ask. Nothing changes.

use super::Session;
use super::outbox::Outbox;
use super::shared::Room;
use crate::codec::Qos;

/// What a session would do with one more copy whose size the client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It goes to the client at once.
    Sent,
    /// It goes into the queue.
    Waits {
        /// For what.
        wait: Wait,
        /// How many older messages are dropped to make room for it.
        displaced: usize,
    },
    /// Dropped: QoS 0, and the client is away.
    Offline,
    /// Dropped: QoS 0, and the client reads too slowly.
    OutboxFull,
    /// Dropped: the queue has no room.
    QueueFull,
}

/// What a message in the queue waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The client's return.
    Away,
    /// Acknowledgements: as many messages are unacknowledged as may be.
    Window,
    /// Room in front of the client's socket.
    Outbox,
    /// Older messages, which are sent first.
    Behind,
}

/// Copies of the same message that the client would get before this one: it may have several subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Sent at QoS 1 or 2.
    pub(super) sent: usize,
    /// Put into the queue.
    pub(super) queued: usize,
    /// Dropped out of the queue for them.
    pub(super) displaced: usize,
}

/// What a session has to get through, each with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Messages in the queue.
    pub queued: usize,
    /// Most of them.
    pub queued_max: usize,
    /// Bytes of memory of the queue.
    pub queued_bytes: usize,
    /// Most of them.
    pub queued_bytes_max: usize,
    /// QoS 1 and 2 messages that were sent and are not acknowledged.
    pub unacknowledged: usize,
    /// Most of them, on the present connection.
    pub unacknowledged_max: u16,
    /// Bytes that wait for the socket.
    pub outbox_bytes: usize,
    /// Above it QoS 0 is dropped and the rest waits.
    pub outbox_bytes_max: usize,
}

impl Ahead {
    /// Counts a copy.
    pub fn add(&mut self, qos: Qos, outlook: Outlook) {
        match outlook {
            Outlook::Sent => self.sent += usize::from(qos != Qos::AtMostOnce),
            Outlook::Waits { displaced, .. } => {
                self.queued += 1;
                self.displaced += displaced;
            }
            Outlook::Offline | Outlook::OutboxFull | Outlook::QueueFull => {}
        }
    }
}

impl Outlook {
    /// Where that is, as those see it who can give the message to somebody else.
    #[must_use]
    pub fn room(self) -> Room {
        match self {
            Self::Sent => Room::Now,
            Self::Waits { displaced: 0, wait: Wait::Away } => Room::Away,
            Self::Waits { displaced: 0, .. } => Room::Queue,
            Self::Waits { .. } | Self::Offline | Self::OutboxFull | Self::QueueFull => Room::Full,
        }
    }
}

impl Session {
    /// What [`Session::deliver`] would do with one more message of this QoS that costs `message_bytes` in a queue, if
    /// the client takes its size and it does not expire.
    #[must_use]
    pub fn outlook(&self, qos: Qos, message_bytes: usize, ahead: &Ahead, out: &Outbox) -> Outlook {
        let window = self.connected.as_ref().map(|connected| &connected.window);
        self.outbound.outlook(qos, message_bytes, ahead, window, &self.settings, out)
    }

    /// What waits for the client or for its acknowledgement.
    #[must_use]
    pub fn backlog(&self, out: &Outbox) -> Backlog {
        let window = self.connected.as_ref().map(|connected| &connected.window);
        self.outbound.backlog(window, &self.settings, out)
    }
}
