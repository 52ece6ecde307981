//! What commands write: results on stdout, complaints as one line on stderr, progress on a terminal only.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{ContentArrangement, Table};

/// Why a command ends without success.
#[derive(Debug)]
pub(super) enum Failure {
    /// One line for people: what went wrong and what helps.
    Message(String),
    /// Nobody reads what we write any more.
    OutputClosed,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self::Message(message.into())
    }
}

impl From<io::Error> for Failure {
    /// Only for errors of writing to stdout.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Message(format!("cannot write the output: {error}")),
        }
    }
}

/// One line on stderr. When even that fails, nobody is left to be told.
pub(super) fn complain(message: &str) {
    let line = message.replace('\n', "; ");
    let _ = writeln!(io::stderr(), "flockmq: {line}");
}

/// A line on stdout, at once.
pub(super) fn say(line: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

/// A value as indented JSON on stdout.
pub(super) fn say_json(value: &serde_json::Value) -> Result<(), Failure> {
    say(format_args!("{value:#}"))
}

/// A table on stdout: with rules and fitted to the width on a terminal, plain columns elsewhere.
pub(super) fn say_table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new();
    if io::stdout().is_terminal() {
        table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    say(lines.join("\n"))
}

/// Text from elsewhere without what a terminal would act on.
pub(super) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// A line on stderr that the next one replaces; silent when stderr is not a terminal.
pub(super) struct Progress {
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), is_shown: false }
    }

    pub(super) fn show(&mut self, text: &str) {
        if self.is_terminal {
            self.is_shown = true;
            let _ = write!(io::stderr(), "\r\x1b[K{}", visible(text));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(visible("a\x1b[31mb\r\n\u{9b}"), "a\\u{1b}[31mb\\r\\n\\u{9b}");
        assert_eq!(visible("höhe/+/#"), "höhe/+/#");
    }
}
