//! `flockmq explain`: who would get a message, asked of every node, in one table.

use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Target, encode, get, parse};
use super::console::{Failure, say, say_json, say_table, visible};
use super::serve::runtime;

/// A request line that a node takes has less than 16 KiB; the rest is for its headers.
const PATH_BYTES_MAX: usize = 15 << 10;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  flockmq explain sensors/1/temperature
  flockmq explain sensors/1/temperature --client dashboard
  flockmq explain orders --publisher shop --qos 0 --json

Nothing is published. The first line is the answer for a message that is published at the asked node now; below it
is every matching subscription of every node with what would become of its copy. The exit code is 0 whoever gets it.")]
pub(super) struct Arguments {
    /// The topic that the message would be published to
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// Ask about this receiver only, and why its other subscriptions do not match
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Who publishes; No Local, share groups and rewrite rules may depend on it
    #[arg(long, value_name = "ID")]
    publisher: Option<String>,
    /// The QoS of the message
    #[arg(short, long, value_name = "QOS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Ask this one node only, not the others for their clients
    #[arg(long)]
    here: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let address = arguments.target.address()?;
    let flock = runtime()?.block_on(ask(&address, arguments))?;
    let verdict = flock.verdict(arguments.client.as_deref());
    if arguments.json {
        return say_json(&flock.json(&verdict));
    }
    flock.show(&verdict)
}

/// What one node answers, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
struct Answer {
    id: String,
    name: String,
    published_as: Option<String>,
    rewritten: bool,
    refused: Option<String>,
    delay_seconds: Option<u64>,
    client: Option<Client>,
    retained: Option<Retained>,
    copies: Vec<Copy>,
    unlisted: u64,
    not_matching: Vec<NotMatching>,
    nodes: Vec<Hop>,
}

#[derive(Clone, Debug, Deserialize)]
struct Client {
    session: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct Retained {
    qos: u8,
    payload_bytes: u64,
    expires_in_seconds: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Copy {
    client: String,
    filters: Vec<String>,
    qos: u8,
    outcome: String,
    reason: String,
    why: String,
}

#[derive(Clone, Debug, Deserialize)]
struct NotMatching {
    filter: String,
    why: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Hop {
    id: String,
    name: String,
    http: String,
    state: String,
    routes: Vec<Route>,
    forwarded: bool,
    why: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Route {
    filter: String,
    durable: bool,
}

/// The asked node's answer, and for each of the others its own, or why there is none.
struct Flock {
    first: Answer,
    first_value: Value,
    others: Vec<Other>,
}

struct Other {
    hop: Hop,
    answer: Result<(Answer, Value), String>,
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    node: String,
    client: String,
    filters: String,
    qos: String,
    outcome: String,
    reason: String,
    why: String,
}

async fn ask(address: &str, arguments: &Arguments) -> Result<Flock, Failure> {
    let (first, first_value) = ask_one(address, &path(arguments, &arguments.topic, false)?).await?;
    let mut others = Vec::new();
    if let (false, Some(topic)) = (arguments.here, &first.published_as) {
        let path = path(arguments, topic, true)?;
        for hop in first.nodes.clone() {
            let answer = ask_other(&hop, &path).await;
            others.push(Other { hop, answer });
        }
    }
    Ok(Flock { first, first_value, others })
}

fn path(arguments: &Arguments, topic: &str, forwarded: bool) -> Result<String, Failure> {
    let mut path = format!("/api/v1/explain?topic={}&qos={}", encode(topic), arguments.qos);
    for (name, value) in [("client", &arguments.client), ("publisher", &arguments.publisher)] {
        if let Some(value) = value {
            path += &format!("&{name}={}", encode(value));
        }
    }
    if forwarded {
        path += "&forwarded=true";
    }
    if PATH_BYTES_MAX < path.len() {
        return Err(Failure::new(format!(
            "the question has {} bytes with its topic, a node takes {PATH_BYTES_MAX}",
            path.len()
        )));
    }
    Ok(path)
}

async fn ask_one(address: &str, path: &str) -> Result<(Answer, Value), Failure> {
    let value = get(address, path).await?;
    Ok((parse(address, value.clone())?, value))
}

async fn ask_other(hop: &Hop, path: &str) -> Result<(Answer, Value), String> {
    if matches!(hop.state.as_str(), "down" | "left") {
        return Err(hop.state.clone());
    }
    if hop.http.is_empty() {
        return Err("its HTTP address is not known".to_owned());
    }
    match ask_one(&hop.http, path).await {
        // Its http.bind may be a loopback address, behind which another node answers on this machine.
        Ok((answer, _)) if answer.id != hop.id => Err(format!("{} is {}", hop.http, answer.name)),
        Ok(answered) => Ok(answered),
        Err(Failure::Message(message)) => Err(message),
        Err(Failure::OutputClosed) => Err("its answer broke off".to_owned()),
    }
}

impl Flock {
    /// Every copy, the asked node's first.
    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> =
            self.first.copies.iter().map(|copy| Row::new(&self.first.name, copy)).collect();
        for other in &self.others {
            let Ok((answer, _)) = &other.answer else { continue };
            rows.extend(answer.copies.iter().map(|copy| other.row(copy)));
        }
        rows
    }

    fn answers(&self) -> impl Iterator<Item = &Answer> {
        let others = self.others.iter().filter_map(|other| other.answer.as_ref().ok());
        std::iter::once(&self.first).chain(others.map(|(answer, _)| answer))
    }

    fn verdict(&self, client: Option<&str>) -> String {
        if let Some(refused) = &self.first.refused {
            return format!("nobody on any node would get it: {refused}");
        }
        let rows = self.rows();
        let mut text = match client {
            Some(id) => self.verdict_about(id, &rows),
            None => self.verdict_about_all(&rows),
        };
        let unlisted: u64 = self.answers().map(|answer| answer.unlisted).sum();
        if 0 < unlisted {
            text += &format!("; {unlisted} more subscriptions match and are not listed");
        }
        let unknown = self.unknown();
        if !unknown.is_empty() {
            text += &format!("; not known: {}", unknown.join(", "));
        }
        match self.first.delay_seconds {
            Some(seconds) => format!("in {seconds} s: {text}"),
            None => text,
        }
    }

    fn verdict_about_all(&self, rows: &[Row]) -> String {
        let clients = count(rows.iter().filter(|row| row.is_got()).map(|row| (&row.node, &row.client)));
        let nodes = count(rows.iter().filter(|row| row.is_got()).map(|row| &row.node));
        let everywhere = if self.unknown().is_empty() { "on any node" } else { "on the nodes that answer" };
        let mut text = match clients {
            0 if rows.is_empty() => format!("nobody {everywhere} would get it: no subscription matches"),
            0 => format!("nobody {everywhere} would get it"),
            _ => format!("{} on {} would get it", many(clients, "client"), many(nodes, "node")),
        };
        let failed: Vec<&Row> = rows.iter().filter(|row| row.is_failed()).collect();
        if !failed.is_empty() {
            let mut reasons: Vec<String> = failed.iter().map(|row| row.reason.replace('_', " ")).collect();
            reasons.sort_unstable();
            reasons.dedup();
            let failures = count(failed.iter().map(|row| (&row.node, &row.client)));
            text += &format!("; {failures} would not: {}", reasons.join(", "));
        }
        text
    }

    fn verdict_about(&self, id: &str, rows: &[Row]) -> String {
        let own: Vec<&Row> = rows.iter().filter(|row| row.client == id).collect();
        if let Some(row) = own.iter().find(|row| row.is_got()) {
            return format!("{id} would get it at {}: {}", row.node, row.why);
        }
        if let Some(row) = own.first() {
            return format!("{id} at {} would not get it: {}", row.node, row.why);
        }
        if self.answers().any(has_session) {
            return format!("{id} would not get it: none of its subscriptions matches");
        }
        format!("{id} would not get it: no node that answers has a session of that name")
    }

    /// Nodes of whose clients nothing is known, and why.
    fn unknown(&self) -> Vec<String> {
        self.others.iter().filter_map(Other::unknown).collect()
    }

    fn show(&self, verdict: &str) -> Result<(), Failure> {
        say(visible(verdict))?;
        let first = &self.first;
        if let (true, Some(topic)) = (first.rewritten, &first.published_as) {
            say(visible(&format!("a rewrite rule of {} makes it a message to {topic}", first.name)))?;
        }
        if let (Some(_), Some(topic)) = (first.delay_seconds, &first.published_as) {
            say(visible(&format!("{} keeps it until then and publishes it to {topic}", first.name)))?;
        }
        for answer in self.answers() {
            if let Some(Retained { qos, payload_bytes, expires_in_seconds }) = &answer.retained {
                let expiry = expires_in_seconds.map(|it| format!(", expires in {it} s")).unwrap_or_default();
                let name = visible(&answer.name);
                say(format_args!("retained at {name}: {payload_bytes} bytes at QoS {qos}{expiry}"))?;
            }
        }
        let rows = self.rows();
        if !rows.is_empty() {
            say("")?;
            let header = ["node", "client", "subscription", "qos", "outcome", "why"];
            let cells = |row: Row| {
                vec![row.node, row.client, row.filters, row.qos, row.outcome.replace('_', " "), row.why]
            };
            say_table(&header, rows.into_iter().map(cells))?;
        }
        let parting: Vec<Vec<String>> = self
            .answers()
            .flat_map(|answer| {
                let row = |it: &NotMatching| vec![answer.name.clone(), it.filter.clone(), it.why.clone()];
                answer.not_matching.iter().map(row)
            })
            .collect();
        if !parting.is_empty() {
            say("")?;
            say_table(&["node", "does not match", "because"], parting)?;
        }
        if !first.nodes.is_empty() {
            say("")?;
            let header = ["to node", "state", "routes", "forwarded", "why"];
            let rows = first.nodes.iter().map(|hop| {
                let forwarded = if hop.forwarded { "yes" } else { "no" }.to_owned();
                vec![hop.name.clone(), hop.state.clone(), hop.routes(), forwarded, hop.why.clone()]
            });
            say_table(&header, rows)?;
        }
        Ok(())
    }

    fn json(&self, verdict: &str) -> Value {
        let others: Vec<Value> = self
            .others
            .iter()
            .map(|other| match &other.answer {
                Ok((_, value)) => value.clone(),
                Err(error) => json!({ "id": other.hop.id, "name": other.hop.name, "error": error }),
            })
            .collect();
        json!({ "verdict": verdict, "asked": self.first_value, "others": others })
    }
}

fn has_session(answer: &Answer) -> bool {
    answer.client.as_ref().is_some_and(|client| client.session.is_some())
}

impl Other {
    /// A copy that its node would make if the message came there; it may not.
    fn row(&self, copy: &Copy) -> Row {
        let row = Row::new(&self.hop.name, copy);
        if self.hop.forwarded {
            return row;
        }
        let why = format!("the message does not go to its node: {}", self.hop.why);
        Row { outcome: "not_sent".to_owned(), reason: "not_forwarded".to_owned(), why, ..row }
    }

    /// The node's name, and why nothing is known of its clients.
    fn unknown(&self) -> Option<String> {
        let error = self.answer.as_ref().err()?;
        let matches = if self.hop.routes.is_empty() { "" } else { "; a subscription there matches" };
        Some(format!("{} ({error}{matches})", self.hop.name))
    }
}

impl Hop {
    fn routes(&self) -> String {
        let text = |route: &Route| {
            let class = if route.durable { " (durable)" } else { "" };
            format!("{}{class}", route.filter)
        };
        self.routes.iter().map(text).collect::<Vec<_>>().join(" ")
    }
}

impl Row {
    fn new(node: &str, copy: &Copy) -> Self {
        Self {
            node: node.to_owned(),
            client: copy.client.clone(),
            filters: copy.filters.join(" "),
            qos: copy.qos.to_string(),
            outcome: copy.outcome.clone(),
            reason: copy.reason.clone(),
            why: copy.why.clone(),
        }
    }

    fn is_got(&self) -> bool {
        matches!(self.outcome.as_str(), "sent" | "waits" | "kept")
    }

    fn is_failed(&self) -> bool {
        matches!(self.outcome.as_str(), "dropped" | "own" | "not_sent")
    }
}

/// How many different ones there are.
fn count<T: Ord>(all: impl Iterator<Item = T>) -> usize {
    all.collect::<std::collections::BTreeSet<T>>().len()
}

fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests;
