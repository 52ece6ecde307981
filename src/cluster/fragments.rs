//! Puts the fragments of gossip messages together, within limits. Sans-io.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::node_id::NodeId;
use super::seal::{FRAGMENT_BYTES_MAX, FRAGMENTS_MAX, Header, Refused};

/// Messages that wait for missing fragments, together at most 4.3 MB and only from who knows the key.
const PARTIALS_MAX: usize = 64;
/// After this time a missing fragment will not come any more.
const PARTIAL_AGE_MAX: Duration = Duration::from_secs(5);

// The set of missing fragments is kept in the bits of a u64.
const _: () = assert!(FRAGMENTS_MAX <= 64);

/// Messages that lack fragments, the one that grew last at the end.
#[derive(Default)]
pub(super) struct Partials {
    partials: VecDeque<Partial>,
    lost: u64,
}

struct Partial {
    sender: NodeId,
    incarnation: u64,
    first_counter: u64,
    started: Instant,
    missing: u64,
    fragments: Vec<Vec<u8>>,
}

impl Partials {
    /// Takes one fragment, authentic and not replayed; gives the message that it completes.
    pub(super) fn add(
        &mut self,
        now: Instant,
        header: &Header,
        fragment: &[u8],
    ) -> Result<Option<Vec<u8>>, Refused> {
        let (index, count) = (usize::from(header.index), usize::from(header.count));
        let is_last = index + 1 == count;
        let fits = index < count
            && (2..=FRAGMENTS_MAX).contains(&count)
            && (is_last || fragment.len() == FRAGMENT_BYTES_MAX);
        let first_counter = header.counter.checked_sub(u64::from(header.index));
        let (true, Some(first_counter)) = (fits, first_counter) else {
            return Err(Refused::Fragment);
        };
        self.give_up_old(now);
        let mut partial = self.take(header, first_counter).unwrap_or_else(|| Partial {
            sender: header.sender,
            incarnation: header.incarnation,
            first_counter,
            started: now,
            missing: u64::MAX >> (64 - count),
            fragments: vec![Vec::new(); count],
        });
        if partial.fragments.len() != count {
            return Err(Refused::Fragment);
        }
        // The replay window lets each counter pass once, so no fragment comes twice.
        partial.missing &= !(1 << index);
        partial.fragments[index] = fragment.to_vec();
        if partial.missing == 0 {
            return Ok(Some(partial.fragments.concat()));
        }
        if self.partials.len() == PARTIALS_MAX {
            self.partials.pop_front();
            self.lost += 1;
        }
        self.partials.push_back(partial);
        Ok(None)
    }

    /// Messages given up since the last call.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn take(&mut self, header: &Header, first_counter: u64) -> Option<Partial> {
        let place = self.partials.iter().position(|partial| {
            partial.sender == header.sender
                && partial.incarnation == header.incarnation
                && partial.first_counter == first_counter
        })?;
        self.partials.remove(place)
    }

    fn give_up_old(&mut self, now: Instant) {
        let before = self.partials.len();
        self.partials.retain(|partial| now.saturating_duration_since(partial.started) < PARTIAL_AGE_MAX);
        self.lost += (before - self.partials.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock;

    fn add(
        partials: &mut Partials,
        now: Instant,
        counter: u64,
        (index, count): (u8, u8),
        len: usize,
    ) -> Result<Option<usize>, Refused> {
        let header = Header { sender: NodeId::new(1), incarnation: 1, boot: [0; 16], counter, index, count };
        partials.add(now, &header, &vec![index; len]).map(|message| message.map(|message| message.len()))
    }

    #[test]
    fn fragments_join_in_any_order() {
        let (mut partials, now) = (Partials::default(), clock::now());
        assert_eq!(add(&mut partials, now, 12, (2, 3), 7), Ok(None));
        assert_eq!(add(&mut partials, now, 10, (0, 3), FRAGMENT_BYTES_MAX), Ok(None));
        assert_eq!(add(&mut partials, now, 21, (1, 2), 1), Ok(None), "of another message");
        assert_eq!(
            add(&mut partials, now, 11, (1, 3), FRAGMENT_BYTES_MAX),
            Ok(Some(2 * FRAGMENT_BYTES_MAX + 7))
        );
        assert_eq!(partials.partials.len(), 1);
    }

    #[test]
    fn fragments_that_no_node_of_ours_sends_are_refused() {
        let (mut partials, now) = (Partials::default(), clock::now());
        let too_many = u8::try_from(FRAGMENTS_MAX + 1).unwrap();
        for (place, len, why) in [
            ((0, 0), 1, "none of none"),
            ((1, 1), 1, "the second of one"),
            ((2, 2), 1, "behind the last"),
            ((0, too_many), FRAGMENT_BYTES_MAX, "too many"),
            ((0, 2), 5, "a short one before the last"),
            ((200, 201), 5, "before the first counter"),
        ] {
            assert_eq!(add(&mut partials, now, 100, place, len), Err(Refused::Fragment), "{why}");
        }
        assert_eq!(add(&mut partials, now, 100, (0, 3), FRAGMENT_BYTES_MAX), Ok(None));
        assert_eq!(
            add(&mut partials, now, 101, (1, 4), FRAGMENT_BYTES_MAX),
            Err(Refused::Fragment),
            "siblings disagree on the count"
        );
        assert!(partials.partials.is_empty());
    }

    #[test]
    fn waiting_messages_are_bounded_in_number_and_age() {
        let (mut partials, now) = (Partials::default(), clock::now());
        for n in 0..PARTIALS_MAX as u64 + 3 {
            assert_eq!(add(&mut partials, now, 100 * (n + 1), (0, 2), FRAGMENT_BYTES_MAX), Ok(None));
        }
        assert_eq!(partials.partials.len(), PARTIALS_MAX);
        assert_eq!(partials.take_lost(), 3);
        let later = now + PARTIAL_AGE_MAX;
        assert_eq!(add(&mut partials, later, 9_001, (1, 2), 1), Ok(None));
        assert_eq!(partials.partials.len(), 1);
        assert_eq!(partials.take_lost(), PARTIALS_MAX as u64);
    }
}
