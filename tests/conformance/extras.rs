//! What no standard knows and users of other brokers rely on: `$delayed/{seconds}/{topic}`, `$exclusive/{filter}`.

use std::time::Duration;

use crate::node::TestNode;
use crate::packets::{self, Connect, PUBREL, Publish, V5, V31, V311, Version, Will};
use crate::peer::Peer;
use crate::property::{CONTENT_TYPE, MESSAGE_EXPIRY, SUBSCRIPTION_ID, four, text, user, varint};

const ALL: [Version; 3] = [V31, V311, V5];
const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;

/// Time passes in steps that are shorter than the node's ticks, which are this far apart.
const TICK: Duration = Duration::from_millis(200);

fn watched(node: &TestNode) -> Peer {
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("#", 2);
    watcher.subscribe("$delayed/#", 2);
    watcher
}

/// Publishes with an identifier of 7; the code of the acknowledgement, 0 where the version has none.
#[track_caller]
fn code(peer: &mut Peer, version: Version, publish: Publish) -> u8 {
    let name = if publish.qos == 1 { "PUBACK" } else { "PUBREC" };
    peer.send(&Publish { packet_id: 7, ..publish }.bytes(version));
    let line = peer.receive();
    let code = line.strip_prefix(&format!("{name} #7")).unwrap_or_else(|| panic!("{line}, no {name}"));
    code.trim().strip_prefix("0x").map_or(0, |code| u8::from_str_radix(code, 16).expect("a code"))
}

/// Subscribes to one filter; the code of the SUBACK.
#[track_caller]
fn granted(peer: &mut Peer, version: Version, filter: &str, options: u8) -> String {
    peer.send(&packets::subscribe(version, 9, &[], &[(filter, options)]));
    let line = peer.receive();
    line.strip_prefix("SUBACK #9 ").unwrap_or_else(|| panic!("{line}")).to_owned()
}

#[test]
fn a_delayed_message_comes_at_its_time() {
    let node = TestNode::start();
    let mut watcher = watched(&node);
    for version in ALL {
        let mut publisher = node.client(version, "publisher");
        for qos in 0..=2 {
            publisher.say("$delayed/3/a/b", "x", qos);
            node.advance(Duration::from_millis(2_999));
            watcher.expect_silence();
            node.advance(Duration::from_millis(1) + TICK);
            let line = watcher.receive();
            assert!(line.starts_with(&format!("PUBLISH a/b \"x\" q{qos}")), "{line}");
            match qos {
                0 => {}
                1 => watcher.puback(packet_id(&line)),
                _ => {
                    let id = packet_id(&line);
                    watcher.pubrec(id);
                    watcher.expect(&[&format!("PUBREL #{id}")]);
                    watcher.pubcomp(id);
                }
            }
            watcher.expect_silence();
        }
    }
}

#[track_caller]
fn packet_id(line: &str) -> u16 {
    let id = line.split(' ').find_map(|word| word.strip_prefix('#'));
    id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("{line} has an identifier"))
}

/// The acknowledgement says that the message is kept, not who subscribes. A QoS 2 message is kept once.
#[test]
fn a_delayed_message_is_acknowledged_when_it_is_kept() {
    let node = TestNode::start();
    let mut peer = node.client(V5, "peer");
    assert_eq!(code(&mut peer, V5, Publish::new("$delayed/1/a", "x").qos(1, 0)), 0);
    peer.subscribe("a", 0);
    assert_eq!(code(&mut peer, V5, Publish::new("$delayed/2/a", "y").qos(2, 0)), 0);
    assert_eq!(code(&mut peer, V5, Publish::new("$delayed/2/a", "y").qos(2, 0).dup()), 0);
    peer.send(&packets::acknowledgement(PUBREL, 7));
    peer.expect(&["PUBCOMP #7"]);
    node.advance_secs(3);
    peer.expect(&["PUBLISH a \"x\" q0", "PUBLISH a \"y\" q0"]);
    peer.expect_silence();
}

#[test]
fn a_delayed_message_keeps_what_the_publisher_said() {
    let node = TestNode::start();
    let mut other = node.client(V5, "other");
    other.subscribe_with("a", 2 | NO_LOCAL | RETAIN_AS_PUBLISHED, &varint(SUBSCRIPTION_ID, 3));
    let mut publisher = node.client(V5, "publisher");
    publisher.subscribe("a", NO_LOCAL);
    let publish = |expiry| {
        Publish::new("$delayed/4/a", "x")
            .qos(1, 0)
            .retained()
            .property(four(MESSAGE_EXPIRY, expiry))
            .property(text(CONTENT_TYPE, "t"))
            .property(user("k", "v"))
    };
    publisher.publish(publish(10));
    publisher.publish(publish(4));
    node.advance(Duration::from_secs(4) + TICK);
    publisher.expect_silence();
    let line = other.receive();
    let expected = "PUBLISH a \"x\" q1 #1 retain";
    assert!(line.starts_with(expected), "{line}");
    for part in [" expiry=6", " content-type=", " user=", " id=3"] {
        assert!(line.contains(part), "{line} without {part}");
    }
    other.expect_silence();
    let mut late = node.client(V5, "late");
    late.subscribe("a", 0);
    assert!(late.receive().starts_with("PUBLISH a \"x\" q0 retain"));
}

#[test]
fn delayed_messages_of_one_moment_keep_their_order() {
    let node = TestNode::start();
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("#", 0);
    let mut publisher = node.client(V311, "publisher");
    for number in 0..20 {
        publisher.say(&format!("$delayed/{}/a", 5 - number % 2), &number.to_string(), (number % 3) as u8);
    }
    node.advance(Duration::from_secs(5) + TICK);
    let order = (0..20).filter(|number| number % 2 == 1).chain((0..20).filter(|number| number % 2 == 0));
    for number in order {
        watcher.expect(&[&format!("PUBLISH a \"{number}\" q0")]);
    }
    watcher.expect_silence();
}

/// 0x90 for what is no delay; 0x87 for what a client may not publish to, now or later.
#[test]
fn a_wrong_delay_is_refused_by_its_code() {
    let node = TestNode::with(|config| config.broker.sys_interval = Duration::ZERO);
    let mut watcher = watched(&node);
    watcher.subscribe("$SYS/#", 0);
    let check = |topic: &str, expected: u8| {
        for version in ALL {
            let mut peer = node.client(version, "peer");
            for qos in [1, 2] {
                let told = if version == V5 { expected } else { 0 };
                let publish = Publish::new(topic, "x").qos(qos, 0);
                assert_eq!(code(&mut peer, version, publish), told, "{topic} {version:?} at {qos}");
                if qos == 2 && version != V5 {
                    peer.pubrel(7);
                    peer.expect(&["PUBCOMP #7"]);
                }
            }
            peer.say(topic, "x", 0);
            peer.disconnect();
            node.connect(&Connect::new(version, "mortal").will(Will::new(topic, "x", 1))).die();
        }
    };
    for topic in [
        "$delayed/x/a",
        "$delayed/5",
        "$delayed/5/",
        "$delayed//a",
        "$delayed/4294968/a",
        "$delayed/1/$SYS/a",
        "$delayed/1/$delayed/1/a",
    ] {
        check(topic, 0x90);
    }
    for topic in ["$SYS/a", "$delayed", "$exclusive/a"] {
        check(topic, 0x87);
    }
    for version in ALL {
        let mut peer = node.client(version, "peer");
        peer.send(&Publish::new("$delayed/1/+", "x").qos(1, 7).bytes(version));
        peer.expect_refusal(0x90);
    }
    node.advance_secs(2);
    watcher.expect_silence();
}

#[test]
fn delayed_messages_beyond_the_limit_are_refused() {
    let node = TestNode::with(|config| config.broker.delayed.messages_max = 2);
    let mut watcher = watched(&node);
    let mut old = node.client(V311, "old");
    let mut peer = node.client(V5, "peer");
    let publish = |payload| Publish::new("$delayed/1/a", payload).qos(1, 0);
    assert_eq!(code(&mut old, V311, publish("1")), 0);
    assert_eq!(code(&mut peer, V5, publish("2")), 0);
    assert_eq!(code(&mut peer, V5, publish("3")), 0x97);
    assert_eq!(code(&mut peer, V5, publish("4").qos(2, 0)), 0x97);
    assert_eq!(code(&mut old, V311, publish("5")), 0);
    node.advance(Duration::from_secs(1) + TICK);
    watcher.expect(&["PUBLISH a \"1\" q1 #1", "PUBLISH a \"2\" q1 #2"]);
    watcher.expect_silence();
    assert_eq!(code(&mut peer, V5, publish("6")), 0);

    let off = TestNode::with(|config| config.broker.delayed.messages_max = 0);
    assert_eq!(code(&mut off.client(V5, "peer"), V5, publish("1")), 0x87);
}

#[test]
fn a_will_may_be_delayed() {
    let node = TestNode::start();
    let mut watcher = watched(&node);
    for version in ALL {
        node.connect(&Connect::new(version, "mortal").will(Will::new("$delayed/2/w", "gone", 0))).die();
        node.advance(Duration::from_millis(1_999));
        watcher.expect_silence();
        node.advance(Duration::from_millis(1) + TICK);
        watcher.expect(&["PUBLISH w \"gone\" q0"]);
    }
}

/// 0x97 for whoever comes second; 0x80 before version 5.
#[test]
fn an_exclusive_filter_has_one_subscriber() {
    let node = TestNode::start();
    for version in ALL {
        let mut holder = node.client(version, "holder");
        assert_eq!(granted(&mut holder, version, "$exclusive/a/+", 1), "[01]");
        for (other_version, refused) in [(V31, "[80]"), (V311, "[80]"), (V5, "[97]")] {
            let mut other = node.client(other_version, "other");
            assert_eq!(granted(&mut other, other_version, "$exclusive/a/+", 1), refused);
            assert_eq!(granted(&mut other, other_version, "a/+", 1), "[01]", "plain is open to all");
            other.unsubscribe("a/+");
            other.say("a/b", "x", 0);
            holder.expect(&["PUBLISH a/b \"x\" q0"]);
            other.expect_silence();
        }
        assert_eq!(granted(&mut holder, version, "$exclusive/a/+", 2), "[02]", "it may change its mind");
        holder.unsubscribe("$exclusive/a/+");
        let mut next = node.client(V5, "next");
        assert_eq!(granted(&mut next, V5, "$exclusive/a/+", 0), "[00]");
        next.disconnect();
        assert_eq!(granted(&mut holder, version, "$exclusive/a/+", 0), "[00]");
        holder.die();
    }
}

#[test]
fn a_session_that_is_away_holds_its_filter_until_it_ends() {
    let node = TestNode::start();
    let mut holder = node.connect(&Connect::lasting(V5, "holder"));
    assert_eq!(granted(&mut holder, V5, "$exclusive/a", 1), "[01]");
    holder.die();
    let mut other = node.client(V5, "other");
    node.advance_secs(3_590);
    assert_eq!(granted(&mut other, V5, "$exclusive/a", 1), "[97]");
    other.say("a", "kept", 1);
    let mut holder = node.connect(&Connect::lasting(V5, "holder"));
    holder.expect(&["PUBLISH a \"kept\" q1 #1"]);
    holder.puback(1);
    assert_eq!(granted(&mut other, V5, "$exclusive/a", 1), "[97]");
    holder.die();
    node.advance_secs(3_601);
    assert_eq!(granted(&mut other, V5, "$exclusive/a", 1), "[01]");
}

#[test]
fn an_exclusive_subscription_is_otherwise_like_a_plain_one() {
    let node = TestNode::start();
    let mut publisher = node.client(V5, "publisher");
    publisher.publish(Publish::new("a", "kept").retained());
    let mut holder = node.client(V5, "holder");
    let options = 1 | NO_LOCAL | RETAIN_AS_PUBLISHED;
    holder.subscribe_with("$exclusive/a", options, &varint(SUBSCRIPTION_ID, 5));
    holder.expect(&["PUBLISH a \"kept\" q0 retain id=5"]);
    holder.say("a", "own", 1);
    holder.expect_silence();
    publisher.publish(Publish::new("a", "new").retained());
    holder.expect(&["PUBLISH a \"new\" q0 retain id=5"]);
    // The plain one beside it: two subscriptions, one copy.
    holder.subscribe_with("a", 1 | 0x20, &varint(SUBSCRIPTION_ID, 6));
    publisher.say("a", "both", 0);
    let line = holder.receive();
    assert!(line.contains(" id=5") && line.contains(" id=6"), "{line}");
    holder.expect_silence();
    holder.unsubscribe("$exclusive/a");
    publisher.say("a", "plain", 0);
    holder.expect(&["PUBLISH a \"plain\" q0 id=6"]);
    assert_eq!(granted(&mut publisher, V5, "$exclusive/a", 0x20), "[00]");
}

#[test]
fn what_cannot_be_exclusive_is_refused_as_no_filter() {
    let check = |node: &TestNode, filter: &str| {
        for (version, refused) in [(V31, "[80]"), (V311, "[80]"), (V5, "[8F]")] {
            let mut peer = node.client(version, "peer");
            assert_eq!(granted(&mut peer, version, filter, 0), refused, "{filter} {version:?}");
            peer.subscribe("a", 0);
        }
    };
    let node = TestNode::start();
    for filter in [
        "$exclusive/",
        "$exclusive/a#",
        "$exclusive/$SYS/#",
        "$exclusive/$share/g/a",
        "$share/g/$exclusive/a",
        "$queue/$exclusive/a",
    ] {
        check(&node, filter);
    }
    check(&TestNode::with(|config| config.session.exclusive_available = false), "$exclusive/a");
}
