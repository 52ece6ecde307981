//! What a value has to be: each function turns a value into the kind that its key wants, or says in one
//! sentence what was expected.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Origin;
use super::tree::{Node, Table, Value, parse_value};

/// Why a value does not fit.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) problem: String,
    /// The array entry that it is about: its number and its own place.
    pub(super) entry: Option<(usize, Origin)>,
}

impl From<String> for Misfit {
    fn from(problem: String) -> Self {
        Self { problem, entry: None }
    }
}

pub(super) type Fit<T> = Result<T, Misfit>;

fn wrong_kind<T>(expected: &str, node: &Node) -> Fit<T> {
    Err(format!("expected {expected}, found {}", node.value.kind()).into())
}

/// Any string, without showing it in messages.
pub(super) fn text(node: &Node) -> Fit<String> {
    match &node.value {
        Value::Text(text) | Value::String(text) => Ok(text.clone()),
        _ => wrong_kind("a string", node),
    }
}

/// A name for people: 1 to 64 bytes, visible characters only.
pub(super) fn name(node: &Node) -> Fit<String> {
    let name = text(node)?;
    let is_visible = |c: char| !c.is_control() && !c.is_whitespace();
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_visible) {
        return Err(
            format!("{name:?} is not a name: 1 to 64 bytes without spaces or control characters").into()
        );
    }
    Ok(name)
}

/// A path; not empty.
pub(super) fn path(node: &Node) -> Fit<PathBuf> {
    let path = text(node)?;
    if path.is_empty() { Err("the path is empty".to_owned().into()) } else { Ok(path.into()) }
}

/// A section within a section; in the environment as a whole a TOML table in braces.
pub(super) fn table(node: &Node) -> Fit<Table> {
    match &node.value {
        Value::Table(table) => Ok(table.clone()),
        Value::Text(text) => match parse_value(text.trim(), &node.origin)? {
            Value::Table(table) => Ok(table),
            other => Err(format!("expected a section, found {}", other.kind()).into()),
        },
        _ => wrong_kind("a section", node),
    }
}

pub(super) fn boolean(node: &Node) -> Fit<bool> {
    match &node.value {
        Value::Boolean(flag) => Ok(*flag),
        Value::Text(text) => {
            text.parse().map_err(|_| format!("expected true or false, found {text:?}").into())
        }
        _ => wrong_kind("true or false", node),
    }
}

/// A whole number within the range.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Fit<T>
where
    T: Copy + PartialOrd + TryFrom<i64> + std::fmt::Display,
{
    move |node| {
        let number = match &node.value {
            Value::Integer(number) => *number,
            Value::Text(text) => {
                text.parse::<i64>().map_err(|_| format!("expected a whole number, found {text:?}"))?
            }
            _ => return wrong_kind("a whole number", node),
        };
        within(T::try_from(number).ok(), &range, &number, |bound| bound.to_string())
    }
}

/// A length of time such as `"500ms"`, within the range.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Node) -> Fit<Duration> {
    move |node| {
        let (Value::Text(text) | Value::String(text)) = &node.value else {
            return wrong_kind("a duration such as \"500ms\" or \"24h\"", node);
        };
        let parsed = humantime::parse_duration(text);
        let parsed = parsed
            .map_err(|_| format!("expected a duration such as \"500ms\" or \"24h\", found {text:?}"))?;
        within(Some(parsed), &range, text, |bound| humantime::format_duration(*bound).to_string())
    }
}

/// A duration, or `"never"` for `None`.
pub(super) fn duration_or_never(range: RangeInclusive<Duration>) -> impl Fn(&Node) -> Fit<Option<Duration>> {
    let duration = duration(range);
    move |node| match &node.value {
        Value::Text(text) | Value::String(text) if text == "never" => Ok(None),
        _ => duration(node).map(Some),
    }
}

/// A number of bytes: an integer or a text such as `"16MiB"`, within the range.
pub(super) fn bytes<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Fit<T>
where
    T: Copy + PartialOrd + TryFrom<u64> + std::fmt::Display,
{
    move |node| {
        let found: &dyn std::fmt::Display;
        let number = match &node.value {
            Value::Integer(number) => {
                found = number;
                u64::try_from(*number).ok()
            }
            Value::Text(text) | Value::String(text) => {
                found = text;
                Some(parse_bytes(text).ok_or_else(|| {
                    format!("expected a size such as \"16MiB\" or a number of bytes, found {text:?}")
                })?)
            }
            _ => return wrong_kind("a size such as \"16MiB\" or a number of bytes", node),
        };
        let number = number.and_then(|number| T::try_from(number).ok());
        within(number, &range, found, |bound| format!("{bound} bytes"))
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn within<T: PartialOrd>(
    value: Option<T>,
    range: &RangeInclusive<T>,
    found: &dyn std::fmt::Display,
    show: impl Fn(&T) -> String,
) -> Fit<T> {
    match value {
        Some(value) if range.contains(&value) => Ok(value),
        _ => {
            let (low, high) = (show(range.start()), show(range.end()));
            Err(format!("{found} is out of range: from {low} to {high}").into())
        }
    }
}

/// An address to listen on, `IP:port`.
pub(super) fn socket_address(node: &Node) -> Fit<SocketAddr> {
    let text = text(node)?;
    text.parse().map_err(|_| {
        format!("expected IP:port such as \"127.0.0.1:1883\" or \"[::]:1883\", found {text:?}").into()
    })
}

/// An address to connect to, `host:port`; the host may be a name.
pub(super) fn host_port(node: &Node) -> Fit<String> {
    let text = text(node)?;
    match check_host_port(&text) {
        Ok(()) => Ok(text),
        Err(reason) => {
            Err(format!("expected host:port such as \"10.0.0.5:7946\", found {text:?}: {reason}").into())
        }
    }
}

fn check_host_port(text: &str) -> Result<(), &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed {
        return Err("an IPv6 address stands in brackets");
    }
    if host.is_empty() || host == "[]" {
        return Err("the host is missing");
    }
    if host.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | ',')) {
        return Err("the host is not a name or address");
    }
    match port.parse::<u16>() {
        Ok(0) | Err(_) => Err("the port is not a number from 1 to 65535"),
        Ok(_) => Ok(()),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Fit<T> {
    move |node| {
        let found = text(node)?;
        words.iter().find(|(word, _)| *word == found).map(|(_, value)| *value).ok_or_else(|| {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("expected {}, found {found:?}", all.join(" or ")).into()
        })
    }
}

/// An array; in the environment a TOML array or values with commas between them.
pub(super) fn list<T>(entry: impl Fn(&Node) -> Fit<T>) -> impl Fn(&Node) -> Fit<Vec<T>> {
    move |node| {
        let items = match &node.value {
            Value::Array(items) => items.clone(),
            Value::Text(text) => split(text, &node.origin)?,
            _ => return wrong_kind("an array", node),
        };
        let mut values = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            let value = entry(item).map_err(|misfit| Misfit {
                problem: misfit.problem,
                entry: Some((n, item.origin.clone())),
            })?;
            values.push(value);
        }
        Ok(values)
    }
}

fn split(text: &str, origin: &Origin) -> Fit<Vec<Node>> {
    if text.trim_start().starts_with('[') {
        return match parse_value(text.trim(), origin)? {
            Value::Array(items) => Ok(items),
            other => Err(format!("expected an array, found {}", other.kind()).into()),
        };
    }
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    Ok(parts.map(|part| Node { value: Value::Text(part.to_owned()), origin: origin.clone() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        let check = |text, expected| assert_eq!(parse_bytes(text), expected, "{text:?}");
        check("0", Some(0));
        check("512", Some(512));
        check("16MiB", Some(16 << 20));
        check("16 MiB", Some(16 << 20));
        check("1kB", Some(1_000));
        check("3GB", Some(3_000_000_000));
        check("", None);
        check("MiB", None);
        check("1.5MiB", None);
        check("1mb", None);
        check("99999999999999999999", None);
        check("18446744073709551615KiB", None);
    }

    #[test]
    fn a_peer_address_has_a_host_and_a_port() {
        let check = |text, ok: bool| assert_eq!(check_host_port(text).is_ok(), ok, "{text:?}");
        check("10.0.0.5:7946", true);
        check("node1.example:7946", true);
        check("[2001:db8::1]:7946", true);
        check("10.0.0.5", false);
        check("2001:db8::1", false);
        check(":7946", false);
        check("[]:7946", false);
        check("10.0.0.5:0", false);
        check("10.0.0.5:65536", false);
        check("mqtt://10.0.0.5:7946", false);
    }
}
