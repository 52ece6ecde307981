//! The limits that every session of this node works under.

use std::time::Duration;

/// Limits of one session. All sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// QoS 1 and 2 publishes that a client may have unacknowledged: announced to MQTT 5 clients as Receive
    /// Maximum [MQTT5-3.2.2.3.3].
    pub receive_maximum: u16,
    /// QoS 1 and 2 publishes that may be unacknowledged towards a client; the client's own Receive Maximum
    /// lowers it.
    pub inflight_max: u16,
    /// Messages that wait for a client that is away or slow; more are dropped, the newest first.
    pub queue_len_max: usize,
    /// Payload and topic bytes that wait for a client that is away or slow.
    pub queue_bytes_max: usize,
    /// Encoded packets that may wait for a socket; beyond it QoS 0 is dropped and QoS 1 and 2 wait in the
    /// queue.
    pub outbox_bytes_max: usize,
    /// Longest time a session is kept after its connection ended; `None` keeps it for ever.
    pub session_expiry_max: Option<Duration>,
    /// Longest keep alive in seconds: a longer one (or none) is replaced by it for MQTT 5 clients
    /// [MQTT5-3.2.2-21]. 65,535 leaves every client its own choice.
    pub keep_alive_max: u16,
    /// Largest packet taken from a client, and announced as Maximum Packet Size.
    pub packet_size_max: u32,
    /// Topic aliases that a client may set [MQTT5-3.2.2.3.8].
    pub topic_alias_maximum: u16,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Levels of a Topic Name or Topic Filter.
    pub topic_levels_max: usize,
    /// Bytes of a Client Identifier.
    pub client_id_len_max: usize,
    /// Whether messages may be retained; if not, clients are told so [MQTT5-3.2.2.3.5].
    pub retain_available: bool,
    /// Whether shared subscriptions are taken; if not, clients are told so [MQTT5-3.2.2.3.13].
    pub shared_available: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            receive_maximum: 256,
            inflight_max: 128,
            queue_len_max: 100_000,
            queue_bytes_max: 16 << 20,
            outbox_bytes_max: 4 << 20,
            session_expiry_max: None,
            keep_alive_max: u16::MAX,
            packet_size_max: 1 << 20,
            topic_alias_maximum: 16,
            subscriptions_max: 10_000,
            topic_levels_max: 128,
            client_id_len_max: 256,
            retain_available: true,
            shared_available: true,
        }
    }
}
