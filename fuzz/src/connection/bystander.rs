//! A client that does everything right and must not notice the others.

use std::sync::Arc;

use flockmq::codec::{
    Connect, ConnectProperties, Packet, PacketId, ProtocolVersion, PubAck, Publish, Qos, ReasonCode,
    Subscribe, SubscribeFilter, SubscribeOptions, UserProperties, decode, peek,
};

use super::node::Node;
use super::pipe::Pipe;

const VERSION: ProtocolVersion = ProtocolVersion::V5;

pub(super) struct Bystander {
    pipe: Arc<Pipe>,
    /// The Client Identifier that the node gave it, and the topic: nobody else can know it.
    name: String,
    sent: u32,
}

impl Bystander {
    pub(super) async fn new(node: &Node) -> Self {
        let mut bystander = Self { pipe: node.connect(), name: String::new(), sent: 0 };
        let properties = ConnectProperties { session_expiry: Some(u32::MAX), ..ConnectProperties::default() };
        let connect = Connect { keep_alive: 0, properties, ..Connect::new(VERSION, "") };
        bystander.send(&Packet::Connect(connect));
        node.settle().await;
        let bytes = bystander.pipe.take();
        let Ok(Packet::ConnAck(connack)) = decode(VERSION, &bytes) else { panic!("no CONNACK: {bytes:?}") };
        bystander.name = connack.properties.assigned_client_id.expect("a name").to_owned();
        let filters = vec![SubscribeFilter {
            filter: &bystander.name,
            options: SubscribeOptions::with_qos(Qos::AtLeastOnce),
        }];
        let (subscription_id, user) = (None, UserProperties::default());
        bystander.send(&Packet::Subscribe(Subscribe { packet_id: id(1), subscription_id, user, filters }));
        node.settle().await;
        let bytes = bystander.pipe.take();
        assert!(matches!(decode(VERSION, &bytes), Ok(Packet::SubAck(_))), "no SUBACK: {bytes:?}");
        bystander
    }

    /// Publishes to itself: the message is acknowledged and arrives, and nothing else does.
    pub(super) async fn check(&mut self, node: &Node) {
        self.sent += 1;
        let payload = self.sent.to_be_bytes();
        let publish = Publish {
            qos: Qos::AtLeastOnce,
            packet_id: Some(id(self.sent as u16)),
            ..Publish::new(&self.name, &payload)
        };
        self.send(&Packet::Publish(publish));
        self.send(&Packet::PingReq);
        node.settle().await;
        let bytes = self.pipe.take();
        let (mut arrived, mut acknowledged, mut ponged) = (None, false, false);
        let mut rest = &bytes[..];
        while let Some(header) = peek(rest, u32::MAX).expect("the server's packets are sound") {
            let (frame, after) = rest.split_at(header.total_len);
            match decode(VERSION, frame).expect("the server's packets decode") {
                Packet::Publish(publish) if publish.payload == payload && arrived.is_none() => {
                    arrived = publish.packet_id;
                }
                Packet::PubAck(ack) => {
                    assert_eq!((ack.packet_id.get(), ack.reason), (self.sent as u16, ReasonCode::Success));
                    acknowledged = true;
                }
                Packet::PingResp => ponged = true,
                other => panic!("{other:?} for the bystander"),
            }
            rest = after;
        }
        let packet_id = arrived.unwrap_or_else(|| panic!("message {} did not arrive", self.sent));
        assert!(acknowledged && ponged, "PUBACK {acknowledged}, PINGRESP {ponged}");
        let (reason, reason_string, user) = (ReasonCode::Success, None, UserProperties::default());
        self.send(&Packet::PubAck(PubAck { packet_id, reason, reason_string, user }));
    }

    /// The node has stopped: it has said so.
    pub(super) fn check_end(&self) {
        let bytes = self.pipe.take();
        let Ok(Packet::Disconnect(disconnect)) = decode(VERSION, &bytes) else { panic!("{bytes:?}") };
        assert_eq!(disconnect.reason, ReasonCode::ServerShuttingDown);
    }

    fn send(&self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(VERSION, &mut bytes).expect("a small packet");
        // In pieces, which the node has to put together.
        let piece_len = 1 + self.sent as usize % bytes.len();
        bytes.chunks(piece_len).for_each(|piece| self.pipe.send(piece));
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not zero")
}
