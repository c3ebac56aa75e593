use super::*;
use crate::check::Verdict::{self, Good, Refused, Warning};
use crate::folder::Owner;

/// Fails unless the verdict is this one, and a bad one says what was found and what to do with these words.
#[track_caller]
fn assert_finding(finding: &Finding, verdict: Verdict, words: &[&str]) {
    assert_eq!(finding.verdict, verdict, "{finding:?}");
    assert_eq!(finding.advice.is_none(), verdict == Good, "{finding:?}");
    for word in words {
        assert!(finding.sentence().contains(word), "{word}: {finding:?}");
    }
}

#[test]
fn kernel_is_judged_by_its_first_two_numbers() {
    for (release, verdict) in [
        ("5.10.0-30-amd64", Good),
        ("5.10", Good),
        ("6.1.0", Good),
        ("10.0.0", Good),
        ("5.9.16-1-default", Refused),
        ("4.18.0-553.el8_10.x86_64", Refused),
        ("3.10.0-1160.el7", Refused),
        ("mainline", Warning),
        ("", Warning),
    ] {
        assert_finding(&kernel(release), verdict, &[release]);
    }
}

#[test]
fn missing_part_of_the_kernel_is_refused_and_an_invisible_one_warned_about() {
    let all = |bridge, veth| vec![(PARTS[0], bridge), (PARTS[1], veth)];
    for (bridge, veth, verdict, words) in [
        (Presence::There, Presence::There, Good, ["CONFIG_BRIDGE"]),
        (Presence::Loadable, Presence::There, Good, ["CONFIG_VETH"]),
        (
            Presence::Absent,
            Presence::There,
            Refused,
            ["modules: bridge"],
        ),
        (
            Presence::There,
            Presence::Unknown,
            Warning,
            ["modprobe -a veth"],
        ),
        (
            Presence::Absent,
            Presence::Unknown,
            Refused,
            ["CONFIG_BRIDGE"],
        ),
    ] {
        assert_finding(&parts(&all(bridge, veth)), verdict, &words);
    }
}

#[test]
fn clock_of_1970_is_refused_and_an_unsynchronized_one_warned_about() {
    for (seconds, synchronized, verdict) in [
        (0, None, Refused),
        (86_400, Some(true), Refused),
        (OLDEST_TIME_SECONDS, None, Good),
        (OLDEST_TIME_SECONDS, Some(true), Good),
        (OLDEST_TIME_SECONDS, Some(false), Warning),
    ] {
        let found = Clock {
            seconds,
            synchronized,
        };
        assert_finding(&clock(&found), verdict, &[]);
    }
}

#[test]
fn folder_without_room_or_closed_is_refused_by_path_and_flag() {
    let good = Folder {
        flag: "--bin-dir",
        path: "/opt/cni/bin".into(),
        closed: None,
        needed_bytes: 5 << 20,
        free: Some(Free {
            bytes: 6 << 20,
            inodes: Some(16),
        }),
    };
    assert_finding(&folder(&good), Good, &["/opt/cni/bin"]);
    let closed = Folder {
        closed: Some("Read-only file system (os error 30)".to_owned()),
        ..good.clone()
    };
    assert_finding(
        &folder(&closed),
        Refused,
        &["/opt/cni/bin", "Read-only", "--bin-dir"],
    );
    for (bytes, inodes, word) in [
        ((6 << 20) - 1, Some(100), "6144 KiB are needed"),
        (1 << 30, Some(15), "inodes"),
    ] {
        let full = Folder {
            free: Some(Free { bytes, inodes }),
            ..good.clone()
        };
        assert_finding(&folder(&full), Refused, &["/opt/cni/bin", word]);
    }
    let endless = Folder {
        free: Some(Free {
            bytes: 1 << 30,
            inodes: None,
        }),
        ..good
    };
    assert_finding(&folder(&endless), Good, &[]);
}

#[test]
fn br_netfilter_that_is_on_is_a_warning_by_name() {
    let setting = |name: &str, on| (name.to_owned(), on);
    assert_finding(&netfilter(&[]), Good, &["not loaded"]);
    assert_finding(
        &netfilter(&[setting("bridge-nf-call-iptables", false)]),
        Good,
        &["off"],
    );
    let on = [
        setting("bridge-nf-call-iptables", true),
        setting("bridge-nf-call-arptables", false),
    ];
    assert_finding(
        &netfilter(&on),
        Warning,
        &["net.bridge.bridge-nf-call-iptables=1", "FORWARD"],
    );
    assert!(!netfilter(&on).found.contains("arptables"));
}

#[test]
fn cgroup_versions_are_told_apart() {
    for (lines, verdict, word) in [
        ("0::/kubepods/x\n", Good, "v2"),
        ("2:cpu:/\n1:name=systemd:/\n", Good, "v1"),
        ("2:cpu:/\n0::/\n", Good, "beside"),
        ("1:name=systemd:/\n0::/\n", Good, "v2"),
        ("", Warning, "none"),
    ] {
        assert_finding(&cgroup(lines), verdict, &[word]);
    }
}

#[test]
fn traces_of_other_networks_are_named_with_their_owner() {
    let names = |list: &[&str]| -> Vec<String> { list.iter().map(|&n| n.to_owned()).collect() };
    assert_finding(
        &links(&names(&["lo", "eth0", "br-eth0", "docker0"])),
        Good,
        &[],
    );
    let found = links(&names(&[
        "cali12ab",
        "cilium_host",
        "cni0",
        "eth0",
        "flannel.1",
    ]));
    assert_finding(
        &found,
        Warning,
        &[
            "cali12ab (Calico)",
            "cilium_host (Cilium)",
            "cni0",
            "flannel.1",
        ],
    );
    assert!(!found.found.contains("eth0"));
}

fn paths(more: &[&str]) -> Paths {
    use clap::Parser;
    let words = ["berth-install", "ready"].iter().chain(more);
    crate::args::Args::try_parse_from(words).unwrap().paths
}

#[test]
fn configuration_of_another_plugin_is_refused_where_it_would_win() {
    let entry = |name: &str, owner: Owner| Entry {
        name: name.to_owned(),
        owner,
    };
    let cilium = || Owner::Other(vec!["cilium-cni".to_owned()]);
    let found = |entries: Vec<Entry>| Configurations {
        entries: Ok(entries),
        placed: None,
    };
    let refuse = paths(&[]);
    let replace = paths(&["--replace"]);
    let judged = |paths: &Paths, found: &Configurations| configurations(paths, found);
    let before = found(vec![entry("05-cilium.conflist", cilium())]);
    assert_finding(
        &judged(&refuse, &before),
        Refused,
        &["05-cilium.conflist (type cilium-cni)", "--replace"],
    );
    assert_finding(
        &judged(&replace, &before),
        Warning,
        &["05-cilium", "moved aside"],
    );
    let after = found(vec![
        entry("10-berth.conflist", Owner::Berth),
        entry("87-x.conflist", cilium()),
    ]);
    assert_finding(&judged(&refuse, &after), Good, &["87-x.conflist"]);
    assert_finding(&judged(&refuse, &found(vec![])), Good, &[]);
    let unreadable = Configurations {
        entries: Err("read folder: no".to_owned()),
        placed: None,
    };
    assert_finding(&judged(&refuse, &unreadable), Refused, &["--conf-dir"]);
}

#[test]
fn uplink_is_refused_where_no_pod_could_use_it() {
    let up = Uplink {
        network: "external".to_owned(),
        name: "eth0".to_owned(),
        present: true,
        carrier: Some(true),
        addressed: false,
    };
    let with = |change: fn(&mut Uplink)| {
        let mut changed = up.clone();
        change(&mut changed);
        uplink(&changed)
    };
    assert_finding(&uplink(&up), Good, &["eth0", "external"]);
    assert_finding(
        &with(|u| u.present = false),
        Refused,
        &["eth0", "does not exist"],
    );
    assert_finding(
        &with(|u| u.carrier = Some(false)),
        Refused,
        &["carrier", "cable"],
    );
    assert_finding(&with(|u| u.carrier = None), Warning, &["down"]);
    assert_finding(&with(|u| u.addressed = true), Refused, &["take-over"]);
}

#[test]
fn chain_is_refused_for_what_is_missing_and_warned_about_for_versions() {
    let answer = |waits: &[&str], warnings: &[&str]| outside::Answer {
        waits: waits.iter().map(|&w| w.to_owned()).collect(),
        warnings: warnings.iter().map(|&w| w.to_owned()).collect(),
    };
    assert_finding(&chain(&answer(&[], &[])), Good, &[]);
    assert_finding(
        &chain(&answer(&["no portmap"], &["old"])),
        Refused,
        &["no portmap"],
    );
    assert_finding(
        &chain(&answer(&[], &["old tuning"])),
        Warning,
        &["old tuning"],
    );
}

#[test]
fn what_others_say_is_passed_on() {
    let wrong = "pool external-a: gateway 10.9.9.9 is not in 10.20.1.0/24".to_owned();
    assert_finding(&ipamd(&Err(wrong)), Refused, &["10.9.9.9", "berth-ipamd"]);
    assert_finding(&ipamd(&Ok("good: 2 pools".to_owned())), Good, &["2 pools"]);
    let judged = |failure: Option<&str>| {
        api(&Api {
            address: "10.96.0.1:443".to_owned(),
            failure: failure.map(str::to_owned),
        })
    };
    assert_finding(&judged(None), Good, &["10.96.0.1:443"]);
    assert_finding(
        &judged(Some("timed out")),
        Refused,
        &["10.96.0.1:443", "timed out", "KUBERNETES_SERVICE_HOST"],
    );
    assert_finding(&no_source("not valid JSON: line 3"), Refused, &["line 3"]);
    assert_finding(&user(false), Refused, &["root"]);
    assert_finding(&user(true), Good, &[]);
}
