//! What the fuzz targets do with their input. Also compiled into tests/fuzz_smoke, where a stable toolchain
//! runs it over the corpus; see docs/testing.md.

pub mod connection;
pub mod packets;
pub mod session;
pub mod topics;
