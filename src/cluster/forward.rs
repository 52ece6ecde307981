//! Forwarding: one copy of a publish for each peer that has a matching route.

use std::sync::Arc;

use smallvec::SmallVec;

use super::frame::Publish;
use super::link::Link;
use super::mesh::Mesh;
use super::routes::NodeSet;
use crate::message::Publication;
use crate::metrics::DropReason;
use crate::net::clock::now;

/// Topics of this level belong to one node and are never forwarded.
pub(super) const SYS_PREFIX: &str = "$SYS/";

/// The links that got something since the last flush, and memory that forwarding uses again and again.
#[derive(Default)]
pub struct Touched {
    links: SmallVec<[Arc<Link>; 4]>,
    nodes: NodeSet,
    frame: Vec<u8>,
}

/// A frame buffer that grew beyond this for one large message is given back.
const FRAME_BYTES_KEPT_MAX: usize = 64 * 1_024;

impl Touched {
    /// Nothing is touched yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets each link send.
    pub(super) fn flush(&mut self) {
        for link in self.links.drain(..) {
            link.outbox.wake();
        }
    }

    /// Whether [`super::Cluster::flush`] has nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
}

impl Mesh {
    pub(super) fn forward(&self, publication: &Publication<'_>, touched: &mut Touched) -> usize {
        if publication.topic.as_str().starts_with(SYS_PREFIX) {
            return 0;
        }
        touched.nodes.clear();
        self.routes.read().nodes(publication.topic, &mut touched.nodes);
        if touched.nodes.is_empty() {
            return 0;
        }
        // An expired message is not forwarded, and nobody misses it [MQTT5-3.3.2-5].
        let Ok(frame) = Publish::new(self.next_message_seq(), publication, now()) else { return 0 };
        touched.frame.clear();
        let fits = frame.encoded_len() <= self.settings.link_buffer_bytes;
        let is_encoded = fits && frame.encode(&mut touched.frame).is_ok();
        let links = self.links_by_index();
        let mut copies = 0;
        let mut dropped = 0;
        for node in touched.nodes.iter() {
            let Some(Some(link)) = links.get(node.index()) else { continue };
            if !is_encoded || link.outbox.push(&touched.frame).is_err() {
                dropped += 1;
                continue;
            }
            copies += 1;
            if !touched.links.iter().any(|known| Arc::ptr_eq(known, link)) {
                touched.links.push(Arc::clone(link));
            }
        }
        if FRAME_BYTES_KEPT_MAX < touched.frame.capacity() {
            touched.frame = Vec::new();
        }
        self.metrics.messages_forwarded.inc_by(copies as u64);
        if 0 < dropped {
            self.metrics.dropped(DropReason::LinkFull).inc_by(dropped);
        }
        copies
    }
}
