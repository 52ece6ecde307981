//! Flows of 3.1.1 and 5 alike. None waits for nothing to happen: what must not come would come before what is
//! expected next.

use std::collections::BTreeSet;

use crate::clients::Clients;
use crate::job::{Connect, Publish, Will};
use crate::support::mqtt::Version;
use crate::{PASSWORD, USER};

pub(crate) fn a_session_begins_and_goes_on_as_asked(clients: &mut Clients<'_>) {
    for present in [false, true, true] {
        let answer = clients.connect(clients.lasting("client"));
        assert_eq!(answer.session_present, present);
        clients.disconnect("client");
    }
    for connect in [clients.clean("client"), clients.lasting("client")] {
        let answer = clients.connect(connect);
        assert!(!answer.session_present, "a clean session leaves nothing, neither before it nor behind");
        clients.disconnect("client");
    }
}

pub(crate) fn only_the_right_password_is_accepted(clients: &mut Clients<'_>) {
    let login = |clients: &Clients<'_>, password| Connect {
        user: Some(USER),
        password: Some(password),
        ..clients.clean("client")
    };
    let refused = clients.try_connect(login(clients, "wrong"));
    let bad_user_name_or_password = if clients.version == Version::V5 { 0x86 } else { 4 };
    assert!(refused.error.is_some(), "{refused:?}");
    if let Some(code) = refused.code {
        // paho says the code of version 5 for the one of 3.1.1.
        assert!(code == bad_user_name_or_password || code == 0x86, "{refused:?}");
    }
    let connect = login(clients, PASSWORD);
    clients.connect(Connect { client: "again".to_owned(), ..connect });
    clients.subscribe("again", "a", 0);
    clients.publish("again", "a", "heard", 0);
    clients.expect("again", ["a heard q0"]);
}

pub(crate) fn every_qos_passes_in_both_directions(clients: &mut Clients<'_>) {
    clients.start(["publisher", "at 0", "at 1", "at 2"]);
    for granted in 0..=2 {
        clients.subscribe(&format!("at {granted}"), "a/+/c", granted);
    }
    for published in 0..=2 {
        for payload in ["first", "second"] {
            clients.publish("publisher", "a/b/c", &format!("{payload} at {published}"), published);
        }
    }
    for granted in 0..=2 {
        for published in 0..=2 {
            for payload in ["first", "second"] {
                let line = format!("a/b/c {payload} at {published} q{}", granted.min(published));
                clients.expect(&format!("at {granted}"), [&line]);
            }
        }
    }
}

pub(crate) fn a_will_is_published_when_the_connection_breaks(clients: &mut Clients<'_>) {
    clients.start(["watcher"]);
    clients.subscribe("watcher", "#", 2);
    let with_will =
        |clients: &Clients<'_>, client, will| Connect { will: Some(will), ..clients.clean(client) };
    let breaking = with_will(clients, "breaking", Will::new("wills/breaking", "gone"));
    clients.connect(breaking);
    clients.cut("breaking");
    clients.expect("watcher", ["wills/breaking gone q1"]);

    let leaving = with_will(clients, "leaving", Will::new("wills/leaving", "never"));
    clients.connect(leaving);
    clients.disconnect("leaving");
    let will = Will { qos: 2, retain: true, ..Will::new("wills/kept", "gone for good") };
    let kept = with_will(clients, "kept", will);
    clients.connect(kept);
    clients.cut("kept");
    clients.expect("watcher", ["wills/kept gone for good q2"]);
    clients.subscribe("watcher", "wills/kept", 1);
    clients.expect("watcher", ["wills/kept gone for good q1 retained"]);
}

pub(crate) fn retained_messages_are_replayed_replaced_and_cleared(clients: &mut Clients<'_>) {
    clients.start(["publisher", "early", "late", "last"]);
    let retain = |clients: &mut Clients<'_>, topic, payload, qos| {
        clients.publish_with(Publish::new("publisher", topic, payload, qos).retained());
    };
    clients.subscribe("early", "state/#", 2);
    retain(clients, "state/door", "open", 1);
    retain(clients, "state/door", "shut", 2);
    clients.expect("early", ["state/door open q1", "state/door shut q2"]);
    // Only the newest, at the QoS granted.
    clients.subscribe("late", "state/+", 1);
    clients.expect("late", ["state/door shut q1 retained"]);
    retain(clients, "state/door", "", 1);
    clients.expect("late", ["state/door  q1"]);
    clients.subscribe("last", "state/#", 1);
    clients.publish("publisher", "state/end", "now", 1);
    clients.expect("last", ["state/end now q1"]);
}

pub(crate) fn a_shared_subscription_divides_its_messages(clients: &mut Clients<'_>) {
    clients.start(["publisher", "one", "two", "alone"]);
    for member in ["one", "two"] {
        clients.subscribe(member, "$share/workers/jobs/#", 1);
        clients.subscribe(member, "end", 1);
    }
    clients.subscribe("alone", "jobs/+", 1);
    for number in 0..10 {
        clients.publish("publisher", "jobs/a", &number.to_string(), 1);
    }
    clients.publish("publisher", "end", "end", 1);
    let mut done = Vec::new();
    for member in ["one", "two"] {
        let before = done.len();
        loop {
            let message = clients.next(member);
            if message.topic == "end" {
                break;
            }
            done.push(String::from_utf8(message.payload).expect("text"));
        }
        assert_eq!(done.len() - before, 5, "what member {member} did, in turn with the other: {done:?}");
    }
    let all: BTreeSet<String> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), all);
    for number in 0..10 {
        clients.expect("alone", [&format!("jobs/a {number} q1")]);
    }
}

pub(crate) fn a_resumed_session_gets_what_waited(clients: &mut Clients<'_>) {
    clients.start(["publisher"]);
    clients.connect(clients.lasting("away"));
    clients.subscribe("away", "a/#", 2);
    // Each QoS for itself: some libraries hand on a QoS 2 message when its PUBREL comes.
    for qos in [1, 2] {
        clients.disconnect("away");
        for number in 0..20 {
            clients.publish("publisher", "a/b", "dropped", 0);
            clients.publish("publisher", "a/b", &number.to_string(), qos);
        }
        let answer = clients.connect(clients.lasting("away"));
        assert!(answer.session_present, "{answer:?}");
        for number in 0..20 {
            clients.expect("away", [&format!("a/b {number} q{qos}")]);
        }
        // The subscription goes on, and everything was acknowledged.
        clients.publish("publisher", "a/c", "live", qos);
        clients.expect("away", [&format!("a/c live q{qos}")]);
        clients.settle("away");
    }
    clients.cut("away");
    let answer = clients.connect(clients.lasting("away"));
    assert!(answer.session_present, "{answer:?}");
    clients.publish("publisher", "a/d", "again", 2);
    clients.expect("away", ["a/d again q2"]);
}

pub(crate) fn another_connection_of_the_same_client_takes_over(clients: &mut Clients<'_>) {
    clients.start(["publisher"]);
    clients.connect(Connect { client: "old".to_owned(), ..clients.lasting("client") });
    clients.subscribe("old", "a", 1);
    let answer = clients.connect(Connect { client: "new".to_owned(), ..clients.lasting("client") });
    assert!(answer.session_present, "{answer:?}");
    let session_taken_over = (clients.version == Version::V5).then_some(0x8E);
    assert_eq!(clients.closed("old"), session_taken_over);
    clients.publish("publisher", "a", "to the new one", 1);
    clients.expect("new", ["a to the new one q1"]);
}

pub(crate) fn an_unsubscribed_filter_brings_nothing(clients: &mut Clients<'_>) {
    clients.start(["publisher", "client"]);
    for filter in ["a/#", "b"] {
        clients.subscribe("client", filter, 1);
    }
    clients.publish("publisher", "a/x", "before", 1);
    clients.expect("client", ["a/x before q1"]);
    clients.unsubscribe("client", "a/#");
    clients.publish("publisher", "a/x", "after", 1);
    clients.publish("publisher", "b", "still", 1);
    clients.expect("client", ["b still q1"]);
}

pub(crate) fn half_a_mebibyte_passes_unaltered(clients: &mut Clients<'_>) {
    clients.start(["publisher", "client"]);
    clients.subscribe("client", "large", 2);
    // No two 256-byte blocks alike, so that a lost or doubled piece shows.
    let payload: Vec<u8> = (0..128 * 1_024_u32).flat_map(u32::to_be_bytes).collect();
    assert_eq!(payload.len(), 512 * 1_024);
    for qos in 0..=2 {
        clients.publish_with(Publish::new("publisher", "large", payload.clone(), qos));
        let message = clients.next("client");
        assert_eq!(message.qos, qos);
        assert!(message.payload == payload, "{} bytes at QoS {qos} are others", message.payload.len());
    }
}
