//! `flockmq sub`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::client::Client;
use super::cluster::parse_seconds;
use super::console::{Failure, visible};
use super::message::Received;
use super::publish::{Connection, parse_qos};
use super::serve::runtime;
use super::signal;
use crate::codec::{Qos, RetainHandling, SubscribeFilter, SubscribeOptions};
use crate::topic::SubscriptionFilter;

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
#[command(after_help = "Examples:
  flockmq sub -t 'sensors/#' -v
  flockmq sub -t a/b -t c/d -q 1 -C 10 -W 30
  flockmq sub -t '$share/workers/jobs/+' --json | jq .payload

With -C the exit code is 0 only when that many messages have come.")]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Topic Filter; may be repeated
    #[arg(short, long, required = true, value_name = "FILTER")]
    topic: Vec<String>,
    /// Quality of Service that is asked for
    #[arg(short, long, value_name = "0|1|2", default_value = "0", value_parser = parse_qos)]
    qos: Qos,
    /// End after so many messages
    #[arg(short = 'C', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time: seconds, or a duration such as 500ms
    #[arg(short = 'W', long, value_name = "S", value_parser = parse_seconds)]
    wait: Option<Duration>,
    /// Print the topic before each message
    #[arg(short, long)]
    verbose: bool,
    /// Print each message as a line of JSON: topic, qos, retain, payload (or payload_base64), properties
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
    /// Say `subscribed` on stderr once the broker has acknowledged the subscriptions
    #[arg(long)]
    announce: bool,
    /// Continue the session of this Client Identifier, and leave it when we go
    #[arg(short = 'c', long, requires = "id")]
    keep_session: bool,
    /// How long the broker keeps the session after we are gone, in seconds (MQTT 5, with --keep-session)
    #[arg(long, value_name = "S", default_value_t = 3600, requires = "keep_session")]
    session_expiry: u32,
    /// Do not send back what this client publishes (MQTT 5)
    #[arg(long)]
    no_local: bool,
    /// Keep the retain flag as it was published (MQTT 5)
    #[arg(long)]
    retain_as_published: bool,
    /// Retained messages: 0 always, 1 when the subscription is new, 2 never (MQTT 5)
    #[arg(long, value_name = "0|1|2", default_value = "0", value_parser = parse_retain_handling)]
    retain_handling: RetainHandling,
}

fn parse_retain_handling(text: &str) -> Result<RetainHandling, String> {
    match text {
        "0" => Ok(RetainHandling::SendAlways),
        "1" => Ok(RetainHandling::SendIfNew),
        "2" => Ok(RetainHandling::DoNotSend),
        _ => Err("expected 0, 1 or 2".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    for filter in &arguments.topic {
        SubscriptionFilter::parse(filter)
            .map_err(|error| Failure::new(format!("--topic {filter:?}: {error}")))?;
    }
    runtime()?.block_on(async {
        tokio::select! {
            ended = listen(arguments) => ended,
            // Whoever interrupts without a count has seen enough.
            () = signal::stop_requested() => match arguments.count {
                None => Ok(()),
                Some(count) => Err(Failure::new(format!("interrupted before {count} messages came"))),
            },
        }
    })
}

async fn listen(arguments: &Arguments) -> Result<(), Failure> {
    let refused = |error: super::client::ClientError| Failure::new(error.to_string());
    let (address, client_id) = (arguments.connection.address(), arguments.connection.client_id());
    let mut session = arguments.connection.session(&address, &client_id);
    session.connect.clean_start = !arguments.keep_session;
    if arguments.keep_session && arguments.connection.mqtt_version.has_properties() {
        session.connect.properties.session_expiry = Some(arguments.session_expiry);
    }
    let mut client = Client::connect(&session).await.map_err(refused)?;
    let options = SubscribeOptions {
        no_local: arguments.no_local,
        retain_as_published: arguments.retain_as_published,
        retain_handling: arguments.retain_handling,
        ..SubscribeOptions::with_qos(arguments.qos)
    };
    let filters: Vec<SubscribeFilter<'_>> =
        arguments.topic.iter().map(|filter| SubscribeFilter { filter, options }).collect();
    client.subscribe(&filters).await.map_err(refused)?;
    if arguments.announce {
        // Nobody may be listening there, which harms nothing.
        let _ = writeln!(std::io::stderr(), "subscribed");
    }
    let mut seen = 0;
    let ended = {
        let receive = receive(arguments, &mut client, &mut seen);
        match arguments.wait {
            None => receive.await,
            Some(wait) => tokio::time::timeout(wait, receive).await.unwrap_or(Ok(())),
        }
    };
    ended?;
    // What has not been acknowledged by now is sent again to whoever continues the session.
    let _ = client.disconnect().await;
    match (arguments.count, arguments.wait) {
        (Some(count), Some(wait)) if seen < count => {
            let wait = humantime::format_duration(wait);
            Err(Failure::new(format!("only {seen} of {count} messages came within {wait}")))
        }
        _ => Ok(()),
    }
}

async fn receive(arguments: &Arguments, client: &mut Client, seen: &mut u64) -> Result<(), Failure> {
    while arguments.count.is_none_or(|count| *seen < count) {
        let received = client.next_message().await.map_err(|error| Failure::new(error.to_string()))?;
        print(arguments, &received)?;
        *seen += 1;
    }
    Ok(())
}

fn print(arguments: &Arguments, received: &Received) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    if arguments.json {
        writeln!(stdout, "{}", received.to_json())?;
        return Ok(stdout.flush()?);
    }
    let is_terminal = stdout.is_terminal();
    if arguments.verbose {
        write!(stdout, "{} ", visible(&received.topic))?;
    }
    match std::str::from_utf8(&received.payload) {
        // A terminal would act on control characters; a file or pipe gets the bytes as they are.
        Ok(text) if is_terminal => {
            let lines: Vec<String> = text.split('\n').map(visible).collect();
            stdout.write_all(lines.join("\n").as_bytes())?;
        }
        Err(_) if is_terminal => write!(stdout, "({} bytes that are not text)", received.payload.len())?,
        _ => stdout.write_all(&received.payload)?,
    }
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}
