//! Topic Names and Topic Filters are taken and refused by the rules of the standard, and the indexes find what a
//! naive search of everything finds.

use std::collections::BTreeMap;

use flockmq::topic::{
    FilterIndex, LEVELS_MAX, SubscriptionFilter, SubscriptionKind, TOPIC_BYTES_MAX, TopicFilter, TopicIndex,
    TopicName,
};

// Shared with the indexes' own tests.
#[path = "../../src/topic/naive.rs"]
mod naive;

use naive::naive;

/// Lines of one input that are looked at: each search compares with everything there is.
const LINES_MAX: usize = 200;

/// Lines of text, each with an operation in front: `f` adds a filter and `F` removes it, `n` adds a name and `N`
/// removes it, `R` removes the filters and names in which the text occurs; anything else only searches.
pub fn check(input: &[u8]) {
    let mut indexes = Indexes::default();
    for line in input.split(|byte| *byte == b'\n').take(LINES_MAX) {
        let Some((operation, text)) = line.split_first() else { continue };
        let Ok(text) = std::str::from_utf8(text) else { continue };
        check_parsing(text);
        indexes.apply(*operation, text);
        indexes.check();
    }
    indexes.remove_all();
}

/// Both indexes and what they should hold: each text with the number of the operation that put it there.
#[derive(Default)]
struct Indexes {
    filters: FilterIndex<u32>,
    filters_expected: BTreeMap<String, u32>,
    names: TopicIndex<u32>,
    names_expected: BTreeMap<String, u32>,
    operations: u32,
}

impl Indexes {
    fn apply(&mut self, operation: u8, text: &str) {
        self.operations += 1;
        let value = self.operations;
        if operation == b'R' {
            self.filters.retain(|filter, _| !filter.as_str().contains(text));
            self.filters_expected.retain(|filter, _| !filter.contains(text));
            self.names.retain(|name, _| !name.as_str().contains(text));
            self.names_expected.retain(|name, _| !name.contains(text));
            return;
        }
        if let Ok(filter) = TopicFilter::parse(text) {
            let expected = self.filters_expected.get(text).copied();
            assert_eq!(self.filters.get(&filter).copied(), expected, "{filter:?}");
            match operation {
                b'f' => {
                    let kept = *self.filters.get_or_insert_with(&filter, || value);
                    assert_eq!(kept, *self.filters_expected.entry(text.to_owned()).or_insert(value));
                }
                b'F' => assert_eq!(self.filters.remove(&filter), self.filters_expected.remove(text)),
                _ => self.check_names_of(&filter),
            }
        }
        if let Ok(name) = TopicName::parse(text) {
            assert_eq!(self.names.get(text), self.names_expected.get(text), "{name:?}");
            match operation {
                b'n' => {
                    let replaced = self.names_expected.insert(text.to_owned(), value);
                    assert_eq!(self.names.insert(&name, value), replaced);
                }
                b'N' => assert_eq!(self.names.remove(text), self.names_expected.remove(text)),
                _ => self.check_filters_of(&name),
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.filters.len(), self.filters_expected.len());
        assert_eq!(self.filters.is_empty(), self.filters_expected.is_empty());
        let mut filters: Vec<_> =
            self.filters.iter().map(|(filter, value)| (filter.as_str(), *value)).collect();
        filters.sort_unstable();
        let expected = self.filters_expected.iter().map(|(filter, value)| (filter.as_str(), *value));
        assert!(filters.iter().copied().eq(expected), "{filters:?}");
        let names = self.names.iter().map(|(name, value)| (name.as_str(), *value));
        let expected = self.names_expected.iter().map(|(name, value)| (name.as_str(), *value));
        assert_eq!(self.names.len(), self.names_expected.len());
        assert!(names.eq(expected), "{:?}", self.names);
    }

    fn check_filters_of(&self, name: &TopicName) {
        let mut found = Vec::new();
        self.filters.for_each_matching_filter(name.as_ref(), |filter, value| {
            assert!(filter.matches(name.as_ref()));
            found.push((filter.as_str(), *value));
        });
        found.sort_unstable();
        let expected: Vec<_> = self
            .filters_expected
            .iter()
            .filter(|(filter, _)| naive(filter, name.as_str()))
            .map(|(filter, value)| (filter.as_str(), *value))
            .collect();
        assert_eq!(found, expected, "the filters of {name:?}");
    }

    fn check_names_of(&self, filter: &TopicFilter) {
        let expected: Vec<&str> = self
            .names_expected
            .keys()
            .map(String::as_str)
            .filter(|name| naive(filter.as_str(), name))
            .collect();
        let found: Vec<&str> = self.names.matches(filter).map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, expected, "the names of {filter:?}");
        // A search that goes on at any name, whether it matches or not.
        for (name, _) in self.names.iter().take(8) {
            let found = self.names.matches_from(filter, name).map(|(name, _)| name.as_str());
            let expected = expected.iter().copied().filter(|found| *found >= name.as_str());
            assert!(found.eq(expected), "the names of {filter:?} from {name:?}");
        }
    }

    /// Whatever the order was, nothing stays behind.
    fn remove_all(mut self) {
        for filter in self.filters_expected.keys() {
            let filter = TopicFilter::parse(filter).expect("it was taken before");
            assert!(self.filters.remove(&filter).is_some());
        }
        for name in self.names_expected.keys() {
            assert!(self.names.remove(name).is_some());
        }
        assert!(self.filters.is_empty() && self.filters.iter().next().is_none());
        assert!(self.names.is_empty());
    }
}

/// What the types take is what the standard takes (section 4.7, and 4.8.2 for shares), less the limits of this
/// broker; and what was taken reads back as the same.
fn check_parsing(text: &str) {
    assert_eq!(TopicName::parse(text).is_ok(), is_name(text), "{text:?} as a name");
    let filter = TopicFilter::parse(text);
    assert_eq!(filter.is_ok(), is_filter(text), "{text:?} as a filter");
    if let Ok(filter) = &filter {
        assert_eq!(filter.as_str(), text);
        assert_eq!(filter.has_wildcards(), TopicName::parse(text).is_err());
    }
    let subscription = SubscriptionFilter::parse(text);
    assert_eq!(subscription.is_ok(), is_subscription(text), "{text:?} as a subscription");
    if let Ok(subscription) = &subscription {
        let again = SubscriptionFilter::parse(&subscription.to_string());
        assert_eq!(again.as_ref(), Ok(subscription));
        assert_eq!(subscription.kind == SubscriptionKind::Plain, filter.is_ok());
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= TOPIC_BYTES_MAX && !text.contains('\0')
}

fn is_name(text: &str) -> bool {
    is_text(text) && !text.contains(['+', '#'])
}

fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let has_prefix = matches!(levels[..], ["$share" | "$queue" | "$exclusive", _, ..]);
    let (last, others) = levels.split_last().expect("a text has a level");
    let is_level = |level: &str| level == "+" || !level.contains(['+', '#']);
    let has_wildcards = text.contains(['+', '#']);
    is_text(text)
        && !has_prefix
        && others.iter().all(|level| is_level(level))
        && (*last == "#" || is_level(last))
        && (!has_wildcards || levels.len() <= LEVELS_MAX)
}

fn is_subscription(text: &str) -> bool {
    if !is_text(text) {
        return false;
    }
    match text.split('/').collect::<Vec<_>>()[..] {
        ["$share", name, _, ..] => {
            let filter = &text["$share/".len() + name.len() + 1..];
            !name.is_empty() && !name.contains(['+', '#']) && is_filter(filter)
        }
        ["$share", _] => false,
        ["$queue", _, ..] => is_filter(&text["$queue/".len()..]),
        ["$exclusive", level, ..] => !level.starts_with('$') && is_filter(&text["$exclusive/".len()..]),
        _ => is_filter(text),
    }
}
