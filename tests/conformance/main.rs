//! The standards from outside: raw bytes to a real socket, raw bytes back.
//!
//! Each test has a node of its own, in this process so that its clock can be moved by hand, and clients that
//! know nothing of the broker's codec. What a test proves is named by statement; `scripts/spec-coverage` compares
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
mod subscribing;
mod text;
mod wills;
