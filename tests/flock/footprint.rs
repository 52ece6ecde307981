//! What an idle node costs.
#![expect(clippy::print_stderr, reason = "the figure is what one wants to see")]

use crate::support::flock::Flock;

const MIB: u64 = 1_024 * 1_024;

/// The promise holds for optimised builds; an unoptimised one is only looked at for something absurd.
const RESIDENT_BYTES_MAX: u64 = if cfg!(debug_assertions) { 80 * MIB } else { 20 * MIB };

#[test]
fn an_idle_node_in_a_flock_of_three_is_small() {
    let flock = Flock::start(3);
    for node in &flock.nodes {
        let bytes = node.resident_bytes();
        eprintln!("{}: {:.1} MiB resident when idle", node.spec.name, bytes as f64 / MIB as f64);
        assert!(bytes < RESIDENT_BYTES_MAX, "{} has {bytes} bytes resident", node.spec.name);
    }
}
