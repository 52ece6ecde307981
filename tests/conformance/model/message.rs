//! A message and its copies, as the reference sees them.

use std::rc::Rc;

use crate::packets::{V5, Version};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) expires_at: Option<u64>,
    pub(super) publisher: usize,
}

impl Message {
    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// What one client is to get of a message.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) message: Rc<Message>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) ids: Vec<u32>,
}

impl Copy {
    /// The line in which it arrives, in the form of [`normal`].
    pub(super) fn line(&self, packet_id: Option<u16>, is_dup: bool, version: Version, now: u64) -> String {
        let Message { topic, payload, expires_at, .. } = &*self.message;
        let mut line = format!("PUBLISH {topic} \"{payload}\" q{}", self.qos);
        if let Some(id) = packet_id {
            line += &format!(" #{id}");
        }
        if is_dup {
            line += " dup";
        }
        if self.retain {
            line += " retain";
        }
        if version == V5 {
            if let Some(at) = expires_at {
                line += &format!(" expiry={}", at.saturating_sub(now));
            }
            line.extend(self.ids.iter().map(|id| format!(" id={id}")));
        }
        normal(&line)
    }
}

/// The order of Subscription Identifiers means nothing [MQTT5-3.3.4-4]: they go last and sorted.
pub(super) fn normal(line: &str) -> String {
    let (mut ids, words): (Vec<&str>, Vec<&str>) = line.split(' ').partition(|word| word.starts_with("id="));
    ids.sort_unstable();
    [words, ids].concat().join(" ")
}

/// The Packet Identifier in a line.
pub(super) fn packet_id(line: &str) -> Option<u16> {
    line.split(' ').find_map(|word| word.strip_prefix('#')?.parse().ok())
}
