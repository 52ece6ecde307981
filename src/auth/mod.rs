//! Who may connect.

use crate::codec::ReasonCode;

/// Settings of authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether clients without credentials are taken.
    pub allow_anonymous: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { allow_anonymous: true }
    }
}

/// Decides on each CONNECT.
#[derive(Debug)]
pub struct Authenticator {
    settings: Settings,
}

impl Authenticator {
    /// With no source of credentials, clients are anonymous or refused.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// # Errors
    /// The reason code that refuses the client. Without a source of credentials nobody can be told apart, so
    /// credentials are neither checked nor a way past `allow_anonymous = false`.
    pub fn authenticate(&self, user_name: Option<&str>) -> Result<(), ReasonCode> {
        match (self.settings.allow_anonymous, user_name) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(ReasonCode::BadUserNameOrPassword),
            (false, None) => Err(ReasonCode::NotAuthorized),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_anonymous_access_nobody_enters_unproven() {
        let check = |allow_anonymous, user_name, expected| {
            let authenticator = Authenticator::new(Settings { allow_anonymous });
            assert_eq!(authenticator.authenticate(user_name), expected, "{allow_anonymous} {user_name:?}");
        };
        check(true, None, Ok(()));
        check(true, Some("fin"), Ok(()));
        check(false, None, Err(ReasonCode::NotAuthorized));
        check(false, Some("fin"), Err(ReasonCode::BadUserNameOrPassword));
    }
}
