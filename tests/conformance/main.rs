//! The standards from outside: raw bytes to a real socket, raw bytes back.
//!
//! Each test has a node of its own, in this process so that its clock can be moved by hand (only `slow` has a process,
//! whose memory it reads), and clients that know nothing of the broker's codec. What a test proves is named by statement; `scripts/spec-coverage` compares
//! those names with docs/conformance.toml.
#![expect(clippy::disallowed_methods, reason = "tests drive a node from threads of their own, in real time")]

mod aliases;
mod availability;
mod delivering;
mod extras;
mod limits;
mod listeners;
mod malformed;
mod model;
mod node;
mod packets;
mod peer;
mod properties;
mod property;
mod publishing;
mod retained;
mod rules;
mod sessions;
mod slow;
mod subscribing;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the tests of the flock use the rest")]
mod support;
mod text;
mod wills;
