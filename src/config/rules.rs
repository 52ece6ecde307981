//! `[[rewrite]]` and `[[auto_subscribe]]`: what the node makes of the topics that clients ask for, and what it
//! subscribes them to.

use super::error::ConfigError;
use super::kind::{boolean, integer, text, word};
use super::section::{Placed, Reader, Section};
use crate::broker::{AutoSubscribeSettings, RewriteSettings};

/// Every `[[rewrite]]`, in its order.
pub(super) fn read_rewrites(reader: &mut Reader) -> Result<RewriteSettings, ConfigError> {
    let mut settings = RewriteSettings::default();
    each(reader, "rewrite", |section| add_rewrite(section, &mut settings))?;
    Ok(settings)
}

/// Every `[[auto_subscribe]]`, in its order.
pub(super) fn read_auto_subscribe(reader: &mut Reader) -> Result<AutoSubscribeSettings, ConfigError> {
    let mut settings = AutoSubscribeSettings::default();
    each(reader, "auto_subscribe", |section| add_auto_subscription(section, &mut settings))?;
    Ok(settings)
}

/// Reads all sections of a name. When there is none an empty one is read, so that its keys are known for
/// suggestions and listings.
fn each(
    reader: &mut Reader,
    name: &'static str,
    mut read: impl FnMut(&mut Section) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    let sections = match reader.sections(name)? {
        Some(sections) => sections,
        None => vec![reader.stand_in(name, format!("{name}.0"))],
    };
    for mut section in sections {
        read(&mut section)?;
        reader.close(section);
    }
    Ok(())
}

fn add_rewrite(section: &mut Section, settings: &mut RewriteSettings) -> Result<(), ConfigError> {
    let (_, mut action) = RewriteSettings::ACTIONS[0];
    section.fill("action", word(RewriteSettings::ACTIONS), &mut action)?;
    let texts = [required(section, "source")?, required(section, "pattern")?, required(section, "target")?];
    let [Some(source), Some(pattern), Some(target)] = texts else { return Ok(()) };
    settings.add(action, &source.value, &pattern.value, &target.value).map_err(|(key, problem)| {
        let place = match key {
            "pattern" => &pattern.place,
            "target" => &target.place,
            _ => &source.place,
        };
        place.error(problem)
    })
}

fn add_auto_subscription(
    section: &mut Section,
    settings: &mut AutoSubscribeSettings,
) -> Result<(), ConfigError> {
    let filter = required(section, "filter")?;
    let (mut qos, mut no_local, mut retain_as_published, mut retain_handling) = (0, false, false, 0);
    section.fill("qos", integer(0..=2_u8), &mut qos)?;
    let no_local_place = section.fill("no_local", boolean, &mut no_local)?;
    section.fill("retain_as_published", boolean, &mut retain_as_published)?;
    section.fill("retain_handling", integer(0..=2_u8), &mut retain_handling)?;
    let Some(filter) = filter else { return Ok(()) };
    let added = settings.add(&filter.value, qos, no_local, retain_as_published, retain_handling);
    added.map_err(|(key, problem)| {
        let place = if key == "no_local" { &no_local_place } else { &filter.place };
        place.error(problem)
    })
}

/// A text that every section of the kind has; `None` only in one that stands in no source.
fn required(section: &mut Section, key: &'static str) -> Result<Option<Placed<String>>, ConfigError> {
    let placed = section.take(key, text)?;
    if placed.is_none() && section.is_present() {
        return Err(section.place(key).error("has to be set"));
    }
    Ok(placed)
}
