//! The table of links, by peer and by the index that the route table has for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use super::Mesh;
use crate::cluster::link::Link;
use crate::cluster::node_id::NodeId;
use crate::cluster::peers::{Peer, PeerState};
use crate::cluster::routes::NodeIdx;
use crate::metrics::DropReason;
use crate::net::clock::now;
use crate::seeded_bugs::{self, Bug};

impl Mesh {
    /// Masks or unmasks a peer's routes, and keeps the table of links by index right.
    pub(super) fn set_live(&self, peer: NodeId, live: bool) {
        let index = {
            let mut routes = self.routes.write();
            if !(live && seeded_bugs::has(Bug::MaskKept) && routes.index(peer).is_some()) {
                routes.set_live(peer, live);
            }
            routes.index(peer)
        };
        if live && let Some(index) = index {
            self.place_link(index, Some(self.link(peer)));
        }
    }

    pub(super) fn place_link(&self, index: NodeIdx, link: Option<Arc<Link>>) {
        self.by_index.rcu(|links| {
            let mut links = Vec::clone(links);
            if links.len() <= index.index() {
                links.resize(index.index() + 1, None);
            }
            links[index.index()].clone_from(&link);
            links
        });
    }

    /// The links by the route table's index of their nodes.
    pub(in crate::cluster) fn links_by_index(&self) -> arc_swap::Guard<Arc<Vec<Option<Arc<Link>>>>> {
        self.by_index.load()
    }

    /// The link to a peer; made when there is none yet.
    pub(in crate::cluster) fn link(&self, peer: NodeId) -> Arc<Link> {
        let mut links = self.links.lock();
        if let Some(link) = links.get(&peer) {
            return Arc::clone(link);
        }
        let bytes_max = self.settings.link_buffer_bytes;
        let link = Arc::new(Link::new(peer, bytes_max, rand::random(), self.stop.child_token()));
        links.insert(peer, Arc::clone(&link));
        if let Some(this) = self.this.upgrade() {
            link.spawn(&this);
        }
        link
    }

    /// Events keep links and peers in step; this makes sure of it, whatever crossed whatever.
    pub(super) fn update_links(&self) {
        // A link is made after its peer is known, so whoever is missing in this order is gone.
        let linked: Vec<NodeId> = self.links.lock().keys().copied().collect();
        let wanted: BTreeMap<NodeId, Option<String>> = self.with_peers(|peers| {
            let address = |peer: &Peer| {
                let is_wanted = peer.state() != PeerState::Left && !peer.address.is_empty();
                is_wanted.then(|| peer.address.clone())
            };
            peers.iter().map(|(id, peer)| (id, address(peer))).collect()
        });
        for stray in linked.into_iter().filter(|id| !wanted.contains_key(id)) {
            self.remove_link(stray);
        }
        for (peer, address) in wanted {
            if let Some(address) = address {
                self.link(peer).dial(address);
            }
        }
    }

    /// Drops what is known of a peer's routes; only its next life, or itself seen alive, brings some again.
    pub(super) fn drop_routes(&self, peer: NodeId) {
        let index = {
            let mut routes = self.routes.write();
            let index = routes.index(peer);
            routes.forget(peer);
            index
        };
        // Another node may get the index next.
        if let Some(index) = index {
            self.place_link(index, None);
        }
    }

    #[cfg(test)]
    pub(in crate::cluster) fn has_link(&self, peer: NodeId) -> bool {
        self.links.lock().contains_key(&peer)
    }

    pub(super) fn known_link(&self, peer: NodeId) -> Option<Arc<Link>> {
        self.links.lock().get(&peer).cloned()
    }

    pub(super) fn remove_link(&self, peer: NodeId) {
        let link = self.links.lock().remove(&peer);
        let index = self.routes.read().index(peer);
        if let Some(index) = index {
            self.place_link(index, None);
        }
        if let Some(link) = link {
            link.stop();
            self.drop_buffered(&link);
        }
        self.state.lock().sync.on_gone(now(), peer);
    }

    /// Drops what waits for a peer that is not coming back soon.
    pub(in crate::cluster) fn give_up_outbox(&self, peer: NodeId) {
        if let Some(link) = self.known_link(peer) {
            self.drop_buffered(&link);
        }
    }

    pub(super) fn drop_buffered(&self, link: &Link) {
        let dropped = link.outbox.with(|buffer| buffer.clear());
        link.outbox.wake();
        if 0 < dropped {
            warn!(peer = %link.peer.short(), messages = dropped, "unacknowledged messages given up");
            self.metrics.dropped(DropReason::PeerDown).inc_by(dropped);
        }
    }
}
