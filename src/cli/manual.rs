//! `flockmq completions` and `flockmq man`.

use std::io::Write;
use std::path::PathBuf;

use clap_complete::Shell;

use super::console::Failure;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  flockmq completions bash > /etc/bash_completion.d/flockmq
  flockmq completions zsh > ~/.zfunc/_flockmq")]
pub(super) struct CompletionArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn completions(
    arguments: &CompletionArguments,
    command: &mut clap::Command,
) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "flockmq", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  flockmq man | man -l -
  flockmq man --dir /usr/local/share/man/man1")]
pub(super) struct ManArguments {
    /// Write a page for every command into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn man(arguments: &ManArguments, command: clap::Command) -> Result<(), Failure> {
    if let Some(dir) = &arguments.dir {
        return clap_mangen::generate_to(command, dir)
            .map_err(|error| Failure::new(format!("cannot write the pages to {}: {error}", dir.display())));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(std::io::stdout().write_all(&page)?)
}
