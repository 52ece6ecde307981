//! Runs FlockMQ's cluster on a simulated network, each run from a seed: the same seed, the same run.

mod check;
mod client;
mod entropy;
mod history;
mod host;
mod world;

use std::ops::Range;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use flockmq::seeded_bugs::{self, BUGS};
use parking_lot::Mutex;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use world::Outcome;

/// Simulates clusters of three to five nodes under faults and says whether they kept their promises.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// Which seeds: `0..200`, or one, `17`.
    #[arg(long, default_value = "0..200", value_parser = seeds)]
    seeds: Range<u64>,
    /// Runs at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Puts a bug in, to see whether it is found: dropped_delta, gap_ignored, no_deduplication, no_resend,
    /// early_suback, mask_kept or no_incarnation.
    #[arg(long)]
    bug: Option<String>,
    /// Runs each seed twice and compares.
    #[arg(long)]
    twice: bool,
    /// Shows what the nodes log, such as `flockmq=debug`.
    #[arg(long)]
    log: Option<String>,
    /// Runs one seed in this process.
    #[arg(long, hide = true)]
    one: bool,
    /// Goes on after a run that failed.
    #[arg(long)]
    keep_going: bool,
}

/// The clock of the run, for log lines.
struct SimulatedTime;

impl FormatTime for SimulatedTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        // Outside a host there is none.
        match turmoil::sim_elapsed() {
            Some(elapsed) => write!(writer, "{:9.3}", elapsed.as_secs_f64()),
            None => Ok(()),
        }
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    match text.split_once("..") {
        Some((from, to)) => Ok(number(from)?..number(to)?),
        None => number(text).map(|seed| seed..seed + 1),
    }
}

/// Runs a seed in a process of its own: libraries keep counters that would carry over from one run to the next.
fn run(seed: u64, log: Option<&str>, bug: Option<&str>) -> Result<Outcome, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["--one", "--seeds", &seed.to_string()]).stderr(Stdio::inherit());
    command.args(log.into_iter().flat_map(|filter| ["--log", filter]));
    command.args(bug.into_iter().flat_map(|bug| ["--bug", bug]));
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(line) = text.lines().last().filter(|_| output.status.success()) else {
        return Err(format!("seed {seed}: {} {}", output.status, text.trim()));
    };
    serde_json::from_str(line).map_err(|error| format!("seed {seed}: {error}: {text}"))
}

/// Runs one seed in this process and prints what it has shown.
fn run_here(seed: u64, bug: Option<&str>) -> ExitCode {
    let has_incarnations = bug != Some("no_incarnation");
    if let Some(name) = bug.filter(|_| has_incarnations) {
        let Some((bug, _)) = BUGS.iter().find(|(_, known)| *known == name) else {
            println!("there is no bug {name:?}");
            return ExitCode::FAILURE;
        };
        seeded_bugs::put_in(*bug);
    }
    // In a thread of its own, so that nothing before it has used up any of its randomness.
    #[expect(clippy::disallowed_methods, reason = "a program without a node's tasks")]
    let run = std::thread::spawn(move || world::run(seed, has_incarnations)).join();
    let outcome = run.unwrap_or_else(|_| Err(format!("seed {seed}: panicked")));
    match outcome.and_then(|outcome| serde_json::to_string(&outcome).map_err(|it| it.to_string())) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// All runs together.
#[derive(Default)]
struct Total {
    runs: u64,
    messages: usize,
    deliveries: usize,
    promised: usize,
    faults: u64,
    simulated: Duration,
    healed_in: Vec<Duration>,
    failures: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(filter) = &arguments.log {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .with_timer(SimulatedTime)
            .init();
    }
    if arguments.one {
        return run_here(arguments.seeds.start, arguments.bug.as_deref());
    }
    let (log, bug) = (arguments.log.as_deref(), arguments.bug.as_deref());
    #[expect(clippy::disallowed_methods, reason = "how long the runs take in real time")]
    let start = Instant::now();
    let next = AtomicU64::new(arguments.seeds.start);
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = !arguments.keep_going && !total.lock().failures.is_empty();
                    if seed >= arguments.seeds.end || is_over {
                        return;
                    }
                    let outcome = run(seed, log, bug).and_then(|outcome| {
                        match arguments.twice.then(|| run(seed, log, bug)) {
                            Some(Ok(again)) if again.fingerprint != outcome.fingerprint => {
                                Err(format!("seed {seed}: two runs differ"))
                            }
                            Some(Err(problem)) => Err(format!("the second time: {problem}")),
                            _ => Ok(outcome),
                        }
                    });
                    total.lock().add(outcome);
                }
            });
        }
    });
    total.into_inner().report(start.elapsed())
}

impl Total {
    fn add(&mut self, outcome: Result<Outcome, String>) {
        self.runs += 1;
        match outcome {
            Ok(outcome) => {
                self.messages += outcome.messages;
                self.deliveries += outcome.deliveries;
                self.promised += outcome.promised;
                self.faults += outcome.faults;
                self.simulated += outcome.simulated;
                self.healed_in.push(outcome.healed_in);
            }
            Err(problem) => {
                println!("FAILED {problem}");
                self.failures.push(problem);
            }
        }
        if self.runs.is_multiple_of(100) {
            println!("{} runs, {} failed", self.runs, self.failures.len());
        }
    }

    fn report(mut self, took: Duration) -> ExitCode {
        self.healed_in.sort_unstable();
        let at = |part: usize| {
            let last = self.healed_in.len().saturating_sub(1);
            self.healed_in.get(last * part / 100).copied().unwrap_or_default()
        };
        println!(
            "{} runs, {} failed: {:.0} simulated seconds in {:.0} s, {} faults, {} messages, {} deliveries, {} promised \
             copies; healed in {:?} (median), {:?} (99 of 100), {:?} (longest)",
            self.runs,
            self.failures.len(),
            self.simulated.as_secs_f64(),
            took.as_secs_f64(),
            self.faults,
            self.messages,
            self.deliveries,
            self.promised,
            at(50),
            at(99),
            at(100),
        );
        if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
