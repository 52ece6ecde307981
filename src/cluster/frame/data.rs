//! Frames of the data stream: publishes and their acknowledgements. Laid out by hand, big end first.

use std::time::{Duration, Instant};

use super::{DATA_FRAME_LEN_MAX, FRAME_VERSION, FrameError, HEADER_LEN, LENGTH_LEN, open};
use crate::message::{Expired, Publication, Qos};
use crate::topic::TopicRef;

const PUBLISH: u8 = 0x41;
const ACK: u8 = 0x42;

const FLAG_QOS: u8 = 0b0000_0011;
const FLAG_RETAIN: u8 = 0b0000_0100;
const FLAG_EXPIRY: u8 = 0b0000_1000;
const FLAG_PUBLISHER: u8 = 0b0001_0000;
const FLAGS_KNOWN: u8 = FLAG_QOS | FLAG_RETAIN | FLAG_EXPIRY | FLAG_PUBLISHER;

/// What the data stream of a link carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// One publish, forwarded once and never again.
    Publish(Publish<'a>),
    /// How many publish frames of this link's life the receiver has taken. Cumulative.
    Ack(u64),
}

/// A message between two nodes. Its node and incarnation are those of the link's other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The last part of its message id.
    pub seq: u64,
    /// As published.
    pub qos: Qos,
    /// As published.
    pub retain: bool,
    /// Seconds that are left of the Message Expiry Interval.
    pub expiry: Option<u32>,
    /// The publisher's Client Identifier, for No Local.
    pub publisher: Option<&'a str>,
    /// Where it goes.
    pub topic: TopicRef<'a>,
    /// The forwarded properties in MQTT 5 encoding, without their length. Opaque here: the sender's codec checked them.
    pub properties: &'a [u8],
    /// The application message.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// A publication that leaves at `now` with this number.
    ///
    /// # Errors
    /// When it has expired, so that it is not to be sent [MQTT5-3.3.2-5].
    pub fn new(seq: u64, publication: &Publication<'a>, now: Instant) -> Result<Self, Expired> {
        let &Publication { topic, payload, qos, retain, properties, publisher, .. } = publication;
        let expiry = publication.remaining_expiry(now).transpose()?;
        Ok(Self { seq, qos, retain, expiry, publisher, topic, properties, payload })
    }

    /// The publication that arrived at `now`.
    #[must_use]
    pub fn publication(&self, now: Instant) -> Publication<'a> {
        let &Self { qos, retain, publisher, topic, properties, payload, .. } = self;
        // An instant beyond what the clock can say never comes.
        let expires_at = self.expiry.and_then(|left| now.checked_add(Duration::from_secs(left.into())));
        Publication { topic, payload, qos, retain, properties, expires_at, publisher }
    }

    /// Bytes of the frame.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let expiry = if self.expiry.is_some() { 4 } else { 0 };
        let publisher = self.publisher.map_or(0, |publisher| 2 + publisher.len());
        let texts = 2 + self.topic.as_str().len() + publisher;
        HEADER_LEN + 1 + 8 + expiry + texts + 4 + self.properties.len() + self.payload.len()
    }

    /// Appends the frame in one go.
    ///
    /// # Errors
    /// When it is longer than [`DATA_FRAME_LEN_MAX`] or the publisher's name than 65,535 bytes; `out` is then unchanged.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let len = self.encoded_len();
        let length = u32::try_from(len - LENGTH_LEN).map_err(|_| FrameError::Length(len))?;
        let publisher = self.publisher.map(sized).transpose()?;
        let topic = sized(self.topic.as_str())?;
        let properties_len = u32::try_from(self.properties.len()).map_err(|_| FrameError::Length(len))?;
        if DATA_FRAME_LEN_MAX < len {
            return Err(FrameError::Length(len));
        }

        let mut flags = u8::from(self.qos);
        flags |= if self.retain { FLAG_RETAIN } else { 0 };
        flags |= if self.expiry.is_some() { FLAG_EXPIRY } else { 0 };
        flags |= if publisher.is_some() { FLAG_PUBLISHER } else { 0 };
        out.reserve(len);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&[FRAME_VERSION, PUBLISH, flags]);
        out.extend_from_slice(&self.seq.to_be_bytes());
        if let Some(expiry) = self.expiry {
            out.extend_from_slice(&expiry.to_be_bytes());
        }
        for (len, text) in publisher.into_iter().chain([topic]) {
            out.extend_from_slice(&len);
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&properties_len.to_be_bytes());
        out.extend_from_slice(self.properties);
        out.extend_from_slice(self.payload);
        Ok(())
    }
}

fn sized(text: &str) -> Result<([u8; 2], &str), FrameError> {
    let len = u16::try_from(text.len()).map_err(|_| FrameError::Length(text.len()))?;
    Ok((len.to_be_bytes(), text))
}

/// Appends the acknowledgement of the first `count` publish frames of the link's life.
pub fn encode_data_ack(count: u64, out: &mut Vec<u8>) {
    const LENGTH: u32 = (HEADER_LEN - LENGTH_LEN + size_of::<u64>()) as u32;
    out.extend_from_slice(&LENGTH.to_be_bytes());
    out.extend_from_slice(&[FRAME_VERSION, ACK]);
    out.extend_from_slice(&count.to_be_bytes());
}

/// Reads exactly one frame of the data stream, without copying.
///
/// # Errors
/// The peer's fault, whatever it is: the link is to be closed.
pub fn decode_data(frame: &[u8]) -> Result<Data<'_>, FrameError> {
    let (kind, body) = open(frame, DATA_FRAME_LEN_MAX)?;
    match kind {
        PUBLISH => decode_publish(Reader(body)).map(Data::Publish),
        ACK => {
            let mut reader = Reader(body);
            let count = reader.u64()?;
            if !reader.0.is_empty() {
                return Err(FrameError::Body("followed by something"));
            }
            Ok(Data::Ack(count))
        }
        _ => Err(FrameError::Kind(kind)),
    }
}

fn decode_publish(mut reader: Reader<'_>) -> Result<Publish<'_>, FrameError> {
    let [flags] = reader.array()?;
    if flags & !FLAGS_KNOWN != 0 {
        return Err(FrameError::Body("publish flags"));
    }
    let qos = Qos::from_u8(flags & FLAG_QOS).ok_or(FrameError::Body("quality of service"))?;
    let seq = reader.u64()?;
    let expiry = if flags & FLAG_EXPIRY != 0 { Some(reader.u32()?) } else { None };
    let publisher = if flags & FLAG_PUBLISHER != 0 { Some(reader.text()?) } else { None };
    let topic = TopicRef::parse(reader.text()?).map_err(|_| FrameError::Body("topic name"))?;
    let properties_len = reader.u32()? as usize;
    let properties = reader.take(properties_len)?;
    let retain = flags & FLAG_RETAIN != 0;
    Ok(Publish { seq, qos, retain, expiry, publisher, topic, properties, payload: reader.0 })
}

/// What is left of a body.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(FrameError::Body("cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(FrameError::Body("cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Result<&'a str, FrameError> {
        let len = u16::from_be_bytes(self.array()?);
        let bytes = self.take(usize::from(len))?;
        simdutf8::basic::from_utf8(bytes).map_err(|_| FrameError::Body("text is not UTF-8"))
    }
}
