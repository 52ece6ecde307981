//! The limits of what the broker keeps for everybody, and its choices.

use std::fmt;
use std::str::FromStr;

/// Limits and choices of the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Retained messages.
    pub retained: RetainedSettings,
    /// Shared subscriptions.
    pub shared: SharedSettings,
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

/// No such strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a strategy of shared subscriptions")]
pub struct UnknownStrategy;

impl SharedStrategy {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Random,
        Self::RoundRobin,
        Self::RoundRobinPerGroup,
        Self::Sticky,
        Self::Local,
        Self::HashClientId,
        Self::HashTopic,
        Self::LeastInflight,
    ];

    /// The word for it in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::RoundRobinPerGroup => "round_robin_per_group",
            Self::Sticky => "sticky",
            Self::Local => "local",
            Self::HashClientId => "hash_clientid",
            Self::HashTopic => "hash_topic",
            Self::LeastInflight => "least_inflight",
        }
    }
}

impl fmt::Display for SharedStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SharedStrategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == text).ok_or(UnknownStrategy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_has_its_word() {
        for strategy in SharedStrategy::ALL {
            assert_eq!(strategy.as_str().parse(), Ok(strategy));
        }
        assert_eq!("roundrobin".parse::<SharedStrategy>(), Err(UnknownStrategy));
    }
}
