//! What outlives the process.

mod identity;

pub use identity::{DataDir, DataDirError, Incarnation};
