//! What arrives.

use super::world::{Advertised, Body, CHANGES_MAX, Message, World, id, node_of};
use crate::cluster::frame::{Assembly, Control, decode_control};
use crate::cluster::node_id::NodeId;
use crate::cluster::routes::{Applied, Tail};

impl World {
    pub(super) fn deliver(&mut self) -> Result<(), String> {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.under_way).into_iter().partition(|message| message.at <= now);
        self.under_way = later;
        for Message { from, to, body, .. } in due {
            // Also what was sent to an earlier life arrives, if the path is open.
            if !self.is_open(from, to) {
                continue;
            }
            match body {
                Body::Frames(frames) => {
                    for frame in frames {
                        self.on_frame(from, to, &frame)?;
                    }
                }
                Body::Gossip(all) => self.on_gossip(to, all)?,
            }
        }
        Ok(())
    }

    fn on_frame(&mut self, from: usize, to: usize, frame: &[u8]) -> Result<(), String> {
        let control = decode_control(frame).map_err(|error| format!("seed {}: {error}", self.seed))?;
        let now = self.now;
        let node = &mut self.nodes[to];
        match control {
            Control::Delta(delta) => {
                let applied = node.routes.on_delta(&delta);
                if let Applied::Gap { .. } = applied {
                    node.sync.on_claim(now, id(from), delta.owner, delta.end());
                }
                self.count(to, delta.owner, applied)?;
            }
            Control::SnapshotBegin(begin) => {
                let assembly = Assembly::new(begin).map_err(|error| error.to_string())?;
                node.assemblies.insert((from, begin.owner), assembly);
                node.sync.on_progress(now, begin.owner);
            }
            Control::SnapshotChunk(chunk) => {
                let (owner, key) = (chunk.owner, (from, chunk.owner));
                let taken = node.assemblies.get_mut(&key).map(|assembly| assembly.on_chunk(chunk));
                match taken {
                    Some(Ok(())) => node.sync.on_progress(now, owner),
                    Some(Err(_)) => {
                        node.assemblies.remove(&key);
                        node.sync.on_refused(now, id(from), owner);
                    }
                    None => {}
                }
            }
            Control::SnapshotEnd { owner } => {
                let assembly = node.assemblies.remove(&(from, owner));
                match assembly.map(|assembly| assembly.on_end(owner)) {
                    Some(Ok(snapshot)) => {
                        let applied = node.routes.on_snapshot(&snapshot);
                        self.count(to, owner, applied)?;
                    }
                    Some(Err(_)) => node.sync.on_refused(now, id(from), owner),
                    None => {}
                }
            }
            Control::Pull { owner, since } => {
                let tail = since.map(|since| node.routes.tail(owner, since, CHANGES_MAX));
                match tail.unwrap_or(Tail::SnapshotNeeded) {
                    Tail::UpToDate => self.send_frame(to, from, &Control::PullRefused { owner }),
                    Tail::Delta(delta) => self.send_frame(to, from, &Control::Delta(delta)),
                    Tail::SnapshotNeeded => self.send_snapshot(to, from, owner),
                }
            }
            Control::PullRefused { owner } => node.sync.on_refused(now, id(from), owner),
            other => return Err(format!("seed {}: nobody sends {other:?}", self.seed)),
        }
        Ok(())
    }

    fn on_gossip(&mut self, to: usize, all: Vec<(NodeId, Advertised)>) -> Result<(), String> {
        let now = self.now;
        for (peer, advertised) in all {
            let node = &mut self.nodes[to];
            let known = node.heard.get(&peer).map(|(known, _)| known.age());
            if peer == id(to) || known >= Some(advertised.age()) {
                continue;
            }
            node.hear_digest(now, node_of(peer), advertised.own);
            node.sync.on_claims(now, peer, &advertised.have);
            let recent = advertised.recent.clone();
            node.heard.insert(peer, (advertised, now));
            if let Some(frame) = recent {
                self.on_frame(node_of(peer), to, &frame)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, node: usize, owner: NodeId, applied: Applied) -> Result<(), String> {
        match applied {
            Applied::Advanced(_) => self.nodes[node].sync.on_progress(self.now, owner),
            Applied::Duplicate(_) => self.stats.duplicates += 1,
            Applied::Gap { .. } => self.stats.gaps += 1,
            Applied::Stale | Applied::Own | Applied::Forgotten => {}
            Applied::Full => return Err(format!("seed {}: a full table", self.seed)),
        }
        Ok(())
    }
}
