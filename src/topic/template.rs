//! Texts of the configuration with gaps: what a client is called, and what a pattern has found.
//!
//! `${clientid}` and `${username}` are the client; `$1`, `${1}` and `${name}` are groups of a pattern; `$$` is a
//! `$`. In front of anything else `$` stands for itself, so that `$share/…` is written as it is.

use thiserror::Error;

use super::TOPIC_BYTES_MAX;

const CLIENT_ID: &str = "clientid";
const USER_NAME: &str = "username";

/// A text with gaps. Invariant: every group that it names exists in the pattern it was parsed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    ClientId,
    UserName,
    Group(usize),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// `${` without its `}`.
    #[error("${{ has no }}")]
    Unclosed,
    /// A name or number that stands for nothing.
    #[error("nothing is called {0:?} here: ${{clientid}} and ${{username}} are, and groups of a pattern")]
    UnknownGroup(String),
    /// A pattern has a group of a name that stands for something else already.
    #[error("a group cannot be called {0}")]
    ReservedGroup(&'static str),
}

/// Who a client is, as far as templates ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose<'a> {
    /// The Client Identifier.
    pub client_id: &'a str,
    /// The User Name that the client has proven; `None` for an anonymous one.
    pub user: Option<&'a str>,
}

/// Why a template cannot be filled in for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unfilled {
    /// It asks for the User Name of a client that has none.
    #[error("the client has no user name")]
    Nameless,
    /// The client chose a name that would change the meaning of what stands around it: it has more than one level,
    /// a wildcard, or a `$` where a topic begins.
    #[error("the client's name cannot be a level of a topic")]
    UnfitName,
    /// What it makes is longer than a topic can be.
    #[error("the result is longer than {TOPIC_BYTES_MAX} bytes")]
    TooLong,
}

impl Template {
    /// `groups` are the names of the pattern's groups, by number; a group without a name has `None`. The group 0
    /// is the whole match.
    pub(super) fn parse(text: &str, groups: &[Option<&str>]) -> Result<Self, TemplateError> {
        for name in [CLIENT_ID, USER_NAME] {
            if groups.contains(&Some(name)) {
                return Err(TemplateError::ReservedGroup(name));
            }
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let name = if let Some(tail) = rest.strip_prefix('$') {
                literal.push('$');
                rest = tail;
                continue;
            } else if let Some(tail) = rest.strip_prefix('{') {
                let (name, tail) = tail.split_once('}').ok_or(TemplateError::Unclosed)?;
                rest = tail;
                name
            } else if digits > 0 {
                let (name, tail) = rest.split_at(digits);
                rest = tail;
                name
            } else {
                literal.push('$');
                continue;
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal).into()));
            }
            parts.push(gap(name, groups)?);
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Self(parts))
    }

    /// Fills the gaps. `group` is what the pattern has found for a number; a group that took no part is empty.
    pub(super) fn fill<'a>(
        &self,
        whose: &Whose<'a>,
        group: impl Fn(usize) -> &'a str,
    ) -> Result<String, Unfilled> {
        let mut filled = String::new();
        for part in &self.0 {
            let text = match part {
                Part::Text(text) => text,
                Part::Group(number) => group(*number),
                Part::ClientId => fit(whose.client_id, filled.is_empty())?,
                Part::UserName => fit(whose.user.ok_or(Unfilled::Nameless)?, filled.is_empty())?,
            };
            if filled.len() + text.len() > TOPIC_BYTES_MAX {
                return Err(Unfilled::TooLong);
            }
            filled.push_str(text);
        }
        Ok(filled)
    }
}

fn gap(name: &str, groups: &[Option<&str>]) -> Result<Part, TemplateError> {
    let number = name.parse().ok().filter(|number| *number < groups.len());
    match name {
        CLIENT_ID => Ok(Part::ClientId),
        USER_NAME => Ok(Part::UserName),
        _ => number
            .or_else(|| groups.iter().position(|group| *group == Some(name)))
            .map(Part::Group)
            .ok_or_else(|| TemplateError::UnknownGroup(name.to_owned())),
    }
}

/// A name that a client chose itself stays within one level and stands for itself only.
fn fit(name: &str, is_first: bool) -> Result<&str, Unfilled> {
    let is_unfit = name.contains(['+', '#', '/']) || (is_first && name.starts_with('$'));
    if is_unfit { Err(Unfilled::UnfitName) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &[Option<&str>] = &[None, None, Some("room")];

    fn check(text: &str, expected: Result<&str, TemplateError>) {
        let whose = Whose { client_id: "c1", user: Some("u1") };
        let filled = Template::parse(text, GROUPS).map(|template| {
            template.fill(&whose, |number| ["whole", "first", "second"][number]).expect("it is short")
        });
        assert_eq!(filled.as_deref(), expected.as_ref().map(|text| *text), "{text:?}");
    }

    #[test]
    fn gaps_are_filled_and_everything_else_stays() {
        check("", Ok(""));
        check("a/b", Ok("a/b"));
        check("${clientid}/${username}", Ok("c1/u1"));
        check("$1/$2", Ok("first/second"));
        check("$0", Ok("whole"));
        check("${1}0/${room}", Ok("first0/second"));
        check("a$1b$1", Ok("afirstbfirst"));
        check("é${clientid}é", Ok("éc1é"));
    }

    #[test]
    fn a_dollar_that_begins_no_gap_is_a_dollar() {
        check("$share/g/$1", Ok("$share/g/first"));
        check("$delayed/5/x", Ok("$delayed/5/x"));
        check("$$1", Ok("$1"));
        check("$$${1}", Ok("$first"));
        check("a$", Ok("a$"));
        check("$room/$é", Ok("$room/$é"));
    }

    #[test]
    fn what_stands_for_nothing_is_refused() {
        check("$3", Err(TemplateError::UnknownGroup("3".into())));
        check("$10", Err(TemplateError::UnknownGroup("10".into())));
        check("$99999999999999999999999", Err(TemplateError::UnknownGroup("99999999999999999999999".into())));
        check("${}", Err(TemplateError::UnknownGroup(String::new())));
        check("${ClientId}", Err(TemplateError::UnknownGroup("ClientId".into())));
        check("${kitchen}", Err(TemplateError::UnknownGroup("kitchen".into())));
        check("a/${clientid", Err(TemplateError::Unclosed));
        let reserved = Template::parse("x", &[None, Some("username")]);
        assert_eq!(reserved, Err(TemplateError::ReservedGroup("username")));
    }

    fn check_name(template: &str, client_id: &str, expected: Result<&str, Unfilled>) {
        let whose = Whose { client_id, user: None };
        let filled = Template::parse(template, &[]).unwrap().fill(&whose, |_| "");
        assert_eq!(filled.as_deref(), expected.as_ref().map(|text| *text), "{template} for {client_id:?}");
    }

    #[test]
    fn a_clients_name_stays_within_its_level() {
        check_name("a/${clientid}/b", "x y", Ok("a/x y/b"));
        for name in ["+", "#", "/", "a/b", "a+", "#b", "/a", "a/"] {
            check_name("a/${clientid}", name, Err(Unfilled::UnfitName));
        }
        check_name("${clientid}/a", "$SYS", Err(Unfilled::UnfitName));
        check_name("a/${clientid}", "$SYS", Ok("a/$SYS"));
        check_name("${username}", "x", Err(Unfilled::Nameless));
    }

    #[test]
    fn a_result_is_no_longer_than_a_topic() {
        let long = "x".repeat(TOPIC_BYTES_MAX);
        check_name("${clientid}", &long, Ok(&long));
        check_name("a${clientid}", &long, Err(Unfilled::TooLong));
        check_name("${clientid}a", &long, Err(Unfilled::TooLong));
    }
}
