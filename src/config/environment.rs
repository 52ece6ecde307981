//! Environment variables: `FLOCKMQ__SECTION__KEY`, `FLOCKMQ__KEY`, `FLOCKMQ__LISTENER__0__KEY`.

use super::error::{ConfigError, Origin};
use super::tree::{Table, overlay};

const PREFIX: &str = "FLOCKMQ__";

/// Lays every variable that is meant for us over the tree.
pub(super) fn overlay_environment(
    root: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    let mut ours = Vec::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        let origin = Origin::Environment(name.as_str().into());
        if path.iter().any(String::is_empty) {
            return Err(ConfigError::new(&origin, "", "is not of the form FLOCKMQ__SECTION__KEY"));
        }
        ours.push((path, text, origin));
    }
    // The order of the environment is chance: entries of an array are appended in the order of their numbers.
    ours.sort_by_cached_key(|(path, _, _)| {
        path.iter()
            .map(|segment| (segment.parse::<usize>().unwrap_or(usize::MAX), segment.clone()))
            .collect::<Vec<_>>()
    });
    for (path, text, origin) in ours {
        overlay(root, &path, text, &origin)?;
    }
    Ok(())
}
