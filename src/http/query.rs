//! The part of a URL behind `?`, read strictly: what cannot be read as it was meant is an error, not another text.

use std::collections::BTreeMap;

/// Why a query is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    /// `%` is not followed by two hexadecimal digits.
    #[error("a % in a query is followed by two hexadecimal digits; % itself is written %25")]
    Percent,
    /// What the percent signs stand for is no text.
    #[error("the value of {0} is not UTF-8")]
    Utf8(String),
    /// Nobody asks for it.
    #[error("there is no parameter {0:?}; there are: {1}")]
    Unknown(String, String),
    /// Which one counts?
    #[error("{0} is given twice")]
    Twice(String),
    /// It has to be there.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// Parameters by their names.
#[derive(Debug, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// Only parameters of these names are taken. A `+` is a plus sign, since that is a wildcard: a space is `%20`.
    pub(super) fn parse(query: &str, names: &[&str]) -> Result<Self, QueryError> {
        let mut values = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?.map_err(|_| QueryError::Utf8("a name".to_owned()))?;
            if !names.contains(&name.as_str()) {
                return Err(QueryError::Unknown(name, names.join(", ")));
            }
            let value = decode(value)?.map_err(|_| QueryError::Utf8(name.clone()))?;
            if values.insert(name.clone(), value).is_some() {
                return Err(QueryError::Twice(name));
            }
        }
        Ok(Self(values))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn require(&self, name: &'static str) -> Result<&str, QueryError> {
        self.get(name).ok_or(QueryError::Missing(name))
    }
}

fn decode(text: &str) -> Result<Result<String, std::string::FromUtf8Error>, QueryError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(QueryError::Percent) };
        bytes.push((high << 4 | low) as u8);
    }
    Ok(String::from_utf8(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Result<Option<&str>, QueryError>) {
        let parsed = Query::parse(query, &["topic", "client"]);
        let topic = parsed.as_ref().map(|parsed| parsed.get("topic")).map_err(Clone::clone);
        assert_eq!(topic, expected, "{query:?}");
    }

    #[test]
    fn a_value_is_what_was_meant() {
        check("", Ok(None));
        check("topic=a/b", Ok(Some("a/b")));
        check("client=c&topic=a%2Fb%20c%25", Ok(Some("a/b c%")));
        check("topic=%C3%A9", Ok(Some("é")));
        check("topic=a=b", Ok(Some("a=b")));
        check("topic", Ok(Some("")));
        check("&&topic=x&", Ok(Some("x")));
        check("topic=a%00b", Ok(Some("a\0b")));
        // A wildcard, and no space.
        check("topic=a/+/b", Ok(Some("a/+/b")));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for query in ["topic=%", "topic=a%2", "topic=%zz", "topic=%+1", "%=1"] {
            check(query, Err(QueryError::Percent));
        }
        for query in ["topic=%FF", "topic=%C3", "topic=%ED%A0%80"] {
            check(query, Err(QueryError::Utf8("topic".to_owned())));
        }
        check("tpic=a", Err(QueryError::Unknown("tpic".to_owned(), "topic, client".to_owned())));
        check("topic=a&topic=a", Err(QueryError::Twice("topic".to_owned())));
        assert_eq!(Query::default().require("topic").unwrap_err(), QueryError::Missing("topic"));
    }
}
