//! Real nodes on loopback ports.

use std::time::Instant;

use super::*;
use crate::metrics::ReasonLabel;
use crate::net::clock;

const INTERVAL: Duration = Duration::from_millis(30);
/// How long something may take that must happen, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    gossip: Gossip,
    metrics: Metrics,
    tasks: Tasks,
}

impl Node {
    fn address(&self) -> SocketAddr {
        self.gossip.local_address()
    }

    fn rejected(&self, reason: &'static str) -> u64 {
        self.metrics.cluster_rejected.get_or_create(&ReasonLabel { reason }).get()
    }

    async fn ids(&self) -> Vec<u128> {
        self.gossip.members().await.iter().map(|member| member.id.as_u128()).collect()
    }

    async fn member(&self, id: u128) -> Option<Member> {
        self.gossip.members().await.into_iter().find(|member| member.id == NodeId::new(id))
    }
}

fn key(name: &str, secret: &str) -> Key {
    Key::derive(name, secret.as_bytes(), "gossip")
}

fn settings(key: Key, seeds: &[String]) -> GossipSettings {
    GossipSettings {
        cluster_name: "flock".to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: SocketAddr::from(([127, 0, 0, 1], 0)),
        seeds: seeds.to_vec(),
        interval: INTERVAL,
        key,
    }
}

async fn start(settings: GossipSettings, id: u128, incarnation: u64) -> Node {
    let (metrics, tasks) = (Metrics::new(), Tasks::new());
    let (name, mesh) = (format!("node{id}"), format!("127.0.0.1:{}", 1_000 + id));
    let gossip =
        Gossip::start(settings, NodeId::new(id), incarnation, &name, &mesh, &metrics, &tasks).await.unwrap();
    Node { gossip, metrics, tasks }
}

async fn flock_node(id: u128, incarnation: u64, seeds: &[String]) -> Node {
    start(settings(key("flock", "secret"), seeds), id, incarnation).await
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline: Instant = clock::now() + PATIENCE;
    while !condition().await {
        assert!(clock::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(INTERVAL / 3).await;
    }
}

fn advertised(n: u64) -> Advertised {
    let position = Position { incarnation: n, seq: 2 * n };
    Advertised {
        digest: Some(Digest { position, count: 3 * n, hash: u64::MAX - n }),
        have: vec![(NodeId::new(77), position)],
        recent: vec![vec![n as u8; RECENT_BYTES_MAX]],
        http: Some(format!("127.0.0.1:{}", 8_000 + n)),
        forgotten: vec![(NodeId::new(78), n)],
        leaving: false,
    }
}

#[tokio::test]
async fn three_nodes_see_each_other_and_what_each_says() {
    let first = flock_node(1, 10, &[]).await;
    let seeds = [first.address().to_string()];
    // By name too, and with its own address in the list.
    let second = flock_node(2, 10, &[format!("localhost:{}", first.address().port())]).await;
    let third = flock_node(3, 10, &seeds).await;
    let nodes = [&first, &second, &third];
    for (n, node) in nodes.iter().enumerate() {
        node.gossip.advertise(advertised(n as u64 + 1)).await;
    }
    for (n, node) in nodes.iter().enumerate() {
        for peer in (1..=3).filter(|peer| *peer != n as u128 + 1) {
            eventually(&format!("node {} knows node {peer}", n + 1), async || {
                node.member(peer).await.is_some_and(|member| {
                    member.advertised == advertised(peer as u64) && member.incarnation == 10
                })
            })
            .await;
        }
        let ids: Vec<u128> = (1..=3).filter(|id| *id != n as u128 + 1).collect();
        assert_eq!(node.ids().await, ids);
    }
    let seen = first.member(3).await.unwrap();
    assert_eq!((seen.name.as_str(), seen.mesh_address.as_str()), ("node3", "127.0.0.1:1003"));
    eventually("heartbeats grow", async || first.member(3).await.unwrap().heartbeat > seen.heartbeat + 5)
        .await;

    second.gossip.advertise(advertised(9)).await;
    eventually("a change arrives", async || {
        third.member(2).await.is_some_and(|member| {
            member.advertised.digest == advertised(9).digest
                && member.advertised.recent == [advertised(2).recent, advertised(9).recent].concat()
        })
    })
    .await;
    for node in nodes {
        for reason in ["gossip_unsealed", "gossip_replay", "gossip_envelope", "gossip_value", "gossip_twin"] {
            assert_eq!(node.rejected(reason), 0, "{reason}");
        }
        assert!(!node.tasks.failed());
    }
}

#[tokio::test]
async fn a_node_hears_itself_without_harm() {
    let node = flock_node(1, 1, &[]).await;
    node.gossip.handle.gossip(node.address()).unwrap();
    let mut itself = settings(key("flock", "secret"), &[]);
    itself.seeds = vec![format!("localhost:{}", node.address().port())];
    let peer = start(itself, 2, 1).await;
    peer.gossip.handle.gossip(peer.address()).unwrap();
    eventually("they meet", async || node.ids().await == [2] && peer.ids().await == [1]).await;
    for node in [node, peer] {
        assert_eq!(node.rejected("gossip_twin") + node.rejected("gossip_unsealed"), 0);
    }
}

/// Runs two nodes that belong together and one with another key, and lets the stranger try.
async fn check_stranger(stranger_key: Key) {
    let first = flock_node(1, 1, &[]).await;
    let seeds = [first.address().to_string()];
    let second = flock_node(2, 1, &seeds).await;
    let stranger = start(settings(stranger_key, &seeds), 3, 1).await;
    eventually("the two meet", async || first.ids().await == [2] && second.ids().await == [1]).await;
    eventually("the stranger knocks", async || first.rejected("gossip_unsealed") >= 3).await;
    // The other way round as well.
    first.gossip.handle.gossip(stranger.address()).unwrap();
    eventually("the stranger is called", async || stranger.rejected("gossip_unsealed") >= 1).await;
    assert_eq!((first.ids().await, second.ids().await), (vec![2], vec![1]));
    assert!(stranger.ids().await.is_empty());
}

#[tokio::test]
async fn a_node_with_another_secret_sees_nobody_and_is_seen_by_nobody() {
    check_stranger(key("flock", "Secret")).await;
}

#[tokio::test]
async fn a_node_with_a_longer_secret_sees_nobody_and_is_seen_by_nobody() {
    check_stranger(key("flock", "secret\0")).await;
}

#[tokio::test]
async fn a_node_of_another_cluster_with_the_same_secret_is_a_stranger() {
    check_stranger(key("flock2", "secret")).await;
}

#[tokio::test]
async fn junk_is_counted_never_answered_and_changes_nothing() {
    let first = flock_node(1, 1, &[]).await;
    let second = flock_node(2, 1, &[first.address().to_string()]).await;
    eventually("they meet", async || first.ids().await == [2] && second.ids().await == [1]).await;

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut own_version = vec![0; 200];
    own_version[..4].copy_from_slice(b"FLK\x02");
    let junk = [
        (Vec::new(), "gossip_size"),
        (vec![0; 3], "gossip_size"),
        (vec![0xff; 1_201], "gossip_size"),
        (vec![0x41; 60_000], "gossip_size"),
        (vec![0; 500], "gossip_unsealed"),
        (b"FLK\x01".repeat(100), "gossip_unsealed"),
        (own_version, "gossip_version"),
    ];
    for (datagram, reason) in &junk {
        let before = first.rejected(reason);
        eventually(&format!("{} bytes count as {reason}", datagram.len()), async || {
            socket.send_to(datagram, first.address()).await.unwrap();
            first.rejected(reason) > before
        })
        .await;
    }
    // What chitchat itself would answer: a plain SYN with an empty digest.
    socket.send_to(b"\x53\xb0\x00\x00\x00\x00\x05\x00flock", first.address()).await.unwrap();

    let heartbeat = second.member(1).await.unwrap().heartbeat;
    eventually("gossip goes on", async || second.member(1).await.unwrap().heartbeat > heartbeat + 5).await;
    assert_eq!(first.ids().await, [2]);
    let mut answer = [0; 100];
    assert!(socket.try_recv_from(&mut answer).is_err(), "nothing is answered");
    assert!(!first.tasks.failed());
}

#[tokio::test]
async fn a_replayed_datagram_is_counted_and_changes_nothing() {
    let node = flock_node(1, 1, &[]).await;
    let mut sealer = Sealer::new(&key("flock", "secret"), NodeId::new(2), 1, [5; 16]);
    let datagram = sealer.seal(b"no chitchat message").unwrap().remove(0);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..2 {
        socket.send_to(&datagram, node.address()).await.unwrap();
    }
    eventually("the second one is a replay", async || node.rejected("gossip_replay") == 1).await;
    assert_eq!(node.rejected("gossip_envelope"), 1);
    assert!(node.ids().await.is_empty());
}

/// Somebody who records a datagram and sends it on must not draw an answer, wherever it seems to come from.
#[tokio::test]
async fn the_answer_goes_to_the_address_under_the_seal() {
    use crate::cluster::envelope::tests::{SYN_ACK, digest, envelope};
    let node = flock_node(1, 1, &[]).await;
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut message = envelope(SYN_ACK, &[&digest(&[2]), &[0]]);
    let address = [127, 0, 0, 1, 1, 2];
    let place = message.windows(address.len()).position(|bytes| bytes == address).unwrap();
    let port = sender.local_addr().unwrap().port().to_le_bytes();
    message[place + 4..place + 6].copy_from_slice(&port);
    let mut sealer = Sealer::new(&key("flock", "secret"), NodeId::new(2), 1, [5; 16]);
    relay.send_to(&sealer.seal(&message).unwrap()[0], node.address()).await.unwrap();

    let mut answer = [0; 1_500];
    tokio::time::timeout(PATIENCE, sender.recv_from(&mut answer)).await.unwrap().unwrap();
    assert!(relay.try_recv_from(&mut answer).is_err());
}

/// Each of these panics or wedges chitchat 0.11.2 when it gets through.
#[tokio::test]
async fn a_peer_with_the_key_and_a_fault_takes_nobody_down() {
    use crate::cluster::envelope::tests::{
        ACK, SYN_ACK, delta, digest, envelope, key_value, node, set_max_version,
    };
    let first = flock_node(1, 1, &[]).await;
    let mut sealer = Sealer::new(&key("flock", "secret"), NodeId::new(2), 1, [5; 16]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let introduction = envelope(SYN_ACK, &[&digest(&[2]), &[0]]);
    let crowd = envelope(SYN_ACK, &[&digest(&(2..802).collect::<Vec<u128>>()), &[0]]);
    let faults = [
        envelope(ACK, &[&delta(&[node(2), key_value("é", "v", 1)])]),
        envelope(ACK, &[&delta(&[node(2), key_value("name", "v", 2), set_max_version(1)])]),
        envelope(ACK, &[&delta(&[node(1), key_value("rt", "v", u64::MAX)])]),
        crowd,
    ];
    for message in std::iter::once(&introduction).chain(&faults) {
        for datagram in sealer.seal(message).unwrap() {
            socket.send_to(&datagram, first.address()).await.unwrap();
        }
    }
    eventually("each is refused", async || first.rejected("gossip_envelope") == faults.len() as u64).await;
    // Writes to its own state, and gossips on.
    first.gossip.advertise(advertised(1)).await;
    let second = flock_node(3, 1, &[first.address().to_string()]).await;
    eventually("another node joins", async || second.ids().await.contains(&1)).await;
    assert!(!first.tasks.failed());
}

#[tokio::test]
async fn a_restarted_node_replaces_its_earlier_self() {
    let first = flock_node(1, 1, &[]).await;
    let seeds = [first.address().to_string()];
    let old = flock_node(2, 5, &seeds).await;
    old.gossip.advertise(advertised(1)).await;
    eventually("the old one is there", async || {
        first.member(2).await.is_some_and(|member| member.advertised.digest.is_some())
    })
    .await;
    // As a crash: no goodbye.
    old.tasks.stop();
    old.gossip.handle.abort();
    let new = flock_node(2, 6, &seeds).await;
    eventually("the new one is there", async || {
        first.member(2).await.is_some_and(|member| member.incarnation == 6)
    })
    .await;
    let members = first.gossip.members().await;
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].advertised.digest, None, "nothing of the old one is left");
    assert_eq!(new.ids().await, [1]);
}

#[tokio::test]
async fn a_message_of_many_fragments_arrives() {
    // Enough values that a delta of them does not fit into one datagram, however it compresses.
    let first = flock_node(1, 1, &[]).await;
    first.gossip.advertise(Advertised { recent: noise(), ..advertised(1) }).await;
    let seeds = [first.address().to_string()];
    let mut others = Vec::new();
    for id in 2..6 {
        let node = flock_node(id, 1, &seeds).await;
        node.gossip.advertise(Advertised { recent: noise(), ..advertised(id as u64) }).await;
        others.push(node);
    }
    eventually("all is known to the first", async || {
        let members = first.gossip.members().await;
        members.len() == 4 && members.iter().all(|member| member.advertised.recent.len() == RECENT_MAX)
    })
    .await;
    let late = flock_node(6, 1, &seeds).await;
    eventually("a late joiner gets it all", async || {
        let members = late.gossip.members().await;
        members.len() == 5 && members.iter().all(|member| member.advertised.recent.len() == RECENT_MAX)
    })
    .await;
    assert_eq!(late.rejected("gossip_fragment") + late.rejected("gossip_envelope"), 0);
}

fn noise() -> Vec<Vec<u8>> {
    (0..RECENT_MAX).map(|_| rand::random::<[u8; RECENT_BYTES_MAX]>().to_vec()).collect()
}

#[tokio::test]
async fn a_node_that_stops_says_goodbye() {
    let first = flock_node(1, 1, &[]).await;
    let second = flock_node(2, 1, &[first.address().to_string()]).await;
    eventually("they meet", async || first.ids().await == [2] && second.ids().await == [1]).await;
    second.gossip.stop().await;
    eventually("the goodbye is heard", async || first.member(2).await.unwrap().advertised.leaving).await;
    second.gossip.stop().await;
    assert!(!second.tasks.failed(), "it ended on purpose");
}

#[tokio::test]
async fn gossip_that_ends_by_itself_stops_the_node() {
    let node = flock_node(1, 1, &[]).await;
    node.gossip.handle.abort();
    node.tasks.stopping().cancelled().await;
    assert!(node.tasks.failed());
}

#[tokio::test]
async fn a_malformed_value_counts_once_and_the_rest_is_kept() {
    let first = flock_node(1, 1, &[]).await;
    let second = flock_node(2, 1, &[first.address().to_string()]).await;
    second.gossip.advertise(advertised(1)).await;
    second.gossip.write(&[("rt", "nonsense".to_owned())]).await;
    eventually("it is seen", async || {
        let _ = first.gossip.members().await;
        first.rejected("gossip_value") == 1
    })
    .await;
    for _ in 0..10 {
        let member = first.member(2).await.unwrap();
        assert_eq!(member.advertised, Advertised { digest: None, ..advertised(1) });
    }
    assert_eq!(first.rejected("gossip_value"), 1);
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_the_start() {
    let taken = flock_node(1, 1, &[]).await.address();
    let good = || settings(key("flock", "secret"), &[]);
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    for (settings, name, mesh, expected) in [
        (GossipSettings { listen: taken, ..good() }, "n", "h:1", "cannot bind"),
        (GossipSettings { advertise: any, ..good() }, "n", "h:1", "cannot be advertised"),
        (good(), "", "h:1", "name"),
        (good(), &*"n".repeat(NAME_BYTES_MAX + 1), "h:1", "name"),
        (good(), "n", "", "mesh address"),
    ] {
        let id = NodeId::new(9);
        let result = Gossip::start(settings, id, 1, name, mesh, &Metrics::new(), &Tasks::new()).await;
        let error = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{error:?} says {expected:?}");
    }
}
