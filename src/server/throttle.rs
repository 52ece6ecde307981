//! The most that one client may send per second, and how long it is held back when it sends more.
//!
//! Nothing is refused and nothing is lost: what is over the rate stays in the socket, and the client's TCP stops
//! it. Time that this node holds a client back is not the client's silence. Only a client that closes while it is
//! held back is not waited for: see `Conversation::on_hung_up`.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use crate::session::Settings;

/// A client that is held back goes on with this part of a second's worth, rather than with one packet or byte at
/// a time.
const PORTIONS: u64 = 10;
/// Bytes read at once of a client whose messages are limited: what is read and has to wait takes this node's memory
/// instead of the client's.
const READ_BYTES_MAX: usize = 4 << 10;

/// Which rate a client has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// PUBLISH packets.
    Messages,
    /// Bytes.
    Bytes,
}

/// The buckets of one connection, and since when it is held back.
#[derive(Debug)]
pub(super) struct Throttle {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    since: Instant,
    until: Instant,
}

impl Limit {
    /// Its word in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Bytes => "bytes",
        }
    }
}

impl Throttle {
    /// `None` for a client without limits, which is all that it costs then.
    pub(super) fn new(now: Instant, settings: &Settings) -> Option<Self> {
        let bucket = |rate| NonZeroU64::new(rate).map(|rate| Bucket::new(now, rate));
        let messages = bucket(u64::from(settings.message_rate_max));
        let bytes = bucket(settings.byte_rate_max);
        let is_limited = messages.is_some() || bytes.is_some();
        is_limited.then_some(Self { messages, bytes, held: None })
    }

    /// How many bytes may be read now.
    pub(super) fn readable(&mut self, now: Instant) -> usize {
        let tokens = self.bytes.as_mut().map_or(u64::MAX, |bucket| bucket.available(now));
        let at_once = if self.messages.is_some() { READ_BYTES_MAX } else { usize::MAX };
        usize::try_from(tokens).unwrap_or(usize::MAX).min(at_once)
    }

    /// So many bytes were read, no more than could be.
    pub(super) fn on_read(&mut self, now: Instant, bytes: usize) {
        if let Some(bucket) = &mut self.bytes {
            let was_readable = bucket.take(now, bytes as u64);
            debug_assert!(was_readable, "{bytes} bytes are more than could be read");
        }
    }

    /// Takes account of one PUBLISH. False when it has to wait.
    pub(super) fn take_message(&mut self, now: Instant) -> bool {
        self.messages.as_mut().is_none_or(|bucket| bucket.take(now, 1))
    }

    /// Holds the client back because of `limit`.
    pub(super) fn hold(&mut self, now: Instant, limit: Limit) {
        let bucket = match limit {
            Limit::Messages => &mut self.messages,
            Limit::Bytes => &mut self.bytes,
        };
        let pause = bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.pause_for_a_part(now, PORTIONS));
        self.held = Some(Held { since: now, until: now + pause });
    }

    /// Until when the client is held back; `None` when it is not.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held.map(|held| held.until)
    }

    /// The pause is over: how long it was.
    pub(super) fn release(&mut self, now: Instant) -> Duration {
        self.held.take().map_or(Duration::ZERO, |held| now.saturating_duration_since(held.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock;

    fn throttle(now: Instant, messages: u32, bytes: u64) -> Throttle {
        let settings = Settings { message_rate_max: messages, byte_rate_max: bytes, ..Settings::default() };
        Throttle::new(now, &settings).expect("there is a limit")
    }

    #[test]
    fn without_limits_there_is_nothing_to_keep() {
        assert!(Throttle::new(clock::now(), &Settings::default()).is_none());
    }

    #[test]
    fn one_limit_leaves_the_other_open() {
        let now = clock::now();
        let mut messages = throttle(now, 2, 0);
        assert_eq!(messages.readable(now), READ_BYTES_MAX);
        messages.on_read(now, 1 << 20);
        assert_eq!([(); 3].map(|()| messages.take_message(now)), [true, true, false]);
        let mut bytes = throttle(now, 0, 100);
        bytes.on_read(now, 100);
        assert_eq!(bytes.readable(now), 0);
        assert!(bytes.take_message(now));
    }

    #[test]
    fn a_pause_lasts_until_a_tenth_of_a_second_has_been_earned_or_one_packet() {
        let now = clock::now();
        let check = |rate: u32, pause: u64| {
            let mut throttle = throttle(now, rate, 0);
            assert!((0..rate).all(|_| throttle.take_message(now)) && !throttle.take_message(now));
            throttle.hold(now, Limit::Messages);
            let until = now + Duration::from_millis(pause);
            assert_eq!(throttle.held_until(), Some(until), "{rate} per second");
            assert_eq!(throttle.release(until), Duration::from_millis(pause));
            assert_eq!(throttle.held_until(), None);
            assert!(throttle.take_message(until));
        };
        check(1, 1_000);
        check(4, 250);
        check(10, 100);
        check(1_000, 100);
    }
}
