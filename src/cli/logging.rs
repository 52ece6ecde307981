//! Sets up what the node writes about itself.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::log::{Format, Settings};

/// Sends the log to stdout, so that stderr holds only the one line that says why the process stopped.
pub(super) fn start(settings: &Settings) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&settings.level))
        .with_writer(io::stdout)
        .with_ansi(io::stdout().is_terminal());
    // It fails only when a log is set up already, which then is as good.
    let _ = match settings.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
