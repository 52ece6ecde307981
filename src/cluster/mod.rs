//! Membership, replicated routes and the links between nodes.

mod advertised;
mod envelope;
mod fragments;
pub mod frame;
pub mod membership;
pub mod node_id;
mod replay;
pub mod routes;
pub mod sync;
pub mod seal;
mod transport;
