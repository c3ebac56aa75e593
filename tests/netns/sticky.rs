//! What an address sticks to, and for how long: over re-creation, restart and reboot; quarantine; reservations; wishes.

use proto_ipam::v1;
use serde_json::{Value, json};
use tests::daemons::reason;
use tests::site::{Ask, Pod, Setup, Site};
use tests::wait::{holds, wait_until};

/// Addresses and MACs of both interfaces: what must not change.
fn berth_of(pod: &Pod<'_>) -> Vec<Value> {
    ["eth0", "net1"]
        .iter()
        .flat_map(|ifname| {
            [
                json!(pod.addresses(ifname)),
                pod.link(ifname)["address"].clone(),
            ]
        })
        .collect()
}

#[test]
fn identity_keeps_address_and_mac_over_recreation_restart_and_reboot() {
    let mut site = Site::serving("stk-keep");
    let ask = |pod: &Pod<'_>, round: usize| {
        Ask::new("db-0", pod).container_id(&format!("sandbox-{round}"))
    };
    let berth = {
        let pod = site.pod("r0");
        let first = ask(&pod, 0);
        site.add(&first).result();
        let berth = berth_of(&pod);
        site.del(&first).silence();
        site.remove_pod(&pod);
        // Others come in between.
        for number in 1..4 {
            let pod = site.pod(&format!("o{number}"));
            site.add(&Ask::new(&format!("db-{number}"), &pod)).result();
        }
        let pod = site.pod("r1");
        site.add(&ask(&pod, 1)).result();
        assert_eq!(berth_of(&pod), berth, "re-created");
        berth
    };

    site.kill_ipamd();
    site.start_ipamd();
    {
        let old = site.pod("unused");
        let pod = site.pod("r2");
        // A new sandbox of the same Pod while the old one still stands.
        site.add(&ask(&pod, 2)).result();
        assert_eq!(berth_of(&pod), berth, "after the daemon was killed");
        site.del(&ask(&old, 1)).silence();
        assert_eq!(site.attached().len(), 8, "the late DEL does nothing");
    }

    site.reboot();
    site.start_ipamd();
    let pod = site.pod("r3");
    site.add(&ask(&pod, 3)).result();
    assert_eq!(berth_of(&pod), berth, "after a reboot");
    for number in (1..4).rev() {
        let pod = site.pod(&format!("n{number}"));
        let again = Ask::new(&format!("db-{number}"), &pod).container_id(&format!("new-{number}"));
        site.add(&again).result();
        assert_eq!(
            pod.addresses("eth0"),
            [format!("10.20.1.{}/24", 100 + number)]
        );
    }
    assert_eq!(site.attached().len(), 8);
}

#[test]
fn named_identity_moves_to_a_pod_of_another_name() {
    let site = Site::serving("stk-named");
    let named = json!({"io.kubernetes.cri.pod-annotations": {"berth.dev/identity": "cache"}});
    let pod = site.pod("p0");
    let first = Ask::new("web-abc", &pod).runtime(named.clone());
    site.add(&first).result();
    let address = pod.addresses("eth0");
    site.del(&first).silence();
    let pod = site.pod("p1");
    site.add(&Ask::new("web-def", &pod).runtime(named)).result();
    // Held or quarantined, the binding is the identity's as long as it lives.
    assert_eq!(pod.addresses("eth0"), address);
}

#[test]
fn rules_decide_who_is_held() {
    let setup = Setup::default()
        .rule("namespace = \"batch\"\npod = \"*\"\nhold = \"none\"")
        .rule("namespace = \"*\"\npod = \"keep-*\"\nhold = \"forever\"")
        .rule("namespace = \"*\"\npod = \"*\"\nhold = \"1h\"");
    let site = Site::build("stk-rules", setup);
    let cases = [
        ("batch", "db-0", "quarantined"),
        ("prod", "keep-x", "held"),
        ("prod", "web-x", "held"),
    ];
    for (number, (namespace, name, state)) in cases.into_iter().enumerate() {
        let pod = site.pod(&format!("p{number}"));
        let ask = Ask::new(name, &pod).in_namespace(namespace);
        site.add(&ask).result();
        let address = tests::site::bare_address(&pod.addresses("eth0")[0]);
        site.del(&ask).silence();
        let binding = site.client().wait_state(&address, state);
        assert_eq!(binding.until.is_empty(), name == "keep-x", "{binding:?}");
    }
}

#[test]
fn hold_of_a_duration_ends() {
    let site = Site::build(
        "stk-short",
        Setup::default()
            .without_quarantine()
            .rule("namespace = \"*\"\npod = \"*\"\nhold = \"2s\""),
    );
    let pod = site.pod("p0");
    let ask = Ask::new("web-0", &pod).external_only();
    site.add(&ask).result();
    site.del(&ask).silence();
    assert_eq!(site.in_state("held"), ["10.20.1.100"]);
    wait_until("the hold ends", || {
        holds(site.in_state("held").is_empty(), || {
            format!("{:?}", site.list())
        })
    });
}

#[test]
fn quarantined_address_is_not_given_until_its_time_is_over() {
    let setup = Setup::default()
        .external_range("10.20.1.100-10.20.1.101")
        .pool_line("quarantine = \"3s\"");
    let site = Site::build("stk-quarantine", setup);
    let pods: Vec<Pod<'_>> = (0..4).map(|n| site.pod(&format!("p{n}"))).collect();
    let ask = |n: usize| Ask::new(&format!("web-{n}x"), &pods[n]).external_only();
    site.add(&ask(0)).result();
    site.add(&ask(1)).result();
    site.del(&ask(0)).silence();
    assert_eq!(site.in_state("quarantined"), ["10.20.1.100"]);
    let fault = site.add(&ask(2)).fault();
    assert!(fault.code >= 100, "{fault:?}");
    assert!(fault.text().contains("external"), "{fault:?}");
    wait_until("the quarantine ends", || {
        let answer = site.add(&ask(2));
        holds(answer.succeeded(), || answer.stdout.clone())
    });
    assert_eq!(pods[2].addresses("eth0"), ["10.20.1.100/24"]);
}

#[test]
fn free_addresses_are_taken_least_recently_used_first() {
    let setup = Setup::default()
        .external_range("10.20.1.100-10.20.1.103")
        .without_quarantine();
    let site = Site::build("stk-lru", setup);
    let mut seen = Vec::new();
    for number in 0..6 {
        let pod = site.pod(&format!("p{number}"));
        let ask = Ask::new(&format!("web-{number}x"), &pod).external_only();
        site.add(&ask).result();
        seen.push(pod.addresses("eth0")[0].clone());
        site.del(&ask).silence();
    }
    let mut round = seen[..4].to_vec();
    round.sort();
    round.dedup();
    assert_eq!(
        round.len(),
        4,
        "every address once before any twice: {seen:?}"
    );
    assert_eq!(seen[4..], seen[..2], "then the longest unused: {seen:?}");
}

#[test]
fn requested_address_of_another_is_refused_naming_the_holder() {
    let site = Site::serving("stk-taken");
    let (first, second) = (site.pod("p0"), site.pod("p1"));
    site.add(&Ask::new("db-0", &first).external_only()).result();
    let wish = Ask::new("db-1", &second).external_only();
    for address in ["10.20.1.100", "10.20.1.1", "10.20.1.50", "192.0.2.1"] {
        let fault = site
            .add(&wish.clone().runtime(json!({"ips": [address]})))
            .fault();
        assert!(fault.code >= 100 || fault.code == 7, "{fault:?}");
        assert!(fault.text().contains(address), "{fault:?}");
        if address == "10.20.1.100" {
            assert!(fault.text().contains("prod/db-0"), "{fault:?}");
        }
    }
    assert_eq!(second.interfaces(), ["lo"]);
    assert_eq!(site.attached(), ["10.20.1.100"]);
    // Its own address may be asked for again.
    site.add(&wish.clone().runtime(json!({"ips": ["10.20.1.105"]})))
        .result();
    site.del(&wish).silence();
    let again = wish
        .container_id("again")
        .runtime(json!({"ips": ["10.20.1.105"]}));
    site.add(&again).result();
    assert_eq!(second.addresses("eth0"), ["10.20.1.105/24"]);
}

#[test]
fn reserved_address_waits_for_its_identity_and_for_no_other() {
    let setup = Setup::default().external_range("10.20.1.100-10.20.1.101");
    let site = Site::build("stk-reserve", setup);
    site.operator(&[
        "reserve",
        "--network",
        "external",
        "--ip",
        "10.20.1.100",
        "--identity",
        "prod/db-7",
    ]);
    let (other, own) = (site.pod("p0"), site.pod("p1"));
    site.add(&Ask::new("db-1", &other).external_only()).result();
    assert_eq!(other.addresses("eth0"), ["10.20.1.101/24"]);
    site.add(&Ask::new("db-7", &own).external_only()).result();
    assert_eq!(own.addresses("eth0"), ["10.20.1.100/24"]);
}

#[test]
fn address_set_aside_is_given_to_nobody() {
    let setup = Setup::default().external_range("10.20.1.100-10.20.1.101");
    let site = Site::build("stk-aside", setup);
    site.client()
        .reserve(v1::ReserveRequest {
            network: "external".into(),
            address: "10.20.1.100".into(),
            note: "a printer".into(),
            ..Default::default()
        })
        .unwrap();
    let (first, second) = (site.pod("p0"), site.pod("p1"));
    site.add(&Ask::new("db-1", &first).external_only()).result();
    assert_eq!(first.addresses("eth0"), ["10.20.1.101/24"]);
    site.add(&Ask::new("db-2", &second).external_only()).fault();
    let refused = site
        .client()
        .reserve(v1::ReserveRequest {
            network: "external".into(),
            address: "10.20.1.101".into(),
            identity: "prod/db-9".into(),
            ..Default::default()
        })
        .unwrap_err();
    assert_eq!(reason(&refused), v1::Reason::AddressTaken);
}

#[test]
fn exhausted_pool_refuses_the_whole_pod_and_names_the_pool() {
    let setup = Setup::default().external_range("10.20.1.100-10.20.1.100");
    let site = Site::build("stk-full", setup);
    let (first, second) = (site.pod("p0"), site.pod("p1"));
    let ask = Ask::new("db-0", &first);
    site.add(&ask).result();
    let fault = site.add(&Ask::new("db-1", &second)).fault();
    assert!(fault.code >= 100, "{fault:?}");
    assert!(fault.text().contains("external"), "{fault:?}");
    assert_eq!(second.interfaces(), ["lo"]);
    assert_eq!(
        site.attached(),
        ["10.20.1.100", "10.30.1.100"],
        "not even the internal one"
    );
    // A held address is not given away because the pool is full.
    site.del(&ask).silence();
    site.add(&Ask::new("db-1", &second)).fault();
    site.add(&ask.container_id("again")).result();
}
