use std::path::PathBuf;
use std::time::Duration;

use ipamd_core::{Hold, Pool, Rule, Settings, ValidSettings};
use proto_ids::{AllocateRequest, Grant, InterfaceRequest, PortAlias};

use super::*;

const NOW: Timestamp = Timestamp::from_unix_milliseconds(1_767_225_600_000);

fn pool(name: &str, network: &str, subnet: &str, range: &str) -> Pool {
    Pool {
        name: name.parse().unwrap(),
        network: network.parse().unwrap(),
        rack: "a".parse().unwrap(),
        node: None,
        subnet: subnet.parse().unwrap(),
        ranges: vec![range.parse().unwrap()],
        exclude: Vec::new(),
        gateway: None,
        quarantine: Duration::from_secs(600),
        routes: Vec::new(),
        probe: true,
    }
}

fn settings() -> ValidSettings {
    Settings {
        node: "n1".parse().unwrap(),
        rack: "a".parse().unwrap(),
        pools: vec![
            pool(
                "external-a",
                "external",
                "10.20.1.0/24",
                "10.20.1.100-10.20.1.109",
            ),
            pool(
                "internal-a",
                "internal",
                "10.30.1.0/24",
                "10.30.1.100-10.30.1.109",
            ),
        ],
        rules: vec![Rule {
            namespace: "*".parse().unwrap(),
            pod: "*-[0-9]*".parse().unwrap(),
            hold: Hold::Forever,
        }],
        audit_keep: Duration::from_secs(86_400),
        refuse_when_exhausted: false,
        claiming: false,
    }
    .validate()
    .unwrap()
}

fn attachment(sandbox: &str) -> Attachment {
    Attachment {
        cni_network: "bank".parse().unwrap(),
        sandbox: sandbox.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

/// One ADD of an interface on `external`.
fn add(book: &mut Book, pod: &str, sandbox: &str) -> Grant {
    let request = AllocateRequest {
        attachment: attachment(sandbox),
        pod: Some(pod.parse().unwrap()),
        pod_uid: None,
        identity: None,
        interfaces: vec![InterfaceRequest {
            ifname: "eth0".parse().unwrap(),
            network: "external".parse().unwrap(),
            segment: None,
            addresses: Vec::new(),
            mac: None,
        }],
    };
    let plan = book.allocate(&request, NOW).unwrap();
    book.apply(&plan.changes);
    plan.grant
}

fn port(sandbox: &str, address: &str, identity: Option<&str>) -> Port {
    let address: IpNet = address.parse().unwrap();
    Port {
        name: format!("bth{sandbox}"),
        alias: PortAlias {
            attachment: attachment(sandbox),
            ifname: "eth0".parse().unwrap(),
            network: "external".parse().unwrap(),
            mac: MacAddr::derived(address.addr()),
            addresses: vec![address],
            identity: identity.map(|identity| identity.parse().unwrap()),
        },
    }
}

fn port_of(grant: &Grant, sandbox: &str) -> Port {
    let interface = &grant.interfaces[0];
    let address = interface.addresses[0].address.to_string();
    let port = port(sandbox, &address, Some(grant.identity.as_str()));
    Port {
        alias: PortAlias {
            mac: interface.mac,
            ..port.alias
        },
        ..port
    }
}

fn address(grant: &Grant) -> IpAddr {
    grant.interfaces[0].addresses[0].address.addr()
}

fn state(book: &Book, address: &str) -> Option<(ViewState, String)> {
    let views = book.who(address.parse().unwrap());
    let view = views.first()?;
    let identity = view.identity.as_ref().map(ToString::to_string);
    Some((view.state, identity.unwrap_or_default()))
}

fn ports(ports: impl IntoIterator<Item = Port>) -> Ports {
    Ports {
        ports: ports.into_iter().collect(),
        unreadable: Vec::new(),
    }
}

/// The changes alone lead from the old book to the new one, as the store will replay them.
fn recovered(book: &Book, observed: &Observed) -> Recovered {
    let recovered = plan(book.clone(), observed, NOW);
    let mut replayed = book.clone();
    replayed.apply(&recovered.changes);
    assert_eq!(replayed, recovered.book);
    let records: Vec<_> = recovered.book.records().collect();
    assert!(Book::restore(book.settings().clone(), records).is_ok());
    recovered
}

#[test]
fn a_node_that_agrees_with_its_book_changes_nothing() {
    let mut book = Book::new(settings());
    let grant = add(&mut book, "prod/db-0", "s1");
    let observed = Observed {
        ports: ports([port_of(&grant, "s1")]),
        ..Observed::default()
    };
    let recovered = recovered(&book, &observed);
    assert_eq!(recovered.changes, []);
    assert_eq!(recovered.report, Report::default());
}

#[test]
fn an_attachment_without_a_port_stays_and_is_told() {
    let mut book = Book::new(settings());
    let grant = add(&mut book, "prod/db-0", "s1");
    let recovered = recovered(&book, &Observed::default());
    assert_eq!(recovered.changes, []);
    let told: Vec<_> = recovered.report.without_port.values().collect();
    assert!(told.len() == 1 && told[0].contains("prod/db-0"), "{told:?}");
    let attached = Some((ViewState::Attached, "prod/db-0".to_owned()));
    assert_eq!(
        state(&recovered.book, &address(&grant).to_string()),
        attached
    );
}

#[test]
fn a_boot_ends_every_attachment_and_keeps_what_is_held() {
    let mut book = Book::new(settings());
    let sticky = add(&mut book, "prod/db-0", "s1");
    let other = add(&mut book, "prod/web", "s2");
    let observed = Observed {
        rebooted: true,
        ..Observed::default()
    };
    let mut recovered = recovered(&book, &observed);
    assert_eq!(recovered.report.ended_by_boot, 2);
    assert!(recovered.report.without_port.is_empty());
    let held = Some((ViewState::Held, "prod/db-0".to_owned()));
    assert_eq!(state(&recovered.book, &address(&sticky).to_string()), held);
    let resting = Some((ViewState::Quarantined, "prod/web".to_owned()));
    assert_eq!(
        state(&recovered.book, &address(&other).to_string()),
        resting
    );
    assert_eq!(
        address(&add(&mut recovered.book, "prod/db-0", "s3")),
        address(&sticky)
    );
}

#[test]
fn a_tombstone_ends_its_attachment_and_a_port_still_there_does_not_bring_it_back() {
    let mut book = Book::new(settings());
    let grant = add(&mut book, "prod/db-0", "s1");
    let observed = Observed {
        ports: ports([port_of(&grant, "s1")]),
        ended: vec![attachment("s1"), attachment("unknown")],
        ..Observed::default()
    };
    let recovered = recovered(&book, &observed);
    assert_eq!(recovered.report.ended_by_tombstone, 1);
    assert!(recovered.report.findings[0].contains("still there"));
    let held = Some((ViewState::Held, "prod/db-0".to_owned()));
    assert_eq!(state(&recovered.book, &address(&grant).to_string()), held);
}

#[test]
fn a_port_the_book_does_not_know_is_taken_in_and_never_handed_out() {
    let book = Book::new(settings());
    let observed = Observed {
        ports: ports([
            port("s1", "10.20.1.100/24", Some("prod/db-0")),
            port("s2", "10.20.1.101/24", None),
        ]),
        ..Observed::default()
    };
    let mut recovered = recovered(&book, &observed);
    assert_eq!(recovered.report.adopted, 2);
    let named = Some((ViewState::Attached, "prod/db-0".to_owned()));
    assert_eq!(state(&recovered.book, "10.20.1.100"), named);
    assert_eq!(
        state(&recovered.book, "10.20.1.101").unwrap().0,
        ViewState::Attached
    );
    assert_eq!(
        address(&add(&mut recovered.book, "prod/web", "s3")).to_string(),
        "10.20.1.102"
    );
}

#[test]
fn a_port_with_somebody_elses_address_is_told_and_neither_gets_another_holder() {
    let mut book = Book::new(settings());
    let grant = add(&mut book, "prod/db-0", "s1");
    let stranger = port("s9", &format!("{}/24", address(&grant)), Some("prod/db-9"));
    let observed = Observed {
        ports: ports([port_of(&grant, "s1"), stranger]),
        ..Observed::default()
    };
    let recovered = recovered(&book, &observed);
    assert_eq!(recovered.report.adopted, 0);
    assert!(
        recovered.report.findings[0].contains("bths9"),
        "{:?}",
        recovered.report
    );
    let attached = Some((ViewState::Attached, "prod/db-0".to_owned()));
    assert_eq!(
        state(&recovered.book, &address(&grant).to_string()),
        attached
    );
}

#[test]
fn a_second_address_of_an_attached_identity_is_kept_out_of_circulation() {
    let mut book = Book::new(settings());
    let grant = add(&mut book, "prod/db-0", "s1");
    let observed = Observed {
        ports: ports([
            port_of(&grant, "s1"),
            port("s2", "10.20.1.105/24", Some("prod/db-0")),
        ]),
        ..Observed::default()
    };
    let mut recovered = recovered(&book, &observed);
    assert_eq!(recovered.report.findings.len(), 1);
    assert!(state(&recovered.book, "10.20.1.105").is_some());
    for n in 0..8 {
        let next = add(
            &mut recovered.book,
            &format!("prod/web{n}"),
            &format!("w{n}"),
        );
        assert_ne!(address(&next).to_string(), "10.20.1.105");
        assert_ne!(address(&next), address(&grant));
    }
}

#[test]
fn a_resting_address_that_is_on_a_port_all_the_same_is_set_aside_with_it() {
    let mut book = Book::new(settings());
    let grant = add(&mut book, "prod/web", "s1");
    let released = book.release(&attachment("s1"), NOW);
    book.apply(&released.changes);
    let observed = Observed {
        ports: ports([port("s1", &format!("{}/24", address(&grant)), None)]),
        ..Observed::default()
    };
    let recovered = recovered(&book, &observed);
    assert_eq!(recovered.report.adopted, 1);
    let view = state(&recovered.book, &address(&grant).to_string()).unwrap();
    assert_eq!(view.0, ViewState::Attached);
}

fn cached(text: &str) -> Cached {
    results::cached(PathBuf::from("result"), results::parse(text.as_bytes()))
}

const RESULT: &str = r#"{"kind":"cniCacheV1","containerId":"d1","ifName":"eth0","networkName":"bank",
    "cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","prod"],["K8S_POD_NAME","db-7"],["K8S_POD_UID","u-7"]],
    "result":{"cniVersion":"1.0.0",
      "interfaces":[{"name":"br0"},{"name":"eth0","mac":"02:00:00:00:00:07","sandbox":"/var/run/netns/x"},
                    {"name":"net1","mac":"02:00:00:00:00:08","sandbox":"/var/run/netns/x"}],
      "ips":[{"address":"10.20.1.107/24","interface":1},{"address":"10.30.1.107/24","interface":2},
             {"address":"192.0.2.1/24","interface":1}]}}"#;

#[test]
fn after_a_loss_cached_results_are_taken_in_and_the_rest_rests() {
    let book = Book::new(settings());
    let observed = Observed {
        ports: ports([port("s1", "10.20.1.100/24", Some("prod/db-0"))]),
        cached: Some(vec![
            cached(RESULT),
            cached("{\"kind\":\"cniCacheV1\",\"contai"),
        ]),
        ..Observed::default()
    };
    let recovered = recovered(&book, &observed);
    assert_eq!(recovered.report.adopted, 3);
    assert!(recovered.report.findings[0].contains("cannot be read"));
    let named = Some((ViewState::Attached, "prod/db-7".to_owned()));
    assert_eq!(state(&recovered.book, "10.20.1.107"), named);
    assert_eq!(state(&recovered.book, "10.30.1.107"), named);
    let view = &recovered.book.who("10.30.1.107".parse().unwrap())[0];
    assert_eq!(view.ifname.as_ref().unwrap().as_str(), "net1");
    assert_eq!(view.mac.unwrap().to_string(), "02:00:00:00:00:08");
    assert_eq!(view.pod_uid.as_ref().unwrap().as_str(), "u-7");
    // Two networks of ten addresses, three of them spoken for.
    assert_eq!(recovered.report.resting, 17);
    let refused = recovered.book.exhausted_networks(&[]);
    assert_eq!(refused.len(), 2, "{refused:?}");
    // They rest as long as their pool says, and no longer.
    let mut book = recovered.book;
    let later = NOW.after(Duration::from_secs(600));
    let expired = book.expire(later, 100);
    book.apply(&expired.changes);
    assert!(book.exhausted_networks(&[]).is_empty());
}

#[test]
fn a_cached_result_whose_port_speaks_for_itself_says_nothing_new() {
    let book = Book::new(settings());
    let mut own = port("d1", "10.20.1.107/24", Some("some-other-identity"));
    own.alias.mac = "02:00:00:00:00:07".parse().unwrap();
    let observed = Observed {
        ports: ports([own]),
        cached: Some(vec![cached(RESULT)]),
        ..Observed::default()
    };
    let recovered = recovered(&book, &observed);
    let named = Some((ViewState::Attached, "some-other-identity".to_owned()));
    assert_eq!(state(&recovered.book, "10.20.1.107"), named);
    assert_eq!(recovered.report.findings, [] as [String; 0]);
}

#[test]
fn results_of_old_versions_are_read_too() {
    let old = r#"{"kind":"cniCacheV1","containerId":"d2","ifName":"eth0","networkName":"bank","cniArgs":null,
        "result":{"cniVersion":"0.2.0","ip4":{"ip":"10.20.1.105/24"},"ip6":{"ip":"fd00::5/64"}}}"#;
    let Cached::Result(result) = cached(old) else {
        panic!("not read");
    };
    let interfaces = result.interfaces(settings().settings());
    assert_eq!(interfaces.len(), 1);
    assert_eq!(
        interfaces[0].addresses,
        ["10.20.1.105".parse::<IpAddr>().unwrap()]
    );
    assert_eq!(interfaces[0].identity, None);
}

#[test]
fn results_that_escape_or_lie_are_told() {
    let escape = RESULT.replace("\"d1\"", "\"../d1\"");
    for text in ["", "[]", "{\"kind\":\"other\"}", escape.as_str()] {
        assert!(matches!(cached(text), Cached::Unreadable { .. }), "{text}");
    }
}

#[test]
fn only_what_concerns_configured_pools_shows_a_past() {
    let book = Book::new(settings());
    let foreign = RESULT
        .replace("10.20.1.", "172.16.0.")
        .replace("10.30.1.", "172.16.1.");
    let table = [
        (Observed::default(), false),
        (
            Observed {
                cached: Some(vec![cached(&foreign), cached("cut")]),
                ..Observed::default()
            },
            false,
        ),
        (
            Observed {
                cached: Some(vec![cached(RESULT)]),
                ..Observed::default()
            },
            true,
        ),
        (
            Observed {
                ports: ports([port("s1", "10.20.1.100/24", None)]),
                ..Observed::default()
            },
            true,
        ),
    ];
    for (observed, expected) in table {
        assert_eq!(shows_a_past(&observed, &book), expected, "{observed:?}");
    }
}

#[test]
fn recovering_again_changes_nothing_more() {
    let mut book = Book::new(settings());
    add(&mut book, "prod/db-0", "s1");
    let observed = Observed {
        rebooted: true,
        ports: ports([port("s5", "10.20.1.105/24", Some("prod/db-5"))]),
        ended: vec![attachment("s1")],
        cached: None,
    };
    let once = recovered(&book, &observed);
    let again = Observed {
        rebooted: false,
        ..observed
    };
    assert_eq!(recovered(&once.book, &again).changes, []);
}
