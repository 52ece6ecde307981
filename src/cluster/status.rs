//! What the node tells people about the cluster: peers, lag, digests, routes.

use serde::Serialize;

use super::mesh::Mesh;
use super::node_id::NodeId;
use super::peers::{Peer, PeerState};
use super::routes::{Digest, Position, Routes};
use crate::net::clock::now;

/// The cluster as this node sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// This node.
    pub id: NodeId,
    /// This node's label.
    pub name: String,
    /// Whether it has caught up and takes clients.
    pub ready: bool,
    /// Whether every live node has all routes of every live node, and no contents differ.
    pub converged: bool,
    /// This node first, then its peers by id.
    pub nodes: Vec<NodeStatus>,
}

/// One node as this node sees it.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// Its id.
    pub id: NodeId,
    /// Its label.
    pub name: String,
    /// `host:port` of its mesh port.
    pub address: String,
    /// `host:port` of its HTTP interface, as it says; empty when it does not.
    pub http: String,
    /// Whether it is the node that answers.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// Its life.
    pub incarnation: u64,
    /// `live`, `joining`, `suspect`, `down` or `left`.
    pub state: &'static str,
    /// `up`, `down` or `self`.
    pub link: &'static str,
    /// Routes that it owns, as far as they are known here.
    pub routes: usize,
    /// Changes of its routes that exist and are not applied here.
    pub lag: u64,
    /// The set hash of its routes here, 16 hex digits.
    pub digest: String,
    /// Whether that is what the node itself says.
    pub digest_agrees: bool,
    /// How long ago anything was heard of it.
    pub seen_ms_ago: u64,
    /// Messages to it that it has not acknowledged.
    pub unacked: u64,
    /// Why it is not live; empty when it is.
    pub reason: String,
}

/// One entry of the route table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteListing {
    /// The Topic Filter.
    pub filter: String,
    /// The share group.
    pub share: Option<String>,
    /// Whether a persistent session holds it.
    pub durable: bool,
    /// Names of the nodes that have it; the short id where a name is not known.
    pub nodes: Vec<String>,
}

impl Mesh {
    pub(super) fn status(&self, address: &str, http: Option<String>, ready: bool) -> Status {
        let own = self.own_digest();
        let mut nodes = vec![NodeStatus {
            id: self.me(),
            name: self.identity.name.clone(),
            address: address.to_owned(),
            http: http.unwrap_or_default(),
            is_self: true,
            incarnation: self.identity.incarnation,
            state: if self.is_leaving() { PeerState::Left.as_str() } else { PeerState::Live.as_str() },
            link: "self",
            routes: usize::try_from(own.count).unwrap_or(usize::MAX),
            lag: 0,
            digest: hex(own),
            digest_agrees: true,
            seen_ms_ago: 0,
            unacked: 0,
            reason: String::new(),
        }];
        let peers: Vec<(NodeId, Peer)> =
            self.with_peers(|peers| peers.iter().map(|(id, peer)| (id, peer.clone())).collect());
        let converged = {
            let routes = self.routes.read();
            nodes.extend(peers.iter().map(|(id, peer)| peer_status(*id, peer, &routes)));
            is_converged(self.me(), own, &peers, &routes)
        };
        for node in &mut nodes[1..] {
            node.unacked = self.unacked(node.id);
        }
        Status {
            cluster: self.settings.name.clone(),
            id: self.me(),
            name: self.identity.name.clone(),
            ready,
            converged,
            nodes,
        }
    }

    pub(super) fn route_listing(&self) -> Vec<RouteListing> {
        let listing: Vec<_> = self.routes.read().listing().collect();
        let name = |id: NodeId| {
            if id == self.me() {
                return self.identity.name.clone();
            }
            let known = self.with_peers(|peers| peers.get(id).map(|peer| peer.name.clone()));
            known.filter(|name| !name.is_empty()).unwrap_or_else(|| id.short())
        };
        listing
            .into_iter()
            .map(|(key, nodes)| RouteListing {
                filter: key.filter.as_str().to_owned(),
                share: key.share.map(|share| share.as_str().to_owned()),
                durable: key.durable,
                nodes: nodes.into_iter().map(name).collect(),
            })
            .collect()
    }
}

fn peer_status(id: NodeId, peer: &Peer, routes: &Routes) -> NodeStatus {
    let state = peer.state();
    let digest = routes.digest(id);
    let have = digest.map_or(Position::NONE, |digest| digest.position);
    let seen = now().saturating_duration_since(peer.last_sign);
    NodeStatus {
        id,
        name: peer.name.clone(),
        address: peer.address.clone(),
        http: peer.http.clone().unwrap_or_default(),
        is_self: false,
        incarnation: peer.incarnation,
        state: state.as_str(),
        link: if peer.link_up { "up" } else { "down" },
        routes: routes.routes_of(id),
        lag: peer.claim.map_or(0, |claim| lag(claim.position, have)),
        digest: digest.map(hex).unwrap_or_default(),
        digest_agrees: peer.claim.is_some_and(|claim| agrees(digest, claim)),
        seen_ms_ago: u64::try_from(seen.as_millis()).unwrap_or(u64::MAX),
        unacked: 0,
        reason: match state {
            PeerState::Live => String::new(),
            PeerState::Joining if peer.link_up => "routes are not in step yet".to_owned(),
            PeerState::Down => "silent".to_owned(),
            PeerState::Left => "said goodbye".to_owned(),
            PeerState::Joining | PeerState::Suspect => {
                format!("link: {}", peer.link_error.as_deref().unwrap_or("not up yet"))
            }
        },
    }
}

fn lag(claimed: Position, have: Position) -> u64 {
    if claimed.incarnation == have.incarnation {
        claimed.seq.saturating_sub(have.seq)
    } else if have < claimed {
        claimed.seq.max(1)
    } else {
        0
    }
}

/// Every live node, this one included, has of every live node's log exactly what its owner claims.
fn is_converged(me: NodeId, own: Digest, peers: &[(NodeId, Peer)], routes: &Routes) -> bool {
    let gone = |peer: &Peer| matches!(peer.state(), PeerState::Down | PeerState::Left);
    let live: Vec<&(NodeId, Peer)> = peers.iter().filter(|(_, peer)| !gone(peer)).collect();
    let all_live = live.iter().all(|(_, peer)| peer.state() == PeerState::Live);
    let here =
        live.iter().all(|(id, peer)| peer.claim.is_some_and(|claim| agrees(routes.digest(*id), claim)));
    // Claims are as old as the last gossip round; what was applied here since then is news of the owner too.
    let mut claims: Vec<(NodeId, Position)> =
        live.iter().filter_map(|(id, _)| Some((*id, routes.position(*id)?))).collect();
    claims.push((me, own.position));
    let there = live.iter().all(|(id, peer)| {
        claims.iter().filter(|(owner, _)| owner != id).all(|(owner, position)| {
            let have = if *owner == me { peer.acked.max(told(peer, me)) } else { told(peer, *owner) };
            have == *position
        })
    });
    all_live && here && there
}

/// Whether the table has at least what the owner claims, and nothing else at the same position.
fn agrees(here: Option<Digest>, claim: Digest) -> bool {
    here.is_some_and(|here| here == claim || claim.position < here.position)
}

fn told(peer: &Peer, owner: NodeId) -> Position {
    peer.have.get(&owner).copied().unwrap_or(Position::NONE)
}

fn hex(digest: Digest) -> String {
    format!("{:016x}", digest.hash)
}
