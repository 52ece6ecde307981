//! `[mqtt]` and `[listener.mqtt]`: the limits of one client's session. `[retained]`, `[delayed]`: those of what is kept
//! for everybody.

use std::time::Duration;

use super::error::ConfigError;
use super::kind::{Fit, boolean, bytes, duration, duration_or_never, integer, text, word};
use super::section::{Reader, Section};
use super::tree::Node;
use crate::broker::{Overlapping, Settings as BrokerSettings, SharedStrategy};
use crate::session::Settings;

/// The largest packet that MQTT can express: fixed header and 268,435,455 bytes behind it.
const PACKET_SIZE_MAX: u32 = 268_435_460;

/// The name of the section; a listener's own limits stand in a section of the same name below it.
pub(super) const SECTION: &str = "mqtt";

pub(super) fn read(reader: &mut Reader) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    let mut section = reader.section(SECTION)?;
    fill(&mut section, &mut settings)?;
    reader.close(section);
    Ok(settings)
}

/// Takes what the section names over into `settings`.
pub(super) fn fill(section: &mut Section, settings: &mut Settings) -> Result<(), ConfigError> {
    section.fill("receive_maximum", integer(1..=u16::MAX), &mut settings.receive_maximum)?;
    section.fill("max_inflight", integer(1..=u16::MAX), &mut settings.inflight_max)?;
    section.fill("max_queue", count(0..=10_000_000), &mut settings.queue_len_max)?;
    section.fill("max_queue_bytes", bytes(0..=1 << 40), &mut settings.queue_bytes_max)?;
    section.fill(
        "queue_drop",
        word(&[("newest", false), ("oldest", true)]),
        &mut settings.queue_drops_oldest,
    )?;
    section.fill("max_outbox_bytes", bytes(4 << 10..=1 << 40), &mut settings.outbox_bytes_max)?;
    let expiry = Duration::ZERO..=Duration::from_secs(u64::from(u32::MAX) - 1);
    let place =
        section.fill("session_expiry_max", duration_or_never(expiry), &mut settings.session_expiry_max)?;
    if settings.session_expiry_max.is_some_and(|max| max.subsec_nanos() != 0) {
        return Err(place.error("MQTT counts whole seconds here"));
    }
    let place = section.fill("min_keep_alive", integer(0..=u16::MAX), &mut settings.keep_alive_min)?;
    section.fill("max_keep_alive", integer(1..=u16::MAX), &mut settings.keep_alive_max)?;
    if settings.keep_alive_max < settings.keep_alive_min {
        let (min, max) = (settings.keep_alive_min, settings.keep_alive_max);
        return Err(place.error(format!("{min} is more than max_keep_alive, {max}")));
    }
    section.fill("max_packet_size", bytes(128..=PACKET_SIZE_MAX), &mut settings.packet_size_max)?;
    section.fill("topic_alias_maximum", integer(0..=u16::MAX), &mut settings.topic_alias_maximum)?;
    section.fill("max_topic_aliases_made", integer(0..=u16::MAX), &mut settings.topic_aliases_made_max)?;
    let mut information = settings.response_information.take().unwrap_or_default().into_string();
    section.fill("response_information", mqtt_text, &mut information)?;
    settings.response_information = (!information.is_empty()).then(|| information.into());
    section.fill("payload_format_check", boolean, &mut settings.payload_format_check)?;
    section.fill("max_subscriptions_per_client", count(1..=10_000_000), &mut settings.subscriptions_max)?;
    section.fill("max_topic_levels", count(1..=65_535), &mut settings.topic_levels_max)?;
    section.fill("max_topic_len", count(1..=65_535), &mut settings.topic_len_max)?;
    section.fill("max_client_id_len", count(23..=65_535), &mut settings.client_id_len_max)?;
    section.fill("max_message_rate", integer(0..=u32::MAX), &mut settings.message_rate_max)?;
    section.fill("max_byte_rate", bytes(0..=1 << 40), &mut settings.byte_rate_max)?;
    let mut qos_max = settings.qos_max as u8;
    section.fill("max_qos", integer(0..=2_u8), &mut qos_max)?;
    settings.set_qos_max(qos_max);
    section.fill("retain_available", boolean, &mut settings.retain_available)?;
    section.fill("shared_available", boolean, &mut settings.shared_available)?;
    section.fill("exclusive_available", boolean, &mut settings.exclusive_available)?;
    section.fill("wildcard_available", boolean, &mut settings.wildcard_available)?;
    section.fill("subscription_ids_available", boolean, &mut settings.subscription_ids_available)?;
    Ok(())
}

/// A text that fits into an MQTT packet [MQTT5-1.5.4-2].
fn mqtt_text(node: &Node) -> Fit<String> {
    let text = text(node)?;
    if text.contains('\0') || text.len() > usize::from(u16::MAX) {
        return Err("MQTT has no texts with U+0000 or more than 65535 bytes".to_owned().into());
    }
    Ok(text)
}

/// The limits of what the broker keeps.
pub(super) fn read_broker(reader: &mut Reader) -> Result<BrokerSettings, ConfigError> {
    let mut settings = BrokerSettings::default();
    let mut section = reader.section("sys")?;
    let interval = Duration::ZERO..=Duration::from_secs(24 * 60 * 60);
    section.fill("interval", duration(interval), &mut settings.sys_interval)?;
    reader.close(section);
    let mut section = reader.section("subscriptions")?;
    section.fill("overlapping", word(Overlapping::WORDS), &mut settings.overlapping)?;
    reader.close(section);
    let mut section = reader.section("shared")?;
    section.fill("strategy", word(SharedStrategy::WORDS), &mut settings.shared.strategy)?;
    reader.close(section);
    let retained = &mut settings.retained;
    let mut section = reader.section("retained")?;
    section.fill("max_messages", count(0..=u32::MAX), &mut retained.messages_max)?;
    section.fill("max_payload", bytes(0..=PACKET_SIZE_MAX as usize), &mut retained.payload_max)?;
    section.fill("max_bytes", bytes(0..=1 << 40), &mut retained.bytes_max)?;
    reader.close(section);
    let delayed = &mut settings.delayed;
    let mut section = reader.section("delayed")?;
    section.fill("max_messages", count(0..=u32::MAX), &mut delayed.messages_max)?;
    section.fill("max_bytes", bytes(0..=1 << 40), &mut delayed.bytes_max)?;
    section.fill("max_seconds", integer(0..=u32::MAX), &mut delayed.seconds_max)?;
    reader.close(section);
    Ok(settings)
}

/// A number of things.
pub(super) fn count(range: std::ops::RangeInclusive<u32>) -> impl Fn(&Node) -> Fit<usize> {
    let integer = integer(range);
    move |node| integer(node).map(|count| count as usize)
}
