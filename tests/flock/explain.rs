//! `flockmq explain` on real nodes: who gets a message, and why the others do not, is what then happens.

use serde_json::Value;

use crate::support::flock::Flock;
use crate::support::mqtt::{Client, Options, Version};
use crate::support::node::{Node, Spec, flockmq};
use crate::support::{PATIENCE, http, wait_until};

/// The lines that the command prints, asking this node.
#[track_caller]
fn explain(node: &Node, arguments: &[&str]) -> Vec<String> {
    let address = node.http().to_string();
    let output = flockmq(&[&["explain", "--node", &address], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("the output is text").lines().map(str::to_owned).collect()
}

/// The words of the first line that begins with these, spaces made one.
#[track_caller]
fn line(lines: &[String], begins: &str) -> String {
    let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines_in_words = lines.iter().map(words);
    lines_in_words
        .find(|line| line.starts_with(begins))
        .unwrap_or_else(|| panic!("no {begins:?} in {lines:#?}"))
}

fn connect(node: &Node, name: &str) -> Client {
    Client::connect(node.mqtt(), &Options::new(Version::V5, name))
}

/// Nodes that know where the others answer questions.
#[track_caller]
fn start(count: usize) -> Flock {
    let flock = Flock::start(count);
    for node in &flock.nodes {
        let look = || http::get(node.http(), "/api/v1/cluster").expect("a ready node answers").body;
        wait_until("all HTTP addresses are known", PATIENCE, look, |body| {
            let status: Value = serde_json::from_str(body).expect("a status is JSON");
            let nodes = status["nodes"].as_array().expect("a status lists nodes");
            nodes.len() == count && nodes.iter().all(|node| node["http"] != "")
        });
    }
    flock
}

#[test]
fn the_subscribers_of_every_node_are_in_one_table() {
    let flock = start(3);
    let mut here = connect(&flock.nodes[0], "here");
    let mut there = connect(&flock.nodes[1], "there");
    here.subscribe("news/+", 0);
    there.subscribe("news/#", 2);
    let options = Options::new(Version::V5, "sleeper").persistent();
    let mut sleeper = Client::connect(flock.nodes[2].mqtt(), &options);
    sleeper.subscribe("news/sport", 1);
    sleeper.die();
    let mut unheard =
        Client::connect(flock.nodes[2].mqtt(), &Options { client_id: "unheard".to_owned(), ..options });
    unheard.subscribe("news/sport", 0);
    unheard.die();
    let gone = |lines: &Vec<String>| lines.iter().filter(|line| line.contains("away")).count() == 2;
    let lines = wait_until("both are away", PATIENCE, || explain(&flock.nodes[0], &["news/sport"]), gone);

    assert_eq!(lines[0], "3 clients on 3 nodes would get it; 1 would not: offline");
    assert_eq!(line(&lines, "node1 here"), "node1 here news/+ 0 sent sent at once");
    assert_eq!(line(&lines, "node2 there"), "node2 there news/# 1 sent sent at once");
    assert!(
        line(&lines, "node3 sleeper")
            .starts_with("node3 sleeper news/sport 1 kept away; kept until it is back")
    );
    assert_eq!(
        line(&lines, "node3 unheard"),
        "node3 unheard news/sport 0 dropped away, and QoS 0 is not kept"
    );
    assert_eq!(line(&lines, "node2 live"), "node2 live news/# yes forwarded");
    assert_eq!(line(&lines, "node3 live"), "node3 live news/sport (durable) yes forwarded");

    // And so it happens.
    here.publish("news/sport", b"goal", 1);
    assert_eq!(here.expect_message().payload, b"goal");
    assert_eq!(there.expect_message().payload, b"goal");
    let mut sleeper =
        Client::connect(flock.nodes[2].mqtt(), &Options::new(Version::V5, "sleeper").persistent());
    assert_eq!(sleeper.expect_message().payload, b"goal");

    assert_eq!(
        explain(&flock.nodes[0], &["other"])[0],
        "nobody on any node would get it: no subscription matches"
    );
    let only = explain(&flock.nodes[0], &["news/sport", "--here"]);
    assert_eq!(only[0], "1 client on 1 node would get it");
}

#[test]
fn a_receiver_is_told_why_its_subscriptions_do_not_match() {
    let flock = start(2);
    let mut fin = connect(&flock.nodes[1], "fin");
    for filter in ["a/b/c", "a/+", "x/#"] {
        fin.subscribe(filter, 1);
    }
    let lines = explain(&flock.nodes[0], &["a/b", "--client", "fin"]);
    assert_eq!(lines[0], "fin would get it at node2: sent at once");
    assert_eq!(line(&lines, "node2 fin"), "node2 fin a/+ 1 sent sent at once");
    let expected = r#"node2 a/b/c the topic ends before level 3, which is to be "c""#;
    assert_eq!(line(&lines, "node2 a/b/c"), expected);
    assert_eq!(line(&lines, "node2 x/#"), r#"node2 x/# level 1 is "a", not "x""#);
    let lines = explain(&flock.nodes[0], &["b", "--client", "fin"]);
    assert_eq!(lines[0], "fin would not get it: none of its subscriptions matches");
    let lines = explain(&flock.nodes[0], &["b", "--client", "gus"]);
    assert_eq!(lines[0], "gus would not get it: no node that answers has a session of that name");
}

#[test]
fn a_killed_node_is_named_and_its_routes_are_not_used() {
    let mut flock = start(3);
    let mut lost = connect(&flock.nodes[1], "lost");
    lost.subscribe("a", 1);
    flock.wait_route("a", &["node2"]);
    assert_eq!(explain(&flock.nodes[0], &["a"])[0], "1 client on 1 node would get it");
    flock.nodes[1].kill();
    flock.wait_state(0, "node2", &["down"]);
    let lines = explain(&flock.nodes[0], &["a"]);
    assert_eq!(
        lines[0],
        "nobody on the nodes that answer would get it: no subscription matches; not known: node2 (down; a subscription there matches)"
    );
    let expected =
        "node2 down a no a subscription there matches, but the node is down and its routes are not used";
    assert_eq!(line(&lines, "node2 down"), expected);

    let address = flock.nodes[0].http().to_string();
    let output = flockmq(&["explain", "a", "--json", "--node", &address]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("the output is JSON");
    let asked = &answer["asked"];
    assert_eq!((&asked["name"], &asked["copies"]), (&"node1".into(), &Value::Array(Vec::new())));
    let hop = asked["nodes"].as_array().unwrap().iter().find(|hop| hop["name"] == "node2").unwrap();
    assert_eq!((&hop["masked"], &hop["forwarded"]), (&true.into(), &false.into()));
    let other = answer["others"].as_array().unwrap().iter().find(|it| it["name"] == "node2").unwrap();
    assert_eq!(other["error"], "down");
    assert_eq!(answer["verdict"], lines[0]);
}

#[test]
fn a_group_shows_who_is_next_and_keeps_its_turn() {
    let mut flock = Flock::empty();
    let at = flock.spawn(Spec { in_cluster: false, ..Spec::new("node1") });
    flock.nodes[at].wait_ready();
    let node = &flock.nodes[at];
    let mut members = ["fin", "gus"].map(|name| connect(node, name));
    members.iter_mut().for_each(|member| member.subscribe("$share/g/jobs", 1));
    let mut publisher = connect(node, "publisher");
    for round in 0..6 {
        let lines = explain(node, &["jobs", "--publisher", "publisher"]);
        assert_eq!(lines, explain(node, &["jobs", "--publisher", "publisher"]), "asking takes no turn");
        assert_eq!(lines[0], "1 client on 1 node would get it");
        let is_fin = line(&lines, "node1 fin").contains(" sent ");
        assert_ne!(is_fin, line(&lines, "node1 gus").contains(" sent "));
        publisher.publish("jobs", b"job", 1);
        assert_eq!(
            members[usize::from(!is_fin)].expect_message().payload,
            b"job",
            "round {round}: {lines:#?}"
        );
    }
}

#[test]
fn questions_that_make_no_sense_are_refused_in_one_line() {
    let mut flock = Flock::empty();
    let at = flock.spawn(Spec { in_cluster: false, ..Spec::new("node1") });
    flock.nodes[at].wait_ready();
    let address = flock.nodes[at].http().to_string();
    let check = |arguments: &[&str], words: &str| {
        let output = flockmq(&[&["explain", "--node", &address], arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.lines().count() == 1, "{output:?}");
        assert!(error.contains(words), "{words:?} is not in {error}");
    };
    check(&["a/#"], "ask about one topic");
    check(&["a/+/b"], "ask about one topic");
    check(&[""], "at least one character");
    check(&["a", "--client", ""], "Client Identifier");
    check(&[&"x".repeat(65_535)], "a node takes");
    check(&[&"/".repeat(65_535)], "a node takes");
    check(&["a", "--qos", "3"], "3");
    // Hostile texts are text, in the question and in the answer.
    let mut hostile = connect(&flock.nodes[at], "\u{9b}31m&client=x");
    let topic = "a b&c=d?e#f%g".replace('#', "é");
    hostile.subscribe(&topic, 0);
    let lines = explain(&flock.nodes[at], &[&topic]);
    assert_eq!(lines[0], "1 client on 1 node would get it");
    assert!(lines.iter().all(|line| !line.contains('\u{9b}')), "{lines:?}");
    let lines = explain(&flock.nodes[at], &["$SYS/broker/version"]);
    assert!(lines[0].starts_with("nobody on any node would get it: only the node itself"), "{lines:?}");
    flock.nodes[at].assert_alive();
}
