//! One node with two listeners: each has limits of its own, and sessions go from one to the other.

use std::time::Duration;

use flockmq::server::Listener;
use flockmq::session::Settings;

use crate::node::TestNode;
use crate::packets::{self, Connect, Publish, V5, V31, V311};
use crate::peer::Peer;
use crate::property::{SUBSCRIPTION_ID, TOPIC_ALIAS, two, varint};

/// The listener with the default limits.
const WIDE: usize = 0;
/// The one that a test changes.
const NARROW: usize = 1;

fn node(limit: impl FnOnce(&mut Settings)) -> TestNode {
    node_behind(|listener| limit(listener.session.insert(Settings::default())))
}

fn node_behind(change: impl FnOnce(&mut Listener)) -> TestNode {
    TestNode::with(|config| {
        let mut listener = Listener::new(config.server.listeners[WIDE].bind);
        change(&mut listener);
        config.server.listeners.push(listener);
    })
}

/// A client that is accepted there, and whether it found its session.
#[track_caller]
fn connect(node: &TestNode, listener: usize, connect: &Connect) -> (Peer, bool) {
    let mut peer = node.connecting_through(listener, connect);
    let connack = peer.receive();
    assert!(connack.starts_with("CONNACK 0x00"), "{connack}");
    (peer, connack.contains("present"))
}

#[track_caller]
fn client(node: &TestNode, listener: usize) -> Peer {
    connect(node, listener, &Connect::new(V5, "client")).0
}

#[track_caller]
fn resume(node: &TestNode, listener: usize) -> Peer {
    let (peer, is_present) = connect(node, listener, &Connect::lasting(V5, "client"));
    assert!(is_present, "the session is there");
    peer
}

/// [MQTT5-3.2.2-9] [MQTT5-3.2.2-15] and section 3.2.2.3: what a client hears and what it is held to are those of its
/// listener.
#[test]
fn each_listener_announces_and_keeps_its_own_limits() {
    let node = node(|limits| {
        limits.set_qos_max(1);
        limits.packet_size_max = 200;
        limits.receive_maximum = 2;
        limits.topic_alias_maximum = 3;
        limits.keep_alive_max = 30;
        limits.client_id_len_max = 30;
        limits.subscriptions_max = 1;
        limits.retain_available = false;
        limits.shared_available = false;
        limits.wildcard_available = false;
        limits.subscription_ids_available = false;
    });
    let connack =
        |listener| node.connecting_through(listener, &Connect::new(V5, "asking").keep_alive(100)).receive();
    let told = [
        "maximum-qos=1",
        "packet-size=200",
        "receive-maximum=2",
        "alias-maximum=3",
        "keep-alive=30",
        "retain-available=0",
        "shared-available=0",
        "wildcard-available=0",
        "subscription-id-available=0",
    ];
    for line in told {
        for (listener, is_told) in [(NARROW, true), (WIDE, false)] {
            let connack = connack(listener);
            assert_eq!(connack.split(' ').any(|word| word == line), is_told, "{line}: {connack}");
        }
    }
    let long = "x".repeat(31);
    assert_eq!(node.connecting_through(NARROW, &Connect::new(V5, &long)).receive(), "CONNACK 0x85");
    connect(&node, WIDE, &Connect::new(V5, &long));

    let cases = [
        (0x9B, Publish::new("a", "x").qos(2, 1).bytes(V5)),
        (0x95, Publish::new("a", &"x".repeat(200)).bytes(V5)),
        (0x94, Publish::new("a", "x").property(two(TOPIC_ALIAS, 4)).bytes(V5)),
        (0x9A, Publish::new("a", "x").retained().bytes(V5)),
        (0x9E, packets::subscribe(V5, 1, &[], &[("$share/g/a", 0)])),
        (0xA2, packets::subscribe(V5, 1, &[], &[("a/+", 0)])),
        (0xA1, packets::subscribe(V5, 1, &varint(SUBSCRIPTION_ID, 1), &[("a", 0)])),
    ];
    for (code, packet) in cases {
        let mut narrow = client(&node, NARROW);
        narrow.send(&packet);
        narrow.expect_refusal(code);
        let mut wide = client(&node, WIDE);
        wide.send(&[&packet[..], &packets::packet(packets::DISCONNECT, &[])].concat());
        let heard = wide.until_closed(Duration::from_secs(20));
        assert!(!heard.iter().any(|line| line.starts_with("DISCONNECT")), "{code:#04x}: {heard:?}");
    }
    for (listener, codes) in [(NARROW, "00 97"), (WIDE, "00 00")] {
        let mut peer = client(&node, listener);
        peer.send(&packets::subscribe(V5, 1, &[], &[("a", 0), ("b", 0)]));
        peer.expect(&[&format!("SUBACK #1 [{codes}]")]);
    }
}

/// Section 3.2.2.3.5: a message of a 3.x client is kept where its listener keeps messages.
#[test]
fn what_is_retained_is_the_publishers_listeners_choice() {
    let node = node(|limits| limits.retain_available = false);
    for version in [V31, V311] {
        for (listener, is_kept) in [(NARROW, false), (WIDE, true)] {
            let topic = format!("{version:?}/{listener}");
            let (mut publisher, _) = connect(&node, listener, &Connect::new(version, "publisher"));
            publisher.publish(Publish::new(&topic, "x").qos(1, 0).retained());
            let mut reader = client(&node, WIDE);
            reader.subscribe(&topic, 0);
            if is_kept {
                reader.expect(&[&format!("PUBLISH {topic} \"x\" q0 retain")]);
            }
            reader.expect_silence();
        }
    }
}

/// What waits and exceeds the new listener's bound goes by its rule; what is sent at once does not count.
#[test]
fn a_resumed_session_has_the_queue_of_its_new_listener() {
    for (drops_oldest, left) in [(false, ["2", "3"]), (true, ["5", "6"])] {
        let node = node(|limits| {
            limits.inflight_max = 1;
            limits.queue_len_max = 2;
            limits.queue_drops_oldest = drops_oldest;
        });
        let (mut peer, _) = connect(&node, WIDE, &Connect::lasting(V5, "client"));
        peer.subscribe("a", 1);
        peer.disconnect();
        let mut publisher = node.client(V5, "publisher");
        let mut say = |payloads: [&str; 6]| payloads.map(|payload| publisher.say("a", payload, 1));
        say(["1", "2", "3", "4", "5", "6"]);
        let mut peer = resume(&node, NARROW);
        for (id, payload) in (1..).zip(["1", left[0], left[1]]) {
            peer.expect(&[&format!("PUBLISH a \"{payload}\" q1 #{id}")]);
            peer.puback(id);
        }
        peer.expect_silence();
        // A client that is away keeps the limits that it had last.
        peer.disconnect();
        say(["1", "2", "3", "4", "5", "6"]);
        let mut peer = resume(&node, WIDE);
        let left = if drops_oldest { ["5", "6"] } else { ["1", "2"] };
        for (id, payload) in (4..).zip(left) {
            peer.expect(&[&format!("PUBLISH a \"{payload}\" q1 #{id}")]);
        }
        peer.expect_silence();
    }
}

/// [MQTT5-4.4.0-1]: more than the new window holds is sent again as it opens, in its order.
#[test]
fn a_resumed_session_has_the_window_of_its_new_listener() {
    let node = node(|limits| limits.inflight_max = 2);
    let (mut peer, _) = connect(&node, WIDE, &Connect::lasting(V5, "client"));
    peer.subscribe("a", 1);
    let mut publisher = node.client(V5, "publisher");
    for id in 1..=5 {
        publisher.say("a", "x", 1);
        peer.expect(&[&format!("PUBLISH a \"x\" q1 #{id}")]);
    }
    peer.die();
    let mut peer = resume(&node, NARROW);
    let again = |id| format!("PUBLISH a \"x\" q1 #{id} dup");
    peer.expect(&[&again(1), &again(2)]);
    for id in 3..=5 {
        peer.expect_silence();
        peer.puback(id - 2);
        peer.expect(&[&again(id)]);
    }
    publisher.say("a", "y", 1);
    peer.expect_silence();
    peer.puback(4);
    peer.expect(&["PUBLISH a \"y\" q1 #6"]);
}

/// [MQTT5-3.3.4-7] and section 4.9: the client's window is the new connection's; what an earlier one has not released
/// takes nothing of it.
#[test]
fn a_resumed_session_has_the_receive_maximum_of_its_new_listener() {
    let node = node(|limits| limits.receive_maximum = 2);
    let (mut peer, _) = connect(&node, WIDE, &Connect::lasting(V5, "client"));
    let publish = |id| Publish::new("a", "x").qos(2, id);
    for id in 1..=5 {
        peer.send(&publish(id).bytes(V5));
        peer.expect(&[&format!("PUBREC #{id} 0x10")]);
    }
    peer.die();
    let mut peer = resume(&node, NARROW);
    peer.send(&publish(5).dup().bytes(V5));
    peer.expect(&["PUBREC #5"]);
    for id in [6, 7] {
        peer.send(&publish(id).bytes(V5));
        peer.expect(&[&format!("PUBREC #{id} 0x10")]);
    }
    for id in 1..=5 {
        peer.pubrel(id);
        peer.expect(&[&format!("PUBCOMP #{id}")]);
    }
    peer.send(&publish(8).bytes(V5));
    peer.expect_refusal(0x93);
}

/// What was granted stays; what is asked for from then on is measured anew.
#[test]
fn a_resumed_session_keeps_its_subscriptions() {
    let node = node(|limits| {
        limits.subscriptions_max = 1;
        limits.wildcard_available = false;
        limits.set_qos_max(0);
    });
    let (mut peer, _) = connect(&node, WIDE, &Connect::lasting(V5, "client"));
    peer.subscribe("a/+", 1);
    peer.subscribe("b", 1);
    peer.disconnect();
    let mut peer = resume(&node, NARROW);
    let mut publisher = node.client(V5, "publisher");
    publisher.say("a/1", "x", 1);
    peer.expect(&["PUBLISH a/1 \"x\" q1 #1"]);
    peer.puback(1);
    peer.send(&packets::subscribe(V5, 1, &[], &[("c", 0), ("b", 1)]));
    peer.expect(&["SUBACK #1 [97 00]"]);
    publisher.say("b", "x", 1);
    peer.expect(&["PUBLISH b \"x\" q0"]);
    peer.disconnect();
    resume(&node, WIDE).subscribe("c", 1);
}

/// A listener that is full takes nobody else until somebody leaves; the other one is not concerned.
#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let node = node_behind(|listener| listener.connections_max = 2);
    let (first, _) = connect(&node, NARROW, &Connect::new(V5, "first"));
    let (mut second, _) = connect(&node, NARROW, &Connect::new(V5, "second"));
    node.advance_secs(5);
    node.connecting_through(NARROW, &Connect::new(V5, "third")).expect_closed();
    connect(&node, WIDE, &Connect::new(V5, "third"));
    second.expect_silence();
    first.die();
    // The node learns of the end in its own time.
    let mut attempts =
        (0..10_000).map(|_| node.connecting_through(NARROW, &Connect::new(V5, "fourth")).receive());
    assert!(attempts.any(|answer| answer.starts_with("CONNACK 0x00")), "there is a place again");
}

/// Silent connections fill a listener's places for handshakes, and do not keep them.
#[test]
fn silent_connections_do_not_keep_clients_out() {
    let cases: [fn(&mut Listener); 2] =
        [|listener| listener.handshakes_max = 3, |listener| listener.connections_max = 3];
    for limit in cases {
        let node = node_behind(limit);
        let silent = || Peer::open(node.addresses[NARROW], V5);
        let mut all = [silent(), silent(), silent()];
        // Within its first second nobody is put out; the other listener is not concerned.
        node.connecting_through(NARROW, &Connect::new(V5, "early")).expect_closed();
        connect(&node, WIDE, &Connect::new(V5, "early"));
        node.advance_secs(1);
        let (mut client, _) = connect(&node, NARROW, &Connect::new(V5, "client"));
        all[0].expect_closed();
        // The others are still awaited, and become clients when they say so.
        all[1].send(&Connect::new(V5, "late").bytes());
        assert!(all[1].receive().starts_with("CONNACK 0x00"));
        client.expect_silence();
        node.advance_secs(10);
        all[2].expect_closed();
    }
}

/// Who is in the middle of its CONNECT is awaited like one that is silent.
#[test]
fn a_connect_that_trickles_in_keeps_no_place() {
    let node = node_behind(|listener| listener.handshakes_max = 1);
    let mut slow = Peer::open(node.addresses[NARROW], V5);
    let bytes = Connect::new(V5, "slow").bytes();
    slow.send(&bytes[..bytes.len() - 1]);
    node.connecting_through(NARROW, &Connect::new(V5, "early")).expect_closed();
    node.advance_secs(1);
    let (mut client, _) = connect(&node, NARROW, &Connect::new(V5, "client"));
    slow.expect_closed();
    slow.send(&bytes[bytes.len() - 1..]);
    client.expect_silence();
}
