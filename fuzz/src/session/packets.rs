//! Packets of a client, few values each so that they meet.

use std::num::NonZeroU16;

use arbitrary::{Result, Unstructured};
use flockmq::codec::{
    Auth, Disconnect, Packet, PacketId, PayloadFormat, ProtocolVersion, PubAck, PubComp, PubRec, PubRel,
    Publish, PublishProperties, Qos, ReasonCode, RetainHandling, Subscribe, SubscribeFilter,
    SubscribeOptions, Unsubscribe, UserProperties,
};

/// The Authentication Method of every client that has one.
pub(super) const METHOD: &str = "METHOD";

const FILTERS: &[&str] =
    &["a", "a/b", "a/+", "#", "$share/g/a", "$share/g/#", "$share/h/a", "$queue/a", "a/b/c/d/e", "a#", ""];

pub(super) fn version(choices: &mut Unstructured<'_>) -> Result<ProtocolVersion> {
    use ProtocolVersion::{V5, V31, V311};
    choices.choose(&[V5, V5, V311, V31]).copied()
}

pub(super) fn qos(choices: &mut Unstructured<'_>) -> Result<Qos> {
    choices.choose(&[Qos::ExactlyOnce, Qos::AtLeastOnce, Qos::AtMostOnce]).copied()
}

pub(super) fn topic(choices: &mut Unstructured<'_>) -> Result<&'static str> {
    choices.choose(&["a", "a/b", "a/b/c", "$SYS/a"]).copied()
}

pub(super) fn non_zero(choices: &mut Unstructured<'_>) -> Result<Option<NonZeroU16>> {
    Ok(NonZeroU16::new(choices.int_in_range(0..=4)?))
}

pub(super) fn id(choices: &mut Unstructured<'_>) -> Result<PacketId> {
    Ok(PacketId::new(choices.int_in_range(1..=8)?).expect("not zero"))
}

pub(super) fn filter(choices: &mut Unstructured<'_>) -> Result<&'static str> {
    choices.choose(FILTERS).copied()
}

fn reason(choices: &mut Unstructured<'_>) -> Result<ReasonCode> {
    use ReasonCode::{NoMatchingSubscribers, PacketIdentifierNotFound, QuotaExceeded, Success};
    choices
        .choose(&[Success, Success, Success, NoMatchingSubscribers, QuotaExceeded, PacketIdentifierNotFound])
        .copied()
}

/// A PUBLISH of the client.
pub(super) fn publish<'a>(choices: &mut Unstructured<'a>) -> Result<Packet<'a>> {
    let qos = qos(choices)?;
    let packet_id = if qos == Qos::AtMostOnce { None } else { Some(id(choices)?) };
    let topics = ["a", "a/b", "a/b/c/d/e", "", "a/+", "$SYS/a"];
    Ok(Packet::Publish(Publish {
        dup: qos != Qos::AtMostOnce && choices.arbitrary()?,
        qos,
        retain: choices.ratio(1, 4)?,
        topic: choices.choose(&topics)?,
        packet_id,
        properties: PublishProperties {
            payload_format: choices.ratio(1, 4)?.then_some(PayloadFormat::Utf8),
            message_expiry: *choices.choose(&[None, None, Some(0), Some(2)])?,
            topic_alias: non_zero(choices)?,
            response_topic: *choices.choose(&[None, None, Some("r"), Some("r/#")])?,
            subscription_ids: if choices.ratio(1, 16)? { [1].into() } else { Default::default() },
            ..PublishProperties::default()
        },
        payload: choices.choose(&[&b"p"[..], b"\xFF", b""])?,
    }))
}

/// An acknowledgement of anything.
pub(super) fn acknowledgement<'a>(choices: &mut Unstructured<'a>) -> Result<Packet<'a>> {
    let (packet_id, reason, user) = (id(choices)?, reason(choices)?, UserProperties::default());
    Ok(match choices.int_in_range(0..=3)? {
        0 => Packet::PubAck(PubAck { packet_id, reason, reason_string: None, user }),
        1 => Packet::PubRec(PubRec { packet_id, reason, reason_string: None, user }),
        2 => Packet::PubRel(PubRel { packet_id, reason, reason_string: None, user }),
        _ => Packet::PubComp(PubComp { packet_id, reason, reason_string: None, user }),
    })
}

/// A SUBSCRIBE or an UNSUBSCRIBE.
pub(super) fn subscribe<'a>(choices: &mut Unstructured<'a>) -> Result<Packet<'a>> {
    let packet_id = id(choices)?;
    let count = choices.int_in_range(1..=3)?;
    if choices.ratio(1, 3)? {
        let filters = (0..count).map(|_| filter(choices)).collect::<Result<_>>()?;
        return Ok(Packet::Unsubscribe(Unsubscribe { packet_id, user: UserProperties::default(), filters }));
    }
    let filters = (0..count)
        .map(|_| {
            let options = SubscribeOptions {
                qos: qos(choices)?,
                no_local: choices.ratio(1, 4)?,
                retain_as_published: choices.arbitrary()?,
                retain_handling: RetainHandling::SendAlways,
            };
            Ok(SubscribeFilter { filter: filter(choices)?, options })
        })
        .collect::<Result<_>>()?;
    let subscription_id = *choices.choose(&[None, Some(1), Some(300)])?;
    Ok(Packet::Subscribe(Subscribe { packet_id, subscription_id, user: UserProperties::default(), filters }))
}

/// PINGREQ, DISCONNECT or AUTH.
pub(super) fn other<'a>(choices: &mut Unstructured<'a>) -> Result<Packet<'a>> {
    let user = UserProperties::default();
    Ok(match choices.int_in_range(0..=3)? {
        0 => Packet::Disconnect(Disconnect {
            reason: *choices.choose(&[
                ReasonCode::NormalDisconnection,
                ReasonCode::DisconnectWithWill,
                ReasonCode::ServerShuttingDown,
            ])?,
            session_expiry: *choices.choose(&[None, Some(0), Some(7), Some(u32::MAX)])?,
            reason_string: None,
            server_reference: None,
            user,
        }),
        1 => Packet::Auth(Auth {
            reason: *choices.choose(&[ReasonCode::ReAuthenticate, ReasonCode::ContinueAuthentication])?,
            method: *choices.choose(&[Some(METHOD), Some(METHOD), Some("other")])?,
            data: Some(b"data"),
            reason_string: None,
            user,
        }),
        _ => Packet::PingReq,
    })
}
