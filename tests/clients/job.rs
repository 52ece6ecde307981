//! What a client is asked to do, and what it answers: for drivers in other languages these are lines of JSON, which
//! paho_driver.py describes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize, Serializer};

use crate::support::inbox::Properties;

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Job {
    Connect(Connect),
    Subscribe(Subscribe),
    Unsubscribe { client: String, filter: String },
    Publish(Publish),
    Disconnect { client: String, code: u8 },
    Cut { client: String },
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Connect {
    /// The name by which the test knows the connection.
    pub(crate) client: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) version: &'static str,
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    /// Seconds.
    pub(crate) keep_alive: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) will: Option<Will>,
    /// Seconds; version 5 only, like what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_expiry: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic_aliases: Option<u16>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Will {
    pub(crate) topic: &'static str,
    #[serde(serialize_with = "base64")]
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Seconds; version 5 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delay: Option<u32>,
}

impl Will {
    pub(crate) fn new(topic: &'static str, payload: &str) -> Self {
        Self { topic, payload: payload.into(), qos: 1, retain: false, delay: None }
    }

    pub(crate) fn delay(self, seconds: u32) -> Self {
        Self { delay: Some(seconds), ..self }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Subscribe {
    pub(crate) client: String,
    pub(crate) filter: String,
    pub(crate) qos: u8,
    /// Version 5 only, like what follows.
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subscription_id: Option<u32>,
}

impl Subscribe {
    pub(crate) fn new(client: &str, filter: &str, qos: u8) -> Self {
        Self { client: client.into(), filter: filter.into(), qos, ..Self::default() }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Publish {
    pub(crate) client: String,
    pub(crate) topic: String,
    #[serde(serialize_with = "base64")]
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Properties,
}

impl Publish {
    pub(crate) fn new(client: &str, topic: &str, payload: impl Into<Vec<u8>>, qos: u8) -> Self {
        Self { client: client.into(), topic: topic.into(), payload: payload.into(), qos, ..Self::default() }
    }

    pub(crate) fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    pub(crate) fn with(self, properties: Properties) -> Self {
        Self { properties, ..self }
    }
}

/// What became of a job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    /// Why the job failed.
    pub(crate) error: Option<String>,
    /// The reason code of the server's acknowledgement, where the library tells it.
    pub(crate) code: Option<u8>,
    pub(crate) session_present: bool,
    pub(crate) assigned_client_id: Option<String>,
    pub(crate) server_keep_alive: Option<u16>,
}

fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}
