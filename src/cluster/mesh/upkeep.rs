//! What is done once per gossip round, whatever happened in between.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Mesh, State};
use crate::cluster::frame::{Control, decode_control};
use crate::cluster::membership::Member;
use crate::cluster::node_id::NodeId;
use crate::cluster::peers::{PEER_STATES, PeerState};
use crate::cluster::routes::{Delta, Position};
use crate::metrics::{PeerLabel, StateLabel};
use crate::net::clock::now;
use crate::seeded_bugs::{self, Bug};

impl Mesh {
    /// One look at everything, each gossip round.
    pub(in crate::cluster) fn on_round(&self, members: &[Member]) {
        self.membership_started.store(true, Ordering::Release);
        let now = now();
        // What a forgotten node says is not heard, so that of two that forgot each other neither takes others along.
        let members: Vec<&Member> =
            members.iter().filter(|member| !self.refuses(member.id, member.incarnation)).collect();
        for member in &members {
            self.on_forgotten(&member.advertised.forgotten);
        }
        self.change_peers(|peers, events| {
            peers.on_members(now, &members, events);
            peers.on_tick(now, events);
        });
        for member in members {
            self.take_gossiped_routes(member);
        }
        self.feed_sync(now);
        self.update_masks();
        self.update_links();
        self.update_metrics();
    }

    /// Routes travel by gossip too, for the time that two nodes cannot connect to each other.
    pub(super) fn take_gossiped_routes(&self, member: &Member) {
        let mut deltas: Vec<Delta> = Vec::new();
        for bytes in &member.advertised.recent {
            match decode_control(bytes) {
                Ok(Control::Delta(delta)) if delta.owner == member.id => deltas.push(delta),
                _ => self.count_rejected("gossip_delta"),
            }
        }
        deltas.sort_by_key(|delta| delta.since);
        for delta in deltas {
            let have = self.routes.read().position(delta.owner).unwrap_or(Position::NONE);
            let is_next = (delta.since <= have || seeded_bugs::has(Bug::GapIgnored)) && have < delta.end();
            if is_next || (have.incarnation < delta.since.incarnation && delta.since.seq == 0) {
                self.on_delta(&delta);
            }
        }
        if let Some(digest) = member.advertised.digest {
            self.on_claim(member.id, digest);
        }
        let acked = member.advertised.have.iter().find(|(owner, _)| *owner == self.me());
        if let Some((_, position)) = acked {
            self.on_route_ack(member.id, *position);
        }
    }

    pub(super) fn feed_sync(&self, now: Instant) {
        let mut state = self.state.lock();
        let State { peers, sync, .. } = &mut *state;
        for (id, peer) in peers.iter() {
            let have: Vec<(NodeId, Position)> =
                peer.have.iter().map(|(owner, position)| (*owner, *position)).collect();
            sync.on_claims(now, id, &have);
        }
        drop(state);
        self.sync_changed.notify_one();
    }

    /// Events set the masks at once; this makes sure that they never stay wrong.
    pub(super) fn update_masks(&self) {
        let states: Vec<(NodeId, bool)> = {
            let state = self.state.lock();
            state.peers.iter().map(|(id, peer)| (id, is_usable(peer.state()))).collect()
        };
        for (peer, live) in states {
            let is_right = self.routes.read().is_live(peer) == live;
            if !is_right {
                self.set_live(peer, live);
            }
        }
    }

    pub(super) fn update_metrics(&self) {
        let metrics = &self.metrics;
        let mut lags = Vec::new();
        {
            let state = self.state.lock();
            let routes = self.routes.read();
            for peer_state in PEER_STATES {
                let label = StateLabel { state: peer_state.as_str() };
                metrics.cluster_peers.get_or_create(&label).set(state.peers.count(peer_state) as i64);
            }
            for (id, _) in state.peers.iter() {
                lags.push((id, state.sync.lag(id, &routes)));
            }
            metrics.routes.set(routes.len() as i64);
        }
        let mut shown = BTreeSet::new();
        for (peer, lag) in lags {
            let label = PeerLabel { peer: peer.short() };
            metrics.cluster_route_lag.get_or_create(&label).set(i64::try_from(lag).unwrap_or(i64::MAX));
            shown.insert(label.peer);
        }
        let shown_before = std::mem::replace(&mut *self.shown_lags.lock(), shown.clone());
        for peer in shown_before.difference(&shown).cloned() {
            metrics.cluster_route_lag.remove(&PeerLabel { peer });
        }
    }
}

/// Whether messages are to be forwarded to a peer in this state; what cannot be sent yet is buffered.
fn is_usable(state: PeerState) -> bool {
    matches!(state, PeerState::Joining | PeerState::Live | PeerState::Suspect)
}
