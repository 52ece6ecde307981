//! What is kept of a password: enough to check it, too little to use it.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::password::Password;

/// Bytes of everything SHA-256 gives.
pub(super) const HASH_BYTES: usize = 32;
pub(super) type Hash = [u8; HASH_BYTES];

/// The salt of a new verifier, in bytes.
pub const SALT_BYTES: usize = 16;
/// Bytes of a salt that somebody else made.
const SALT_BYTES_ALLOWED: RangeInclusive<usize> = 8..=2 * HASH_BYTES;
/// Rounds of a new verifier: a few milliseconds for each guess, and for each CONNECT with a password.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(15_000).expect("not zero");
/// From the least that RFC 7677 allows, to what still ends within about a second.
const ITERATIONS_ALLOWED: RangeInclusive<u32> = 4_096..=2_000_000;

/// How every verifier's text begins.
pub(super) const SCHEME: &str = "SCRAM-SHA-256$";

/// The stored side of SCRAM-SHA-256 (RFC 5802 section 3). Whoever reads it can try passwords, and can pose as
/// this server to the user, so it shows neither salt nor keys in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Box<[u8]>,
    stored_key: Hash,
    server_key: Hash,
}

/// What everybody sees of a verifier beside the salt itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) iterations: NonZeroU32,
    pub(super) salt_len: u8,
}

impl Default for Pattern {
    fn default() -> Self {
        Self { iterations: ITERATIONS, salt_len: SALT_BYTES as u8 }
    }
}

/// What is wrong with a verifier's text; shows nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// A part is missing.
    #[error("expected SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")]
    Form,
    /// Not a number in range.
    #[error(
        "the iterations must be a number from {} to {}",
        ITERATIONS_ALLOWED.start(),
        ITERATIONS_ALLOWED.end()
    )]
    Iterations,
    /// Not Base64 of the right length.
    #[error(
        "the salt must be {} to {} bytes in Base64",
        SALT_BYTES_ALLOWED.start(),
        SALT_BYTES_ALLOWED.end()
    )]
    Salt,
    /// Not Base64 of 32 bytes.
    #[error("{0} must be 32 bytes in Base64")]
    Key(&'static str),
}

impl Verifier {
    /// Makes the verifier of a new password. Takes milliseconds.
    #[must_use]
    pub fn new(password: &Password, salt: &[u8; SALT_BYTES], iterations: NonZeroU32) -> Self {
        let salted = salted_password(password, salt, iterations);
        Self {
            iterations,
            salt: salt[..].into(),
            stored_key: Sha256::digest(hmac(&salted, &[b"Client Key"])).into(),
            server_key: hmac(&salted, &[b"Server Key"]),
        }
    }

    /// Reads what [`Verifier::text`] writes.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let text = text.strip_prefix(SCHEME).ok_or(VerifierError::Form)?;
        let (rounds, keys) = text.split_once('$').ok_or(VerifierError::Form)?;
        let (iterations, salt) = rounds.split_once(':').ok_or(VerifierError::Form)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierError::Form)?;
        let iterations = iterations.parse().map_err(|_| VerifierError::Iterations)?;
        if !ITERATIONS_ALLOWED.contains(&NonZeroU32::get(iterations)) {
            return Err(VerifierError::Iterations);
        }
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| VerifierError::Salt)?;
        if !SALT_BYTES_ALLOWED.contains(&salt.len()) {
            return Err(VerifierError::Salt);
        }
        Ok(Self {
            iterations,
            salt: salt.into(),
            stored_key: decode_hash(stored_key).ok_or(VerifierError::Key("StoredKey"))?,
            server_key: decode_hash(server_key).ok_or(VerifierError::Key("ServerKey"))?,
        })
    }

    /// The verifier's text: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, all but the number in Base64.
    #[must_use]
    pub fn text(&self) -> String {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| BASE64_STANDARD.encode(bytes));
        format!("{SCHEME}{}:{salt}${stored_key}:{server_key}", self.iterations)
    }

    /// A stand-in for a user that does not exist, which looks like `pattern`. The same key and name give the same
    /// stand-in.
    pub(super) fn stand_in(key: &Hash, name: &str, pattern: Pattern) -> Self {
        let parts = [b"salt 0", b"salt 1"].map(|part| hmac(key, &[part, name.as_bytes()]));
        Self {
            iterations: pattern.iterations,
            salt: parts.concat().into_iter().take(usize::from(pattern.salt_len)).collect(),
            stored_key: hmac(key, &[b"stored", name.as_bytes()]),
            server_key: hmac(key, &[b"server", name.as_bytes()]),
        }
    }

    pub(super) fn pattern(&self) -> Pattern {
        // `SALT_BYTES_ALLOWED` ends far below.
        Pattern { iterations: self.iterations, salt_len: self.salt.len() as u8 }
    }

    pub(super) fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Whether this is the password. Takes milliseconds, as many for a wrong one.
    pub(super) fn matches_password(&self, password: &Password) -> bool {
        let salted = salted_password(password, &self.salt, self.iterations);
        let stored_key: Hash = Sha256::digest(hmac(&salted, &[b"Client Key"])).into();
        stored_key.ct_eq(&self.stored_key).into()
    }

    /// Whether the client that sent this proof knows the password.
    pub(super) fn matches_proof(&self, auth_message: &[u8], proof: &Hash) -> bool {
        let signature = hmac(&self.stored_key, &[auth_message]);
        let mut client_key = *proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        let stored_key: Hash = Sha256::digest(client_key).into();
        stored_key.ct_eq(&self.stored_key).into()
    }

    /// What proves to the client that this server has the verifier.
    pub(super) fn server_signature(&self, auth_message: &[u8]) -> Hash {
        hmac(&self.server_key, &[auth_message])
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// `Hi` of RFC 5802.
fn salted_password(password: &Password, salt: &[u8], iterations: NonZeroU32) -> Hash {
    pbkdf2::pbkdf2_hmac_array::<Sha256, HASH_BYTES>(password.as_bytes(), salt, iterations.get())
}

/// HMAC-SHA-256 over the parts in a row.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Hash {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// 32 bytes from Base64.
pub(super) fn decode_hash(text: &str) -> Option<Hash> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3: the salt of its example and, by the formulas of RFC 5802, the keys.
    const RFC: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                       WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn a_password_gives_the_keys_of_the_standard() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let password = |text: &str| Password::parse(text.as_bytes()).unwrap();
        let salt = salt.try_into().unwrap();
        let verifier = Verifier::new(&password("pencil"), &salt, NonZeroU32::new(4096).unwrap());
        assert_eq!(verifier.text(), RFC);
        assert_eq!(Verifier::parse(RFC), Ok(verifier.clone()));
        assert!(verifier.matches_password(&password("pencil")));
        for wrong in ["Pencil", "pencil ", "pencils", "p"] {
            assert!(!verifier.matches_password(&password(wrong)), "{wrong:?}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_whole_verifier_is_refused() {
        let check = |from: &str, to: &str, expected| {
            assert!(RFC.contains(from), "{from:?}");
            assert_eq!(Verifier::parse(&RFC.replace(from, to)).unwrap_err(), expected, "{from:?} as {to:?}");
        };
        check("SCRAM-SHA-256", "SCRAM-SHA-1", VerifierError::Form);
        check("4096:", "4096", VerifierError::Form);
        check("==$", "==", VerifierError::Form);
        check("=:", "=", VerifierError::Form);
        for iterations in ["", "0", "-1", "4095", "2000001", "4294967296", "4096x", " 4096"] {
            check("4096", iterations, VerifierError::Iterations);
        }
        for salt in ["", "YQ==", "W22ZaJ0SNY7soEsUEjb6gQ", "W22ZaJ0SNY7soEsUEjb6g!==", &"YWFh".repeat(22)] {
            check("W22ZaJ0SNY7soEsUEjb6gQ==", salt, VerifierError::Salt);
        }
        check("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", "WG5d", VerifierError::Key("StoredKey"));
        check("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", "wfPL\r", VerifierError::Key("ServerKey"));
    }

    #[test]
    fn a_stand_in_stays_the_same_and_looks_like_the_others() {
        let key = [7; 32];
        let pattern = Pattern { iterations: NonZeroU32::new(5_000).unwrap(), salt_len: 20 };
        let stand_in = Verifier::stand_in(&key, "nobody", pattern);
        assert_eq!(stand_in, Verifier::stand_in(&key, "nobody", pattern));
        assert_eq!(stand_in.pattern(), pattern);
        assert_ne!(stand_in.salt, Verifier::stand_in(&key, "nobodz", pattern).salt);
        assert_ne!(stand_in.salt, Verifier::stand_in(&[8; 32], "nobody", pattern).salt);
        let longest = Pattern { salt_len: *SALT_BYTES_ALLOWED.end() as u8, ..pattern };
        assert_eq!(Verifier::stand_in(&key, "nobody", longest).pattern(), longest);
    }

    #[test]
    fn nothing_secret_shows() {
        let verifier = Verifier::parse(RFC).unwrap();
        assert_eq!(format!("{verifier:?}"), "Verifier { iterations: 4096, .. }");
    }
}
