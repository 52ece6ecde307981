//! The limits that a session works under: those of the listener that its client came through last.

use std::time::Duration;

use crate::codec::Qos;

/// Limits of one session. All sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// QoS 1 and 2 publishes that a client may have unacknowledged: announced to MQTT 5 clients as Receive
    /// Maximum [MQTT5-3.2.2.3.3].
    pub receive_maximum: u16,
    /// QoS 1 and 2 publishes that may be unacknowledged towards a client; the client's own Receive Maximum
    /// lowers it.
    pub inflight_max: u16,
    /// Messages that wait for a client that is away or slow.
    pub queue_len_max: usize,
    /// Payload and topic bytes that wait for a client that is away or slow.
    pub queue_bytes_max: usize,
    /// Which message is dropped when the queue is full: the one that has waited longest, or the new one.
    pub queue_drops_oldest: bool,
    /// Encoded packets that may wait for a socket; beyond it QoS 0 is dropped and QoS 1 and 2 wait in the
    /// queue.
    pub outbox_bytes_max: usize,
    /// Longest time a session is kept after its connection ended; `None` keeps it for ever.
    pub session_expiry_max: Option<Duration>,
    /// Shortest keep alive in seconds: a shorter one, unless it is none, is replaced by it for MQTT 5 clients
    /// [MQTT5-3.2.2-21]. 0 leaves every client its own choice.
    pub keep_alive_min: u16,
    /// Longest keep alive in seconds: a longer one (or none) is replaced by it for MQTT 5 clients
    /// [MQTT5-3.2.2-21]. 65,535 leaves every client its own choice.
    pub keep_alive_max: u16,
    /// Largest packet taken from a client, and announced as Maximum Packet Size.
    pub packet_size_max: u32,
    /// Topic aliases that a client may set [MQTT5-3.2.2.3.8].
    pub topic_alias_maximum: u16,
    /// Topic aliases that this node makes towards a client; the client's own Topic Alias Maximum lowers it
    /// [MQTT5-3.1.2-26].
    pub topic_aliases_made_max: u16,
    /// Told to clients that ask for Response Information [MQTT5-3.2.2.3.15]; `%c` stands for the Client Identifier.
    pub response_information: Option<Box<str>>,
    /// Whether a message that calls its payload UTF-8 is refused when it is not (0x99).
    pub payload_format_check: bool,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Levels of a Topic Name or Topic Filter.
    pub topic_levels_max: usize,
    /// Bytes of a Topic Name, or of a Topic Filter with its `$share/{ShareName}/`.
    pub topic_len_max: usize,
    /// Bytes of a Client Identifier.
    pub client_id_len_max: usize,
    /// PUBLISH packets per second from a client, and at once after a pause; 0 is no limit. A client that sends
    /// more is not read from until its rate allows it.
    pub message_rate_max: u32,
    /// The same for all bytes.
    pub byte_rate_max: u64,
    /// Highest QoS of a PUBLISH, of a Will and of a subscription: announced as Maximum QoS [MQTT5-3.2.2-9].
    /// Subscriptions that ask for more are granted this one [MQTT5-3.2.2-10].
    pub qos_max: Qos,
    /// Whether messages may be retained; if not, clients are told so [MQTT5-3.2.2.3.5].
    pub retain_available: bool,
    /// Whether shared subscriptions are taken; if not, clients are told so [MQTT5-3.2.2.3.13].
    pub shared_available: bool,
    /// Whether exclusive subscriptions are taken; if not, their filters are refused as no Topic Filters.
    pub exclusive_available: bool,
    /// Whether Topic Filters may contain wildcards; if not, clients are told so [MQTT5-3.2.2.3.11].
    pub wildcard_available: bool,
    /// Whether subscriptions may have identifiers; if not, clients are told so [MQTT5-3.2.2.3.12].
    pub subscription_ids_available: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            receive_maximum: 256,
            inflight_max: 128,
            queue_len_max: 100_000,
            queue_bytes_max: 16 << 20,
            queue_drops_oldest: false,
            outbox_bytes_max: 4 << 20,
            session_expiry_max: None,
            keep_alive_min: 0,
            keep_alive_max: u16::MAX,
            packet_size_max: 1 << 20,
            topic_alias_maximum: 16,
            topic_aliases_made_max: 16,
            response_information: None,
            payload_format_check: false,
            subscriptions_max: 10_000,
            topic_levels_max: 128,
            // What the standard allows: memory is bounded by bytes everywhere but in the subscriptions.
            topic_len_max: 65_535,
            client_id_len_max: 256,
            message_rate_max: 0,
            byte_rate_max: 0,
            qos_max: Qos::ExactlyOnce,
            retain_available: true,
            shared_available: true,
            exclusive_available: true,
            wildcard_available: true,
            subscription_ids_available: true,
        }
    }
}

impl Settings {
    /// Sets `qos_max` from its number; what is above 2 is 2.
    pub fn set_qos_max(&mut self, number: u8) {
        self.qos_max = Qos::from_u8(number).unwrap_or(Qos::ExactlyOnce);
    }

    /// Whether a Topic Name or Topic Filter of so many bytes and levels is taken.
    #[must_use]
    pub fn takes_topic(&self, bytes: usize, levels: usize) -> bool {
        bytes <= self.topic_len_max && levels <= self.topic_levels_max
    }

    /// The keep alive in force for a client that asks for `asked`, in seconds; 0 is none.
    #[must_use]
    pub(super) fn keep_alive(&self, asked: u16) -> u16 {
        let is_limited = self.keep_alive_max != u16::MAX;
        match asked {
            0 if is_limited => self.keep_alive_max,
            0 => 0,
            // The longest wins where the two contradict each other.
            asked => asked.max(self.keep_alive_min).min(self.keep_alive_max),
        }
    }
}
