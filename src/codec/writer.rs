//! Writing packets: each layout is described once and run over two sinks, one that measures and checks, one
//! that writes into space reserved in full. So lengths cannot disagree with bytes, and an error writes nothing.

use super::error::EncodeError;
use super::header::{REMAINING_LENGTH_MAX, varint_len};
use super::property::PropertyId;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;

/// Something that lies in a packet: its body, or the properties in it.
pub(super) trait Layout {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink);
}

/// Where a layout goes.
pub(super) trait Sink: Sized {
    fn raw(&mut self, bytes: &[u8]);
    /// A length-prefixed field.
    fn binary(&mut self, bytes: &[u8]);
    /// A length-prefixed string, checked for U+0000.
    fn string(&mut self, text: &str);
    /// A value up to [`REMAINING_LENGTH_MAX`].
    fn varint(&mut self, value: u32);
    /// The length of `properties` and then they themselves.
    fn properties(&mut self, properties: &impl Layout);

    fn u8(&mut self, value: u8) {
        self.raw(&[value]);
    }
    fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    fn property_u8(&mut self, id: PropertyId, value: Option<u8>) {
        if let Some(value) = value {
            self.raw(&[id as u8, value]);
        }
    }
    fn property_flag(&mut self, id: PropertyId, value: Option<bool>) {
        self.property_u8(id, value.map(u8::from));
    }
    fn property_u16(&mut self, id: PropertyId, value: Option<u16>) {
        if let Some(value) = value {
            self.u8(id as u8);
            self.u16(value);
        }
    }
    fn property_u32(&mut self, id: PropertyId, value: Option<u32>) {
        if let Some(value) = value {
            self.u8(id as u8);
            self.u32(value);
        }
    }
    fn property_string(&mut self, id: PropertyId, value: Option<&str>) {
        if let Some(value) = value {
            self.u8(id as u8);
            self.string(value);
        }
    }
    fn property_binary(&mut self, id: PropertyId, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.u8(id as u8);
            self.binary(value);
        }
    }
    fn property_subscription_id(&mut self, value: u32);
    fn user_properties(&mut self, user: UserProperties<'_>) {
        for (name, value) in user.iter() {
            self.u8(PropertyId::UserProperty as u8);
            self.string(name);
            self.string(value);
        }
    }
}

/// Counts bytes and remembers the first thing that cannot be written.
#[derive(Debug, Default)]
struct Measure {
    len: usize,
    error: Option<EncodeError>,
}

impl Measure {
    fn of(layout: &impl Layout, version: ProtocolVersion) -> Self {
        let mut measure = Self::default();
        layout.lay_out(version, &mut measure);
        measure
    }
}

impl Sink for Measure {
    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
    }

    #[inline]
    fn binary(&mut self, bytes: &[u8]) {
        self.len += 2 + bytes.len();
        if bytes.len() > usize::from(u16::MAX) {
            self.error.get_or_insert(EncodeError::FieldTooLong(bytes.len()));
        }
    }

    #[inline]
    fn string(&mut self, text: &str) {
        self.binary(text.as_bytes());
        if memchr::memchr(0, text.as_bytes()).is_some() {
            self.error.get_or_insert(EncodeError::NulInString);
        }
    }

    #[inline]
    fn varint(&mut self, value: u32) {
        self.len += varint_len(value);
    }

    #[inline]
    fn property_subscription_id(&mut self, value: u32) {
        self.u8(PropertyId::SubscriptionIdentifier as u8);
        self.varint(value);
        if value == 0 || value > REMAINING_LENGTH_MAX {
            let id = PropertyId::SubscriptionIdentifier;
            self.error.get_or_insert(EncodeError::PropertyValue(id, value));
        }
    }

    #[inline]
    fn properties(&mut self, properties: &impl Layout) {
        // Only 5.0 has properties.
        let inner = Self::of(properties, ProtocolVersion::V5);
        // A section too long for its length makes the packet too long, which is found at the end.
        let prefix = u32::try_from(inner.len).unwrap_or(u32::MAX);
        self.len += varint_len(prefix) + inner.len;
        if self.error.is_none() {
            self.error = inner.error;
        }
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn binary(&mut self, bytes: &[u8]) {
        // `Measure` saw these bytes before and let nothing longer pass.
        let len = bytes.len() as u16;
        self.extend_from_slice(&len.to_be_bytes());
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn string(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }

    #[inline]
    fn varint(&mut self, mut value: u32) {
        while value > 0x7F {
            self.push((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    #[inline]
    fn property_subscription_id(&mut self, value: u32) {
        self.push(PropertyId::SubscriptionIdentifier as u8);
        self.varint(value);
    }

    #[inline]
    fn properties(&mut self, properties: &impl Layout) {
        let inner = Measure::of(properties, ProtocolVersion::V5);
        self.varint(inner.len as u32);
        properties.lay_out(ProtocolVersion::V5, self);
    }
}

/// Bytes of a body, if it can be written.
#[inline]
fn body_len(body: &impl Layout, version: ProtocolVersion) -> Result<u32, EncodeError> {
    let Measure { len, error } = Measure::of(body, version);
    if let Some(error) = error {
        return Err(error);
    }
    match u32::try_from(len) {
        Ok(len) if len <= REMAINING_LENGTH_MAX => Ok(len),
        _ => Err(EncodeError::PacketTooLong(len)),
    }
}

/// Bytes of the whole packet with this body.
#[inline]
pub(super) fn packet_len(body: &impl Layout, version: ProtocolVersion) -> Result<usize, EncodeError> {
    let len = body_len(body, version)?;
    Ok(1 + varint_len(len) + len as usize)
}

/// Appends a whole packet to `out`, or nothing.
#[inline]
pub(super) fn write_packet(
    first_byte: u8,
    body: &impl Layout,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let len = body_len(body, version)?;
    out.reserve(1 + varint_len(len) + len as usize);
    out.push(first_byte);
    out.varint(len);
    let start = out.len();
    body.lay_out(version, out);
    debug_assert_eq!(out.len() - start, len as usize, "both sinks run over the same layout");
    Ok(())
}

/// Whether these properties can be written at all.
pub(super) fn check_properties(properties: &impl Layout) -> Result<(), EncodeError> {
    let Measure { len: _, error } = Measure::of(properties, ProtocolVersion::V5);
    error.map_or(Ok(()), Err)
}

/// Properties alone, without the length before them.
pub(super) fn properties_bytes(properties: &impl Layout) -> Result<Vec<u8>, EncodeError> {
    let Measure { len, error } = Measure::of(properties, ProtocolVersion::V5);
    if let Some(error) = error {
        return Err(error);
    }
    let mut out = Vec::with_capacity(len);
    properties.lay_out(ProtocolVersion::V5, &mut out);
    Ok(out)
}
