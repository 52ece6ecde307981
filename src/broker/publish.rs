//! One message in, copies out: to this node's clients, and to the peers that have a route.

use std::sync::Arc;
use std::time::Instant;

use super::Broker;
use super::client::Client;
use crate::cluster;
use crate::message::Publication;
use crate::session::{Copies, Delivery};

/// Whom a run of messages has touched; each is flushed once at its end.
#[derive(Default)]
pub struct Burst {
    clients: Vec<Arc<Client>>,
    links: cluster::Touched,
}

impl Burst {
    /// Sees to it that the client is flushed with the others.
    pub(super) fn touch(&mut self, client: &Arc<Client>) {
        self.clients.push(Arc::clone(client));
    }
}

impl Broker {
    /// Publishes a message of one of this node's clients: to the clients here and once to each peer with a
    /// matching route. Returns the number of copies.
    pub(super) fn publish(&self, now: Instant, publication: &Publication<'_>, burst: &mut Burst) -> usize {
        // Kept before it is delivered: a replay must not send an older message after this one.
        if publication.retain {
            self.retain(publication);
        }
        let here = self.publish_here(now, publication, burst);
        let Some(cluster) = &self.cluster else { return here };
        if publication.topic.is_dollar() {
            return here; // What a node says of itself stays with it.
        }
        here + cluster.forward(publication, &mut burst.links)
    }

    /// Publishes a message to the clients of this node only: it comes from a peer.
    pub(super) fn publish_here(
        &self,
        now: Instant,
        publication: &Publication<'_>,
        burst: &mut Burst,
    ) -> usize {
        let targets = self.subscriptions.targets(publication);
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
