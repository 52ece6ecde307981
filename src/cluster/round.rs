//! The gossip round: what membership knows goes into the mesh, what this node has to say goes out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;

use super::frame::Control;
use super::membership::{Advertised, Member, Membership, RECENT_BYTES_MAX, RECENT_MAX};
use super::mesh::Mesh;
use super::node_id::NodeId;
use super::peers::{Peer, PeerState};
use super::routes::{Position, Tail};

/// The longest that a look at the names of seeds may delay a round.
const RESOLVE_MAX: Duration = Duration::from_millis(200);
/// Changes that can stand in one gossiped delta at most: each takes at least 3 bytes.
const CHANGES_PER_DELTA_MAX: usize = RECENT_BYTES_MAX / 3;

/// The task that runs the rounds.
pub(super) struct Rounds {
    mesh: Arc<Mesh>,
    membership: Arc<dyn Membership>,
    /// Seeds other than this node, with their addresses once they are resolved.
    seeds: Mutex<BTreeMap<String, Vec<SocketAddr>>>,
    own_addresses: [String; 2],
    seeds_are_known: AtomicBool,
    /// Seeds were missing when the grace was over, and the log says so.
    has_complained: AtomicBool,
    http: Mutex<Option<String>>,
}

impl Rounds {
    pub(super) fn new(
        mesh: &Arc<Mesh>,
        membership: Arc<dyn Membership>,
        local_addr: SocketAddr,
        address: &str,
    ) -> Self {
        let own_addresses = [local_addr.to_string(), address.to_owned()];
        let seeds: BTreeMap<String, Vec<SocketAddr>> = mesh
            .settings
            .node_address
            .iter()
            .filter(|seed| !own_addresses.contains(seed))
            .map(|seed| (seed.clone(), seed.parse().into_iter().collect()))
            .collect();
        Self {
            mesh: Arc::clone(mesh),
            membership,
            seeds_are_known: AtomicBool::new(seeds.is_empty()),
            has_complained: AtomicBool::new(false),
            seeds: Mutex::new(seeds),
            own_addresses,
            http: Mutex::default(),
        }
    }

    pub(super) fn set_http(&self, address: String) {
        *self.http.lock() = Some(address);
    }

    /// Empty until it is set.
    pub(super) fn http(&self) -> String {
        self.http.lock().clone().unwrap_or_default()
    }

    /// Whether every seed is a peer that is in step, or this node itself.
    pub(super) fn seeds_are_known(&self) -> bool {
        self.seeds_are_known.load(Ordering::Acquire)
    }

    /// Runs until the cluster stops.
    pub(super) async fn run(&self) {
        let mut rounds = interval(self.mesh.settings.gossip_interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => self.run_one().await,
                () = self.mesh.stop.cancelled() => return,
            }
        }
    }

    async fn run_one(&self) {
        let members = self.membership.members().await;
        self.mesh.on_round(&members);
        self.membership.advertise(self.advertised()).await;
        if !self.seeds_are_known() {
            self.resolve_seeds().await;
            self.look_for_seeds(&members);
        }
    }

    fn advertised(&self) -> Advertised {
        let me = self.mesh.me();
        let have = {
            let routes = self.mesh.routes.read();
            routes
                .digests()
                .into_iter()
                .filter(|(owner, _)| *owner != me)
                .map(|(owner, digest)| (owner, digest.position))
                .collect()
        };
        Advertised {
            digest: Some(self.mesh.own_digest()),
            have,
            recent: self.recent(),
            http: self.http.lock().clone(),
            forgotten: self.mesh.forgotten().1,
            leaving: self.mesh.is_leaving(),
        }
    }

    /// The next changes for the peer that is furthest behind; nothing when all have everything, which is so
    /// whenever links are up. So they reach a peer that no link can be made to, a few each round.
    fn recent(&self) -> Vec<Vec<u8>> {
        let (me, own) = (self.mesh.me(), self.mesh.own_digest().position);
        let furthest_behind = self.mesh.with_peers(|peers| {
            let waiting = peers.iter().filter(|(_, peer)| is_waiting(peer));
            waiting.map(|(_, peer)| acknowledged(peer, me)).filter(|acked| *acked < own).min()
        });
        let mut frames = Vec::new();
        let Some(mut since) = furthest_behind else { return frames };
        while frames.len() < RECENT_MAX
            && let Some((frame, end)) = self.small_delta(me, since)
        {
            frames.push(frame);
            since = end;
        }
        frames
    }

    /// The longest piece of the own log after `since` that gossip carries, and where it ends.
    fn small_delta(&self, me: NodeId, since: Position) -> Option<(Vec<u8>, Position)> {
        let mut changes_max = CHANGES_PER_DELTA_MAX;
        while 0 < changes_max {
            let Tail::Delta(delta) = self.mesh.routes.read().tail(me, since, changes_max) else {
                return None;
            };
            let (count, end) = (delta.changes.len(), delta.end());
            let mut frame = Vec::new();
            Control::Delta(delta).encode(&mut frame).ok()?;
            if frame.len() <= RECENT_BYTES_MAX {
                return Some((frame, end));
            }
            changes_max = count / 2;
        }
        None
    }

    async fn resolve_seeds(&self) {
        let unresolved: Vec<String> = {
            let seeds = self.seeds.lock();
            seeds.iter().filter(|(_, found)| found.is_empty()).map(|(seed, _)| seed.clone()).collect()
        };
        for seed in unresolved {
            let found = timeout(RESOLVE_MAX, tokio::net::lookup_host(&seed)).await;
            let found: Vec<SocketAddr> = found.ok().and_then(Result::ok).into_iter().flatten().collect();
            self.seeds.lock().insert(seed, found);
        }
    }

    fn look_for_seeds(&self, members: &[Member]) {
        let live: Vec<&Member> = self.mesh.with_peers(|peers| {
            let is_live = |id| peers.get(id).is_some_and(|peer| peer.state() == PeerState::Live);
            members.iter().filter(|member| is_live(member.id)).collect()
        });
        let is_at = |address: &str, seed: &str, resolved: &[SocketAddr]| {
            address == seed || address.parse().is_ok_and(|address: SocketAddr| resolved.contains(&address))
        };
        let missing: Vec<String> = {
            let seeds = self.seeds.lock();
            let missing = seeds.iter().filter(|(seed, resolved)| {
                !self.own_addresses.iter().any(|own| is_at(own, seed, resolved))
                    && !live.iter().any(|member| is_at(&member.mesh_address, seed, resolved))
            });
            missing.map(|(seed, _)| seed.clone()).collect()
        };
        if missing.is_empty() {
            self.seeds_are_known.store(true, Ordering::Release);
        } else if self.mesh.is_grace_over() && !self.has_complained.swap(true, Ordering::AcqRel) {
            // Without a word a node with a mistyped seed or secret would look like a healthy cluster of one.
            warn!(
                seeds = %missing.join(" "),
                "seeds do not answer: not started yet, or another address, cluster name or secret"
            );
        }
    }
}

/// Whether the peer is there and may lack routes.
fn is_waiting(peer: &Peer) -> bool {
    !matches!(peer.state(), PeerState::Down | PeerState::Left)
}

fn acknowledged(peer: &Peer, me: NodeId) -> Position {
    let told = peer.have.get(&me).copied().unwrap_or(Position::NONE);
    peer.acked.max(told)
}
