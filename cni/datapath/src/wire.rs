//! ADD: all interfaces of a Pod, or none.

use cni_neigh::Announcer;
use ipnet::IpNet;
use proto_ids::{IfName, MacAddr, NetworkName, PortAlias};

use crate::apply::{Applier, ApplyError};
use crate::desired::{Nic, Nonsense, desire};
use crate::fault::Fault;
use crate::netlink::link::Link;
use crate::netlink::{NetlinkError, Socket};
use crate::netns::{EnterNetnsError, Netns};
use crate::observe::{self, Sockets};
use crate::plan::{Observed, plan};
use crate::segment::EnsuredSegment;
use crate::wiring::Wiring;

/// Another process may make or remove a link between looking and doing; then it is looked again this often.
const TRIES: usize = 3;

/// What was wired, read back from the kernel.
#[derive(Debug)]
pub struct Wired {
    /// In the order of [`Wiring::interfaces`].
    pub interfaces: Vec<WiredInterface>,
    /// The packet socket of the announcements. The kernel takes 8 to 16 ms to close one: answer the runtime before
    /// this is dropped, or let [`crate::linger::close_elsewhere`] do it.
    pub announcer: Option<Announcer>,
}

/// One interface of a Pod and the port it is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WiredInterface {
    /// Name inside the Pod.
    pub ifname: IfName,
    /// The network.
    pub network: NetworkName,
    /// Interface index inside the Pod.
    pub index: u32,
    /// MAC inside the Pod.
    pub mac: MacAddr,
    /// MTU in bytes.
    pub mtu: u32,
    /// Addresses with the prefix length of their subnet.
    pub addresses: Vec<IpNet>,
    /// Name of the host-side port.
    pub port: IfName,
    /// Interface index of the host-side port.
    pub port_index: u32,
    /// MAC of the host-side port.
    pub port_mac: MacAddr,
    /// The bridge it is a port of.
    pub bridge: IfName,
    /// The bridge's MAC.
    pub bridge_mac: MacAddr,
}

/// Why a Pod was not wired. Whatever had been made is undone.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The caller did not ensure the segment of an interface.
    #[error("{ifname}: its segment was not ensured before wiring")]
    NoSegment {
        /// The interface inside the Pod.
        ifname: IfName,
    },
    /// An interface wants more than its segment carries.
    #[error(
        "{ifname}: MTU {mtu} is larger than the {limit} of bridge {bridge}: lower the network's MTU or raise the uplink's"
    )]
    LargeMtu {
        /// The interface inside the Pod.
        ifname: IfName,
        /// The MTU asked for, in bytes.
        mtu: u32,
        /// The bridge.
        bridge: IfName,
        /// The bridge's MTU in bytes.
        limit: u32,
    },
    /// The Pod's namespace could not be entered.
    #[error(transparent)]
    Enter(#[from] EnterNetnsError),
    /// The kernel could not be read.
    #[error("read the links of the node and the Pod")]
    Observe(#[source] NetlinkError),
    /// The Pod has an interface of the name already.
    #[error(
        "{ifname}: the Pod has an interface of this name already: run DEL for the attachment first, or choose another CNI_IFNAME"
    )]
    IfnameExists {
        /// The interface inside the Pod.
        ifname: IfName,
    },
    /// A link of the port's name exists that is not Berth's.
    #[error(
        "{ifname}: a link named {port} exists on the node that Berth did not make: remove or rename it"
    )]
    PortTaken {
        /// The interface inside the Pod.
        ifname: IfName,
        /// The port.
        port: IfName,
    },
    /// A step failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A step failed, and then something could not be taken back.
    #[error("undo the wiring after another failure ({failed}): run DEL for the attachment")]
    Undo {
        /// The failure that made it necessary.
        failed: Box<Self>,
        /// Why it could not be undone.
        #[source]
        source: NetlinkError,
    },
}

impl WireError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        match self {
            Self::IfnameExists { .. } => Fault::IfnameExists,
            Self::LargeMtu { .. } => Fault::UplinkConflict,
            Self::Enter(error) => error.fault(),
            Self::Undo { failed, .. } => failed.fault(),
            Self::NoSegment { .. } | Self::Observe(_) | Self::PortTaken { .. } | Self::Apply(_) => {
                Fault::Kernel
            }
        }
    }
}

impl From<Nonsense> for WireError {
    fn from(nonsense: Nonsense) -> Self {
        match nonsense {
            Nonsense::NoSegment(ifname) => Self::NoSegment { ifname },
            Nonsense::LargeMtu {
                ifname,
                mtu,
                bridge,
                limit,
            } => Self::LargeMtu {
                ifname,
                mtu,
                bridge,
                limit,
            },
        }
    }
}

/// Wires all interfaces of the Pod. `segments` holds the ensured segment of every interface, in any order.
///
/// # Errors
/// See [`WireError`]: whatever had been made is undone.
///
/// # Guarantees
/// When it returns, the bridge forwards for every port and the segment was told who has the addresses. A process killed
/// at any instruction leaves nothing that [`crate::unwire::unwire`] does not find.
pub fn wire(
    netns: &Netns,
    wiring: &Wiring,
    segments: &[EnsuredSegment],
) -> Result<Wired, WireError> {
    let desired = desire(wiring, segments)?;
    let node = Socket::open().map_err(WireError::Observe)?;
    netns.run(move || {
        let pod = Socket::open().map_err(WireError::Observe)?;
        let mut sockets = Sockets { node, pod };
        let mut tries = 0;
        loop {
            tries += 1;
            match attempt(&mut sockets, netns, wiring, &desired) {
                Err(WireError::Apply(error)) if error.is_race() && tries < TRIES => {}
                Err(error) => return Err(error),
                Ok(made) => return read_back(made, wiring, segments, &desired),
            }
        }
    })?
}

/// What an attempt made, in the order of the interfaces.
struct Made {
    insides: Vec<Option<Link>>,
    ports: Vec<Option<Link>>,
    announcer: Option<Announcer>,
}

fn attempt(
    sockets: &mut Sockets,
    netns: &Netns,
    wiring: &Wiring,
    desired: &[Nic],
) -> Result<Made, WireError> {
    let observed = observe::links(sockets, desired).map_err(WireError::Observe)?;
    refuse_conflicts(wiring, desired, &observed)?;
    let mut applier = Applier::new(sockets, desired, &observed, netns.raw_fd());
    match applier.apply(&plan(desired, &observed)) {
        Ok(()) => Ok(Made {
            insides: applier.insides,
            ports: applier.ports,
            announcer: applier.announcer,
        }),
        Err(failed) => match applier.undo() {
            Ok(()) => Err(failed.into()),
            Err(source) => Err(WireError::Undo {
                failed: Box::new(failed.into()),
                source,
            }),
        },
    }
}

fn refuse_conflicts(
    wiring: &Wiring,
    desired: &[Nic],
    observed: &Observed,
) -> Result<(), WireError> {
    for (nic, seen) in desired.iter().zip(&observed.nics) {
        let ifname = nic.pair.inside.clone();
        if seen.inside.is_some() {
            return Err(WireError::IfnameExists { ifname });
        }
        let Some(port) = &seen.port else { continue };
        let ours = match port.alias.as_deref().map(str::parse::<PortAlias>) {
            Some(Ok(alias)) => alias.attachment.sandbox == wiring.attachment.sandbox,
            // Made by an ADD that was killed before it could write the alias.
            None => port.is_kind("veth"),
            Some(Err(_)) => false,
        };
        if !ours {
            return Err(WireError::PortTaken {
                ifname,
                port: nic.pair.port.clone(),
            });
        }
    }
    Ok(())
}

fn read_back(
    made: Made,
    wiring: &Wiring,
    segments: &[EnsuredSegment],
    desired: &[Nic],
) -> Result<Wired, WireError> {
    let mut interfaces = Vec::with_capacity(desired.len());
    let found = made.insides.into_iter().zip(made.ports);
    for ((interface, nic), (inside, port)) in wiring.interfaces.iter().zip(desired).zip(found) {
        let ifname = interface.ifname.clone();
        let segment = segments.iter().find(|s| s.segment == interface.segment);
        let (Some(inside), Some(port), Some(segment)) = (inside, port, segment) else {
            return Err(ApplyError::Vanished { ifname }.into());
        };
        interfaces.push(WiredInterface {
            ifname,
            network: interface.network.clone(),
            index: inside.index,
            mac: inside.mac.unwrap_or(nic.pair.inside_mac),
            mtu: inside.mtu,
            addresses: nic.addresses.clone(),
            port: nic.pair.port.clone(),
            port_index: port.index,
            port_mac: port.mac.unwrap_or(nic.pair.port_mac),
            bridge: segment.bridge.clone(),
            bridge_mac: segment.bridge_mac,
        });
    }
    Ok(Wired {
        interfaces,
        announcer: made.announcer,
    })
}
