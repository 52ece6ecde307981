//! Packets that break the standard, each with the error and the Reason Code it must give.

use super::{V5, V31, V311, bytes, receive};
use crate::codec::{DecodeError, PacketType, PropertyId, ProtocolVersion, ReasonCode, peek};

#[track_caller]
fn check(version: ProtocolVersion, text: &str, error: DecodeError, code: u8) {
    let bytes = bytes(text);
    assert_eq!(receive(version, &bytes), Err(error), "MQTT {version}: {text}");
    assert_eq!(error.reason_code() as u8, code, "reason code of {error}");
}

#[track_caller]
fn malformed(version: ProtocolVersion, text: &str, error: DecodeError) {
    check(version, text, error, 0x81);
}

#[track_caller]
fn protocol_error(version: ProtocolVersion, text: &str, error: DecodeError) {
    check(version, text, error, 0x82);
}

const fn flags(packet_type: PacketType, flags: u8) -> DecodeError {
    DecodeError::InvalidFlags(packet_type, flags)
}

/// [MQTT5-2.1.3-1] and table 2-2: flags marked reserved have their value; type 0 is forbidden.
#[test]
fn reserved_bits_of_the_first_byte_are_refused() {
    malformed(V5, "00 00", DecodeError::ReservedPacketType);
    malformed(V311, "0F 00", DecodeError::ReservedPacketType);
    malformed(V5, "11: 'MQTT' 05 02 0000 {} ''", flags(PacketType::Connect, 1));
    malformed(V311, "18: 'MQTT' 04 02 0000 ''", flags(PacketType::Connect, 8));
    malformed(V5, "21: 00 00 {}", flags(PacketType::ConnAck, 1));
    malformed(V5, "42: 0001", flags(PacketType::PubAck, 2));
    malformed(V5, "52: 0001", flags(PacketType::PubRec, 2));
    malformed(V5, "60: 0001", flags(PacketType::PubRel, 0));
    malformed(V5, "63: 0001", flags(PacketType::PubRel, 3));
    malformed(V311, "64: 0001", flags(PacketType::PubRel, 4));
    malformed(V5, "72: 0001", flags(PacketType::PubComp, 2));
    malformed(V5, "80: 0001 {} 'a' 00", flags(PacketType::Subscribe, 0));
    malformed(V311, "83: 0001 'a' 00", flags(PacketType::Subscribe, 3));
    malformed(V5, "92: 0001 {} 00", flags(PacketType::SubAck, 2));
    malformed(V5, "A0: 0001 {} 'a'", flags(PacketType::Unsubscribe, 0));
    malformed(V311, "A6: 0001 'a'", flags(PacketType::Unsubscribe, 6));
    malformed(V5, "B2: 0001 {} 00", flags(PacketType::UnsubAck, 2));
    malformed(V5, "C1 00", flags(PacketType::PingReq, 1));
    malformed(V311, "C8 00", flags(PacketType::PingReq, 8));
    malformed(V5, "D1 00", flags(PacketType::PingResp, 1));
    malformed(V5, "E1 00", flags(PacketType::Disconnect, 1));
    malformed(V311, "E8 00", flags(PacketType::Disconnect, 8));
    malformed(V5, "F2: 18 { 15 'm' }", flags(PacketType::Auth, 2));
}

/// Only 3.1 repeats these with DUP ([MQTT311-3.6.1-1] [MQTT311-3.8.1-1] [MQTT311-3.10.1-1]).
#[test]
fn dup_outside_publish_is_refused_since_3_1_1() {
    for version in [V311, V5] {
        malformed(version, "6A: 0001", flags(PacketType::PubRel, 0b1010));
    }
    malformed(V311, "8A: 0001 'a' 00", flags(PacketType::Subscribe, 0b1010));
    malformed(V5, "8A: 0001 {} 'a' 00", flags(PacketType::Subscribe, 0b1010));
    malformed(V311, "AA: 0001 'a'", flags(PacketType::Unsubscribe, 0b1010));
    malformed(V5, "AA: 0001 {} 'a'", flags(PacketType::Unsubscribe, 0b1010));
    malformed(V31, "6B: 0001", flags(PacketType::PubRel, 0b1011));
}

/// Section 1.5.5, [MQTT5-1.5.5-1].
#[test]
fn variable_byte_integers_have_four_bytes_at_most_and_are_minimal_in_5() {
    for version in [V31, V311, V5] {
        malformed(version, "30 FF FF FF FF 7F", DecodeError::VariableByteIntegerTooLong);
        malformed(version, "C0 80 80 80 80 00", DecodeError::VariableByteIntegerTooLong);
        malformed(version, "E0 FF FF FF FF", DecodeError::VariableByteIntegerTooLong);
    }
    malformed(V5, "E0 80 00", DecodeError::VariableByteIntegerNotMinimal);
    malformed(V5, "C0 80 80 80 00", DecodeError::VariableByteIntegerNotMinimal);
    malformed(V5, "40 82 00 0001", DecodeError::VariableByteIntegerNotMinimal);
    malformed(V311, "10 8D 00 'MQTT' 05 02 0000 {} ''", DecodeError::VariableByteIntegerNotMinimal);
    malformed(V5, "30: 'a' 80 00", DecodeError::VariableByteIntegerNotMinimal);
    malformed(V5, "30: 'a' FF FF FF FF 7F", DecodeError::VariableByteIntegerTooLong);
    malformed(V5, "30: 'a' { 0B 81 00 }", DecodeError::VariableByteIntegerNotMinimal);
    malformed(V5, "30: 'a' { 0B FF FF FF FF 01 }", DecodeError::VariableByteIntegerTooLong);
    malformed(V5, "82: 0001 { 0B 80 80 80 } 'a' 00", DecodeError::Truncated);
    malformed(V5, "30: 'a' 80", DecodeError::Truncated);
}

/// Section 4.13.1.
#[test]
fn a_remaining_length_that_does_not_fit_the_fields_is_refused() {
    for version in [V31, V311, V5] {
        malformed(version, "10 00", DecodeError::Truncated);
        malformed(version, "20 00", DecodeError::Truncated);
        malformed(version, "20 01 00", DecodeError::Truncated);
        malformed(version, "30 00", DecodeError::Truncated);
        malformed(version, "30 01 00", DecodeError::Truncated);
        malformed(version, "32: 'a'", DecodeError::Truncated);
        malformed(version, "32: 'a' 00", DecodeError::Truncated);
        malformed(version, "40 00", DecodeError::Truncated);
        malformed(version, "40 01 00", DecodeError::Truncated);
        malformed(version, "50 00", DecodeError::Truncated);
        malformed(version, "62 01 00", DecodeError::Truncated);
        malformed(version, "70 00", DecodeError::Truncated);
        malformed(version, "82 00", DecodeError::Truncated);
        malformed(version, "90 01 00", DecodeError::Truncated);
        malformed(version, "A2 00", DecodeError::Truncated);
        malformed(version, "B0 00", DecodeError::Truncated);
        malformed(version, "C0 01 00", DecodeError::UnexpectedBody(PacketType::PingReq));
        malformed(version, "D0 01 00", DecodeError::UnexpectedBody(PacketType::PingResp));
        malformed(version, "D0 02 0000", DecodeError::UnexpectedBody(PacketType::PingResp));
    }
    for version in [V31, V311] {
        malformed(version, "20: 00 00 00", DecodeError::TrailingBytes);
        malformed(version, "40: 0001 00", DecodeError::TrailingBytes);
        malformed(version, "50: 0001 00", DecodeError::TrailingBytes);
        malformed(version, "62: 0001 00", DecodeError::TrailingBytes);
        malformed(version, "70: 0001 00 00", DecodeError::TrailingBytes);
        malformed(version, "B0: 0001 00", DecodeError::TrailingBytes);
        malformed(version, "E0: 00", DecodeError::UnexpectedBody(PacketType::Disconnect));
        malformed(version, "E0: 00 00", DecodeError::UnexpectedBody(PacketType::Disconnect));
        malformed(version, "82: 0001 'a' 00 0003 61", DecodeError::Truncated);
        malformed(version, "A2: 0001 'a' 00", DecodeError::Truncated);
    }
    malformed(V5, "20: 00 00", DecodeError::Truncated);
    malformed(V5, "20: 00 00 {} 00", DecodeError::TrailingBytes);
    malformed(V5, "30: 'a'", DecodeError::Truncated);
    malformed(V5, "40: 0001 00 {} 00", DecodeError::TrailingBytes);
    malformed(V5, "40: 0001 00 05 1F", DecodeError::Truncated);
    malformed(V5, "70: 0001 00 {} 00", DecodeError::TrailingBytes);
    malformed(V5, "E0: 00 {} 00", DecodeError::TrailingBytes);
    malformed(V5, "82: 0001", DecodeError::Truncated);
    malformed(V5, "82: 0001 {} 'a'", DecodeError::Truncated);
    malformed(V5, "82: 0001 {} 0002 61 00", DecodeError::Truncated);
    malformed(V5, "A2: 0001 {} 0002 61", DecodeError::Truncated);
    malformed(V5, "B0: 0001", DecodeError::Truncated);
    malformed(V5, "F0: 18", DecodeError::Truncated);
    malformed(V5, "F0: 18 { 15 'm' } 00", DecodeError::TrailingBytes);
}

/// A packet greater than the receiver takes is refused by its header [MQTT5-3.2.2-15]; bytes of the whole
/// packet count.
#[test]
fn a_packet_above_the_maximum_packet_size_is_refused_before_its_body() {
    let error = DecodeError::PacketTooLarge { total_len: 102, packet_size_max: 101 };
    assert_eq!(peek(&[0x30, 100], 101), Err(error));
    assert_eq!(error.reason_code(), ReasonCode::PacketTooLarge);
    assert!(peek(&[0x30, 100], 102).is_ok_and(|header| header.is_some_and(|it| it.total_len == 102)));
    let greatest = peek(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], u32::MAX);
    assert!(greatest.is_ok_and(|header| header.is_some_and(|it| it.total_len == 268_435_460)));
}

/// Bytes that cannot become a packet are refused as soon as they are there.
#[test]
fn a_bad_start_is_refused_without_waiting_for_more() {
    assert_eq!(peek(&[], 100), Ok(None));
    assert_eq!(peek(&[0x10], 100), Ok(None));
    assert_eq!(peek(&[0x10, 0x80, 0x80], 100), Ok(None));
    assert_eq!(peek(&[0x36], 100), Err(DecodeError::PublishQos3));
    assert_eq!(peek(&[0x0F], 100), Err(DecodeError::ReservedPacketType));
    assert_eq!(peek(&[0xC0, 0x05], 100), Err(DecodeError::UnexpectedBody(PacketType::PingReq)));
    let five = [0x10, 0x80, 0x80, 0x80, 0x80];
    assert_eq!(peek(&five, 100), Err(DecodeError::VariableByteIntegerTooLong));
}

/// [MQTT5-1.5.4-1] [MQTT5-1.5.4-2] [MQTT311-1.5.3-1] [MQTT311-1.5.3-2].
#[test]
fn strings_are_well_formed_utf_8_without_u_0000() {
    for (text, error) in [
        ("0001 FF", DecodeError::InvalidUtf8),
        ("0001 80", DecodeError::InvalidUtf8),
        ("0002 C080", DecodeError::InvalidUtf8),
        ("0003 E08080", DecodeError::InvalidUtf8),
        ("0003 EDA080", DecodeError::InvalidUtf8),
        ("0003 EDBFBF", DecodeError::InvalidUtf8),
        ("0004 F4908080", DecodeError::InvalidUtf8),
        ("0004 F8888080", DecodeError::InvalidUtf8),
        ("0002 E282", DecodeError::InvalidUtf8),
        ("0003 61C361", DecodeError::InvalidUtf8),
        ("0001 00", DecodeError::NulInString),
        ("0003 610062", DecodeError::NulInString),
    ] {
        malformed(V311, &format!("30: {text}"), error);
        malformed(V5, &format!("30: {text} {{}}"), error);
        malformed(V5, &format!("30: 'a' {{ 03 {text} }}"), error);
        malformed(V5, &format!("30: 'a' {{ 08 {text} }}"), error);
        malformed(V5, &format!("30: 'a' {{ 26 {text} 'v' }}"), error);
        malformed(V5, &format!("30: 'a' {{ 26 'n' {text} }}"), error);
        malformed(V311, &format!("10: 'MQTT' 04 02 0000 {text}"), error);
        malformed(V311, &format!("10: {text} 04 02 0000 'c'"), error);
        malformed(V311, &format!("10: 'MQTT' 04 06 0000 'c' {text} 'p'"), error);
        malformed(V311, &format!("10: 'MQTT' 04 82 0000 'c' {text}"), error);
        malformed(V5, &format!("10: 'MQTT' 05 02 0000 {{ 15 {text} }} 'c'"), error);
        malformed(V31, &format!("82: 0001 {text} 00"), error);
        malformed(V5, &format!("A2: 0001 {{}} {text}"), error);
        malformed(V5, &format!("40: 0001 00 {{ 1F {text} }}"), error);
        malformed(V5, &format!("20: 00 00 {{ 12 {text} }}"), error);
        malformed(V5, &format!("E0: 00 {{ 1C {text} }}"), error);
        malformed(V5, &format!("F0: 18 {{ 15 {text} }}"), error);
    }
}

/// [MQTT5-3.1.2-1] [MQTT5-3.1.2-2] [MQTT311-3.1.2-2].
#[test]
fn an_unknown_protocol_is_refused_in_a_version_the_peer_may_know() {
    for name in ["''", "'MQTX'", "'mqtt'", "'MQTTT'", "'MQT'", "'MQIsdP'", "'HTTP'"] {
        let text = format!("10: {name} 04 02 0000 'c'");
        check(V5, &text, DecodeError::UnknownProtocolName, 0x84);
    }
    for (name, level, answer_in) in [
        ("MQIsdp", 4, V31),
        ("MQIsdp", 5, V31),
        ("MQIsdp", 0x83, V31),
        ("MQTT", 0, V311),
        ("MQTT", 3, V311),
        ("MQTT", 0x84, V311),
        ("MQTT", 6, V5),
        ("MQTT", 0x85, V5),
        ("MQTT", 0xFF, V5),
    ] {
        let error = DecodeError::UnsupportedProtocolVersion { level, answer_in };
        check(V5, &format!("10: '{name}' {level:02X} 02 0000 'c'"), error, 0x84);
    }
    // Nothing behind the level matters.
    let error = DecodeError::UnsupportedProtocolVersion { level: 6, answer_in: V5 };
    check(V5, "10: 'MQTT' 06", error, 0x84);
}

/// [MQTT5-3.1.2-3] [MQTT5-3.1.2-11] to [MQTT5-3.1.2-13] [MQTT311-3.1.2-22].
#[test]
fn connect_flags_are_consistent() {
    for (version, head) in [(V31, "'MQIsdp' 03"), (V311, "'MQTT' 04"), (V5, "'MQTT' 05")] {
        let check = |flags: &str, error: DecodeError, code: u8| {
            let (properties, will_properties) = if version == V5 { ("{}", "{}") } else { ("", "") };
            let text = format!("10: {head} {flags} 0000 {properties} 'c' {will_properties} 't' 'p'");
            check(V311, &text, error, code);
        };
        check("03", DecodeError::ReservedConnectFlag, 0x81);
        check("01", DecodeError::ReservedConnectFlag, 0x81);
        check("1C", DecodeError::WillQos3, 0x81);
        check("3E", DecodeError::WillQos3, 0x81);
        if version != V31 {
            check("0A", DecodeError::WillFlagsWithoutWill, 0x81);
            check("12", DecodeError::WillFlagsWithoutWill, 0x81);
            check("1A", DecodeError::WillFlagsWithoutWill, 0x81);
            check("22", DecodeError::WillFlagsWithoutWill, 0x81);
        }
        if version != V5 {
            check("42", DecodeError::PasswordWithoutUserName, 0x82);
            check("46", DecodeError::PasswordWithoutUserName, 0x82);
        }
    }
}

/// [MQTT5-3.1.3-1]: the fields that the flags announce, in their order, and nothing else.
#[test]
fn connect_has_the_fields_it_announces() {
    for text in [
        "'MQTT'",
        "'MQTT' 04",
        "'MQTT' 04 02",
        "'MQTT' 04 02 00",
        "'MQTT' 04 02 0000",
        "'MQTT' 04 02 0000 0001",
        "'MQTT' 04 06 0000 'c'",
        "'MQTT' 04 06 0000 'c' 't'",
        "'MQTT' 04 06 0000 'c' 't' 0002 61",
        "'MQTT' 04 82 0000 'c'",
        "'MQTT' 04 C2 0000 'c' 'u'",
        "'MQTT' 04 C2 0000 'c' 'u' 0002 61",
        "'MQTT' 05 02 0000",
        "'MQTT' 05 02 0000 {}",
        "'MQTT' 05 02 0000 05 11",
        "'MQTT' 05 06 0000 {} 'c'",
        "'MQTT' 05 06 0000 {} 'c' {}",
        "'MQTT' 05 06 0000 {} 'c' 't' 'p'",
        "'MQTT' 05 42 0000 {} 'c'",
        // 3.1 lets user name and password be missing as a whole, not in part.
        "'MQIsdp' 03 C2 0000 'c' 'u' 00",
        "'MQIsdp' 03 82 0000 'c' 00",
    ] {
        malformed(V311, &format!("10: {text}"), DecodeError::Truncated);
    }
    malformed(V311, "10: 'MQTT' 04 02 0000 'c' 00", DecodeError::TrailingBytes);
    malformed(V311, "10: 'MQTT' 04 02 0000 'c' 'u'", DecodeError::TrailingBytes);
    malformed(V311, "10: 'MQTT' 05 C2 0000 {} 'c' 'u' 'p' <x>", DecodeError::TrailingBytes);
    malformed(V311, "10: 'MQIsdp' 03 02 0000 'c' 'u'", DecodeError::TrailingBytes);
}

/// Section 3.1.2.11, 3.1.3.2 and 3.2.2.3.
#[test]
fn property_values_are_in_their_range() {
    let connect = |section: &str| format!("10: 'MQTT' 05 02 0000 {{ {section} }} 'c'");
    let will = |section: &str| format!("10: 'MQTT' 05 06 0000 {{}} 'c' {{ {section} }} 't' 'p'");
    let connack = |section: &str| format!("20: 00 00 {{ {section} }}");
    for (text, id, value) in [
        (connect("21 0000"), PropertyId::ReceiveMaximum, 0),
        (connect("27 00000000"), PropertyId::MaximumPacketSize, 0),
        (connect("17 02"), PropertyId::RequestProblemInformation, 2),
        (connect("17 FF"), PropertyId::RequestProblemInformation, 255),
        (connect("19 02"), PropertyId::RequestResponseInformation, 2),
        (will("01 02"), PropertyId::PayloadFormatIndicator, 2),
        (connack("21 0000"), PropertyId::ReceiveMaximum, 0),
        (connack("27 00000000"), PropertyId::MaximumPacketSize, 0),
        (connack("24 02"), PropertyId::MaximumQos, 2),
        (connack("25 02"), PropertyId::RetainAvailable, 2),
        (connack("28 02"), PropertyId::WildcardSubscriptionAvailable, 2),
        (connack("29 02"), PropertyId::SubscriptionIdentifierAvailable, 2),
        (connack("2A 02"), PropertyId::SharedSubscriptionAvailable, 2),
        ("30: 'a' { 01 02 }".into(), PropertyId::PayloadFormatIndicator, 2),
        ("30: 'a' { 0B 00 }".into(), PropertyId::SubscriptionIdentifier, 0),
        ("82: 0001 { 0B 00 } 'a' 00".into(), PropertyId::SubscriptionIdentifier, 0),
    ] {
        protocol_error(V5, &text, DecodeError::PropertyValue(id, value));
    }
    let error = DecodeError::AuthenticationDataWithoutMethod;
    protocol_error(V5, &connect("16 'data'"), error);
    // [MQTT5-3.3.2-8], and reason code 0x94 of table 2-6.
    check(V5, "30: 'a' { 23 0000 }", DecodeError::TopicAliasZero, 0x94);
}

/// Section 2.2.2.2. The whole table is in `matrices`.
#[test]
fn unknown_properties_are_refused() {
    for id in [0x00, 0x04, 0x0A, 0x10, 0x20, 0x2B, 0x7F, 0x80, 0xA6, 0xFF] {
        let error = DecodeError::UnknownProperty(id);
        malformed(V5, &format!("30: 'a' {{ {id:02X} 00 }}"), error);
        malformed(V5, &format!("10: 'MQTT' 05 02 0000 {{ {id:02X} 00 }} 'c'"), error);
    }
}

/// A value may not reach beyond its section, even when the packet goes on.
#[test]
fn property_sections_end_with_a_property() {
    malformed(V5, "30: 'a' 03 02 000000 01 <payload>", DecodeError::Truncated);
    malformed(V5, "30: 'a' 01 01 00 <payload>", DecodeError::Truncated);
    malformed(V5, "30: 'a' 04 26 0001 61 'v' <payload>", DecodeError::Truncated);
    malformed(V5, "30: 'a' 7F <payload>", DecodeError::Truncated);
    malformed(V5, "30: 'a' FF FF FF 7F <payload>", DecodeError::Truncated);
    malformed(V5, "82: 0001 01 0B 01 'a' 00", DecodeError::Truncated);
}

/// [MQTT5-3.3.1-2] [MQTT5-3.3.1-4] [MQTT5-2.2.1-3] [MQTT5-4.7.3-1], section 3.3.2.1.
#[test]
fn publish_has_a_possible_qos_packet_identifier_and_topic() {
    for version in [V31, V311, V5] {
        let properties = if version == V5 { "{}" } else { "" };
        for first_byte in [0x36, 0x37, 0x3E, 0x3F] {
            let text = format!("{first_byte:02X}: 'a' 0001 {properties}");
            malformed(version, &text, DecodeError::PublishQos3);
        }
        for first_byte in [0x38, 0x39] {
            let text = format!("{first_byte:02X}: 'a' {properties}");
            malformed(version, &text, DecodeError::DupWithQos0);
        }
        for first_byte in [0x32, 0x34, 0x3A, 0x3C, 0x3D] {
            let text = format!("{first_byte:02X}: 'a' 0000 {properties}");
            protocol_error(version, &text, DecodeError::PacketIdZero);
        }
        protocol_error(version, &format!("30: '' {properties} <p>"), DecodeError::EmptyTopic);
    }
}

/// [MQTT5-2.2.1-3] [MQTT311-2.3.1-1].
#[test]
fn packet_identifiers_are_not_zero() {
    for version in [V31, V311, V5] {
        let properties = if version == V5 { "{}" } else { "" };
        for text in [
            "40: 0000".into(),
            "50: 0000".into(),
            "62: 0000".into(),
            "70: 0000".into(),
            format!("82: 0000 {properties} 'a' 00"),
            format!("90: 0000 {properties} 00"),
            format!("A2: 0000 {properties} 'a'"),
            "B0: 0000".into(),
        ] {
            protocol_error(version, &text, DecodeError::PacketIdZero);
        }
    }
}

/// [MQTT5-3.8.3-2] [MQTT5-3.10.3-2] [MQTT311-3.8.3-3] [MQTT311-3.10.3-2].
#[test]
fn subscribe_and_unsubscribe_have_a_topic_filter() {
    for version in [V31, V311, V5] {
        let properties = if version == V5 { "{}" } else { "" };
        let error = DecodeError::NoTopicFilter(PacketType::Subscribe);
        protocol_error(version, &format!("82: 0001 {properties}"), error);
        let error = DecodeError::NoTopicFilter(PacketType::Unsubscribe);
        protocol_error(version, &format!("A2: 0001 {properties}"), error);
        let error = DecodeError::NoReasonCodes(PacketType::SubAck);
        protocol_error(version, &format!("90: 0001 {properties}"), error);
    }
    protocol_error(V5, "B0: 0001 {}", DecodeError::NoReasonCodes(PacketType::UnsubAck));
}

/// [MQTT5-3.8.3-5] [MQTT311-3.8.3-4], section 3.8.3.1.
#[test]
fn subscription_options_have_no_other_bits() {
    for options in ["40", "80", "C0", "41", "FF"] {
        let text = format!("82: 0001 {{}} 'a' 00 'b' {options}");
        malformed(V5, &text, DecodeError::ReservedSubscriptionOptions);
    }
    protocol_error(V5, "82: 0001 {} 'a' 03", DecodeError::SubscriptionQos3);
    protocol_error(V5, "82: 0001 {} 'a' 30", DecodeError::RetainHandling3);
    for version in [V31, V311] {
        for options in ["04", "08", "10", "20", "40", "80"] {
            let text = format!("82: 0001 'a' {options}");
            malformed(version, &text, DecodeError::ReservedSubscriptionOptions);
        }
        protocol_error(version, "82: 0001 'a' 03", DecodeError::SubscriptionQos3);
    }
}

/// Section 3.2.2, [MQTT5-3.2.2-6] [MQTT311-3.2.2-4].
#[test]
fn connack_is_consistent() {
    malformed(V5, "20: 02 00 {}", DecodeError::ReservedConnAckFlags);
    malformed(V311, "20: 80 00", DecodeError::ReservedConnAckFlags);
    malformed(V31, "20: 01 00", DecodeError::ReservedConnAckFlags);
    protocol_error(V5, "20: 01 80 {}", DecodeError::SessionPresentWithError);
    protocol_error(V311, "20: 01 05", DecodeError::SessionPresentWithError);
    malformed(V311, "20: 00 06", DecodeError::UnknownReasonCode(6));
    malformed(V31, "20: 00 80", DecodeError::UnknownReasonCode(0x80));
}

/// [MQTT311-3.9.3-2]; for 5.0 see `matrices`.
#[test]
fn suback_of_3_has_no_other_codes_than_the_four() {
    for version in [V31, V311] {
        malformed(version, "90: 0001 00 03", DecodeError::UnknownReasonCode(3));
        malformed(version, "90: 0001 00 81", DecodeError::UnknownReasonCode(0x81));
        malformed(version, "90: 0001 87", DecodeError::UnknownReasonCode(0x87));
    }
}

/// Section 3.15.2.2.2 and 2.1.2.
#[test]
fn auth_has_a_method_and_is_new_in_5() {
    protocol_error(V5, "F0: 18 {}", DecodeError::AuthenticationMethodMissing);
    protocol_error(V5, "F0: 00 {}", DecodeError::AuthenticationMethodMissing);
    protocol_error(V5, "F0: 19 { 16 'd' }", DecodeError::AuthenticationMethodMissing);
    for version in [V31, V311] {
        let error = DecodeError::PacketTypeNotInVersion(PacketType::Auth, version);
        malformed(version, "F0 00", error);
        malformed(version, "F0: 18 { 15 'm' }", error);
    }
}
