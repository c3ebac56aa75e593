use super::*;

const PATH: &str = "/etc/berth/ipamd.toml";

/// The example of the product's documentation.
const WHOLE: &str = r#"
node = "n1"
rack = "a"
socket = "/run/berth/ipamd.sock"
store = "/var/lib/berth/ipamd"
metrics = "127.0.0.1:9421"

[[pool]]
name = "external-a"
network = "external"
rack = "a"
subnet = "10.20.1.0/24"
ranges = ["10.20.1.100-10.20.1.199"]
exclude = ["10.20.1.150"]
gateway = "10.20.1.1"
quarantine = "10m"
routes = [{ dst = "10.0.0.0/8", via = "10.20.1.254" }]

[[rule]]
namespace = "*"
pod = "*-[0-9]*"
hold = "forever"
"#;

fn read_with(input: &str, overrides: &Overrides) -> Result<Config, LoadConfigError> {
    let given = Given {
        overrides,
        host_name: Some("host-7"),
    };
    parse(Path::new(PATH), input, given)
}

fn read(input: &str) -> Result<Config, LoadConfigError> {
    read_with(input, &Overrides::default())
}

#[test]
fn documented_example_is_read_as_documented() {
    let config = read(WHOLE).unwrap();
    let settings = config.settings.settings();
    assert_eq!(settings.node.as_str(), "n1");
    assert_eq!(settings.audit_keep, DEFAULT_AUDIT_KEEP);
    let pool = &settings.pools[0];
    assert_eq!(pool.gateway, Some("10.20.1.1".parse().unwrap()));
    assert_eq!(pool.quarantine, Duration::from_secs(600));
    assert_eq!(pool.routes[0].via, Some("10.20.1.254".parse().unwrap()));
    assert!(pool.probe);
    assert_eq!(settings.rules[0].hold, ipamd_core::Hold::Forever);
    assert_eq!(config.metrics, Some("127.0.0.1:9421".parse().unwrap()));
}

#[test]
fn least_file_gets_the_documented_defaults() {
    let config =
        read("rack = \"a\"\n[[pool]]\nname = \"p\"\nnetwork = \"n\"\nsubnet = \"fd00::/64\"\n")
            .unwrap();
    let settings = config.settings.settings();
    assert_eq!(settings.node.as_str(), "host-7");
    assert_eq!(settings.pools[0].rack.as_str(), "a");
    assert_eq!(settings.pools[0].quarantine, DEFAULT_QUARANTINE);
    assert!(!settings.refuse_when_exhausted);
    assert_eq!(config.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!(config.spool, Path::new(proto_ipam::tombstone::SPOOL));
    assert_eq!(config.probe, WireSettings::default());
    assert!(config.probes());
}

#[test]
fn sandboxes_are_compared_in_a_cluster_and_where_a_runtime_is_named() {
    let relay = RuntimeSettings {
        socket: RELAY_SOCKET.into(),
        check: DEFAULT_RUNTIME_CHECK,
    };
    let alone = "rack = \"a\"\n";
    let cluster = "[kubernetes]\n";
    let own = "runtime = \"/run/crio/crio.sock\"\nruntime_check = \"2s\"\n";
    let crio = RuntimeSettings {
        socket: "/run/crio/crio.sock".into(),
        check: Duration::from_secs(2),
    };
    for (text, expected) in [
        (alone.to_owned(), None),
        (cluster.to_owned(), Some(relay)),
        (format!("runtime = \"\"\n{cluster}"), None),
        (format!("{own}{cluster}"), Some(crio.clone())),
        (format!("{own}{alone}"), Some(crio)),
    ] {
        assert_eq!(read(&text).unwrap().runtime, expected, "{text}");
    }
    let (old, new) = (
        read(alone).unwrap(),
        read(&format!("{own}{alone}")).unwrap(),
    );
    assert_eq!(
        old.needs_restart(&new),
        ["runtime changes from none to /run/crio/crio.sock, every 2s"]
    );
    for (line, words) in [
        ("runtime = \"crio.sock\"", "not an absolute path"),
        ("runtime_check = \"1ms\"", "not between 1s and 1h"),
        ("runtime_check = \"often\"", "runtime_check"),
    ] {
        let problem = read(&format!("{line}\n{alone}")).unwrap_err().to_string();
        assert!(problem.contains(words), "{problem}");
    }
}

#[test]
fn metrics_may_be_none_and_periods_may_be_words() {
    let config = read("rack = \"a\"\nmetrics = \"\"\naudit_keep = \"forever\"\n").unwrap();
    assert_eq!(config.metrics, None);
    assert_eq!(config.settings.settings().audit_keep, Duration::MAX);
    let config = read(&WHOLE.replace("\"10m\"", "\"none\"")).unwrap();
    assert_eq!(
        config.settings.settings().pools[0].quarantine,
        Duration::ZERO
    );
}

/// One file for all nodes of a cluster.
const CLUSTER: &str = r#"
[kubernetes]

[[pool]]
name = "external-a-n1"
network = "external"
rack = "a"
node = "n1"
subnet = "10.20.1.0/24"
ranges = ["10.20.1.100-10.20.1.149"]

[[pool]]
name = "external-a-n2"
network = "external"
rack = "a"
node = "n2"
subnet = "10.20.1.0/24"
ranges = ["10.20.1.150-10.20.1.199"]
probe = false
"#;

fn on_node(name: &str) -> Overrides {
    Overrides {
        node: Some(name.parse().unwrap()),
        ..Overrides::default()
    }
}

#[test]
fn one_file_serves_all_nodes_of_a_cluster() {
    for node in ["n1", "n2", "n3"] {
        let config = read_with(CLUSTER, &on_node(node)).unwrap();
        let settings = config.settings.settings();
        assert_eq!(settings.node.as_str(), node);
        let own = settings.pools.iter().filter(|pool| settings.owns(pool));
        assert_eq!(own.count(), usize::from(node != "n3"), "{node}");
        assert!(settings.rack.is_awaited(), "the label was not read yet");
        let kubernetes = config.kubernetes.as_ref().unwrap();
        assert_eq!(&*kubernetes.rack_label, "topology.berth.dev/rack");
        // Which of the pools are this node's may change while it runs.
        assert!(config.probes(), "{node}");
    }
    let other = CLUSTER.replace("[kubernetes]", "[kubernetes]\nrack_label = \"rack\"");
    let (one, other) = (
        read_with(CLUSTER, &on_node("n1")).unwrap(),
        read_with(&other, &on_node("n1")).unwrap(),
    );
    assert_eq!(
        one.needs_restart(&other),
        ["kubernetes.rack_label changes from topology.berth.dev/rack to rack"]
    );
}

#[test]
fn flags_go_before_the_file() {
    let told = Overrides {
        metrics: Some("10.20.1.11:9421".parse().unwrap()),
        ..on_node("n7")
    };
    let config = read_with(WHOLE, &told).unwrap();
    assert_eq!(config.settings.settings().node.as_str(), "n7");
    assert_eq!(config.metrics.unwrap().to_string(), "10.20.1.11:9421");
    let silent = Overrides {
        metrics: Some("".parse().unwrap()),
        ..Overrides::default()
    };
    let config = read_with(WHOLE, &silent).unwrap();
    assert_eq!(
        (config.metrics, config.settings.settings().node.as_str()),
        (None, "n1")
    );
    let wrong = WHOLE.replace("node = \"n1\"", "node = \"n 1\"");
    assert!(read_with(&wrong, &told).is_err(), "a mistake stays one");
}

#[test]
fn without_pools_of_its_own_a_cluster_has_them_as_objects_and_both_ways_need_a_restart() {
    let objects = read_with("[kubernetes]\n", &on_node("n1")).unwrap();
    let sections = read_with(CLUSTER, &on_node("n1")).unwrap();
    assert!(objects.settings.settings().claiming);
    assert!(!sections.settings.settings().claiming);
    let alone = read("node = \"n1\"\nrack = \"a\"\n").unwrap();
    assert!(!alone.settings.settings().claiming, "there is no cluster");
    let lines = objects.needs_restart(&sections);
    assert_eq!(
        lines,
        ["where pools come from changes from the cluster's Pool objects to [[pool]] sections"]
    );
    assert_eq!(sections.needs_restart(&objects).len(), 1);
    // Pools come and go as objects: none of them switches probing on or off.
    let mut quiet = objects.clone();
    let mut pool = sections.settings.settings().pools[1].clone();
    assert!(!pool.probe);
    pool.node = None;
    quiet.settings = quiet.settings.with_pools(vec![pool]).unwrap();
    assert!(objects.probes() && quiet.probes());
    assert_eq!(quiet.needs_restart(&objects), Vec::<String>::new());
}

/// What replaces what in [`CLUSTER`], and what is said to it.
const BAD_CLUSTER: &[(&str, &str, &str, &[&str])] = &[
    (
        "\n[kubernetes]",
        "\nrack = \"a\"\n[kubernetes]",
        ":2:8:",
        &["rack:", "topology.berth.dev/rack", "remove one"],
    ),
    (
        "[kubernetes]",
        "[kubernetes]\nrack_label = \"topology/berth/rack\"",
        ":3:14:",
        &["kubernetes: rack_label", "topology.berth.dev/rack"],
    ),
    (
        "[kubernetes]",
        "[kubernetes]\nlabel = \"rack\"",
        ":3:1:",
        &["unknown field `label`", "rack_label"],
    ),
    (
        "node = \"n2\"\n",
        "",
        ":12:1:",
        &[
            "pool \"external-a-n2\": node: is missing",
            "node = \"n1\"",
            "two Pods",
        ],
    ),
    (
        "rack = \"a\"\nnode = \"n2\"",
        "node = \"n2\"",
        ":12:1:",
        &["pool \"external-a-n2\": rack: is missing"],
    ),
    (
        "\"n2\"",
        "\"n 2\"",
        ":16:8:",
        &["pool \"external-a-n2\": node", "\"n 2\""],
    ),
    (
        "10.20.1.150-",
        "10.20.1.140-",
        ":18:11:",
        &["10.20.1.140", "external-a-n1", "node n1", "node n2"],
    ),
];

#[test]
fn every_bad_file_of_a_cluster_is_refused_with_place_and_reason() {
    for (from, to, place, words) in BAD_CLUSTER {
        assert!(
            CLUSTER.contains(from),
            "the table has a typing error: {from}"
        );
        let input = CLUSTER.replacen(from, to, 1);
        let error = match read_with(&input, &on_node("n1")) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted: {to}"),
        };
        let start = format!("{PATH}{place}");
        assert!(
            error.starts_with(&start),
            "{to}: wanted {start}, got {error}"
        );
        for word in *words {
            assert!(error.contains(word), "{to}: wanted {word}, got {error}");
        }
    }
}

/// What replaces what in [`WHOLE`], and what is said to it: place, and words that must be there.
const BAD: &[(&str, &str, &str, &[&str])] = &[
    (
        "rack = \"a\"\nsocket",
        "socket",
        "",
        &["rack", "is missing"],
    ),
    (
        "rack = \"a\"\nsocket",
        "rack = \"b\"\nsocket",
        ":3:8:",
        &["rack", "no pool belongs to rack b"],
    ),
    (
        "node = \"n1\"",
        "nodes = \"n1\"",
        ":2:1:",
        &["unknown field `nodes`", "expected one of"],
    ),
    ("node = \"n1\"", "node = n1", ":2:", &[]),
    (
        "node = \"n1\"",
        "node = 1",
        ":2:8:",
        &["invalid type", "string"],
    ),
    (
        "node = \"n1\"",
        "node = \"n 1\"",
        ":2:8:",
        &["node:", "\"n 1\""],
    ),
    (
        "\"/run/berth/ipamd.sock\"",
        "\"ipamd.sock\"",
        ":4:10:",
        &["socket", "not an absolute path"],
    ),
    (
        "\"127.0.0.1:9421\"",
        "\"0.0.0.0:9421\"",
        ":6:11:",
        &["metrics", "other hosts", "127.0.0.1:9421"],
    ),
    (
        "\"127.0.0.1:9421\"",
        "\"9421\"",
        ":6:11:",
        &["metrics", "unix:/path"],
    ),
    (
        "name = \"external-a\"",
        "name = \"External A\"",
        ":9:8:",
        &["pool \"External A\": name"],
    ),
    (
        "network = \"external\"\n",
        "",
        ":8:1:",
        &["pool \"external-a\"", "missing field `network`"],
    ),
    (
        "quarantine = \"10m\"",
        "quarantine = \"ten\"",
        ":16:14:",
        &["pool \"external-a\": quarantine", "\"ten\"", "10m"],
    ),
    (
        "quarantine = \"10m\"",
        "quaratine = \"10m\"",
        ":16:1:",
        &["pool \"external-a\"", "unknown field `quaratine`"],
    ),
    (
        "subnet = \"10.20.1.0/24\"",
        "subnet = \"10.20.1.0/33\"",
        ":12:10:",
        &["subnet", "10.20.1.0/33"],
    ),
    (
        "\"10.20.1.150\"",
        "\"10.20.1.150\", \"x\"",
        ":14:27:",
        &["exclude", "\"x\""],
    ),
    (
        "10.20.1.100-10.20.1.199",
        "10.20.1.199-10.20.1.100",
        ":13:11:",
        &["ranges", "ends before it begins"],
    ),
    (
        "10.20.1.100-10.20.1.199",
        "10.20.2.100-10.20.2.199",
        ":13:11:",
        &["pool \"external-a\": ranges", "10.20.1.0/24"],
    ),
    (
        "gateway = \"10.20.1.1\"",
        "gateway = \"10.9.0.1\"",
        ":15:11:",
        &["pool \"external-a\": gateway", "10.9.0.1", "10.20.1.0/24"],
    ),
    (
        "gateway = \"10.20.1.1\"",
        "gateway = \"fd00::1\"",
        ":15:11:",
        &["pool \"external-a\": gateway", "fd00::1"],
    ),
    (
        "gateway = \"10.20.1.1\"",
        "gateway = \"tor\"",
        ":15:11:",
        &["gateway: \"tor\""],
    ),
    (
        "via = \"10.20.1.254\"",
        "via = \"10.99.0.1\"",
        ":17:11:",
        &["routes", "10.99.0.1"],
    ),
    (
        "via = \"10.20.1.254\"",
        "mtu = 9",
        ":17:",
        &["routes.mtu", "68"],
    ),
    (
        "via = \"10.20.1.254\"",
        "gw = \"10.20.1.254\"",
        ":17:",
        &["pool \"external-a\"", "unknown field `gw`"],
    ),
    (
        "hold = \"forever\"",
        "hold = \"always\"",
        ":22:8:",
        &["rule: hold", "\"always\"", "forever"],
    ),
    (
        "pod = \"*-[0-9]*\"",
        "pod = \"*-[0-9\"",
        ":21:7:",
        &["rule: pod", "\"*-[0-9\""],
    ),
    (
        "hold = \"forever\"\n",
        "",
        ":19:1:",
        &["rule", "missing field `hold`"],
    ),
    (
        "[[rule]]",
        "[rule]",
        ":19:",
        &["rule must be written as [[rule]]"],
    ),
    (
        "[[rule]]",
        "[probe]\nper_second = 0\n[[rule]]",
        ":20:14:",
        &["probe: per_second", "between 1 and 1000"],
    ),
    (
        "[[rule]]",
        "[probe]\nagain = \"forever\"\n[[rule]]",
        ":20:9:",
        &["probe: again", "between 1s and 7d"],
    ),
    (
        "[[rule]]",
        "[probes]\n[[rule]]",
        ":19:2:",
        &["unknown field `probes`"],
    ),
    (
        "[[pool]]",
        "[[pool]]\nname = \"two\"\nnetwork = \"external\"\nsubnet = \"10.20.1.128/25\"\n[[pool]]",
        "",
        &["pool", "10.20.1"],
    ),
    (
        "[[pool]]",
        "[[pool]]\nname = \"external-a\"\nnetwork = \"other\"\nsubnet = \"10.9.0.0/24\"\n[[pool]]",
        "",
        &["external-a", "name"],
    ),
];

#[test]
fn every_bad_file_is_refused_with_place_and_reason() {
    for (from, to, place, words) in BAD {
        assert!(WHOLE.contains(from), "the table has a typing error: {from}");
        let input = WHOLE.replacen(from, to, 1);
        let error = match read(&input) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted: {to}"),
        };
        let start = format!("{PATH}{place}");
        assert!(
            error.starts_with(&start),
            "{to}: wanted {start}, got {error}"
        );
        for word in *words {
            assert!(error.contains(word), "{to}: wanted {word}, got {error}");
        }
    }
}

#[test]
fn all_problems_are_reported_together_in_the_order_of_the_file() {
    let input = WHOLE
        .replace("node = \"n1\"", "nodes = \"n1\"")
        .replace("gateway = \"10.20.1.1\"", "gateway = \"tor\"")
        .replace("\"10m\"", "\"ten\"")
        .replace("hold = \"forever\"", "hold = \"always\"");
    let error = read(&input).unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    let places: Vec<_> = lines
        .iter()
        .filter_map(|line| line.strip_prefix(PATH)?.split(':').nth(1))
        .collect();
    assert!(
        ["2", "15", "16", "22"]
            .iter()
            .all(|line| places.contains(line)),
        "{error}"
    );
    let mut sorted = places.clone();
    sorted.sort_by_key(|line| line.parse::<usize>().unwrap_or(0));
    assert_eq!(places, sorted);
}

#[test]
fn missing_file_is_named() {
    let error = load(Path::new("/nonexistent/ipamd.toml"), &Overrides::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "reading configuration /nonexistent/ipamd.toml"
    );
}

#[test]
fn what_a_reload_cannot_change_is_listed() {
    let old = read(WHOLE).unwrap();
    let new = read(&WHOLE.replace("/var/lib/berth/ipamd", "/srv/ipamd")).unwrap();
    assert_eq!(
        old.needs_restart(&new),
        ["store changes from /var/lib/berth/ipamd to /srv/ipamd"]
    );
    let silent = read(&WHOLE.replace("quarantine", "probe = false\nquarantine")).unwrap();
    assert!(!silent.probes());
    assert_eq!(old.needs_restart(&silent), Vec::<String>::new());
    assert_eq!(silent.needs_restart(&old).len(), 1);
}
