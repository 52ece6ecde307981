//! One row of the tables, and the check behind all of them.

use std::time::Duration;

use crate::node::TestNode;
use crate::packets::{Connect, Publish, V5, V31, V311, Version};

/// How long the broker may keep a connection open that it must close.
const LIMIT: Duration = Duration::from_secs(5);

/// The start of no line.
const NOTHING: &str = "-";

pub(crate) const MALFORMED: u8 = 0x81;
pub(crate) const PROTOCOL_ERROR: u8 = 0x82;

/// Bytes that a client sends, and what it hears before the end of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) version: Version,
    /// Nothing goes before the bytes; otherwise the client is connected.
    pub(crate) is_first: bool,
    pub(crate) bytes: Vec<u8>,
    answer: Option<String>,
    /// What may be heard before.
    skipped: &'static str,
}

impl Case {
    /// Packets of this name may come before the answer.
    pub(crate) fn skip(&mut self, name: &'static str) {
        self.skipped = name;
    }
}

/// What a connected client sent: MQTT 5 hears `reason`, older versions nothing.
pub(crate) fn connected(version: Version, name: &str, bytes: Vec<u8>, reason: u8) -> Case {
    let answer = (version == V5).then(|| format!("DISCONNECT {reason:#04x}"));
    Case { name: name.to_owned(), version, is_first: false, bytes, answer, skipped: NOTHING }
}

/// The same in all three versions.
pub(crate) fn in_all(name: &str, bytes: impl Fn(Version) -> Vec<u8>, reason: u8) -> Vec<Case> {
    [V5, V311, V31].map(|version| connected(version, name, bytes(version), reason)).to_vec()
}

/// The same in 3.1.1 and 3.1.
pub(crate) fn in_older(name: &str, bytes: impl Fn(Version) -> Vec<u8>) -> Vec<Case> {
    [V311, V31].map(|version| connected(version, name, bytes(version), 0)).to_vec()
}

/// What a client sent first, answered by a CONNACK with this code, or by none.
pub(crate) fn first(version: Version, name: &str, bytes: Vec<u8>, connack: Option<u8>) -> Case {
    let answer = connack.map(|code| format!("CONNACK {code:#04x}"));
    Case { name: name.to_owned(), version, is_first: true, bytes, answer, skipped: NOTHING }
}

/// Runs all cases against one node.
pub(crate) fn check(cases: &[Case]) {
    let node = TestNode::start();
    let mut bystander = node.client(V5, "bystander");
    bystander.subscribe("watched/#", 1);
    let mut publisher = node.client(V311, "publisher");
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let mut peer = if case.is_first {
            node.open(case.version)
        } else {
            node.connect(&Connect::new(case.version, "culprit"))
        };
        let never = Publish::new("watched/never", "").bytes(case.version);
        peer.send(&[&case.bytes[..], &never].concat());
        let mut heard = peer.until_closed(LIMIT);
        heard.retain(|line| !line.starts_with(case.skipped));
        // What else a CONNACK or DISCONNECT may say is not the tables' matter.
        let expected = case.answer.iter().map(String::as_str).chain(["closed"]).collect::<Vec<_>>();
        let fits = heard.len() == expected.len()
            && heard.iter().zip(&expected).all(|(heard, expected)| heard.starts_with(expected));
        if !fits {
            wrong.push(format!("{:?} {}: {heard:?} instead of {expected:?}", case.version, case.name));
        }
        publisher.say("watched/still", &number.to_string(), 1);
        let still = bystander.receive();
        assert!(
            still.starts_with(&format!("PUBLISH watched/still \"{number}\" q1 #")),
            "after {case:?}: {still}"
        );
        let id = still.rsplit('#').next().and_then(|id| id.parse().ok());
        bystander.puback(id.expect("a packet identifier"));
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
