//! What both clients and mesh links need of the network: sockets, clock, backoff.

pub mod backoff;
pub mod clock;
pub mod mesh;

pub use tokio::net::{TcpListener, TcpStream, UdpSocket};
