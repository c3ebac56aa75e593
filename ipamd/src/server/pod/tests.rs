use std::time::Duration;

use ipamd_core::{Hold, NodeRack};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proto_ids::Attachment;

use super::*;

fn pool(name: &str, network: &str, rack: &str, subnet: &str) -> Pool {
    Pool {
        name: name.parse().unwrap(),
        network: network.parse().unwrap(),
        rack: rack.parse().unwrap(),
        node: None,
        subnet: subnet.parse().unwrap(),
        ranges: Vec::new(),
        exclude: Vec::new(),
        gateway: None,
        quarantine: Duration::ZERO,
        routes: Vec::new(),
        probe: false,
    }
}

/// A node of rack a; network `lab` has a pool in rack b only.
fn settings() -> Settings {
    Settings {
        node: "n1".parse().unwrap(),
        rack: NodeRack::Configured("a".parse().unwrap()),
        pools: vec![
            pool("external-a", "external", "a", "10.20.1.0/24"),
            pool("external-a-v6", "external", "a", "fd00:20:1::/64"),
            pool("external-a2", "external", "a", "10.20.9.0/24"),
            pool("internal-a", "internal", "a", "10.30.1.0/24"),
            pool("external-b", "external", "b", "10.20.2.0/24"),
            pool("lab-b", "lab", "b", "10.40.2.0/24"),
        ],
        rules: Vec::new(),
        audit_keep: Duration::ZERO,
        refuse_when_exhausted: false,
        claiming: true,
    }
}

/// What Pod `prod/db-0` with these annotations says.
fn facts(annotations: &[(&str, &str)]) -> PodFacts {
    let pairs = annotations.iter();
    PodFacts::parse(&ObjectMeta {
        namespace: Some("prod".to_owned()),
        name: Some("db-0".to_owned()),
        uid: Some("u-1".to_owned()),
        annotations: Some(
            pairs
                .map(|&(key, value)| (format!("berth.dev/{key}"), value.to_owned()))
                .collect(),
        ),
        ..ObjectMeta::default()
    })
    .unwrap()
}

/// The ADD of that Pod on these networks, where the runtime asks for these addresses on the first.
fn request(networks: &[&str], told: &[&str]) -> AllocateRequest {
    let mut interfaces: Vec<_> = networks
        .iter()
        .enumerate()
        .map(|(place, network)| InterfaceRequest {
            ifname: format!("net{place}").parse().unwrap(),
            network: network.parse().unwrap(),
            segment: None,
            addresses: Vec::new(),
            mac: None,
        })
        .collect();
    interfaces[0].addresses = told.iter().map(|text| text.parse().unwrap()).collect();
    AllocateRequest {
        attachment: Attachment {
            cni_network: "bank".parse().unwrap(),
            sandbox: "s1".parse().unwrap(),
            ifname: "net0".parse().unwrap(),
        },
        pod: Some("prod/db-0".parse().unwrap()),
        pod_uid: Some("u-1".parse().unwrap()),
        identity: None,
        interfaces,
    }
}

fn asked(request: &AllocateRequest) -> Vec<String> {
    let interfaces = request.interfaces.iter();
    interfaces
        .map(|one| {
            let addresses: Vec<_> = one.addresses.iter().map(IpAddr::to_string).collect();
            addresses.join(" ")
        })
        .collect()
}

#[test]
fn pod_that_says_nothing_leaves_its_request_as_it_is() {
    let before = request(&["external"], &[]);
    let mut after = before.clone();
    let policy = follow(&mut after, &facts(&[]), &settings()).unwrap();
    assert_eq!((after, policy.is_empty()), (before, true));
}

#[test]
fn identity_of_the_runtime_goes_before_the_annotation() {
    let vip = facts(&[("identity", "vip"), ("hold", "1h")]);
    let mut request = request(&["external"], &[]);
    let policy = follow(&mut request, &vip, &settings()).unwrap();
    assert_eq!(request.identity.take().unwrap().as_str(), "prod/vip");
    assert_eq!(policy.hold, Some(Hold::For(Duration::from_secs(3600))));
    request.identity = Some("prod/told".parse().unwrap());
    follow(&mut request, &vip, &settings()).unwrap();
    assert_eq!(request.identity.unwrap().as_str(), "prod/told");
}

#[test]
fn addresses_go_to_the_network_whose_pool_they_lie_in() {
    for (networks, told, wanted, given) in [
        (
            &["external"][..],
            &[][..],
            "10.20.1.150",
            &["10.20.1.150"][..],
        ),
        (&["external"], &[], "10.20.9.7", &["10.20.9.7"]),
        (
            &["internal", "external"],
            &[],
            "fd00:20:1::7,10.20.1.150,10.30.1.9",
            &["10.30.1.9", "fd00:20:1::7 10.20.1.150"],
        ),
        // The runtime asked itself, of the first network only.
        (
            &["external", "internal"],
            &["10.20.1.7"],
            "10.20.1.150,10.30.1.9",
            &["10.20.1.7", "10.30.1.9"],
        ),
        // The book says that there is no pool.
        (&["lab"], &[], "10.20.1.150", &[""]),
    ] {
        let mut request = request(networks, told);
        let facts = facts(&[("addresses", wanted)]);
        follow(&mut request, &facts, &settings()).unwrap();
        assert_eq!(asked(&request), given, "{networks:?} {wanted}");
    }
    // Nor is anything known of pools without a rack.
    let mut lost = settings();
    lost.rack = NodeRack::Unknown(Box::new(ipamd_core::RackUnknown {
        cause: String::new(),
        advice: String::new(),
        passing: true,
    }));
    let mut request = request(&["external"], &[]);
    follow(&mut request, &facts(&[("addresses", "1.2.3.4")]), &lost).unwrap();
    assert_eq!(asked(&request), [""]);
}

#[test]
fn addresses_that_cannot_be_are_refused_with_what_would_do() {
    for (networks, wanted, reason, words) in [
        (
            &["external"][..],
            "10.20.1.150,10.20.2.150",
            Reason::AddressOutside,
            &[
                "asks for 10.20.2.150",
                "no pool of network external in rack a",
                "external-a of external with 10.20.1.0/24",
                "internal-a of internal",
            ][..],
        ),
        (
            &["external", "lab"],
            "10.30.1.9",
            Reason::AddressOutside,
            &["networks external, lab"],
        ),
        (
            &["internal", "external"],
            "10.20.1.150,10.20.9.150",
            Reason::InvalidRequest,
            &["10.20.9.150 and 10.20.1.150, both IPv4 addresses of network external"],
        ),
    ] {
        let mut request = request(networks, &[]);
        let facts = facts(&[("addresses", wanted)]);
        let error = follow(&mut request, &facts, &settings()).unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        let said = format!("{error}; {}", error.advice());
        for words in words {
            assert!(said.contains(words), "{words} in {said}");
        }
        for words in [
            "Pod prod/db-0: annotation berth.dev/addresses",
            "annotate pod -n prod db-0 --overwrite berth.dev/addresses=",
        ] {
            assert!(said.contains(words), "{words} in {said}");
        }
        assert!(!said.contains("external-b"), "{said}");
    }
}

#[test]
fn annotations_that_cannot_be_read_are_refused_all_at_once() {
    let mut request = request(&["external"], &[]);
    let facts = facts(&[("hold", "for a while"), ("rack-change", "never")]);
    let error = follow(&mut request, &facts, &settings()).unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidRequest);
    let said = format!("{error}; {}", error.advice());
    for words in [
        "annotation berth.dev/hold says \"for a while\"",
        "\"forever\", \"none\", or a duration",
        "annotation berth.dev/rack-change says \"never\"",
        "\"new-address\" or \"wait\"",
        "annotate pod -n prod db-0 --overwrite",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
}
