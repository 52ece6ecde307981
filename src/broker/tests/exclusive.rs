//! `$exclusive/{filter}`: one client at a time, and for that client a subscription like any other.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::codec::{Publish, Qos, RetainHandling, SubscribeOptions};

const HELD: &str = "QuotaExceeded";

#[test]
fn one_client_at_a_time_holds_a_filter() {
    let node = Node::new();
    let [fin, gus] = ["fin", "gus"].map(|client_id| node.client(client_id));
    let old = node.welcome(&Connect::new(V311, "old"));
    assert_eq!(fin.subscribe("$exclusive/a/+", Qos::AtLeastOnce), "GrantedQos1");
    assert_eq!(gus.subscribe("$exclusive/a/+", Qos::AtLeastOnce), HELD);
    assert_eq!(old.subscribe("$exclusive/a/+", Qos::AtLeastOnce), "UnspecifiedError");
    assert_eq!(gus.subscribe("$exclusive/a/b", Qos::AtLeastOnce), "GrantedQos1", "another filter");
    assert_eq!(node.gauges()[2], 2);
    node.client("publisher").publish("a/b", "1", Qos::AtLeastOnce);
    assert_eq!(fin.consume(), ["a/b:1"]);
    assert_eq!(gus.consume(), ["a/b:1"]);
    // The holder may change its mind about the options.
    assert_eq!(fin.subscribe("$exclusive/a/+", Qos::AtMostOnce), "Success");
    assert_eq!(node.gauges()[2], 2);
    node.client("publisher").publish("a/c", "2", Qos::AtLeastOnce);
    assert_eq!(fin.received(), ["PUBLISH a/c:2 q0"]);
    assert_eq!(gus.subscribe("$exclusive/a/+", Qos::AtLeastOnce), HELD, "as before");
}

#[test]
fn plain_and_shared_subscriptions_of_the_filter_are_open_to_all() {
    let node = Node::new();
    let [fin, gus, member] = ["fin", "gus", "member"].map(|client_id| node.client(client_id));
    assert_eq!(gus.subscribe("a", Qos::AtLeastOnce), "GrantedQos1");
    assert_eq!(fin.subscribe("$exclusive/a", Qos::AtLeastOnce), "GrantedQos1");
    assert_eq!(member.subscribe("$share/g/a", Qos::AtLeastOnce), "GrantedQos1");
    fin.publish("a", "1", Qos::AtLeastOnce);
    assert_eq!([&fin, &gus, &member].map(Peer::consume), [["a:1"]; 3]);
    assert_eq!(gus.unsubscribe("$exclusive/a"), "NoSubscriptionExisted");
    assert_eq!(gus.unsubscribe("a"), "Success");
    assert_eq!(member.unsubscribe("$share/g/a"), "Success");
    fin.publish("a", "2", Qos::AtLeastOnce);
    assert_eq!([&fin, &gus, &member].map(|it| it.consume().len()), [1, 0, 0]);
}

/// `$exclusive/a` and `a` are two subscriptions, which bring one copy [MQTT5-3.3.4-2].
#[test]
fn a_client_may_have_the_plain_subscription_as_well() {
    let node = Node::new();
    let fin = node.client("fin");
    let subscribe = |filter, qos, id| fin.subscribe_with(filter, SubscribeOptions::with_qos(qos), Some(id));
    subscribe("a", Qos::AtLeastOnce, 1);
    subscribe("$exclusive/a", Qos::ExactlyOnce, 2);
    assert_eq!(node.gauges()[2], 2);
    let publisher = node.client("publisher");
    publisher.publish("a", "both", Qos::ExactlyOnce);
    assert_eq!(fin.received(), ["PUBLISH a:both q2 #1 ids=[1, 2]"]);
    assert_eq!(fin.unsubscribe("$exclusive/a"), "Success");
    publisher.publish("a", "plain", Qos::ExactlyOnce);
    assert_eq!(fin.received(), ["PUBLISH a:plain q1 #2 ids=[1]"]);
    subscribe("$exclusive/a", Qos::AtMostOnce, 3);
    assert_eq!(fin.unsubscribe("a"), "Success");
    publisher.publish("a", "exclusive", Qos::ExactlyOnce);
    assert_eq!(fin.received(), ["PUBLISH a:exclusive q0 ids=[3]"]);
    assert_eq!(fin.unsubscribe("$exclusive/a"), "Success");
    assert_eq!(publisher.publish("a", "nobody", Qos::AtLeastOnce), "NoMatchingSubscribers");
    assert_eq!(node.gauges()[2], 0);
}

fn be_away(node: &Node, peer: &Peer, seconds: u64) {
    peer.lose_connection();
    node.advance(secs(seconds));
}

/// The filter is held for as long as the subscription lasts, whether the client is there or not.
#[test]
fn a_filter_is_free_when_its_subscription_has_ended() {
    type End = fn(&Node, &Peer);
    let check = |name: &str, expiry, end: End, is_free: bool| {
        let node = Node::new();
        let holder = node.welcome(&resuming("holder", expiry));
        holder.subscribe("$exclusive/a", Qos::AtLeastOnce);
        end(&node, &holder);
        let next = node.client("next");
        let expected = if is_free { "GrantedQos1" } else { HELD };
        assert_eq!(next.subscribe("$exclusive/a", Qos::AtLeastOnce), expected, "{name}");
    };
    check("nothing", 60, |_, _| {}, false);
    check("unsubscribed", 60, |_, it| _ = it.unsubscribe("$exclusive/a"), true);
    check("the plain one unsubscribed", 60, |_, it| _ = it.unsubscribe("a"), false);
    check("disconnected", 0, |_, it| it.disconnect(), true);
    check("lost", 0, |_, it| it.lose_connection(), true);
    check("away", 60, |_, it| it.lose_connection(), false);
    check("almost expired", 60, |node, it| be_away(node, it, 59), false);
    check("expired", 60, |node, it| be_away(node, it, 60), true);
    check("resumed", 60, |node, _| _ = node.durable("holder"), false);
    check("begun anew", 60, |node, _| _ = node.client("holder"), true);
}

/// What comes for a holder that is away waits for it.
#[test]
fn a_holder_that_comes_back_still_holds_and_gets_what_came() {
    let node = Node::new();
    let holder = node.durable("holder");
    holder.subscribe("$exclusive/a", Qos::AtLeastOnce);
    holder.lose_connection();
    node.client("publisher").publish("a", "1", Qos::AtLeastOnce);
    let holder = node.durable("holder");
    assert_eq!(holder.consume(), ["a:1"]);
    assert_eq!(holder.unsubscribe("$exclusive/a"), "Success");
    // A new session of the same client is not in its own way.
    holder.subscribe("$exclusive/a", Qos::AtLeastOnce);
    let anew = node.client("holder");
    assert_eq!(anew.subscribe("$exclusive/a", Qos::AtLeastOnce), "GrantedQos1");
    assert_eq!(node.gauges()[2], 1);
}

#[test]
fn retained_messages_and_options_are_those_of_a_plain_subscription() {
    let node = Node::new();
    let publisher = node.client("publisher");
    publisher.publish_with(Publish { retain: true, ..Publish::new("a", b"kept") });
    let holder = node.client("holder");
    let options = SubscribeOptions {
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
        ..SubscribeOptions::with_qos(Qos::AtLeastOnce)
    };
    holder.subscribe_with("$exclusive/+", options, Some(5));
    assert_eq!(holder.received(), ["PUBLISH a:kept q0 retain ids=[5]"]);
    holder.subscribe_with("$exclusive/+", options, Some(5));
    assert_eq!(holder.received(), [""; 0], "not new");
    holder.publish("a", "own", Qos::AtLeastOnce);
    assert_eq!(holder.received(), [""; 0], "No Local");
    publisher.publish_with(Publish { retain: true, ..Publish::new("b", b"new") });
    assert_eq!(holder.received(), ["PUBLISH b:new q0 retain ids=[5]"]);
}

/// [MQTT5-3.10.4-2] ends the replay of the filter that is left, and of no other.
#[test]
fn a_replay_goes_on_when_only_the_plain_subscription_ends() {
    let node = Node::new();
    let publisher = node.client("publisher");
    for topic in ["a", "b", "c"] {
        publisher.publish_with(Publish { retain: true, qos: Qos::AtLeastOnce, ..Publish::new(topic, b"x") });
    }
    let receive_maximum = std::num::NonZeroU16::new(1);
    let properties = ConnectProperties { receive_maximum, ..ConnectProperties::default() };
    let holder = node.welcome(&Connect { properties, ..Connect::new(V5, "holder") });
    holder.subscribe("$exclusive/+", Qos::AtLeastOnce);
    holder.subscribe("+", Qos::AtLeastOnce);
    assert_eq!(holder.unsubscribe("+"), "Success");
    assert_eq!(holder.consume(), ["a:x", "b:x", "c:x"]);
}

/// What has no free subscription leaves nothing behind: no retained messages, no place in the limit.
#[test]
fn a_refused_subscription_leaves_nothing_behind() {
    let sessions = session::Settings { subscriptions_max: 1, ..session::Settings::default() };
    let node = Node::with_sessions(sessions);
    let [holder, other] = ["holder", "other"].map(|client_id| node.client(client_id));
    other.publish_with(Publish { retain: true, ..Publish::new("a", b"kept") });
    holder.subscribe("$exclusive/a", Qos::AtLeastOnce);
    assert_eq!(other.subscribe("$exclusive/a", Qos::AtLeastOnce), HELD);
    assert_eq!(other.received(), [""; 0]);
    assert_eq!(other.unsubscribe("$exclusive/a"), "NoSubscriptionExisted");
    assert_eq!(holder.subscribe("$exclusive/b", Qos::AtLeastOnce), HELD, "too many of its own");
    assert_eq!(other.subscribe("b", Qos::AtLeastOnce), "GrantedQos1");
    assert_eq!(node.gauges()[2], 2);
}

#[test]
fn what_cannot_be_exclusive_is_no_filter() {
    let check = |node: &Node, filter: &str| {
        let (new, old) = (node.client("new"), node.welcome(&Connect::new(V311, "old")));
        assert_eq!(new.subscribe(filter, Qos::AtMostOnce), "TopicFilterInvalid", "{filter}");
        assert_eq!(old.subscribe(filter, Qos::AtMostOnce), "UnspecifiedError", "{filter}");
        assert!(!new.is_closed() && !old.is_closed());
    };
    let node = Node::new();
    for filter in [
        "$exclusive/",
        "$exclusive/a#",
        "$exclusive/$SYS/#",
        "$exclusive/$share/g/a",
        "$exclusive/$exclusive/a",
        "$share/g/$exclusive/a",
        "$queue/$exclusive/a",
    ] {
        check(&node, filter);
    }
    let without = session::Settings { exclusive_available: false, ..session::Settings::default() };
    check(&Node::with_sessions(without), "$exclusive/a");
}

/// Asks for the filter again and again, and leaves it in one way or another. Returns how often it was granted.
fn come_and_go(node: &Node, name: &str, holders: &AtomicUsize) -> usize {
    let mut granted = 0;
    for round in 0..300 {
        let peer = if round % 2 == 0 { node.durable(name) } else { node.client(name) };
        if peer.subscribe("$exclusive/a", Qos::AtMostOnce) != "Success" {
            continue;
        }
        granted += 1;
        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "somebody else holds it");
        std::thread::yield_now();
        holders.fetch_sub(1, Ordering::SeqCst);
        match round % 3 {
            0 => _ = peer.unsubscribe("$exclusive/a"),
            1 => peer.disconnect_with(ReasonCode::NormalDisconnection, (round % 2 == 0).then_some(0)),
            _ => _ = node.client(name), // Takes over and begins anew.
        }
    }
    node.client(name).disconnect();
    granted
}

#[test]
fn of_many_that_ask_at_once_one_gets_it() {
    let node = Node::new();
    let here = node.shared();
    let holders = &AtomicUsize::new(0);
    let granted: usize = std::thread::scope(|scope| {
        let askers: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| scope.spawn(move || come_and_go(&here(), name, holders)))
            .into_iter()
            .collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).sum()
    });
    assert!(granted > 0, "whoever is refused is refused because of somebody");
    assert_eq!(node.gauges(), [0, 0, 0]);
    assert_eq!(node.client("late").subscribe("$exclusive/a", Qos::AtMostOnce), "Success");
}
