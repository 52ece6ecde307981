//! From a Topic Name to the filters that match it, each with a value of the caller's.

use std::collections::HashMap;
use std::mem;

use super::trie::Trie;
use super::{RandomState, TopicFilter, TopicRef};

/// Filters without wildcards in a hash map, the others in a trie.
///
/// Looking up and matching allocate nothing. No order is promised, neither of matches nor of
/// [`FilterIndex::iter`]: sort where it shows.
#[derive(Clone, Debug)]
pub struct FilterIndex<V> {
    /// Seeded, because the filters come from outside.
    exact: HashMap<TopicFilter, V, RandomState>,
    wildcards: Trie<V>,
}

impl<V> FilterIndex<V> {
    /// An empty index; it allocates little before the first insertion.
    #[must_use]
    pub fn new() -> Self {
        Self { exact: HashMap::with_hasher(RandomState::default()), wildcards: Trie::new() }
    }

    /// The value of exactly this filter.
    #[must_use]
    pub fn get(&self, filter: &TopicFilter) -> Option<&V> {
        if filter.has_wildcards() { self.wildcards.get(filter) } else { self.exact.get(filter) }
    }

    /// Like [`FilterIndex::get`], to change it.
    #[must_use]
    pub fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut V> {
        if filter.has_wildcards() { self.wildcards.get_mut(filter) } else { self.exact.get_mut(filter) }
    }

    /// The value of exactly this filter, made first when there is none. The index shares the filter's text.
    pub fn get_or_insert_with(&mut self, filter: &TopicFilter, make: impl FnOnce() -> V) -> &mut V {
        if filter.has_wildcards() {
            self.wildcards.get_or_insert_with(filter, make)
        } else {
            self.exact.entry(filter.clone()).or_insert_with(make)
        }
    }

    /// Takes the filter out; its memory is used again or given back.
    pub fn remove(&mut self, filter: &TopicFilter) -> Option<V> {
        if filter.has_wildcards() {
            return self.wildcards.remove(filter);
        }
        let value = self.exact.remove(filter);
        self.give_back();
        value
    }

    /// Number of filters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcards.len()
    }

    /// Whether there is no filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All filters with their values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicFilter, &V)> {
        self.exact.iter().chain(self.wildcards.iter())
    }

    /// Keeps the filters for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&TopicFilter, &mut V) -> bool) {
        self.exact.retain(|filter, value| keep(filter, value));
        self.give_back();
        let mut gone = Vec::new();
        for (filter, value) in self.wildcards.iter_mut() {
            if !keep(filter, value) {
                gone.push(filter.clone());
            }
        }
        for filter in gone {
            self.wildcards.remove(&filter);
        }
    }

    /// Calls `found` once for the value of every filter that matches `name`.
    pub fn for_each_match<'s>(&'s self, name: TopicRef<'_>, mut found: impl FnMut(&'s V)) {
        self.for_each_matching_filter(name, |_, value| found(value));
    }

    /// Like [`FilterIndex::for_each_match`], with the filter.
    pub fn for_each_matching_filter<'s>(
        &'s self,
        name: TopicRef<'_>,
        mut found: impl FnMut(&'s TopicFilter, &'s V),
    ) {
        if let Some((filter, value)) = self.exact.get_key_value(name.as_str()) {
            found(filter, value);
        }
        self.wildcards.for_each_match(name, &mut found);
    }

    /// Heap bytes of the index itself, about: neither the filters' texts, which are shared with whoever
    /// inserted them, nor what the values own.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // A hash table is at most 7/8 full and has a control byte for every bucket.
        let buckets = (self.exact.capacity() * 8 / 7).next_power_of_two();
        let exact =
            if self.exact.capacity() == 0 { 0 } else { buckets * (mem::size_of::<(TopicFilter, V)>() + 1) };
        exact + self.wildcards.heap_bytes()
    }

    fn give_back(&mut self) {
        let capacity = self.exact.capacity();
        if capacity > 64 && self.exact.len() < capacity / 8 {
            self.exact.shrink_to(self.exact.len() * 2);
        }
    }
}

impl<V> Default for FilterIndex<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::topic::naive::naive;
    use crate::topic::oracle::{filters, names};
    use crate::topic::{LEVELS_MAX, TOPIC_BYTES_MAX, TopicName};

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    fn index(texts: &[&str]) -> FilterIndex<String> {
        let mut index = FilterIndex::new();
        for text in texts {
            index.get_or_insert_with(&filter(text), || (*text).to_owned());
        }
        index
    }

    fn matches<V: Ord + Clone>(index: &FilterIndex<V>, name: &str) -> Vec<V> {
        let mut found = Vec::new();
        index.for_each_match(TopicRef::parse(name).unwrap(), |value| found.push(value.clone()));
        found.sort();
        found
    }

    fn check_match(filters: &[&str], name: &str, expected: &[&str]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(matches(&index(filters), name), expected, "{name:?} among {filters:?}");
    }

    /// [MQTT5-4.7.1-1], [MQTT5-4.7.1-2].
    #[test]
    fn every_matching_filter_is_found_once() {
        let sport = ["sport/#", "sport/+", "sport", "sport/tennis", "+", "+/+", "#", "+/#", "sport/tennis/#"];
        check_match(&sport, "sport", &["sport/#", "sport", "+", "#", "+/#"]);
        check_match(
            &sport,
            "sport/tennis",
            &["sport/#", "sport/+", "sport/tennis", "+/+", "#", "+/#", "sport/tennis/#"],
        );
        check_match(&sport, "sport/tennis/x", &["sport/#", "#", "+/#", "sport/tennis/#"]);
        check_match(&sport, "/", &["+/+", "#", "+/#"]);
        check_match(&["+/a", "/+", "/#", "//#"], "/a", &["+/a", "/+", "/#"]);
    }

    /// [MQTT5-4.7.2-1].
    #[test]
    fn a_leading_wildcard_does_not_match_a_leading_dollar() {
        let all = ["#", "+", "+/#", "+/up", "$SYS/#", "$SYS/+", "$SYS/up"];
        check_match(&all, "$SYS/up", &["$SYS/#", "$SYS/+", "$SYS/up"]);
        check_match(&all, "$SYS", &["$SYS/#"]);
        check_match(&["a/#", "a/+", "+/$b", "+/+"], "a/$b", &["a/#", "a/+", "+/$b", "+/+"]);
    }

    /// No level of a name costs stack: neither 65,535 of them nor filters that branch at every one.
    #[test]
    fn depth_does_not_use_up_a_small_stack() {
        let run = || {
            let slashes = "/".repeat(TOPIC_BYTES_MAX);
            let exact = filter(&slashes);
            let mut index = index(&["#", "/#", "+/#", "+/+/+"]);
            index.get_or_insert_with(&exact, || "exact".into());
            for depth in 1..LEVELS_MAX {
                let way = "+/".repeat(depth);
                index.get_or_insert_with(&filter(&format!("{way}#")), || "deep".into());
                index.get_or_insert_with(&filter(&format!("{}#", way.replace('+', ""))), || "deep".into());
            }
            let found = matches(&index, &slashes);
            assert_eq!(found.iter().filter(|value| *value == "exact").count(), 1);
            assert!(found.len() > LEVELS_MAX);
            assert!(filter("#").matches(TopicRef::parse(&slashes).unwrap()));
            let mut names = crate::topic::TopicIndex::new();
            names.insert(&TopicName::parse(&slashes).unwrap(), ());
            assert_eq!(names.matches(&filter("+/#")).count(), 1);
            index.retain(|_, _| false);
            assert!(index.is_empty());
        };
        let small = std::thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap();
        small.join().unwrap();
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(TopicFilter),
        Remove(TopicFilter),
        RemoveNth(usize),
        Match(TopicName),
        Retain(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => filters().prop_map(Step::Insert),
            2 => filters().prop_map(Step::Remove),
            4 => any::<usize>().prop_map(Step::RemoveNth),
            8 => names().prop_map(Step::Match),
            1 => (2..5u32).prop_map(Step::Retain),
        ];
        prop::collection::vec(step, 1..120)
    }

    proptest! {
        /// Any history of insertions and removals leaves an index that answers like a list of filters, and
        /// that is built like one that never held the removed ones.
        #[test]
        fn the_index_is_a_list_of_filters_only_faster(steps in steps()) {
            let mut index = FilterIndex::new();
            let mut list = BTreeMap::new();
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Insert(filter) => {
                        next += 1;
                        let expected = *list.entry(filter.clone()).or_insert(next);
                        prop_assert_eq!(*index.get_or_insert_with(&filter, || next), expected);
                    }
                    Step::Remove(filter) => {
                        prop_assert_eq!(index.get(&filter), list.get(&filter));
                        prop_assert_eq!(index.remove(&filter), list.remove(&filter));
                    }
                    Step::RemoveNth(nth) => {
                        let nth = nth.checked_rem(list.len()).and_then(|nth| list.keys().nth(nth).cloned());
                        let Some(filter) = nth else { continue };
                        prop_assert_eq!(index.get_mut(&filter), list.get_mut(&filter));
                        prop_assert_eq!(index.remove(&filter), list.remove(&filter));
                    }
                    Step::Match(name) => {
                        let expected: Vec<u32> = list
                            .iter()
                            .filter(|(filter, _)| naive(filter.as_str(), name.as_str()))
                            .map(|(_, value)| *value)
                            .collect();
                        let mut expected = expected;
                        expected.sort_unstable();
                        prop_assert_eq!(matches(&index, name.as_str()), expected, "{} of {:?}", name, list);
                    }
                    Step::Retain(divisor) => {
                        index.retain(|_, value| !value.is_multiple_of(divisor));
                        list.retain(|_, value| !value.is_multiple_of(divisor));
                    }
                }
                prop_assert_eq!(index.len(), list.len());
            }
            let mut all: Vec<_> = index.iter().map(|(filter, value)| (filter.clone(), *value)).collect();
            all.sort();
            let listed: Vec<_> = list.iter().map(|(filter, value)| (filter.clone(), *value)).collect();
            prop_assert_eq!(all, listed);

            let mut fresh = FilterIndex::new();
            for (filter, value) in &list {
                fresh.get_or_insert_with(filter, || *value);
            }
            prop_assert_eq!(index.wildcards.shape(), fresh.wildcards.shape());
            index.retain(|_, _| false);
            prop_assert_eq!(index.wildcards.shape(), Trie::<u32>::new().shape());
        }
    }

    /// Inserts and removes in waves that overlap, so that nodes are shared, split and merged all the time.
    fn churn(rounds: u32) {
        let texts = |n: u32| {
            [
                format!("device/{n}/+/{}/#", n % 7),
                format!("device/{n}/+/state"),
                format!("site/{}/{n}/+", n % 13),
                format!("exact/{n}"),
            ]
        };
        let mut index = FilterIndex::new();
        let width = 64;
        let mut high = 0;
        for n in 0..rounds + width {
            if n < rounds {
                for text in texts(n) {
                    index.get_or_insert_with(&filter(&text), || n);
                }
            }
            if let Some(old) = n.checked_sub(width) {
                for text in texts(old) {
                    assert_eq!(index.remove(&filter(&text)), Some(old), "{text}");
                }
            }
            if n == 4 * width {
                high = index.heap_bytes();
            }
            if n > 4 * width && n < rounds {
                assert!(index.heap_bytes() <= 2 * high, "{} after {n} rounds", index.heap_bytes());
            }
        }
        assert!(index.is_empty());
        assert_eq!(index.wildcards.shape(), Trie::<u32>::new().shape());
        assert!(index.heap_bytes() < 16 * 1024, "{} bytes left", index.heap_bytes());
    }

    #[test]
    fn subscribing_and_unsubscribing_leaves_no_residue() {
        churn(5_000);
    }

    #[test]
    fn a_million_of_them_leave_no_residue() {
        churn(250_000);
    }

    /// What `count` filters cost in the index and, were their texts not shared, in texts; each in bytes.
    fn bytes_per_filter(count: usize, text: impl Fn(usize) -> String) -> (usize, usize) {
        let mut index = FilterIndex::new();
        let mut texts = 0;
        for n in 0..count {
            let filter = filter(&text(n));
            // The two counters of an `Arc`, rounded as allocators do.
            texts += (filter.as_str().len() + 16).next_multiple_of(16);
            index.get_or_insert_with(&filter, || n as u64);
        }
        assert_eq!(index.len(), count);
        (index.heap_bytes() / count, texts / count)
    }

    #[expect(clippy::print_stdout, reason = "the measurement is for a person to read")]
    fn check_bytes(count: usize) {
        let check = |shape: &str, (own, text): (usize, usize)| {
            println!("{count} x {shape}: {own} B + {text} B of text");
            assert!(own + text <= 150, "{shape}: {own} B + {text} B of text");
        };
        check("device/{n}/+/{k}/#", bytes_per_filter(count, |n| format!("device/{n}/+/{}/#", n % 100)));
        check("+/{n}/#", bytes_per_filter(count, |n| format!("+/{n}/#")));
        check("site/{k}/{n}/+", bytes_per_filter(count, |n| format!("site/{}/room-{n}/+", n % 1_000)));
        check("exact/{n}", bytes_per_filter(count, |n| format!("exact/device/{n}/state")));
        check(
            "device/{n}/{k}/+, ten a device",
            bytes_per_filter(count, |n| format!("device/{}/{}/+", n / 10, n % 10)),
        );
        check(
            "device/{n}/{k}/+, two a device",
            bytes_per_filter(count, |n| format!("device/{}/{}/+", n / 2, n % 2)),
        );
    }

    /// PERFORMANCE.md, W6: at most 150 bytes per route, with an eight-byte value.
    #[test]
    fn a_filter_costs_at_most_150_bytes() {
        check_bytes(20_000);
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "the measurement is for a person to read")]
    fn a_million_filters_are_measured() {
        check_bytes(1_000_000);
        let mut index = FilterIndex::new();
        for n in 0..1_000_000u64 {
            index.get_or_insert_with(&filter(&format!("device/{n}/+/{}/#", n % 100)), || n);
        }
        let names: Vec<String> = (0..1_000_000u64)
            .map(|n| n * 7_919 % 1_000_000)
            .map(|n| format!("device/{n}/x/{}/y", n % 100))
            .collect();
        let from = crate::net::clock::now();
        let mut found = 0u64;
        for name in &names {
            index.for_each_match(TopicRef::parse(name).unwrap(), |_| found += 1);
        }
        println!("{found} matches, {:?} for each", from.elapsed() / 1_000_000);
        assert_eq!(found, 1_000_000);
    }
}
