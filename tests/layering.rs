//! Reads src/ and fails on what the table of modules does not allow: an import arrow that is not in it, I/O
//! in a sans-io module, a file that is too long or has a name that says nothing.
//!
//! Code inside `#[cfg(test)]` may mention time, tasks and sockets, but does not import upwards either.

#[path = "layering/imports.rs"]
mod imports;
#[path = "layering/table.rs"]
mod table;
#[path = "layering/tokens.rs"]
mod tokens;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use imports::{Import, Scan, scan};
use table::{
    EMPTY_NAMES, LEAVES, LEAVES_OF_TESTS, LINES_MAX, NOT_FOR_SANS_IO, Row, SANS_IO, SANS_IO_WORDS, TABLE,
};
use tokens::{Token, tokens};

#[test]
fn the_sources_keep_to_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let sources: Vec<Source> = files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            Source { path, text: std::fs::read_to_string(file).unwrap() }
        })
        .collect();
    assert!(sources.iter().any(|source| source.path == "lib.rs"), "no lib.rs among {} files", sources.len());
    let broken = violations(&sources);
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
}

/// A file, its path relative to src/.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// `cluster/link/mod.rs` is the module `cluster::link`; `main.rs` and `lib.rs` stand for themselves.
    fn module(&self) -> Vec<String> {
        let mut module: Vec<String> =
            self.path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        module
    }

    /// The same, as paths see it: the items of `main.rs` and `lib.rs` are at the root.
    fn scope(&self) -> Vec<String> {
        let module = self.module();
        if is_root(&module) { Vec::new() } else { module }
    }
}

fn is_root(module: &[String]) -> bool {
    matches!(module, [only] if only == "main" || only == "lib")
}

/// One line for each broken rule.
fn violations(sources: &[Source]) -> Vec<String> {
    let scans: Vec<(Vec<Token>, Scan)> = sources
        .iter()
        .map(|source| {
            let tokens = tokens(&source.text);
            let scan = scan(&source.scope(), &tokens);
            (tokens, scan)
        })
        .collect();
    let mut test_modules: BTreeSet<Vec<String>> = BTreeSet::new();
    for (source, (_, scan)) in sources.iter().zip(&scans) {
        for name in &scan.test_modules {
            let mut module = source.scope();
            module.push(name.clone());
            test_modules.insert(module);
        }
    }
    let mut broken = Vec::new();
    for (source, (tokens, scan)) in sources.iter().zip(&scans) {
        let module = source.module();
        let for_tests = (1..=module.len()).any(|len| test_modules.contains(&module[..len]));
        check_file(source, &mut broken);
        let Some(row) = TABLE.iter().find(|row| row.module == module[0]) else {
            broken.push(format!("{}: the table has no module {}", source.path, module[0]));
            continue;
        };
        for import in &scan.imports {
            let import = Import { test: import.test || for_tests, ..import.clone() };
            if let Err(reason) = check_import(row, &module, &import) {
                broken.push(format!("{}:{}: {reason}", source.path, import.line));
            }
        }
        for line in &scan.renames {
            broken.push(format!("{}:{line}: the crate gets another name", source.path));
        }
        if is_sans_io(&module) && !for_tests {
            check_words(source, tokens, scan, &mut broken);
        }
    }
    broken
}

fn is_sans_io(module: &[String]) -> bool {
    let name = module.join("::");
    SANS_IO.iter().any(|sans_io| {
        name.strip_prefix(sans_io).is_some_and(|below| below.is_empty() || below.starts_with("::"))
    })
}

fn check_file(source: &Source, broken: &mut Vec<String>) {
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        broken.push(format!("{}: {lines} lines, at most {LINES_MAX}", source.path));
    }
    for name in source.module() {
        if EMPTY_NAMES.contains(&name.as_str()) {
            broken.push(format!("{}: {name} is not a noun of this program", source.path));
        }
    }
}

fn check_import(row: &Row, module: &[String], import: &Import) -> Result<(), String> {
    let (from, path) = (row.module, import.path.join("::"));
    let Some((to, behind)) = import.path.split_first() else {
        return Err(format!("{from} imports the root of the crate"));
    };
    if to == from {
        return Ok(());
    }
    if !TABLE.iter().any(|row| row.module == to) {
        // An item of main.rs itself.
        let own = from == "main";
        return if own { Ok(()) } else { Err(format!("{from} imports {path}, which is no module")) };
    }
    if import.test && LEAVES_OF_TESTS.contains(&to.as_str()) {
        return Ok(());
    }
    if is_sans_io(module) && NOT_FOR_SANS_IO.contains(&to.as_str()) {
        return Err(format!("{} is sans-io and imports {path}", module.join("::")));
    }
    if row.leaves && LEAVES.contains(&to.as_str()) {
        return Ok(());
    }
    let Some(arrow) = row.may_import.iter().find(|arrow| arrow.to == to) else {
        return Err(format!("{from} -> {to} is not in the table ({path})"));
    };
    let allowed = |name: &String| {
        arrow.only.is_none_or(|names| {
            names.iter().any(|wanted| match wanted.strip_prefix('*') {
                Some(ending) => name.ends_with(ending),
                None => name == wanted,
            })
        })
    };
    // The module's name alone: what is used of it comes as imports of its own.
    let name_only = behind.is_empty();
    if arrow.only.is_none() || name_only || behind.iter().any(allowed) {
        return Ok(());
    }
    Err(format!("{from} -> {to} is for {:?} only, not {path}", arrow.only.unwrap_or_default()))
}

fn check_words(source: &Source, tokens: &[Token], scan: &Scan, broken: &mut Vec<String>) {
    for (words, instead) in SANS_IO_WORDS {
        let words: Vec<&str> = words.split(' ').collect();
        for (at, window) in tokens.windows(words.len()).enumerate() {
            let found = window.iter().zip(&words).all(|(token, word)| token.text == **word);
            if found && !scan.in_test[at] {
                let line = window[0].line;
                broken.push(format!(
                    "{}:{line}: sans-io does not say {}: {instead}",
                    source.path,
                    words.concat()
                ));
            }
        }
    }
}

mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|(path, text)| Source { path: (*path).into(), text: (*text).into() }).collect()
    }

    /// Each violation contains the expected text, in this order; none expected: none found.
    fn check(path: &str, text: &str, expected: &[&str]) {
        let found = violations(&sources(&[(path, text)]));
        let fits = found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| found.contains(expected));
        assert!(fits, "{path}: {text}\nfound {found:#?}\nexpected {expected:#?}");
    }

    #[test]
    fn arrows_of_the_table_pass() {
        check("main.rs", "use flockmq::cli; fn main() { cli::run() }", &[]);
        check("lib.rs", "pub mod codec; pub mod topic;", &[]);
        check("server/connection.rs", "use crate::{broker::Broker, codec, tasks::Tasks};", &[]);
        check("message.rs", "use crate::topic::TopicName; use super::codec::Qos;", &[]);
        check("cluster/link.rs", "use super::frame::Frame; use crate::net::TcpStream;", &[]);
        check("topic/trie/mod.rs", "use super::{TopicFilter, name::check}; use self::link::Link;", &[]);
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_found_however_it_is_written() {
        let wrong = &["topic -> codec is not in the table"];
        for text in [
            "use crate::codec;",
            "use crate::codec::Qos;",
            "pub(crate) use crate::codec::*;",
            "use crate::{codec};",
            "use {crate::codec as c};",
            "use super::codec::Qos;",
            "fn f() -> crate::codec::Qos { todo() }",
            "fn f() { let x = super::codec::Qos::from_u8(1); }",
            "type X = Vec<crate::codec::Qos>;",
            "mod inner { use super::super::codec::Qos; }",
            "macro_rules! m { () => { $crate::codec::x() }; }",
            "use crate::\n    codec\n    ::Qos;",
            "use crate::r#codec::Qos;",
        ] {
            check("topic/mod.rs", text, wrong);
        }
        check("topic/a/b.rs", "use super::super::super::codec::Qos;", wrong);
        check(
            "topic/mod.rs",
            "use crate::{codec::{Qos, self}, topic::x, net};",
            &["topic -> codec", "topic -> codec", "imports net"],
        );
        check("main.rs", "use flockmq::node::Node;", &["main -> node"]);
        check("main.rs", "fn main() { flockmq::{broker::run()}; }", &["main -> broker"]);
        check("lib.rs", "pub mod codec; pub use crate::codec::Qos;", &["lib -> codec"]);
        check("cluster/mod.rs", "use crate::broker::Broker;", &["cluster -> broker"]);
        check("broker/mod.rs", "use crate::{config, server};", &["broker -> config", "broker -> server"]);
        check("session/mod.rs", "use crate::metrics::Metrics;", &["session is sans-io"]);
        check("net/mod.rs", "use super::tasks::Tasks;", &["net -> tasks"]);
    }

    #[test]
    fn what_is_not_an_arrow_is_left_alone() {
        for text in [
            "// use crate::codec;\n/* crate::codec */ /// [`crate::codec`]\nfn f() {}",
            "const A: &str = \"crate::codec\"; const B: char = '\"'; const C: &str = r#\"crate::codec\"#;",
            "pub(crate) struct A; pub(super) fn f(self) {} pub(in crate::topic) struct B;",
            "use std::codec::super_x; use other::codec;",
            "mod inner { use super::name; }",
            "use self::name::{self, TopicName};",
        ] {
            check("topic/mod.rs", text, &[]);
        }
    }

    #[test]
    fn an_arrow_for_some_names_is_for_those_only() {
        check("auth/mod.rs", "use crate::session::ClientId;", &[]);
        check("auth/mod.rs", "use crate::session::client_id::{ClientId};", &[]);
        check("auth/mod.rs", "use crate::session::Session;", &["auth -> session is for"]);
        check("auth/mod.rs", "use crate::session::{ClientId, Session};", &["session::Session"]);
        check("auth/mod.rs", "use crate::session; fn f(id: &session::ClientId) {}", &[]);
        check("auth/mod.rs", "use crate::{session}; fn f(x: session::Session) {}", &["session::Session"]);
        check("auth/mod.rs", "use crate::session::{self}; use session::{Session};", &["session::Session"]);
        check("auth/mod.rs", "use crate::session as other;", &["session::as"]);
        check("auth/mod.rs", "use crate::{session as other};", &["session::as"]);
        check("config/mod.rs", "use crate::cluster::{Settings, Secret}; use crate::http::HttpSettings;", &[]);
        check("config/mod.rs", "use crate::cluster::Cluster;", &["config -> cluster is for"]);
        check("config/mod.rs", "fn f(x: crate::cluster::Cluster) {}", &["config -> cluster is for"]);
        check("storage/mod.rs", "use crate::session::*;", &["storage -> session is for"]);
    }

    #[test]
    fn new_modules_and_other_names_of_the_crate_are_found() {
        check("gossip.rs", "", &["the table has no module gossip"]);
        check("topic/mod.rs", "use crate::anything::X;", &["which is no module"]);
        check("topic/mod.rs", "use super::*;", &["which is no module"]);
        check("topic/mod.rs", "use crate as x; use x::codec::Qos;", &["another name"]);
        check("topic/mod.rs", "extern crate self as x;", &["another name"]);
    }

    #[test]
    fn sans_io_modules_do_none() {
        let path = "cluster/routes/log.rs";
        let word = |text, found| check(path, text, &[found]);
        word("use tokio::sync::watch;", "tokio");
        word("fn f() { x.await }", ".await");
        word("async fn f() {}", "async");
        word("use std::net::UdpSocket;", "UdpSocket");
        word("use parking_lot::Mutex;", "Mutex");
        word("use std::sync::{Arc, RwLock};", "RwLock");
        word("fn f() { let now = Instant::now(); }", "Instant::now");
        word("fn f() { start.elapsed() }", ".elapsed");
        word("fn f(at: std::time::SystemTime) {}", "SystemTime");
        word("use crate::net::clock;", "cluster::routes::log is sans-io and imports net::clock");
        word("use crate::metrics::Metrics;", "sans-io and imports metrics::Metrics");
        word("use super::super::super::tasks::Tasks;", "sans-io and imports tasks::Tasks");
        check(path, "use std::net::SocketAddr; use std::time::Instant; fn f(now: Instant) {}", &[]);
        check(path, "// tokio, Mutex\nconst X: &str = \"Instant::now\"; struct Tokio;", &[]);
        check("cluster/link.rs", "use tokio::sync::Mutex; async fn f() { x.await }", &[]);
        check("cluster/routes_view.rs", "use tokio::sync::Mutex;", &[]);
        check("codec/mod.rs", "use parking_lot::RwLock;", &["RwLock"]);
        check("message.rs", "fn f() { Instant::now(); }", &["Instant::now"]);
    }

    #[test]
    fn tests_may_use_a_clock_but_not_what_is_above() {
        let test = "#[cfg(test)] mod tests { use crate::net::clock; fn f() { Instant::now(); } }";
        check("session/mod.rs", test, &[]);
        check("session/mod.rs", &format!("{test} fn g() {{ Instant::now(); }}"), &["Instant::now"]);
        check("session/mod.rs", "#[cfg(test)] use tokio::test; use tokio::x;", &["tokio"]);
        check("session/mod.rs", "#[cfg(test)] fn f(x: [u8; 2]) { tokio::x() } fn g() {}", &[]);
        check("session/mod.rs", "#[cfg(not(test))] fn f() { tokio::x() }", &["tokio"]);
        check("session/mod.rs", "#[cfg(any(test, unix))] fn f() { tokio::x() }", &["tokio"]);
        let upward = "#[cfg(test)] mod tests { use crate::broker::Broker; }";
        check("session/mod.rs", upward, &["session -> broker"]);
        let own_file =
            [("session/mod.rs", "#[cfg(test)]\nmod tests;"), ("session/tests.rs", "use tokio::x;")];
        assert_eq!(violations(&sources(&own_file)), Vec::<String>::new());
        let declared_for_all = [("session/mod.rs", "mod tests;"), ("session/tests.rs", "use tokio::x;")];
        assert_eq!(violations(&sources(&declared_for_all)).len(), 1);
    }

    #[test]
    fn long_files_and_empty_names_are_found() {
        check("codec/mod.rs", &"\n".repeat(LINES_MAX), &[]);
        check("codec/mod.rs", &"\n".repeat(LINES_MAX + 1), &["801 lines, at most 800"]);
        check("codec/utils.rs", "", &["utils is not a noun"]);
        check("broker/manager/queue.rs", "", &["manager is not a noun"]);
        check("codec/types/mod.rs", "", &["types is not a noun"]);
    }

    /// So no cycle can be written into it by accident.
    #[test]
    fn the_table_points_down_only() {
        for (at, row) in TABLE.iter().enumerate() {
            for arrow in row.may_import {
                let below = TABLE[at + 1..].iter().any(|other| other.module == arrow.to);
                assert!(below, "{} -> {}", row.module, arrow.to);
            }
        }
        for module in LEAVES.iter().chain(NOT_FOR_SANS_IO) {
            assert!(TABLE.iter().any(|row| row.module == *module && row.may_import.is_empty()), "{module}");
        }
    }
}
