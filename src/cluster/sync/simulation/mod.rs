//! A cluster in one thread with its own clock: pushes, pulls, gossip and links over a network that loses, doubles,
//! reorders and cuts; nodes that crash, restart with and without routes, mask and forget each other. Same seed, same run.
//!
//! What must hold at every moment: an owner has exactly its own routes, and whatever a table holds of an owner is what
//! the owner held at that position. What must hold at the end: everybody has everything.

mod promises;
mod receive;
mod world;

use world::{Bug, Stats, World};

#[test]
fn every_table_becomes_what_the_owners_hold_whatever_the_network_does() {
    let mut total = Stats::default();
    for seed in 0..600 {
        let stats = World::new(seed, Bug::None).run().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(stats.alarms, 0, "seed {seed}: two digests for one position");
        total.restarts += stats.restarts;
        total.pulls += stats.pulls;
        total.snapshots += stats.snapshots;
        total.forgotten += stats.forgotten;
        total.duplicates += stats.duplicates;
        total.gaps += stats.gaps;
        total.lost += stats.lost;
    }
    // A simulation in which nothing happens proves nothing.
    let least = [total.restarts, total.pulls, total.snapshots, total.forgotten, total.duplicates, total.gaps];
    assert!(least.iter().all(|&count| 300 < count), "{total:?}");
}

#[test]
fn a_node_that_keeps_silent_about_its_new_life_is_found_out() {
    let failures = (0..60).filter(|&seed| World::new(seed, Bug::SilentStart).run().is_err()).count();
    assert!(0 < failures);
}

#[test]
fn pushes_alone_do_not_converge() {
    let failures = (0..20).filter(|&seed| World::new(seed, Bug::NoPulls).run().is_err()).count();
    assert!(0 < failures);
}

#[test]
fn a_corrupted_table_raises_the_alarm_and_is_repaired() {
    let mut alarms = 0;
    for seed in 0..60 {
        let stats = World::new(seed, Bug::Corruption).run().unwrap_or_else(|error| panic!("{error}"));
        alarms += stats.alarms;
    }
    assert!(10 < alarms, "{alarms} alarms");
}
