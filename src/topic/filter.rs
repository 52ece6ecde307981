//! Topic Filters: what subscriptions ask for.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::mismatch::Mismatch;
use super::{LEVELS_MAX, TOPIC_BYTES_MAX, TopicRef, share, split_level};

/// Why a text is not a Topic Filter, with or without a share in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// [MQTT-4.7.3-1] [MQTT5-4.7.3-1]
    #[error("a Topic Filter has at least one character")]
    Empty,
    /// [MQTT-4.7.3-3] [MQTT5-4.7.3-3]
    #[error("a Topic Filter has at most {TOPIC_BYTES_MAX} bytes")]
    TooLong,
    /// A limit of this broker.
    #[error("a Topic Filter with wildcards has at most {LEVELS_MAX} levels")]
    TooManyLevels,
    /// [MQTT-4.7.3-2] [MQTT5-4.7.3-2]
    #[error("a Topic Filter does not hold U+0000")]
    Null,
    /// [MQTT-4.7.1-2] [MQTT5-4.7.1-1]
    #[error("# fills a level of its own, the last one")]
    MisplacedHash,
    /// [MQTT-4.7.1-3] [MQTT5-4.7.1-2]
    #[error("+ fills a level of its own")]
    MisplacedPlus,
    /// [MQTT5-4.8.2-1]
    #[error("a Share Name has at least one character")]
    ShareNameEmpty,
    /// [MQTT5-4.8.2-1] [MQTT5-4.8.2-2]
    #[error("a Share Name holds none of /, + and #")]
    ShareNameInvalid,
    /// [MQTT5-4.8.2-2]
    #[error("a Share Name is followed by / and a Topic Filter")]
    ShareWithoutFilter,
    /// `$share/…` or `$queue/…` where only the filter itself may stand: behind another share, for one.
    #[error("a share cannot stand inside a Topic Filter")]
    MisplacedShare,
    /// `$exclusive/…` behind a share, or in front of what is not a filter for messages of clients.
    #[error("$exclusive/ stands at the front and is followed by a Topic Filter that does not begin with $")]
    MisplacedExclusive,
}

/// A valid Topic Filter with nothing in front; clones share the text. Invariant: `check` passed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Checks the rules for Topic Filters of MQTT 3.1.1 and 5.0; levels may be empty.
    ///
    /// What a client sends is read by [`SubscriptionFilter::parse`](super::SubscriptionFilter::parse),
    /// which takes off first what stands in front; here that is refused.
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The text as it travels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can match more than the one Topic Name that it spells.
    #[must_use]
    pub fn has_wildcards(&self) -> bool {
        memchr::memchr2(b'+', b'#', self.0.as_bytes()).is_some()
    }

    /// Whether a message published to `name` belongs to this filter: section 4.7 of both standards, one
    /// level after the other. To find the filters of a name among many use
    /// [`FilterIndex`](super::FilterIndex).
    #[must_use]
    pub fn matches(&self, name: TopicRef<'_>) -> bool {
        // [MQTT-4.7.2-1] [MQTT5-4.7.2-1]
        let starts_with_wildcard = self.0.starts_with(['+', '#']);
        if name.is_dollar() && starts_with_wildcard {
            return false;
        }
        levels_match(Some(&self.0), Some(name.as_str()))
    }

    /// Why a message published to `name` does not belong to this filter; `None` when it does.
    #[must_use]
    pub fn mismatch<'a>(&'a self, name: TopicRef<'a>) -> Option<Mismatch<'a>> {
        (!self.matches(name)).then(|| Mismatch::find(&self.0, name.as_str()))
    }
}

fn check(text: &str) -> Result<(), FilterError> {
    if text.is_empty() {
        return Err(FilterError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(FilterError::TooLong);
    }
    if text.contains('\0') {
        return Err(FilterError::Null);
    }
    if share::is_shared(text) {
        return Err(FilterError::MisplacedShare);
    }
    if share::is_exclusive(text) {
        return Err(FilterError::MisplacedExclusive);
    }
    let mut levels = 0;
    let mut wildcards = false;
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (level, tail) = split_level(text);
        let fills_level = level.len() == 1;
        match memchr::memchr2(b'+', b'#', level.as_bytes()).map(|at| level.as_bytes()[at]) {
            None => {}
            Some(b'#') if fills_level && tail.is_none() => wildcards = true,
            Some(b'+') if fills_level => wildcards = true,
            Some(b'#') => return Err(FilterError::MisplacedHash),
            Some(_) => return Err(FilterError::MisplacedPlus),
        }
        levels += 1;
        rest = tail;
    }
    if wildcards && levels > LEVELS_MAX {
        return Err(FilterError::TooManyLevels);
    }
    Ok(())
}

/// Matches what is left of a filter against what is left of a name; `None` is "no level left", which is
/// not the same as one empty level. The rule for a leading `$` is the caller's.
pub(super) fn levels_match(mut filter: Option<&str>, mut name: Option<&str>) -> bool {
    loop {
        let Some(filter_rest) = filter else { return name.is_none() };
        if filter_rest == "#" {
            // It also stands for its parent level [MQTT5-4.7.1-1]: `name` may be used up.
            return true;
        }
        let Some(name_rest) = name else { return false };
        let (wanted, filter_tail) = split_level(filter_rest);
        let (level, name_tail) = split_level(name_rest);
        if wanted != "+" && wanted != level {
            return false;
        }
        (filter, name) = (filter_tail, name_tail);
    }
}

/// Equality, order and hash are those of the text, so a map of filters can be searched with a `str`.
impl Borrow<str> for TopicFilter {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicFilter({:?})", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_parse(text: &str, expected: Result<(), FilterError>) {
        let shown: String = text.chars().take(40).collect();
        assert_eq!(TopicFilter::parse(text).map(|_| ()), expected, "{shown:?}");
    }

    fn check_match(filter: &str, name: &str, expected: bool) {
        let filter = TopicFilter::parse(filter).unwrap();
        let name = TopicRef::parse(name).unwrap();
        assert_eq!(filter.matches(name), expected, "{filter} against {name}");
    }

    /// [MQTT5-4.7.1-1]: `#` is the last character, on its own or behind a separator.
    #[test]
    fn hash_is_a_level_of_its_own_and_the_last() {
        for text in ["#", "/#", "sport/tennis/#", "+/#", "$SYS/#", "//#"] {
            check_parse(text, Ok(()));
        }
        for text in ["sport/tennis#", "sport/tennis/#/ranking", "##", "#/", "#/#", "a/#b", "#a", "a/##"] {
            check_parse(text, Err(FilterError::MisplacedHash));
        }
    }

    /// [MQTT5-4.7.1-2]: `+` fills its level.
    #[test]
    fn plus_fills_a_whole_level() {
        for text in ["+", "+/tennis/#", "sport/+/player1", "/+", "+/", "+/+", "/+/", "$SYS/+"] {
            check_parse(text, Ok(()));
        }
        for text in ["sport+", "+sport", "a/b+/c", "++", "+/++", "a+/#", "+#"] {
            check_parse(text, Err(FilterError::MisplacedPlus));
        }
        check_parse("#+", Err(FilterError::MisplacedHash));
    }

    /// [MQTT5-4.7.3-1] to [MQTT5-4.7.3-3].
    #[test]
    fn filters_have_a_length_and_no_null() {
        check_parse("", Err(FilterError::Empty));
        check_parse("a\0b", Err(FilterError::Null));
        check_parse("a/\0", Err(FilterError::Null));
        check_parse(&"a".repeat(TOPIC_BYTES_MAX), Ok(()));
        check_parse(&"a".repeat(TOPIC_BYTES_MAX + 1), Err(FilterError::TooLong));
    }

    #[test]
    fn only_filters_with_wildcards_have_a_limit_on_levels() {
        check_parse(&"/".repeat(TOPIC_BYTES_MAX), Ok(()));
        check_parse(&format!("{}#", "/".repeat(LEVELS_MAX - 1)), Ok(()));
        check_parse(&format!("{}#", "/".repeat(LEVELS_MAX)), Err(FilterError::TooManyLevels));
        check_parse(&format!("+{}", "/".repeat(LEVELS_MAX)), Err(FilterError::TooManyLevels));
        check_parse(&format!("{}#", "+/".repeat(32_000)), Err(FilterError::TooManyLevels));
    }

    #[test]
    fn a_share_is_taken_off_before_or_refused() {
        check_parse("$share/g/a", Err(FilterError::MisplacedShare));
        check_parse("$queue/a", Err(FilterError::MisplacedShare));
        check_parse("$exclusive/a", Err(FilterError::MisplacedExclusive));
        for text in ["$share", "$queue", "$shared/g/a", "$SHARE/g/a", "a/$share/g", "/$queue/a", "$exclusive"]
        {
            check_parse(text, Ok(()));
        }
    }

    /// The examples of sections 4.7.1.2, 4.7.1.3 and 4.7.2.
    #[test]
    fn filters_match_what_the_standard_says() {
        for name in ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/x"] {
            check_match("sport/tennis/player1/#", name, true);
        }
        check_match("sport/#", "sport", true);
        check_match("sport/#", "sport/", true);
        check_match("sport/#", "sports", false);
        check_match("#", "a", true);
        check_match("#", "/", true);
        check_match("sport/tennis/+", "sport/tennis/player1", true);
        check_match("sport/tennis/+", "sport/tennis/player1/ranking", false);
        check_match("sport/+", "sport", false);
        check_match("sport/+", "sport/", true);
        check_match("+/+", "/finance", true);
        check_match("/+", "/finance", true);
        check_match("+", "/finance", false);
        check_match("+/#", "a", true);
        check_match("+/+/#", "a", false);
        check_match("a/+/#", "a/b", true);
        check_match("a/b", "a/b/", false);
        check_match("a//b", "a/b", false);
        check_match("a/+/b", "a//b", true);
        check_match("Accounts", "ACCOUNTS", false);
    }

    /// [MQTT5-4.7.2-1].
    #[test]
    fn a_leading_wildcard_does_not_match_a_leading_dollar() {
        check_match("#", "$SYS/uptime", false);
        check_match("+/uptime", "$SYS/uptime", false);
        check_match("+", "$x", false);
        check_match("+/#", "$SYS", false);
        check_match("$SYS/#", "$SYS/monitor/Clients", true);
        check_match("$SYS/monitor/+", "$SYS/monitor/Clients", true);
        check_match("a/#", "a/$b", true);
        check_match("a/+", "a/$b", true);
        check_match("/#", "/$b", true);
    }
}
