//! Who would get a message: every reason for and against, and that asking changes nothing.

use super::*;
use crate::broker::{Explanation, Question, RewriteSettings};
use crate::codec::{Publish, Qos, RetainHandling, SubscribeOptions};
use crate::session::Settings as Sessions;
use crate::topic::RewriteAction;

impl Node {
    fn ask(&self, question: Question) -> Explanation {
        self.broker.explain(self.clock.now(), &question)
    }

    /// Each copy as `client outcome reason qN filter,filter`.
    fn explained(&self, question: Question) -> Vec<String> {
        let lines = self.ask(question).copies.into_iter().map(|copy| {
            let outcome = format!("{:?}", copy.outcome);
            format!("{} {outcome} {} q{} {}", copy.client, copy.reason, copy.qos, copy.filters.join(","))
        });
        lines.collect()
    }
}

fn question(topic: &str) -> Question {
    Question::new(topic).unwrap()
}

fn at_qos(topic: &str, qos: u8) -> Question {
    question(topic).at_qos(qos).unwrap()
}

#[track_caller]
fn check(node: &Node, question: Question, expected: &[&str]) {
    assert_eq!(node.explained(question.clone()), expected, "{question:?}");
    assert_eq!(node.explained(question), expected, "asking again");
}

#[test]
fn a_connected_subscriber_gets_it_at_the_lower_qos() {
    let node = Node::new();
    let [fin, gus] = ["fin", "gus"].map(|it| node.client(it));
    fin.subscribe("a/+", Qos::AtMostOnce);
    gus.subscribe("a/b", Qos::ExactlyOnce);
    gus.subscribe("other", Qos::ExactlyOnce);
    check(&node, question("a/b"), &["fin Sent matched q0 a/+", "gus Sent matched q1 a/b"]);
    check(&node, at_qos("a/b", 2), &["fin Sent matched q0 a/+", "gus Sent matched q2 a/b"]);
    check(&node, at_qos("a/b", 0), &["fin Sent matched q0 a/+", "gus Sent matched q0 a/b"]);
    check(&node, question("a/c"), &["fin Sent matched q0 a/+"]);
    check(&node, question("b"), &[]);
    assert_eq!(node.ask(question("a/b")).verdict, "2 clients here would get it");
    assert_eq!(node.ask(question("a/c")).verdict, "1 client here would get it");
    assert_eq!(node.ask(question("b")).verdict, "nobody here would get it: no subscription matches");
}

#[test]
fn overlapping_subscriptions_bring_one_copy_or_one_each_as_the_settings_say() {
    let whole = [
        (Overlapping::Once, vec!["fin Sent matched q1 #,$exclusive/a,a"]),
        (
            Overlapping::Each,
            vec!["fin Sent matched q0 #", "fin Sent matched q1 $exclusive/a", "fin Sent matched q1 a"],
        ),
    ];
    for (overlapping, expected) in whole {
        let node = Node::with(Settings { overlapping, ..Settings::default() }, Sessions::default());
        let fin = node.client("fin");
        fin.subscribe("#", Qos::AtMostOnce);
        fin.subscribe("a", Qos::AtLeastOnce);
        fin.subscribe("$exclusive/a", Qos::ExactlyOnce);
        check(&node, question("a"), &expected);
    }
}

/// [MQTT5-3.8.3-3].
#[test]
fn no_local_keeps_a_publishers_own_message_away() {
    let node = Node::new();
    let fin = node.client("fin");
    let no_local = SubscribeOptions { no_local: true, ..SubscribeOptions::with_qos(Qos::AtLeastOnce) };
    fin.subscribe_with("a", no_local, None);
    let by = |publisher| question("a").by_publisher(publisher).unwrap();
    check(&node, by("fin"), &["fin Own no_local q1 a"]);
    check(&node, by("gus"), &["fin Sent matched q1 a"]);
    check(&node, question("a"), &["fin Sent matched q1 a"]);
    assert_eq!(node.ask(by("fin")).verdict, "nobody here would get it; 1 would not: no_local");
    fin.subscribe("#", Qos::AtMostOnce);
    check(&node, by("fin"), &["fin Sent matched q0 #", "fin Own no_local q1 a"]);
}

#[test]
fn a_client_that_is_away_is_queued_for_or_not() {
    let node = Node::new();
    let fin = node.durable("fin");
    fin.subscribe("a/#", Qos::AtMostOnce);
    fin.subscribe("b/#", Qos::ExactlyOnce);
    fin.lose_connection();
    check(&node, question("a"), &["fin Dropped offline q0 a/#"]);
    check(&node, question("b"), &["fin Kept away q1 b/#"]);
    check(&node, at_qos("b", 0), &["fin Dropped offline q0 b/#"]);
    assert_eq!(node.ask(question("a")).verdict, "nobody here would get it; 1 would not: offline");
    node.advance(secs(3_601));
    check(&node, question("b"), &[]);
    let gone = node.ask(question("b").for_client("fin").unwrap());
    assert_eq!(gone.verdict, "fin has no session here: it never came, or its session has expired");
}

#[test]
fn a_full_queue_drops_the_new_or_the_oldest_message() {
    for queue_drops_oldest in [false, true] {
        let sessions = Sessions { queue_len_max: 1, queue_drops_oldest, ..Sessions::default() };
        let node = Node::with_sessions(sessions);
        let fin = node.durable("fin");
        fin.subscribe("a", Qos::AtLeastOnce);
        fin.lose_connection();
        node.client("gus").publish("a", "1", Qos::AtLeastOnce);
        let copy = node.ask(question("a")).copies.remove(0);
        let found = (copy.reason, copy.why.as_str());
        let expected = if queue_drops_oldest {
            let why = "away; kept until it is back (1 of 1 in its queue); the queue is full, so 1 older would be dropped for it";
            ("away", why)
        } else {
            ("queue_full", found.1)
        };
        assert_eq!(found, expected);
        assert!(
            queue_drops_oldest || found.1.starts_with("its queue is full: 1 of 1 messages, "),
            "{found:?}"
        );
    }
}

#[test]
fn what_a_connected_client_waits_for_is_named() {
    let node =
        Node::with_sessions(Sessions { inflight_max: 1, outbox_bytes_max: 100, ..Sessions::default() });
    let [fin, gus] = ["fin", "gus"].map(|it| node.durable(it));
    fin.subscribe("a", Qos::AtLeastOnce);
    gus.publish("a", "1", Qos::AtLeastOnce);
    check(&node, question("a"), &["fin Waits inflight_full q1 a"]);
    check(&node, at_qos("a", 0), &["fin Sent matched q0 a"]);
    fin.consume();
    check(&node, question("a"), &["fin Sent matched q1 a"]);
    fin.stop_reading();
    gus.publish("a", "2", Qos::AtMostOnce);
    check(&node, at_qos("a", 0), &["fin Sent matched q0 a"]);
    let why = node.ask(at_qos("a", 0)).copies.remove(0).why;
    assert!(why.starts_with("sent, behind ") && why.ends_with(" bytes that wait for its socket"), "{why}");
    gus.publish("a", &"x".repeat(100), Qos::AtMostOnce);
    check(&node, at_qos("a", 0), &["fin Dropped outbox_full q0 a"]);
    check(&node, question("a"), &["fin Waits outbox_full q1 a"]);
}

#[test]
fn one_member_of_a_group_is_chosen_without_taking_its_turn() {
    let node = Node::with_strategy(SharedStrategy::RoundRobinPerGroup);
    let members = ["fin", "gus", "hal"].map(|it| node.durable(it));
    for member in &members {
        member.subscribe("$share/g/a", Qos::AtLeastOnce);
    }
    let publisher = node.client("publisher");
    for round in 0..6 {
        let next = round % 3;
        let expected: Vec<String> = ["fin", "gus", "hal"]
            .iter()
            .enumerate()
            .map(|(at, member)| {
                let outcome = if at == next { "Sent matched" } else { "PassedOver passed_over" };
                format!("{member} {outcome} q1 $share/g/a")
            })
            .collect();
        check(&node, question("a"), &expected.iter().map(String::as_str).collect::<Vec<_>>());
        publisher.publish("a", "x", Qos::AtLeastOnce);
        assert_eq!(
            members.each_ref().map(|it| it.consume().len()),
            [0, 1, 2].map(|at| usize::from(at == next))
        );
    }
    members[0].lose_connection();
    let copies = node.ask(question("a")).copies;
    assert_eq!(copies[0].why, "away; round_robin_per_group gives it to gus");
    assert_eq!(copies[1].why, "sent at once; chosen of 3 members by round_robin_per_group");
    assert_eq!(copies[2].why, "could take it; round_robin_per_group gives it to gus");
    assert_eq!(node.ask(question("a")).verdict, "1 client here would get it");
    // About one member: itself, and who gets it instead.
    let hal = question("a").for_client("hal").unwrap();
    let verdict = node.ask(hal.clone()).verdict;
    assert_eq!(verdict, "hal would not get it: could take it; round_robin_per_group gives it to gus");
    check(&node, hal, &["gus Sent matched q1 $share/g/a", "hal PassedOver passed_over q1 $share/g/a"]);
    for member in &members[1..] {
        member.lose_connection();
    }
    let away = node.ask(question("a")).copies;
    assert_eq!(away.iter().filter(|copy| copy.reason == "away").count(), 1);
    check(
        &node,
        at_qos("a", 0),
        &[
            "fin Dropped offline q0 $share/g/a",
            "gus PassedOver passed_over q0 $share/g/a",
            "hal PassedOver passed_over q0 $share/g/a",
        ],
    );
}

#[test]
fn a_client_is_told_why_each_of_its_subscriptions_does_not_match() {
    let node = Node::new();
    let fin = node.client("fin");
    for filter in ["a/b", "a/b/c/#", "x/+", "$share/g/a/c", "a/+"] {
        fin.subscribe(filter, Qos::AtLeastOnce);
    }
    node.client("gus").subscribe("#", Qos::AtLeastOnce);
    let explanation = node.ask(question("a/b").for_client("fin").unwrap());
    let parting: Vec<(&str, &str)> =
        explanation.not_matching.iter().map(|it| (it.filter.as_str(), it.why.as_str())).collect();
    assert_eq!(
        parting,
        [
            ("a/b/c/#", r#"the topic ends before level 3, which is to be "c""#),
            ("x/+", r#"level 1 is "a", not "x""#),
            ("$share/g/a/c", r#"level 2 is "b", not "c""#),
        ]
    );
    assert_eq!(explanation.verdict, "fin would get it: sent at once");
    let copies = explanation.copies;
    assert_eq!(copies.len(), 1, "others are not asked about");
    assert_eq!(
        (copies[0].client.as_str(), &copies[0].filters),
        ("fin", &vec!["a/+".to_owned(), "a/b".to_owned()])
    );
    let session = explanation.client.unwrap().session.unwrap();
    assert_eq!((session.connected, session.persistent, session.subscriptions), (true, false, 5));
}

#[test]
fn rules_and_reserved_topics_are_applied_first_and_nothing_is_counted() {
    let mut rewrite = RewriteSettings::default();
    rewrite.add(RewriteAction::All, "old/#", "old/(.*)", "new/$1").unwrap();
    rewrite.add(RewriteAction::Publish, "mine/#", "mine/(.*)", "of/${clientid}/$1").unwrap();
    let node = Node::with(Settings { rewrite, ..Settings::default() }, Sessions::default());
    let fin = node.client("fin");
    fin.subscribe("#", Qos::AtLeastOnce);
    fin.subscribe("$SYS/#", Qos::AtLeastOnce);
    let dropped = node.dropped_in_all();
    let check = |question: Question, published_as: Option<&str>, words: &str| {
        let found = node.ask(question);
        assert_eq!(found.published_as.as_deref(), published_as, "{found:?}");
        assert!(found.verdict.contains(words), "{words:?} is not in {:?}", found.verdict);
        found
    };
    assert!(check(question("old/a"), Some("new/a"), "1 client here").rewritten);
    assert!(!check(question("old/a").forwarded(), Some("old/a"), "1 client here").rewritten);
    check(question("mine/a").by_publisher("fin").unwrap(), Some("of/fin/a"), "1 client here");
    check(
        question("mine/a"),
        None,
        "nobody would get it: a rewrite rule applies and makes no topic: it asks who publishes",
    );
    check(question("mine/a").by_publisher("f/n").unwrap(), None, "cannot be a level of a topic");
    let later = check(question("$delayed/5/a"), Some("a"), "in 5 s, not now; 1 client here");
    assert_eq!((later.delay_seconds, later.rewritten), (Some(5), false));
    check(question("$delayed/x/a"), None, "$delayed/SECONDS/TOPIC");
    check(question("$delayed/1/$a"), None, "$delayed/SECONDS/TOPIC");
    check(question("$other"), None, "clients may not publish to topics that begin with $");
    let sys = check(question("$SYS/broker/version"), None, "only the node itself publishes");
    assert_eq!(sys.copies.len(), 1, "who gets what the node publishes");
    assert_eq!(node.dropped_in_all(), dropped);
}

#[test]
fn what_is_retained_for_the_topic_is_told() {
    let node = Node::new();
    assert!(node.ask(question("a")).retained.is_none());
    let mut publish = Publish { qos: Qos::AtLeastOnce, retain: true, ..Publish::new("a", b"abc") };
    publish.properties.message_expiry = Some(10);
    node.client("fin").publish_with(publish);
    let found = node.ask(question("a")).retained.unwrap();
    assert_eq!((found.qos, found.payload_bytes, found.expires_in_seconds), (1, 3, Some(10)));
    node.clock.0.set(node.clock.now() + secs(10));
    assert!(node.ask(question("a")).retained.is_none(), "expired, though nobody has collected it");
}

#[test]
fn a_long_answer_is_cut_and_the_rest_is_counted() {
    let node = Node::new();
    let peers: Vec<Peer> = (0..1_003).map(|n| node.client(&format!("c{n}"))).collect();
    peers.iter().for_each(|peer| _ = peer.subscribe("a", Qos::AtMostOnce));
    peers.iter().take(10).for_each(|peer| _ = peer.subscribe("$share/g/a", Qos::AtMostOnce));
    let found = node.ask(question("a"));
    assert_eq!((found.copies.len(), found.unlisted, found.truncated), (1_000, 13, true));
    assert!(found.verdict.contains("13 more subscriptions match and are not listed"), "{}", found.verdict);
    let one = node.ask(question("a").for_client("c1002").unwrap());
    assert_eq!((one.copies.len(), one.unlisted), (1, 0));
}

#[test]
fn what_no_message_can_have_is_refused() {
    let check = |topic: &str, words: &str| {
        let error = Question::new(topic).unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in {error:?}");
    };
    check("", "at least one character");
    check("a/+", "ask about one topic");
    check("#", "ask about one topic");
    check("a\0", "U+0000");
    check(&"x".repeat(65_536), "at most 65535 bytes");
    assert!(question("a").at_qos(3).is_err());
    assert!(question("a").for_client("").is_err());
    assert!(question("a").by_publisher("").is_err());
}

/// Retain Handling and Retain As Published have nothing to do with who gets it.
#[test]
fn other_options_do_not_matter() {
    let node = Node::new();
    let fin = node.client("fin");
    let options = SubscribeOptions {
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
        ..SubscribeOptions::with_qos(Qos::AtLeastOnce)
    };
    fin.subscribe_with("a", options, Some(7));
    check(&node, question("a"), &["fin Sent matched q1 a"]);
}
