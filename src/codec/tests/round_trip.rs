//! Properties of all packets and of all bytes.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::arbitrary::{version, version_and_packet};
use super::comparison::{check_bytes, check_relaying};
use super::{V5, V311, bytes, encoded, receive};
use crate::codec::{DecodeError, Packet, decode, peek};

/// One change to the bytes of a packet; positions are taken modulo its length.
#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Flip(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Most of what matters is near the start.
    let at = || prop_oneof![3 => 0..40_usize, 1 => any::<usize>()];
    let byte = || prop_oneof![any::<u8>(), select(&[0, 1, 2, 3, 0x7F, 0x80, 0xFF][..])];
    prop_oneof![
        (at(), byte()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (at(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        at().prop_map(Mutation::Remove),
        at().prop_map(Mutation::Cut),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match *mutation {
        Mutation::Set(at, byte) => bytes[at % len] = byte,
        Mutation::Flip(at, bit) => bytes[at % len] ^= 1 << bit,
        Mutation::Insert(at, byte) => bytes.insert(at % len, byte),
        Mutation::Remove(at) => drop(bytes.remove(at % len)),
        Mutation::Cut(at) => bytes.truncate(at % len),
    }
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_the_same((version, packet) in version_and_packet()) {
        let frame = encoded(version, &packet);
        let decoded = receive(version, &frame);
        prop_assert_eq!(decoded.as_ref(), Ok(&packet));
        if let Packet::Publish(publish) = &packet {
            check_relaying(version, publish);
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(version in version(), bytes in vec(any::<u8>(), 0..200)) {
        check_bytes(version, &bytes);
    }

    /// Random bytes hardly ever get past the header, so these have a right one.
    #[test]
    fn any_body_is_decoded_or_refused(
        version in version(),
        first_byte in any::<u8>(),
        body in vec(prop_oneof![0..0x30_u8, any::<u8>()], 0..60),
    ) {
        check_bytes(version, &super::frame(first_byte, &body));
    }

    #[test]
    fn changed_packets_are_decoded_or_refused(
        (version, packet) in version_and_packet(),
        mutations in vec(mutation(), 1..4),
        has_right_length in any::<bool>(),
        other in version(),
    ) {
        let mut frame = encoded(version, &packet);
        if has_right_length {
            let header_len = frame.len() - body_of(&frame).len();
            let mut body = frame.split_off(header_len);
            mutations.iter().for_each(|mutation| mutate(&mut body, mutation));
            frame = super::frame(frame[0], &body);
        } else {
            mutations.iter().for_each(|mutation| mutate(&mut frame, mutation));
        }
        check_bytes(version, &frame);
        check_bytes(other, &frame);
    }

    /// However the bytes are cut into reads, the header is the same.
    #[test]
    fn a_packet_that_ends_early_is_incomplete((version, packet) in version_and_packet(), cut in any::<usize>()) {
        let frame = encoded(version, &packet);
        let len = cut % frame.len();
        match peek(&frame[..len], u32::MAX) {
            Ok(None) => prop_assert!(len < 5),
            Ok(Some(header)) => prop_assert_eq!(header.total_len, frame.len()),
            Err(error) => panic!("{error}"),
        }
        prop_assert!(decode(version, &frame[..len]).is_err());
    }

    /// [`peek`] refuses nothing for its length that is within the limit, and all that is above.
    #[test]
    fn the_limit_is_exact((version, packet) in version_and_packet()) {
        let frame = encoded(version, &packet);
        let len = frame.len() as u32;
        prop_assert!(peek(&frame, len).is_ok());
        let error = DecodeError::PacketTooLarge { total_len: frame.len(), packet_size_max: len - 1 };
        prop_assert_eq!(peek(&frame, len - 1), Err(error));
    }
}

fn body_of(frame: &[u8]) -> &[u8] {
    let header = peek(frame, u32::MAX).expect("valid").expect("complete");
    &frame[header.header_len..]
}

/// The checks above can see something: a fair share of the changed packets is still valid.
#[test]
fn valid_packets_pass_the_checks_for_bytes() {
    assert!(check_bytes(V5, &bytes("32: 'a' 0001 { 23 0001 26 'n' 'v' } <p>")));
    assert!(check_bytes(V311, &bytes("C0 80 00")));
    assert!(!check_bytes(V5, &bytes("C0 80 00")));
}
