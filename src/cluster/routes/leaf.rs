//! What the matching index keeps per Topic Filter: which nodes witness it, in 16 bytes for most filters.

use super::nodes::{NODES_MAX, NodeIdx};
use crate::topic::ShareName;

const DURABLE: u16 = 1 << 15;
const _: () = assert!(NODES_MAX <= DURABLE as usize);

/// One witness of an ordinary route: node and class in 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Entry(u16);

impl Entry {
    fn new(node: NodeIdx, durable: bool) -> Self {
        Self(node.0 | if durable { DURABLE } else { 0 })
    }

    fn node(self) -> NodeIdx {
        NodeIdx(self.0 & !DURABLE)
    }

    fn durable(self) -> bool {
        self.0 & DURABLE != 0
    }
}

/// Witnesses that fit beside the tag without making the leaf longer.
const FEW: usize = 7;

/// The witnesses of one filter, each at most once.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    Few { len: u8, entries: [Entry; FEW] },
    Many(Box<Many>),
}

const _: () = assert!(size_of::<Leaf>() == 16);

/// A filter with more witnesses than fit, or with share groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Many {
    plain: Vec<Entry>,
    shared: Vec<(ShareName, Entry)>,
}

/// One route as seen by a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteInfo<'a> {
    /// The shared subscription group, or `None` for an ordinary subscription.
    pub share: Option<&'a ShareName>,
    /// Whether a persistent session holds it.
    pub durable: bool,
    /// Whether the owner is live; a masked owner's routes are only of use to keep messages for it.
    pub live: bool,
}

impl Leaf {
    pub(super) fn new() -> Self {
        Leaf::Few { len: 0, entries: [Entry::default(); FEW] }
    }

    /// True when the witness is new.
    pub(super) fn insert(&mut self, node: NodeIdx, share: Option<&ShareName>, durable: bool) -> bool {
        let entry = Entry::new(node, durable);
        if self.contains_entry(entry, share) {
            return false;
        }
        if let (Leaf::Few { len, entries }, None) = (&mut *self, share)
            && let Some(free) = entries.get_mut(usize::from(*len))
        {
            *free = entry;
            *len += 1;
            return true;
        }
        let many = self.make_many();
        match share {
            Some(share) => many.shared.push((share.clone(), entry)),
            None => many.plain.push(entry),
        }
        true
    }

    /// True when the witness was there.
    pub(super) fn remove(&mut self, node: NodeIdx, share: Option<&ShareName>, durable: bool) -> bool {
        let entry = Entry::new(node, durable);
        let before = self.len();
        match share {
            Some(share) => self.retain(|other, group| other != entry || group != Some(share)),
            None => self.retain(|other, group| other != entry || group.is_some()),
        }
        self.len() < before
    }

    /// Takes all witnesses of one node out and says how many there were.
    pub(super) fn remove_node(&mut self, node: NodeIdx) -> usize {
        let before = self.len();
        self.retain(|entry, _| entry.node() != node);
        before - self.len()
    }

    pub(super) fn contains(&self, node: NodeIdx, share: Option<&ShareName>, durable: bool) -> bool {
        self.contains_entry(Entry::new(node, durable), share)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Leaf::Few { len, .. } => usize::from(*len),
            Leaf::Many(many) => many.plain.len() + many.shared.len(),
        }
    }

    pub(super) fn for_each(&self, mut f: impl FnMut(NodeIdx, Option<&ShareName>, bool)) {
        for entry in self.plain() {
            f(entry.node(), None, entry.durable());
        }
        if let Leaf::Many(many) = self {
            for (share, entry) in &many.shared {
                f(entry.node(), Some(share), entry.durable());
            }
        }
    }

    fn plain(&self) -> &[Entry] {
        match self {
            Leaf::Few { len, entries } => &entries[..usize::from(*len)],
            Leaf::Many(many) => &many.plain,
        }
    }

    fn contains_entry(&self, entry: Entry, share: Option<&ShareName>) -> bool {
        match (share, self) {
            (None, _) => self.plain().contains(&entry),
            (Some(_), Leaf::Few { .. }) => false,
            (Some(share), Leaf::Many(many)) => {
                many.shared.iter().any(|(group, other)| *other == entry && group == share)
            }
        }
    }

    fn make_many(&mut self) -> &mut Many {
        if let Leaf::Few { .. } = self {
            let many = Many { plain: self.plain().to_vec(), shared: Vec::new() };
            *self = Leaf::Many(Box::new(many));
        }
        match self {
            Leaf::Many(many) => many,
            Leaf::Few { .. } => unreachable!("the leaf was just made large"),
        }
    }

    fn retain(&mut self, mut keep: impl FnMut(Entry, Option<&ShareName>) -> bool) {
        match self {
            Leaf::Few { len, entries } => {
                let mut kept = 0;
                for at in 0..usize::from(*len) {
                    if keep(entries[at], None) {
                        entries[kept] = entries[at];
                        kept += 1;
                    }
                }
                *len = kept as u8;
            }
            Leaf::Many(many) => {
                many.plain.retain(|&entry| keep(entry, None));
                many.shared.retain(|(share, entry)| keep(*entry, Some(share)));
                let is_small = many.shared.is_empty() && many.plain.len() <= FEW / 2;
                if is_small {
                    let mut entries = [Entry::default(); FEW];
                    entries[..many.plain.len()].copy_from_slice(&many.plain);
                    *self = Leaf::Few { len: many.plain.len() as u8, entries };
                }
            }
        }
    }
}
