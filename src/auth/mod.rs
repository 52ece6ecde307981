//! Who may connect.

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

/// Why a client is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Its credentials prove nothing here.
    BadCredentials,
    /// It brought none, and anonymous clients are not taken.
    Anonymous,
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
    /// Why the client is refused. Without a source of credentials nobody can be told apart, so
    /// credentials are neither checked nor a way past `allow_anonymous = false`.
    pub fn authenticate(&self, user_name: Option<&str>) -> Result<(), Denied> {
        match (self.settings.allow_anonymous, user_name) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(Denied::BadCredentials),
            (false, None) => Err(Denied::Anonymous),
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
        check(false, None, Err(Denied::Anonymous));
        check(false, Some("fin"), Err(Denied::BadCredentials));
    }
}
