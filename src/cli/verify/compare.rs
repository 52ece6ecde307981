//! Which beliefs are in doubt. Positions tell a difference from a change that is on its way.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// What one node holds of every owner.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Beliefs {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) owners: Vec<Belief>,
}

/// What it holds of one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Belief {
    pub(super) owner: String,
    pub(super) incarnation: u64,
    pub(super) seq: u64,
    pub(super) count: u64,
    pub(super) hash: u64,
}

impl Belief {
    fn position(&self) -> (u64, u64) {
        (self.incarnation, self.seq)
    }
}

/// A node whose routes of an owner are not, or not yet, the owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) node: String,
    pub(super) owner: String,
    /// Where the owner itself stood at the first look that found it so.
    seen: (u64, u64),
}

/// What is in doubt after this look, by node and owner; `unasked` are the known nodes that could not be asked, and
/// `before` is what was in doubt at the look before.
///
/// A node whose position has come up to where the owner stood at an earlier look keeps up with changes that go on:
/// no doubt. One at the owner's very position with other contents, or with routes of a node that nobody
/// knows, is in doubt as long as it is so.
pub(super) fn compare(
    beliefs: &[Beliefs],
    unasked: &BTreeSet<String>,
    before: &BTreeMap<(String, String), Doubt>,
) -> BTreeMap<(String, String), Doubt> {
    let nothing = |owner: &String| Belief { owner: owner.clone(), incarnation: 0, seq: 0, count: 0, hash: 0 };
    let of = |held: &Beliefs, owner: &String| {
        held.owners.iter().find(|belief| belief.owner == *owner).cloned().unwrap_or_else(|| nothing(owner))
    };
    let owners: BTreeMap<&String, Option<Belief>> = beliefs
        .iter()
        .flat_map(|held| held.owners.iter().map(|belief| &belief.owner))
        .map(|owner| (owner, beliefs.iter().find(|held| held.id == *owner).map(|held| of(held, owner))))
        .collect();
    let mut doubts = BTreeMap::new();
    for (owner, owned) in &owners {
        for held in beliefs.iter().filter(|held| held.id != **owner) {
            let (key, belief) = ((held.id.clone(), (*owner).clone()), of(held, owner));
            let is_ghost = owned.is_none() && 0 < belief.count;
            let owned = owned.clone().unwrap_or_else(|| nothing(owner));
            if belief == owned || unasked.contains(*owner) || (owned.position() == (0, 0) && !is_ghost) {
                continue;
            }
            let earlier = before.get(&key).map(|doubt| doubt.seen);
            let keeps_up = !is_ghost
                && belief.position() != owned.position()
                && earlier.is_some_and(|seen| seen <= belief.position());
            if !keeps_up {
                let seen = earlier.unwrap_or_else(|| owned.position());
                doubts.insert(key, Doubt { node: held.id.clone(), owner: (*owner).clone(), seen });
            }
        }
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn belief(owner: &str, seq: u64, hash: u64) -> Belief {
        Belief { owner: owner.to_owned(), incarnation: 1, seq, count: hash, hash }
    }

    fn node(id: &str, owners: &[Belief]) -> Beliefs {
        Beliefs { id: id.to_owned(), name: id.to_owned(), owners: owners.to_vec() }
    }

    /// What `b` holds of `a` at each look, beside what `a` itself holds: is it in doubt at the end?
    fn check(looks: &[(Option<Belief>, Belief)], expected: bool) {
        let mut doubts = BTreeMap::new();
        for (held, owned) in looks {
            let held: Vec<Belief> = held.iter().cloned().collect();
            doubts = compare(
                &[node("a", std::slice::from_ref(owned)), node("b", &held)],
                &BTreeSet::new(),
                &doubts,
            );
        }
        let found: Vec<_> = doubts.keys().map(|(node, owner)| (node.as_str(), owner.as_str())).collect();
        let wanted = if expected { vec![("b", "a")] } else { vec![] };
        assert_eq!(found, wanted, "{looks:?}");
    }

    #[test]
    fn a_lag_that_goes_is_no_difference_and_one_that_stays_is() {
        let at = |seq, hash| belief("a", seq, hash);
        check(&[(Some(at(5, 1)), at(5, 1))], false);
        check(&[(Some(at(5, 1)), at(5, 2))], true);
        check(&[(Some(at(5, 1)), at(5, 2)), (Some(at(5, 1)), at(5, 2))], true);
        check(&[(Some(at(4, 1)), at(5, 2))], true);
        check(&[(Some(at(4, 1)), at(5, 2)), (Some(at(4, 1)), at(5, 2))], true);
        check(&[(Some(at(4, 1)), at(5, 2)), (Some(at(5, 2)), at(5, 2))], false);
        // Changes go on: it is always behind, and always catches up with where the owner was.
        check(&[(Some(at(4, 1)), at(5, 2)), (Some(at(6, 3)), at(8, 4))], false);
        check(&[(Some(at(4, 1)), at(5, 2)), (Some(at(6, 3)), at(6, 4))], true);
        check(&[(None, at(0, 0))], true);
        check(&[(None, at(3, 1)), (None, at(3, 1))], true);
    }

    #[test]
    fn routes_of_a_node_that_nobody_knows_are_in_doubt_and_those_of_one_that_was_not_asked_are_not() {
        let check = |seq, count, unasked: &[&str], expected: usize| {
            let beliefs = [node("a", &[belief("other", seq, count)]), node("b", &[])];
            let unasked = unasked.iter().map(|&id| id.to_owned()).collect();
            let mut doubts = BTreeMap::new();
            for _ in 0..3 {
                doubts = compare(&beliefs, &unasked, &doubts);
            }
            assert_eq!(doubts.len(), expected, "{doubts:?}");
        };
        check(3, 3, &["other"], 0);
        check(3, 3, &[], 1);
        check(3, 0, &[], 0);
    }
}
