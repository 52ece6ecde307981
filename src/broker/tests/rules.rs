//! What the node's own rules refuse is counted.

use super::{Node, Settings, secs};
use crate::broker::{AutoSubscribeSettings, RewriteSettings};
use crate::codec::Qos;
use crate::metrics::{DropReason, ReasonLabel};
use crate::session;
use crate::topic::{RewriteAction, TopicRef};

impl Node {
    fn filters_refused(&self, reason: &'static str) -> u64 {
        self.metrics.filters_refused.get_or_create(&ReasonLabel { reason }).get()
    }
}

#[test]
fn what_a_rule_has_no_topic_for_is_counted() {
    let mut rewrite = RewriteSettings::default();
    rewrite.add(RewriteAction::All, "a/#", "a/(.*)", "b/${clientid}/$1").unwrap();
    let node = Node::with(Settings { rewrite, ..Settings::default() }, session::Settings::default());
    let counts = || (node.filters_refused("rewrite"), node.dropped(DropReason::RewriteRefused));
    let good = node.client("good");
    good.subscribe("a/x", Qos::AtMostOnce);
    good.publish("a/x", "1", Qos::AtLeastOnce);
    assert_eq!(counts(), (0, 0));
    let bad = node.client("b/d");
    bad.publish("a/x", "1", Qos::AtLeastOnce);
    assert_eq!(counts(), (0, 1));
    bad.publish("a/x", "1", Qos::AtMostOnce);
    assert_eq!(counts(), (0, 2));
    bad.subscribe("a/x", Qos::AtMostOnce);
    assert_eq!(counts(), (1, 2));
}

/// A rule for a topic is one for later, too.
#[test]
fn a_delayed_message_is_rewritten_behind_its_delay() {
    let mut rewrite = RewriteSettings::default();
    rewrite.add(RewriteAction::Publish, "$delayed/7/#", ".*/whole", "whole").unwrap();
    rewrite.add(RewriteAction::All, "old/#", "old/(.*)", "new/$1").unwrap();
    let node = Node::with(Settings { rewrite, ..Settings::default() }, session::Settings::default());
    let reader = node.client("reader");
    reader.subscribe("old/#", Qos::AtMostOnce);
    reader.subscribe("whole", Qos::AtMostOnce);
    let publisher = node.client("publisher");
    // What is explained is what is done.
    let delayed = TopicRef::parse("$delayed/1/old/1").unwrap();
    let explained = node.broker.look_up_rewrite(None, delayed).unwrap();
    assert_eq!(explained.unwrap().as_str(), "$delayed/1/new/1");
    for topic in ["$delayed/1/old/1", "$delayed/1/other", "$delayed/7/old/whole"] {
        assert_eq!(publisher.publish(topic, "x", Qos::AtLeastOnce), "Success");
    }
    assert_eq!(reader.received(), ["PUBLISH whole:x q0"]);
    node.advance(secs(1));
    assert_eq!(reader.received(), ["PUBLISH new/1:x q0"]);
}

#[test]
fn what_a_client_cannot_be_subscribed_to_is_counted() {
    let mut auto_subscribe = AutoSubscribeSettings::default();
    for filter in ["${username}", "to/${clientid}", "all", "more"] {
        auto_subscribe.add(filter, 0, false, false, 0).unwrap();
    }
    let sessions = session::Settings { subscriptions_max: 2, ..session::Settings::default() };
    let node = Node::with(Settings { auto_subscribe, ..Settings::default() }, sessions);
    let good = node.client("good");
    assert_eq!((node.filters_refused("automatic"), node.gauges()), (1, [1, 1, 2]), "more than it may have");
    let bad = node.client("b/d");
    assert_eq!((node.filters_refused("automatic"), node.gauges()), (2, [2, 2, 4]), "no level of a topic");
    drop((good, bad));
}
