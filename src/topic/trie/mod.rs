//! The trie of the filters with wildcards: arenas of nodes and leaves, one hash table of named edges.
//!
//! A node stands for a prefix of levels that at least two filters share; `+` and `#` are fields of it, the
//! other children are found in one table for the whole trie. A filter that shares its prefix with no other
//! hangs as a leaf at the first level that tells it apart, and the levels behind that are compared with
//! its own text. So a filter costs one leaf and, as a rule, less than one node, however many levels it
//! has; a match touches few cache lines; and the shape depends only on the set of filters, not on history:
//! what was removed leaves nothing behind.

mod link;
mod place;

use std::hash::{BuildHasher, Hasher};
use std::mem;

use super::RandomState;
use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use self::link::{Child, Link};
use self::place::{Place, Step};
use super::filter::levels_match;
use super::{LEVELS_MAX, TopicFilter, TopicRef, split_level};

/// The node of the empty prefix; it is never removed.
const ROOT: u32 = 0;

/// Filters with wildcards, each with its value.
#[derive(Clone, Debug)]
pub(super) struct Trie<V> {
    nodes: Slab<Node>,
    leaves: Slab<Leaf<V>>,
    edges: HashTable<Edge>,
    /// Seeded, because the levels come from outside.
    hasher: RandomState,
}

#[derive(Clone, Debug)]
struct Node {
    parent: u32,
    /// Its own level (`+` too), and where that starts in every filter below.
    level: SmallVec<[u8; 16]>,
    start: u16,
    plus: Link,
    /// The leaf of the filter that goes on with `#`, and of the one that ends here.
    hash: Link,
    end: Link,
    /// How many named edges leave here, and the XOR of their links: with one left, it is that one.
    named: u32,
    named_xor: u32,
}

#[derive(Clone, Debug)]
struct Leaf<V> {
    filter: TopicFilter,
    parent: u32,
    /// The level of the edge from `parent` within the filter; both at the end for a filter that ends there.
    start: u16,
    end: u16,
    value: V,
}

/// An edge with a literal level. The text is in the child; the tag saves most looks at it.
#[derive(Clone, Copy, Debug)]
struct Edge {
    tag: u32,
    link: Link,
}

impl Node {
    fn new(parent: u32, level: &str, start: u16) -> Self {
        let level = SmallVec::from_slice(level.as_bytes());
        Self {
            parent,
            level,
            start,
            plus: Link::NONE,
            hash: Link::NONE,
            end: Link::NONE,
            named: 0,
            named_xor: 0,
        }
    }

    /// The child, when there is exactly one.
    fn only_child(&self) -> Option<Child> {
        let others = [self.plus, self.hash, self.end];
        let count = others.iter().filter(|link| link.is_some()).count();
        match (self.named, count) {
            (1, 0) => Link(self.named_xor).child(),
            (0, 1) => others.into_iter().find_map(Link::child),
            _ => None,
        }
    }
}

impl<V> Leaf<V> {
    /// What the filter has behind the level of its edge.
    fn tail(&self) -> Option<&str> {
        self.filter.as_str().get(usize::from(self.end) + 1..)
    }
}

impl<V> Trie<V> {
    pub(super) fn new() -> Self {
        let mut nodes = Slab::new();
        nodes.insert(Node::new(ROOT, "", 0));
        Self { nodes, leaves: Slab::new(), edges: HashTable::new(), hasher: RandomState::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.leaves.len()
    }

    pub(super) fn get(&self, filter: &TopicFilter) -> Option<&V> {
        let (_, link) = self.descend(ROOT, Some(filter.as_str()));
        let leaf = self.leaf_of(link, filter)?;
        Some(&self.leaves[leaf as usize].value)
    }

    pub(super) fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut V> {
        let (_, link) = self.descend(ROOT, Some(filter.as_str()));
        let leaf = self.leaf_of(link, filter)?;
        Some(&mut self.leaves[leaf as usize].value)
    }

    pub(super) fn get_or_insert_with(&mut self, filter: &TopicFilter, make: impl FnOnce() -> V) -> &mut V {
        let (mut place, mut link) = self.descend(ROOT, Some(filter.as_str()));
        let key = loop {
            let Some(Child::Leaf(other)) = link.child() else { break self.add_leaf(place, filter, make()) };
            if self.leaves[other as usize].filter == *filter {
                break other;
            }
            let node = self.branch(place, other);
            (place, link) = self.descend(node, place.tail);
        };
        &mut self.leaves[key as usize].value
    }

    pub(super) fn remove(&mut self, filter: &TopicFilter) -> Option<V> {
        let (place, link) = self.descend(ROOT, Some(filter.as_str()));
        let key = self.leaf_of(link, filter)?;
        self.unlink(place);
        let leaf = self.leaves.remove(key as usize);
        self.collapse(place.node);
        self.give_back();
        Some(leaf.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicFilter, &V)> {
        self.leaves.iter().map(|(_, leaf)| (&leaf.filter, &leaf.value))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&TopicFilter, &mut V)> {
        self.leaves.iter_mut().map(|(_, leaf)| (&leaf.filter, &mut leaf.value))
    }

    /// Calls `found` once for every filter that matches. No recursion, no allocation: per level at most one
    /// way is left for later, and no filter here has more than [`LEVELS_MAX`] levels.
    pub(super) fn for_each_match<'s>(
        &'s self,
        name: TopicRef<'_>,
        found: &mut impl FnMut(&'s TopicFilter, &'s V),
    ) {
        let text = name.as_str();
        let mut pending: SmallVec<[(u32, usize); LEVELS_MAX]> = SmallVec::new();
        pending.push((ROOT, 0));
        while let Some((key, at)) = pending.pop() {
            let node = &self.nodes[key as usize];
            let (level, tail) = split_level(&text[at..]);
            let mut follow = |link: Link| match link.child() {
                None => {}
                Some(Child::Leaf(leaf)) => {
                    let leaf = &self.leaves[leaf as usize];
                    if levels_match(leaf.tail(), tail) {
                        found(&leaf.filter, &leaf.value);
                    }
                }
                Some(Child::Node(next)) if tail.is_some() => pending.push((next, at + level.len() + 1)),
                Some(Child::Node(next)) => {
                    // The name ends here; `#` stands for its parent level too [MQTT5-4.7.1-1].
                    let node = &self.nodes[next as usize];
                    for link in [node.hash, node.end] {
                        self.report(link, found);
                    }
                }
            };
            if node.named > 0 {
                follow(self.find_edge(key, level));
            }
            // [MQTT-4.7.2-1] [MQTT5-4.7.2-1]
            if key == ROOT && name.is_dollar() {
                continue;
            }
            follow(node.plus);
            self.report(node.hash, found);
        }
    }

    fn report<'s>(&'s self, link: Link, found: &mut impl FnMut(&'s TopicFilter, &'s V)) {
        if let Some(Child::Leaf(leaf)) = link.child() {
            let leaf = &self.leaves[leaf as usize];
            found(&leaf.filter, &leaf.value);
        }
    }

    /// Heap bytes of the arenas and the table; the texts of the filters, which are shared, not counted.
    pub(super) fn heap_bytes(&self) -> usize {
        let levels: usize = self
            .nodes
            .iter()
            .filter(|(_, node)| node.level.spilled())
            .map(|(_, node)| node.level.capacity())
            .sum();
        // The slab keeps a discriminant beside an entry that has no spare value to hold it.
        self.nodes.capacity() * mem::size_of::<Option<Node>>()
            + self.leaves.capacity() * mem::size_of::<Option<Leaf<V>>>()
            + self.edges.allocation_size()
            + levels
    }

    /// How many nodes, leaves and edges there are: they follow from the set of filters alone.
    #[cfg(test)]
    pub(super) fn shape(&self) -> (usize, usize, usize) {
        (self.nodes.len(), self.leaves.len(), self.edges.len())
    }

    /// Where a filter with the levels `rest` below `node` hangs or would hang: the first place on its way
    /// that does not lead to a further node.
    fn descend<'t>(&self, mut node: u32, mut rest: Option<&'t str>) -> (Place<'t>, Link) {
        loop {
            let place = Place::new(node, rest);
            let link = self.link(place);
            match link.child() {
                Some(Child::Node(next)) => (node, rest) = (next, place.tail),
                None | Some(Child::Leaf(_)) => return (place, link),
            }
        }
    }

    fn leaf_of(&self, link: Link, filter: &TopicFilter) -> Option<u32> {
        match link.child() {
            Some(Child::Leaf(leaf)) if self.leaves[leaf as usize].filter == *filter => Some(leaf),
            _ => None,
        }
    }

    fn link(&self, place: Place<'_>) -> Link {
        let node = &self.nodes[place.node as usize];
        match place.step {
            Step::End => node.end,
            Step::Hash => node.hash,
            Step::Plus => node.plus,
            Step::Named(level) => self.find_edge(place.node, level),
        }
    }

    fn add_leaf(&mut self, place: Place<'_>, filter: &TopicFilter, value: V) -> u32 {
        make_room(&mut self.leaves);
        let behind = place.tail.map_or(0, |tail| tail.len() + 1);
        let end = filter.as_str().len() - behind;
        let start = offset(end - place.level_len());
        let leaf = Leaf { filter: filter.clone(), parent: place.node, start, end: offset(end), value };
        let key = arena_key(self.leaves.insert(leaf));
        self.hang(place, Link::leaf(key));
        key
    }

    /// Puts a node where `leaf` hangs, and `leaf` below that node.
    fn branch(&mut self, place: Place<'_>, leaf: u32) -> u32 {
        make_room(&mut self.nodes);
        let Leaf { filter, start, end, .. } = &self.leaves[leaf as usize];
        let (filter, start, end) = (filter.clone(), *start, usize::from(*end));
        let level = &filter.as_str()[usize::from(start)..end];
        let node = arena_key(self.nodes.insert(Node::new(place.node, level, start)));
        self.replace(place, Link::node(node));
        let below = Place::new(node, filter.as_str().get(end + 1..));
        let start = filter.as_str().len().min(end + 1);
        let moved = &mut self.leaves[leaf as usize];
        moved.parent = node;
        moved.start = offset(start);
        moved.end = offset(start + below.level_len());
        self.hang(below, Link::leaf(leaf));
        node
    }

    /// Undoes [`Trie::branch`], from `key` upwards, as long as a node has nothing below it but one leaf.
    fn collapse(&mut self, mut key: u32) {
        while key != ROOT {
            let Some(Child::Leaf(leaf)) = self.nodes[key as usize].only_child() else { return };
            // The leaf's edge goes with the node.
            let filter = self.leaves[leaf as usize].filter.clone();
            let Node { parent, start, level, .. } = &self.nodes[key as usize];
            let (parent, start, level_len) = (*parent, usize::from(*start), level.len());
            let behind = filter.as_str().get(start + level_len + 1..);
            self.unlink(Place::new(key, behind));
            self.replace(Place::new(parent, Some(&filter.as_str()[start..])), Link::leaf(leaf));
            let moved = &mut self.leaves[leaf as usize];
            moved.parent = parent;
            moved.start = offset(start);
            moved.end = offset(start + level_len);
            self.nodes.remove(key as usize);
            key = parent;
        }
    }

    /// Arenas reuse what was freed; an empty trie gives it back. The table shrinks by itself.
    fn give_back(&mut self) {
        let capacity = self.edges.capacity();
        if capacity > 64 && self.edges.len() < capacity / 8 {
            self.edges.shrink_to(self.edges.len() * 2, |edge| spread(edge.tag));
        }
        if self.leaves.is_empty() {
            self.leaves = Slab::new();
            self.nodes.shrink_to_fit();
        }
    }

    fn hang(&mut self, place: Place<'_>, link: Link) {
        let node = &mut self.nodes[place.node as usize];
        match place.step {
            Step::End => node.end = link,
            Step::Hash => node.hash = link,
            Step::Plus => node.plus = link,
            Step::Named(level) => {
                node.named += 1;
                node.named_xor ^= link.0;
                let tag = self.tag(place.node, level);
                self.edges.insert_unique(spread(tag), Edge { tag, link }, |edge| spread(edge.tag));
            }
        }
    }

    fn unlink(&mut self, place: Place<'_>) {
        let Step::Named(level) = place.step else { return self.hang(place, Link::NONE) };
        let tag = self.tag(place.node, level);
        let (nodes, leaves) = (&self.nodes, &self.leaves);
        let entry =
            self.edges.find_entry(spread(tag), |edge| is_edge(nodes, leaves, *edge, tag, place.node, level));
        let Ok(entry) = entry else { unreachable!("an edge that was found before is in the table") };
        let (edge, _) = entry.remove();
        let node = &mut self.nodes[place.node as usize];
        node.named -= 1;
        node.named_xor ^= edge.link.0;
    }

    /// Exchanges the child at `place`, which keeps its level.
    fn replace(&mut self, place: Place<'_>, link: Link) {
        let Step::Named(level) = place.step else { return self.hang(place, link) };
        let tag = self.tag(place.node, level);
        let (nodes, leaves) = (&self.nodes, &self.leaves);
        let edge =
            self.edges.find_mut(spread(tag), |edge| is_edge(nodes, leaves, *edge, tag, place.node, level));
        let Some(edge) = edge else { unreachable!("an edge that was found before is in the table") };
        let old = mem::replace(&mut edge.link, link);
        self.nodes[place.node as usize].named_xor ^= old.0 ^ link.0;
    }

    fn find_edge(&self, node: u32, level: &str) -> Link {
        let tag = self.tag(node, level);
        self.edges
            .find(spread(tag), |edge| is_edge(&self.nodes, &self.leaves, *edge, tag, node, level))
            .map_or(Link::NONE, |edge| edge.link)
    }

    fn tag(&self, node: u32, level: &str) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(node);
        hasher.write(level.as_bytes());
        let hash = hasher.finish();
        #[expect(clippy::cast_possible_truncation, reason = "a tag is a shortened hash")]
        let tag = (hash ^ (hash >> 32)) as u32;
        tag
    }
}

/// Whether `edge` leaves `node` with `level`.
fn is_edge<V>(
    nodes: &Slab<Node>,
    leaves: &Slab<Leaf<V>>,
    edge: Edge,
    tag: u32,
    node: u32,
    level: &str,
) -> bool {
    if edge.tag != tag {
        return false;
    }
    match edge.link.child() {
        None => false,
        Some(Child::Node(key)) => {
            let child = &nodes[key as usize];
            child.parent == node && *child.level == *level.as_bytes()
        }
        Some(Child::Leaf(key)) => {
            let child = &leaves[key as usize];
            let text = &child.filter.as_str().as_bytes()[usize::from(child.start)..usize::from(child.end)];
            child.parent == node && *text == *level.as_bytes()
        }
    }
}

/// The table takes its bucket from the low bits of a hash and its mark from the high ones.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Grows a full arena by an eighth: doubling would leave up to half of it unused.
fn make_room<T>(arena: &mut Slab<T>) {
    if arena.len() == arena.capacity() {
        arena.reserve_exact(arena.len() / 8 + 16);
    }
}

fn arena_key(key: usize) -> u32 {
    let key = u32::try_from(key).unwrap_or(u32::MAX);
    assert!(key < Link::LEAF_BIT - 1, "an arena holds fewer than 2^31 entries");
    key
}

fn offset(bytes: usize) -> u16 {
    let Ok(offset) = u16::try_from(bytes) else { unreachable!("a Topic Filter has at most 65,535 bytes") };
    offset
}
