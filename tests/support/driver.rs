//! A long-running program that drives many clients of one library: jobs go in, answers and messages come out,
//! as JSON lines. One process serves a whole test, because starting an interpreter costs more than a case.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::PATIENCE;
use super::clients::{Family, driver_source, installed};
use super::inbox::{Inbox, Message, Properties};
use super::mqtt::Version;

/// One running driver program.
pub(crate) struct Driver {
    name: &'static str,
    child: Child,
    jobs: ChildStdin,
    jobs_sent: u64,
    pub(crate) inbox: Arc<Inbox>,
    connected: HashSet<String>,
}

#[derive(Deserialize)]
struct Line {
    id: Option<u64>,
    event: Option<String>,
    client: Option<String>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    payload: String,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
    #[serde(default)]
    properties: Properties,
}

impl Driver {
    /// paho-mqtt, the Python client.
    pub(crate) fn paho() -> Self {
        Self::python("paho", "paho_driver.py")
    }

    /// A client in Python, driven by a script of `tests/clients`.
    pub(crate) fn python(name: &'static str, script: &str) -> Self {
        let mut command = Command::new(installed("venv/bin/python"));
        command.arg(driver_source(script));
        Self::start(name, command)
    }

    /// mqtt.js, the Node.js client.
    pub(crate) fn mqttjs() -> Self {
        let mut command = Command::new("node");
        command.arg(driver_source("mqttjs_driver.mjs")).arg(installed("node"));
        Self::start("mqttjs", command)
    }

    fn start(name: &'static str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}; run scripts/setup-tests"));
        let jobs = child.stdin.take().expect("stdin is a pipe");
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let inbox = Arc::new(Inbox::default());
        let filled = Arc::clone(&inbox);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                take_in(&filled, &line);
            }
            filled.end();
        });
        Self { name, child, jobs, jobs_sent: 0, inbox, connected: HashSet::new() }
    }

    /// Sends a job and waits for its answer.
    #[track_caller]
    pub(crate) fn answer(&mut self, mut job: Value) -> Value {
        self.jobs_sent += 1;
        job["id"] = json!(self.jobs_sent);
        writeln!(self.jobs, "{job}").unwrap_or_else(|error| panic!("{} died: {error}", self.name));
        let answer = self.inbox.event(&format!("answer {}", self.jobs_sent), PATIENCE);
        let answer = answer.unwrap_or_else(|| panic!("{} did not answer {}", self.name, job["do"]));
        serde_json::from_str(&answer).expect("an answer is JSON")
    }

    /// The same; a failed job fails the test.
    #[track_caller]
    fn run(&mut self, job: Value) {
        let answer = self.answer(job.clone());
        assert!(answer["error"].is_null(), "{} failed at {job}: {answer}", self.name);
    }

    #[track_caller]
    fn connect(&mut self, client: &str, at: SocketAddr, version: Version) {
        if self.connected.insert(client.to_owned()) {
            self.run(json!({
                "do": "connect", "client": client, "version": version.name(),
                "host": at.ip().to_string(), "port": at.port(),
            }));
        }
    }
}

fn take_in(inbox: &Inbox, text: &str) {
    let line: Line =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("a driver said {text:?}: {error}"));
    if let Some(id) = line.id {
        inbox.add_event(format!("answer {id}"), text.to_owned());
        return;
    }
    let client = line.client.expect("an event names its client");
    if line.event.as_deref() == Some("closed") {
        inbox.add_event(format!("closed {client}"), line.reason);
        return;
    }
    let payload = BASE64.decode(&line.payload).expect("the payload is base64");
    inbox.add_message(
        &client,
        Message {
            topic: line.topic,
            payload,
            qos: line.qos,
            retain: line.retain,
            properties: line.properties,
        },
    );
}

impl Family for Driver {
    fn name(&self) -> &'static str {
        self.name
    }

    fn subscribe(&mut self, name: &str, at: SocketAddr, version: Version, filter: &str, qos: u8) {
        self.connect(name, at, version);
        self.run(json!({"do": "subscribe", "client": name, "filter": filter, "qos": qos}));
    }

    fn publish(
        &mut self,
        at: SocketAddr,
        version: Version,
        topic: &str,
        payloads: &[&str],
        qos: u8,
        properties: &Properties,
    ) {
        let client = format!("{}-publisher-{}-{}", self.name, at.port(), version.name());
        self.connect(&client, at, version);
        for payload in payloads {
            self.run(json!({
                "do": "publish", "client": client, "topic": topic, "payload": BASE64.encode(payload),
                "qos": qos, "properties": properties,
            }));
        }
    }

    fn received(&self, name: &str, count: usize, limit: Duration) -> Vec<Message> {
        self.inbox.messages(name, count, limit)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about an error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
