//! rumqttc, the Rust client, in this process: its client for 3.1.1 and the one for 5. It sends no codes with
//! DISCONNECT, and leaves topic aliases of the server to its user.

mod v4;
mod v5;

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::sync::oneshot;

use crate::clients::Library;
use crate::job::{Answer, Connect, Job, Publish, Subscribe};
use crate::support::PATIENCE;
use crate::support::inbox::{Inbox, Message};

flows! {
    library: Rumqttc::default(),
    both: [
        a_session_begins_and_goes_on_as_asked,
        only_the_right_password_is_accepted,
        every_qos_passes_in_both_directions,
        a_will_is_published_when_the_connection_breaks,
        retained_messages_are_replayed_replaced_and_cleared,
        a_shared_subscription_divides_its_messages,
        a_resumed_session_gets_what_waited,
        another_connection_of_the_same_client_takes_over,
        an_unsubscribed_filter_brings_nothing,
        half_a_mebibyte_passes_unaltered,
    ],
    v5: [
        properties_pass_unaltered_and_in_order,
        a_message_that_expired_does_not_come,
        a_request_is_answered_at_its_response_topic,
        the_subscription_that_matched_is_told,
        options_of_a_subscription_are_kept,
        a_topic_alias_stands_for_its_topic,
        a_delayed_will_waits,
        codes_of_pubacks_are_seen,
        codes_of_pubrecs_are_seen,
        codes_of_other_answers_are_seen,
        the_servers_keep_alive_is_seen,
        an_assigned_client_identifier_is_seen,
    ]
}

/// Large enough for every packet of these tests; the default is 10 KiB.
const PACKET_SIZE_MAX: u32 = 1 << 20;

/// Requests that wait for the connection's thread: there is never more than one.
const REQUESTS_MAX: usize = 10;

/// All clients of one test.
#[derive(Default)]
struct Rumqttc {
    inbox: Arc<Inbox>,
    connections: HashMap<String, Connection>,
}

/// A connection's own end: its events are served by a thread.
struct Connection {
    requests: Box<dyn Requests>,
    answers: mpsc::Receiver<Answer>,
    cut: oneshot::Sender<()>,
}

/// What the client of either version is asked for; false when it refuses by itself.
trait Requests {
    fn subscribe(&self, subscribe: &Subscribe) -> bool;
    fn unsubscribe(&self, filter: &str) -> bool;
    fn publish(&self, publish: Publish) -> bool;
    fn disconnect(&self) -> bool;
}

/// The event loop of either version.
trait Events: Send + 'static {
    async fn next(&mut self) -> News;
}

/// What an event means for a test.
enum News {
    Nothing,
    Message(Message),
    Answer(Answer),
    /// Why the connection ended, and the code of the CONNACK or DISCONNECT that says so.
    Closed(String, Option<u8>),
}

/// The acknowledgement with a reason code: one of 0x80 or more is an error.
fn acknowledged(code: u8) -> News {
    let error = (code >= 0x80).then(|| format!("refused with {code:#04x}"));
    News::Answer(Answer { error, code: Some(code), ..Answer::default() })
}

impl Rumqttc {
    fn connect(&mut self, connect: &Connect) -> Answer {
        let client = connect.client.clone();
        let connection = if connect.version == "5" {
            let (requests, events) = v5::open(connect);
            self.serve(client.clone(), requests, events)
        } else {
            let (requests, events) = v4::open(connect);
            self.serve(client.clone(), requests, events)
        };
        let answer = connection.wait();
        self.connections.insert(client, connection);
        answer
    }

    fn serve(&self, client: String, requests: Box<dyn Requests>, mut events: impl Events) -> Connection {
        let (answering, answers) = mpsc::channel();
        let (cut, mut is_cut) = oneshot::channel();
        let inbox = Arc::clone(&self.inbox);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let reason = runtime.expect("a runtime").block_on(async {
                loop {
                    let news = tokio::select! {
                        news = events.next() => news,
                        _ = &mut is_cut => return None,
                    };
                    let answer = match news {
                        News::Nothing => continue,
                        News::Message(message) => {
                            inbox.add_message(&client, message);
                            continue;
                        }
                        News::Answer(answer) => answer,
                        News::Closed(error, code) => {
                            let answer = Answer { error: Some(error), code, ..Answer::default() };
                            // Nobody waits for it when the connection ends by itself.
                            let _ = answering.send(answer);
                            return code;
                        }
                    };
                    answering.send(answer).expect("the test waits for answers");
                }
            });
            // Closes the socket.
            drop(events);
            inbox.add_event(format!("closed {client}"), reason.map_or_else(String::new, |n| n.to_string()));
        });
        Connection { requests, answers, cut }
    }
}

impl Library for Rumqttc {
    fn run(&mut self, job: Job) -> Answer {
        match job {
            Job::Connect(connect) => self.connect(&connect),
            Job::Subscribe(subscribe) => {
                self.connections[&subscribe.client].request(|requests| requests.subscribe(&subscribe))
            }
            Job::Unsubscribe { client, filter } => {
                self.connections[&client].request(|requests| requests.unsubscribe(&filter))
            }
            Job::Publish(publish) => {
                self.connections[&publish.client.clone()].request(|requests| requests.publish(publish))
            }
            Job::Disconnect { client, code } => {
                assert_eq!(code, 0, "rumqttc sends no codes");
                assert!(self.connections[&client].requests.disconnect());
                Answer::default()
            }
            Job::Cut { client } => {
                let connection = self.connections.remove(&client).expect("a connected client");
                connection.cut.send(()).expect("the connection is there");
                Answer::default()
            }
        }
    }

    fn inbox(&self) -> &Inbox {
        &self.inbox
    }
}

impl Connection {
    fn request(&self, ask: impl FnOnce(&dyn Requests) -> bool) -> Answer {
        if ask(&*self.requests) {
            return self.wait();
        }
        Answer { error: Some("rumqttc refuses by itself".to_owned()), ..Answer::default() }
    }

    fn wait(&self) -> Answer {
        self.answers.recv_timeout(PATIENCE).expect("rumqttc answers")
    }
}
