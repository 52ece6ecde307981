//! What must hold for any bytes that reach the codec.

#[path = "../../src/codec/mod.rs"]
pub mod codec;

use codec::{Outgoing, Packet, ProtocolVersion, Publish, PublishProperties, connect_version, decode};

/// The version that a byte of the input chooses.
pub fn version(choice: u8) -> ProtocolVersion {
    match choice % 4 {
        0 => ProtocolVersion::V31,
        1 => ProtocolVersion::V311,
        _ => ProtocolVersion::V5,
    }
}

/// Decodes without a panic; what decodes means the same after it was encoded again, in no more bytes.
pub fn check_frame(version: ProtocolVersion, frame: &[u8]) {
    let packet = match decode(version, frame) {
        Ok(packet) => packet,
        Err(error) => {
            assert!(error.reason_code().is_error());
            return;
        }
    };
    if let Packet::Connect(connect) = &packet {
        assert_eq!(connect_version(frame), Some(connect.version));
    }
    let mut again = Vec::new();
    packet.encode(version, &mut again).expect("what was decoded can be encoded");
    assert_eq!(packet.encoded_len(version), Ok(again.len()));
    assert!(again.len() <= frame.len(), "the shortest form is never longer");
    assert_eq!(decode(version, &again).as_ref(), Ok(&packet));
    if let Packet::Publish(publish) = &packet {
        check_relaying(version, publish);
    }
}

/// A message that is relayed means the same to its receiver.
fn check_relaying(version: ProtocolVersion, publish: &Publish<'_>) {
    let forwarded = publish.properties.forwarded();
    PublishProperties::from_forwarded(&forwarded).expect("relayed properties are valid");
    let outgoing = Outgoing {
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic,
        packet_id: publish.packet_id,
        message_expiry: publish.properties.message_expiry,
        topic_alias: publish.properties.topic_alias,
        subscription_ids: &publish.properties.subscription_ids,
        forwarded: &forwarded,
        payload: publish.payload,
    };
    let mut out = Vec::new();
    outgoing.encode(version, &mut out).expect("what was received can be sent");
    assert_eq!(out.len(), outgoing.encoded_len(version));
    assert_eq!(decode(version, &out), Ok(Packet::Publish(publish.clone())));
}
