//! The node's counters and gauges, and their text form for Prometheus.
//!
//! Names and units are part of the outside contract. Handles are kept as fields, so that counting is one
//! atomic add; a `Family` is looked up only for labels that come from outside the code.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why a message copy was removed without being delivered. Each has one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// The session's queue was full.
    QueueFull,
    /// The client reads too slowly: its outbox was full (QoS 0 only).
    OutboxFull,
    /// The message is larger than the receiving client accepts [MQTT5-3.1.2-25].
    PacketTooLarge,
    /// The Message Expiry Interval passed.
    Expired,
    /// The session ended with the message still queued or unacknowledged.
    SessionEnded,
    /// The client was offline and the message was QoS 0.
    Offline,
    /// The bounded buffer of a mesh link was full.
    LinkFull,
    /// What a peer forwarded cannot become a packet: a fault of that peer.
    PeerMalformed,
    /// The limits of the retained messages left no room: it was delivered, but not kept.
    RetainedFull,
    /// The peer was declared down with the message still unacknowledged.
    PeerDown,
    /// A rule for rewriting topics has no topic for it.
    RewriteRefused,
    /// A client published to a topic that is not its to publish to: it begins with `$`.
    TopicRefused,
    /// The limits of the delayed messages left no room.
    DelayedFull,
    /// The node stopped with the message in its memory only.
    NodeStopped,
}

/// Every reason, for registration and listings.
pub const DROP_REASONS: [(DropReason, &str); 14] = [
    (DropReason::QueueFull, "queue_full"),
    (DropReason::OutboxFull, "outbox_full"),
    (DropReason::PacketTooLarge, "packet_too_large"),
    (DropReason::Expired, "expired"),
    (DropReason::SessionEnded, "session_ended"),
    (DropReason::Offline, "offline"),
    (DropReason::LinkFull, "link_full"),
    (DropReason::PeerMalformed, "peer_malformed"),
    (DropReason::RetainedFull, "retained_full"),
    (DropReason::PeerDown, "peer_down"),
    (DropReason::RewriteRefused, "rewrite_refused"),
    (DropReason::TopicRefused, "topic_refused"),
    (DropReason::DelayedFull, "delayed_full"),
    (DropReason::NodeStopped, "node_stopped"),
];

/// `{reason="…"}`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReasonLabel {
    /// A fixed word of the code, never text from outside.
    pub reason: &'static str,
}

/// `{peer="…"}`: a peer's Node Id in short form.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct PeerLabel {
    /// First eight hex digits of the Node Id.
    pub peer: String,
}

/// `{state="…"}`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StateLabel {
    /// A fixed word of the code.
    pub state: &'static str,
}

/// All metrics of one node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Connected MQTT clients.
    pub connections: Gauge,
    /// CONNECTs that were accepted.
    pub connects: Counter,
    /// Network connections refused or closed before an accepted CONNECT, by reason.
    pub connections_refused: Family<ReasonLabel, Counter>,
    /// Network connections closed because of what the client sent, by reason code name.
    pub protocol_errors: Family<ReasonLabel, Counter>,
    /// Sessions, connected or not.
    pub sessions: Gauge,
    /// Subscriptions of all sessions on this node.
    pub subscriptions: Gauge,
    /// Entries (filter, share group, class, node) of the replicated route table, own ones included.
    pub routes: Gauge,
    /// Bytes read from clients.
    pub bytes_received: Counter,
    /// Bytes written to clients.
    pub bytes_sent: Counter,
    /// Pauses of clients that sent more than they may, by the rate that they had reached.
    pub throttled: Family<ReasonLabel, Counter>,
    /// How long these pauses were, for all clients together.
    pub throttled_seconds: Counter<f64, AtomicU64>,
    /// Topic Filters that the node's own rules made of what a client asked for, or made for it, and that it could
    /// not have, by the kind of rule.
    pub filters_refused: Family<ReasonLabel, Counter>,
    /// Retained messages stored on this node.
    pub retained: Gauge,
    /// Messages on this node that wait for their time.
    pub delayed: Gauge,
    /// PUBLISH packets accepted from clients of this node.
    pub messages_received: Counter,
    /// Message copies handed to clients of this node.
    pub messages_delivered: Counter,
    /// Copies forwarded to peers.
    pub messages_forwarded: Counter,
    /// Copies that arrived from peers.
    pub messages_from_peers: Counter,
    dropped: [Counter; DROP_REASONS.len()],
    /// Peers by state.
    pub cluster_peers: Family<StateLabel, Gauge>,
    /// Route changes of a peer's table that are known to exist and not yet applied here.
    pub cluster_route_lag: Family<PeerLabel, Gauge>,
    /// Gossip datagrams and mesh connections or frames that were refused, by reason.
    pub cluster_rejected: Family<ReasonLabel, Counter>,
    /// Route repairs: pulled ranges and snapshots, and re-syncs after a digest mismatch, by kind.
    pub cluster_repairs: Family<ReasonLabel, Counter>,
    /// SUBACKs that were sent before every live peer had acknowledged the route.
    pub suback_timeouts: Counter,
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let by_reason = Family::<ReasonLabel, Counter>::default();
        let dropped =
            DROP_REASONS.map(|(_, reason)| by_reason.get_or_create(&ReasonLabel { reason }).clone());
        let mut metrics = Self {
            registry: Registry::with_prefix("flockmq"),
            connections: Gauge::default(),
            connects: Counter::default(),
            connections_refused: Family::default(),
            protocol_errors: Family::default(),
            sessions: Gauge::default(),
            subscriptions: Gauge::default(),
            routes: Gauge::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
            throttled: Family::default(),
            throttled_seconds: Counter::default(),
            filters_refused: Family::default(),
            retained: Gauge::default(),
            delayed: Gauge::default(),
            messages_received: Counter::default(),
            messages_delivered: Counter::default(),
            messages_forwarded: Counter::default(),
            messages_from_peers: Counter::default(),
            dropped,
            cluster_peers: Family::default(),
            cluster_route_lag: Family::default(),
            cluster_rejected: Family::default(),
            cluster_repairs: Family::default(),
            suback_timeouts: Counter::default(),
        };
        metrics.register(by_reason);
        metrics
    }

    fn register(&mut self, dropped: Family<ReasonLabel, Counter>) {
        let registry = &mut self.registry;
        registry.register("connections", "Connected MQTT clients", self.connections.clone());
        registry.register("connects", "CONNECTs that were accepted", self.connects.clone());
        registry.register(
            "connections_refused",
            "Network connections refused or closed before an accepted CONNECT",
            self.connections_refused.clone(),
        );
        registry.register(
            "protocol_errors",
            "Network connections closed because of what the client sent",
            self.protocol_errors.clone(),
        );
        registry.register("sessions", "Sessions, connected or not", self.sessions.clone());
        registry.register(
            "subscriptions",
            "Subscriptions of this node's sessions",
            self.subscriptions.clone(),
        );
        registry.register("routes", "Entries of the replicated route table", self.routes.clone());
        registry.register("bytes_received", "Bytes read from clients", self.bytes_received.clone());
        registry.register("bytes_sent", "Bytes written to clients", self.bytes_sent.clone());
        registry.register(
            "throttled",
            "Pauses of clients that sent more than they may",
            self.throttled.clone(),
        );
        registry.register(
            "throttled_seconds",
            "How long clients were held back because they sent more than they may",
            self.throttled_seconds.clone(),
        );
        registry.register(
            "filters_refused",
            "Topic Filters of the node's own rules that a client could not have",
            self.filters_refused.clone(),
        );
        registry.register("retained", "Retained messages on this node", self.retained.clone());
        registry.register("delayed", "Messages that wait for their time", self.delayed.clone());
        registry.register(
            "messages_received",
            "PUBLISH packets accepted from clients",
            self.messages_received.clone(),
        );
        registry.register(
            "messages_delivered",
            "Message copies handed to clients",
            self.messages_delivered.clone(),
        );
        registry.register(
            "messages_forwarded",
            "Message copies sent to peers",
            self.messages_forwarded.clone(),
        );
        registry.register(
            "messages_from_peers",
            "Message copies that arrived from peers",
            self.messages_from_peers.clone(),
        );
        registry.register("messages_dropped", "Message copies removed without delivery", dropped);
        registry.register("cluster_peers", "Peers by state", self.cluster_peers.clone());
        registry.register(
            "cluster_route_lag",
            "Route changes of a peer that are known to exist and not yet applied here",
            self.cluster_route_lag.clone(),
        );
        registry.register(
            "cluster_rejected",
            "Gossip datagrams, mesh connections and frames that were refused",
            self.cluster_rejected.clone(),
        );
        registry.register("cluster_repairs", "Repairs of the route table", self.cluster_repairs.clone());
        registry.register(
            "cluster_suback_timeouts",
            "SUBACKs sent before every live peer had acknowledged the route",
            self.suback_timeouts.clone(),
        );
    }

    /// The counter of one drop reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> &Counter {
        &self.dropped[reason as usize]
    }

    /// Copies dropped for whatever reason.
    #[must_use]
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().map(Counter::get).sum()
    }

    /// The Prometheus text form.
    ///
    /// # Errors
    /// Never in practice: only when formatting into a `String` fails.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drop_reason_has_its_own_counter() {
        let metrics = Metrics::new();
        for (n, (reason, _)) in DROP_REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, n, "{reason:?} stands at its own place in the table");
            metrics.dropped(*reason).inc_by(n as u64 + 1);
        }
        let text = metrics.encode().unwrap();
        for (n, (_, name)) in DROP_REASONS.iter().enumerate() {
            let line = format!("flockmq_messages_dropped_total{{reason=\"{name}\"}} {}", n + 1);
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
