//! From a Topic Name to the filters that match it, each with a value of the caller's.

use std::collections::HashMap;
use std::mem;

use foldhash::fast::RandomState;

use super::trie::Trie;
use super::{TopicFilter, TopicRef};

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
