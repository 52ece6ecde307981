//! The one place that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time of the runtime: real in production, simulated where a test pauses it.
#[must_use]
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the one reader of the monotonic clock")]
    tokio::time::Instant::now().into_std()
}

/// Milliseconds since 1970 on the wall clock; 0 when the clock is set before that.
///
/// Only incarnations, stamps and what people read may use it: it jumps.
#[must_use]
pub fn unix_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
