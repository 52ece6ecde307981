//! The Client Identifier: the name under which a session is known.

use std::fmt;
use std::sync::Arc;

/// A Client Identifier [MQTT5-3.1.3.1]: not empty, and no longer than the limit it was parsed with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

/// Why a text is no Client Identifier here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientIdError {
    /// Zero bytes long: the caller decides whether the version lets the server assign one.
    #[error("the client identifier is empty")]
    Empty,
    /// Longer than this node allows.
    #[error("the client identifier has {len} bytes, the limit is {max}")]
    TooLong {
        /// Bytes sent.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl ClientId {
    /// `len_max` is in bytes.
    ///
    /// # Errors
    /// When the text is empty or too long.
    pub fn parse(text: &str, len_max: usize) -> Result<Self, ClientIdError> {
        if text.is_empty() {
            return Err(ClientIdError::Empty);
        }
        if text.len() > len_max {
            return Err(ClientIdError::TooLong { len: text.len(), max: len_max });
        }
        Ok(Self(text.into()))
    }

    /// The identifier that the node gives to a client that came without one [MQTT5-3.1.3-6]. The random
    /// number comes from the caller.
    #[must_use]
    pub fn assigned(random: u128) -> Self {
        Self(format!("auto-{random:032x}").into())
    }

    /// The text as the client sent it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::borrow::Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}
