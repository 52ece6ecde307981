//! What the node says of itself under `$SYS`: the usual names of other brokers, and the cluster's.
//!
//! Values are texts, kept like retained messages on this node and sent again when they change. They never leave
//! the node.

use std::time::{Duration, Instant};

use super::Broker;
use super::publish::Burst;
use crate::codec::Qos;
use crate::message::Publication;
use crate::metrics::DROP_REASONS;
use crate::topic::TopicRef;

/// When the values were last published, and since when the node runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct SysClock {
    started: Instant,
    published: Option<Instant>,
}

impl SysClock {
    /// The time since the start if values are due at `now`.
    fn due(&mut self, now: Instant, interval: Duration) -> Option<Duration> {
        let is_due = self.published.is_none_or(|at| now.saturating_duration_since(at) >= interval);
        if interval.is_zero() || !is_due {
            return None;
        }
        self.published = Some(now);
        Some(now.saturating_duration_since(self.started))
    }
}

impl Broker {
    /// Publishes the values if it is time.
    pub(super) fn publish_sys(&self, now: Instant, burst: &mut Burst) {
        let due = {
            let mut clock = self.sys_clock.lock();
            let clock = clock.get_or_insert(SysClock { started: now, published: None });
            clock.due(now, self.sys_interval)
        };
        let Some(uptime) = due else { return };
        for (topic, value) in self.sys_values(uptime) {
            self.publish_sys_value(now, &topic, &value, burst);
        }
    }

    fn publish_sys_value(&self, now: Instant, topic: &str, value: &str, burst: &mut Burst) {
        // A node's name may hold what a topic may not.
        let Ok(topic) = TopicRef::parse(topic) else { return };
        let publication = Publication {
            topic,
            payload: value.as_bytes(),
            qos: Qos::AtMostOnce,
            retain: true,
            properties: &[],
            expires_at: None,
            publisher: None,
        };
        if !self.retained.changes(&publication) {
            return;
        }
        self.retain(&publication);
        self.publish_here(now, &publication, burst);
    }

    fn sys_values(&self, uptime: Duration) -> Vec<(String, String)> {
        let metrics = &self.metrics;
        let (connected, sessions) = (metrics.connections.get(), metrics.sessions.get());
        let dropped: u64 = DROP_REASONS.iter().map(|(reason, _)| metrics.dropped(*reason).get()).sum();
        let mut values = vec![
            ("$SYS/broker/version".to_owned(), format!("flockmq {}", env!("CARGO_PKG_VERSION"))),
            ("$SYS/broker/uptime".to_owned(), format!("{} seconds", uptime.as_secs())),
        ];
        let numbers: [(&str, i64); 9] = [
            ("clients/connected", connected),
            ("clients/disconnected", sessions - connected),
            ("clients/total", sessions),
            ("subscriptions/count", metrics.subscriptions.get()),
            ("retained messages/count", metrics.retained.get()),
            ("publish/messages/received", metrics.messages_received.get().cast_signed()),
            ("publish/messages/sent", metrics.messages_delivered.get().cast_signed()),
            ("publish/messages/dropped", dropped.cast_signed()),
            ("bytes/received", metrics.bytes_received.get().cast_signed()),
        ];
        values.extend(numbers.iter().map(|(name, value)| (format!("$SYS/broker/{name}"), value.to_string())));
        values.push(("$SYS/broker/bytes/sent".to_owned(), metrics.bytes_sent.get().to_string()));
        if let Some(cluster) = &self.cluster {
            let status = cluster.status();
            let live = status.nodes.iter().filter(|node| node.state == "live").count();
            values.push(("$SYS/cluster/name".to_owned(), status.cluster.clone()));
            values.push(("$SYS/cluster/nodes/known".to_owned(), status.nodes.len().to_string()));
            values.push(("$SYS/cluster/nodes/live".to_owned(), live.to_string()));
            values.push(("$SYS/cluster/converged".to_owned(), status.converged.to_string()));
            values.push(("$SYS/cluster/routes".to_owned(), metrics.routes.get().to_string()));
            let states = status
                .nodes
                .iter()
                .map(|node| (format!("$SYS/cluster/node/{}/state", node.name), node.state.to_owned()));
            values.extend(states);
        }
        values
    }
}
