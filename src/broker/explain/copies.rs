//! What would become of each copy, in the order in which copies are made: a client may get several.

use std::sync::Arc;

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
use crate::session::{Ahead, Backlog, Outlook, Room, Wait};

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
        if merged.is_own {
            let why = "its own message, and it subscribed with No Local".to_owned();
            let fate = Fate { outcome: Outcome::Own, reason: "no_local", displaced: 0, why };
            return report(merged.client, merged.filters.clone(), qos, &prospect, fate);
        }
        self.count(merged.client, qos, &prospect);
        report(merged.client, merged.filters.clone(), qos, &prospect, Fate::of(&prospect))
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
        let fate = Fate::of(&prospect);
        let strategy = self.strategy_name();
        let is_nameless = self.broker.subscriptions.strategy() == SharedStrategy::RoundRobin
            && self.publication.publisher.is_none();
        let turns = if is_nameless { ", for a publisher without a name" } else { "" };
        let chance = match self.broker.subscriptions.strategy() {
            SharedStrategy::Random => ", each time anew",
            _ => "",
        };
        let why = format!("{}; chosen of {} by {strategy}{turns}{chance}", fate.why, members(group.count));
        self.count(&taker.client, qos, &prospect);
        copies.push(report(&taker.client, vec![filter], qos, &prospect, Fate { why, ..fate }));
    }

    /// Who gets a group's message: the chosen one, or whom it is offered to when that one cannot take it after all.
    /// It goes the way of [`Broker::deliver_shared`].
    fn taker(&self, group: &FoundGroup) -> (Target, Prospect) {
        let look =
            |target: &Target| self.prospect(&target.client, self.publication.qos.min(target.options.qos));
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
            Room::Full => Fate::of(&prospect).why,
        };
        let why = format!("{state}; {} gives it to {taker}", self.strategy_name());
        let fate = Fate { outcome: Outcome::PassedOver, reason: "passed_over", displaced: 0, why };
        report(&member.client, vec![filter.to_owned()], qos, &prospect, fate)
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
struct Fate {
    outcome: Outcome,
    reason: &'static str,
    displaced: usize,
    why: String,
}

impl Fate {
    fn new(outcome: Outcome, reason: &'static str, why: String) -> Self {
        Self { outcome, reason, displaced: 0, why }
    }

    fn of(prospect: &Prospect) -> Self {
        let Backlog { outbox_bytes, queued, queued_max, queued_bytes, queued_bytes_max, .. } =
            prospect.backlog;
        if prospect.is_ended {
            return Self::new(Outcome::Dropped, "session_ended", "its session has just ended".to_owned());
        }
        match prospect.outlook {
            Outlook::Sent if prospect.is_blocked => {
                let why = format!("sent, behind {outbox_bytes} bytes that wait for its socket");
                Self::new(Outcome::Sent, "matched", why)
            }
            Outlook::Sent => Self::new(Outcome::Sent, "matched", "sent at once".to_owned()),
            Outlook::Waits { wait, displaced } => Self::of_waiting(&prospect.backlog, wait, displaced),
            Outlook::Offline => {
                Self::new(Outcome::Dropped, "offline", "away, and QoS 0 is not kept".to_owned())
            }
            Outlook::OutboxFull => {
                let why = format!(
                    "it does not read: {outbox_bytes} bytes wait for its socket, and QoS 0 does not wait"
                );
                Self::new(Outcome::Dropped, "outbox_full", why)
            }
            Outlook::QueueFull => {
                let why = format!(
                    "its queue is full: {queued} of {queued_max} messages, {queued_bytes} of {queued_bytes_max} bytes"
                );
                Self::new(Outcome::Dropped, "queue_full", why)
            }
        }
    }

    fn of_waiting(backlog: &Backlog, wait: Wait, displaced: usize) -> Self {
        let Backlog { unacknowledged, unacknowledged_max, outbox_bytes, queued, queued_max, .. } = backlog;
        let (outcome, reason, state) = match wait {
            Wait::Away => (Outcome::Kept, "away", "away; kept until it is back".to_owned()),
            Wait::Window => {
                let state =
                    format!("waits: {unacknowledged} of {unacknowledged_max} messages unacknowledged");
                (Outcome::Waits, "inflight_full", state)
            }
            Wait::Outbox => {
                let state = format!("waits: it does not read, {outbox_bytes} bytes wait for its socket");
                (Outcome::Waits, "outbox_full", state)
            }
            Wait::Behind => (Outcome::Waits, "behind_others", "waits behind older messages".to_owned()),
        };
        let full = if displaced > 0 {
            format!("; the queue is full, so {displaced} older would be dropped for it")
        } else {
            String::new()
        };
        let why = format!("{state} ({queued} of {queued_max} in its queue){full}");
        Self { outcome, reason, displaced, why }
    }
}

fn report(client: &Client, filters: Vec<String>, qos: Qos, prospect: &Prospect, fate: Fate) -> CopyReport {
    CopyReport {
        client: client.id().as_str().to_owned(),
        filters,
        connected: prospect.is_connected,
        qos: qos as u8,
        outcome: fate.outcome,
        reason: fate.reason,
        displaced: fate.displaced,
        why: fate.why,
    }
}
