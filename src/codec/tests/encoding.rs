//! Packets that cannot be represented: an error, and nothing written.

use std::num::NonZeroU16;

use smallvec::smallvec;

use super::{V5, V31, V311};
use crate::codec::{
    Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, EncodeError, Packet, PacketId,
    PacketType, PropertyId, ProtocolVersion, PubAck, PubComp, Publish, PublishProperties, Qos,
    REMAINING_LENGTH_MAX, ReasonCode, SubAck, Subscribe, SubscribeFilter, SubscribeOptions, UnsubAck,
    Unsubscribe, UserProperties,
};

#[track_caller]
fn check(version: ProtocolVersion, packet: &Packet<'_>, error: EncodeError) {
    let mut out = vec![1, 2];
    assert_eq!(packet.encode(version, &mut out), Err(error), "{packet:?}");
    assert_eq!(out, [1, 2], "{packet:?}");
    assert_eq!(packet.encoded_len(version), Err(error), "{packet:?}");
}

const ID: PacketId = PacketId::MIN;

fn publish_with(properties: PublishProperties<'_>) -> Packet<'_> {
    Packet::Publish(Publish { properties, ..Publish::new("t", b"") })
}

#[test]
fn fields_are_at_most_65_535_bytes() {
    let longest = "x".repeat(65_535);
    let too_long = "x".repeat(65_536);
    let error = EncodeError::FieldTooLong(65_536);
    for version in [V31, V311, V5] {
        let mut out = Vec::new();
        assert_eq!(Publish::new(&longest, b"").encode(version, &mut out), Ok(()));
        check(version, &Packet::Publish(Publish::new(&too_long, b"")), error);
        check(version, &Packet::Connect(Connect::new(version, &too_long)), error);
        let password = Some(too_long.as_bytes());
        let connect = Connect { user_name: Some("u"), password, ..Connect::new(version, "c") };
        check(version, &Packet::Connect(connect), error);
        let options = SubscribeOptions::default();
        let filters = vec![SubscribeFilter { filter: &too_long, options }];
        let user = UserProperties::default();
        check(
            version,
            &Packet::Subscribe(Subscribe { packet_id: ID, subscription_id: None, user, filters }),
            error,
        );
        let filters = vec!["a", &too_long];
        check(version, &Packet::Unsubscribe(Unsubscribe { packet_id: ID, user, filters }), error);
    }
    let pairs = [("n", "v"), ("n", &too_long[..])];
    let user = UserProperties::from(&pairs[..]);
    check(V5, &publish_with(PublishProperties { user, ..PublishProperties::default() }), error);
    let correlation_data = Some(too_long.as_bytes());
    check(V5, &publish_with(PublishProperties { correlation_data, ..PublishProperties::default() }), error);
    let reason_string = Some(&too_long[..]);
    let puback = PubAck { reason_string, ..PubAck::new(ID, ReasonCode::Success) };
    check(V5, &Packet::PubAck(puback), error);
    // What the version does not have is not written, so it cannot be too long.
    assert_eq!(Packet::PubAck(puback).encoded_len(V311), Ok(4));
}

/// [MQTT5-1.5.4-2].
#[test]
fn strings_have_no_u_0000() {
    check(V311, &Packet::Publish(Publish::new("a\0", b"")), EncodeError::NulInString);
    let puback = PubAck { reason_string: Some("\0"), ..PubAck::new(ID, ReasonCode::Success) };
    check(V5, &Packet::PubAck(puback), EncodeError::NulInString);
    let pairs = [("n\0", "v")];
    let user = UserProperties::from(&pairs[..]);
    check(
        V5,
        &publish_with(PublishProperties { user, ..PublishProperties::default() }),
        EncodeError::NulInString,
    );
    // Binary data may.
    assert_eq!(Publish::new("a", b"\0").encoded_len(V311), Ok(6));
}

#[test]
fn packets_are_at_most_268_435_455_bytes_after_the_header() {
    let max = REMAINING_LENGTH_MAX as usize;
    // Zeroed pages that are never touched cost nothing, and nothing is written.
    let payload = vec![0; max - 2];
    check(V311, &Packet::Publish(Publish::new("t", &payload)), EncodeError::PacketTooLong(max + 1));
    assert_eq!(Publish::new("t", &payload[1..]).encoded_len(V311), Ok(max + 5));
    check(V5, &Packet::Publish(Publish::new("t", &payload[1..])), EncodeError::PacketTooLong(max + 1));
}

#[test]
fn fields_that_depend_on_each_other_agree() {
    let publish = || Publish::new("t", b"");
    for packet in [
        Publish { qos: Qos::AtLeastOnce, ..publish() },
        Publish { qos: Qos::ExactlyOnce, ..publish() },
        Publish { packet_id: Some(ID), ..publish() },
    ] {
        check(V5, &Packet::Publish(packet), EncodeError::PacketIdMismatch);
    }
    check(V5, &Packet::Publish(Publish { dup: true, ..publish() }), EncodeError::DupWithQos0);
    check(V5, &Packet::Publish(Publish::new("", b"")), EncodeError::EmptyTopic);
    let properties = PublishProperties { topic_alias: NonZeroU16::new(1), ..PublishProperties::default() };
    check(V311, &Packet::Publish(Publish { properties, ..Publish::new("", b"") }), EncodeError::EmptyTopic);

    for version in [V31, V311] {
        let connect = Connect { password: Some(b"p"), ..Connect::new(version, "c") };
        check(version, &Packet::Connect(connect), EncodeError::PasswordWithoutUserName);
    }
    let properties = ConnectProperties { authentication_data: Some(b"d"), ..ConnectProperties::default() };
    let connect = Connect { properties, ..Connect::new(V5, "c") };
    check(V5, &Packet::Connect(connect), EncodeError::AuthenticationDataWithoutMethod);

    let connack = ConnAck::new(true, ReasonCode::NotAuthorized);
    check(V311, &Packet::ConnAck(connack), EncodeError::SessionPresentWithError);
    let properties =
        ConnAckProperties { maximum_qos: Some(Qos::ExactlyOnce), ..ConnAckProperties::default() };
    let connack = ConnAck { properties, ..ConnAck::new(false, ReasonCode::Success) };
    check(V5, &Packet::ConnAck(connack), EncodeError::PropertyValue(PropertyId::MaximumQos, 2));
}

#[test]
fn lists_are_not_empty() {
    let user = UserProperties::default();
    let (packet_id, reason_string) = (ID, None);
    let subscribe = Subscribe { packet_id, subscription_id: None, user, filters: vec![] };
    check(V311, &Packet::Subscribe(subscribe), EncodeError::NoTopicFilter(PacketType::Subscribe));
    let unsubscribe = Unsubscribe { packet_id, user, filters: vec![] };
    check(V5, &Packet::Unsubscribe(unsubscribe), EncodeError::NoTopicFilter(PacketType::Unsubscribe));
    let suback = SubAck { packet_id, reason_string, user, codes: smallvec![] };
    check(V31, &Packet::SubAck(suback), EncodeError::NoReasonCodes(PacketType::SubAck));
    let unsuback = UnsubAck { packet_id, reason_string, user, codes: smallvec![] };
    check(V5, &Packet::UnsubAck(unsuback), EncodeError::NoReasonCodes(PacketType::UnsubAck));
}

#[test]
fn subscription_identifiers_are_in_their_range() {
    for id in [0, REMAINING_LENGTH_MAX + 1, u32::MAX] {
        let error = EncodeError::PropertyValue(PropertyId::SubscriptionIdentifier, id);
        let subscription_ids = smallvec![1, id];
        check(
            V5,
            &publish_with(PublishProperties { subscription_ids, ..PublishProperties::default() }),
            error,
        );
        let filters = vec![SubscribeFilter { filter: "a", options: SubscribeOptions::default() }];
        let user = UserProperties::default();
        let subscribe = Subscribe { packet_id: ID, subscription_id: Some(id), user, filters };
        check(V5, &Packet::Subscribe(subscribe), error);
    }
}

#[test]
fn reason_codes_belong_to_their_packets() {
    let not_allowed = EncodeError::ReasonCodeNotAllowed;
    let reason = ReasonCode::KeepAliveTimeout;
    for version in [V31, V311, V5] {
        let connack = Packet::ConnAck(ConnAck::new(false, reason));
        check(version, &connack, not_allowed(reason, PacketType::ConnAck));
        let puback = Packet::PubAck(PubAck::new(ID, reason));
        check(version, &puback, not_allowed(reason, PacketType::PubAck));
        let pubcomp = Packet::PubComp(PubComp::new(ID, reason));
        check(version, &pubcomp, not_allowed(reason, PacketType::PubComp));
        let user = UserProperties::default();
        let suback = SubAck { packet_id: ID, reason_string: None, user, codes: smallvec![reason] };
        check(version, &Packet::SubAck(suback), not_allowed(reason, PacketType::SubAck));
    }
    // Before 5.0 DISCONNECT says that all is well, and would drop the will.
    let disconnect = Packet::Disconnect(Disconnect::new(reason));
    check(V311, &disconnect, not_allowed(reason, PacketType::Disconnect));
    let reason = ReasonCode::GrantedQos1;
    check(V5, &Packet::Disconnect(Disconnect::new(reason)), not_allowed(reason, PacketType::Disconnect));
}

#[test]
fn auth_has_a_method_and_is_new_in_5() {
    let (data, reason_string, user) = (None, None, UserProperties::default());
    let auth = Auth { reason: ReasonCode::ReAuthenticate, method: None, data, reason_string, user };
    check(V5, &Packet::Auth(auth), EncodeError::AuthenticationMethodMissing);
    let auth = Auth { method: Some("m"), ..auth };
    check(V311, &Packet::Auth(auth), EncodeError::PacketTypeNotInVersion(PacketType::Auth, V311));
    let reason = ReasonCode::NotAuthorized;
    let auth = Auth { reason, ..auth };
    check(V5, &Packet::Auth(auth), EncodeError::ReasonCodeNotAllowed(reason, PacketType::Auth));
}

/// Secrets and messages must not end in a log.
#[test]
fn debug_output_has_no_payloads_and_passwords() {
    let properties = ConnectProperties {
        authentication_method: Some("m"),
        authentication_data: Some(b"secret"),
        ..ConnectProperties::default()
    };
    let connect = Connect { password: Some(b"secret"), properties, ..Connect::new(V5, "c") };
    let auth = Auth {
        reason: ReasonCode::ContinueAuthentication,
        method: Some("m"),
        data: Some(b"secret"),
        reason_string: None,
        user: UserProperties::default(),
    };
    let bytes = format!("{:?}", b"secret");
    for packet in
        [Packet::Connect(connect), Packet::Auth(auth), Packet::Publish(Publish::new("t", b"secret"))]
    {
        let shown = format!("{packet:?}");
        assert!(!shown.contains("secret") && !shown.contains(&bytes), "{shown}");
    }
}
