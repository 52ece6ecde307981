//! The properties of MQTT 5.0 (section 2.2.2): identifiers and the walk over a section of them.

use std::num::{NonZeroU16, NonZeroU32};

use super::error::DecodeError;
use super::header::PacketType;
use super::reader::Reader;
use super::user_properties::UserProperties;

macro_rules! property_ids {
    ($($name:ident = $id:literal, $kind:ident;)*) => {
        /// A property identifier; the names are the standard's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "the variants are the property names of table 2-4, word for word")]
        pub enum PropertyId {
            $($name = $id,)*
        }

        impl PropertyId {
            /// Every property, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The property with this identifier. All identifiers fit one byte of a variable byte integer.
            #[must_use]
            #[inline]
            pub const fn from_u8(id: u8) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            const fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)*
                }
            }
        }
    };
}

/// The data type of a property's value.
#[derive(Clone, Copy)]
enum Kind {
    Byte,
    TwoBytes,
    FourBytes,
    Varint,
    Text,
    Binary,
    Pair,
}

property_ids! {
    PayloadFormatIndicator = 0x01, Byte;
    MessageExpiryInterval = 0x02, FourBytes;
    ContentType = 0x03, Text;
    ResponseTopic = 0x08, Text;
    CorrelationData = 0x09, Binary;
    SubscriptionIdentifier = 0x0B, Varint;
    SessionExpiryInterval = 0x11, FourBytes;
    AssignedClientIdentifier = 0x12, Text;
    ServerKeepAlive = 0x13, TwoBytes;
    AuthenticationMethod = 0x15, Text;
    AuthenticationData = 0x16, Binary;
    RequestProblemInformation = 0x17, Byte;
    WillDelayInterval = 0x18, FourBytes;
    RequestResponseInformation = 0x19, Byte;
    ResponseInformation = 0x1A, Text;
    ServerReference = 0x1C, Text;
    ReasonString = 0x1F, Text;
    ReceiveMaximum = 0x21, TwoBytes;
    TopicAliasMaximum = 0x22, TwoBytes;
    TopicAlias = 0x23, TwoBytes;
    MaximumQos = 0x24, Byte;
    RetainAvailable = 0x25, Byte;
    UserProperty = 0x26, Pair;
    MaximumPacketSize = 0x27, FourBytes;
    WildcardSubscriptionAvailable = 0x28, Byte;
    SubscriptionIdentifierAvailable = 0x29, Byte;
    SharedSubscriptionAvailable = 0x2A, Byte;
}

impl PropertyId {
    /// A bit of its own; the greatest identifier is 0x2A.
    const fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

/// Walks over the property section of a packet: the packet asks for the next identifier and then reads its
/// value with the method of the right type.
#[derive(Debug)]
pub(super) struct PropertyReader<'a> {
    packet_type: PacketType,
    section: &'a [u8],
    values: Reader<'a>,
    seen: u64,
}

impl<'a> PropertyReader<'a> {
    /// Takes the length and the section from `reader`.
    #[inline]
    pub(super) fn open(reader: &mut Reader<'a>, packet_type: PacketType) -> Result<Self, DecodeError> {
        let len = reader.varint()?;
        Ok(Self::over(reader.take(len as usize)?, packet_type))
    }

    /// Over a section without the length before it.
    #[inline]
    pub(super) const fn over(section: &'a [u8], packet_type: PacketType) -> Self {
        Self { packet_type, section, values: Reader::new(section), seen: 0 }
    }

    /// The next identifier; each but the User Property once only.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<PropertyId>, DecodeError> {
        if self.values.is_empty() {
            return Ok(None);
        }
        let byte = self.values.u8()?;
        let id = PropertyId::from_u8(byte).ok_or(DecodeError::UnknownProperty(byte))?;
        // A PUBLISH has one Subscription Identifier for each subscription that it matched.
        let repeatable = id == PropertyId::UserProperty
            || (id == PropertyId::SubscriptionIdentifier && self.packet_type == PacketType::Publish);
        if self.seen & id.bit() != 0 && !repeatable {
            return Err(DecodeError::DuplicateProperty(id));
        }
        self.seen |= id.bit();
        Ok(Some(id))
    }

    /// Whether one of these was there.
    pub(super) fn has_seen(&self, ids: &[PropertyId]) -> bool {
        ids.iter().any(|id| self.seen & id.bit() != 0)
    }

    /// The whole section.
    pub(super) const fn section(&self) -> &'a [u8] {
        self.section
    }

    /// The User Properties, once all properties have been read.
    pub(super) fn user(&self) -> UserProperties<'a> {
        let has_user = self.seen & PropertyId::UserProperty.bit() != 0;
        if has_user { UserProperties::received(self.section) } else { UserProperties::default() }
    }

    /// The error for a property that this packet does not have.
    #[cold]
    pub(super) const fn not_allowed(&self, id: PropertyId) -> DecodeError {
        DecodeError::PropertyNotAllowed(id, self.packet_type)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.values.u16()
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.values.u32()
    }

    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        self.values.string()
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        self.values.binary()
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self, id: PropertyId) -> Result<bool, DecodeError> {
        match self.values.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::PropertyValue(id, other.into())),
        }
    }

    pub(super) fn nonzero_u16(&mut self, id: PropertyId) -> Result<NonZeroU16, DecodeError> {
        NonZeroU16::new(self.values.u16()?).ok_or(DecodeError::PropertyValue(id, 0))
    }

    pub(super) fn nonzero_u32(&mut self, id: PropertyId) -> Result<NonZeroU32, DecodeError> {
        NonZeroU32::new(self.values.u32()?).ok_or(DecodeError::PropertyValue(id, 0))
    }

    /// A Subscription Identifier: not 0 (section 3.8.2.1.2).
    pub(super) fn subscription_id(&mut self) -> Result<u32, DecodeError> {
        match self.values.varint()? {
            0 => Err(DecodeError::PropertyValue(PropertyId::SubscriptionIdentifier, 0)),
            id => Ok(id),
        }
    }

    /// Checks a User Property; [`PropertyReader::user`] gives them all.
    pub(super) fn user_property(&mut self) -> Result<(), DecodeError> {
        self.values.string()?;
        self.values.string()?;
        Ok(())
    }
}

/// The properties of a checked section one after the other, as (identifier, identifier and value in bytes).
pub(super) fn pieces(section: &[u8]) -> impl Iterator<Item = (PropertyId, &[u8])> {
    let mut rest = section;
    std::iter::from_fn(move || {
        let id = PropertyId::from_u8(*rest.first()?)?;
        let mut reader = Reader::new(rest);
        reader.u8().ok()?;
        match id.kind() {
            Kind::Byte => reader.take(1).map(drop),
            Kind::TwoBytes => reader.take(2).map(drop),
            Kind::FourBytes => reader.take(4).map(drop),
            Kind::Varint => reader.varint().map(drop),
            Kind::Text | Kind::Binary => reader.binary().map(drop),
            Kind::Pair => reader.binary().and_then(|_| reader.binary()).map(drop),
        }
        .ok()?;
        let (piece, after) = rest.split_at(rest.len() - reader.len());
        rest = after;
        Some((id, piece))
    })
}
