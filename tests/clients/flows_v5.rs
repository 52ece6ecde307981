//! Flows that only version 5 has.

use crate::clients::Clients;
use crate::job::{Connect, Publish, Subscribe, Will};
use crate::support::inbox::Properties;
use crate::support::mqtt::Version;
use crate::{KEEP_ALIVE_MAX, PASSWORD, USER};

pub(crate) fn properties_pass_unaltered_and_in_order(clients: &mut Clients<'_>) {
    clients.start(["publisher"]);
    clients.connect(clients.lasting("client"));
    clients.subscribe("client", "a", 2);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let user = vec![pair("z", "1"), pair("a", "2"), pair("a", ""), pair("ü", "日本")];
    let properties = Properties { user, ..Properties::one_of_each("call") };
    for qos in 0..=2 {
        clients.publish_with(Publish::new("publisher", "a", "x", qos).with(properties.clone()));
    }
    for qos in 0..=2 {
        let message = clients.next("client");
        assert_eq!(message.qos, qos);
        assert!(properties.arrived_as(&message.properties), "{:?}", message.properties);
    }
    // Those of a message that waited, too: its expiry is what is left.
    clients.settle("client");
    clients.disconnect("client");
    clients.publish_with(Publish::new("publisher", "a", "y", 1).with(properties.clone()));
    clients.connect(clients.lasting("client"));
    let message = clients.next("client");
    assert!(properties.arrived_as(&message.properties), "{:?}", message.properties);
}

pub(crate) fn a_message_that_expired_does_not_come(clients: &mut Clients<'_>) {
    clients.start(["publisher"]);
    clients.connect(clients.lasting("client"));
    clients.subscribe("client", "a", 1);
    clients.disconnect("client");
    let expiring = |seconds| Properties { message_expiry: Some(seconds), ..Properties::default() };
    // An interval of 0 has passed at once.
    clients.publish_with(Publish::new("publisher", "a", "late", 1).with(expiring(0)));
    clients.publish_with(Publish::new("publisher", "a", "in time", 1).with(expiring(600)));
    clients.connect(clients.lasting("client"));
    clients.expect("client", ["a in time q1"]);
}

pub(crate) fn a_request_is_answered_at_its_response_topic(clients: &mut Clients<'_>) {
    clients.start(["asking", "answering"]);
    clients.subscribe("answering", "requests", 1);
    clients.subscribe("asking", "answers/asking", 1);
    let request = Properties {
        response_topic: Some("answers/asking".to_owned()),
        correlation_data: Some("call 1".to_owned()),
        ..Properties::default()
    };
    clients.publish_with(Publish::new("asking", "requests", "6 * 7", 1).with(request));
    let seen = clients.next("answering").properties;
    let response_topic = seen.response_topic.expect("a response topic");
    let answer = Properties { correlation_data: seen.correlation_data, ..Properties::default() };
    clients.publish_with(Publish::new("answering", &response_topic, "42", 1).with(answer));
    let answer = clients.next("asking");
    assert_eq!((answer.payload.as_slice(), answer.topic.as_str()), (b"42".as_slice(), "answers/asking"));
    assert_eq!(answer.properties.correlation_data.as_deref(), Some("call 1"));
}

pub(crate) fn the_subscription_that_matched_is_told(clients: &mut Clients<'_>) {
    clients.start(["publisher", "client"]);
    for (filter, id) in [("a/+", 7), ("b", 268_435_455)] {
        clients
            .subscribe_with(Subscribe { subscription_id: Some(id), ..Subscribe::new("client", filter, 1) });
    }
    clients.subscribe("client", "c", 1);
    for (topic, ids) in [("a/x", vec![7]), ("b", vec![268_435_455]), ("c", vec![])] {
        clients.publish("publisher", topic, "x", 1);
        assert_eq!(clients.next("client").properties.subscription_ids, ids, "{topic}");
    }
}

pub(crate) fn options_of_a_subscription_are_kept(clients: &mut Clients<'_>) {
    clients.start(["publisher", "client"]);
    clients.publish_with(Publish::new("publisher", "state", "old", 1).retained());
    clients.subscribe_with(Subscribe {
        no_local: true,
        retain_as_published: true,
        retain_handling: 2,
        ..Subscribe::new("client", "state", 1)
    });
    clients.publish_with(Publish::new("client", "state", "own", 1).retained());
    clients.publish_with(Publish::new("publisher", "state", "new", 1).retained());
    // Neither what was retained (Retain Handling 2) nor its own (No Local); and the flag is as published.
    clients.expect("client", ["state new q1 retained"]);
}

pub(crate) fn a_topic_alias_stands_for_its_topic(clients: &mut Clients<'_>) {
    clients.start(["publisher", "client"]);
    clients.subscribe("client", "rooms/#", 1);
    let alias = |number| Properties { topic_alias: Some(number), ..Properties::default() };
    for (topic, number, payload) in [
        ("rooms/1", 1, "a"),
        ("rooms/2", 2, "b"),
        ("", 1, "c"),
        ("", 2, "d"),
        ("rooms/3", 1, "e"),
        ("", 1, "f"),
    ] {
        clients.publish_with(Publish::new("publisher", topic, payload, 1).with(alias(number)));
    }
    let expected =
        ["rooms/1 a q1", "rooms/2 b q1", "rooms/1 c q1", "rooms/2 d q1", "rooms/3 e q1", "rooms/3 f q1"];
    clients.expect("client", expected);
}

pub(crate) fn topic_aliases_of_the_node_are_understood(clients: &mut Clients<'_>) {
    clients.start(["publisher"]);
    clients.connect(Connect { topic_aliases: Some(1), ..clients.clean("client") });
    clients.subscribe("client", "long/topics/#", 1);
    for (topic, alias) in [("long/topics/1", Some(1)), ("long/topics/2", None), ("long/topics/1", Some(1))] {
        clients.publish("publisher", topic, "x", 1);
        let message = clients.next("client");
        assert_eq!((message.topic.as_str(), message.properties.topic_alias), (topic, alias));
    }
}

pub(crate) fn a_delayed_will_waits(clients: &mut Clients<'_>) {
    clients.start(["watcher"]);
    clients.subscribe("watcher", "#", 1);
    let connect = |clients: &Clients<'_>, client, delay| Connect {
        will: Some(Will::new("will", client).delay(delay)),
        ..clients.lasting(client)
    };
    // Until the delay has passed.
    let delayed = connect(clients, "delayed", 1);
    clients.connect(delayed);
    clients.cut("delayed");
    clients.publish("watcher", "mark", "cut", 1);
    clients.expect("watcher", ["mark cut q1", "will delayed q1"]);
    // For ever, when the session goes on before.
    let returning = connect(clients, "returning", 3_600);
    clients.connect(returning);
    clients.cut("returning");
    let answer = clients.connect(clients.lasting("returning"));
    assert!(answer.session_present);
    clients.disconnect("returning");
    // Not beyond the end of the session.
    let ending = connect(clients, "ending", 3_600);
    clients.connect(Connect { session_expiry: None, ..ending });
    clients.cut("ending");
    clients.expect("watcher", ["will ending q1"]);
}

pub(crate) fn a_disconnect_can_ask_for_the_will(clients: &mut Clients<'_>) {
    clients.start(["watcher"]);
    clients.subscribe("watcher", "#", 1);
    let leaving = Connect { will: Some(Will::new("will", "on purpose")), ..clients.clean("leaving") };
    clients.connect(leaving);
    clients.disconnect_with("leaving", 0x04);
    clients.expect("watcher", ["will on purpose q1"]);
}

pub(crate) fn codes_of_pubacks_are_seen(clients: &mut Clients<'_>) {
    check_codes_of_publishes(clients, 1);
}

pub(crate) fn codes_of_pubrecs_are_seen(clients: &mut Clients<'_>) {
    check_codes_of_publishes(clients, 2);
}

fn check_codes_of_publishes(clients: &mut Clients<'_>, qos: u8) {
    clients.start(["publisher", "client"]);
    clients.subscribe("client", "heard", 2);
    for (topic, code) in [("heard", 0x00), ("unheard", 0x10), ("$SYS/broker/version", 0x87), ("heard", 0x00)]
    {
        let answer = clients.try_publish(Publish::new("publisher", topic, "x", qos));
        assert_eq!(answer.code, Some(code), "{topic}: {answer:?}");
    }
    let line = format!("heard x q{qos}");
    clients.expect("client", [line.as_str(), &line]);
}

/// What SUBACK, UNSUBACK and CONNACK say.
pub(crate) fn codes_of_other_answers_are_seen(clients: &mut Clients<'_>) {
    assert_eq!(clients.version, Version::V5);
    clients.start(["client"]);
    clients.subscribe("client", "a", 1);
    assert_eq!(clients.unsubscribe("client", "a").code, Some(0x00));
    assert_eq!(clients.unsubscribe("client", "a").code, Some(0x11), "no subscription existed");
    let refused = clients.try_subscribe(Subscribe::new("client", "$share/name", 1));
    assert_eq!(refused.code, Some(0x8F), "Topic Filter invalid: {refused:?}");
    let login = Connect { user: Some(USER), password: Some("wrong"), ..clients.clean("refused") };
    let refused = clients.try_connect(login.clone());
    assert_eq!(refused.code, Some(0x86), "Bad User Name or Password: {refused:?}");
    clients.connect(Connect { client: "accepted".to_owned(), password: Some(PASSWORD), ..login });
}

pub(crate) fn the_servers_keep_alive_is_seen(clients: &mut Clients<'_>) {
    for (asked, told) in [(KEEP_ALIVE_MAX - 1, None), (KEEP_ALIVE_MAX + 1, Some(KEEP_ALIVE_MAX))] {
        let answer = clients.connect(Connect { keep_alive: asked, ..clients.clean("client") });
        assert_eq!(answer.server_keep_alive, told, "asked for {asked}");
        clients.disconnect("client");
    }
}

pub(crate) fn an_assigned_client_identifier_is_seen(clients: &mut Clients<'_>) {
    let nobody = Connect { client_id: String::new(), ..clients.clean("nobody") };
    let assigned = clients.connect(nobody).assigned_client_id;
    assert!(assigned.as_ref().is_some_and(|id| id.starts_with("auto-")), "{assigned:?}");
    clients.start(["named"]);
    clients.disconnect("named");
    assert_eq!(clients.connect(clients.clean("named")).assigned_client_id, None);
}
