//! What a node does with every client by its own rules, beyond the standard: rewritten topics, automatic
//! subscriptions, rates.

use std::io::Write as _;
use std::time::Duration;

use flockmq::auth::{Password, Verifier};
use flockmq::broker::{AutoSubscribeSettings, RewriteSettings};
use flockmq::config::Config;
use flockmq::topic::RewriteAction::{self, All, Subscribe};

use crate::node::TestNode;
use crate::packets::{self, Connect, Publish, V5, V31, V311, Version, Will};
use crate::peer::Peer;
use crate::property::{SUBSCRIPTION_ID, TOPIC_ALIAS, two, varint};

const ALL_VERSIONS: [Version; 3] = [V31, V311, V5];

/// A node that knows the user `fin` and takes anonymous clients too.
fn node(change: impl FnOnce(&mut Config)) -> TestNode {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let password = Password::parse(b"feather").unwrap();
    let verifier = Verifier::new(&password, &[7; 16], 4_096.try_into().unwrap());
    writeln!(file, "fin:{}", verifier.text()).unwrap();
    TestNode::with(|config| {
        config.auth.allow_anonymous = true;
        config.auth.password_file = Some(file.path().to_owned());
        change(config);
    })
}

fn rewriting(rules: &[(RewriteAction, &str, &str, &str)]) -> TestNode {
    let mut settings = RewriteSettings::default();
    for (action, source, pattern, target) in rules {
        settings.add(*action, source, pattern, target).expect("a test's rule is right");
    }
    node(|config| config.broker.rewrite = settings)
}

/// One automatic subscription: filter, QoS and Retain Handling.
type Automatic<'a> = (&'a str, u8, u8);

fn subscribing(subscriptions: &[Automatic<'_>]) -> TestNode {
    let mut settings = AutoSubscribeSettings::default();
    for (filter, qos, retain_handling) in subscriptions {
        settings.add(filter, *qos, false, false, *retain_handling).expect("a test's filter is right");
    }
    node(|config| config.broker.auto_subscribe = settings)
}

/// A QoS 0 message of a client that may get it itself.
fn shout(client: &mut Peer, version: Version, topic: &str) {
    client.send(&Publish::new(topic, "x").bytes(version));
}

fn as_fin(version: Version, client_id: &str) -> Connect {
    Connect::new(version, client_id).user_name("fin").password(b"feather")
}

#[test]
fn a_publish_and_a_subscription_meet_at_the_new_topic() {
    let node = rewriting(&[(All, "y/+/z/#", "^y/(.+)/z/(?<rest>.+)$", "y/z/${rest}")]);
    for version in ALL_VERSIONS {
        let mut watcher = node.client(version, "watcher");
        watcher.subscribe("y/z/#", 2);
        let mut client = node.client(version, "client");
        client.subscribe("y/any/z/b", 1);
        client.subscribe("y/left/alone", 1);
        let mut publisher = node.client(version, "publisher");
        for qos in [0, 1, 2] {
            publisher.say("y/a/z/b", "x", qos);
            assert!(watcher.receive().starts_with(&format!("PUBLISH y/z/b \"x\" q{qos}")));
            assert!(client.receive().starts_with(&format!("PUBLISH y/z/b \"x\" q{}", qos.min(1))));
        }
        publisher.say("y/left/alone", "y", 0);
        client.expect(&["PUBLISH y/left/alone \"y\" q0"]);
        // By the name it was given or by the one it got.
        client.unsubscribe("y/other/z/b");
        publisher.say("y/z/b", "x", 0);
        client.expect_silence();
    }
}

/// [MQTT5-3.3.2-7]: an alias stands for the topic that the client has sent.
#[test]
fn a_topic_alias_is_resolved_before_the_rules() {
    let node = rewriting(&[(All, "a/#", "a/(.*)", "b/$1")]);
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("b/#", 0);
    let mut publisher = node.client(V5, "publisher");
    publisher.publish(Publish::new("a/1", "named").property(two(TOPIC_ALIAS, 1)));
    publisher.publish(Publish::new("", "aliased").property(two(TOPIC_ALIAS, 1)));
    watcher.expect(&["PUBLISH b/1 \"named\" q0", "PUBLISH b/1 \"aliased\" q0"]);
}

#[test]
fn a_retained_message_is_kept_and_removed_at_its_new_topic() {
    let node = rewriting(&[(RewriteAction::Publish, "a/#", "a/(.*)", "b/$1")]);
    for version in ALL_VERSIONS {
        let mut publisher = node.client(version, "publisher");
        publisher.publish(Publish::new("a/1", "kept").retained());
        let mut client = node.client(version, "client");
        client.subscribe("a/#", 0);
        client.expect_silence();
        client.subscribe("b/#", 0);
        client.expect(&["PUBLISH b/1 \"kept\" q0 retain"]);
        publisher.publish(Publish::new("a/1", "").retained());
        client.expect(&["PUBLISH b/1 \"\" q0"]);
        client.subscribe("b/#", 0);
        client.expect_silence();
    }
}

#[test]
fn a_will_goes_to_its_new_topic() {
    let node = rewriting(&[(All, "gone", ".*", "who/${username}/${clientid}/gone")]);
    let mut watcher = node.client(V5, "watcher");
    watcher.subscribe("#", 0);
    for version in ALL_VERSIONS {
        let will = Will::new("gone", "x", 0);
        node.connect(&as_fin(version, "client").will(will.clone())).die();
        watcher.expect(&["PUBLISH who/fin/client/gone \"x\" q0"]);
        node.connect(&as_fin(version, "client").will(Will::new("left", "x", 0))).die();
        watcher.expect(&["PUBLISH left \"x\" q0"]);
        // Without a user name there is no such topic.
        let mut refused = node.connecting(&Connect::new(version, "client").will(will));
        if version == V5 {
            refused.expect(&["CONNACK 0x90"]);
        }
        refused.expect_closed();
        watcher.expect_silence();
    }
}

#[test]
fn a_share_keeps_its_name() {
    let node = rewriting(&[(Subscribe, "a/#", "a/(.*)", "b/$1")]);
    for version in ALL_VERSIONS {
        let mut members = ["$share/g/a/#", "$queue/a/#"].map(|filter| {
            let mut member = node.client(version, filter);
            member.subscribe(filter, 0);
            member
        });
        let mut publisher = node.client(version, "publisher");
        for payload in ["1", "2"] {
            publisher.say("b/x", payload, 0);
            members.iter_mut().for_each(|it| it.expect(&[&format!("PUBLISH b/x \"{payload}\" q0")]));
        }
        members[0].unsubscribe("$share/g/a/#");
        publisher.say("b/x", "3", 0);
        members[0].expect_silence();
        members[1].expect(&["PUBLISH b/x \"3\" q0"]);
    }
}

/// Otherwise a client could choose a name to see what others see, or to speak for them.
#[test]
fn a_name_that_would_widen_a_filter_is_refused() {
    let node = rewriting(&[(All, "mine/#", "mine(/.*)?", "devices/${clientid}$1")]);
    for version in ALL_VERSIONS {
        let mut watcher = node.client(version, "watcher");
        watcher.subscribe("#", 0);
        let mut good = node.client(version, "good");
        good.subscribe("mine/#", 0);
        shout(&mut good, version, "mine/x");
        good.expect(&["PUBLISH devices/good/x \"x\" q0"]);
        watcher.expect(&["PUBLISH devices/good/x \"x\" q0"]);
        for name in ["+", "#", "good/x", "a+"] {
            let mut bad = node.client(version, name);
            bad.send(&packets::subscribe(version, 1, &[], &[("mine/#", 0), ("mine", 1), ("else", 1)]));
            bad.expect(&[if version == V5 { "SUBACK #1 [8F 8F 01]" } else { "SUBACK #1 [80 80 01]" }]);
            bad.send(&packets::unsubscribe(version, 2, &["mine/#", "else"]));
            bad.expect(&[if version == V5 { "UNSUBACK #2 [8F 00]" } else { "UNSUBACK #2 []" }]);
            for (id, answers) in
                [(0, ["", ""]), (1, ["PUBACK #7", "PUBACK #7 0x90"]), (2, ["PUBREC #7", "PUBREC #7 0x90"])]
            {
                bad.send(&Publish::new("mine/x", "bad").qos(id, 7).bytes(version));
                if id > 0 {
                    bad.expect(&[answers[usize::from(version == V5)]]);
                }
                if id == 2 && version != V5 {
                    bad.pubrel(7);
                    bad.expect(&["PUBCOMP #7"]);
                }
            }
            bad.expect_silence();
        }
        watcher.expect_silence();
        good.expect_silence();
    }
}

/// [MQTT5-4.7.2-1]: what the rules make is subject to the rules of the standard and of the node.
#[test]
fn a_rewritten_topic_has_the_limits_of_others() {
    let node = rewriting(&[(All, "own/#", "own/(.*)", "$1/x"), (All, "deep/#", "deep/(.*)", "$1/$1/$1/$1")]);
    let mut client = node.client(V5, "client");
    let deep = format!("deep/{}", ["x"; 40].join("/"));
    client.send(&Publish::new("own/$SYS", "x").qos(1, 1).bytes(V5));
    client.send(&Publish::new(&deep, "x").qos(1, 2).bytes(V5));
    client.send(&packets::subscribe(V5, 3, &[], &[(&deep, 0)]));
    client.expect(&["PUBACK #1 0x87", "PUBACK #2 0x90", "SUBACK #3 [8F]"]);
}

#[test]
fn every_client_is_subscribed_when_it_connects() {
    let node = subscribing(&[("to/${clientid}/#", 1, 0), ("user/${username}", 2, 0), ("all", 0, 0)]);
    for version in ALL_VERSIONS {
        let mut anonymous = node.client(version, "anonymous");
        let mut fin = node.connect(&as_fin(version, "fins"));
        let mut publisher = node.client(version, "publisher");
        publisher.say("to/fins/x", "1", 2);
        publisher.say("to/anonymous", "2", 0);
        publisher.say("user/fin", "3", 1);
        publisher.say("user/", "4", 1);
        fin.expect(&["PUBLISH to/fins/x \"1\" q1 #1", "PUBLISH user/fin \"3\" q1 #2"]);
        anonymous.expect(&["PUBLISH to/anonymous \"2\" q0"]);
        publisher.send(&Publish::new("all", "5").bytes(version));
        for client in [&mut fin, &mut anonymous, &mut publisher] {
            client.expect(&["PUBLISH all \"5\" q0"]);
            client.expect_silence();
        }
    }
}

/// Retain Handling 0, 1 and 2 as in SUBSCRIBE [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11].
#[test]
fn retained_messages_follow_the_connack() {
    for version in ALL_VERSIONS {
        for (retain_handling, at_first, again) in [(0, true, true), (1, true, false), (2, false, false)] {
            let node = subscribing(&[("news/#", 1, retain_handling)]);
            let mut publisher = node.client(version, "publisher");
            publisher.unsubscribe("news/#");
            publisher.publish(Publish::new("news/1", "old").retained());
            for is_there in [at_first, again] {
                let mut client = node.connect(&Connect::lasting(version, "client"));
                if is_there {
                    client.expect(&["PUBLISH news/1 \"old\" q0 retain"]);
                }
                client.expect_silence();
                client.die();
            }
        }
    }
}

#[test]
fn a_client_may_leave_and_has_its_own_way_until_it_connects_again() {
    let node = subscribing(&[("news", 0, 2)]);
    for version in ALL_VERSIONS {
        let mut publisher = node.client(version, "publisher");
        publisher.unsubscribe("news");
        let connect = Connect::lasting(version, "client");
        let mut client = node.connect(&connect);
        client.unsubscribe("news");
        publisher.say("news", "1", 0);
        client.expect_silence();
        client.die();
        let mut client = node.connect(&connect);
        publisher.say("news", "2", 0);
        client.expect(&["PUBLISH news \"2\" q0"]);
        // What it has asked for by itself stays as it is.
        let id = varint(SUBSCRIPTION_ID, 9);
        client.subscribe_with("news", 1, if version == V5 { &id } else { &[] });
        client.die();
        let mut client = node.connect(&connect);
        publisher.say("news", "3", 1);
        let line = client.receive();
        let ending = if version == V5 { " id=9" } else { "" };
        assert!(line.starts_with("PUBLISH news \"3\" q1 #") && line.ends_with(ending), "{line}");
        client.expect_silence();
        node.connect(&Connect::new(version, "client")).disconnect();
    }
}

#[test]
fn an_automatic_subscription_can_be_shared() {
    let node = subscribing(&[("$share/workers/jobs/#", 1, 0)]);
    for version in ALL_VERSIONS {
        let mut one = node.connect(&Connect::lasting(version, "one"));
        shout(&mut one, version, "jobs/1");
        one.expect(&["PUBLISH jobs/1 \"x\" q0"]);
        // What waits for a member that is away goes to the next one that comes.
        one.die();
        let mut outsider = node.client(version, "outsider");
        outsider.unsubscribe("$share/workers/jobs/#");
        outsider.say("jobs/2", "y", 1);
        let mut two = node.connect(&Connect::new(version, "two"));
        assert!(two.receive().starts_with("PUBLISH jobs/2 \"y\" q1"));
        drop(two);
        node.connect(&Connect::new(version, "one")).disconnect();
    }
}

#[test]
fn a_client_whose_name_does_not_fit_connects_all_the_same() {
    let node = subscribing(&[("to/${clientid}/#", 0, 0), ("all", 0, 0)]);
    for version in ALL_VERSIONS {
        let mut watcher = node.client(version, "x");
        for name in ["+", "#", "x/y"] {
            let mut client = node.client(version, name);
            shout(&mut watcher, version, "to/x/y");
            watcher.expect(&["PUBLISH to/x/y \"x\" q0"]);
            client.expect_silence();
            shout(&mut client, version, "all");
            client.expect(&["PUBLISH all \"x\" q0"]);
            watcher.expect(&["PUBLISH all \"x\" q0"]);
        }
    }
}

#[test]
fn automatic_subscriptions_count_and_what_is_not_available_is_left_out() {
    let mut settings = AutoSubscribeSettings::default();
    for filter in ["$share/g/a", "a/+", "b", "c", "d"] {
        settings.add(filter, 2, false, false, 0).unwrap();
    }
    let node = TestNode::with(|config| {
        config.broker.auto_subscribe = settings;
        config.session.subscriptions_max = 2;
        config.session.shared_available = false;
        config.session.wildcard_available = false;
        config.session.set_qos_max(1);
    });
    for version in ALL_VERSIONS {
        let mut client = node.client(version, "client");
        for (topic, is_there) in [("a", false), ("a/x", false), ("b", true), ("c", true), ("d", false)] {
            client.send(&Publish::new(topic, "x").qos(1, 5).bytes(version));
            let mut lines = [client.receive(), if is_there { client.receive() } else { String::new() }];
            lines.sort();
            let code = if version == V5 && !is_there { " 0x10" } else { "" };
            assert!(lines.contains(&format!("PUBACK #5{code}")), "{topic}: {lines:?}");
            assert_eq!(
                lines.iter().any(|line| line.starts_with(&format!("PUBLISH {topic} \"x\" q1"))),
                is_there
            );
        }
        client.send(&packets::subscribe(version, 1, &[], &[("e", 0), ("b", 0)]));
        client.expect(&[if version == V5 { "SUBACK #1 [97 00]" } else { "SUBACK #1 [80 00]" }]);
    }
}

/// The messages that came before the next answer to a PINGREQ, which waits for nothing.
#[track_caller]
fn expect_exactly(watcher: &mut Peer, payloads: std::ops::RangeInclusive<u32>) {
    for payload in payloads {
        watcher.expect(&[&format!("PUBLISH a \"{payload}\" q0")]);
    }
    watcher.expect_silence();
}

#[test]
fn a_client_above_its_message_rate_waits_and_loses_nothing() {
    let node = node(|config| config.session.message_rate_max = 5);
    for version in ALL_VERSIONS {
        let mut watcher = node.client(version, "watcher");
        watcher.subscribe("a", 0);
        let mut client = node.connect(&Connect::new(version, "client").keep_alive(1));
        let mut bytes = Vec::new();
        for number in 1..=12_u16 {
            bytes.extend(Publish::new("a", &number.to_string()).qos(1, number).bytes(version));
        }
        bytes.extend(packets::PINGREQ);
        client.send(&bytes);
        let acknowledge = |client: &mut Peer, numbers: std::ops::RangeInclusive<u32>| {
            numbers.for_each(|number| client.expect(&[&format!("PUBACK #{number}")]));
        };
        // A second's worth at once, then one each 200 ms; what is behind it waits with it.
        acknowledge(&mut client, 1..=5);
        expect_exactly(&mut watcher, 1..=5);
        node.advance(Duration::from_millis(200));
        acknowledge(&mut client, 6..=6);
        expect_exactly(&mut watcher, 6..=6);
        node.advance(Duration::from_millis(1_300));
        acknowledge(&mut client, 7..=12);
        expect_exactly(&mut watcher, 7..=12);
        client.expect(&["PINGRESP"]);
        // From here on it is silent by itself.
        node.advance_secs(3);
        client.expect_refusal(0x8D);
    }
}

#[test]
fn a_client_above_its_byte_rate_is_not_silent() {
    let node = node(|config| config.session.byte_rate_max = 100);
    for version in ALL_VERSIONS {
        let mut watcher = node.client(version, "watcher");
        watcher.subscribe("a", 0);
        let mut client = node.connect(&Connect::new(version, "client").keep_alive(1));
        // Five times its keep alive without a whole packet.
        let payload = "x".repeat(500);
        client.send(&Publish::new("a", &payload).qos(1, 1).bytes(version));
        node.advance(Duration::from_millis(3_500));
        watcher.expect_silence();
        node.advance(Duration::from_millis(1_500));
        client.expect(&["PUBACK #1"]);
        watcher.expect(&[&format!("PUBLISH a \"{payload}\" q0")]);
        // A client that trickles within its rate is silent as before.
        client.send(&Publish::new("a", &payload).qos(1, 1).bytes(version)[..1]);
        node.advance_secs(3);
        client.expect_refusal(0x8D);
    }
}

#[test]
fn a_client_that_waits_hears_others_and_that_the_node_stops() {
    let node = node(|config| config.session.message_rate_max = 1);
    let mut client = node.client(V5, "client");
    client.subscribe("b", 0);
    client.send(
        &[Publish::new("a", "1").qos(1, 1).bytes(V5), Publish::new("a", "2").qos(1, 2).bytes(V5)].concat(),
    );
    client.expect(&["PUBACK #1 0x10"]);
    let mut other = node.client(V5, "other");
    other.say("b", "x", 0);
    client.expect(&["PUBLISH b \"x\" q0"]);
    drop(node);
    client.expect_refusal(0x8B);
}
