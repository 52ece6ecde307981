//! The node's HTTP server: health, metrics and the API.

use std::net::{Ipv4Addr, SocketAddr};

/// Where the HTTP server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its address; port 0 lets the system choose.
    pub bind: SocketAddr,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)) }
    }
}
