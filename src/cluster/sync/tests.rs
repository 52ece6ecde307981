//! Tests of the decisions, one table and one clock at a time.

use super::*;
use crate::cluster::routes::{Applied, Change, Delta, RouteKey, Snapshot};
use crate::net::clock;
use crate::topic::TopicFilter;

const ME: NodeId = NodeId::new(1);
const OWNER: NodeId = NodeId::new(2);
const NEAR: NodeId = NodeId::new(3);
const FAR: NodeId = NodeId::new(4);

fn at(incarnation: u64, seq: u64) -> Position {
    Position { incarnation, seq }
}

fn digest(position: Position) -> Digest {
    Digest { position, count: 0, hash: 0 }
}

fn change(n: u64) -> Change {
    let filter = TopicFilter::parse(&format!("t/{n}")).unwrap();
    Change::Advertise(RouteKey { filter, share: None, durable: false })
}

struct Bench {
    start: Instant,
    routes: Routes,
    sync: AntiEntropy,
}

impl Bench {
    /// The table is at 1:2 of OWNER's log; everybody is linked.
    fn new() -> Self {
        let start = clock::now();
        let mut bench =
            Self { start, routes: Routes::new(ME, 1, 100), sync: AntiEntropy::new(ME, Settings::default()) };
        for peer in [OWNER, NEAR, FAR] {
            bench.sync.on_link(start, peer, true);
        }
        bench.apply(at(1, 0), 2);
        bench
    }

    fn now(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Takes `count` changes of OWNER's log after `since`.
    fn apply(&mut self, since: Position, count: u64) {
        let changes = (since.seq..since.seq + count).map(change).collect();
        let applied = self.routes.on_delta(&Delta { owner: OWNER, since, changes });
        assert!(matches!(applied, Applied::Advanced(_)), "{applied:?}");
    }

    fn claim(&mut self, ms: u64, peer: NodeId, position: Position) {
        if peer == OWNER {
            self.sync.on_digest(self.now(ms), OWNER, digest(position));
        } else {
            self.sync.on_claims(self.now(ms), peer, &[(OWNER, position)]);
        }
    }

    #[track_caller]
    fn check(&mut self, ms: u64, expected: Option<(NodeId, Option<Position>)>) {
        let mut actions = Vec::new();
        self.sync.on_timeout(self.now(ms), &self.routes, &mut actions);
        let expected: Vec<_> =
            expected.into_iter().map(|(from, since)| Action::Pull { from, owner: OWNER, since }).collect();
        assert_eq!(actions, expected, "at {ms} ms");
    }

    #[track_caller]
    fn check_deadline(&self, ms: Option<u64>) {
        let deadline = self.sync.deadline().map(|deadline| (deadline - self.start).as_millis() as u64);
        assert_eq!(deadline, ms);
    }
}

#[test]
fn nothing_is_pulled_while_nobody_claims_more() {
    let mut bench = Bench::new();
    bench.claim(0, NEAR, at(1, 2));
    bench.claim(0, FAR, at(1, 1));
    bench.check(0, None);
    bench.check(1_000, None);
    bench.check_deadline(None);
    assert_eq!(bench.sync.lag(OWNER, &bench.routes), 0);
}

#[test]
fn a_lag_is_pulled_from_the_owner_once_it_lasts() {
    let mut bench = Bench::new();
    bench.claim(0, OWNER, at(1, 5));
    bench.check_deadline(Some(0));
    bench.check(0, None);
    bench.check_deadline(Some(200));
    assert_eq!(bench.sync.lag(OWNER, &bench.routes), 3);
    bench.check(199, None);
    bench.check(200, Some((OWNER, Some(at(1, 2)))));
    bench.check_deadline(Some(2_200));
    bench.claim(300, OWNER, at(1, 9));
    bench.check(300, None);
}

#[test]
fn a_push_that_delivers_postpones_the_pull() {
    let mut bench = Bench::new();
    for seq in 0..20 {
        let now = seq * 150;
        bench.claim(now, OWNER, at(1, seq + 4));
        bench.check(now, None);
        bench.apply(at(1, seq + 2), 1);
    }
    // Only now it stops.
    bench.check(3_000, None);
    bench.claim(3_100, OWNER, at(1, 23));
    bench.check(3_199, None);
    bench.check(3_200, Some((OWNER, Some(at(1, 22)))));
}

#[test]
fn a_pull_that_brought_something_is_followed_at_once() {
    let mut bench = Bench::new();
    bench.claim(0, OWNER, at(1, 9));
    bench.check(0, None);
    bench.check(200, Some((OWNER, Some(at(1, 2)))));
    bench.apply(at(1, 2), 3);
    bench.sync.on_progress(bench.now(250), OWNER);
    bench.check(250, Some((OWNER, Some(at(1, 5)))));
    bench.apply(at(1, 5), 4);
    // The claim's digest is made up, so let the owner be further than that.
    bench.claim(300, OWNER, at(1, 10));
    bench.apply(at(1, 9), 2);
    bench.check(300, None);
    bench.check_deadline(None);
}

#[test]
fn without_the_owner_the_furthest_peer_is_asked() {
    let mut bench = Bench::new();
    bench.sync.on_link(bench.start, OWNER, false);
    bench.claim(0, OWNER, at(1, 9));
    bench.claim(0, NEAR, at(1, 4));
    bench.claim(0, FAR, at(1, 7));
    bench.check(0, None);
    bench.check(200, Some((FAR, Some(at(1, 2)))));
    bench.apply(at(1, 2), 5);
    // Nobody that can be reached has the rest.
    bench.check(300, None);
    bench.check(9_000, None);
    bench.check_deadline(None);
    bench.sync.on_link(bench.now(9_000), OWNER, true);
    bench.check(9_000, Some((OWNER, Some(at(1, 7)))));
}

#[test]
fn who_fails_is_asked_again_later_and_others_first() {
    let mut bench = Bench::new();
    bench.claim(0, OWNER, at(1, 9));
    bench.claim(0, NEAR, at(1, 5));
    bench.check(0, None);
    bench.check(200, Some((OWNER, Some(at(1, 2)))));
    bench.check(2_199, None);
    bench.check(2_200, Some((NEAR, Some(at(1, 2)))));
    // A chunk of a snapshot arrives now and then: more time.
    bench.sync.on_progress(bench.now(4_000), OWNER);
    bench.check(5_999, None);
    // NEAR fails, too; both failed once, so it is the owner's turn, and its pause is long over.
    bench.check(6_000, Some((OWNER, Some(at(1, 2)))));
    bench.check(8_000, Some((NEAR, Some(at(1, 2)))));
    // NEAR has nothing: its claim counts no more. The owner failed twice, last at 8 s.
    bench.sync.on_refused(bench.now(8_100), NEAR, OWNER);
    bench.check(8_100, None);
    bench.check_deadline(Some(8_400));
    bench.check(8_400, Some((OWNER, Some(at(1, 2)))));
    // A refusal of somebody else does not end it.
    bench.sync.on_refused(bench.now(8_500), FAR, OWNER);
    bench.check(8_500, None);
    // Progress forgives.
    bench.apply(at(1, 2), 1);
    bench.check(8_600, Some((OWNER, Some(at(1, 3)))));
}

#[test]
fn a_link_that_breaks_ends_its_pull() {
    let mut bench = Bench::new();
    bench.claim(0, OWNER, at(1, 9));
    bench.claim(0, NEAR, at(1, 5));
    bench.check(0, None);
    bench.check(200, Some((OWNER, Some(at(1, 2)))));
    bench.sync.on_link(bench.now(300), OWNER, false);
    bench.check(300, Some((NEAR, Some(at(1, 2)))));
    bench.sync.on_gone(bench.now(400), NEAR);
    bench.check(400, None);
}

#[test]
fn a_new_life_is_pulled_even_when_it_has_no_routes() {
    let mut bench = Bench::new();
    bench.claim(0, OWNER, at(2, 0));
    bench.check(0, None);
    bench.check(200, Some((OWNER, Some(at(1, 2)))));
    assert_eq!(bench.sync.lag(OWNER, &bench.routes), 1);
    bench.apply(at(2, 0), 0);
    bench.check(300, None);
    assert_eq!(bench.sync.lag(OWNER, &bench.routes), 0);
}

#[test]
fn a_digest_that_disagrees_at_the_same_position_asks_the_owner_for_everything() {
    let mut bench = Bench::new();
    let right = bench.routes.digest(OWNER).unwrap();
    bench.sync.on_digest(bench.start, OWNER, right);
    bench.check(0, None);
    // Somebody's table goes wrong.
    let wrong = Snapshot { owner: OWNER, position: right.position, keys: Vec::new() };
    bench.routes.on_snapshot(&wrong);
    bench.claim(0, NEAR, at(1, 2));
    bench.sync.on_link(bench.now(100), OWNER, false);
    bench.check(100, None);
    bench.sync.on_link(bench.now(200), OWNER, true);
    bench.check(200, Some((OWNER, None)));
    bench.check(300, None);
    let keys = (0..2).map(|n| change(n).key().clone()).collect();
    bench.routes.on_snapshot(&Snapshot { keys, ..wrong });
    bench.check(400, None);
    bench.check_deadline(None);
}

#[test]
fn a_forgotten_owner_is_not_pulled_from_third_parties() {
    let mut bench = Bench::new();
    bench.claim(0, NEAR, at(1, 9));
    bench.check(0, None);
    bench.routes.forget(OWNER);
    bench.check(300, None);
    bench.check_deadline(None);
    bench.routes.set_live(OWNER, true);
    bench.check(400, None);
    bench.check(600, Some((OWNER, Some(Position::NONE))));
}

#[test]
fn claims_about_this_node_and_older_digests_count_for_nothing() {
    let mut bench = Bench::new();
    bench.sync.on_claims(bench.start, NEAR, &[(ME, at(9, 9))]);
    bench.check(0, None);
    bench.check(500, None);
    bench.claim(500, OWNER, at(1, 5));
    bench.claim(500, OWNER, at(1, 1));
    bench.check(500, None);
    bench.check(700, Some((OWNER, Some(at(1, 2)))));
}

#[test]
fn a_gap_counts_as_a_claim() {
    let mut bench = Bench::new();
    bench.claim(0, NEAR, at(1, 2));
    bench.sync.on_claim(bench.start, NEAR, OWNER, at(1, 6));
    bench.sync.on_claim(bench.start, NEAR, OWNER, at(1, 5));
    assert_eq!(bench.sync.lag(OWNER, &bench.routes), 4);
    bench.check(0, None);
    bench.check(200, Some((OWNER, Some(at(1, 2)))));
}
