//! What the node writes to its client, against what the standard allows.

use std::collections::BTreeMap;
use std::time::Instant;

use flockmq::codec::{Packet, PacketId, ProtocolVersion, Publish, Qos};

use super::Given;

/// What the client has agreed to.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) version: ProtocolVersion,
    pub(super) receive_maximum: u16,
    /// Of the node.
    pub(super) inflight_max: u16,
    pub(super) packet_size_max: u32,
    pub(super) topic_alias_maximum: u16,
    pub(super) session_present: bool,
}

#[derive(Default)]
pub(super) struct Line {
    limits: Option<Limits>,
    /// Messages that the client has not acknowledged, over all connections of the session.
    inflight: BTreeMap<PacketId, Inflight>,
    aliases: BTreeMap<u16, String>,
    /// The CONNACK was written.
    accepted: bool,
    /// A DISCONNECT was written, after which nothing follows.
    said_goodbye: bool,
    /// Of the messages above QoS 0: the last on this connection, and the last ever sent for the first time.
    last: Option<u32>,
    newest: Option<u32>,
}

#[derive(Debug)]
struct Inflight {
    number: u32,
    qos: Qos,
    released: bool,
    /// As PUBLISH, on the present connection.
    sent: bool,
    /// As whatever is due, on the present connection.
    seen: bool,
}

/// The number of a message is the beginning of its payload.
pub(super) fn number(publish: &Publish<'_>) -> u32 {
    let bytes = publish.payload.first_chunk().expect("every message has a number");
    u32::from_be_bytes(*bytes)
}

impl Line {
    pub(super) fn on_connected(&mut self, limits: Limits) {
        self.limits = Some(limits);
        self.aliases.clear();
        self.accepted = false;
        self.said_goodbye = false;
        self.last = None;
    }

    pub(super) fn on_closed(&mut self) {
        self.limits = None;
        for entry in self.inflight.values_mut() {
            (entry.sent, entry.seen) = (false, false);
        }
    }

    /// Messages that are unacknowledged.
    pub(super) fn inflight(&self) -> usize {
        self.inflight.len()
    }

    /// Whether the window has room on this connection, and how many wait to be sent again in it.
    pub(super) fn room_and_unsent(&self) -> (bool, usize) {
        let Some(limits) = &self.limits else { return (false, 0) };
        let seen = self.inflight.values().filter(|entry| entry.seen).count();
        let max = limits.receive_maximum.min(limits.inflight_max);
        (seen < usize::from(max), self.inflight.len() - seen)
    }

    pub(super) fn on_written(&mut self, now: Instant, packet: &Packet<'_>, len: usize, messages: &[Given]) {
        let limits = self.limits.expect("there is a connection");
        assert!(len <= limits.packet_size_max as usize, "{len} bytes of {packet:?}");
        assert!(!self.said_goodbye, "{packet:?} after a DISCONNECT");
        if let Packet::ConnAck(connack) = packet {
            assert!(!self.accepted, "a second CONNACK");
            let is_told = limits.version != ProtocolVersion::V31;
            assert_eq!(connack.session_present, limits.session_present && is_told);
            self.accepted = true;
            return;
        }
        assert!(self.accepted, "{packet:?} before the CONNACK");
        match packet {
            Packet::Publish(publish) => self.on_publish(now, &limits, publish, messages),
            Packet::PubRel(pubrel) => {
                if let Some(entry) = self.inflight.get_mut(&pubrel.packet_id) {
                    assert!(entry.released || entry.qos != Qos::ExactlyOnce, "PUBREL before PUBREC");
                    entry.seen = true;
                }
            }
            Packet::Disconnect(_) => {
                assert_eq!(limits.version, ProtocolVersion::V5);
                self.said_goodbye = true;
            }
            Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubComp(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp
            | Packet::Auth(_) => {}
            other => panic!("a server does not send {other:?}"),
        }
    }

    fn on_publish(&mut self, now: Instant, limits: &Limits, publish: &Publish<'_>, messages: &[Given]) {
        let number = number(publish);
        let given = &messages[number as usize];
        assert!(publish.qos <= given.qos, "message {number}");
        assert_eq!(self.topic(limits, publish), given.topic, "message {number}");
        match (publish.properties.message_expiry, given.expires_at) {
            (Some(left), Some(at)) => {
                assert!(publish.dup || now < at, "message {number} has expired");
                assert!(u64::from(left) <= at.saturating_duration_since(now).as_secs() + 1);
            }
            (None, Some(at)) => {
                assert!(limits.version != ProtocolVersion::V5 && (publish.dup || now < at));
            }
            (left, None) => assert_eq!(left, None),
        }
        let Some(id) = publish.packet_id else { return };
        // [MQTT5-4.6.0-6], and the order of what is sent again [MQTT5-4.4.0-1].
        assert!(self.last < Some(number), "message {number} after {:?}", self.last);
        self.last = Some(number);
        let entry = self.inflight.get_mut(&id);
        if publish.dup {
            let entry = entry.expect("only what was sent is sent again");
            assert_eq!((entry.number, entry.qos), (number, publish.qos));
            assert!(!entry.released && !entry.sent, "message {number} is sent again");
            (entry.sent, entry.seen) = (true, true);
        } else {
            // Too large for this connection and therefore given up, if it is still noted.
            let is_free = entry.is_none_or(|entry| !entry.sent && limits.packet_size_max != u32::MAX);
            assert!(is_free, "{id:?} is in use");
            assert!(self.newest < Some(number), "message {number} after {:?}", self.newest);
            self.newest = Some(number);
            let entry = Inflight { number, qos: publish.qos, released: false, sent: true, seen: true };
            self.inflight.insert(id, entry);
        }
        self.check_window(limits);
    }

    /// [MQTT5-3.3.4-9]
    fn check_window(&self, limits: &Limits) {
        let sent = self.inflight.values().filter(|entry| entry.sent).count();
        let max = limits.receive_maximum.min(limits.inflight_max);
        assert!(sent <= usize::from(max), "{sent} unacknowledged of at most {max}");
    }

    /// The Topic Name, from the alias if there is one [MQTT5-3.1.2-26].
    fn topic<'a>(&'a mut self, limits: &Limits, publish: &Publish<'a>) -> &'a str {
        let Some(alias) = publish.properties.topic_alias.map(|alias| alias.get()) else {
            return publish.topic;
        };
        assert!(alias <= limits.topic_alias_maximum, "alias {alias}");
        if !publish.topic.is_empty() {
            self.aliases.insert(alias, publish.topic.to_owned());
        }
        self.aliases.get(&alias).expect("the alias is known")
    }

    /// The client acknowledges, rightly or wrongly.
    pub(super) fn on_acknowledged(&mut self, packet: &Packet<'_>) {
        let ends = match packet {
            Packet::PubAck(ack) => self.is(ack.packet_id, |entry| entry.qos == Qos::AtLeastOnce),
            Packet::PubRec(ack) => {
                let waits = self.is(ack.packet_id, |entry| entry.qos == Qos::ExactlyOnce && !entry.released);
                if ack.reason.is_error() {
                    waits
                } else {
                    if let Some(entry) = waits.and_then(|id| self.inflight.get_mut(&id)) {
                        entry.released = true;
                    }
                    None
                }
            }
            Packet::PubComp(ack) => self.is(ack.packet_id, |entry| entry.released),
            _ => None,
        };
        if let Some(id) = ends {
            self.inflight.remove(&id);
        }
    }

    fn is(&self, id: PacketId, wanted: impl Fn(&Inflight) -> bool) -> Option<PacketId> {
        self.inflight.get(&id).filter(|entry| wanted(entry)).map(|_| id)
    }
}
