//! What arrives at the application behind a client that reads: every QoS 2 message at most once.

use std::collections::BTreeSet;

use flockmq::codec::{Packet, PacketId, Publish, Qos};

use super::line::number;

#[derive(Default)]
pub(super) struct App {
    /// Packet Identifiers of QoS 2 messages whose PUBREL has not come [MQTT5-4.3.3-10].
    received: BTreeSet<PacketId>,
    /// QoS 2 messages that the application has seen.
    passed: BTreeSet<u32>,
    /// What can be acknowledged: every packet read that asks for it, oldest first.
    owed: Vec<Owed>,
}

/// An acknowledgement that the client owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    Acknowledged(PacketId),
    Received(PacketId),
    Complete(PacketId),
}

impl App {
    pub(super) fn on_packet(&mut self, packet: &Packet<'_>) {
        match packet {
            // What was owed on the last connection is asked for again.
            Packet::ConnAck(_) => self.owed.clear(),
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubRel(pubrel) => {
                self.received.remove(&pubrel.packet_id);
                self.owed.push(Owed::Complete(pubrel.packet_id));
            }
            _ => {}
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) {
        let Some(id) = publish.packet_id else { return };
        if publish.qos == Qos::AtLeastOnce {
            self.owed.push(Owed::Acknowledged(id));
            return;
        }
        self.owed.push(Owed::Received(id));
        if self.received.insert(id) {
            let number = number(publish);
            assert!(self.passed.insert(number), "message {number} arrives twice at QoS 2");
        }
    }

    /// The client refuses a message: its identifier is free [MQTT5-4.3.3-9].
    pub(super) fn on_refused(&mut self, id: PacketId) {
        self.received.remove(&id);
    }

    pub(super) fn on_session_lost(&mut self) {
        self.received.clear();
        self.owed.clear();
    }

    pub(super) fn owed(&mut self) -> &mut Vec<Owed> {
        &mut self.owed
    }
}
