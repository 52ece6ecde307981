//! `$SYS` as monitoring sees it, and what it is closed to.

use std::collections::BTreeMap;

use crate::Standalone;
use crate::mosquitto::program::Program;
use crate::support::mqtt::Version::{V5, V311};

#[test]
fn the_common_names_have_sane_values() {
    let alone = Standalone::start();
    let node = alone.node.mqtt();
    let _other = Program::subscriber(node, V5, &["-t", "a", "-t", "b", "-c", "-i", "other"]);
    Program::start("mosquitto_sub", node, V5, &["-t", "c", "-c", "-i", "away", "-E"]).done();
    for retained in ["x", "y"] {
        Program::start("mosquitto_pub", node, V5, &["-t", retained, "-m", "12345", "-r", "-q", "1"]).done();
    }
    let mut monitor = Program::start("mosquitto_sub", node, V311, &["-t", "$SYS/#", "-F", "> %t=%p"]);
    let mut values = BTreeMap::new();
    // Values are published every second; those that are expected come sooner or later.
    let is_complete = |values: &BTreeMap<String, String>| {
        let has = |name: &str, value: &str| values.get(name).is_some_and(|seen| seen == value);
        values.len() >= 12
            && has("$SYS/broker/clients/connected", "2")
            && has("$SYS/broker/clients/disconnected", "1")
            && has("$SYS/broker/clients/total", "3")
            && has("$SYS/broker/subscriptions/count", "4")
            && has("$SYS/broker/publish/messages/received", "2")
            && values.get("$SYS/broker/publish/messages/sent").is_some_and(|sent| sent.len() > 1)
    };
    while !is_complete(&values) {
        let line = monitor.line("> $SYS/");
        let (topic, value) = line[2..].split_once('=').expect("a topic and a value");
        values.insert(topic.to_owned(), value.to_owned());
    }
    let number = |name: &str| -> u64 {
        let value = values.get(name).unwrap_or_else(|| panic!("no {name} in {values:#?}"));
        value.parse().unwrap_or_else(|error| panic!("{name} is {value:?}: {error}"))
    };
    let version = format!("flockmq {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(values["$SYS/broker/version"], version);
    let uptime = values["$SYS/broker/uptime"].strip_suffix(" seconds").expect("seconds");
    assert!(uptime.parse::<u64>().is_ok_and(|seconds| seconds < 3_600), "{uptime}");
    // The values themselves are retained messages, too.
    assert!(number("$SYS/broker/retained messages/count") >= 2);
    // Two CONNECT packets, two SUBSCRIBE packets and two messages at least, and as many answers.
    assert!(number("$SYS/broker/bytes/received") > 100);
    assert!(number("$SYS/broker/bytes/sent") > 20);
    assert!(number("$SYS/broker/publish/messages/sent") >= 10, "what the monitor got");
    assert_eq!(number("$SYS/broker/publish/messages/dropped"), 0);
}

/// [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
#[test]
fn wildcards_at_the_first_level_do_not_match_it() {
    let alone = Standalone::start();
    let node = alone.node.mqtt();
    for version in [V311, V5] {
        for filter in ["#", "+/broker/#", "+/broker/uptime", "$share/group/#"] {
            let mut client = Program::subscriber(node, version, &["-t", filter]);
            // The node has published in the meantime.
            let mut monitor = Program::subscriber(node, version, &["-t", "$SYS/broker/uptime"]);
            monitor.line(" r0");
            let end = ["-t", "end/broker/uptime", "-m", "x"];
            Program::start("mosquitto_pub", node, version, &end).done();
            client.expect(["end/broker/uptime x q0 r0"]);
        }
    }
}

/// Refused with 0x87 where that can be said, and delivered nowhere.
#[test]
fn clients_cannot_publish_there() {
    let alone = Standalone::start();
    let node = alone.node.mqtt();
    let mut monitor = Program::subscriber(node, V5, &["-t", "$SYS/mine/#", "-t", "end", "-q", "2"]);
    for version in [V311, V5] {
        for qos in ["0", "1", "2"] {
            let arguments = ["-t", "$SYS/mine/x", "-m", "x", "-q", qos, "-r"];
            let mut publisher = Program::start("mosquitto_pub", node, version, &arguments);
            if (version, qos) == (V5, "1") {
                publisher.line("PUBACK (Mid: 1, RC:135)");
            }
            // With QoS 2 mosquitto_pub calls the refusal a failure.
            publisher.wait();
        }
    }
    Program::start("mosquitto_pub", node, V5, &["-t", "end", "-m", "x", "-q", "2"]).done();
    monitor.expect(["end x q2 r0"]);
    let mut late = Program::subscriber(node, V5, &["-t", "$SYS/mine/#", "-t", "end", "-q", "2"]);
    Program::start("mosquitto_pub", node, V5, &["-t", "end", "-m", "y", "-q", "2"]).done();
    late.expect(["end y q2 r0"]);
}
