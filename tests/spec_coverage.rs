//! Every normative statement about servers has a test that names it, or a written reason; docs/mqtt.md has the limits.

use std::process::Command;

#[test]
fn every_statement_about_servers_is_tested_or_explained() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/spec-coverage");
    let output = Command::new(script).arg("--missing").output().expect("scripts/spec-coverage runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{wrong}\n{said}");
}

/// docs/mqtt.md promises to have every limit with its default: config/flockmq.toml has them too.
#[test]
fn the_limits_are_documented_with_their_defaults() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).expect("the file is there");
    let page = read("docs/mqtt.md");
    let described = read("config/flockmq.toml");
    let mut section = String::new();
    let mut seen = 0;
    for line in described.lines() {
        // Sections that are not there by themselves are commented out.
        let header = line.strip_prefix('#').unwrap_or(line);
        if header.starts_with('[') && header.ends_with(']') {
            section = header.trim_matches(['[', ']']).to_owned();
        }
        let Some((key, default)) = line.strip_prefix('#').and_then(|rest| rest.split_once(" = ")) else {
            continue;
        };
        if !matches!(section.as_str(), "mqtt" | "retained") || key.contains(' ') {
            continue;
        }
        let default = if default == "\"\"" { default } else { default.trim_matches('"') };
        let row = format!("| `{section}.{key}` | {default} |");
        assert!(page.contains(&row), "docs/mqtt.md has no row that begins with {row}");
        seen += 1;
    }
    assert!(seen >= 25, "only {seen} keys found");
}
