//! Where a value comes from: flag over environment over file over default.

use std::net::SocketAddr;
use std::time::Duration;

use flockmq::config::{Config, Overrides, http_bind, load};

fn load_from(text: &str, environment: &[(&str, &str)], flags: &Overrides) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Some(file.path()), environment, flags).unwrap_or_else(|error| panic!("{error}"))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let file = "[http]\nbind = \"127.0.0.1:1\"";
    let variable = ("FLOCKMQ__HTTP__BIND", "127.0.0.1:2");
    let flags = Overrides::default().with("--http", "http.bind", Some("127.0.0.1:3"));
    let none = Overrides::default();
    let check = |text, environment: &[(&str, &str)], flags, expected| {
        assert_eq!(load_from(text, environment, flags).http.bind, address(expected));
    };
    check("", &[], &none, "127.0.0.1:8080");
    check(file, &[], &none, "127.0.0.1:1");
    check(file, &[variable], &none, "127.0.0.1:2");
    check("", &[variable], &none, "127.0.0.1:2");
    check(file, &[variable], &flags, "127.0.0.1:3");
    check(file, &[], &flags, "127.0.0.1:3");
}

#[test]
fn every_kind_of_value_can_come_from_the_environment() {
    let config = load_from(
        "[cluster]\nname = \"from-file\"\nnode_address = [\"file:1\"]",
        &[
            ("FLOCKMQ__DATA_DIR", "/var/lib/flockmq"),
            ("FLOCKMQ__NODE__NAME", "4711"),
            ("FLOCKMQ__CLUSTER__NODE_ADDRESS", "a:1, b:2,"),
            ("FLOCKMQ__CLUSTER__GOSSIP_INTERVAL", "300ms"),
            ("FLOCKMQ__CLUSTER__LINK_BUFFER", "1MiB"),
            ("FLOCKMQ__CLUSTER__SUBACK", "local"),
            ("FLOCKMQ__MQTT__MAX_INFLIGHT", "7"),
            ("FLOCKMQ__AUTH__ALLOW_ANONYMOUS", "false"),
            ("FLOCKMQ__LISTENER__1__BIND", "127.0.0.1:1884"),
            ("FLOCKMQ__LISTENER__0__BIND", "127.0.0.1:1883"),
            ("FLOCKMQ__LISTENER__0__MAX_CONNECTIONS", "9"),
            ("FLOCKMQ_UNRELATED", "x"),
        ],
        &Overrides::default(),
    );
    let cluster = config.cluster.unwrap();
    assert_eq!(config.data_dir.unwrap().to_str(), Some("/var/lib/flockmq"));
    assert_eq!(config.node_name, "4711");
    assert_eq!(cluster.name, "from-file");
    assert_eq!(cluster.node_address, ["a:1", "b:2"]);
    assert_eq!(cluster.gossip_interval, Duration::from_millis(300));
    assert_eq!(cluster.link_buffer_bytes, 1 << 20);
    assert_eq!(config.session.inflight_max, 7);
    assert!(!config.auth.allow_anonymous);
    let binds: Vec<_> = config.server.listeners.iter().map(|listener| listener.bind).collect();
    assert_eq!(binds, [address("127.0.0.1:1883"), address("127.0.0.1:1884")]);
    assert_eq!(config.server.listeners[0].connections_max, 9);
}

#[test]
fn arrays_in_the_environment_may_be_toml() {
    let environment = [
        ("FLOCKMQ__CLUSTER__NODE_ADDRESS", "[\"a:1\", \"b:2\"]"),
        ("FLOCKMQ__LISTENER", "[{ bind = \"127.0.0.1:1\" }, { bind = \"127.0.0.1:2\" }]"),
    ];
    let config = load_from("", &environment, &Overrides::default());
    assert_eq!(config.cluster.unwrap().node_address, ["a:1", "b:2"]);
    assert_eq!(config.server.listeners.len(), 2);
}

#[test]
fn a_variable_changes_one_key_of_a_listener_of_the_file() {
    let file =
        "[[listener]]\nbind = \"127.0.0.1:1\"\nmax_connections = 5\n[[listener]]\nbind = \"127.0.0.1:2\"";
    let config = load_from(file, &[("FLOCKMQ__LISTENER__0__BIND", "127.0.0.1:3")], &Overrides::default());
    let listeners = config.server.listeners;
    assert_eq!(
        listeners.iter().map(|listener| (listener.bind, listener.connections_max)).collect::<Vec<_>>(),
        [(address("127.0.0.1:3"), 5), (address("127.0.0.1:2"), 100_000)]
    );
}

/// What a listener names is its own, wherever it stands; all else is as for all listeners, wherever that stands.
#[test]
fn a_listener_has_limits_of_its_own() {
    let file = "[mqtt]\nmax_inflight = 5\nmax_qos = 1\nresponse_information = \"all\"\n\
                [[listener]]\nbind = \"127.0.0.1:1\"\n[listener.mqtt]\nmax_inflight = 6\nmax_queue = 7\n\
                [[listener]]\nbind = \"127.0.0.1:2\"\nmqtt = { response_information = \"\" }\n\
                [[listener]]\nbind = \"127.0.0.1:3\"\nmqtt = {}";
    let limits = |environment: &[(&str, &str)]| {
        let config = load_from(file, environment, &Overrides::default());
        let own = config.server.listeners.into_iter().map(|listener| listener.session);
        own.map(|own| {
            let limits = own.as_ref().unwrap_or(&config.session);
            let information = limits.response_information.as_deref().map(str::to_owned);
            let queue_len_max = (limits.queue_len_max != 100_000).then_some(limits.queue_len_max);
            (own.is_some(), limits.inflight_max, limits.qos_max as u8, queue_len_max, information)
        })
        .collect::<Vec<_>>()
    };
    let all = || Some("all".to_owned());
    assert_eq!(
        limits(&[]),
        [(true, 6, 1, Some(7), all()), (true, 5, 1, None, None), (false, 5, 1, None, all())]
    );
    assert_eq!(
        limits(&[
            ("FLOCKMQ__MQTT__MAX_INFLIGHT", "8"),
            ("FLOCKMQ__LISTENER__0__MQTT__MAX_QUEUE", "9"),
            ("FLOCKMQ__LISTENER__1__MQTT__MAX_QOS", "2"),
            ("FLOCKMQ__LISTENER__2__MQTT", "{ max_queue = 1 }"),
        ]),
        [(true, 6, 1, Some(9), all()), (true, 8, 2, None, None), (true, 8, 1, Some(1), all())]
    );
}

#[test]
fn listeners_on_the_command_line_replace_all_others() {
    let file = "[[listener]]\nbind = \"127.0.0.1:1\"\n[[listener]]\nbind = \"127.0.0.1:2\"";
    let flags = Overrides::default().with_listeners("--listen", ["127.0.0.1:9".to_owned()]);
    let config = load_from(file, &[("FLOCKMQ__LISTENER__0__BIND", "127.0.0.1:3")], &flags);
    assert_eq!(config.server.listeners.len(), 1);
    assert_eq!(config.server.listeners[0].bind, address("127.0.0.1:9"));
}

#[test]
fn any_sign_of_a_cluster_makes_the_node_a_member() {
    let none = Overrides::default();
    assert!(load_from("", &[], &none).cluster.is_none());
    assert!(load_from("[cluster]", &[], &none).cluster.is_some());
    assert!(load_from("cluster.name = \"x\"", &[], &none).cluster.is_some());
    assert!(load_from("", &[("FLOCKMQ__CLUSTER__NAME", "x")], &none).cluster.is_some());
    let flags = Overrides::default().with("--seed", "cluster.node_address", Some("a:1"));
    assert_eq!(load_from("", &[], &flags).cluster.unwrap().node_address, ["a:1"]);
}

#[test]
fn a_secret_of_the_environment_replaces_the_files() {
    let file = "[cluster]\nsecret_file = \"/nowhere\"";
    let config = load_from(file, &[("FLOCKMQ__CLUSTER__SECRET", "hush")], &Overrides::default());
    assert!(config.cluster.unwrap().secret.is_some());
}

#[test]
fn a_password_file_says_nothing_about_anonymous_clients() {
    let file = "[auth]\npassword_file = \"/etc/flockmq/passwords\"";
    let auth = load_from(file, &[], &Overrides::default()).auth;
    assert_eq!(auth.password_file.unwrap().to_str(), Some("/etc/flockmq/passwords"));
    assert!(auth.allow_anonymous);
    let environment = [("FLOCKMQ__AUTH__PASSWORD_FILE", "x"), ("FLOCKMQ__AUTH__ALLOW_ANONYMOUS", "false")];
    let auth = load_from(file, &environment, &Overrides::default()).auth;
    assert_eq!(auth.password_file.unwrap().to_str(), Some("x"));
    assert!(!auth.allow_anonymous);
}

#[test]
fn without_anything_the_node_is_alone_on_loopback_and_in_memory() {
    let config = load(None, [("HOSTNAME".to_owned(), "here".to_owned())], &Overrides::default()).unwrap();
    assert_eq!(config.data_dir, None);
    assert_eq!(config.node_name, "here");
    assert!(config.cluster.is_none());
    assert_eq!(config.server.listeners.len(), 1);
    assert!(config.server.listeners[0].bind.ip().is_loopback());
    assert!(config.http.bind.ip().is_loopback());
    assert!(config.auth.allow_anonymous);
    assert_eq!(config.auth.password_file, None);
}

#[test]
fn a_host_name_that_is_no_name_becomes_node() {
    let config = load(None, [("HOSTNAME".to_owned(), " \t".to_owned())], &Overrides::default()).unwrap();
    assert_eq!(config.node_name, "node");
}

#[test]
fn commands_find_the_http_address_in_a_file_that_is_otherwise_wrong() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "nonsense = 1\n[http]\nbind = \"127.0.0.1:8081\"").unwrap();
    assert_eq!(http_bind(Some(file.path()), []).unwrap(), address("127.0.0.1:8081"));
    let environment = || [("FLOCKMQ__HTTP__BIND".to_owned(), "127.0.0.1:9".to_owned())];
    assert_eq!(http_bind(Some(file.path()), environment()).unwrap(), address("127.0.0.1:9"));
    assert_eq!(http_bind(None, environment()).unwrap(), address("127.0.0.1:9"));
    assert_eq!(http_bind(None, []).unwrap(), address("127.0.0.1:8080"));
}
