//! A node that is killed, leaves, or returns; the others carry on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::chance::Chance;
use crate::support::flock::Flock;
use crate::support::mqtt::{Client, Options, Version};
use crate::support::{PATIENCE, wait_until};

/// By default the others must report a killed node within this time. Part of the outside contract.
const REPORTED_DOWN_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_killed_node_is_reported_down_and_joins_again_without_touching_the_others() {
    let mut flock = Flock::start(3);
    let options = |name: &str| Options::new(Version::V5, name);
    let mut steady_subscriber = Client::connect(flock.nodes[2].mqtt(), &options("steady subscriber"));
    steady_subscriber.subscribe("steady", 1);
    let mut steady_publisher = Client::connect(flock.nodes[0].mqtt(), &options("steady publisher"));
    steady_publisher.subscribe("from the returned", 1);
    let mut lost = Client::connect(flock.nodes[1].mqtt(), &options("lost"));
    lost.subscribe("lost/#", 1);
    let before = flock.nodes[0].status();

    flock.nodes[1].kill();
    for n in [0, 2] {
        let node = &flock.nodes[n];
        let is_down = |status: &crate::support::node::Status| {
            status.node("node2").is_some_and(|seen| seen.state == "down" && seen.link == "down")
        };
        let what = format!("{} reports node2 down", node.spec.name);
        wait_until(&what, REPORTED_DOWN_WITHIN, || node.status(), is_down);
    }
    check_flow(&mut steady_publisher, &mut steady_subscriber, "while node2 is down");
    // A SUBACK waits for live peers only, so a dead one does not make it late or fail.
    steady_subscriber.subscribe("lost/and/found", 1);
    steady_publisher.publish("lost/and/found", b"here", 1);
    assert_eq!(steady_subscriber.expect_message().payload, b"here");

    flock.nodes[1].restart();
    flock.nodes[1].wait_ready();
    flock.wait_converged(3);
    // The clean session died with its node, and with it the route; the new one works in both directions.
    flock.wait_route("lost/#", &[]);
    let mut returned = Client::connect(flock.nodes[1].mqtt(), &options("lost"));
    returned.subscribe("steady", 0);
    check_flow(&mut steady_publisher, &mut steady_subscriber, "after node2 returned");
    assert_eq!(returned.expect_message().payload, b"after node2 returned");
    returned.publish("from the returned", b"back", 1);
    assert_eq!(steady_publisher.expect_message().payload, b"back");

    let after = flock.nodes[0].status();
    for name in ["node1", "node3"] {
        let (before, after) = (before.node(name).unwrap(), after.node(name).unwrap());
        assert_eq!((&before.id, before.incarnation), (&after.id, after.incarnation), "{name} was touched");
    }
    let (old, new) = (before.node("node2").unwrap(), after.node("node2").unwrap());
    assert_eq!(old.id, new.id, "a node keeps its identity in its data directory");
    assert!(old.incarnation < new.incarnation, "an incarnation grows with every start");
    for n in [0, 2] {
        flock.nodes[n].assert_alive();
    }
}

#[track_caller]
fn check_flow(publisher: &mut Client, subscriber: &mut Client, payload: &str) {
    publisher.publish("steady", payload.as_bytes(), 1);
    assert_eq!(subscriber.expect_message().payload, payload.as_bytes());
}

#[test]
fn a_flock_that_lost_two_of_three_still_serves() {
    let mut flock = Flock::start(3);
    let mut client = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V311, "survivor"));
    for n in [1, 2] {
        flock.nodes[n].kill();
    }
    for name in ["node2", "node3"] {
        flock.wait_state(0, name, &["down"]);
    }
    client.subscribe("alone", 1);
    client.publish("alone", b"and well", 1);
    assert_eq!(client.expect_message().payload, b"and well");
    for n in [1, 2] {
        flock.nodes[n].restart();
    }
    flock.wait_converged(3);
}

/// Reason code 0x8B is "Server shutting down"; a will is published on a shut-down too [MQTT5-3.1.2-8].
#[test]
fn sigterm_says_goodbye_publishes_wills_and_exits_with_zero() {
    const SERVER_SHUTTING_DOWN: u8 = 0x8B;
    let mut flock = Flock::start(3);
    let leaving = flock.nodes[2].mqtt();
    let mut new = Client::connect(leaving, &Options::new(Version::V5, "new"));
    let mut heir = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "heir"));
    heir.subscribe("wills/old", 1);
    let old = Options::new(Version::V311, "old").will("wills/old", b"my feathers", 1);
    let mut old = Client::connect(leaving, &old);
    flock.nodes[2].terminate();
    assert!(new.wait_closed(Duration::from_secs(20)), "the connection is closed");
    assert_eq!(new.disconnect_reason, Some(SERVER_SHUTTING_DOWN));
    assert!(old.wait_closed(Duration::from_secs(20)), "the connection is closed");
    assert_eq!(old.disconnect_reason, None, "before version 5 a server sends no DISCONNECT");
    assert_eq!(heir.expect_message().payload, b"my feathers");
    let status = flock.nodes[2].wait_exit();
    assert_eq!(status.code(), Some(0), "{}", flock.nodes[2].log());
    for n in [0, 1] {
        flock.wait_state(n, "node3", &["left", "down"]);
    }
}

/// [MQTT5-3.1.2-8]: the will is published when the network connection ends without a DISCONNECT 0x00.
#[test]
fn a_client_that_dies_has_its_will_published_at_another_node() {
    let flock = Flock::start(2);
    for version in Version::ALL {
        for qos in 0..=2 {
            let mut heir = Client::connect(flock.nodes[1].mqtt(), &Options::new(version, "heir"));
            heir.subscribe("wills/#", 2);
            let will = Options::new(version, "mortal").will("wills/mortal", b"all to the cat", qos);
            Client::connect(flock.nodes[0].mqtt(), &will).die();
            let message = heir.expect_message();
            assert_eq!((message.payload.as_slice(), message.qos), (b"all to the cat".as_slice(), qos));

            // A DISCONNECT with reason 0x00 deletes the will [MQTT5-3.14.4-3].
            Client::connect(flock.nodes[0].mqtt(), &will).disconnect();
            let mut witness = Client::connect(flock.nodes[0].mqtt(), &Options::new(version, "witness"));
            witness.publish("wills/end", b"", 2);
            assert_eq!(heir.messages_before("wills/end"), [], "a client that left in order has no will");
            heir.disconnect();
        }
    }
}

/// Rounds of subscribing at one node and publishing at another, while a third one dies and returns.
const ROUNDS: usize = 10_000;

/// What a SUBACK says of the publisher's node holds whatever befalls a third one: while that is dying, SUBACKs wait for
/// it as long as they may, and say so.
#[test]
fn every_publish_after_a_suback_arrives_while_a_third_node_dies_again_and_again() {
    let mut flock = Flock::start(3);
    let mut subscriber = Client::connect(flock.nodes[1].mqtt(), &Options::new(Version::V5, "subscriber"));
    let mut publisher = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V311, "publisher"));
    let mut mortal = flock.nodes.pop().expect("the third node");
    let is_over = AtomicBool::new(false);
    let deaths = thread::scope(|scope| {
        let dying = scope.spawn(|| {
            let mut chance = Chance::new(0x0DD);
            let mut deaths = 0;
            while !is_over.load(Ordering::Relaxed) {
                // Long enough to join, or in the middle of it; long enough to be missed, or not.
                thread::sleep(Duration::from_millis(chance.below(1_500) as u64));
                mortal.kill();
                deaths += 1;
                thread::sleep(Duration::from_millis(chance.below(4_000) as u64));
                mortal.restart();
            }
            mortal.wait_ready();
            deaths
        });
        // The other thread ends too when this one fails.
        let over = SetOnDrop(&is_over);
        for round in 0..ROUNDS {
            let topic = format!("round/{round}");
            subscriber.subscribe(&topic, 1);
            publisher.publish(&topic, topic.as_bytes(), 1);
            let message = subscriber.message(PATIENCE);
            let message = message.unwrap_or_else(|| panic!("the message of round {round} was lost"));
            assert_eq!(
                (message.topic.as_str(), message.payload.as_slice()),
                (topic.as_str(), topic.as_bytes())
            );
            subscriber.unsubscribe(&topic);
        }
        drop(over);
        dying.join().expect("the third node comes back")
    });
    assert!(deaths > 0, "nobody died");
    flock.nodes.push(mortal);
    flock.wait_converged(3);
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
