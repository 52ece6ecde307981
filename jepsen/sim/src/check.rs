//! What must hold, as functions of what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flockmq::metrics::{DropReason, ReasonLabel};
use flockmq::topic::{TopicFilter, TopicRef};

use crate::history::{History, Life, Message, Subscription};
use crate::host::Slot;

/// Every node lives, sees every other one as live and says that all agree.
pub fn convergence(slots: &[Arc<Slot>]) -> Result<(), String> {
    for slot in slots {
        let node = slot.node;
        let running = slot.running().ok_or_else(|| format!("node{node} is not up"))?;
        let status = running.cluster.status();
        let strange = status.nodes.iter().find(|it| it.state != "live");
        if let Some(it) = strange {
            return Err(format!("node{node} sees {} as {} ({})", it.name, it.state, it.reason));
        }
        if status.nodes.len() != slots.len() {
            return Err(format!("node{node} knows {} nodes", status.nodes.len()));
        }
        if !status.converged {
            return Err(format!("node{node} does not agree: {:?}", status.nodes));
        }
        if !running.cluster.is_ready() {
            return Err(format!("node{node} is not ready"));
        }
    }
    Ok(())
}

/// Copies to peers that wait for their acknowledgement, on all nodes.
pub fn unacknowledged(slots: &[Arc<Slot>]) -> u64 {
    let statuses = slots.iter().filter_map(|slot| Some(slot.running()?.cluster.status()));
    statuses.flat_map(|status| status.nodes).map(|node| node.unacked).sum()
}

/// Every node's table is what the clients of all nodes have subscribed to: no route is missing, none is false.
pub fn routes(slots: &[Arc<Slot>], history: &History) -> Result<(), String> {
    let lives: BTreeSet<Life> = slots.iter().filter_map(|slot| Some(slot.running()?.life)).collect();
    let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for subscription in &history.subscriptions {
        if subscription.ending.is_none() && lives.contains(&subscription.life) {
            wanted.entry(&subscription.filter).or_default().insert(format!("node{}", subscription.life.node));
        }
    }
    for slot in slots {
        let Some(running) = slot.running() else { continue };
        let listing = running.cluster.routes();
        let found: BTreeMap<&str, BTreeSet<String>> = listing
            .iter()
            .map(|route| (route.filter.as_str(), route.nodes.iter().cloned().collect()))
            .collect();
        if found != wanted {
            return Err(format!("node{} has the routes {found:?}, not {wanted:?}", slot.node));
        }
    }
    Ok(())
}

/// Nothing is lost between nodes without being counted: what was forwarded has arrived or was given up. For runs in
/// which no node crashed, since a crash takes its counters with it.
pub fn ledger(slots: &[Arc<Slot>]) -> Result<(), String> {
    let (mut forwarded, mut arrived, mut given_up) = (0, 0, 0);
    for running in slots.iter().filter_map(|slot| slot.running()) {
        forwarded += running.metrics.messages_forwarded.get();
        arrived += running.metrics.messages_from_peers.get();
        given_up += running.metrics.dropped(DropReason::PeerDown).get();
    }
    // What was given up may have arrived all the same: its acknowledgement was under way.
    if arrived <= forwarded && forwarded <= arrived + given_up {
        return Ok(());
    }
    Err(format!("{forwarded} copies were forwarded, {arrived} arrived and {given_up} were given up"))
}

/// No node has found a table that differs from its owner's at the same position: that would be a bug.
pub fn alarms(slots: &[Arc<Slot>]) -> Result<(), String> {
    for running in slots.iter().filter_map(|slot| slot.running()) {
        let label = ReasonLabel { reason: "digest" };
        let alarms = running.metrics.cluster_repairs.get_or_create(&label).get();
        if alarms > 0 {
            return Err(format!("{:?} found {alarms} tables that differ at the same position", running.life));
        }
    }
    Ok(())
}

/// What was promised at any moment: order, no copy twice, nothing that was not asked for, and the SUBACK.
pub fn promises(history: &History, running_drops: &[(Life, u64)]) -> Result<(), String> {
    once_and_in_order(history)?;
    wanted(history)?;
    kept(history, running_drops)
}

fn once_and_in_order(history: &History) -> Result<(), String> {
    let mut arrived = BTreeSet::new();
    let mut last: BTreeMap<(Life, u32, Life, u32, &str, u8), usize> = BTreeMap::new();
    for delivery in &history.deliveries {
        let message = &history.messages[delivery.message];
        if !arrived.insert((delivery.life, delivery.client, delivery.message)) {
            return Err(format!("{delivery:?} came twice: {message:?}"));
        }
        let (to, from) = ((delivery.life, delivery.client), (message.life, message.client));
        // A message at QoS 0 may overtake those that wait for the client's acknowledgements [MQTT5-4.6.0-6].
        let stream = (to.0, to.1, from.0, from.1, message.topic.as_str(), delivery.qos as u8);
        if let Some(before) = last.insert(stream, delivery.message)
            && delivery.message <= before
        {
            let earlier = &history.messages[before];
            return Err(format!("{delivery:?} came out of order: {message:?}, after {before}, {earlier:?}"));
        }
    }
    Ok(())
}

/// Nothing comes to a client that has not asked for it.
fn wanted(history: &History) -> Result<(), String> {
    for delivery in &history.deliveries {
        let message = &history.messages[delivery.message];
        let is_wanted = history.subscriptions.iter().any(|subscription| {
            (subscription.life, subscription.client) == (delivery.life, delivery.client)
                && matches(subscription, message)
                && subscription.ended.is_none_or(|ended| delivery.at <= ended)
        });
        if !is_wanted {
            return Err(format!("nobody asked for this: {delivery:?} {message:?}"));
        }
    }
    Ok(())
}

/// Copies that must arrive: pairs of a message and the place of a subscription that has it coming.
///
/// The subscription was acknowledged before the message was sent, and either both are on one node, or every live
/// peer was reached, the publisher's node among them, and that node did not take the other one for gone when it
/// forwarded. Neither life ended, and nobody unsubscribed.
pub fn promised(history: &History) -> Vec<(usize, usize)> {
    let mut promised = Vec::new();
    for (number, message) in history.messages.iter().enumerate() {
        if history.crashes.contains_key(&message.life) {
            continue;
        }
        let mut clients: BTreeSet<(Life, u32)> = BTreeSet::new();
        for (place, subscription) in history.subscriptions.iter().enumerate() {
            let is_promised = subscription.ending.is_none()
                && subscription.acknowledged.is_some_and(|at| at < message.sent)
                && !history.crashes.contains_key(&subscription.life)
                && matches(subscription, message)
                && (subscription.life == message.life || is_reachable(subscription, message));
            if is_promised && clients.insert((subscription.life, subscription.client)) {
                promised.push((number, place));
            }
        }
    }
    promised
}

fn is_reachable(subscription: &Subscription, message: &Message) -> bool {
    let was_reached = subscription
        .reached
        .get(&message.life.node)
        .is_some_and(|(incarnation, state)| *incarnation == message.life.incarnation && *state == "live");
    let is_forwarded = message.view.get(&subscription.life.node).is_some_and(|(incarnation, state)| {
        *incarnation == subscription.life.incarnation && !matches!(*state, "down" | "left")
    });
    was_reached && is_forwarded
}

/// Every promised copy arrived, or its publisher's node has counted that it did not.
fn kept(history: &History, running_drops: &[(Life, u64)]) -> Result<(), String> {
    let arrived: BTreeSet<(Life, u32, usize)> =
        history.deliveries.iter().map(|it| (it.life, it.client, it.message)).collect();
    let mut missing: BTreeMap<Life, Vec<String>> = BTreeMap::new();
    // One copy travels for all clients of a node.
    let mut copies: BTreeSet<(usize, Life)> = BTreeSet::new();
    for (number, place) in promised(history) {
        let (message, subscription) = (&history.messages[number], &history.subscriptions[place]);
        let has_arrived = arrived.contains(&(subscription.life, subscription.client, number));
        if !has_arrived && copies.insert((number, subscription.life)) {
            let lost = format!("message {number} {message:?} for {subscription:?}");
            missing.entry(message.life).or_default().push(lost);
        }
    }
    for (life, missing) in missing {
        let counted =
            running_drops.iter().find(|(other, _)| *other == life).map_or(0, |(_, counted)| *counted);
        if counted < missing.len() as u64 {
            let (first, lost) = (&missing[0], missing.len());
            return Err(format!(
                "{lost} copies were promised and lost, {counted} counted by {life:?}: {first}"
            ));
        }
    }
    Ok(())
}

/// What a node has dropped on its way to others.
pub fn lost_on_links(drops: &BTreeMap<&'static str, u64>) -> u64 {
    ["link_full", "peer_down"].iter().filter_map(|reason| drops.get(reason)).sum()
}

/// In the calm every message from `first` on comes to everybody who subscribes, once.
pub fn calm(history: &History, first: usize) -> Result<(), String> {
    let mut arrived: BTreeMap<usize, Vec<(Life, u32)>> = BTreeMap::new();
    for delivery in &history.deliveries {
        arrived.entry(delivery.message).or_default().push((delivery.life, delivery.client));
    }
    let lives: BTreeSet<Life> = history.messages[first..].iter().map(|message| message.life).collect();
    for (number, message) in history.messages.iter().enumerate().skip(first) {
        let wanted: BTreeSet<(Life, u32)> = history
            .subscriptions
            .iter()
            .filter(|it| it.ending.is_none() && lives.contains(&it.life) && matches(it, message))
            .map(|it| (it.life, it.client))
            .collect();
        let mut found = arrived.remove(&number).unwrap_or_default();
        found.sort_unstable();
        if found != wanted.iter().copied().collect::<Vec<_>>() {
            return Err(format!("in the calm {message:?} came to {found:?}, not {wanted:?}"));
        }
        if !message.acknowledged {
            return Err(format!("in the calm {message:?} was not acknowledged"));
        }
    }
    once_and_in_order(history)
}

fn matches(subscription: &Subscription, message: &Message) -> bool {
    let filter = TopicFilter::parse(&subscription.filter);
    let topic = TopicRef::parse(&message.topic);
    matches!((filter, topic), (Ok(filter), Ok(topic)) if filter.matches(topic))
}
