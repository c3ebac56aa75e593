use super::*;
use crate::check::Verdict::{Good, Refused, Warning};
use crate::check::tests::assert_finding;
use crate::folder::Owner;

#[test]
fn traces_of_other_networks_are_named_with_their_owner() {
    let names = |list: &[&str]| -> Result<Vec<String>, String> {
        Ok(list.iter().map(|&n| n.to_owned()).collect())
    };
    let elsewhere = Err("eth0 is not in it".to_owned());
    assert_finding(&links(&elsewhere), Refused, &["eth0"]);
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
}
