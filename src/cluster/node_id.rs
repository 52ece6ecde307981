//! Who a node is: random, made at its first start, kept for its life. Names and addresses may change, this may not.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// Hex digits of the text form.
const DIGITS: usize = 32;
/// Hex digits of the short form.
const SHORT_DIGITS: usize = 8;

/// 128 random bits that name one node. Text form: exactly 32 hex digits; binary form: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u128);

/// The text is not 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a node id is {DIGITS} hex digits")]
pub struct NodeIdError;

impl NodeId {
    /// The node whose random bits these are.
    #[must_use]
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The first eight hex digits: enough to tell nodes apart in logs and metrics.
    #[must_use]
    pub fn short(self) -> String {
        let mut text = self.to_string();
        text.truncate(SHORT_DIGITS);
        text
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.short())
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        // `from_str_radix` would also take a sign and fewer digits.
        let is_hex = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return Err(NodeIdError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| NodeIdError)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        self.0.to_be_bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return text.parse().map_err(de::Error::custom);
        }
        <[u8; 16]>::deserialize(deserializer).map(u128::from_be_bytes).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_parse(text: &str, expected: Result<u128, NodeIdError>) {
        assert_eq!(text.parse::<NodeId>().map(NodeId::as_u128), expected, "{text:?}");
    }

    #[test]
    fn text_is_exactly_32_hex_digits() {
        check_parse("00000000000000000000000000000001", Ok(1));
        check_parse("ffffffffffffffffffffffffffffffff", Ok(u128::MAX));
        check_parse("FFffffffffffffffffffffffffffffff", Ok(u128::MAX));
        check_parse("", Err(NodeIdError));
        check_parse("0000000000000000000000000000001", Err(NodeIdError));
        check_parse("000000000000000000000000000000001", Err(NodeIdError));
        check_parse("+0000000000000000000000000000001", Err(NodeIdError));
        check_parse("g0000000000000000000000000000001", Err(NodeIdError));
        check_parse("ä0000000000000000000000000000000", Err(NodeIdError));
    }

    #[test]
    fn every_form_comes_back() {
        let id = NodeId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "01234567");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"0123456789abcdef0123456789abcdef\"");
        assert_eq!(serde_json::from_str::<NodeId>(&json).unwrap(), id);
        let bytes = postcard::to_stdvec(&id).unwrap();
        assert_eq!(bytes, id.as_u128().to_be_bytes());
        assert_eq!(postcard::from_bytes::<NodeId>(&bytes).unwrap(), id);
    }
}
