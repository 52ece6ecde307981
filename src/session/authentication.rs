//! Enhanced authentication on a live connection: which AUTH packets its client may send, and the answers.

use super::Request;
use crate::codec::{Auth, ReasonCode, UserProperties};

/// The Authentication Method that a CONNECT named and that holds for the whole connection [MQTT5-4.12.0-5].
#[derive(Debug)]
pub(super) struct Authentication {
    method: &'static str,
    /// The client has begun to authenticate again and is owed an answer, or owes one.
    is_under_way: bool,
}

impl Authentication {
    pub(super) fn new(method: &'static str) -> Self {
        Self { method, is_under_way: false }
    }

    /// Takes an AUTH. The client begins with 0x19 [MQTT5-4.12.1-1], answers with 0x18 [MQTT5-4.12.0-3], and
    /// names its one method each time.
    pub(super) fn on_auth<'a>(&mut self, auth: &Auth<'a>) -> Result<Request<'a>, ReasonCode> {
        let begins = auth.reason == ReasonCode::ReAuthenticate;
        let is_in_turn = match auth.reason {
            ReasonCode::ReAuthenticate => !self.is_under_way,
            ReasonCode::ContinueAuthentication => self.is_under_way,
            // Success is the server's to say.
            _ => false,
        };
        if !is_in_turn || auth.method != Some(self.method) {
            return Err(ReasonCode::ProtocolError);
        }
        self.is_under_way = true;
        let data = auth.data.unwrap_or_default();
        Ok(Request::Authenticate { method: self.method, begins, data })
    }

    /// The answer to the last AUTH: 0x18 when more is to come, 0x00 when the client has proven itself again.
    pub(super) fn answer<'a>(&mut self, is_done: bool, data: &'a [u8]) -> Auth<'a> {
        self.is_under_way = !is_done;
        Auth {
            reason: if is_done { ReasonCode::Success } else { ReasonCode::ContinueAuthentication },
            method: Some(self.method),
            data: (!data.is_empty()).then_some(data),
            reason_string: None,
            user: UserProperties::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use super::*;
    use crate::codec::{
        ConnAck, Connect, ConnectProperties, Packet, ProtocolVersion, Publish, PublishProperties, Qos, decode,
    };
    use crate::session::{Negotiated, Outbox, Session};

    const METHOD: &str = "FEATHER";
    const BEGIN: ReasonCode = ReasonCode::ReAuthenticate;
    const GO_ON: ReasonCode = ReasonCode::ContinueAuthentication;

    fn auth<'a>(reason: ReasonCode, method: &'a str, data: &'a [u8]) -> Auth<'a> {
        let user = UserProperties::default();
        Auth { reason, method: Some(method), data: Some(data), reason_string: None, user }
    }

    /// A session that was connected with the method, or without any; and its CONNACK.
    fn connected(method: Option<&'static str>, packet_size_max: u32) -> (Session, Vec<u8>) {
        let properties = ConnectProperties {
            packet_size_max: NonZeroU32::new(packet_size_max),
            authentication_method: method,
            ..ConnectProperties::default()
        };
        let connect = Connect { properties, ..Connect::new(ProtocolVersion::V5, "client") };
        let mut negotiated = Negotiated::new(&connect, &Arc::default(), 1).unwrap();
        if let Some(method) = method {
            negotiated = negotiated.by_exchange("fin".into(), method, b"last".to_vec());
        }
        let mut session = Session::new(&negotiated);
        let mut out = Outbox::default();
        session.on_connected(crate::net::clock::now(), &negotiated, false, &mut out);
        (session, out.take())
    }

    fn send<'a>(session: &mut Session, packet: Packet<'a>) -> Result<Request<'a>, ReasonCode> {
        session.on_packet(crate::net::clock::now(), packet, &mut Outbox::default())
    }

    fn connack(bytes: &[u8]) -> ConnAck<'_> {
        match decode(ProtocolVersion::V5, bytes) {
            Ok(Packet::ConnAck(connack)) => connack,
            other => panic!("{other:?}"),
        }
    }

    /// [MQTT5-4.12.0-5] [MQTT5-4.12.0-6]
    #[test]
    fn connack_names_the_method_of_the_connect_and_only_then() {
        let (session, bytes) = connected(Some(METHOD), u32::MAX);
        let properties = connack(&bytes).properties;
        assert_eq!(properties.authentication_method, Some(METHOD));
        assert_eq!(properties.authentication_data, Some(&b"last"[..]));
        assert_eq!(session.user().map(|user| &**user), Some("fin"));

        let (session, bytes) = connected(None, u32::MAX);
        let properties = connack(&bytes).properties;
        assert_eq!((properties.authentication_method, properties.authentication_data), (None, None));
        assert_eq!(session.user(), None);
    }

    /// [MQTT5-4.12.0-7]
    #[test]
    fn a_client_that_named_no_method_may_not_send_auth() {
        for reason in [BEGIN, GO_ON, ReasonCode::Success] {
            let (mut session, _) = connected(None, u32::MAX);
            let result = send(&mut session, Packet::Auth(auth(reason, METHOD, b"")));
            assert_eq!(result.err(), Some(ReasonCode::ProtocolError), "{reason:?}");
        }
    }

    /// [MQTT5-4.12.0-3] [MQTT5-4.12.0-5] [MQTT5-4.12.1-1] [MQTT5-3.15.2-1]
    #[test]
    fn auth_packets_come_in_turn_and_with_one_method() {
        // Every packet but the last is right, and is answered with "go on".
        let check = |packets: &[(ReasonCode, &str)], is_right: bool| {
            let (mut session, _) = connected(Some(METHOD), u32::MAX);
            for (n, (reason, method)) in packets.iter().enumerate() {
                let request = send(&mut session, Packet::Auth(auth(*reason, method, b"data")));
                if n + 1 == packets.len() && !is_right {
                    assert_eq!(request.err(), Some(ReasonCode::ProtocolError), "{packets:?}");
                    return;
                }
                let Ok(Request::Authenticate { method: METHOD, begins, data: b"data" }) = request else {
                    panic!("{request:?} in {packets:?}");
                };
                assert_eq!(begins, n == 0);
                session.on_authentication(false, b"more", &mut Outbox::default()).unwrap();
            }
        };
        check(&[(BEGIN, METHOD)], true);
        check(&[(BEGIN, METHOD), (GO_ON, METHOD), (GO_ON, METHOD)], true);
        check(&[(GO_ON, METHOD)], false);
        check(&[(ReasonCode::Success, METHOD)], false);
        check(&[(BEGIN, METHOD), (BEGIN, METHOD)], false);
        check(&[(BEGIN, METHOD), (ReasonCode::Success, METHOD)], false);
        check(&[(BEGIN, "feather")], false);
        check(&[(BEGIN, "")], false);
        check(&[(BEGIN, METHOD), (GO_ON, "DOWN")], false);
        let (mut session, _) = connected(Some(METHOD), u32::MAX);
        let bare = Auth { method: None, data: None, ..auth(ReasonCode::Success, METHOD, b"") };
        assert_eq!(send(&mut session, Packet::Auth(bare)).err(), Some(ReasonCode::ProtocolError));
    }

    /// [MQTT5-4.12.1]: other packets continue, and after the end of one exchange another may begin.
    #[test]
    fn the_session_goes_on_during_an_exchange() {
        let (mut session, _) = connected(Some(METHOD), u32::MAX);
        let answers = [(false, GO_ON, Some(&b"more"[..])), (true, ReasonCode::Success, None)];
        for round in 0..2 {
            for (n, (is_done, reason, data)) in answers.into_iter().enumerate() {
                let code = if n == 0 { BEGIN } else { GO_ON };
                send(&mut session, Packet::Auth(auth(code, METHOD, b"data"))).unwrap();
                let publish = Publish {
                    dup: false,
                    qos: Qos::AtMostOnce,
                    retain: false,
                    topic: "a",
                    packet_id: None,
                    properties: PublishProperties::default(),
                    payload: b"",
                };
                let request = send(&mut session, Packet::Publish(publish));
                assert!(matches!(request, Ok(Request::Publish(_))), "{request:?}");
                let mut out = Outbox::default();
                session.on_authentication(is_done, data.unwrap_or_default(), &mut out).unwrap();
                let expected = Packet::Auth(Auth { data, ..auth(reason, METHOD, b"") });
                assert_eq!(decode(ProtocolVersion::V5, &out.take()), Ok(expected), "{round}");
            }
        }
    }

    /// [MQTT5-3.1.2-24]
    #[test]
    fn an_answer_that_the_client_does_not_take_ends_the_connection() {
        let (mut session, _) = connected(Some(METHOD), 30);
        let mut out = Outbox::default();
        send(&mut session, Packet::Auth(auth(BEGIN, METHOD, b""))).unwrap();
        assert_eq!(session.on_authentication(false, &[0; 13], &mut out), Ok(()));
        assert_eq!(out.take().len(), 30);
        assert_eq!(session.on_authentication(false, &[0; 14], &mut out), Err(ReasonCode::PacketTooLarge));
        assert!(out.is_empty());
    }
}
