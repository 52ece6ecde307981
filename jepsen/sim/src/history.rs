//! What happened in a run, as its clients and its schedule saw it.

use std::collections::BTreeMap;
use std::time::Duration;

use flockmq::codec::Qos;

/// Which node, counted from 0.
pub type NodeAt = usize;

/// One life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// The node.
    pub node: NodeAt,
    /// Its incarnation.
    pub incarnation: u64,
}

/// What one node thinks of the others at one moment: those that it forwards to, with the life that it knows.
pub type View = BTreeMap<NodeAt, (u64, &'static str)>;

/// A subscription from its SUBSCRIBE on.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Where the client is.
    pub life: Life,
    /// The client.
    pub client: u32,
    /// The Topic Filter.
    pub filter: String,
    /// When the SUBACK came.
    pub acknowledged: Option<Duration>,
    /// What the client's node thought of the others then; empty when the SUBACK said that not all were reached.
    pub reached: View,
    /// When the UNSUBSCRIBE was sent.
    pub ending: Option<Duration>,
    /// When the UNSUBACK came.
    pub ended: Option<Duration>,
}

/// A message from its PUBLISH on.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where the publisher is.
    pub life: Life,
    /// The publisher.
    pub client: u32,
    /// The Topic Name.
    pub topic: String,
    /// When it was sent.
    pub sent: Duration,
    /// Whether the publisher has its acknowledgement; at QoS 0 from the start.
    pub acknowledged: bool,
    /// What the publisher's node thought of the others when it was sent.
    pub view: View,
}

/// A message at a client.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Where the client is.
    pub life: Life,
    /// The client.
    pub client: u32,
    /// Which message.
    pub message: usize,
    /// The quality of service of this copy.
    pub qos: Qos,
    /// When it came.
    pub at: Duration,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub struct History {
    /// By the order of their SUBSCRIBEs.
    pub subscriptions: Vec<Subscription>,
    /// By number; the number is the payload.
    pub messages: Vec<Message>,
    /// By the order of their arrival.
    pub deliveries: Vec<Delivery>,
    /// Lives that ended by a crash, and when.
    pub crashes: BTreeMap<Life, Duration>,
    /// What was dropped by a life so far, by reason.
    pub drops: BTreeMap<Life, BTreeMap<&'static str, u64>>,
    /// What cannot be, noticed at once.
    pub impossible: Vec<String>,
    /// Faults by kind, so that a run that does nothing is noticed.
    pub faults: BTreeMap<&'static str, u64>,
    /// A fingerprint of everything in the order in which it happened.
    pub fingerprint: u64,
}

impl History {
    /// Mixes a fact into the fingerprint.
    pub fn mark(&mut self, at: Duration, parts: &[u64]) {
        let at = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        for part in std::iter::once(&at).chain(parts) {
            // FNV-1a over whole words is enough to compare two runs.
            self.fingerprint = (self.fingerprint ^ part).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        }
    }
}
