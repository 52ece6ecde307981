//! `flockmq pub`.

use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::time::Duration;

use super::client::{Client, ClientError, Session};
use super::cluster::parse_seconds;
use super::console::Failure;
use super::serve::runtime;
use crate::codec::{Connect, ProtocolVersion, Publish, Qos};
use crate::topic::TopicRef;

/// A message of the protocol's largest size; a file beyond it is not read.
const PAYLOAD_BYTES_MAX: u64 = 256 << 20;

/// What `pub` and `sub` have in common.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Connection {
    /// The broker
    #[arg(
        short = 'h',
        long,
        visible_alias = "host",
        value_name = "HOST[:PORT]",
        default_value = "127.0.0.1:1883"
    )]
    broker: String,
    /// Version of the protocol
    #[arg(short = 'V', long, value_name = "3.1|3.1.1|5", default_value = "5", value_parser = parse_version)]
    pub(super) mqtt_version: ProtocolVersion,
    /// Client Identifier; without it a random one
    #[arg(short = 'i', long, value_name = "ID")]
    id: Option<String>,
    /// User Name
    #[arg(short = 'u', long, value_name = "NAME")]
    username: Option<String>,
    /// Password; the environment hides it from other users of the machine
    #[arg(short = 'P', long, value_name = "PASSWORD", env = "FLOCKMQ_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Keep Alive in seconds; 0 turns it off
    #[arg(short = 'k', long, value_name = "S", default_value_t = 60)]
    keep_alive: u16,
    /// The longest wait for each answer of the broker: seconds, or a duration such as 500ms
    #[arg(long, value_name = "S", default_value = "10", value_parser = parse_seconds)]
    timeout: Duration,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

impl Connection {
    /// `host:port`.
    pub(super) fn address(&self) -> String {
        let has_port = match self.broker.rsplit_once(':') {
            Some((host, _)) => !host.contains(':') || host.ends_with(']'),
            None => false,
        };
        match (has_port, self.broker.contains(':') && !self.broker.starts_with('[')) {
            (true, _) => self.broker.clone(),
            (false, true) => format!("[{}]:1883", self.broker),
            (false, false) => format!("{}:1883", self.broker),
        }
    }

    pub(super) fn client_id(&self) -> String {
        self.id.clone().unwrap_or_else(|| format!("flockmq-{:08x}", rand::random::<u32>()))
    }

    pub(super) fn session<'a>(&'a self, address: &'a str, client_id: &'a str) -> Session<'a> {
        let mut connect = Connect::new(self.mqtt_version, client_id);
        connect.clean_start = true;
        connect.keep_alive = self.keep_alive;
        connect.user_name = self.username.as_deref();
        connect.password = self.password.as_ref().map(String::as_bytes);
        Session { address, connect, patience: self.timeout }
    }
}

pub(super) fn parse_version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "3.1" | "31" | "mqttv31" => Ok(ProtocolVersion::V31),
        "3.1.1" | "311" | "4" | "mqttv311" => Ok(ProtocolVersion::V311),
        "5" | "5.0" | "mqttv5" => Ok(ProtocolVersion::V5),
        _ => Err("expected 3.1, 3.1.1 or 5".to_owned()),
    }
}

pub(super) fn parse_qos(text: &str) -> Result<Qos, String> {
    text.parse().ok().and_then(Qos::from_u8).ok_or_else(|| "expected 0, 1 or 2".to_owned())
}

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
#[command(group = clap::ArgGroup::new("payload").required(true).args(["message", "file", "lines", "null"]))]
#[command(after_help = "Examples:
  flockmq pub -t sensors/1 -m 21.5
  flockmq pub -h 127.0.0.1:1884 -t sensors/1 -m 21.5 -q 2 -r
  flockmq pub -t pictures/1 -f cat.jpg --content-type image/jpeg -D camera=door
  journalctl -f | flockmq pub -t logs/host -s -q 1

The exit code is 0 only when the broker has acknowledged every message (at QoS 0: when all are sent).")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Topic Name
    #[arg(short, long)]
    topic: String,
    /// The message
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<String>,
    /// The message is this file
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// Each line of stdin is a message
    #[arg(short = 's', long)]
    lines: bool,
    /// The message is empty; with --retain it deletes the retained one
    #[arg(short = 'n', long)]
    null: bool,
    /// Quality of Service
    #[arg(short, long, value_name = "0|1|2", default_value = "0", value_parser = parse_qos)]
    qos: Qos,
    /// The broker keeps the message for later subscribers
    #[arg(short, long)]
    retain: bool,
    /// User Property (MQTT 5); may be repeated
    #[arg(short = 'D', long, value_name = "KEY=VALUE", value_parser = parse_property)]
    property: Vec<(String, String)>,
    /// Message Expiry Interval in seconds (MQTT 5)
    #[arg(long, value_name = "S")]
    expiry: Option<u32>,
    /// Content Type (MQTT 5)
    #[arg(long, value_name = "TEXT")]
    content_type: Option<String>,
    /// Response Topic (MQTT 5)
    #[arg(long, value_name = "TOPIC")]
    response_topic: Option<String>,
    /// Correlation Data (MQTT 5)
    #[arg(long, value_name = "TEXT")]
    correlation_data: Option<String>,
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.check()?;
    runtime()?.block_on(publish(arguments)).map_err(|error| match error {
        Stop::Client(error) => Failure::new(error.to_string()),
        Stop::Input(message) => Failure::new(message),
    })
}

/// Why publishing ended early.
enum Stop {
    Client(ClientError),
    Input(String),
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

async fn publish(arguments: &Arguments) -> Result<(), Stop> {
    let user: Vec<(&str, &str)> =
        arguments.property.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let (address, client_id) = (arguments.connection.address(), arguments.connection.client_id());
    let single = match &arguments.file {
        Some(file) => Some(read_file(file)?),
        None if arguments.lines => None,
        None => Some(arguments.message.clone().unwrap_or_default().into_bytes()),
    };
    let mut client = Client::connect(&arguments.connection.session(&address, &client_id)).await?;
    match single {
        Some(payload) => client.publish(arguments.packet(&payload, &user)).await?,
        None => {
            while let Some(line) = next_line().await? {
                client.publish(arguments.packet(&line, &user)).await?;
            }
        }
    }
    Ok(client.disconnect().await?)
}

fn read_file(file: &PathBuf) -> Result<Vec<u8>, Stop> {
    let unreadable = |error: std::io::Error| Stop::Input(format!("cannot read {}: {error}", file.display()));
    let mut payload = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload).map_err(unreadable)?;
    if PAYLOAD_BYTES_MAX < payload.len() as u64 {
        return Err(Stop::Input(format!("{} is too large for a message", file.display())));
    }
    Ok(payload)
}

/// A line of stdin without its line end; `None` at the end.
async fn next_line() -> Result<Option<Vec<u8>>, Stop> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = Vec::new();
        let stdin = std::io::stdin().lock();
        let read = stdin.take(PAYLOAD_BYTES_MAX).read_until(b'\n', &mut line);
        read.map(|len| (len != 0).then_some(line))
    });
    let broken = |error: &dyn std::fmt::Display| Stop::Input(format!("cannot read stdin: {error}"));
    let line = read.await.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
    Ok(line.map(|mut line| {
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        line
    }))
}

impl Arguments {
    fn check(&self) -> Result<(), Failure> {
        TopicRef::parse(&self.topic)
            .map_err(|error| Failure::new(format!("--topic {:?}: {error}", self.topic)))?;
        let needs_properties = !self.property.is_empty()
            || self.expiry.is_some()
            || self.content_type.is_some()
            || self.response_topic.is_some()
            || self.correlation_data.is_some();
        if needs_properties && !self.connection.mqtt_version.has_properties() {
            return Err(Failure::new("properties are new in MQTT 5: leave -V away, or the properties"));
        }
        Ok(())
    }

    fn packet<'a>(&'a self, payload: &'a [u8], user: &'a [(&'a str, &'a str)]) -> Publish<'a> {
        let mut publish = Publish::new(&self.topic, payload);
        publish.qos = self.qos;
        publish.retain = self.retain;
        publish.properties.user = user.into();
        publish.properties.message_expiry = self.expiry;
        publish.properties.content_type = self.content_type.as_deref();
        publish.properties.response_topic = self.response_topic.as_deref();
        publish.properties.correlation_data = self.correlation_data.as_ref().map(String::as_bytes);
        publish
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Arguments {
        Line::try_parse_from(std::iter::once("pub").chain(line.split(' '))).unwrap().arguments
    }

    #[test]
    fn the_port_may_be_left_away() {
        let check = |broker: &str, expected: &str| {
            let arguments = parse(&format!("-t a -m x -h {broker}"));
            assert_eq!(arguments.connection.address(), expected);
        };
        check("localhost", "localhost:1883");
        check("localhost:1884", "localhost:1884");
        check("10.0.0.5", "10.0.0.5:1883");
        check("::1", "[::1]:1883");
        check("[::1]", "[::1]:1883");
        check("[::1]:1884", "[::1]:1884");
        assert_eq!(parse("-t a -m x --host b:1").connection.address(), "b:1");
    }

    #[test]
    fn one_of_the_kinds_of_message_is_needed() {
        let check = |line: &str, ok: bool| {
            let parsed = Line::try_parse_from(std::iter::once("pub").chain(line.split(' ')));
            assert_eq!(parsed.is_ok(), ok, "{line}");
        };
        check("-t a -m x", true);
        check("-t a -m -5", true);
        check("-t a -n -r", true);
        check("-t a -s", true);
        check("-t a -f x", true);
        check("-t a", false);
        check("-t a -m x -n", false);
        check("-m x", false);
        check("-t a -m x -q 3", false);
        check("-t a -m x -V 6", false);
        check("-t a -m x -D novalue", false);
    }

    #[test]
    fn what_cannot_be_sent_is_said_before_connecting() {
        let check = |line: &str, ok: bool| assert_eq!(parse(line).check().is_ok(), ok, "{line}");
        check("-t a/b -m x -D k=v", true);
        check("-t a/+ -m x", false);
        check("-t a -m x -D k=v -V 3.1.1", false);
        check("-t a -m x -V 3.1", true);
    }
}
