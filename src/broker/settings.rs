//! The limits of what the broker keeps for everybody, and its choices.

use std::time::Duration;

/// Limits and choices of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often the values under `$SYS` are published; zero for never.
    pub sys_interval: Duration,
    /// Retained messages.
    pub retained: RetainedSettings,
    /// Shared subscriptions.
    pub shared: SharedSettings,
    /// Messages for later.
    pub delayed: DelayedSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sys_interval: Duration::from_secs(10),
            retained: RetainedSettings::default(),
            shared: SharedSettings::default(),
            delayed: DelayedSettings::default(),
        }
    }
}

/// Limits of the messages that wait for their time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedSettings {
    /// Messages kept; 0 for none, and then `$delayed/…` is a topic like any other that begins with `$`.
    pub messages_max: usize,
    /// Bytes of memory for all of them.
    pub bytes_max: usize,
    /// Longest delay, in seconds.
    pub seconds_max: u32,
}

impl DelayedSettings {
    /// Whether messages may be published for later.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.messages_max > 0
    }
}

impl Default for DelayedSettings {
    fn default() -> Self {
        Self { messages_max: 100_000, bytes_max: 256 << 20, seconds_max: 4_294_967 }
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

/// Choices for shared subscriptions. Whether there are any is a setting of the session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedSettings {
    /// Who gets the next message.
    pub strategy: SharedStrategy,
}

/// How the member of a shared subscription is chosen that gets a message. In every case one that cannot take
/// it at once (away, at its Receive Maximum, not reading) is passed over while another one can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SharedStrategy {
    /// Any member.
    Random,
    /// The members in turn, for each publisher by itself (publishers beyond a few share their turns).
    #[default]
    RoundRobin,
    /// The members in turn, for all publishers together.
    RoundRobinPerGroup,
    /// One member until it is away, then another one.
    Sticky,
    /// A member on the publisher's node if there is one; of several the next in turn.
    Local,
    /// The same member for all messages of a publisher, by its Client Identifier.
    HashClientId,
    /// The same member for all messages of a topic.
    HashTopic,
    /// The member with the fewest messages waiting or unacknowledged.
    LeastInflight,
}

impl SharedStrategy {
    /// Each with its word in the configuration.
    pub const WORDS: &[(&'static str, Self)] = &[
        ("random", Self::Random),
        ("round_robin", Self::RoundRobin),
        ("round_robin_per_group", Self::RoundRobinPerGroup),
        ("sticky", Self::Sticky),
        ("local", Self::Local),
        ("hash_clientid", Self::HashClientId),
        ("hash_topic", Self::HashTopic),
        ("least_inflight", Self::LeastInflight),
    ];
}
