//! The fuzz targets on a stable toolchain: every file of fuzz/corpus, then seeded damages to them. What a long
//! run finds is added there, so that it stays found (docs/testing.md).

#[path = "../support/chance.rs"]
mod chance;
#[path = "../../fuzz/src/lib.rs"]
pub mod targets;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;
use std::{fs, panic};

use chance::Chance;
use targets::{connection, packets, session, topics};

/// The same in every run, so that a failure can be repeated.
const SEED: u64 = 0xF10C;

thread_local! {
    /// Whether something panicked here, even if somebody caught it, as the node's tasks do.
    static HAS_PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// Notes panics from now on.
fn watch_panics() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            HAS_PANICKED.set(true);
            usual(info);
        }));
    });
}

/// Runs the target over its corpus and over so many damaged inputs.
fn smoke(name: &str, damages: usize, target: impl Fn(&[u8])) {
    watch_panics();
    let run = |input: &[u8], origin: &str| {
        if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() || HAS_PANICKED.get() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("target {name}, {origin}, input {hex}");
        }
    };
    let seeds = corpus(name);
    assert!(!seeds.is_empty(), "fuzz/corpus/{name} has files");
    for (file, input) in &seeds {
        run(input, file);
    }
    let mut chance = Chance::new(SEED);
    for n in 0..damages {
        let mut input = seeds[chance.below(seeds.len())].1.clone();
        match chance.below(8) {
            // The beginning of one with the end of another.
            0 | 1 => {
                let other = &seeds[chance.below(seeds.len())].1;
                input.truncate(chance.below(input.len() + 1));
                input.extend_from_slice(&other[chance.below(other.len() + 1)..]);
            }
            2 => input.extend(chance.bytes(32)),
            _ => {}
        }
        chance.damage(&mut input);
        run(&input, &format!("damage {n} of seed {SEED:#x}"));
    }
}

/// Names and contents, in the order of the names.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder is readable").path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| (file.display().to_string(), fs::read(file).expect("the file is readable")))
        .collect()
}

#[test]
fn packets_of_3_1_are_decoded_or_refused() {
    smoke("codec_v31", 20_000, packets::v31);
}

#[test]
fn packets_of_3_1_1_are_decoded_or_refused() {
    smoke("codec_v311", 20_000, packets::v311);
}

#[test]
fn packets_of_5_are_decoded_or_refused() {
    smoke("codec_v5", 20_000, packets::v5);
}

#[test]
fn topics_are_found_as_the_standard_says() {
    smoke("topics", 10_000, topics::check);
}

#[test]
fn a_session_keeps_its_promises() {
    smoke("session", 20_000, session::check);
}

#[test]
fn a_bystander_is_left_in_peace() {
    smoke("connection", 4_000, connection::check);
}
