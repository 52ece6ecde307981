//! The User Name: who a client proved to be.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Bytes of a User Name.
pub const USER_NAME_BYTES_MAX: usize = 256;

/// A User Name that can have credentials here: its UTF-8 bytes as the client sends them. Names that look alike
/// but are other bytes are other names: nothing is normalised (SASLprep is not applied).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Arc<str>);

/// Why a text is no User Name here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// Zero bytes long.
    #[error("the user name is empty")]
    Empty,
    /// Longer than [`USER_NAME_BYTES_MAX`].
    #[error("the user name has {0} bytes, the limit is {USER_NAME_BYTES_MAX}")]
    TooLong(usize),
    /// A control character, line ends among them.
    #[error("the user name has a control character")]
    Control,
    /// Lines of the password file that begin so mean something else.
    #[error("a user name does not begin with {0:?}")]
    Beginning(char),
}

impl UserName {
    /// # Errors
    /// When the text cannot be a User Name.
    pub fn parse(text: &str) -> Result<Self, UserNameError> {
        if text.len() > USER_NAME_BYTES_MAX {
            return Err(UserNameError::TooLong(text.len()));
        }
        match text.chars().next() {
            None => return Err(UserNameError::Empty),
            Some(first @ ('#' | ':')) => return Err(UserNameError::Beginning(first)),
            Some(_) => {}
        }
        if text.chars().any(char::is_control) {
            return Err(UserNameError::Control);
        }
        Ok(Self(text.into()))
    }

    /// The name as the client sends it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name's text, shared.
    #[must_use]
    pub fn into_text(self) -> Arc<str> {
        self.0
    }
}

impl Borrow<str> for UserName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_text_on_one_line() {
        let check = |text: &str, expected: Result<(), UserNameError>| {
            assert_eq!(
                UserName::parse(text).map(|name| assert_eq!(name.as_str(), text)),
                expected,
                "{text:?}"
            );
        };
        check("fin", Ok(()));
        check("tenant:fin", Ok(()));
        check("a,b=c d", Ok(()));
        check("Jürgen #1", Ok(()));
        check(&"x".repeat(256), Ok(()));
        check("", Err(UserNameError::Empty));
        check(&"x".repeat(257), Err(UserNameError::TooLong(257)));
        check("a\nb", Err(UserNameError::Control));
        check("a\u{7f}", Err(UserNameError::Control));
        check("a\u{85}", Err(UserNameError::Control));
        check("#fin", Err(UserNameError::Beginning('#')));
        check(":fin", Err(UserNameError::Beginning(':')));
    }
}
