//! Whole tables of the standard, crossed: first bytes, properties and reason codes with packet types.

use PacketType::{Auth, ConnAck, Disconnect, PubAck, PubComp, PubRec, PubRel, SubAck, UnsubAck};

use super::{V5, V31, V311, bytes, frame, receive};
use crate::codec::{DecodeError, PacketType, PropertyId, ReasonCode, peek};

const CONNECT: usize = 0;
const CONNACK: usize = 1;
const PUBLISH: usize = 2;
const WILL: usize = 3;
const PUBACK: usize = 4;
const PUBREC: usize = 5;
const PUBREL: usize = 6;
const PUBCOMP: usize = 7;
const SUBSCRIBE: usize = 8;
const SUBACK: usize = 9;
const UNSUBSCRIBE: usize = 10;
const UNSUBACK: usize = 11;
const DISCONNECT: usize = 12;
const AUTH: usize = 13;

/// Where properties are: the type, and the packet around `section`.
fn packet_around(place: usize, section: &[u8]) -> (PacketType, Vec<u8>) {
    let (packet_type, first_byte, before, after) = match place {
        CONNECT => (PacketType::Connect, 0x10, "'MQTT' 05 02 0000", "'c'"),
        CONNACK => (PacketType::ConnAck, 0x20, "00 00", ""),
        PUBLISH => (PacketType::Publish, 0x30, "'a'", ""),
        WILL => (PacketType::Connect, 0x10, "'MQTT' 05 06 0000 {} 'c'", "'t' 'p'"),
        PUBACK => (PacketType::PubAck, 0x40, "0001 00", ""),
        PUBREC => (PacketType::PubRec, 0x50, "0001 00", ""),
        PUBREL => (PacketType::PubRel, 0x62, "0001 00", ""),
        PUBCOMP => (PacketType::PubComp, 0x70, "0001 00", ""),
        SUBSCRIBE => (PacketType::Subscribe, 0x82, "0001", "'a' 00"),
        SUBACK => (PacketType::SubAck, 0x90, "0001", "00"),
        UNSUBSCRIBE => (PacketType::Unsubscribe, 0xA2, "0001", "'a'"),
        UNSUBACK => (PacketType::UnsubAck, 0xB0, "0001", "00"),
        DISCONNECT => (PacketType::Disconnect, 0xE0, "00", ""),
        _ => (PacketType::Auth, 0xF0, "18", ""),
    };
    let mut body = bytes(before);
    super::push_varint(&mut body, section.len());
    body.extend_from_slice(section);
    body.extend_from_slice(&bytes(after));
    (packet_type, frame(first_byte, &body))
}

/// Table 2-4 of MQTT 5.0: identifier, a valid value, the packets that have it.
const PROPERTIES: &[(u8, &str, &[usize])] = &[
    (0x01, "01", &[PUBLISH, WILL]),
    (0x02, "0000000A", &[PUBLISH, WILL]),
    (0x03, "'text/plain'", &[PUBLISH, WILL]),
    (0x08, "'reply/to'", &[PUBLISH, WILL]),
    (0x09, "0003 00FF01", &[PUBLISH, WILL]),
    (0x0B, "8101", &[PUBLISH, SUBSCRIBE]),
    (0x11, "00000E10", &[CONNECT, CONNACK, DISCONNECT]),
    (0x12, "'assigned'", &[CONNACK]),
    (0x13, "003C", &[CONNACK]),
    (0x15, "'SCRAM'", &[CONNECT, CONNACK, AUTH]),
    (0x16, "0002 00FF", &[CONNECT, CONNACK, AUTH]),
    (0x17, "00", &[CONNECT]),
    (0x18, "0000003C", &[WILL]),
    (0x19, "01", &[CONNECT]),
    (0x1A, "'info'", &[CONNACK]),
    (0x1C, "'other'", &[CONNACK, DISCONNECT]),
    (0x1F, "'why'", &[CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH]),
    (0x21, "0014", &[CONNECT, CONNACK]),
    (0x22, "000A", &[CONNECT, CONNACK]),
    (0x23, "0001", &[PUBLISH]),
    (0x24, "01", &[CONNACK]),
    (0x25, "00", &[CONNACK]),
    (
        0x26,
        "'n' 'v'",
        &[
            CONNECT,
            CONNACK,
            PUBLISH,
            WILL,
            PUBACK,
            PUBREC,
            PUBREL,
            PUBCOMP,
            SUBSCRIBE,
            SUBACK,
            UNSUBSCRIBE,
            UNSUBACK,
            DISCONNECT,
            AUTH,
        ],
    ),
    (0x27, "00000400", &[CONNECT, CONNACK]),
    (0x28, "00", &[CONNACK]),
    (0x29, "00", &[CONNACK]),
    (0x2A, "00", &[CONNACK]),
];

/// Section 2.2.2.2: in each packet its own properties, once each, complete, and no others.
#[test]
fn every_packet_has_the_properties_of_the_table_and_no_others() {
    assert_eq!(PROPERTIES.len(), PropertyId::ALL.len());
    for &(id, value, places) in PROPERTIES {
        let property_id = PropertyId::from_u8(id).expect("the table has no other identifiers");
        let mut property = vec![id];
        property.extend(bytes(value));
        for place in CONNECT..=AUTH {
            // What another property needs or the packet must have.
            let needs_method = (place == AUTH || id == 0x16) && id != 0x15;
            let prefix = if needs_method { bytes("15 'm'") } else { Vec::new() };
            let around = |properties: &[&[u8]]| {
                let section = [&prefix[..], &properties.concat()].concat();
                packet_around(place, &section)
            };

            let (packet_type, once) = around(&[&property]);
            let result = receive(V5, &once);
            if !places.contains(&place) {
                // Where the method before it is not allowed either, that is what is refused.
                let has_method = [CONNECT, CONNACK, AUTH].contains(&place);
                let refused =
                    if needs_method && !has_method { PropertyId::AuthenticationMethod } else { property_id };
                let error = DecodeError::PropertyNotAllowed(refused, packet_type);
                assert_eq!(result, Err(error), "{property_id:?} in {packet_type:?}");
                assert_eq!(error.reason_code(), ReasonCode::MalformedPacket);
                continue;
            }
            assert!(result.is_ok(), "{property_id:?} in {packet_type:?}: {result:?}");

            let (_, twice) = around(&[&property, &property]);
            let is_repeatable = id == 0x26 || (id == 0x0B && place == PUBLISH);
            match receive(V5, &twice) {
                Ok(_) => assert!(is_repeatable, "{property_id:?} twice in {packet_type:?}"),
                Err(error) => {
                    assert!(!is_repeatable, "{property_id:?} twice in {packet_type:?}: {error}");
                    assert_eq!(error, DecodeError::DuplicateProperty(property_id));
                    assert_eq!(error.reason_code(), ReasonCode::ProtocolError);
                }
            }

            for len in 1..property.len() {
                let (_, cut) = around(&[&property[..len]]);
                assert_eq!(receive(V5, &cut), Err(DecodeError::Truncated), "{property_id:?} of {len} bytes");
            }
        }
    }
}

/// Table 2-6 of MQTT 5.0: code and the packets that may carry it.
const REASON_CODES: &[(u8, &[PacketType])] = &[
    (0x00, &[ConnAck, PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck, Disconnect, Auth]),
    (0x01, &[SubAck]),
    (0x02, &[SubAck]),
    (0x04, &[Disconnect]),
    (0x10, &[PubAck, PubRec]),
    (0x11, &[UnsubAck]),
    (0x18, &[Auth]),
    (0x19, &[Auth]),
    (0x80, &[ConnAck, PubAck, PubRec, SubAck, UnsubAck, Disconnect]),
    (0x81, &[ConnAck, Disconnect]),
    (0x82, &[ConnAck, Disconnect]),
    (0x83, &[ConnAck, PubAck, PubRec, SubAck, UnsubAck, Disconnect]),
    (0x84, &[ConnAck]),
    (0x85, &[ConnAck]),
    (0x86, &[ConnAck]),
    (0x87, &[ConnAck, PubAck, PubRec, SubAck, UnsubAck, Disconnect]),
    (0x88, &[ConnAck]),
    (0x89, &[ConnAck, Disconnect]),
    (0x8A, &[ConnAck]),
    (0x8B, &[Disconnect]),
    (0x8C, &[ConnAck, Disconnect]),
    (0x8D, &[Disconnect]),
    (0x8E, &[Disconnect]),
    (0x8F, &[SubAck, UnsubAck, Disconnect]),
    (0x90, &[ConnAck, PubAck, PubRec, Disconnect]),
    (0x91, &[PubAck, PubRec, SubAck, UnsubAck]),
    (0x92, &[PubRel, PubComp]),
    (0x93, &[Disconnect]),
    (0x94, &[Disconnect]),
    (0x95, &[ConnAck, Disconnect]),
    (0x96, &[Disconnect]),
    (0x97, &[ConnAck, PubAck, PubRec, SubAck, Disconnect]),
    (0x98, &[Disconnect]),
    (0x99, &[ConnAck, PubAck, PubRec, Disconnect]),
    (0x9A, &[ConnAck, Disconnect]),
    (0x9B, &[ConnAck, Disconnect]),
    (0x9C, &[ConnAck, Disconnect]),
    (0x9D, &[ConnAck, Disconnect]),
    (0x9E, &[SubAck, Disconnect]),
    (0x9F, &[ConnAck, Disconnect]),
    (0xA0, &[Disconnect]),
    (0xA1, &[SubAck, Disconnect]),
    (0xA2, &[SubAck, Disconnect]),
];

/// Section 2.4, [MQTT5-3.2.2-8] [MQTT5-3.4.2-1] [MQTT5-3.9.3-2] [MQTT5-3.14.2-1] [MQTT5-3.15.2-1] and alike.
#[test]
fn every_packet_has_the_reason_codes_of_the_table_and_no_others() {
    assert_eq!(REASON_CODES.len(), ReasonCode::ALL.len());
    for code in 0..=u8::MAX {
        let allowed_in = REASON_CODES.iter().find(|(listed, _)| *listed == code).map(|(_, types)| *types);
        for (packet_type, text) in [
            (ConnAck, format!("20: 00 {code:02X} {{}}")),
            (PubAck, format!("40: 0001 {code:02X}")),
            (PubRec, format!("50: 0001 {code:02X}")),
            (PubRel, format!("62: 0001 {code:02X}")),
            (PubComp, format!("70: 0001 {code:02X}")),
            (SubAck, format!("90: 0001 {{}} 00 {code:02X}")),
            (UnsubAck, format!("B0: 0001 {{}} 00 {code:02X}")),
            (Disconnect, format!("E0: {code:02X}")),
            (Auth, format!("F0: {code:02X} {{ 15 'm' }}")),
        ] {
            let frame = bytes(&text);
            match (receive(V5, &frame), allowed_in) {
                (Ok(_), types) => {
                    assert!(types.is_some_and(|types| types.contains(&packet_type)), "{text} was taken");
                }
                (Err(error), Some(types)) => {
                    assert!(!types.contains(&packet_type), "{text}: {error}");
                    assert_eq!(error.reason_code(), ReasonCode::ProtocolError, "{text}");
                }
                (Err(error), None) => {
                    assert_eq!(error, DecodeError::UnknownReasonCode(code), "{text}");
                    assert_eq!(error.reason_code(), ReasonCode::MalformedPacket);
                }
            }
        }
    }
}

/// Tables 2-1 and 2-2, for all 256 first bytes and each version.
#[test]
fn every_first_byte_is_taken_or_refused_by_the_table() {
    for version in [V31, V311, V5] {
        let properties = if version == V5 { "{}" } else { "" };
        for first_byte in 0..=u8::MAX {
            let has_qos = first_byte & 0b0110 != 0;
            let (is_valid, body) = match first_byte >> 4 {
                1 => (first_byte == 0x10, "'MQTT' 04 02 0000 'c'".into()),
                2 => (first_byte == 0x20, format!("00 00 {properties}")),
                3 if has_qos => (first_byte & 0b0110 != 0b0110, format!("'a' 0001 {properties}")),
                3 => (first_byte & 0b1000 == 0, format!("'a' {properties}")),
                type_bits @ (4 | 5 | 7) => (first_byte == type_bits << 4, "0001".into()),
                6 => (first_byte == 0x62 || (first_byte == 0x6A && version == V31), "0001".into()),
                8 => {
                    let body = format!("0001 {properties} 'a' 00");
                    (first_byte == 0x82 || (first_byte == 0x8A && version == V31), body)
                }
                9 => (first_byte == 0x90, format!("0001 {properties} 00")),
                10 => {
                    let body = format!("0001 {properties} 'a'");
                    (first_byte == 0xA2 || (first_byte == 0xAA && version == V31), body)
                }
                11 if version == V5 => (first_byte == 0xB0, "0001 {} 00".into()),
                11 => (first_byte == 0xB0, "0001".into()),
                12 => (first_byte == 0xC0, String::new()),
                13 => (first_byte == 0xD0, String::new()),
                14 => (first_byte == 0xE0, String::new()),
                15 => (first_byte == 0xF0 && version == V5, String::new()),
                _ => (false, String::new()),
            };
            let frame = frame(first_byte, &bytes(&body));
            let result = receive(version, &frame);
            assert_eq!(result.is_ok(), is_valid, "MQTT {version}: first byte {first_byte:#04x}: {result:?}");
            if let Err(error) = result {
                assert_eq!(error.reason_code(), ReasonCode::MalformedPacket, "{error}");
            }
            // What only one version forbids is all that `peek` leaves to `decode`.
            let is_left_to_decode = matches!(first_byte, 0x6A | 0x8A | 0xAA | 0xF0);
            assert_eq!(peek(&frame, 1_000).is_ok(), is_valid || is_left_to_decode, "{first_byte:#04x}");
        }
    }
}
