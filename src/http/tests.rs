use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::cluster::NodeId;
use crate::net::TcpStream;

struct Fixture {
    address: SocketAddr,
    tasks: Tasks,
    is_ready: Arc<AtomicBool>,
    leave: CancellationToken,
}

impl Fixture {
    async fn start(cluster: Option<Arc<Cluster>>) -> Self {
        Self::start_with(cluster, true).await
    }

    async fn start_with(cluster: Option<Arc<Cluster>>, allowed: bool) -> Self {
        let leave = CancellationToken::new();
        let tasks = Tasks::new();
        let is_ready = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&is_ready);
        let readiness = move || {
            if asked.load(Ordering::SeqCst) { Vec::new() } else { vec!["routes are missing".to_owned()] }
        };
        let changes = Changes { allowed, leave: leave.clone() };
        let broker = Broker::for_tests(Arc::default(), cluster.clone());
        let state = State::new(identity(), broker, cluster, Arc::default())
            .with_readiness(Arc::new(readiness))
            .with_changes(changes);
        let settings = Settings { bind: (Ipv4Addr::LOCALHOST, 0).into(), allow_changes: None };
        let server = Server::bind(&settings).await.unwrap();
        let address = server.address();
        server.start(state, &tasks);
        Self { address, tasks, is_ready, leave }
    }

    /// Sends these bytes and reads until the server closes: status, head, body.
    async fn exchange(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    async fn get_json(&self, path: &str) -> (u16, Value) {
        let (status, head, body) = self.get(path).await;
        assert!(head.contains("content-type: application/json"), "{head}");
        (status, serde_json::from_str(&body).unwrap())
    }
}

fn identity() -> Identity {
    Identity {
        id: "000000000000000000000000000000ab".parse::<NodeId>().unwrap(),
        incarnation: 7,
        name: "node1".to_owned(),
    }
}

#[tokio::test]
async fn a_running_node_is_live_and_says_whether_it_is_ready() {
    let server = Fixture::start(None).await;
    let (status, head, body) = server.get("/health/live").await;
    assert_eq!((status, body.as_str()), (200, "live"));
    assert!(head.contains("cache-control: no-store"), "{head}");
    assert_eq!(server.get_json("/health/ready").await, (200, json!({ "ready": true, "reasons": [] })));
    server.is_ready.store(false, Ordering::SeqCst);
    assert_eq!(
        server.get_json("/health/ready").await,
        (503, json!({ "ready": false, "reasons": ["routes are missing"] }))
    );
    assert_eq!(server.get("/health/live").await.0, 200);
}

#[tokio::test]
async fn metrics_are_written_for_scrapers() {
    let server = Fixture::start(None).await;
    let (status, head, body) = server.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.contains("flockmq_connections 0"), "{body}");
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn a_node_alone_is_its_own_converged_cluster() {
    let server = Fixture::start(None).await;
    let (status, answer) = server.get_json("/api/v1/cluster").await;
    assert_eq!(status, 200);
    assert_eq!((&answer["ready"], &answer["converged"]), (&json!(true), &json!(true)));
    assert_eq!(answer["id"], "000000000000000000000000000000ab");
    let nodes = answer["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0]["name"], "node1");
    assert_eq!((&nodes[0]["self"], &nodes[0]["state"]), (&json!(true), &json!("live")));
    assert_eq!(nodes[0]["incarnation"], 7);
    assert_eq!(server.get_json("/api/v1/cluster/routes").await, (200, json!({ "routes": [] })));
    server.is_ready.store(false, Ordering::SeqCst);
    assert_eq!(server.get_json("/api/v1/cluster").await.1["ready"], false);
}

#[tokio::test]
async fn a_member_of_a_cluster_answers_with_what_its_cluster_says() {
    let settings = crate::cluster::Settings { listen: (Ipv4Addr::LOCALHOST, 0).into(), ..Default::default() };
    let tasks = Tasks::new();
    let cluster = Cluster::bind(settings, identity(), tasks.clone(), Arc::default()).await.unwrap();
    let server = Fixture::start(Some(Arc::clone(&cluster))).await;
    let (_, answer) = server.get_json("/api/v1/cluster").await;
    assert_eq!(answer["cluster"], "flock");
    assert_eq!(answer["nodes"][0]["address"], cluster.address());
    assert_eq!(answer["nodes"][0]["name"], "node1");
    assert_eq!(server.get_json("/api/v1/cluster/routes").await, (200, json!({ "routes": [] })));
    tasks.stop();
}

/// POSTs a body with further header lines: status and error.
async fn post(server: &Fixture, path: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n");
    let (status, _, body) = server.exchange(&format!("{head}{headers}\r\n{body}")).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn only_who_may_changes_something() {
    let settings = crate::cluster::Settings { listen: (Ipv4Addr::LOCALHOST, 0).into(), ..Default::default() };
    let tasks = Tasks::new();
    let cluster = Cluster::bind(settings, identity(), tasks.clone(), Arc::default()).await.unwrap();
    let check = async |allowed: bool, path: &str, headers: &str, body: &str, status: u16, words: &str| {
        let server = Fixture::start_with(Some(Arc::clone(&cluster)), allowed).await;
        let (found, error) = post(&server, path, headers, body).await;
        assert_eq!(found, status, "{error}");
        assert!(error.contains(words), "{words:?} is not in {error:?}");
        assert_eq!(server.leave.is_cancelled(), status == 202);
    };
    let (leave, forget) = ("/api/v1/cluster/leave", "/api/v1/cluster/forget");
    check(false, leave, JSON, "{}", 403, "http.allow_changes").await;
    check(true, leave, &format!("{JSON}Origin: http://x\r\n"), "{}", 403, "web page").await;
    check(true, leave, "Content-Type: text/plain\r\n", "{}", 415, "application/json").await;
    check(true, leave, JSON, "{", 400, "JSON").await;
    check(true, leave, JSON, r#"{"now":true}"#, 422, "now").await;
    check(true, leave, JSON, "{}", 202, "").await;
    check(true, forget, JSON, r#"{"node":"node1"}"#, 409, "cannot forget itself").await;
    check(true, forget, JSON, r#"{"node":"x","force":true}"#, 404, "\"x\"").await;
    check(true, "/api/v1/cluster/join", JSON, r#"{"address":"127.0.0.1:1"}"#, 502, "127.0.0.1:1").await;
    tasks.stop();

    let alone = Fixture::start(None).await;
    assert_eq!(post(&alone, leave, JSON, "{}").await.0, 409);
}

#[test]
fn changes_are_allowed_on_loopback_or_when_it_is_said() {
    let check = |bind: &str, allow_changes, expected| {
        let settings = Settings { bind: bind.parse().unwrap(), allow_changes };
        assert_eq!(settings.changes_allowed(), expected, "{settings:?}");
    };
    check("127.0.0.1:8080", None, true);
    check("[::1]:8080", None, true);
    check("0.0.0.0:8080", None, false);
    check("10.0.0.5:8080", None, false);
    check("10.0.0.5:8080", Some(true), true);
    check("127.0.0.1:8080", Some(false), false);
}

#[tokio::test]
async fn beliefs_name_the_routes_of_each_owner() {
    let settings = crate::cluster::Settings { listen: (Ipv4Addr::LOCALHOST, 0).into(), ..Default::default() };
    let tasks = Tasks::new();
    let cluster = Cluster::bind(settings, identity(), tasks.clone(), Arc::default()).await.unwrap();
    let server = Fixture::start(Some(Arc::clone(&cluster))).await;
    let (_, beliefs) = server.get_json("/api/v1/cluster/beliefs").await;
    assert_eq!(beliefs["owners"][0]["owner"], "000000000000000000000000000000ab");
    assert_eq!(
        (&beliefs["owners"][0]["incarnation"], &beliefs["owners"][0]["count"]),
        (&json!(7), &json!(0))
    );
    let path = "/api/v1/cluster/beliefs/000000000000000000000000000000ab";
    let (status, page) = server.get_json(path).await;
    assert_eq!((status, &page["routes"], &page["next"]), (200, &json!([]), &Value::Null));
    assert_eq!(server.get_json(&format!("{path}?after=5")).await.0, 200);
    assert_eq!(server.get_json("/api/v1/cluster/beliefs/ab").await.0, 400);
    assert_eq!(server.get_json(&path.replace("ab", "ac")).await.0, 404);
    tasks.stop();
}

#[tokio::test]
async fn a_question_about_a_topic_is_answered() {
    let server = Fixture::start(None).await;
    let (status, answer) =
        server.get_json("/api/v1/explain?topic=h%C3%B6he/%25%201&client=c%2F1&qos=2").await;
    assert_eq!(status, 200);
    assert_eq!((&answer["name"], &answer["topic"]), (&json!("node1"), &json!("höhe/% 1")));
    assert_eq!(answer["id"], "000000000000000000000000000000ab");
    assert_eq!((&answer["qos"], &answer["client"]), (&json!(2), &json!({ "id": "c/1", "session": null })));
    assert_eq!((&answer["copies"], &answer["nodes"]), (&json!([]), &json!([])));
    // The longest that a request line has room for.
    let long = "x".repeat(15_000);
    let (status, answer) = server.get_json(&format!("/api/v1/explain?topic={long}")).await;
    assert_eq!((status, answer["topic"].as_str().unwrap().len()), (200, 15_000));
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_with_the_reason() {
    let server = Fixture::start(None).await;
    let check = async |query: &str, expected: &str| {
        let (status, answer) = server.get_json(&format!("/api/v1/explain{query}")).await;
        assert_eq!(status, 400, "{query}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(expected), "{query}: {error}");
    };
    check("", "topic is missing").await;
    check("?topic=", "topic: a Topic Name has at least one character").await;
    for query in ["?topic=a/+/b", "?topic=a/%23", "?topic=a%2Bb"] {
        check(query, "ask about one topic").await;
    }
    check("?topic=a%00", "U+0000").await;
    check("?topic=%FF", "not UTF-8").await;
    check("?topic=a%2", "hexadecimal").await;
    check("?topic=a&topic=b", "given twice").await;
    check("?topic=a&q=1", "no parameter \"q\"; there are: topic, client, publisher, qos, forwarded").await;
    for qos in ["3", "-1", "x", "256", ""] {
        check(&format!("?topic=a&qos={qos}"), "qos: a QoS is 0, 1 or 2").await;
    }
    check("?topic=a&client=", "client: a Client Identifier").await;
    check("?topic=a&publisher=", "publisher: a Client Identifier").await;
    check("?topic=a&forwarded=yes", "true or false").await;
}

/// A topic of 65,535 bytes exists, but no request line has room for it.
#[tokio::test]
async fn a_topic_that_no_request_has_room_for_is_refused_before_it_is_read() {
    let server = Fixture::start(None).await;
    for (letter, count) in [("x", 65_535), ("x", 17_000), ("%2F", 65_535)] {
        let path = format!("/api/v1/explain?topic={}", letter.repeat(count));
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may have closed before everything is written.
        let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(server.get("/health/live").await.0, 200);
}

#[tokio::test]
async fn what_does_not_exist_is_said_in_json() {
    let server = Fixture::start(None).await;
    assert_eq!(
        server.get_json("/api/v2/x?y").await,
        (404, json!({ "error": "there is nothing at /api/v2/x" }))
    );
    let (status, head, _) =
        server.exchange("DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status, 405);
    assert!(head.contains("content-type: application/json"), "{head}");
}

#[tokio::test]
async fn requests_that_are_too_large_are_refused() {
    let server = Fixture::start(None).await;
    let filler = "x".repeat(settings::HEADER_BYTES_MAX);
    let long = format!("GET /health/live HTTP/1.1\r\nHost: x\r\nFiller: {filler}\r\n\r\n");
    assert_eq!(server.exchange(&long).await.0, 431);
    let many: String = (0..=settings::HEADERS_MAX).map(|n| format!("H{n}: x\r\n")).collect();
    assert_eq!(server.exchange(&format!("GET /health/live HTTP/1.1\r\n{many}\r\n")).await.0, 431);
    let body = settings::BODY_BYTES_MAX + 1;
    let announced = format!(
        "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {body}\r\n\r\n"
    );
    assert_eq!(server.exchange(&announced).await.0, 413);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_free_places_are_used_again() {
    let server = Fixture::start(None).await;
    let mut held = Vec::new();
    for _ in 0..settings::CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // One answer, so that the place is taken for certain.
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_ne!(stream.read(&mut [0; 1_024]).await.unwrap(), 0);
        held.push(stream);
    }
    let mut refused = TcpStream::connect(server.address).await.unwrap();
    let read = refused.read(&mut [0; 16]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    drop(held);
    for _ in 0..1_000 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
        if stream.write_all(request).await.is_ok() && matches!(stream.read(&mut [0; 16]).await, Ok(1..)) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("no place became free");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let server = Fixture::start(None).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    silent.write_all(b"GET /health/live HT").await.unwrap();
    let begun = crate::net::clock::now();
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).await.unwrap();
    let waited = crate::net::clock::now() - begun;
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(waited <= settings::HEADER_TIME_MAX + Duration::from_secs(1), "{waited:?}");
}

#[tokio::test]
async fn a_node_that_stops_closes_its_connections() {
    let server = Fixture::start(None).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_ne!(idle.read(&mut [0; 1_024]).await.unwrap(), 0);
    assert!(server.tasks.shutdown(Duration::from_secs(10)).await);
    assert!(!server.tasks.failed());
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken =
        Server::bind(&Settings { bind: (Ipv4Addr::LOCALHOST, 0).into(), allow_changes: None }).await.unwrap();
    let error = Server::bind(&Settings { bind: taken.address(), allow_changes: None }).await.err().unwrap();
    let expected = format!("cannot listen on {}: Address already in use", taken.address());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_node_is_ready_when_its_cluster_is() {
    let metrics: Arc<Metrics> = Arc::default();
    let alone =
        State::new(identity(), Broker::for_tests(Arc::clone(&metrics), None), None, Arc::clone(&metrics));
    assert!(alone.readiness.obstacles().is_empty());
    let settings = crate::cluster::Settings { listen: (Ipv4Addr::LOCALHOST, 0).into(), ..Default::default() };
    let tasks = Tasks::new();
    let cluster = Cluster::bind(settings, identity(), tasks.clone(), Arc::clone(&metrics)).await.unwrap();
    let broker = Broker::for_tests(Arc::clone(&metrics), Some(Arc::clone(&cluster)));
    let state = State::new(identity(), broker, Some(Arc::clone(&cluster)), metrics);
    assert_eq!(state.readiness.obstacles().is_empty(), cluster.is_ready());
    tasks.stop();
}
