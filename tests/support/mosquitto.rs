//! `mosquitto_pub` and `mosquitto_sub` (Debian package `mosquitto-clients`), one process per client.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::PATIENCE;
use super::clients::Family;
use super::inbox::{Inbox, Message, Properties};
use super::mqtt::Version;

/// All mosquitto clients of one test.
#[derive(Default)]
pub(crate) struct Mosquitto {
    subscribers: HashMap<String, Child>,
    inbox: Arc<Inbox>,
}

fn version_argument(version: Version) -> &'static str {
    match version {
        Version::V31 => "mqttv31",
        Version::V311 => "mqttv311",
        Version::V5 => "mqttv5",
    }
}

pub(crate) fn command(program: &str, at: SocketAddr, version: Version) -> Command {
    // Line by line, or mosquitto_sub would keep the news of its SUBACK to itself.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program]);
    command.args(["-h", &at.ip().to_string(), "-p", &at.port().to_string(), "-V", version_argument(version)]);
    command
}

fn property_arguments(properties: &Properties) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut add = |words: &[&str]| {
        arguments.extend(["-D", "publish"].map(str::to_owned));
        arguments.extend(words.iter().map(|&word| word.to_owned()));
    };
    if let Some(format) = properties.payload_format {
        add(&["payload-format-indicator", &format.to_string()]);
    }
    if let Some(seconds) = properties.message_expiry {
        add(&["message-expiry-interval", &seconds.to_string()]);
    }
    if let Some(text) = &properties.content_type {
        add(&["content-type", text]);
    }
    if let Some(text) = &properties.response_topic {
        add(&["response-topic", text]);
    }
    if let Some(text) = &properties.correlation_data {
        add(&["correlation-data", text]);
    }
    for (key, value) in &properties.user {
        add(&["user-property", key, value]);
    }
    arguments
}

/// A line of `mosquitto_sub -F %j`.
pub(crate) fn message(line: &str) -> Message {
    let json: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("mosquitto_sub said {line:?}: {error}"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let number = |value: &Value| value.as_u64();
    let seen = &json["properties"];
    let user = seen["user-properties"].as_object().map(|pairs| {
        pairs.iter().map(|(key, value)| (key.clone(), text(value).unwrap_or_default())).collect()
    });
    Message {
        topic: text(&json["topic"]).expect("a message has a topic"),
        payload: text(&json["payload"]).unwrap_or_default().into_bytes(),
        qos: number(&json["qos"]).and_then(|qos| u8::try_from(qos).ok()).expect("a QoS"),
        retain: number(&json["retain"]) == Some(1),
        properties: Properties {
            payload_format: number(&seen["payload-format-indicator"]).and_then(|n| u8::try_from(n).ok()),
            message_expiry: number(&seen["message-expiry-interval"]).and_then(|n| u32::try_from(n).ok()),
            content_type: text(&seen["content-type"]),
            response_topic: text(&seen["response-topic"]),
            correlation_data: text(&seen["correlation-data"]),
            user: user.unwrap_or_default(),
            ..Properties::default()
        },
    }
}

impl Family for Mosquitto {
    fn name(&self) -> &'static str {
        "mosquitto"
    }

    fn subscribe(&mut self, name: &str, at: SocketAddr, version: Version, filter: &str, qos: u8) {
        let mut child = command("mosquitto_sub", at, version)
            .args(["-i", name, "-t", filter, "-q", &qos.to_string(), "-d", "-F", "%j"])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("mosquitto_sub does not start: {error}; run scripts/setup-tests"));
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let inbox = Arc::clone(&self.inbox);
        let client = name.to_owned();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if line.starts_with('{') {
                    inbox.add_message(&client, message(&line));
                } else if line.contains("received SUBACK") {
                    inbox.add_event(format!("subscribed {client}"), String::new());
                }
            }
        });
        self.subscribers.insert(name.to_owned(), child);
        let subscribed = self.inbox.event(&format!("subscribed {name}"), PATIENCE);
        assert!(subscribed.is_some(), "mosquitto_sub {name} got no SUBACK from {at}");
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
        let mut command = command("mosquitto_pub", at, version);
        command.args(["-t", topic, "-q", &qos.to_string(), "-l"]);
        if version == Version::V5 {
            command.args(property_arguments(properties));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("mosquitto_pub does not start: {error}; run scripts/setup-tests"));
        let mut lines = child.stdin.take().expect("stdin is a pipe");
        for payload in payloads {
            writeln!(lines, "{payload}").expect("mosquitto_pub reads its input");
        }
        drop(lines);
        let output = child.wait_with_output().expect("mosquitto_pub can be waited for");
        assert!(output.status.success(), "mosquitto_pub to {at} failed: {output:?}");
    }

    fn received(&self, name: &str, count: usize, limit: Duration) -> Vec<Message> {
        self.inbox.messages(name, count, limit)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        for child in self.subscribers.values_mut() {
            // It may have ended by itself; there is nothing to do about an error here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
