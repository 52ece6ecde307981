//! What the cluster module is told at its start: the settings and who this node is.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::node_id::NodeId;

/// The `[cluster]` settings. `config` fills them and checks what concerns more than one of them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's name: nodes of another name are turned away.
    pub name: String,
    /// TCP and UDP address of this node; port 0 lets the system choose one that is free for both.
    pub listen: SocketAddr,
    /// `host:port` that peers use to reach this node; `None` means the address it listens on.
    pub advertise: Option<String>,
    /// Seeds, `host:port`; this node's own address may be among them.
    pub node_address: Vec<String>,
    /// The shared secret. `None` is for a cluster on loopback only, and `config` enforces that.
    pub secret: Option<Secret>,
    /// Pause between two gossip rounds, and between two looks at the peers.
    pub gossip_interval: Duration,
    /// A peer without any sign of life for this long is down.
    pub dead_after: Duration,
    /// Pause between two pings on a link.
    pub heartbeat_interval: Duration,
    /// What a SUBACK waits for.
    pub suback: SubackMode,
    /// The longest that a SUBACK waits for the peers.
    pub suback_timeout: Duration,
    /// Bytes that one link keeps of publishes that are unsent or unacknowledged.
    pub link_buffer_bytes: usize,
    /// Route changes kept per owner, so that a peer that lags gets a range and not a snapshot.
    pub route_log_max: usize,
    /// How long a peer that is down or has left is kept; then this node forgets it by itself. `None`: for ever.
    pub autoclean: Option<Duration>,
    /// How long after its start a node waits for seeds that it does not hear from before it is ready.
    pub join_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "flock".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7946)),
            advertise: None,
            node_address: Vec::new(),
            secret: None,
            gossip_interval: Duration::from_millis(200),
            dead_after: Duration::from_millis(2_500),
            heartbeat_interval: Duration::from_millis(500),
            suback: SubackMode::Reachable,
            suback_timeout: Duration::from_millis(500),
            link_buffer_bytes: 16 * 1_024 * 1_024,
            route_log_max: 65_536,
            autoclean: Some(Duration::from_secs(24 * 3_600)),
            join_grace: Duration::from_secs(2),
        }
    }
}

/// What a SUBACK waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubackMode {
    /// Every live peer has acknowledged the route, or the time is up.
    Reachable,
    /// Nothing outside this node.
    Local,
}

/// The cluster's shared secret. It never shows itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>); // Invariant: not empty.

impl Secret {
    /// # Errors
    /// An empty secret is refused: it protects nothing.
    pub fn new(secret: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let secret = secret.into();
        if secret.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Self(secret))
    }

    /// The secret itself, for key derivation only.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a secret was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It has no bytes.
    #[error("the cluster secret is empty")]
    Empty,
}

/// Who this node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The persistent id.
    pub id: NodeId,
    /// Grows with every start of the node.
    pub incarnation: u64,
    /// A label for people; need not be unique.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_secret_is_refused_and_a_real_one_stays_hidden() {
        assert_eq!(Secret::new(""), Err(SecretError::Empty));
        let secret = Secret::new("feathers").unwrap();
        assert!(!format!("{secret:?}").contains("feathers"));
        let settings = Settings { secret: Some(secret), ..Settings::default() };
        assert!(!format!("{settings:?}").contains("feathers"));
    }
}
