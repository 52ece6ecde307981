//! mosquitto_pub, mosquitto_sub and mosquitto_rr: what people type into shells.

pub(crate) mod program;

use std::net::SocketAddr;
use std::process::Stdio;

use program::Program;

use crate::support::mosquitto::command;
use crate::support::mqtt::Version::{self, V5, V311};
use crate::{PASSWORD, Standalone, USER};

/// Runs a flow in both versions, with a fresh node for each.
fn check(flow: impl Fn(SocketAddr, Version)) {
    for version in [V311, V5] {
        let mut alone = Standalone::start();
        flow(alone.node.mqtt(), version);
        alone.node.assert_alive();
    }
}

#[track_caller]
fn publish(node: SocketAddr, version: Version, arguments: &[&str]) {
    Program::start("mosquitto_pub", node, version, arguments).done();
}

#[test]
fn every_qos_passes_in_both_directions() {
    check(|node, version| {
        let mut subscribers =
            ["0", "1", "2"].map(|qos| Program::subscriber(node, version, &["-t", "a/+", "-q", qos]));
        for qos in ["0", "1", "2"] {
            publish(node, version, &["-t", "a/b", "-m", qos, "-q", qos]);
        }
        for (granted, subscriber) in subscribers.iter_mut().enumerate() {
            let lines = [0, 1, 2].map(|published| format!("a/b {published} q{} r0", published.min(granted)));
            subscriber.expect(lines.each_ref().map(String::as_str));
        }
    });
}

#[test]
fn only_the_right_password_is_accepted() {
    check(|node, version| {
        let mut subscriber = Program::subscriber(node, version, &["-t", "a"]);
        let login = |password| ["-t", "a", "-m", password, "-u", USER, "-P", password];
        let mut refused = Program::start("mosquitto_pub", node, version, &login("wrong"));
        refused.line(if version == V5 { "CONNACK (134)" } else { "CONNACK (4)" });
        assert!(!refused.wait().success());
        publish(node, version, &login(PASSWORD));
        subscriber.expect([&format!("a {PASSWORD} q0 r0")]);
    });
}

#[test]
fn a_will_is_published_when_the_connection_breaks() {
    check(|node, version| {
        let mut watcher = Program::subscriber(node, version, &["-t", "#", "-q", "2"]);
        let will =
            |payload| ["-t", "x", "--will-topic", "will", "--will-payload", payload, "--will-qos", "1"];
        Program::start("mosquitto_sub", node, version, &[&will("never")[..], &["-E"]].concat()).done();
        Program::subscriber(node, version, &will("gone")).kill();
        watcher.expect(["will gone q1 r0"]);
        if version == V5 {
            // The session outlives the connection, so the delay counts.
            let delay = ["-i", "delayed", "-x", "3600", "-D", "will", "will-delay-interval", "1"];
            Program::subscriber(node, version, &[&delay[..], &will("late")].concat()).kill();
            watcher.expect(["will late q1 r0"]);
        }
    });
}

#[test]
fn retained_messages_are_replayed_replaced_and_cleared() {
    check(|node, version| {
        for payload in ["open", "shut"] {
            publish(node, version, &["-t", "state/door", "-m", payload, "-r", "-q", "1"]);
        }
        let mut subscriber = Program::subscriber(node, version, &["-t", "state/#", "-q", "1"]);
        subscriber.expect(["state/door shut q1 r1"]);
        publish(node, version, &["-t", "state/door", "-n", "-r", "-q", "1"]);
        subscriber.expect(["state/door  q1 r0"]);
        let mut late = Program::subscriber(node, version, &["-t", "state/#", "-q", "1"]);
        publish(node, version, &["-t", "state/end", "-m", "live", "-q", "1"]);
        late.expect(["state/end live q1 r0"]);
    });
}

#[test]
fn a_shared_subscription_divides_its_messages() {
    check(|node, version| {
        let mut members = [(); 2].map(|()| {
            let topics = ["-t", "$share/workers/jobs", "-t", "end", "-q", "1"];
            Program::subscriber(node, version, &topics)
        });
        let mut publisher = Program::start("mosquitto_pub", node, version, &["-t", "jobs", "-q", "1", "-l"]);
        publisher.feed(&["0", "1", "2", "3", "4", "5", "6", "7"]);
        publisher.done();
        publish(node, version, &["-t", "end", "-m", "x", "-q", "1"]);
        let mut done = Vec::new();
        for member in &mut members {
            let before = done.len();
            loop {
                let line = member.line("> ");
                if line == "> end x q1 r0" {
                    break;
                }
                done.push(line);
            }
            assert_eq!(done.len() - before, 4, "in turn with the other: {done:?}");
        }
        done.sort();
        assert_eq!(done, [0, 1, 2, 3, 4, 5, 6, 7].map(|number| format!("> jobs {number} q1 r0")));
    });
}

#[test]
fn a_resumed_session_gets_what_waited() {
    check(|node, version| {
        for qos in ["1", "2"] {
            let session = ["-t", "a", "-q", "2", "-c", "-i", qos];
            Program::start("mosquitto_sub", node, version, &[&session[..], &["-E"]].concat()).done();
            let mut publisher = Program::start("mosquitto_pub", node, version, &["-t", "a", "-q", qos, "-l"]);
            publisher.feed(&["1", "2", "3"]);
            publisher.done();
            let three = ["-C", "3", "-F", program::FORMAT];
            let mut resumed =
                Program::start("mosquitto_sub", node, version, &[&session[..], &three].concat());
            let lines = [1, 2, 3].map(|number| format!("a {number} q{qos} r0"));
            resumed.expect(lines.each_ref().map(String::as_str));
            resumed.done();
        }
    });
}

#[test]
fn an_unsubscribed_filter_brings_nothing() {
    check(|node, version| {
        let session = ["-q", "1", "-c", "-i", "client"];
        let both = ["-t", "a", "-t", "b", "-E"];
        Program::start("mosquitto_sub", node, version, &[&session[..], &both].concat()).done();
        let mut client =
            Program::subscriber(node, version, &[&session[..], &["-U", "a", "-t", "b"]].concat());
        client.line("received UNSUBACK");
        for topic in ["a", "b"] {
            publish(node, version, &["-t", topic, "-m", "x", "-q", "1"]);
        }
        client.expect(["b x q1 r0"]);
    });
}

#[test]
fn half_a_mebibyte_passes_unaltered() {
    check(|node, version| {
        let payload: Vec<u8> = (0..128 * 1_024_u32).flat_map(u32::to_be_bytes).collect();
        let directory = tempfile::tempdir().expect("a directory for the file");
        let file = directory.path().join("payload");
        std::fs::write(&file, &payload).expect("the file can be written");
        let file = file.display().to_string();
        for qos in ["0", "1", "2"] {
            publish(node, version, &["-t", "large", "-f", &file, "-q", qos, "-r"]);
            // Without -d, so that nothing but the payload is printed.
            let mut subscriber = command("mosquitto_sub", node, version);
            subscriber.args(["-t", "large", "-q", qos, "-C", "1", "-N"]).stdin(Stdio::null());
            let output = subscriber.output().expect("mosquitto_sub starts");
            assert!(output.status.success(), "{output:?}");
            assert!(output.stdout == payload, "{} bytes at QoS {qos} are others", output.stdout.len());
        }
    });
}

#[test]
fn a_request_gets_its_response() {
    check(|node, version| {
        let mut requests = Program::start(
            "mosquitto_sub",
            node,
            version,
            &["-t", "requests", "-q", "1", "-F", "> %t %p %R %D"],
        );
        requests.line("received SUBACK");
        let mut asking =
            vec!["-t", "requests", "-e", "answers/asking", "-m", "6*7", "-q", "1", "-F", "> %t %p %D"];
        if version == V5 {
            asking.extend(["-D", "publish", "correlation-data", "call 1"]);
        }
        let mut asking = Program::start("mosquitto_rr", node, version, &asking);
        let mut answer = vec!["-t", "answers/asking", "-m", "42", "-q", "1"];
        if version == V5 {
            requests.expect(["requests 6*7 answers/asking call 1"]);
            answer.extend(["-D", "publish", "correlation-data", "call 1"]);
        } else {
            requests.expect(["requests 6*7  "]);
        }
        publish(node, version, &answer);
        asking.expect([if version == V5 { "answers/asking 42 call 1" } else { "answers/asking 42 " }]);
        asking.done();
    });
}

#[test]
fn properties_pass_unaltered_and_in_order() {
    let alone = Standalone::start();
    let node = alone.node.mqtt();
    let format = "> %p C=%C D=%D E=%E F=%F P=%P R=%R S=%S";
    let arguments = ["-t", "a", "-q", "1", "-F", format, "-D", "subscribe", "subscription-identifier", "7"];
    let mut subscriber = Program::start("mosquitto_sub", node, V5, &arguments);
    subscriber.line("received SUBACK");
    let mut arguments = vec!["-t", "a", "-q", "1", "-m", "x"];
    for property in [
        ["user-property", "z", "1"].as_slice(),
        &["user-property", "a", "2"],
        &["user-property", "a", "3"],
        &["content-type", "text/plain"],
        &["correlation-data", "call"],
        &["message-expiry-interval", "86400"],
        &["payload-format-indicator", "1"],
        &["response-topic", "answers"],
        &["topic-alias", "1"],
    ] {
        arguments.extend(["-D", "publish"]);
        arguments.extend(property);
    }
    publish(node, V5, &arguments);
    let line = subscriber.line("> ");
    let parts: Vec<&str> = line.split("E=").collect();
    let (left, rest) = parts[1].split_once(' ').expect("a number and more");
    assert_eq!(parts[0], "> x C=text/plain D=call ");
    assert_eq!(rest, "F=1 P=z:1 a:2 a:3 R=answers S=7");
    let left: u32 = left.parse().expect("seconds");
    assert!((86_300..=86_400).contains(&left), "{left} of 86400 seconds");
}

#[test]
fn reason_codes_are_seen() {
    let alone = Standalone::start();
    let node = alone.node.mqtt();
    let mut subscriber = Program::subscriber(node, V5, &["-t", "heard", "-q", "1"]);
    for (topic, code) in [("unheard", 16), ("$SYS/broker/version", 135), ("heard", 0)] {
        let mut publisher = Program::start("mosquitto_pub", node, V5, &["-t", topic, "-m", "x", "-q", "1"]);
        // The identifier that the node assigned is what it calls itself.
        publisher.line("Client auto-");
        publisher.line(&format!("received PUBACK (Mid: 1, RC:{code})"));
        publisher.done();
    }
    subscriber.expect(["heard x q1 r0"]);
}

#[test]
fn another_connection_of_the_same_client_takes_over() {
    let alone = Standalone::start();
    let arguments = ["-t", "a", "-i", "client"];
    let mut old = Program::subscriber(alone.node.mqtt(), V5, &arguments);
    let _new = Program::subscriber(alone.node.mqtt(), V5, &arguments);
    old.line("Received DISCONNECT (142)");
}
