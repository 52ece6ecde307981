//! Whether the node has caught up at its start, and has said everything at its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Mesh;
use crate::cluster::link::Link;
use crate::cluster::node_id::NodeId;
use crate::net::clock::now;

impl Mesh {
    pub(in crate::cluster) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    /// Whether the cluster had this life of this node forgotten.
    pub(in crate::cluster) fn is_forgotten(&self) -> bool {
        self.is_forgotten.load(Ordering::Acquire)
    }

    pub(in crate::cluster) fn start_leaving(&self) {
        self.is_leaving.store(true, Ordering::Release);
        self.wake_control();
    }

    /// Whether everything that is buffered was acknowledged, and goodbye was said on every link that is up.
    pub(in crate::cluster) fn has_said_everything(&self) -> bool {
        let links: Vec<Arc<Link>> = self.links.lock().values().map(Arc::clone).collect();
        let up: BTreeSet<NodeId> = {
            let state = self.state.lock();
            state.peers.iter().filter(|(_, peer)| peer.link_up).map(|(id, _)| id).collect()
        };
        links
            .iter()
            .filter(|link| up.contains(&link.peer))
            .all(|link| link.has_said_bye() && link.outbox.with(|buffer| buffer.unacked()) == 0)
    }

    /// Whether seeds have had their time to answer.
    pub(in crate::cluster) fn is_grace_over(&self) -> bool {
        self.settings.join_grace <= now().saturating_duration_since(self.started_at)
    }

    /// Whether this node has caught up with the cluster. Once it has, it stays ready until it leaves: a later
    /// partition is no reason to turn clients away, since both sides serve.
    pub(in crate::cluster) fn is_ready(&self, seeds_are_known: bool) -> bool {
        if self.is_leaving() || self.is_forgotten() || !self.membership_started.load(Ordering::Acquire) {
            return false;
        }
        if self.was_ready.load(Ordering::Acquire) {
            return true;
        }
        let grace_is_over = self.is_grace_over();
        let state = self.state.lock();
        let is_ready = (seeds_are_known && state.peers.all_synced())
            || (grace_is_over && state.peers.none_half_synced());
        if is_ready {
            self.was_ready.store(true, Ordering::Release);
        }
        is_ready
    }
}
