//! What process tests are made of: real nodes, raw and real clients, and waiting without sleeping blindly.

pub(crate) mod chance;
pub(crate) mod clients;
pub(crate) mod driver;
pub(crate) mod flock;
pub(crate) mod http;
pub(crate) mod inbox;
pub(crate) mod mosquitto;
pub(crate) mod mqtt;
pub(crate) mod node;
pub(crate) mod ports;
pub(crate) mod relay;
pub(crate) mod wire;

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// How long a step may take before the test fails. Far above what is normal: machines are slow and shared.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Asks `look` until it has an answer, and fails with `what` when `limit` has passed.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        thread::sleep(POLL);
    }
}

/// Looks at a value until `wanted` holds for it; the failure shows the last value seen.
#[track_caller]
pub(crate) fn wait_until<T: Debug>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        let seen = look();
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}; last seen: {seen:#?}");
        thread::sleep(POLL);
    }
}
