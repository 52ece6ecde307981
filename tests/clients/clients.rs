//! Clients of one library and one node for one flow: a script of the flow reads as what happens.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::job::{Answer, Connect, Job, Publish, Subscribe};
use crate::support::PATIENCE;
use crate::support::driver::Driver;
use crate::support::inbox::{Inbox, Message};
use crate::support::mqtt::Version;

/// A client library under test.
pub(crate) trait Library {
    fn run(&mut self, job: Job) -> Answer;

    /// Where its messages arrive, and `closed NAME` when a connection ends.
    fn inbox(&self) -> &Inbox;
}

impl Library for Driver {
    fn run(&mut self, job: Job) -> Answer {
        let answer = self.answer(serde_json::to_value(job).expect("a job is JSON"));
        serde_json::from_value(answer).expect("an answer has the fields of one")
    }

    fn inbox(&self) -> &Inbox {
        &self.inbox
    }
}

/// The clients of one flow. Names begin with the version, so that one library can serve several flows.
pub(crate) struct Clients<'a> {
    library: &'a mut dyn Library,
    pub(crate) version: Version,
    node: SocketAddr,
    /// How many messages the flow has looked at.
    seen: HashMap<String, usize>,
}

impl<'a> Clients<'a> {
    pub(crate) fn new(library: &'a mut dyn Library, version: Version, node: SocketAddr) -> Self {
        Self { library, version, node, seen: HashMap::new() }
    }

    fn name(&self, client: &str) -> String {
        format!("{}-{client}", self.version.name())
    }

    /// A CONNECT with a clean session, for `try_connect`.
    pub(crate) fn clean(&self, client: &str) -> Connect {
        Connect {
            client: client.to_owned(),
            host: self.node.ip().to_string(),
            port: self.node.port(),
            version: self.version.name(),
            client_id: client.to_owned(),
            clean: true,
            keep_alive: 60,
            ..Connect::default()
        }
    }

    /// The same with a session that outlives the connection, in the words of the version.
    pub(crate) fn lasting(&self, client: &str) -> Connect {
        let session_expiry = (self.version == Version::V5).then_some(3_600);
        Connect { clean: false, session_expiry, ..self.clean(client) }
    }

    pub(crate) fn try_connect(&mut self, connect: Connect) -> Answer {
        let client = self.name(&connect.client);
        self.library.run(Job::Connect(Connect { client, ..connect }))
    }

    /// Connects and expects to be accepted.
    #[track_caller]
    pub(crate) fn connect(&mut self, connect: Connect) -> Answer {
        let answer = self.try_connect(connect.clone());
        assert_eq!(answer.error, None, "{connect:?}");
        answer
    }

    /// Connects clients with clean sessions.
    #[track_caller]
    pub(crate) fn start<const N: usize>(&mut self, clients: [&str; N]) {
        for client in clients {
            let answer = self.connect(self.clean(client));
            assert!(!answer.session_present, "{client}: {answer:?}");
        }
    }

    pub(crate) fn try_subscribe(&mut self, subscribe: Subscribe) -> Answer {
        let client = self.name(&subscribe.client);
        self.library.run(Job::Subscribe(Subscribe { client, ..subscribe }))
    }

    /// Subscribes and expects the QoS that it asks for.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, client: &str, filter: &str, qos: u8) {
        self.subscribe_with(Subscribe::new(client, filter, qos));
    }

    /// The same with options.
    #[track_caller]
    pub(crate) fn subscribe_with(&mut self, subscribe: Subscribe) {
        let answer = self.try_subscribe(subscribe.clone());
        assert_eq!((answer.error, answer.code), (None, Some(subscribe.qos)), "{subscribe:?}");
    }

    #[track_caller]
    pub(crate) fn unsubscribe(&mut self, client: &str, filter: &str) -> Answer {
        let job = Job::Unsubscribe { client: self.name(client), filter: filter.to_owned() };
        let answer = self.library.run(job);
        assert_eq!(answer.error, None, "unsubscribing from {filter}");
        answer
    }

    pub(crate) fn try_publish(&mut self, publish: Publish) -> Answer {
        let client = self.name(&publish.client);
        self.library.run(Job::Publish(Publish { client, ..publish }))
    }

    /// Publishes, to the end of the QoS's flow.
    #[track_caller]
    pub(crate) fn publish(&mut self, client: &str, topic: &str, payload: &str, qos: u8) {
        self.publish_with(Publish::new(client, topic, payload, qos));
    }

    /// The same with flags and properties.
    #[track_caller]
    pub(crate) fn publish_with(&mut self, publish: Publish) -> Answer {
        let topic = publish.topic.clone();
        let answer = self.try_publish(publish);
        assert_eq!(answer.error, None, "publishing to {topic}");
        answer
    }

    /// Makes a round trip, so that the library has acknowledged what it has handed on: many do so only afterwards, and
    /// what is not acknowledged would come again in a resumed session.
    #[track_caller]
    pub(crate) fn settle(&mut self, client: &str) {
        self.subscribe(client, "settled", 0);
    }

    #[track_caller]
    pub(crate) fn disconnect(&mut self, client: &str) {
        self.disconnect_with(client, 0);
    }

    #[track_caller]
    pub(crate) fn disconnect_with(&mut self, client: &str, code: u8) {
        let answer = self.library.run(Job::Disconnect { client: self.name(client), code });
        assert_eq!(answer.error, None, "{client} disconnects");
        self.closed(client);
    }

    /// Breaks the connection without a DISCONNECT.
    #[track_caller]
    pub(crate) fn cut(&mut self, client: &str) {
        let answer = self.library.run(Job::Cut { client: self.name(client) });
        assert_eq!(answer.error, None, "{client} breaks its connection");
        self.closed(client);
    }

    /// Waits until the library says that the connection has ended: the reason code of the node's DISCONNECT, if it
    /// sent one.
    #[track_caller]
    pub(crate) fn closed(&mut self, client: &str) -> Option<u8> {
        let event = format!("closed {}", self.name(client));
        let reason = self.library.inbox().event(&event, PATIENCE);
        let reason = reason.unwrap_or_else(|| panic!("{client} does not notice that its connection ended"));
        reason.parse().ok()
    }

    /// The next message of a client, which must come.
    #[track_caller]
    pub(crate) fn next(&mut self, client: &str) -> Message {
        let name = self.name(client);
        let seen = self.seen.entry(client.to_owned()).or_default();
        let messages = self.library.inbox().messages(&name, *seen + 1, PATIENCE);
        let message = messages.into_iter().nth(*seen);
        *seen += 1;
        message.unwrap_or_else(|| panic!("message {seen} of {client} does not come"))
    }

    /// The next messages: topic, payload, QoS, and `retained` where that flag is set.
    #[track_caller]
    pub(crate) fn expect<const N: usize>(&mut self, client: &str, expected: [&str; N]) {
        for (index, line) in expected.into_iter().enumerate() {
            let Message { topic, payload, qos, retain, .. } = self.next(client);
            let payload = String::from_utf8_lossy(&payload);
            let retained = if retain { " retained" } else { "" };
            let seen = format!("{topic} {payload} q{qos}{retained}");
            assert_eq!(seen, line, "message {index} of {expected:?} for {client}");
        }
    }
}
