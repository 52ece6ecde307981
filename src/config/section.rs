//! Takes the tree apart section by section. Whoever asks for a key makes it known; what nobody asked for is
//! an error with the nearest known name.

use std::collections::BTreeMap;

use super::error::{ConfigError, Origin};
use super::kind::{Fit, table, text};
use super::tree::{Node, Table, Value, parse_value};

/// The whole tree, as far as it has not been asked for.
pub(super) struct Reader {
    root: Table,
    /// Every key that was asked for, with its section; array entries count as one section.
    known: BTreeMap<String, Vec<&'static str>>,
    unknown: Vec<Unknown>,
}

struct Unknown {
    section: String,
    /// The section as messages name it: with the number of the array entry.
    path: String,
    key: String,
    origin: Origin,
}

impl Reader {
    pub(super) fn new(root: Table) -> Self {
        Self { root, known: BTreeMap::new(), unknown: Vec::new() }
    }

    /// These keys outside all sections.
    pub(super) fn root(&mut self, keys: &[&'static str]) -> Section {
        let table = keys.iter().filter_map(|key| self.root.remove_entry(*key)).collect();
        Section::new("", String::new(), table, Origin::Default)
    }

    /// `[name]`, empty when it is not there.
    pub(super) fn section(&mut self, name: &'static str) -> Result<Section, ConfigError> {
        match self.root.remove(name) {
            None => Ok(self.stand_in(name, name.to_owned())),
            Some(Node { value: Value::Table(table), origin }) => {
                Ok(Section::new(name, name.into(), table, origin))
            }
            Some(node) => {
                let problem = format!("expected a section [{name}], found {}", node.value.kind());
                Err(ConfigError::new(&node.origin, name, problem))
            }
        }
    }

    /// Every `[[name]]`, in order; `None` when there is none.
    pub(super) fn sections(&mut self, name: &'static str) -> Result<Option<Vec<Section>>, ConfigError> {
        let Some(node) = self.root.remove(name) else {
            return Ok(None);
        };
        let value = match node.value {
            Value::Text(text) => parse_value(text.trim(), &node.origin)
                .map_err(|problem| ConfigError::new(&node.origin, name, problem))?,
            value => value,
        };
        let Value::Array(items) = value else {
            let problem = format!("expected sections [[{name}]] in double brackets, found {}", value.kind());
            return Err(ConfigError::new(&node.origin, name, problem));
        };
        let mut sections = Vec::with_capacity(items.len());
        for (n, item) in items.into_iter().enumerate() {
            let path = format!("{name}.{n}");
            let Value::Table(table) = item.value else {
                let problem = format!("expected a section, found {}", item.value.kind());
                return Err(ConfigError::new(&item.origin, path, problem));
            };
            sections.push(Section::new(name, path, table, item.origin));
        }
        Ok(Some(sections))
    }

    /// A section that stands in no source.
    pub(super) fn stand_in(&self, name: &'static str, path: String) -> Section {
        Section { present: false, ..Section::new(name, path, Table::new(), Origin::Default) }
    }

    /// Takes note of what a section was asked for and of what is left in it.
    pub(super) fn close(&mut self, section: Section) {
        let known = self.known.entry(section.name.to_owned()).or_default();
        for key in section.asked {
            if !known.contains(&key) {
                known.push(key);
            }
        }
        for (key, node) in section.table {
            let (section, path) = (section.name.to_owned(), section.path.clone());
            self.unknown.push(Unknown { section, path, key, origin: node.origin });
        }
    }

    /// Every key that was asked for, as `section.key`.
    ///
    /// # Errors
    /// The first key that nobody asked for, by its line.
    pub(super) fn finish(mut self) -> Result<Vec<String>, ConfigError> {
        for (key, node) in std::mem::take(&mut self.root) {
            let (section, path) = (String::new(), String::new());
            self.unknown.push(Unknown { section, path, key, origin: node.origin });
        }
        let line = |unknown: &Unknown| match &unknown.origin {
            Origin::File { line, .. } => line.unwrap_or(0),
            Origin::Default | Origin::Environment(_) | Origin::Flag(_) => usize::MAX,
        };
        if let Some(unknown) = self.unknown.iter().min_by_key(|unknown| line(unknown)) {
            let mut problem = "unknown key".to_owned();
            if let Some(nearest) = self.nearest(unknown) {
                problem.push_str(&format!(", did you mean \"{nearest}\"?"));
            }
            return Err(ConfigError::new(&unknown.origin, join(&unknown.path, &unknown.key), problem));
        }
        let known = self.known.iter();
        Ok(known.flat_map(|(section, keys)| keys.iter().map(move |key| join(section, key))).collect())
    }

    /// A name like it in the same section; else the same name in another section.
    fn nearest(&self, unknown: &Unknown) -> Option<String> {
        let mut candidates: Vec<&str> = self.known.get(&unknown.section)?.clone();
        if unknown.section.is_empty() {
            candidates.extend(self.known.keys().map(String::as_str).filter(|name| !name.is_empty()));
        }
        let nearest = candidates
            .into_iter()
            .map(|candidate| (strsim::damerau_levenshtein(candidate, &unknown.key), candidate))
            .min();
        let distance_max = (unknown.key.chars().count() / 3).clamp(1, 4);
        if let Some((distance, candidate)) = nearest
            && distance <= distance_max
        {
            return Some(candidate.to_owned());
        }
        let elsewhere = self.known.iter().find(|(_, keys)| keys.contains(&unknown.key.as_str()));
        elsewhere.map(|(section, _)| join(section, &unknown.key))
    }
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// One section, as far as it has not been asked for.
pub(super) struct Section {
    name: &'static str,
    path: String,
    table: Table,
    origin: Origin,
    present: bool,
    asked: Vec<&'static str>,
}

impl Section {
    fn new(name: &'static str, path: String, table: Table, origin: Origin) -> Self {
        Self { name, path, table, origin, present: true, asked: Vec::new() }
    }

    /// Whether the section stands anywhere, be it empty.
    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    /// Takes a key: its value and place, or `None` when it is not set.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        fit: impl Fn(&Node) -> Fit<T>,
    ) -> Result<Option<Placed<T>>, ConfigError> {
        self.asked.push(key);
        let Some(node) = self.table.remove(key) else {
            return Ok(None);
        };
        match fit(&node) {
            Ok(value) => {
                Ok(Some(Placed { value, place: Place { key: join(&self.path, key), origin: node.origin } }))
            }
            Err(misfit) => {
                let key = join(&self.path, key);
                Err(match misfit.entry {
                    None => ConfigError::new(&node.origin, key, misfit.problem),
                    Some((n, origin)) => ConfigError::new(&origin, format!("{key}.{n}"), misfit.problem),
                })
            }
        }
    }

    /// Takes a key into a setting that has its default already; says where the setting came from.
    pub(super) fn fill<T>(
        &mut self,
        key: &'static str,
        fit: impl Fn(&Node) -> Fit<T>,
        setting: &mut T,
    ) -> Result<Place, ConfigError> {
        match self.take(key, fit)? {
            Some(placed) => {
                *setting = placed.value;
                Ok(placed.place)
            }
            None => Ok(self.place(key)),
        }
    }

    /// `[name.inner]`, or `None` when it is not there or empty. What is asked of it counts as asked of the section
    /// `inner` outside, which knows the same keys.
    pub(super) fn inner(&mut self, inner: &'static str) -> Result<Option<Section>, ConfigError> {
        let Some(Placed { value: table, place }) = self.take(inner, table)? else {
            return Ok(None);
        };
        Ok((!table.is_empty()).then(|| Section::new(inner, place.key, table, place.origin)))
    }

    /// Where a key would stand that is not set: at its section.
    pub(super) fn place(&self, key: &str) -> Place {
        Place { key: join(&self.path, key), origin: self.origin.clone() }
    }

    /// Takes a string key that must not be shown in any message.
    pub(super) fn take_secret(&mut self, key: &'static str) -> Result<Option<Placed<String>>, ConfigError> {
        self.take(key, text)
    }
}

/// A value and its place, for checks that look at more than one key.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A key and where it was set.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) origin: Origin,
}

impl Place {
    pub(super) fn error(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError::new(&self.origin, self.key.clone(), problem)
    }
}
