//! The users that a password file names, and what stands in for those that it does not. Sans-io.
//!
//! One line for each user, `name:SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`. The name may have colons,
//! since nothing behind it looks like the scheme. Lines that are empty or begin with `#` are left alone. One
//! line `:unknown-users:KEY` holds 32 random bytes in Base64: from them come the salts that are shown for names
//! without credentials, the same ones on every node that has the file and after every change of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::user_name::{UserName, UserNameError};
use super::verifier::{Hash, Pattern, SCHEME, Verifier, VerifierError, decode_hash, hmac};

/// Users of one file.
pub const USERS_MAX: usize = 1_000_000;

/// How the line of the key for unknown users begins.
const UNKNOWN_USERS: &str = ":unknown-users:";

/// Who has which password. Shows only how many there are.
pub struct Credentials {
    users: BTreeMap<UserName, Verifier>,
    /// Every user's, for stand-ins to be made after.
    patterns: Vec<Pattern>,
    unknown_users: Hash,
}

/// What a client's claim is checked against, whether the user exists or not.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) name: UserName,
    pub(super) verifier: Verifier,
    /// Whether the verifier is the user's; else it only looks so, and nothing proves it.
    pub(super) is_known: bool,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It has no verifier.
    #[error("expected name:SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")]
    Form,
    /// Its name is none.
    #[error(transparent)]
    UserName(#[from] UserNameError),
    /// Its verifier is none.
    #[error(transparent)]
    Verifier(#[from] VerifierError),
    /// The user has a line already.
    #[error("the user stands in line {0} already")]
    Again(usize),
    /// The key for unknown users is none, or there are two.
    #[error("expected one {UNKNOWN_USERS} with 32 bytes in Base64")]
    UnknownUsers,
    /// One user more than [`USERS_MAX`].
    #[error("more than {USERS_MAX} users")]
    TooMany,
}

/// What a line is.
pub(super) enum Line<'a> {
    /// Empty or a comment.
    Blank,
    /// The key for unknown users.
    UnknownUsers(&'a str),
    /// A user and the verifier's text.
    User(&'a str, &'a str),
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a str) -> Result<Self, LineError> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(Self::Blank);
        }
        if let Some(key) = line.strip_prefix(UNKNOWN_USERS) {
            return Ok(Self::UnknownUsers(key));
        }
        let verifier = line.rfind(SCHEME).ok_or(LineError::Form)?;
        let name = line[..verifier].strip_suffix(':').ok_or(LineError::Form)?;
        Ok(Self::User(name, &line[verifier..]))
    }
}

/// The line of a user.
pub(super) fn user_line(name: &UserName, verifier: &Verifier) -> String {
    format!("{name}:{}", verifier.text())
}

/// The line of the key for unknown users.
pub(super) fn unknown_users_line(key: &[u8; 32]) -> String {
    format!("{UNKNOWN_USERS}{}", BASE64_STANDARD.encode(key))
}

impl Credentials {
    /// Reads a password file's text.
    ///
    /// # Errors
    /// The first line that is wrong, counted from 1.
    pub fn parse(text: &str) -> Result<Self, (usize, LineError)> {
        let mut users: BTreeMap<UserName, (Verifier, usize)> = BTreeMap::new();
        let mut unknown_users = None;
        for (n, line) in text.lines().enumerate().map(|(n, line)| (n + 1, line)) {
            match Line::parse(line).map_err(|error| (n, error))? {
                Line::Blank => {}
                Line::UnknownUsers(key) => {
                    let key = decode_hash(key).filter(|_| unknown_users.is_none());
                    unknown_users = Some(key.ok_or((n, LineError::UnknownUsers))?);
                }
                Line::User(name, verifier) => {
                    let name = UserName::parse(name).map_err(|error| (n, error.into()))?;
                    let verifier = Verifier::parse(verifier).map_err(|error| (n, error.into()))?;
                    if users.len() >= USERS_MAX {
                        return Err((n, LineError::TooMany));
                    }
                    match users.entry(name) {
                        Entry::Occupied(entry) => return Err((n, LineError::Again(entry.get().1))),
                        Entry::Vacant(place) => _ = place.insert((verifier, n)),
                    }
                }
            }
        }
        Ok(Self {
            patterns: users.values().map(|(verifier, _)| verifier.pattern()).collect(),
            users: users.into_iter().map(|(name, (verifier, _))| (name, verifier)).collect(),
            // A file without the key is a secret, too; only that these salts change with it.
            unknown_users: unknown_users.unwrap_or_else(|| Sha256::digest(text).into()),
        })
    }

    /// How many users have credentials.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// What to check a claim against. Costs the same for names that have no credentials.
    pub(super) fn claim(&self, name: UserName) -> Claim {
        let stand_in = Verifier::stand_in(&self.unknown_users, name.as_str(), self.pattern(&name));
        let known = self.users.get(&name);
        Claim { verifier: known.cloned().unwrap_or(stand_in), is_known: known.is_some(), name }
    }

    /// The pattern of a user that `name` picks, so that the mixture of rounds and salt lengths tells nothing.
    fn pattern(&self, name: &UserName) -> Pattern {
        let hash = hmac(&self.unknown_users, &[b"like 0", name.as_str().as_bytes()]);
        let (first, _) = hash.split_first_chunk().expect("a hash has eight bytes");
        let place = u64::from_be_bytes(*first).checked_rem(self.patterns.len() as u64);
        place.map_or_else(Pattern::default, |place| self.patterns[place as usize])
    }
}

impl Claim {
    /// The user, if the proof was right and the user exists.
    pub(super) fn settle(self, is_proven: bool) -> Option<UserName> {
        (is_proven & self.is_known).then_some(self.name)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                            WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    #[test]
    fn each_line_names_a_user() {
        let text = format!("# flock\n\nfin:{VERIFIER}\r\na:b c:{VERIFIER}\nscram:SCRAM-SHA-256$:{VERIFIER}");
        let credentials = Credentials::parse(&text).unwrap();
        assert_eq!(credentials.len(), 3);
        for known in ["fin", "a:b c", "scram:SCRAM-SHA-256$"] {
            let claim = credentials.claim(name(known));
            assert!(claim.is_known, "{known}");
            assert_eq!(claim.verifier.text(), VERIFIER);
        }
        for unknown in ["Fin", "a", "scram"] {
            assert!(!credentials.claim(name(unknown)).is_known, "{unknown}");
        }
        assert!(Credentials::parse("").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let check = |lines: &[&str], line, expected| {
            let text = lines.join("\n").replace("VERIFIER", VERIFIER);
            assert_eq!(Credentials::parse(&text).unwrap_err(), (line, expected), "{text}");
        };
        check(&["fin"], 1, LineError::Form);
        check(&["# x", "", "fin:secret"], 3, LineError::Form);
        check(&["VERIFIER"], 1, LineError::Form);
        check(&["finVERIFIER"], 1, LineError::Form);
        check(&[":VERIFIER"], 1, LineError::UserName(UserNameError::Empty));
        check(&["fin:VERIFIER", "a\tb:VERIFIER"], 2, LineError::UserName(UserNameError::Control));
        check(&["fin:VERIFIER "], 1, LineError::Verifier(VerifierError::Key("ServerKey")));
        check(&["fin:SCRAM-SHA-256$1:"], 1, LineError::Verifier(VerifierError::Form));
        check(&["fin:VERIFIER", "ann:VERIFIER", "fin:VERIFIER"], 3, LineError::Again(1));
        check(&[":unknown-users:abc"], 1, LineError::UnknownUsers);
        let key = unknown_users_line(&[9; 32]);
        check(&[&key, &key], 2, LineError::UnknownUsers);
    }

    /// The salts of names that do not exist must not tell a restart, another node, or a change of the file.
    #[test]
    fn unknown_users_look_the_same_whatever_else_changes() {
        let parse = |text: &str| Credentials::parse(text).unwrap();
        let before = parse(&format!("{}\nfin:{VERIFIER}", unknown_users_line(&[9; 32])));
        let after = parse(&format!("{}\nann:{VERIFIER}\nfin:{VERIFIER}", unknown_users_line(&[9; 32])));
        let other = parse(&format!("{}\nfin:{VERIFIER}", unknown_users_line(&[8; 32])));
        let salt = |credentials: &Credentials, text| credentials.claim(name(text)).verifier.salt().to_vec();
        assert_eq!(salt(&before, "nobody"), salt(&after, "nobody"));
        assert_eq!(salt(&before, "nobody"), salt(&before, "nobody"));
        assert_ne!(salt(&before, "nobody"), salt(&before, "nobodz"));
        assert_ne!(salt(&before, "nobody"), salt(&other, "nobody"));
    }

    #[test]
    fn unknown_users_have_the_rounds_of_known_ones() {
        let text = format!("old:{VERIFIER}\nnew:{}", VERIFIER.replace("4096", "5000"));
        let credentials = Credentials::parse(&text).unwrap();
        let rounds = |n: u32| credentials.claim(name(&format!("nobody{n}"))).verifier.iterations().get();
        let mut seen: Vec<u32> = (0..64).map(rounds).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [4_096, 5_000]);
    }

    #[test]
    fn nobody_proves_to_be_an_unknown_user() {
        let credentials = Credentials::parse("").unwrap();
        assert_eq!(credentials.claim(name("nobody")).settle(true), None);
        assert_eq!(format!("{credentials:?}"), "Credentials { users: 0, .. }");
    }
}
