//! Other topics than clients ask for: the rules of `[[rewrite]]` where a client's topics come in.
//!
//! PUBLISH after its Topic Alias, Wills when the client is accepted, SUBSCRIBE and UNSUBSCRIBE without the share.
//! What peers forward has been rewritten where it was published.

use std::sync::Arc;

use tracing::debug;

use super::Broker;
use super::client::Client;
use super::delayed::split_delay;
use crate::codec::ReasonCode;
use crate::metrics::{DropReason, ReasonLabel};
use crate::session::{Negotiated, Settings};
use crate::topic::{
    RewriteRefusal, Rewriting, SubscriptionFilter, TopicFilter, TopicName, TopicRef, Unfilled, Whose,
};

impl Broker {
    /// The topic to which a client's message goes; `None` when it stays where it was sent.
    pub(super) fn rewrite_topic(
        &self,
        client: &Client,
        topic: TopicRef<'_>,
    ) -> Result<Option<TopicName>, ReasonCode> {
        let Some((delay, rule)) = self.rule_for(topic) else { return Ok(None) };
        let (user, settings) =
            client.with_state(|state| (state.session.user().cloned(), Arc::clone(state.session.settings())));
        let whose = Whose { client_id: client.id().as_str(), user: user.as_deref() };
        self.name(delay, &rule, &whose, &settings).map(Some)
    }

    /// What [`Broker::rewrite_topic`] would do for a client of this name, connected or not, with nothing counted. The
    /// error says why there is no topic.
    pub(super) fn look_up_rewrite(
        &self,
        client_id: Option<&str>,
        topic: TopicRef<'_>,
    ) -> Result<Option<TopicName>, String> {
        let Some((delay, rule)) = self.rule_for(topic) else { return Ok(None) };
        let client = client_id.and_then(|id| self.client(id));
        let known = client.map(|it| {
            it.with_state(|state| (state.session.user().cloned(), Arc::clone(state.session.settings())))
        });
        let (user, settings) = known.unzip();
        let user = user.flatten();
        // Nobody is called that, so a rule that asks for the name gets none.
        let whose = Whose { client_id: client_id.unwrap_or("+"), user: user.as_deref() };
        match result_of(delay, &rule, &whose) {
            Err(RewriteRefusal::Unfilled(Unfilled::UnfitName | Unfilled::Nameless))
                if client_id.is_none() =>
            {
                Err("it asks who publishes".to_owned())
            }
            Ok(name) if settings.is_none_or(|settings| takes(&settings, name.as_str())) => Ok(Some(name)),
            Ok(_) => Err("the result is too long or has too many levels".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The same for the Will of a client that is about to be accepted.
    ///
    /// # Errors
    /// 0x90: a rule has no topic for it.
    pub(super) fn rewrite_will(&self, mut negotiated: Negotiated) -> Result<Negotiated, ReasonCode> {
        let Some(topic) = negotiated.will_topic().cloned() else { return Ok(negotiated) };
        let Some((delay, rule)) = self.rule_for(topic.as_ref()) else { return Ok(negotiated) };
        let user = negotiated.user.clone();
        let client_id = negotiated.client_id.clone();
        let whose = Whose { client_id: client_id.as_str(), user: user.as_deref() };
        let topic = self.name(delay, &rule, &whose, negotiated.settings())?;
        negotiated.set_will_topic(topic);
        Ok(negotiated)
    }

    /// Puts the filters that the rules make into the place of those that a client has sent; one for which a rule
    /// has none gets the code 0x8F. `filter` finds the filter of an entry.
    pub(super) fn rewrite_filters<T>(
        &self,
        client: &Client,
        entries: &mut [Result<T, ReasonCode>],
        filter: impl Fn(&mut T) -> &mut SubscriptionFilter,
    ) {
        for entry in entries {
            let Ok(found) = entry else { continue };
            let place = &mut filter(found).filter;
            match self.rewrite_filter(client, place) {
                Ok(None) => {}
                Ok(Some(new)) => *place = new,
                Err(reason) => *entry = Err(reason),
            }
        }
    }

    fn rewrite_filter(
        &self,
        client: &Client,
        filter: &TopicFilter,
    ) -> Result<Option<TopicFilter>, ReasonCode> {
        let Some(rule) = self.rewrites.for_filter(filter.as_str()) else { return Ok(None) };
        let (user, settings) =
            client.with_state(|state| (state.session.user().cloned(), Arc::clone(state.session.settings())));
        let whose = Whose { client_id: client.id().as_str(), user: user.as_deref() };
        match rule.filter(&whose) {
            Ok(new) if takes(&settings, new.as_str()) => return Ok(Some(new)),
            Ok(_) => debug!(client = %client.id(), "a rewritten filter is too long or has too many levels"),
            Err(error) => debug!(client = %client.id(), %error, "a filter cannot be rewritten"),
        }
        self.metrics.filters_refused.get_or_create(&ReasonLabel { reason: "rewrite" }).inc();
        Err(ReasonCode::TopicFilterInvalid)
    }

    /// The rule for a topic, or else for the one that it is delayed for; then with what says how long.
    fn rule_for<'a>(&'a self, topic: TopicRef<'a>) -> Option<(&'a str, Rewriting<'a>)> {
        let topic = topic.as_str();
        let whole = self.rewrites.for_name(topic).map(|rule| ("", rule));
        whole.or_else(|| {
            let (delay, delayed) = split_delay(topic)?;
            Some((delay, self.rewrites.for_name(delayed)?))
        })
    }

    fn name<'a>(
        &self,
        delay: &str,
        rule: &Rewriting<'a>,
        whose: &Whose<'a>,
        settings: &Settings,
    ) -> Result<TopicName, ReasonCode> {
        match result_of(delay, rule, whose) {
            Ok(name) if takes(settings, name.as_ref().as_str()) => return Ok(name),
            Ok(_) => debug!(client = whose.client_id, "a rewritten topic is too long or has too many levels"),
            Err(error) => debug!(client = whose.client_id, %error, "a topic cannot be rewritten"),
        }
        self.metrics.dropped(DropReason::RewriteRefused).inc();
        Err(ReasonCode::TopicNameInvalid)
    }
}

fn takes(settings: &Settings, topic: &str) -> bool {
    settings.takes_topic(topic.len(), topic.split('/').count())
}

/// What a rule makes, with the delay in front that stood there before.
fn result_of(delay: &str, rule: &Rewriting<'_>, whose: &Whose<'_>) -> Result<TopicName, RewriteRefusal> {
    let name = rule.name(whose)?;
    if delay.is_empty() {
        return Ok(name);
    }
    Ok(TopicName::parse(&format!("{delay}{}", name.as_ref().as_str()))?)
}
