//! Texts that make the corners of section 4.7 of the standard meet.

use proptest::prelude::*;

use super::naive::naive;
use super::{TopicFilter, TopicName};

/// Few different levels, so that paths meet; some sort before and some behind the separator.
fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just("a"), 4 => Just("b"), 2 => Just(""), 1 => Just("a-1"), 1 => Just("a0"), 1 => Just("aa"),
        1 => Just("$"), 1 => Just("$x"), 1 => Just("é"), 1 => Just("a level that is longer than a node holds"),
    ]
}

/// A Topic Name of one to five levels.
pub(super) fn names() -> impl Strategy<Value = TopicName> {
    prop::collection::vec(level(), 1..6)
        .prop_filter_map("a name is not empty", |levels| TopicName::parse(&levels.join("/")).ok())
}

/// A Topic Filter of one to five levels and perhaps a `#`.
pub(super) fn filters() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof![2 => level(), 1 => Just("+")];
    (prop::collection::vec(level, 0..6), any::<bool>()).prop_filter_map(
        "a filter is not empty",
        |(mut levels, hash)| {
            levels.extend(hash.then_some("#"));
            TopicFilter::parse(&levels.join("/")).ok()
        },
    )
}

proptest! {
    #[test]
    fn one_filter_matches_what_the_standard_says(filter in filters(), name in names()) {
        prop_assert_eq!(filter.matches(name.as_ref()), naive(filter.as_str(), name.as_str()));
    }
}
