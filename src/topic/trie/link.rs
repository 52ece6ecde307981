//! What points from a node to a child.

/// A child or none, in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(pub(super) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Node(u32),
    Leaf(u32),
}

impl Link {
    pub(super) const NONE: Self = Self(u32::MAX);
    pub(super) const LEAF_BIT: u32 = 1 << 31;

    pub(super) fn node(key: u32) -> Self {
        Self(key)
    }

    pub(super) fn leaf(key: u32) -> Self {
        Self(key | Self::LEAF_BIT)
    }

    pub(super) fn child(self) -> Option<Child> {
        if self == Self::NONE {
            None
        } else if self.0 & Self::LEAF_BIT == 0 {
            Some(Child::Node(self.0))
        } else {
            Some(Child::Leaf(self.0 & !Self::LEAF_BIT))
        }
    }

    pub(super) fn is_some(self) -> bool {
        self != Self::NONE
    }
}
