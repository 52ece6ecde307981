//! The client's side of SCRAM-SHA-256, as messages that a test can bend.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

pub(crate) const METHOD: &str = "SCRAM-SHA-256";

/// One exchange of a user.
pub(crate) struct Scram {
    password: String,
    bare: String,
}

/// The client's last message and what the server must answer.
pub(crate) struct Last {
    pub(crate) message: String,
    pub(crate) answer: String,
}

impl Scram {
    pub(crate) fn new(user: &str, password: &str) -> Self {
        Self { password: password.to_owned(), bare: format!("n={user},r=clientnonce") }
    }

    /// The first message.
    pub(crate) fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The last message, for the server's first.
    #[track_caller]
    pub(crate) fn last(&self, server_first: &str) -> Last {
        let attribute = |name: &str| {
            let found = server_first.split(',').find_map(|attribute| attribute.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {server_first}"))
        };
        let (nonce, iterations) = (attribute("r="), attribute("i=").parse().unwrap());
        assert!(nonce.starts_with("clientnonce") && nonce.len() > 30, "{nonce}");
        let salt = BASE64_STANDARD.decode(attribute("s=")).unwrap();
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(self.password.as_bytes(), &salt, iterations);
        let without_proof = format!("c=biws,r={nonce}");
        let auth_message = format!("{},{server_first},{without_proof}", self.bare);
        let client_key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(&client_key), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
        let server_signature = hmac(&hmac(&salted, b"Server Key"), auth_message.as_bytes());
        Last {
            message: format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)),
            answer: format!("v={}", BASE64_STANDARD.encode(server_signature)),
        }
    }
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
