//! `[log]`: what the node writes about itself.

use tracing_subscriber::EnvFilter;

use super::error::ConfigError;
use super::kind::{Fit, text, word};
use super::section::Reader;
use super::tree::Node;

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`), or a list of them per module with commas between.
    pub level: String,
    /// How a line looks.
    pub format: Format,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

pub(super) fn read(reader: &mut Reader) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    let mut section = reader.section("log")?;
    section.fill("level", level, &mut settings.level)?;
    section.fill("format", word(&[("text", Format::Text), ("json", Format::Json)]), &mut settings.format)?;
    reader.close(section);
    Ok(settings)
}

fn level(node: &Node) -> Fit<String> {
    let level = text(node)?;
    let is_word = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        matches!(level.trim(), "off" | "error" | "warn" | "info" | "debug" | "trace")
    };
    if EnvFilter::try_new(&level).is_ok() && level.split(',').all(is_word) {
        return Ok(level);
    }
    let expected = "error, warn, info, debug or trace, or a list such as \"info,flockmq::cluster=debug\"";
    Err(format!("expected {expected}, found {level:?}").into())
}
