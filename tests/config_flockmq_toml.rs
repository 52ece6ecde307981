//! `config/flockmq.toml` describes every key there is, with the defaults of the code; and the configuration of
//! the three example nodes loads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flockmq::config::{Config, Overrides, keys, load};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// One `#key = value` line of the file.
struct Entry {
    section: String,
    header: String,
    line: String,
    has_default: bool,
}

impl Entry {
    fn key(&self) -> String {
        let key = self.line.split('=').next().unwrap().trim();
        if self.section.is_empty() { key.to_owned() } else { format!("{}.{key}", self.section) }
    }
}

/// The file's commented-out keys with their sections. A comment that is prose has a space after its `#`.
fn entries() -> Vec<Entry> {
    let text = std::fs::read_to_string(shipped("flockmq.toml")).unwrap();
    let mut entries = Vec::new();
    let (mut section, mut header) = (String::new(), String::new());
    for line in text.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        if bare.starts_with('[') {
            header = bare.to_owned();
            section = bare.trim_matches(['[', ']']).to_owned();
        } else if !bare.is_empty() && !bare.starts_with([' ', '#']) {
            assert!(line.starts_with('#'), "{line:?} sets something: every key is commented out");
            let has_default = !bare.ends_with("# no default");
            let (section, header) = (section.clone(), header.clone());
            entries.push(Entry { section, header, line: bare.to_owned(), has_default });
        }
    }
    entries
}

fn load_text(text: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    load(Some(file.path()), [("HOSTNAME".to_owned(), "here".to_owned())], &Overrides::default())
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_key_of_the_code_is_described_and_every_described_key_exists() {
    let described: BTreeSet<String> = entries().iter().map(Entry::key).collect();
    let known: BTreeSet<String> = keys().into_iter().collect();
    assert_eq!(described, known);
    assert_eq!(described.len(), entries().len(), "a key is described twice");
}

#[test]
fn as_it_is_the_file_changes_nothing() {
    let environment = || [("HOSTNAME".to_owned(), "here".to_owned())];
    let shipped = load(Some(&shipped("flockmq.toml")), environment(), &Overrides::default()).unwrap();
    let defaults = load(None, environment(), &Overrides::default()).unwrap();
    assert_eq!(format!("{shipped:#?}"), format!("{defaults:#?}"));
}

#[test]
fn the_described_defaults_are_those_of_the_code() {
    let mut text = String::new();
    let mut header = String::new();
    for entry in entries().iter().filter(|entry| entry.has_default) {
        if header != entry.header {
            header.clone_from(&entry.header);
            text.push_str(&format!("{header}\n"));
        }
        text.push_str(&format!("{}\n", entry.line));
    }
    let described = load_text(&text);
    let defaults = load_text("[cluster]");
    assert_eq!(format!("{described:#?}"), format!("{defaults:#?}"));
}

/// Sections that are there only where they stand, with keys that need each other.
const WHOLE_SECTIONS: [&str; 2] = ["[[rewrite]]", "[[auto_subscribe]]"];

#[test]
fn sections_that_can_be_added_are_right_as_a_whole() {
    for header in WHOLE_SECTIONS {
        let lines = |entries: &[Entry]| {
            let lines = entries.iter().filter(|entry| entry.header == header);
            lines.map(|entry| format!("{}\n", entry.line)).collect::<String>()
        };
        let whole = lines(&entries());
        let config = load_text(&format!("{header}\n{whole}"));
        assert_ne!(format!("{config:#?}"), format!("{:#?}", load_text("")), "{header} changes something");
        // Keys that may be missing show what they are then.
        let needed: Vec<Entry> =
            entries().into_iter().filter(|entry| is_needed(header, &entry.line)).collect();
        let shortest = load_text(&format!("{header}\n{}", lines(&needed)));
        assert_eq!(format!("{config:#?}"), format!("{shortest:#?}"));
    }
}

/// Whether the section cannot do without the key of this line.
fn is_needed(header: &str, line: &str) -> bool {
    let keys: &[&str] = if header == "[[rewrite]]" { &["source", "pattern", "target"] } else { &["filter"] };
    keys.iter().any(|key| line.starts_with(&format!("{key} =")))
}

/// `[listener.mqtt]` takes exactly the keys of `[mqtt]`; its own description says no more.
#[test]
fn every_limit_of_a_session_can_be_set_for_one_listener() {
    let lines: Vec<String> =
        entries().into_iter().filter(|entry| entry.section == "mqtt").map(|entry| entry.line).collect();
    assert!(lines.len() > 20, "{lines:?}");
    let config = load_text(&format!("[[listener]]\n[listener.mqtt]\n{}\n", lines.join("\n")));
    assert_eq!(config.server.listeners[0].session, Some(config.session));
}

#[test]
fn examples_of_keys_without_a_default_are_right() {
    let alone = |entry: &&Entry| !entry.has_default && !WHOLE_SECTIONS.contains(&entry.header.as_str());
    for entry in entries().iter().filter(alone) {
        let text = format!("{}\n{}\n", entry.header, entry.line);
        if entry.key() == "cluster.secret_file" {
            continue; // Its example is a file that is not there.
        }
        load_text(&text);
    }
}

#[test]
fn every_description_has_a_sentence() {
    let text = std::fs::read_to_string(shipped("flockmq.toml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (n, line) in lines.iter().enumerate() {
        let is_key = line.starts_with('#') && !line.starts_with("# ") && line.contains(" = ");
        if is_key {
            assert!(lines[n - 1].starts_with("# "), "line {}: {line:?} has no description", n + 1);
        }
    }
}

#[test]
fn the_three_example_nodes_are_one_cluster_on_ports_of_their_own() {
    let nodes: Vec<Config> = (1..=3)
        .map(|n| load(Some(&shipped(&format!("node{n}.toml"))), [], &Overrides::default()).unwrap())
        .collect();
    let cluster = |n: usize| nodes[n].cluster.as_ref().unwrap();
    let mut ports = BTreeSet::new();
    for (n, node) in nodes.iter().enumerate() {
        assert_eq!(node.node_name, format!("node{}", n + 1));
        assert_eq!(node.data_dir, Some(PathBuf::from(format!("data/node{}", n + 1))));
        assert_eq!(cluster(n).name, cluster(0).name);
        assert_eq!(cluster(n).node_address, cluster(0).node_address);
        assert!(cluster(n).secret.is_some() && cluster(n).secret == cluster(0).secret);
        assert!(cluster(n).node_address.contains(&cluster(n).listen.to_string()));
        ports.extend([cluster(n).listen, node.server.listeners[0].bind, node.http.bind]);
    }
    assert_eq!(ports.len(), 9);
}
