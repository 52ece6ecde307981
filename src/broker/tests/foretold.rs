//! The proof that `explain` is right: after any small history, what it foretells is what a publish then does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::broker::{Outcome, Question};
use crate::codec::{Qos, SubscribeOptions};
use crate::message::Publication;
use crate::metrics::DROP_REASONS;
use crate::session::Settings as Sessions;
use crate::topic::TopicRef;

const NAMES: [&str; 4] = ["fin", "gus", "hal", "ida"];
const FILTERS: [&str; 8] =
    ["a", "+", "#", "$exclusive/a", "$exclusive/+", "$share/g/a", "$share/g/#", "$share/h/a"];
const OUTBOX_BYTES_MAX: usize = 2_000;

#[derive(Clone, Debug)]
enum Step {
    /// A session that ends with its connection, or one that is kept; at its Receive Maximum.
    Connect {
        who: usize,
        durable: bool,
    },
    Lose {
        who: usize,
    },
    Subscribe {
        who: usize,
        filter: usize,
        qos: Qos,
        no_local: bool,
    },
    Unsubscribe {
        who: usize,
        filter: usize,
    },
    StopReading {
        who: usize,
    },
    /// As much as its outbox takes and more, while it does not read.
    Stuff {
        who: usize,
    },
    Read {
        who: usize,
    },
    /// The one that counts: foretold, and then done.
    Publish {
        publisher: Option<usize>,
        qos: Qos,
    },
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..NAMES.len();
    let filter = || 0..FILTERS.len();
    let step = prop_oneof![
        2 => (who(), any::<bool>()).prop_map(|(who, durable)| Step::Connect { who, durable }),
        2 => who().prop_map(|who| Step::Lose { who }),
        6 => (who(), filter(), qos(), any::<bool>()).prop_map(|(who, filter, qos, no_local)| {
            Step::Subscribe { who, filter, qos, no_local }
        }),
        1 => (who(), filter()).prop_map(|(who, filter)| Step::Unsubscribe { who, filter }),
        1 => who().prop_map(|who| Step::StopReading { who }),
        1 => who().prop_map(|who| Step::Stuff { who }),
        2 => who().prop_map(|who| Step::Read { who }),
        8 => (proptest::option::of(who()), qos()).prop_map(|(publisher, qos)| Step::Publish { publisher, qos }),
    ];
    proptest::collection::vec(step, 1..60)
}

struct World {
    node: Node,
    peers: [Option<Peer>; NAMES.len()],
}

/// What a publish has changed: by client what it has to get through, by reason what was dropped, and what was sent.
#[derive(Debug, PartialEq, Eq)]
struct Effect {
    loads: BTreeMap<&'static str, i64>,
    dropped: BTreeMap<&'static str, u64>,
    sent: u64,
}

impl World {
    fn connected(&self, who: usize) -> Option<&Peer> {
        self.peers[who].as_ref().filter(|peer| !peer.is_closed())
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Connect { who, durable } => {
                let name = NAMES[who];
                let peer = if durable { self.node.durable(name) } else { self.node.client(name) };
                self.peers[who] = Some(peer);
            }
            Step::Lose { who } => {
                if let Some(peer) = self.peers[who].take() {
                    peer.lose_connection();
                }
            }
            Step::Subscribe { who, filter, qos, no_local } => {
                let Some(peer) = self.connected(who) else { return };
                let no_local = no_local && !FILTERS[filter].starts_with("$share");
                let options = SubscribeOptions { no_local, ..SubscribeOptions::with_qos(qos) };
                peer.send_subscribe(FILTERS[filter], options, None);
            }
            Step::Unsubscribe { who, filter } => {
                if let Some(peer) = self.connected(who) {
                    peer.send_unsubscribe(FILTERS[filter]);
                }
            }
            Step::StopReading { who } => {
                if let Some(peer) = self.connected(who) {
                    peer.stop_reading();
                }
            }
            Step::Stuff { who } => {
                let Some(peer) = self.connected(who) else { return };
                peer.send_subscribe(NAMES[who], SubscribeOptions::with_qos(Qos::AtMostOnce), None);
                peer.stop_reading();
                self.publish(NAMES[who], None, Qos::AtMostOnce, &[0; OUTBOX_BYTES_MAX]);
            }
            Step::Read { who } => {
                if let Some(peer) = self.connected(who) {
                    peer.go_on_reading();
                    peer.consume();
                }
            }
            Step::Publish { publisher, qos } => self.check(publisher.map(|who| NAMES[who]), qos),
        }
    }

    fn publish(&self, topic: &str, publisher: Option<&str>, qos: Qos, payload: &[u8]) {
        let publication = Publication {
            topic: TopicRef::parse(topic).unwrap(),
            payload,
            qos,
            retain: false,
            properties: &[],
            expires_at: None,
            publisher,
        };
        let mut burst = Burst::default();
        self.node.broker.publish_now(self.node.clock.now(), &publication, &mut burst);
        self.node.broker.flush(&mut burst);
    }

    fn loads(&self) -> BTreeMap<&'static str, i64> {
        let load = |name: &'static str| {
            let client = self.node.broker.client(name);
            (name, client.map_or(0, |it| it.with_state(|state| state.session.load()) as i64))
        };
        NAMES.into_iter().map(load).collect()
    }

    fn measure(&self) -> Effect {
        let dropped = DROP_REASONS.map(|(reason, word)| (word, self.node.dropped(reason)));
        Effect {
            loads: self.loads(),
            dropped: dropped.into_iter().collect(),
            sent: self.node.metrics.messages_delivered.get(),
        }
    }

    fn foretell(&self, publisher: Option<&str>, qos: Qos, before: Effect) -> Effect {
        let mut question = Question::new("a").unwrap().at_qos(qos as u8).unwrap();
        if let Some(publisher) = publisher {
            question = question.by_publisher(publisher).unwrap();
        }
        let mut effect = before;
        for copy in self.node.broker.explain(self.node.clock.now(), &question).copies {
            let load = effect.loads.get_mut(copy.client.as_str()).unwrap();
            match copy.outcome {
                Outcome::Sent => {
                    effect.sent += 1;
                    *load += i64::from(copy.qos > 0);
                }
                Outcome::Waits | Outcome::Kept => {
                    *load += 1 - copy.displaced as i64;
                    *effect.dropped.get_mut("queue_full").unwrap() += copy.displaced as u64;
                }
                Outcome::Dropped => *effect.dropped.get_mut(copy.reason).unwrap() += 1,
                Outcome::PassedOver | Outcome::Own => {}
            }
        }
        effect
    }

    fn check(&self, publisher: Option<&str>, qos: Qos) {
        let foretold = self.foretell(publisher, qos, self.measure());
        assert_eq!(foretold, self.foretell(publisher, qos, self.measure()), "asking changes nothing");
        self.publish("a", publisher, qos, &[]);
        assert_eq!(foretold, self.measure());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_foretold_is_what_happens(
        steps in steps(),
        (_, strategy) in proptest::sample::select(SharedStrategy::WORDS),
        (_, overlapping) in proptest::sample::select(Overlapping::WORDS),
        queue_drops_oldest in any::<bool>(),
        queue_len_max in 1..4_usize,
        inflight_max in 1..4_u16,
    ) {
        let settings = Settings { shared: SharedSettings { strategy }, overlapping, ..Settings::default() };
        let sessions = Sessions {
            outbox_bytes_max: OUTBOX_BYTES_MAX, queue_drops_oldest, queue_len_max, inflight_max, ..Sessions::default()
        };
        let node = Node::with(settings, sessions);
        let mut world = World { node, peers: [const { None }; NAMES.len()] };
        for step in &steps {
            world.run(step);
        }
    }
}
