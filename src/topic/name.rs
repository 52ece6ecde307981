//! Topic Names: what messages are published to.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::TOPIC_BYTES_MAX;

/// Why a text is not a Topic Name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// [MQTT-4.7.3-1] [MQTT5-4.7.3-1]
    #[error("a Topic Name has at least one character")]
    Empty,
    /// [MQTT-4.7.3-3] [MQTT5-4.7.3-3]
    #[error("a Topic Name has at most {TOPIC_BYTES_MAX} bytes")]
    TooLong,
    /// [MQTT-4.7.3-2] [MQTT5-4.7.3-2]
    #[error("a Topic Name does not hold U+0000")]
    Null,
    /// [MQTT-3.3.2-2] [MQTT-4.7.1-1] [MQTT5-3.3.2-2] [MQTT5-4.7.0-1]
    #[error("a Topic Name does not hold the wildcards + and #")]
    Wildcard,
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    match memchr::memchr3(b'+', b'#', 0, text.as_bytes()) {
        None => Ok(()),
        Some(at) if text.as_bytes()[at] == 0 => Err(NameError::Null),
        Some(_) => Err(NameError::Wildcard),
    }
}

/// A valid Topic Name, borrowed. Invariant: `check` passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicRef<'a>(&'a str);

impl<'a> TopicRef<'a> {
    /// Checks the rules that hold for every Topic Name in MQTT 3.1.1 and 5.0; levels may be empty.
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn parse(text: &'a str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text))
    }

    /// The text as it travels.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it begins with `$`, so that a filter that begins with a wildcard does not match it
    /// [MQTT-4.7.2-1] [MQTT5-4.7.2-1].
    #[must_use]
    pub fn is_dollar(self) -> bool {
        self.0.starts_with('$')
    }

    /// The levels between the separators, at least one; any of them may be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> {
        self.0.split('/')
    }
}

impl fmt::Display for TopicRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A valid Topic Name, owned; clones share the text. Invariant: `check` passed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Like [`TopicRef::parse`].
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        TopicRef::parse(text).map(Self::from)
    }

    /// The text as it travels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> TopicRef<'_> {
        TopicRef(&self.0)
    }
}

impl From<TopicRef<'_>> for TopicName {
    fn from(name: TopicRef<'_>) -> Self {
        Self(name.0.into())
    }
}

/// Equality, order and hash are those of the text, so a map of names can be searched with a `str`.
impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicName({:?})", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_parse(text: &str, expected: Result<(), NameError>) {
        let shown: String = text.chars().take(40).collect();
        assert_eq!(TopicRef::parse(text).map(|_| ()), expected, "{shown:?}");
        assert_eq!(TopicName::parse(text).map(|_| ()), expected, "{shown:?}");
    }

    /// [MQTT5-4.7.3-1] at least one character; the standard's own examples of 4.7.1.1 and 4.7.3.
    #[test]
    fn levels_may_be_empty_but_the_name_may_not() {
        check_parse("", Err(NameError::Empty));
        for text in ["/", "//", "/finance", "finance/", "a//b", "ACCOUNTS", "Accounts payable", "$SYS/x", "$"]
        {
            check_parse(text, Ok(()));
        }
    }

    /// [MQTT5-4.7.0-1], [MQTT5-3.3.2-2].
    #[test]
    fn wildcards_are_refused_wherever_they_stand() {
        for text in ["+", "#", "a/+", "a/#", "a+b", "a#", "#a", "/+/", "a/b+/c"] {
            check_parse(text, Err(NameError::Wildcard));
        }
    }

    /// [MQTT5-4.7.3-2].
    #[test]
    fn the_null_character_is_refused() {
        for text in ["\0", "a\0", "a/\0/b", "\0/+"] {
            check_parse(text, Err(NameError::Null));
        }
        check_parse("a\u{1}b/\u{feff}/\u{10ffff}", Ok(()));
    }

    /// [MQTT5-4.7.3-3]: the limit is in bytes, not in characters, and levels are not limited.
    #[test]
    fn the_length_limit_counts_bytes() {
        check_parse(&"a".repeat(TOPIC_BYTES_MAX), Ok(()));
        check_parse(&"a".repeat(TOPIC_BYTES_MAX + 1), Err(NameError::TooLong));
        check_parse(&"é".repeat(32_767), Ok(()));
        check_parse(&"é".repeat(32_768), Err(NameError::TooLong));
        check_parse(&"/".repeat(TOPIC_BYTES_MAX), Ok(()));
    }

    #[test]
    fn levels_are_what_stands_between_the_slashes() {
        let levels = |text| TopicRef::parse(text).unwrap().levels().collect::<Vec<_>>();
        assert_eq!(levels("a/b"), ["a", "b"]);
        assert_eq!(levels("/"), ["", ""]);
        assert_eq!(levels("a//"), ["a", "", ""]);
    }
}
