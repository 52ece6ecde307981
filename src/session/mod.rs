//! One client's MQTT protocol state. Sans-io: packets and time in, encoded packets and requests out.
//!
//! A session outlives its connections when its expiry says so; between them it only queues. It publishes
//! nothing and routes nothing itself: each packet leads to at most one [`Request`] to the driver, which
//! answers with `on_published`, `on_subscribed` or `on_unsubscribed`.

mod aliases;
mod authentication;
mod client_id;
mod connect;
mod copies;
mod inbound;
mod outbound;
mod outbox;
mod outlook;
mod settings;
mod shared;
#[cfg(test)]
mod tests;
mod will;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub use client_id::{ClientId, ClientIdError};
pub use connect::{Expiry, Negotiated};
pub use copies::Copies;
pub use inbound::Incoming;
pub use outbound::Delivery;
pub use outbox::{Outbox, Tally};
pub use outlook::{Ahead, Backlog, Outlook, Wait};
pub use settings::Settings;
pub use shared::Room;
pub use will::Will;

use crate::codec::{
    Disconnect, Packet, PacketId, PacketType, ProtocolVersion, PubAck, PubComp, PubRec, Qos, ReasonCode,
    SubAck, Subscribe, SubscribeOptions, UnsubAck, Unsubscribe, UserProperties,
};
use crate::message::Message;
use crate::topic::{SubscriptionFilter, SubscriptionKind};
use authentication::Authentication;
use inbound::{Arrival, Inbound};
use outbound::{Outbound, Window, release};

/// What a packet asks of the driver.
#[derive(Debug)]
pub enum Request<'a> {
    /// Nothing: the session has answered by itself.
    None,
    /// Publish; then call [`Session::on_published`] if it has a Packet Identifier.
    Publish(Incoming<'a>),
    /// Subscribe; then call [`Session::on_granted`] for each and [`Session::on_subscribed`] once.
    Subscribe {
        /// Of the SUBSCRIBE, for the SUBACK.
        packet_id: PacketId,
        /// One for each filter of the packet, in its order; an error stands for the filter's own code.
        filters: Vec<Result<Subscription, ReasonCode>>,
    },
    /// Unsubscribe; then call [`Session::on_unsubscribed`].
    Unsubscribe {
        /// Of the UNSUBSCRIBE, for the UNSUBACK.
        packet_id: PacketId,
        /// One for each filter of the packet, in its order.
        filters: Vec<Result<SubscriptionFilter, ReasonCode>>,
    },
    /// The client proves again who it is; then call [`Session::on_authentication`], or close with 0x87.
    Authenticate {
        /// The Authentication Method of its CONNECT.
        method: &'static str,
        /// Whether an exchange begins; else it goes on.
        begins: bool,
        /// The client's Authentication Data, empty when there was none.
        data: &'a [u8],
    },
    /// The client said goodbye: close the connection, then call [`Session::on_closed`].
    Disconnect,
}

/// A subscription of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The Topic Filter, with what stands in front of it.
    pub filter: SubscriptionFilter,
    /// QoS, No Local, Retain As Published, Retain Handling.
    pub options: SubscribeOptions,
    /// The Subscription Identifier.
    pub id: Option<u32>,
}

/// What is left to do for a session whose connection ended.
#[derive(Debug)]
pub struct Farewell {
    /// The Will, when it is to be published, and when.
    pub will: Option<(Box<Will>, Instant)>,
    /// When the session ends; `None` when it is kept for ever.
    pub ends_at: Option<Instant>,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// By the client's DISCONNECT, by the network, by time, or by this node.
    Ended,
    /// Another connection with the same Client Identifier took its place; it continues the session or not.
    TakenOver {
        /// Whether the new connection continues this session.
        continues: bool,
    },
}

/// The state that belongs to the present connection only.
#[derive(Debug)]
struct Connected {
    version: ProtocolVersion,
    window: Window,
    problem_information: bool,
    /// Set when the client's CONNECT named a method.
    authentication: Option<Authentication>,
    /// Whether a DISCONNECT came, after which nothing more is processed, or was sent, after which nothing more is.
    said_goodbye: bool,
}

/// A session [MQTT5-4.1].
#[derive(Debug)]
pub struct Session {
    client_id: ClientId,
    user: Option<Arc<str>>,
    /// Of the listener that the client is connected through, or was last.
    settings: Arc<Settings>,
    connected: Option<Connected>,
    expiry: Expiry,
    will: Option<Box<Will>>,
    subscriptions: BTreeMap<SubscriptionFilter, (SubscribeOptions, Option<u32>)>,
    inbound: Inbound,
    outbound: Outbound,
}

impl Session {
    /// A new session for an accepted CONNECT; [`Session::on_connected`] starts it.
    #[must_use]
    pub fn new(negotiated: &Negotiated) -> Self {
        Self {
            client_id: negotiated.client_id.clone(),
            user: negotiated.user.clone(),
            settings: Arc::clone(&negotiated.settings),
            connected: None,
            expiry: negotiated.expiry,
            will: None,
            subscriptions: BTreeMap::new(),
            inbound: Inbound::default(),
            outbound: Outbound::default(),
        }
    }

    /// Starts or resumes the session on a new connection: CONNACK, then what the client has not acknowledged. From
    /// now on the limits of this connection's listener hold. What was granted under others stays: subscriptions,
    /// and messages under way. What waits and finds no room behind those that are sent now is dropped by the new
    /// listener's rule.
    pub fn on_connected(&mut self, now: Instant, negotiated: &Negotiated, present: bool, out: &mut Outbox) {
        let version = negotiated.version;
        out.push(version, &Packet::ConnAck(negotiated.connack(present)));
        self.settings = Arc::clone(&negotiated.settings);
        self.user.clone_from(&negotiated.user);
        self.expiry = negotiated.expiry;
        self.will.clone_from(&negotiated.will);
        self.connected = Some(Connected {
            version,
            window: Window {
                version,
                inflight_max: self.settings.inflight_max.min(negotiated.client_receive_maximum),
                packet_size_max: negotiated.client_packet_size_max,
            },
            problem_information: negotiated.problem_information,
            authentication: negotiated.method().map(Authentication::new),
            said_goodbye: false,
        });
        self.inbound.on_connected();
        let aliases_max = self.settings.topic_aliases_made_max.min(negotiated.client_topic_alias_maximum);
        self.outbound.on_connected(aliases_max);
        self.pump(now, out);
        self.outbound.shrink_queue(&self.settings, out);
    }

    /// The client's name.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// Bytes of packets that may wait for the client's socket.
    #[must_use]
    pub fn outbox_bytes_max(&self) -> usize {
        self.settings.outbox_bytes_max
    }

    /// Who the client proved to be on its present or last connection; `None` for an anonymous one.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// The limits of the client's listener.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The version of the present connection.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.connected.as_ref().map(|connected| connected.version)
    }

    /// Whether the session outlives its connection.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.expiry.is_persistent()
    }

    /// All subscriptions, by filter.
    pub fn subscriptions(&self) -> impl Iterator<Item = Subscription> {
        self.subscriptions.iter().map(|(filter, (options, id))| Subscription {
            filter: filter.clone(),
            options: *options,
            id: *id,
        })
    }

    /// Messages that wait for the client or for its acknowledgement.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.outbound.pending()
    }

    /// Takes one packet of the client.
    ///
    /// # Errors
    /// The reason code with which the connection must be closed; nothing of the packet was done then.
    pub fn on_packet<'a>(
        &mut self,
        now: Instant,
        packet: Packet<'a>,
        out: &mut Outbox,
    ) -> Result<Request<'a>, ReasonCode> {
        let Some(connected) = &mut self.connected else { return Ok(Request::None) };
        if connected.said_goodbye {
            return Ok(Request::None);
        }
        match packet {
            Packet::Publish(publish) => {
                match self.inbound.on_publish(now, connected.version, publish, &self.settings)? {
                    Arrival::New(incoming) => return Ok(Request::Publish(incoming)),
                    Arrival::Again(id) => self.push(out, &Packet::PubRec(received(id, ReasonCode::Success))),
                    Arrival::Refused(id, qos, reason) => self.push(out, &acknowledgement(id, qos, reason)),
                }
            }
            Packet::PubAck(ack) => {
                self.outbound.on_puback(ack.packet_id);
                self.pump(now, out);
            }
            Packet::PubRec(ack) => self.on_pubrec(now, ack.packet_id, ack.reason, out),
            Packet::PubRel(ack) => self.on_pubrel(ack.packet_id, out),
            Packet::PubComp(ack) => {
                self.outbound.on_pubcomp(ack.packet_id);
                self.pump(now, out);
            }
            Packet::Subscribe(subscribe) => return self.on_subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe) => return Ok(on_unsubscribe(&unsubscribe)),
            Packet::PingReq => self.push(out, &Packet::PingResp),
            Packet::Disconnect(disconnect) => return self.on_disconnect(&disconnect),
            Packet::Auth(auth) => match &mut connected.authentication {
                Some(authentication) => return authentication.on_auth(&auth),
                None => return Err(ReasonCode::ProtocolError), // [MQTT5-4.12.0-7]
            },
            // A second CONNECT [MQTT5-3.1.0-2], and what only a server may send.
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => return Err(ReasonCode::ProtocolError),
        }
        Ok(Request::None)
    }

    /// The outcome of a [`Request::Publish`]. An error is told to MQTT 5 clients only; to older ones it is an
    /// acknowledgement all the same, since theirs have no code.
    pub fn on_published(&mut self, packet_id: PacketId, qos: Qos, reason: ReasonCode, out: &mut Outbox) {
        self.inbound.on_published(packet_id, qos, reason.is_error());
        self.push(out, &acknowledgement(packet_id, qos, reason));
    }

    /// Records a subscription that the node has made. True when the filter is new to the session.
    pub fn on_granted(&mut self, subscription: &Subscription) -> bool {
        let value = (subscription.options, subscription.id);
        self.subscriptions.insert(subscription.filter.clone(), value).is_none()
    }

    /// Whether the session has a subscription for this very filter.
    #[must_use]
    pub fn has_subscription(&self, filter: &SubscriptionFilter) -> bool {
        self.subscriptions.contains_key(filter)
    }

    /// The subscription that this node makes for the client by itself; one that it has for the filter already stays
    /// as it is, but for the Retain Handling.
    ///
    /// # Errors
    /// The code that a client would get that asks for such a filter.
    pub fn may_have(
        &self,
        filter: SubscriptionFilter,
        options: SubscribeOptions,
    ) -> Result<Subscription, ReasonCode> {
        self.check_size(&filter, filter.filter.as_str().len())?;
        if let Some(reason) = self.unavailable(&filter) {
            return Err(reason);
        }
        let known = self.subscriptions.get(&filter).copied();
        let new = SubscribeOptions { qos: options.qos.min(self.settings.qos_max), ..options };
        let (kept, id) = known.unwrap_or((new, None));
        let options = SubscribeOptions { retain_handling: options.retain_handling, ..kept };
        Ok(Subscription { filter, options, id })
    }

    /// Whether one more subscription fits the limit.
    #[must_use]
    pub fn may_subscribe(&self, filter: &SubscriptionFilter) -> bool {
        self.subscriptions.len() < self.settings.subscriptions_max || self.has_subscription(filter)
    }

    /// Forgets a subscription: the options it had, or `None` when there was none.
    pub fn on_removed(&mut self, filter: &SubscriptionFilter) -> Option<SubscribeOptions> {
        self.subscriptions.remove(filter).map(|(options, _)| options)
    }

    /// The outcome of a [`Request::Subscribe`]; `note` is shown to MQTT 5 clients as a user property.
    ///
    /// # Errors
    /// 0x95 when the client has asked for more answers than it takes in one packet: the connection must be closed
    /// [MQTT5-3.1.2-24].
    pub fn on_subscribed(
        &mut self,
        packet_id: PacketId,
        codes: &[ReasonCode],
        note: Option<(&str, &str)>,
        out: &mut Outbox,
    ) -> Result<(), ReasonCode> {
        let notes = note.map(|note| [note]);
        let notes: &[(&str, &str)] = match &notes {
            Some(notes) if self.shows_problems() => notes,
            _ => &[],
        };
        let with_note =
            SubAck { packet_id, reason_string: None, user: UserProperties::from(notes), codes: codes.into() };
        let plain = SubAck { user: UserProperties::default(), ..with_note.clone() };
        // [MQTT5-3.9.2-2]
        self.push_if_it_fits(out, &Packet::SubAck(with_note))
            .or_else(|_| self.push_if_it_fits(out, &Packet::SubAck(plain)))
    }

    /// The outcome of a [`Request::Unsubscribe`].
    ///
    /// # Errors
    /// 0x95 as in [`Session::on_subscribed`].
    pub fn on_unsubscribed(
        &mut self,
        packet_id: PacketId,
        codes: &[ReasonCode],
        out: &mut Outbox,
    ) -> Result<(), ReasonCode> {
        let user = UserProperties::default();
        let unsuback = UnsubAck { packet_id, reason_string: None, user, codes: codes.into() };
        self.push_if_it_fits(out, &Packet::UnsubAck(unsuback))
    }

    /// The outcome of a [`Request::Authenticate`] that was not denied: the client has proven itself again, or the
    /// exchange goes on with this data.
    ///
    /// # Errors
    /// The answer is larger than the client's Maximum Packet Size, so the connection must be closed.
    pub fn on_authentication(
        &mut self,
        is_done: bool,
        data: &[u8],
        out: &mut Outbox,
    ) -> Result<(), ReasonCode> {
        let Some(connected) = &mut self.connected else { return Ok(()) };
        let Some(authentication) = &mut connected.authentication else { return Ok(()) };
        let answer = authentication.answer(is_done, data);
        if answer
            .encoded_len(connected.version)
            .is_ok_and(|len| len > connected.window.packet_size_max as usize)
        {
            return Err(ReasonCode::PacketTooLarge);
        }
        out.push(connected.version, &Packet::Auth(answer));
        Ok(())
    }

    /// Takes one copy of a message for this client.
    pub fn deliver(
        &mut self,
        now: Instant,
        copies: &mut Copies<'_>,
        delivery: &Delivery<'_>,
        out: &mut Outbox,
    ) {
        let window = open(&self.connected).map(|connected| &connected.window);
        self.outbound.deliver(now, copies, delivery, window, &self.settings, out);
    }

    /// Takes a retained message for one of the client's new subscriptions. False when there is no room for it
    /// now: offer it again after the next acknowledgement, or when the outbox has been written.
    pub fn deliver_retained(
        &mut self,
        now: Instant,
        message: &Arc<Message>,
        qos_max: Qos,
        subscription_ids: &[u32],
        out: &mut Outbox,
    ) -> bool {
        let Some(connected) = open(&self.connected) else { return false };
        // The flag is set whatever the subscription says: this is a retained message
        // (section 3.3.1.3) [MQTT311-3.3.1-8].
        let delivery = Delivery { qos_max, retain: true, subscription_ids, share: None };
        self.outbound.deliver_retained(now, message, &delivery, &connected.window, &self.settings, out)
    }

    /// Whether [`Session::deliver_retained`] has room for a message that goes out at this QoS.
    #[must_use]
    pub fn takes_retained(&self, qos: Qos, out: &Outbox) -> bool {
        self.connected.as_ref().is_some_and(|connected| {
            self.outbound.takes_retained(qos, &connected.window, &self.settings, out)
        })
    }

    /// Sends what was waiting for room in the outbox.
    pub fn on_drained(&mut self, now: Instant, out: &mut Outbox) {
        self.pump(now, out);
    }

    /// Appends the DISCONNECT by which this node closes the connection; older clients get none
    /// [MQTT5-4.13.2-1]. From then on the client is as good as away: nothing follows [MQTT5-3.14.4-1].
    pub fn say_goodbye(&mut self, reason: ReasonCode, out: &mut Outbox) {
        let Some(connected) = &mut self.connected else { return };
        let was_said = std::mem::replace(&mut connected.said_goodbye, true);
        if connected.version != ProtocolVersion::V5 || was_said {
            return;
        }
        // Some codes belong to CONNACK only; a second CONNECT can call for one.
        let is_sayable = reason.is_allowed_in(PacketType::Disconnect);
        let reason = if is_sayable { reason } else { ReasonCode::ProtocolError };
        let disconnect = Disconnect {
            reason,
            session_expiry: None,
            reason_string: None,
            server_reference: None,
            user: UserProperties::default(),
        };
        self.push(out, &Packet::Disconnect(disconnect));
    }

    /// The connection is gone. Says what is left to do; `None` when it was gone already.
    pub fn on_closed(&mut self, now: Instant, closing: Closing) -> Option<Farewell> {
        self.connected.take()?;
        let ends_at = match self.expiry {
            Expiry::AtClose => Some(now),
            Expiry::After(time) => now.checked_add(time),
            Expiry::Never => None,
        };
        let will = self.will.take().and_then(|will| {
            let at = now.checked_add(will.delay())?;
            let at = match closing {
                // [MQTT5-3.1.4-3]: a delayed Will is not published when the session goes on.
                Closing::TakenOver { continues: true } if !will.delay().is_zero() => return None,
                Closing::TakenOver { .. } => now,
                // The delay or the end of the session, whichever comes first [MQTT5-3.1.3-9].
                Closing::Ended => ends_at.map_or(at, |ends_at| at.min(ends_at)),
            };
            Some((will, at))
        });
        Some(Farewell { will, ends_at })
    }

    fn on_pubrec(&mut self, now: Instant, id: PacketId, reason: ReasonCode, out: &mut Outbox) {
        let known = self.outbound.on_pubrec(id, reason);
        if !reason.is_error() {
            let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
            self.push(out, &Packet::PubRel(release(id, reason)));
        }
        self.pump(now, out);
    }

    fn on_pubrel(&mut self, packet_id: PacketId, out: &mut Outbox) {
        let known = self.inbound.on_release(packet_id);
        let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        let user = UserProperties::default();
        self.push(out, &Packet::PubComp(PubComp { packet_id, reason, reason_string: None, user }));
    }

    fn on_subscribe<'a>(&self, subscribe: &Subscribe<'_>) -> Result<Request<'a>, ReasonCode> {
        let id = subscribe.subscription_id;
        if id.is_some() && !self.settings.subscription_ids_available {
            return Err(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
        let mut filters = Vec::with_capacity(subscribe.filters.len());
        for entry in &subscribe.filters {
            let filter = self.filter(entry.filter);
            let is_shared = filter.as_ref().is_ok_and(|filter| filter.share().is_some());
            if is_shared && entry.options.no_local {
                // [MQTT5-3.8.3-4]
                return Err(ReasonCode::ProtocolError);
            }
            let filter = filter.and_then(|filter| match self.unavailable(&filter) {
                Some(reason) => Err(reason),
                None => Ok(filter),
            });
            // MQTT 5 clients were told so: it is an error of theirs (sections 3.2.2.3.11 and 3.2.2.3.13). Older ones
            // hear it filter by filter [MQTT311-3.8.3-2].
            if let Err(
                reason @ (ReasonCode::WildcardSubscriptionsNotSupported
                | ReasonCode::SharedSubscriptionsNotSupported),
            ) = filter
                && self.version() == Some(ProtocolVersion::V5)
            {
                return Err(reason);
            }
            let options =
                SubscribeOptions { qos: entry.options.qos.min(self.settings.qos_max), ..entry.options };
            filters.push(filter.map(|filter| Subscription { filter, options, id }));
        }
        Ok(Request::Subscribe { packet_id: subscribe.packet_id, filters })
    }

    /// The code for a filter that asks for what this node does not offer.
    fn unavailable(&self, filter: &SubscriptionFilter) -> Option<ReasonCode> {
        match filter.kind {
            SubscriptionKind::Shared(_) if !self.settings.shared_available => {
                return Some(ReasonCode::SharedSubscriptionsNotSupported);
            }
            // The standard knows nothing of it, so there is no code of its own, and nothing that announces it.
            SubscriptionKind::Exclusive if !self.settings.exclusive_available => {
                return Some(ReasonCode::TopicFilterInvalid);
            }
            SubscriptionKind::Plain | SubscriptionKind::Exclusive | SubscriptionKind::Shared(_) => {}
        }
        let is_refused = filter.filter.has_wildcards() && !self.settings.wildcard_available;
        is_refused.then_some(ReasonCode::WildcardSubscriptionsNotSupported)
    }

    fn filter(&self, text: &str) -> Result<SubscriptionFilter, ReasonCode> {
        let filter = SubscriptionFilter::parse(text).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        self.check_size(&filter, text.len())?;
        Ok(filter)
    }

    /// `len` is that of the whole text, with what stands in front of the filter.
    fn check_size(&self, filter: &SubscriptionFilter, len: usize) -> Result<(), ReasonCode> {
        let levels = filter.filter.as_str().split('/').count();
        if self.settings.takes_topic(len, levels) { Ok(()) } else { Err(ReasonCode::TopicFilterInvalid) }
    }

    fn on_disconnect<'a>(&mut self, disconnect: &Disconnect<'_>) -> Result<Request<'a>, ReasonCode> {
        if !is_said_by_clients(disconnect.reason) || disconnect.server_reference.is_some() {
            return Err(ReasonCode::ProtocolError);
        }
        if let Some(seconds) = disconnect.session_expiry {
            let expiry = self.expiry.changed_to(seconds, self.settings.session_expiry_max);
            self.expiry = expiry.ok_or(ReasonCode::ProtocolError)?;
        }
        // With any other code the Will is published [MQTT5-3.14.4-3].
        if disconnect.reason == ReasonCode::NormalDisconnection {
            self.will = None;
        }
        if let Some(connected) = &mut self.connected {
            connected.said_goodbye = true;
        }
        Ok(Request::Disconnect)
    }

    fn pump(&mut self, now: Instant, out: &mut Outbox) {
        if let Some(connected) = open(&self.connected) {
            self.outbound.pump(now, &connected.window, &self.settings, out);
        }
    }

    /// Appends a packet that may be larger than the client takes.
    fn push_if_it_fits(&self, out: &mut Outbox, packet: &Packet<'_>) -> Result<(), ReasonCode> {
        let Some(Connected { version, window, .. }) = &self.connected else { return Ok(()) };
        let fits = packet.encoded_len(*version).is_ok_and(|len| len <= window.packet_size_max as usize);
        if !fits {
            return Err(ReasonCode::PacketTooLarge);
        }
        out.push(*version, packet);
        Ok(())
    }

    /// Appends a packet in the version of the present connection, none when there is no connection.
    fn push(&self, out: &mut Outbox, packet: &Packet<'_>) {
        if let Some(connected) = &self.connected {
            out.push(connected.version, packet);
        }
    }

    fn shows_problems(&self) -> bool {
        self.connected.as_ref().is_some_and(|connected| connected.problem_information)
    }
}

/// The connection, if messages may still be sent on it.
fn open(connected: &Option<Connected>) -> Option<&Connected> {
    connected.as_ref().filter(|connected| !connected.said_goodbye)
}

fn on_unsubscribe<'a>(unsubscribe: &Unsubscribe<'_>) -> Request<'a> {
    let filters = unsubscribe.filters.iter();
    let filters =
        filters.map(|text| SubscriptionFilter::parse(text).map_err(|_| ReasonCode::TopicFilterInvalid));
    Request::Unsubscribe { packet_id: unsubscribe.packet_id, filters: filters.collect() }
}

/// Whether a client may put the code into its DISCONNECT (table 3-10); the codec knows no direction.
fn is_said_by_clients(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::NormalDisconnection
            | ReasonCode::DisconnectWithWill
            | ReasonCode::UnspecifiedError
            | ReasonCode::MalformedPacket
            | ReasonCode::ProtocolError
            | ReasonCode::ImplementationSpecificError
            | ReasonCode::TopicNameInvalid
            | ReasonCode::ReceiveMaximumExceeded
            | ReasonCode::TopicAliasInvalid
            | ReasonCode::PacketTooLarge
            | ReasonCode::MessageRateTooHigh
            | ReasonCode::QuotaExceeded
            | ReasonCode::AdministrativeAction
            | ReasonCode::PayloadFormatInvalid
    )
}

/// What answers a PUBLISH above QoS 0.
fn acknowledgement<'a>(packet_id: PacketId, qos: Qos, reason: ReasonCode) -> Packet<'a> {
    let user = UserProperties::default();
    match qos {
        Qos::ExactlyOnce => Packet::PubRec(received(packet_id, reason)),
        _ => Packet::PubAck(PubAck { packet_id, reason, reason_string: None, user }),
    }
}

fn received<'a>(packet_id: PacketId, reason: ReasonCode) -> PubRec<'a> {
    PubRec { packet_id, reason, reason_string: None, user: UserProperties::default() }
}
