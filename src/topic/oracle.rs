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

    /// The words for people and the matching itself agree on what differs.
    #[test]
    fn a_mismatch_is_named_when_there_is_one(filter in filters(), name in names()) {
        use super::Mismatch;
        let (wanted, found): (Vec<&str>, Vec<&str>) =
            (filter.as_str().split('/').collect(), name.as_str().split('/').collect());
        let mismatch = filter.mismatch(name.as_ref());
        prop_assert_eq!(mismatch.is_none(), filter.matches(name.as_ref()));
        match mismatch {
            None | Some(Mismatch::LeadingDollar) => {}
            Some(Mismatch::Differs { number, wanted: want, found: have }) => {
                prop_assert_eq!((want, have), (wanted[number - 1], found[number - 1]));
                prop_assert!(want != have && want != "+" && want != "#");
            }
            Some(Mismatch::NameEnds { number, wanted: want }) => {
                prop_assert_eq!((number - 1, want), (found.len(), wanted[number - 1]));
            }
            Some(Mismatch::FilterEnds { number, found: have }) => {
                prop_assert_eq!((number - 1, have), (wanted.len(), found[number - 1]));
            }
        }
    }
}
