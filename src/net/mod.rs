//! What both clients and mesh links need of the network: sockets, clock, backoff.
//!
//! The socket types are aliases, so that a simulated network can take their place in one line.

pub mod backoff;
pub mod clock;

pub use tokio::net::{TcpListener, TcpStream, UdpSocket};
