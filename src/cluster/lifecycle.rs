//! What an operator asks of a node at run time: to join others, and to have a node forgotten.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{sleep, timeout};
use tracing::info;

use super::Cluster;
use super::link::ProbeError;
use super::node_id::NodeId;
use super::peers::PeerState;

/// How long `join` waits for gossip once a node has answered on TCP.
const MEET_MAX: Duration = Duration::from_secs(4);
/// How often it looks.
const MEET_PAUSE: Duration = Duration::from_millis(20);

/// A node, for answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeName {
    /// Its id.
    pub id: NodeId,
    /// Its label.
    pub name: String,
    /// Its life.
    pub incarnation: u64,
}

/// Why a node was not forgotten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgetError {
    /// Nothing fits the word.
    #[error("no node that is known here has the id, short id or name {0:?}")]
    Unknown(String),
    /// More than one node fits it.
    #[error("{word:?} is not unique, name one by its id: {}", ids(.nodes))]
    Ambiguous {
        /// What was asked for.
        word: String,
        /// Whom it fits.
        nodes: Vec<NodeId>,
    },
    /// The asked node itself.
    #[error("{0} is the node that you ask: it cannot forget itself, it can leave")]
    Own(String),
    /// It is not down.
    #[error("{name} is {state}, not down: stop it or let it leave first, or force it")]
    Alive {
        /// Its label.
        name: String,
        /// The state that the asked node sees.
        state: &'static str,
    },
}

/// Why this node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nobody answers there as a node of this cluster does.
    #[error("cannot join by {address}: {error}")]
    Probe {
        /// Whom it asked.
        address: String,
        /// What happened.
        error: ProbeError,
    },
    /// All places for such addresses are taken.
    #[error("too many addresses were joined since this node started")]
    Full,
    /// TCP works and UDP does not.
    #[error(
        "{name} answers at {address} over TCP, but no gossip came from it within {}s: is UDP open in both directions, \
         and does it reach this node's cluster.advertise?",
        MEET_MAX.as_secs()
    )]
    NoGossip {
        /// Who answered.
        name: String,
        /// Where.
        address: String,
    },
    /// This node's life is over for that cluster.
    #[error("this node was forgotten by that cluster: restart it first")]
    Forgotten,
}

fn ids(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ")
}

impl Cluster {
    /// Has the node forgotten by the whole cluster: its routes go, and only a later life of it is let in again.
    /// `word` is an id, or a short id or name that fits one node only.
    ///
    /// # Errors
    /// It is not a node that is down or has left, unless `force`.
    pub fn forget(&self, word: &str, force: bool) -> Result<NodeName, ForgetError> {
        let own = self.identity();
        let mut found: Vec<(NodeName, PeerState)> = self.mesh.with_peers(|peers| {
            let named = peers.iter().map(|(id, peer)| {
                let node = NodeName { id, name: peer.name.clone(), incarnation: peer.incarnation };
                (node, peer.state())
            });
            named.filter(|(node, _)| is_called(word, node.id, &node.name)).collect()
        });
        let is_own = is_called(word, own.id, &own.name);
        if found.len() + usize::from(is_own) > 1 {
            let nodes = found.iter().map(|(node, _)| node.id).chain(is_own.then_some(own.id)).collect();
            return Err(ForgetError::Ambiguous { word: word.to_owned(), nodes });
        }
        if is_own {
            return Err(ForgetError::Own(own.name.clone()));
        }
        let Some((node, state)) = found.pop() else { return Err(ForgetError::Unknown(word.to_owned())) };
        let is_gone = matches!(state, PeerState::Down | PeerState::Left);
        if !is_gone && !force {
            return Err(ForgetError::Alive { name: node.name, state: state.as_str() });
        }
        info!(node = %node.id, incarnation = node.incarnation, force, "asked to forget a node");
        self.mesh.on_forgotten(&[(node.id, node.incarnation)]);
        Ok(node)
    }

    /// Joins the cluster of the node at `address`, `host:port`, and returns who that is. Its other nodes are found
    /// through it. Lasts until this node stops; doing it twice changes nothing.
    ///
    /// # Errors
    /// Nobody of this cluster answers there, at the latest some 7 seconds later.
    pub async fn join(&self, address: &str) -> Result<NodeName, JoinError> {
        let probed = super::link::probe(&self.mesh, address).await;
        let hello = probed.map_err(|error| JoinError::Probe { address: address.to_owned(), error })?;
        info!(address, node = %hello.node, "asked to join");
        if !self.membership.join(address).await {
            return Err(JoinError::Full);
        }
        let is_known = || {
            self.mesh.with_peers(|peers| {
                peers
                    .get(hello.node)
                    .is_some_and(|peer| hello.incarnation <= peer.incarnation && peer.link_up)
            })
        };
        let met = async {
            while !is_known() && !self.mesh.is_forgotten() {
                sleep(MEET_PAUSE).await;
            }
        };
        let has_met = timeout(MEET_MAX, met).await.is_ok();
        if self.mesh.is_forgotten() {
            return Err(JoinError::Forgotten);
        }
        if !has_met {
            return Err(JoinError::NoGossip { name: hello.name, address: address.to_owned() });
        }
        Ok(NodeName { id: hello.node, name: hello.name, incarnation: hello.incarnation })
    }

    /// Whether the cluster had this node forgotten while it was alive. It serves its own clients only, until it is
    /// started anew.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.mesh.is_forgotten()
    }
}

/// Whether people may mean this node by `word`.
fn is_called(word: &str, id: NodeId, name: &str) -> bool {
    word.parse() == Ok(id) || word.eq_ignore_ascii_case(&id.short()) || (word == name && !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_called_by_its_id_its_short_id_or_its_name() {
        let id = NodeId::new(0xabcd_ef01_0000_0000_0000_0000_0000_0002);
        let check = |word: &str, expected| assert_eq!(is_called(word, id, "node1"), expected, "{word:?}");
        check("abcdef01000000000000000000000002", true);
        check("ABCDEF01000000000000000000000002", true);
        check("abcdef01", true);
        check("node1", true);
        check("abcdef0", false);
        check("Node1", false);
        check("", false);
        assert!(!is_called("", id, ""), "a node whose name is not known yet");
    }
}
