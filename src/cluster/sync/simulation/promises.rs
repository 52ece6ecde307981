//! What must hold at every moment, and what at the end.

use std::collections::BTreeSet;

use super::world::{Bug, Node, World, id, node_of};
use crate::cluster::routes::NodeSet;
use crate::topic::TopicRef;

impl World {
    /// What must hold at every moment.
    pub(super) fn check(&self, node: usize) -> Result<(), String> {
        let Node { routes, wanted, .. } = &self.nodes[node];
        if routes.routes_of(id(node)) != wanted.len() {
            return Err(format!("seed {}: node {node} lost own routes", self.seed));
        }
        for (owner, digest) in routes.digests() {
            let right = self.history.get(&(owner, digest.position));
            if right != Some(&digest) && self.bug != Bug::Corruption {
                return Err(format!(
                    "seed {}: node {node} has {digest:?} of {owner}, not {right:?}",
                    self.seed
                ));
            }
        }
        Ok(())
    }

    /// What must hold at the end, or the first thing that does not.
    pub(super) fn difference(&self) -> Option<String> {
        let seed = self.seed;
        for (at, node) in self.nodes.iter().enumerate() {
            let own: BTreeSet<_> = node.routes.snapshot(id(at))?.keys.into_iter().collect();
            if own != node.wanted {
                return Some(format!("seed {seed}: node {at} lost own routes"));
            }
            for (owner, other) in self.nodes.iter().enumerate() {
                let held: BTreeSet<_> = node
                    .routes
                    .snapshot(id(owner))
                    .map(|snapshot| snapshot.keys)
                    .into_iter()
                    .flatten()
                    .collect();
                if held != other.wanted || node.routes.digest(id(owner)) != other.routes.digest(id(owner)) {
                    return Some(format!("seed {seed}: node {at} does not have what {owner} holds"));
                }
            }
            for topic in ["a", "a/x", "b/1", "c/d/e", "z"].map(|text| TopicRef::parse(text).unwrap()) {
                let mut nodes = NodeSet::new();
                node.routes.nodes(topic, &mut nodes);
                let found: BTreeSet<_> =
                    nodes.iter().filter_map(|node| self.nodes[at].routes.node(node).map(node_of)).collect();
                let matches = |node: &Node| node.wanted.iter().any(|key| key.filter.matches(topic));
                let expected: BTreeSet<_> = (0..self.nodes.len())
                    .filter(|&other| other != at && matches(&self.nodes[other]))
                    .collect();
                if found != expected {
                    return Some(format!(
                        "seed {seed}: node {at} sends {topic:?} to {found:?}, not {expected:?}"
                    ));
                }
            }
        }
        None
    }
}
