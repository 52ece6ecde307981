//! What may stand in front of the Topic Filter of a subscription: a Share Name, or the wish to be alone with it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{FilterError, TOPIC_BYTES_MAX, TopicFilter};

const SHARE_PREFIX: &str = "$share/";
const QUEUE_PREFIX: &str = "$queue/";
const QUEUE_NAME: &str = "$queue";
const EXCLUSIVE_PREFIX: &str = "$exclusive/";

/// Whether the text asks for a share, rightly or wrongly.
pub(super) fn is_shared(text: &str) -> bool {
    text.starts_with(SHARE_PREFIX) || text.starts_with(QUEUE_PREFIX)
}

/// Whether the text asks for an exclusive subscription, rightly or wrongly.
pub(super) fn is_exclusive(text: &str) -> bool {
    text.starts_with(EXCLUSIVE_PREFIX)
}

/// A valid Share Name; clones share the text. Invariant: [`ShareName::parse`] passed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareName(Arc<str>);

impl ShareName {
    /// A Share Name has at least one character and holds none of `/`, `+` and `#` [MQTT5-4.8.2-1]
    /// [MQTT5-4.8.2-2].
    ///
    /// # Errors
    /// The first rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Err(FilterError::ShareNameEmpty);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        if text.contains('\0') {
            return Err(FilterError::Null);
        }
        if text.contains(['/', '+', '#']) {
            return Err(FilterError::ShareNameInvalid);
        }
        Ok(Self(text.into()))
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShareName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareName({:?})", &*self.0)
    }
}

/// What a subscription is, apart from what it matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubscriptionKind {
    /// Every client may have one.
    Plain,
    /// One client at a time may have one for this very filter.
    Exclusive,
    /// Each message goes to one of those that share it.
    Shared(ShareName),
}

/// What a client writes in SUBSCRIBE and UNSUBSCRIBE: a Topic Filter, with a share or `$exclusive/` in front, or
/// without.
///
/// `$queue/{filter}` is the older spelling of one nameless share. It stands for
/// `$share/$queue/{filter}`, is the same subscription and is written back in the short form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionFilter {
    /// What stands in front. Shared subscriptions are ordered behind all others.
    pub kind: SubscriptionKind,
    /// What Topic Names are matched against.
    pub filter: TopicFilter,
}

impl SubscriptionFilter {
    /// Reads `$share/{ShareName}/{filter}`, `$queue/{filter}`, `$exclusive/{filter}` or `{filter}`.
    ///
    /// # Errors
    /// The first rule that `text` breaks, those for what stands in front before the filter's.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > TOPIC_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        if let Some(shared) = text.strip_prefix(SHARE_PREFIX) {
            let (share, filter) = shared.split_once('/').unwrap_or((shared, ""));
            let share = ShareName::parse(share)?;
            return Self::shared(share, filter);
        }
        if let Some(filter) = text.strip_prefix(QUEUE_PREFIX) {
            return Self::shared(ShareName(QUEUE_NAME.into()), filter);
        }
        if let Some(filter) = text.strip_prefix(EXCLUSIVE_PREFIX) {
            return Self::exclusive(filter);
        }
        TopicFilter::parse(text).map(Self::from)
    }

    /// The share of a shared subscription.
    #[must_use]
    pub fn share(&self) -> Option<&ShareName> {
        match &self.kind {
            SubscriptionKind::Shared(share) => Some(share),
            SubscriptionKind::Plain | SubscriptionKind::Exclusive => None,
        }
    }

    fn shared(share: ShareName, filter: &str) -> Result<Self, FilterError> {
        if filter.is_empty() {
            return Err(FilterError::ShareWithoutFilter);
        }
        Ok(Self { kind: SubscriptionKind::Shared(share), filter: TopicFilter::parse(filter)? })
    }

    /// What the node says of itself is for everybody, and shares exclude nobody: neither can be exclusive.
    fn exclusive(filter: &str) -> Result<Self, FilterError> {
        if filter.starts_with('$') {
            return Err(FilterError::MisplacedExclusive);
        }
        Ok(Self { kind: SubscriptionKind::Exclusive, filter: TopicFilter::parse(filter)? })
    }
}

impl From<TopicFilter> for SubscriptionFilter {
    fn from(filter: TopicFilter) -> Self {
        Self { kind: SubscriptionKind::Plain, filter }
    }
}

impl FromStr for SubscriptionFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

impl fmt::Display for SubscriptionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            SubscriptionKind::Plain => {}
            SubscriptionKind::Exclusive => f.write_str(EXCLUSIVE_PREFIX)?,
            SubscriptionKind::Shared(share) if share.as_str() == QUEUE_NAME => f.write_str(QUEUE_PREFIX)?,
            SubscriptionKind::Shared(share) => write!(f, "{SHARE_PREFIX}{share}/")?,
        }
        f.write_str(self.filter.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_parse(text: &str, expected: Result<(Option<&str>, &str), FilterError>) {
        let parsed = SubscriptionFilter::parse(text);
        let parts = parsed
            .as_ref()
            .map(|parsed| (parsed.share().map(ShareName::as_str), parsed.filter.as_str()))
            .map_err(|error| *error);
        assert_eq!(parts, expected, "{text:?}");
    }

    /// The examples of 4.8.2, and what stands around them.
    #[test]
    fn a_share_is_split_from_its_filter() {
        check_parse("sport/#", Ok((None, "sport/#")));
        check_parse("$share/consumer1/sport/tennis/+", Ok((Some("consumer1"), "sport/tennis/+")));
        check_parse("$share/consumer1//finance", Ok((Some("consumer1"), "/finance")));
        check_parse("$share/g//", Ok((Some("g"), "/")));
        check_parse("$share/g/#", Ok((Some("g"), "#")));
        check_parse("$share/g/$SYS/#", Ok((Some("g"), "$SYS/#")));
        check_parse("$queue/a/+", Ok((Some("$queue"), "a/+")));
        check_parse("$queue//", Ok((Some("$queue"), "/")));
        check_parse("$share/$queue/a", Ok((Some("$queue"), "a")));
    }

    /// Only `$share/` and `$queue/`, with the separator and in this case, ask for a share.
    #[test]
    fn what_only_looks_like_a_share_is_a_plain_filter() {
        for text in ["$share", "$queue", "$SHARE/g/a", "$shared/g/a", "/$share/g/a", "share/g/a", "$/g/a"] {
            check_parse(text, Ok((None, text)));
        }
    }

    /// [MQTT5-4.8.2-1], [MQTT5-4.8.2-2].
    #[test]
    fn share_names_and_their_filters_are_checked() {
        check_parse("", Err(FilterError::Empty));
        check_parse("$share/", Err(FilterError::ShareNameEmpty));
        check_parse("$share//a", Err(FilterError::ShareNameEmpty));
        check_parse("$share/g", Err(FilterError::ShareWithoutFilter));
        check_parse("$share/g/", Err(FilterError::ShareWithoutFilter));
        check_parse("$queue/", Err(FilterError::ShareWithoutFilter));
        check_parse("$share/+/a", Err(FilterError::ShareNameInvalid));
        check_parse("$share/#", Err(FilterError::ShareNameInvalid));
        check_parse("$share/g+/a", Err(FilterError::ShareNameInvalid));
        check_parse("$share/g#/a", Err(FilterError::ShareNameInvalid));
        check_parse("$share/g\0/a", Err(FilterError::Null));
        check_parse("$share/g/a\0", Err(FilterError::Null));
        check_parse("$share/g/a/#/b", Err(FilterError::MisplacedHash));
        check_parse("$share/g/a+", Err(FilterError::MisplacedPlus));
        check_parse("$queue/#/", Err(FilterError::MisplacedHash));
        check_parse(&format!("$share/g/{}", "a".repeat(TOPIC_BYTES_MAX)), Err(FilterError::TooLong));
    }

    #[test]
    fn a_share_does_not_stand_behind_a_share() {
        check_parse("$share/g/$share/h/a", Err(FilterError::MisplacedShare));
        check_parse("$queue/$queue/a", Err(FilterError::MisplacedShare));
        check_parse("$queue/$share/g/a", Err(FilterError::MisplacedShare));
    }

    #[test]
    fn an_exclusive_filter_is_any_that_messages_of_clients_can_match() {
        for filter in ["a", "a/+", "#", "/", "a/$b", "exclusive/a"] {
            let parsed = SubscriptionFilter::parse(&format!("$exclusive/{filter}")).unwrap();
            assert_eq!((parsed.kind, parsed.filter.as_str()), (SubscriptionKind::Exclusive, filter));
        }
        check_parse("$exclusive/", Err(FilterError::Empty));
        check_parse("$exclusive/a/#/b", Err(FilterError::MisplacedHash));
        for filter in ["$SYS/#", "$share/g/a", "$queue/a", "$exclusive/a", "$delayed/1/a", "$"] {
            check_parse(&format!("$exclusive/{filter}"), Err(FilterError::MisplacedExclusive));
        }
        for text in ["$share/g/$exclusive/a", "$queue/$exclusive/a"] {
            check_parse(text, Err(FilterError::MisplacedExclusive));
        }
        for text in ["$exclusive", "$EXCLUSIVE/a", "$exclusively/a", "a/$exclusive/b"] {
            check_parse(text, Ok((None, text)));
            assert_eq!(SubscriptionFilter::parse(text).unwrap().kind, SubscriptionKind::Plain, "{text}");
        }
    }

    #[test]
    fn the_text_form_reads_back_as_the_same() {
        for text in
            ["a/+", "$share/g/a/#", "$queue/a", "$share/g//", "$SYS/#", "$exclusive/a/#", "$exclusive//"]
        {
            let parsed = SubscriptionFilter::parse(text).unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        let long = SubscriptionFilter::parse("$share/$queue/a").unwrap();
        assert_eq!(SubscriptionFilter::parse(&long.to_string()), Ok(long));
    }
}
