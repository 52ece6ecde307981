//! The laws of CRDTs, for the operations and for the merge.

use crdts::{CmRDT, CvRDT, DotRange};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const OWNERS: [NodeId; 3] = [A, B, C];
const ME: NodeId = NodeId::new(0xe);

/// The life of one owner that all replicas have seen some prefix of.
fn life(owner: NodeId, incarnation: u64) -> Vec<Change> {
    let mut rng = SmallRng::seed_from_u64(owner.as_u128() as u64 * 1_000 + incarnation);
    let mut table = Routes::new(owner, incarnation, 1_000);
    for _ in 0..30 {
        let key = key(["a", "!a", "g:a", "a/+", "b/#", "h:b"][rng.random_range(0..6)]);
        if rng.random() {
            table.advertise(&key)
        } else {
            table.withdraw(&key)
        };
    }
    match table.tail(owner, Position::start_of(incarnation), 1_000) {
        Tail::Delta(delta) => delta.changes,
        _ => Vec::new(),
    }
}

/// A replica that has some prefix of some life of each owner, or nothing.
fn replica(seed: u64) -> Routes {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut routes = Routes::new(ME, 1, 1_000);
    for owner in OWNERS {
        let incarnation = rng.random_range(1..=3);
        let log = life(owner, incarnation);
        let len = rng.random_range(0..=log.len());
        if rng.random_range(0..4) != 0 {
            routes.on_delta(&delta(owner, at(incarnation, 0), &log[..len]));
        }
    }
    routes
}

type State = (Vec<(NodeId, Digest)>, Vec<(RouteKey, Vec<NodeId>)>);

fn state(routes: &Routes) -> State {
    (routes.digests(), routes.listing().collect())
}

fn merged(left: &Routes, right: &Routes) -> Routes {
    let mut merged = left.clone();
    merged.merge(right.clone());
    merged
}

#[test]
fn merging_is_commutative_associative_and_idempotent_and_joins_the_clocks() {
    for seed in 0..500 {
        let (a, b, c) = (replica(seed), replica(seed + 1_000), replica(seed + 2_000));
        assert_eq!(state(&merged(&a, &b)), state(&merged(&b, &a)), "seed {seed}");
        let (left, right) = (merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        assert_eq!(state(&left), state(&right), "seed {seed}");
        assert_eq!(state(&merged(&a, &a)), state(&a), "seed {seed}");
        for (owner, digest) in merged(&a, &b).digests() {
            let furthest = a.position(owner).max(b.position(owner));
            assert_eq!(Some(digest.position), furthest, "seed {seed}");
        }
    }
}

#[test]
fn operations_of_different_owners_commute_and_repeat_harmlessly() {
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let logs = OWNERS.map(|owner| life(owner, 1));
        let mut in_order = Routes::new(ME, 1, 1_000);
        for (owner, log) in OWNERS.into_iter().zip(&logs) {
            in_order.apply(delta(owner, at(1, 0), log));
        }

        let mut mixed = Routes::new(ME, 1, 1_000);
        let mut next = [0; OWNERS.len()];
        while (0..OWNERS.len()).any(|at| next[at] < logs[at].len()) {
            let owner = rng.random_range(0..OWNERS.len());
            let (start, len) = (next[owner], logs[owner].len());
            // Sometimes from further back than needed, which repeats operations.
            let from = start.saturating_sub(rng.random_range(0..3));
            let to = (start + rng.random_range(0..4)).min(len);
            let piece = delta(OWNERS[owner], at(1, from as u64), &logs[owner][from..to]);
            assert!(mixed.validate_op(&piece).is_ok(), "seed {seed}");
            mixed.apply(piece);
            next[owner] = to;
        }
        assert_eq!(state(&mixed), state(&in_order), "seed {seed}");
    }
}

#[test]
fn a_gap_is_named_by_the_dots_that_are_missing() {
    let routes = table();
    let missing = |delta: &Delta| {
        routes.validate_op(delta).map_err(|DotRange { actor, counter_range }| (actor, counter_range))
    };
    let writer = |node, incarnation| Writer { node, incarnation };
    assert_eq!(missing(&delta(B, at(3, 4), &[])), Ok(()));
    assert_eq!(missing(&delta(B, at(3, 6), &[])), Err((writer(B, 3), 5..7)));
    assert_eq!(missing(&delta(B, at(4, 2), &[])), Err((writer(B, 4), 1..3)));
    assert_eq!(missing(&delta(B, at(2, 9), &[])), Ok(()), "of a life that is over nothing is missing");
    assert_eq!(missing(&delta(C, at(1, 1), &[])), Err((writer(C, 1), 1..2)));
}
