//! Strategies for packets: all that a version can say, with lengths around the borders that matter.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use super::{V5, V31, V311};
use crate::codec::{
    Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Packet, PacketId, PacketType,
    PayloadFormat, ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish, PublishProperties, Qos,
    REMAINING_LENGTH_MAX, ReasonCode, RetainHandling, SubAck, Subscribe, SubscribeFilter, SubscribeOptions,
    UnsubAck, Unsubscribe, UserProperties, Will, WillProperties,
};

// The packets borrow from these, so that a strategy can yield `Packet<'static>`.
static TEXT: LazyLock<String> = LazyLock::new(|| "a/+Ωß#$\u{1}鳥\u{FEFF}🐦\u{FFFF} z".repeat(3_000));
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| (0..=u8::MAX).cycle().take(70_000).collect());
static PAIRS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let names = ["", "n", "trace", "Ωß", "n"].into_iter().cycle();
    (0..200).zip(names).map(|(len, name)| (name, prefix(len * 7))).collect()
});

/// As much of [`TEXT`] as fits into `len` bytes.
fn prefix(len: usize) -> &'static str {
    &TEXT[..TEXT.floor_char_boundary(len)]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..20_usize, 2 => 100..300_usize, 1 => select(&[127, 128, 16_383, 16_384, 65_535][..])]
}

fn text() -> impl Strategy<Value = &'static str> {
    (len(), 0..20_usize).prop_map(|(len, skip)| {
        let text = prefix(len);
        &text[text.floor_char_boundary(skip.min(text.len()))..]
    })
}

fn topic() -> impl Strategy<Value = &'static str> {
    len().prop_map(|len| prefix(len.max(1)))
}

fn binary() -> impl Strategy<Value = &'static [u8]> {
    (len(), 0..256_usize).prop_map(|(len, skip)| &BYTES[skip..skip + len])
}

fn user() -> impl Strategy<Value = UserProperties<'static>> {
    prop_oneof![
        2 => Just(UserProperties::default()),
        1 => (0..100_usize, 0..20_usize).prop_map(|(skip, len)| (&PAIRS[skip..skip + len]).into()),
    ]
}

fn qos() -> impl Strategy<Value = Qos> {
    select(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][..])
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    any::<NonZeroU16>().prop_map(|id| PacketId::new(id.get()).expect("not zero"))
}

fn subscription_id() -> impl Strategy<Value = u32> {
    prop_oneof![1..200_u32, 1..=REMAINING_LENGTH_MAX]
}

fn payload_format() -> impl Strategy<Value = PayloadFormat> {
    select(&[PayloadFormat::Unspecified, PayloadFormat::Utf8][..])
}

fn reason(packet_type: PacketType) -> impl Strategy<Value = ReasonCode> + Clone {
    let allowed: Vec<_> =
        ReasonCode::ALL.iter().copied().filter(|code| code.is_allowed_in(packet_type)).collect();
    select(allowed)
}

/// Before 5.0 there are no properties, so the default stands for them.
fn since_v5<T>(
    version: ProtocolVersion,
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = T>
where
    T: Default + Clone + std::fmt::Debug + 'static,
{
    if version == V5 { value.boxed() } else { Just(T::default()).boxed() }
}

fn will(version: ProtocolVersion) -> impl Strategy<Value = Will<'static>> {
    let properties = (
        option::of(any::<u32>()),
        option::of(payload_format()),
        option::of(any::<u32>()),
        option::of(text()),
        option::of(text()),
        option::of(binary()),
        user(),
    )
        .prop_map(|(delay, payload_format, message_expiry, content_type, response_topic, data, user)| {
            WillProperties {
                delay,
                payload_format,
                message_expiry,
                content_type,
                response_topic,
                correlation_data: data,
                user,
                ..WillProperties::default()
            }
        });
    (text(), binary(), qos(), any::<bool>(), since_v5(version, properties)).prop_map(
        |(topic, payload, qos, retain, properties)| Will { topic, payload, qos, retain, properties },
    )
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(any::<NonZeroU32>()),
        option::of(any::<u16>()),
        option::of(any::<bool>()),
        option::of(any::<bool>()),
    );
    let properties = (numbers, user(), option::of((text(), option::of(binary())))).prop_map(
        |(numbers, user, authentication)| ConnectProperties {
            session_expiry: numbers.0,
            receive_maximum: numbers.1,
            packet_size_max: numbers.2,
            topic_alias_maximum: numbers.3,
            request_response_information: numbers.4,
            request_problem_information: numbers.5,
            user,
            authentication_method: authentication.map(|(method, _)| method),
            authentication_data: authentication.and_then(|(_, data)| data),
        },
    );
    (
        any::<bool>(),
        any::<u16>(),
        text(),
        option::of(will(version)),
        option::of(text()),
        option::of(binary()),
        since_v5(version, properties),
    )
        .prop_map(move |(clean_start, keep_alive, client_id, will, user_name, password, properties)| {
            let may_have_password = version == V5 || user_name.is_some();
            let password = password.filter(|_| may_have_password);
            Packet::Connect(Connect {
                version,
                clean_start,
                keep_alive,
                client_id,
                will,
                user_name,
                password,
                properties,
            })
        })
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let numbers = (
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(select(&[Qos::AtMostOnce, Qos::AtLeastOnce][..])),
        option::of(any::<NonZeroU32>()),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
    );
    let flags = [(); 4].map(|()| option::of(any::<bool>()));
    let texts = [(); 5].map(|()| option::of(text()));
    let properties = (numbers, flags, texts, option::of(binary()), user()).prop_map(
        |(numbers, flags, texts, authentication_data, user)| ConnAckProperties {
            session_expiry: numbers.0,
            receive_maximum: numbers.1,
            maximum_qos: numbers.2,
            retain_available: flags[0],
            packet_size_max: numbers.3,
            assigned_client_id: texts[0],
            topic_alias_maximum: numbers.4,
            reason_string: texts[1],
            user,
            wildcard_subscription_available: flags[1],
            subscription_ids_available: flags[2],
            shared_subscription_available: flags[3],
            server_keep_alive: numbers.5,
            response_information: texts[2],
            server_reference: texts[3],
            authentication_method: texts[4],
            authentication_data,
        },
    );
    let has_return_code = move |code: &ReasonCode| {
        ReasonCode::from_connect_return_code(code.connect_return_code()) == Some(*code)
    };
    let codes = ReasonCode::ALL.iter().copied();
    let codes: Vec<_> = codes
        .filter(|code| code.is_allowed_in(PacketType::ConnAck) && (version == V5 || has_return_code(code)))
        .collect();
    (any::<bool>(), select(codes), since_v5(version, properties)).prop_map(
        move |(session_present, reason, properties)| {
            let may_be_present = version != V31 && reason == ReasonCode::Success;
            Packet::ConnAck(ConnAck {
                session_present: session_present && may_be_present,
                reason,
                properties,
            })
        },
    )
}

fn publish(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let properties = (
        option::of(payload_format()),
        option::of(any::<u32>()),
        option::of(any::<NonZeroU16>()),
        option::of(text()),
        option::of(binary()),
        option::of(text()),
        vec(subscription_id(), 0..4),
        user(),
    )
        .prop_map(
            |(payload_format, message_expiry, topic_alias, response_topic, data, content_type, ids, user)| {
                PublishProperties {
                    payload_format,
                    message_expiry,
                    topic_alias,
                    response_topic,
                    correlation_data: data,
                    content_type,
                    subscription_ids: ids.into(),
                    user,
                    ..PublishProperties::default()
                }
            },
        );
    let head = (any::<bool>(), qos(), any::<bool>(), packet_id());
    (head, topic(), any::<bool>(), since_v5(version, properties), binary()).prop_map(
        |((dup, qos, retain, packet_id), topic, by_alias, properties, payload)| {
            let has_id = qos != Qos::AtMostOnce;
            let by_alias = by_alias && properties.topic_alias.is_some();
            Packet::Publish(Publish {
                dup: dup && has_id,
                qos,
                retain,
                topic: if by_alias { "" } else { topic },
                packet_id: has_id.then_some(packet_id),
                properties,
                payload,
            })
        },
    )
}

fn acknowledgement(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let text = || since_v5(version, option::of(text()));
    let user = || since_v5(version, user());
    let reason = |packet_type| {
        if version == V5 { reason(packet_type).boxed() } else { Just(ReasonCode::Success).boxed() }
    };
    prop_oneof![
        (packet_id(), reason(PacketType::PubAck), text(), user()).prop_map(
            |(packet_id, reason, reason_string, user)| {
                Packet::PubAck(PubAck { packet_id, reason, reason_string, user })
            }
        ),
        (packet_id(), reason(PacketType::PubRec), text(), user()).prop_map(
            |(packet_id, reason, reason_string, user)| {
                Packet::PubRec(PubRec { packet_id, reason, reason_string, user })
            }
        ),
        (packet_id(), reason(PacketType::PubRel), text(), user()).prop_map(
            |(packet_id, reason, reason_string, user)| {
                Packet::PubRel(PubRel { packet_id, reason, reason_string, user })
            }
        ),
        (packet_id(), reason(PacketType::PubComp), text(), user()).prop_map(
            |(packet_id, reason, reason_string, user)| {
                Packet::PubComp(PubComp { packet_id, reason, reason_string, user })
            }
        ),
    ]
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let handling =
        select(&[RetainHandling::SendAlways, RetainHandling::SendIfNew, RetainHandling::DoNotSend][..]);
    let options = (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(qos, no_local, retain_as_published, retain_handling)| {
            if version == V5 {
                SubscribeOptions { qos, no_local, retain_as_published, retain_handling }
            } else {
                SubscribeOptions::with_qos(qos)
            }
        },
    );
    let filter = (text(), options).prop_map(|(filter, options)| SubscribeFilter { filter, options });
    let id = since_v5(version, option::of(subscription_id()));
    (packet_id(), id, since_v5(version, user()), vec(filter, 1..5)).prop_map(
        |(packet_id, subscription_id, user, filters)| {
            Packet::Subscribe(Subscribe { packet_id, subscription_id, user, filters })
        },
    )
}

fn suback(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let codes: Vec<_> = ReasonCode::ALL
        .iter()
        .copied()
        .filter(|code| code.is_allowed_in(PacketType::SubAck) && (version == V5 || *code as u8 <= 0x80))
        .collect();
    let text = since_v5(version, option::of(text()));
    (packet_id(), text, since_v5(version, user()), vec(select(codes), 1..9)).prop_map(
        |(packet_id, reason_string, user, codes)| {
            Packet::SubAck(SubAck { packet_id, reason_string, user, codes: codes.into() })
        },
    )
}

fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    (packet_id(), since_v5(version, user()), vec(text(), 1..5))
        .prop_map(|(packet_id, user, filters)| Packet::Unsubscribe(Unsubscribe { packet_id, user, filters }))
}

fn unsuback(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let codes = since_v5(version, vec(reason(PacketType::UnsubAck), 1..9));
    let text = since_v5(version, option::of(text()));
    (packet_id(), text, since_v5(version, user()), codes).prop_map(
        |(packet_id, reason_string, user, codes)| {
            Packet::UnsubAck(UnsubAck { packet_id, reason_string, user, codes: codes.into() })
        },
    )
}

fn disconnect(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let full = (
        reason(PacketType::Disconnect),
        option::of(any::<u32>()),
        option::of(text()),
        option::of(text()),
        user(),
    )
        .prop_map(|(reason, session_expiry, reason_string, server_reference, user)| Disconnect {
            reason,
            session_expiry,
            reason_string,
            server_reference,
            user,
        });
    let normal = Disconnect::new(ReasonCode::NormalDisconnection);
    if version == V5 { full.boxed() } else { Just(normal).boxed() }.prop_map(Packet::Disconnect)
}

fn auth() -> impl Strategy<Value = Packet<'static>> {
    (reason(PacketType::Auth), text(), option::of(binary()), option::of(text()), user()).prop_map(
        |(reason, method, data, reason_string, user)| {
            Packet::Auth(Auth { reason, method: Some(method), data, reason_string, user })
        },
    )
}

/// Any packet that this version can say.
fn packet(version: ProtocolVersion) -> impl Strategy<Value = Packet<'static>> {
    let common = prop_oneof![
        3 => connect(version),
        2 => connack(version),
        4 => publish(version),
        4 => acknowledgement(version),
        2 => subscribe(version),
        1 => suback(version),
        1 => unsubscribe(version),
        1 => unsuback(version),
        1 => disconnect(version),
        1 => Just(Packet::PingReq),
        1 => Just(Packet::PingResp),
    ];
    if version == V5 { prop_oneof![14 => common, 1 => auth()].boxed() } else { common.boxed() }
}

pub(super) fn version() -> impl Strategy<Value = ProtocolVersion> {
    select(&[V31, V311, V5][..])
}

pub(super) fn version_and_packet() -> impl Strategy<Value = (ProtocolVersion, Packet<'static>)> {
    version().prop_flat_map(|version| (Just(version), packet(version)))
}
