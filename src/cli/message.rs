//! A message as it arrived, and how it is shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::codec::{PayloadFormat, Publish, PublishProperties, Qos};

/// A message that a subscription brought.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Received {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    /// What travelled with it; empty before MQTT 5.
    pub(super) properties: Map<String, Value>,
}

impl Received {
    pub(super) fn new(publish: &Publish<'_>) -> Self {
        Self {
            topic: publish.topic.to_owned(),
            payload: publish.payload.to_vec(),
            qos: publish.qos,
            retain: publish.retain,
            properties: properties(&publish.properties),
        }
    }

    /// One line of JSON: the payload is `payload` when it is UTF-8 text, else `payload_base64`.
    pub(super) fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("topic".to_owned(), json!(self.topic));
        object.insert("qos".to_owned(), json!(u8::from(self.qos)));
        object.insert("retain".to_owned(), json!(self.retain));
        let (key, payload) = match std::str::from_utf8(&self.payload) {
            Ok(text) => ("payload", text.to_owned()),
            Err(_) => ("payload_base64", STANDARD.encode(&self.payload)),
        };
        object.insert(key.to_owned(), Value::String(payload));
        if !self.properties.is_empty() {
            object.insert("properties".to_owned(), Value::Object(self.properties.clone()));
        }
        Value::Object(object)
    }
}

fn properties(properties: &PublishProperties<'_>) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    put("payload_is_text", properties.payload_format.map(|format| json!(format == PayloadFormat::Utf8)));
    put("message_expiry", properties.message_expiry.map(Value::from));
    put("content_type", properties.content_type.map(Value::from));
    put("response_topic", properties.response_topic.map(Value::from));
    let correlation = properties.correlation_data.map(|data| match std::str::from_utf8(data) {
        Ok(text) => ("correlation_data", Value::from(text)),
        Err(_) => ("correlation_data_base64", Value::from(STANDARD.encode(data))),
    });
    if let Some((key, value)) = correlation {
        put(key, Some(value));
    }
    let ids = &properties.subscription_ids;
    put("subscription_ids", (!ids.is_empty()).then(|| json!(ids.as_slice())));
    // Pairs, because a name may occur more than once and the order counts.
    let user: Vec<(&str, &str)> = properties.user.iter().collect();
    put("user", (!user.is_empty()).then(|| json!(user)));
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_text_where_it_can_be() {
        let check = |payload: &[u8], expected: &str| {
            let received = Received::new(&Publish::new("a/b", payload));
            assert_eq!(received.to_json().to_string(), expected);
        };
        check(b"21.5", r#"{"payload":"21.5","qos":0,"retain":false,"topic":"a/b"}"#);
        check(b"", r#"{"payload":"","qos":0,"retain":false,"topic":"a/b"}"#);
        check(b"\xff\x00", r#"{"payload_base64":"/wA=","qos":0,"retain":false,"topic":"a/b"}"#);
    }

    #[test]
    fn properties_are_shown_with_their_order() {
        let user = [("b", "1"), ("a", "2"), ("b", "3")];
        let mut publish = Publish::new("t", b"x");
        publish.properties.content_type = Some("text/plain");
        publish.properties.correlation_data = Some(b"\xff");
        publish.properties.user = user.as_slice().into();
        assert_eq!(
            Received::new(&publish).to_json()["properties"],
            json!({
                "content_type": "text/plain",
                "correlation_data_base64": "/w==",
                "user": [["b", "1"], ["a", "2"], ["b", "3"]],
            })
        );
    }
}
