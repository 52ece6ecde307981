//! The limits of what the broker keeps for everybody, and its choices.

use std::time::Duration;

use crate::codec::{Qos, RetainHandling, SubscribeOptions};
use crate::topic::{FilterTemplate, REWRITES_MAX, Rewrite, RewriteAction, RewriteError, Rewrites};

/// Limits and choices of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often the values under `$SYS` are published; zero for never.
    pub sys_interval: Duration,
    /// Retained messages.
    pub retained: RetainedSettings,
    /// Shared subscriptions.
    pub shared: SharedSettings,
    /// What a client gets that has several subscriptions for one message.
    pub overlapping: Overlapping,
    /// Other topics than clients ask for.
    pub rewrite: RewriteSettings,
    /// Subscriptions that every client is given.
    pub auto_subscribe: AutoSubscribeSettings,
    /// Messages for later.
    pub delayed: DelayedSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sys_interval: Duration::from_secs(10),
            retained: RetainedSettings::default(),
            shared: SharedSettings::default(),
            overlapping: Overlapping::default(),
            rewrite: RewriteSettings::default(),
            auto_subscribe: AutoSubscribeSettings::default(),
            delayed: DelayedSettings::default(),
        }
    }
}

/// What a client gets of a message that matches several of its plain subscriptions; the standard leaves both open
/// [MQTT5-3.3.4]. Shared subscriptions always bring a copy each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlapping {
    /// One copy at the highest QoS, with the Subscription Identifiers of all of them.
    #[default]
    Once,
    /// A copy for each of them, at its QoS and with its Subscription Identifier.
    Each,
}

impl Overlapping {
    /// Each with its word in the configuration.
    pub const WORDS: &[(&'static str, Self)] = &[("once", Self::Once), ("each", Self::Each)];
}

/// A key of a section, and what is wrong with it.
pub type WrongKey = (&'static str, String);

/// Rules for other topics than clients ask for, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RewriteSettings {
    pub(super) rules: Rewrites,
}

impl RewriteSettings {
    /// What a rule can be for, each with its word in the configuration.
    pub const ACTIONS: &[(&'static str, RewriteAction)] = &[
        ("all", RewriteAction::All),
        ("publish", RewriteAction::Publish),
        ("subscribe", RewriteAction::Subscribe),
    ];

    /// Adds a rule behind the others.
    ///
    /// # Errors
    /// The key that is wrong.
    pub fn add(
        &mut self,
        action: RewriteAction,
        source: &str,
        pattern: &str,
        target: &str,
    ) -> Result<(), WrongKey> {
        let rule = Rewrite::new(action, source, pattern, target).map_err(|error| {
            let key = match &error {
                RewriteError::Source(_) => "source",
                RewriteError::Pattern(_) => "pattern",
                RewriteError::Target(_)
                | RewriteError::TargetName(_)
                | RewriteError::TargetOwn
                | RewriteError::TargetFilter(_) => "target",
            };
            (key, error.to_string())
        })?;
        if !self.rules.push(rule) {
            return Err(("source", format!("there are {REWRITES_MAX} rules already")));
        }
        Ok(())
    }
}

/// Most subscriptions that every client is given.
const AUTO_SUBSCRIPTIONS_MAX: usize = 64;

/// Subscriptions that every client is given, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoSubscribeSettings {
    pub(super) subscriptions: Vec<AutoSubscription>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AutoSubscription {
    pub(super) filter: FilterTemplate,
    pub(super) options: SubscribeOptions,
}

impl AutoSubscribeSettings {
    /// Adds a subscription; `qos` and `retain_handling` are the numbers of SUBSCRIBE, from 0 to 2.
    ///
    /// # Errors
    /// The key that is wrong.
    pub fn add(
        &mut self,
        filter: &str,
        qos: u8,
        no_local: bool,
        retain_as_published: bool,
        retain_handling: u8,
    ) -> Result<(), WrongKey> {
        let filter = FilterTemplate::parse(filter).map_err(|error| ("filter", error.to_string()))?;
        if no_local && filter.is_shared() {
            return Err(("no_local", "a shared subscription has no such option".to_owned())); // [MQTT5-3.8.3-4]
        }
        if self.subscriptions.len() == AUTO_SUBSCRIPTIONS_MAX {
            return Err(("filter", format!("there are {AUTO_SUBSCRIPTIONS_MAX} of them already")));
        }
        let qos = Qos::from_u8(qos).ok_or(("qos", "there is no such QoS".to_owned()))?;
        let retain_handling = match retain_handling {
            0 => RetainHandling::SendAlways,
            1 => RetainHandling::SendIfNew,
            _ => RetainHandling::DoNotSend,
        };
        let options = SubscribeOptions { qos, no_local, retain_as_published, retain_handling };
        self.subscriptions.push(AutoSubscription { filter, options });
        Ok(())
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
