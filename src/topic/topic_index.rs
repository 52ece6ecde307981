//! From a Topic Filter to the Topic Names that it matches: the other direction, for retained messages.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;

use super::{TopicFilter, TopicName, split_level};

/// Topic Names with a value each, in the order of their bytes.
///
/// A subtree is one range of that order, so a filter visits the ranges that it can match and jumps over the
/// rest: the cost goes with the matches and with the levels that `+` stands for, not with the size.
#[derive(Clone, Debug)]
pub struct TopicIndex<V> {
    names: BTreeMap<TopicName, V>,
}

impl<V> TopicIndex<V> {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self { names: BTreeMap::new() }
    }

    /// Stores a value under a name and gives back the one it replaces.
    pub fn insert(&mut self, name: &TopicName, value: V) -> Option<V> {
        self.names.insert(name.clone(), value)
    }

    /// The value of a name; a [`TopicRef`](super::TopicRef) looks up by its text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&V> {
        self.names.get(name)
    }

    /// Like [`TopicIndex::get`], to change it.
    #[must_use]
    pub fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.names.get_mut(name)
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &str) -> Option<V> {
        self.names.remove(name)
    }

    /// Number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All names with their values, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicName, &V)> {
        self.names.iter()
    }

    /// Keeps the names for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&TopicName, &mut V) -> bool) {
        self.names.retain(|name, value| keep(name, value));
    }

    /// Calls `found` once for every name that `filter` matches, in the order of their bytes.
    pub fn for_each_match(&self, filter: &TopicFilter, mut found: impl FnMut(&TopicName, &V)) {
        for (name, value) in self.matches(filter) {
            found(name, value);
        }
    }

    /// The names that `filter` matches, in the order of their bytes.
    pub fn matches<'s>(&'s self, filter: &'s TopicFilter) -> Matches<'s, V> {
        let text = filter.as_str();
        let literal = text.find(['+', '#']).map_or(text, |at| &text[..at]);
        // Without its last separator, because `a/#` matches `a`.
        let seek = literal.strip_suffix('/').unwrap_or(literal);
        let range = range_from(&self.names, seek);
        Matches { names: &self.names, filter: text, range, seek: seek.to_owned() }
    }

    /// Like [`TopicIndex::matches`], for a search that goes on at the name it was [cut](Step::Cut) at, whether that
    /// name is still there or not.
    pub fn matches_from<'s>(&'s self, filter: &'s TopicFilter, from: &TopicName) -> Matches<'s, V> {
        let mut matches = self.matches(filter);
        if from.as_str() > matches.seek.as_str() {
            matches.range = range_from(&self.names, from.as_str());
        }
        matches
    }
}

impl<V> Default for TopicIndex<V> {
    fn default() -> Self {
        Self::new()
    }
}

fn range_from<'s, V>(names: &'s BTreeMap<TopicName, V>, seek: &str) -> Range<'s, TopicName, V> {
    names.range::<str, _>((Bound::Included(seek), Bound::Unbounded))
}

/// The iterator of [`TopicIndex::matches`].
#[derive(Debug)]
pub struct Matches<'s, V> {
    names: &'s BTreeMap<TopicName, V>,
    filter: &'s str,
    range: Range<'s, TopicName, V>,
    /// Where to go on when names are jumped over; kept for its memory.
    seek: String,
}

/// What a search with bounded work comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'s, V> {
    /// The next name that matches, with its value.
    Match(&'s TopicName, &'s V),
    /// The work is done up to this name, which was not looked at: [`TopicIndex::matches_from`] goes on with it.
    Cut(&'s TopicName),
    /// There are no more.
    End,
}

impl<'s, V> Iterator for Matches<'s, V> {
    type Item = (&'s TopicName, &'s V);

    fn next(&mut self) -> Option<Self::Item> {
        let mut endless = usize::MAX;
        match self.step(&mut endless) {
            Step::Match(name, value) => Some((name, value)),
            Step::Cut(_) | Step::End => None,
        }
    }
}

impl<'s, V> Matches<'s, V> {
    /// The next match, if it comes within so many names. Every name that is looked at counts and is taken off,
    /// matching or not; what is jumped over does not count.
    pub fn step(&mut self, visits_left: &mut usize) -> Step<'s, V> {
        loop {
            let Some((name, value)) = self.range.next() else { return Step::End };
            if *visits_left == 0 {
                return Step::Cut(name);
            }
            *visits_left -= 1;
            match judge(self.filter, name.as_str(), &mut self.seek) {
                Verdict::Match => return Step::Match(name, value),
                Verdict::Next => {}
                Verdict::Seek => {
                    debug_assert!(self.seek.as_str() > name.as_str(), "a search goes forward only");
                    self.range = range_from(self.names, &self.seek);
                }
                Verdict::Done => {
                    self.range = Range::default();
                    return Step::End;
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Match,
    /// This one does not match, the next one may.
    Next,
    /// No name before `seek` matches.
    Seek,
    /// No later name matches.
    Done,
}

/// The byte after the separator: `x0` is the first text behind all that begin with `x/`.
const AFTER_SEPARATOR: char = '0';
const _: () = assert!(AFTER_SEPARATOR as u32 == '/' as u32 + 1);

/// Matches a name, and if it does not match says where the next one that might can stand.
fn judge(filter: &str, name: &str, seek: &mut String) -> Verdict {
    // [MQTT-4.7.2-1] [MQTT5-4.7.2-1]
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return seek_to(seek, "", "%"); // The character after `$`.
    }
    let mut filter_rest = Some(filter);
    let mut at = 0;
    // End of the level that the last `+` took: there the search can step to the next sibling.
    let mut sibling = None;
    loop {
        let name_rest = name.get(at..);
        let Some(filter_text) = filter_rest else {
            return match name_rest {
                None => Verdict::Match,
                // Deeper than the filter, as is all that begins like it.
                Some(_) => seek_after(seek, &name[..at - 1]),
            };
        };
        if filter_text == "#" {
            return Verdict::Match;
        }
        let Some(name_text) = name_rest else { return Verdict::Next };
        let (wanted, filter_tail) = split_level(filter_text);
        let (level, _) = split_level(name_text);
        let level_end = at + level.len();
        if wanted == "+" {
            sibling = Some(level_end);
        } else if wanted != level {
            // Wanted below this prefix are `wanted` itself and what begins with `wanted/`; between the two
            // lie others, such as `wanted-1`.
            if name_text < wanted {
                return seek_to(seek, &name[..at], wanted);
            }
            let before_children =
                filter_tail.is_some() && name_text.strip_prefix(wanted).is_some_and(|more| more < "/");
            if before_children {
                let verdict = seek_to(seek, &name[..at], wanted);
                seek.push('/');
                return verdict;
            }
            return sibling.map_or(Verdict::Done, |end| seek_after(seek, &name[..end]));
        }
        at = level_end + 1;
        filter_rest = filter_tail;
    }
}

fn seek_to(seek: &mut String, prefix: &str, level: &str) -> Verdict {
    seek.clear();
    seek.push_str(prefix);
    seek.push_str(level);
    Verdict::Seek
}

/// Behind everything that begins with `prefix/`.
fn seek_after(seek: &mut String, prefix: &str) -> Verdict {
    seek.clear();
    seek.push_str(prefix);
    seek.push(AFTER_SEPARATOR);
    Verdict::Seek
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::topic::naive::naive;
    use crate::topic::oracle::{filters, names};

    fn check_match(names: &[&str], filter: &str, expected: &[&str]) {
        let mut index = TopicIndex::new();
        for name in names {
            index.insert(&TopicName::parse(name).unwrap(), ());
        }
        let filter = TopicFilter::parse(filter).unwrap();
        let found: Vec<&str> = index.matches(&filter).map(|(name, ())| name.as_str()).collect();
        assert_eq!(found, expected, "{filter} over {names:?}");
    }

    #[test]
    fn a_filter_finds_its_names_in_order() {
        let names = ["a", "a/b", "a/b/c", "a/b-1/c", "a-1", "a0", "b", "/", "/a", "a/", "$SYS/up"];
        check_match(&names, "a", &["a"]);
        check_match(&names, "x", &[]);
        check_match(&names, "a/#", &["a", "a/", "a/b", "a/b-1/c", "a/b/c"]);
        check_match(&names, "a/b/#", &["a/b", "a/b/c"]);
        check_match(&names, "a/+", &["a/", "a/b"]);
        check_match(&names, "+/+/c", &["a/b-1/c", "a/b/c"]);
        check_match(&names, "+", &["a", "a-1", "a0", "b"]);
        check_match(&names, "+/b/#", &["a/b", "a/b/c"]);
        check_match(&names, "/#", &["/", "/a"]);
    }

    /// [MQTT5-4.7.2-1].
    #[test]
    fn a_leading_wildcard_does_not_find_a_leading_dollar() {
        let names = ["!", "$", "$SYS", "$SYS/up", "%", "a"];
        check_match(&names, "#", &["!", "%", "a"]);
        check_match(&names, "+", &["!", "%", "a"]);
        check_match(&names, "+/#", &["!", "%", "a"]);
        check_match(&names, "$SYS/#", &["$SYS", "$SYS/up"]);
        check_match(&names, "$SYS/+", &["$SYS/up"]);
    }

    /// What is jumped over is not visited: the verdicts on the way are as many as the ranges.
    #[test]
    fn a_search_jumps_over_what_cannot_match() {
        let mut seek = String::new();
        let mut check = |filter, name, verdict, to: &str| {
            assert_eq!(judge(filter, name, &mut seek), verdict, "{filter} at {name}");
            if verdict == Verdict::Seek {
                assert_eq!(seek, to, "{filter} at {name}");
            }
        };
        check("a/+", "a/b/c", Verdict::Seek, "a/b0");
        check("a/+/x", "a/b/c", Verdict::Seek, "a/b/x");
        check("a/+/x", "a/b/y", Verdict::Seek, "a/b0");
        check("a/+/x/+", "a/b/x-1", Verdict::Seek, "a/b/x/");
        check("a/+/x", "a/b", Verdict::Next, "");
        check("a/+/x", "b/b/x", Verdict::Done, "");
        check("+/x", "$SYS/x", Verdict::Seek, "%");
    }

    proptest! {
        /// However often it is interrupted, a search finds the same, and each name is looked at once.
        #[test]
        fn a_search_that_is_cut_goes_on_where_it_was(
            stored in prop::collection::btree_set(names(), 0..60),
            filter in filters(),
            visits in 1_usize..5,
        ) {
            let mut index = TopicIndex::new();
            for name in &stored {
                index.insert(name, ());
            }
            let expected: Vec<&TopicName> = index.matches(&filter).map(|(name, ())| name).collect();
            let mut found = Vec::new();
            let mut visited = 0;
            let mut from: Option<TopicName> = None;
            loop {
                let mut left = visits;
                let mut search = match &from {
                    Some(from) => index.matches_from(&filter, from),
                    None => index.matches(&filter),
                };
                let cut_at = loop {
                    match search.step(&mut left) {
                        Step::Match(name, ()) => found.push(index.names.get_key_value(name).unwrap().0),
                        Step::Cut(name) => break Some(name.clone()),
                        Step::End => break None,
                    }
                };
                visited += visits - left;
                let Some(name) = cut_at else { break };
                from = Some(name);
            }
            prop_assert_eq!(found, expected);
            prop_assert!(visited <= stored.len(), "{} visits of {} names", visited, stored.len());
        }

        #[test]
        fn the_index_is_a_list_of_names_only_faster(
            stored in prop::collection::btree_set(names(), 0..60),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            filters in prop::collection::vec(filters(), 1..20),
        ) {
            let mut index = TopicIndex::new();
            for name in &stored {
                prop_assert_eq!(index.insert(name, 1), None);
                prop_assert_eq!(index.insert(name, 2), Some(1));
            }
            let mut list: BTreeSet<TopicName> = stored;
            for nth in removed {
                let Some(name) = list.iter().nth(nth.index(list.len().max(1))).cloned() else { continue };
                list.remove(&name);
                prop_assert_eq!(index.remove(name.as_str()), Some(2));
                prop_assert_eq!(index.remove(name.as_str()), None);
            }
            prop_assert_eq!(index.len(), list.len());
            for filter in filters {
                let mut found = Vec::new();
                index.for_each_match(&filter, |name, _| found.push(name.clone()));
                let expected: Vec<TopicName> =
                    list.iter().filter(|name| naive(filter.as_str(), name.as_str())).cloned().collect();
                prop_assert_eq!(found, expected, "{} over {:?}", filter, list);
            }
        }
    }
}
