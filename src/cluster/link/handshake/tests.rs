use tokio::io::duplex;

use super::*;

fn credentials(node: u128) -> Credentials {
    let hello = Hello { node: NodeId::new(node), incarnation: 3, name: "name".to_owned(), features: 0 };
    Credentials { cluster_hash: cluster_hash("flock"), key: [7; 32], hello }
}

/// Both ends over one pipe.
async fn meet(
    dialer: &Credentials,
    acceptor: &Credentials,
) -> (Result<Opened, HandshakeError>, Result<Opened, HandshakeError>) {
    let (mut near, mut far) = duplex(4_096);
    // Each end closes when it is done, as a socket would.
    let dialing = async move { dial(&mut near, StreamKind::Data, dialer, b"opening").await };
    let accepting = async move { accept(&mut far, acceptor).await };
    tokio::join!(dialing, accepting)
}

fn check_error(result: Result<Opened, HandshakeError>, expected: &str) {
    match result {
        Ok(opened) => panic!("opened to {:?}, expected {expected}", opened.peer),
        Err(error) => {
            let text = format!("{error:?}");
            assert!(text.starts_with(expected), "{text}, expected {expected}");
        }
    }
}

#[tokio::test]
async fn two_nodes_of_one_cluster_learn_who_the_other_is() {
    let (mut one, two) = (credentials(1), credentials(2));
    one.hello.name = "ä".repeat(100);
    let (dialed, accepted) = meet(&one, &two).await;
    let (dialed, accepted) = (dialed.unwrap(), accepted.unwrap());
    assert_eq!(dialed.peer, two.hello);
    assert_eq!(accepted.peer.node, one.hello.node);
    assert_eq!(accepted.peer.name, "ä".repeat(64), "cut between characters");
    assert_eq!((accepted.kind, &accepted.opening[..]), (StreamKind::Data, &b"opening"[..]));
}

#[tokio::test]
async fn strangers_are_told_apart() {
    let node = credentials(1);
    let (dialed, accepted) = meet(&Credentials { key: [8; 32], ..credentials(2) }, &node).await;
    check_error(dialed, "ProofRefused");
    check_error(accepted, "Proof");

    let other = Credentials { cluster_hash: cluster_hash("herd"), ..credentials(2) };
    let (dialed, accepted) = meet(&other, &node).await;
    check_error(dialed, "Refused");
    check_error(accepted, "Cluster");

    let (dialed, accepted) = meet(&credentials(1), &node).await;
    check_error(dialed, "OwnNode");
    check_error(accepted, "OwnNode");
}

#[tokio::test]
async fn only_a_neighbouring_version_is_answered() {
    let node = credentials(1);
    let mut newer = preamble(StreamKind::Control, node.cluster_hash);
    (newer[4], newer[5]) = (2, 3);
    check_preamble_answer(&node, newer, "Version", 16).await;
    let mut ours = preamble(StreamKind::Control, node.cluster_hash);
    ours[6] = 9;
    check_preamble_answer(&node, ours, "Preamble", 0).await;
    check_preamble_answer(&node, *b"GET / HTTP/1.1\r\n", "Preamble", 0).await;
    let foreign = preamble(StreamKind::Control, cluster_hash("herd"));
    check_preamble_answer(&node, foreign, "Cluster", 0).await;
}

async fn check_preamble_answer(
    node: &Credentials,
    sent: [u8; PREAMBLE_BYTES],
    expected: &str,
    answer_len: usize,
) {
    let (mut near, mut far) = duplex(4_096);
    near.write_all(&sent).await.unwrap();
    check_error(accept(&mut far, node).await, expected);
    drop(far);
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.len(), answer_len, "{expected}");
}

/// Everything that the dialer sends in a handshake that succeeds.
async fn recording(dialer: &Credentials, acceptor: &Credentials) -> Vec<u8> {
    let (mut near, tap_near) = duplex(4_096);
    let (tap_far, mut far) = duplex(4_096);
    let (mut from_near, mut to_near) = tokio::io::split(tap_near);
    let (mut from_far, mut to_far) = tokio::io::split(tap_far);
    let dialing = async move { dial(&mut near, StreamKind::Control, dialer, &[]).await.map(|_| ()) };
    let accepting = async move { accept(&mut far, acceptor).await.map(|_| ()) };
    let there = async move {
        let mut tape = Vec::new();
        let mut buffer = [0; 256];
        while let Ok(read @ 1..) = from_near.read(&mut buffer).await {
            tape.extend_from_slice(&buffer[..read]);
            // The acceptor closes when it has what it needs.
            let _ = to_far.write_all(&buffer[..read]).await;
        }
        tape
    };
    let back = async move { tokio::io::copy(&mut from_far, &mut to_near).await };
    let (dialed, accepted, tape, _) = tokio::join!(dialing, accepting, there, back);
    dialed.unwrap();
    accepted.unwrap();
    tape
}

#[tokio::test]
async fn a_recording_opens_nothing() {
    let node = credentials(1);
    let tape = recording(&credentials(2), &node).await;
    let (mut near, mut far) = duplex(4_096);
    near.write_all(&tape).await.unwrap();
    check_error(accept(&mut far, &node).await, "Proof");
}

#[tokio::test]
async fn every_cut_and_every_damaged_byte_is_noticed() {
    let node = credentials(1);
    let tape = recording(&credentials(2), &node).await;
    for at in 0..tape.len() {
        let mut damaged = tape.clone();
        damaged[at] ^= 0x40;
        for sent in [&tape[..at], &damaged] {
            let (mut near, mut far) = duplex(4_096);
            near.write_all(sent).await.unwrap();
            near.shutdown().await.unwrap();
            assert!(accept(&mut far, &node).await.is_err(), "byte {at}");
        }
    }
}
