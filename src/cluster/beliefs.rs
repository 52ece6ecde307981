//! What this node holds of each owner's routes, for whoever compares it with what others hold.

use serde::Serialize;

use super::Cluster;
use super::node_id::NodeId;
use super::routes::{Digest, Position, RouteKey};

/// Routes on one page at most.
const PAGE_ROUTES_MAX: usize = 20_000;

/// What this node holds of every owner.
#[derive(Clone, Debug, Serialize)]
pub struct Beliefs {
    /// This node.
    pub id: NodeId,
    /// Its label.
    pub name: String,
    /// By id; its own routes are among them.
    pub owners: Vec<Belief>,
}

/// What this node holds of one owner: two nodes that are right and at the same position say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Belief {
    /// Whose routes.
    pub owner: NodeId,
    /// The owner's life.
    pub incarnation: u64,
    /// Changes of that life that are applied.
    pub seq: u64,
    /// Routes.
    pub count: u64,
    /// The set hash of the routes, as a number.
    pub hash: u64,
}

/// A part of one owner's routes, in order.
#[derive(Clone, Debug, Serialize)]
pub struct RoutePage {
    /// What the whole is; a page of another position belongs to another table.
    #[serde(flatten)]
    pub belief: Belief,
    /// The routes from `after` on, at most 20,000.
    pub routes: Vec<OwnedRoute>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<usize>,
}

/// One route of an owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct OwnedRoute {
    /// The Topic Filter.
    pub filter: String,
    /// The share group.
    pub share: Option<String>,
    /// Whether a persistent session holds it.
    pub durable: bool,
}

impl Belief {
    fn new(owner: NodeId, digest: Digest) -> Self {
        let Digest { position: Position { incarnation, seq }, count, hash } = digest;
        Self { owner, incarnation, seq, count, hash }
    }
}

impl From<&RouteKey> for OwnedRoute {
    fn from(key: &RouteKey) -> Self {
        Self {
            filter: key.filter.as_str().to_owned(),
            share: key.share.as_ref().map(|share| share.as_str().to_owned()),
            durable: key.durable,
        }
    }
}

impl Cluster {
    /// What this node holds of every owner.
    #[must_use]
    pub fn beliefs(&self) -> Beliefs {
        let digests = self.mesh.routes.read().digests();
        let owners = digests.into_iter().map(|(owner, digest)| Belief::new(owner, digest)).collect();
        let identity = self.identity();
        Beliefs { id: identity.id, name: identity.name.clone(), owners }
    }

    /// The routes of one owner as held here, from the number `after` on; `None` when nothing of it is held. Looks at
    /// the whole table: for people, not for code.
    #[must_use]
    pub fn routes_of(&self, owner: NodeId, after: usize) -> Option<RoutePage> {
        let (snapshot, digest) = {
            let routes = self.mesh.routes.read();
            (routes.snapshot(owner)?, routes.digest(owner)?)
        };
        let mut keys = snapshot.keys;
        keys.sort_unstable();
        let end = after.saturating_add(PAGE_ROUTES_MAX);
        let next = (end < keys.len()).then_some(end);
        let routes = keys.iter().skip(after).take(PAGE_ROUTES_MAX).map(OwnedRoute::from).collect();
        Some(RoutePage { belief: Belief::new(owner, digest), routes, next })
    }
}
