//! Membership, replicated routes and the links between nodes.

pub mod frame;
pub mod node_id;
pub mod routes;
pub mod sync;
