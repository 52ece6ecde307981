//! Small numbers for nodes, local to one process, and sets of them.

use smallvec::SmallVec;

/// Owners that one table knows at a time. More than a full mesh of TCP links can sensibly have.
pub const NODES_MAX: usize = 4_096;

/// A node's place in this process's table: dense, so that arrays and bit sets can be used on the hot path.
///
/// It belongs to the node until `Routes::forget`; afterwards another node may get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIdx(pub(super) u16);

impl NodeIdx {
    /// The own node.
    pub const ME: Self = Self(0);

    /// As an array index, below [`NODES_MAX`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

const WORD_BITS: usize = u64::BITS as usize;

/// A set of nodes; up to 128 of them without allocating.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSet {
    words: SmallVec<[u64; 2]>,
}

impl NodeSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node; true when it was not in it before.
    pub fn insert(&mut self, node: NodeIdx) -> bool {
        let (word, bit) = (node.index() / WORD_BITS, 1 << (node.index() % WORD_BITS));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        is_new
    }

    /// Takes a node out; true when it was in it.
    pub fn remove(&mut self, node: NodeIdx) -> bool {
        let (word, bit) = (node.index() / WORD_BITS, 1 << (node.index() % WORD_BITS));
        let Some(word) = self.words.get_mut(word) else { return false };
        let was_in = *word & bit != 0;
        *word &= !bit;
        was_in
    }

    /// Whether the node is in it.
    #[must_use]
    pub fn contains(&self, node: NodeIdx) -> bool {
        self.words
            .get(node.index() / WORD_BITS)
            .is_some_and(|word| word & (1 << (node.index() % WORD_BITS)) != 0)
    }

    /// Whether no node is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// How many nodes are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// The nodes, lowest index first.
    pub fn iter(&self) -> impl Iterator<Item = NodeIdx> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            Bits(word).map(move |bit| {
                // Only indexes below NODES_MAX get in, so the sum fits.
                NodeIdx((at * WORD_BITS + bit) as u16)
            })
        })
    }
}

struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

const _: () = assert!(NODES_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_each_node_once_and_in_order() {
        let mut set = NodeSet::new();
        for at in [200, 3, 63, 64, 0, 3, 4_095] {
            set.insert(NodeIdx(at));
        }
        assert!(!set.insert(NodeIdx(64)));
        assert!(set.remove(NodeIdx(63)) && !set.remove(NodeIdx(63)) && !set.remove(NodeIdx(62)));
        assert_eq!(set.iter().map(NodeIdx::index).collect::<Vec<_>>(), [0, 3, 64, 200, 4_095]);
        assert_eq!(set.len(), 5);
        assert!(set.contains(NodeIdx(4_095)) && !set.contains(NodeIdx(4_094)));
        set.clear();
        assert!(set.is_empty() && !set.contains(NodeIdx(0)));
    }
}
