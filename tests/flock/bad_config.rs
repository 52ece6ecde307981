//! A bad config stops the start with one clear line and a non-zero exit code.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::Output;

use crate::support::flock::Flock;
use crate::support::node::{Spec, flockmq};
use crate::support::{PATIENCE, wait_for};

/// Writes the config, runs `serve` with it, and expects one line on stderr that names all of `words`.
#[track_caller]
fn check_refused(config: &str, words: &[&str]) {
    check_one_line(&run(config, &["serve", "--config"]), words);
}

/// The same for a fault that can be seen without starting.
#[track_caller]
fn check_refused_unstarted(config: &str, words: &[&str]) {
    check_refused(config, words);
    check_one_line(&run(config, &["check-config"]), words);
}

fn run(config: &str, command: &[&str]) -> Output {
    let flock = Flock::empty();
    let path = flock.directory().join("bad.toml");
    fs::write(&path, config).expect("the config can be written");
    let path = path.display().to_string();
    let arguments: Vec<&str> = command.iter().copied().chain([path.as_str()]).collect();
    flockmq(&arguments)
}

#[track_caller]
fn check_one_line(output: &Output, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(0), "it must fail: {output:?}");
    assert!(output.status.code().is_some(), "it must exit by itself: {output:?}");
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "one clear line: {stderr}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is not in: {}", lines[0]);
    }
}

/// A config that would start, with its text changed.
fn config(change: impl FnOnce(String) -> String) -> String {
    let directory = Flock::empty();
    change(Spec::new("node1").config(&directory.directory().join("data")))
}

/// `bad.toml` and the line on which `text` stands, as an error names them.
fn place(config: &str, text: &str) -> String {
    let line =
        1 + config.lines().position(|line| line.contains(text)).expect("the text stands in the config");
    format!("bad.toml:{line}")
}

#[test]
fn an_unmodified_config_of_these_tests_passes() {
    let output = run(&config(|text| text), &["check-config"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_one_suggested() {
    let text = config(|text| text.replace("node_address", "node_adress"));
    check_refused_unstarted(&text, &["node_adress", "node_address", &place(&text, "node_adress")]);
}

#[test]
fn an_unknown_section_is_refused() {
    let text = config(|text| text.replace("[http]", "[htpp]"));
    check_refused_unstarted(&text, &["htpp", "http", &place(&text, "[htpp]")]);
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    let text = config(|text| text.replace("allow_anonymous = true", "allow_anonymous = \"maybe\""));
    check_refused_unstarted(&text, &["allow_anonymous", &place(&text, "allow_anonymous")]);
}

#[test]
fn a_value_that_makes_no_sense_is_refused() {
    let text = config(|text| text.replace("listen = \"127.0.0.1:", "listen = \"127.0.0.1:x"));
    check_refused_unstarted(&text, &["listen", &place(&text, "listen = ")]);
}

#[test]
fn broken_toml_is_refused() {
    let text = config(|text| text.replace("[auth]", "[auth"));
    check_refused_unstarted(&text, &[&place(&text, "[auth")]);
}

#[test]
fn a_missing_file_is_named() {
    let output = flockmq(&["serve", "--config", "/nowhere/flockmq.toml"]);
    check_one_line(&output, &["/nowhere/flockmq.toml"]);
}

#[test]
fn a_listener_given_twice_is_refused() {
    let text = config(|text| {
        let bind = text.lines().find(|line| line.starts_with("bind")).expect("it has a listener");
        format!("{text}\n[[listener]]\ntype = \"tcp\"\n{bind}\n")
    });
    check_refused_unstarted(&text, &["bind", "bad.toml:"]);
}

#[test]
fn a_cluster_address_beyond_loopback_needs_a_secret() {
    let text = config(|text| {
        let without_secret: Vec<&str> = text.lines().filter(|line| !line.starts_with("secret")).collect();
        without_secret.join("\n").replace("listen = \"127.0.0.1:", "listen = \"0.0.0.0:")
    });
    check_refused_unstarted(&text, &["secret", "bad.toml"]);
}

#[test]
fn a_port_in_use_is_named() {
    let spec = Spec::new("node1");
    let directory = Flock::empty();
    let text = spec.config(&directory.directory().join("data"));
    for port in [spec.mqtt_port, spec.mesh_port, spec.http_port] {
        // Another test may be starting a process, which holds all sockets of this one for a moment: also those with which
        // a free port was looked for.
        let taken = wait_for("the port is free", PATIENCE, || TcpListener::bind(("127.0.0.1", port)).ok());
        check_refused(&text, &[&format!("127.0.0.1:{port}"), "in use"]);
        drop(taken);
    }
    let taken =
        wait_for("the port is free", PATIENCE, || UdpSocket::bind(("127.0.0.1", spec.mesh_port)).ok());
    check_refused(&text, &[&format!("127.0.0.1:{}", spec.mesh_port), "in use"]);
    drop(taken);
}
