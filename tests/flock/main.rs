//! Proof from outside: real `flockmq serve` processes, real clients, real signals.
//!
//! Nothing here uses the library; what these tests rely on is the outside contract: config keys, MQTT, HTTP,
//! metrics, the command line. `scripts/setup-tests` installs the clients.
#![expect(clippy::disallowed_methods, reason = "process tests run in real time against real processes")]

#[path = "../support/mod.rs"]
mod support;

mod bad_config;
mod explain;
mod extras;
mod footprint;
mod guide;
mod hostile;
mod lifecycle;
mod matrix;
mod network;
mod node_loss;
mod partitions;
mod routes;
mod rules;
mod sessions;
mod strangers;
