//! Packets as bytes, made without the broker's codec, right or wrong as a test wants them.

/// MQTT protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V31,
    V311,
    V5,
}

pub(crate) use Version::{V5, V31, V311};

pub(crate) const CONNECT: u8 = 0x10;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const SUBSCRIBE: u8 = 0x82;
pub(crate) const UNSUBSCRIBE: u8 = 0xA2;
pub(crate) const DISCONNECT: u8 = 0xE0;
pub(crate) const AUTH: u8 = 0xF0;

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7F {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("a field of at most 65,535 bytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_binary(out, text.as_bytes());
}

/// A property section with its length; nothing before version 5.
pub(crate) fn put_properties(out: &mut Vec<u8>, version: Version, properties: &[u8]) {
    if version == V5 {
        put_varint(out, properties.len());
        out.extend_from_slice(properties);
    }
}

/// A text with its length.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, text);
    out
}

/// A whole packet from its first byte and what follows the Remaining Length.
pub(crate) fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first_byte];
    put_varint(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

/// The parts of a Will.
#[derive(Clone, Debug)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<u8>,
}

impl Will {
    pub(crate) fn new(topic: &str, payload: &str, qos: u8) -> Self {
        let (topic, payload) = (topic.to_owned(), payload.as_bytes().to_vec());
        Self { topic, payload, qos, retain: false, properties: Vec::new() }
    }

    pub(crate) fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    pub(crate) fn property(mut self, property: Vec<u8>) -> Self {
        self.properties.extend(property);
        self
    }
}

/// A CONNECT in the making.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) properties: Vec<u8>,
    pub(crate) will: Option<Will>,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
}

impl Connect {
    /// A clean session without keep alive.
    pub(crate) fn new(version: Version, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            clean: true,
            keep_alive: 0,
            properties: Vec::new(),
            will: None,
            user_name: None,
            password: None,
        }
    }

    /// A session that goes on for an hour (5.0) or for ever.
    pub(crate) fn lasting(version: Version, client_id: &str) -> Self {
        let connect = Self { clean: false, ..Self::new(version, client_id) };
        if version == V5 {
            connect.property(super::property::four(super::property::SESSION_EXPIRY, 3_600))
        } else {
            connect
        }
    }

    pub(crate) fn clean(self, clean: bool) -> Self {
        Self { clean, ..self }
    }

    pub(crate) fn keep_alive(self, seconds: u16) -> Self {
        Self { keep_alive: seconds, ..self }
    }

    pub(crate) fn property(mut self, property: Vec<u8>) -> Self {
        self.properties.extend(property);
        self
    }

    pub(crate) fn will(self, will: Will) -> Self {
        Self { will: Some(will), ..self }
    }

    pub(crate) fn user_name(self, name: &str) -> Self {
        Self { user_name: Some(name.to_owned()), ..self }
    }

    pub(crate) fn password(self, password: &[u8]) -> Self {
        Self { password: Some(password.to_vec()), ..self }
    }

    /// The connect flags that belong to the parts.
    pub(crate) fn flags(&self) -> u8 {
        let will = self.will.as_ref().map_or(0, |will| 0x04 | will.qos << 3 | u8::from(will.retain) << 5);
        will | u8::from(self.clean) << 1
            | u8::from(self.password.is_some()) << 6
            | u8::from(self.user_name.is_some()) << 7
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_with_flags(self.flags())
    }

    /// The packet with other flags than its parts call for.
    pub(crate) fn bytes_with_flags(&self, flags: u8) -> Vec<u8> {
        let (name, level) = match self.version {
            V31 => ("MQIsdp", 3),
            V311 => ("MQTT", 4),
            V5 => ("MQTT", 5),
        };
        packet(CONNECT, &self.body(&text(name), level, flags))
    }

    pub(crate) fn body(&self, protocol_name: &[u8], level: u8, flags: u8) -> Vec<u8> {
        let mut body = protocol_name.to_vec();
        body.push(level);
        body.push(flags);
        body.extend_from_slice(&self.keep_alive.to_be_bytes());
        put_properties(&mut body, self.version, &self.properties);
        put_text(&mut body, &self.client_id);
        if let Some(will) = &self.will {
            put_properties(&mut body, self.version, &will.properties);
            put_text(&mut body, &will.topic);
            put_binary(&mut body, &will.payload);
        }
        if let Some(name) = &self.user_name {
            put_text(&mut body, name);
        }
        if let Some(password) = &self.password {
            put_binary(&mut body, password);
        }
        body
    }
}

/// A PUBLISH in the making.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) packet_id: u16,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<u8>,
}

impl Publish {
    pub(crate) fn new(topic: &str, payload: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            qos: 0,
            packet_id: 0,
            dup: false,
            retain: false,
            properties: Vec::new(),
        }
    }

    pub(crate) fn qos(self, qos: u8, packet_id: u16) -> Self {
        Self { qos, packet_id, ..self }
    }

    pub(crate) fn dup(self) -> Self {
        Self { dup: true, ..self }
    }

    pub(crate) fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    pub(crate) fn property(mut self, property: Vec<u8>) -> Self {
        self.properties.extend(property);
        self
    }

    pub(crate) fn bytes(&self, version: Version) -> Vec<u8> {
        let mut body = text(&self.topic);
        if self.qos > 0 {
            body.extend_from_slice(&self.packet_id.to_be_bytes());
        }
        put_properties(&mut body, version, &self.properties);
        body.extend_from_slice(&self.payload);
        packet(PUBLISH | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP in its shortest form.
pub(crate) fn acknowledgement(first_byte: u8, packet_id: u16) -> Vec<u8> {
    packet(first_byte, &packet_id.to_be_bytes())
}

/// The same with a reason code: version 5.
pub(crate) fn acknowledgement_with(first_byte: u8, packet_id: u16, reason: u8) -> Vec<u8> {
    packet(first_byte, &[&packet_id.to_be_bytes()[..], &[reason]].concat())
}

/// SUBSCRIBE with filters and their option bytes.
pub(crate) fn subscribe(
    version: Version,
    packet_id: u16,
    properties: &[u8],
    filters: &[(&str, u8)],
) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    put_properties(&mut body, version, properties);
    for (filter, options) in filters {
        put_text(&mut body, filter);
        body.push(*options);
    }
    packet(SUBSCRIBE, &body)
}

pub(crate) fn unsubscribe(version: Version, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    put_properties(&mut body, version, &[]);
    filters.iter().for_each(|filter| put_text(&mut body, filter));
    packet(UNSUBSCRIBE, &body)
}

/// DISCONNECT of version 5 with a reason code and properties.
pub(crate) fn disconnect(reason: u8, properties: &[u8]) -> Vec<u8> {
    let mut body = vec![reason];
    put_properties(&mut body, V5, properties);
    packet(DISCONNECT, &body)
}
