use super::*;

fn copy(client: &str, outcome: &str, reason: &str) -> Value {
    json!({ "client": client, "filters": ["a"], "qos": 1, "outcome": outcome, "reason": reason, "why": "it is so" })
}

/// A node's answer; `extra` takes the place of what an uninteresting one says.
fn answer(name: &str, copies: &[Value], extra: Value) -> Answer {
    let mut value = json!({
        "id": name, "name": name, "published_as": "a", "rewritten": false, "refused": null,
        "delay_seconds": null, "client": null, "retained": null, "copies": copies, "unlisted": 0,
        "not_matching": [], "nodes": [],
    });
    let Value::Object(extra) = extra else { panic!("{extra} is no object") };
    value.as_object_mut().unwrap().extend(extra);
    serde_json::from_value(value).unwrap()
}

fn other(name: &str, forwarded: bool, routes: &[&str], answer: Result<Answer, &str>) -> Other {
    let routes: Vec<Value> = routes.iter().map(|it| json!({ "filter": it, "durable": false })).collect();
    let hop = json!({
        "id": name, "name": name, "http": "", "state": "live", "routes": routes, "forwarded": forwarded,
        "why": "of a reason",
    });
    let answer = answer.map(|answer| (answer, Value::Null)).map_err(str::to_owned);
    Other { hop: serde_json::from_value(hop).unwrap(), answer }
}

#[track_caller]
fn check(first: Answer, others: Vec<Other>, client: Option<&str>, expected: &str) {
    let flock = Flock { first, first_value: Value::Null, others };
    assert_eq!(flock.verdict(client), expected);
}

#[test]
fn the_first_line_says_how_many_get_it_and_why_others_do_not() {
    let plain = |copies: &[Value]| answer("n1", copies, json!({}));
    let there = |copies: &[Value]| Ok(answer("n2", copies, json!({})));
    let got =
        [copy("c1", "sent", "matched"), copy("c2", "waits", "inflight_full"), copy("c3", "kept", "away")];
    check(plain(&got), vec![], None, "3 clients on 1 node would get it");
    let more = vec![other("n2", true, &["a"], there(&[copy("c1", "sent", "matched")]))];
    check(plain(&got), more, None, "4 clients on 2 nodes would get it");
    let twice = [copy("c1", "sent", "matched"), copy("c1", "sent", "matched")];
    check(plain(&twice), vec![], None, "1 client on 1 node would get it");
    let mixed = [
        copy("c1", "sent", "matched"),
        copy("c2", "dropped", "queue_full"),
        copy("c3", "dropped", "offline"),
        copy("c4", "own", "no_local"),
        copy("c5", "passed_over", "passed_over"),
    ];
    check(
        plain(&mixed),
        vec![],
        None,
        "1 client on 1 node would get it; 3 would not: no local, offline, queue full",
    );
    check(plain(&[]), vec![], None, "nobody on any node would get it: no subscription matches");
    check(plain(&mixed[1..2]), vec![], None, "nobody on any node would get it; 1 would not: queue full");
    let cut = answer("n1", &got, json!({ "unlisted": 5 }));
    check(
        cut,
        vec![],
        None,
        "3 clients on 1 node would get it; 5 more subscriptions match and are not listed",
    );
}

#[test]
fn what_does_not_go_to_a_node_is_not_got_there() {
    let first = answer("n1", &[], json!({}));
    let there = answer("n2", &[copy("c1", "sent", "matched")], json!({}));
    let expected = "nobody on any node would get it; 1 would not: not forwarded";
    check(first, vec![other("n2", false, &[], Ok(there))], None, expected);
}

#[test]
fn nodes_that_do_not_answer_are_named() {
    let first = || answer("n1", &[copy("c1", "sent", "matched")], json!({}));
    let silent = |routes: &[&str]| vec![other("n2", true, routes, Err("no answer"))];
    check(first(), silent(&[]), None, "1 client on 1 node would get it; not known: n2 (no answer)");
    let expected = "1 client on 1 node would get it; not known: n2 (no answer; a subscription there matches)";
    check(first(), silent(&["a"]), None, expected);
    let expected =
        "nobody on the nodes that answer would get it: no subscription matches; not known: n2 (no answer)";
    check(answer("n1", &[], json!({})), silent(&[]), None, expected);
}

#[test]
fn a_question_about_one_client_is_answered_for_it() {
    let with =
        |session: Value, copies: &[Value]| answer("n1", copies, json!({ "client": { "session": session } }));
    let expected = "c1 would not get it: no node that answers has a session of that name";
    check(with(Value::Null, &[]), vec![], Some("c1"), expected);
    let expected = "c1 would not get it: none of its subscriptions matches";
    check(with(json!({}), &[]), vec![], Some("c1"), expected);
    let dropped = [copy("c1", "dropped", "offline")];
    check(with(json!({}), &dropped), vec![], Some("c1"), "c1 at n1 would not get it: it is so");
    let passed = [copy("c1", "passed_over", "passed_over"), copy("c2", "sent", "matched")];
    check(with(json!({}), &passed), vec![], Some("c1"), "c1 at n1 would not get it: it is so");
    let both = [copy("c1", "dropped", "queue_full"), copy("c1", "sent", "matched")];
    check(with(json!({}), &both), vec![], Some("c1"), "c1 would get it at n1: it is so");
}

#[test]
fn what_comes_before_the_subscriptions_is_said_first() {
    let refused = answer("n1", &[copy("c1", "sent", "matched")], json!({ "refused": "it is the node's" }));
    check(refused, vec![], None, "nobody on any node would get it: it is the node's");
    let later = answer("n1", &[copy("c1", "sent", "matched")], json!({ "delay_seconds": 5 }));
    check(later, vec![], None, "in 5 s: 1 client on 1 node would get it");
}
