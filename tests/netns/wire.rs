//! Conflicts on the wire: a foreign host that uses or claims an address of ours.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::site::{Ask, Setup, Site};
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
    let begin = Instant::now();
    vm.announce("10.20.1.103".parse().unwrap()).unwrap();
    site.client().wait_state("10.20.1.103", "conflicting");
    let took = begin.elapsed();
    // arping itself waits for a second after its one packet.
    assert!(took < Duration::from_secs(3), "{took:?}");
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
        holds(listed || log.contains(&mac), || {
            format!("{:?}\n{log}", site.list())
        })
    });
    assert_eq!(site.attached(), ["10.20.1.100"]);
}

#[test]
fn sticky_identity_whose_address_is_claimed_is_refused_with_the_reason() {
    let site = site("wir-sticky", Setup::default());
    let pod = site.pod("p");
    let ask = Ask::new("db-0", &pod).external_only();
    site.add(&ask).result();
    let stays = site.pod("stays");
    site.add(&Ask::new("first-x", &stays).external_only())
        .result();
    site.del(&ask).silence();
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

    // The foreign host goes; the operator says so; the binding is whole again.
    vm.drop_address("10.20.1.100".parse().unwrap()).unwrap();
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
