//! rumqttc's client for 5.

use std::fmt::Debug;
use std::time::Duration;

use ::rumqttc::Outgoing;
use ::rumqttc::v5::mqttbytes::qos;
use ::rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, Filter, LastWill, LastWillProperties, Packet, PublishProperties,
    RetainForwardRule, SubscribeProperties, SubscribeReasonCode,
};
use ::rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};

use super::{Events, News, PACKET_SIZE_MAX, REQUESTS_MAX, Requests, acknowledged};
use crate::job::{Answer, Connect, Publish, Subscribe};
use crate::support::inbox::{Message, Properties};

/// rumqttc has names for reason codes and keeps the numbers to itself.
const CODES: [(&str, u8); 8] = [
    ("Success", 0x00),
    ("NoMatchingSubscribers", 0x10),
    ("NoSubscriptionExisted", 0x11),
    ("Unspecified", 0x80),
    ("BadUserNamePassword", 0x86),
    ("NotAuthorized", 0x87),
    ("SessionTakenOver", 0x8E),
    ("TopicFilterInvalid", 0x8F),
];

fn code(reason: &impl Debug) -> u8 {
    let reason = format!("{reason:?}");
    let found = CODES.iter().find(|(name, _)| *name == reason);
    found.unwrap_or_else(|| panic!("{reason} is not in the table")).1
}

pub(super) fn open(connect: &Connect) -> (Box<dyn Requests>, Loop) {
    let mut options = MqttOptions::new(&connect.client_id, &connect.host, connect.port);
    options.set_keep_alive(Duration::from_secs(connect.keep_alive.into()));
    options.set_clean_start(connect.clean);
    options.set_connect_properties(ConnectProperties {
        session_expiry_interval: connect.session_expiry,
        max_packet_size: Some(PACKET_SIZE_MAX),
        topic_alias_max: connect.topic_aliases,
        ..ConnectProperties::new()
    });
    if let (Some(user), Some(password)) = (connect.user, connect.password) {
        options.set_credentials(user, password);
    }
    if let Some(will) = &connect.will {
        let properties = LastWillProperties {
            delay_interval: will.delay,
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        };
        let level = qos(will.qos).expect("a QoS");
        let will = LastWill::new(will.topic, will.payload.clone(), level, will.retain, Some(properties));
        options.set_last_will(will);
    }
    let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
    (Box::new(client), Loop { events, pubrec: 0 })
}

impl Requests for AsyncClient {
    fn subscribe(&self, subscribe: &Subscribe) -> bool {
        let filter = Filter {
            nolocal: subscribe.no_local,
            preserve_retain: subscribe.retain_as_published,
            retain_forward_rule: match subscribe.retain_handling {
                0 => RetainForwardRule::OnEverySubscribe,
                1 => RetainForwardRule::OnNewSubscribe,
                _ => RetainForwardRule::Never,
            },
            ..Filter::new(&subscribe.filter, qos(subscribe.qos).expect("a QoS"))
        };
        let id = subscribe.subscription_id.map(|id| id as usize);
        let properties = SubscribeProperties { id, user_properties: Vec::new() };
        self.try_subscribe_many_with_properties([filter], properties).is_ok()
    }

    fn unsubscribe(&self, filter: &str) -> bool {
        self.try_unsubscribe(filter).is_ok()
    }

    fn publish(&self, publish: Publish) -> bool {
        let level = qos(publish.qos).expect("a QoS");
        let properties = sent(publish.properties);
        self.try_publish_with_properties(publish.topic, level, publish.retain, publish.payload, properties)
            .is_ok()
    }

    fn disconnect(&self) -> bool {
        self.try_disconnect().is_ok()
    }
}

fn sent(properties: Properties) -> PublishProperties {
    PublishProperties {
        payload_format_indicator: properties.payload_format,
        message_expiry_interval: properties.message_expiry,
        topic_alias: properties.topic_alias,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data.map(Into::into),
        user_properties: properties.user,
        subscription_identifiers: Vec::new(),
        content_type: properties.content_type,
    }
}

fn seen(properties: PublishProperties) -> Properties {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("tests send text");
    let ids = properties.subscription_identifiers;
    Properties {
        payload_format: properties.payload_format_indicator,
        message_expiry: properties.message_expiry_interval,
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data.map(|bytes| text(&bytes)),
        user: properties.user_properties,
        subscription_ids: ids.into_iter().map(|id| u32::try_from(id).expect("28 bits")).collect(),
        topic_alias: properties.topic_alias,
    }
}

pub(super) struct Loop {
    events: EventLoop,
    /// What the last PUBREC said: PUBCOMP completes its flow.
    pubrec: u8,
}

impl Events for Loop {
    async fn next(&mut self) -> News {
        match self.events.poll().await {
            Ok(event) => self.news(event),
            Err(ConnectionError::ConnectionRefused(reason)) => {
                News::Closed(format!("refused: {reason:?}"), Some(code(&reason)))
            }
            Err(ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. })) => {
                News::Closed(format!("disconnected: {reason_code:?}"), Some(code(&reason_code)))
            }
            Err(error) => News::Closed(error.to_string(), None),
        }
    }
}

impl Loop {
    fn news(&mut self, event: Event) -> News {
        match event {
            Event::Incoming(Packet::ConnAck(connack)) => News::Answer(connected(connack)),
            Event::Incoming(Packet::SubAck(suback)) => match &suback.return_codes[0] {
                SubscribeReasonCode::Success(level) => acknowledged(*level as u8),
                refused => acknowledged(code(refused)),
            },
            Event::Incoming(Packet::UnsubAck(unsuback)) => acknowledged(code(&unsuback.reasons[0])),
            Event::Incoming(Packet::PubAck(puback)) => acknowledged(code(&puback.reason)),
            Event::Incoming(Packet::PubRec(pubrec)) => {
                self.pubrec = code(&pubrec.reason);
                if self.pubrec >= 0x80 { acknowledged(self.pubrec) } else { News::Nothing }
            }
            Event::Incoming(Packet::PubComp(_)) => acknowledged(self.pubrec),
            // QoS 0.
            Event::Outgoing(Outgoing::Publish(0)) => News::Answer(Answer::default()),
            Event::Incoming(Packet::Publish(publish)) => News::Message(Message {
                topic: String::from_utf8(publish.topic.to_vec()).expect("a Topic Name is text"),
                payload: publish.payload.to_vec(),
                qos: publish.qos as u8,
                retain: publish.retain,
                properties: publish.properties.map(seen).unwrap_or_default(),
            }),
            Event::Incoming(_) | Event::Outgoing(_) => News::Nothing,
        }
    }
}

fn connected(connack: ConnAck) -> Answer {
    let told = connack.properties;
    Answer {
        session_present: connack.session_present,
        assigned_client_id: told.as_ref().and_then(|told| told.assigned_client_identifier.clone()),
        server_keep_alive: told.as_ref().and_then(|told| told.server_keep_alive),
        ..Answer::default()
    }
}
