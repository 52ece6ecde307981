//! Filters that every client is subscribed to, with gaps for what it is called.

use super::template::{Template, TemplateError, Unfilled, Whose};
use super::{FilterError, SubscriptionFilter};

/// A filter with `${clientid}` and `${username}` in it, with a share in front or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterTemplate(Template);

/// Why there cannot be such a filter, or not for a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterTemplateError {
    /// Its gaps.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It cannot be filled in.
    #[error(transparent)]
    Unfilled(#[from] Unfilled),
    /// With its gaps filled it is no Topic Filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl FilterTemplate {
    /// # Errors
    /// A gap that stands for nothing, or a text that is no Topic Filter with its gaps filled by ordinary words.
    pub fn parse(text: &str) -> Result<Self, FilterTemplateError> {
        let template = Self(Template::parse(text, &[])?);
        template.fill(&Whose { client_id: "x", user: Some("x") })?;
        Ok(template)
    }

    /// Whether it makes shared subscriptions.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let somebody = Whose { client_id: "x", user: Some("x") };
        self.fill(&somebody).is_ok_and(|filter| filter.share().is_some())
    }

    /// The filter of one client.
    ///
    /// # Errors
    /// The client has no User Name, or a name that cannot stand in the filter.
    pub fn fill(&self, whose: &Whose<'_>) -> Result<SubscriptionFilter, FilterTemplateError> {
        Ok(SubscriptionFilter::parse(&self.0.fill(whose, |_| "")?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, client_id: &str, user: Option<&str>, expected: Result<&str, FilterTemplateError>) {
        let template = FilterTemplate::parse(text).expect("a test's filter is right");
        let filled = template.fill(&Whose { client_id, user }).map(|filter| filter.to_string());
        assert_eq!(
            filled.as_deref(),
            expected.as_ref().map(|text| *text),
            "{text} for {client_id}, {user:?}"
        );
    }

    #[test]
    fn a_client_finds_its_names_in_its_filter() {
        check("a/#", "c", None, Ok("a/#"));
        check("c/${clientid}/+", "c 1", None, Ok("c/c 1/+"));
        check("u/${username}", "c", Some("u"), Ok("u/u"));
        check("$share/${clientid}/a", "c", None, Ok("$share/c/a"));
        check("$queue/${username}/#", "c", Some("u"), Ok("$queue/u/#"));
    }

    #[test]
    fn a_client_whose_name_does_not_fit_has_none() {
        let unfit = Err(FilterTemplateError::Unfilled(Unfilled::UnfitName));
        for name in ["+", "#", "a/b"] {
            check("c/${clientid}", name, None, unfit.clone());
            check("$share/${username}/a", "c", Some(name), unfit.clone());
        }
        check("${clientid}/#", "$SYS", None, unfit);
        check("u/${username}", "c", None, Err(FilterTemplateError::Unfilled(Unfilled::Nameless)));
    }

    #[test]
    fn a_text_that_is_a_filter_for_nobody_is_refused() {
        let check = |text: &str, expected: &str| {
            let problem = FilterTemplate::parse(text).map(drop).map_err(|error| error.to_string());
            assert_eq!(problem.as_ref().err().map(String::as_str), Some(expected), "{text}");
        };
        check("", "a Topic Filter has at least one character");
        check("a/#/${clientid}", "# fills a level of its own, the last one");
        check("a${clientid}+", "+ fills a level of its own");
        check("$share/g", "a Share Name is followed by / and a Topic Filter");
        let no_group =
            "nothing is called \"1\" here: ${clientid} and ${username} are, and groups of a pattern";
        check("a/$1", no_group);
    }
}
