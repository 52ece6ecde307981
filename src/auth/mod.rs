//! Who may connect: user names with passwords, and authentications in several steps, against one file of
//! credentials. Nothing here waits or knows a packet; the broker carries data in and out.

mod credentials;
mod mechanism;
mod password;
mod password_file;
mod scram;
mod user_name;
mod verifier;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use credentials::{Credentials, LineError, USERS_MAX};
pub use mechanism::{Exchange, Mechanism, RANDOM_BYTES, Step};
pub use password::{PASSWORD_BYTES_MAX, Password, PasswordError};
pub use password_file::{PasswordFile, PasswordFileError};
pub use scram::ScramSha256;
pub use user_name::{USER_NAME_BYTES_MAX, UserName, UserNameError};
pub use verifier::{ITERATIONS, SALT_BYTES, Verifier, VerifierError};

use credentials::Claim;

/// Settings of authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether clients without credentials are taken.
    pub allow_anonymous: bool,
    /// The file with the users' credentials, read once at the start.
    pub password_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { allow_anonymous: true, password_file: None }
    }
}

/// Why a client is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Its credentials prove nothing here.
    BadCredentials,
    /// It brought none, and anonymous clients are not taken.
    Anonymous,
    /// There is no such Authentication Method here.
    UnknownMethod,
}

/// What a CONNECT says about its sender.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// The User Name.
    pub user_name: Option<&'a str>,
    /// The Password.
    pub password: Option<&'a [u8]>,
    /// The Authentication Method. With one, name and password do not count.
    pub method: Option<&'a str>,
}

/// How a client that was not turned away at once is to be proven.
#[derive(Debug)]
pub enum Proof {
    /// Not at all: it enters without a name.
    Anonymous,
    /// By its password.
    Password(PasswordCheck),
    /// By an exchange of this mechanism.
    Exchange(Arc<dyn Mechanism>),
}

/// Decides on each CONNECT.
#[derive(Debug)]
pub struct Authenticator {
    allow_anonymous: bool,
    credentials: Option<Arc<Credentials>>,
    mechanisms: Vec<Arc<dyn Mechanism>>,
}

impl Authenticator {
    /// Reads the credentials. Without a source of credentials, clients are anonymous or refused.
    ///
    /// # Errors
    /// When there is a password file that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, PasswordFileError> {
        let credentials = settings.password_file.as_deref().map(password_file::load).transpose()?;
        Ok(Self::with_credentials(settings.allow_anonymous, credentials))
    }

    /// With credentials from elsewhere.
    #[must_use]
    pub fn with_credentials(allow_anonymous: bool, credentials: Option<Credentials>) -> Self {
        let credentials = credentials.map(Arc::new);
        let scram = credentials.clone().map(|it| Arc::new(ScramSha256::new(it)) as Arc<dyn Mechanism>);
        Self { allow_anonymous, credentials, mechanisms: scram.into_iter().collect() }
    }

    /// How many users have credentials; `None` without a source of them.
    #[must_use]
    pub fn users(&self) -> Option<usize> {
        self.credentials.as_ref().map(|credentials| credentials.len())
    }

    /// The mechanism of this name.
    #[must_use]
    pub fn mechanism(&self, method: &str) -> Option<&Arc<dyn Mechanism>> {
        self.mechanisms.iter().find(|mechanism| mechanism.name() == method)
    }

    /// Begins to decide. Takes no time; the proof may.
    ///
    /// # Errors
    /// Why the client is refused. Without a source of credentials nobody can be told apart, so
    /// credentials are neither checked nor a way past `allow_anonymous = false`.
    pub fn begin(&self, presented: &Presented<'_>) -> Result<Proof, Denied> {
        if let Some(method) = presented.method {
            return self.mechanism(method).cloned().map(Proof::Exchange).ok_or(Denied::UnknownMethod);
        }
        let Some(credentials) = &self.credentials else {
            return match presented.user_name {
                _ if self.allow_anonymous => Ok(Proof::Anonymous),
                Some(_) => Err(Denied::BadCredentials),
                None => Err(Denied::Anonymous),
            };
        };
        match (presented.user_name, presented.password) {
            (None, None) if self.allow_anonymous => Ok(Proof::Anonymous),
            (None, None) => Err(Denied::Anonymous),
            (Some(name), Some(password)) => {
                let name = UserName::parse(name).map_err(|_| Denied::BadCredentials)?;
                let password = Password::parse(password).map_err(|_| Denied::BadCredentials)?;
                Ok(Proof::Password(PasswordCheck { claim: credentials.claim(name), password }))
            }
            (Some(_), None) | (None, Some(_)) => Err(Denied::BadCredentials),
        }
    }
}

/// A password that waits to be checked.
pub struct PasswordCheck {
    claim: Claim,
    password: Password,
}

impl PasswordCheck {
    /// Whose password it is, or `None` when it is not that of the user who was named. Keeps a thread busy for
    /// milliseconds on purpose, just as long for users that do not exist.
    #[must_use]
    pub fn run(self) -> Option<UserName> {
        let is_proven = self.claim.verifier.matches_password(&self.password);
        self.claim.settle(is_proven)
    }
}

/// Without the password.
impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordCheck").field("user", &self.claim.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented<'a>(user_name: Option<&'a str>, password: Option<&'a [u8]>) -> Presented<'a> {
        Presented { user_name, password, method: None }
    }

    #[test]
    fn without_anonymous_access_nobody_enters_unproven() {
        let check = |allow_anonymous, user_name, expected| {
            let authenticator = Authenticator::with_credentials(allow_anonymous, None);
            let proof = authenticator.begin(&presented(user_name, None));
            assert_eq!(proof.map(|proof| format!("{proof:?}")), expected, "{allow_anonymous} {user_name:?}");
        };
        let anonymous = Ok("Anonymous".to_owned());
        check(true, None, anonymous.clone());
        check(true, Some("fin"), anonymous);
        check(false, None, Err(Denied::Anonymous));
        check(false, Some("fin"), Err(Denied::BadCredentials));
    }

    #[test]
    fn with_credentials_a_name_must_be_proven() {
        let password = Password::parse(b"feather").unwrap();
        let fin = Verifier::new(&password, &[1; SALT_BYTES], 4_096.try_into().unwrap());
        let text = format!("fin:{}", fin.text());
        let check =
            |allow_anonymous, user_name, password: Option<&str>, expected: Result<Option<&str>, Denied>| {
                let credentials = Credentials::parse(&text).unwrap();
                let authenticator = Authenticator::with_credentials(allow_anonymous, Some(credentials));
                let user = authenticator.begin(&presented(user_name, password.map(str::as_bytes))).and_then(
                    |proof| match proof {
                        Proof::Anonymous => Ok(None),
                        Proof::Password(check) => check.run().map(Some).ok_or(Denied::BadCredentials),
                        Proof::Exchange(mechanism) => panic!("{mechanism:?}"),
                    },
                );
                let user = user.as_ref().map(|user| user.as_ref().map(UserName::as_str));
                assert_eq!(user, expected.as_ref().copied(), "{allow_anonymous} {user_name:?} {password:?}");
            };
        let bad = || Err(Denied::BadCredentials);
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        for allow_anonymous in [false, true] {
            check(allow_anonymous, Some("fin"), Some("feather"), Ok(Some("fin")));
            check(allow_anonymous, Some("fin"), Some("Feather"), bad());
            check(allow_anonymous, Some("fin"), Some(&long), bad());
            check(allow_anonymous, Some("fin"), Some("feather\0"), bad());
            check(allow_anonymous, Some("fin"), Some(""), bad());
            check(allow_anonymous, Some("fin"), None, bad());
            check(allow_anonymous, Some("ann"), Some("feather"), bad());
            check(allow_anonymous, Some(""), Some("feather"), bad());
            check(allow_anonymous, None, Some("feather"), bad());
        }
        check(true, None, None, Ok(None));
        check(false, None, None, Err(Denied::Anonymous));
    }

    #[test]
    fn a_method_is_known_only_with_a_source() {
        let check = |credentials: Option<&str>, method, is_known| {
            let credentials = credentials.map(|text| Credentials::parse(text).unwrap());
            let authenticator = Authenticator::with_credentials(true, credentials);
            let proof = authenticator.begin(&Presented { method: Some(method), ..Presented::default() });
            let expected = if is_known { None } else { Some(Denied::UnknownMethod) };
            assert_eq!(proof.err(), expected, "{method:?}");
        };
        check(Some(""), "SCRAM-SHA-256", true);
        check(Some(""), "SCRAM-SHA-1", false);
        check(Some(""), "scram-sha-256", false);
        check(Some(""), "", false);
        check(None, "SCRAM-SHA-256", false);
    }

    #[test]
    fn no_password_shows() {
        let credentials = Credentials::parse("").unwrap();
        let authenticator = Authenticator::with_credentials(false, Some(credentials));
        let proof = authenticator.begin(&presented(Some("fin"), Some(b"feather"))).unwrap();
        assert_eq!(format!("{proof:?}"), "Password(PasswordCheck { user: \"fin\", .. })");
    }
}
