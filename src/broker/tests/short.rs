//! Packets that a client receives, in one line each.

use crate::codec::{Packet, Publish};

/// For instance `PUBLISH a/b:payload q1 #7 dup retain expiry=5 ids=[3]`, `PUBACK #7 Success`.
pub(super) fn short(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(it) => publish(it),
        Packet::ConnAck(it) => {
            let present = if it.session_present { " present" } else { "" };
            format!("CONNACK {}{present}", it.reason.name())
        }
        Packet::PubAck(it) => format!("PUBACK #{} {}", it.packet_id, it.reason.name()),
        Packet::PubRec(it) => format!("PUBREC #{} {}", it.packet_id, it.reason.name()),
        Packet::PubRel(it) => format!("PUBREL #{} {}", it.packet_id, it.reason.name()),
        Packet::PubComp(it) => format!("PUBCOMP #{} {}", it.packet_id, it.reason.name()),
        Packet::SubAck(it) => format!("SUBACK {}", names(&it.codes)),
        Packet::UnsubAck(it) => format!("UNSUBACK {}", names(&it.codes)),
        Packet::Disconnect(it) => format!("DISCONNECT {}", it.reason.name()),
        Packet::PingResp => "PINGRESP".to_owned(),
        other => format!("{other:?}"),
    }
}

fn publish(publish: &Publish<'_>) -> String {
    let mut text = format!(
        "PUBLISH {}:{} q{}",
        publish.topic,
        String::from_utf8_lossy(publish.payload),
        publish.qos as u8
    );
    if let Some(id) = publish.packet_id {
        text += &format!(" #{id}");
    }
    if publish.dup {
        text += " dup";
    }
    if publish.retain {
        text += " retain";
    }
    if let Some(seconds) = publish.properties.message_expiry {
        text += &format!(" expiry={seconds}");
    }
    let ids = &publish.properties.subscription_ids;
    if !ids.is_empty() {
        text += &format!(" ids={ids:?}");
    }
    text
}

fn names(codes: &[crate::codec::ReasonCode]) -> String {
    codes.iter().map(|code| code.name()).collect::<Vec<_>>().join(" ")
}
