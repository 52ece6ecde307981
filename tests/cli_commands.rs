//! The commands as processes against a real node: what they print, and that the exit code is 0 only on success.
#![expect(clippy::disallowed_methods, reason = "process tests run in real time against real processes")]

#[path = "support/ports.rs"]
mod ports;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_flockmq");
/// Far above what anything here takes: machines are slow and shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that stands alone.
struct Node {
    child: Child,
    mqtt: String,
    http: String,
}

impl Node {
    #[track_caller]
    fn start(arguments: &[&str]) -> Self {
        let mqtt = format!("127.0.0.1:{}", ports::free_port());
        let http = format!("127.0.0.1:{}", ports::free_port());
        let child = Command::new(PROGRAM)
            .args(["serve", "--name", "node1", "--listen", &mqtt, "--http", &http])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let node = Self { child, mqtt, http };
        let waited = node.run(&["cluster", "wait", "--nodes", "1"], "");
        assert!(waited.status.success(), "{waited:?}");
        node
    }

    /// Runs a command against this node to its end.
    #[track_caller]
    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let is_cluster = arguments[0] == "cluster";
        let (flag, address) = if is_cluster { ("--node", &self.http) } else { ("--broker", &self.mqtt) };
        run(&[arguments, &[flag, address]].concat(), &[], input)
    }

    #[track_caller]
    fn subscribe(&self, arguments: &[&str]) -> Child {
        subscribe(&self.mqtt, arguments)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `sub` and waits until the broker has acknowledged it.
#[track_caller]
fn subscribe(broker: &str, arguments: &[&str]) -> Child {
    let mut child = Command::new(PROGRAM)
        .args(["sub", "--announce", "--broker", broker, "-W", "60"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "subscribed\n");
    child
}

#[track_caller]
fn run(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    finish(child, arguments)
}

#[track_caller]
fn finish(mut child: Child, what: &[&str]) -> Output {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if deadline < Instant::now() {
            let _ = child.kill();
            panic!("{what:?} did not end: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The command failed, and said so in one line.
#[track_caller]
fn failed(output: &Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(stderr.starts_with("flockmq: "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in {stderr}");
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_message_goes_through_in_every_version_and_quality() {
    let node = Node::start(&[]);
    for version in ["3.1", "3.1.1", "5"] {
        for qos in ["0", "1", "2"] {
            let topic = format!("t/{version}/{qos}");
            let subscriber = node.subscribe(&["-t", &topic, "-q", qos, "-V", version, "-C", "1", "--json"]);
            let arguments = ["pub", "-t", &topic, "-m", "21.5 °C", "-q", qos, "-V", version];
            succeeded(&node.run(&arguments, ""));
            let message = parse(&succeeded(&finish(subscriber, &arguments)));
            let expected = json!({
                "topic": topic, "payload": "21.5 °C", "qos": qos.parse::<u8>().unwrap(), "retain": false,
            });
            assert_eq!(message, expected);
        }
    }
}

#[test]
fn properties_and_bytes_arrive_as_they_were_sent() {
    let node = Node::start(&[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"\xff\x00").unwrap();
    let path = file.path().to_str().unwrap();
    let subscriber = node.subscribe(&["-t", "p/#", "-C", "1", "--json"]);
    let arguments = [
        "pub",
        "-t",
        "p/q",
        "-f",
        path,
        "-D",
        "b=1",
        "-D",
        "a=2",
        "-D",
        "b=3=4",
        "--content-type",
        "x/y",
        "--response-topic",
        "back",
        "--correlation-data",
        "c",
        "--expiry",
        "1000",
    ];
    succeeded(&node.run(&arguments, ""));
    let mut message = parse(&succeeded(&finish(subscriber, &arguments)));
    let expiry = message["properties"]["message_expiry"].take();
    assert!((990..=1000).contains(&expiry.as_u64().unwrap()), "{expiry}");
    assert_eq!(
        message,
        json!({
            "topic": "p/q", "payload_base64": "/wA=", "qos": 0, "retain": false,
            "properties": {
                "content_type": "x/y", "response_topic": "back", "correlation_data": "c",
                "message_expiry": null, "user": [["b", "1"], ["a", "2"], ["b", "3=4"]],
            },
        })
    );
}

#[test]
fn every_line_of_stdin_is_a_message() {
    let node = Node::start(&[]);
    let subscriber = node.subscribe(&["-t", "l", "-C", "3", "-q", "1", "-v"]);
    succeeded(&node.run(&["pub", "-t", "l", "-s", "-q", "1"], "one\n\nthree"));
    assert_eq!(succeeded(&finish(subscriber, &["sub"])), "l one\nl \nl three\n");
}

#[test]
fn a_session_that_is_kept_has_what_came_meanwhile() {
    let node = Node::start(&[]);
    let keep = ["-i", "keeper", "-c", "-t", "k", "-q", "1", "-C", "1"];
    let first = node.subscribe(&keep);
    succeeded(&node.run(&["pub", "-t", "k", "-m", "first", "-q", "1"], ""));
    assert_eq!(succeeded(&finish(first, &keep)), "first\n");
    succeeded(&node.run(&["pub", "-t", "k", "-m", "meanwhile", "-q", "1"], ""));
    let second = node.subscribe(&keep);
    assert_eq!(succeeded(&finish(second, &keep)), "meanwhile\n");
}

#[test]
fn a_retained_message_waits_and_can_be_deleted() {
    let node = Node::start(&[]);
    let publish = |payload: &[&str]| {
        succeeded(&node.run(&[&["pub", "-t", "r", "-r", "-q", "1"], payload].concat(), ""));
    };
    publish(&["-m", "kept"]);
    let message = parse(&succeeded(&node.run(&["sub", "-t", "r", "-C", "1", "-W", "60", "--json"], "")));
    assert_eq!((&message["payload"], &message["retain"]), (&json!("kept"), &json!(true)));
    publish(&["-n"]);
    let nothing = node.run(&["sub", "-t", "r", "-C", "1", "-W", "300ms"], "");
    failed(&nothing, 1, &["only 0 of 1 messages came within 300ms"]);
}

#[test]
fn a_reader_that_leaves_ends_the_subscriber_without_complaint() {
    let node = Node::start(&[]);
    let mut subscriber = node.subscribe(&["-t", "h"]);
    let stdout = subscriber.stdout.take().unwrap();
    succeeded(&node.run(&["pub", "-t", "h", "-m", "seen"], ""));
    let mut reader = BufReader::new(stdout);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "seen\n");
    drop(reader);
    succeeded(&node.run(&["pub", "-t", "h", "-m", "unseen"], ""));
    let output = finish(subscriber, &["sub"]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn what_a_broker_refuses_is_said_with_its_reason() {
    let node = Node::start(&["--allow-anonymous", "false"]);
    for version in ["3.1.1", "5"] {
        let refused = node.run(&["pub", "-t", "a", "-m", "x", "-V", version], "");
        failed(&refused, 1, &["refused the connection", "NotAuthorized (0x87)"]);
        let refused = node.run(&["sub", "-t", "a", "-V", version], "");
        failed(&refused, 1, &["refused the connection"]);
    }
}

#[test]
fn where_nobody_answers_the_remedy_is_named() {
    let nowhere = format!("127.0.0.1:{}", ports::free_port());
    failed(&run(&["pub", "-h", &nowhere, "-t", "a", "-m", "x"], &[], ""), 1, &[&nowhere, "--broker"]);
    failed(&run(&["sub", "-h", &nowhere, "-t", "a"], &[], ""), 1, &[&nowhere, "--broker"]);
    failed(&run(&["cluster", "status", "--node", &nowhere], &[], ""), 1, &[&nowhere, "--node"]);
    let wait = ["cluster", "wait", "--nodes", "1", "--timeout", "0.2", "--node", &nowhere];
    failed(&run(&wait, &[], ""), 1, &["not reached within 200ms", &nowhere]);
}

#[test]
fn usage_errors_are_one_line_and_exit_with_2() {
    failed(&run(&["serv"], &[], ""), 2, &["serv", "serve", "--help"]);
    failed(&run(&["serve", "--lisen", "x"], &[], ""), 2, &["--lisen", "--listen"]);
    failed(&run(&["pub", "-t", "a", "-m", "x", "-q", "3"], &[], ""), 2, &["--qos", "0, 1 or 2"]);
    failed(&run(&["pub", "-t", "a/#", "-m", "x"], &[], ""), 1, &["a/#"]);
}

#[test]
fn a_node_that_stands_alone_is_live_ready_and_converged() {
    let node = Node::start(&[]);
    assert_eq!(succeeded(&node.run(&["cluster", "status"], "")), "node1 stands alone, ready\n");
    let status = parse(&succeeded(&node.run(&["cluster", "status", "--json"], "")));
    assert_eq!((&status["ready"], &status["converged"]), (&json!(true), &json!(true)));
    assert_eq!(status["nodes"][0]["name"], "node1");
    let nodes = parse(&succeeded(&node.run(&["cluster", "nodes", "--json"], "")));
    assert_eq!(nodes["nodes"], status["nodes"]);
    let id = status["id"].as_str().unwrap();
    assert!(succeeded(&node.run(&["cluster", "nodes"], "")).contains(id));
    let routes = parse(&succeeded(&node.run(&["cluster", "routes", "--json"], "")));
    assert_eq!(routes, json!({ "routes": [] }));
    succeeded(&node.run(&["cluster", "wait", "--converged", "--nodes", "1", "--timeout", "5"], ""));
    let two = node.run(&["cluster", "wait", "--converged", "--nodes", "2", "--timeout", "0.3"], "");
    failed(&two, 1, &["not reached within 300ms: 1 of 2 nodes live"]);
}

#[test]
fn a_node_is_found_by_flag_environment_or_file() {
    let node = Node::start(&[]);
    let nowhere = format!("127.0.0.1:{}", ports::free_port());
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |address: &str| {
        std::fs::write(file.path(), format!("[http]\nbind = \"{address}\"")).unwrap();
    };
    let path = file.path().to_str().unwrap();
    let status = ["cluster", "status"];
    let from_file = ["cluster", "status", "--config", path];
    succeeded(&run(&status, &[("FLOCKMQ__HTTP__BIND", &node.http)], ""));
    write(&node.http);
    succeeded(&run(&from_file, &[], ""));
    write(&nowhere);
    failed(&run(&from_file, &[], ""), 1, &[&nowhere]);
    succeeded(&run(&from_file, &[("FLOCKMQ__HTTP__BIND", &node.http)], ""));
    let by_flag = [&from_file[..], &["--node", &node.http]].concat();
    succeeded(&run(&by_flag, &[("FLOCKMQ__HTTP__BIND", &nowhere)], ""));
}

#[test]
fn a_configuration_is_checked_without_starting() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/flockmq.toml");
    let config = config.to_str().unwrap();
    assert_eq!(succeeded(&run(&["check-config", config], &[], "")), format!("{config}: ok\n"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[http]\nbnid = 1").unwrap();
    let path = file.path().to_str().unwrap();
    failed(&run(&["check-config", path], &[], ""), 1, &[&format!("{path}:2: http.bnid"), "\"bind\""]);
    failed(&run(&["serve", "--config", path], &[], ""), 1, &[&format!("{path}:2: http.bnid"), "\"bind\""]);
    let wrong = [("FLOCKMQ__HTTP__BIND", "x")];
    failed(&run(&["check-config", config], &wrong, ""), 1, &["FLOCKMQ__HTTP__BIND: http.bind: "]);
}

#[test]
fn three_nodes_in_one_process_carry_a_message() {
    let output = run(&["demo", "--once"], &[], "");
    let said = succeeded(&output);
    assert!(said.contains("a message that crossed the flock"), "{said}");
    assert!(!said.contains("MQTT "), "no addresses of nodes that are gone: {said}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_demo_can_be_played_with_until_it_is_told_to_stop() {
    let mut demo = Command::new(PROGRAM).arg("demo").stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let nodes: Vec<(String, String)> = said
        .by_ref()
        .take_while(|line| !line.starts_with("Ctrl-C"))
        .filter_map(|line| {
            let (mqtt, http) = line.split_once("MQTT ")?.1.split_once("   HTTP http://")?;
            Some((mqtt.to_owned(), http.to_owned()))
        })
        .collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    let mut subscriber = subscribe(&nodes[2].0, &["-t", "a/+", "-q", "1", "-C", "3"]);
    for (mqtt, http) in &nodes {
        let routes = parse(&succeeded(&run(&["cluster", "routes", "--json", "--node", http], &[], "")));
        assert_eq!(
            routes["routes"],
            json!([{ "filter": "a/+", "share": null, "durable": false, "nodes": ["node3"] }])
        );
        succeeded(&run(&["pub", "-h", mqtt, "-t", "a/b", "-m", "x", "-q", "1"], &[], ""));
    }
    assert_eq!(subscriber.wait().unwrap().code(), Some(0));
    terminate(&demo);
    let output = finish(demo, &["demo"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_node_that_is_told_to_stop_ends_with_success() {
    let mut node = Node::start(&[]);
    let mut subscriber = node.subscribe(&["-t", "a"]);
    terminate(&node.child);
    let status = node.child.wait().unwrap();
    assert!(status.success(), "{status}");
    let mut complaint = String::new();
    subscriber.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!(subscriber.wait().unwrap().code(), Some(1));
    assert!(complaint.contains("ServerShuttingDown (0x8B)"), "{complaint}");
}

fn terminate(child: &Child) {
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn completions_and_manual_pages_are_written() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(succeeded(&run(&["completions", shell], &[], "")).contains("flockmq"), "{shell}");
    }
    assert!(succeeded(&run(&["man"], &[], "")).contains(".TH flockmq"));
    let dir = tempfile::tempdir().unwrap();
    succeeded(&run(&["man", "--dir", dir.path().to_str().unwrap()], &[], ""));
    let pages = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(8 < pages, "{pages} pages");
}

#[test]
fn help_has_examples() {
    for command in [&["--help"][..], &["serve", "--help"], &["pub", "--help"], &["cluster", "wait", "--help"]]
    {
        let help = succeeded(&run(command, &[], ""));
        assert!(help.contains("Examples:\n  flockmq "), "{command:?}: {help}");
    }
}
