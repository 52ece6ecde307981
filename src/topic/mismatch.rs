//! Where a Topic Filter and a Topic Name part: section 4.7 of both standards, one level after the other.

use std::fmt;

/// Why a Topic Filter does not match a Topic Name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch<'a> {
    /// A filter that begins with a wildcard leaves alone what begins with `$` [MQTT-4.7.2-1] [MQTT5-4.7.2-1].
    LeadingDollar,
    /// The first level that differs.
    Differs {
        /// Its number, counted from 1.
        number: usize,
        /// What the filter has there.
        wanted: &'a str,
        /// What the name has there.
        found: &'a str,
    },
    /// The name has ended, the filter has not.
    NameEnds {
        /// The number of the level that is missing.
        number: usize,
        /// What the filter has there.
        wanted: &'a str,
    },
    /// The filter has ended, the name has not.
    FilterEnds {
        /// The number of the first level that is too many.
        number: usize,
        /// What the name has there.
        found: &'a str,
    },
}

impl<'a> Mismatch<'a> {
    /// Where a filter parts from a name that it is known not to match.
    pub(super) fn find(filter: &'a str, name: &'a str) -> Self {
        let (mut wanted, mut found) = (filter.split('/'), name.split('/'));
        let mut number = 0;
        loop {
            number += 1;
            match (wanted.next(), found.next()) {
                // All levels fit, so it is the rule for the first one that keeps them apart.
                (None, None) | (Some("#"), _) => return Self::LeadingDollar,
                (Some(wanted), Some(found)) if wanted == "+" || wanted == found => {}
                (Some(wanted), Some(found)) => return Self::Differs { number, wanted, found },
                (Some(wanted), None) => return Self::NameEnds { number, wanted },
                (None, Some(found)) => return Self::FilterEnds { number, found },
            }
        }
    }
}

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeadingDollar => {
                f.write_str("a leading wildcard does not match a topic that begins with $")
            }
            Self::Differs { number, wanted, found } => {
                write!(f, "level {number} is {found:?}, not {wanted:?}")
            }
            Self::NameEnds { number, wanted } => {
                write!(f, "the topic ends before level {number}, which is to be {wanted:?}")
            }
            Self::FilterEnds { number, found } => {
                write!(f, "the topic goes on with level {number}, {found:?}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::topic::{TopicFilter, TopicRef};

    fn check(filter: &str, name: &str, expected: Option<&str>) {
        let parsed = TopicFilter::parse(filter).unwrap();
        let mismatch = parsed.mismatch(TopicRef::parse(name).unwrap()).map(|it| it.to_string());
        assert_eq!(mismatch.as_deref(), expected, "{filter} against {name}");
    }

    #[test]
    fn the_first_level_that_differs_is_named() {
        check("a/b", "a/b", None);
        check("a/+/#", "a/b", None);
        check("a/b", "a/c", Some(r#"level 2 is "c", not "b""#));
        check("a/b/c", "x/b/y", Some(r#"level 1 is "x", not "a""#));
        check("+/b/#", "a/B/c", Some(r#"level 2 is "B", not "b""#));
        check("/a", "a", Some(r#"level 1 is "a", not """#));
    }

    #[test]
    fn the_one_that_ends_first_is_named() {
        check("a/b", "a", Some(r#"the topic ends before level 2, which is to be "b""#));
        check("a/+", "a", Some(r#"the topic ends before level 2, which is to be "+""#));
        check("a", "a/b/c", Some(r#"the topic goes on with level 2, "b""#));
        check("a/+", "a/b/", Some(r#"the topic goes on with level 3, """#));
    }

    /// [MQTT5-4.7.2-1].
    #[test]
    fn the_rule_for_a_leading_dollar_is_named() {
        let rule = Some("a leading wildcard does not match a topic that begins with $");
        check("#", "$SYS/up", rule);
        check("+/up", "$SYS/up", rule);
        check("$SYS/#", "$SYS/up", None);
    }
}
