//! `berth-install` on a node: what it puts there, when it refuses, and that the node is as before when it has gone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};
use tests::installer::{Installer, PLACE, SOURCE};
use tests::plugin::Chain;
use tests::site::{Ask, Setup, Site, assert_unchanged};
use tests::wait::{PATIENCE, holds, wait_until};
use tests_testbed::{Net, Output, Process};

const CONF: &str = "/etc/cni/net.d";
const BIN: &str = "/opt/cni/bin";

/// A node as it was before Berth: without the plugin that the harness gives it.
fn fresh(test: &str, setup: Setup) -> Site {
    let site = Site::make(test, setup);
    for name in ["berth", "berth-ipam"] {
        fs::remove_file(site.node().disk(BIN).join(name)).unwrap();
    }
    site
}

/// The configuration as an operator writes it.
fn conflist(site: &Site, networks: &Value) -> String {
    let mut berth = site.config("1.1.0", networks);
    for key in ["cniVersion", "name"] {
        berth.as_object_mut().unwrap().remove(key);
    }
    berth["timeouts"] = json!({"gatewaySeconds": 2, "statusSeconds": 1});
    let list = json!({
        "cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": "bank",
        "plugins": [berth],
    });
    format!("{list:#}\n")
}

fn plain() -> Value {
    json!([{"name": "external", "uplink": "eth0", "default": true}])
}

/// The files of a folder: name to kind, mode, and what is in it.
fn files(site: &Site, folder: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(site.node().disk(folder)).unwrap() {
        let entry = entry.unwrap();
        let found = entry.path().symlink_metadata().unwrap();
        let content = if found.is_symlink() {
            format!("-> {}", fs::read_link(entry.path()).unwrap().display())
        } else {
            String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned()
        };
        let owner = (found.uid(), found.gid());
        let line = format!("{:o} {owner:?} {} {content}", found.mode(), found.mtime());
        files.insert(entry.file_name().into_string().unwrap(), line);
    }
    files
}

fn take_over() -> Value {
    json!([{"name": "external", "uplink": "eth0", "default": true, "mode": "take-over"}])
}

/// Links, addresses, routes and rules; configurations; plugins.
type Picture = (Value, BTreeMap<String, String>, BTreeMap<String, String>);

/// Everything of the node that an uninstall must leave as it was.
fn picture(site: &Site) -> Picture {
    (site.snapshot(), files(site, CONF), files(site, BIN))
}

fn write(site: &Site, name: &str, text: &str) {
    fs::write(site.node().disk(CONF).join(name), text).unwrap();
}

#[track_caller]
fn assert_done(output: &Output) {
    assert!(output.success(), "{output:#?}");
}

#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    for word in words {
        assert!(output.stderr.contains(word), "{word}: {output:#?}");
    }
}

#[track_caller]
fn wait_said(keeper: &Process, word: &str) {
    wait_until(&format!("berth-install says {word}"), || {
        holds(keeper.log().contains(word), || keeper.log())
    });
}

#[track_caller]
fn wait_placed(installer: &Installer<'_>, text: &str) {
    wait_until("the configuration is in place", || {
        let placed = installer.placed();
        holds(placed == text, || placed)
    });
}

/// A Pod's life by the configuration that is in place: ADD, a ping through the switch, and its DEL if that is wanted.
fn pod_lives(site: &Site, installer: &Installer<'_>, name: &str, ends: bool) {
    let list: Value = serde_json::from_str(&installer.placed()).unwrap();
    let mut list = list;
    // As containerd 2 reads it: the newest of the versions.
    list["cniVersion"] = json!("1.1.0");
    let chain = Chain::new(list);
    let pod = site.pod(name);
    let ask = Ask::new(name, &pod);
    let run = |plugin: &str, call: &tests::plugin::Call| site.run(plugin, call);
    let result = chain.add(&ask.call("ADD"), run).result();
    pod.pings("10.20.1.1");
    if ends {
        chain.del(&ask.call("DEL"), Some(&result), run).silence();
        site.remove_pod(&pod);
    }
}

/// Configurations that were there before, of which two would win.
fn write_previous(site: &Site) {
    let theirs = r#"{"cniVersion": "1.0.0", "name": "old", "plugins": [{"type": "bridge"}]}"#;
    write(site, "05-old.conflist", theirs);
    write(
        site,
        "07-older.conf",
        r#"{"type": "bridge", "name": "older"}"#,
    );
    write(site, "87-podman.conflist", theirs);
    let old = site.node().disk(CONF).join("05-old.conflist");
    fs::set_permissions(old, fs::Permissions::from_mode(0o600)).unwrap();
}

#[track_caller]
fn assert_as_before(site: &Site, before: &Picture) {
    let now = picture(site);
    assert_unchanged(&now.0, &before.0);
    assert_eq!(now.1, before.1);
    assert_eq!(now.2, before.2);
}

#[test]
fn whole_round_on_a_take_over_node_leaves_the_node_as_it_was() {
    let setup = Setup::default().with_node_address(Net::External);
    let site = fresh("ins-round", setup);
    let installer = Installer::new(site.node());
    write_previous(&site);
    let source = conflist(&site, &take_over());
    installer.write_source(&source);
    let before = picture(&site);

    assert_done(&installer.run(&["plugin"]));
    let berth = site.node().disk(BIN).join("berth");
    assert_eq!(fs::metadata(&berth).unwrap().mode() & 0o7777, 0o755);
    let mut keeper = installer.spawn(&["conflist", "--replace"]);
    wait_said(&keeper, "waiting: no Pod could start yet");
    assert!(installer.placed().is_empty());
    assert!(!installer.run(&["ready"]).success());
    site.start_ipamd();
    wait_placed(&installer, &source);
    wait_until("it is ready", || {
        let ready = installer.run(&["ready"]);
        holds(ready.success(), || ready.stderr)
    });
    let names: Vec<String> = files(&site, CONF).into_keys().collect();
    assert_eq!(names, ["10-berth.conflist", "87-podman.conflist"]);
    pod_lives(&site, &installer, "web-0", true);
    assert!(!site.bridge_of("eth0").is_null());

    let with_daemon = installer.run(&["uninstall"]);
    assert_refused(&with_daemon, &["berth-ipamd runs", "DaemonSet"]);
    assert!(site.stop_ipamd().success());
    let with_keeper = installer.run(&["uninstall"]);
    assert_refused(&with_keeper, &["berth-install conflist", "DaemonSet"]);
    assert!(keeper.terminate(PATIENCE).unwrap().success());
    assert_eq!(installer.placed(), source);

    let done = installer.run(&["uninstall"]);
    assert_done(&done);
    assert_as_before(&site, &before);
    assert!(site.node().ping_once("10.20.1.1").unwrap());
    assert!(!site.node().path("/run/berth").exists());
    assert!(done.stderr.contains("--purge"), "{done:#?}");
    assert!(site.node().disk("/var/lib/berth/ipamd").exists());
    assert!(!site.node().disk("/var/lib/berth/install").exists());

    // Asked again there is nothing left to do; the book goes when it is asked for.
    assert_done(&installer.run(&["uninstall", "--purge"]));
    assert!(!site.node().disk("/var/lib/berth/ipamd").exists());
    assert_as_before(&site, &before);
}

#[test]
fn uninstall_is_refused_while_pods_use_it_and_names_them() {
    let site = fresh("ins-busy", Setup::default());
    let installer = Installer::new(site.node());
    installer.write_source(&conflist(&site, &plain()));
    assert_done(&installer.run(&["plugin"]));
    site.start_ipamd();
    assert_done(&installer.run(&["conflist", "--once"]));
    pod_lives(&site, &installer, "web-0", false);
    pod_lives(&site, &installer, "db-7", false);
    assert!(site.stop_ipamd().success());
    let before = (files(&site, CONF), files(&site, BIN));
    let refused = installer.run(&["uninstall"]);
    assert_refused(&refused, &["2 Pods", "prod/web-0", "prod/db-7", "--force"]);
    assert_eq!((files(&site, CONF), files(&site, BIN)), before);
    assert_eq!(site.ports().len(), 2);
    assert!(!site.bridge_of("eth0").is_null());

    // Who knows better keeps the Pods' network; the uplinks wait for a later run.
    let forced = installer.run(&["uninstall", "--force"]);
    assert_done(&forced);
    assert!(
        forced.stderr.contains("uplinks were not given back"),
        "{forced:#?}"
    );
    assert!(installer.placed().is_empty());
    assert_eq!(site.ports().len(), 2);
    for name in ["web-0", "db-7"] {
        site.node().remove_pod_netns(name).unwrap();
    }
    wait_until("the Pods' ports are gone", || {
        holds(site.ports().is_empty(), || format!("{:?}", site.ports()))
    });
    assert_done(&installer.run(&["uninstall"]));
    assert!(site.bridge_of("eth0").is_null());
    assert!(!site.node().disk("/var/lib/berth/install").exists());
}

#[test]
fn conflist_follows_its_source_and_keeps_the_old_one_when_the_new_one_is_bad() {
    let site = fresh("ins-follow", Setup::default());
    let installer = Installer::new(site.node());
    assert_done(&installer.run(&["plugin"]));
    site.start_ipamd();
    let mut keeper = installer.spawn(&["conflist"]);
    wait_said(&keeper, "ConfigMap");
    let one = conflist(&site, &plain());
    installer.write_source(&one);
    wait_placed(&installer, &one);
    assert_done(&installer.run(&["ready"]));

    installer.write_source("{\n \"name\": \"bank\",\n oops\n}");
    wait_said(&keeper, "line 3");
    assert_eq!(installer.placed(), one);
    let unready = installer.run(&["ready"]);
    assert!(
        !unready.success() && unready.stderr.contains("line 3"),
        "{unready:#?}"
    );

    installer
        .write_source(r#"{"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "bridge"}]}"#);
    wait_said(&keeper, "another plugin's configuration");
    assert_eq!(installer.placed(), one);

    // kubelet changes a mounted `ConfigMap` by swapping a link.
    let two = one.replace("gatewaySeconds\": 2", "gatewaySeconds\": 3");
    assert_ne!(two, one);
    let folder = site.node().disk(SOURCE).parent().unwrap().to_owned();
    fs::create_dir(folder.join("..data-2")).unwrap();
    fs::write(folder.join("..data-2/10-berth.conflist"), &two).unwrap();
    std::os::unix::fs::symlink("..data-2/10-berth.conflist", folder.join("swap")).unwrap();
    fs::rename(folder.join("swap"), folder.join("10-berth.conflist")).unwrap();
    wait_placed(&installer, &two);

    // Somebody removes it: it comes back.
    fs::remove_file(site.node().disk(PLACE)).unwrap();
    wait_placed(&installer, &two);
    assert!(keeper.is_running());
    assert!(keeper.terminate(PATIENCE).unwrap().success());
    assert_eq!(installer.placed(), two);
}

#[test]
fn reason_to_wait_is_said_once_and_the_installed_plugin_decides() {
    let site = fresh("ins-wait", Setup::default());
    let installer = Installer::new(site.node());
    let text = conflist(&site, &plain());
    installer.write_source(&text);
    let mut keeper = installer.spawn(&["conflist", "--log-format", "json"]);
    wait_said(&keeper, "run `berth-install plugin`");
    assert_done(&installer.run(&["plugin"]));
    wait_said(&keeper, "does not listen");
    site.node().set_uplink(Net::External, false).unwrap();
    site.start_ipamd();
    wait_said(&keeper, "no carrier");
    assert!(installer.placed().is_empty());
    site.node().set_uplink(Net::External, true).unwrap();
    wait_placed(&installer, &text);
    keeper.terminate(PATIENCE).unwrap();
    let log = keeper.log();
    let mut said: Vec<Value> = Vec::new();
    for line in log.lines() {
        said.push(serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    }
    let mut reasons: Vec<&str> = said
        .iter()
        .filter(|line| line["level"] == "WARN")
        .map(|line| line["error"].as_str().unwrap())
        .collect();
    let all = reasons.len();
    assert!(all >= 3, "{log}");
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), all, "a reason was said twice: {log}");
}

#[test]
fn configuration_of_another_plugin_that_would_win_is_refused_by_name() {
    let site = fresh("ins-other", Setup::default());
    let installer = Installer::new(site.node());
    let text = conflist(&site, &plain());
    installer.write_source(&text);
    assert_done(&installer.run(&["plugin"]));
    site.start_ipamd();
    let theirs = r#"{"cniVersion": "1.0.0", "name": "c", "plugins": [{"type": "cilium-cni"}]}"#;
    write(&site, "05-cilium.conflist", theirs);
    let mut keeper = installer.spawn(&["conflist"]);
    wait_said(&keeper, "05-cilium.conflist (type cilium-cni)");
    wait_said(&keeper, "--replace");
    assert!(installer.placed().is_empty());
    let check = installer.run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:#?}");
    assert!(check.stdout.contains("05-cilium.conflist"), "{check:#?}");

    fs::remove_file(site.node().disk(CONF).join("05-cilium.conflist")).unwrap();
    wait_placed(&installer, &text);
    assert_done(&installer.run(&["ready"]));
    // It appears later: said, and not ready, since the runtime uses it.
    write(&site, "05-again.conflist", theirs);
    wait_said(&keeper, "05-again.conflist");
    let ready = installer.run(&["ready"]);
    assert!(
        !ready.success() && ready.stderr.contains("05-again"),
        "{ready:#?}"
    );
    keeper.terminate(PATIENCE).unwrap();
    assert_eq!(
        fs::read_to_string(site.node().disk(CONF).join("05-again.conflist")).unwrap(),
        theirs
    );
}

#[test]
fn read_only_plugin_folder_is_refused_and_what_is_in_it_stays() {
    let site = fresh("ins-ro", Setup::default());
    let installer = Installer::new(site.node());
    fs::write(site.node().disk(BIN).join("berth"), "an older one").unwrap();
    site.node()
        .script(&format!(
            "mount --bind {BIN} {BIN}; mount -o remount,bind,ro {BIN}"
        ))
        .unwrap();
    let before = files(&site, BIN);
    assert_refused(
        &installer.run(&["plugin"]),
        &[
            "/opt/cni/bin",
            "Read-only file system",
            "mount it writable",
            "--bin-dir",
        ],
    );
    assert_eq!(files(&site, BIN), before);
    let check = installer.run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:#?}");
    assert!(check.stdout.contains("Read-only"), "{check:#?}");
}

#[test]
fn missing_source_is_named() {
    let site = fresh("ins-nosource", Setup::default());
    let installer = Installer::new(site.node());
    let refused = installer.run(&["plugin", "--source-dir", "/nowhere"]);
    assert_refused(&refused, &["/nowhere/berth"]);
    assert!(!site.node().disk(BIN).join("berth").exists());
}

#[test]
fn full_disk_leaves_the_old_files_and_is_named() {
    let site = fresh("ins-full", Setup::default());
    let installer = Installer::new(site.node());
    let text = conflist(&site, &plain());
    installer.write_source(&text);
    assert_done(&installer.run(&["plugin"]));
    site.start_ipamd();
    // 2 MiB for configurations: enough to begin with.
    site.node()
        .script(&format!("mount -t tmpfs -o size=2m,mode=755 tmpfs {CONF}"))
        .unwrap();
    let place = site.node().path(PLACE);
    let placed = || fs::read_to_string(&place).unwrap_or_default();
    let mut keeper = installer.spawn(&["conflist"]);
    wait_until("it is in place", || holds(placed() == text, placed));
    site.node()
        .script(&format!(
            "dd if=/dev/zero of={CONF}/filler bs=4k 2>/dev/null || true"
        ))
        .unwrap();
    let changed = text.replace("gatewaySeconds\": 2", "gatewaySeconds\": 3");
    installer.write_source(&changed);
    wait_said(&keeper, "No space left");
    assert_eq!(placed(), text);
    let left = site.node().run(&["ls", "-A", CONF]).unwrap();
    assert_eq!(left, "10-berth.conflist\nfiller\n");
    // A new run is refused before it begins, with what to do.
    assert_refused(
        &installer.run(&["conflist", "--once"]),
        &["KiB are needed", "make room"],
    );
    site.node().run(&["rm", &format!("{CONF}/filler")]).unwrap();
    wait_until("the change is in place", || {
        holds(placed() == changed, placed)
    });
    keeper.terminate(PATIENCE).unwrap();

    // The plugin folder.
    site.node()
        .script(&format!(
            "mount -t tmpfs -o size=1m,mode=755 tmpfs {BIN}; echo old > {BIN}/berth"
        ))
        .unwrap();
    assert_refused(
        &installer.run(&["plugin"]),
        &["/opt/cni/bin", "KiB are needed"],
    );
    assert_eq!(
        site.node().run(&["cat", &format!("{BIN}/berth")]).unwrap(),
        "old\n"
    );
}

/// Fails unless `check` found this of a fact, and gave advice for every bad one.
#[track_caller]
fn assert_found(found: &[Value], fact: &str, verdict: &str, word: &str) {
    let fits = |finding: &Value| {
        let text = finding["found"].as_str().unwrap();
        finding["fact"] == fact && finding["verdict"] == verdict && text.contains(word)
    };
    assert!(
        found.iter().any(fits),
        "{fact} {verdict} {word}: {found:#?}"
    );
    for finding in found {
        let good = finding["verdict"] == "good";
        assert_eq!(good, finding["advice"].is_null(), "{finding}");
    }
}

#[test]
fn check_tells_a_person_all_that_is_wrong_and_changes_nothing() {
    let setup = Setup::default().with_node_address(Net::External);
    let site = fresh("ins-check", setup);
    let installer = Installer::new(site.node());
    let wrong = Setup::default()
        .to_toml()
        .replace("10.20.1.1\"", "10.99.9.9\"");
    fs::write(site.node().disk("/etc/berth/ipamd.toml"), wrong).unwrap();
    let networks = json!([
        {"name": "external", "uplink": "eth0", "default": true},
        {"name": "internal", "uplink": "eth7"},
    ]);
    let mut list: Value = serde_json::from_str(&conflist(&site, &networks)).unwrap();
    let plugins = list["plugins"].as_array_mut().unwrap();
    plugins.push(json!({"type": "no-such-plugin"}));
    installer.write_source(&list.to_string());
    site.does(&["link", "add", "cni0", "type", "bridge"]);
    let before = picture(&site);
    let mut args = vec!["check", "--output", "json"];
    args.extend(["--ipamd-config", "/etc/berth/ipamd.toml"]);
    args.extend(["--api-host", "10.20.1.200", "--api-port", "6443"]);
    let output = installer.run(&args);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let found: Vec<Value> = serde_json::from_str(&output.stdout).unwrap();
    assert_found(&found, "kernel", "good", "");
    assert_found(&found, "interfaces", "warning", "cni0");
    let addressed = "eth0 of network external carries the node's addresses";
    assert_found(&found, "uplink", "refused", addressed);
    let missing = "eth7 of network internal does not exist";
    assert_found(&found, "uplink", "refused", missing);
    assert_found(&found, "chain", "refused", "no-such-plugin");
    assert_found(&found, "ipamd", "refused", "10.99.9.9");
    assert_found(&found, "API server", "refused", "10.20.1.200:6443");
    assert_as_before(&site, &before);
    assert!(!site.node().disk("/var/lib/berth/install").exists());

    // All of it corrected.
    site.does(&["link", "del", "cni0"]);
    installer.write_source(&conflist(&site, &take_over()));
    let good = installer.run(&["check"]);
    assert_done(&good);
    let end = "Berth can be installed on this node.\n";
    assert!(good.stdout.ends_with(end), "{good:#?}");
}
