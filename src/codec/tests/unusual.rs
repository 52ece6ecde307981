//! Valid packets that are easily refused by mistake.

use super::{V5, V31, V311, bytes, encoded, receive};
use crate::codec::{Packet, ProtocolVersion, ReasonCode, connect_version, decode};

/// Decodes, and means the same after it was encoded again.
#[track_caller]
fn check(version: ProtocolVersion, text: &str) {
    let bytes = bytes(text);
    let packet = match receive(version, &bytes) {
        Ok(packet) => packet,
        Err(error) => panic!("MQTT {version}: {text}: {error}"),
    };
    let again = encoded(version, &packet);
    assert_eq!(decode(version, &again), Ok(packet), "MQTT {version}: {text}");
}

/// Sections 3.4.2.1, 3.14.2.1, 3.15.2.1: reason code and property length may be left out.
#[test]
fn short_forms_are_accepted() {
    for first_byte in ["40", "50", "62", "70"] {
        check(V5, &format!("{first_byte}: 0001"));
        check(V5, &format!("{first_byte}: 0001 00"));
        check(V5, &format!("{first_byte}: 0001 00 {{}}"));
        check(V5, &format!("{first_byte}: 0001 00 {{ 1F 'why' 26 'n' 'v' }}"));
    }
    check(V5, "40: FFFF 10");
    check(V5, "50: 0001 97");
    check(V5, "62: 0001 92");
    check(V5, "70: 0001 92");
    check(V5, "E0 00");
    check(V5, "E0: 04");
    check(V5, "E0: 00 {}");
    check(V5, "E0: 8E { 1F 'elsewhere' }");
    check(V5, "F0 00");
    check(V311, "E0 00");
}

#[test]
fn connect_forms_of_each_version_are_accepted() {
    // 5.0 has no [MQTT311-3.1.2-22]: a password needs no user name.
    check(V5, "10: 'MQTT' 05 42 0000 {} 'c' 'p'");
    check(V5, "10: 'MQTT' 05 00 FFFF {} ''");
    check(V5, "10: 'MQTT' 05 C2 0000 {} '' '' ''");
    check(V5, "10: 'MQTT' 05 36 0000 {} 'c' {} 't' ''");
    check(V311, "10: 'MQTT' 04 00 0000 ''");
    check(V311, "10: 'MQTT' 04 C6 0000 'c' 't' 0003 000102 'u' 0002 00FF");
    check(V31, "10: 'MQIsdp' 03 02 0000 'c'");
    // The version of the connection is not known yet.
    check(V5, "10: 'MQIsdp' 03 02 0000 'c'");
    check(V31, "10: 'MQTT' 05 02 0000 { 11 FFFFFFFF 22 0000 21 FFFF 17 00 19 01 16 'd' 15 'm' } 'c'");
}

/// MQTT 3.1, section 3.1: will QoS and retain are "disregarded" without will, and the Remaining Length
/// takes precedence over the user name and password flags.
#[test]
fn what_3_1_disregards_is_disregarded() {
    for flags in ["0A", "1A", "22", "3A"] {
        check(V31, &format!("10: 'MQIsdp' 03 {flags} 0000 'c'"));
    }
    for text in ["10: 'MQIsdp' 03 82 0000 'c'", "10: 'MQIsdp' 03 C2 0000 'c'"] {
        let bytes = bytes(text);
        let Ok(Packet::Connect(connect)) = receive(V31, &bytes) else { panic!("{text}") };
        assert_eq!((connect.user_name, connect.password), (None, None), "{text}");
    }
    let bytes = bytes("10: 'MQIsdp' 03 C2 0000 'c' 'u'");
    let Ok(Packet::Connect(connect)) = receive(V31, &bytes) else { panic!("password missing") };
    assert_eq!((connect.user_name, connect.password), (Some("u"), None));
}

/// MQTT 3.1, section 2.1: DUP applies to PUBREL, SUBSCRIBE and UNSUBSCRIBE.
#[test]
fn repetitions_of_3_1_are_accepted() {
    check(V31, "6A: 0001");
    check(V31, "8A: 0001 'a' 00");
    check(V31, "AA: 0001 'a'");
}

/// 3.x describes the minimal encoding, but does not forbid others.
#[test]
fn a_long_remaining_length_is_accepted_before_5() {
    for version in [V31, V311] {
        check(version, "C0 80 80 80 00");
        check(version, "40 82 00 0001");
        check(version, "30 84 80 00 'a' <p>");
    }
    check(V311, "10 8C 00 'MQTT' 04 02 0000 ''");
}

/// Section 1.5.4: U+FFFE, U+FFFF, control characters and private use "should not" be sent, which is no
/// error; a byte order mark is a character [MQTT5-1.5.4-3].
#[test]
fn every_character_but_u_0000_is_accepted() {
    for code in
        ["01", "1F", "7F", "C280", "C29F", "EE8080", "EFBFBE", "EFBFBF", "EFBBBF", "F48FBFBF", "F09F9096"]
    {
        let len = code.len() / 2;
        check(V5, &format!("30: {len:04X} {code} {{}} <p>"));
        check(V311, &format!("30: {len:04X} {code} <p>"));
    }
    let frame = bytes("30: 0004 EFBBBF 61");
    let Ok(Packet::Publish(publish)) = receive(V311, &frame) else { panic!("byte order mark") };
    assert_eq!(publish.topic, "\u{FEFF}a");
}

#[test]
fn publish_may_be_nearly_empty() {
    // Section 3.3.2.3.4: the alias stands for the topic.
    check(V5, "30: '' { 23 0001 }");
    check(V5, "32: '' 0001 { 23 FFFF } <p>");
    check(V5, "30: 'a' {}");
    check(V311, "31: 'a'");
    check(V311, "3D: 'a' FFFF");
    check(V5, "30: 'a' { 0B 01 0B FFFFFF7F 0B 01 26 '' '' 26 '' '' 03 '' 08 '' 09 '' 01 00 02 00000000 }");
}

#[test]
fn subscribe_takes_every_option() {
    for qos in 0..3_u8 {
        for bits in 0..4_u8 {
            for retain_handling in 0..3_u8 {
                let options = qos | (bits << 2) | (retain_handling << 4);
                check(V5, &format!("82: 0001 {{ 0B FFFFFF7F }} 'a' {options:02X} '' 00"));
            }
        }
        check(V311, &format!("82: 0001 'a' {qos:02X} '#' {qos:02X}"));
        check(V31, &format!("82: 0001 'a' {qos:02X}"));
    }
    check(V311, "90: 0001 00 01 02 80");
    check(V31, "90: 0001 00 01 02");
}

/// So that a refused CONNECT can be answered.
#[test]
fn the_version_of_a_broken_connect_is_known() {
    assert_eq!(connect_version(&bytes("10: 'MQTT' 05 03")), Some(V5));
    assert_eq!(connect_version(&bytes("10: 'MQTT' 04 03 0000 FFFF")), Some(V311));
    assert_eq!(connect_version(&bytes("10: 'MQIsdp' 03")), Some(V31));
    assert_eq!(connect_version(&bytes("10: 'MQTT' 06")), None);
    assert_eq!(connect_version(&bytes("10: 'MQTT'")), None);
    assert_eq!(connect_version(&bytes("30: 'MQTT' 05")), None);
    assert_eq!(connect_version(&[]), None);
}

/// Section 3.2.2.3 of 3.1.1 and table 3-1: nothing of a code is lost that the other version can say.
#[test]
fn return_codes_of_3_have_their_reason_codes() {
    for code in 0..=5 {
        let reason = ReasonCode::from_connect_return_code(code).expect("0 to 5 exist");
        assert_eq!(reason.connect_return_code(), code);
    }
    assert_eq!(ReasonCode::from_connect_return_code(6), None);
    assert_eq!(ReasonCode::Banned.connect_return_code(), 5);
    assert_eq!(ReasonCode::QuotaExceeded.connect_return_code(), 3);
    for reason in ReasonCode::ALL {
        assert_eq!(reason.connect_return_code() == 0, *reason == ReasonCode::Success, "{reason:?}");
    }
}
