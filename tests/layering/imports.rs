//! What a file names of its own crate: every path from `crate`, `super`, `self` or `flockmq`, in a `use`
//! or anywhere else, made absolute.

use std::collections::BTreeSet;

use crate::tokens::Token;

/// A path that was found, from the root of the library, without the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// Inside `#[cfg(test)]`.
    pub(crate) test: bool,
}

/// A file's tokens with what is known about each.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) imports: Vec<Import>,
    /// Per token: whether it is inside `#[cfg(test)]`.
    pub(crate) in_test: Vec<bool>,
    /// Names of the modules that the file declares, in files of their own, for tests only.
    pub(crate) test_modules: Vec<String>,
    /// Lines where the crate itself gets another name, behind which an arrow could hide.
    pub(crate) renames: Vec<usize>,
}

struct Scope {
    module: Option<String>,
    test: bool,
}

/// Reads a file that is the module `module` of the library.
pub(crate) fn scan(module: &[String], tokens: &[Token]) -> Scan {
    let mut scan = Scan::default();
    let mut scopes: Vec<Scope> = Vec::new();
    // Behind `#[cfg(test)]`, until its item has begun or ended.
    let mut test_item = false;
    let mut brackets = 0usize;
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    for at in 0..tokens.len() {
        let in_test = test_item || scopes.iter().any(|scope| scope.test);
        scan.in_test.push(in_test);
        match text(at) {
            "#" if is_cfg_test(tokens, at) => test_item = true,
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets = brackets.saturating_sub(1),
            "{" => {
                let is_module = at >= 2 && text(at - 2) == "mod";
                let name = is_module.then(|| text(at - 1).to_owned());
                scopes.push(Scope { module: name, test: std::mem::take(&mut test_item) });
            }
            "}" => drop(scopes.pop()),
            ";" if brackets == 0 => {
                if test_item && at >= 2 && text(at - 2) == "mod" {
                    scan.test_modules.push(text(at - 1).to_owned());
                }
                test_item = false;
            }
            "crate" if text(at + 1) == "as" || (at > 0 && text(at - 1) == "extern") => {
                scan.renames.push(tokens[at].line);
            }
            "crate" | "super" | "self" | "flockmq" if text(at + 1) == "::" => {
                if at > 0 && text(at - 1) == "::" {
                    continue; // The middle of a path.
                }
                let inline = scopes.iter().filter_map(|scope| scope.module.clone());
                let here: Vec<String> = module.iter().cloned().chain(inline).collect();
                for path in expand(tokens, at).0 {
                    let path = absolute(&here, &path);
                    scan.imports.push(Import { path, line: tokens[at].line, test: in_test });
                }
            }
            _ => {}
        }
    }
    scan_short_names(tokens, &mut scan);
    scan
}

/// After `use crate::http;` the short name leads to what is used of it: `http::Settings`.
fn scan_short_names(tokens: &[Token], scan: &mut Scan) {
    let modules: BTreeSet<String> = scan
        .imports
        .iter()
        .filter(|import| import.path.len() == 1)
        .map(|import| import.path[0].clone())
        .collect();
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut in_own_use = false;
    for at in 0..tokens.len() {
        match text(at) {
            "use" => in_own_use = ["crate", "super", "self", "flockmq", "{"].contains(&text(at + 1)),
            ";" => in_own_use = false,
            _ => {}
        }
        let begins_a_path = text(at + 1) == "::" && (at == 0 || text(at - 1) != "::");
        if begins_a_path && !in_own_use && modules.contains(text(at)) {
            let (line, test) = (tokens[at].line, scan.in_test[at]);
            let paths = expand(tokens, at).0.into_iter();
            scan.imports.extend(paths.map(|path| Import { path, line, test }));
        }
    }
}

/// `#[cfg(test)]`, also within `all(…)`.
fn is_cfg_test(tokens: &[Token], at: usize) -> bool {
    let words: Vec<&str> =
        tokens[at..].iter().map(|token| token.text.as_str()).take_while(|text| *text != "]").collect();
    let has = |word| words.contains(&word);
    words.starts_with(&["#", "[", "cfg"]) && has("test") && !has("not") && !has("any")
}

/// The paths that begin at `at`, several for a group, and where the tokens behind them begin. One that gets
/// another name ends with `as`, so that it is not taken for the plain name.
fn expand(tokens: &[Token], mut at: usize) -> (Vec<Vec<String>>, usize) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut path = Vec::new();
    loop {
        let word = text(at);
        if word == "{" {
            return expand_group(tokens, at, &path);
        }
        let is_name = word.chars().all(|c| c.is_alphanumeric() || c == '_');
        if word == "r" && text(at + 1) == "#" {
            at += 2; // A raw name.
            continue;
        }
        if !(is_name || word == "*") || word.is_empty() {
            break; // Such as the `<` of `::<`.
        }
        path.push(word.to_owned());
        at += 1;
        if text(at) != "::" {
            break;
        }
        at += 1;
    }
    if text(at) == "as" {
        path.push("as".to_owned());
    }
    (vec![path], at)
}

fn expand_group(tokens: &[Token], open: usize, prefix: &[String]) -> (Vec<Vec<String>>, usize) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut paths = Vec::new();
    let mut at = open + 1;
    while at < tokens.len() && text(at) != "}" {
        let (parts, behind) = expand(tokens, at);
        for part in parts {
            let part = part.into_iter().filter(|name| name != "self");
            paths.push(prefix.iter().cloned().chain(part).collect());
        }
        at = behind.max(at + 1);
        // `as other` and the comma.
        while at < tokens.len() && text(at) != "," && text(at) != "}" {
            at += 1;
        }
        if text(at) == "," {
            at += 1;
        }
    }
    (paths, at + 1)
}

fn absolute(here: &[String], path: &[String]) -> Vec<String> {
    let mut base = here.to_vec();
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        match first.as_str() {
            "crate" | "flockmq" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = behind;
    }
    base.extend(rest.iter().cloned());
    base
}
