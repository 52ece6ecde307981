//! The password: what only its user knows.

use std::fmt;

/// Bytes of a password. Longer ones are refused before any work is done for them.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// A password as the UTF-8 bytes that are typed or sent: nothing is normalised (SASLprep is not applied). Shows
/// nothing in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

/// Why bytes are no password here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Zero bytes long.
    #[error("the password is empty")]
    Empty,
    /// Longer than [`PASSWORD_BYTES_MAX`].
    #[error("the password has {0} bytes, the limit is {PASSWORD_BYTES_MAX}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the password is not UTF-8")]
    NotText,
    /// A control character. To the hash behind, zero bytes at the end would not even count.
    #[error("the password has a control character")]
    Control,
}

impl Password {
    /// # Errors
    /// When the bytes cannot be a password.
    pub fn parse(bytes: &[u8]) -> Result<Self, PasswordError> {
        if bytes.is_empty() {
            return Err(PasswordError::Empty);
        }
        if bytes.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PasswordError::NotText)?;
        if text.chars().any(char::is_control) {
            return Err(PasswordError::Control);
        }
        Ok(Self(text.into()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_text_without_control_characters() {
        let check = |bytes: &[u8], expected: Result<(), PasswordError>| {
            assert_eq!(
                Password::parse(bytes).map(|it| assert_eq!(it.as_bytes(), bytes)),
                expected,
                "{bytes:?}"
            );
        };
        check(b"pencil", Ok(()));
        check(" Federkiel, weiß: $1=".as_bytes(), Ok(()));
        check(&[b'x'; 1_024], Ok(()));
        check(b"", Err(PasswordError::Empty));
        check(&[b'x'; 1_025], Err(PasswordError::TooLong(1_025)));
        check(b"pen\xFF", Err(PasswordError::NotText));
        check(b"pencil\0", Err(PasswordError::Control));
        check(b"pencil\n", Err(PasswordError::Control));
        check("pen\u{9f}".as_bytes(), Err(PasswordError::Control));
        assert_eq!(format!("{:?}", Password::parse(b"pencil").unwrap()), "Password(..)");
    }
}
