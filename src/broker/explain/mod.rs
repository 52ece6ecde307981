//! Who would get a message, and why the others would not: for people who ask, so nothing changes.
//!
//! It goes the way of a PUBLISH with an empty payload: rewriting, the rules for `$` topics, the index of
//! subscriptions, the members of groups, each client's session. What only a real message has is not known: its size
//! (so neither whether it is too large for a client nor whether it fits what is left of a queue's bytes), its
//! properties and its expiry.

mod copies;
mod found;
mod report;

use std::sync::Arc;
use std::time::Instant;

pub(super) use found::{Asked, Found, FoundGroup};
pub use report::{
    ClientReport, CopyReport, Explanation, NotMatching, Outcome, RetainedReport, SessionReport,
};

use super::Broker;
use super::client::Client;
use super::publish::Destination;
use crate::codec::{Qos, ReasonCode};
use crate::message::Publication;
use crate::session::{Ahead, ClientId, Session};
use crate::topic::{NameError, TopicName, TopicRef};
use copies::Fates;

/// Matching subscriptions that are looked at one by one, and subscriptions of one client that do not match.
const LISTED_MAX: usize = 1_000;
/// Topics below it are the node's own reports.
const SYS_PREFIX: &str = "$SYS/";

/// What is asked: a message to this topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    topic: TopicName,
    qos: Qos,
    client: Option<ClientId>,
    publisher: Option<String>,
    is_forwarded: bool,
}

/// Why there is no such question. The text says what to ask instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// The text is a Topic Filter.
    #[error("{0}; ask about one topic that a message could be published to, such as sensors/1/temperature")]
    Wildcard(NameError),
    /// The text is no Topic Name.
    #[error("{0}")]
    Topic(NameError),
    /// There is no such QoS.
    #[error("a QoS is 0, 1 or 2")]
    Qos,
    /// No client has it.
    #[error("a Client Identifier has at least one character and at most {CLIENT_ID_BYTES_MAX} bytes")]
    ClientId,
}

/// No string of MQTT is longer.
const CLIENT_ID_BYTES_MAX: usize = 65_535;

impl Question {
    /// A message to `topic`, published at this node with QoS 1 by a client that has no name, and whoever gets it.
    ///
    /// # Errors
    /// Nobody can publish to `topic`, whatever the node.
    pub fn new(topic: &str) -> Result<Self, QuestionError> {
        let topic = TopicName::parse(topic).map_err(|error| match error {
            NameError::Wildcard => QuestionError::Wildcard(error),
            NameError::Empty | NameError::TooLong | NameError::Null => QuestionError::Topic(error),
        })?;
        Ok(Self { topic, qos: Qos::AtLeastOnce, client: None, publisher: None, is_forwarded: false })
    }

    /// Asks whether one client gets it, and about its other subscriptions.
    ///
    /// # Errors
    /// No client can have that name.
    pub fn for_client(self, client: &str) -> Result<Self, QuestionError> {
        let client = ClientId::parse(client, CLIENT_ID_BYTES_MAX).map_err(|_| QuestionError::ClientId)?;
        Ok(Self { client: Some(client), ..self })
    }

    /// Says who publishes: No Local, groups and rewriting may depend on it.
    ///
    /// # Errors
    /// No client can have that name.
    pub fn by_publisher(self, publisher: &str) -> Result<Self, QuestionError> {
        ClientId::parse(publisher, CLIENT_ID_BYTES_MAX).map_err(|_| QuestionError::ClientId)?;
        Ok(Self { publisher: Some(publisher.to_owned()), ..self })
    }

    /// Says at which QoS it is published, by its number.
    ///
    /// # Errors
    /// There is no such QoS.
    pub fn at_qos(self, qos: u8) -> Result<Self, QuestionError> {
        Ok(Self { qos: Qos::from_u8(qos).ok_or(QuestionError::Qos)?, ..self })
    }

    /// The message comes from a peer: it was rewritten there, and goes no further.
    #[must_use]
    pub fn forwarded(self) -> Self {
        Self { is_forwarded: true, ..self }
    }
}

/// What becomes of a topic before anybody's subscription is looked at.
struct Way {
    topic: TopicName,
    delay_seconds: Option<u64>,
    refused: Option<String>,
}

impl Broker {
    /// Answers a question. At most 1,000 subscriptions are looked at one by one, the others are counted.
    #[must_use]
    pub fn explain(&self, now: Instant, question: &Question) -> Explanation {
        let way = self.way(question);
        let topic = way.topic.as_ref();
        let publication = Publication {
            topic,
            payload: &[],
            qos: question.qos,
            retain: false,
            properties: &[],
            expires_at: None,
            publisher: question.publisher.as_deref(),
        };
        let asked = question.client.as_ref().map(|id| (id, self.client(id.as_str())));
        // What nobody can publish has subscribers only when the node itself does.
        let is_published = way.refused.is_none() || topic.as_str().starts_with(SYS_PREFIX);
        let found = match &asked {
            _ if !is_published => Found::default(),
            Some((_, None)) => Found::default(),
            Some((_, Some(client))) => self.subscriptions.explain(&publication, Some(client), LISTED_MAX),
            None => self.subscriptions.explain(&publication, None, LISTED_MAX),
        };
        let (unlisted, copies) = (found.unlisted, Fates::new(self, &publication).of(&found));
        let goes_on = way.refused.is_none() && !question.is_forwarded;
        let nodes = self.cluster.as_ref().filter(|_| goes_on).map(|cluster| cluster.explain(topic));
        let is_other = way.topic != question.topic;
        let explanation = Explanation {
            verdict: String::new(),
            topic: question.topic.as_str().to_owned(),
            published_as: way.refused.is_none().then(|| topic.as_str().to_owned()),
            refused: way.refused,
            delay_seconds: way.delay_seconds,
            qos: question.qos as u8,
            publisher: question.publisher.clone(),
            not_matching: asked
                .as_ref()
                .and_then(|(_, client)| client.as_ref())
                .map(|client| not_matching(client, topic))
                .unwrap_or_default(),
            client: asked.map(|(id, client)| ClientReport {
                id: id.as_str().to_owned(),
                session: client.map(|client| session(&client)),
            }),
            retained: self.retained.get(topic).and_then(|message| {
                // What has expired is collected a moment later.
                let expires_in_seconds = message.remaining_expiry(now).transpose().ok()?;
                let (qos, payload_bytes) = (message.qos() as u8, message.payload().len());
                Some(RetainedReport { qos, payload_bytes, expires_in_seconds })
            }),
            copies,
            unlisted,
            truncated: unlisted > 0,
            nodes: nodes.unwrap_or_default(),
            rewritten: is_other && way.delay_seconds.is_none(),
        };
        explanation.with_verdict()
    }

    /// The way of a message up to the index: as [`Broker::on_packet`] goes it.
    fn way(&self, question: &Question) -> Way {
        let asked = question.topic.clone();
        if question.is_forwarded {
            return Way { topic: asked, delay_seconds: None, refused: None };
        }
        let topic = match self.look_up_rewrite(question.publisher.as_deref(), asked.as_ref()) {
            Ok(rewritten) => rewritten.unwrap_or(asked),
            Err(error) => {
                let refused = format!("a rewrite rule applies and makes no topic: {error}");
                return Way { topic: asked, delay_seconds: None, refused: Some(refused) };
            }
        };
        match self.look_up_destination(topic.as_ref()) {
            Ok(Destination::Now) => Way { topic, delay_seconds: None, refused: None },
            Ok(Destination::Later(delay)) => {
                let delay_seconds = Some(delay.after.as_secs());
                Way { topic: delay.topic.into(), delay_seconds, refused: None }
            }
            Err(reason) => {
                let refused = Some(self.refusal(reason, topic.as_ref()));
                Way { topic, delay_seconds: None, refused }
            }
        }
    }

    fn refusal(&self, reason: ReasonCode, topic: TopicRef<'_>) -> String {
        if reason == ReasonCode::TopicNameInvalid {
            let seconds_max = self.delayed_settings.seconds_max;
            return format!(
                "a delayed message goes to $delayed/SECONDS/TOPIC, with at most {seconds_max} seconds and a topic that does not begin with $"
            );
        }
        if topic.as_str().starts_with(SYS_PREFIX) {
            return "only the node itself publishes below $SYS/, to its own clients".to_owned();
        }
        "clients may not publish to topics that begin with $".to_owned()
    }

    /// The client of this name, if it has a session here.
    pub(super) fn client(&self, id: &str) -> Option<Arc<Client>> {
        let id = ClientId::parse(id, usize::MAX).ok()?;
        self.clients.get(&id).map(|entry| Arc::clone(entry.value()))
    }
}

fn session(client: &Client) -> SessionReport {
    let prospect = client.prospect(Qos::AtMostOnce, 0, &Ahead::default());
    let backlog = prospect.backlog;
    SessionReport {
        connected: prospect.is_connected,
        persistent: prospect.is_persistent,
        subscriptions: client.with_state(|state| state.session.subscriptions().count()),
        queued: backlog.queued,
        queued_max: backlog.queued_max,
        unacknowledged: backlog.unacknowledged,
        unacknowledged_max: backlog.unacknowledged_max,
    }
}

/// The client's subscriptions that do not match, each with the level at which it parts from the topic.
fn not_matching(client: &Client, topic: TopicRef<'_>) -> Vec<NotMatching> {
    let part = |session: &Session| {
        let subscriptions = session.subscriptions();
        let parting = subscriptions.filter_map(|subscription| {
            let why = subscription.filter.filter.mismatch(topic)?.to_string();
            Some(NotMatching { filter: subscription.filter.to_string(), why })
        });
        parting.take(LISTED_MAX).collect()
    };
    client.with_state(|state| part(&state.session))
}
