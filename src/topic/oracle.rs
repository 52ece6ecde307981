//! What the indexes are tested against: section 4.7 of the standard as slow and obvious code, and texts
//! that make its corners meet.

use proptest::prelude::*;

use super::{TopicFilter, TopicName};

/// Whether the filter matches the name, by the words of the standard, on lists of levels.
pub(super) fn naive(filter: &str, name: &str) -> bool {
    let first_is_wildcard = filter.starts_with('+') || filter.starts_with('#');
    if name.starts_with('$') && first_is_wildcard {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    if let [parent @ .., "#"] = &filter[..] {
        let enough = name.len() >= parent.len();
        return enough && parent.iter().zip(&name).all(|(want, have)| *want == "+" || want == have);
    }
    filter.len() == name.len() && filter.iter().zip(&name).all(|(want, have)| *want == "+" || want == have)
}

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
