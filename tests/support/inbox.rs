//! What a real client program has received so far, filled by the thread that reads its output.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The PUBLISH properties that travel with a message (MQTT 5, section 3.3.2.3). Empty for MQTT 3.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Properties {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_format: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message_expiry: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_data: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) user: Vec<(String, String)>,
    /// Set by the server: the identifiers of the subscriptions that brought the message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscription_ids: Vec<u32>,
    /// Of this connection only, in either direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic_alias: Option<u16>,
}

impl Properties {
    /// One of each, so that a lost or altered property shows.
    pub(crate) fn one_of_each(mark: &str) -> Self {
        Self {
            payload_format: Some(1),
            message_expiry: Some(1_000),
            content_type: Some("text/plain".into()),
            response_topic: Some(format!("answers/{mark}")),
            correlation_data: Some(format!("call-{mark}")),
            user: vec![("colour".into(), "grün".into()), ("mark".into(), mark.into())],
            ..Self::default()
        }
    }

    /// Whether `seen` is what a receiver may see of `self`: everything unaltered, the Message Expiry Interval
    /// counted down by the time that the message waited in the server [MQTT5-3.3.2-6].
    pub(crate) fn arrived_as(&self, seen: &Self) -> bool {
        let expiry_fits = match (self.message_expiry, seen.message_expiry) {
            (Some(sent), Some(left)) => left <= sent && sent - left <= 60,
            (sent, left) => sent == left,
        };
        let without_expiry = |properties: &Self| Self { message_expiry: None, ..properties.clone() };
        expiry_fits && without_expiry(self) == without_expiry(seen)
    }
}

/// An application message as a client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Properties,
}

#[derive(Default)]
struct State {
    messages: HashMap<String, Vec<Message>>,
    /// Other things that happened, such as an answer to a job: word -> detail.
    events: HashMap<String, String>,
    /// Set when the program's output ended.
    ended: bool,
}

/// Messages and events by name, with waiting.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

impl Inbox {
    pub(crate) fn add_message(&self, client: &str, message: Message) {
        let mut state = self.state.lock().unwrap();
        state.messages.entry(client.to_owned()).or_default().push(message);
        self.changed.notify_all();
    }

    pub(crate) fn add_event(&self, name: String, detail: String) {
        self.state.lock().unwrap().events.insert(name, detail);
        self.changed.notify_all();
    }

    pub(crate) fn end(&self) {
        self.state.lock().unwrap().ended = true;
        self.changed.notify_all();
    }

    /// All that the client received, once it is `count` messages or more, or `limit` has passed.
    pub(crate) fn messages(&self, client: &str, count: usize, limit: Duration) -> Vec<Message> {
        let state = self.state.lock().unwrap();
        let received = |state: &State| state.messages.get(client).map_or(0, Vec::len);
        let (state, _) =
            self.changed.wait_timeout_while(state, limit, |s| received(s) < count && !s.ended).unwrap();
        state.messages.get(client).cloned().unwrap_or_default()
    }

    /// Takes the event out when it comes within `limit`.
    pub(crate) fn event(&self, name: &str, limit: Duration) -> Option<String> {
        let state = self.state.lock().unwrap();
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, limit, |s| !s.events.contains_key(name) && !s.ended)
            .unwrap();
        state.events.remove(name)
    }
}
