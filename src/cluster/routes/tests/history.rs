//! Random histories against `crdts::Orswot`: whatever is lost, doubled, reordered, restarted, forgotten or merged, a
//! table holds exactly what an observed-remove set holds after the same prefix of each owner's operations.

use std::collections::{BTreeMap, BTreeSet};

use crdts::orswot::Op;
use crdts::{CmRDT, CvRDT, Orswot, VClock};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const NODES: usize = 3;
const KEYS: [&str; 7] = ["a", "!a", "g:a", "a/+", "a/#", "!h:a/#", "b"];

#[derive(Clone, Debug)]
enum Step {
    Advertise {
        node: usize,
        key: usize,
    },
    Withdraw {
        node: usize,
        key: usize,
    },
    /// `from` puts a piece of an owner's log, or a snapshot, on its way.
    SendDelta {
        from: usize,
        owner: usize,
        to: usize,
        back: u64,
        len: usize,
    },
    SendSnapshot {
        from: usize,
        owner: usize,
        to: usize,
    },
    /// Some message under way arrives, perhaps not for the last time.
    Deliver {
        which: usize,
        again: bool,
    },
    Lose {
        which: usize,
    },
    Announce {
        from: usize,
        to: usize,
    },
    Restart {
        node: usize,
        keep: bool,
    },
    SetLive {
        node: usize,
        owner: usize,
        live: bool,
    },
    Forget {
        node: usize,
        owner: usize,
    },
    Merge {
        into: usize,
        from: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (node, owner, key) = (0..NODES, 0..NODES, 0..KEYS.len());
    prop_oneof![
        6 => (node.clone(), key.clone()).prop_map(|(node, key)| Step::Advertise { node, key }),
        4 => (node.clone(), key).prop_map(|(node, key)| Step::Withdraw { node, key }),
        8 => (node.clone(), owner.clone(), node.clone(), 0..6u64, 1..5usize)
            .prop_map(|(from, owner, to, back, len)| Step::SendDelta { from, owner, to, back, len }),
        2 => (node.clone(), owner.clone(), node.clone())
            .prop_map(|(from, owner, to)| Step::SendSnapshot { from, owner, to }),
        10 => (any::<usize>(), any::<bool>()).prop_map(|(which, again)| Step::Deliver { which, again }),
        2 => any::<usize>().prop_map(|which| Step::Lose { which }),
        1 => (node.clone(), node.clone()).prop_map(|(from, to)| Step::Announce { from, to }),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, keep)| Step::Restart { node, keep }),
        2 => (node.clone(), owner.clone(), any::<bool>())
            .prop_map(|(node, owner, live)| Step::SetLive { node, owner, live }),
        1 => (node.clone(), owner).prop_map(|(node, owner)| Step::Forget { node, owner }),
        1 => (node.clone(), node).prop_map(|(into, from)| Step::Merge { into, from }),
    ]
}

#[derive(Clone, Debug)]
enum Message {
    Delta(usize, Delta),
    Snapshot(usize, Snapshot),
}

struct World {
    tables: Vec<Routes>,
    /// Every operation that a node ever did in a life, in order.
    logs: BTreeMap<Writer, Vec<Change>>,
    under_way: Vec<Message>,
}

fn id(node: usize) -> NodeId {
    NodeId::new(node as u128 + 1)
}

impl World {
    fn new() -> Self {
        let tables = (0..NODES).map(|node| Routes::new(id(node), 1, 4)).collect();
        Self { tables, logs: BTreeMap::new(), under_way: Vec::new() }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Advertise { node, key: at } => self.change(node, Change::Advertise(key(KEYS[at]))),
            Step::Withdraw { node, key: at } => self.change(node, Change::Withdraw(key(KEYS[at]))),
            Step::SendDelta { from, owner, to, back, len } => {
                let Some(mut since) = self.tables[from].position(id(owner)) else { return };
                since.seq = since.seq.saturating_sub(back);
                if let Tail::Delta(delta) = self.tables[from].tail(id(owner), since, len) {
                    self.under_way.push(Message::Delta(to, delta));
                }
            }
            Step::SendSnapshot { from, owner, to } => {
                let snapshot = self.tables[from].snapshot(id(owner));
                self.under_way.extend(snapshot.map(|snapshot| Message::Snapshot(to, snapshot)));
            }
            Step::Deliver { which, again } => {
                let Some(which) = which.checked_rem(self.under_way.len()) else { return };
                let message =
                    if again { self.under_way[which].clone() } else { self.under_way.swap_remove(which) };
                match message {
                    Message::Delta(to, delta) => _ = self.tables[to].on_delta(&delta),
                    Message::Snapshot(to, snapshot) => _ = self.tables[to].on_snapshot(&snapshot),
                }
            }
            Step::Lose { which } => {
                if let Some(which) = which.checked_rem(self.under_way.len()) {
                    self.under_way.swap_remove(which);
                }
            }
            Step::Announce { from, to } => {
                let incarnation = self.tables[from].own_position().incarnation;
                self.tables[to].on_incarnation(id(from), incarnation);
            }
            Step::Restart { node, keep } => {
                let old = &self.tables[node];
                let own = old.snapshot(id(node)).unwrap();
                self.tables[node] = Routes::new(id(node), own.position.incarnation + 1, 4);
                for key in own.keys.into_iter().filter(|_| keep) {
                    self.change(node, Change::Advertise(key));
                }
            }
            Step::SetLive { node, owner, live } => self.tables[node].set_live(id(owner), live),
            Step::Forget { node, owner } => _ = self.tables[node].forget(id(owner)),
            Step::Merge { into, from } => {
                let from = self.tables[from].clone();
                self.tables[into].merge(from);
            }
        }
    }

    fn change(&mut self, node: usize, change: Change) {
        let table = &mut self.tables[node];
        let before = table.own_position();
        let after = match &change {
            Change::Advertise(key) => table.advertise(key),
            Change::Withdraw(key) => table.withdraw(key),
        };
        if before != after {
            let writer = Writer { node: id(node), incarnation: after.incarnation };
            self.logs.entry(writer).or_default().push(change);
        }
    }

    /// The set that the operations in `clock` make, one after the other.
    fn oracle(&self, clock: &VClock<Writer>) -> Orswot<RouteKey, Writer> {
        let mut set = Orswot::new();
        for (writer, &seq) in &clock.dots {
            let log = self.logs.get(writer).map_or(&[][..], |log| &log[..seq as usize]);
            for (change, seq) in log.iter().zip(1..) {
                let op = match change {
                    Change::Advertise(key) => {
                        Op::Add { dot: (*writer, seq).into(), members: vec![key.clone()] }
                    }
                    Change::Withdraw(key) => {
                        let witnesses = set.contains(key).rm_clock;
                        let own = witnesses.dot(*writer);
                        Op::Rm { clock: own.into(), members: vec![key.clone()] }
                    }
                };
                set.apply(op);
            }
        }
        set
    }

    fn check(&self) {
        for table in &self.tables {
            let oracle = self.oracle(&table.clock());
            let expected: BTreeMap<RouteKey, Vec<NodeId>> = oracle
                .iter()
                .map(|read| {
                    let witnesses: BTreeSet<_> =
                        read.rm_clock.dots.keys().map(|writer| writer.node).collect();
                    (read.val.clone(), witnesses.into_iter().collect())
                })
                .collect();
            assert_eq!(table.listing().collect::<BTreeMap<_, _>>(), expected, "table of {}", table.me());
            for (owner, digest) in table.digests() {
                assert_eq!(Some(digest), table.snapshot(owner).map(|snapshot| snapshot.digest()));
            }
            let own = Writer { node: table.me(), incarnation: table.own_position().incarnation };
            let written = self.logs.get(&own).map_or(0, Vec::len) as u64;
            assert_eq!(table.own_position().seq, written, "nobody else wrote the own log");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_table_is_the_observed_remove_set_of_the_prefixes_it_has(steps in vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            world.check();
        }
    }
}
