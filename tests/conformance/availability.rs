//! What a node does not offer: it says so in the CONNACK, and refuses it by its code. Retained messages are in
//! `retained`.

use flockmq::session::Settings;

use crate::node::TestNode;
use crate::packets::{self, Connect, Publish, V5, V31, V311, Will};
use crate::property::{SUBSCRIPTION_ID, varint};

fn node(change: impl FnOnce(&mut Settings)) -> TestNode {
    TestNode::with(|config| change(&mut config.session))
}

#[track_caller]
fn connack(node: &TestNode) -> String {
    node.connecting(&Connect::new(V5, "asking")).receive()
}

/// [MQTT5-3.2.2-9] [MQTT5-3.2.2-10] [MQTT5-3.2.2-11] [MQTT5-3.2.2-12] and section 3.2.2.3.4: 0x9B.
#[test]
fn a_lower_maximum_qos_is_announced_and_kept() {
    for max in [0, 1] {
        let node = node(|settings| settings.set_qos_max(max));
        assert!(connack(&node).contains(&format!(" maximum-qos={max}")));
        for version in [V31, V311, V5] {
            for qos in 0..=2 {
                let publish = Publish::new("a", "x").qos(qos, 7).bytes(version);
                let mut peer = node.client(version, "client");
                peer.send(&publish);
                if qos > max {
                    peer.expect_refusal(0x9B);
                } else if qos == 1 {
                    assert!(peer.receive().starts_with("PUBACK #7"));
                } else {
                    peer.expect_silence();
                }
                let connect = Connect::new(version, "client").will(Will::new("a", "x", qos));
                let mut peer = node.connecting(&connect);
                let refusal = if version == V5 { "CONNACK 0x9b" } else { "closed" };
                let expected = if qos > max { refusal } else { "CONNACK 0x00" };
                let answer = peer.receive();
                assert!(answer.starts_with(expected), "{version:?} Will at {qos}: {answer}");
            }
            // Every QoS may be asked for; the highest there is is granted.
            let mut peer = node.client(version, "client");
            peer.send(&packets::subscribe(version, 1, &[], &[("a", 0), ("b", 1), ("c", 2)]));
            peer.expect(&[&format!("SUBACK #1 [00 {max:02X} {max:02X}]", max = max.min(1))]);
        }
    }
    assert!(!connack(&TestNode::start()).contains("maximum-qos"));
}

/// [MQTT311-3.8.3-2] and section 3.2.2.3.11: 0xA2, for older clients a failure of the filter.
#[test]
fn without_wildcards_filters_that_have_them_are_refused() {
    let node = node(|settings| settings.wildcard_available = false);
    assert!(connack(&node).contains(" wildcard-available=0"));
    for filter in ["#", "+", "a/#", "+/b", "$share/g/a/+"] {
        for version in [V31, V311] {
            let mut old = node.client(version, "client");
            old.send(&packets::subscribe(version, 1, &[], &[("a", 0), (filter, 0), ("b", 1)]));
            old.expect(&["SUBACK #1 [00 80 01]"]);
        }
        let mut peer = node.client(V5, "client");
        peer.send(&packets::subscribe(V5, 1, &[], &[("a", 0), (filter, 0)]));
        peer.expect_refusal(0xA2);
    }
    let mut peer = node.client(V5, "client");
    peer.subscribe("a", 1);
    peer.subscribe("$share/g/a", 1);
    assert!(!connack(&TestNode::start()).contains("wildcard-available"));
}

/// Section 3.2.2.3.12: 0xA1.
#[test]
fn without_subscription_identifiers_they_are_refused() {
    let node = node(|settings| settings.subscription_ids_available = false);
    assert!(connack(&node).contains(" subscription-id-available=0"));
    let mut peer = node.client(V5, "client");
    peer.send(&packets::subscribe(V5, 1, &varint(SUBSCRIPTION_ID, 7), &[("a", 0)]));
    peer.expect_refusal(0xA1);
    node.client(V5, "client").subscribe("a", 1);
    assert!(!connack(&TestNode::start()).contains("subscription-id-available"));
}

/// Section 3.2.2.3.13: 0x9E, for older clients a failure of the filter.
#[test]
fn without_shared_subscriptions_they_are_refused() {
    let node = node(|settings| settings.shared_available = false);
    assert!(connack(&node).contains(" shared-available=0"));
    for filter in ["$share/g/a", "$queue/a"] {
        let mut old = node.client(V311, "client");
        old.send(&packets::subscribe(V311, 1, &[], &[("a", 0), (filter, 0)]));
        old.expect(&["SUBACK #1 [00 80]"]);
        let mut peer = node.client(V5, "client");
        peer.send(&packets::subscribe(V5, 1, &[], &[("a", 0), (filter, 0)]));
        peer.expect_refusal(0x9E);
    }
    assert!(!connack(&TestNode::start()).contains("shared-available"));
}

/// [MQTT5-3.1.2-21] [MQTT5-3.2.2-21]: a keep alive outside of the node's range is replaced by its nearest end.
#[test]
fn the_keep_alive_has_a_range() {
    let node = node(|settings| {
        settings.keep_alive_min = 10;
        settings.keep_alive_max = 60;
    });
    for (asked, told) in [(1, Some(10)), (9, Some(10)), (10, None), (60, None), (61, Some(60)), (0, Some(60))]
    {
        let connack = node.connecting(&Connect::new(V5, "client").keep_alive(asked)).receive();
        let told = told.map_or_else(String::new, |seconds| format!(" keep-alive={seconds}"));
        assert!(
            connack.contains(&told) && connack.contains(" keep-alive=") != told.is_empty(),
            "{asked}: {connack}"
        );
    }
    let mut brisk = node.connect(&Connect::new(V5, "client").keep_alive(1));
    node.advance_secs(14);
    brisk.expect_silence();
}
