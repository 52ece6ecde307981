//! What would become of each copy, in the order in which copies are made: a client may get several.

use foldhash::HashMap;
use foldhash::HashMapExt as _;

use super::found::{Found, FoundGroup};
use super::report::{CopyReport, Outcome};
use crate::broker::Broker;
use crate::broker::client::{Client, Prospect};
use crate::broker::settings::{Overlapping, SharedStrategy};
use crate::broker::subscriptions::{Target, key};
use crate::codec::Qos;
use crate::message::Publication;
use crate::session::{Ahead, Outlook, Room, Wait};

use std::sync::Arc;

/// The fates of one publication's copies.
pub(super) struct Fates<'a> {
    broker: &'a Broker,
    publication: &'a Publication<'a>,
    /// What one copy costs in a queue.
    bytes: usize,
    /// By client.
    ahead: HashMap<usize, Ahead>,
}

/// Several plain subscriptions of one client that bring one copy.
struct Merged<'a> {
    client: &'a Arc<Client>,
    qos: Qos,
    filters: Vec<String>,
    is_own: bool,
}

impl<'a> Fates<'a> {
    pub(super) fn new(broker: &'a Broker, publication: &'a Publication<'a>) -> Self {
        let bytes = publication.to_message().bytes();
        Self { broker, publication, bytes, ahead: HashMap::new() }
    }

    /// In the order of the clients' names.
    pub(super) fn of(mut self, found: &Found) -> Vec<CopyReport> {
        let mut copies = Vec::new();
        for merged in self.merge(found) {
            copies.push(self.of_plain(&merged));
        }
        for group in &found.groups {
            self.of_group(group, &mut copies);
        }
        copies.sort_by(|a, b| (&a.client, &a.filters, a.outcome).cmp(&(&b.client, &b.filters, b.outcome)));
        copies
    }

    fn merge<'f>(&self, found: &'f Found) -> Vec<Merged<'f>> {
        let mut all: Vec<Merged<'f>> = Vec::new();
        let mut places: HashMap<(usize, bool), usize> = HashMap::new();
        for plain in &found.plain {
            let id = plain.client.id().as_str();
            let is_own = plain.options.no_local && self.publication.publisher == Some(id);
            let place = places.get(&(key(&plain.client), is_own)).copied();
            let filter = plain.filter.to_string();
            match place.filter(|_| found.overlapping == Overlapping::Once) {
                Some(place) => {
                    all[place].qos = all[place].qos.max(plain.options.qos);
                    all[place].filters.push(filter);
                }
                None => {
                    places.insert((key(&plain.client), is_own), all.len());
                    let (client, qos) = (&plain.client, plain.options.qos);
                    all.push(Merged { client, qos, filters: vec![filter], is_own });
                }
            }
        }
        all.iter_mut().for_each(|merged| merged.filters.sort_unstable());
        all
    }

    fn of_plain(&mut self, merged: &Merged<'_>) -> CopyReport {
        let qos = self.publication.qos.min(merged.qos);
        let prospect = self.prospect(merged.client, qos);
        let (outcome, reason, why) = if merged.is_own {
            let why = "its own message, and it subscribed with No Local".to_owned();
            (Outcome::Own, "no_local", why)
        } else {
            self.count(merged.client, qos, &prospect);
            tell(&prospect)
        };
        CopyReport {
            client: merged.client.id().as_str().to_owned(),
            filters: merged.filters.clone(),
            connected: prospect.is_connected,
            qos: qos as u8,
            outcome,
            reason,
            why,
        }
    }

    fn of_group(&mut self, group: &FoundGroup, copies: &mut Vec<CopyReport>) {
        let (taker, prospect) = self.taker(group);
        let qos = self.publication.qos.min(taker.options.qos);
        let filter = group.chosen.share.to_string();
        let taker_id = taker.client.id().as_str().to_owned();
        for member in &group.members {
            if !Arc::ptr_eq(&member.client, &taker.client) {
                copies.push(self.of_passed_over(member, &filter, &taker_id));
            }
        }
        let (outcome, reason, state) = tell(&prospect);
        let strategy = self.strategy_name();
        let is_nameless = self.broker.subscriptions.strategy() == SharedStrategy::RoundRobin
            && self.publication.publisher.is_none();
        let turns = if is_nameless { ", for a publisher without a name" } else { "" };
        let chance = match self.broker.subscriptions.strategy() {
            SharedStrategy::Random => ", each time anew",
            _ => "",
        };
        let why = format!("{state}; chosen of {} by {strategy}{turns}{chance}", members(group.count));
        let is_connected = prospect.is_connected;
        self.count(&taker.client, qos, &prospect);
        copies.push(CopyReport {
            client: taker_id,
            filters: vec![filter],
            connected: is_connected,
            qos: qos as u8,
            outcome,
            reason,
            why,
        });
    }

    /// Who gets a group's message: the chosen one, or whom it is offered to when that one cannot take it after all.
    /// It goes the way of [`Broker::deliver_shared`].
    fn taker(&self, group: &FoundGroup) -> (Target, Prospect) {
        let look = |target: &Target| {
            self.prospect(&target.client, self.publication.qos.min(target.options.qos))
        };
        let (share, room) = (&group.chosen.share, group.chosen.room);
        let chosen = look(&group.chosen.target);
        if room != Room::Full && chosen.room < room {
            let members = self.broker.subscriptions.members(share);
            for room in [Room::Now, Room::Queue, Room::Away] {
                for member in &members {
                    let prospect = look(member);
                    if room <= prospect.room {
                        return (member.clone(), prospect);
                    }
                }
            }
        }
        (group.chosen.target.clone(), chosen)
    }

    fn of_passed_over(&self, member: &Target, filter: &str, taker: &str) -> CopyReport {
        let qos = self.publication.qos.min(member.options.qos);
        let prospect = self.prospect(&member.client, qos);
        let state = match prospect.room {
            Room::Now => "could take it".to_owned(),
            Room::Queue => "busy".to_owned(),
            Room::Away => "away".to_owned(),
            Room::Full => tell(&prospect).2,
        };
        CopyReport {
            client: member.client.id().as_str().to_owned(),
            filters: vec![filter.to_owned()],
            connected: prospect.is_connected,
            qos: qos as u8,
            outcome: Outcome::PassedOver,
            reason: "passed_over",
            why: format!("{state}; {} gives it to {taker}", self.strategy_name()),
        }
    }

    fn strategy_name(&self) -> &'static str {
        let strategy = self.broker.subscriptions.strategy();
        let word = SharedStrategy::WORDS.iter().find(|(_, it)| *it == strategy);
        word.map_or("", |(word, _)| *word)
    }

    fn prospect(&self, client: &Arc<Client>, qos: Qos) -> Prospect {
        let ahead = self.ahead.get(&key(client)).copied().unwrap_or_default();
        client.prospect(qos, self.bytes, &ahead)
    }

    fn count(&mut self, client: &Arc<Client>, qos: Qos, prospect: &Prospect) {
        if !prospect.is_ended {
            self.ahead.entry(key(client)).or_default().add(qos, prospect.outlook);
        }
    }
}

fn members(count: usize) -> String {
    if count == 1 { "1 member".to_owned() } else { format!("{count} members") }
}

/// What becomes of a copy: for people and, in one word, for programs.
fn tell(prospect: &Prospect) -> (Outcome, &'static str, String) {
    let backlog = prospect.backlog;
    if prospect.is_ended {
        let why = "its session has just ended".to_owned();
        return (Outcome::Dropped, "session_ended", why);
    }
    let queue = format!("{} of {} in its queue", backlog.queued, backlog.queued_max);
    match prospect.outlook {
        Outlook::Sent if prospect.is_blocked => {
            let why = format!("sent, behind {} bytes that wait for its socket", backlog.outbox_bytes);
            (Outcome::Sent, "matched", why)
        }
        Outlook::Sent => (Outcome::Sent, "matched", "sent at once".to_owned()),
        Outlook::Waits { wait, displaced } => {
            let (outcome, reason, mut why) = match wait {
                Wait::Away => (Outcome::Kept, "away", format!("away; kept until it is back ({queue})")),
                Wait::Window => {
                    let (unacknowledged, max) = (backlog.unacknowledged, backlog.unacknowledged_max);
                    let why = format!("waits: {unacknowledged} of {max} messages unacknowledged ({queue})");
                    (Outcome::Waits, "inflight_full", why)
                }
                Wait::Outbox => {
                    let bytes = backlog.outbox_bytes;
                    let why = format!("waits: it does not read, {bytes} bytes wait for its socket ({queue})");
                    (Outcome::Waits, "outbox_full", why)
                }
                Wait::Behind => {
                    (Outcome::Waits, "behind_others", format!("waits behind older messages ({queue})"))
                }
            };
            if displaced > 0 {
                why += &format!("; the queue is full, so {displaced} older would be dropped for it");
            }
            (outcome, reason, why)
        }
        Outlook::Offline => (Outcome::Dropped, "offline", "away, and QoS 0 is not kept".to_owned()),
        Outlook::OutboxFull => {
            let bytes = backlog.outbox_bytes;
            let why = format!("it does not read: {bytes} bytes wait for its socket, and QoS 0 does not wait");
            (Outcome::Dropped, "outbox_full", why)
        }
        Outlook::QueueFull => {
            let (bytes, bytes_max) = (backlog.queued_bytes, backlog.queued_bytes_max);
            let why = format!("its queue is full: {queue}, {bytes} of {bytes_max} bytes; new ones are dropped");
            (Outcome::Dropped, "queue_full", why)
        }
    }
}
