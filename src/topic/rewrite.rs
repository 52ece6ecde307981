//! Rules that give clients other topics than they ask for.
//!
//! A rule selects a topic with a Topic Filter, takes it apart with a pattern, and makes the new topic of a
//! template. The first rule decides whose filter and pattern both fit; its result is not rewritten again.
//! Rules are compiled when they are read; matching takes time in proportion to the topic, whatever it is.

use regex::{Captures, Regex, RegexBuilder};
use thiserror::Error;

use super::filter::levels_match;
use super::template::{Template, TemplateError, Unfilled, Whose};
use super::{FilterError, NameError, TopicFilter, TopicName};

/// Most rules of a node: every topic is held against them one by one.
pub const REWRITES_MAX: usize = 256;
/// Bytes of one pattern as it is written.
const PATTERN_BYTES_MAX: usize = 1_024;
/// Bytes of one pattern as it is compiled, and of what each thread keeps to match it.
const PATTERN_SIZE_MAX: usize = 256 << 10;

/// Which packets a rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RewriteAction {
    /// Both.
    #[default]
    All,
    /// PUBLISH and Wills.
    Publish,
    /// SUBSCRIBE and UNSUBSCRIBE.
    Subscribe,
}

/// Why there cannot be such a rule.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum RewriteError {
    /// The filter that selects.
    #[error("{0}")]
    Source(FilterError),
    /// The pattern is no regular expression, or too large a one.
    #[error("{0}")]
    Pattern(String),
    /// The template.
    #[error("{0}")]
    Target(#[from] TemplateError),
    /// Whatever fills its gaps, the template makes no Topic Name.
    #[error("a message could not be published to it: {0}")]
    TargetName(NameError),
    /// Whatever fills its gaps, the template makes a topic that clients may not publish to.
    #[error("a message could not be published to it: topics that begin with $ are the node's own")]
    TargetOwn,
    /// Whatever fills its gaps, the template makes no Topic Filter.
    #[error("nobody could subscribe to it: {0}")]
    TargetFilter(FilterError),
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rewrite {
    action: RewriteAction,
    source: TopicFilter,
    pattern: Regex,
    target: Template,
    /// As they were written; two rules of the same texts are the same rule.
    texts: (Box<str>, Box<str>),
}

/// All rules, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrites(Vec<Rewrite>);

/// A rule that applies to a topic, and what its pattern has found there.
pub struct Rewriting<'a> {
    target: &'a Template,
    captures: Captures<'a>,
}

/// Why a rule gives a client no topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RewriteRefusal {
    /// The template cannot be filled in for this client.
    #[error(transparent)]
    Unfilled(#[from] Unfilled),
    /// The result is not a Topic Name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The result is not a Topic Filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl Rewrite {
    /// `pattern` has to match a topic as a whole: `^` and `$` may be written and change nothing.
    ///
    /// # Errors
    /// The first thing that keeps the rule from ever working.
    pub fn new(
        action: RewriteAction,
        source: &str,
        pattern: &str,
        target: &str,
    ) -> Result<Self, RewriteError> {
        let texts = (pattern.into(), target.into());
        let source = TopicFilter::parse(source).map_err(RewriteError::Source)?;
        let pattern = compile(pattern)?;
        let groups: Vec<Option<&str>> = pattern.capture_names().collect();
        let target = Template::parse(target, &groups)?;
        check_target(action, &target)?;
        Ok(Self { action, source, pattern, target, texts })
    }
}

fn compile(pattern: &str) -> Result<Regex, RewriteError> {
    if pattern.len() > PATTERN_BYTES_MAX {
        let problem = format!("the pattern has {} bytes, at most {PATTERN_BYTES_MAX}", pattern.len());
        return Err(RewriteError::Pattern(problem));
    }
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            // A line end is a character of a topic like others: it must not keep a rule from applying.
            .dot_matches_new_line(true)
            .size_limit(PATTERN_SIZE_MAX)
            .dfa_size_limit(PATTERN_SIZE_MAX)
            .nest_limit(64)
            .build()
    };
    // By itself first: `a)(b` would become right in brackets.
    let built = build(pattern).and_then(|_| build(&format!(r"\A(?:{pattern})\z")));
    built.map_err(|error| RewriteError::Pattern(one_line(&error)))
}

/// The last line says what is wrong; those before it draw the pattern with an arrow.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    format!("not a regular expression: {}", last.trim_start_matches("error: "))
}

/// With every gap filled by an ordinary word the target has to be a topic: what is wrong then is wrong for all.
fn check_target(action: RewriteAction, target: &Template) -> Result<(), RewriteError> {
    let somebody = Whose { client_id: "x", user: Some("x") };
    let Ok(text) = target.fill(&somebody, |_| "x") else {
        return Err(RewriteError::TargetName(NameError::TooLong));
    };
    match action {
        RewriteAction::All | RewriteAction::Publish => {
            let name = TopicName::parse(&text).map_err(RewriteError::TargetName)?;
            // But for a delay, what begins with `$` is the node's own to publish [MQTT5-4.7.2-1].
            let is_own = name.as_ref().is_dollar() && !text.starts_with("$delayed/");
            if is_own { Err(RewriteError::TargetOwn) } else { Ok(()) }
        }
        RewriteAction::Subscribe => TopicFilter::parse(&text).map(drop).map_err(RewriteError::TargetFilter),
    }
}

/// By what was written: the rest follows from it.
impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        (self.action, &self.source, &self.texts) == (other.action, &other.source, &other.texts)
    }
}

impl Eq for Rewrite {}

impl Rewrites {
    /// Adds a rule behind the others. False when there are [`REWRITES_MAX`] already.
    #[must_use]
    pub fn push(&mut self, rule: Rewrite) -> bool {
        let fits = self.0.len() < REWRITES_MAX;
        if fits {
            self.0.push(rule);
        }
        fits
    }

    /// The rule for a topic that a message is sent to; `None` leaves it as it is.
    #[must_use]
    pub fn for_name<'a>(&'a self, topic: &'a str) -> Option<Rewriting<'a>> {
        self.find(RewriteAction::Publish, topic)
    }

    /// The rule for a filter, without its share; `None` leaves it as it is. A filter is compared as text: `+` of a
    /// rule's source stands for any one level of it, for `+` and `#` too.
    #[must_use]
    pub fn for_filter<'a>(&'a self, filter: &'a str) -> Option<Rewriting<'a>> {
        self.find(RewriteAction::Subscribe, filter)
    }

    fn find<'a>(&'a self, action: RewriteAction, topic: &'a str) -> Option<Rewriting<'a>> {
        let mut rules = self.0.iter().filter(|rule| {
            (rule.action == RewriteAction::All || rule.action == action) && selects(&rule.source, topic)
        });
        rules.find_map(|rule| {
            Some(Rewriting { target: &rule.target, captures: rule.pattern.captures(topic)? })
        })
    }
}

/// [MQTT5-4.7.2-1] for sources too: one that begins with a wildcard leaves alone what begins with `$`.
fn selects(source: &TopicFilter, topic: &str) -> bool {
    let starts_with_wildcard = source.as_str().starts_with(['+', '#']);
    !(starts_with_wildcard && topic.starts_with('$')) && levels_match(Some(source.as_str()), Some(topic))
}

impl<'a> Rewriting<'a> {
    /// The topic that a message goes to instead.
    ///
    /// # Errors
    /// There is none for this client, or what comes out is no Topic Name.
    pub fn name(&self, whose: &Whose<'a>) -> Result<TopicName, RewriteRefusal> {
        Ok(TopicName::parse(&self.text(whose)?)?)
    }

    /// The filter that is subscribed to instead.
    ///
    /// # Errors
    /// There is none for this client, or what comes out is no Topic Filter.
    pub fn filter(&self, whose: &Whose<'a>) -> Result<TopicFilter, RewriteRefusal> {
        Ok(TopicFilter::parse(&self.text(whose)?)?)
    }

    fn text(&self, whose: &Whose<'a>) -> Result<String, Unfilled> {
        self.target.fill(whose, |number| self.captures.get(number).map_or("", |found| found.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOSE: Whose<'_> = Whose { client_id: "c1", user: Some("u1") };

    fn rule(action: RewriteAction, source: &str, pattern: &str, target: &str) -> Rewrite {
        Rewrite::new(action, source, pattern, target).expect("a rule of a test is right")
    }

    fn rules(rules: impl IntoIterator<Item = Rewrite>) -> Rewrites {
        let mut all = Rewrites::default();
        rules.into_iter().for_each(|rule| assert!(all.push(rule)));
        all
    }

    /// `None` stands for a topic that stays as it is.
    fn check_name(rules: &Rewrites, topic: &str, expected: Option<&str>) {
        let name = rules.for_name(topic).map(|rule| rule.name(&WHOSE).expect("a Topic Name"));
        assert_eq!(name.as_ref().map(TopicName::as_str), expected, "{topic:?}");
    }

    fn check_filter(rules: &Rewrites, filter: &str, expected: Option<&str>) {
        let new = rules.for_filter(filter).map(|rule| rule.filter(&WHOSE).expect("a Topic Filter"));
        assert_eq!(new.as_ref().map(TopicFilter::as_str), expected, "{filter:?}");
    }

    #[test]
    fn the_first_rule_decides_whose_filter_and_pattern_both_fit() {
        use RewriteAction::All;
        let rules = rules([
            rule(All, "y/+/z/#", r"^y/(.+)/z/(.+)$", "y/z/$2"),
            rule(All, "x/#", r"x/y/(\d+)", "numbers/$1"),
            rule(All, "x/#", r"x/y/(?<rest>.+)", "z/y/x/${rest}"),
            rule(All, "x/y/1", "x/y/1", "never"),
            rule(All, "who/#", ".*", "${username}/${clientid}"),
        ]);
        check_name(&rules, "y/a/z/b", Some("y/z/b"));
        check_name(&rules, "y/a/z", None);
        check_name(&rules, "x/y/1", Some("numbers/1"));
        check_name(&rules, "x/y/a", Some("z/y/x/a"));
        check_name(&rules, "x/1", None);
        check_name(&rules, "who", Some("u1/c1"));
        check_name(&rules, "nobody", None);
        check_name(&Rewrites::default(), "x", None);
        // What comes out is not taken in again.
        check_name(&rules, "y/x/z/x/y/1", Some("y/z/x/y/1"));
    }

    #[test]
    fn a_rule_is_for_its_packets_only() {
        let rules = rules([
            rule(RewriteAction::Publish, "a/#", "a/(.*)", "published/$1"),
            rule(RewriteAction::Subscribe, "a/#", "a/(.*)", "subscribed/$1"),
        ]);
        check_name(&rules, "a/b", Some("published/b"));
        check_filter(&rules, "a/b", Some("subscribed/b"));
    }

    #[test]
    fn a_pattern_fits_the_whole_topic_or_not_at_all() {
        let one = |pattern| rules([rule(RewriteAction::All, "#", pattern, "new")]);
        for pattern in ["a/b", "^a/b$", "a|a/b", "(?i)A/B", "a.b"] {
            check_name(&one(pattern), "a/b", Some("new"));
        }
        for pattern in ["a", "b", "/", "", "A/B", "^a", "b$"] {
            check_name(&one(pattern), "a/b", None);
        }
        // A line end is a character like others.
        check_name(&one("a/.+"), "a/\n", Some("new"));
        check_name(&one("a/b"), "a/b\n", None);
    }

    #[test]
    fn wildcards_of_a_filter_are_text_to_a_rule() {
        let rules = rules([
            rule(RewriteAction::Subscribe, "a/+", "a/(.*)", "one/$1"),
            rule(RewriteAction::Subscribe, "a/#", "a/(.*)", "all/$1"),
        ]);
        check_filter(&rules, "a/+", Some("one/+"));
        check_filter(&rules, "a/#", Some("one/#"));
        check_filter(&rules, "a/+/#", Some("all/+/#"));
        check_filter(&rules, "+/b", None);
        check_filter(&rules, "#", None);
    }

    /// [MQTT5-4.7.2-1]
    #[test]
    fn a_source_that_begins_with_a_wildcard_leaves_dollar_topics_alone() {
        let rules = rules([
            rule(RewriteAction::All, "#", ".*", "all"),
            rule(RewriteAction::All, "$SYS/#", ".*", "own"),
        ]);
        check_name(&rules, "a", Some("all"));
        check_name(&rules, "$SYS/a", Some("own"));
        check_name(&rules, "$else/a", None);
        check_filter(&rules, "$SYS/#", Some("own"));
    }

    #[test]
    fn a_result_that_is_no_topic_is_refused() {
        let rules = rules([rule(RewriteAction::All, "a/#", "a/?(.*)", "$1")]);
        let name = |topic| rules.for_name(topic).map(|rule| rule.name(&WHOSE).map(|name| name.to_string()));
        assert_eq!(name("a"), Some(Err(RewriteRefusal::Name(NameError::Empty))));
        assert_eq!(name("a/b"), Some(Ok("b".to_owned())));
        let filter = rules.for_filter("a/$share/g/b").map(|rule| rule.filter(&WHOSE));
        assert_eq!(filter, Some(Err(RewriteRefusal::Filter(FilterError::MisplacedShare))));
    }

    #[test]
    fn a_client_cannot_widen_a_filter_by_its_name() {
        let rules = rules([rule(RewriteAction::All, "mine", ".*", "devices/${clientid}")]);
        for client_id in ["+", "#", "a/b", "a/#"] {
            let whose = Whose { client_id, user: None };
            let rule = rules.for_filter("mine").expect("there is a rule");
            assert_eq!(
                rule.filter(&whose),
                Err(RewriteRefusal::Unfilled(Unfilled::UnfitName)),
                "{client_id}"
            );
            assert_eq!(rule.name(&whose), Err(RewriteRefusal::Unfilled(Unfilled::UnfitName)), "{client_id}");
        }
    }

    #[test]
    fn a_rule_that_could_never_work_is_refused() {
        let check = |action, source: &str, pattern: &str, target: &str, expected: &str| {
            let problem =
                Rewrite::new(action, source, pattern, target).map(drop).map_err(|it| it.to_string());
            assert_eq!(
                problem.as_ref().err().map(String::as_str),
                Some(expected),
                "{source} {pattern} {target}"
            );
        };
        let (all, subscribe) = (RewriteAction::All, RewriteAction::Subscribe);
        check(all, "a/#/b", ".*", "x", "# fills a level of its own, the last one");
        check(all, "$share/g/a", ".*", "x", "a share cannot stand inside a Topic Filter");
        check(all, "a", "(", "x", "not a regular expression: unclosed group");
        check(all, "a", "a)(b", "x", "not a regular expression: unopened group");
        check(all, "a", r"(a)\1", "x", "not a regular expression: backreferences are not supported");
        check(all, "a", &"a".repeat(1_025), "x", "the pattern has 1025 bytes, at most 1024");
        let too_large = "not a regular expression: Compiled regex exceeds size limit of 262144 bytes.";
        check(all, "a", r"(\w{100}){100}", "x", too_large);
        let no_group =
            "nothing is called \"2\" here: ${clientid} and ${username} are, and groups of a pattern";
        check(all, "a", "(a)", "$2", no_group);
        check(all, "a", "(?<clientid>a)", "x", "a group cannot be called clientid");
        let not_a_name =
            "a message could not be published to it: a Topic Name does not hold the wildcards + and #";
        check(all, "a", "a", "b/#", not_a_name);
        check(
            subscribe,
            "a",
            "a",
            "b#",
            "nobody could subscribe to it: # fills a level of its own, the last one",
        );
        assert!(Rewrite::new(subscribe, "a", "a", "b/#").is_ok());
    }

    #[test]
    fn there_are_only_so_many_rules() {
        let mut rules = Rewrites::default();
        for _ in 0..REWRITES_MAX {
            assert!(rules.push(rule(RewriteAction::All, "a", "a", "b")));
        }
        assert!(!rules.push(rule(RewriteAction::All, "a", "a", "b")));
    }
}
