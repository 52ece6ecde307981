//! Tests of the frames: exact bytes, round trips, and bytes from hell.

use proptest::collection::vec;
use proptest::prelude::*;

use super::snapshot::SNAPSHOT_KEYS_MAX;
use super::*;
use crate::cluster::node_id::NodeId;
use crate::cluster::routes::{Change, Delta, Digest, Position, RouteKey, Snapshot};
use crate::message::{Publication, Qos};
use crate::net::clock;
use crate::topic::{ShareName, TopicFilter, TopicRef};

const OWNER: NodeId = NodeId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
const OWNER_HEX: &str = "0123456789abcdef0123456789abcdef";
const AT: Position = Position { incarnation: 3, seq: 300 };

fn key(share: Option<&str>, filter: &str, durable: bool) -> RouteKey {
    let share = share.map(|share| ShareName::parse(share).unwrap());
    RouteKey { filter: TopicFilter::parse(filter).unwrap(), share, durable }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn encoded(control: &Control) -> Vec<u8> {
    let mut out = vec![0xee];
    control.encode(&mut out).unwrap();
    assert_eq!(out.remove(0), 0xee, "appends");
    out
}

/// Both directions. A change here is a new frame version, not a new golden value.
#[track_caller]
fn check_control(control: &Control, golden: &str) {
    let golden = golden.replace("OWNER", OWNER_HEX);
    let bytes = encoded(control);
    assert_eq!(hex(&bytes), hex(&unhex(&golden)));
    assert_eq!(decode_control(&bytes).as_ref(), Ok(control));
    assert_eq!(peek(&bytes, CONTROL_FRAME_LEN_MAX), Ok(Some(bytes.len())));
}

#[test]
fn control_frames_have_these_bytes() {
    let digest = Digest { position: AT, count: 2, hash: 0x80 };
    check_control(&Control::Hello { own: digest }, "00000008 01 01  03 ac02 02 8001");
    check_control(&Control::HelloReply { own: digest, have: None }, "00000009 01 02  03 ac02 02 8001  00");
    check_control(
        &Control::HelloReply {
            own: digest,
            have: Some(Digest { position: Position::NONE, count: 0, hash: 0 }),
        },
        "0000000d 01 02  03 ac02 02 8001  01 00 00 00 00",
    );
    let changes = vec![
        Change::Advertise(key(None, "a/+", false)),
        Change::Withdraw(key(None, "b", true)),
        Change::Advertise(key(Some("g"), "#", true)),
    ];
    check_control(
        &Control::Delta(Delta { owner: OWNER, since: AT, changes }),
        "00000026 01 03  OWNER 03 ac02  03  00 00 03612f2b  03 00 0162  01 01 0167 0123",
    );
    check_control(&Control::Ack(AT), "00000005 01 04  03 ac02");
    check_control(
        &Control::SnapshotBegin(SnapshotBegin { owner: OWNER, digest }),
        "00000018 01 05  OWNER 03 ac02 02 8001",
    );
    let keys = vec![key(None, "a", false), key(Some("g"), "b", true)];
    check_control(
        &Control::SnapshotChunk(SnapshotChunk { owner: OWNER, index: 128, keys }),
        "00000021 01 06  OWNER 8001 00 0b  02  00 00 0161  01 01 0167 0162",
    );
    check_control(&Control::SnapshotEnd { owner: OWNER }, "00000012 01 07  OWNER");
    check_control(&Control::Ping(7), "00000003 01 08 07");
    check_control(&Control::Pong(300), "00000004 01 09 ac02");
    check_control(&Control::Pull { owner: OWNER, since: Some(AT) }, "00000016 01 0a OWNER 01 03 ac02");
    check_control(&Control::Pull { owner: OWNER, since: None }, "00000013 01 0a OWNER 00");
    check_control(&Control::PullRefused { owner: OWNER }, "00000012 01 0b OWNER");
    check_control(&Control::Bye, "00000002 01 0c");
    check_control(&Control::Forgotten(Vec::new()), "00000003 01 0d 00");
    check_control(&Control::Forgotten(vec![(OWNER, 300)]), "00000015 01 0d 01 OWNER ac02");
}

fn publish() -> Publish<'static> {
    Publish {
        seq: 0x0102_0304_0506_0708,
        qos: Qos::ExactlyOnce,
        retain: true,
        expiry: Some(60),
        publisher: Some("me"),
        topic: TopicRef::parse("a/b").unwrap(),
        properties: &[1, 1],
        payload: b"hi",
    }
}

#[track_caller]
fn check_publish(publish: &Publish<'_>, golden: &str) {
    let mut bytes = vec![0xee];
    publish.encode(&mut bytes).unwrap();
    assert_eq!(bytes.remove(0), 0xee, "appends");
    assert_eq!(hex(&bytes), hex(&unhex(golden)));
    assert_eq!(bytes.len(), publish.encoded_len());
    assert_eq!(decode_data(&bytes), Ok(Data::Publish(publish.clone())));
}

#[test]
fn data_frames_have_these_bytes() {
    check_publish(
        &publish(),
        "00000020 01 41  1e 0102030405060708 0000003c  0002 6d65  0003 612f62  00000002 0101  6869",
    );
    check_publish(
        &Publish {
            qos: Qos::AtMostOnce,
            retain: false,
            expiry: None,
            publisher: None,
            properties: &[],
            payload: &[],
            ..publish()
        },
        "00000014 01 41  00 0102030405060708  0003 612f62  00000000",
    );
    let mut ack = Vec::new();
    encode_data_ack(258, &mut ack);
    assert_eq!(hex(&ack), hex(&unhex("0000000a 01 42 0000000000000102")));
    assert_eq!(decode_data(&ack), Ok(Data::Ack(258)));
}

#[test]
fn a_publication_keeps_its_expiry_across_the_link() {
    let start = clock::now();
    let sent = Publication {
        topic: TopicRef::parse("t").unwrap(),
        payload: b"x",
        qos: Qos::AtLeastOnce,
        retain: true,
        properties: &[1, 0],
        expires_at: Some(start + std::time::Duration::from_secs(9)),
        publisher: Some("p"),
    };
    let received = Publish::new(5, &sent, start).unwrap().publication(start);
    assert_eq!(received, sent);
    assert!(Publish::new(5, &sent, start + std::time::Duration::from_secs(9)).is_err());
    let forever = Publication { expires_at: None, ..sent };
    assert_eq!(Publish::new(5, &forever, start).unwrap().publication(start), forever);
}

#[test]
fn the_examples_of_the_protocol_page_are_frames() {
    let page = include_str!("../../../docs/mesh-protocol.md");
    let mut examples = page.lines().filter(|line| line.starts_with("    000000")).map(unhex);
    let change = Change::Advertise(key(None, "a/+", false));
    let since = Position { incarnation: 3, seq: 300 };
    let expected = Control::Delta(Delta { owner: OWNER, since, changes: vec![change] });
    assert_eq!(decode_control(&examples.next().unwrap()), Ok(expected));
    let example = examples.next().unwrap();
    let Ok(Data::Publish(publish)) = decode_data(&example) else { panic!("the second is a publish") };
    assert_eq!((publish.seq, publish.topic.as_str(), publish.payload), (7, "a/b", &b"hi"[..]));
    assert_eq!(examples.next(), None);
}

#[track_caller]
fn check_bad_control(golden: &str, expected: FrameError) {
    let bytes = unhex(&golden.replace("OWNER", OWNER_HEX));
    assert_eq!(decode_control(&bytes), Err(expected));
}

#[test]
fn malformed_control_frames_are_refused() {
    check_bad_control("", FrameError::Incomplete);
    check_bad_control("00000003 01 08", FrameError::Incomplete);
    check_bad_control("00000003 01 08 07 07", FrameError::Incomplete);
    check_bad_control("00000001 01", FrameError::Length(5));
    check_bad_control("00000003 02 08 07", FrameError::Version(2));
    check_bad_control("00000003 01 00 07", FrameError::Kind(0));
    check_bad_control("00000003 01 41 07", FrameError::Kind(0x41));
    check_bad_control("00000004 01 08 07 00", FrameError::Body("followed by something"));
    check_bad_control("00000003 01 0c 00", FrameError::Body("followed by something"));
    check_bad_control("00000002 01 08", FrameError::Body("not what its kind has"));
    let delta = |route: &str| {
        let body = unhex(&format!("01 03 {OWNER_HEX} 01 00 01 {route}"));
        format!("{:08x} {}", body.len(), hex(&body))
    };
    check_bad_control(&delta("00 00 00"), FrameError::Body("topic filter"));
    check_bad_control(&delta("00 00 02 6123"), FrameError::Body("topic filter"));
    check_bad_control(&delta("00 00 01 00"), FrameError::Body("topic filter"));
    check_bad_control(&delta("00 00 01 ff"), FrameError::Body("not what its kind has"));
    check_bad_control(&delta("00 01 01 2b 01 61"), FrameError::Body("share name"));
    check_bad_control(&delta("04 00 01 61"), FrameError::Body("route flags"));
    check_bad_control(&delta("00 02 01 61"), FrameError::Body("not what its kind has"));
    let chunk = |rest: &str| {
        let body = unhex(&format!("01 06 {OWNER_HEX} 00 {rest}"));
        format!("{:08x} {}", body.len(), hex(&body))
    };
    check_bad_control(&chunk("00 05 01 02 00 01 61"), FrameError::Body("route flags"));
    // 4 GiB promised; 512 KiB and one byte promised; one byte promised and more there.
    check_bad_control(&chunk("ffffffff0f 02 1061"), FrameError::Body("chunk too long"));
    check_bad_control(&chunk("818020 02 1061"), FrameError::Body("chunk too long"));
    check_bad_control(&chunk("808020 02 1061"), FrameError::Body("decompressed length"));
    check_bad_control(&chunk("01 03 206162"), FrameError::Body("compression"));
}

#[track_caller]
fn check_bad_publish(golden: &str, expected: FrameError) {
    let body = unhex(&format!("01 {golden}"));
    let bytes = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
    assert_eq!(decode_data(&bytes), Err(expected));
}

#[test]
fn malformed_data_frames_are_refused() {
    let cut = FrameError::Body("cut off");
    check_bad_publish("08 07", FrameError::Kind(8));
    check_bad_publish("41", cut);
    check_bad_publish("41 03 0000000000000000 0001 61 00000000", FrameError::Body("quality of service"));
    check_bad_publish("41 20 0000000000000000 0001 61 00000000", FrameError::Body("publish flags"));
    check_bad_publish("41 00 0000000000000000 0001 2b 00000000", FrameError::Body("topic name"));
    check_bad_publish("41 00 0000000000000000 0000 00000000", FrameError::Body("topic name"));
    check_bad_publish("41 00 0000000000000000 0001 ff 00000000", FrameError::Body("text is not UTF-8"));
    check_bad_publish("41 00 0000000000000000 0002 61", cut);
    check_bad_publish("41 00 0000000000000000 0001 61 00000001", cut);
    check_bad_publish("41 00 0000000000000000 0001 61 ffffffff 00", cut);
    check_bad_publish("41 08 0000000000000000 000000", cut);
    check_bad_publish("41 10 0000000000000000 0005 61", cut);
    check_bad_publish("42 00000000000000", cut);
    check_bad_publish("42 0000000000000000 00", FrameError::Body("followed by something"));
}

#[test]
fn lengths_are_checked_before_anything_is_there() {
    assert_eq!(peek(&[0, 0, 0], 100), Ok(None));
    assert_eq!(peek(&[0, 0, 0, 96], 100), Ok(Some(100)));
    assert_eq!(peek(&[0, 0, 0, 97], 100), Err(FrameError::Length(101)));
    assert_eq!(peek(&[0, 0, 0, 1], 100), Err(FrameError::Length(5)));
    let max = u32::MAX as usize + 4;
    assert_eq!(peek(&[0xff; 4], DATA_FRAME_LEN_MAX), Err(FrameError::Length(max)));
}

#[test]
fn what_does_not_fit_leaves_the_buffer_as_it_was() {
    let long = "x".repeat(60_000);
    let changes = (0..20).map(|n| Change::Advertise(key(None, &format!("{long}{n}"), false))).collect();
    let mut out = vec![1, 2, 3];
    let too_long = Control::Delta(Delta { owner: OWNER, since: AT, changes });
    assert!(matches!(too_long.encode(&mut out), Err(FrameError::Length(_))));
    let publisher = "x".repeat(65_536);
    let publish = Publish { publisher: Some(&publisher), ..publish() };
    assert_eq!(publish.encode(&mut out), Err(FrameError::Length(65_536)));
    assert_eq!(out, [1, 2, 3]);
}

/// Sends a snapshot through its frames.
fn travel(snapshot: Snapshot) -> (Snapshot, usize, usize) {
    let (mut assembly, mut arrived, mut frames, mut bytes) = (None, None, 0, 0);
    for frame in snapshot_frames(snapshot) {
        let frame = encoded(&frame);
        assert!(frame.len() <= CONTROL_FRAME_LEN_MAX);
        (frames, bytes) = (frames + 1, bytes + frame.len());
        match decode_control(&frame).unwrap() {
            Control::SnapshotBegin(begin) => assembly = Some(Assembly::new(begin).unwrap()),
            Control::SnapshotChunk(chunk) => assembly.as_mut().unwrap().on_chunk(chunk).unwrap(),
            Control::SnapshotEnd { owner } => arrived = Some(assembly.take().unwrap().on_end(owner).unwrap()),
            other => panic!("{other:?} in a snapshot"),
        }
    }
    (arrived.unwrap(), frames, bytes)
}

#[test]
fn snapshots_travel_in_bounded_compressed_chunks() {
    let empty = Snapshot { owner: OWNER, position: AT, keys: Vec::new() };
    assert_eq!(travel(empty.clone()).0, empty);

    let keys =
        (0..20_000).map(|n| key(None, &format!("building/7/room/{n}/temperature"), n % 2 == 0)).collect();
    let many = Snapshot { owner: OWNER, position: AT, keys };
    let raw: usize = many.keys.iter().map(|key| key.filter.as_str().len()).sum();
    let (arrived, frames, bytes) = travel(many.clone());
    assert_eq!(arrived, many);
    assert!(4 < frames && bytes < raw / 2, "{frames} frames, {bytes} bytes of {raw}");

    // The longest routes there are, and incompressible.
    let mut state = 1u32;
    let mut noise = || {
        let mut letter = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 24) as u8 % 26)
        };
        (0..TOPIC_BYTES_MAX).map(|_| letter()).collect::<String>()
    };
    let keys = (0..9).map(|_| key(Some(&noise()), &noise(), true)).collect();
    let long = Snapshot { owner: OWNER, position: AT, keys };
    assert_eq!(travel(long.clone()).0, long);
}

#[test]
fn a_snapshot_that_is_not_what_it_promised_is_refused() {
    let snapshot =
        Snapshot { owner: OWNER, position: AT, keys: vec![key(None, "a", false), key(None, "b", false)] };
    let begin = SnapshotBegin { owner: OWNER, digest: snapshot.digest() };
    let chunk = |index, keys: &[RouteKey]| SnapshotChunk { owner: OWNER, index, keys: keys.to_vec() };
    let stranger = NodeId::new(9);
    let assembly = || Assembly::new(begin).unwrap();

    assert_eq!(assembly().on_chunk(chunk(1, &snapshot.keys)), Err(AssemblyError::OutOfOrder));
    let foreign = SnapshotChunk { owner: stranger, ..chunk(0, &snapshot.keys) };
    assert_eq!(assembly().on_chunk(foreign), Err(AssemblyError::OutOfOrder));
    let three = [snapshot.keys.clone(), snapshot.keys.clone()].concat();
    assert_eq!(assembly().on_chunk(chunk(0, &three)), Err(AssemblyError::TooMany));
    assert_eq!(assembly().on_chunk(chunk(0, &[])), Err(AssemblyError::OutOfOrder), "a chunk for nothing");
    assert_eq!(assembly().on_end(OWNER), Err(AssemblyError::Digest), "nothing of it came");
    let mut twice = assembly();
    twice.on_chunk(chunk(0, &snapshot.keys[..1])).unwrap();
    assert_eq!(twice.on_chunk(chunk(0, &snapshot.keys[..1])), Err(AssemblyError::OutOfOrder));
    twice.on_chunk(chunk(1, &snapshot.keys[..1])).unwrap();
    assert_eq!(twice.on_end(OWNER), Err(AssemblyError::Digest), "the right number of the wrong routes");
    assert_eq!(assembly().on_end(stranger), Err(AssemblyError::OutOfOrder));
    let huge = Digest { count: SNAPSHOT_KEYS_MAX + 1, ..begin.digest };
    assert_eq!(Assembly::new(SnapshotBegin { digest: huge, ..begin }).unwrap_err(), AssemblyError::TooMany);
}

fn any_key() -> impl Strategy<Value = RouteKey> {
    let filter = prop_oneof!["[a-z\\PC]{1,3}", "[a-z]{0,3}/\\+/[a-zäß]{0,9}", "([a-z]{0,3}/){0,5}#"]
        .prop_filter_map("a valid filter", |text| TopicFilter::parse(&text).ok());
    let share = proptest::option::of("[a-z0-9]{1,12}".prop_map(|text| ShareName::parse(&text).unwrap()));
    (filter, share, any::<bool>()).prop_map(|(filter, share, durable)| RouteKey { filter, share, durable })
}

fn any_position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(incarnation, seq)| Position { incarnation, seq })
}

fn any_digest() -> impl Strategy<Value = Digest> {
    (any_position(), any::<u64>(), any::<u64>()).prop_map(|(position, count, hash)| Digest {
        position,
        count,
        hash,
    })
}

fn any_control() -> impl Strategy<Value = Control> {
    let node = || any::<u128>().prop_map(NodeId::new);
    let change = (any_key(), any::<bool>())
        .prop_map(|(key, add)| if add { Change::Advertise(key) } else { Change::Withdraw(key) });
    prop_oneof![
        any_digest().prop_map(|own| Control::Hello { own }),
        (any_digest(), proptest::option::of(any_digest()))
            .prop_map(|(own, have)| Control::HelloReply { own, have }),
        (node(), any_position(), vec(change, 0..20))
            .prop_map(|(owner, since, changes)| Control::Delta(Delta { owner, since, changes })),
        any_position().prop_map(Control::Ack),
        (node(), any_digest())
            .prop_map(|(owner, digest)| Control::SnapshotBegin(SnapshotBegin { owner, digest })),
        (node(), any::<u32>(), vec(any_key(), 0..200))
            .prop_map(|(owner, index, keys)| Control::SnapshotChunk(SnapshotChunk { owner, index, keys })),
        node().prop_map(|owner| Control::SnapshotEnd { owner }),
        any::<u64>().prop_map(Control::Ping),
        any::<u64>().prop_map(Control::Pong),
        (node(), proptest::option::of(any_position()))
            .prop_map(|(owner, since)| Control::Pull { owner, since }),
        node().prop_map(|owner| Control::PullRefused { owner }),
        Just(Control::Bye),
    ]
}

/// Flips some bytes, cuts, and repairs the length field so that the body is looked at.
fn mutated(mut bytes: Vec<u8>, changes: &[(usize, u8)], cut: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - cut % bytes.len());
    for &(at, byte) in changes {
        let at = at % bytes.len();
        bytes[at] ^= byte;
    }
    if let Some(length) = bytes.len().checked_sub(LENGTH_LEN) {
        bytes[..LENGTH_LEN].copy_from_slice(&(length as u32).to_be_bytes());
    }
    bytes
}

proptest! {
    #[test]
    fn control_frames_come_back(control in any_control()) {
        prop_assert_eq!(decode_control(&encoded(&control)), Ok(control));
    }

    #[test]
    fn publishes_come_back(
        seq in any::<u64>(),
        (qos, retain) in (0..3u8, any::<bool>()),
        expiry in proptest::option::of(any::<u32>()),
        publisher in proptest::option::of("\\PC{0,30}"),
        topic in "[^+#\0]{1,40}",
        properties in vec(any::<u8>(), 0..40),
        payload in vec(any::<u8>(), 0..300),
    ) {
        let Ok(topic) = TopicRef::parse(&topic) else { return Ok(()) };
        let qos = Qos::from_u8(qos).unwrap();
        let publisher = publisher.as_deref();
        let (properties, payload) = (&properties[..], &payload[..]);
        let publish = Publish { seq, qos, retain, expiry, publisher, topic, properties, payload };
        let mut bytes = Vec::new();
        publish.encode(&mut bytes).unwrap();
        prop_assert_eq!(bytes.len(), publish.encoded_len());
        prop_assert_eq!(decode_data(&bytes), Ok(Data::Publish(publish)));
    }

    #[test]
    fn no_bytes_make_it_panic(kind in any::<u8>(), body in vec(any::<u8>(), 0..300)) {
        let mut frame = Vec::new();
        append(&mut frame, kind, CONTROL_FRAME_LEN_MAX, |out| {
            out.extend_from_slice(&body);
            Ok(())
        }).unwrap();
        let (_, _) = (decode_control(&frame), decode_data(&frame));
        let (_, _) = (decode_control(&body), decode_data(&body));
    }

    #[test]
    fn no_damaged_frame_makes_it_panic(
        control in any_control(),
        changes in vec((any::<usize>(), any::<u8>()), 0..6),
        cut in 0..20usize,
    ) {
        let frame = mutated(encoded(&control), &changes, cut);
        if let Ok(decoded) = decode_control(&frame) {
            // Whatever was taken is made of proven values, so it can be sent on.
            prop_assert_eq!(decode_control(&encoded(&decoded)), Ok(decoded));
        }
    }

    #[test]
    fn no_damaged_publish_makes_it_panic(
        changes in vec((any::<usize>(), any::<u8>()), 0..6),
        cut in 0..40usize,
    ) {
        let mut frame = Vec::new();
        publish().encode(&mut frame).unwrap();
        let _ = decode_data(&mutated(frame, &changes, cut));
    }
}
