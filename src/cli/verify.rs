//! `flockmq cluster verify`: what every node holds of each owner's routes, against what the owner itself holds.

mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use self::compare::{Belief, Beliefs, Doubt, compare};
use super::api::{get, parse};
use super::cluster::{NodeStatus, get_status};
use super::console::{Failure, say, say_json, say_table, visible};

/// How often what differs is looked at before it counts, and the pause between: longer than a gossip round and a
/// pull of what was lost take together.
const LOOKS_MAX: usize = 6;
const PAUSE: Duration = Duration::from_millis(500);
/// Routes of one difference that the table shows; JSON has all.
const SHOWN_MAX: usize = 20;
/// Pages of one owner's routes; more than the largest table has.
const PAGES_MAX: usize = 2_000;

/// A node that is to be asked, or cannot be.
#[derive(Clone, Debug)]
struct Subject {
    name: String,
    /// Where, or why not.
    http: Result<String, String>,
}

/// One route, as nodes list them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
struct Route {
    filter: String,
    share: Option<String>,
    durable: bool,
}

#[derive(Deserialize)]
struct Page {
    #[serde(flatten)]
    belief: Belief,
    routes: Vec<Route>,
    next: Option<usize>,
}

/// What a node holds too much or too little of an owner's routes.
struct Difference {
    node: String,
    owner: String,
    missing: Vec<Route>,
    extra: Vec<Route>,
}

pub(super) async fn run(address: &str, json: bool) -> Result<(), Failure> {
    let mut subjects = find_nodes(address).await?;
    let mut doubts = BTreeMap::new();
    for look in 0..LOOKS_MAX {
        if 0 < look {
            tokio::time::sleep(PAUSE).await;
        }
        let (beliefs, failures) = ask_all(&subjects).await;
        let unasked = subjects.iter().filter(|(_, subject)| subject.http.is_err()).map(|(id, _)| id.clone());
        let unasked = unasked.chain(failures.keys().cloned()).collect();
        doubts = compare(&beliefs, &unasked, &doubts);
        if doubts.is_empty() && failures.is_empty() {
            break;
        }
        if look + 1 == LOOKS_MAX {
            for (id, reason) in failures {
                subjects.entry(id).and_modify(|subject| subject.http = Err(reason));
            }
        }
    }
    let mut differences = Vec::new();
    for doubt in doubts.into_values() {
        differences.extend(look_closely(&subjects, &doubt).await?);
    }
    report(&subjects, &differences, json)
}

/// Every node that the asked one, or any that it names, knows and that has not left.
async fn find_nodes(address: &str) -> Result<BTreeMap<String, Subject>, Failure> {
    let mut subjects: BTreeMap<String, Subject> = BTreeMap::new();
    let mut asked = BTreeSet::from([address.to_owned()]);
    let mut waiting = vec![address.to_owned()];
    let mut is_first = true;
    while let Some(address) = waiting.pop() {
        let status = match get_status(&address).await {
            Ok((status, _)) => status,
            Err(failure) if is_first => return Err(failure),
            // Asking it for its routes fails again, and then it is said.
            Err(_) => continue,
        };
        for node in status.nodes.into_iter().filter(|node| node.state != "left") {
            let subject = Subject {
                name: visible(&node.name),
                http: if node.is_self { Ok(address.clone()) } else { where_to_ask(&node) },
            };
            if let Ok(http) = &subject.http
                && asked.insert(http.clone())
            {
                waiting.push(http.clone());
            }
            let known = subjects.entry(node.id).or_insert_with(|| subject.clone());
            // What answered is right; what is said of it elsewhere may be old.
            if node.is_self && is_first || known.http.is_err() {
                *known = subject;
            }
        }
        is_first = false;
    }
    Ok(subjects)
}

fn where_to_ask(node: &NodeStatus) -> Result<String, String> {
    match (node.state.as_str(), node.http.as_str()) {
        ("down", _) => Err("it is down; `flockmq cluster forget` removes a node for good".to_owned()),
        (_, "") => Err("it does not say where its HTTP address is".to_owned()),
        (_, http) => Ok(http.to_owned()),
    }
}

/// What each node that can be asked holds; and why some could not be.
async fn ask_all(subjects: &BTreeMap<String, Subject>) -> (Vec<Beliefs>, BTreeMap<String, String>) {
    let (mut beliefs, mut failures) = (Vec::new(), BTreeMap::new());
    for (id, subject) in subjects {
        let Ok(http) = &subject.http else { continue };
        match ask(http, id).await {
            Ok(held) => beliefs.push(held),
            Err(reason) => {
                failures.insert(id.clone(), reason);
            }
        }
    }
    (beliefs, failures)
}

async fn ask(http: &str, id: &str) -> Result<Beliefs, String> {
    let said = |failure| match failure {
        Failure::Message(message) => message,
        Failure::OutputClosed => "the output is closed".to_owned(),
    };
    let value = get(http, "/api/v1/cluster/beliefs").await.map_err(said)?;
    let held: Beliefs = parse(http, value).map_err(said)?;
    if held.id == id {
        return Ok(held);
    }
    Err(format!("{} answers at {http}, the address that it advertises", visible(&held.name)))
}

/// The routes themselves of what still differs. Nothing when they turn out to be the same.
async fn look_closely(
    subjects: &BTreeMap<String, Subject>,
    doubt: &Doubt,
) -> Result<Option<Difference>, Failure> {
    let name_of = |id: &String| subjects.get(id).map_or_else(|| id.clone(), |subject| subject.name.clone());
    let (node, owner) = (name_of(&doubt.node), name_of(&doubt.owner));
    for _ in 0..LOOKS_MAX {
        let held = routes_at(subjects.get(&doubt.node), &doubt.owner).await?;
        let owned = routes_at(subjects.get(&doubt.owner), &doubt.owner).await?;
        // A table that changed between two pages is read again.
        let (Some(held), Some(owned)) = (held, owned) else { continue };
        let missing: Vec<Route> = owned.difference(&held).cloned().collect();
        let extra: Vec<Route> = held.difference(&owned).cloned().collect();
        let differs = !missing.is_empty() || !extra.is_empty();
        return Ok(differs.then_some(Difference { node, owner, missing, extra }));
    }
    let reason = format!("the routes of {owner} change too fast at {node} to be compared; try again");
    Err(Failure::new(reason))
}

/// An owner's routes at one node; `None` when they changed meanwhile. Whoever holds nothing has no routes.
async fn routes_at(subject: Option<&Subject>, owner: &str) -> Result<Option<BTreeSet<Route>>, Failure> {
    let Some(Subject { http: Ok(http), .. }) = subject else { return Ok(Some(BTreeSet::new())) };
    let mut routes = BTreeSet::new();
    let (mut first, mut after) = (None, 0);
    let held: Beliefs = parse(http, get(http, "/api/v1/cluster/beliefs").await?)?;
    if !held.owners.iter().any(|belief| belief.owner == owner) {
        return Ok(Some(BTreeSet::new()));
    }
    for _ in 0..PAGES_MAX {
        let path = format!("/api/v1/cluster/beliefs/{owner}?after={after}");
        let page: Page = parse(http, get(http, &path).await?)?;
        if *first.get_or_insert_with(|| page.belief.clone()) != page.belief {
            return Ok(None);
        }
        routes.extend(page.routes);
        match page.next {
            Some(next) => after = next,
            None => return Ok(Some(routes)),
        }
    }
    Ok(None)
}

fn report(
    subjects: &BTreeMap<String, Subject>,
    differences: &[Difference],
    json: bool,
) -> Result<(), Failure> {
    let unasked: Vec<(&str, &str)> = subjects
        .values()
        .filter_map(|subject| Some((subject.name.as_str(), subject.http.as_ref().err()?.as_str())))
        .collect();
    let asked = subjects.len() - unasked.len();
    if json {
        say_json(&json!({
            "agree": differences.is_empty() && unasked.is_empty(),
            "asked": asked,
            "unasked": unasked.iter().map(|(node, reason)| json!({ "node": node, "reason": reason })).collect::<Vec<_>>(),
            "differences": differences.iter().map(|difference| json!({
                "node": difference.node, "owner": difference.owner,
                "missing": difference.missing, "extra": difference.extra,
            })).collect::<Vec<_>>(),
        }))?;
    } else if differences.is_empty() && unasked.is_empty() {
        return say(format_args!("all {asked} nodes agree"));
    } else if !differences.is_empty() {
        say_table(
            &["node", "owner", "it has", "filter", "share", "durable"],
            differences.iter().flat_map(rows),
        )?;
    }
    let mut problems = Vec::new();
    if !differences.is_empty() {
        let mut nodes: Vec<&str> = differences.iter().map(|difference| difference.node.as_str()).collect();
        nodes.dedup();
        problems.push(format!("routes differ at {}", nodes.join(", ")));
    }
    problems.extend(unasked.iter().map(|(node, reason)| format!("{node} could not be asked: {reason}")));
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{}; the other {} agree", problems.join("; "), asked_alike(asked, differences))))
}

/// How many of the asked nodes hold what the owners hold.
fn asked_alike(asked: usize, differences: &[Difference]) -> usize {
    let wrong: BTreeSet<&str> = differences.iter().map(|difference| difference.node.as_str()).collect();
    asked.saturating_sub(wrong.len())
}

fn rows(difference: &Difference) -> Vec<Vec<String>> {
    let Difference { node, owner, missing, extra } = difference;
    let mut rows = Vec::new();
    for (word, routes) in [("not", missing), ("too much", extra)] {
        let row = |filter: String, share: String, durable: &str| {
            vec![node.clone(), owner.clone(), word.to_owned(), filter, share, durable.to_owned()]
        };
        rows.extend(routes.iter().take(SHOWN_MAX).map(|route| {
            let durable = if route.durable { "yes" } else { "no" };
            row(route.filter.clone(), route.share.clone().unwrap_or_default(), durable)
        }));
        if SHOWN_MAX < routes.len() {
            rows.push(row(format!("and {} more: --json", routes.len() - SHOWN_MAX), String::new(), ""));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::net::TcpListener;
    use crate::tasks::Tasks;

    /// What two nodes answer: `a` owns the route `x`, and `b` holds these of it.
    fn answer(path: &str, own: &str, addresses: &[String; 2], held: &[&str]) -> Value {
        let routes = |filters: &[&str]| -> Vec<Value> {
            filters
                .iter()
                .map(|filter| json!({ "filter": filter, "share": null, "durable": false }))
                .collect()
        };
        let filters = if own == "a" { &["x"][..] } else { held };
        let hash: u64 = filters.iter().flat_map(|filter| filter.bytes()).map(u64::from).sum();
        let belief =
            json!({ "owner": "a", "incarnation": 1, "seq": 5, "count": filters.len(), "hash": hash });
        if path.contains("/beliefs/") {
            let mut page = belief;
            page["routes"] = json!(routes(filters));
            page["next"] = Value::Null;
            return page;
        }
        if path.ends_with("/beliefs") {
            return json!({ "id": own, "name": own, "owners": [belief] });
        }
        let node = |id: &str, http: &String| {
            json!({
                "id": id, "name": id, "address": "", "http": http, "self": id == own, "incarnation": 1,
                "state": "live", "link": "up", "routes": 1, "lag": 0, "digest": "", "digest_agrees": true,
                "seen_ms_ago": 0, "unacked": 0, "reason": "",
            })
        };
        json!({
            "cluster": "flock", "name": own, "ready": true, "converged": true,
            "nodes": [node("a", &addresses[0]), node("b", &addresses[1])],
        })
    }

    async fn check(held: &'static [&'static str], expected: Option<&str>) {
        let listeners = [
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        ];
        let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
        for (listener, own) in listeners.into_iter().zip(["a", "b"]) {
            let addresses = addresses.clone();
            Tasks::new().spawn("fake node", async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut request = [0; 4_096];
                    let len = stream.read(&mut request).await.unwrap();
                    let request = String::from_utf8_lossy(&request[..len]).into_owned();
                    let path = request.split(' ').nth(1).unwrap().split('?').next().unwrap();
                    let body = answer(path, own, &addresses, held).to_string();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.write_all((head + &body).as_bytes()).await.unwrap();
                }
            });
        }
        match (run(&addresses[0], false).await, expected) {
            (Ok(()), None) => {}
            (Err(Failure::Message(said)), Some(expected)) => assert_eq!(said, expected),
            (result, _) => panic!("{result:?}, expected {expected:?}"),
        }
    }

    #[tokio::test]
    async fn a_node_that_holds_other_routes_than_the_owner_is_named() {
        check(&["x"], None).await;
        check(&["y"], Some("routes differ at b; the other 1 agree")).await;
        check(&[], Some("routes differ at b; the other 1 agree")).await;
        check(&["x", "y"], Some("routes differ at b; the other 1 agree")).await;
    }
}
