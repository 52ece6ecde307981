//! What a broker relays of a message, and the PUBLISH that it makes of it.

use std::borrow::Cow;
use std::num::NonZeroU16;

use super::{V5, V31, V311, bytes, receive};
use crate::codec::{
    DecodeError, EncodeError, Outgoing, Packet, PacketId, PacketType, PayloadFormat, PropertyId,
    ProtocolVersion, Publish, PublishProperties, Qos, Will, decode,
};

fn publish<'a>(version: ProtocolVersion, frame: &'a [u8]) -> Publish<'a> {
    match receive(version, frame) {
        Ok(Packet::Publish(publish)) => publish,
        other => panic!("{other:?}"),
    }
}

fn will(frame: &[u8]) -> Will<'_> {
    match receive(V5, frame) {
        Ok(Packet::Connect(connect)) => connect.will.expect("it has a will"),
        other => panic!("{other:?}"),
    }
}

const OUTGOING: Outgoing<'static> = Outgoing {
    dup: false,
    qos: Qos::AtMostOnce,
    retain: false,
    topic: "t",
    packet_id: None,
    message_expiry: None,
    topic_alias: None,
    subscription_ids: &[],
    forwarded: &[],
    payload: b"p",
};

/// [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-18] [MQTT5-3.3.2-20]: the
/// server sends these unaltered, User Properties in their order.
#[test]
fn relayed_properties_are_the_received_bytes() {
    let text = "26 'z' '1' 03 'ct' 26 'a' '2' 01 01 09 0001 00 08 'r' 26 'z' '1'";
    let frame = bytes(&format!("30: 't' {{ {text} }} <p>"));
    let properties = publish(V5, &frame).properties;
    assert!(matches!(properties.forwarded(), Cow::Borrowed(_)), "no copy");
    assert_eq!(*properties.forwarded(), bytes(text));
    let user: Vec<_> = properties.user.iter().collect();
    assert_eq!(user, [("z", "1"), ("a", "2"), ("z", "1")]);
}

/// These three belong to one hop: [MQTT5-3.3.2-6] the expiry is counted down, aliases and subscription
/// identifiers are each receiver's own.
#[test]
fn properties_of_one_hop_are_not_relayed() {
    for (section, relayed) in [
        ("23 0001", ""),
        ("02 00000001", ""),
        ("0B 01", ""),
        ("23 0001 26 'a' '1' 02 00000001 03 'ct' 0B 01 26 'b' '2' 0B 8001", "26 'a' '1' 03 'ct' 26 'b' '2'"),
        ("", ""),
    ] {
        let frame = bytes(&format!("30: 't' {{ {section} }} <p>"));
        assert_eq!(*publish(V5, &frame).properties.forwarded(), bytes(relayed), "{section}");
    }
    let frame = bytes("30: 't' <p>");
    assert!(publish(V311, &frame).properties.forwarded().is_empty());
}

#[test]
fn a_will_relays_all_but_delay_and_expiry() {
    let around = |section: &str| bytes(&format!("10: 'MQTT' 05 06 0000 {{}} 'c' {{ {section} }} 't' 'p'"));
    let relayed = "26 'b' '1' 03 'ct' 01 01 26 'a' '2' 09 0001 00 08 'r'";
    let frame = around(relayed);
    assert!(matches!(will(&frame).properties.forwarded(), Cow::Borrowed(_)), "no copy");
    assert_eq!(*will(&frame).properties.forwarded(), bytes(relayed));
    let frame = around(&format!("18 00000005 {relayed} 02 00000001"));
    assert_eq!(*will(&frame).properties.forwarded(), bytes(relayed));
}

#[test]
fn properties_that_were_built_are_relayed_too() {
    let user: &[_] = &[("n", "v")];
    let properties = PublishProperties {
        payload_format: Some(PayloadFormat::Utf8),
        topic_alias: NonZeroU16::new(3),
        content_type: Some("ct"),
        user: user.into(),
        ..PublishProperties::default()
    };
    assert_eq!(properties.check(), Ok(()));
    assert_eq!(*properties.forwarded(), bytes("01 01 03 'ct' 26 'n' 'v'"));
    let long = "x".repeat(65_536);
    let properties = PublishProperties { content_type: Some(&long), ..PublishProperties::default() };
    assert_eq!(properties.check(), Err(EncodeError::FieldTooLong(65_536)));
    assert!(properties.forwarded().is_empty());
}

/// Bytes from another node or from disk are checked like those of a packet.
#[test]
fn relayed_bytes_can_be_read_back() {
    let relayed = bytes("26 'a' '1' 03 'ct' 26 'b' '2'");
    let properties = PublishProperties::from_forwarded(&relayed).expect("valid");
    assert_eq!(properties.content_type, Some("ct"));
    assert_eq!(*properties.forwarded(), relayed);
    let not_allowed = |id| Err(DecodeError::PropertyNotAllowed(id, PacketType::Publish));
    for (text, error) in [
        ("23 0001", not_allowed(PropertyId::TopicAlias)),
        ("03 'ct' 02 00000001", not_allowed(PropertyId::MessageExpiryInterval)),
        ("0B 01", not_allowed(PropertyId::SubscriptionIdentifier)),
        ("11 00000001", not_allowed(PropertyId::SessionExpiryInterval)),
        ("03 0001", Err(DecodeError::Truncated)),
        ("03 0001 FF", Err(DecodeError::InvalidUtf8)),
        ("03 'a' 03 'a'", Err(DecodeError::DuplicateProperty(PropertyId::ContentType))),
    ] {
        assert_eq!(PublishProperties::from_forwarded(&bytes(text)), error, "{text}");
    }
}

#[track_caller]
fn check_outgoing(version: ProtocolVersion, outgoing: &Outgoing<'_>, text: &str) {
    let mut out = vec![1, 2, 3];
    outgoing.encode(version, &mut out).expect("can be written");
    assert_eq!(out[..3], [1, 2, 3]);
    assert_eq!(out[3..], bytes(text), "{outgoing:?}");
    assert_eq!(outgoing.encoded_len(version), out.len() - 3);
    assert!(decode(version, &out[3..]).is_ok());
}

#[test]
fn outgoing_puts_its_own_properties_before_the_relayed_ones() {
    check_outgoing(V5, &OUTGOING, "30 05 0001 <t> 00 <p>");
    check_outgoing(V311, &OUTGOING, "30 04 0001 <t> <p>");
    let relayed = bytes("03 'ct' 26 'n' 'v'");
    let full = Outgoing {
        dup: true,
        qos: Qos::ExactlyOnce,
        retain: true,
        packet_id: PacketId::new(7),
        message_expiry: Some(10),
        topic_alias: NonZeroU16::new(2),
        subscription_ids: &[1, 300],
        forwarded: &relayed,
        ..OUTGOING
    };
    check_outgoing(V5, &full, "3D: 't' 0007 { 02 0000000A 23 0002 0B 01 0B AC02 03 'ct' 26 'n' 'v' } <p>");
    check_outgoing(V311, &full, "3D: 't' 0007 <p>");
    check_outgoing(V31, &full, "3D: 't' 0007 <p>");
    let by_alias = Outgoing { topic: "", topic_alias: NonZeroU16::new(2), ..OUTGOING };
    check_outgoing(V5, &by_alias, "30: '' { 23 0002 } <p>");
}

#[test]
fn outgoing_refuses_what_cannot_be_written() {
    let long = "x".repeat(65_536);
    for (version, outgoing, error) in [
        (V5, Outgoing { topic: &long, ..OUTGOING }, EncodeError::FieldTooLong(65_536)),
        (V5, Outgoing { topic: "", ..OUTGOING }, EncodeError::EmptyTopic),
        (V311, Outgoing { topic: "", topic_alias: NonZeroU16::new(1), ..OUTGOING }, EncodeError::EmptyTopic),
        (V5, Outgoing { qos: Qos::AtLeastOnce, ..OUTGOING }, EncodeError::PacketIdMismatch),
        (V5, Outgoing { packet_id: PacketId::new(1), ..OUTGOING }, EncodeError::PacketIdMismatch),
        (V5, Outgoing { dup: true, ..OUTGOING }, EncodeError::DupWithQos0),
        (
            V5,
            Outgoing { subscription_ids: &[0], ..OUTGOING },
            EncodeError::PropertyValue(PropertyId::SubscriptionIdentifier, 0),
        ),
        (
            V5,
            Outgoing { subscription_ids: &[1, 268_435_456], ..OUTGOING },
            EncodeError::PropertyValue(PropertyId::SubscriptionIdentifier, 268_435_456),
        ),
    ] {
        let mut out = vec![9];
        assert_eq!(outgoing.encode(version, &mut out), Err(error), "{outgoing:?}");
        assert_eq!(out, [9]);
    }
}
