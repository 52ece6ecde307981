use super::*;
use crate::cluster::membership::Advertised;
use crate::net::clock::now;

const DEAD_AFTER: Duration = Duration::from_millis(2_500);
const AUTOCLEAN: Duration = Duration::from_secs(60);
const ROUND: Duration = Duration::from_millis(200);
const PEER: NodeId = NodeId::new(7);

/// One node's view of one peer; time is added.
struct Case {
    peers: Peers,
    now: Instant,
    member: Member,
    events: Vec<PeerEvent>,
}

impl Case {
    /// A peer that gossip has told of.
    fn new() -> Self {
        let mut case = Self {
            peers: Peers::new(NodeId::new(1), DEAD_AFTER, Some(AUTOCLEAN)),
            now: now(),
            member: member(PEER, 1, "a:1"),
            events: Vec::new(),
        };
        case.round(true);
        case
    }

    /// A peer that is live.
    fn live() -> Self {
        let mut case = Self::new();
        case.link_up();
        case.check(PeerState::Live, &[PeerEvent::Counts { peer: PEER }, PeerEvent::Live { peer: PEER }]);
        case
    }

    fn link_up(&mut self) {
        self.events.clear();
        let ours = Position { incarnation: 1, seq: 5 };
        self.peers.on_link_up(PEER, ours);
        self.peers.on_ack(PEER, ours, ours, &mut self.events);
        let incarnation = self.member.incarnation;
        let claim = Digest { position: Position { incarnation, seq: 2 }, count: 0, hash: 0 };
        self.peers.on_claim(PEER, claim);
        self.peers.on_applied(PEER, claim.position, &mut self.events);
    }

    /// One gossip round, with or without a new heartbeat.
    fn round(&mut self, beats: bool) {
        self.now += ROUND;
        self.member.heartbeat += u64::from(beats);
        self.events.clear();
        self.peers.on_members(self.now, &[&self.member], &mut self.events);
        self.peers.on_tick(self.now, &mut self.events);
    }

    fn rounds(&mut self, count: usize, beats: bool) -> Vec<PeerEvent> {
        let mut events = Vec::new();
        for _ in 0..count {
            self.round(beats);
            events.append(&mut self.events);
        }
        events
    }

    fn state(&self) -> Option<PeerState> {
        self.peers.get(PEER).map(Peer::state)
    }

    #[track_caller]
    fn check(&self, state: PeerState, events: &[PeerEvent]) {
        assert_eq!((self.state(), &self.events[..]), (Some(state), events));
    }
}

fn member(id: NodeId, incarnation: u64, address: &str) -> Member {
    Member {
        id,
        incarnation,
        name: "peer".to_owned(),
        mesh_address: address.to_owned(),
        heartbeat: 10,
        advertised: Advertised::default(),
    }
}

#[test]
fn a_peer_is_live_when_both_tables_are_in_step_on_a_link() {
    let mut case = Case::new();
    case.check(
        PeerState::Joining,
        &[
            PeerEvent::Restarted { peer: PEER, incarnation: 1 },
            PeerEvent::Dial { peer: PEER, address: "a:1".to_owned() },
        ],
    );
    let ours = Position { incarnation: 1, seq: 5 };
    let claim = Digest { position: Position { incarnation: 1, seq: 2 }, count: 0, hash: 0 };
    case.peers.on_link_up(PEER, ours);
    case.peers.on_claim(PEER, claim);
    case.events.clear();
    case.peers.on_ack(PEER, Position { incarnation: 1, seq: 4 }, ours, &mut case.events);
    case.peers.on_applied(PEER, Position { incarnation: 1, seq: 1 }, &mut case.events);
    case.check(PeerState::Joining, &[]);
    case.peers.on_applied(PEER, claim.position, &mut case.events);
    case.check(PeerState::Joining, &[]);
    // The own log may be further by now.
    let later = Position { incarnation: 1, seq: 6 };
    case.peers.on_ack(PEER, ours, later, &mut case.events);
    case.check(PeerState::Live, &[PeerEvent::Live { peer: PEER }, PeerEvent::Counts { peer: PEER }]);
}

#[test]
fn a_peer_that_has_the_routes_counts_even_when_no_link_can_be_made_to_it() {
    let mut case = Case::new();
    case.peers.on_link_down(PEER, "refused".to_owned());
    let ours = Position { incarnation: 1, seq: 5 };
    case.events.clear();
    case.peers.on_ack(PEER, ours, ours, &mut case.events);
    case.peers.on_ack(PEER, ours, ours, &mut case.events);
    case.check(PeerState::Suspect, &[PeerEvent::Counts { peer: PEER }]);
    case.rounds(13, false);
    assert_eq!(case.state(), Some(PeerState::Down));
    case.events.clear();
    case.peers.on_ack(PEER, ours, ours, &mut case.events);
    case.check(PeerState::Down, &[]);
}

#[test]
fn silence_for_dead_after_means_down_and_less_does_not() {
    let mut case = Case::live();
    case.peers.on_link_down(PEER, "reset".to_owned());
    assert_eq!(case.rounds(12, false), []);
    assert_eq!(case.state(), Some(PeerState::Suspect));
    case.round(false);
    case.check(PeerState::Down, &[PeerEvent::Down { peer: PEER }]);
    assert_eq!(case.rounds(50, false), [], "once");
    case.round(true);
    case.check(PeerState::Suspect, &[PeerEvent::Back { peer: PEER }]);
    case.link_up();
    case.check(PeerState::Live, &[PeerEvent::Counts { peer: PEER }, PeerEvent::Live { peer: PEER }]);
}

#[test]
fn either_sign_of_life_is_enough() {
    let mut case = Case::live();
    case.peers.on_link_down(PEER, "reset".to_owned());
    assert_eq!(case.rounds(100, true), [], "gossip alone");
    assert_eq!(case.state(), Some(PeerState::Suspect));
    case.link_up();
    for _ in 0..100 {
        case.round(false);
        assert_eq!(case.events, [], "the link alone");
        case.peers.on_sign(case.now, PEER, &mut case.events);
    }
}

#[test]
fn a_pause_of_this_process_is_not_the_silence_of_its_peers() {
    let mut case = Case::live();
    case.round(true);
    case.now += Duration::from_secs(60);
    case.round(false);
    case.check(PeerState::Live, &[]);
    case.rounds(13, false);
    assert_eq!(case.state(), Some(PeerState::Down), "but it has to speak up afterwards");
}

#[test]
fn a_newer_life_starts_over_and_an_older_one_is_ignored() {
    let mut case = Case::live();
    case.member = member(PEER, 3, "a:2");
    case.round(true);
    case.check(
        PeerState::Joining,
        &[
            PeerEvent::Restarted { peer: PEER, incarnation: 3 },
            PeerEvent::Dial { peer: PEER, address: "a:2".to_owned() },
        ],
    );
    case.member = member(PEER, 2, "a:1");
    case.member.advertised.leaving = true;
    case.round(true);
    case.check(PeerState::Joining, &[]);
    assert!(!case.peers.on_hello(case.now, PEER, 2, "old", &mut case.events));
    assert!(case.peers.on_hello(case.now, PEER, 3, "new", &mut case.events));
    assert!(!case.peers.on_hello(case.now, NodeId::new(1), 9, "this node", &mut case.events));
}

#[test]
fn a_goodbye_holds_for_the_life_that_said_it() {
    let mut case = Case::live();
    case.peers.on_bye(case.now, PEER, 0, &mut case.events);
    assert_eq!(case.state(), Some(PeerState::Live));
    case.events.clear();
    case.peers.on_bye(case.now, PEER, 1, &mut case.events);
    case.check(PeerState::Left, &[PeerEvent::Left { peer: PEER }]);
    assert_eq!(case.rounds(50, false), []);
    assert_eq!(case.rounds(2, true), [], "late gossip does not bring it back");
    case.member = member(PEER, 2, "a:1");
    case.round(true);
    assert_eq!(case.state(), Some(PeerState::Joining));
}

#[test]
fn a_new_id_at_a_dead_ones_address_replaces_it_for_good() {
    let mut case = Case::live();
    case.rounds(13, false);
    assert_eq!(case.state(), Some(PeerState::Down));
    let (dead, anew) = (case.member.clone(), member(NodeId::new(8), 1, "a:1"));
    case.events.clear();
    case.peers.on_members(case.now, &[&dead, &anew], &mut case.events);
    case.peers.on_tick(case.now, &mut case.events);
    assert!(case.events.contains(&PeerEvent::Replaced { peer: PEER }), "{:?}", case.events);
    case.events.clear();
    case.peers.on_members(case.now, &[&dead, &anew], &mut case.events);
    assert_eq!((case.state(), &case.events[..]), (None, &[][..]), "gossip remembers it for a while");
}

#[test]
fn a_peer_that_is_gone_for_long_is_cleaned_away_and_welcome_when_it_returns() {
    for says_goodbye in [true, false] {
        let mut case = Case::live();
        if says_goodbye {
            case.peers.on_bye(case.now, PEER, 1, &mut case.events);
        }
        case.rounds(14, false);
        let gone = if says_goodbye { PeerState::Left } else { PeerState::Down };
        assert_eq!(case.state(), Some(gone));
        let rounds = AUTOCLEAN.div_duration_f64(ROUND) as usize;
        let events = case.rounds(rounds, false);
        assert_eq!(
            events,
            [PeerEvent::Expired { peer: PEER }],
            "once, and gossip's memory of it counts for nothing"
        );
        assert_eq!(case.state(), None);
        case.round(true);
        assert_eq!(case.state(), Some(PeerState::Joining), "after a long partition it is heard of again");
    }
}

#[test]
fn a_peer_that_returns_in_time_starts_its_time_anew() {
    let mut case = Case::live();
    case.peers.on_link_down(PEER, "reset".to_owned());
    let half = AUTOCLEAN.div_duration_f64(ROUND) as usize / 2;
    for _ in 0..4 {
        case.rounds(half, false);
        assert_eq!(case.state(), Some(PeerState::Down));
        case.round(true);
        assert_eq!(case.state(), Some(PeerState::Suspect));
    }
    // This process itself was stopped for longer: nobody was gone for that.
    case.rounds(14, false);
    case.now += 2 * AUTOCLEAN;
    case.round(false);
    assert_eq!(case.state(), Some(PeerState::Down));
}

#[test]
fn a_forgotten_life_is_refused_whoever_speaks_of_it_and_a_later_one_is_not() {
    let mut case = Case::live();
    case.events.clear();
    assert!(case.peers.forget((PEER, 1), &mut case.events));
    assert_eq!(
        (case.state(), &case.events[..]),
        (None, &[PeerEvent::Forgotten { peer: PEER, floor: 1 }][..])
    );
    case.events.clear();
    assert!(!case.peers.forget((PEER, 1), &mut case.events), "no news");
    assert_eq!(case.rounds(20, true), [], "it is alive, and that does not help it");
    assert!(!case.peers.on_hello(case.now, PEER, 1, "peer", &mut case.events));
    assert_eq!((case.state(), &case.events[..]), (None, &[][..]));
    assert!(case.peers.on_hello(case.now, PEER, 2, "peer", &mut case.events));
    assert_eq!(case.state(), Some(PeerState::Joining));

    // News of the old life's end comes late.
    case.events.clear();
    assert!(!case.peers.forget((PEER, 1), &mut case.events));
    assert!(!case.peers.forget((NodeId::new(1), 9), &mut case.events), "this node is not its own peer");
    let stranger = NodeId::new(99);
    assert!(case.peers.forget((stranger, 4), &mut case.events), "nor does it have to be a peer");
    assert_eq!(case.events, [PeerEvent::Forgotten { peer: stranger, floor: 4 }]);
    assert_eq!(case.state(), Some(PeerState::Joining));
}

#[test]
fn whoever_is_gone_makes_room_for_whoever_comes() {
    let mut case = Case::new();
    let crowd: Vec<Member> =
        (100..100 + PEERS_MAX as u128 - 1).map(|id| member(NodeId::new(id), 1, &format!("x:{id}"))).collect();
    case.peers.on_members(case.now, &crowd.iter().collect::<Vec<_>>(), &mut case.events);
    assert_eq!(case.peers.iter().count(), PEERS_MAX);
    let gone = NodeId::new(555);
    case.peers.on_bye(case.now, gone, 1, &mut case.events);
    case.events.clear();
    let newcomer = member(NodeId::new(7_000), 1, "y:1");
    case.peers.on_members(case.now, &[&newcomer], &mut case.events);
    assert_eq!(case.events[0], PeerEvent::Expired { peer: gone });
    assert!(case.peers.get(newcomer.id).is_some() && case.peers.get(gone).is_none());
}

#[test]
fn there_is_room_for_a_bounded_number_of_peers() {
    let mut case = Case::new();
    let crowd: Vec<Member> =
        (100..100 + 2 * PEERS_MAX as u128).map(|id| member(NodeId::new(id), 1, "x:1")).collect();
    case.peers.on_members(case.now, &crowd.iter().collect::<Vec<_>>(), &mut case.events);
    assert_eq!(case.peers.iter().count(), PEERS_MAX);
}
