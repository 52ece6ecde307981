//! What is known of a client without its lock: where a message would go, and how much it has to get through.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::Qos;
use crate::session::Room;

/// True when it was noted; whoever acts on it asks the client itself again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Where a QoS 0 message would go.
    pub(super) unacknowledged: Room,
    /// Where a QoS 1 or 2 message would go.
    pub(super) acknowledged: Room,
    pub(super) is_connected: bool,
    /// QoS 1 and 2 messages that wait or are unacknowledged.
    pub(super) load: u32,
}

/// Where a client notes its standing.
#[derive(Default)]
pub(super) struct Notice(AtomicU64);

impl Standing {
    pub(super) fn room(self, qos: Qos) -> Room {
        match qos {
            Qos::AtMostOnce => self.unacknowledged,
            Qos::AtLeastOnce | Qos::ExactlyOnce => self.acknowledged,
        }
    }
}

impl Notice {
    pub(super) fn set(&self, standing: Standing) {
        let bits = u64::from(standing.load) << 8
            | u64::from(standing.is_connected) << 4
            | (standing.acknowledged as u64) << 2
            | standing.unacknowledged as u64;
        self.0.store(bits, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Standing {
        let bits = self.0.load(Ordering::Relaxed);
        Standing {
            unacknowledged: room(bits),
            acknowledged: room(bits >> 2),
            is_connected: bits >> 4 & 1 == 1,
            load: (bits >> 8) as u32,
        }
    }
}

fn room(bits: u64) -> Room {
    match bits & 3 {
        0 => Room::Full,
        1 => Room::Away,
        2 => Room::Queue,
        _ => Room::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_is_read_as_it_was_noted() {
        let notice = Notice::default();
        assert_eq!(notice.get(), Standing::default());
        let rooms = [Room::Full, Room::Away, Room::Queue, Room::Now];
        for (unacknowledged, acknowledged) in rooms.into_iter().flat_map(|a| rooms.map(|b| (a, b))) {
            for (is_connected, load) in [(false, 0), (true, 1), (true, u32::MAX)] {
                let standing = Standing { unacknowledged, acknowledged, is_connected, load };
                notice.set(standing);
                assert_eq!(notice.get(), standing);
            }
        }
    }
}
