//! The text form of what a node advertises: a few short keys, overwritten and never deleted. Sans-io.
//!
//! | key | value |
//! |---|---|
//! | `name`, `mesh`, `http` | label; mesh address; HTTP address or empty |
//! | `ver` | version of the broker |
//! | `rt` | digest of the own routes: incarnation, sequence, count, hash in hex, `:` between |
//! | `vv` | positions of others' routes: 32 bytes each (id, incarnation, sequence, big-endian), base64 |
//! | `d0`..`d3` | the newest deltas in base64, a ring |
//! | `bye` | `1` when the node leaves on purpose, else empty |
//! | `x0` | forgotten nodes: 24 bytes each (id, last life that is refused, big-endian), base64 |

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::envelope::VALUE_BYTES_MAX;
use super::forgotten::Floor;
use super::membership::{ADDRESS_BYTES_MAX, Advertised, NAME_BYTES_MAX, RECENT_BYTES_MAX, RECENT_MAX};
use super::node_id::NodeId;
use super::routes::{Digest, Position};

/// The ring of newest deltas.
pub(super) const RING_KEYS: [&str; RECENT_MAX] = ["d0", "d1", "d2", "d3"];
/// Positions that fit into `vv`.
pub(super) const HAVE_MAX: usize = 6;
/// One position: Node Id, incarnation, sequence.
const HAVE_BYTES: usize = 16 + 8 + 8;
/// Forgotten nodes that fit into `x0`.
const FORGOTTEN_SHOWN: usize = 3;
/// One forgotten node: Node Id, incarnation.
const FLOOR_BYTES: usize = 16 + 8;

/// What a node tells from its first moment on.
pub(super) fn initial(name: &str, mesh_address: &str) -> Vec<(String, String)> {
    [("name", name), ("mesh", mesh_address), ("ver", env!("CARGO_PKG_VERSION"))]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The value that says goodbye.
pub(super) fn leaving() -> (&'static str, String) {
    ("bye", "1".to_owned())
}

/// Every value but the ring. Lists that are too long are shown a piece at a time, round and round; `round` counts up.
pub(super) fn values(advertised: &Advertised, round: usize) -> Vec<(&'static str, String)> {
    let have = slice(&advertised.have, HAVE_MAX, round).flat_map(|(id, position)| {
        [
            id.as_u128().to_be_bytes().as_slice(),
            &position.incarnation.to_be_bytes(),
            &position.seq.to_be_bytes(),
        ]
        .concat()
    });
    let forgotten = slice(&advertised.forgotten, FORGOTTEN_SHOWN, round)
        .flat_map(|(id, floor)| [id.as_u128().to_be_bytes().as_slice(), &floor.to_be_bytes()].concat());
    let mut values = vec![
        ("vv", BASE64.encode(have.collect::<Vec<u8>>())),
        ("http", advertised.http.clone().filter(|http| http.len() <= ADDRESS_BYTES_MAX).unwrap_or_default()),
    ];
    // A node that never heard of a forgotten one does not mention it, as nodes of the release before.
    if !advertised.forgotten.is_empty() {
        values.push(("x0", BASE64.encode(forgotten.collect::<Vec<u8>>())));
    }
    values.extend(advertised.digest.map(|digest| ("rt", digest_text(digest))));
    if advertised.leaving {
        values.push(leaving());
    }
    values
}

/// As many entries as are shown at a time, those of this round.
fn slice<T>(entries: &[T], shown_max: usize, round: usize) -> impl Iterator<Item = &T> {
    let start = if entries.len() <= shown_max { 0 } else { round.wrapping_mul(shown_max) % entries.len() };
    entries.iter().cycle().skip(start).take(entries.len().min(shown_max))
}

/// The deltas that may go into the ring; one that is too long travels over the mesh only.
pub(super) fn ring_values(recent: &[Vec<u8>]) -> Vec<String> {
    let newest = &recent[recent.len().saturating_sub(RECENT_MAX)..];
    newest.iter().filter(|delta| delta.len() <= RECENT_BYTES_MAX).map(|delta| BASE64.encode(delta)).collect()
}

fn digest_text(digest: Digest) -> String {
    let Digest { position: Position { incarnation, seq }, count, hash } = digest;
    format!("{incarnation:x}:{seq:x}:{count:x}:{hash:x}")
}

/// What could be read of a node's values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) name: Option<String>,
    pub(super) mesh_address: Option<String>,
    pub(super) advertised: Advertised,
    /// A known key had a value that makes no sense; it counts as absent.
    pub(super) malformed: bool,
}

/// Reads a node's values. Keys of later versions are passed over.
pub(super) fn parse(values: &[(String, String)]) -> Parsed {
    let mut parsed = Parsed::default();
    for (key, value) in values {
        let is_well_formed = parsed.read(key, value);
        parsed.malformed |= !is_well_formed;
    }
    parsed
}

impl Parsed {
    /// False when the value is malformed.
    fn read(&mut self, key: &str, value: &str) -> bool {
        let advertised = &mut self.advertised;
        match key {
            "name" => keep(&mut self.name, Some(value).filter(|name| is_name(name)).map(str::to_owned)),
            "mesh" => keep(&mut self.mesh_address, address(value)),
            "http" => value.is_empty() || keep(&mut advertised.http, address(value)),
            "rt" => keep(&mut advertised.digest, parse_digest(value)),
            "vv" => match parse_have(value) {
                Some(have) => {
                    advertised.have = have;
                    true
                }
                None => false,
            },
            "x0" => match parse_forgotten(value) {
                Some(forgotten) => {
                    advertised.forgotten = forgotten;
                    true
                }
                None => false,
            },
            "bye" => {
                advertised.leaving = value == "1";
                advertised.leaving || value.is_empty()
            }
            _ if RING_KEYS.contains(&key) => match decode(value) {
                Some(delta) => {
                    advertised.recent.push(delta);
                    true
                }
                None => false,
            },
            _ => true,
        }
    }
}

fn keep<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// `host:port`, not resolved: letters, digits and what names and IPv6 addresses are made of.
fn address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte));
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    (is_host && is_port && text.len() <= ADDRESS_BYTES_MAX).then(|| text.to_owned())
}

fn parse_digest(text: &str) -> Option<Digest> {
    let mut fields = text.split(':').map(|field| u64::from_str_radix(field, 16).ok());
    let mut next = || fields.next().flatten();
    let position = Position { incarnation: next()?, seq: next()? };
    let digest = Digest { position, count: next()?, hash: next()? };
    fields.next().is_none().then_some(digest)
}

fn parse_have(text: &str) -> Option<Vec<(NodeId, Position)>> {
    let bytes = decode(text)?;
    let (entries, rest) = bytes.as_chunks::<HAVE_BYTES>();
    let have = entries.iter().map(|entry| {
        let (id, position) = entry.split_at(16);
        let (incarnation, seq) = position.split_at(8);
        let id = NodeId::new(u128::from_be_bytes(id.try_into().ok()?));
        let incarnation = u64::from_be_bytes(incarnation.try_into().ok()?);
        Some((id, Position { incarnation, seq: u64::from_be_bytes(seq.try_into().ok()?) }))
    });
    if rest.is_empty() { have.collect() } else { None }
}

fn parse_forgotten(text: &str) -> Option<Vec<Floor>> {
    let bytes = decode(text)?;
    let (entries, rest) = bytes.as_chunks::<FLOOR_BYTES>();
    let floors = entries.iter().map(|entry| {
        let (id, floor) = entry.split_at(16);
        let id = NodeId::new(u128::from_be_bytes(id.try_into().ok()?));
        Some((id, u64::from_be_bytes(floor.try_into().ok()?)))
    });
    if rest.is_empty() { floors.collect() } else { None }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    if text.len() > VALUE_BYTES_MAX { None } else { BASE64.decode(text).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(n: u64) -> Position {
        Position { incarnation: 1_700_000_000_000 + n, seq: n }
    }

    fn full(peers: u128) -> Advertised {
        Advertised {
            digest: Some(Digest { position: position(9), count: u64::MAX, hash: u64::MAX }),
            have: (0..peers).map(|n| (NodeId::new(n << 96), position(n as u64))).collect(),
            recent: vec![vec![7; RECENT_BYTES_MAX]; RECENT_MAX],
            http: Some("127.0.0.1:8080".to_owned()),
            leaving: false,
            forgotten: (0..peers).map(|n| (NodeId::new(n << 64), u64::MAX - n as u64)).collect(),
        }
    }

    /// What a peer gets to read, as chitchat orders it.
    fn published(advertised: &Advertised, round: usize) -> Vec<(String, String)> {
        let mut published = initial("node1", "[2001:db8::1%eth0]:7946");
        let values = values(advertised, round);
        let ring = RING_KEYS.into_iter().zip(ring_values(&advertised.recent));
        published.extend(values.into_iter().chain(ring).map(|(key, value)| (key.to_owned(), value)));
        published.sort();
        published
    }

    #[test]
    fn what_is_advertised_arrives() {
        for advertised in
            [full(3), Advertised::default(), Advertised { leaving: true, ..full(FORGOTTEN_SHOWN as u128) }]
        {
            let parsed = parse(&published(&advertised, 0));
            assert_eq!(parsed.advertised, advertised);
            assert_eq!(parsed.name.as_deref(), Some("node1"));
            assert_eq!(parsed.mesh_address.as_deref(), Some("[2001:db8::1%eth0]:7946"));
            assert!(!parsed.malformed);
        }
    }

    #[test]
    fn a_node_takes_little_room() {
        let published = published(&full(500), 3);
        let bytes: usize = published.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(bytes <= 1_400, "{bytes} bytes");
        assert!(published.iter().all(|(_, value)| value.len() <= VALUE_BYTES_MAX));
        assert!(ring_values(&full(0).recent).iter().all(|value| value.len() <= 200));
    }

    #[test]
    fn many_positions_take_turns() {
        let advertised = full(2 * HAVE_MAX as u128 + 1);
        let (mut have, mut forgotten) = (Vec::new(), Vec::new());
        for round in usize::MAX - 2..=usize::MAX {
            let advertised = parse(&published(&advertised, round)).advertised;
            have.extend(advertised.have);
            forgotten.extend(advertised.forgotten);
        }
        for round in 0..5 {
            forgotten.extend(parse(&published(&advertised, round)).advertised.forgotten);
        }
        for entry in &advertised.have {
            assert!(have.contains(entry), "{entry:?}");
        }
        for entry in &advertised.forgotten {
            assert!(forgotten.contains(entry), "{entry:?}");
        }
    }

    #[test]
    fn a_delta_too_long_for_the_ring_stays_out() {
        let recent = [vec![1; RECENT_BYTES_MAX + 1], vec![2; RECENT_BYTES_MAX]];
        assert_eq!(ring_values(&recent), [BASE64.encode(&recent[1])]);
        let many: Vec<Vec<u8>> = (0..9).map(|n| vec![n]).collect();
        assert_eq!(ring_values(&many), ["BQ", "Bg", "Bw", "CA"]);
    }

    #[test]
    fn a_malformed_value_counts_as_absent() {
        let control = "line\nbreak".to_owned();
        for (key, value) in [
            ("name", String::new()),
            ("name", control),
            ("name", "n".repeat(NAME_BYTES_MAX + 1)),
            ("mesh", String::new()),
            ("mesh", "host".to_owned()),
            ("mesh", "host:0".to_owned()),
            ("mesh", "host:65536".to_owned()),
            ("mesh", "ho st:1".to_owned()),
            ("mesh", ":1".to_owned()),
            ("mesh", format!("{}:1", "h".repeat(ADDRESS_BYTES_MAX))),
            ("http", "é:1".to_owned()),
            ("rt", String::new()),
            ("rt", "1:2:3".to_owned()),
            ("rt", "1:2:3:4:5".to_owned()),
            ("rt", "1:2:3:g".to_owned()),
            ("rt", "1:2:3:10000000000000000".to_owned()),
            ("vv", "AAAA".to_owned()),
            ("x0", "AAAA".to_owned()),
            ("x0", "!".to_owned()),
            ("vv", "!".to_owned()),
            ("d3", "A".to_owned()),
            ("bye", "yes".to_owned()),
        ] {
            let parsed = parse(&[(key.to_owned(), value.clone())]);
            assert_eq!(parsed, Parsed { malformed: true, ..Parsed::default() }, "{key} = {value:?}");
        }
    }

    #[test]
    fn keys_of_a_later_version_do_no_harm() {
        assert_eq!(parse(&[("x1".to_owned(), "\u{1f426}".to_owned())]), Parsed::default());
    }
}
