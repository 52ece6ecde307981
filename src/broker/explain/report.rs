//! The answer to a question about a topic, as it is written in JSON.

use serde::Serialize;

use crate::cluster::Hop;

/// Who would get a message, by which subscription, and why the others would not.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The answer in one line, as this node sees it.
    pub verdict: String,
    /// The Topic Name that was asked about.
    pub topic: String,
    /// The one under which subscribers would get it; none when it would not be published.
    pub published_as: Option<String>,
    /// Whether `[[rewrite]]` gives it another topic.
    pub rewritten: bool,
    /// Why it would not be published.
    pub refused: Option<String>,
    /// After how many seconds it would be.
    pub delay_seconds: Option<u64>,
    /// The QoS of the PUBLISH.
    pub qos: u8,
    /// Client Identifier of the publisher, when that was given.
    pub publisher: Option<String>,
    /// The client that was asked about.
    pub client: Option<ClientReport>,
    /// What is retained for the topic on this node.
    pub retained: Option<RetainedReport>,
    /// Matching subscriptions of this node's clients.
    pub copies: Vec<CopyReport>,
    /// How many matching subscriptions are not listed.
    pub unlisted: usize,
    /// Whether that is any.
    pub truncated: bool,
    /// The asked client's other subscriptions.
    pub not_matching: Vec<NotMatching>,
    /// The other nodes, as this node sees them.
    pub nodes: Vec<Hop>,
}

/// A client that was asked about.
#[derive(Clone, Debug, Serialize)]
pub struct ClientReport {
    /// Its Client Identifier.
    pub id: String,
    /// Its session on this node; none when it has none.
    pub session: Option<SessionReport>,
}

/// A session and what it has to get through.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SessionReport {
    /// Whether the client is connected.
    pub connected: bool,
    /// Whether the session outlives the connection.
    pub persistent: bool,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// Messages in its queue.
    pub queued: usize,
    /// Most of them.
    pub queued_max: usize,
    /// QoS 1 and 2 messages without an acknowledgement.
    pub unacknowledged: usize,
    /// Most of them.
    pub unacknowledged_max: u16,
}

/// A retained message.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RetainedReport {
    /// Its QoS.
    pub qos: u8,
    /// Size of its payload.
    pub payload_bytes: usize,
    /// When it expires, if it does.
    pub expires_in_seconds: Option<u32>,
}

/// One copy, or why there is none, of a client whose subscription matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyReport {
    /// Its Client Identifier.
    pub client: String,
    /// The matching subscriptions that bring this copy.
    pub filters: Vec<String>,
    /// Whether it is connected.
    pub connected: bool,
    /// The QoS of the copy.
    pub qos: u8,
    /// What would become of it.
    pub outcome: Outcome,
    /// The same in one word, for programs; the reason of `flockmq_messages_dropped_total` when it is dropped.
    pub reason: &'static str,
    /// How many older messages would be dropped out of the client's queue to make room for it.
    pub displaced: usize,
    /// What becomes of it in a sentence.
    pub why: String,
}

/// What would become of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It goes to the client at once.
    Sent,
    /// It waits for a client that is connected.
    Waits,
    /// It is kept for a client that is away.
    Kept,
    /// The client does not get it, although its subscription matches.
    Dropped,
    /// Another member of the group gets it.
    PassedOver,
    /// The client's own message, which it does not want back (No Local).
    Own,
}

impl Outcome {
    /// Whether the client gets it, now or later.
    #[must_use]
    pub fn is_got(self) -> bool {
        matches!(self, Self::Sent | Self::Waits | Self::Kept)
    }
}

/// A subscription of the asked client that does not match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotMatching {
    /// The Topic Filter, with what stands in front.
    pub filter: String,
    /// Where the topic parts from it.
    pub why: String,
}

impl Explanation {
    /// Puts the verdict on top of what is known.
    pub(super) fn with_verdict(mut self) -> Self {
        self.verdict = self.judge();
        self
    }

    fn judge(&self) -> String {
        if let Some(refused) = &self.refused {
            return format!("nobody would get it: {refused}");
        }
        let mut parts = vec![self.judge_here()];
        if let Some(seconds) = self.delay_seconds {
            parts.insert(0, format!("in {seconds} s, not now"));
        }
        let names: Vec<&str> =
            self.nodes.iter().filter(|hop| hop.forwarded).map(|hop| hop.name.as_str()).collect();
        if !names.is_empty() {
            parts.push(format!("it would go to {}", names.join(", ")));
        }
        parts.join("; ")
    }

    fn judge_here(&self) -> String {
        if let Some(client) = &self.client {
            return self.judge_client(client);
        }
        let count = |wanted: &dyn Fn(&CopyReport) -> bool| {
            let mut clients: Vec<&str> =
                self.copies.iter().filter(|copy| wanted(copy)).map(|copy| copy.client.as_str()).collect();
            clients.sort_unstable();
            clients.dedup();
            clients.len()
        };
        let got = count(&|copy| copy.outcome.is_got());
        let refused: Vec<&CopyReport> = self
            .copies
            .iter()
            .filter(|copy| matches!(copy.outcome, Outcome::Dropped | Outcome::Own))
            .collect();
        let mut text = match got {
            0 if self.copies.is_empty() => "nobody here would get it: no subscription matches".to_owned(),
            0 => "nobody here would get it".to_owned(),
            1 => "1 client here would get it".to_owned(),
            _ => format!("{got} clients here would get it"),
        };
        let mut reasons: Vec<&str> = refused.iter().map(|copy| copy.reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        if !refused.is_empty() {
            text += &format!("; {} would not: {}", refused.len(), reasons.join(", "));
        }
        if self.unlisted > 0 {
            text += &format!("; {} more subscriptions match and are not listed", self.unlisted);
        }
        text
    }

    fn judge_client(&self, client: &ClientReport) -> String {
        let id = &client.id;
        if client.session.is_none() {
            return format!("{id} has no session here: it never came, or its session has expired");
        }
        let mut own = self.copies.iter().filter(|copy| copy.client == *id);
        match (own.clone().find(|copy| copy.outcome.is_got()), own.next()) {
            (Some(copy), _) => format!("{id} would get it: {}", copy.why),
            (None, Some(copy)) => format!("{id} would not get it: {}", copy.why),
            (None, None) => format!("{id} would not get it: none of its subscriptions matches"),
        }
    }
}
