//! What the node says of itself under `$SYS`: the usual names of other brokers, and the cluster's.
//!
//! Values are texts, kept like retained messages on this node and sent again when they change. They never leave
//! the node.

use std::time::{Duration, Instant};

use super::Broker;
use super::load::Load;
use super::publish::Burst;
use crate::codec::Qos;
use crate::message::Publication;
use crate::metrics::Metrics;
use crate::topic::TopicRef;

/// What is remembered from one publishing of the values to the next.
#[derive(Debug)]
pub(super) struct Sys {
    started: Instant,
    published: Option<Instant>,
    connected_max: i64,
    loads: [Load; LOADS.len()],
}

/// Reads a count that only grows.
type Count = fn(&Metrics) -> u64;

/// The counts whose load is told, by the names under `$SYS/broker/load/`.
const LOADS: [(&str, Count); 6] = [
    ("connections", |metrics| metrics.connects.get()),
    ("publish/received", |metrics| metrics.messages_received.get()),
    ("publish/sent", |metrics| metrics.messages_delivered.get()),
    ("publish/dropped", Metrics::dropped_in_all),
    ("bytes/received", |metrics| metrics.bytes_received.get()),
    ("bytes/sent", |metrics| metrics.bytes_sent.get()),
];

impl Sys {
    fn new(now: Instant) -> Self {
        Self { started: now, published: None, connected_max: 0, loads: [Load::default(); LOADS.len()] }
    }

    /// The values that need a memory, if values are due at `now`.
    fn take(&mut self, now: Instant, interval: Duration, metrics: &Metrics) -> Option<Vec<(String, String)>> {
        let is_due = self.published.is_none_or(|at| now.saturating_duration_since(at) >= interval);
        if interval.is_zero() || !is_due {
            return None;
        }
        let elapsed = now.saturating_duration_since(self.published.unwrap_or(self.started));
        self.published = Some(now);
        self.connected_max = self.connected_max.max(metrics.connections.get());
        let uptime = now.saturating_duration_since(self.started);
        let mut values = vec![
            ("$SYS/broker/uptime".to_owned(), format!("{} seconds", uptime.as_secs())),
            ("$SYS/broker/clients/maximum".to_owned(), self.connected_max.to_string()),
        ];
        for ((name, count), load) in LOADS.iter().zip(&mut self.loads) {
            load.update(count(metrics), elapsed);
            for ((span, _), average) in Load::SPANS.iter().zip(load.per_minute()) {
                values.push((format!("$SYS/broker/load/{name}/{span}"), format!("{average:.2}")));
            }
        }
        Some(values)
    }
}

impl Broker {
    /// Publishes the values if it is time.
    pub(super) fn publish_sys(&self, now: Instant, burst: &mut Burst) {
        let due = {
            let mut sys = self.sys.lock();
            let sys = sys.get_or_insert_with(|| Sys::new(now));
            sys.take(now, self.sys_interval, &self.metrics)
        };
        let Some(mut values) = due else { return };
        values.extend(self.sys_values());
        for (topic, value) in values {
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

    fn sys_values(&self) -> Vec<(String, String)> {
        let metrics = &self.metrics;
        let (connected, sessions) = (metrics.connections.get(), metrics.sessions.get());
        let version = format!("flockmq {}", env!("CARGO_PKG_VERSION"));
        let mut values = vec![("$SYS/broker/version".to_owned(), version)];
        let numbers: [(&str, i64); 9] = [
            ("clients/connected", connected),
            ("clients/disconnected", sessions - connected),
            ("clients/total", sessions),
            ("subscriptions/count", metrics.subscriptions.get()),
            ("retained messages/count", metrics.retained.get()),
            ("publish/messages/received", metrics.messages_received.get().cast_signed()),
            ("publish/messages/sent", metrics.messages_delivered.get().cast_signed()),
            ("publish/messages/dropped", metrics.dropped_in_all().cast_signed()),
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
