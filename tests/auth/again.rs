//! Re-authentication of a connected client.

use super::packets::{Connect, Publish, V5};
use super::scram::{METHOD, Scram};
use super::{auth, challenge, connected, node};
use crate::peer::Peer;

/// The answer to the last message of a new exchange of this user.
#[track_caller]
fn again(peer: &mut Peer, user: &str, password: &str) -> (String, String) {
    let scram = Scram::new(user, password);
    peer.send(&auth(0x19, METHOD, &scram.first()));
    let last = scram.last(&challenge(peer));
    peer.send(&auth(0x18, METHOD, &last.message));
    (peer.receive(), last.answer)
}

/// [MQTT5-4.12.0-5] [MQTT5-4.12.1-1] [MQTT5-3.15.2-1]; and no Reason String or User Property that could be too large
/// [MQTT5-3.15.2-2] [MQTT5-3.15.2-3].
#[test]
fn a_client_may_prove_itself_again_and_again() {
    let node = node(false);
    let mut peer = connected(&node, "fin", "feather");
    for _ in 0..3 {
        let (line, answer) = again(&mut peer, "fin", "feather");
        assert_eq!(line, format!("AUTH 0x00 auth-method=SCRAM-SHA-256 auth-data={answer}"));
    }
    peer.say("a", "still here", 0);
}

#[test]
fn packets_go_on_during_a_new_exchange() {
    let node = node(true);
    let mut peer = connected(&node, "fin", "feather");
    let mut other = node.client(V5, "other");
    peer.subscribe("a", 1);
    let scram = Scram::new("fin", "feather");
    peer.send(&auth(0x19, METHOD, &scram.first()));
    let server_first = challenge(&mut peer);
    other.say("a", "from outside", 0);
    peer.expect(&["PUBLISH a \"from outside\" q0"]);
    peer.send(&Publish::new("b", "").bytes(V5));
    peer.expect_silence();
    let last = scram.last(&server_first);
    peer.send(&auth(0x18, METHOD, &last.message));
    peer.expect(&[&format!("AUTH 0x00 auth-method=SCRAM-SHA-256 auth-data={}", last.answer)]);
}

/// [MQTT5-4.12.1-2]
#[test]
fn who_fails_to_do_it_again_is_disconnected() {
    let node = node(true);
    let mut bystander = node.client(V5, "bystander");
    // Ann proves to be Ann, but the session is not hers.
    for (user, password) in [("fin", "Feather"), ("nobody", "feather"), ("ann", "down")] {
        let mut peer = connected(&node, "fin", "feather");
        let (line, _) = again(&mut peer, user, password);
        assert_eq!(line, "DISCONNECT 0x87", "{user}");
        peer.expect_closed();
    }
    let mut peer = connected(&node, "fin", "feather");
    peer.send(&auth(0x19, METHOD, "nonsense"));
    peer.expect(&["DISCONNECT 0x87", "closed"]);
    bystander.expect_silence();
}

/// [MQTT5-4.12.0-3] [MQTT5-4.12.0-5] [MQTT5-4.12.1-1]
#[test]
fn a_new_exchange_has_its_order_and_one_method() {
    let node = node(true);
    let first = Scram::new("fin", "feather").first();
    let check = |packets: &[Vec<u8>], answer: &str| {
        let mut peer = connected(&node, "fin", "feather");
        for (n, packet) in packets.iter().enumerate() {
            peer.send(packet);
            if n + 1 < packets.len() {
                challenge(&mut peer);
            }
        }
        assert_eq!(peer.receive(), answer, "{packets:02x?}");
        peer.expect_closed();
    };
    check(&[auth(0x18, METHOD, &first)], "DISCONNECT 0x82");
    check(&[auth(0x00, METHOD, &first)], "DISCONNECT 0x82");
    check(&[auth(0x19, "SCRAM-SHA-1", &first)], "DISCONNECT 0x82");
    check(&[auth(0x19, METHOD, &first), auth(0x19, METHOD, &first)], "DISCONNECT 0x82");
    check(&[auth(0x19, METHOD, &first), auth(0x18, "PLAIN", "c=biws")], "DISCONNECT 0x82");
    check(&[auth(0x19, METHOD, &first), auth(0x18, METHOD, "c=biws")], "DISCONNECT 0x87");
}

/// [MQTT5-4.12.0-6] [MQTT5-4.12.0-7]
#[test]
fn who_connected_without_a_method_sends_no_auth() {
    let node = node(true);
    let by_password = Connect::new(V5, "client").user_name("fin").password(b"feather");
    for connect in [Connect::new(V5, "client"), by_password] {
        let mut peer = node.connecting(&connect);
        let connack = peer.receive();
        assert!(connack.starts_with("CONNACK 0x00") && !connack.contains("auth-"), "{connack}");
        peer.send(&auth(0x19, METHOD, &Scram::new("fin", "feather").first()));
        peer.expect_refusal(0x82);
    }
}
