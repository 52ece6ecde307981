//! User Name and Password of CONNECT.

use super::node;
use super::packets::{Connect, Publish, V5, V31, V311, Version, subscribe};

/// User, password, and the answer of each version.
#[track_caller]
fn check(allow_anonymous: bool, cases: &[(Option<&str>, Option<&str>, [&str; 2])]) {
    let node = node(allow_anonymous);
    for (user, password, [answer_v3, answer_v5]) in cases {
        for version in [V31, V311, V5] {
            if version != V5 && user.is_none() && password.is_some() {
                continue; // Malformed there.
            }
            let mut connect = Connect::new(version, "client");
            connect.user_name = user.map(str::to_owned);
            connect.password = password.map(|password| password.as_bytes().to_vec());
            let answer = if version == V5 { answer_v5 } else { answer_v3 };
            let mut peer = node.connecting(&connect);
            let line = peer.receive();
            assert!(line.starts_with(answer), "{line}, not {answer}: {version:?} {user:?} {password:?}");
            if *answer == "CONNACK 0x00" {
                peer.expect_silence();
            } else {
                peer.expect_closed();
            }
        }
    }
}

const TAKEN: [&str; 2] = ["CONNACK 0x00"; 2];
const BAD: [&str; 2] = ["CONNACK 0x04", "CONNACK 0x86"];

#[test]
fn a_name_needs_its_password() {
    for allow_anonymous in [true, false] {
        check(
            allow_anonymous,
            &[
                (Some("fin"), Some("feather"), TAKEN),
                (Some("ann"), Some("down"), TAKEN),
                (Some("fin"), Some("down"), BAD),
                (Some("fin"), Some("feather "), BAD),
                (Some("fin"), Some("feather\0"), BAD),
                (Some("fin"), Some(""), BAD),
                (Some("fin"), None, BAD),
                (Some("nobody"), Some("feather"), BAD),
                (Some(""), Some("feather"), BAD),
                (None, Some("feather"), BAD),
            ],
        );
    }
}

#[test]
fn who_names_nobody_is_taken_where_that_is_allowed() {
    check(true, &[(None, None, TAKEN)]);
    check(false, &[(None, None, ["CONNACK 0x05", "CONNACK 0x87"])]);
}

fn by_password(version: Version, client_id: &str, password: &str) -> Connect {
    Connect::new(version, client_id).user_name("fin").password(password.as_bytes())
}

/// [MQTT5-3.1.4-5] [MQTT311-3.1.4-4] A client need not wait for its CONNACK, even while its password is checked.
#[test]
fn what_follows_a_connect_waits_for_the_check() {
    let node = node(true);
    for version in [V311, V5] {
        let mut bytes = by_password(version, "client", "feather").bytes();
        bytes.extend(subscribe(version, 7, &[], &[("a", 0)]));
        bytes.extend(Publish::new("a", "early").bytes(version));
        let mut half = Publish::new("a", "late").bytes(version);
        let rest = half.split_off(4);
        bytes.extend(half);
        let mut peer = node.open(version);
        peer.send(&bytes);
        assert!(peer.receive().starts_with("CONNACK 0x00"));
        peer.expect(&["SUBACK #7 [00]", "PUBLISH a \"early\" q0"]);
        peer.send(&rest);
        peer.expect(&["PUBLISH a \"late\" q0"]);
    }
}

/// [MQTT5-3.1.4-2] [MQTT5-3.1.4-6] [MQTT311-3.1.4-5]
#[test]
fn what_follows_a_refused_connect_is_not_done() {
    let node = node(true);
    let mut bystander = node.client(V5, "bystander");
    bystander.subscribe("#", 0);
    for version in [V31, V311, V5] {
        let mut bytes = by_password(version, "client", "down").bytes();
        bytes.extend(Publish::new("a", "early").bytes(version));
        let mut peer = node.open(version);
        peer.send(&bytes);
        let refused = if version == V5 { BAD[1] } else { BAD[0] };
        peer.expect(&[refused, "closed"]);
    }
    bystander.expect_silence();
}

/// Checks are slow on purpose: many of them at once must not hold up those who are in, and all are answered.
#[test]
fn a_flood_of_passwords_holds_up_nobody() {
    let node = node(true);
    let mut bystander = node.client(V5, "bystander");
    let mut waiting: Vec<_> = (0..100)
        .map(|n| {
            let password = if n % 10 == 0 { "feather" } else { "guess" };
            node.connecting(&by_password(V5, &format!("client{n}"), password))
        })
        .collect();
    // Some break off in the middle of it.
    waiting.truncate(80);
    bystander.expect_silence();
    for (n, peer) in waiting.iter_mut().enumerate() {
        let line = peer.receive();
        let expected = if n % 10 == 0 { "CONNACK 0x00" } else { "CONNACK 0x86" };
        assert!(line.starts_with(expected), "{n}: {line}");
    }
}

/// The node stops although checks are under way and clients wait for them.
#[test]
fn a_node_stops_in_the_middle_of_checks() {
    let node = node(true);
    let mut waiting: Vec<_> =
        (0..50).map(|n| node.connecting(&by_password(V5, &format!("client{n}"), "guess"))).collect();
    drop(node);
    for peer in &mut waiting {
        while peer.receive() != "closed" {}
    }
}
