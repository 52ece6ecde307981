//! Subscriptions that every client is given when it connects: `[[auto_subscribe]]`.
//!
//! They are made behind the CONNACK, as if the client had asked for them, and are the client's like others: they
//! count, are advertised to peers, and end with UNSUBSCRIBE. Nothing waits for the peers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{debug, warn};

use super::Broker;
use super::connect::Attached;
use super::publish::Burst;
use super::replay::Replays;
use super::settings::AutoSubscription;
use crate::codec::ReasonCode;
use crate::metrics::ReasonLabel;
use crate::session::Subscription;
use crate::topic::{FilterTemplateError, Unfilled, Whose};

/// Between two warnings: a thousand clients with one bad name are one fault.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// The subscriptions, and when somebody was last told that a client could not have one.
pub(super) struct Automatic {
    pub(super) subscriptions: Vec<AutoSubscription>,
    warned_at: Mutex<Option<Instant>>,
}

impl Automatic {
    pub(super) fn new(subscriptions: Vec<AutoSubscription>) -> Self {
        Self { subscriptions, warned_at: Mutex::new(None) }
    }

    fn may_warn(&self, now: Instant) -> bool {
        let mut warned_at = self.warned_at.lock();
        let may = warned_at.is_none_or(|at| WARNING_PAUSE <= now.saturating_duration_since(at));
        if may {
            *warned_at = Some(now);
        }
        may
    }
}

impl Broker {
    /// Makes the subscriptions of a client that has just connected, as far as its name and the limits allow it.
    pub(super) fn subscribe_automatically(&self, now: Instant, attached: &Attached, burst: &mut Burst) {
        let Attached { client, generation } = attached;
        let mut refused = None;
        let mut replays = Replays::default();
        for automatic in &self.automatic.subscriptions {
            let subscription = match self.automatic_subscription(attached, automatic) {
                Ok(Some(subscription)) => subscription,
                Ok(None) => continue,
                Err(problem) => {
                    refused = Some(problem);
                    continue;
                }
            };
            match self.add_subscription(client, *generation, &subscription) {
                Ok(added) => {
                    if let Some(replay) = added.replay {
                        replays.put(replay);
                    }
                    if subscription.filter.share().is_some() {
                        self.on_joined(now, &subscription.filter, burst);
                    }
                }
                Err(ReasonCode::QuotaExceeded) => {
                    refused = Some(self.refuse_automatic(
                        &"the client has too many subscriptions, or another client holds this one",
                    ));
                }
                Err(_) => return, // The connection is gone already.
            }
        }
        self.start_replays(now, client, *generation, replays);
        if let Some(problem) = refused {
            if self.automatic.may_warn(now) {
                warn!(client = %client.id(), problem, "a client could not be subscribed automatically");
            } else {
                debug!(client = %client.id(), problem, "a client could not be subscribed automatically");
            }
        }
    }

    /// What the client is to have; `None` when that is for clients with a User Name and it has none. A filter that
    /// the session has already keeps the options that it has.
    fn automatic_subscription(
        &self,
        attached: &Attached,
        automatic: &AutoSubscription,
    ) -> Result<Option<Subscription>, String> {
        let client = &attached.client;
        let made = client.with_state(|state| {
            let user: Option<Arc<str>> = state.session.user().cloned();
            let whose = Whose { client_id: client.id().as_str(), user: user.as_deref() };
            let filter = match automatic.filter.fill(&whose) {
                Ok(filter) => filter,
                Err(FilterTemplateError::Unfilled(Unfilled::Nameless)) => return Ok(None),
                Err(error) => return Err(error.to_string()),
            };
            let granted = state.session.may_have(filter, automatic.options);
            granted.map(Some).map_err(|reason| reason.name().to_owned())
        });
        made.map_err(|problem| self.refuse_automatic(&problem))
    }

    fn refuse_automatic(&self, problem: &dyn std::fmt::Display) -> String {
        self.metrics.filters_refused.get_or_create(&ReasonLabel { reason: "automatic" }).inc();
        problem.to_string()
    }
}
