//! What is wrong in a configuration is said in one line: the file and line, variable or flag, the key, the
//! reason.

use flockmq::config::{Config, ConfigError, Overrides, load};

fn load_with(text: &str, environment: &[(&str, &str)], flags: &Overrides) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Some(&path), environment, flags)
        .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

fn check(text: &str, expected: &str) {
    let error = load_with(text, &[], &Overrides::default()).expect_err(text);
    assert_eq!(error, expected, "{text}");
    assert!(!error.contains('\n'));
}

fn check_environment(text: &str, environment: &[(&str, &str)], expected: &str) {
    let error = load_with(text, environment, &Overrides::default()).expect_err(text);
    assert_eq!(error, expected, "{text} {environment:?}");
}

#[test]
fn an_unknown_key_comes_with_the_nearest_name() {
    check(
        "[cluster]\nname = \"flock\"\nlisen = \"127.0.0.1:7946\"\n",
        "node.toml:3: cluster.lisen: unknown key, did you mean \"listen\"?",
    );
    check("data_dri = \"x\"", "node.toml:1: data_dri: unknown key, did you mean \"data_dir\"?");
    check("[clutser]\nname = \"x\"", "node.toml:1: clutser: unknown key, did you mean \"cluster\"?");
    check(
        "[[listener]]\nbind = \"127.0.0.1:1\"\n[[listener]]\n\nbnd = \"127.0.0.1:2\"",
        "node.toml:5: listener.1.bnd: unknown key, did you mean \"bind\"?",
    );
    check("\n\nfrobnicate = 1", "node.toml:3: frobnicate: unknown key");
    check("[http]\nzzz = 1", "node.toml:2: http.zzz: unknown key");
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    check(
        "[mqtt]\nmin_keep_alive = 60\nmax_keep_alive = 10",
        "node.toml:2: mqtt.min_keep_alive: 60 is more than max_keep_alive, 10",
    );
    check(
        "[mqtt]\nmin_keep_alive = 60\n[[listener]]\n[listener.mqtt]\nmax_keep_alive = 10",
        "node.toml:4: listener.0.mqtt.min_keep_alive: 60 is more than max_keep_alive, 10",
    );
    check(
        "[mqtt]\nsession_expiry_max = \"500ms\"",
        "node.toml:2: mqtt.session_expiry_max: MQTT counts whole seconds here",
    );
    check(
        "[mqtt]\nresponse_information = \"a\\u0000\"",
        "node.toml:2: mqtt.response_information: MQTT has no texts with U+0000 or more than 65535 bytes",
    );
    check(
        "[[rewrite]]\nsource = \"a\"\npattern = \"a\"\ntarget = \"$SYS/a\"",
        "node.toml:4: rewrite.0.target: a message could not be published to it: topics that begin with $ are the \
         node's own",
    );
}

#[test]
fn the_limits_of_one_listener_are_the_keys_of_all() {
    let check_limits = |lines: &str, expected: &str| {
        let text = format!("[[listener]]\nbind = \"127.0.0.1:1883\"\n[listener.mqtt]\n{lines}");
        check(&text, &format!("node.toml:4: listener.0.mqtt.{expected}"));
    };
    check_limits("max_inflght = 5", "max_inflght: unknown key, did you mean \"max_inflight\"?");
    check_limits("max_payload = 5", "max_payload: unknown key, did you mean \"retained.max_payload\"?");
    check_limits("max_inflight = 0", "max_inflight: 0 is out of range: from 1 to 65535");
    check_limits("max_inflight = true", "max_inflight: expected a whole number, found a boolean");
    let section = "listener.0.mqtt: expected a section, found an integer";
    check("[[listener]]\nmqtt = 5", &format!("node.toml:2: {section}"));
    check("[[listener]]\n[listener.mqt]", "node.toml:2: listener.0.mqt: unknown key, did you mean \"mqtt\"?");
    check(
        "[[listener]]\nmax_inflight = 5",
        "node.toml:2: listener.0.max_inflight: unknown key, did you mean \"mqtt.max_inflight\"?",
    );
    let variable = |name, value, problem: &str| {
        check_environment("", &[(name, value)], &format!("{name}: {problem}"));
    };
    variable("FLOCKMQ__LISTENER__0__MQTT", "5", section);
    variable(
        "FLOCKMQ__LISTENER__0__MQTT__MAX_QOS",
        "3",
        "listener.0.mqtt.max_qos: 3 is out of range: from 0 to 2",
    );
    variable(
        "FLOCKMQ__LISTENER__0__MQTT__MAX_QS",
        "3",
        "listener.0.mqtt.max_qs: unknown key, did you mean \"max_qos\"?",
    );
}

#[test]
fn a_key_in_the_wrong_section_is_shown_the_right_one() {
    check(
        "[mqtt]\nallow_anonymous = true",
        "node.toml:2: mqtt.allow_anonymous: unknown key, did you mean \"auth.allow_anonymous\"?",
    );
    check("max_inflight = 5", "node.toml:1: max_inflight: unknown key, did you mean \"mqtt.max_inflight\"?");
}

#[test]
fn of_several_unknown_keys_the_first_is_named() {
    check("[mqtt]\nzzz = 1\n[auth]\nzzz = 1", "node.toml:2: mqtt.zzz: unknown key");
    check("[auth]\nzzz = 1\n[mqtt]\nzzz = 1", "node.toml:2: auth.zzz: unknown key");
}

#[test]
fn a_wrong_kind_of_value_is_named_with_what_was_expected() {
    check("data_dir = 5", "node.toml:1: data_dir: expected a string, found an integer");
    check("data_dir = [\"a\"]", "node.toml:1: data_dir: expected a string, found an array");
    check("data_dir = \"\"", "node.toml:1: data_dir: the path is empty");
    check("cluster = 5", "node.toml:1: cluster: expected a section [cluster], found an integer");
    check(
        "[listener]\nbind = \"127.0.0.1:1883\"",
        "node.toml:1: listener: expected sections [[listener]] in double brackets, found a section",
    );
    check(
        "[auth]\nallow_anonymous = \"yes\"",
        "node.toml:2: auth.allow_anonymous: expected true or false, found a string",
    );
    check(
        "[mqtt]\nmax_inflight = \"12\"",
        "node.toml:2: mqtt.max_inflight: expected a whole number, found a string",
    );
    check(
        "[mqtt]\nmax_inflight = 1.5",
        "node.toml:2: mqtt.max_inflight: expected a whole number, found a floating-point number",
    );
    check(
        "[cluster]\nsuback_timeout = 500",
        "node.toml:2: cluster.suback_timeout: expected a duration such as \"500ms\" or \"24h\", found an integer",
    );
    check(
        "[cluster]\nsuback_timeout = \"soon\"",
        "node.toml:2: cluster.suback_timeout: expected a duration such as \"500ms\" or \"24h\", found \"soon\"",
    );
    check(
        "[cluster]\nnode_address = \"127.0.0.1:7946\"",
        "node.toml:2: cluster.node_address: expected an array, found a string",
    );
    check(
        "[cluster]\nnode_address = [\n  \"127.0.0.1:7946\",\n  7947,\n]",
        "node.toml:4: cluster.node_address.1: expected a string, found an integer",
    );
    check(
        "[http]\nbind = \"8080\"",
        "node.toml:2: http.bind: expected IP:port such as \"127.0.0.1:1883\" or \"[::]:1883\", found \"8080\"",
    );
    check(
        "[cluster]\nsuback = \"all\"",
        "node.toml:2: cluster.suback: expected \"reachable\" or \"local\", found \"all\"",
    );
    check(
        "[log]\nlevel = \"loud\"",
        "node.toml:2: log.level: expected error, warn, info, debug or trace, or a list such as \
         \"info,flockmq::cluster=debug\", found \"loud\"",
    );
    check(
        "[node]\nname = \"two words\"",
        "node.toml:2: node.name: \"two words\" is not a name: 1 to 64 bytes without spaces or control characters",
    );
}

#[test]
fn a_value_out_of_range_is_named_with_the_range() {
    check("[mqtt]\nmax_inflight = 0", "node.toml:2: mqtt.max_inflight: 0 is out of range: from 1 to 65535");
    check(
        "[mqtt]\nmax_inflight = 65536",
        "node.toml:2: mqtt.max_inflight: 65536 is out of range: from 1 to 65535",
    );
    check("[mqtt]\nmax_inflight = -1", "node.toml:2: mqtt.max_inflight: -1 is out of range: from 1 to 65535");
    check(
        "[mqtt]\nmax_packet_size = \"1GiB\"",
        "node.toml:2: mqtt.max_packet_size: 1GiB is out of range: from 128 bytes to 268435460 bytes",
    );
    check(
        "[mqtt]\nmax_packet_size = -5",
        "node.toml:2: mqtt.max_packet_size: -5 is out of range: from 128 bytes to 268435460 bytes",
    );
    check(
        "[cluster]\ndead_after = \"0s\"",
        "node.toml:2: cluster.dead_after: 0s is out of range: from 100ms to 1h",
    );
    check(
        "[cluster]\ngossip_interval = \"2s\"",
        "node.toml:1: cluster.dead_after: 2s 500ms is too short: at least twice cluster.gossip_interval and \
         cluster.heartbeat_interval, 4s",
    );
}

#[test]
fn two_ports_of_one_node_do_not_collide() {
    check(
        "[[listener]]\nbind = \"127.0.0.1:1883\"\n[[listener]]\nbind = \"127.0.0.1:1883\"",
        "node.toml:4: listener.1.bind: 127.0.0.1:1883 is taken by listener.0.bind (line 2), 127.0.0.1:1883",
    );
    check(
        "auth.allow_anonymous = true\n[[listener]]\nbind = \"0.0.0.0:1883\"\n[[listener]]\nbind = \"127.0.0.1:1883\"",
        "node.toml:5: listener.1.bind: 127.0.0.1:1883 is taken by listener.0.bind (line 3), 0.0.0.0:1883",
    );
    check(
        "[[listener]]\nbind = \"127.0.0.1:8080\"\n[http]\nbind = \"127.0.0.1:8080\"",
        "node.toml:2: listener.0.bind: 127.0.0.1:8080 is taken by http.bind (line 4), 127.0.0.1:8080",
    );
    let two_of_zero = "[[listener]]\nbind = \"127.0.0.1:0\"\n[[listener]]\nbind = \"127.0.0.1:0\"";
    assert_eq!(load_with(two_of_zero, &[], &Overrides::default()).unwrap().server.listeners.len(), 2);
}

#[test]
fn a_transport_that_is_not_built_is_refused() {
    for kind in ["tls", "ws", "wss", "quic", "unix"] {
        check(
            &format!("[[listener]]\ntype = \"{kind}\"\nbind = \"127.0.0.1:1883\""),
            &format!("node.toml:2: listener.0.type: \"{kind}\" is not built in this version: use \"tcp\""),
        );
    }
    check("[[listener]]\ntype = \"udp\"", "node.toml:2: listener.0.type: expected \"tcp\", found \"udp\"");
}

#[test]
fn a_cluster_that_others_can_reach_needs_a_secret() {
    check(
        "[cluster]\nlisten = \"10.0.0.5:7946\"",
        "node.toml:2: cluster.listen: 10.0.0.5:7946 can be reached from other machines: set cluster.secret or \
         cluster.secret_file",
    );
    check(
        "[cluster]\nlisten = \"0.0.0.0:7946\"\nsecret = \"feathers\"",
        "node.toml:1: cluster.advertise: needed because cluster.listen is 0.0.0.0:7946: set the host:port at which \
         peers reach this node",
    );
    let right = "[cluster]\nlisten = \"0.0.0.0:7946\"\nsecret = \"feathers\"\nadvertise = \"node1:7946\"";
    let config = load_with(right, &[], &Overrides::default()).unwrap();
    assert!(config.cluster.unwrap().secret.is_some());
}

#[test]
fn an_address_of_a_peer_has_a_host_and_a_port() {
    check(
        "[cluster]\nadvertise = \"10.0.0.5\"",
        "node.toml:2: cluster.advertise: expected host:port such as \"10.0.0.5:7946\", found \"10.0.0.5\": the port \
         is missing",
    );
    check(
        "[cluster]\nnode_address = [\"a:1\", \"b\"]",
        "node.toml:2: cluster.node_address.1: expected host:port such as \"10.0.0.5:7946\", found \"b\": the port is \
         missing",
    );
}

#[test]
fn the_secret_has_one_source_and_is_never_shown() {
    check(
        "[cluster]\nsecret = \"hush-hush\"\nsecret_file = \"/nowhere\"",
        "node.toml:3: cluster.secret_file: cluster.secret is set too: set one of the two",
    );
    check("[cluster]\nsecret = \"\"", "node.toml:2: cluster.secret: the secret is empty");
    check("[cluster]\nsecret = 4711", "node.toml:2: cluster.secret: expected a string, found an integer");
    check(
        "[cluster]\nsecret_file = \"/nowhere/at/all\"",
        "node.toml:2: cluster.secret_file: cannot read /nowhere/at/all: No such file or directory (os error 2)",
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let text = format!("[cluster]\nsecret_file = {:?}", file.display().to_string());
    std::fs::write(&file, "\n").unwrap();
    check(&text, "node.toml:2: cluster.secret_file: the secret is empty");
    std::fs::write(&file, "hush-hush\n").unwrap();
    let from_file = load_with(&text, &[], &Overrides::default()).unwrap();
    let direct = load_with("[cluster]\nsecret = \"hush-hush\"", &[], &Overrides::default()).unwrap();
    assert_eq!(from_file.cluster.as_ref().unwrap().secret, direct.cluster.unwrap().secret);
    assert!(!format!("{from_file:?}").contains("hush"));
}

#[test]
fn a_secret_that_breaks_the_syntax_is_not_shown_either() {
    check_line("[cluster]\nsecret = hush-hush", 2, "cluster.secret");
    check_line("[cluster]\nsecret = \"hush-hush", 2, "cluster.secret");
    check_line("[cluster]\nsecret = \"hush\\qhush\"", 2, "cluster.secret");
    check_line("[cluster]\nsecret = \"hush\"\nsecret = \"hush\"", 3, "cluster.secret");
}

fn check_line(text: &str, line: usize, key: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.toml");
    std::fs::write(&path, text).unwrap();
    let error: ConfigError = load(Some(&path), [], &Overrides::default()).expect_err(text);
    assert_eq!((error.line(), error.key()), (Some(line), key), "{error}");
    assert!(!error.to_string().contains("hush"), "{error}");
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn a_syntax_error_has_its_line_and_as_far_as_it_shows_its_key() {
    check_line("data_dir = \"x\"\n\n[mqtt\nmax_inflight = 1", 3, "");
    check_line("data_dir = \"x\"\n[mqtt]\nmax_inflight = 1 2", 3, "mqtt.max_inflight");
    check_line("just words", 1, "");
}

#[test]
fn anonymous_clients_from_the_network_are_a_decision() {
    check(
        "[[listener]]\n# everywhere\nbind = \"0.0.0.0:1883\"",
        "node.toml:3: listener.0.bind: 0.0.0.0:1883 can be reached from other machines: say whether clients without \
         credentials are taken, auth.allow_anonymous = true or false",
    );
    for allow in [true, false] {
        let text = format!("[[listener]]\nbind = \"0.0.0.0:1883\"\n[auth]\nallow_anonymous = {allow}");
        let config = load_with(&text, &[], &Overrides::default()).unwrap();
        assert_eq!(config.auth.allow_anonymous, allow);
    }
}

#[test]
fn a_wrong_variable_is_named() {
    check_environment(
        "",
        &[("FLOCKMQ__CLUSTER__LISEN", "127.0.0.1:7946")],
        "FLOCKMQ__CLUSTER__LISEN: cluster.lisen: unknown key, did you mean \"listen\"?",
    );
    check_environment(
        "",
        &[("FLOCKMQ__MQTT__MAX_INFLIGHT", "many")],
        "FLOCKMQ__MQTT__MAX_INFLIGHT: mqtt.max_inflight: expected a whole number, found \"many\"",
    );
    check_environment(
        "",
        &[("FLOCKMQ__CLUSTER__NODE_ADDRESS", "a:1,b")],
        "FLOCKMQ__CLUSTER__NODE_ADDRESS: cluster.node_address.1: expected host:port such as \"10.0.0.5:7946\", found \
         \"b\": the port is missing",
    );
    check_environment(
        "",
        &[("FLOCKMQ__LISTENER__1__BIND", "127.0.0.1:1883")],
        "FLOCKMQ__LISTENER__1__BIND: listener.1.bind: there is no entry 0 before it: numbers start at 0",
    );
    check_environment(
        "[[listener]]\nbind = \"127.0.0.1:1883\"",
        &[("FLOCKMQ__LISTENER__BIND", "127.0.0.1:1884")],
        "FLOCKMQ__LISTENER__BIND: listener.bind: needs the entry's number, as in FLOCKMQ__LISTENER__0__BIND",
    );
    check_environment(
        "[http]\nbind = \"127.0.0.1:8080\"",
        &[("FLOCKMQ__HTTP__BIND__PORT", "1")],
        "FLOCKMQ__HTTP__BIND__PORT: http.bind.port: bind is a string, not a section",
    );
    check_environment("", &[("FLOCKMQ__", "1")], "FLOCKMQ__: is not of the form FLOCKMQ__SECTION__KEY");
}

#[test]
fn a_wrong_flag_is_named() {
    let flags = Overrides::default().with("--http", "http.bind", Some("nowhere"));
    let error = load_with("", &[], &flags).unwrap_err();
    assert_eq!(
        error,
        "--http: http.bind: expected IP:port such as \"127.0.0.1:1883\" or \"[::]:1883\", found \"nowhere\""
    );
    let flags = Overrides::default().with_listeners("--listen", ["0.0.0.0:1883".to_owned()]);
    let error = load_with("", &[], &flags).unwrap_err();
    assert!(error.starts_with("--listen: listener.0.bind: 0.0.0.0:1883 can be reached"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Some("/nowhere/node.toml".as_ref()), [], &Overrides::default()).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/node.toml: cannot read: No such file or directory (os error 2)");
}

/// The key and the line that are wrong, not only the section.
#[test]
fn a_rule_that_cannot_work_is_named_with_the_key_and_the_reason() {
    let rule = |key: &str, text: &str| {
        let mut keys = [("source", "a/#"), ("pattern", "a/(.*)"), ("target", "b/$1")];
        keys.iter_mut().filter(|(name, _)| *name == key).for_each(|(_, value)| *value = text);
        let lines = keys.map(|(key, value)| format!("{key} = '{value}'\n"));
        format!("[[rewrite]]\n{}", lines.concat())
    };
    load_with(&rule("", ""), &[], &Overrides::default()).expect("unchanged it is right");
    check(
        &rule("source", "a/#/b"),
        "node.toml:2: rewrite.0.source: # fills a level of its own, the last one",
    );
    check(
        &rule("pattern", "a/(.*"),
        "node.toml:3: rewrite.0.pattern: not a regular expression: unclosed group",
    );
    check(
        &rule("target", "b/$2"),
        "node.toml:4: rewrite.0.target: nothing is called \"2\" here: ${clientid} and ${username} are, and groups \
         of a pattern",
    );
    check(
        &rule("target", "b/#"),
        "node.toml:4: rewrite.0.target: a message could not be published to it: a Topic Name does not hold the \
         wildcards + and #",
    );
    check(
        &format!("{}[[rewrite]]\n\nsource = 'a'\npattern = 'a'", rule("", "")),
        "node.toml:5: rewrite.1.target: has to be set",
    );
    check(
        &format!("{}action = 'both'", rule("", "")),
        "node.toml:5: rewrite.0.action: expected \"all\" or \"publish\" or \"subscribe\", found \"both\"",
    );
    check(
        &format!("{}tarket = 'b'", rule("", "")),
        "node.toml:5: rewrite.0.tarket: unknown key, did you mean \"target\"?",
    );
    check_environment(
        "",
        &[("FLOCKMQ__REWRITE__0__SOURCE", "a")],
        "FLOCKMQ__REWRITE__0__SOURCE: rewrite.0.pattern: has to be set",
    );
    let many = rule("", "").repeat(257);
    check(&many, "node.toml:1026: rewrite.256.source: there are 256 rules already");
}

#[test]
fn an_automatic_subscription_that_nobody_could_have_is_named_with_the_key_and_the_reason() {
    check("[[auto_subscribe]]\nqos = 1", "node.toml:1: auto_subscribe.0.filter: has to be set");
    check(
        "[[auto_subscribe]]\nfilter = 'a/${name}'",
        "node.toml:2: auto_subscribe.0.filter: nothing is called \"name\" here: ${clientid} and ${username} are, \
         and groups of a pattern",
    );
    check(
        "[[auto_subscribe]]\nfilter = '$share//a'",
        "node.toml:2: auto_subscribe.0.filter: a Share Name has at least one character",
    );
    check(
        "[[auto_subscribe]]\nfilter = '$share/g/a'\nno_local = true",
        "node.toml:3: auto_subscribe.0.no_local: a shared subscription has no such option",
    );
    check(
        "[[auto_subscribe]]\nfilter = 'a'\nqos = 3",
        "node.toml:3: auto_subscribe.0.qos: 3 is out of range: from 0 to 2",
    );
    check(
        "[[auto_subscribe]]\nfilter = 'a'\nretain_handling = -1",
        "node.toml:3: auto_subscribe.0.retain_handling: -1 is out of range: from 0 to 2",
    );
    let many = "[[auto_subscribe]]\nfilter = 'a'\n".repeat(65);
    check(&many, "node.toml:130: auto_subscribe.64.filter: there are 64 of them already");
}
