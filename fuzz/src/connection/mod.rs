//! A whole node without sockets: bytes of three clients, in any order and cut anywhere, go through the server's
//! conversations to a broker, while time passes. A bystander keeps getting its messages, whatever the three send.

mod bystander;
mod client;
mod node;
mod packets;
mod pipe;

use arbitrary::{Result, Unstructured};

use super::packets::framed;
use bystander::Bystander;
use client::Client;
use node::Node;

const CLIENTS: usize = 3;
/// Steps of one history.
const STEPS_MAX: usize = 200;
/// Steps between two messages of the bystander.
const STEPS_BETWEEN: usize = 8;

/// A history of one node.
pub fn check(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        .build()
        .expect("a runtime without I/O can be built");
    runtime.block_on(history(input));
}

async fn history(input: &[u8]) {
    let mut choices = Unstructured::new(input);
    let Ok(node) = Node::new(&mut choices) else { return };
    let mut bystander = Bystander::new(&node).await;
    let mut clients: [Client; CLIENTS] = Default::default();
    for step in 0..STEPS_MAX {
        // The input is used up.
        if choices.is_empty() || act(&node, &mut clients, &mut choices).await.is_err() {
            break;
        }
        node.settle().await;
        clients.iter_mut().for_each(Client::read);
        if step % STEPS_BETWEEN == 0 {
            bystander.check(&node).await;
        }
    }
    bystander.check(&node).await;
    drop(clients);
    node.settle().await;
    bystander.check(&node).await;
    node.stop().await;
    bystander.check_end();
}

/// One step of one client, or time.
async fn act(node: &Node, clients: &mut [Client; CLIENTS], choices: &mut Unstructured<'_>) -> Result<()> {
    let kind = choices.int_in_range(0..=15_u8)?;
    if kind == 8 {
        let milliseconds = *choices.choose(&[1, 600, 1_600, 10_500, 100_000, 4_000_000])?;
        node.pass(milliseconds).await;
        return Ok(());
    }
    let index = choices.int_in_range(0..=CLIENTS - 1)?;
    let client = &mut clients[index];
    if matches!(kind, 4 | 5 | 7 | 12..) && !client.is_open() {
        client.send(node, &packets::plain_connect(["x", "y", "z"][index]));
    }
    let version = client.version();
    match kind {
        2 => {
            let first_byte = choices.arbitrary()?;
            let body = part(choices)?;
            client.send(node, &framed(first_byte, body));
        }
        3 => client.send(node, &packets::connect(choices)?),
        4 | 12 => client.send(node, &packets::subscribe(version, choices)?),
        5 | 13 | 14 => client.send(node, &packets::publish(version, choices)?),
        6 | 15 => client.acknowledge(node),
        7 => client.send(node, &packets::other(version, choices)?),
        9 => client.end(choices.int_in_range(0..=2_u8)?),
        10 => client.set_room(*choices.choose(&[usize::MAX, 0, 1, 100])?),
        11 => client.cut(choices.arbitrary()?),
        _ => {
            let bytes = part(choices)?;
            client.send(node, bytes);
        }
    }
    Ok(())
}

/// A part of the input, as it is.
fn part<'a>(choices: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let len = usize::from(choices.arbitrary::<u8>()?);
    choices.bytes(len.min(choices.len()))
}
