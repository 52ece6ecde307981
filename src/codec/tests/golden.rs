//! Each packet of each version, byte by byte in both directions.

use std::num::{NonZeroU16, NonZeroU32};

use smallvec::smallvec;

use super::{V5, V31, V311, bytes, encoded, receive};
use crate::codec::{
    Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet, PacketId,
    PayloadFormat, ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish, PublishProperties, Qos,
    ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter, SubscribeOptions, UnsubAck, Unsubscribe,
    UserProperties, Will, WillProperties, decode, peek,
};

const USER: &[(&str, &str)] = &[("n", "v"), ("n", "w")];
const USER_BYTES: &str = "26 'n' 'v' 26 'n' 'w'";

#[track_caller]
fn check(version: ProtocolVersion, packet: &Packet<'_>, text: &str) {
    let expected = bytes(text);
    assert_eq!(encoded(version, packet), expected, "encoding MQTT {version} {packet:?}");
    assert_eq!(receive(version, &expected).as_ref(), Ok(packet), "decoding MQTT {version} {text}");
    check_every_cut(version, &expected);
}

/// A packet that ends early is incomplete; one whose Remaining Length ends early is refused or means
/// something else, but never panics.
fn check_every_cut(version: ProtocolVersion, frame: &[u8]) {
    for len in 0..frame.len() {
        assert!(peek(&frame[..len], u32::MAX).is_ok(), "{len} bytes of {frame:?}");
        assert!(decode(version, &frame[..len]).is_err(), "{len} bytes of {frame:?}");
    }
    let header_len = peek(frame, u32::MAX).expect("valid").expect("complete").header_len;
    let body = &frame[header_len..];
    for len in 0..body.len() {
        let cut = super::frame(frame[0], &body[..len]);
        let _ = peek(&cut, u32::MAX).and_then(|_| decode(version, &cut));
    }
    let longer = [frame, &[0]].concat();
    assert!(decode(version, &longer).is_err(), "one byte after {frame:?}");
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).expect("not zero")
}

fn user() -> UserProperties<'static> {
    USER.into()
}

#[test]
fn connect() {
    let plain = |version, client_id| Packet::Connect(Connect::new(version, client_id));
    check(V31, &plain(V31, "c"), "10 0F 0006 <MQIsdp> 03 02 0000 0001 <c>");
    check(V311, &plain(V311, "c"), "10 0D 0004 <MQTT> 04 02 0000 0001 <c>");
    check(V5, &plain(V5, ""), "10 0D 0004 <MQTT> 05 02 0000 00 0000");
    let packet = |version| {
        Packet::Connect(Connect {
            version,
            clean_start: false,
            keep_alive: 60,
            client_id: "client",
            will: Some(Will {
                topic: "will/t",
                payload: &[0, 255],
                qos: Qos::ExactlyOnce,
                retain: true,
                properties: WillProperties::default(),
            }),
            user_name: Some("user"),
            password: Some(b"pass"),
            properties: ConnectProperties::default(),
        })
    };
    let end = "'client' 'will/t' 0002 00FF 'user' 'pass'";
    check(V31, &packet(V31), &format!("10: 'MQIsdp' 03 F4 003C {end}"));
    check(V311, &packet(V311), &format!("10: 'MQTT' 04 F4 003C {end}"));
}

#[test]
fn connect_with_all_properties() {
    let packet = Packet::Connect(Connect {
        version: V5,
        clean_start: true,
        keep_alive: 65_535,
        client_id: "c",
        will: Some(Will {
            topic: "t",
            payload: b"p",
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: WillProperties {
                delay: Some(5),
                payload_format: Some(PayloadFormat::Utf8),
                message_expiry: Some(6),
                content_type: Some("text"),
                response_topic: Some("r"),
                correlation_data: Some(&[1, 2]),
                user: user(),
                ..WillProperties::default()
            },
        }),
        user_name: None,
        password: Some(b"token"),
        properties: ConnectProperties {
            session_expiry: Some(u32::MAX),
            receive_maximum: NonZeroU16::new(10),
            packet_size_max: NonZeroU32::new(1_024),
            topic_alias_maximum: Some(7),
            request_response_information: Some(true),
            request_problem_information: Some(false),
            user: user(),
            authentication_method: Some("m"),
            authentication_data: Some(b"d"),
        },
    });
    let properties = "11 FFFFFFFF 21 000A 27 00000400 22 0007 19 01 17 00 15 'm' 16 'd'";
    let will = "18 00000005 02 00000006 01 01 03 'text' 08 'r' 09 0002 0102";
    check(
        V5,
        &packet,
        &format!(
            "10: 'MQTT' 05 4E FFFF {{ {properties} {USER_BYTES} }} 'c' {{ {will} {USER_BYTES} }} 't' 'p' 'token'"
        ),
    );
}

#[test]
fn connack() {
    let packet = |session_present, reason| Packet::ConnAck(ConnAck::new(session_present, reason));
    check(V31, &packet(false, ReasonCode::Success), "20 02 00 00");
    check(V311, &packet(true, ReasonCode::Success), "20 02 01 00");
    check(V5, &packet(true, ReasonCode::Success), "20 03 01 00 00");
    for (reason, code) in [
        (ReasonCode::UnsupportedProtocolVersion, "01"),
        (ReasonCode::ClientIdentifierNotValid, "02"),
        (ReasonCode::ServerUnavailable, "03"),
        (ReasonCode::BadUserNameOrPassword, "04"),
        (ReasonCode::NotAuthorized, "05"),
    ] {
        check(V31, &packet(false, reason), &format!("20 02 00 {code}"));
        check(V311, &packet(false, reason), &format!("20 02 00 {code}"));
        check(V5, &packet(false, reason), &format!("20 03 00 {:02X} 00", reason as u8));
    }
    let packet = Packet::ConnAck(ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: ConnAckProperties {
            session_expiry: Some(1),
            receive_maximum: NonZeroU16::new(2),
            maximum_qos: Some(Qos::AtLeastOnce),
            retain_available: Some(false),
            packet_size_max: NonZeroU32::new(3),
            assigned_client_id: Some("id"),
            topic_alias_maximum: Some(4),
            reason_string: Some("why"),
            user: user(),
            wildcard_subscription_available: Some(true),
            subscription_ids_available: Some(false),
            shared_subscription_available: Some(true),
            server_keep_alive: Some(5),
            response_information: Some("info"),
            server_reference: Some("other"),
            authentication_method: Some("m"),
            authentication_data: Some(b"d"),
        },
    });
    let properties = "11 00000001 21 0002 24 01 25 00 27 00000003 12 'id' 22 0004 28 01 29 00 2A 01 13 0005 \
                      1A 'info' 1C 'other' 15 'm' 16 'd' 1F 'why'";
    check(V5, &packet, &format!("20: 00 00 {{ {properties} {USER_BYTES} }}"));
}

#[test]
fn publish() {
    let plain = Packet::Publish(Publish::new("a/b", b"hi"));
    check(V31, &plain, "30 07 0003 <a/b> <hi>");
    check(V311, &plain, "30 07 0003 <a/b> <hi>");
    check(V5, &plain, "30 08 0003 <a/b> 00 <hi>");
    let repeated = Packet::Publish(Publish {
        dup: true,
        qos: Qos::AtLeastOnce,
        retain: true,
        packet_id: Some(id(0x0102)),
        ..Publish::new("t", b"")
    });
    check(V31, &repeated, "3B 05 0001 <t> 0102");
    check(V311, &repeated, "3B 05 0001 <t> 0102");
    check(V5, &repeated, "3B 06 0001 <t> 0102 00");
    let full = Packet::Publish(Publish {
        qos: Qos::ExactlyOnce,
        packet_id: Some(id(65_535)),
        properties: PublishProperties {
            payload_format: Some(PayloadFormat::Unspecified),
            message_expiry: Some(60),
            topic_alias: NonZeroU16::new(9),
            response_topic: Some("r"),
            correlation_data: Some(&[0]),
            content_type: Some("ct"),
            subscription_ids: smallvec![1, 128, 268_435_455],
            user: user(),
            ..PublishProperties::default()
        },
        ..Publish::new("", b"p")
    });
    let properties = "02 0000003C 23 0009 0B 01 0B 8001 0B FFFFFF7F 01 00 08 'r' 09 0001 00 03 'ct'";
    check(V5, &full, &format!("34: '' FFFF {{ {properties} {USER_BYTES} }} <p>"));
}

#[test]
fn remaining_length_grows_by_bytes() {
    for (payload_len, header) in [
        (124, "30 7F"),
        (125, "30 80 01"),
        (16_380, "30 FF 7F"),
        (16_381, "30 80 80 01"),
        (2_097_148, "30 FF FF 7F"),
        (2_097_149, "30 80 80 80 01"),
    ] {
        let payload = vec![7; payload_len];
        let packet = Packet::Publish(Publish::new("t", &payload));
        let frame = encoded(V311, &packet);
        let header = bytes(header);
        assert_eq!(frame[..header.len()], header);
        assert_eq!(frame.len(), header.len() + 3 + payload_len);
        assert_eq!(receive(V311, &frame), Ok(packet));
    }
}

#[test]
fn puback_pubrec_pubrel_pubcomp() {
    let reason_string = Some("why");
    let (ok, packet_id, user) = (ReasonCode::Success, id(258), user());
    for (first_byte, short, with_code, code, full) in [
        (
            "40",
            Packet::PubAck(PubAck::new(packet_id, ok)),
            Packet::PubAck(PubAck::new(packet_id, ReasonCode::NoMatchingSubscribers)),
            "10",
            Packet::PubAck(PubAck { packet_id, reason: ok, reason_string, user }),
        ),
        (
            "50",
            Packet::PubRec(PubRec::new(packet_id, ok)),
            Packet::PubRec(PubRec::new(packet_id, ReasonCode::QuotaExceeded)),
            "97",
            Packet::PubRec(PubRec { packet_id, reason: ok, reason_string, user }),
        ),
        (
            "62",
            Packet::PubRel(PubRel::new(packet_id, ok)),
            Packet::PubRel(PubRel::new(packet_id, ReasonCode::PacketIdentifierNotFound)),
            "92",
            Packet::PubRel(PubRel { packet_id, reason: ok, reason_string, user }),
        ),
        (
            "70",
            Packet::PubComp(PubComp::new(packet_id, ok)),
            Packet::PubComp(PubComp::new(packet_id, ReasonCode::PacketIdentifierNotFound)),
            "92",
            Packet::PubComp(PubComp { packet_id, reason: ok, reason_string, user }),
        ),
    ] {
        for version in [V31, V311, V5] {
            check(version, &short, &format!("{first_byte} 02 0102"));
        }
        check(V5, &with_code, &format!("{first_byte} 03 0102 {code}"));
        check(V5, &full, &format!("{first_byte}: 0102 00 {{ 1F 'why' {USER_BYTES} }}"));
        // 3.x has no place for the code.
        assert_eq!(encoded(V311, &with_code), bytes(&format!("{first_byte} 02 0102")));
        assert_eq!(encoded(V311, &full), bytes(&format!("{first_byte} 02 0102")));
    }
}

#[test]
fn subscribe_and_suback() {
    let filters = vec![
        SubscribeFilter { filter: "a/+", options: SubscribeOptions::with_qos(Qos::AtLeastOnce) },
        SubscribeFilter { filter: "#", options: SubscribeOptions::with_qos(Qos::ExactlyOnce) },
    ];
    let packet_id = id(10);
    let plain = Subscribe { packet_id, subscription_id: None, user: UserProperties::default(), filters };
    let plain = Packet::Subscribe(plain);
    check(V31, &plain, "82 0C 000A 0003 <a/+> 01 0001 <#> 02");
    check(V311, &plain, "82 0C 000A 0003 <a/+> 01 0001 <#> 02");
    check(V5, &plain, "82 0D 000A 00 0003 <a/+> 01 0001 <#> 02");
    let options = SubscribeOptions {
        qos: Qos::AtMostOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let filters = vec![SubscribeFilter { filter: "t", options }];
    let full = Packet::Subscribe(Subscribe { packet_id, subscription_id: Some(300), user: user(), filters });
    check(V5, &full, &format!("82: 000A {{ 0B AC02 {USER_BYTES} }} 't' 2C"));
    // 3.x keeps the QoS only.
    assert_eq!(encoded(V311, &full), bytes("82: 000A 't' 00"));

    let codes = smallvec![ReasonCode::GrantedQos0, ReasonCode::GrantedQos2, ReasonCode::UnspecifiedError];
    let user_none = UserProperties::default();
    let plain = Packet::SubAck(SubAck { packet_id, reason_string: None, user: user_none, codes });
    check(V31, &plain, "90 05 000A 00 02 80");
    check(V311, &plain, "90 05 000A 00 02 80");
    check(V5, &plain, "90 06 000A 00 00 02 80");
    let codes = smallvec![ReasonCode::GrantedQos1, ReasonCode::NotAuthorized];
    let full = Packet::SubAck(SubAck { packet_id, reason_string: Some("why"), user: user(), codes });
    check(V5, &full, &format!("90: 000A {{ 1F 'why' {USER_BYTES} }} 01 87"));
    // [MQTT311-3.9.3-2]: 0x80 stands for every failure.
    assert_eq!(encoded(V311, &full), bytes("90: 000A 01 80"));
}

#[test]
fn unsubscribe_and_unsuback() {
    let packet_id = id(10);
    let user_none = UserProperties::default();
    let plain = Packet::Unsubscribe(Unsubscribe { packet_id, user: user_none, filters: vec!["a", "b/#"] });
    check(V31, &plain, "A2 0A 000A 0001 <a> 0003 <b/#>");
    check(V311, &plain, "A2 0A 000A 0001 <a> 0003 <b/#>");
    check(V5, &plain, "A2 0B 000A 00 0001 <a> 0003 <b/#>");
    let full = Packet::Unsubscribe(Unsubscribe { packet_id, user: user(), filters: vec!["a"] });
    check(V5, &full, &format!("A2: 000A {{ {USER_BYTES} }} 'a'"));

    let plain = UnsubAck { packet_id, reason_string: None, user: user_none, codes: smallvec![] };
    check(V31, &Packet::UnsubAck(plain.clone()), "B0 02 000A");
    check(V311, &Packet::UnsubAck(plain), "B0 02 000A");
    let codes = smallvec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    let full = Packet::UnsubAck(UnsubAck { packet_id, reason_string: Some("why"), user: user(), codes });
    check(V5, &full, &format!("B0: 000A {{ 1F 'why' {USER_BYTES} }} 00 11"));
    assert_eq!(encoded(V311, &full), bytes("B0 02 000A"));
}

#[test]
fn pingreq_pingresp_disconnect_auth() {
    for version in [V31, V311, V5] {
        check(version, &Packet::PingReq, "C0 00");
        check(version, &Packet::PingResp, "D0 00");
        let normal = Disconnect::new(ReasonCode::NormalDisconnection);
        check(version, &Packet::Disconnect(normal), "E0 00");
    }
    let with_will = Disconnect::new(ReasonCode::DisconnectWithWill);
    check(V5, &Packet::Disconnect(with_will), "E0 02 04 00");
    // Read without the properties' length as well.
    assert_eq!(receive(V5, &bytes("E0 01 04")), Ok(Packet::Disconnect(with_will)));
    let full = Disconnect {
        reason: ReasonCode::UseAnotherServer,
        session_expiry: Some(0),
        reason_string: Some("why"),
        server_reference: Some("other"),
        user: user(),
    };
    let text = format!("E0: 9C {{ 11 00000000 1C 'other' 1F 'why' {USER_BYTES} }}");
    check(V5, &Packet::Disconnect(full), &text);
    let auth = Auth {
        reason: ReasonCode::ContinueAuthentication,
        method: Some("m"),
        data: Some(&[0, 1]),
        reason_string: Some("why"),
        user: user(),
    };
    let text = format!("F0: 18 {{ 15 'm' 16 0002 0001 1F 'why' {USER_BYTES} }}");
    check(V5, &Packet::Auth(auth), &text);
}
