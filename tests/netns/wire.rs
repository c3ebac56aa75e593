//! Conflicts on the wire: a foreign host that uses or claims an address of ours.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::site::{Ask, Pod, Setup, Site, bare_address};
use tests::wait::{holds, wait_until};

fn site(test: &str, setup: Setup) -> Site {
    Site::build(
        test,
        setup
            .external_range("10.20.1.100-10.20.1.103")
            .with_host("vm"),
    )
}

/// Lets ipamd know the segment: it hears there only once a Pod has joined.
fn first_pod(site: &Site) {
    let pod = site.pod("first");
    site.add(&Ask::new("first-x", &pod).external_only())
        .result();
    assert_eq!(pod.addresses("eth0"), ["10.20.1.100/24"]);
}

#[test]
fn free_address_that_a_foreign_host_has_is_set_aside_before_a_pod_gets_it() {
    let site = site("wir-free", Setup::default());
    site.host("vm")
        .take_address("10.20.1.101".parse().unwrap())
        .unwrap();
    first_pod(&site);
    let conflict = site.client().wait_state("10.20.1.101", "conflicting");
    assert!(
        conflict.note.contains(&site.host("vm").mac()),
        "{conflict:?}"
    );
    let pod = site.pod("p");
    site.add(&Ask::new("second-x", &pod).external_only())
        .result();
    assert_eq!(pod.addresses("eth0"), ["10.20.1.102/24"]);
}

#[test]
fn address_in_use_is_found_even_for_the_first_pod_of_a_segment() {
    let site = site("wir-first", Setup::default());
    site.host("vm")
        .take_address("10.20.1.100".parse().unwrap())
        .unwrap();
    let pod = site.pod("p");
    site.add(&Ask::new("first-x", &pod).external_only())
        .result();
    assert_eq!(
        pod.addresses("eth0"),
        ["10.20.1.101/24"],
        "the foreign host's address was given"
    );
}

#[test]
fn claim_heard_on_the_wire_is_known_within_a_second() {
    let site = site("wir-hear", Setup::default());
    first_pod(&site);
    let vm = site.host("vm");
    // arping waits for an answer that nobody sends; what counts is from its start to the daemon's own word.
    let begin = Instant::now();
    let arping = vm.namespace().spawn(
        "arping",
        &[
            "arping",
            "-q",
            "-U",
            "-c",
            "1",
            "-w",
            "2",
            "-I",
            "eth0",
            "-s",
            "10.20.1.103",
            "10.20.1.103",
        ],
    );
    let conflict = site.client().wait_state("10.20.1.103", "conflicting");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(conflict.note.contains(&vm.mac()), "{conflict:?}");
    drop(arping.unwrap());
}

#[test]
fn claim_of_an_attached_address_is_reported_and_does_not_end_the_pod() {
    let site = site("wir-attached", Setup::default());
    first_pod(&site);
    let vm = site.host("vm");
    let mac = vm.mac();
    vm.announce("10.20.1.100".parse().unwrap()).unwrap();
    wait_until("the claim is reported with the foreign MAC", || {
        let log = site.ipamd_log();
        let listed = site
            .list()
            .iter()
            .any(|binding| binding.note.contains(&mac));
        holds(listed && log.contains(&mac), || {
            format!("{:?}\n{log}", site.list())
        })
    });
    assert_eq!(site.attached(), ["10.20.1.100"]);
}

#[test]
fn sticky_identity_whose_address_is_claimed_is_refused_with_the_reason() {
    let site = site("wir-sticky", soon());
    let (pod, ask, mac) = held_pod(&site);
    let vm = site.host("vm");
    vm.take_address("10.20.1.100".parse().unwrap()).unwrap();
    vm.announce("10.20.1.100".parse().unwrap()).unwrap();
    wait_until("the sticky Pod is refused", || {
        let answer = site.add(&ask);
        if answer.succeeded() {
            site.del(&ask).silence();
            return Err("it was given its address".to_owned());
        }
        let fault = answer.fault();
        assert!(fault.text().contains("10.20.1.100"), "{fault:?}");
        assert!(fault.text().contains(&vm.mac()), "{fault:?}");
        Ok(())
    });
    assert_eq!(pod.interfaces(), ["lo"]);

    vm.drop_address("10.20.1.100".parse().unwrap()).unwrap();
    is_whole_again(&site, &pod, &ask, &mac);
}

/// Questions and silence in seconds instead of minutes.
fn soon() -> Setup {
    Setup::default().top_line("probe = { again = \"1s\", silence = \"2s\" }")
}

/// A sticky Pod that has gone and whose `10.20.1.100` is held; its MAC. Another Pod keeps the segment.
fn held_pod(site: &Site) -> (Pod<'_>, Ask, String) {
    let pod = site.pod("p");
    let ask = Ask::new("db-0", &pod).external_only();
    site.add(&ask).result();
    let mac = pod.link("eth0")["address"].as_str().unwrap().to_owned();
    let stays = site.pod("stays");
    site.add(&Ask::new("first-x", &stays).external_only())
        .result();
    site.del(&ask).silence();
    assert_eq!(site.in_state("held"), ["10.20.1.100"]);
    (pod, ask, mac)
}

/// The conflict ends by itself, and the Pod has what it had.
#[track_caller]
fn is_whole_again(site: &Site, pod: &Pod<'_>, ask: &Ask, mac: &str) {
    wait_until("the conflict ends", || {
        let bindings = site.list();
        let held = bindings.iter().find(|binding| binding.state == "held");
        let whole = held.is_some_and(|held| {
            bare_address(&held.address) == "10.20.1.100"
                && held.identity == "prod/db-0"
                && held.note.is_empty()
        });
        holds(whole, || format!("{bindings:#?}"))
    });
    site.add(ask).result();
    assert_eq!(pod.addresses("eth0"), ["10.20.1.100/24"]);
    assert_eq!(pod.link("eth0")["address"], mac);
    pod.pings("10.20.1.1");
}

#[test]
fn held_address_that_a_foreign_host_takes_without_a_word_is_found_by_asking() {
    let site = site("wir-held", soon());
    let (pod, ask, mac) = held_pod(&site);
    let vm = site.host("vm");
    vm.take_address("10.20.1.100".parse().unwrap()).unwrap();
    wait_until("the foreign MAC is known", || {
        let bindings = site.list();
        let known = bindings.iter().any(|binding| {
            binding.state == "held"
                && binding.identity == "prod/db-0"
                && binding.note.contains(&vm.mac())
        });
        holds(known, || format!("{bindings:#?}"))
    });
    let fault = site.add(&ask).fault();
    assert!(fault.text().contains("10.20.1.100"), "{fault:?}");
    assert!(fault.text().contains(&vm.mac()), "{fault:?}");
    assert_eq!(pod.interfaces(), ["lo"]);

    vm.drop_address("10.20.1.100".parse().unwrap()).unwrap();
    is_whole_again(&site, &pod, &ask, &mac);
}

#[test]
fn pool_that_is_not_probed_gives_the_address_all_the_same() {
    let site = site("wir-off", Setup::default().pool_line("probe = false"));
    let vm = site.host("vm");
    vm.take_address("10.20.1.101".parse().unwrap()).unwrap();
    first_pod(&site);
    vm.announce("10.20.1.101".parse().unwrap()).unwrap();
    let pod = site.pod("p");
    site.add(&Ask::new("second-x", &pod).external_only())
        .result();
    assert_eq!(pod.addresses("eth0"), ["10.20.1.101/24"]);
}

#[test]
fn probes_of_other_nodes_are_no_claims() {
    let site = site("wir-probe", Setup::default());
    first_pod(&site);
    // RFC 5227: sender address 0.0.0.0. `arping -D` sends such.
    site.host("vm")
        .namespace()
        .exec(&[
            "arping",
            "-D",
            "-q",
            "-c",
            "2",
            "-w",
            "2",
            "-I",
            "eth0",
            "10.20.1.102",
        ])
        .unwrap();
    assert_eq!(site.in_state("conflicting"), Vec::<String>::new());
    let pod = site.pod("p");
    let wish = Ask::new("web-x", &pod)
        .external_only()
        .runtime(json!({"ips": ["10.20.1.102"]}));
    site.add(&wish).result();
}

#[test]
fn ipv6_address_that_a_foreign_host_has_is_set_aside() {
    let mut setup = Setup::dual_stack();
    setup.pools[2].range = "fd00:20:1::100-fd00:20:1::103".to_owned();
    let site = Site::build("wir-six", setup.with_host("vm"));
    let vm = site.host("vm").namespace();
    vm.run(&[
        "ip",
        "addr",
        "add",
        "fd00:20:1::101/64",
        "dev",
        "eth0",
        "nodad",
    ])
    .unwrap();
    let pod = site.pod("p0");
    site.add(&Ask::new("first-x", &pod).external_only())
        .result();
    site.client().wait_state("fd00:20:1::101", "conflicting");
}

#[test]
fn unsolicited_advertisement_of_an_ipv6_address_is_known_within_a_second() {
    // Only the next address of each pool is asked for, so that nothing but the advertisement can tell of another one.
    let setup = Setup::dual_stack().top_line("probe = { ahead = 1 }");
    let site = Site::build("wir-na", setup.with_host("vm"));
    first_pod_six(&site);
    let vm = site.host("vm").namespace();
    vm.script(
        "echo 1 > /proc/sys/net/ipv6/conf/eth0/ndisc_notify\n\
         ip addr add fd00:20:1::1f3/64 dev eth0 nodad",
    )
    .unwrap();
    assert_eq!(site.in_state("conflicting"), Vec::<String>::new());
    // With `ndisc_notify` a new MAC is told to all at once.
    let begin = Instant::now();
    vm.run(&["ip", "link", "set", "eth0", "address", "02:77:00:00:00:01"])
        .unwrap();
    let conflict = site.client().wait_state("fd00:20:1::1f3", "conflicting");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(conflict.note.contains("02:77:00:00:00:01"), "{conflict:?}");
}

/// A dual-stack Pod, and a daemon that hears the segment.
fn first_pod_six(site: &Site) {
    let pod = site.pod("first");
    site.add(&Ask::new("first-x", &pod).external_only())
        .result();
    assert_eq!(
        pod.addresses("eth0"),
        ["10.20.1.100/24", "fd00:20:1::100/64"]
    );
    wait_until("the segment is heard", || {
        let log = site.ipamd_log();
        holds(log.contains("segment is heard"), || log.clone())
    });
}
