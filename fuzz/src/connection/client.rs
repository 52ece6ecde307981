//! One of the clients that send what the input says.

use std::sync::Arc;

use flockmq::codec::{
    Packet, PacketType, ProtocolVersion, PubAck, PubComp, PubRec, Qos, ReasonCode, UserProperties,
    connect_version, decode, peek,
};

use super::node::Node;
use super::pipe::Pipe;

#[derive(Default)]
pub(super) struct Client {
    pipe: Option<Arc<Pipe>>,
    /// The first bytes sent on this connection, for the version that they name.
    first: Vec<u8>,
    /// What the server has written and was not decoded yet.
    received: Vec<u8>,
    /// Packets of the server on this connection.
    packets: usize,
    /// Encoded acknowledgements of what was received.
    owed: Vec<u8>,
    /// How many bytes the server reads at once; 0 for all.
    piece_len: u8,
}

impl Client {
    /// Of the connection, or the newest when it has none.
    pub(super) fn version(&self) -> ProtocolVersion {
        connect_version(&self.first).unwrap_or(ProtocolVersion::V5)
    }

    /// Whether there is a connection that the server has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| !pipe.is_over())
    }

    /// Sends bytes, on a new connection if need be.
    pub(super) fn send(&mut self, node: &Node, bytes: &[u8]) {
        if !self.is_open() {
            self.read();
            *self = Self { pipe: Some(node.connect()), piece_len: self.piece_len, ..Self::default() };
        }
        let Some(pipe) = &self.pipe else { return };
        if self.first.len() < 2_000 {
            self.first.extend_from_slice(bytes);
        }
        let piece_len = if self.piece_len == 0 { bytes.len().max(1) } else { usize::from(self.piece_len) };
        bytes.chunks(piece_len).for_each(|piece| pipe.send(piece));
    }

    /// Acknowledges what was received, as it should be done.
    pub(super) fn acknowledge(&mut self, node: &Node) {
        let owed = std::mem::take(&mut self.owed);
        if !owed.is_empty() && self.is_open() {
            self.send(node, &owed);
        }
    }

    /// The end of the stream, an error, or a new connection beside the one that is left open.
    pub(super) fn end(&mut self, kind: u8) {
        self.read();
        match (&self.pipe, kind) {
            (Some(pipe), 0) => pipe.end(),
            (Some(pipe), 1) => pipe.break_off(),
            _ => {}
        }
        *self = Self { piece_len: self.piece_len, ..Self::default() };
    }

    pub(super) fn set_room(&mut self, room: usize) {
        if let Some(pipe) = &self.pipe {
            pipe.set_room(room);
        }
    }

    pub(super) fn cut(&mut self, piece_len: u8) {
        self.piece_len = piece_len;
    }

    /// Decodes what the server has written: its packets are sound, and the CONNACK comes first.
    pub(super) fn read(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        self.received.extend(pipe.take());
        let received = std::mem::take(&mut self.received);
        let mut rest = &received[..];
        while let Some(header) = peek(rest, u32::MAX).expect("the server's packets are sound") {
            let Some((frame, after)) = rest.split_at_checked(header.total_len) else { break };
            self.on_frame(frame);
            rest = after;
        }
        self.received = rest.to_vec();
    }

    fn on_frame(&mut self, frame: &[u8]) {
        // A version that there is not is answered in one that there is.
        let named = connect_version(&self.first);
        let versions = match &named {
            Some(version) => std::slice::from_ref(version),
            None => &[ProtocolVersion::V5, ProtocolVersion::V311][..],
        };
        let decoded = versions.iter().find_map(|version| Some((*version, decode(*version, frame).ok()?)));
        let (version, packet) = decoded.unwrap_or_else(|| panic!("{frame:?} in {versions:?}"));
        self.packets += 1;
        let kind = peek(frame, u32::MAX).ok().flatten().map(|header| header.packet_type);
        match kind {
            Some(PacketType::Auth) => assert_eq!(version, ProtocolVersion::V5),
            Some(PacketType::ConnAck) => {}
            _ => assert!(self.packets > 1, "{packet:?} comes first"),
        }
        let (reason, reason_string, user) = (ReasonCode::Success, None, UserProperties::default());
        let answer = match &packet {
            Packet::Publish(publish) => match (publish.qos, publish.packet_id) {
                (Qos::AtLeastOnce, Some(packet_id)) => {
                    Some(Packet::PubAck(PubAck { packet_id, reason, reason_string, user }))
                }
                (Qos::ExactlyOnce, Some(packet_id)) => {
                    Some(Packet::PubRec(PubRec { packet_id, reason, reason_string, user }))
                }
                _ => None,
            },
            Packet::PubRel(pubrel) => {
                Some(Packet::PubComp(PubComp { packet_id: pubrel.packet_id, reason, reason_string, user }))
            }
            Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq => {
                panic!("a server does not send {packet:?}")
            }
            _ => None,
        };
        if let Some(answer) = answer {
            answer.encode(version, &mut self.owed).expect("a small packet");
        }
    }
}
