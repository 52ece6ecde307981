//! Several nodes that know each other, in one temporary directory that is kept when the test fails.
#![expect(
    clippy::print_stderr,
    reason = "a failed test shows where the nodes' files are and what they logged"
)]

use std::path::Path;
use std::thread;

use tempfile::TempDir;

use super::node::{Node, Spec, Status, flockmq, log_path};
use super::{PATIENCE, wait_until};

/// Lines of each log that a failure shows.
const LOG_LINES_SHOWN: usize = 40;

/// Nodes that were started together. Dropping it kills them all and looks through their logs.
pub(crate) struct Flock {
    pub(crate) nodes: Vec<Node>,
    directory: Option<TempDir>,
}

impl Flock {
    /// `count` nodes with the same seed list, converged.
    #[track_caller]
    pub(crate) fn start(count: usize) -> Self {
        Self::start_with(count, |_, _| {})
    }

    /// As `start`; `adapt` may change each node's spec (its number counts from 0) before seeds are listed.
    #[track_caller]
    pub(crate) fn start_with(count: usize, mut adapt: impl FnMut(usize, &mut Spec)) -> Self {
        let mut specs: Vec<Spec> = (1..=count).map(|n| Spec::new(&format!("node{n}"))).collect();
        for (n, spec) in specs.iter_mut().enumerate() {
            adapt(n, spec);
        }
        let seeds: Vec<String> = specs.iter().map(Spec::mesh_address).collect();
        let mut flock = Self::empty();
        for spec in specs {
            flock.spawn(Spec { seeds: seeds.clone(), ..spec });
        }
        for node in &mut flock.nodes {
            node.wait_ready();
        }
        flock.wait_converged(count);
        flock
    }

    /// A directory without nodes yet.
    pub(crate) fn empty() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("flock-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a temporary directory");
        Self { nodes: Vec::new(), directory: Some(directory) }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.as_ref().expect("kept until the flock is dropped").path()
    }

    /// Adds a node and does not wait for it. Returns its number.
    #[track_caller]
    pub(crate) fn spawn(&mut self, spec: Spec) -> usize {
        let node = Node::spawn(spec, self.directory());
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Waits until every node sees `count` live nodes whose route tables agree.
    #[track_caller]
    pub(crate) fn wait_converged(&self, count: usize) {
        for node in &self.nodes {
            let (http, count) = (node.http().to_string(), count.to_string());
            let output = flockmq(&[
                "cluster",
                "wait",
                "--converged",
                "--nodes",
                &count,
                "--timeout",
                "30",
                "--node",
                &http,
            ]);
            assert!(
                output.status.success(),
                "{} does not see {count} converged nodes: {}{}\n{:#?}",
                node.spec.name,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
                node.status(),
            );
        }
    }

    /// Waits until node `at` (counted from 0) reports `name` in one of `states`.
    #[track_caller]
    pub(crate) fn wait_state(&self, at: usize, name: &str, states: &[&str]) -> Status {
        let node = &self.nodes[at];
        let what = format!("{} reports {name} as {states:?}", node.spec.name);
        let stands =
            |status: &Status| status.node(name).is_some_and(|found| states.contains(&found.state.as_str()));
        wait_until(&what, PATIENCE, || node.status(), stands)
    }

    /// Waits until every node's `cluster routes` lists exactly these nodes for a filter.
    #[track_caller]
    pub(crate) fn wait_route(&self, filter: &str, expected: &[&str]) {
        for node in &self.nodes {
            let what = format!("{} lists {expected:?} for {filter}", node.spec.name);
            wait_until(&what, PATIENCE, || node.nodes_of_route(filter), |found| found == expected);
        }
    }
}

impl Drop for Flock {
    fn drop(&mut self) {
        let names: Vec<String> = self.nodes.iter().map(|node| node.spec.name.clone()).collect();
        self.nodes.clear();
        let Some(directory) = self.directory.take() else { return };
        let logs: Vec<(String, String)> = names
            .into_iter()
            .map(|name| {
                let log = std::fs::read_to_string(log_path(directory.path(), &name)).unwrap_or_default();
                (name, log)
            })
            .collect();
        let panicked: Vec<&String> =
            logs.iter().filter(|(_, log)| log.contains("panicked at")).map(|(name, _)| name).collect();
        if !thread::panicking() && panicked.is_empty() {
            return;
        }
        let kept = directory.keep();
        eprintln!("The nodes' files are kept in {}", kept.display());
        for (name, log) in &logs {
            let skipped = log.lines().count().saturating_sub(LOG_LINES_SHOWN);
            eprintln!("--- end of {name}.log");
            for line in log.lines().skip(skipped) {
                eprintln!("{line}");
            }
        }
        assert!(thread::panicking() || panicked.is_empty(), "{panicked:?} panicked; see the logs above");
    }
}
