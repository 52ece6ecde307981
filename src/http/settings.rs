//! Where the HTTP server listens, and its limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Where the HTTP server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its address; port 0 takes a free one.
    pub bind: SocketAddr,
    /// Whether requests may change something; `None` leaves it to the address: on loopback they may.
    pub allow_changes: Option<bool>,
}

impl Settings {
    /// Whether requests may change something.
    #[must_use]
    pub fn changes_allowed(&self) -> bool {
        self.allow_changes.unwrap_or(self.bind.ip().is_loopback())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), allow_changes: None }
    }
}

/// Connections at the same time; more are closed at once. Probes, a scraper or two and people need a handful.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// Bytes of a request's first line and headers.
pub(super) const HEADER_BYTES_MAX: usize = 16 << 10;
/// Header lines of a request.
pub(super) const HEADERS_MAX: usize = 64;
/// Bytes of a request's body.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a request's headers may take to come, counted from the end of the request before.
pub(super) const HEADER_TIME_MAX: Duration = Duration::from_secs(15);
/// How long an answer may take to be made.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection is kept for further requests.
pub(super) const CONNECTION_TIME_MAX: Duration = Duration::from_secs(120);
/// How long an answer under way may take to be read once its connection is to end.
pub(super) const GOODBYE_TIME_MAX: Duration = Duration::from_secs(10);

const _: () = assert!(HEADER_TIME_MAX.as_secs() < CONNECTION_TIME_MAX.as_secs());
