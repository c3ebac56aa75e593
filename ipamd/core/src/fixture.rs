//! What the unit tests of the verbs begin with: one network with a small pool, and requests for it.

use std::net::IpAddr;
use std::time::Duration;

use proto_ids::{
    AllocateRequest, Attachment, Grant, InterfaceRequest, MacAddr, NetworkName, PoolName,
};

use crate::{Book, Change, Hold, Pool, Rule, Settings, Timestamp, ValidSettings};

pub(crate) const QUARANTINE: Duration = Duration::from_secs(600);

/// So many seconds after noon of some day.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_milliseconds(1_767_268_800_000).after(Duration::from_secs(seconds))
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

pub(crate) fn network(text: &str) -> NetworkName {
    text.parse().unwrap()
}

pub(crate) fn pool(name: &str, network: &str, subnet: &str, ranges: &[&str]) -> Pool {
    Pool {
        name: name.parse::<PoolName>().unwrap(),
        network: network.parse().unwrap(),
        rack: "a".parse().unwrap(),
        node: None,
        subnet: subnet.parse().unwrap(),
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        exclude: Vec::new(),
        gateway: None,
        quarantine: QUARANTINE,
        routes: Vec::new(),
        probe: true,
    }
}

pub(crate) fn rule(namespace: &str, pod: &str, hold: Hold) -> Rule {
    Rule {
        namespace: namespace.parse().unwrap(),
        pod: pod.parse().unwrap(),
        hold,
    }
}

/// `external` has .10 to .13 of 10.20.1.0/24, gateway .1.
pub(crate) fn settings() -> Settings {
    let mut external = pool(
        "external-a",
        "external",
        "10.20.1.0/24",
        &["10.20.1.10-10.20.1.13"],
    );
    external.gateway = Some(ip("10.20.1.1"));
    Settings {
        node: "n1".parse().unwrap(),
        rack: "a".parse().unwrap(),
        pools: vec![external],
        rules: vec![rule("lab", "*", Hold::For(Duration::from_secs(60)))],
        audit_keep: Duration::from_secs(86_400),
        refuse_when_exhausted: false,
        claiming: false,
    }
}

pub(crate) fn valid(settings: Settings) -> ValidSettings {
    settings.validate().unwrap()
}

pub(crate) fn book() -> Book {
    Book::new(valid(settings()))
}

pub(crate) fn attachment(sandbox: &str) -> Attachment {
    Attachment {
        cni_network: "bank".parse().unwrap(),
        sandbox: sandbox.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

/// ADD of a Pod (empty: none) in a sandbox, on `external`.
pub(crate) fn request(pod: &str, sandbox: &str) -> AllocateRequest {
    AllocateRequest {
        attachment: attachment(sandbox),
        pod: (!pod.is_empty()).then(|| pod.parse().unwrap()),
        pod_uid: None,
        identity: None,
        interfaces: vec![interface("eth0", "external")],
    }
}

pub(crate) fn interface(ifname: &str, network: &str) -> InterfaceRequest {
    InterfaceRequest {
        ifname: ifname.parse().unwrap(),
        network: network.parse().unwrap(),
        segment: None,
        addresses: Vec::new(),
        mac: None,
    }
}

/// The same, with an address asked for.
pub(crate) fn wish(pod: &str, sandbox: &str, address: &str) -> AllocateRequest {
    let mut request = request(pod, sandbox);
    request.interfaces[0].addresses = vec![ip(address)];
    request
}

impl Book {
    pub(crate) fn must_allocate(&mut self, request: &AllocateRequest, now: Timestamp) -> Grant {
        let plan = self.allocate(request, now).unwrap();
        self.apply(&plan.changes);
        plan.grant
    }

    /// Allocates on `external` and tells the IPv4 address.
    pub(crate) fn must_get(&mut self, pod: &str, sandbox: &str, now: Timestamp) -> IpAddr {
        let grant = self.must_allocate(&request(pod, sandbox), now);
        grant.interfaces[0].addresses[0].address.addr()
    }

    pub(crate) fn must_release(&mut self, sandbox: &str, now: Timestamp) -> Vec<Change> {
        let plan = self.release(&attachment(sandbox), now);
        assert!(plan.known, "{sandbox}");
        self.apply(&plan.changes);
        plan.changes
    }

    pub(crate) fn must_expire(&mut self, now: Timestamp) {
        let plan = self.expire(now, usize::MAX);
        self.apply(&plan.changes);
    }
}
