//! The `flockmq` program.
fn main() {}
