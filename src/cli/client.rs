//! A small MQTT client for `pub`, `sub` and `demo`: one connection, one exchange at a time.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::message::Received;
use crate::codec::{
    Connect, DecodeError, Disconnect, EncodeError, Packet, PacketId, ProtocolVersion, PubAck, PubComp,
    PubRec, PubRel, Publish, Qos, ReasonCode, Subscribe, SubscribeFilter, decode, peek, pingreq,
};
use crate::net::TcpStream;
use crate::net::clock::now;

/// Messages that may arrive while we wait for something else.
const WAITING_MAX: usize = 10_000;
/// Room that each read finds.
const READ_BYTES: usize = 16 << 10;

/// How to connect.
#[derive(Clone, Debug)]
pub(super) struct Session<'a> {
    /// `host:port` of the broker.
    pub(super) address: &'a str,
    pub(super) connect: Connect<'a>,
    /// The longest wait for each answer of the broker.
    pub(super) patience: Duration,
}

/// Why the conversation ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(
        "cannot connect to {address}: {error}; is a broker running there? --broker HOST:PORT names another"
    )]
    Unreachable { address: String, error: std::io::Error },
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    #[error("the broker closed the connection while we waited for {0}")]
    Closed(&'static str),
    #[error("the broker disconnected us: {}", Reason(*.0, .1))]
    Disconnected(ReasonCode, String),
    #[error("the broker refused the {what}: {}", Reason(*.reason, .text))]
    Refused { what: &'static str, reason: ReasonCode, text: String },
    #[error("no {0} came within {wait}", wait = humantime::format_duration(*.1))]
    Silent(&'static str, Duration),
    #[error("the broker sent something that is not MQTT: {0}")]
    Malformed(#[from] DecodeError),
    #[error("this cannot be sent: {0}")]
    Unsendable(#[from] EncodeError),
    #[error("more than {WAITING_MAX} messages arrived at once")]
    Flooded,
}

/// A Reason Code with its number and what the broker says about it.
struct Reason<'a>(ReasonCode, &'a str);

impl std::fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (0x{:02X})", self.0.name(), self.0 as u8)?;
        if self.1.is_empty() { Ok(()) } else { write!(f, ", {}", super::console::visible(self.1)) }
    }
}

/// A connection whose CONNECT was accepted.
pub(super) struct Client {
    stream: TcpStream,
    version: ProtocolVersion,
    /// What has been read and not been used.
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    waiting: VecDeque<Received>,
    /// QoS 2 messages taken whose PUBREL is still to come.
    unreleased: BTreeSet<PacketId>,
    next_id: PacketId,
    patience: Duration,
    /// Zero when off.
    keep_alive: Duration,
    last_sent: Instant,
    last_heard: Instant,
}

/// A packet from the broker that is not a message.
enum Answer {
    Connected(ReasonCode, String, Option<u16>),
    Acknowledged(Stage, PacketId, ReasonCode, String),
    Subscribed(PacketId, Vec<ReasonCode>, String),
    Other,
}

/// How far the broker has taken a message over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// PUBACK.
    Taken,
    /// PUBREC.
    Received,
    /// PUBCOMP.
    Completed,
}

impl Client {
    /// Connects and waits for the CONNACK.
    pub(super) async fn connect(session: &Session<'_>) -> Result<Self, ClientError> {
        let Session { address, connect, patience } = session;
        let opened = tokio::time::timeout(*patience, TcpStream::connect(address)).await;
        let opened = opened.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let stream = opened
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| ClientError::Unreachable { address: (*address).to_owned(), error })?;
        let mut client = Self {
            stream,
            version: connect.version,
            inbox: Vec::new(),
            outbox: Vec::new(),
            waiting: VecDeque::new(),
            unreleased: BTreeSet::new(),
            next_id: PacketId::MIN,
            patience: *patience,
            keep_alive: Duration::from_secs(connect.keep_alive.into()),
            last_sent: now(),
            last_heard: now(),
        };
        client.send(&Packet::Connect(connect.clone())).await?;
        let (reason, text, keep_alive) = client
            .wait_for("CONNACK", |answer| match answer {
                Answer::Connected(reason, text, keep_alive) => Some((reason, text, keep_alive)),
                _ => None,
            })
            .await?;
        if reason.is_error() {
            return Err(ClientError::Refused { what: "connection", reason, text });
        }
        if let Some(seconds) = keep_alive {
            client.keep_alive = Duration::from_secs(seconds.into());
        }
        Ok(client)
    }

    /// Publishes and, above QoS 0, waits until the broker has taken the message over. The Packet Identifier is
    /// set here.
    pub(super) async fn publish(&mut self, publish: Publish<'_>) -> Result<(), ClientError> {
        if publish.qos == Qos::AtMostOnce {
            return self.send(&Packet::Publish(publish)).await;
        }
        let id = self.take_id();
        let (qos, publish) = (publish.qos, Publish { packet_id: Some(id), ..publish });
        self.send(&Packet::Publish(publish)).await?;
        if qos == Qos::AtLeastOnce {
            return self.acknowledged(Stage::Taken, "PUBACK", id).await;
        }
        self.acknowledged(Stage::Received, "PUBREC", id).await?;
        self.send(&Packet::PubRel(PubRel::new(id, ReasonCode::Success))).await?;
        self.acknowledged(Stage::Completed, "PUBCOMP", id).await
    }

    async fn acknowledged(
        &mut self,
        wanted: Stage,
        name: &'static str,
        wanted_id: PacketId,
    ) -> Result<(), ClientError> {
        let (reason, text) = self
            .wait_for(name, |answer| match answer {
                Answer::Acknowledged(stage, id, reason, text) if stage == wanted && id == wanted_id => {
                    Some((reason, text))
                }
                _ => None,
            })
            .await?;
        if reason.is_error() {
            return Err(ClientError::Refused { what: "message", reason, text });
        }
        Ok(())
    }

    /// Subscribes and waits for the SUBACK; every filter must be granted.
    pub(super) async fn subscribe(&mut self, filters: &[SubscribeFilter<'_>]) -> Result<(), ClientError> {
        let wanted_id = self.take_id();
        let subscribe = Subscribe {
            packet_id: wanted_id,
            subscription_id: None,
            user: Default::default(),
            filters: filters.to_vec(),
        };
        self.send(&Packet::Subscribe(subscribe)).await?;
        let (codes, text) = self
            .wait_for("SUBACK", |answer| match answer {
                Answer::Subscribed(id, codes, text) if id == wanted_id => Some((codes, text)),
                _ => None,
            })
            .await?;
        match codes.into_iter().find(|code| code.is_error()) {
            Some(reason) => Err(ClientError::Refused { what: "subscription", reason, text }),
            None => Ok(()),
        }
    }

    /// The next message, however long it takes. May be dropped while it waits: nothing is lost.
    pub(super) async fn next_message(&mut self) -> Result<Received, ClientError> {
        loop {
            if let Some(received) = self.waiting.pop_front() {
                return Ok(received);
            }
            self.next_answer("a message").await?;
        }
    }

    /// Says goodbye, so that no will is published.
    pub(super) async fn disconnect(mut self) -> Result<(), ClientError> {
        self.send(&Packet::Disconnect(Disconnect::new(ReasonCode::NormalDisconnection))).await?;
        Ok(self.stream.shutdown().await?)
    }

    fn take_id(&mut self) -> PacketId {
        let id = self.next_id;
        self.next_id = id.next();
        id
    }

    async fn wait_for<T>(
        &mut self,
        what: &'static str,
        mut pick: impl FnMut(Answer) -> Option<T>,
    ) -> Result<T, ClientError> {
        let patience = self.patience;
        let wait = async {
            loop {
                if let Some(picked) = pick(self.next_answer(what).await?) {
                    return Ok(picked);
                }
            }
        };
        tokio::time::timeout(patience, wait).await.unwrap_or(Err(ClientError::Silent(what, patience)))
    }

    /// Handles one packet: messages are acknowledged and put aside, everything else is given back.
    async fn next_answer(&mut self, waiting_for: &'static str) -> Result<Answer, ClientError> {
        self.flush().await?;
        let frame_len = self.next_frame(waiting_for).await?;
        let frame: Vec<u8> = self.inbox.drain(..frame_len).collect();
        match decode(self.version, &frame)? {
            Packet::ConnAck(connack) => {
                let text = connack.properties.reason_string.unwrap_or_default().to_owned();
                Ok(Answer::Connected(connack.reason, text, connack.properties.server_keep_alive))
            }
            Packet::Publish(publish) => {
                self.take(&publish)?;
                self.flush().await?;
                Ok(Answer::Other)
            }
            Packet::PubRel(pubrel) => {
                self.unreleased.remove(&pubrel.packet_id);
                let pubcomp = PubComp::new(pubrel.packet_id, ReasonCode::Success);
                self.send(&Packet::PubComp(pubcomp)).await?;
                Ok(Answer::Other)
            }
            Packet::PubAck(ack) => {
                let text = ack.reason_string.unwrap_or_default().to_owned();
                Ok(Answer::Acknowledged(Stage::Taken, ack.packet_id, ack.reason, text))
            }
            Packet::PubRec(ack) => {
                let text = ack.reason_string.unwrap_or_default().to_owned();
                Ok(Answer::Acknowledged(Stage::Received, ack.packet_id, ack.reason, text))
            }
            Packet::PubComp(ack) => {
                let text = ack.reason_string.unwrap_or_default().to_owned();
                Ok(Answer::Acknowledged(Stage::Completed, ack.packet_id, ack.reason, text))
            }
            Packet::SubAck(suback) => {
                let text = suback.reason_string.unwrap_or_default().to_owned();
                Ok(Answer::Subscribed(suback.packet_id, suback.codes.to_vec(), text))
            }
            Packet::Disconnect(disconnect) => {
                let text = disconnect.reason_string.unwrap_or_default().to_owned();
                Err(ClientError::Disconnected(disconnect.reason, text))
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::UnsubAck(_)
            | Packet::PingReq
            | Packet::PingResp
            | Packet::Auth(_) => Ok(Answer::Other),
        }
    }

    /// Puts a message aside and its acknowledgement into the outbox.
    fn take(&mut self, publish: &Publish<'_>) -> Result<(), ClientError> {
        let is_new = match (publish.qos, publish.packet_id) {
            (Qos::AtLeastOnce, Some(id)) => {
                PubAck::new(id, ReasonCode::Success).encode(self.version, &mut self.outbox)?;
                true
            }
            (Qos::ExactlyOnce, Some(id)) => {
                PubRec::new(id, ReasonCode::Success).encode(self.version, &mut self.outbox)?;
                self.unreleased.insert(id)
            }
            (_, _) => true,
        };
        if is_new {
            if self.waiting.len() == WAITING_MAX {
                return Err(ClientError::Flooded);
            }
            self.waiting.push_back(Received::new(publish));
        }
        Ok(())
    }

    /// Reads until a whole packet is there, and pings while nothing comes.
    async fn next_frame(&mut self, waiting_for: &'static str) -> Result<usize, ClientError> {
        loop {
            if let Some(header) = peek(&self.inbox, u32::MAX)?
                && header.total_len <= self.inbox.len()
            {
                return Ok(header.total_len);
            }
            self.inbox.reserve(READ_BYTES);
            let read = match self.ping_in() {
                None => Ok(self.stream.read_buf(&mut self.inbox).await),
                Some(pause) => tokio::time::timeout(pause, self.stream.read_buf(&mut self.inbox)).await,
            };
            match read {
                Ok(read) => {
                    if read? == 0 {
                        return Err(ClientError::Closed(waiting_for));
                    }
                    self.last_heard = now();
                }
                Err(_) => self.ping().await?,
            }
        }
    }

    /// Half the keep alive since we last sent something, so that a ping is in time.
    fn ping_in(&self) -> Option<Duration> {
        if self.keep_alive.is_zero() {
            return None;
        }
        let due = self.last_sent + self.keep_alive / 2;
        Some(due.saturating_duration_since(now()))
    }

    async fn ping(&mut self) -> Result<(), ClientError> {
        if self.last_heard + 2 * self.keep_alive < now() {
            return Err(ClientError::Silent("PINGRESP", 2 * self.keep_alive));
        }
        pingreq::encode(&mut self.outbox);
        self.flush().await
    }

    async fn send(&mut self, packet: &Packet<'_>) -> Result<(), ClientError> {
        packet.encode(self.version, &mut self.outbox)?;
        self.flush().await
    }

    /// Writes the outbox. What was written is removed at once, so that it may be dropped in between.
    async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.outbox.is_empty() {
            let written = self.stream.write(&self.outbox).await?;
            if written == 0 {
                return Err(ClientError::Closed("room to write"));
            }
            self.outbox.drain(..written);
            self.last_sent = now();
        }
        Ok(())
    }
}
