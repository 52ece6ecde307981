//! What every family of real MQTT clients can do for a test, whatever program it is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::inbox::{Message, Properties};
use super::mqtt::Version;

/// One kind of real client program: mosquitto's, paho-mqtt, mqtt.js.
pub(crate) trait Family {
    fn name(&self) -> &'static str;

    /// Connects a client under `name`, subscribes and returns after the SUBACK.
    fn subscribe(&mut self, name: &str, at: SocketAddr, version: Version, filter: &str, qos: u8);

    /// Publishes the payloads in order over one connection.
    fn publish(
        &mut self,
        at: SocketAddr,
        version: Version,
        topic: &str,
        payloads: &[&str],
        qos: u8,
        properties: &Properties,
    );

    /// All that the subscriber received, once it is `count` messages or more, or `limit` has passed.
    fn received(&self, name: &str, count: usize, limit: Duration) -> Vec<Message>;
}

/// Where `scripts/setup-tests` puts the client libraries.
///
/// # Panics
/// When it has not run: a test that silently skips its clients would prove nothing.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(path);
    assert!(path.exists(), "{} is missing: run scripts/setup-tests first", path.display());
    path
}

/// A source file of a driver.
pub(crate) fn driver_source(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}
