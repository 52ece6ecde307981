//! One run: a cluster, clients that are busy, faults from a seed, calm, and then the questions.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use flockmq::codec::Qos;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::check;
use crate::entropy;
use crate::history::{History, NodeAt};
use crate::host::{Command, MESH_PORT, Slot, run as run_host};

const TICK: Duration = Duration::from_millis(1);
/// How long a cluster without faults may take until all agree: at its start, and after everything has healed.
const CONVERGED_WITHIN: Duration = Duration::from_secs(6);
/// How long what is under way may take to arrive without faults. A stream of the simulated network that lost a segment
/// never sends it again, so each end has to notice first that nothing comes.
const SETTLED_WITHIN: Duration = Duration::from_secs(12);

const FILTERS: [&str; 8] = ["a", "b", "a/1", "a/2", "a/+", "a/#", "+/1", "#"];
const TOPICS: [&str; 5] = ["a", "b", "a/1", "a/2", "b/1"];
const CLIENTS: RangeInclusive<u32> = 0..=3;

/// What a run has shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Of everything that happened, to compare two runs.
    pub fingerprint: u64,
    /// Messages published.
    pub messages: usize,
    /// Messages that arrived.
    pub deliveries: usize,
    /// Copies that the SUBACK promise covered.
    pub promised: usize,
    /// Faults.
    pub faults: u64,
    /// From the end of the faults until all agreed.
    pub healed_in: Duration,
    /// Simulated time.
    pub simulated: Duration,
}

/// One run's world.
struct World {
    seed: u64,
    rng: SmallRng,
    sim: turmoil::Sim<'static>,
    slots: Vec<Arc<Slot>>,
    history: Arc<Mutex<History>>,
    /// Nodes that are down.
    down: BTreeSet<NodeAt>,
    /// Which kinds of faults this run has.
    kinds: Vec<Fault>,
    latency_max: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Two nodes do not reach each other.
    Cut,
    /// One node does not reach another one.
    CutOneWay,
    /// One node reaches nobody.
    Isolate,
    /// Two halves.
    Halves,
    /// What two nodes send each other waits, and comes all at once.
    Hold,
    /// A cut of a few milliseconds: connections lose what was under way.
    Flap,
    /// A node's power fails; it comes back later.
    Crash,
    /// Everything takes longer.
    Slow,
}

const FAULTS: [(Fault, &str); 8] = [
    (Fault::Cut, "cut"),
    (Fault::CutOneWay, "cut_one_way"),
    (Fault::Isolate, "isolate"),
    (Fault::Halves, "halves"),
    (Fault::Hold, "hold"),
    (Fault::Flap, "flap"),
    (Fault::Crash, "crash"),
    (Fault::Slow, "slow"),
];

/// Runs one seed. Without incarnations a node that restarts says that it is the same as before. The calling thread must be fresh: its hash keys are part of the run.
///
/// # Errors
/// What was not as it must be.
pub fn run(seed: u64, has_incarnations: bool) -> Result<Outcome, String> {
    entropy::seed(seed);
    let mut world = World::new(seed, has_incarnations);
    let outcome = world.run();
    outcome.map_err(|problem| format!("seed {seed}: {problem}"))
}

impl World {
    fn new(seed: u64, has_incarnations: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0xF10C);
        let count = rng.random_range(3..=5_usize);
        let latency_max = Duration::from_millis(rng.random_range(1..=20));
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(600))
            .min_message_latency(Duration::from_micros(100))
            .max_message_latency(latency_max)
            .tcp_capacity(4_096)
            .udp_capacity(1_024)
            .build();
        let ips: Vec<IpAddr> = (0..count).map(|node| sim.lookup(name(node).as_str())).collect();
        let seeds: Vec<String> = ips.iter().map(|ip| format!("{ip}:{MESH_PORT}")).collect();
        let history = Arc::new(Mutex::new(History::default()));
        let slots: Vec<Arc<Slot>> = ips
            .iter()
            .enumerate()
            .map(|(node, ip)| {
                Arc::new(Slot::new(node, *ip, seeds.clone(), has_incarnations, Arc::clone(&history)))
            })
            .collect();
        for slot in &slots {
            let slot = Arc::clone(slot);
            sim.host(name(slot.node).as_str(), move || run_host(Arc::clone(&slot)));
        }
        // Some kinds are left out of a run, so that none hides what another one would show.
        let kinds = FAULTS.iter().map(|(fault, _)| *fault).filter(|_| rng.random_bool(0.5)).collect();
        Self { seed, rng, sim, slots, history, down: BTreeSet::new(), kinds, latency_max }
    }

    fn run(&mut self) -> Result<Outcome, String> {
        self.converge("after the start")?;
        let chaos = Duration::from_millis(self.rng.random_range(4_000..=15_000));
        self.disturb(chaos)?;
        self.heal();
        let healed_in = self.converge("after everything had healed")?;
        self.settle()?;
        check::promises(&self.history.lock(), &self.running_drops())?;
        check::routes(&self.slots, &self.history.lock())?;
        check::alarms(&self.slots)?;
        self.ask()?;
        if self.history.lock().crashes.is_empty() {
            check::ledger(&self.slots)?;
        }
        let history = self.history.lock();
        Ok(Outcome {
            fingerprint: history.fingerprint,
            messages: history.messages.len(),
            deliveries: history.deliveries.len(),
            promised: check::promised(&history).len(),
            faults: history.faults.values().sum(),
            healed_in,
            simulated: self.sim.elapsed(),
        })
    }

    fn step(&mut self) -> Result<(), String> {
        self.sim.step().map_err(|error| error.to_string())?;
        let impossible = self.history.lock().impossible.pop();
        impossible.map_or(Ok(()), Err)
    }

    fn pass(&mut self, time: Duration) -> Result<(), String> {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.step()?;
        }
        Ok(())
    }

    /// Waits until every node says that all agree.
    fn converge(&mut self, when: &str) -> Result<Duration, String> {
        let start = self.sim.elapsed();
        let mut disagreement = String::new();
        while self.sim.elapsed() - start < CONVERGED_WITHIN {
            self.pass(Duration::from_millis(20))?;
            match check::convergence(&self.slots) {
                Ok(()) => return Ok(self.sim.elapsed() - start),
                Err(difference) => disagreement = difference,
            }
        }
        Err(format!("not converged {CONVERGED_WITHIN:?} {when}: {disagreement}"))
    }

    /// Waits until everything that was sent has arrived.
    fn settle(&mut self) -> Result<(), String> {
        let start = self.sim.elapsed();
        loop {
            // What clients were asked to do is done, and what it caused is buffered.
            self.pass(Duration::from_millis(100))?;
            let waiting = check::unacknowledged(&self.slots);
            if waiting == 0 {
                return self.pass(Duration::from_millis(100));
            }
            if SETTLED_WITHIN < self.sim.elapsed() - start {
                return Err(format!(
                    "{waiting} copies are still under way after {SETTLED_WITHIN:?} without faults"
                ));
            }
        }
    }

    /// Clients work and faults happen, for so long.
    fn disturb(&mut self, time: Duration) -> Result<(), String> {
        let end = self.sim.elapsed() + time;
        let pause_max = self.rng.random_range(2..=60);
        let fault_pause_max = self.rng.random_range(100..=2_000);
        let mut work_at = self.sim.elapsed();
        let mut fault_at = self.sim.elapsed() + Duration::from_millis(300);
        let mut ends: Vec<(Duration, Undo)> = Vec::new();
        while self.sim.elapsed() < end {
            let now = self.sim.elapsed();
            if work_at <= now {
                self.work();
                work_at = now + Duration::from_millis(self.rng.random_range(1..=pause_max));
            }
            if fault_at <= now && !self.kinds.is_empty() {
                if let Some(undo) = self.fault(now) {
                    // Shorter and longer than a node waits for a silent peer.
                    let lasts = Duration::from_millis(self.rng.random_range(20..=6_000));
                    ends.push((now + lasts, undo));
                }
                fault_at = now + Duration::from_millis(self.rng.random_range(50..=fault_pause_max));
            }
            let (due, later) = ends.into_iter().partition(|(at, _)| *at <= now);
            ends = later;
            for (_, undo) in due {
                self.undo(undo);
            }
            self.step()?;
        }
        Ok(())
    }

    fn work(&mut self) {
        let slot = &self.slots[self.rng.random_range(0..self.slots.len())];
        let client = *CLIENTS.start() + self.rng.random_range(CLIENTS) + 10 * slot.node as u32;
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][self.rng.random_range(0..3_usize)];
        let filter = FILTERS[self.rng.random_range(0..FILTERS.len())];
        let topic = TOPICS[self.rng.random_range(0..TOPICS.len())];
        slot.command(match self.rng.random_range(0..10) {
            0..3 => Command::Subscribe { client, filter, qos },
            3..5 => Command::Unsubscribe { client, filter },
            _ => Command::Publish { client, topic, qos },
        });
    }

    /// Causes a fault; what ends it, unless it ends by itself.
    fn fault(&mut self, now: Duration) -> Option<Undo> {
        let fault = *self.kinds.choose(&mut self.rng)?;
        let count = self.slots.len();
        let node = self.rng.random_range(0..count);
        let other = (node + self.rng.random_range(1..count)) % count;
        let name_of = FAULTS.iter().find(|(kind, _)| *kind == fault).map_or("", |(_, name)| *name);
        *self.history.lock().faults.entry(name_of).or_default() += 1;
        match fault {
            Fault::Cut => {
                self.sim.partition(name(node), name(other));
                Some(Undo::Repair(vec![(node, other)]))
            }
            Fault::CutOneWay => {
                self.sim.partition_oneway(name(node), name(other));
                Some(Undo::Repair(vec![(node, other)]))
            }
            Fault::Isolate => {
                let pairs: Vec<_> = (0..count).filter(|it| *it != node).map(|it| (node, it)).collect();
                self.cut(&pairs);
                Some(Undo::Repair(pairs))
            }
            Fault::Halves => {
                let split = self.rng.random_range(1..count);
                let pairs: Vec<_> = (0..split).flat_map(|a| (split..count).map(move |b| (a, b))).collect();
                self.cut(&pairs);
                Some(Undo::Repair(pairs))
            }
            Fault::Hold => {
                self.sim.hold(name(node), name(other));
                Some(Undo::Release(node, other))
            }
            Fault::Flap => {
                self.sim.partition(name(node), name(other));
                let lasts = Duration::from_millis(self.rng.random_range(1..=40));
                let _ = self.pass(lasts);
                self.sim.repair(name(node), name(other));
                None
            }
            Fault::Crash => {
                // Somebody has to be there to talk to.
                if self.down.len() + 1 >= count || !self.down.insert(node) {
                    return None;
                }
                self.sim.crash(name(node));
                self.slots[node].crash(now);
                Some(Undo::Restart(node))
            }
            Fault::Slow => {
                let latency = Duration::from_millis(self.rng.random_range(20..=400));
                self.sim.set_max_message_latency(latency);
                Some(Undo::Fast)
            }
        }
    }

    fn cut(&self, pairs: &[(NodeAt, NodeAt)]) {
        for (node, other) in pairs {
            self.sim.partition(name(*node), name(*other));
        }
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Repair(pairs) => {
                for (node, other) in pairs {
                    self.sim.repair(name(node), name(other));
                }
            }
            Undo::Release(node, other) => self.sim.release(name(node), name(other)),
            Undo::Restart(node) => self.restart(node),
            Undo::Fast => self.sim.set_max_message_latency(self.latency_max),
        }
    }

    fn restart(&mut self, node: NodeAt) {
        if self.down.remove(&node) {
            self.sim.bounce(name(node));
        }
    }

    /// Ends every fault.
    fn heal(&mut self) {
        let count = self.slots.len();
        for node in 0..count {
            for other in 0..node {
                // What was held comes, what was cut is open again.
                self.sim.release(name(node), name(other));
                self.sim.repair(name(node), name(other));
            }
        }
        self.sim.set_max_message_latency(self.latency_max);
        for node in 0..count {
            self.restart(node);
        }
    }

    /// In the calm, one message for each node and topic must reach everybody who subscribes, once, and nobody else.
    fn ask(&mut self) -> Result<(), String> {
        let first = self.history.lock().messages.len();
        for slot in &self.slots {
            let client = 10 * slot.node as u32;
            for topic in TOPICS {
                slot.command(Command::Publish { client, topic, qos: Qos::AtLeastOnce });
            }
        }
        self.settle()?;
        let history = self.history.lock();
        let asked = history.messages.len() - first;
        if asked != self.slots.len() * TOPICS.len() {
            return Err(format!("only {asked} messages were published in the calm"));
        }
        check::calm(&history, first)
    }

    /// What the lives that are still going have dropped.
    fn running_drops(&self) -> Vec<(crate::history::Life, u64)> {
        let running = self.slots.iter().filter_map(|slot| slot.running());
        running.map(|running| (running.life, check::lost_on_links(&running.drops()))).collect()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

/// What ends a fault.
enum Undo {
    Repair(Vec<(NodeAt, NodeAt)>),
    Release(NodeAt, NodeAt),
    Restart(NodeAt),
    Fast,
}

fn name(node: NodeAt) -> String {
    format!("node{node}")
}
