//! UNSUBSCRIBE.

use super::error::{DecodeError, EncodeError};
use super::header::PacketType;
use super::packet_id::PacketId;
use super::property::{PropertyId, PropertyReader};
use super::reader::Reader;
use super::user_properties::UserProperties;
use super::version::ProtocolVersion;
use super::writer::{self, Layout, Sink};

/// An UNSUBSCRIBE packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// User Properties, since 5.0.
    pub user: UserProperties<'a>,
    /// Topic Filters, at least one, their syntax not checked yet.
    pub filters: Vec<&'a str>,
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(version: ProtocolVersion, mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let user = if version.has_properties() {
            decode_properties(PropertyReader::open(&mut reader, PacketType::Unsubscribe)?)?
        } else {
            UserProperties::default()
        };
        // Counted before anything is allocated, so that what does not fit costs nothing.
        let mut count = 0;
        let mut ahead = reader;
        while !ahead.is_empty() {
            ahead.binary()?;
            count += 1;
        }
        if count == 0 {
            return Err(DecodeError::NoTopicFilter(PacketType::Unsubscribe));
        }
        let mut filters = Vec::with_capacity(count);
        while !reader.is_empty() {
            filters.push(reader.string()?);
        }
        Ok(Self { packet_id, user, filters })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is unchanged then.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check()?;
        writer::write_packet(PacketType::Unsubscribe.first_byte(), self, version, out)
    }

    /// Bytes that [`Unsubscribe::encode`] appends.
    ///
    /// # Errors
    /// Those of [`Unsubscribe::encode`].
    pub fn encoded_len(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        self.check()?;
        writer::packet_len(self, version)
    }

    fn check(&self) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            return Err(EncodeError::NoTopicFilter(PacketType::Unsubscribe));
        }
        Ok(())
    }
}

fn decode_properties<'a>(mut section: PropertyReader<'a>) -> Result<UserProperties<'a>, DecodeError> {
    while let Some(id) = section.next()? {
        match id {
            PropertyId::UserProperty => section.user_property()?,
            other => return Err(section.not_allowed(other)),
        }
    }
    Ok(section.user())
}

struct Properties<'a>(UserProperties<'a>);

impl Layout for Properties<'_> {
    fn lay_out(&self, _: ProtocolVersion, sink: &mut impl Sink) {
        sink.user_properties(self.0);
    }
}

impl Layout for Unsubscribe<'_> {
    fn lay_out(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.u16(self.packet_id.get());
        if version.has_properties() {
            sink.properties(&Properties(self.user));
        }
        for filter in &self.filters {
            sink.string(filter);
        }
    }
}
