//! What a SUBACK waits for: until every peer that counts has acknowledged a position of the own log.
//! Sans-io.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tracing::error;

use super::node_id::NodeId;
use super::routes::Position;

/// How far a route got by the time its barrier ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Peers that were to acknowledge it.
    pub peers: usize,
    /// Peers that did.
    pub acknowledged: usize,
}

impl Reach {
    /// Whether every peer that counts has the route.
    #[must_use]
    pub fn is_everybody(self) -> bool {
        self.peers == self.acknowledged
    }
}

/// What runs at the end of a barrier.
pub(super) type Done = Box<dyn FnOnce(Reach) + Send>;

/// Barriers that ended, to be run by the caller when it holds no lock.
#[derive(Default)]
#[must_use]
pub(super) struct Ended(Vec<(Done, Reach)>);

impl Ended {
    /// Tells everyone who waited. A panic of one is not the link's that happens to bring the news.
    pub(super) fn run(self) {
        for (done, reach) in self.0 {
            if catch_unwind(AssertUnwindSafe(|| done(reach))).is_err() {
                error!("who waited for a route panicked");
            }
        }
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many ended before everybody had acknowledged.
    pub(super) fn incomplete(&self) -> usize {
        self.0.iter().filter(|(_, reach)| !reach.is_everybody()).count()
    }
}

/// All waiting barriers, and what each peer that counts has acknowledged.
#[derive(Default)]
pub(super) struct Barriers {
    acked: BTreeMap<NodeId, Position>,
    waiting: BTreeMap<(Position, u64), Done>,
    /// In the order of their end, since all wait equally long.
    deadlines: VecDeque<(Instant, (Position, u64))>,
    serial: u64,
}

impl Barriers {
    /// Starts a barrier; it may end in the same call.
    pub(super) fn wait(&mut self, position: Position, deadline: Instant, done: Done) -> Ended {
        if self.everybody_has(position) {
            return Ended(vec![(done, self.reach(position))]);
        }
        self.serial += 1;
        let key = (position, self.serial);
        self.waiting.insert(key, done);
        self.deadlines.push_back((deadline, key));
        Ended::default()
    }

    /// A peer acknowledged; ignored for peers that do not count.
    pub(super) fn on_ack(&mut self, peer: NodeId, position: Position) -> Ended {
        match self.acked.get_mut(&peer) {
            Some(acked) if *acked < position => *acked = position,
            _ => return Ended::default(),
        }
        self.finish_reached()
    }

    /// From now on the barriers wait for this peer too. `acked` is what it acknowledged already.
    pub(super) fn count(&mut self, peer: NodeId, acked: Position) -> Ended {
        self.acked.insert(peer, acked);
        // It may have counted before, with less.
        self.finish_reached()
    }

    /// The peer is gone: nobody waits for it any more.
    pub(super) fn discount(&mut self, peer: NodeId) -> Ended {
        if self.acked.remove(&peer).is_none() {
            return Ended::default();
        }
        self.finish_reached()
    }

    /// Ends the barriers whose time is up.
    pub(super) fn on_timeout(&mut self, now: Instant) -> Ended {
        let mut ended = Ended::default();
        while let Some((deadline, key)) = self.deadlines.front().copied() {
            if deadline > now && self.waiting.contains_key(&key) {
                break;
            }
            self.deadlines.pop_front();
            if let Some(done) = self.waiting.remove(&key) {
                ended.0.push((done, self.reach(key.0)));
            }
        }
        ended
    }

    /// When [`Barriers::on_timeout`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Ends everything as it stands, at the stop of the node.
    pub(super) fn finish_all(&mut self) -> Ended {
        self.deadlines.clear();
        let waiting = std::mem::take(&mut self.waiting);
        Ended(waiting.into_iter().map(|((position, _), done)| (done, self.reach(position))).collect())
    }

    fn finish_reached(&mut self) -> Ended {
        let mut ended = Ended::default();
        while let Some(first) = self.waiting.first_entry() {
            let position = first.key().0;
            if !self.acked.values().all(|acked| position <= *acked) {
                break;
            }
            let done = first.remove();
            ended.0.push((done, self.reach(position)));
        }
        // Barriers mostly end in order, so this keeps the queue as short as the waiting ones.
        while let Some((_, key)) = self.deadlines.front()
            && !self.waiting.contains_key(key)
        {
            self.deadlines.pop_front();
        }
        ended
    }

    fn everybody_has(&self, position: Position) -> bool {
        self.acked.values().all(|acked| position <= *acked)
    }

    fn reach(&self, position: Position) -> Reach {
        let acknowledged = self.acked.values().filter(|acked| position <= **acked).count();
        Reach { peers: self.acked.len(), acknowledged }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;
    use crate::net::clock::now;

    const TIMEOUT: Duration = Duration::from_millis(500);

    struct Case {
        barriers: Barriers,
        ended: Arc<Mutex<Vec<(u64, usize, usize)>>>,
        now: Instant,
    }

    impl Case {
        fn new(peers: &[u128]) -> Self {
            let mut barriers = Barriers::default();
            for peer in peers {
                barriers.count(node(*peer), at(0)).run();
            }
            Self { barriers, ended: Arc::default(), now: now() }
        }

        fn wait(&mut self, seq: u64) {
            let ended = Arc::clone(&self.ended);
            let done = Box::new(move |reach: Reach| {
                ended.lock().unwrap().push((seq, reach.acknowledged, reach.peers));
            });
            self.barriers.wait(at(seq), self.now + TIMEOUT, done).run();
        }

        fn check(&self, expected: &[(u64, usize, usize)]) {
            assert_eq!(*self.ended.lock().unwrap(), expected);
        }
    }

    fn node(id: u128) -> NodeId {
        NodeId::new(id)
    }

    fn at(seq: u64) -> Position {
        Position { incarnation: 1, seq }
    }

    #[test]
    fn without_peers_nothing_waits() {
        let mut case = Case::new(&[]);
        case.wait(7);
        case.check(&[(7, 0, 0)]);
    }

    #[test]
    fn a_barrier_ends_with_the_last_acknowledgement_and_not_before() {
        let mut case = Case::new(&[1, 2]);
        case.wait(5);
        case.wait(6);
        case.barriers.on_ack(node(1), at(9)).run();
        case.barriers.on_ack(node(2), at(4)).run();
        case.barriers.on_ack(node(3), at(9)).run();
        case.check(&[]);
        case.barriers.on_ack(node(2), at(5)).run();
        case.check(&[(5, 2, 2)]);
        case.barriers.on_ack(node(2), at(6)).run();
        case.check(&[(5, 2, 2), (6, 2, 2)]);
        assert_eq!(case.barriers.deadline(), None);
        case.wait(6);
        assert_eq!(case.ended.lock().unwrap().len(), 3, "a position that everybody has does not wait");
    }

    #[test]
    fn a_peer_that_goes_down_is_not_waited_for() {
        let mut case = Case::new(&[1, 2]);
        case.wait(5);
        case.barriers.on_ack(node(1), at(5)).run();
        case.barriers.discount(node(2)).run();
        case.check(&[(5, 1, 1)]);
    }

    #[test]
    fn time_ends_a_barrier_and_says_who_is_missing() {
        let mut case = Case::new(&[1, 2]);
        case.wait(5);
        case.barriers.on_ack(node(1), at(5)).run();
        case.now += Duration::from_millis(100);
        case.wait(3);
        let ended = case.barriers.on_timeout(case.now + Duration::from_millis(399));
        assert_eq!(ended.incomplete(), 0);
        ended.run();
        case.check(&[]);
        let ended = case.barriers.on_timeout(case.now + Duration::from_millis(400));
        assert_eq!(ended.incomplete(), 1);
        ended.run();
        case.check(&[(5, 1, 2)]);
        assert_eq!(case.barriers.deadline(), Some(case.now + TIMEOUT));
        case.barriers.finish_all().run();
        case.check(&[(5, 1, 2), (3, 1, 2)]);
    }
}
