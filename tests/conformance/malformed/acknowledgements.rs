//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client.

use super::case::{Case, MALFORMED, PROTOCOL_ERROR, check, connected, in_all, in_older};
use super::connect_properties::broken_sections;
use crate::packets::{PUBACK, PUBCOMP, PUBREC, PUBREL, V5, packet, put_properties};
use crate::property::{REASON_STRING, USER};

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, first_byte, foreign) in [
        ("PUBACK", PUBACK, [0x01, 0x04, 0x11, 0x18, 0x81, 0x92, 0x8E]),
        ("PUBREC", PUBREC, [0x01, 0x04, 0x11, 0x18, 0x81, 0x92, 0x8E]),
        ("PUBREL", PUBREL, [0x01, 0x10, 0x11, 0x80, 0x87, 0x91, 0x97]),
        ("PUBCOMP", PUBCOMP, [0x01, 0x10, 0x11, 0x80, 0x87, 0x91, 0x97]),
    ] {
        let of = |what: &str| format!("{name} {what}");
        cases.extend(in_all(&of("without a body"), |_| packet(first_byte, &[]), MALFORMED));
        cases.extend(in_all(&of("of one byte"), |_| packet(first_byte, &[7]), MALFORMED));
        cases.extend(in_all(&of("for identifier 0"), |_| packet(first_byte, &[0, 0]), PROTOCOL_ERROR));
        cases.extend(in_older(&of("with two identifiers"), |_| packet(first_byte, &[0, 7, 0, 8])));
        let mut v5 = |what: &str, rest: &[u8], code| {
            let body = [&[0, 7][..], rest].concat();
            cases.push(connected(V5, &of(what), packet(first_byte, &body), code));
        };
        for code in [0x03, 0x7F, 0xFF] {
            v5(&format!("with code {code:#04x}, which does not exist"), &[code], MALFORMED);
        }
        for code in foreign {
            v5(&format!("with code {code:#04x} of other packets"), &[code], PROTOCOL_ERROR);
        }
        v5("with a property length beyond the packet", &[0, 9], MALFORMED);
        v5("with a property length that is not minimal", &[0, 0x80, 0], MALFORMED);
        v5("with a byte after the properties", &[0, 0, 0], MALFORMED);
        for (what, section, code) in broken_sections(&[REASON_STRING, USER]) {
            let mut rest = vec![0];
            put_properties(&mut rest, V5, &section);
            v5(&format!("with {what}"), &rest, code);
        }
    }
    cases
}

/// [MQTT5-2.2.1-5] [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1] [MQTT311-2.3.1-6]
#[test]
fn acknowledgements_that_cannot_be_end_the_connection() {
    check(&all());
}
