//! Bugs on purpose, to show that simulation and fault tests would find real ones of their kind.
//!
//! Without the feature `seeded-bugs` none is ever there, and the compiler removes the questions.

#[cfg(feature = "seeded-bugs")]
use std::sync::atomic::{AtomicU8, Ordering};

/// A bug that can be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Now and then a piece of a peer's route log is noted as applied, and is not.
    DroppedDelta,
    /// A piece of a peer's route log is applied although the one before it is missing.
    GapIgnored,
    /// What a peer sends again after a broken connection is taken again.
    NoDeduplication,
    /// What was under way when a connection broke is not sent again.
    NoResend,
    /// A SUBACK waits for nobody.
    EarlySuback,
    /// A peer that came back keeps its mask.
    MaskKept,
}

/// All of them with their names.
pub const BUGS: [(Bug, &str); 6] = [
    (Bug::DroppedDelta, "dropped_delta"),
    (Bug::GapIgnored, "gap_ignored"),
    (Bug::NoDeduplication, "no_deduplication"),
    (Bug::NoResend, "no_resend"),
    (Bug::EarlySuback, "early_suback"),
    (Bug::MaskKept, "mask_kept"),
];

/// 0 for none, else one more than the bug's place.
#[cfg(feature = "seeded-bugs")]
static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Puts a bug into this process.
#[cfg(feature = "seeded-bugs")]
pub fn put_in(bug: Bug) {
    CHOSEN.store(bug as u8 + 1, Ordering::Relaxed);
}

/// Whether the bug is there.
#[cfg(feature = "seeded-bugs")]
#[must_use]
pub fn has(bug: Bug) -> bool {
    CHOSEN.load(Ordering::Relaxed) == bug as u8 + 1
}

/// Whether the bug is there: never in this build.
#[cfg(not(feature = "seeded-bugs"))]
#[must_use]
pub const fn has(_bug: Bug) -> bool {
    false
}
