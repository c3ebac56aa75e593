use super::*;
use crate::check::Verdict::{Good, Refused, Warning};
use crate::check::tests::assert_finding;

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
fn nobody_but_root_can_install() {
    assert_finding(&user(false), Refused, &["root"]);
    assert_finding(&user(true), Good, &[]);
}
