//! FlockMQ: a leaderless clustered MQTT broker for MQTT 3.1, 3.1.1 and 5.0.
//!
//! ARCHITECTURE.md is the map of the modules below and of what each may import.

pub mod auth;
pub mod broker;
pub mod cli;
pub mod cluster;
pub mod codec;
pub mod config;
pub mod http;
pub mod message;
pub mod metrics;
pub mod net;
pub mod node;
pub mod seeded_bugs;
pub mod server;
pub mod session;
pub mod storage;
pub mod tasks;
pub mod topic;
