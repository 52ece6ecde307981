//! One step of a history, chosen by the input.

use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use flockmq::codec::{
    Packet, PacketId, PubAck, PubComp, PubRec, PublishProperties, Qos, ReasonCode, UserProperties, decode,
};
use flockmq::message::Publication;
use flockmq::session::{Closing, Copies, Delivery, Incoming, Request, Room, Subscription};
use flockmq::topic::{SubscriptionFilter, TopicRef};

use super::app::Owed;
use super::{Given, World, packets};

impl World {
    pub(super) fn step(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        match choices.int_in_range(0..=15)? {
            0 | 1 => self.connect(choices)?,
            2..=4 => self.deliver(choices)?,
            5 => self.deliver_retained(choices)?,
            6..=7 => self.acknowledge(choices)?,
            8 => {
                let packet = packets::publish(choices)?;
                self.send(&packet, choices)?;
            }
            9 => {
                let packet = packets::acknowledgement(choices)?;
                self.send(&packet, choices)?;
            }
            10 => {
                let packet = packets::subscribe(choices)?;
                self.send(&packet, choices)?;
            }
            11 => {
                let packet = packets::other(choices)?;
                self.send(&packet, choices)?;
            }
            12 => {
                let len = choices.int_in_range(0..=24)?;
                let bytes = choices.bytes(len.min(choices.len()))?;
                self.send_bytes(bytes, choices)?;
            }
            13 => self.pass_time(*choices.choose(&[1, 500, 2_000, 6_000, 100_000])?),
            14 => self.read_or_stall(choices)?,
            _ => match choices.int_in_range(0..=2)? {
                0 => self.answer(choices)?,
                1 => self.take_waiting(choices)?,
                _ => self.close(Closing::Ended), // The network fails.
            },
        }
        Ok(())
    }

    /// A copy for the client, connected or not.
    fn deliver(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        let topic = packets::topic(choices)?;
        let payload = self.payload(choices)?;
        let share: Option<SubscriptionFilter> =
            choices.ratio(1, 4)?.then(|| SubscriptionFilter::parse("$share/g/a").expect("a filter"));
        let share = share.map(Arc::new);
        let delivery = Delivery {
            qos_max: packets::qos(choices)?,
            retain: choices.arbitrary()?,
            subscription_ids: choices.choose(&[&[][..], &[], &[1], &[1, 300]])?,
            share: share.as_ref(),
        };
        let publication = self.publication(topic, &payload, choices)?;
        let mut copies = Copies::new(publication, self.now, choices.int_in_range(1..=2)?);
        let bytes = publication.to_message().bytes();
        let least = *choices.choose(&[None, None, Some(Room::Now), Some(Room::Queue), Some(Room::Away)])?;
        let Some(session) = &mut self.session else { return Ok(()) };
        self.messages.push(Given {
            topic,
            qos: publication.qos.min(delivery.qos_max),
            expires_at: publication.expires_at,
            bytes,
        });
        let before = self.outbox.len();
        let is_taken = match least {
            None => {
                session.deliver(self.now, &mut copies, &delivery, &mut self.outbox);
                true
            }
            Some(least) => session.offer(self.now, &mut copies, &delivery, least, &mut self.outbox),
        };
        self.ledger.given += usize::from(is_taken);
        let is_full = before >= self.settings.outbox_bytes_max;
        assert!(!is_full || self.outbox.len() == before, "the outbox is full and grows");
        self.look();
        Ok(())
    }

    fn deliver_retained(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        let topic = packets::topic(choices)?;
        let payload = self.payload(choices)?;
        let message = self.publication(topic, &payload, choices)?.to_message();
        let qos_max = packets::qos(choices)?;
        let Some(session) = &mut self.session else { return Ok(()) };
        self.messages.push(Given {
            topic,
            qos: message.qos().min(qos_max),
            expires_at: message.expires_at(),
            bytes: message.bytes(),
        });
        let before = self.outbox.len();
        let is_taken = session.deliver_retained(self.now, &message, qos_max, &[], &mut self.outbox);
        self.ledger.given += usize::from(is_taken);
        assert!(before < self.settings.outbox_bytes_max || self.outbox.len() == before);
        self.look();
        Ok(())
    }

    /// The number of the next message, and perhaps more.
    fn payload(&self, choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let mut payload = (self.messages.len() as u32).to_be_bytes().to_vec();
        payload.resize(payload.len() + *choices.choose(&[0, 0, 1, 30, 300])?, b'p');
        Ok(payload)
    }

    fn publication<'a>(
        &self,
        topic: &'a str,
        payload: &'a [u8],
        choices: &mut Unstructured<'_>,
    ) -> Result<Publication<'a>> {
        let expiry: Option<u64> = *choices.choose(&[None, None, None, Some(0), Some(1), Some(3_000)])?;
        let properties: &[&[u8]] = &[&[], &[], &[0x01, 0x01], &[0x26, 0, 1, b'n', 0, 1, b'v']];
        Ok(Publication {
            topic: TopicRef::parse(topic).expect("a topic"),
            payload,
            qos: packets::qos(choices)?,
            retain: choices.arbitrary()?,
            properties: choices.choose(properties)?,
            expires_at: expiry.map(|time| self.now + Duration::from_millis(time)),
            publisher: *choices.choose(&[None, Some("client")])?,
        })
    }

    /// The client does what it owes, not always the oldest first.
    fn acknowledge(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        let owed = self.app.owed();
        if owed.is_empty() {
            return Ok(());
        }
        let at = if choices.ratio(3, 4)? { 0 } else { choices.choose_index(owed.len())? };
        let owed = owed.remove(at);
        let is_refused = choices.ratio(1, 8)?;
        let reason = if is_refused { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
        let (reason_string, user) = (None, UserProperties::default());
        let packet = match owed {
            Owed::Acknowledged(packet_id) => {
                Packet::PubAck(PubAck { packet_id, reason, reason_string, user })
            }
            Owed::Received(packet_id) => Packet::PubRec(PubRec { packet_id, reason, reason_string, user }),
            Owed::Complete(packet_id) => {
                Packet::PubComp(PubComp { packet_id, reason: ReasonCode::Success, reason_string, user })
            }
        };
        self.send(&packet, choices)
    }

    fn pass_time(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        if self.connection.is_none() && self.ends_at.is_some_and(|at| at <= self.now) {
            self.end_session();
        }
    }

    /// The client stops to read, or reads everything, whereupon the node goes on.
    fn read_or_stall(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        self.stalled = choices.arbitrary()?;
        if !self.stalled {
            self.read();
            if let Some(session) = &mut self.session {
                session.on_drained(self.now, &mut self.outbox);
                self.check_progress();
            }
            self.look();
        }
        Ok(())
    }

    /// Another member of the shared subscription gets what waits.
    fn take_waiting(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        let share = SubscriptionFilter::parse(choices.choose(&["$share/g/a", "$share/h/a"])?);
        let Some(session) = &mut self.session else { return Ok(()) };
        let load = session.load();
        let taken = session.take_waiting(&share.expect("a filter")).len();
        assert_eq!(session.load() + taken, load);
        self.ledger.taken_back += taken;
        self.look();
        Ok(())
    }

    /// The outcome of a publication that took a while.
    fn answer(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        if self.unanswered.is_empty() {
            return Ok(());
        }
        let (id, qos) = self.unanswered.remove(choices.choose_index(self.unanswered.len())?);
        let reason = *choices.choose(&[
            ReasonCode::Success,
            ReasonCode::NoMatchingSubscribers,
            ReasonCode::QuotaExceeded,
        ])?;
        if qos == Qos::ExactlyOnce && reason.is_error() {
            self.unreleased.remove(&id);
            self.carried.remove(&id);
        }
        if let Some(session) = &mut self.session {
            session.on_published(id, qos, reason, &mut self.outbox);
        }
        self.look();
        Ok(())
    }

    /// The client sends a packet, if its version has it.
    fn send(&mut self, packet: &Packet<'_>, choices: &mut Unstructured<'_>) -> Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        let mut bytes = Vec::new();
        match packet.encode(connection.version, &mut bytes) {
            Ok(()) => self.send_bytes(&bytes, choices),
            Err(_) => Ok(()),
        }
    }

    fn send_bytes(&mut self, bytes: &[u8], choices: &mut Unstructured<'_>) -> Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let Ok(packet) = decode(connection.version, bytes) else { return Ok(()) };
        let Some(session) = &mut self.session else { return Ok(()) };
        self.line.on_acknowledged(&packet);
        let (mut published, mut said_goodbye) = (None, None);
        match &packet {
            Packet::Publish(publish) => published = publish.packet_id.map(|id| (id, publish.qos)),
            Packet::PubRec(pubrec) if pubrec.reason.is_error() => self.app.on_refused(pubrec.packet_id),
            Packet::PubRel(pubrel) => {
                self.unreleased.remove(&pubrel.packet_id);
                self.carried.remove(&pubrel.packet_id);
            }
            Packet::Disconnect(disconnect) => said_goodbye = Some(disconnect.reason),
            _ => {}
        }
        let request = session.on_packet(self.now, packet, &mut self.outbox);
        match request {
            Ok(Request::None) => self.look(),
            Ok(Request::Publish(incoming)) => self.on_publish(published, &incoming, choices)?,
            Ok(Request::Subscribe { packet_id, filters }) => self.on_subscribe(packet_id, filters),
            Ok(Request::Unsubscribe { packet_id, filters }) => self.on_unsubscribe(packet_id, filters),
            Ok(Request::Authenticate { method, .. }) => {
                assert_eq!(method, packets::METHOD);
                self.on_authenticate(choices)?;
            }
            Ok(Request::Disconnect) => {
                if said_goodbye == Some(ReasonCode::NormalDisconnection) {
                    connection.has_will = false;
                }
                self.look();
                self.close(Closing::Ended);
            }
            Err(reason) => {
                assert!(reason.is_error());
                self.refuse(reason);
            }
        }
        Ok(())
    }

    fn on_publish(
        &mut self,
        id: Option<(PacketId, Qos)>,
        incoming: &Incoming<'_>,
        choices: &mut Unstructured<'_>,
    ) -> Result<()> {
        let publication = incoming.publication("client");
        assert!(PublishProperties::from_forwarded(publication.properties).is_ok());
        assert!(publication.qos <= self.settings.qos_max);
        assert_eq!(id.map(|(id, _)| id), incoming.packet_id);
        let Some((id, qos)) = id else {
            self.look();
            return Ok(());
        };
        if qos == Qos::ExactlyOnce {
            assert!(self.unreleased.insert(id), "{id:?} is published twice");
        }
        self.unanswered.push((id, qos));
        let unanswered = self.unanswered.iter().filter(|(_, qos)| *qos == Qos::AtLeastOnce).count();
        let is_5 = self.session.as_ref().and_then(|session| session.version())
            == Some(flockmq::codec::ProtocolVersion::V5);
        let taken = unanswered + self.unreleased.difference(&self.carried).count();
        assert!(!is_5 || taken <= usize::from(self.settings.receive_maximum), "{taken} taken");
        self.look();
        // Most are answered at once.
        if choices.ratio(3, 4)? { self.answer(choices) } else { Ok(()) }
    }

    fn on_subscribe(
        &mut self,
        packet_id: PacketId,
        filters: Vec<std::result::Result<Subscription, ReasonCode>>,
    ) {
        let Some(session) = &mut self.session else { return };
        let mut codes = Vec::new();
        for filter in filters {
            codes.push(match filter {
                Ok(subscription) if session.may_subscribe(&subscription.filter) => {
                    let was_there = session.has_subscription(&subscription.filter);
                    assert_eq!(session.on_granted(&subscription), !was_there);
                    ReasonCode::GrantedQos0
                }
                Ok(_) => ReasonCode::QuotaExceeded,
                Err(reason) => reason,
            });
        }
        let note = Some(("reached", "1 of 2"));
        let result = session.on_subscribed(packet_id, &codes, note, &mut self.outbox);
        self.after_answer(result);
    }

    fn on_unsubscribe(
        &mut self,
        packet_id: PacketId,
        filters: Vec<std::result::Result<SubscriptionFilter, ReasonCode>>,
    ) {
        let Some(session) = &mut self.session else { return };
        let mut codes = Vec::new();
        for filter in filters {
            codes.push(match filter {
                Ok(filter) => {
                    let was_there = session.has_subscription(&filter);
                    assert_eq!(session.on_removed(&filter).is_some(), was_there);
                    assert!(!session.has_subscription(&filter));
                    if was_there { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted }
                }
                Err(reason) => reason,
            });
        }
        let result = session.on_unsubscribed(packet_id, &codes, &mut self.outbox);
        self.after_answer(result);
    }

    fn on_authenticate(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        let is_done = choices.arbitrary()?;
        let data = *choices.choose(&[&b""[..], b"more", &[0; 70]])?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let result = session.on_authentication(is_done, data, &mut self.outbox);
        self.after_answer(result);
        Ok(())
    }

    fn after_answer(&mut self, result: std::result::Result<(), ReasonCode>) {
        match result {
            Ok(()) => self.look(),
            Err(reason) => self.refuse(reason),
        }
    }
}
