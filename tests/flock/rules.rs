//! A node's own rules in a cluster: subscriptions that it makes and topics that it rewrites reach every node.

use crate::support::flock::Flock;
use crate::support::mqtt::{Client, Options, Version};

const RULES: &str = "
[[auto_subscribe]]
filter = 'to/${clientid}/#'
qos = 1

[[rewrite]]
source = 'old/#'
pattern = 'old/(.*)'
target = 'to/$1'
";

#[test]
fn automatic_subscriptions_and_rewritten_topics_work_across_nodes() {
    // The listener's section is the last one before others that stand by themselves.
    let flock = Flock::start_with(3, |at, spec| {
        if at == 0 {
            RULES.clone_into(&mut spec.listener_lines);
        }
    });
    let [ruled, plain, _] = [0, 1, 2].map(|n| &flock.nodes[n]);
    for version in [Version::V31, Version::V311, Version::V5] {
        let mut subscriber = Client::connect(ruled.mqtt(), &Options::new(version, "subscriber"));
        flock.wait_route("to/subscriber/#", &["node1"]);
        let mut publisher = Client::connect(plain.mqtt(), &Options::new(version, "publisher"));
        publisher.publish("to/subscriber/1", b"x", 1);
        let message = subscriber.expect_message();
        assert_eq!((message.topic.as_str(), message.qos), ("to/subscriber/1", 1));

        // Rewritten where it is published, not where it arrives.
        let mut listener = Client::connect(plain.mqtt(), &Options::new(version, "listener"));
        listener.subscribe("to/listener", 1);
        listener.subscribe("old/#", 1);
        subscriber.publish("old/listener", b"y", 1);
        assert_eq!(listener.expect_message().topic, "to/listener");
        publisher.publish("old/listener", b"z", 1);
        assert_eq!(listener.expect_message().topic, "old/listener");

        subscriber.unsubscribe("to/subscriber/#");
        flock.wait_route("to/subscriber/#", &[]);
        [subscriber, publisher, listener].into_iter().for_each(Client::disconnect);
    }
}
