//! What must hold for any bytes whatsoever. The fuzz targets compile this file too, so it names nothing but
//! the public side of the codec, which is next to it in both places.

use super::codec::{
    Outgoing, Packet, ProtocolVersion, Publish, PublishProperties, connect_version, decode, peek,
};

/// Bytes are decoded or refused without a panic; what is decoded means the same after it was encoded again, in
/// no more bytes. True when they are a packet.
pub(super) fn check_bytes(version: ProtocolVersion, bytes: &[u8]) -> bool {
    let named_version = connect_version(bytes);
    if let Ok(properties) = PublishProperties::from_forwarded(bytes) {
        assert_eq!(*properties.forwarded(), *bytes, "what was relayed can be relayed again");
    }
    let header = peek(bytes, 1_000_000);
    let packet = match decode(version, bytes) {
        Ok(packet) => packet,
        Err(error) => {
            assert!(error.reason_code().is_error(), "{error}");
            return false;
        }
    };
    let header = header.expect("what decodes has a header").expect("which is complete");
    assert_eq!(header.total_len, bytes.len());
    if let Packet::Connect(connect) = &packet {
        assert_eq!(named_version, Some(connect.version));
    }
    // Something is already in the buffer, as in an outbox.
    let mut again = vec![0xAA];
    packet.encode(version, &mut again).expect("what was decoded can be encoded");
    assert_eq!(again.remove(0), 0xAA);
    assert_eq!(packet.encoded_len(version), Ok(again.len()), "encoded_len of {packet:?}");
    // Some clients cannot do without the length of a DISCONNECT's properties, so it is always there.
    let spare = usize::from(matches!(packet, Packet::Disconnect(_)));
    assert!(
        again.len() <= bytes.len() + spare,
        "the shortest form is never longer: {bytes:?} became {again:?}"
    );
    assert_eq!(decode(version, &again).as_ref(), Ok(&packet), "{bytes:?} encoded again");
    if let Packet::Publish(publish) = &packet {
        check_relaying(version, publish);
    }
    true
}

/// A message that is relayed means the same to its receiver.
pub(super) fn check_relaying(version: ProtocolVersion, publish: &Publish<'_>) {
    let forwarded = publish.properties.forwarded();
    let relayed = PublishProperties::from_forwarded(&forwarded).expect("relayed properties are valid");
    assert_eq!(relayed.forwarded(), forwarded);
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
    assert_eq!(decode(version, &out).as_ref(), Ok(&Packet::Publish(publish.clone())));
}
