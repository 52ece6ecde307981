//! Whole packets of a client, so that histories go deep without luck.

use std::num::{NonZeroU16, NonZeroU32};

use arbitrary::{Result, Unstructured};
use flockmq::codec::{
    Auth, Connect, ConnectProperties, Disconnect, Packet, PacketId, ProtocolVersion, PubRel, Publish,
    PublishProperties, Qos, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, SubscribeOptions,
    Unsubscribe, UserProperties, Will, WillProperties,
};

const TOPICS: &[&str] = &["a", "a/b", "a", "b", "a/b", "$SYS/a", "", "a/+"];
const FILTERS: &[&str] =
    &["a", "a/+", "#", "+/#", "$share/g/a", "$share/g/#", "$queue/a", "$SYS/#", "b", "a#"];

/// The CONNECT of a client that has nothing special about it.
pub(super) fn plain_connect(client_id: &str) -> Vec<u8> {
    let version = ProtocolVersion::V5;
    let properties = ConnectProperties { session_expiry: Some(60), ..ConnectProperties::default() };
    let connect =
        Connect { clean_start: false, keep_alive: 0, properties, ..Connect::new(version, client_id) };
    encoded(version, &Packet::Connect(connect))
}

/// Any CONNECT.
pub(super) fn connect(choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    use ProtocolVersion::{V5, V31, V311};
    let version = *choices.choose(&[V5, V311, V31])?;
    let is_5 = version == V5;
    let flags: u8 = choices.arbitrary()?;
    let is_set = |bit: u8| flags & 1 << bit != 0;
    let will = Will {
        topic: choices.choose(TOPICS)?,
        payload: b"will",
        qos: qos(choices)?,
        retain: is_set(0),
        properties: WillProperties { delay: is_5.then_some(5), ..WillProperties::default() },
    };
    let mut properties = ConnectProperties::default();
    if is_5 {
        properties.session_expiry = *choices.choose(&[None, Some(10), Some(u32::MAX)])?;
        properties.receive_maximum = NonZeroU16::new(choices.int_in_range(0..=3)?);
        properties.packet_size_max = NonZeroU32::new(*choices.choose(&[0, 0, 40, 80])?);
        properties.topic_alias_maximum = *choices.choose(&[None, Some(1)])?;
        properties.authentication_method = is_set(1).then_some("SCRAM-SHA-256");
        properties.authentication_data = (is_set(1) && is_set(2)).then_some(b"n,,n=fin,r=abcdefgh");
    }
    let has_password = is_set(3) && is_set(4);
    let connect = Connect {
        clean_start: is_set(5),
        keep_alive: if is_set(6) { 1 } else { 0 },
        will: is_set(7).then_some(will),
        user_name: has_password.then_some("fin"),
        password: has_password.then_some(if is_set(2) { b"feather" } else { b"stone!!" }),
        properties,
        ..Connect::new(version, choices.choose(&["x", "y", ""])?)
    };
    Ok(encoded(version, &Packet::Connect(connect)))
}

pub(super) fn subscribe(version: ProtocolVersion, choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (packet_id, user) = (id(choices)?, UserProperties::default());
    let flags: u8 = choices.arbitrary()?;
    let filter = *choices.choose(FILTERS)?;
    if flags & 0xC0 == 0xC0 {
        return Ok(encoded(
            version,
            &Packet::Unsubscribe(Unsubscribe { packet_id, user, filters: vec![filter] }),
        ));
    }
    let options = SubscribeOptions {
        qos: qos(choices)?,
        no_local: flags & 1 != 0,
        retain_as_published: flags & 2 != 0,
        retain_handling: if flags & 4 != 0 { RetainHandling::SendIfNew } else { RetainHandling::SendAlways },
    };
    let other = SubscribeFilter { filter: "a/b", options };
    let mut filters = vec![SubscribeFilter { filter, options }];
    filters.extend((flags & 8 != 0).then_some(other));
    let subscription_id = (flags & 16 != 0).then_some(7);
    Ok(encoded(version, &Packet::Subscribe(Subscribe { packet_id, subscription_id, user, filters })))
}

pub(super) fn publish(version: ProtocolVersion, choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let qos = qos(choices)?;
    let packet_id = if qos == Qos::AtMostOnce { None } else { Some(id(choices)?) };
    let flags: u8 = choices.arbitrary()?;
    let mut properties = PublishProperties::default();
    if version == ProtocolVersion::V5 {
        properties.topic_alias = (flags & 1 != 0).then_some(NonZeroU16::MIN);
        properties.message_expiry = (flags & 2 != 0).then_some(3);
        properties.content_type = (flags & 4 != 0).then_some("text");
    }
    let payload = vec![b'p'; *choices.choose(&[0, 1, 50, 250, 900])?];
    let publish = Publish {
        dup: flags & 8 != 0 && packet_id.is_some(),
        qos,
        retain: flags & 16 != 0,
        packet_id,
        properties,
        ..Publish::new(choices.choose(TOPICS)?, &payload)
    };
    Ok(encoded(version, &Packet::Publish(publish)))
}

/// PUBREL, PINGREQ, DISCONNECT or AUTH.
pub(super) fn other(version: ProtocolVersion, choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (reason_string, user) = (None, UserProperties::default());
    let packet = match choices.int_in_range(0..=4_u8)? {
        0 => Packet::PubRel(PubRel {
            packet_id: id(choices)?,
            reason: ReasonCode::Success,
            reason_string,
            user,
        }),
        1 => Packet::PingReq,
        2 => Packet::Disconnect(Disconnect::new(ReasonCode::NormalDisconnection)),
        3 => Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWill)),
        _ => Packet::Auth(Auth {
            reason: *choices.choose(&[ReasonCode::ContinueAuthentication, ReasonCode::ReAuthenticate])?,
            method: Some("SCRAM-SHA-256"),
            data: Some(b"c=biws,r=abcdefgh,p=AAAA"),
            reason_string,
            user,
        }),
    };
    Ok(encoded(version, &packet))
}

fn qos(choices: &mut Unstructured<'_>) -> Result<Qos> {
    choices.choose(&[Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtMostOnce]).copied()
}

fn id(choices: &mut Unstructured<'_>) -> Result<PacketId> {
    Ok(PacketId::new(choices.int_in_range(1..=6)?).expect("not zero"))
}

/// Nothing when the version has no form for it.
fn encoded(version: ProtocolVersion, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match packet.encode(version, &mut bytes) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}
