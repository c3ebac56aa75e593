//! Carries a plan out: each phase one batch, and a list of what to take back.
//!
//! Runs on a thread inside the Pod's namespace (files below `/proc/sys` and the packet socket belong to the thread's
//! namespace); the node is reached through the node's netlink socket.

mod error;

use std::fs;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use cni_neigh::{Announcement, Announcer};
use netlink_packet_route::link::InetDevConf;

pub use self::error::ApplyError;
use crate::desired::Nic;
use crate::group;
use crate::netlink::link::{self, Ipv6Conf, Link};
use crate::netlink::vlan::{self, Tagging};
use crate::netlink::{NetlinkError, Request, address, bridge, neighbour, route};
use crate::observe::Sockets;
use crate::plan::{Deed, Observed, Step, node_route};

/// How long a bridge may take to forward for a new port. It takes some milliseconds; with spanning tree on it would be 30 s.
const FORWARDING_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at the port.
const FORWARDING_PAUSE: Duration = Duration::from_millis(1);
/// VLAN that the kernel gives to every port of a VLAN-filtering bridge, unless told otherwise.
const DEFAULT_VLAN: u16 = 1;

/// Carries out steps and remembers what it made.
pub(crate) struct Applier<'a> {
    pub(crate) sockets: &'a mut Sockets,
    pub(crate) desired: &'a [Nic],
    pub(crate) inside_netns: RawFd,
    pub(crate) insides: Vec<Option<Link>>,
    pub(crate) ports: Vec<Option<Link>>,
    pub(crate) announcer: Option<Announcer>,
    undo: Vec<Request>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Node,
    Pod,
}

impl<'a> Applier<'a> {
    pub(crate) fn new(
        sockets: &'a mut Sockets,
        desired: &'a [Nic],
        observed: &Observed,
        inside_netns: RawFd,
    ) -> Self {
        let nics = || observed.nics.iter();
        Self {
            sockets,
            desired,
            inside_netns,
            insides: nics().map(|nic| nic.inside.clone()).collect(),
            ports: nics().map(|nic| nic.port.clone()).collect(),
            announcer: None,
            undo: Vec::new(),
        }
    }

    /// Carries the steps out in their order.
    pub(crate) fn apply(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let same = |a: &Step, b: &Step| kind(&a.deed) == kind(&b.deed);
        for steps in steps.chunk_by(same) {
            match kind(&steps[0].deed) {
                Kind::Create => self.create(steps)?,
                Kind::Await => self.await_forwarding(steps)?,
                Kind::Announce => self.announce(steps)?,
                Kind::Batch(side) => self.batch(side, steps)?,
            }
        }
        Ok(())
    }

    /// Takes back what was made, the newest first.
    pub(crate) fn undo(&mut self) -> Result<(), NetlinkError> {
        self.undo.reverse();
        let replies = self.sockets.node.batch(&self.undo)?;
        self.undo.clear();
        for reply in replies {
            match reply {
                Err(error) if !error.is(&[libc::ENODEV, libc::ESRCH, libc::ENOENT]) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn refused(&self, step: &Step, source: NetlinkError) -> ApplyError {
        ApplyError::Refused {
            ifname: self.desired[step.nic].pair.inside.clone(),
            step: step.deed.to_string(),
            source,
        }
    }

    fn vanished(&self, nic: usize) -> ApplyError {
        ApplyError::Vanished {
            ifname: self.desired[nic].pair.inside.clone(),
        }
    }

    fn create(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let mut requests = Vec::new();
        for step in steps {
            let nic = &self.desired[step.nic];
            requests.extend([
                link::create_pair(&nic.pair, nic.port_mtu, self.inside_netns),
                link::describe(&nic.pair.port, &nic.alias),
                link::get(nic.pair.port.as_str()),
            ]);
        }
        let replies = self
            .sockets
            .node
            .batch(&requests)
            .map_err(ApplyError::Socket)?;
        let mut replies = replies.into_iter();
        let mut outcome = Ok(());
        for step in steps {
            let (created, described, found) = (replies.next(), replies.next(), replies.next());
            let (Some(created), Some(described), Some(found)) = (created, described, found) else {
                break;
            };
            // All replies are looked at even after a refusal: every port that was made must be known to be undone.
            let result = created
                .and_then(|_| {
                    let port = link::found(found)?;
                    self.undo
                        .extend(port.as_ref().map(|p| link::delete(p.index)));
                    self.ports[step.nic] = port;
                    described.map(drop)
                })
                .map_err(|source| self.refused(step, source));
            outcome = outcome.and(result);
        }
        outcome?;
        self.find_insides(steps)
    }

    fn find_insides(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let requests: Vec<_> = steps
            .iter()
            .map(|step| link::get(self.desired[step.nic].pair.inside.as_str()))
            .collect();
        let replies = self
            .sockets
            .pod
            .batch(&requests)
            .map_err(ApplyError::Socket)?;
        for (step, reply) in steps.iter().zip(replies) {
            self.insides[step.nic] =
                link::found(reply).map_err(|source| self.refused(step, source))?;
        }
        Ok(())
    }

    fn batch(&mut self, side: Side, steps: &[Step]) -> Result<(), ApplyError> {
        let mut requests = Vec::new();
        let mut owners = Vec::new();
        for step in steps {
            let some = self.requests(step)?;
            owners.extend(some.iter().map(|(_, needed)| (step, *needed)));
            requests.extend(some.into_iter().map(|(request, _)| request));
        }
        let socket = match side {
            Side::Node => &mut self.sockets.node,
            Side::Pod => &mut self.sockets.pod,
        };
        let replies = socket.batch(&requests).map_err(ApplyError::Socket)?;
        for ((step, needed), reply) in owners.into_iter().zip(replies) {
            match reply {
                Err(source) if needed => return Err(self.refused(step, source)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The requests of a step, and for each whether a refusal matters.
    fn requests(&mut self, step: &Step) -> Result<Vec<(Request, bool)>, ApplyError> {
        let nic = &self.desired[step.nic];
        let index = |links: &[Option<Link>]| links[step.nic].as_ref().map(|link| link.index);
        let gone = || ApplyError::Vanished {
            ifname: nic.pair.inside.clone(),
        };
        let inside = || index(&self.insides).ok_or_else(gone);
        let port = || index(&self.ports).ok_or_else(gone);
        let one = |request| Ok(vec![(request, true)]);
        match &step.deed {
            Deed::RemoveLeftover { index } => one(link::delete(*index)),
            Deed::Enslave => one(bridge::enslave(port()?, nic.pair.bridge)),
            Deed::Describe => one(link::describe(&nic.pair.port, &nic.alias)),
            Deed::SetMac(mac) => one(link::set_mac(inside()?, *mac)),
            Deed::SetMtu(mtu) => one(link::set_mtu(inside()?, *mtu)),
            Deed::Tune => self.tune(step.nic),
            // The loopback of a namespace always has index 1.
            Deed::RaiseLoopback => one(link::raise(1)),
            Deed::RaiseInside => one(link::raise(inside()?)),
            // Refused only where the kernel has no IPv6 at all.
            Deed::SilencePort => Ok(vec![(link::no_own_ipv6(port()?), false)]),
            Deed::JoinVlan(id) => {
                let port = port()?;
                let mut requests = vec![(vlan::add(port, *id, Tagging::Access), true)];
                if *id != DEFAULT_VLAN {
                    // Refused where the bridge gives new ports no VLAN, which is as good.
                    requests.push((vlan::remove(port, DEFAULT_VLAN), false));
                }
                Ok(requests)
            }
            Deed::SetPort { hairpin, isolated } => {
                one(bridge::set_port(port()?, *hairpin, *isolated))
            }
            Deed::RaisePort => one(match self.group() {
                Some(group) => link::raise_in_group(port()?, group),
                None => link::raise(port()?),
            }),
            Deed::AddAddress(address) => one(address::add(inside()?, *address)),
            Deed::AddRoute(route) => one(route::add(inside()?, route)),
            Deed::AddNeighbour(address, mac) => {
                one(neighbour::set(inside()?, *address, *mac, true))
            }
            Deed::AddNodeRoute(to) => {
                let route = node_route(to, port()?);
                self.undo.push(route::delete(to.link, &route));
                let mut requests = vec![(route::replace(to.link, &route), true)];
                if to.via.is_none() {
                    // Spares the first probe a question, and corrects an entry of the address's former holder.
                    let entry = neighbour::set(to.link, to.pod, nic.pair.inside_mac, false);
                    requests.push((entry, true));
                }
                if to.pod.is_ipv6() && to.via.is_none() {
                    // Refused where the link has it: the usual case from the second Pod on.
                    let own = address::add(to.link, nic.node_link_local.into());
                    requests.push((own, false));
                }
                Ok(requests)
            }
            Deed::CreatePair | Deed::AwaitForwarding | Deed::Announce => Ok(Vec::new()),
        }
    }

    /// The link group by which DEL finds and removes all ports of the Pod.
    fn group(&self) -> Option<u32> {
        let first = self.ports.first()?.as_ref()?;
        group::of(self.ports.len(), first.index)
    }

    fn tune(&self, nic: usize) -> Result<Vec<(Request, bool)>, ApplyError> {
        let inside = self.insides[nic]
            .as_ref()
            .ok_or_else(|| self.vanished(nic))?;
        if let Some(now) = &inside.ipv6 {
            let ifname = &self.desired[nic].pair.inside;
            for (key, value) in ipv6_settings(self.desired[nic].ipv6, now) {
                let path = format!("/proc/sys/net/ipv6/conf/{ifname}/{key}");
                fs::write(&path, value.to_string()).map_err(|source| ApplyError::Sysctl {
                    ifname: ifname.clone(),
                    path,
                    value,
                    source,
                })?;
            }
        }
        let mut settings = InetDevConf::default();
        // Answer ARP only for addresses of the interface asked on, and ask only in its own name: or else two
        // interfaces on one segment answer for each other.
        settings.arp_ignore = 1;
        settings.arp_announce = 2;
        // Loose: replies may leave by another interface.
        settings.rp_filter = 2;
        settings.arp_notify = 1;
        Ok(vec![(link::tune_ipv4(inside.index, settings), true)])
    }

    /// Waits until frames pass both ways: the port forwards, and the queue of the interface inside is open. Without the
    /// latter (linkwatch opens it in its own time) announcements would be dropped without an error.
    fn await_forwarding(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let started = Instant::now();
        for step in steps {
            // Asking for a link also makes the kernel bring its operational state up to date (since 6.8), so that
            // the first look nearly always sees both.
            while !(self.forwards(step)? && self.runs(step)?) {
                if started.elapsed() > FORWARDING_DEADLINE {
                    return Err(ApplyError::NotForwarding {
                        ifname: self.desired[step.nic].pair.inside.clone(),
                        port: self.desired[step.nic].pair.port.clone(),
                        waited: started.elapsed(),
                    });
                }
                std::thread::sleep(FORWARDING_PAUSE);
            }
        }
        Ok(())
    }

    fn forwards(&mut self, step: &Step) -> Result<bool, ApplyError> {
        let index = self.ports[step.nic].as_ref().map(|port| port.index);
        let index = index.ok_or_else(|| self.vanished(step.nic))?;
        let reply = self.sockets.node.call(&link::get_index(index));
        let port = link::found(reply)
            .map_err(|source| self.refused(step, source))?
            .ok_or_else(|| self.vanished(step.nic))?;
        Ok(port.port.is_some_and(|port| port.forwarding))
    }

    fn runs(&mut self, step: &Step) -> Result<bool, ApplyError> {
        let index = self.insides[step.nic].as_ref().map(|inside| inside.index);
        let index = index.ok_or_else(|| self.vanished(step.nic))?;
        let reply = self.sockets.pod.call(&link::get_index(index));
        let inside = link::found(reply)
            .map_err(|source| self.refused(step, source))?
            .ok_or_else(|| self.vanished(step.nic))?;
        Ok(inside.running)
    }

    fn announce(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let announcer = Announcer::open().map_err(ApplyError::Announce)?;
        let announcements: Vec<_> = steps
            .iter()
            .map(|step| &self.desired[step.nic])
            .map(|nic| Announcement {
                ifname: nic.pair.inside.clone(),
                mac: nic.pair.inside_mac,
                addresses: nic.addresses.iter().map(ipnet::IpNet::addr).collect(),
            })
            .collect();
        let outcome = announcer.announce(&announcements);
        self.announcer = Some(announcer);
        outcome.map_err(ApplyError::Announce)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Batch(Side),
    Await,
    Announce,
}

fn kind(deed: &Deed) -> Kind {
    match deed {
        Deed::CreatePair => Kind::Create,
        Deed::AwaitForwarding => Kind::Await,
        Deed::Announce => Kind::Announce,
        Deed::RemoveLeftover { .. }
        | Deed::Enslave
        | Deed::Describe
        | Deed::SilencePort
        | Deed::JoinVlan(_)
        | Deed::SetPort { .. }
        | Deed::RaisePort
        | Deed::AddNodeRoute(_) => Kind::Batch(Side::Node),
        Deed::SetMac(_)
        | Deed::SetMtu(_)
        | Deed::Tune
        | Deed::RaiseLoopback
        | Deed::RaiseInside
        | Deed::AddAddress(_)
        | Deed::AddRoute(_)
        | Deed::AddNeighbour(..) => Kind::Batch(Side::Pod),
    }
}

/// The IPv6 settings below `/proc/sys` that are not as they shall be, with their values; those of the interface being
/// off or on come last, so that it never speaks with half its settings.
fn ipv6_settings(wanted: bool, now: &Ipv6Conf) -> Vec<(&'static str, u8)> {
    let now = &now.settings;
    let settings = if wanted {
        vec![
            ("accept_ra", now.accept_ra, 0),
            ("autoconf", now.autoconf, 0),
            // The address was probed before it was given; a Pod must not wait seconds for its link-local one either.
            ("accept_dad", now.accept_dad, 0),
            ("keep_addr_on_down", now.keep_addr_on_down, 1),
            ("ndisc_notify", now.ndisc_notify, 1),
            ("disable_ipv6", now.disable_ipv6, 0),
        ]
    } else {
        vec![("disable_ipv6", now.disable_ipv6, 1)]
    };
    settings
        .into_iter()
        .filter(|(_, now, wanted)| *now != i32::from(*wanted))
        .map(|(key, _, wanted)| (key, wanted))
        .collect()
}
