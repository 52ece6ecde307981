//! `flockmq cluster`: what a node says about its cluster, and what it is asked to change there.

use std::time::Duration;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;

use super::api::{Target, get, parse, post};
use super::console::{Failure, Progress, say, say_json, say_table, visible};
use super::serve::runtime;
use super::verify;
use crate::net::clock::now;

/// How often `wait` asks.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The nodes with their state, and whether their routes agree
    #[command(after_help = "Examples:
  flockmq cluster status
  flockmq cluster status --node 10.0.0.5:8080 --json")]
    Status,
    /// The nodes with their ids, incarnations and routes
    #[command(after_help = "Examples:
  flockmq cluster nodes --config config/node1.toml")]
    Nodes,
    /// Every topic filter with the nodes that have subscribers for it
    #[command(after_help = "Examples:
  flockmq cluster routes
  flockmq cluster routes --json | jq '.routes[].filter'")]
    Routes,
    /// Wait until the cluster is as wanted
    #[command(after_help = "Examples:
  flockmq cluster wait --converged --nodes 3 --timeout 30
  flockmq cluster wait --nodes 2 --timeout 1m

The exit code is 0 only when everything asked for holds, as the asked node sees it.")]
    Wait(Goal),
    /// Compare what every node holds of each node's routes with what that node itself holds
    #[command(after_help = "Examples:
  flockmq cluster verify
  flockmq cluster verify --node 10.0.0.5:8080 --json

Asks every node at its HTTP address, as nodes advertise it. What changes meanwhile is looked at again. The exit code
is 0 only when all nodes could be asked and all agree; nodes that have left are not asked.")]
    Verify,
    /// Make the asked node a member of the cluster that a node at this address belongs to
    #[command(after_help = "Examples:
  flockmq cluster join 10.0.0.6:7946
  flockmq cluster join node2.example:7946 --node 10.0.0.5:8080

The address is that node's cluster.advertise or cluster.listen. Until the asked node is stopped: to join at every start,
list the address in its cluster.node_address.")]
    Join {
        /// Mesh address of any node of the cluster
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// Let the asked node say goodbye to its clients and its cluster, and end
    #[command(after_help = "Examples:
  flockmq cluster leave --node 10.0.0.5:8080

The same as SIGTERM. The others drop its routes at once and count it as left.")]
    Leave,
    /// Have a node that is down or has left removed everywhere
    #[command(after_help = "Examples:
  flockmq cluster forget node3
  flockmq cluster forget 0f3a92c1 --node 10.0.0.5:8080
  flockmq cluster forget node3 --force

Any node can be asked, all hear of it. The forgotten node is refused from then on, until it is started anew.")]
    Forget {
        /// Its id; or its short id or name, if only one node has it
        #[arg(value_name = "NODE")]
        whom: String,
        /// Even when it is alive: it serves its own clients only, and is not ready, until it is started anew
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let address = arguments.target.address()?;
    runtime()?.block_on(async {
        match &arguments.command {
            Command::Status => status(&address, arguments.json).await,
            Command::Nodes => nodes(&address, arguments.json).await,
            Command::Routes => routes(&address, arguments.json).await,
            Command::Verify => verify::run(&address, arguments.json).await,
            Command::Join { address: by } => join(&address, by, arguments.json).await,
            Command::Leave => leave(&address, arguments.json).await,
            Command::Forget { whom, force } => forget(&address, whom, *force, arguments.json).await,
            Command::Wait(goal) => {
                goal.check()?;
                let status = wait(&address, goal).await?;
                if arguments.json { say_json(&status) } else { Ok(()) }
            }
        }
    })
}

/// GET /api/v1/cluster, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Status {
    cluster: String,
    name: String,
    ready: bool,
    pub(super) converged: bool,
    pub(super) nodes: Vec<NodeStatus>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct NodeStatus {
    pub(super) id: String,
    pub(super) name: String,
    address: String,
    #[serde(default)]
    pub(super) http: String,
    #[serde(rename = "self")]
    pub(super) is_self: bool,
    incarnation: u64,
    pub(super) state: String,
    link: String,
    routes: u64,
    lag: u64,
    digest: String,
    digest_agrees: bool,
    seen_ms_ago: u64,
    unacked: u64,
    reason: String,
}

impl NodeStatus {
    fn is_live(&self) -> bool {
        self.state == "live"
    }
}

#[derive(Deserialize)]
struct Routes {
    routes: Vec<Route>,
}

#[derive(Deserialize)]
struct Route {
    filter: String,
    share: Option<String>,
    durable: bool,
    nodes: Vec<String>,
}

pub(super) async fn get_status(address: &str) -> Result<(Status, Value), Failure> {
    let value = get(address, "/api/v1/cluster").await?;
    Ok((parse(address, value.clone())?, value))
}

async fn status(address: &str, json: bool) -> Result<(), Failure> {
    let (status, value) = get_status(address).await?;
    if json {
        return say_json(&value);
    }
    let ready = if status.ready { "ready" } else { "not ready" };
    let name = visible(&status.name);
    if status.cluster.is_empty() {
        return say(format_args!("{name} stands alone, {ready}"));
    }
    let live = status.nodes.iter().filter(|node| node.is_live()).count();
    say(format_args!(
        "cluster {} as {name} sees it: {live} of {} nodes live, {}, {ready}\n",
        visible(&status.cluster),
        status.nodes.len(),
        if status.converged { "converged" } else { "not converged" },
    ))?;
    let header = ["node", "address", "state", "link", "routes", "lag", "agrees", "seen", "unacked", "reason"];
    say_table(
        &header,
        status.nodes.into_iter().map(|node| {
            let name = if node.is_self { format!("{} (asked)", node.name) } else { node.name };
            let seen = if node.is_self { String::new() } else { ago(node.seen_ms_ago) };
            vec![
                name,
                node.address,
                node.state,
                node.link,
                node.routes.to_string(),
                node.lag.to_string(),
                yes(node.digest_agrees),
                seen,
                node.unacked.to_string(),
                node.reason,
            ]
        }),
    )
}

/// A node as answers to changes name it.
#[derive(Deserialize)]
struct NodeName {
    id: String,
    name: String,
}

/// The node that an answer has under `key`, and the answer itself on stdout when JSON is wanted.
async fn change(
    address: &str,
    verb: &str,
    body: Value,
    key: &str,
    json: bool,
) -> Result<Option<String>, Failure> {
    let value = post(address, &format!("/api/v1/cluster/{verb}"), &body).await?;
    if json {
        say_json(&value)?;
        return Ok(None);
    }
    let NodeName { id, name } = parse(address, value[key].clone())?;
    Ok(Some(visible(&format!("{name} ({id})"))))
}

async fn join(address: &str, by: &str, json: bool) -> Result<(), Failure> {
    match change(address, "join", serde_json::json!({ "address": by }), "joined", json).await? {
        Some(node) => say(format_args!("joined by {node}")),
        None => Ok(()),
    }
}

async fn leave(address: &str, json: bool) -> Result<(), Failure> {
    match change(address, "leave", serde_json::json!({}), "leaving", json).await? {
        Some(node) => say(format_args!("{node} leaves")),
        None => Ok(()),
    }
}

async fn forget(address: &str, node: &str, force: bool, json: bool) -> Result<(), Failure> {
    let body = serde_json::json!({ "node": node, "force": force });
    match change(address, "forget", body, "forgotten", json).await? {
        Some(node) => say(format_args!("{node} is forgotten")),
        None => Ok(()),
    }
}

async fn nodes(address: &str, json: bool) -> Result<(), Failure> {
    let (status, value) = get_status(address).await?;
    if json {
        return say_json(&serde_json::json!({ "nodes": value["nodes"] }));
    }
    say_table(
        &["node", "id", "incarnation", "address", "state", "routes", "digest"],
        status.nodes.into_iter().map(|node| {
            vec![
                node.name,
                node.id,
                node.incarnation.to_string(),
                node.address,
                node.state,
                node.routes.to_string(),
                node.digest,
            ]
        }),
    )
}

async fn routes(address: &str, json: bool) -> Result<(), Failure> {
    let value = get(address, "/api/v1/cluster/routes").await?;
    if json {
        return say_json(&value);
    }
    let Routes { routes } = parse(address, value)?;
    say_table(
        &["filter", "share", "durable", "nodes"],
        routes.into_iter().map(|route| {
            let share = route.share.unwrap_or_default();
            vec![route.filter, share, yes(route.durable), route.nodes.join(" ")]
        }),
    )
}

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

fn ago(ms: u64) -> String {
    let precise = Duration::from_millis(ms);
    let rounded = if ms < 10_000 { precise } else { Duration::from_secs(precise.as_secs()) };
    format!("{} ago", humantime::format_duration(rounded))
}

/// What `wait` waits for.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Goal {
    /// Until every live node has the routes of every live node
    #[arg(long)]
    pub(super) converged: bool,
    /// Until exactly so many nodes are live
    #[arg(long, value_name = "N")]
    pub(super) nodes: Option<usize>,
    /// How long at most: seconds, or a duration such as 500ms or 2m
    #[arg(long, value_name = "S", default_value = "30", value_parser = parse_seconds)]
    pub(super) timeout: Duration,
}

/// Seconds such as `30` or `1.5`, or a duration such as `500ms`.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|_| "expected seconds or a duration such as 500ms".to_owned())
}

/// Asks until the goal is reached and gives back what was said then.
pub(super) async fn wait(address: &str, goal: &Goal) -> Result<Value, Failure> {
    let deadline = now() + goal.timeout;
    let mut progress = Progress::new();
    loop {
        let left = deadline.saturating_duration_since(now());
        let asked = tokio::time::timeout(left.max(POLL_INTERVAL), get_status(address)).await;
        let missing = match asked {
            Ok(Ok((status, value))) => match goal.missing(&status) {
                None => return Ok(value),
                Some(missing) => missing,
            },
            Ok(Err(Failure::Message(message))) => message,
            Ok(Err(Failure::OutputClosed)) | Err(_) => format!("no answer from {address}"),
        };
        if deadline <= now() {
            let waited = humantime::format_duration(goal.timeout);
            return Err(Failure::new(format!("not reached within {waited}: {}", visible(&missing))));
        }
        progress.show(&missing);
        tokio::time::sleep(POLL_INTERVAL.min(deadline.saturating_duration_since(now()))).await;
    }
}

impl Goal {
    /// A goal that is always reached is a mistake.
    fn check(&self) -> Result<(), Failure> {
        if self.converged || self.nodes.is_some() {
            return Ok(());
        }
        Err(Failure::new("nothing to wait for: give --converged, --nodes N or both"))
    }

    /// What keeps the status from being as wanted; `None` when nothing does.
    fn missing(&self, status: &Status) -> Option<String> {
        let mut missing = Vec::new();
        let live = status.nodes.iter().filter(|node| node.is_live()).count();
        if let Some(wanted) = self.nodes
            && wanted != live
        {
            missing.push(format!("{live} of {wanted} nodes live"));
        }
        if self.converged && !status.converged {
            missing.push("not converged".to_owned());
        }
        if missing.is_empty() {
            return None;
        }
        for node in &status.nodes {
            if !node.is_live() {
                let reason =
                    if node.reason.is_empty() { String::new() } else { format!(" ({})", node.reason) };
                missing.push(format!("{} is {}{reason}", node.name, node.state));
            } else if 0 < node.lag {
                missing.push(format!("{} is {} route changes ahead", node.name, node.lag));
            } else if !node.digest_agrees {
                missing.push(format!("the routes of {} differ", node.name));
            }
        }
        Some(missing.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, state: &str, lag: u64, digest_agrees: bool) -> Value {
        serde_json::json!({
            "id": "00", "name": name, "address": "127.0.0.1:7946", "self": false, "incarnation": 1,
            "state": state, "link": "up", "routes": 0, "lag": lag, "digest": "00",
            "digest_agrees": digest_agrees, "seen_ms_ago": 0, "unacked": 0, "reason": "",
        })
    }

    fn check(nodes: &[Value], converged: bool, goal: (bool, Option<usize>), expected: Option<&str>) {
        let value = serde_json::json!({
            "cluster": "flock", "id": "00", "name": "node1", "ready": true, "converged": converged,
            "nodes": nodes,
        });
        let status: Status = serde_json::from_value(value).unwrap();
        let goal = Goal { converged: goal.0, nodes: goal.1, timeout: Duration::ZERO };
        assert_eq!(goal.missing(&status).as_deref(), expected, "{status:?}");
    }

    #[test]
    fn what_is_missing_is_said_in_one_line() {
        let live = |name| node(name, "live", 0, true);
        check(&[live("a"), live("b")], true, (true, Some(2)), None);
        check(&[live("a"), live("b")], true, (false, None), None);
        check(&[live("a"), live("b")], false, (false, Some(2)), None);
        check(&[live("a")], true, (true, Some(2)), Some("1 of 2 nodes live"));
        check(&[live("a"), live("b"), live("c")], true, (true, Some(2)), Some("3 of 2 nodes live"));
        check(
            &[live("a"), node("b", "down", 0, true)],
            true,
            (true, Some(2)),
            Some("1 of 2 nodes live, b is down"),
        );
        check(
            &[live("a"), node("b", "live", 5, false), node("c", "live", 0, false)],
            false,
            (true, Some(3)),
            Some("not converged, b is 5 route changes ahead, the routes of c differ"),
        );
    }

    #[test]
    fn there_has_to_be_something_to_wait_for() {
        let goal = |converged, nodes| Goal { converged, nodes, timeout: Duration::ZERO };
        assert!(goal(false, None).check().is_err());
        assert!(goal(true, None).check().is_ok() && goal(false, Some(1)).check().is_ok());
    }

    #[test]
    fn a_timeout_is_seconds_or_a_duration() {
        let check = |text, expected| assert_eq!(parse_seconds(text).ok(), expected, "{text:?}");
        check("30", Some(Duration::from_secs(30)));
        check("1.5", Some(Duration::from_millis(1_500)));
        check("500ms", Some(Duration::from_millis(500)));
        check("-1", None);
        check("soon", None);
    }
}
