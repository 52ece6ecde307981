//! Several threads at once: publishers, and members of a group that come and go.

use super::*;
use crate::codec::Qos;

const PUBLISHERS: usize = 3;
const MESSAGES: usize = 2_000;
const ROUNDS: usize = 60;

/// Comes, works for a while without acknowledging everything, and goes, in one way or another.
fn come_and_go(node: &Node, name: &str) -> Vec<String> {
    let mut done = Vec::new();
    for round in 0..ROUNDS {
        let is_durable = round % 3 != 0;
        let peer = if is_durable { node.durable(name) } else { node.client(name) };
        peer.subscribe("$share/g/t", Qos::AtLeastOnce);
        for _ in 0..20 {
            done.extend(peer.consume());
            std::thread::yield_now();
        }
        match round % 4 {
            0 => peer.lose_connection(),
            1 => peer.disconnect(),
            2 => peer.disconnect_with(ReasonCode::NormalDisconnection, is_durable.then_some(0)),
            _ => drop(peer), // The next connection takes over.
        }
    }
    let last = node.client(name); // Clean Start: nothing stays behind.
    last.disconnect();
    done
}

fn publish(node: &Node, name: &str) {
    let publisher = node.client(name);
    for number in 0..MESSAGES {
        publisher.publish("t", &format!("{name}/{number}"), Qos::AtLeastOnce);
    }
}

/// A message at QoS 1 reaches somebody, whatever the members do meanwhile, as long as one of them stays.
#[test]
fn nothing_is_lost_while_members_come_and_go() {
    for &(_, strategy) in SharedStrategy::WORDS {
        let settings = Settings { shared: SharedSettings { strategy }, ..Settings::default() };
        let sessions = session::Settings { queue_len_max: 1_000_000, ..session::Settings::default() };
        let node = Node::with(settings, sessions);
        let here = node.shared();
        let stays = node.client("stays");
        stays.subscribe("$share/g/t", Qos::AtLeastOnce);
        let mut done: Vec<String> = std::thread::scope(|scope| {
            let members: Vec<_> =
                ["a", "b"].map(|name| scope.spawn(move || come_and_go(&here(), name))).into_iter().collect();
            let publishers: Vec<_> = (0..PUBLISHERS)
                .map(|number| scope.spawn(move || publish(&here(), &format!("p{number}"))))
                .collect();
            publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
            members.into_iter().flat_map(|member| member.join().unwrap()).collect()
        });
        done.extend(stays.consume());
        done.sort();
        done.dedup();
        assert_eq!(done.len(), PUBLISHERS * MESSAGES, "{strategy:?}");
        assert_eq!(node.dropped_in_all(), 0, "{strategy:?}");
    }
}
