//! Who is there: what links and gossip tell of the peers, and what follows from it.

use tracing::{error, info, warn};

use std::sync::atomic::Ordering;

use super::{Mesh, State};
use crate::cluster::forgotten::Floor;
use crate::cluster::link::Hello;
use crate::cluster::node_id::NodeId;
use crate::cluster::peers::{PeerEvent, Peers};
use crate::cluster::reach::Ended;
use crate::cluster::routes::{Digest, Position};
use crate::net::clock::now;

impl Mesh {
    /// A node proved itself. False when it is not to be talked to.
    pub(in crate::cluster) fn on_hello(&self, hello: &Hello) -> bool {
        self.change_peers(|peers, events| {
            peers.on_hello(now(), hello.node, hello.incarnation, &hello.name, events)
        })
    }

    /// The dialed control stream is up, and the peer says this of its own routes.
    pub(in crate::cluster) fn on_link_up(&self, peer: NodeId, claim: Digest) {
        let ours = self.own_digest().position;
        self.change_peers(|peers, _| peers.on_link_up(peer, ours));
        self.state.lock().sync.on_link(now(), peer, true);
        self.on_claim(peer, claim);
    }

    /// The dialed control stream ended, or could not be made.
    pub(in crate::cluster) fn on_link_down(&self, peer: NodeId, error: String) {
        self.change_peers(|peers, _| peers.on_link_down(peer, error));
        self.state.lock().sync.on_link(now(), peer, false);
        self.sync_changed.notify_one();
    }

    /// Something arrived from the peer.
    pub(in crate::cluster) fn on_sign(&self, peer: NodeId) {
        self.change_peers(|peers, events| peers.on_sign(now(), peer, events));
    }

    pub(in crate::cluster) fn on_bye(&self, peer: NodeId, incarnation: u64) {
        self.change_peers(|peers, events| peers.on_bye(now(), peer, incarnation, events));
    }

    /// These nodes were forgotten, as an operator here or another node says. True when any of it is news.
    pub(in crate::cluster) fn on_forgotten(&self, floors: &[Floor]) -> bool {
        let own = floors.iter().find(|(id, floor)| *id == self.me() && self.identity.incarnation <= *floor);
        if own.is_some() && !self.is_forgotten.swap(true, Ordering::AcqRel) {
            error!("this node was forgotten by its cluster: restart it, and it comes back as a new one");
        }
        let is_news = self.change_peers(|peers, events| {
            let mut is_news = false;
            for floor in floors {
                is_news |= peers.forget(*floor, events);
            }
            is_news
        });
        if is_news {
            self.wake_control();
        }
        is_news
    }

    /// Everything that is to stay forgotten, and a number that changes with it.
    pub(in crate::cluster) fn forgotten(&self) -> (u64, Vec<Floor>) {
        self.with_peers(|peers| (peers.forgotten().version(), peers.forgotten().list()))
    }

    /// The number alone.
    pub(in crate::cluster) fn forgotten_version(&self) -> u64 {
        self.with_peers(|peers| peers.forgotten().version())
    }

    /// Whether this life of the node was forgotten.
    pub(in crate::cluster) fn refuses(&self, node: NodeId, incarnation: u64) -> bool {
        self.with_peers(|peers| peers.forgotten().refuses(node, incarnation))
    }

    /// Runs a change of the peers, then what follows from it.
    pub(super) fn change_peers<T>(&self, change: impl FnOnce(&mut Peers, &mut Vec<PeerEvent>) -> T) -> T {
        let mut events = Vec::new();
        let (result, ended) = {
            let mut state = self.state.lock();
            let result = change(&mut state.peers, &mut events);
            (result, state.on_events(&events))
        };
        self.end(ended);
        self.on_events(events);
        result
    }

    pub(super) fn on_events(&self, events: Vec<PeerEvent>) {
        for event in events {
            self.on_event(event);
        }
    }

    pub(super) fn on_event(&self, event: PeerEvent) {
        match event {
            PeerEvent::Dial { peer, address } => self.link(peer).dial(address),
            PeerEvent::Restarted { peer, incarnation } => {
                info!(peer = %peer.short(), incarnation, "peer known");
                self.link(peer).restart_connections();
                self.routes.write().on_incarnation(peer, incarnation);
                self.set_live(peer, true);
            }
            PeerEvent::Counts { .. } => {} // The barriers know already.
            PeerEvent::Live { peer } => {
                info!(peer = %peer.short(), "peer live");
                self.set_live(peer, true);
            }
            PeerEvent::Back { peer } => {
                info!(peer = %peer.short(), "peer back");
                self.set_live(peer, true);
            }
            PeerEvent::Down { peer } => {
                warn!(peer = %peer.short(), "peer down");
                self.set_live(peer, false);
                self.give_up_outbox(peer);
                self.link(peer).restart_connections();
            }
            PeerEvent::Left { peer } => {
                info!(peer = %peer.short(), "peer left");
                self.drop_routes(peer);
                self.link(peer).hang_up();
            }
            PeerEvent::Replaced { peer } => {
                info!(peer = %peer.short(), "peer replaced at its address");
                self.remove_link(peer);
                self.drop_routes(peer);
            }
            PeerEvent::Expired { peer } => {
                info!(peer = %peer.short(), "peer gone for so long that it is cleaned away");
                self.remove_link(peer);
                self.drop_routes(peer);
            }
            PeerEvent::Forgotten { peer, floor } => {
                warn!(peer = %peer.short(), incarnation = floor, "node forgotten");
                if self.with_peers(|peers| peers.get(peer).is_none()) {
                    self.remove_link(peer);
                }
                self.routes.write().forget_lives(peer, floor);
            }
        }
    }
}

impl State {
    /// Keeps the barriers in step with the peers; runs under the same lock, so that neither can run ahead.
    pub(super) fn on_events(&mut self, events: &[PeerEvent]) -> Ended {
        let mut ended = Ended::default();
        for event in events {
            match event {
                PeerEvent::Counts { peer } => {
                    let acked = self.peers.get(*peer).map_or(Position::NONE, |known| known.acked);
                    ended.append(self.barriers.count(*peer, acked));
                }
                PeerEvent::Restarted { peer, .. }
                | PeerEvent::Down { peer }
                | PeerEvent::Left { peer }
                | PeerEvent::Replaced { peer }
                | PeerEvent::Expired { peer } => ended.append(self.barriers.discount(*peer)),
                PeerEvent::Forgotten { peer, .. } => {
                    if self.peers.get(*peer).is_none() {
                        ended.append(self.barriers.discount(*peer));
                    }
                }
                PeerEvent::Dial { .. } | PeerEvent::Live { .. } | PeerEvent::Back { .. } => {}
            }
        }
        ended
    }
}
