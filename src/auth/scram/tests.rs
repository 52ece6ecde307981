//! The mechanism against the RFC's example, wrong messages, and anything at all.

use std::num::NonZeroU32;

use base64::Engine as _;
use proptest::prelude::{any, prop_oneof};
use proptest::strategy::Strategy;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::auth::password::Password;
use crate::auth::verifier::{Hash, SALT_BYTES, Verifier, hmac};

const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

fn salt() -> [u8; SALT_BYTES] {
    BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap()
}

/// `user` of the RFC, and `a,b=c`, both with the password `pencil`.
fn credentials() -> Arc<Credentials> {
    let password = Password::parse(b"pencil").unwrap();
    let verifier = Verifier::new(&password, &salt(), NonZeroU32::new(4096).unwrap()).text();
    Arc::new(Credentials::parse(&format!("user:{verifier}\na,b=c:{verifier}")).unwrap())
}

fn server() -> Server {
    Server { credentials: credentials(), state: State::First { nonce: SERVER_NONCE.to_owned() } }
}

fn continued(step: Step) -> String {
    let Step::Continue(data) = step else { panic!("{step:?}") };
    String::from_utf8(data).unwrap()
}

/// The client's final message for what it has seen, and the signature that it expects of the server.
fn client_final(binding: &str, bare: &str, server_first: &str, password: &[u8]) -> (String, String) {
    let attribute = |n: usize| &server_first.split(',').nth(n).unwrap()[2..];
    let salt = BASE64_STANDARD.decode(attribute(1)).unwrap();
    let salted: Hash =
        pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, &salt, attribute(2).parse().unwrap());
    let without_proof = format!("c={},r={}", BASE64_STANDARD.encode(binding), attribute(0));
    let auth_message = format!("{bare},{server_first},{without_proof}");
    let client_key = hmac(&salted, &[b"Client Key"]);
    let signature = hmac(&Sha256::digest(client_key), &[auth_message.as_bytes()]);
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
    let server_signature = hmac(&hmac(&salted, &[b"Server Key"]), &[auth_message.as_bytes()]);
    (
        format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)),
        format!("v={}", BASE64_STANDARD.encode(server_signature)),
    )
}

/// RFC 7677 section 3.
#[test]
fn the_example_of_the_standard_succeeds() {
    let mut server = server();
    assert_eq!(continued(server.step(CLIENT_FIRST.as_bytes())), SERVER_FIRST);
    let user = UserName::parse("user").unwrap();
    let done = Step::Done { data: SERVER_FINAL.into(), user };
    assert_eq!(server.step(CLIENT_FINAL.as_bytes()), done);
    assert_eq!(server.step(CLIENT_FINAL.as_bytes()), Step::Denied);
}

#[test]
fn every_right_form_of_an_exchange_succeeds() {
    let check = |binding: &str, bare: &str, user: &str| {
        let mechanism = ScramSha256::new(credentials());
        let mut exchange = mechanism.start([5; RANDOM_BYTES]);
        let server_first = continued(exchange.step(format!("{binding}{bare}").as_bytes()));
        let (message, signature) = client_final(binding, bare, &server_first, b"pencil");
        let user = UserName::parse(user).unwrap();
        assert_eq!(exchange.step(message.as_bytes()), Step::Done { data: signature.into(), user }, "{bare}");
    };
    check("n,,", "n=user,r=abc", "user");
    check("y,,", "n=user,r=abc", "user");
    check("n,a=user,", "n=user,r=abc", "user");
    check("n,,", "n=a=2Cb=3Dc,r=abc", "a,b=c");
    check("n,a=a=2Cb=3Dc,", "n=a=2Cb=3Dc,r=abc", "a,b=c");
    check("n,,", "n=user,r=a=b~!,x=later", "user");
}

#[test]
fn a_wrong_first_message_is_denied() {
    let long = format!("n,,n=user,r={}", "x".repeat(MESSAGE_BYTES_MAX));
    let messages = [
        "",
        ",",
        ",,",
        ",,,",
        "n",
        "n,,",
        "n,,n=user",
        "n,,n=user,",
        "n,,n=user,r=",
        "n,,r=abc,n=user",
        "n,,r=abc",
        "n,,n=,r=abc",
        "n,,user,r=abc",
        "n,n=user,r=abc",
        "N,,n=user,r=abc",
        "x,,n=user,r=abc",
        " n,,n=user,r=abc",
        "p=tls-unique,,n=user,r=abc",
        "p=tls-exporter,,n=user,r=abc",
        "n,a=other,n=user,r=abc",
        "n,user,n=user,r=abc",
        "n,a=,n=user,r=abc",
        "n,,m=ext,n=user,r=abc",
        "n,,n=us=er,r=abc",
        "n,,n=user=,r=abc",
        "n,,n=user=2,r=abc",
        "n,,n=user=2c,r=abc",
        "n,,n=us\ner,r=abc",
        "n,,n=#user,r=abc",
        "n,,n=user,r=a b",
        "n,,n=user,r=ä",
        "n,,n=user,r=a\0",
        "n,,n=user,r=abc,",
        "n,,n=user,r=abc,x",
        "n,,n=user,r=abc,x=",
        "n,,n=user,r=abc,1=x",
        &long,
    ];
    for message in messages {
        let mut server = server();
        assert_eq!(server.step(message.as_bytes()), Step::Denied, "{message:?}");
        assert_eq!(server.step(CLIENT_FIRST.as_bytes()), Step::Denied, "over after {message:?}");
    }
    assert_eq!(server().step(b"n,,n=us\xFFer,r=abc"), Step::Denied);
}

#[test]
fn a_wrong_final_message_is_denied() {
    let check = |from: &str, to: &str| {
        assert!(CLIENT_FINAL.contains(from), "{from:?}");
        let message = CLIENT_FINAL.replace(from, to);
        let mut server = server();
        server.step(CLIENT_FIRST.as_bytes());
        assert_eq!(server.step(message.as_bytes()), Step::Denied, "{message:?}");
        assert_eq!(server.step(CLIENT_FINAL.as_bytes()), Step::Denied, "over after {message:?}");
    };
    check(CLIENT_FINAL, "");
    check(CLIENT_FINAL, CLIENT_FIRST);
    // "y,," and nothing instead of "n,,": somebody changed the header under way.
    check("biws", "eSws");
    check("biws", "");
    check("c=biws,", "");
    check("c=biws,r=", "r=biws,c=");
    // A part of the nonce, another one, one that only begins right.
    check(SERVER_NONCE, "");
    check("rOpr", "sOpr");
    check("$k0,", "$k01,");
    check("dHzb", "dHzc");
    check("dVQ=", "dVQ");
    check("p=dHzb", "p=");
    check(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "");
    check("dVQ=", "dVQ=,x=y");
    check(",p=", ",x=y,p=");
    check(",p=", ",x,p=");
}

#[test]
fn a_wrong_password_and_a_name_without_credentials_look_alike() {
    let mut seen = Vec::new();
    for (name, password) in [("user", "pencils"), ("nobody", "pencil"), ("nobody", "")] {
        let mut exchange = ScramSha256::new(credentials()).start([5; RANDOM_BYTES]);
        let bare = format!("n={name},r=abc");
        let server_first = continued(exchange.step(format!("n,,{bare}").as_bytes()));
        let (message, _) = client_final("n,,", &bare, &server_first, password.as_bytes());
        assert_eq!(exchange.step(message.as_bytes()), Step::Denied, "{name}");
        seen.push(server_first);
    }
    assert_eq!(seen[1], seen[2], "the same name has the same salt each time");
    assert_eq!(seen[0].len(), seen[1].len());
    let rounds = |message: &str| message.rsplit_once(',').unwrap().1.to_owned();
    assert_eq!(rounds(&seen[0]), rounds(&seen[1]));
}

#[test]
fn each_exchange_has_a_nonce_of_its_own() {
    let first =
        |random| continued(ScramSha256::new(credentials()).start(random).step(CLIENT_FIRST.as_bytes()));
    assert_ne!(first([1; RANDOM_BYTES]), first([2; RANDOM_BYTES]));
}

/// Messages that come close to right ones, and bytes that do not.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let near = (any::<bool>(), 0..120usize, proptest::collection::vec(any::<u8>(), 0..3), 0..3usize);
    let near = near.prop_map(|(is_first, at, with, gone)| {
        let mut bytes = if is_first { CLIENT_FIRST } else { CLIENT_FINAL }.as_bytes().to_vec();
        let at = at.min(bytes.len());
        bytes.splice(at..(at + gone).min(bytes.len()), with);
        bytes
    });
    prop_oneof![
        near,
        proptest::collection::vec(any::<u8>(), 0..200),
        "[nyp=,a-z0-9]{0,40}".prop_map(Vec::from)
    ]
}

proptest::proptest! {
    /// Whatever is sent, nothing panics, and nobody enters except by the right messages.
    #[test]
    fn any_bytes_are_taken_and_only_the_right_ones_help(
        messages in proptest::collection::vec(message(), 1..5),
    ) {
        let mut server = server();
        let mut expected = [CLIENT_FIRST, CLIENT_FINAL].iter();
        let mut all_right = true;
        for message in &messages {
            let step = server.step(message);
            all_right &= expected.next().is_some_and(|right| right.as_bytes() == message);
            if matches!(step, Step::Done { .. }) {
                proptest::prop_assert!(all_right, "{:?}", messages);
            }
        }
    }
}
