//! Every normative statement about servers has a test that names it, or a written reason.

use std::process::Command;

#[test]
fn every_statement_about_servers_is_tested_or_explained() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/spec-coverage");
    let output = Command::new(script).arg("--missing").output().expect("scripts/spec-coverage runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{wrong}\n{said}");
}
