//! Topic aliases that this node makes towards a client: a long Topic Name goes over the wire once.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

/// A shorter Topic Name than this is hardly longer than the alias that would stand for it.
const TOPIC_BYTES_MIN: usize = 8;

/// The aliases of one connection: the first topics have them until it ends [MQTT5-3.3.2-7].
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// How many the client takes [MQTT5-3.1.2-26]; 0 for none [MQTT5-3.1.2-27].
    max: u16,
    numbers: BTreeMap<Box<str>, NonZeroU16>,
}

/// An alias for one PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alias {
    pub(super) number: NonZeroU16,
    /// The client knows what it stands for, so the Topic Name is left out.
    pub(super) is_known: bool,
}

impl Aliases {
    /// For a new connection.
    pub(super) fn new(max: u16) -> Self {
        Self { max, numbers: BTreeMap::new() }
    }

    /// The alias to send a message with, if there is one or one is left. A new one counts once it was sent.
    pub(super) fn get(&self, topic: &str) -> Option<Alias> {
        if self.max == 0 || topic.len() < TOPIC_BYTES_MIN {
            return None;
        }
        if let Some(&number) = self.numbers.get(topic) {
            return Some(Alias { number, is_known: true });
        }
        let next = u16::try_from(self.numbers.len() + 1).ok().filter(|next| *next <= self.max)?;
        NonZeroU16::new(next).map(|number| Alias { number, is_known: false })
    }

    /// The message was sent with it.
    pub(super) fn on_sent(&mut self, topic: &str, alias: Option<Alias>) {
        if let Some(Alias { number, is_known: false }) = alias {
            self.numbers.insert(topic.into(), number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MQTT5-3.1.2-26] [MQTT5-3.1.2-27] [MQTT5-3.3.2-8] [MQTT5-3.3.2-11]
    #[test]
    fn the_first_topics_have_the_aliases_that_there_are() {
        let mut aliases = Aliases::new(2);
        let mut check = |topic: &str, is_sent, expected: Option<(u16, bool)>| {
            let alias = aliases.get(topic);
            assert_eq!(alias.map(|alias| (alias.number.get(), alias.is_known)), expected, "{topic}");
            if is_sent {
                aliases.on_sent(topic, alias);
            }
        };
        check("a long topic", false, Some((1, false)));
        check("a long topic", true, Some((1, false)));
        check("a long topic", true, Some((1, true)));
        check("short", true, None);
        check("another one", true, Some((2, false)));
        check("a third one", true, None);
        check("another one", true, Some((2, true)));
        assert_eq!(Aliases::new(0).get("a long topic"), None);
    }
}
