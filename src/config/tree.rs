//! The configuration as a tree of values that each know where they came from: the file, with environment
//! variables and flags laid over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Origin};

/// Keys in their sorted order.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// A value, before anyone has asked what it should be.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// From the environment or a flag: its kind is whatever the key wants.
    Text(String),
    String(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A kind that no key takes: its name.
    Other(&'static str),
}

impl Value {
    /// The kind, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Array(_) => "an array",
            Self::Table(_) => "a section",
            Self::Other(name) => name,
        }
    }
}

/// Reads the text of a TOML file; `path` is only for messages.
pub(super) fn parse_file(path: &str, text: &str) -> Result<Table, ConfigError> {
    let places = Places::new(path, text);
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ConfigError::new(&places.origin(at), places.key_at(at), error.message())
    })?;
    Ok(convert_table(document.into_inner(), &|at| places.origin(at)))
}

/// Reads one TOML value that stands in an environment variable or flag.
pub(super) fn parse_value(text: &str, origin: &Origin) -> Result<Value, String> {
    let value = DeValue::parse(text).map_err(|error| error.message().to_owned())?;
    Ok(convert(value.into_inner(), &|_| origin.clone()))
}

fn convert_table(table: DeTable<'_>, origin: &dyn Fn(usize) -> Origin) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            // A key's line, so that a value that starts on the next line is still found.
            let place = origin(key.span().start);
            (
                key.into_inner().into_owned(),
                Node { value: convert(value.into_inner(), origin), origin: place },
            )
        })
        .collect()
}

fn convert(value: DeValue<'_>, origin: &dyn Fn(usize) -> Origin) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or(Value::Other("an integer beyond 64 bits"), Value::Integer)
        }
        DeValue::Boolean(flag) => Value::Boolean(flag),
        DeValue::Float(_) => Value::Other("a floating-point number"),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| {
                    let place = origin(item.span().start);
                    Node { value: convert(item.into_inner(), origin), origin: place }
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(table, origin)),
    }
}

/// Turns byte offsets of one file into lines.
struct Places<'a> {
    path: Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(path: &str, text: &'a str) -> Self {
        let mut line_starts = vec![0];
        line_starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        Self { path: path.into(), text, line_starts }
    }

    fn line_index(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= at).saturating_sub(1)
    }

    fn origin(&self, at: usize) -> Origin {
        Origin::File { path: Arc::clone(&self.path), line: Some(self.line_index(at) + 1) }
    }

    /// The key that a line with a syntax error is about, as far as its left side shows it; else nothing.
    fn key_at(&self, at: usize) -> String {
        let index = self.line_index(at);
        let mut lines = self.text.lines().take(index + 1).collect::<Vec<_>>().into_iter().rev();
        let Some((key, _)) = lines.next().and_then(|line| line.split_once('=')) else {
            return String::new();
        };
        let is_bare = |key: &str| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        let key = key.trim();
        if !is_bare(key) {
            return String::new();
        }
        let section = lines
            .map(str::trim)
            .find(|line| line.starts_with('['))
            .and_then(|line| line.split(']').next())
            .map(|head| head.trim_matches(['[', ' ']));
        match section {
            Some(section) if is_bare(section) => format!("{section}.{key}"),
            _ => key.to_owned(),
        }
    }
}

/// Lays one value over the tree: `path` are the segments of its key, numbers count into arrays.
pub(super) fn overlay(
    root: &mut Table,
    path: &[String],
    text: String,
    origin: &Origin,
) -> Result<(), ConfigError> {
    let Some((last, parents)) = path.split_last() else {
        return Err(ConfigError::new(origin, "", "names no key"));
    };
    let key = path.join(".");
    let mut table = root;
    let mut segments = parents.iter().peekable();
    while let Some(segment) = segments.next() {
        let next_is_index = segments.peek().unwrap_or(&last).parse::<usize>().is_ok();
        let node = table.entry(segment.clone()).or_insert_with(|| Node {
            value: if next_is_index { Value::Array(Vec::new()) } else { Value::Table(Table::new()) },
            origin: origin.clone(),
        });
        table = match &mut node.value {
            Value::Table(table) => table,
            Value::Array(items) => {
                let Some(index) = segments.next().and_then(|index| index.parse::<usize>().ok()) else {
                    let problem = if next_is_index {
                        "is set as a whole: the values with commas between them"
                    } else {
                        "needs the entry's number, as in FLOCKMQ__LISTENER__0__BIND"
                    };
                    return Err(ConfigError::new(origin, key, problem));
                };
                match items.len() {
                    len if index > len => {
                        let problem =
                            format!("there is no entry {} before it: numbers start at 0", index - 1);
                        return Err(ConfigError::new(origin, key, problem));
                    }
                    len if index == len => {
                        items.push(Node { value: Value::Table(Table::new()), origin: origin.clone() });
                    }
                    _ => {}
                }
                match &mut items[index].value {
                    Value::Table(table) => table,
                    other => {
                        let problem = format!("{segment}.{index} is {}, not a section", other.kind());
                        return Err(ConfigError::new(origin, key, problem));
                    }
                }
            }
            other => {
                let problem = format!("{segment} is {}, not a section", other.kind());
                return Err(ConfigError::new(origin, key, problem));
            }
        };
    }
    table.insert(last.clone(), Node { value: Value::Text(text), origin: origin.clone() });
    Ok(())
}
