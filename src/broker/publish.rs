//! One message in, copies out: to this node's clients, and to the peers that have a route.

use std::sync::Arc;
use std::time::Instant;

use super::Broker;
use super::client::Client;
use super::delayed::{Delay, NoDelay};
use crate::cluster;
use crate::codec::ReasonCode;
use crate::message::Publication;
use crate::metrics::DropReason;
use crate::session::{Copies, Delivery};
use crate::topic::TopicRef;

/// The work of one burst. One client's packets are at most so much ahead of those of others, and a subscriber's
/// copies are written together as far as this goes.
const WORK_MAX: usize = 32 << 10;
/// Bytes of a packet that count as one unit of work.
const BYTES_PER_WORK: usize = 64;

/// Whom a run of messages has touched; each is flushed once at its end. It has to end when so much work is done
/// that others should get their turn.
#[derive(Default)]
pub struct Burst {
    clients: Vec<Arc<Client>>,
    links: cluster::Touched,
    /// What was done, in units of about a tenth of a microsecond.
    work: usize,
}

impl Burst {
    /// A packet of so many bytes was taken.
    pub fn on_taken(&mut self, bytes: usize) {
        self.spend(1 + bytes / BYTES_PER_WORK);
    }

    /// Whether it is time to flush, and to let others work.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.work >= WORK_MAX
    }

    /// So many copies were made, or subscriptions looked at.
    pub(super) fn spend(&mut self, work: usize) {
        self.work = self.work.saturating_add(work);
    }

    /// Sees to it that the client is flushed with the others.
    pub(super) fn touch(&mut self, client: &Arc<Client>) {
        self.clients.push(Arc::clone(client));
    }
}

/// Where a message of a client goes. Whoever has one may publish it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Destination<'a> {
    /// To everybody who wants it.
    Now,
    /// The same, later.
    Later(Delay<'a>),
}

impl Broker {
    /// Decides about the Topic Name that a client publishes to, by PUBLISH or by Will: what begins with `$` is the
    /// node's own [MQTT5-4.7.2-1], but for `$delayed/…`. A message that is refused is counted.
    ///
    /// # Errors
    /// The code to acknowledge the message with.
    pub(super) fn destination<'a>(&self, topic: TopicRef<'a>) -> Result<Destination<'a>, ReasonCode> {
        let destination = self.look_up_destination(topic);
        if destination.is_err() {
            self.metrics.dropped(DropReason::TopicRefused).inc();
        }
        destination
    }

    /// The same, and nothing is counted: no message is at hand.
    pub(super) fn look_up_destination<'a>(&self, topic: TopicRef<'a>) -> Result<Destination<'a>, ReasonCode> {
        if !topic.is_dollar() {
            return Ok(Destination::Now);
        }
        match Delay::parse(topic, &self.delayed_settings) {
            Some(Ok(delay)) => Ok(Destination::Later(delay)),
            Some(Err(NoDelay)) => Err(ReasonCode::TopicNameInvalid),
            None => Err(ReasonCode::NotAuthorized),
        }
    }

    /// Publishes a message of one of this node's clients, or keeps it for later. Returns the code to acknowledge it
    /// with.
    pub(super) fn publish(
        &self,
        now: Instant,
        destination: &Destination<'_>,
        publication: &Publication<'_>,
        burst: &mut Burst,
    ) -> ReasonCode {
        match destination {
            Destination::Now if self.publish_now(now, publication, burst) == 0 => {
                ReasonCode::NoMatchingSubscribers
            }
            Destination::Now => ReasonCode::Success,
            Destination::Later(delay) => self.delay(now, delay, publication),
        }
    }

    /// Publishes a message whose topic is no `$` topic: to the clients here and once to each peer with a matching
    /// route. Returns the number of copies.
    pub(super) fn publish_now(
        &self,
        now: Instant,
        publication: &Publication<'_>,
        burst: &mut Burst,
    ) -> usize {
        // Kept before it is delivered: a replay must not send an older message after this one.
        if publication.retain {
            self.retain(publication);
        }
        let here = self.publish_here(now, publication, burst);
        let Some(cluster) = &self.cluster else { return here };
        let forwarded = cluster.forward(publication, &mut burst.links);
        burst.spend(forwarded);
        here + forwarded
    }

    /// Publishes a message to the clients of this node only: it comes from a peer.
    pub(super) fn publish_here(
        &self,
        now: Instant,
        publication: &Publication<'_>,
        burst: &mut Burst,
    ) -> usize {
        let targets = self.subscriptions.targets(publication);
        burst.spend(targets.looked_at);
        let mut copies = Copies::new(*publication, now, targets.len());
        for target in &targets.plain {
            let delivery = Delivery {
                qos_max: target.options.qos,
                retain: publication.retain && target.options.retain_as_published,
                subscription_ids: &target.ids,
                share: None,
            };
            if target.client.deliver(now, &mut copies, &delivery, &self.metrics) {
                burst.touch(&target.client);
            }
        }
        for chosen in &targets.shared {
            self.deliver_shared(now, &mut copies, chosen, burst);
        }
        targets.len()
    }

    /// Writes what a burst has appended: each touched client and link once.
    pub fn flush(&self, burst: &mut Burst) {
        for client in burst.clients.drain(..) {
            client.flush();
        }
        if let Some(cluster) = &self.cluster {
            cluster.flush(&mut burst.links);
        }
    }
}
