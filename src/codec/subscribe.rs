//! SUBSCRIBE.

use super::error::{DecodeError, EncodeError};
use super::header::PacketType;
use super::packet_id::PacketId;
use super::property::{PropertyId, PropertyReader};
use super::qos::Qos;
use super::reader::Reader;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::writer::{self, Layout, Sink};

/// A SUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// Subscription Identifier, 1 to 268,435,455, since 5.0.
    pub subscription_id: Option<u32>,
    /// User Properties, since 5.0.
    pub user: UserProperties<'a>,
    /// At least one.
    pub filters: Vec<SubscribeFilter<'a>>,
}

/// One entry of SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// Topic Filter, its syntax not checked yet.
    pub filter: &'a str,
    /// How to deliver what matches.
    pub options: SubscribeOptions,
}

/// Subscription Options; 3.x has the QoS only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// The greatest QoS to deliver with.
    pub qos: Qos,
    /// No Local: not what this client itself publishes.
    pub no_local: bool,
    /// Retain As Published: the retain flag stays as the publisher set it.
    pub retain_as_published: bool,
    /// Retain Handling.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent for a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    SendAlways = 0,
    /// Only when the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

const QOS: u8 = 0b0000_0011;
const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const RETAIN_HANDLING: u8 = 0b0011_0000;

impl<'a> Subscribe<'a> {
    pub(super) fn decode(version: ProtocolVersion, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let (subscription_id, user) = if version.has_properties() {
            decode_properties(PropertyReader::open(&mut reader, PacketType::Subscribe)?)?
        } else {
            (None, UserProperties::default())
        };
        // Counted before anything is allocated, so that what does not fit costs nothing.
        let mut count = 0;
        let mut ahead = reader;
        while !ahead.is_empty() {
            ahead.binary()?;
            ahead.u8()?;
            count += 1;
        }
        if count == 0 {
            return Err(DecodeError::NoTopicFilter(PacketType::Subscribe));
        }
        let mut filters = Vec::with_capacity(count);
        while !reader.is_empty() {
            let filter = reader.string()?;
            let options = SubscribeOptions::decode(version, reader.u8()?)?;
            filters.push(SubscribeFilter { filter, options });
        }
        Ok(Self { packet_id, subscription_id, user, filters })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        writer::write_packet(PacketType::Subscribe.first_byte(), self, version, out)
    }

    /// Bytes that [`Subscribe::encode`] appends.
    ///
    /// # Errors
    /// Those of [`Subscribe::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check()?;
        writer::packet_len(self, version)
    }

    fn check(&self) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            return Err(EncodeError::NoTopicFilter(PacketType::Subscribe));
        }
        Ok(())
    }
}

fn decode_properties<'a>(
    mut section: PropertyReader<'a>,
) -> Result<(Option<u32>, UserProperties<'a>), DecodeError> {
    let mut subscription_id = None;
    while let Some(id) = section.next()? {
        match id {
            PropertyId::SubscriptionIdentifier => subscription_id = Some(section.subscription_id()?),
            PropertyId::UserProperty => section.user_property()?,
            other => return Err(section.not_allowed(other)),
        }
    }
    Ok((subscription_id, section.user()))
}

impl SubscribeOptions {
    /// Options that ask for this QoS and for nothing else, as in 3.x.
    #[must_use]
    pub fn with_qos(qos: Qos) -> Self {
        Self { qos, ..Self::default() }
    }

    fn decode(version: ProtocolVersion, byte: u8) -> Result<Self, DecodeError> {
        let known = if version.has_properties() {
            QOS | NO_LOCAL | RETAIN_AS_PUBLISHED | RETAIN_HANDLING
        } else {
            QOS
        };
        if byte & !known != 0 {
            return Err(DecodeError::ReservedSubscriptionOptions);
        }
        let retain_handling = match (byte & RETAIN_HANDLING) >> RETAIN_HANDLING_SHIFT {
            0 => RetainHandling::SendAlways,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::RetainHandling3),
        };
        Ok(Self {
            qos: Qos::from_u8(byte & QOS).ok_or(DecodeError::SubscriptionQos3)?,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling,
        })
    }

    fn byte(self, version: ProtocolVersion) -> u8 {
        let qos = u8::from(self.qos);
        if !version.has_properties() {
            return qos;
        }
        let no_local = if self.no_local { NO_LOCAL } else { 0 };
        let retain_as_published = if self.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
        qos | no_local | retain_as_published | ((self.retain_handling as u8) << RETAIN_HANDLING_SHIFT)
    }
}

struct Properties<'a> {
    subscription_id: Option<u32>,
    user: UserProperties<'a>,
}

impl Layout for Properties<'_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        if let Some(id) = self.subscription_id {
            sink.property_subscription_id(id);
        }
        sink.user_properties(self.user);
    }
}

impl Layout for Subscribe<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.u16(self.packet_id.get());
        if version.has_properties() {
            sink.properties(&Properties { subscription_id: self.subscription_id, user: self.user });
        }
        for SubscribeFilter { filter, options } in &self.filters {
            sink.string(filter);
            sink.u8(options.byte(version));
        }
    }
}
