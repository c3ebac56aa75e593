//! A small world: two networks, two racks, few addresses, and everybody after them.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use proto_ids::{
    AllocateRequest, Attachment, CniNetworkName, Identity, InterfaceRequest, MacAddr, NetworkName,
    PodKey, SandboxId,
};

use crate::{AdoptedInterface, Hold, Pool, Rule, Settings, ValidSettings};

pub(super) const QUARANTINE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(super) enum Op {
    Allocate(Ask),
    Release {
        pick: usize,
    },
    Collect {
        keep: u64,
    },
    Reserve {
        who: Option<usize>,
        network: usize,
        pick: Option<AddressPick>,
    },
    Free {
        network: usize,
        pick: AddressPick,
        quarantine: bool,
    },
    Conflict {
        network: usize,
        pick: AddressPick,
        mac: u8,
    },
    Clear {
        network: usize,
        pick: AddressPick,
    },
    Pass {
        milliseconds: i64,
    },
    Expire,
    Reload,
    Reboot,
    Reconfigure {
        variant: usize,
    },
    Adopt {
        sandbox: usize,
        pick: AddressPick,
    },
}

/// An ADD.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    who: usize,
    sandbox: usize,
    ifname: usize,
    networks: Vec<usize>,
    wish: Option<AddressPick>,
    mac: Option<u8>,
}

/// An address of the world: mostly one that some pool has.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddressPick {
    subnet: usize,
    host: u8,
}

impl AddressPick {
    pub(super) fn address(self) -> IpAddr {
        let Self { subnet, host } = self;
        let text = match subnet {
            0 => format!("10.0.0.{host}"),
            1 => format!("10.1.0.{host}"),
            2 => format!("10.9.0.{host}"),
            _ => format!("fd00::{host:x}"),
        };
        text.parse().unwrap()
    }
}

fn pick() -> impl Strategy<Value = AddressPick> {
    (0..4_usize, 0..16_u8).prop_map(|(subnet, host)| AddressPick { subnet, host })
}

fn ask() -> impl Strategy<Value = Ask> {
    let networks = prop_oneof![
        3 => Just(vec![0]),
        2 => Just(vec![1]),
        4 => Just(vec![0, 1]),
        1 => Just(vec![2]),
    ];
    (
        0..10_usize,
        0..14_usize,
        prop_oneof![9 => Just(0_usize), 1 => Just(1_usize)],
        networks,
        prop_oneof![8 => Just(None), 2 => pick().prop_map(Some)],
        prop_oneof![9 => Just(None), 1 => (0..6_u8).prop_map(Some)],
    )
        .prop_map(|(who, sandbox, ifname, networks, wish, mac)| Ask {
            who,
            sandbox,
            ifname,
            networks,
            wish,
            mac,
        })
}

pub(super) fn operation() -> impl Strategy<Value = Op> {
    let network = || 0..2_usize;
    let pass = prop_oneof![
        6 => 0..90_000_i64,
        1 => Just(86_400_000_i64),
        1 => -90_000..0_i64,
    ];
    prop_oneof![
        30 => ask().prop_map(Op::Allocate),
        20 => any::<usize>().prop_map(|pick| Op::Release { pick }),
        1 => any::<u64>().prop_map(|keep| Op::Collect { keep }),
        3 => (proptest::option::of(0..10_usize), network(), proptest::option::of(pick()))
            .prop_map(|(who, network, pick)| Op::Reserve { who, network, pick }),
        8 => (network(), pick(), any::<bool>())
            .prop_map(|(network, pick, quarantine)| Op::Free { network, pick, quarantine }),
        2 => (network(), pick(), 0..6_u8)
            .prop_map(|(network, pick, mac)| Op::Conflict { network, pick, mac }),
        4 => (network(), pick()).prop_map(|(network, pick)| Op::Clear { network, pick }),
        12 => pass.prop_map(|milliseconds| Op::Pass { milliseconds }),
        12 => Just(Op::Expire),
        4 => Just(Op::Reload),
        1 => Just(Op::Reboot),
        3 => (0..4_usize).prop_map(|variant| Op::Reconfigure { variant }),
        2 => (0..14_usize, pick()).prop_map(|(sandbox, pick)| Op::Adopt { sandbox, pick }),
    ]
}

/// The networks of the world; the last has no pool.
pub(super) fn network(index: usize) -> NetworkName {
    ["external", "internal", "nowhere"][index].parse().unwrap()
}

pub(super) fn cni_network() -> CniNetworkName {
    "bank".parse().unwrap()
}

pub(super) fn mac(index: u8) -> MacAddr {
    MacAddr::from_octets([2, 0, 0, 0, 0, index])
}

fn sandbox(index: usize) -> SandboxId {
    format!("s{index}").parse().unwrap()
}

/// Who asks: four of a stateful set, two of a deployment, two under a rule, one that names itself, one without a Pod.
fn pod(who: usize) -> Option<PodKey> {
    let text = match who {
        0..=3 => format!("prod/db-{who}"),
        4 | 5 => format!("prod/web-x{who}"),
        6 | 7 => format!("lab/job-{who}"),
        8 => "prod/gateway-abc".to_owned(),
        _ => return None,
    };
    Some(text.parse().unwrap())
}

/// The identity of who asks, where it does not depend on the sandbox.
pub(super) fn identity(who: usize) -> Identity {
    match (who, pod(who)) {
        (8, _) => "gateway".parse().unwrap(),
        (_, Some(pod)) => (&pod).into(),
        (_, None) => "vip".parse().unwrap(),
    }
}

impl Ask {
    pub(super) fn request(&self) -> AllocateRequest {
        let ifname = format!("eth{}", self.ifname);
        let wish = self.wish.map(AddressPick::address);
        let interfaces =
            self.networks
                .iter()
                .enumerate()
                .map(|(index, &joined)| InterfaceRequest {
                    ifname: if index == 0 {
                        ifname.parse().unwrap()
                    } else {
                        format!("net{index}").parse().unwrap()
                    },
                    network: network(joined),
                    segment: None,
                    addresses: wish.filter(|_| index == 0).into_iter().collect(),
                    mac: self.mac.filter(|_| index == 0).map(mac),
                });
        AllocateRequest {
            attachment: Attachment {
                cni_network: cni_network(),
                sandbox: sandbox(self.sandbox),
                ifname: ifname.parse().unwrap(),
            },
            pod: pod(self.who),
            pod_uid: None,
            identity: (self.who == 8).then(|| identity(8)),
            interfaces: interfaces.collect(),
        }
    }
}

/// An interface that recovery finds.
pub(super) fn found(index: usize, pick: AddressPick) -> AdoptedInterface {
    AdoptedInterface {
        attachment: Attachment {
            cni_network: cni_network(),
            sandbox: sandbox(index),
            ifname: "eth0".parse().unwrap(),
        },
        ifname: "eth0".parse().unwrap(),
        network: network(usize::from(pick.subnet == 1)),
        mac: MacAddr::derived(pick.address()),
        addresses: vec![pick.address()],
        identity: index.is_multiple_of(2).then(|| identity(index / 2)),
        pod: None,
        pod_uid: None,
    }
}

fn pool(name: &str, network_index: usize, rack: &str, subnet: &str, ranges: &[&str]) -> Pool {
    Pool {
        name: name.parse().unwrap(),
        network: network(network_index),
        rack: rack.parse().unwrap(),
        subnet: subnet.parse().unwrap(),
        ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
        exclude: Vec::new(),
        gateway: None,
        quarantine: QUARANTINE,
        routes: Vec::new(),
        probe: true,
    }
}

/// 0: as installed. 1: the first pool gives up two addresses. 2: the node moves to another rack. 3: a new IPv6 pool
/// makes the internal network dual stack, and addresses no longer rest.
pub(super) fn settings(variant: usize) -> ValidSettings {
    let first = if variant == 1 {
        "10.0.0.2-10.0.0.5"
    } else {
        "10.0.0.2-10.0.0.7"
    };
    let mut pools = vec![
        pool("ext-a1", 0, "a", "10.0.0.0/28", &[first]),
        pool(
            "ext-a2",
            0,
            "a",
            "10.0.0.0/28",
            &["10.0.0.9", "10.0.0.11-10.0.0.12"],
        ),
        pool("ext-a6", 0, "a", "fd00::/64", &[]),
        pool("int-a", 1, "a", "10.1.0.0/28", &[]),
        pool("ext-b", 0, "b", "10.9.0.0/28", &[]),
        pool("int-b", 1, "b", "10.8.0.0/28", &[]),
    ];
    pools[0].gateway = Some("10.0.0.1".parse().unwrap());
    pools[2].gateway = Some("fd00::1".parse().unwrap());
    pools[3].exclude = vec!["10.1.0.4-10.1.0.6".parse().unwrap()];
    pools[3].quarantine = Duration::ZERO;
    if variant == 3 {
        pools.push(pool(
            "int-a6",
            1,
            "a",
            "fd01::/64",
            &["fd01::10-fd01::ffff"],
        ));
        for pool in &mut pools {
            pool.quarantine = Duration::ZERO;
        }
    }
    let settings = Settings {
        node: "n1".parse().unwrap(),
        rack: if variant == 2 { "b" } else { "a" }.parse().unwrap(),
        pools,
        rules: vec![Rule {
            namespace: "lab".parse().unwrap(),
            pod: "*".parse().unwrap(),
            hold: Hold::For(Duration::from_secs(30)),
        }],
        audit_keep: Duration::from_secs(3600),
        refuse_when_exhausted: false,
    };
    settings.validate().unwrap()
}
