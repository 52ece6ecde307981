//! Where clients may connect.

use std::net::SocketAddr;
use std::time::Duration;

use crate::session;

/// All listeners of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// At least one; no two with the same address.
    pub listeners: Vec<Listener>,
}

/// One TCP listener for MQTT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Connections at the same time; more are closed at once.
    pub connections_max: usize,
    /// Connections whose CONNECT is not accepted yet, at the same time; beyond it the one that has been silent for
    /// longest goes, and without any that has been so for a second, the new one.
    pub handshakes_max: usize,
    /// How long a new connection may take to send its CONNECT.
    pub connect_timeout: Duration,
    /// Limits of the sessions whose clients come through it; `None` for those that all listeners share.
    pub session: Option<session::Settings>,
}

impl Listener {
    /// A listener with the default limits.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            connections_max: 100_000,
            // At 35 us of a processor for a CONNECT no two cores take more in the second that each may last; silent
            // ones are 50 MB at the most.
            handshakes_max: 10_000,
            connect_timeout: Duration::from_secs(10),
            session: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { listeners: vec![Listener::new(SocketAddr::from(([127, 0, 0, 1], 1883)))] }
    }
}
