//! What is wrong with the configuration, and where it stands: one line that names the key and its place.

use std::fmt;
use std::sync::Arc;

/// The first thing that is wrong with a configuration.
///
/// Its text is one line and never holds a secret's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}{}{problem}", Prefix(key))]
pub struct ConfigError {
    origin: Origin,
    /// Dotted key, such as `cluster.listen`; empty when the file as a whole is meant.
    key: String,
    problem: String,
}

impl ConfigError {
    pub(super) fn new(origin: &Origin, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { origin: origin.clone(), key: key.into(), problem: problem.into().replace('\n', "; ") }
    }

    /// Dotted key that is wrong; empty when the file as a whole is meant.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Line of the file, counted from 1; `None` when the value came from elsewhere.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self.origin {
            Origin::File { line, .. } => line,
            Origin::Default | Origin::Environment(_) | Origin::Flag(_) => None,
        }
    }
}

/// Where a value came from. A later variant wins over an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The code.
    Default,
    /// The file; without a line when the file as a whole is meant.
    File { path: Arc<str>, line: Option<usize> },
    /// This environment variable.
    Environment(Arc<str>),
    /// This command-line flag.
    Flag(&'static str),
}

impl Origin {
    /// Sources with a higher rank win.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

/// As the head of a message: `path:line: `, `VARIABLE: `, `--flag: ` or nothing.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::File { path, line: Some(line) } => write!(f, "{path}:{line}: "),
            Self::File { path, line: None } => write!(f, "{path}: "),
            Self::Environment(name) => write!(f, "{name}: "),
            Self::Flag(name) => write!(f, "{name}: "),
        }
    }
}

struct Prefix<'a>(&'a str);

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}
