//! Messages for later: what clients publish to `$delayed/{seconds}/{topic}` is kept until its time. The store is
//! sans-io: time comes in, what is due comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::Broker;
use super::publish::Burst;
use super::settings::DelayedSettings;
use crate::codec::ReasonCode;
use crate::message::{Message, Publication};
use crate::metrics::DropReason;
use crate::topic::TopicRef;

/// What a Topic Name begins with that asks for a delay.
const PREFIX: &str = "$delayed/";

/// Messages published at one call: the clients' packets have their turn between two of them.
const BATCH: usize = 1_000;

/// Memory of one place in the store beside its message. Nodes of the tree are at least half full.
const PLACE_BYTES: usize = 2 * size_of::<((Instant, u64), Arc<Message>)>();

/// Splits what asks for a delay from the topic behind it; `None` when nothing does. Whether the delay is one that this
/// node takes is not looked at.
pub(super) fn split_delay(topic: &str) -> Option<(&str, &str)> {
    let seconds = topic.strip_prefix(PREFIX)?.find('/')?;
    Some(topic.split_at(PREFIX.len() + seconds + 1))
}

/// What a Topic Name with a delay in front asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay<'a> {
    pub(super) topic: TopicRef<'a>,
    pub(super) after: Duration,
}

/// The text behind `$delayed/` is no delay that this node takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoDelay;

impl<'a> Delay<'a> {
    /// `None` when the Topic Name does not ask for a delay, or the node has none to give.
    ///
    /// The topic behind the seconds may not begin with `$`: those are the node's own, later as well as now.
    pub(super) fn parse(topic: TopicRef<'a>, settings: &DelayedSettings) -> Option<Result<Self, NoDelay>> {
        let asked = topic.as_str().strip_prefix(PREFIX).filter(|_| settings.is_on())?;
        Some(Self::parse_asked(asked, settings.seconds_max).ok_or(NoDelay))
    }

    fn parse_asked(asked: &'a str, seconds_max: u32) -> Option<Self> {
        let (seconds, topic) = asked.split_once('/')?;
        // The one sign that would be taken, `+`, is in no Topic Name.
        let seconds = seconds.parse().ok().filter(|seconds: &u32| *seconds <= seconds_max)?;
        let topic = TopicRef::parse(topic).ok().filter(|topic| !topic.is_dollar())?;
        Some(Self { topic, after: Duration::from_secs(u64::from(seconds)) })
    }
}

/// Why a message is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotKept {
    /// The limits leave no room.
    Full,
    /// It will have expired when its time comes.
    Expired,
}

/// All messages that wait for their time.
#[derive(Default)]
pub(super) struct Delayed {
    /// By the time at which each is due; those of the same time in the order in which they came.
    waiting: BTreeMap<(Instant, u64), Arc<Message>>,
    next_serial: u64,
    /// Memory of all of them.
    bytes: usize,
    /// The node stops: nothing more is kept.
    is_closed: bool,
}

impl Delayed {
    /// Keeps a message until `after` has passed.
    fn keep(
        &mut self,
        now: Instant,
        after: Duration,
        message: Arc<Message>,
        settings: &DelayedSettings,
    ) -> Result<(), NotKept> {
        // No clock comes that far, so the message would never be published.
        let due = now.checked_add(after).ok_or(NotKept::Expired)?;
        if message.expires_at().is_some_and(|at| at <= due) {
            return Err(NotKept::Expired);
        }
        let bytes = self.bytes.saturating_add(cost(&message));
        let fits = self.waiting.len() < settings.messages_max && bytes <= settings.bytes_max;
        if self.is_closed || !fits {
            return Err(NotKept::Full);
        }
        self.bytes = bytes;
        self.next_serial += 1;
        self.waiting.insert((due, self.next_serial), message);
        Ok(())
    }

    /// Takes out the next message that is due at `now`.
    fn pop(&mut self, now: Instant) -> Option<Arc<Message>> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        let message = first.remove();
        self.bytes -= cost(&message);
        Some(message)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.waiting.first_key_value().is_some_and(|((at, _), _)| *at <= now)
    }

    /// Forgets everything and keeps nothing more. Returns how many there were.
    fn close(&mut self) -> usize {
        let lost = self.waiting.len();
        *self = Self { is_closed: true, ..Self::default() };
        lost
    }
}

fn cost(message: &Message) -> usize {
    message.bytes() + PLACE_BYTES
}

impl Broker {
    /// Takes a client's message for later. Returns the code to acknowledge it with.
    pub(super) fn delay(&self, now: Instant, delay: &Delay<'_>, publication: &Publication<'_>) -> ReasonCode {
        let message = Publication { topic: delay.topic, ..*publication }.to_message();
        let kept = {
            let mut delayed = self.delayed.lock();
            let kept = delayed.keep(now, delay.after, message, &self.delayed_settings);
            self.metrics.delayed.set(delayed.waiting.len() as i64);
            kept
        };
        match kept {
            Ok(()) => ReasonCode::Success,
            Err(NotKept::Expired) => {
                self.metrics.dropped(DropReason::Expired).inc();
                ReasonCode::Success // As for a message that expires in a queue.
            }
            Err(NotKept::Full) => {
                self.metrics.dropped(DropReason::DelayedFull).inc();
                ReasonCode::QuotaExceeded
            }
        }
    }

    /// Publishes what is due, in its order. True when there is more than is published at once.
    pub(super) fn publish_delayed(&self, now: Instant, burst: &mut Burst) -> bool {
        for _ in 0..BATCH {
            let message = {
                let mut delayed = self.delayed.lock();
                let message = delayed.pop(now);
                self.metrics.delayed.set(delayed.waiting.len() as i64);
                message
            };
            let Some(message) = message else { return false };
            // It may have expired between its time and this tick, and must not be retained then.
            if matches!(message.remaining_expiry(now), Some(Err(_))) {
                self.metrics.dropped(DropReason::Expired).inc();
            } else {
                self.publish_now(now, &message.publication(), burst);
            }
        }
        self.delayed.lock().is_due(now)
    }

    /// The node stops, and what waits is only in its memory.
    pub(super) fn lose_delayed(&self) {
        let lost = self.delayed.lock().close();
        if lost > 0 {
            warn!(messages = lost, "delayed messages are lost with the node that stops");
            self.metrics.dropped(DropReason::NodeStopped).inc_by(lost as u64);
        }
        self.metrics.delayed.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Qos;
    use crate::net::clock;

    const SETTINGS: DelayedSettings =
        DelayedSettings { messages_max: 3, bytes_max: 10_000, seconds_max: 100 };

    fn check_parse(text: &str, expected: Option<Option<(&str, u64)>>) {
        let parsed = Delay::parse(TopicRef::parse(text).unwrap(), &SETTINGS);
        let parts = parsed.map(|it| it.ok().map(|it| (it.topic.as_str(), it.after.as_secs())));
        assert_eq!(parts, expected, "{text:?}");
    }

    #[test]
    fn a_delay_stands_before_its_topic() {
        check_parse("$delayed/5/a", Some(Some(("a", 5))));
        check_parse("$delayed/0/a/b", Some(Some(("a/b", 0))));
        check_parse("$delayed/007/a", Some(Some(("a", 7))));
        check_parse("$delayed/100//", Some(Some(("/", 100))));
        check_parse("$delayed/1/a/$b", Some(Some(("a/$b", 1))));
        check_parse("$delayed/1/delayed/1/a", Some(Some(("delayed/1/a", 1))));
    }

    #[test]
    fn what_only_looks_like_a_delay_is_none() {
        for text in ["a", "delayed/1/a", "/$delayed/1/a", "$delayed", "$DELAYED/1/a", "$delayed1/a", "$SYS/x"]
        {
            check_parse(text, None);
        }
    }

    #[test]
    fn a_delay_is_a_number_within_the_limit_before_a_topic_of_clients() {
        for seconds in ["", "x", "1x", "-1", "1.5", " 1", "1e1", "101", "4294967296", "99999999999999999999"]
        {
            check_parse(&format!("$delayed/{seconds}/a"), Some(None));
        }
        for text in ["$delayed/", "$delayed/5", "$delayed/5/", "$delayed//a", "$delayed//", "$delayed/٣/a"] {
            check_parse(text, Some(None));
        }
        for topic in ["$SYS/x", "$delayed/1/a", "$share/g/a", "$exclusive/a", "$"] {
            check_parse(&format!("$delayed/1/{topic}"), Some(None));
        }
    }

    #[test]
    fn without_room_for_any_message_there_are_no_delays() {
        let off = DelayedSettings { messages_max: 0, ..SETTINGS };
        assert_eq!(Delay::parse(TopicRef::parse("$delayed/5/a").unwrap(), &off), None);
        assert_eq!(Delay::parse(TopicRef::parse("$delayed/x").unwrap(), &off), None);
    }

    /// A store whose time stands still, and what was put into it.
    struct Bench {
        settings: DelayedSettings,
        delayed: Delayed,
        start: Instant,
    }

    impl Bench {
        fn new(settings: DelayedSettings) -> Self {
            Self { settings, delayed: Delayed::default(), start: clock::now() }
        }

        fn at_ms(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        /// At `ms`, for `seconds` later, expiring `expiry` seconds later.
        fn keep(&mut self, ms: u64, seconds: u64, payload: &str, expiry: Option<u64>) -> Result<(), NotKept> {
            let now = self.at_ms(ms);
            let publication = Publication {
                topic: TopicRef::parse("a").unwrap(),
                payload: payload.as_bytes(),
                qos: Qos::AtLeastOnce,
                retain: false,
                properties: &[],
                expires_at: expiry.map(|seconds| now + Duration::from_secs(seconds)),
                publisher: Some("fin"),
            };
            let after = Duration::from_secs(seconds);
            self.delayed.keep(now, after, publication.to_message(), &self.settings)
        }

        fn due(&mut self, ms: u64) -> Vec<String> {
            let now = self.at_ms(ms);
            let messages = std::iter::from_fn(|| self.delayed.pop(now));
            let payloads = messages.map(|it| String::from_utf8(it.payload().to_vec()).unwrap()).collect();
            assert!(!self.delayed.is_due(now));
            payloads
        }
    }

    #[test]
    fn messages_come_out_at_their_time_and_never_before() {
        let mut bench = Bench::new(SETTINGS);
        bench.keep(0, 2, "late", None).unwrap();
        bench.keep(500, 1, "soon", None).unwrap();
        bench.keep(900, 0, "now", None).unwrap();
        assert_eq!(bench.due(899), [""; 0]);
        assert_eq!(bench.due(900), ["now"]);
        assert_eq!(bench.due(1_499), [""; 0]);
        assert_eq!(bench.due(1_500), ["soon"]);
        assert_eq!(bench.due(1_999), [""; 0]);
        assert_eq!(bench.due(2_000), ["late"]);
        assert_eq!(bench.due(1_000_000), [""; 0]);
    }

    #[test]
    fn equal_times_keep_the_order_and_others_are_sorted() {
        let mut bench = Bench::new(DelayedSettings { messages_max: 100, ..SETTINGS });
        for number in 0..10 {
            bench.keep(0, 5, &format!("same {number}"), None).unwrap();
            bench.keep(0, 50 - number, &format!("other {}", 50 - number), None).unwrap();
        }
        let expected: Vec<String> = (0..10).map(|number| format!("same {number}")).collect();
        assert_eq!(bench.due(5_000), expected);
        let expected: Vec<String> = (41..=50).map(|seconds| format!("other {seconds}")).collect();
        assert_eq!(bench.due(50_000), expected);
    }

    #[test]
    fn a_message_that_expires_first_is_not_kept() {
        let mut bench = Bench::new(SETTINGS);
        assert_eq!(bench.keep(0, 10, "before", Some(9)), Err(NotKept::Expired));
        assert_eq!(bench.keep(0, 10, "then", Some(10)), Err(NotKept::Expired));
        assert_eq!(bench.keep(0, 0, "at once", Some(0)), Err(NotKept::Expired));
        bench.keep(0, 10, "after", Some(11)).unwrap();
        assert_eq!(bench.due(10_000), ["after"]);
    }

    #[test]
    fn the_limits_hold_and_what_leaves_makes_room() {
        let mut bench = Bench::new(SETTINGS);
        for seconds in 1..=3 {
            bench.keep(0, seconds, "x", None).unwrap();
        }
        assert_eq!(bench.keep(0, 1, "x", None), Err(NotKept::Full));
        assert_eq!(bench.due(1_000).len(), 1);
        bench.keep(1_000, 1, "x", None).unwrap();
        assert_eq!(bench.due(3_000).len(), 3);
        assert_eq!(bench.delayed.bytes, 0);

        let large = "x".repeat(6_000);
        bench.keep(0, 1, &large, None).unwrap();
        assert_eq!(bench.keep(0, 1, &large, None), Err(NotKept::Full));
        bench.keep(0, 1, "small", None).unwrap();
        assert_eq!(bench.keep(0, 1, &"x".repeat(20_000), None), Err(NotKept::Full));
        assert_eq!(bench.due(1_000).len(), 2);
        bench.keep(0, 1, &large, None).unwrap();
    }

    #[test]
    fn a_closed_store_is_empty_and_stays_so() {
        let mut bench = Bench::new(SETTINGS);
        bench.keep(0, 1, "x", None).unwrap();
        bench.keep(0, 2, "x", None).unwrap();
        assert_eq!(bench.delayed.close(), 2);
        assert_eq!(bench.keep(0, 1, "x", None), Err(NotKept::Full));
        assert_eq!(bench.due(5_000), [""; 0]);
        assert_eq!((bench.delayed.close(), bench.delayed.bytes), (0, 0));
    }
}
