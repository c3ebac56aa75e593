//! Carries out the steps of a segment's plan.

use std::fs;
use std::io;

use proto_ids::{IfName, MacAddr};

use super::mark::{Mark, State};
use super::name;
use super::plan::{Plan, Step};
use super::takeover;
use super::{EnsureSegmentError, Node};
use crate::netlink::link::{self, Link};
use crate::netlink::vlan::{self, Tagging};
use crate::netlink::{NetlinkError, Request, Socket, bridge};
use crate::wiring::{Segment, UplinkMode};

/// One segment being made. The node's lock is held.
pub(super) struct Maker<'a> {
    pub(super) socket: &'a mut Socket,
    pub(super) segment: &'a Segment,
    pub(super) node: &'a Node,
    pub(super) plan: &'a Plan,
}

impl Maker<'_> {
    /// Carries out all steps. A bridge that was made for nothing is removed again.
    pub(super) fn apply(&mut self) -> Result<(), EnsureSegmentError> {
        for (done, step) in self.plan.steps.iter().enumerate() {
            if let Err(error) = self.step(*step) {
                // A take-over that began to move has put everything back itself, or reports that it could not; one
                // that is over must not lose its bridge.
                let moved = self.plan.steps[..done].contains(&Step::TakeOver)
                    || matches!(
                        error,
                        EnsureSegmentError::PutBack { .. } | EnsureSegmentError::RolledBack { .. }
                    );
                if !moved {
                    self.remove_made();
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), EnsureSegmentError> {
        let plan = self.plan;
        let bridge = &plan.bridge;
        match step {
            Step::RaiseUplink => {
                self.change(step, &self.segment.uplink, |l| vec![link::raise(l.index)])
            }
            Step::RaisePort => self.change(step, &plan.port, |l| vec![link::raise(l.index)]),
            Step::CreateSubInterface(id) => {
                let alias = self.mark(State::Whole).to_string();
                self.change(step, &self.segment.uplink, |uplink| {
                    vec![
                        vlan::create_device(&plan.port, uplink.index, id),
                        link::describe(&plan.port, &alias),
                    ]
                })
            }
            Step::CreateBridge => self.create_bridge(step),
            Step::SetMtu(mtu) => self.change(step, bridge, |l| pin_mtu(l, mtu)),
            Step::TuneBridge => self.change(step, bridge, |l| bridge::tune(l.index).to_vec()),
            Step::BypassNetfilter => self.bypass_netfilter(step),
            Step::FilterVlans => self.change(step, bridge, |l| vec![bridge::filter_vlans(l.index)]),
            Step::SilenceBridge => self.silence(step, bridge),
            Step::RaiseBridge => self.change(step, bridge, |l| vec![link::raise(l.index)]),
            Step::Enslave => {
                let master = self.find(step, bridge)?.index;
                self.change(step, &plan.port, |l| vec![bridge::enslave(l.index, master)])
            }
            Step::TakeOver => takeover::take_over(self),
            Step::CarryVlan(id) => self.change(step, &plan.port, |l| {
                vec![vlan::add(l.index, id, Tagging::Tagged)]
            }),
            Step::JoinVlan(id) => self.change(step, bridge, |l| vec![vlan::join(l.index, id)]),
            Step::CreateVlanDevice(id) => {
                let device = name::vlan_device(bridge, id);
                let alias = self.mark(State::Whole).to_string();
                self.change(step, bridge, |l| {
                    vec![
                        vlan::create_device(&device, l.index, id),
                        link::describe(&device, &alias),
                    ]
                })?;
                self.silence(step, &device)
            }
            Step::RaiseVlanDevice => match self.segment.vlan {
                Some(vlan) => {
                    let device = name::vlan_device(bridge, vlan.id);
                    self.change(step, &device, |l| vec![link::raise(l.index)])
                }
                None => Ok(()),
            },
            Step::MarkWhole => {
                let alias = self.mark(State::Whole).to_string();
                self.change(step, bridge, |_| vec![link::describe(bridge, &alias)])
            }
        }
    }

    fn mark(&self, state: State) -> Mark {
        Mark {
            mode: self.plan.mode,
            uplink: self.segment.uplink.clone(),
            state,
        }
    }

    pub(super) fn refused(&self, step: Step, source: NetlinkError) -> EnsureSegmentError {
        EnsureSegmentError::Step {
            uplink: self.segment.uplink.clone(),
            step: format!("{step} ({} over {})", self.plan.bridge, self.plan.port),
            source,
        }
    }

    pub(super) fn find(&mut self, step: Step, name: &IfName) -> Result<Link, EnsureSegmentError> {
        let reply = self.socket.call(&link::get(name.as_str()));
        match link::found(reply) {
            Ok(Some(link)) => Ok(link),
            Ok(None) => Err(EnsureSegmentError::Vanished {
                uplink: self.segment.uplink.clone(),
                link: name.clone(),
            }),
            Err(source) => Err(self.refused(step, source)),
        }
    }

    /// Sends requests about a link in one batch; each must be accepted.
    fn change(
        &mut self,
        step: Step,
        name: &IfName,
        requests: impl FnOnce(&Link) -> Vec<Request>,
    ) -> Result<(), EnsureSegmentError> {
        let link = self.find(step, name)?;
        self.all(step, &requests(&link))
    }

    pub(super) fn all(
        &mut self,
        step: Step,
        requests: &[Request],
    ) -> Result<(), EnsureSegmentError> {
        let replies = self.socket.batch(requests);
        let refused = |source| self.refused(step, source);
        for reply in replies.map_err(refused)? {
            reply.map_err(refused)?;
        }
        Ok(())
    }

    fn create_bridge(&mut self, step: Step) -> Result<(), EnsureSegmentError> {
        let port = self.find(step, &self.plan.port)?;
        let mac: MacAddr = port.mac.ok_or_else(|| EnsureSegmentError::Conflict {
            uplink: self.segment.uplink.clone(),
            why: format!("{} has no Ethernet address", self.plan.port),
        })?;
        let alias = self.mark(State::Begun).to_string();
        let requests = [
            bridge::create(&self.plan.bridge, mac),
            link::describe(&self.plan.bridge, &alias),
        ];
        self.all(step, &requests)
    }

    /// The setting only exists once `br_netfilter` is loaded; without it there is nothing to bypass.
    fn bypass_netfilter(&mut self, step: Step) -> Result<(), EnsureSegmentError> {
        let bridge = self.find(step, &self.plan.bridge)?;
        match self.socket.call(&bridge::bypass_netfilter(bridge.index)) {
            Err(error) if !error.is(&[libc::EOPNOTSUPP, libc::EINVAL]) => {
                Err(self.refused(step, error))
            }
            _ => Ok(()),
        }
    }

    /// A bridge that takes over answers for the node and keeps its link-local address; another has nothing to say.
    fn silence(&mut self, step: Step, name: &IfName) -> Result<(), EnsureSegmentError> {
        let link = self.find(step, name)?;
        let path = format!("/proc/sys/net/ipv6/conf/{name}/accept_ra");
        match fs::write(&path, "0") {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(EnsureSegmentError::Sysctl {
                    uplink: self.segment.uplink.clone(),
                    path,
                    source,
                });
            }
            _ => {}
        }
        if self.plan.mode == UplinkMode::TakeOver && *name == self.plan.bridge {
            return Ok(());
        }
        match link.ipv6 {
            Some(_) => self.all(step, &[link::no_own_ipv6(link.index)]),
            None => Ok(()),
        }
    }

    /// Best effort after a failure that is reported: the mark tells the next call what is left.
    fn remove_made(&mut self) {
        let mut made = Vec::new();
        if self.plan.steps.contains(&Step::CreateBridge) {
            made.push(self.plan.bridge.clone());
        }
        if self
            .plan
            .steps
            .iter()
            .any(|s| matches!(s, Step::CreateSubInterface(_)))
        {
            made.push(self.plan.port.clone());
        }
        for name in made {
            let found = link::found(self.socket.call(&link::get(name.as_str())));
            if let Ok(Some(link)) = found
                && super::observe::mark(&link).is_some()
            {
                let _ = self.socket.call(&link::delete(link.index));
            }
        }
    }
}

/// A bridge whose MTU was ever changed keeps it; one whose MTU was not takes the smallest of its ports'. Setting the MTU
/// it has already is no change to the kernel.
fn pin_mtu(bridge: &Link, mtu: u32) -> Vec<Request> {
    let mut requests = Vec::new();
    if bridge.mtu == mtu {
        requests.push(link::set_mtu(bridge.index, mtu - 1));
    }
    requests.push(link::set_mtu(bridge.index, mtu));
    requests
}
