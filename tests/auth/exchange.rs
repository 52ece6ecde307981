//! The exchange between CONNECT and CONNACK.

use std::time::Duration;

use super::packets::{
    Connect, DISCONNECT, PINGREQ, PUBLISH, Publish, SUBSCRIBE, V5, V311, packet, subscribe,
};
use super::property::{PACKET_SIZE_MAX, four};
use super::scram::{METHOD, Scram};
use super::{auth, challenged, connect_by, connected, field, node};
use crate::node::TestNode;

/// [MQTT5-4.12.0-2] [MQTT5-4.12.0-5] [MQTT5-3.15.2-1]: and the client is a client like any other then.
#[test]
fn a_client_proves_itself_and_the_server_proves_itself_to_the_client() {
    let node = node(false);
    let mut peer = connected(&node, "fin", "feather");
    peer.subscribe("a", 1);
    peer.send(&Publish::new("a", "hello").qos(1, 5).bytes(V5));
    let mut lines = [peer.receive(), peer.receive()];
    lines.sort();
    assert_eq!(lines, ["PUBACK #5", "PUBLISH a \"hello\" q1 #1"]);
}

/// [MQTT5-4.12.0-4]
#[test]
fn who_proves_nothing_is_refused() {
    let node = node(true);
    for (user, password) in [("fin", "Feather"), ("fin", "down"), ("nobody", "feather")] {
        let (mut peer, server_first) = challenged(&node, user);
        peer.send(&auth(0x18, METHOD, &Scram::new(user, password).last(&server_first).message));
        peer.expect(&["CONNACK 0x87", "closed"]);
    }
    for first in ["", "n,,", "fin", "n,,n=fin,r=", "p=tls-exporter,,n=fin,r=abc"] {
        let mut peer = node.connecting(&connect_by(METHOD, first));
        peer.expect(&["CONNACK 0x87", "closed"]);
    }
    let only_method = Connect::new(V5, "client").property(field(super::AUTH_METHOD, METHOD.as_bytes()));
    node.connecting(&only_method).expect(&["CONNACK 0x87", "closed"]);
    // With a method, name and password do not count, right or wrong.
    let mut peer = node.connecting(&connect_by(METHOD, "").user_name("fin").password(b"feather"));
    peer.expect(&["CONNACK 0x87", "closed"]);
}

/// [MQTT5-4.12.0-1]
#[test]
fn an_unknown_method_is_refused() {
    let check = |node: &TestNode, method: &str| {
        let mut peer = node.connecting(&connect_by(method, &Scram::new("fin", "feather").first()));
        assert_eq!(peer.receive(), "CONNACK 0x8c", "{method:?}");
        peer.expect_closed();
    };
    let knows = node(true);
    for method in ["", "PLAIN", "SCRAM-SHA-1", "scram-sha-256", "SCRAM-SHA-256-PLUS"] {
        check(&knows, method);
    }
    // Without credentials there is nothing to check against.
    check(&TestNode::start(), METHOD);
}

/// [MQTT5-3.1.2-30] [MQTT5-4.12.0-3] [MQTT5-4.12.0-5] [MQTT5-4.13.1-1]
#[test]
fn during_the_exchange_only_auth_and_disconnect_are_taken() {
    let node = node(true);
    let last = |server_first: &str| Scram::new("fin", "feather").last(server_first).message;
    let check = |name: &str, answer: &str, packet: &dyn Fn(&str) -> Vec<u8>| {
        let (mut peer, server_first) = challenged(&node, "fin");
        // A right answer behind it does not help.
        peer.send(&[packet(&server_first), auth(0x18, METHOD, &last(&server_first))].concat());
        assert_eq!(peer.receive(), answer, "{name}");
        if answer != "closed" {
            peer.expect_closed();
        }
    };
    let error = "CONNACK 0x82";
    check("PINGREQ", error, &|_| PINGREQ.to_vec());
    check("PUBLISH", error, &|_| Publish::new("a", "").bytes(V5));
    check("SUBSCRIBE", error, &|_| subscribe(V5, 1, &[], &[("a", 0)]));
    check("CONNECT", error, &|_| Connect::new(V5, "client").bytes());
    check("CONNECT again", error, &|_| connect_by(METHOD, &Scram::new("fin", "").first()).bytes());
    check("SUBACK", error, &|_| packet(0x90, &[0, 1, 0, 0]));
    check("AUTH 0x19", error, &|it| auth(0x19, METHOD, &last(it)));
    check("AUTH 0x00", error, &|it| auth(0x00, METHOD, &last(it)));
    check("empty AUTH", error, &|_| packet(super::AUTH, &[]));
    check("AUTH without a method", error, &|_| packet(super::AUTH, &[0x18, 0]));
    check("AUTH of another method", error, &|it| auth(0x18, "SCRAM-SHA-1", &last(it)));
    check("AUTH with a code of others", error, &|it| auth(0x87, METHOD, &last(it)));
    // [MQTT5-3.15.1-1]
    check("AUTH with flags", "CONNACK 0x81", &|_| packet(super::AUTH | 1, &[]));
    check("PUBLISH at QoS 3", "CONNACK 0x81", &|_| packet(PUBLISH | 6, &[0, 1, b'a', 0, 1, 0]));
    check("SUBSCRIBE with flags", "CONNACK 0x81", &|_| packet(SUBSCRIBE & 0xF0, &[0, 1, 0]));
    check("DISCONNECT", "closed", &|_| packet(DISCONNECT, &[]));
}

/// [MQTT5-3.1.0-1]
#[test]
fn auth_is_no_first_packet() {
    let node = node(true);
    let mut peer = node.open(V5);
    peer.send(&auth(0x18, METHOD, &Scram::new("fin", "feather").first()));
    peer.expect_closed();
}

/// Bytes that dribble in win no time.
#[test]
fn an_exchange_ends_with_the_time_for_the_connect() {
    let node = node(true);
    let (mut peer, _) = challenged(&node, "fin");
    let mut bystander = connected(&node, "ann", "down");
    let whole = auth(0x18, METHOD, "c=biws");
    for byte in &whole[..12] {
        peer.send(&[*byte]);
        node.advance(Duration::from_secs(1));
    }
    peer.expect_closed();
    bystander.expect_silence();
}

/// [MQTT5-3.1.2-24]
#[test]
fn a_client_that_takes_no_packet_of_that_size_is_refused() {
    let node = node(true);
    let connect = connect_by(METHOD, &Scram::new("fin", "feather").first());
    node.connecting(&connect.property(four(PACKET_SIZE_MAX, 40))).expect(&["CONNACK 0x95", "closed"]);
}

/// An unknown name looks like a known one, every time the same.
#[test]
fn names_cannot_be_tried_out() {
    let node = node(true);
    let salt_and_rounds = |user: &str| {
        let (_, server_first) = challenged(&node, user);
        server_first.split_once(",s=").unwrap().1.to_owned()
    };
    assert_eq!(salt_and_rounds("nobody"), salt_and_rounds("nobody"));
    assert_ne!(salt_and_rounds("nobody"), salt_and_rounds("nobodz"));
    assert_eq!(salt_and_rounds("nobody").len(), salt_and_rounds("fin").len());
}

/// Versions before 5 have no AUTH.
#[test]
fn auth_means_nothing_to_older_clients() {
    let node = node(true);
    let mut peer = node.client(V311, "old");
    peer.send(&auth(0x19, METHOD, ""));
    peer.expect_closed();
}
