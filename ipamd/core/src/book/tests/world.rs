//! A small world: two networks, two racks, few addresses, and everybody after them.

use std::net::IpAddr;
use std::sync::LazyLock;
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

/// A random number, spent bit by bit. One integer per operation generates and shrinks far faster than a tree of
/// strategies does.
struct Bits(u64);

impl Bits {
    fn below(&mut self, bound: u64) -> usize {
        let drawn = self.0 % bound;
        self.0 /= bound;
        drawn.try_into().unwrap()
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn byte(&mut self, bound: u64) -> u8 {
        self.below(bound).try_into().unwrap()
    }

    fn pick(&mut self) -> AddressPick {
        AddressPick {
            subnet: self.below(4),
            host: self.byte(16),
        }
    }

    fn network(&mut self) -> usize {
        self.below(2)
    }

    fn ask(&mut self) -> Ask {
        Ask {
            who: self.below(10),
            sandbox: self.below(14),
            ifname: usize::from(self.one_in(10)),
            networks: match self.below(10) {
                0..=3 => vec![0, 1],
                4..=6 => vec![0],
                7 | 8 => vec![1],
                _ => vec![2],
            },
            wish: self.one_in(5).then(|| self.pick()),
            mac: self.one_in(10).then(|| mac_index(self)),
        }
    }

    fn milliseconds(&mut self) -> i64 {
        match self.below(8) {
            0..=5 => self.below(90_000).try_into().unwrap(),
            6 => 86_400_000,
            _ => -i64::try_from(self.below(90_000)).unwrap(),
        }
    }
}

fn mac_index(bits: &mut Bits) -> u8 {
    bits.byte(6)
}

fn decode(kind: u8, mut bits: Bits) -> Op {
    let bits = &mut bits;
    match kind {
        0..30 => Op::Allocate(bits.ask()),
        30..50 => Op::Release {
            pick: bits.below(1 << 32),
        },
        50..62 => Op::Pass {
            milliseconds: bits.milliseconds(),
        },
        62..74 => Op::Expire,
        74..82 => Op::Free {
            quarantine: bits.one_in(2),
            network: bits.network(),
            pick: bits.pick(),
        },
        82..85 => Op::Reserve {
            who: bits.one_in(2).then(|| bits.below(10)),
            network: bits.network(),
            pick: bits.one_in(2).then(|| bits.pick()),
        },
        85..87 => Op::Conflict {
            network: bits.network(),
            pick: bits.pick(),
            mac: mac_index(bits),
        },
        87..91 => Op::Clear {
            network: bits.network(),
            pick: bits.pick(),
        },
        91..95 => Op::Reload,
        95 => Op::Reboot,
        96 => Op::Collect { keep: bits.0 },
        97..100 => Op::Reconfigure {
            variant: bits.below(4),
        },
        _ => Op::Adopt {
            sandbox: bits.below(14),
            pick: bits.pick(),
        },
    }
}

pub(super) fn operation() -> impl Strategy<Value = Op> {
    (0..102_u8, any::<u64>()).prop_map(|(kind, bits)| decode(kind, Bits(bits)))
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

/// 0: as installed. 1: the first pool gives up two addresses. 2: the node moves to another rack. 3: a new IPv6 pool
/// makes the internal network dual stack, and addresses no longer rest.
pub(super) fn settings(variant: usize) -> ValidSettings {
    static ALL: LazyLock<[ValidSettings; 4]> = LazyLock::new(|| [0, 1, 2, 3].map(built));
    ALL[variant].clone()
}

fn built(variant: usize) -> ValidSettings {
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
        claiming: false,
    };
    settings.validate().unwrap()
}
