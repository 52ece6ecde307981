//! The limits of what the broker keeps for everybody.

use std::time::Duration;

/// Limits of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often the values under `$SYS` are published; zero for never.
    pub sys_interval: Duration,
    /// Retained messages.
    pub retained: RetainedSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self { sys_interval: Duration::from_secs(10), retained: RetainedSettings::default() }
    }
}

/// Limits of the retained messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedSettings {
    /// Messages kept.
    pub messages_max: usize,
    /// Bytes of one payload that is kept.
    pub payload_max: usize,
    /// Bytes of memory for all of them.
    pub bytes_max: usize,
}

impl Default for RetainedSettings {
    fn default() -> Self {
        Self { messages_max: 1_000_000, payload_max: 1 << 20, bytes_max: 1 << 30 }
    }
}
