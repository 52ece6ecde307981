//! Encoded packets on their way to one client, and the tally of what became of messages.

use crate::codec::{Packet, ProtocolVersion};

/// What a session did with message copies since the tally was last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Copies sent to the client for the first time.
    pub delivered: u32,
    /// Copies whose Message Expiry Interval had passed.
    pub expired: u32,
    /// Copies larger than the client's Maximum Packet Size.
    pub too_large: u32,
    /// QoS 0 copies dropped because the client reads too slowly.
    pub outbox_full: u32,
    /// QoS 0 copies for a client that is away.
    pub offline: u32,
    /// Copies that found the queue full.
    pub queue_full: u32,
}

impl Tally {
    /// Whether the client would have got one more copy with more room, or if it had been there.
    #[must_use]
    pub fn has_losses(&self) -> bool {
        self.outbox_full + self.offline + self.queue_full > 0
    }
}

/// Bytes to be written to one client's socket, in order, and the tally that goes with them.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// What became of messages since [`Outbox::take_tally`].
    pub(super) tally: Tally,
}

impl Outbox {
    /// Bytes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes all bytes and leaves an empty outbox without memory of its own.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Puts back what could not be written, before what was appended meanwhile.
    pub fn restore(&mut self, mut unwritten: Vec<u8>, written: usize) {
        unwritten.drain(..written);
        unwritten.append(&mut self.bytes);
        self.bytes = unwritten;
    }

    /// Forgets all bytes: their connection is gone.
    pub fn clear(&mut self) {
        self.bytes = Vec::new();
    }

    /// The tally since it was last taken.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Appends a packet that this node made. A packet that cannot be encoded is left out, which only its own
    /// overlong text could cause; nothing of it is written then.
    pub(super) fn push(&mut self, version: ProtocolVersion, packet: &Packet<'_>) {
        let encoded = packet.encode(version, &mut self.bytes);
        debug_assert!(encoded.is_ok(), "own packet does not encode: {encoded:?}");
    }

    /// Where encoders append.
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwritten_bytes_go_before_newer_ones() {
        let mut outbox = Outbox::default();
        outbox.bytes.extend_from_slice(b"abcdef");
        let taken = outbox.take();
        outbox.bytes.extend_from_slice(b"gh");
        outbox.restore(taken, 4);
        assert_eq!(outbox.take(), b"efgh");
        assert!(outbox.is_empty());
    }
}
