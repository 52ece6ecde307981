//! One message on its way to many clients: its owned form and its few encodings, made once and only when needed.

use std::sync::Arc;
use std::time::Instant;

use crate::codec::{Outgoing, PacketId, ProtocolVersion, Qos};
use crate::message::{Expired, Message, Publication};

/// The copies of one publication made during one fan-out at time `now`.
pub struct Copies<'a> {
    publication: Publication<'a>,
    now: Instant,
    expected: usize,
    message: Option<Arc<Message>>,
    /// Encoded PUBLISH packets, by [`frame_index`].
    frames: [Option<Frame>; 4],
}

/// An encoded PUBLISH whose first byte and Packet Identifier are set for each client.
struct Frame {
    bytes: Vec<u8>,
    packet_id_at: usize,
}

/// The parts of a copy that differ from client to client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address<'a> {
    pub(super) version: ProtocolVersion,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) packet_id: Option<PacketId>,
    pub(super) subscription_ids: &'a [u32],
}

impl<'a> Copies<'a> {
    /// `expected` is the number of clients that will ask: for a single one no encoding is kept.
    #[must_use]
    pub fn new(publication: Publication<'a>, now: Instant, expected: usize) -> Self {
        Self { publication, now, expected, message: None, frames: [None, None, None, None] }
    }

    /// One copy of a message that is kept already.
    #[must_use]
    pub fn of(message: &'a Arc<Message>, now: Instant) -> Self {
        let copies = Self::new(message.publication(), now, 1);
        Self { message: Some(Arc::clone(message)), ..copies }
    }

    /// The message that is being copied.
    #[must_use]
    pub fn publication(&self) -> &Publication<'a> {
        &self.publication
    }

    /// The owned message, shared by everyone who must keep it.
    pub(super) fn message(&mut self) -> Arc<Message> {
        Arc::clone(self.message.get_or_insert_with(|| self.publication.to_message()))
    }

    /// The size of the PUBLISH packet for this client.
    pub(super) fn encoded_len(&self, address: &Address<'_>) -> usize {
        outgoing(&self.publication, self.now, address, false).encoded_len(address.version)
    }

    /// Appends the PUBLISH packet for this client.
    pub(super) fn encode(&mut self, address: &Address<'_>, out: &mut Vec<u8>) {
        let shareable = self.expected > 1 && address.subscription_ids.is_empty();
        if !shareable {
            append(&outgoing(&self.publication, self.now, address, false), address.version, out);
            return;
        }
        let (publication, now) = (&self.publication, self.now);
        let frame =
            self.frames[frame_index(address)].get_or_insert_with(|| Frame::new(publication, now, address));
        let start = out.len();
        out.extend_from_slice(&frame.bytes);
        out[start] = first_byte(address);
        if let Some(id) = address.packet_id {
            let at = start + frame.packet_id_at;
            out[at..at + 2].copy_from_slice(&id.get().to_be_bytes());
        }
    }
}

impl Frame {
    fn new(publication: &Publication<'_>, now: Instant, address: &Address<'_>) -> Self {
        let mut bytes = Vec::new();
        append(&outgoing(publication, now, address, false), address.version, &mut bytes);
        // Fixed header: one byte and the variable-length size; then the topic with its two length bytes.
        let size_len = bytes.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
        let packet_id_at = 1 + size_len + 2 + publication.topic.as_str().len();
        Self { bytes, packet_id_at }
    }
}

/// One frame for each form of body: with or without properties, with or without a Packet Identifier.
fn frame_index(address: &Address<'_>) -> usize {
    let has_properties = address.version == ProtocolVersion::V5;
    usize::from(has_properties) << 1 | usize::from(address.packet_id.is_some())
}

/// The first byte of a PUBLISH that is sent for the first time [MQTT5-3.3.1].
fn first_byte(address: &Address<'_>) -> u8 {
    0x30 | (address.qos as u8) << 1 | u8::from(address.retain)
}

/// Appends a message that is kept, for its first or a repeated delivery. False when it has expired before the
/// first; what was sent once is sent again in any case [MQTT5-4.4.0-1] [MQTT5-4.3.3-7].
pub(super) fn encode_message(
    message: &Message,
    now: Instant,
    address: &Address<'_>,
    dup: bool,
    out: &mut Vec<u8>,
) -> bool {
    let publication = message.publication();
    if !dup && is_expired(&publication, now) {
        return false;
    }
    append(&outgoing(&publication, now, address, dup), address.version, out);
    true
}

/// The size of the PUBLISH packet that [`encode_message`] would append.
pub(super) fn message_len(message: &Message, now: Instant, address: &Address<'_>) -> usize {
    outgoing(&message.publication(), now, address, false).encoded_len(address.version)
}

pub(super) fn is_expired(publication: &Publication<'_>, now: Instant) -> bool {
    matches!(publication.remaining_expiry(now), Some(Err(Expired)))
}

fn outgoing<'a>(
    publication: &Publication<'a>,
    now: Instant,
    address: &Address<'a>,
    dup: bool,
) -> Outgoing<'a> {
    Outgoing {
        dup,
        qos: address.qos,
        retain: address.retain,
        topic: publication.topic.as_str(),
        packet_id: address.packet_id,
        // Counted down [MQTT5-3.3.2-6], a started second as a whole one.
        message_expiry: publication.remaining_expiry(now).map(|left| left.unwrap_or(0)),
        topic_alias: None,
        subscription_ids: address.subscription_ids,
        forwarded: publication.properties,
        payload: publication.payload,
    }
}

fn append(outgoing: &Outgoing<'_>, version: ProtocolVersion, out: &mut Vec<u8>) {
    let encoded = outgoing.encode(version, out);
    // The size was checked against the client's limit, which the protocol's own limit bounds.
    debug_assert!(encoded.is_ok(), "a received message does not encode: {encoded:?}");
}
