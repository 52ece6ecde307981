//! The command line: one file for each command, and what several of them need.

mod api;
mod client;
mod cluster;
mod console;
mod demo;
mod explain;
mod logging;
mod manual;
mod message;
mod passwd;
mod prompt;
mod publish;
mod serve;
mod signal;
mod subscribe;
mod verify;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use console::{Failure, complain};

/// A leaderless clustered MQTT broker: any node can die, the flock carries on.
#[derive(Debug, Parser)]
#[command(name = "flockmq", version, arg_required_else_help = true)]
#[command(after_help = "Examples:
  flockmq serve                                    one node on loopback, in memory
  flockmq serve --config config/node1.toml         a node of a cluster
  flockmq demo                                     three nodes in one process, to play with
  flockmq sub -t 'sensors/#' -v                    show what is published
  flockmq pub -t sensors/1 -m 21.5                 publish
  flockmq cluster status                           the nodes as one of them sees them
  flockmq explain sensors/1                        who would get a message, and why not the others")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until it is told to stop (SIGINT or SIGTERM)
    Serve(serve::Arguments),
    /// Read a configuration file and say whether a node would take it
    #[command(name = "check-config")]
    CheckConfig(serve::CheckArguments),
    /// Run three nodes in this process, send a message through them, and keep them for playing
    Demo(demo::Arguments),
    /// Publish a message and wait until the broker has acknowledged it
    Pub(publish::Arguments),
    /// Subscribe, and print the messages that arrive
    Sub(subscribe::Arguments),
    /// Set or remove a user's password in a file of credentials
    Passwd(passwd::Arguments),
    /// Ask a node about its cluster
    Cluster(cluster::Arguments),
    /// Say who would get a message to a topic, and why the others would not
    Explain(explain::Arguments),
    /// Print the completions for a shell
    Completions(manual::CompletionArguments),
    /// Print the manual page, or write those of all commands
    Man(manual::ManArguments),
}

/// Runs the command of the process's arguments. Whatever goes wrong is one line on stderr.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_understood(&error),
    };
    match dispatch(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough, as in `flockmq sub | head -1`.
        Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Message(message)) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::CheckConfig(arguments) => serve::check(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Pub(arguments) => publish::run(&arguments),
        Command::Sub(arguments) => subscribe::run(&arguments),
        Command::Passwd(arguments) => passwd::run(&arguments),
        Command::Cluster(arguments) => cluster::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments, &mut Arguments::command()),
        Command::Man(arguments) => manual::man(&arguments, Arguments::command()),
    }
}

/// Help and version go to stdout as they are; a usage error becomes one line.
fn not_understood(error: &clap::Error) -> ExitCode {
    let is_asked_for = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if is_asked_for {
        // A closed stdout is nothing to complain about.
        let _ = error.print();
        return if error.exit_code() == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    complain(&usage_error(&error.render().to_string()));
    ExitCode::from(2)
}

fn usage_error(rendered: &str) -> String {
    let lines = rendered.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_advice = |line: &str| line.starts_with("Usage:") || line.starts_with("For more information");
    let said: Vec<&str> = lines.take_while(|line| !is_advice(line)).collect();
    let said = said.join(" ");
    format!("{}; see --help", said.strip_prefix("error: ").unwrap_or(&said).trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command) {
            for command in command.get_subcommands() {
                if command.has_subcommands() {
                    check(command);
                } else {
                    assert!(command.get_after_help().is_some(), "{} has no example", command.get_name());
                }
            }
        }
        check(&Arguments::command());
    }

    #[test]
    fn a_usage_error_is_one_line() {
        let check = |arguments: &[&str], expected: &[&str]| {
            let error = Arguments::try_parse_from(arguments).unwrap_err();
            let line = usage_error(&error.render().to_string());
            assert!(!line.contains('\n'), "{line}");
            for part in expected {
                assert!(line.contains(part), "{part:?} is not in {line:?}");
            }
        };
        check(&["flockmq", "serve", "--confg", "x"], &["--confg", "--config", "; see --help"]);
        check(&["flockmq", "sreve"], &["sreve", "serve"]);
        check(&["flockmq", "pub", "-m", "x"], &["--topic"]);
        check(&["flockmq", "pub", "-t", "a", "-m", "x", "-q", "3"], &["3", "--qos"]);
        check(&["flockmq", "pub", "-t", "a"], &["--message"]);
        check(&["flockmq", "cluster", "wait", "--nodes", "x"], &["'x'", "--nodes", "string; see --help"]);
    }
}
