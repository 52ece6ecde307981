//! The nodes that an operator had forgotten, each with the last life that may not come back. Sans-io.
//!
//! Every node has a copy, and copies only grow together: of two floors for one node the higher one counts. When there
//! are too many, those that started longest ago go first, so that full copies grow together too.

use std::collections::BTreeMap;

use super::node_id::NodeId;

/// Nodes that are remembered as forgotten.
pub(super) const FORGOTTEN_MAX: usize = 1_024;

/// One entry: a node, and its last life that is refused.
pub(super) type Floor = (NodeId, u64);

/// The forgotten nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forgotten {
    floors: BTreeMap<NodeId, u64>,
    /// Grows with every change, so that a link knows whether it has something to tell.
    version: u64,
}

impl Forgotten {
    /// Takes an entry. True when it says something new.
    pub(super) fn insert(&mut self, (node, floor): Floor) -> bool {
        if floor == 0 || self.refuses(node, floor) {
            return false;
        }
        self.floors.insert(node, floor);
        if FORGOTTEN_MAX < self.floors.len() {
            let oldest = self.floors.iter().map(|(id, floor)| (*floor, *id)).min();
            let Some((_, oldest)) = oldest else { return false };
            self.floors.remove(&oldest);
            if oldest == node {
                return false;
            }
        }
        self.version += 1;
        true
    }

    /// Whether this life of the node is not to be talked to.
    pub(super) fn refuses(&self, node: NodeId, incarnation: u64) -> bool {
        self.floors.get(&node).is_some_and(|&floor| incarnation <= floor)
    }

    /// All entries, by id.
    pub(super) fn list(&self) -> Vec<Floor> {
        self.floors.iter().map(|(id, floor)| (*id, *floor)).collect()
    }

    /// How often it has changed.
    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn made_of(floors: &[Floor]) -> Forgotten {
        let mut forgotten = Forgotten::default();
        for floor in floors {
            forgotten.insert(*floor);
        }
        forgotten
    }

    #[test]
    fn a_life_up_to_the_floor_is_refused_and_a_later_one_is_not() {
        let (node, other) = (NodeId::new(7), NodeId::new(8));
        let mut forgotten = made_of(&[(node, 5)]);
        let refused =
            [(node, 4), (node, 5), (node, 6), (other, 1)].map(|(id, life)| forgotten.refuses(id, life));
        assert_eq!(refused, [true, true, false, false]);
        assert!(
            !forgotten.insert((node, 5)) && !forgotten.insert((node, 3)) && !forgotten.insert((other, 0))
        );
        assert_eq!(forgotten.version(), 1);
        assert!(forgotten.insert((node, 6)));
        assert_eq!((forgotten.version(), forgotten.list()), (2, vec![(node, 6)]));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let many: Vec<Floor> =
            (0..FORGOTTEN_MAX as u64 + 5).map(|n| (NodeId::new(u128::from(n)), 100 + n)).collect();
        let mut forgotten = made_of(&many);
        assert_eq!(forgotten.list(), many[5..]);
        let version = forgotten.version();
        assert!(
            !forgotten.insert(many[0]),
            "what has no place is no news, or two full nodes would never rest"
        );
        assert_eq!(forgotten.version(), version);
    }

    proptest! {
        /// Whatever the order and however often: the same copy.
        #[test]
        fn copies_grow_together(
            floors in vec((0u128..2_000, 1u64..50), 0..3_000),
            seed in any::<u64>(),
        ) {
            let floors: Vec<Floor> = floors.into_iter().map(|(id, floor)| (NodeId::new(id), floor)).collect();
            let mut shuffled = [floors.clone(), floors.clone()].concat();
            shuffled.sort_by_key(|(id, floor)| (id.as_u128() as u64 ^ floor).wrapping_mul(seed | 1));
            let (one, other) = (made_of(&floors), made_of(&shuffled));
            prop_assert_eq!(one.list(), other.list());
            prop_assert!(one.list().len() <= FORGOTTEN_MAX);
        }
    }
}
