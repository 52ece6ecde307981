//! The sockets between nodes: the system's, or those of a simulated network (feature `simulation`).

#[cfg(not(feature = "simulation"))]
pub use tokio::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(feature = "simulation")]
pub use turmoil::net::{TcpListener, TcpStream, UdpSocket};
