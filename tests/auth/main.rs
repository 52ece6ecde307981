//! Authentication over a real socket: AUTH exchanges before and after CONNACK, and plain passwords.
#![expect(clippy::disallowed_methods, reason = "tests drive a node from threads of their own, in real time")]

mod again;
mod exchange;
#[path = "../conformance/node.rs"]
#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod node;
#[path = "../conformance/packets.rs"]
#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod packets;
mod password;
#[path = "../conformance/peer.rs"]
#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod peer;
#[path = "../conformance/property.rs"]
#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod property;
mod scram;
#[path = "../conformance/text.rs"]
mod text;

use std::io::Write as _;

use flockmq::auth::{Password, Verifier};
use node::TestNode;
use packets::{AUTH, Connect, V5, packet, put_properties};
use peer::Peer;
use property::{AUTH_DATA, AUTH_METHOD};
use scram::{METHOD, Scram};

/// Users and their passwords, on every node of these tests.
const USERS: [(&str, &str); 2] = [("fin", "feather"), ("ann", "down")];

/// A node that knows [`USERS`].
fn node(allow_anonymous: bool) -> TestNode {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (user, password) in USERS {
        let password = Password::parse(password.as_bytes()).unwrap();
        let verifier = Verifier::new(&password, &[7; 16], 4_096.try_into().unwrap());
        writeln!(file, "{user}:{}", verifier.text()).unwrap();
    }
    // Read at the start, so it may go when this returns.
    TestNode::with(|config| {
        config.auth.allow_anonymous = allow_anonymous;
        config.auth.password_file = Some(file.path().to_owned());
    })
}

/// A property with a text or with bytes.
fn field(id: u8, bytes: &[u8]) -> Vec<u8> {
    let mut property = vec![id];
    packets::put_binary(&mut property, bytes);
    property
}

/// An AUTH with a method and data.
fn auth(reason: u8, method: &str, data: &str) -> Vec<u8> {
    let mut body = vec![reason];
    let properties = [field(AUTH_METHOD, method.as_bytes()), field(AUTH_DATA, data.as_bytes())].concat();
    put_properties(&mut body, V5, &properties);
    packet(AUTH, &body)
}

/// A CONNECT with a method and data.
fn connect_by(method: &str, data: &str) -> Connect {
    Connect::new(V5, "client")
        .property(field(AUTH_METHOD, method.as_bytes()))
        .property(field(AUTH_DATA, data.as_bytes()))
}

/// The data of the AUTH that the server sends next, which asks for more.
#[track_caller]
fn challenge(peer: &mut Peer) -> String {
    let line = peer.receive();
    let data = line.strip_prefix("AUTH 0x18 auth-method=SCRAM-SHA-256 auth-data=");
    data.unwrap_or_else(|| panic!("{line}")).to_owned()
}

/// A client whose CONNECT waits for its last message, and the server's first.
#[track_caller]
fn challenged(node: &TestNode, user: &str) -> (Peer, String) {
    let mut peer = node.connecting(&connect_by(METHOD, &Scram::new(user, "").first()));
    let server_first = challenge(&mut peer);
    (peer, server_first)
}

/// A client that has proven itself by SCRAM, behind its CONNACK.
#[track_caller]
fn connected(node: &TestNode, user: &str, password: &str) -> Peer {
    let (mut peer, server_first) = challenged(node, user);
    let last = Scram::new(user, password).last(&server_first);
    peer.send(&auth(0x18, METHOD, &last.message));
    let connack = peer.receive();
    assert!(connack.starts_with("CONNACK 0x00 "), "{connack}");
    let ending = format!(" auth-method=SCRAM-SHA-256 auth-data={}", last.answer);
    assert!(connack.contains(&ending), "{connack}");
    peer
}
