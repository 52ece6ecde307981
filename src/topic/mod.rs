//! Topic Names, Topic Filters and the two indexes that match them: pure text and data structures.
//!
//! A Topic Name is what a message is published to; a Topic Filter is what a subscription asks for, and may
//! hold the wildcards `+` (one level) and `#` (the rest). Values of these types are checked once, at
//! `parse`, so whoever holds one need not check again. Which reason code an error becomes, and who may use
//! which topic, is decided elsewhere.
//!
//! Nothing here recurses over levels: 65,535 slashes cost time in proportion to their number, never stack.

mod automatic;
mod filter;
mod filter_index;
mod mismatch;
#[cfg(test)]
mod naive;
mod name;
#[cfg(test)]
mod oracle;
mod rewrite;
mod share;
mod template;
mod topic_index;
mod trie;

#[cfg(feature = "simulation")]
use foldhash::fast::FixedState as RandomState; // The same order in every run.
#[cfg(not(feature = "simulation"))]
use foldhash::fast::RandomState;

pub use automatic::{FilterTemplate, FilterTemplateError};
pub use filter::{FilterError, TopicFilter};
pub use filter_index::FilterIndex;
pub use mismatch::Mismatch;
pub use name::{NameError, TopicName, TopicRef};
pub use rewrite::{REWRITES_MAX, Rewrite, RewriteAction, RewriteError, RewriteRefusal, Rewrites, Rewriting};
pub use share::{ShareName, SubscriptionFilter, SubscriptionKind};
pub use template::{TemplateError, Unfilled, Whose};
pub use topic_index::{Step, TopicIndex};

/// Longest Topic Name or Topic Filter in UTF-8 bytes [MQTT-4.7.3-3] [MQTT5-4.7.3-3].
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// Most levels of a Topic Filter that holds a wildcard.
///
/// The standard sets no such limit. This one bounds the nodes that one SUBSCRIBE can make the trie
/// allocate and the places that a match must remember, so that matching needs a fixed amount of stack. Topic
/// Names and filters without wildcards are looked up whole and need no limit but their length.
pub const LEVELS_MAX: usize = 128;

/// First level of `text` and what follows its separator; `None` when it was the last level.
fn split_level(text: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'/', text.as_bytes()) {
        Some(end) => (&text[..end], Some(&text[end + 1..])),
        None => (text, None),
    }
}
