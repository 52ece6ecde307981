//! Routes in both directions: the own ones and who has acknowledged them, and those of others.

use tracing::error;

use super::Mesh;
use crate::cluster::link::Pull;
use crate::cluster::node_id::NodeId;
use crate::cluster::reach::{Done, Ended, Reach};
use crate::cluster::routes::{Applied, Delta, Digest, Position, RouteKey, Snapshot};
use crate::cluster::settings::SubackMode;
use crate::cluster::sync::Action;
use crate::metrics::ReasonLabel;
use crate::net::clock::now;
use crate::seeded_bugs::{self, Bug};

impl Mesh {
    pub(in crate::cluster) fn advertise(&self, key: &RouteKey) -> Position {
        let position = self.routes.write().advertise(key);
        self.wake_control();
        position
    }

    pub(in crate::cluster) fn withdraw(&self, key: &RouteKey) -> Position {
        let position = self.routes.write().withdraw(key);
        self.wake_control();
        position
    }

    pub(super) fn wake_control(&self) {
        for link in self.by_index.load().iter().flatten() {
            link.wake_control();
        }
    }

    pub(in crate::cluster) fn reach(&self, position: Position, done: Done) {
        if self.settings.suback == SubackMode::Local || seeded_bugs::has(Bug::EarlySuback) {
            done(Reach::default());
            return;
        }
        let deadline = now() + self.settings.suback_timeout;
        let (ended, is_first) = {
            let barriers = &mut self.state.lock().barriers;
            let nobody_waited = barriers.deadline().is_none();
            let ended = barriers.wait(position, deadline, done);
            (ended, nobody_waited && barriers.deadline().is_some())
        };
        if is_first {
            self.barriers_changed.notify_one();
        }
        ended.run();
    }

    /// Ends barriers whose time is up, until the cluster stops.
    pub(in crate::cluster) async fn run_barrier_timer(&self) {
        loop {
            let deadline = self.state.lock().barriers.deadline();
            let sleep = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {
                    let ended = self.state.lock().barriers.on_timeout(now());
                    self.end(ended);
                }
                () = self.barriers_changed.notified() => {}
                () = self.stop.cancelled() => break,
            }
        }
        let ended = self.state.lock().barriers.finish_all();
        ended.run();
    }

    pub(super) fn end(&self, ended: Ended) {
        let incomplete = ended.incomplete() as u64;
        if 0 < incomplete {
            self.metrics.suback_timeouts.inc_by(incomplete);
        }
        ended.run();
    }

    /// The peer has this node's routes up to `position`.
    pub(in crate::cluster) fn on_route_ack(&self, peer: NodeId, position: Position) {
        let ours = self.routes.read().own_position();
        let mut events = Vec::new();
        let ended = {
            let mut state = self.state.lock();
            state.peers.on_ack(peer, position, ours, &mut events);
            let mut ended = state.barriers.on_ack(peer, position);
            ended.append(state.on_events(&events));
            ended
        };
        self.end(ended);
        self.on_events(events);
    }

    /// The peer asked for this node's routes and gets them.
    pub(in crate::cluster) fn on_told(&self, peer: NodeId) {
        self.change_peers(|peers, events| peers.on_told(peer, events));
    }

    /// What the peer says of its own routes.
    pub(in crate::cluster) fn on_claim(&self, peer: NodeId, claim: Digest) {
        let have = self.routes.read().position(peer);
        self.change_peers(|peers, events| {
            peers.on_claim(peer, claim);
            if let Some(have) = have {
                peers.on_applied(peer, have, events);
            }
        });
        self.state.lock().sync.on_digest(now(), peer, claim);
        self.sync_changed.notify_one();
    }

    /// A piece of some owner's log arrived, whichever way.
    pub(in crate::cluster) fn on_delta(&self, delta: &Delta) {
        let applied = self.routes.write().on_delta(delta);
        self.on_applied(delta.owner, applied);
    }

    /// A whole table of some owner arrived.
    pub(in crate::cluster) fn on_snapshot(&self, snapshot: &Snapshot) {
        let applied = self.routes.write().on_snapshot(snapshot);
        self.on_applied(snapshot.owner, applied);
    }

    pub(super) fn on_applied(&self, owner: NodeId, applied: Applied) {
        let position = match applied {
            Applied::Advanced(position) | Applied::Duplicate(position) => position,
            // Anti-entropy compares claims and table by itself, so a gap needs no message.
            Applied::Gap { .. } | Applied::Stale | Applied::Own | Applied::Forgotten | Applied::Full => {
                return;
            }
        };
        self.change_peers(|peers, events| peers.on_applied(owner, position, events));
        if matches!(applied, Applied::Advanced(_)) {
            self.on_pull_progress(owner);
            if let Some(link) = self.known_link(owner) {
                link.wake_answers();
            }
        }
    }

    /// A part of what was pulled arrived.
    pub(in crate::cluster) fn on_pull_progress(&self, owner: NodeId) {
        let mut state = self.state.lock();
        state.sync.on_progress(now(), owner);
        if state.sync.deadline().is_some() {
            self.sync_changed.notify_one();
        }
    }

    pub(in crate::cluster) fn on_pull_refused(&self, peer: NodeId, owner: NodeId) {
        self.state.lock().sync.on_refused(now(), peer, owner);
        self.sync_changed.notify_one();
    }

    /// Pulls what pushes lost, until the cluster stops.
    pub(in crate::cluster) async fn run_sync(&self) {
        loop {
            let deadline = self.state.lock().sync.deadline();
            let sleep = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.look_for_lags(),
                () = self.sync_changed.notified() => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    pub(super) fn look_for_lags(&self) {
        let mut actions = Vec::new();
        {
            let mut state = self.state.lock();
            let routes = self.routes.read();
            state.sync.on_timeout(now(), &routes, &mut actions);
        }
        for Action::Pull { from, owner, since } in actions {
            let kind = if since.is_some() { "pull" } else { "digest" };
            self.metrics.cluster_repairs.get_or_create(&ReasonLabel { reason: kind }).inc();
            if since.is_none() {
                error!(owner = %owner.short(), "routes differ from their owner's at the same position");
            }
            if let Some(link) = self.known_link(from) {
                link.pull(Pull { owner, since });
            }
        }
    }
}
