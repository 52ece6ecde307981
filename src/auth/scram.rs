//! SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677): both sides prove that they know the password, and
//! whoever listens learns nothing that helps.
//!
//! Names and passwords are taken as the UTF-8 bytes that are sent: SASLprep is not applied. Channel binding
//! is not offered. A user without credentials gets an exchange like any other, which fails at its end.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::credentials::{Claim, Credentials};
use super::mechanism::{Exchange, Mechanism, RANDOM_BYTES, Step};
use super::user_name::UserName;
use super::verifier::decode_hash;

/// Bytes of one message from a client: both hold its nonce, and the first its name.
const MESSAGE_BYTES_MAX: usize = 2_048;

/// The mechanism with the credentials that it checks against.
#[derive(Debug)]
pub struct ScramSha256 {
    credentials: Arc<Credentials>,
}

impl ScramSha256 {
    /// The Authentication Method.
    pub const NAME: &'static str = "SCRAM-SHA-256";

    /// Checks against `credentials`.
    #[must_use]
    pub fn new(credentials: Arc<Credentials>) -> Self {
        Self { credentials }
    }
}

impl Mechanism for ScramSha256 {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn start(&self, random: [u8; RANDOM_BYTES]) -> Box<dyn Exchange> {
        // Base64 has no comma, so it is a nonce as it is.
        let nonce = BASE64_STANDARD.encode(random);
        Box::new(Server { credentials: Arc::clone(&self.credentials), state: State::First { nonce } })
    }
}

/// One exchange.
struct Server {
    credentials: Arc<Credentials>,
    state: State,
}

enum State {
    /// The client's first message is awaited; `nonce` is our part.
    First { nonce: String },
    /// The client's proof is awaited.
    Final(Box<Challenge>),
    /// Nothing is.
    Over,
}

/// What the client's final message has to fit.
struct Challenge {
    claim: Claim,
    /// `c=` and the client's GS2 header in Base64.
    binding: String,
    /// `r=` and both nonces.
    nonce: String,
    /// client-first-message-bare, server-first-message: the AuthMessage as far as it has come.
    messages: String,
}

impl Exchange for Server {
    fn step(&mut self, data: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        let text = std::str::from_utf8(data).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX);
        let Some(text) = text else { return Step::Denied };
        match state {
            State::First { nonce } => {
                let Some(challenge) = Challenge::new(text, &nonce, &self.credentials) else {
                    return Step::Denied;
                };
                let message = challenge.server_first();
                self.state = State::Final(Box::new(challenge));
                Step::Continue(message.into_bytes())
            }
            State::Final(challenge) => challenge.finish(text).unwrap_or(Step::Denied),
            State::Over => Step::Denied,
        }
    }
}

impl Challenge {
    /// Takes the client-first-message.
    fn new(message: &str, server_nonce: &str, credentials: &Credentials) -> Option<Self> {
        // gs2-cbind-flag "," [ authzid ] "," client-first-message-bare
        let (flag, rest) = message.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        // "y" is a client that could bind and believes that we cannot, in which it is right.
        if !matches!(flag, "n" | "y") {
            return None;
        }
        let mut attributes = bare.split(',');
        // A mandatory extension "m=" would stand before the name, and we know none.
        let name = attributes.next()?.strip_prefix("n=").and_then(decode_name)?;
        let client_nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        if !attributes.all(is_extension) {
            return None;
        }
        // Nobody acts for somebody else here.
        if !authzid.is_empty() && authzid.strip_prefix("a=").and_then(decode_name)? != name {
            return None;
        }
        let claim = credentials.claim(UserName::parse(&name).ok()?);
        let nonce = format!("r={client_nonce}{server_nonce}");
        let gs2_header = &message[..message.len() - bare.len()];
        let mut challenge = Self {
            binding: format!("c={}", BASE64_STANDARD.encode(gs2_header)),
            messages: String::new(),
            nonce,
            claim,
        };
        challenge.messages = format!("{bare},{}", challenge.server_first());
        Some(challenge)
    }

    fn server_first(&self) -> String {
        let verifier = &self.claim.verifier;
        format!("{},s={},i={}", self.nonce, BASE64_STANDARD.encode(verifier.salt()), verifier.iterations())
    }

    /// Takes the client-final-message.
    fn finish(self, message: &str) -> Option<Step> {
        // The proof stands last and has no comma.
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let proof = decode_hash(proof)?;
        let mut attributes = without_proof.split(',');
        if attributes.next()? != self.binding || attributes.next()? != self.nonce {
            return None;
        }
        if !attributes.all(is_extension) {
            return None;
        }
        let auth_message = format!("{},{without_proof}", self.messages);
        let is_proven = self.claim.verifier.matches_proof(auth_message.as_bytes(), &proof);
        let signature = self.claim.verifier.server_signature(auth_message.as_bytes());
        let user = self.claim.settle(is_proven)?;
        Some(Step::Done { data: format!("v={}", BASE64_STANDARD.encode(signature)).into_bytes(), user })
    }
}

/// Shows nothing of the exchange.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// A saslname: `=2C` is a comma, `=3D` an equals sign, and neither stands for itself.
fn decode_name(text: &str) -> Option<String> {
    let mut parts = text.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (c, rest) = match part.strip_prefix("2C") {
            Some(rest) => (',', rest),
            None => ('=', part.strip_prefix("3D")?),
        };
        name.push(c);
        name.push_str(rest);
    }
    Some(name)
}

/// Printable ASCII without a comma.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// An optional extension, which is passed over: a letter, an equals sign, a value.
fn is_extension(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b'=' && !text.contains('\0')
}

#[cfg(test)]
mod tests;
