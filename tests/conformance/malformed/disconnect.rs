//! DISCONNECT and AUTH from a client.

use super::case::{Case, MALFORMED, PROTOCOL_ERROR, check, connected, in_older};
use super::connect_properties::broken_sections;
use crate::packets::{AUTH, DISCONNECT, V5, disconnect as bytes_of, packet, put_properties};
use crate::property::{
    AUTH_DATA, AUTH_METHOD, REASON_STRING, SERVER_REFERENCE, SESSION_EXPIRY, USER, four, text,
};

/// Codes that only a server may put into a DISCONNECT (table 3-10).
const OF_SERVERS: [u8; 16] =
    [0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2, 0x8C];

pub(super) fn disconnect() -> Vec<Case> {
    let case = |name: &str, bytes, code| connected(V5, &format!("DISCONNECT {name}"), bytes, code);
    let mut cases = Vec::new();
    for code in [0x03, 0x7F, 0xFF] {
        cases.push(case(
            &format!("with code {code:#04x}, which does not exist"),
            packet(DISCONNECT, &[code]),
            MALFORMED,
        ));
    }
    for code in [0x01, 0x02, 0x10, 0x11, 0x18, 0x84, 0x85, 0x86, 0x88, 0x8A, 0x91, 0x92] {
        let name = format!("with code {code:#04x} of other packets");
        cases.push(case(&name, packet(DISCONNECT, &[code]), PROTOCOL_ERROR));
    }
    for code in OF_SERVERS {
        cases.push(case(
            &format!("with code {code:#04x} of servers"),
            packet(DISCONNECT, &[code]),
            PROTOCOL_ERROR,
        ));
    }
    for (name, section, code) in broken_sections(&[SESSION_EXPIRY, REASON_STRING, SERVER_REFERENCE, USER]) {
        cases.push(case(&format!("with {name}"), bytes_of(0, &section), code));
    }
    cases.extend([
        case("with a Server Reference", bytes_of(0, &text(SERVER_REFERENCE, "elsewhere")), PROTOCOL_ERROR),
        case("that makes the session last", bytes_of(0, &four(SESSION_EXPIRY, 60)), PROTOCOL_ERROR),
        case("with a property length beyond the packet", packet(DISCONNECT, &[0, 9]), MALFORMED),
        case("with a byte after the properties", packet(DISCONNECT, &[0, 0, 0]), MALFORMED),
    ]);
    cases.extend(in_older("DISCONNECT with a body", |_| packet(DISCONNECT, &[0, 0])));
    cases
}

pub(super) fn auth() -> Vec<Case> {
    let bytes = |reason, section: &[u8]| {
        let mut body = vec![reason];
        put_properties(&mut body, V5, section);
        packet(AUTH, &body)
    };
    let method = text(AUTH_METHOD, "none");
    let case = |name: &str, bytes, code| connected(V5, &format!("AUTH {name}"), bytes, code);
    let mut cases = vec![
        case("without a method agreed on", bytes(0x18, &method), PROTOCOL_ERROR),
        case("again without a method agreed on", bytes(0x19, &method), PROTOCOL_ERROR),
        case("without a method", bytes(0x18, &[]), PROTOCOL_ERROR),
        case("of nothing", packet(AUTH, &[]), PROTOCOL_ERROR),
        case("with code 0x7f, which does not exist", bytes(0x7F, &method), MALFORMED),
        case("with code 0x87 of other packets", bytes(0x87, &method), PROTOCOL_ERROR),
        case("with a property length beyond the packet", packet(AUTH, &[0x18, 9]), MALFORMED),
    ];
    for (name, section, code) in broken_sections(&[AUTH_METHOD, AUTH_DATA, REASON_STRING, USER]) {
        cases.push(case(&format!("with {name}"), bytes(0x18, &section), code));
    }
    cases
}

/// [MQTT5-3.14.1-1] [MQTT5-3.14.2-1] [MQTT311-3.14.1-1] and section 3.14.2.2.2: a session that was to end with its
/// connection cannot be prolonged.
#[test]
fn disconnects_that_cannot_be_are_answered() {
    check(&disconnect());
}

/// [MQTT5-3.15.1-1] [MQTT5-3.15.2-1] [MQTT5-4.12.0-7]
#[test]
fn auth_that_was_not_agreed_on_ends_the_connection() {
    check(&auth());
}
