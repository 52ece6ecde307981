//! A cursor over the body of one packet: every read checks what is left.

use super::error::DecodeError;
use super::header::read_varint;
use super::packet_id::PacketId;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes left.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Everything that is left.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// The packet must end here.
    #[inline]
    pub(super) fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A minimal variable byte integer [MQTT5-1.5.5-1]. Only 5.0 has them inside a packet.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (value, len) = read_varint(self.0)?.ok_or(DecodeError::Truncated)?;
        let last = self.take(len)?.last();
        if len > 1 && last == Some(&0) {
            return Err(DecodeError::VariableByteIntegerNotMinimal);
        }
        Ok(value)
    }

    /// Two bytes of length, then as many bytes.
    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 Encoded String: well-formed, without U+0000 [MQTT5-1.5.4-1] [MQTT5-1.5.4-2]. A byte order
    /// mark stays [MQTT5-1.5.4-3]. Control characters and non-characters, which senders should avoid but
    /// may use, are accepted.
    #[inline]
    pub(super) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        if memchr::memchr(0, bytes).is_some() {
            return Err(DecodeError::NulInString);
        }
        simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::InvalidUtf8)
    }

    #[inline]
    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::PacketIdZero)
    }
}
