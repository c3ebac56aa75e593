//! `berth-ipamd` as an operator meets it: configuration, signals, commands, metrics, rights.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use proto_ipam::v1::Phase;
use serde_json::{Value, json};
use tests::site::{Ask, Setup, Site};
use tests::wait::{PATIENCE, holds, wait_until};

/// What is wrong, the file, and a word that the refusal must have.
fn wrong_configurations(base: &str) -> Vec<(&'static str, String, &'static str)> {
    let mut second = Setup::default();
    second.pools[1] = second.pools[0].clone();
    second.pools[1].name = "other".into();
    let edit = |from: &str, to: &str| base.replacen(from, to, 1);
    let range = "10.20.1.100-10.20.1.199";
    let rule = "[[rule]]\npod = \"*\"\nhold = \"sometimes\"\n";
    vec![
        ("unknown key", format!("colour = \"red\"\n{base}"), "colour"),
        (
            "unknown key of a pool",
            edit("gateway =", "gatway ="),
            "gatway",
        ),
        ("no TOML", edit("rack = \"a\"", "rack = a\""), ""),
        (
            "gateway outside",
            edit("\"10.20.1.1\"", "\"10.99.1.1\""),
            "gateway",
        ),
        (
            "range outside",
            edit(range, "10.21.1.100-10.21.1.199"),
            "10.21.1.100",
        ),
        (
            "range upside down",
            edit(range, "10.20.1.199-10.20.1.100"),
            "10.20.1.199",
        ),
        (
            "same name",
            base.replace("internal-a", "external-a"),
            "external-a",
        ),
        ("overlap", second.to_toml(), "other"),
        (
            "bad duration",
            edit("gateway =", "quarantine = \"soon\"\ngateway ="),
            "quarantine",
        ),
        ("bad subnet", edit("10.20.1.0/24", "10.20.1.0/33"), "subnet"),
        ("bad hold", format!("{base}\n{rule}"), "sometimes"),
    ]
}

/// The number behind the file's name in a refusal.
fn line_named(said: &str) -> Option<u32> {
    const FILE: &str = "/etc/berth/ipamd.toml:";
    let rest = &said[said.find(FILE)? + FILE.len()..];
    rest.split(':').next()?.parse().ok()
}

#[test]
fn configuration_that_contradicts_itself_is_refused_with_file_line_and_reason() {
    let site = Site::bare("dmn-config");
    let mut wrong = Vec::new();
    for (what, toml, word) in wrong_configurations(&site.setup().to_toml()) {
        site.write_config(&toml);
        let output = site
            .node()
            .ipamd_command(&["--config", "/etc/berth/ipamd.toml"])
            .unwrap();
        let said = format!("{}{}", output.stdout, output.stderr);
        if output.success() || line_named(&said).is_none() || !said.contains(word) {
            wrong.push(format!("{what}: {:?}: {said}", output.status));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn all_problems_of_a_configuration_are_named_at_once() {
    let site = Site::bare("dmn-all");
    let toml = site
        .setup()
        .to_toml()
        .replace("10.20.1.1\"", "10.99.1.1\"")
        .replace("10.30.1.1\"", "10.98.1.1\"");
    site.write_config(&toml);
    let output = site.node().ipamd_command(&["check-config"]).unwrap();
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(!output.success(), "{said}");
    assert!(
        said.contains("10.99.1.1") && said.contains("10.98.1.1"),
        "{said}"
    );
}

#[test]
fn reload_is_applied_whole_or_refused_whole() {
    let site = Site::build(
        "dmn-hup",
        Setup::default().external_range("10.20.1.100-10.20.1.100"),
    );
    let (first, second) = (site.pod("p0"), site.pod("p1"));
    site.add(&Ask::new("db-0", &first).external_only()).result();
    let ask = Ask::new("db-1", &second).external_only();
    site.add(&ask).fault();

    // A larger range, and a mistake beside it: nothing of it counts.
    let larger = Setup::default().external_range("10.20.1.100-10.20.1.101");
    site.write_config(&format!("{}\ncolour = \"red\"\n", larger.to_toml()));
    let refused = site.node().ipamd_command(&["reload"]).unwrap();
    assert!(!refused.success(), "{refused:?}");
    site.signal_ipamd(Signal::SIGHUP);
    site.add(&ask).fault();
    assert_eq!(site.attached(), ["10.20.1.100"]);

    site.write_config(&larger.to_toml());
    site.signal_ipamd(Signal::SIGHUP);
    wait_until("the larger range counts", || {
        let answer = site.add(&ask);
        holds(answer.succeeded(), || answer.stdout.clone())
    });
    assert_eq!(second.addresses("eth0"), ["10.20.1.101/24"]);
}

#[test]
fn second_daemon_on_one_store_refuses_and_the_first_goes_on() {
    let site = Site::serving("dmn-two");
    let other = site
        .setup()
        .to_toml()
        .replace("/run/berth/ipamd.sock", "/run/berth/other.sock")
        .replace("127.0.0.1:9421", "127.0.0.1:9422");
    let path = site.node().disk("/etc/berth/other.toml");
    std::fs::write(path, other).unwrap();
    let output = site
        .node()
        .ipamd_command(&["--config", "/etc/berth/other.toml"])
        .unwrap();
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(!output.success(), "{said}");
    assert!(said.contains("/var/lib/berth/ipamd"), "{said}");
    let pod = site.pod("p");
    site.add(&Ask::new("db-0", &pod)).result();
}

#[test]
fn termination_is_clean_and_nothing_is_lost() {
    let site = Site::serving("dmn-term");
    let pod = site.pod("p");
    site.add(&Ask::new("db-0", &pod)).result();
    assert!(site.stop_ipamd().success());
    site.start_ipamd();
    assert_eq!(site.attached(), ["10.20.1.100", "10.30.1.100"]);
}

#[test]
fn socket_is_for_its_owner_only() {
    let site = Site::serving("dmn-socket");
    let socket = site.node().path("/run/berth/ipamd.sock");
    let mode = std::fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn daemon_keeps_only_what_it_needs_and_says_so() {
    let site = Site::serving("dmn-caps");
    let status = std::fs::read_to_string(format!("/proc/{}/status", site.ipamd_pid())).unwrap();
    let set = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    // CAP_NET_RAW is number 13 (linux/capability.h).
    for name in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_eq!(set(name), 1 << 13, "{name} {status}");
    }
    for name in ["CapAmb:", "CapInh:"] {
        assert_eq!(set(name), 0, "{name} {status}");
    }
    assert_eq!(set("NoNewPrivs:"), 1, "{status}");
    let told = site.client().status().unwrap().capabilities;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].to_uppercase().contains("NET_RAW"), "{told:?}");
    let pod = site.pod("p");
    site.add(&Ask::new("db-0", &pod)).result();
}

#[test]
fn operators_commands_tell_who_had_an_address_and_why() {
    let site = Site::serving("dmn-ops");
    let pod = site.pod("p0");
    let ask = Ask::new("web-x", &pod).external_only();
    site.add(&ask).result();
    let listed = site.operator_json(&["list"]);
    let binding = &listed["bindings"][0];
    assert_eq!(binding["state"], "attached", "{listed}");
    assert_eq!(binding["identity"], "prod/web-x", "{listed}");
    assert_eq!(
        binding["attachment"]["sandbox"],
        json!(ask.container()),
        "{listed}"
    );
    assert!(site.operator(&["list"]).contains("prod/web-x"));

    let who = site.operator_json(&["who", "10.20.1.100"]);
    assert_eq!(who["current"]["identity"], "prod/web-x", "{who}");
    let now = site
        .node()
        .run(&["date", "-u", "+%Y-%m-%dT%H:%M:%S.%NZ"])
        .unwrap();
    site.del(&ask).silence();
    let then = site.operator_json(&["who", "10.20.1.100", "--at", now.trim()]);
    assert!(then.to_string().contains("prod/web-x"), "{then}");
    let why = site.operator_json(&["why", "prod/web-x"]);
    assert!(
        why["story"]
            .as_array()
            .is_some_and(|story| !story.is_empty()),
        "{why}"
    );
    let nobody = site.node().ipamd_command(&["who", "10.20.1.177"]).unwrap();
    assert_eq!(nobody.status.code(), Some(5), "{nobody:?}");
}

#[test]
fn release_by_hand_frees_what_is_held_and_refuses_what_is_attached() {
    let site = Site::serving("dmn-release");
    let pod = site.pod("p0");
    let ask = Ask::new("db-0", &pod).external_only();
    site.add(&ask).result();
    let refused = site
        .node()
        .ipamd_command(&["release", "10.20.1.100"])
        .unwrap();
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    site.del(&ask).silence();
    site.operator(&["release", "10.20.1.100"]);
    assert_eq!(site.list(), []);
}

#[test]
fn list_who_fsck_and_export_work_on_the_store_of_a_daemon_that_is_down() {
    let site = Site::serving("dmn-offline");
    let pod = site.pod("p0");
    site.add(&Ask::new("db-0", &pod)).result();
    let online = site.operator_json(&["list"]);
    site.stop_ipamd();
    assert_eq!(site.operator_json(&["list"]), online);
    assert!(site.operator(&["who", "10.20.1.100"]).contains("prod/db-0"));
    let fsck = site.operator_json(&["fsck"]);
    assert_eq!(fsck["findings"], json!([]), "{fsck}");
    let export: Value = serde_json::from_str(&site.operator(&["export"])).unwrap();
    assert!(export.to_string().contains("10.30.1.100"), "{export}");
    for change in [
        &["release", "10.20.1.100"][..],
        &["reserve", "--network", "external"],
    ] {
        let output = site.node().ipamd_command(change).unwrap();
        assert_eq!(output.status.code(), Some(4), "{output:?}");
    }
    site.start_ipamd();
    assert_eq!(site.attached(), ["10.20.1.100", "10.30.1.100"]);
}

#[test]
fn export_of_one_node_is_imported_by_another() {
    let site = Site::serving("dmn-export");
    let pod = site.pod("p0");
    let ask = Ask::new("db-0", &pod);
    site.add(&ask).result();
    site.del(&ask).silence();
    let document = site.operator(&["export"]);
    assert!(site.stop_ipamd().success());
    let node = site.node();
    std::fs::write(node.disk("/var/lib/berth/export.json"), &document).unwrap();
    std::fs::remove_dir_all(node.disk("/var/lib/berth/ipamd")).unwrap();
    site.start_ipamd();
    assert_eq!(site.list(), []);
    site.operator(&["import", "--from", "export", "/var/lib/berth/export.json"]);
    assert_eq!(site.in_state("held"), ["10.20.1.100", "10.30.1.100"]);
    let pod = site.pod("p1");
    site.add(&Ask::new("db-0", &pod).container_id("again"))
        .result();
    assert_eq!(pod.addresses("eth0"), ["10.20.1.100/24"]);
}

#[test]
fn addresses_of_host_local_are_imported() {
    let site = Site::serving("dmn-hostlocal");
    let folder = site.node().disk("/var/lib/cni/networks/bank");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("10.20.1.120"), "one-container\r\neth0").unwrap();
    std::fs::write(folder.join("last_reserved_ip.0"), "10.20.1.120").unwrap();
    std::fs::write(folder.join("lock"), "").unwrap();
    site.operator(&[
        "import",
        "--from",
        "host-local",
        "--network",
        "external",
        "/var/lib/cni/networks/bank",
    ]);
    assert!(
        site.list()
            .iter()
            .any(|binding| binding.address.starts_with("10.20.1.120")),
        "{:?}",
        site.list()
    );
    let pod = site.pod("p");
    let fault = site
        .add(
            &Ask::new("db-0", &pod)
                .external_only()
                .runtime(json!({"ips": ["10.20.1.120"]})),
        )
        .fault();
    assert!(fault.text().contains("10.20.1.120"), "{fault:?}");
}

/// What a scrape says: value by name and labels, as they are written.
fn scrape(site: &Site) -> HashMap<String, f64> {
    let text = site
        .node()
        .run(&[
            "bash",
            "-c",
            "exec 3<>/dev/tcp/127.0.0.1/9421; printf 'GET /metrics HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3",
        ])
        .unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| {
            let (name, value) = line.trim().rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// Fails with all samples, unless this one has this value.
#[track_caller]
fn shows(samples: &HashMap<String, f64>, name: &str, value: f64) {
    let got = samples.get(&format!("berth_ipamd_{name}"));
    assert_eq!(got, Some(&value), "{name} in {samples:#?}");
}

/// A name of `pool_addresses`.
fn pool(name: &str, network: &str, state: &str) -> String {
    format!("pool_addresses{{pool=\"{name}\",network=\"{network}\",state=\"{state}\"}}")
}

/// Ten addresses on the external network, a hundred on the internal one; `db-0` has gone, `db-1` runs with one NIC.
fn counted(test: &str) -> Site {
    let setup = Setup::default().external_range("10.20.1.100-10.20.1.109");
    let site = Site::build(test, setup.with_host("vm"));
    let (goes, stays) = (site.pod("goes"), site.pod("stays"));
    let ask = Ask::new("db-0", &goes);
    site.add(&ask).result();
    let samples = scrape(&site);
    shows(&samples, ALLOCATED, 1.0);
    shows(
        &samples,
        r#"call_duration_seconds_count{verb="allocate"}"#,
        1.0,
    );
    site.del(&ask).silence();
    site.add(&Ask::new("db-1", &stays).external_only()).result();
    site
}

const ALLOCATED: &str = r#"calls_total{verb="allocate",result="done"}"#;

#[test]
fn metrics_count_calls_pools_and_commits() {
    let site = counted("dmn-metrics");
    let samples = scrape(&site);
    shows(&samples, ALLOCATED, 2.0);
    shows(
        &samples,
        r#"calls_total{verb="release",result="done"}"#,
        1.0,
    );
    for (name, network, attached, free) in [
        ("external-a", "external", 1.0, 8.0),
        ("internal-a", "internal", 0.0, 99.0),
    ] {
        shows(&samples, &pool(name, network, "attached"), attached);
        shows(&samples, &pool(name, network, "held"), 1.0);
        shows(&samples, &pool(name, network, "free"), free);
    }
    let capacity = r#"pool_capacity_addresses{pool="external-a",network="external"}"#;
    shows(&samples, capacity, 10.0);
    shows(&samples, r#"phase{phase="serving"}"#, 1.0);
    // Every answered change was made durable on its own: nobody else asked at the time.
    let commits = samples["berth_ipamd_commits_total"];
    assert!(commits >= 3.0, "{samples:#?}");
    shows(&samples, "commit_duration_seconds_count", commits);
    let took = samples["berth_ipamd_commit_duration_seconds_sum"];
    assert!(took > 0.0, "{samples:#?}");
}

#[test]
fn metrics_count_conflicts_and_what_a_start_finds() {
    let site = counted("dmn-counted");
    let conflicting = pool("external-a", "external", "conflicting");
    shows(&scrape(&site), &conflicting, 0.0);
    let vm = site.host("vm");
    vm.announce("10.20.1.107".parse().unwrap()).unwrap();
    site.client().wait_state("10.20.1.107", "conflicting");
    let samples = scrape(&site);
    shows(&samples, &conflicting, 1.0);
    shows(&samples, "wire_foreign_claims_total", 1.0);

    site.kill_ipamd();
    site.start_ipamd();
    let samples = scrape(&site);
    shows(&samples, "recovery_ports", 1.0);
    shows(&samples, "attachments_without_port", 0.0);
    shows(&samples, "recovery_findings", 0.0);
    shows(&samples, &conflicting, 1.0);
    assert!(
        !samples.contains_key(&format!("berth_ipamd_{ALLOCATED}")),
        "calls are counted from the start: {samples:#?}"
    );
}

#[test]
fn json_log_is_one_object_a_line_with_level_and_message() {
    let site = Site::bare("dmn-json");
    let mut command = site
        .node()
        .command(tests_testbed::binary("berth-ipamd").unwrap());
    command.args(["--config", "/etc/berth/ipamd.toml", "--log-format", "json"]);
    let mut daemon = site.node().spawn_command("ipamd-json", command).unwrap();
    wait_until("the daemon serves", || {
        let status = site.client().status().map_err(|error| error.to_string())?;
        holds(status.phase() == Phase::Serving, || format!("{status:?}"))
    });
    let pod = site.pod("p");
    let ask = Ask::new("db-0", &pod);
    site.add(&ask).result();
    site.del(&ask).silence();
    // A refusal of several lines is still one line of the log.
    site.write_config("colour = \"red\"\nsound = \"loud\"\n");
    daemon.signal(Signal::SIGHUP).unwrap();
    wait_until("the refused reload is said", || {
        let log = daemon.log();
        holds(log.contains("colour"), || log.clone())
    });
    assert!(daemon.terminate(PATIENCE).unwrap().success());
    let log = daemon.log();
    assert!(log.lines().count() >= 3, "{log}");
    for line in log.lines() {
        let object: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let level = object["level"].as_str().unwrap_or_default();
        assert!(["INFO", "WARN", "ERROR"].contains(&level), "{line}");
        let message = object["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{line}");
        // Of a key that is there twice a parser keeps whichever it likes.
        for key in ["timestamp", "level", "message"] {
            assert_eq!(line.matches(&format!("\"{key}\":")).count(), 1, "{line}");
        }
    }
}

#[test]
fn changed_file_is_taken_over_without_a_signal_and_a_wrong_one_is_said_and_is_not() {
    let site = Site::build(
        "dmn-watch",
        Setup::default().external_range("10.20.1.100-10.20.1.100"),
    );
    let (first, second) = (site.pod("p0"), site.pod("p1"));
    site.add(&Ask::new("db-0", &first).external_only()).result();
    let ask = Ask::new("db-1", &second).external_only();
    site.add(&ask).fault();

    let larger = Setup::default()
        .external_range("10.20.1.100-10.20.1.101")
        .to_toml();
    site.write_config(&format!("{larger}\ncolour = \"red\"\nsound = \"loud\"\n"));
    wait_until("every problem of the wrong file is said", || {
        let log = site.ipamd_log();
        let refused = log.contains("configuration refused");
        holds(refused && log.contains("colour"), || log.clone())
    });
    site.add(&ask).fault();

    // As kubelet changes a ConfigMap's file: a link into a folder that is swapped.
    let folder = site.node().disk("/etc/berth");
    std::fs::create_dir(folder.join("..2")).unwrap();
    std::fs::write(folder.join("..2/ipamd.toml"), larger).unwrap();
    site.node()
        .script("cd /etc/berth; ln -s ..2 ..data; ln -s ..data/ipamd.toml .new; mv .new ipamd.toml")
        .unwrap();
    wait_until("the larger range counts", || {
        let answer = site.add(&ask);
        holds(answer.succeeded(), || answer.stdout.clone())
    });
    assert_eq!(second.addresses("eth0"), ["10.20.1.101/24"]);
}

#[test]
fn flags_go_before_the_file_and_a_boot_id_that_comes_late_is_waited_for() {
    let site = Site::make(
        "dmn-flags",
        Setup::default().with_node_address(tests_testbed::Net::External),
    );
    let mut command = site
        .node()
        .command(tests_testbed::binary("berth-ipamd").unwrap());
    let address = format!(
        "{}:9422",
        site.node().address4(tests_testbed::Net::External)
    );
    command
        .args(["--config", "/etc/berth/ipamd.toml", "--node", "n7"])
        .args(["--metrics", &address, "--boot-id-file", "/etc/berth/boot"]);
    let mut daemon = site.node().spawn_command("ipamd-flags", command).unwrap();
    let status = wait_until("it says what it lacks", || {
        let status = site.client().status().map_err(|error| error.to_string())?;
        let told = status.message.contains("/etc/berth/boot");
        holds(told, || format!("{status:?}")).map(|()| status)
    });
    assert_eq!(
        (status.phase(), status.node.as_str()),
        (Phase::Recovering, "n7")
    );
    std::fs::write(site.node().disk("/etc/berth/boot"), "boot-1\n").unwrap();
    wait_until("it serves", || {
        let status = site.client().status().map_err(|error| error.to_string())?;
        holds(status.phase() == Phase::Serving, || format!("{status:?}"))
    });
    let asked = format!(
        "exec 3<>/dev/tcp/{}; printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
        address.replace(':', "/")
    );
    let said = site.node().run(&["bash", "-c", &asked]).unwrap();
    assert!(said.contains("200"), "{said}");
    // In the file such an address is a slip.
    let exposed = site.setup().to_toml().replace("127.0.0.1:9421", &address);
    site.write_config(&exposed);
    let refused = site.node().ipamd_command(&["check-config"]).unwrap();
    assert!(refused.stderr.contains("other hosts"), "{refused:?}");
    assert!(daemon.terminate(PATIENCE).unwrap().success());
}

#[test]
fn pool_of_another_node_is_not_used_and_an_address_of_two_nodes_is_refused() {
    let mut setup = Setup::default().external_range("10.20.1.100-10.20.1.101");
    setup.pools[0].extra = "node = \"n1\"\n".to_owned();
    let mut other = setup.pools[0].clone();
    other.name = "external-n2".to_owned();
    other.range = "10.20.1.102-10.20.1.110".to_owned();
    other.extra = "node = \"n2\"\n".to_owned();
    setup.pools.push(other);
    let site = Site::build("dmn-nodes", setup.clone());
    let pods = ["p0", "p1", "p2"].map(|name| site.pod(name));
    for pod in &pods[..2] {
        site.add(&Ask::new(pod.name(), pod).external_only())
            .result();
    }
    let fault = site.add(&Ask::new("p2", &pods[2]).external_only()).fault();
    assert!(fault.text().contains("no free IPv4 address"), "{fault:?}");
    assert_eq!(site.attached(), ["10.20.1.100", "10.20.1.101"]);

    setup.pools[2].range = "10.20.1.101-10.20.1.110".to_owned();
    site.write_config(&setup.to_toml());
    let refused = site.node().ipamd_command(&["check-config"]).unwrap();
    for words in ["10.20.1.101", "external-n2", "node n1", "node n2"] {
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
    }
}
