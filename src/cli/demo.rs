//! `flockmq demo`: three nodes in one process, a message through them, and time to play.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::client::{Client, ClientError, Session};
use super::cluster::{Goal, wait};
use super::console::{Failure, say};
use super::serve::runtime;
use super::{logging, signal};
use crate::codec::{Connect, ProtocolVersion, Publish, Qos, SubscribeFilter, SubscribeOptions};
use crate::config::{self, Config, Overrides};
use crate::net::clock::now;
use crate::net::{TcpListener, UdpSocket};
use crate::node::Node;

const NODES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "flock/hello";
const PAYLOAD: &str = "a message that crossed the flock";

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  flockmq demo
  flockmq demo --once

The nodes are on free ports of loopback and keep nothing on disk.")]
pub(super) struct Arguments {
    /// End after the message has arrived, instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
    /// What the three nodes write about themselves: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "error")]
    log_level: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let mut nodes = Vec::with_capacity(NODES);
        let played = tokio::select! {
            played = play(arguments, &mut nodes) => played,
            () = signal::stop_requested() => Ok(()),
        };
        for node in nodes {
            node.stop().await;
        }
        played
    })
}

/// Everything until the end of the demonstration. The nodes are the caller's to stop, however it ends.
async fn play(arguments: &Arguments, nodes: &mut Vec<Node>) -> Result<(), Failure> {
    let begun = now();
    let seeds = free_ports(NODES).await?;
    for (n, listen) in seeds.iter().enumerate() {
        let config = node_config(n + 1, *listen, &seeds, &arguments.log_level)?;
        if n == 0 {
            logging::start(&config.log);
        }
        nodes.push(Node::start(config).await.map_err(|error| Failure::new(error.to_string()))?);
    }
    say(step(begun, "three nodes started, each with the same seed list"))?;
    let mqtt: Vec<String> = nodes.iter().flat_map(Node::mqtt_addresses).map(SocketAddr::to_string).collect();

    let begun = now();
    let goal = Goal { converged: true, nodes: Some(NODES), timeout: PATIENCE };
    for node in nodes.iter() {
        wait(&node.http_address().to_string(), &goal).await?;
    }
    say(step(begun, "found each other: every node is live and has all routes"))?;

    send(&mqtt).await?;

    if arguments.once {
        return Ok(());
    }
    say("\nThree nodes to play with:")?;
    for (n, (node, mqtt)) in nodes.iter().zip(&mqtt).enumerate() {
        say(format_args!("  node{}   MQTT {mqtt}   HTTP http://{}", n + 1, node.http_address()))?;
    }
    say(format_args!(
        "\n  flockmq sub -h {} -t 'flock/#' -v\n  flockmq pub -h {} -t flock/1 -m hello\n  \
         flockmq cluster status --node {}",
        mqtt[2],
        mqtt[0],
        nodes[0].http_address()
    ))?;
    say("\nCtrl-C stops them.")?;
    std::future::pending().await
}

/// Subscribes at the last node and publishes at the first.
async fn send(mqtt: &[String]) -> Result<(), Failure> {
    let refused = |error: ClientError| Failure::new(error.to_string());
    let (first, last) = (&mqtt[0], &mqtt[mqtt.len() - 1]);
    let mut subscriber = Client::connect(&session(last, "demo-subscriber")).await.map_err(refused)?;
    let begun = now();
    let filter = SubscribeFilter { filter: TOPIC, options: SubscribeOptions::with_qos(Qos::AtLeastOnce) };
    subscriber.subscribe(&[filter]).await.map_err(refused)?;
    say(step(
        begun,
        format_args!("subscribed to {TOPIC} at node3: with the SUBACK every node knows the route"),
    ))?;

    let mut publisher = Client::connect(&session(first, "demo-publisher")).await.map_err(refused)?;
    let begun = now();
    let mut publish = Publish::new(TOPIC, PAYLOAD.as_bytes());
    publish.qos = Qos::AtLeastOnce;
    publisher.publish(publish).await.map_err(refused)?;
    say(step(begun, "published at node1 and acknowledged"))?;
    let received = tokio::time::timeout(PATIENCE, subscriber.next_message()).await;
    let received =
        received.unwrap_or(Err(ClientError::Silent("message at node3", PATIENCE))).map_err(refused)?;
    let text = String::from_utf8_lossy(&received.payload);
    say(step(begun, format_args!("arrived at node3, since the publish: {text:?}")))?;
    publisher.disconnect().await.map_err(refused)?;
    subscriber.disconnect().await.map_err(refused)
}

fn session<'a>(address: &'a str, client_id: &'a str) -> Session<'a> {
    let mut connect = Connect::new(ProtocolVersion::V5, client_id);
    connect.clean_start = true;
    connect.keep_alive = 60;
    Session { address, connect, patience: PATIENCE }
}

fn step(begun: Instant, what: impl std::fmt::Display) -> String {
    let took = now().saturating_duration_since(begun);
    format!("{:>8.1} ms  {what}", took.as_secs_f64() * 1_000.0)
}

fn node_config(
    n: usize,
    listen: SocketAddr,
    seeds: &[SocketAddr],
    log_level: &str,
) -> Result<Config, Failure> {
    let seeds: Vec<String> = seeds.iter().map(SocketAddr::to_string).collect();
    let anywhere = "127.0.0.1:0";
    let overrides = Overrides::default()
        .with_listeners("demo", [anywhere.to_owned()])
        .with("demo", "http.bind", Some(anywhere))
        .with("demo", "node.name", Some(format!("node{n}")))
        .with("demo", "cluster.name", Some("demo"))
        .with("demo", "cluster.listen", Some(listen.to_string()))
        .with("demo", "cluster.node_address", Some(seeds.join(",")))
        .with("--log-level", "log.level", Some(log_level));
    config::load(None, [], &overrides).map_err(|error| Failure::new(error.to_string()))
}

/// Ports of loopback that are free for TCP and UDP: the seeds have to be known before any node starts.
async fn free_ports(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let mut held = Vec::with_capacity(count);
    let mut refused = None;
    for _ in 0..100 {
        match try_port().await {
            // Each is held until all are found, so that none comes twice.
            Ok(port) => held.push(port),
            Err(error) => refused = Some(error),
        }
        if held.len() == count {
            return Ok(held.into_iter().map(|(address, _, _)| address).collect());
        }
    }
    let error = refused.map(|error| format!(": {error}")).unwrap_or_default();
    Err(Failure::new(format!("no port of loopback is free{error}")))
}

async fn try_port() -> std::io::Result<(SocketAddr, TcpListener, UdpSocket)> {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = tcp.local_addr()?;
    let udp = UdpSocket::bind(address).await?;
    Ok((address, tcp, udp))
}
