//! `[retained]`: the limits of the retained messages.

use super::error::ConfigError;
use super::kind::{boolean, bytes};
use super::mqtt::count;
use super::section::Reader;
use crate::broker::RetainedSettings;

/// The limits, and whether messages may be retained at all.
pub(super) fn read(reader: &mut Reader) -> Result<(RetainedSettings, bool), ConfigError> {
    let mut settings = RetainedSettings::default();
    let mut available = true;
    let mut section = reader.section("retained")?;
    section.fill("available", boolean, &mut available)?;
    section.fill("max_messages", count(0..=100_000_000), &mut settings.messages_max)?;
    section.fill("max_payload", bytes(0..=256 << 20), &mut settings.payload_max)?;
    section.fill("max_bytes", bytes(0..=1 << 40), &mut settings.bytes_max)?;
    reader.close(section);
    Ok((settings, available))
}
