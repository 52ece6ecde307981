//! What happens in a history, and how it is made up.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::CLIENTS;
use crate::packets::{V5, V311, Version};

const TOPICS: [&str; 4] = ["a", "a/b", "b", "/"];
const FILTERS: [&str; 8] = ["a", "a/b", "b", "#", "+", "a/#", "+/b", "+/+"];

/// One step. What a client cannot do in its state is passed over.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Connect {
        client: usize,
        connect: ConnectOp,
    },
    /// The network breaks.
    Drop {
        client: usize,
    },
    Disconnect {
        client: usize,
        with_will: bool,
    },
    Subscribe {
        client: usize,
        filter: &'static str,
        options: SubscribeOp,
    },
    Unsubscribe {
        client: usize,
        filter: &'static str,
    },
    Publish {
        client: usize,
        publish: PublishOp,
    },
    /// A QoS 2 message without PUBREL comes again.
    Repeat {
        client: usize,
        which: usize,
    },
    Release {
        client: usize,
        which: usize,
    },
    /// The next acknowledgement for one of the messages that the client has seen.
    Acknowledge {
        client: usize,
        which: usize,
        refused: bool,
    },
    AcknowledgeAll {
        client: usize,
    },
    /// The client's socket takes nothing more.
    Stall {
        client: usize,
    },
    Unstall {
        client: usize,
    },
    Advance {
        seconds: u64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct ConnectOp {
    pub(super) version: Version,
    pub(super) clean: bool,
    /// Session Expiry Interval in seconds.
    pub(super) expiry: u32,
    pub(super) window: Option<u16>,
    pub(super) will: Option<WillOp>,
}

#[derive(Clone, Debug)]
pub(super) struct WillOp {
    pub(super) topic: &'static str,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// Seconds.
    pub(super) delay: u32,
}

#[derive(Clone, Debug)]
pub(super) struct SubscribeOp {
    pub(super) qos: u8,
    pub(super) no_local: bool,
    pub(super) as_published: bool,
    pub(super) handling: u8,
    pub(super) id: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct PublishOp {
    pub(super) topic: &'static str,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) empty: bool,
    /// Message Expiry Interval in seconds.
    pub(super) expiry: Option<u32>,
}

fn client() -> impl Strategy<Value = usize> + Clone {
    0..CLIENTS
}

fn connect() -> impl Strategy<Value = Op> {
    let will = (select(&TOPICS[..]), 0..=2_u8, any::<bool>(), select(&[0, 0, 3, 8][..]))
        .prop_map(|(topic, qos, retain, delay)| WillOp { topic, qos, retain, delay });
    let parts = (
        select(&[V5, V5, V311][..]),
        any::<bool>(),
        select(&[0, 5, u32::MAX, u32::MAX][..]),
        option::of(1..=3_u16),
        option::of(will),
    );
    (client(), parts).prop_map(|(client, (version, clean, expiry, window, will))| Op::Connect {
        client,
        connect: ConnectOp { version, clean, expiry, window, will },
    })
}

/// A client that comes for its session, or makes one.
fn resume() -> impl Strategy<Value = Op> {
    (client(), select(&[V5, V311][..]), option::of(1..=2_u16)).prop_map(|(client, version, window)| {
        Op::Connect {
            client,
            connect: ConnectOp { version, clean: false, expiry: u32::MAX, window, will: None },
        }
    })
}

fn subscribe() -> impl Strategy<Value = Op> {
    let options = (0..=2_u8, prop::bool::weighted(0.2), any::<bool>(), 0..=2_u8, option::of(1..=3_u32));
    (client(), select(&FILTERS[..]), options).prop_map(|(client, filter, options)| {
        let (qos, no_local, as_published, handling, id) = options;
        Op::Subscribe { client, filter, options: SubscribeOp { qos, no_local, as_published, handling, id } }
    })
}

fn publish() -> impl Strategy<Value = Op> {
    let parts = (
        select(&TOPICS[..]),
        0..=2_u8,
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.1),
        option::weighted(0.3, select(&[2, 6][..])),
    );
    (client(), parts).prop_map(|(client, (topic, qos, retain, empty, expiry))| Op::Publish {
        client,
        publish: PublishOp { topic, qos, retain, empty, expiry },
    })
}

fn acknowledge() -> impl Strategy<Value = Op> {
    (client(), 0..3_usize, prop::bool::weighted(0.1)).prop_map(|(client, which, refused)| Op::Acknowledge {
        client,
        which,
        refused,
    })
}

/// Four clients that connect first, then anything.
pub(super) fn of_any_ops(length: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => connect(),
        2 => client().prop_map(|client| Op::Drop { client }),
        1 => (client(), any::<bool>()).prop_map(|(client, with_will)| Op::Disconnect { client, with_will }),
        6 => subscribe(),
        1 => (client(), select(&FILTERS[..])).prop_map(|(client, filter)| Op::Unsubscribe { client, filter }),
        10 => publish(),
        1 => (client(), 0..3_usize).prop_map(|(client, which)| Op::Repeat { client, which }),
        2 => (client(), 0..3_usize).prop_map(|(client, which)| Op::Release { client, which }),
        5 => acknowledge(),
        2 => client().prop_map(|client| Op::AcknowledgeAll { client }),
        1 => client().prop_map(|client| Op::Stall { client }),
        1 => client().prop_map(|client| Op::Unstall { client }),
        2 => (1..8_u64).prop_map(|seconds| Op::Advance { seconds }),
    ];
    (vec(connect(), 2..=CLIENTS), vec(op, 1..length)).prop_map(|(first, rest)| [first, rest].concat())
}

/// Few topics, narrow windows, many connections of lasting sessions.
pub(super) fn of_torn_sessions(length: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => resume(),
        4 => client().prop_map(|client| Op::Drop { client }),
        10 => publish(),
        6 => acknowledge(),
        1 => client().prop_map(|client| Op::Stall { client }),
        1 => (client(), 0..3_usize).prop_map(|(client, which)| Op::Repeat { client, which }),
        1 => (client(), 0..3_usize).prop_map(|(client, which)| Op::Release { client, which }),
        1 => subscribe(),
        1 => (1..4_u64).prop_map(|seconds| Op::Advance { seconds }),
    ];
    let begin = (vec(resume(), 3..=6), vec(subscribe(), 2..=6), vec(op, 1..length));
    begin.prop_map(|(first, subscriptions, rest)| [first, subscriptions, rest].concat())
}

/// Retained messages and subscriptions that replay them through narrow windows.
pub(super) fn of_retained_messages(length: usize) -> impl Strategy<Value = Vec<Op>> {
    let keep = (client(), select(&TOPICS[..]), 0..=2_u8, select(&[true, false, false, false, false][..]))
        .prop_map(|(client, topic, qos, empty)| Op::Publish {
            client,
            publish: PublishOp { topic, qos, retain: true, empty, expiry: None },
        });
    let narrow = client().prop_map(|client| Op::Connect {
        client,
        connect: ConnectOp { version: V5, clean: false, expiry: u32::MAX, window: Some(1), will: None },
    });
    let op = prop_oneof![
        4 => keep.clone(),
        2 => publish(),
        6 => subscribe(),
        2 => (client(), select(&FILTERS[..])).prop_map(|(client, filter)| Op::Unsubscribe { client, filter }),
        6 => acknowledge(),
        1 => narrow.clone(),
        1 => resume(),
        1 => client().prop_map(|client| Op::Drop { client }),
        1 => client().prop_map(|client| Op::AcknowledgeAll { client }),
    ];
    let begin = (vec(narrow, 3..=6), vec(keep, 3..=6), vec(op, 1..length));
    begin.prop_map(|(first, kept, rest)| [first, kept, rest].concat())
}
