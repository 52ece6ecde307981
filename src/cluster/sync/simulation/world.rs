//! The nodes, the network between them, and what befalls both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::cluster::frame::{Assembly, Control, snapshot_frames};
use crate::cluster::node_id::NodeId;
use crate::cluster::routes::{Digest, Position, RouteKey, Routes, Tail};
use crate::cluster::sync::{Action, AntiEntropy, Settings};
use crate::net::clock;
use crate::topic::{ShareName, TopicFilter};

const NODES_MAX: usize = 6;
const STEP: Duration = Duration::from_millis(25);
const CHAOS_STEPS: u64 = 240;
/// 30 s of calm are enough for every back-off.
const CALM_STEPS: u64 = 1_200;
const GOSSIP_INTERVAL: Duration = Duration::from_millis(200);
const DEAD_AFTER: Duration = Duration::from_millis(1_500);
/// So short that snapshots are needed often.
const LOG_LEN_MAX: usize = 6;
pub(super) const CHANGES_MAX: usize = 3;

/// What can be broken on purpose, to see the simulation find it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    /// A restarted node says nothing of its new life before it has a route.
    SilentStart,
    /// Nobody pulls.
    NoPulls,
    /// One node's table is altered behind its back, once, late.
    Corruption,
}

/// What one node tells all others through gossip; others pass it on.
#[derive(Clone)]
pub(super) struct Advertised {
    pub(super) incarnation: u64,
    pub(super) heartbeat: u64,
    pub(super) own: Option<Digest>,
    pub(super) have: Vec<(NodeId, Position)>,
    /// The newest delta, as a frame.
    pub(super) recent: Option<Vec<u8>>,
}

impl Advertised {
    pub(super) fn age(&self) -> (u64, u64) {
        (self.incarnation, self.heartbeat)
    }
}

pub(super) struct Node {
    pub(super) up: bool,
    pub(super) wanted: BTreeSet<RouteKey>,
    pub(super) routes: Routes,
    pub(super) sync: AntiEntropy,
    pub(super) heartbeat: u64,
    pub(super) gossip_at: Instant,
    pub(super) heard: BTreeMap<NodeId, (Advertised, Instant)>,
    /// How far each linked peer was sent the own log.
    pub(super) pushed: BTreeMap<usize, Position>,
    pub(super) recent: Option<Vec<u8>>,
    pub(super) assemblies: BTreeMap<(usize, NodeId), Assembly>,
}

pub(super) enum Body {
    /// One frame, or a snapshot's: a stream keeps those in order, and when it breaks, the rest is missing.
    Frames(Vec<Vec<u8>>),
    Gossip(Vec<(NodeId, Advertised)>),
}

pub(super) struct Message {
    pub(super) at: Instant,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) body: Body,
}

/// What the runs did, so that a simulation that exercises nothing is noticed.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) restarts: u64,
    pub(super) pulls: u64,
    pub(super) alarms: u64,
    pub(super) snapshots: u64,
    pub(super) forgotten: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) gaps: u64,
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) rng: SmallRng,
    pub(super) now: Instant,
    pub(super) bug: Bug,
    pub(super) loss_percent: u32,
    pub(super) nodes: Vec<Node>,
    /// Directed pairs that nothing passes.
    pub(super) cuts: BTreeSet<(usize, usize)>,
    /// Links as both ends see them, and since when that has been wrong.
    pub(super) links: BTreeMap<(usize, usize), (bool, Option<Instant>)>,
    pub(super) under_way: Vec<Message>,
    /// Every digest that an owner ever had.
    pub(super) history: BTreeMap<(NodeId, Position), Digest>,
    pub(super) stats: Stats,
}

pub(super) fn id(node: usize) -> NodeId {
    NodeId::new(node as u128 + 1)
}

pub(super) fn node_of(id: NodeId) -> usize {
    id.as_u128() as usize - 1
}

fn key(n: u32) -> RouteKey {
    let filter = ["a", "a/+", "a/#", "b/1", "b/+", "#", "c/d/e"][n as usize % 7];
    let share = n.is_multiple_of(5).then(|| ShareName::parse("g").unwrap());
    RouteKey { filter: TopicFilter::parse(filter).unwrap(), share, durable: n.is_multiple_of(2) }
}

impl World {
    pub(super) fn new(seed: u64, bug: Bug) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let now = clock::now();
        let count = rng.random_range(3..=NODES_MAX);
        let loss_percent = rng.random_range(0..=30);
        let nodes = (0..count).map(|node| Node::new(node, 1, now)).collect();
        let mut world = Self {
            seed,
            rng,
            now,
            bug,
            loss_percent,
            nodes,
            cuts: BTreeSet::new(),
            links: BTreeMap::new(),
            under_way: Vec::new(),
            history: BTreeMap::new(),
            stats: Stats::default(),
        };
        for node in 0..count {
            world.note(node);
        }
        world
    }

    /// Runs to the end; an error says what was wrong.
    pub(super) fn run(mut self) -> Result<Stats, String> {
        for _ in 0..CHAOS_STEPS {
            self.disturb();
            self.step()?;
        }
        self.cuts.clear();
        self.loss_percent = self.loss_percent.min(10);
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up {
                self.restart(node);
            }
        }
        if self.bug == Bug::Corruption {
            self.corrupt();
        }
        for _ in 0..CALM_STEPS {
            self.step()?;
            if self.difference().is_none() {
                return Ok(self.stats);
            }
        }
        Err(self.difference().unwrap_or_default())
    }

    fn disturb(&mut self) {
        let count = self.nodes.len();
        let node = self.rng.random_range(0..count);
        let other = self.rng.random_range(0..count);
        match self.rng.random_range(0..100) {
            0..40 if self.nodes[node].up => {
                let key = key(self.rng.random_range(0..35));
                let adds = self.rng.random_range(0..5) < 3;
                self.change(node, &key, adds);
            }
            40..42 => _ = self.cuts.insert((node, other)),
            42..44 => {
                // A partition into two sides.
                let sides: Vec<bool> = (0..count).map(|_| self.rng.random()).collect();
                for from in 0..count {
                    self.cuts.extend((0..count).filter(|&to| sides[from] != sides[to]).map(|to| (from, to)));
                }
            }
            44..47 => self.cuts.clear(),
            47..49 => self.crash(node),
            49..53 if !self.nodes[node].up => self.restart(node),
            53 if self.nodes[node].up => {
                self.crash(node);
                self.restart(node);
            }
            54..58 if self.nodes[node].up => self.forget(node, other),
            _ => {}
        }
    }

    fn change(&mut self, node: usize, key: &RouteKey, adds: bool) {
        let own = &mut self.nodes[node];
        let before = own.routes.own_position();
        if adds {
            own.wanted.insert(key.clone());
            own.routes.advertise(key);
        } else {
            own.wanted.remove(key);
            own.routes.withdraw(key);
        }
        if let Tail::Delta(delta) = own.routes.tail(id(node), before, 1) {
            own.recent = Some(bytes(&Control::Delta(delta)));
        }
        self.note(node);
    }

    /// Remembers what an owner holds at the position it has now.
    fn note(&mut self, node: usize) {
        let digest = self.nodes[node].routes.digest(id(node)).unwrap();
        self.history.insert((id(node), digest.position), digest);
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].up = false;
        self.drop_links(node);
    }

    fn restart(&mut self, node: usize) {
        self.stats.restarts += 1;
        let incarnation = self.nodes[node].routes.own_position().incarnation + 1;
        let keeps = self.rng.random();
        let wanted = std::mem::take(&mut self.nodes[node].wanted);
        let wanted = if keeps { wanted } else { BTreeSet::new() };
        self.drop_links(node);
        self.nodes[node] = Node::new(node, incarnation, self.now);
        self.note(node);
        for key in wanted {
            self.change(node, &key, true);
        }
    }

    fn forget(&mut self, node: usize, other: usize) {
        let masked = node != other && !self.nodes[node].routes.is_live(id(other));
        if masked && 0 < self.nodes[node].routes.forget(id(other)) {
            self.stats.forgotten += 1;
        }
    }

    /// Loses some routes of some owner from some table at the same position, as only a bug could.
    fn corrupt(&mut self) {
        for node in 0..self.nodes.len() {
            let routes = &mut self.nodes[node].routes;
            for owner in (0..NODES_MAX).map(id).filter(|&owner| owner != id(node)) {
                if let Some(mut snapshot) =
                    routes.snapshot(owner).filter(|snapshot| !snapshot.keys.is_empty())
                {
                    snapshot.keys.pop();
                    routes.on_snapshot(&snapshot);
                    return;
                }
            }
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += STEP;
        self.update_links();
        self.deliver()?;
        for node in 0..self.nodes.len() {
            if self.nodes[node].up {
                self.gossip(node);
                self.mask(node);
                self.push(node);
                self.synchronise(node)?;
                self.check(node)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_open(&self, from: usize, to: usize) -> bool {
        self.nodes[from].up && self.nodes[to].up && !self.cuts.contains(&(from, to))
    }

    fn drop_links(&mut self, node: usize) {
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            self.links.insert((node.min(other), node.max(other)), (false, None));
            self.tell_link(node, other, false);
        }
    }

    /// Ends see a link come up or go down with some delay; until then they talk into the void.
    fn update_links(&mut self) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let works = self.is_open(a, b) && self.is_open(b, a);
                let (seen, wrong_since) = self.links.get(&(a, b)).copied().unwrap_or((false, None));
                let wrong_since = (seen != works).then(|| wrong_since.unwrap_or(self.now));
                let patience = Duration::from_millis(if seen { 400 } else { 50 });
                let changes = wrong_since.is_some_and(|since| since + patience <= self.now);
                if changes {
                    self.links.insert((a, b), (works, None));
                    self.tell_link(a, b, works);
                } else {
                    self.links.insert((a, b), (seen, wrong_since));
                }
            }
        }
    }

    fn tell_link(&mut self, a: usize, b: usize, up: bool) {
        for (node, peer) in [(a, b), (b, a)] {
            self.nodes[node].sync.on_link(self.now, id(peer), up);
            self.nodes[node].pushed.remove(&peer);
            self.nodes[node].assemblies.retain(|&(from, _), _| from != peer);
            if up {
                // The hello: what the peer is, and what it has of this node's routes.
                let own = self.own_claim(peer);
                let have = self.nodes[peer].routes.position(id(node)).unwrap_or(Position::NONE);
                let has_spoken = own.is_some();
                self.nodes[node].hear_digest(self.now, peer, own);
                if has_spoken {
                    self.nodes[node].pushed.insert(peer, have);
                }
            }
        }
    }

    /// What a node says about its own routes.
    fn own_claim(&self, node: usize) -> Option<Digest> {
        let own = self.nodes[node].routes.digest(id(node));
        own.filter(|own| self.bug != Bug::SilentStart || 0 < own.position.seq)
    }

    fn send(&mut self, from: usize, to: usize, body: Body) {
        if self.rng.random_range(0..100) < self.loss_percent {
            self.stats.lost += 1;
            return;
        }
        let at = self.now + Duration::from_millis(self.rng.random_range(0..120));
        self.under_way.push(Message { at, from, to, body });
    }

    pub(super) fn send_frame(&mut self, from: usize, to: usize, control: &Control) {
        let frames = vec![bytes(control)];
        if self.rng.random_range(0..100) < self.loss_percent / 2 {
            self.send(from, to, Body::Frames(frames.clone()));
        }
        self.send(from, to, Body::Frames(frames));
    }

    pub(super) fn send_snapshot(&mut self, from: usize, to: usize, owner: NodeId) {
        let Some(snapshot) = self.nodes[from].routes.snapshot(owner) else {
            return self.send_frame(from, to, &Control::PullRefused { owner });
        };
        self.stats.snapshots += 1;
        let mut frames: Vec<_> = snapshot_frames(snapshot).map(|frame| bytes(&frame)).collect();
        if self.rng.random_range(0..100) < self.loss_percent {
            frames.truncate(self.rng.random_range(0..frames.len()));
        }
        self.send(from, to, Body::Frames(frames));
    }

    fn gossip(&mut self, node: usize) {
        if self.now < self.nodes[node].gossip_at {
            return;
        }
        self.nodes[node].gossip_at = self.now + GOSSIP_INTERVAL;
        let peer = self.rng.random_range(0..self.nodes.len());
        if peer == node {
            return;
        }
        let own = self.own_claim(node);
        let this = &mut self.nodes[node];
        this.heartbeat += 1;
        let have = this.routes.digests().into_iter().filter(|&(owner, _)| owner != id(node));
        let advertised = Advertised {
            incarnation: this.routes.own_position().incarnation,
            heartbeat: this.heartbeat,
            own,
            have: have.map(|(owner, digest)| (owner, digest.position)).collect(),
            recent: this.recent.clone(),
        };
        let mut all: Vec<_> = this.heard.iter().map(|(&id, (heard, _))| (id, heard.clone())).collect();
        all.push((id(node), advertised));
        self.send(node, peer, Body::Gossip(all));
    }

    fn mask(&mut self, node: usize) {
        let now = self.now;
        let this = &mut self.nodes[node];
        for (&peer, (_, heard_at)) in &this.heard {
            this.routes.set_live(peer, now < *heard_at + DEAD_AFTER);
        }
    }

    fn push(&mut self, node: usize) {
        let pushed: Vec<_> =
            self.nodes[node].pushed.iter().map(|(&peer, &position)| (peer, position)).collect();
        for (peer, position) in pushed {
            match self.nodes[node].routes.tail(id(node), position, CHANGES_MAX) {
                Tail::UpToDate => {}
                Tail::Delta(delta) => {
                    self.nodes[node].pushed.insert(peer, delta.end());
                    self.send_frame(node, peer, &Control::Delta(delta));
                }
                Tail::SnapshotNeeded => {
                    let position = self.nodes[node].routes.own_position();
                    self.nodes[node].pushed.insert(peer, position);
                    self.send_snapshot(node, peer, id(node));
                }
            }
        }
    }

    fn synchronise(&mut self, node: usize) -> Result<(), String> {
        if self.bug == Bug::NoPulls {
            return Ok(());
        }
        let this = &mut self.nodes[node];
        if this.sync.deadline().is_none_or(|deadline| self.now < deadline) {
            return Ok(());
        }
        let mut actions = Vec::new();
        this.sync.on_timeout(self.now, &this.routes, &mut actions);
        if this.sync.deadline().is_some_and(|deadline| deadline <= self.now) {
            return Err(format!("seed {}: the deadline does not move", self.seed));
        }
        for Action::Pull { from, owner, since } in actions {
            self.stats.pulls += 1;
            if since.is_none() {
                self.stats.alarms += 1;
            }
            self.send_frame(node, node_of(from), &Control::Pull { owner, since });
        }
        Ok(())
    }
}

fn bytes(control: &Control) -> Vec<u8> {
    let mut frame = Vec::new();
    control.encode(&mut frame).unwrap();
    frame
}

impl Node {
    fn new(node: usize, incarnation: u64, now: Instant) -> Self {
        Self {
            up: true,
            wanted: BTreeSet::new(),
            routes: Routes::new(id(node), incarnation, LOG_LEN_MAX),
            sync: AntiEntropy::new(id(node), Settings::default()),
            heartbeat: 0,
            gossip_at: now,
            heard: BTreeMap::new(),
            pushed: BTreeMap::new(),
            recent: None,
            assemblies: BTreeMap::new(),
        }
    }

    pub(super) fn hear_digest(&mut self, now: Instant, peer: usize, own: Option<Digest>) {
        if let Some(own) = own {
            self.routes.on_incarnation(id(peer), own.position.incarnation);
            self.sync.on_digest(now, id(peer), own);
        }
    }
}
