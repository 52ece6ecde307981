//! rumqttc's client for 3.1.1.

use std::time::Duration;

use ::rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet,
    SubscribeReasonCode, qos,
};

use super::{Events, News, PACKET_SIZE_MAX, REQUESTS_MAX, Requests, acknowledged};
use crate::job::{Answer, Connect, Publish, Subscribe};
use crate::support::inbox::{Message, Properties};

pub(super) fn open(connect: &Connect) -> (Box<dyn Requests>, Loop) {
    let mut options = MqttOptions::new(&connect.client_id, &connect.host, connect.port);
    options.set_keep_alive(Duration::from_secs(connect.keep_alive.into()));
    options.set_clean_session(connect.clean);
    options.set_max_packet_size(PACKET_SIZE_MAX as usize, PACKET_SIZE_MAX as usize);
    if let (Some(user), Some(password)) = (connect.user, connect.password) {
        options.set_credentials(user, password);
    }
    if let Some(will) = &connect.will {
        let level = qos(will.qos).expect("a QoS");
        options.set_last_will(LastWill::new(will.topic, will.payload.clone(), level, will.retain));
    }
    let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
    (Box::new(client), Loop(events))
}

impl Requests for AsyncClient {
    fn subscribe(&self, subscribe: &Subscribe) -> bool {
        self.try_subscribe(&subscribe.filter, qos(subscribe.qos).expect("a QoS")).is_ok()
    }

    fn unsubscribe(&self, filter: &str) -> bool {
        self.try_unsubscribe(filter).is_ok()
    }

    fn publish(&self, publish: Publish) -> bool {
        let level = qos(publish.qos).expect("a QoS");
        self.try_publish(publish.topic, level, publish.retain, publish.payload).is_ok()
    }

    fn disconnect(&self) -> bool {
        self.try_disconnect().is_ok()
    }
}

pub(super) struct Loop(EventLoop);

impl Events for Loop {
    async fn next(&mut self) -> News {
        match self.0.poll().await {
            Ok(event) => news(event),
            Err(ConnectionError::ConnectionRefused(code)) => {
                News::Closed(format!("refused: {code:?}"), Some(code as u8))
            }
            Err(error) => News::Closed(error.to_string(), None),
        }
    }
}

fn news(event: Event) -> News {
    match event {
        Event::Incoming(Packet::ConnAck(connack)) => {
            News::Answer(Answer { session_present: connack.session_present, ..Answer::default() })
        }
        Event::Incoming(Packet::SubAck(suback)) => match suback.return_codes[0] {
            SubscribeReasonCode::Success(level) => acknowledged(level as u8),
            SubscribeReasonCode::Failure => acknowledged(0x80),
        },
        Event::Incoming(Packet::UnsubAck(_) | Packet::PubAck(_) | Packet::PubComp(_))
        // QoS 0.
        | Event::Outgoing(Outgoing::Publish(0)) => News::Answer(Answer::default()),
        Event::Incoming(Packet::Publish(publish)) => News::Message(Message {
            topic: publish.topic,
            payload: publish.payload.to_vec(),
            qos: publish.qos as u8,
            retain: publish.retain,
            properties: Properties::default(),
        }),
        Event::Incoming(_) | Event::Outgoing(_) => News::Nothing,
    }
}
