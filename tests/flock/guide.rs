//! The operator's guide says what a node really shows.

use std::collections::BTreeSet;
use std::fs;

use crate::support::flock::Flock;
use crate::support::http;
use crate::support::mqtt::{Client, Options, Version};

#[test]
fn every_metric_and_every_reason_of_a_drop_is_explained() {
    let flock = Flock::start(2);
    let client = Client::connect(flock.nodes[0].mqtt(), &Options::new(Version::V5, "counted"));
    client.disconnect();
    let page = http::get(flock.nodes[0].http(), "/metrics").expect("the page is there").body;
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let guide = fs::read_to_string(guide).expect("the guide is there");

    // Counters stand in the guide as in a sample, with `_total`. What was never counted is not on the page yet.
    let shown: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    assert!(!shown.is_empty(), "{page}");
    let unexplained: Vec<&String> =
        shown.iter().filter(|name| !guide.contains(&format!("| `{name}` |"))).collect();
    assert!(unexplained.is_empty(), "the guide does not explain {unexplained:?}");

    let drops = page.lines().filter_map(|line| line.strip_prefix("flockmq_messages_dropped_total{reason=\""));
    for reason in drops.filter_map(|rest| rest.split('"').next()) {
        assert!(guide.contains(&format!("`{reason}`")), "the guide does not explain the reason {reason}");
    }
}
