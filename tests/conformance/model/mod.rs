//! Random histories of a few clients against a small reference model of the standard.
//!
//! The broker runs in this process with wires instead of sockets and a clock that the history moves. After each step
//! everything that it sent must be what the reference expects: which messages, to whom, in which order, with which
//! flags, identifiers, properties and codes. Only two things are left open: which free Packet Identifier a message
//! gets, and in which order retained messages are replayed.

mod history;
mod message;
mod reference;
mod session;
mod subject;

use history::Op;
use proptest::prelude::*;
use proptest::test_runner::Config;
use reference::Reference;
use subject::Subject;

/// Clients of a history.
const CLIENTS: usize = 4;

fn run(history: &[Op]) {
    let mut reference = Reference::new();
    let mut subject = Subject::new();
    for (number, op) in history.iter().enumerate() {
        perform(&mut reference, &mut subject, op, &format!("step {number}, {op:?}"));
    }
    // Whoever may still come back does, and acknowledges everything: nothing may be left anywhere.
    for client in 0..CLIENTS {
        let back = reference.comeback(client);
        for op in back.into_iter().chain([Op::Unstall { client }]) {
            perform(&mut reference, &mut subject, &op, "at the end");
        }
        while reference.has_unacknowledged(client) {
            perform(
                &mut reference,
                &mut subject,
                &Op::Acknowledge { client, which: 0, refused: false },
                "at the end",
            );
        }
        reference.expect_drained(client);
    }
}

fn perform(reference: &mut Reference, subject: &mut Subject, op: &Op, at: &str) {
    let Some(input) = reference.step(op) else { return };
    subject.perform(&input);
    for client in 0..CLIENTS {
        for line in subject.lines_before_takeover(client) {
            reference.observe_before_takeover(client, &line, at);
        }
        for line in subject.lines(client) {
            reference.observe(client, &line, at);
        }
        reference.expect_complete(client, at);
    }
}

/// Three tests share the histories of a gate run, so that they run side by side; PROPTEST_CASES asks for more.
fn config() -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(10_000);
    Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    /// [MQTT5-3.1.2-5] [MQTT5-3.1.2-8] [MQTT5-3.3.4-2] [MQTT5-3.3.4-9] [MQTT5-4.3.3-10] [MQTT5-4.4.0-1] [MQTT5-4.5.0-1]
    /// [MQTT5-4.6.0-5] [MQTT311-3.1.2-4] [MQTT311-4.4.0-1] [MQTT311-4.5.0-1] [MQTT311-4.6.0-6]
    #[test]
    fn histories_of_few_topics_go_as_the_standard_says(history in history::of_any_ops(40)) {
        run(&history);
    }

    /// The same with retained messages, replayed through narrow windows.
    /// [MQTT5-3.3.1-5] [MQTT5-3.3.1-6] [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11] [MQTT5-3.10.4-2]
    #[test]
    fn histories_of_retained_messages_go_as_the_standard_says(history in history::of_retained_messages(40)) {
        run(&history);
    }

    /// The same with sessions that are torn and resumed most of the time.
    #[test]
    fn histories_of_torn_sessions_go_as_the_standard_says(history in history::of_torn_sessions(40)) {
        run(&history);
    }
}
