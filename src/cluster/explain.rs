//! Where a message would go from this node, and why not elsewhere: for people who ask, so nothing changes.

use serde::Serialize;

use super::forward::SYS_PREFIX;
use super::mesh::Mesh;
use super::node_id::NodeId;
use super::status::NodeStatus;
use crate::topic::TopicRef;

/// Matching routes of one node that are listed.
const ROUTES_MAX: usize = 100;

/// Another node, and whether a message would go there.
#[derive(Clone, Debug, Serialize)]
pub struct Hop {
    /// Its id.
    pub id: NodeId,
    /// Its label.
    pub name: String,
    /// `host:port` of its HTTP interface; empty when that is not known.
    pub http: String,
    /// `live`, `joining`, `suspect`, `down` or `left`.
    pub state: &'static str,
    /// `up` or `down`.
    pub link: &'static str,
    /// Whether its routes are not used at present.
    pub masked: bool,
    /// Changes of its routes that exist and are not applied here.
    pub lag: u64,
    /// Messages to it that it has not acknowledged.
    pub unacked: u64,
    /// Matching routes of it that are known here.
    pub routes: Vec<HopRoute>,
    /// How many more there are.
    pub unlisted: usize,
    /// Whether a copy would be put on the way there.
    pub forwarded: bool,
    /// Why, or why not.
    pub why: String,
}

/// A matching route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HopRoute {
    /// The Topic Filter.
    pub filter: String,
    /// The share group.
    pub share: Option<String>,
    /// Whether a persistent session holds it.
    pub durable: bool,
}

/// What the route table has of one node.
#[derive(Clone, Debug, Default)]
struct Matches {
    routes: Vec<HopRoute>,
    unlisted: usize,
    is_live: bool,
}

impl Mesh {
    pub(super) fn explain(&self, topic: TopicRef<'_>) -> Vec<Hop> {
        let is_sys = topic.as_str().starts_with(SYS_PREFIX);
        let peers = self.status("", "", true).nodes.into_iter().filter(|node| !node.is_self);
        peers
            .map(|node| {
                let mut matches = self.matches(node.id, topic);
                matches.routes.sort_unstable();
                let is_full = self.is_outbox_full(node.id, topic.as_str().len());
                hop(node, matches, is_full, is_sys)
            })
            .collect()
    }

    fn matches(&self, peer: NodeId, topic: TopicRef<'_>) -> Matches {
        let routes = self.routes.read();
        let mut matches = Matches { is_live: routes.is_live(peer), ..Matches::default() };
        let Some(index) = routes.index(peer) else { return matches };
        routes.for_each_match(topic, |filter, node, info| {
            if node != index {
                return;
            }
            if matches.routes.len() == ROUTES_MAX {
                matches.unlisted += 1;
                return;
            }
            let share = info.share.map(|share| share.as_str().to_owned());
            let filter = filter.as_str().to_owned();
            matches.routes.push(HopRoute { filter, share, durable: info.durable });
        });
        matches
    }
}

fn hop(node: NodeStatus, matches: Matches, is_full: bool, is_sys: bool) -> Hop {
    let has_route = !matches.routes.is_empty();
    let forwarded = has_route && matches.is_live && !is_full && !is_sys;
    Hop {
        why: why(&node, &matches, is_full, is_sys),
        id: node.id,
        name: node.name,
        http: node.http,
        state: node.state,
        link: node.link,
        masked: !matches.is_live,
        lag: node.lag,
        unacked: node.unacked,
        routes: matches.routes,
        unlisted: matches.unlisted,
        forwarded,
    }
}

fn why(node: &NodeStatus, matches: &Matches, is_full: bool, is_sys: bool) -> String {
    let (state, lag, unacked) = (node.state, node.lag, node.unacked);
    let mut why = if is_sys {
        "$SYS is never forwarded".to_owned()
    } else if matches.routes.is_empty() {
        "no subscription of its clients matches, as far as is known here".to_owned()
    } else if !matches.is_live {
        let lost = if matches.routes.iter().any(|route| route.durable) {
            ", so the message would be lost for its clients, those with persistent sessions too"
        } else {
            ""
        };
        format!("a subscription there matches, but the node is {state} and its routes are not used{lost}")
    } else if is_full {
        format!("dropped (link_full): {unacked} messages wait for it, as many as cluster.link_buffer takes")
    } else if node.link == "up" && unacked == 0 {
        "forwarded".to_owned()
    } else if node.link == "up" {
        format!("forwarded, behind {unacked} messages that it has not acknowledged")
    } else {
        format!(
            "kept for it until its link is back, behind {unacked} others, or dropped (peer_down) when it is down"
        )
    };
    if 0 < lag {
        why += &format!("; {lag} changes of its routes have not arrived here yet");
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: &'static str, link: &'static str, lag: u64, unacked: u64) -> NodeStatus {
        NodeStatus {
            id: NodeId::new(2),
            name: "node2".to_owned(),
            address: String::new(),
            http: String::new(),
            is_self: false,
            incarnation: 1,
            state,
            link,
            routes: 1,
            lag,
            digest: String::new(),
            digest_agrees: true,
            seen_ms_ago: 0,
            unacked,
            reason: String::new(),
        }
    }

    fn matches(is_live: bool, durable: &[bool]) -> Matches {
        let route = |durable: &bool| HopRoute { filter: "a".to_owned(), share: None, durable: *durable };
        Matches { routes: durable.iter().map(route).collect(), unlisted: 0, is_live }
    }

    #[test]
    fn each_reason_for_and_against_a_node_is_told() {
        let check = |node: NodeStatus, matches: Matches, is_full: bool, forwarded: bool, words: &[&str]| {
            let hop = hop(node, matches, is_full, false);
            assert_eq!(hop.forwarded, forwarded, "{hop:?}");
            for word in words {
                assert!(hop.why.contains(word), "{word:?} is not in {:?}", hop.why);
            }
        };
        check(node("live", "up", 0, 0), matches(true, &[false]), false, true, &["forwarded"]);
        check(node("live", "up", 0, 7), matches(true, &[false]), false, true, &["behind 7 messages"]);
        check(
            node("suspect", "down", 0, 7),
            matches(true, &[true]),
            false,
            true,
            &["kept for it until its link"],
        );
        check(node("live", "up", 0, 9), matches(true, &[false]), true, false, &["link_full", "9 messages"]);
        check(
            node("down", "down", 0, 0),
            matches(false, &[false]),
            false,
            false,
            &["the node is down", "not used"],
        );
        check(
            node("down", "down", 0, 0),
            matches(false, &[true]),
            false,
            false,
            &["persistent sessions too"],
        );
        check(
            node("live", "up", 0, 0),
            matches(true, &[]),
            false,
            false,
            &["no subscription of its clients"],
        );
        let lagging = "3 changes of its routes have not arrived";
        check(node("live", "up", 3, 0), matches(true, &[]), false, false, &["no subscription", lagging]);
        check(node("joining", "up", 3, 0), matches(false, &[false]), false, false, &["is joining", lagging]);
    }

    #[test]
    fn what_the_node_says_of_itself_goes_nowhere() {
        let hop = hop(node("live", "up", 0, 0), matches(true, &[false]), false, true);
        assert_eq!((hop.forwarded, hop.why.as_str()), (false, "$SYS is never forwarded"));
    }
}
