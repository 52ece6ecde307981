//! Messages to the client: the window of unacknowledged ones and the queue behind it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::aliases::Aliases;
use super::copies::{Address, Copies, encode_message, is_expired, message_len};
use super::outbox::Outbox;
use super::outlook::{Ahead, Backlog, Outlook, Wait};
use super::settings::Settings;
use super::shared::Room;
use crate::codec::{Packet, PacketId, ProtocolVersion, PubRel, Qos, ReasonCode, UserProperties};
use crate::message::Message;
use crate::topic::SubscriptionFilter;

/// How a subscription wants its copy.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The highest QoS that the matching subscriptions grant.
    pub qos_max: Qos,
    /// The RETAIN flag of the copy.
    pub retain: bool,
    /// The identifiers of all matching subscriptions that have one [MQTT5-3.3.4-3].
    pub subscription_ids: &'a [u32],
    /// The shared subscription by which the client was chosen, if it was.
    pub share: Option<&'a Arc<SubscriptionFilter>>,
}

/// The limits of the present connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) version: ProtocolVersion,
    pub(super) inflight_max: u16,
    pub(super) packet_size_max: u32,
}

/// A message that waits, or waits for its acknowledgement.
#[derive(Debug)]
struct Pending {
    message: Arc<Message>,
    qos: Qos,
    retain: bool,
    subscription_ids: Option<Box<[u32]>>,
    /// Whose members may get it instead.
    share: Option<Arc<SubscriptionFilter>>,
}

/// How far a QoS 1 or 2 delivery has come.
#[derive(Debug)]
enum Stage {
    /// PUBLISH is to be acknowledged (PUBACK or PUBREC).
    Published(Pending),
    /// PUBREC came: PUBREL is to be acknowledged (PUBCOMP).
    Released,
}

#[derive(Debug)]
struct Inflight {
    id: PacketId,
    stage: Stage,
    /// Sent on the present connection; false after a reconnect until it is sent again.
    sent: bool,
}

/// State of the direction to the client.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    last_id: u16,
    /// Whether identifiers went round past an entry that is still unacknowledged.
    lapped: bool,
    inflight: VecDeque<Inflight>,
    /// How many of `inflight` were sent on the present connection.
    sent: usize,
    queue: VecDeque<Pending>,
    queue_bytes: usize,
    aliases: Aliases,
}

impl Outbound {
    /// Messages that wait or are unacknowledged.
    pub(super) fn pending(&self) -> usize {
        let unacknowledged = self.inflight.iter().filter(|entry| matches!(entry.stage, Stage::Published(_)));
        self.queue.len() + unacknowledged.count()
    }

    /// Messages and releases that wait or are unacknowledged, without counting them.
    pub(super) fn load(&self) -> usize {
        self.queue.len() + self.inflight.len()
    }

    /// Where [`Outbound::deliver`] would put one more message.
    pub(super) fn room(
        &self,
        qos: Qos,
        bytes: usize,
        window: Option<&Window>,
        settings: &Settings,
        out: &Outbox,
    ) -> Room {
        if qos == Qos::AtMostOnce {
            let is_sent = window.is_some() && out.len() < settings.outbox_bytes_max;
            return if is_sent { Room::Now } else { Room::Full };
        }
        match window {
            Some(window) if self.is_open(window, settings, out) => Room::Now,
            _ if !self.queue_takes(bytes, settings) => Room::Full,
            Some(_) => Room::Queue,
            None => Room::Away,
        }
    }

    /// What [`Outbound::deliver`] would do with one more message, behind those of `ahead`.
    pub(super) fn outlook(
        &self,
        qos: Qos,
        bytes: usize,
        ahead: &Ahead,
        window: Option<&Window>,
        settings: &Settings,
        out: &Outbox,
    ) -> Outlook {
        let is_outbox_full = settings.outbox_bytes_max <= out.len();
        let sent = self.sent + ahead.sent;
        let is_behind = !self.queue.is_empty() || self.sent < self.inflight.len() || 0 < ahead.queued;
        let wait = match (qos, window) {
            (Qos::AtMostOnce, None) => return Outlook::Offline,
            (Qos::AtMostOnce, Some(_)) if is_outbox_full => return Outlook::OutboxFull,
            (Qos::AtMostOnce, Some(_)) => return Outlook::Sent,
            (_, None) => Wait::Away,
            (_, Some(window)) if usize::from(window.inflight_max) <= sent => Wait::Window,
            (_, Some(_)) if is_outbox_full => Wait::Outbox,
            (_, Some(_)) if is_behind => Wait::Behind,
            (_, Some(_)) => return Outlook::Sent,
        };
        self.outlook_of_queue(bytes, ahead, wait, settings)
    }

    fn outlook_of_queue(&self, bytes: usize, ahead: &Ahead, wait: Wait, settings: &Settings) -> Outlook {
        let own = self.queue.iter().map(|pending| pending.message.bytes());
        let mut waiting = own.chain(std::iter::repeat_n(bytes, ahead.queued));
        let gone: usize = waiting.by_ref().take(ahead.displaced).sum();
        let mut len = self.queue.len() + ahead.queued - ahead.displaced;
        let mut total = self.queue_bytes + ahead.queued * bytes - gone;
        let takes = |len, total| len < settings.queue_len_max && total + bytes <= settings.queue_bytes_max;
        let may_make_room = settings.queue_drops_oldest && bytes <= settings.queue_bytes_max;
        let mut displaced = 0;
        while may_make_room && !takes(len, total) {
            let Some(oldest) = waiting.next() else { break };
            (len, total, displaced) = (len - 1, total - oldest, displaced + 1);
        }
        if takes(len, total) { Outlook::Waits { wait, displaced } } else { Outlook::QueueFull }
    }

    /// What waits and what is unacknowledged, against its limits.
    pub(super) fn backlog(&self, window: Option<&Window>, settings: &Settings, out: &Outbox) -> Backlog {
        Backlog {
            queued: self.queue.len(),
            queued_max: settings.queue_len_max,
            queued_bytes: self.queue_bytes,
            queued_bytes_max: settings.queue_bytes_max,
            unacknowledged: self.inflight.len(),
            unacknowledged_max: window.map_or(settings.inflight_max, |window| window.inflight_max),
            outbox_bytes: out.len(),
            outbox_bytes_max: settings.outbox_bytes_max,
        }
    }

    pub(super) fn take_waiting(&mut self, share: &SubscriptionFilter) -> Vec<Arc<Message>> {
        let taken = self.take_queued(|of| of == share);
        taken.into_iter().map(|(_, message)| message).collect()
    }

    pub(super) fn take_shared(&mut self) -> Vec<(Arc<SubscriptionFilter>, Arc<Message>)> {
        let mut taken = Vec::new();
        self.inflight.retain(|entry| {
            let Stage::Published(Pending { message, qos: Qos::AtLeastOnce, share: Some(share), .. }) =
                &entry.stage
            else {
                return true;
            };
            taken.push((Arc::clone(share), Arc::clone(message)));
            false
        });
        self.sent = self.inflight.iter().filter(|entry| entry.sent).count();
        taken.extend(self.take_queued(|_| true));
        taken
    }

    fn take_queued(
        &mut self,
        wanted: impl Fn(&SubscriptionFilter) -> bool,
    ) -> Vec<(Arc<SubscriptionFilter>, Arc<Message>)> {
        let mut taken = Vec::new();
        self.queue.retain_mut(|pending| {
            let Some(share) = pending.share.take_if(|share| wanted(share)) else { return true };
            self.queue_bytes -= pending.bytes();
            taken.push((share, Arc::clone(&pending.message)));
            false
        });
        taken
    }

    /// A new connection: everything unacknowledged is sent again, in the original order [MQTT5-4.4.0-1].
    pub(super) fn on_connected(&mut self, aliases_max: u16) {
        self.aliases = Aliases::new(aliases_max);
        self.inflight.iter_mut().for_each(|entry| entry.sent = false);
        self.sent = 0;
    }

    /// Drops what the queue holds beyond limits that were not there when it was filled.
    pub(super) fn shrink_queue(&mut self, settings: &Settings, out: &mut Outbox) {
        while self.queue.len() > settings.queue_len_max || self.queue_bytes > settings.queue_bytes_max {
            let dropped =
                if settings.queue_drops_oldest { self.queue.pop_front() } else { self.queue.pop_back() };
            let Some(dropped) = dropped else { break };
            self.queue_bytes -= dropped.bytes();
            out.tally.queue_full += 1;
        }
    }

    /// Takes one copy. `window` is `None` while the client is away.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        copies: &mut Copies<'_>,
        delivery: &Delivery<'_>,
        window: Option<&Window>,
        settings: &Settings,
        out: &mut Outbox,
    ) {
        let qos = copies.publication().qos.min(delivery.qos_max);
        if qos == Qos::AtMostOnce {
            self.deliver_at_most_once(now, copies, delivery, window, settings, out);
            return;
        }
        let Some(window) = window.filter(|window| self.is_open(window, settings, out)) else {
            self.enqueue(copies, qos, delivery, settings, out);
            return;
        };
        if is_expired(copies.publication(), now) {
            out.tally.expired += 1;
            return;
        }
        let id = self.next_id();
        if !self.send_copy(copies, qos, delivery, Some(id), window, out) {
            return;
        }
        let pending = Pending::new(copies.message(), qos, delivery);
        self.inflight.push_back(Inflight { id, stage: Stage::Published(pending), sent: true });
        self.sent += 1;
    }

    fn deliver_at_most_once(
        &mut self,
        now: Instant,
        copies: &mut Copies<'_>,
        delivery: &Delivery<'_>,
        window: Option<&Window>,
        settings: &Settings,
        out: &mut Outbox,
    ) {
        let Some(window) = window else {
            out.tally.offline += 1;
            return;
        };
        if out.len() >= settings.outbox_bytes_max {
            out.tally.outbox_full += 1;
            return;
        }
        if is_expired(copies.publication(), now) {
            out.tally.expired += 1;
            return;
        }
        self.send_copy(copies, Qos::AtMostOnce, delivery, None, window, out);
    }

    /// Appends a PUBLISH for the first time. False, and counted, when it cannot be sent.
    fn send_copy(
        &mut self,
        copies: &mut Copies<'_>,
        qos: Qos,
        delivery: &Delivery<'_>,
        packet_id: Option<PacketId>,
        window: &Window,
        out: &mut Outbox,
    ) -> bool {
        let topic = copies.publication().topic;
        let mut address = Address {
            version: window.version,
            qos,
            retain: delivery.retain,
            packet_id,
            subscription_ids: delivery.subscription_ids,
            alias: self.aliases.get(topic.as_str()),
        };
        if !window.takes(&mut address, |address| copies.encoded_len(address)) {
            out.tally.too_large += 1;
            return false;
        }
        copies.encode(&address, out.bytes_mut());
        self.aliases.on_sent(topic.as_str(), address.alias);
        out.tally.delivered += 1;
        true
    }

    /// Takes a retained message for a new subscription. False when there is no room for it now.
    pub(super) fn deliver_retained(
        &mut self,
        now: Instant,
        message: &Arc<Message>,
        delivery: &Delivery<'_>,
        window: &Window,
        settings: &Settings,
        out: &mut Outbox,
    ) -> bool {
        let qos = message.qos().min(delivery.qos_max);
        if !self.takes_retained(qos, window, settings, out) {
            return false;
        }
        let pending = Pending::new(Arc::clone(message), qos, delivery);
        if qos == Qos::AtMostOnce {
            out.tally.delivered += u32::from(pending.send(now, window, None, false, &mut self.aliases, out));
            return true;
        }
        self.start(now, window, pending, out);
        true
    }

    /// Whether [`Outbound::deliver_retained`] has room for a message that goes out at this QoS.
    pub(super) fn takes_retained(
        &self,
        qos: Qos,
        window: &Window,
        settings: &Settings,
        out: &Outbox,
    ) -> bool {
        match qos {
            // What waits may be older messages of the same topic.
            Qos::AtMostOnce => self.has_sent_all() && out.len() < settings.outbox_bytes_max,
            Qos::AtLeastOnce | Qos::ExactlyOnce => self.is_open(window, settings, out),
        }
    }

    /// Sends what the window and the outbox have room for: first what was unacknowledged when the last
    /// connection ended, then the queue.
    pub(super) fn pump(&mut self, now: Instant, window: &Window, settings: &Settings, out: &mut Outbox) {
        if self.sent < self.inflight.len() {
            self.resend(now, window, settings, out);
        }
        while self.has_room(window)
            && self.sent == self.inflight.len()
            && out.len() < settings.outbox_bytes_max
        {
            let Some(pending) = self.queue.pop_front() else { break };
            self.queue_bytes -= pending.bytes();
            self.start(now, window, pending, out);
        }
        if self.queue.is_empty() && self.queue.capacity() > 64 {
            self.queue = VecDeque::new();
        }
    }

    /// Sends a QoS 1 or 2 message for the first time.
    fn start(&mut self, now: Instant, window: &Window, pending: Pending, out: &mut Outbox) {
        let id = self.next_id();
        if pending.send(now, window, Some(id), false, &mut self.aliases, out) {
            out.tally.delivered += 1;
            self.inflight.push_back(Inflight { id, stage: Stage::Published(pending), sent: true });
            self.sent += 1;
        }
    }

    fn resend(&mut self, now: Instant, window: &Window, settings: &Settings, out: &mut Outbox) {
        let mut index = self.inflight.iter().position(|entry| !entry.sent).unwrap_or(self.inflight.len());
        while index < self.inflight.len() && self.has_room(window) && out.len() < settings.outbox_bytes_max {
            let entry = &mut self.inflight[index];
            let keep = match &entry.stage {
                Stage::Published(pending) => {
                    pending.send(now, window, Some(entry.id), true, &mut self.aliases, out)
                }
                Stage::Released => {
                    out.push(window.version, &Packet::PubRel(release(entry.id, ReasonCode::Success)));
                    true
                }
            };
            if keep {
                entry.sent = true;
                self.sent += 1;
                index += 1;
            } else {
                self.inflight.remove(index);
            }
        }
    }

    /// PUBACK: true when a QoS 1 message waited for it.
    pub(super) fn on_puback(&mut self, id: PacketId) -> bool {
        self.finish(id, |stage| matches!(stage, Stage::Published(pending) if pending.qos == Qos::AtLeastOnce))
    }

    /// PUBREC. False when the identifier is unknown. An error code ends the flow [MQTT5-4.3.3-4].
    pub(super) fn on_pubrec(&mut self, id: PacketId, reason: ReasonCode) -> bool {
        if reason.is_error() {
            return self.finish(
                id,
                |stage| matches!(stage, Stage::Published(pending) if pending.qos == Qos::ExactlyOnce),
            );
        }
        let Some(entry) = self.inflight.iter_mut().find(|entry| entry.id == id) else { return false };
        match &entry.stage {
            Stage::Published(pending) if pending.qos == Qos::ExactlyOnce => entry.stage = Stage::Released,
            Stage::Published(_) => return false,
            Stage::Released => {}
        }
        true
    }

    /// PUBCOMP: true when a released message waited for it.
    pub(super) fn on_pubcomp(&mut self, id: PacketId) -> bool {
        self.finish(id, |stage| matches!(stage, Stage::Released))
    }

    fn finish(&mut self, id: PacketId, expected: impl Fn(&Stage) -> bool) -> bool {
        // Acknowledgements come in the order of the messages, so the first entry is the usual one.
        let Some(index) = self.inflight.iter().position(|entry| entry.id == id) else { return false };
        if !expected(&self.inflight[index].stage) {
            return false;
        }
        if let Some(entry) = self.inflight.remove(index) {
            self.sent -= usize::from(entry.sent);
        }
        true
    }

    fn enqueue(
        &mut self,
        copies: &mut Copies<'_>,
        qos: Qos,
        delivery: &Delivery<'_>,
        settings: &Settings,
        out: &mut Outbox,
    ) {
        let message = copies.message();
        let bytes = queued_bytes(&message, delivery.subscription_ids);
        let may_make_room = settings.queue_drops_oldest && bytes <= settings.queue_bytes_max;
        while may_make_room && !self.queue_takes(bytes, settings) {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.queue_bytes -= oldest.bytes();
            out.tally.queue_full += 1;
        }
        if !self.queue_takes(bytes, settings) {
            out.tally.queue_full += 1;
            return;
        }
        self.queue_bytes += bytes;
        self.queue.push_back(Pending::new(message, qos, delivery));
    }

    /// Whether a new QoS 1 or 2 message is sent at once.
    fn is_open(&self, window: &Window, settings: &Settings, out: &Outbox) -> bool {
        self.has_sent_all() && self.has_room(window) && out.len() < settings.outbox_bytes_max
    }

    /// Nothing waits: neither in the queue nor of what an earlier connection left unacknowledged.
    fn has_sent_all(&self) -> bool {
        self.queue.is_empty() && self.sent == self.inflight.len()
    }

    fn has_room(&self, window: &Window) -> bool {
        self.sent < usize::from(window.inflight_max)
    }

    fn queue_takes(&self, bytes: usize, settings: &Settings) -> bool {
        self.queue.len() < settings.queue_len_max && self.queue_bytes + bytes <= settings.queue_bytes_max
    }

    /// The next Packet Identifier that is not in use [MQTT5-2.2.1-4]. One is free: the window is narrower than
    /// the range of identifiers, and it is not full.
    fn next_id(&mut self) -> PacketId {
        if self.inflight.is_empty() {
            self.lapped = false;
        }
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let Some(id) = PacketId::new(self.last_id) else { continue };
            // Identifiers grow from the oldest entry to the newest, so the next one can only meet the oldest.
            // Once it has, the order says nothing any more and all are compared until the window is empty.
            self.lapped |= self.inflight.front().is_some_and(|oldest| oldest.id == id);
            if !self.lapped || !self.inflight.iter().any(|entry| entry.id == id) {
                return id;
            }
        }
    }
}

/// What a message takes in the queue of one client: its own memory, as if nobody shared it, and the Subscription
/// Identifiers of this copy, of which there can be thousands.
pub(super) fn queued_bytes(message: &Message, subscription_ids: &[u32]) -> usize {
    message.bytes() + size_of_val(subscription_ids)
}

impl Pending {
    fn bytes(&self) -> usize {
        queued_bytes(&self.message, self.subscription_ids.as_deref().unwrap_or_default())
    }

    fn new(message: Arc<Message>, qos: Qos, delivery: &Delivery<'_>) -> Self {
        let ids = delivery.subscription_ids;
        let subscription_ids = (!ids.is_empty()).then(|| ids.into());
        Self { message, qos, retain: delivery.retain, subscription_ids, share: delivery.share.cloned() }
    }

    /// Appends the PUBLISH. False, and counted, when the message cannot be sent any more.
    fn send(
        &self,
        now: Instant,
        window: &Window,
        id: Option<PacketId>,
        dup: bool,
        aliases: &mut Aliases,
        out: &mut Outbox,
    ) -> bool {
        let topic = self.message.topic().as_str();
        let mut address = Address {
            version: window.version,
            qos: self.qos,
            retain: self.retain,
            packet_id: id,
            subscription_ids: self.subscription_ids.as_deref().unwrap_or_default(),
            alias: aliases.get(topic),
        };
        if !window.takes(&mut address, |address| message_len(&self.message, now, address)) {
            out.tally.too_large += 1;
            return false;
        }
        let sent = encode_message(&self.message, now, &address, dup, out.bytes_mut());
        if sent {
            aliases.on_sent(topic, address.alias);
        } else {
            out.tally.expired += 1;
        }
        sent
    }
}

impl Window {
    /// Whether the client takes a packet of this size. A new alias, which makes it larger, is given up for that.
    fn takes(&self, address: &mut Address<'_>, len: impl Fn(&Address<'_>) -> usize) -> bool {
        let max = self.packet_size_max as usize;
        if self.packet_size_max == u32::MAX || len(address) <= max {
            return true;
        }
        let was_new = address.alias.take_if(|alias| !alias.is_known).is_some();
        was_new && len(address) <= max
    }
}

/// Whether the client takes a packet of this size.
pub(super) fn fits(copies: &Copies<'_>, qos: Qos, delivery: &Delivery<'_>, window: &Window) -> bool {
    if window.packet_size_max == u32::MAX {
        return true;
    }
    let address = Address {
        version: window.version,
        qos,
        retain: delivery.retain,
        packet_id: (qos != Qos::AtMostOnce).then_some(PacketId::MAX),
        subscription_ids: delivery.subscription_ids,
        alias: None,
    };
    copies.encoded_len(&address) <= window.packet_size_max as usize
}

/// A PUBREL without further words.
pub(super) fn release<'a>(packet_id: PacketId, reason: ReasonCode) -> PubRel<'a> {
    PubRel { packet_id, reason, reason_string: None, user: UserProperties::default() }
}
