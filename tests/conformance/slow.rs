//! A slow or dead subscriber: the node's memory stays within what is configured for it, every message is accounted
//! for, and nobody else waits.

use std::time::Duration;

use crate::support::http;
use crate::support::mqtt::{Client, Options, Version};
use crate::support::node::{Node, Spec};
use crate::support::wire;

/// Of the outbox, and of the queue.
const BOUND: usize = 1 << 20;

/// Messages that wait for their acknowledgement are bounded by number.
const INFLIGHT_MAX: usize = 16;

const PAYLOAD: usize = 64 << 10;

/// 200 MiB.
const MESSAGES: usize = 3_200;

/// Messages that are under way to the healthy subscriber at a time: fewer than its own outbox takes, so that it never
/// loses one of QoS 0.
const BATCH: usize = 8;

/// What memory may grow by beyond the bounds, for buffers of four connections and for pages that the allocator keeps.
/// A twelfth of what is published.
const SLACK: usize = 16 << 20;

const PATIENCE: Duration = Duration::from_secs(20);

/// In which way the subscriber is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ReadsNothing,
    AcknowledgesNothing,
    IsAway,
}

#[test]
fn a_subscriber_that_reads_nothing_loses_qos_0_beyond_its_outbox() {
    check(Fault::ReadsNothing, 0, "outbox_full");
}

#[test]
fn a_subscriber_that_reads_nothing_loses_qos_1_beyond_its_queue() {
    check(Fault::ReadsNothing, 1, "queue_full");
}

#[test]
fn a_subscriber_that_acknowledges_nothing_loses_qos_1_beyond_its_queue() {
    check(Fault::AcknowledgesNothing, 1, "queue_full");
}

#[test]
fn a_session_that_is_away_loses_all_of_qos_0() {
    check(Fault::IsAway, 0, "offline");
}

#[test]
fn a_session_that_is_away_loses_qos_1_beyond_its_queue() {
    check(Fault::IsAway, 1, "queue_full");
}

fn check(fault: Fault, qos: u8, reason: &str) {
    let directory = tempfile::tempdir().expect("a directory for the node");
    let mut node = start(directory.path());
    let slow_options = Options::new(Version::V5, "slow").persistent();
    let mut slow = Client::connect(node.mqtt(), &slow_options);
    for (filter, qos) in [("load", qos), ("end", 1)] {
        slow.subscribe(filter, qos);
    }
    let mut slow = Some(slow);
    if fault == Fault::IsAway {
        slow.take().expect("it is connected").disconnect();
    }
    let mut publisher = Client::connect(node.mqtt(), &Options::new(Version::V5, "publisher"));
    let mut healthy = Client::connect(node.mqtt(), &Options::new(Version::V5, "healthy"));
    for filter in ["load", "warm"] {
        healthy.subscribe(filter, qos);
    }
    for _ in 0..8 {
        send(&mut publisher, &mut healthy, "warm", 0..BATCH, qos);
    }

    let before = Counts::of(&node, reason);
    let resident = node.resident_bytes();
    for (batch, first) in (0..MESSAGES).step_by(BATCH).enumerate() {
        send(&mut publisher, &mut healthy, "load", first..first + BATCH, qos);
        if fault == Fault::AcknowledgesNothing && batch == INFLIGHT_MAX / BATCH {
            read_unacknowledged(slow.as_mut().expect("it is connected"));
        }
    }
    // The peak, whenever it was.
    let grown = node.memory("VmHWM:").saturating_sub(resident);
    let bounds = 2 * BOUND + INFLIGHT_MAX * PAYLOAD;
    assert!(grown <= (bounds + SLACK) as u64, "{fault:?}: the node has grown by {} KiB", grown / 1_024);

    let counts = Counts::of(&node, reason).since(&before);
    assert_eq!(counts.received, MESSAGES);
    assert_eq!(counts.dropped, counts.dropped_so, "all for the same reason, {reason}");
    assert!(counts.dropped >= MESSAGES / 2, "the bounds are far below what was sent: {counts:?}");
    let queued = 2 * MESSAGES - counts.dropped - counts.delivered;
    assert!(queued * PAYLOAD <= BOUND, "{queued} messages wait: {counts:?}");

    // What was neither dropped nor delivered comes now, and nothing else.
    let mut slow = slow.unwrap_or_else(|| Client::connect(node.mqtt(), &slow_options));
    if fault == Fault::AcknowledgesNothing {
        for packet_id in 1..=INFLIGHT_MAX as u16 {
            slow.send(&wire::packet(wire::PUBACK, &packet_id.to_be_bytes()));
        }
    }
    let read_before = if fault == Fault::AcknowledgesNothing { INFLIGHT_MAX } else { 0 };
    let mut last = read_before.checked_sub(1);
    for _ in read_before..MESSAGES - counts.dropped {
        let number = number(&slow.expect_message().payload);
        assert!(Some(number) > last, "{number} comes after {last:?}");
        last = Some(number);
    }
    publisher.publish("end", b"end", 1);
    assert_eq!(slow.expect_message().topic, "end", "{fault:?}: every message is accounted for");
    let counts = Counts::of(&node, reason).since(&before);
    assert_eq!(counts.delivered + counts.dropped, 2 * MESSAGES + 1, "{counts:?}");
    node.assert_alive();
}

fn start(directory: &std::path::Path) -> Node {
    let auth_lines = format!(
        "[mqtt]\n\
         max_queue_bytes = {BOUND}\n\
         max_outbox_bytes = {BOUND}\n\
         max_inflight = {INFLIGHT_MAX}\n\
         [sys]\n\
         interval = \"0s\"\n"
    );
    let spec = Spec { in_cluster: false, auth_lines, ..Spec::new("alone") };
    let mut node = Node::spawn(spec, directory);
    node.wait_ready();
    node
}

/// Publishes numbered messages; the healthy subscriber must get each of them, in order and in good time, whatever the
/// slow one does.
#[track_caller]
fn send(publisher: &mut Client, healthy: &mut Client, topic: &str, numbers: std::ops::Range<usize>, qos: u8) {
    let mut payload = vec![0; PAYLOAD];
    for number in numbers.clone() {
        payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
        publisher.publish(topic, &payload, qos);
    }
    for expected in numbers {
        let message = healthy.expect_message();
        assert_eq!(
            (message.topic.as_str(), number(&message.payload)),
            (topic, expected),
            "for the healthy one"
        );
    }
}

fn number(payload: &[u8]) -> usize {
    assert_eq!(payload.len(), PAYLOAD);
    let bytes = payload[..8].try_into().expect("eight bytes");
    usize::try_from(u64::from_be_bytes(bytes)).expect("a small number")
}

/// Reads all that the window allows, and acknowledges nothing of it.
#[track_caller]
fn read_unacknowledged(slow: &mut Client) {
    for expected in 1..=INFLIGHT_MAX {
        let packet = slow.next_packet(PATIENCE).expect("what the window allows");
        assert_eq!(packet.kind(), wire::PUBLISH, "message {expected}: {:#04x}", packet.first_byte);
    }
    // The answer comes next: the window is full.
    slow.ping();
}

/// What the node has counted, of all its clients together.
#[derive(Debug)]
struct Counts {
    received: usize,
    delivered: usize,
    dropped: usize,
    /// Those dropped for the reason that is expected.
    dropped_so: usize,
}

impl Counts {
    fn of(node: &Node, reason: &str) -> Self {
        let page = http::get(node.http(), "/metrics").expect("the node shows its metrics").body;
        let count = |name: &str, labels: &str| http::sample(&page, name, labels).unwrap_or(0.0) as usize;
        Self {
            received: count("flockmq_messages_received_total", ""),
            delivered: count("flockmq_messages_delivered_total", ""),
            dropped: count("flockmq_messages_dropped_total", ""),
            dropped_so: count("flockmq_messages_dropped_total", &format!("reason=\"{reason}\"")),
        }
    }

    fn since(self, before: &Self) -> Self {
        Self {
            received: self.received - before.received,
            delivered: self.delivered - before.delivered,
            dropped: self.dropped - before.dropped,
            dropped_so: self.dropped_so - before.dropped_so,
        }
    }
}
