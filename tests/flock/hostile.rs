//! Bytes that no client should send, at the MQTT port: the node lives, closes, forgets, and serves the others.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::chance::Chance;
use crate::support::flock::Flock;
use crate::support::mqtt::{Client, Options, Version, is_timeout};
use crate::support::wire::{self, packet};
use crate::support::{PATIENCE, wait_until};

const STRINGS: usize = 10_000;
const THREADS: usize = 4;

/// What the process may grow by between the first strings and the last.
const GROWTH_BYTES_MAX: u64 = 32 * 1_024 * 1_024;

#[test]
fn ten_thousand_hostile_strings_leave_the_node_and_its_other_clients_unharmed() {
    let mut flock = Flock::start(2);
    let target = flock.nodes[0].mqtt();
    let neighbour = flock.nodes[1].mqtt();
    let over = AtomicBool::new(false);
    let (exchanged, warm_bytes) = thread::scope(|scope| {
        let bystanders = scope.spawn(|| exchange_until(&over, target, neighbour));
        // The first strings also grow what stays: buffers, arenas, threads.
        throw(target, 0, STRINGS / 5);
        let warm_bytes = flock.nodes[0].resident_bytes();
        throw(target, STRINGS / 5, STRINGS);
        over.store(true, Ordering::Relaxed);
        (bystanders.join().expect("the other clients were not harmed"), warm_bytes)
    });
    assert!(exchanged > 0, "the other clients exchanged messages meanwhile");
    flock.nodes[0].assert_alive();
    let node = &flock.nodes[0];
    wait_until(
        "every connection is given back",
        PATIENCE,
        || node.metric("flockmq_connections"),
        |&connections| connections < 1.0,
    );
    let bytes = node.resident_bytes();
    assert!(bytes < warm_bytes + GROWTH_BYTES_MAX, "grew from {warm_bytes} to {bytes} bytes");
}

/// Two clients of the node under fire and one of its neighbour pass numbers around, until it is over.
fn exchange_until(over: &AtomicBool, target: SocketAddr, neighbour: SocketAddr) -> usize {
    let options = |name: &str| Options::new(Version::V311, name);
    let mut here = Client::connect(target, &options("a bystander with a long name, here"));
    let mut there = Client::connect(neighbour, &options("a bystander with a long name, there"));
    here.subscribe("bystanders/to here", 1);
    there.subscribe("bystanders/to there", 1);
    let mut number: usize = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let payload = number.to_string().into_bytes();
        here.publish("bystanders/to there", &payload, 1);
        assert_eq!(there.expect_message().payload, payload);
        there.publish("bystanders/to here", &payload, 1);
        assert_eq!(here.expect_message().payload, payload);
    }
    here.disconnect();
    there.disconnect();
    number
}

fn throw(target: SocketAddr, from: usize, until: usize) {
    let next = AtomicUsize::new(from);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= until {
                        return;
                    }
                    throw_one(target, seed);
                }
            });
        }
    });
}

fn throw_one(target: SocketAddr, seed: usize) {
    let mut chance = Chance::new(seed as u64);
    let version = Version::ALL[chance.below(3)];
    let options = Options::new(version, &format!("hostile {}", seed % 64));
    let mut stream = match seed % 3 {
        0 => TcpStream::connect(target).expect("the node accepts"),
        _ => introduced(target, &options),
    };
    let bytes = hostile_bytes(&mut chance, version, &options);
    // The node may close before it has read everything.
    let _ = stream.write_all(&bytes);
    let _ = stream.shutdown(Shutdown::Write);
    assert!(is_closed(&mut stream), "seed {seed}: the connection stays open after {bytes:02x?}");
}

/// A connection on which CONNECT was accepted.
fn introduced(target: SocketAddr, options: &Options) -> TcpStream {
    let mut stream = TcpStream::connect(target).expect("the node accepts");
    stream.write_all(&options.connect_packet()).expect("the node reads");
    let mut header = [0; 2];
    stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    // A thread that uses the same Client Identifier may already have taken over: then this is already closed.
    if stream.read_exact(&mut header).is_ok() {
        assert_eq!(header[0], wire::CONNACK, "the answer to CONNECT is CONNACK");
    }
    stream
}

fn hostile_bytes(chance: &mut Chance, version: Version, options: &Options) -> Vec<u8> {
    let mut bytes = Vec::new();
    match chance.below(4) {
        // Noise.
        0 => bytes = chance.bytes(400),
        // A real packet type with a noise body.
        1 => {
            let first_byte = chance.byte();
            bytes = packet(first_byte, &chance.bytes(300));
        }
        // Valid packets, damaged.
        _ => {
            let good = valid_packets(version, options);
            for _ in 0..=chance.below(3) {
                bytes.extend_from_slice(&good[chance.below(good.len())]);
            }
            chance.damage(&mut bytes);
        }
    }
    bytes
}

/// One of each packet that a client may send.
fn valid_packets(version: Version, options: &Options) -> Vec<Vec<u8>> {
    let with_properties = |mut body: Vec<u8>, properties: &[u8], rest: &[u8]| {
        wire::properties(&mut body, version, properties);
        body.extend_from_slice(rest);
        body
    };
    let id = vec![0, 7];
    let will = options.clone().will("hostile/will", b"gone", 1).persistent();
    vec![
        options.connect_packet(),
        will.connect_packet(),
        packet(wire::PUBLISH, &with_properties(b"\0\x09hostile/a".to_vec(), &[0x01, 1], b"text")),
        packet(
            wire::PUBLISH | 0x03,
            &with_properties(b"\0\x09hostile/b\0\x05".to_vec(), &[0x26, 0, 1, b'k', 0, 1, b'v'], b"kept"),
        ),
        packet(
            wire::PUBLISH | 0x04,
            &with_properties(b"\0\x09hostile/c\0\x06".to_vec(), &[0x02, 0, 0, 0, 9], &[0xFF; 200]),
        ),
        packet(
            wire::SUBSCRIBE,
            &with_properties(id.clone(), &[0x0B, 1], b"\0\x0bhostile/+/#\x02\0\x01x\x00"),
        ),
        packet(wire::SUBSCRIBE, &with_properties(id.clone(), &[], b"\0\x10$share/g/hostile\x01")),
        packet(wire::UNSUBSCRIBE, &with_properties(id.clone(), &[], b"\0\x0bhostile/+/#")),
        packet(wire::PUBACK, &id),
        packet(wire::PUBREC, &id),
        packet(wire::PUBREL, &id),
        packet(wire::PUBCOMP, &id),
        packet(wire::PINGREQ, &[]),
        packet(wire::DISCONNECT, &[]),
    ]
}

/// Reads until the node closes or resets.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    let mut buffer = [0; 4_096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !is_timeout(&error),
        }
    }
}

/// A fault and the bytes that have it, sent as the first thing on a connection.
const BAD_BEGINNINGS: [(&str, &[u8]); 9] = [
    ("PINGREQ before CONNECT", &[0xC0, 0x00]),
    ("PUBLISH before CONNECT", b"\x30\x04\0\x01ax"),
    ("packet type 0", &[0x00, 0x00]),
    ("a remaining length of five bytes", &[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
    ("flags in CONNECT's first byte", b"\x11\x0d\0\x04MQTT\x04\x02\0\0\0\x01a"),
    ("an unknown protocol name", b"\x10\x0d\0\x04MQTX\x04\x02\0\0\0\x01a"),
    ("CONNECT's reserved flag", b"\x10\x0d\0\x04MQTT\x04\x03\0\0\0\x01a"),
    ("a will QoS without a will", b"\x10\x0d\0\x04MQTT\x04\x0a\0\0\0\x01a"),
    ("a body that ends inside the Client Identifier", b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x05a"),
];

#[test]
fn a_connection_that_begins_wrongly_is_closed() {
    let flock = Flock::start(1);
    for (fault, bytes) in BAD_BEGINNINGS {
        let mut stream = TcpStream::connect(flock.nodes[0].mqtt()).expect("the node accepts");
        stream.write_all(bytes).expect("the node reads");
        assert!(is_closed(&mut stream), "{fault}: the connection stays open");
    }
}

/// A fault and the bytes that have it, sent after CONNECT in MQTT 3.1.1.
const BAD_PACKETS_V311: [(&str, &[u8]); 22] = [
    ("a second CONNECT", b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01a"),
    ("CONNACK from a client", &[0x20, 0x02, 0x00, 0x00]),
    ("SUBACK from a client", &[0x90, 0x03, 0x00, 0x01, 0x00]),
    ("UNSUBACK from a client", &[0xB0, 0x02, 0x00, 0x01]),
    ("PINGRESP from a client", &[0xD0, 0x00]),
    ("packet type 15 before version 5", &[0xF0, 0x00]),
    ("flags in PINGREQ", &[0xC1, 0x00]),
    ("a body in PINGREQ", &[0xC0, 0x01, 0x00]),
    ("flags in DISCONNECT", &[0xE1, 0x00]),
    ("PUBREL without its flags", &[0x60, 0x02, 0x00, 0x01]),
    ("SUBSCRIBE without its flags", b"\x80\x06\0\x01\0\x01a\0"),
    ("SUBSCRIBE without a filter", &[0x82, 0x02, 0x00, 0x01]),
    ("SUBSCRIBE with Packet Identifier 0", b"\x82\x06\0\0\0\x01a\0"),
    ("SUBSCRIBE with QoS 3", b"\x82\x06\0\x01\0\x01a\x03"),
    ("UNSUBSCRIBE without a filter", &[0xA2, 0x02, 0x00, 0x01]),
    ("PUBLISH with QoS 3", b"\x36\x06\0\x01a\0\x01x"),
    ("PUBLISH with Packet Identifier 0", b"\x32\x06\0\x01a\0\0x"),
    ("PUBLISH to a wildcard", b"\x30\x05\0\x03a/#"),
    ("PUBLISH to nothing", &[0x30, 0x02, 0x00, 0x00]),
    ("PUBLISH to ill-formed UTF-8", &[0x30, 0x04, 0x00, 0x02, 0xC3, 0x28]),
    ("PUBLISH to U+0000", &[0x30, 0x03, 0x00, 0x01, 0x00]),
    ("a topic longer than the packet", &[0x30, 0x03, 0x00, 0x09, b'a']),
];

#[test]
fn a_client_that_breaks_the_protocol_is_closed() {
    let flock = Flock::start(1);
    for (fault, bytes) in BAD_PACKETS_V311 {
        let mut client = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V311, "breaker"));
        client.send(bytes);
        assert!(client.wait_closed(PATIENCE), "{fault}: the connection stays open");
    }
}

/// A fault, the bytes that have it, and the reason code of the DISCONNECT that must follow, in MQTT 5.
const BAD_PACKETS_V5: [(&str, &[u8], u8); 9] = [
    ("a second CONNECT", b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01a", 0x82),
    ("flags in PINGREQ", &[0xC1, 0x00], 0x81),
    ("PUBLISH with QoS 3", b"\x36\x07\0\x01a\0\x01\0x", 0x81),
    ("a property of another packet", &[0x30, 0x06, 0x00, 0x01, b'a', 0x02, 0x21, 0x00], 0x81),
    ("a property given twice", &[0x30, 0x08, 0x00, 0x01, b'a', 0x04, 0x01, 0x00, 0x01, 0x00], 0x82),
    ("a Topic Alias of 0", &[0x30, 0x07, 0x00, 0x01, b'a', 0x03, 0x23, 0x00, 0x00], 0x94),
    ("a Subscription Identifier from a client", &[0x30, 0x06, 0x00, 0x01, b'a', 0x02, 0x0B, 0x01], 0x82),
    ("No Local on a shared subscription", b"\x82\x10\0\x01\0\0\x0a$share/g/a\x04", 0x82),
    ("AUTH that was not agreed", &[0xF0, 0x00], 0x82),
];

#[test]
fn an_mqtt_5_client_that_breaks_the_protocol_is_told_why() {
    let flock = Flock::start(1);
    for (fault, bytes, reason) in BAD_PACKETS_V5 {
        let mut client = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "breaker"));
        client.send(bytes);
        assert!(client.wait_closed(PATIENCE), "{fault}: the connection stays open");
        assert_eq!(client.disconnect_reason, Some(reason), "{fault}");
    }
}

/// A large announced length costs the sender, not the node.
#[test]
fn announced_lengths_are_not_allocated() {
    const CONNECTIONS: usize = 200;
    let flock = Flock::start(1);
    let node = &flock.nodes[0];
    let before = node.resident_bytes();
    let streams: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(node.mqtt()).expect("the node accepts");
            // The node may refuse the length at once and close.
            let _ = stream.write_all(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F, 0x00]);
            stream
        })
        .collect();
    // A client that comes after them is served after them: their bytes were looked at.
    let mut client = Client::connect(node.mqtt(), &Options::new(Version::V5, "after them"));
    client.ping();
    let grown = node.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX / 2, "{CONNECTIONS} announcements cost {grown} bytes");
    drop(streams);
}

/// Half a CONNECT and then nothing: the door closes on its own timer.
#[test]
fn a_connection_without_connect_is_closed() {
    let flock = Flock::start(1);
    let mut stream = TcpStream::connect(flock.nodes[0].mqtt()).expect("the node accepts");
    stream.write_all(&[0x10]).expect("the node reads");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("the time is not zero");
    let closed = match stream.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => !is_timeout(&error),
    };
    assert!(closed, "the connection stays open");
}

/// [MQTT5-3.1.2-22]: a packet counts, not a byte.
#[test]
fn bytes_that_trickle_in_keep_no_connection_open() {
    let flock = Flock::start_with(1, |_, spec| spec.listener_lines = "connect_timeout = \"1s\"\n".to_owned());
    let target = flock.nodes[0].mqtt();
    let options = Options::new(Version::V5, "a client that takes its time").keep_alive(1);
    let mut before_connect = TcpStream::connect(target).expect("the node accepts");
    check_trickle_ends(&mut before_connect, &options.connect_packet());
    // Keep Alive 1 allows one and a half seconds.
    let mut after_connect = introduced(target, &options);
    check_trickle_ends(&mut after_connect, &packet(wire::PUBLISH, &[0; 120]));
}

/// Sends a byte at a time, and not the last one.
fn check_trickle_ends(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("the time is not zero");
    let is_over = bytes[..bytes.len() - 1].iter().any(|byte| {
        let sent = stream.write_all(&[*byte]);
        let mut answer = [0; 64];
        loop {
            match stream.read(&mut answer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => return sent.is_err(),
                Err(_) => return true,
            }
        }
    });
    assert!(is_over, "{} bytes, ten each second, kept the connection open", bytes.len());
}
