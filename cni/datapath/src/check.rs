//! CHECK: the plan for what should be there, empty if all is there. Changes nothing.

use std::collections::HashSet;

use proto_ids::IfName;

use crate::desired::{Nonsense, desire};
use crate::fault::Fault;
use crate::netlink::{NetlinkError, Socket};
use crate::netns::{EnterNetnsError, Netns};
use crate::observe::{self, Sockets};
use crate::plan::{Deed, Step, plan};
use crate::segment::{self, ObserveSegmentError};
use crate::wiring::Wiring;

/// One thing that is not as it was wired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The interface inside the Pod.
    pub ifname: IfName,
    /// What is wrong, as the step that would put it right.
    pub what: String,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The Pod's namespace could not be entered.
    #[error(transparent)]
    Enter(#[from] EnterNetnsError),
    /// A segment could not be looked at.
    #[error(transparent)]
    Segment(#[from] ObserveSegmentError),
    /// The kernel could not be read.
    #[error("read the links, addresses and routes of the node and the Pod")]
    Observe(#[source] NetlinkError),
}

impl CheckError {
    /// The kind of trouble.
    pub fn fault(&self) -> Fault {
        Fault::Kernel
    }
}

/// Compares the kernel with the wiring; what others added is no drift.
///
/// # Errors
/// When the kernel cannot be read.
pub fn check(netns: &Netns, wiring: &Wiring) -> Result<Vec<Drift>, CheckError> {
    let mut drifts = Vec::new();
    let mut segments = Vec::new();
    for interface in &wiring.interfaces {
        let drift = |what| Drift {
            ifname: interface.ifname.clone(),
            what,
        };
        let (standing, missing) = segment::compare(&interface.segment)?;
        drifts.extend(missing.into_iter().map(drift));
        segments.extend(standing);
    }
    let desired = match desire(wiring, &segments) {
        Ok(desired) => desired,
        // Its segment's drift is in the list already.
        Err(Nonsense::NoSegment(_)) => return Ok(drifts),
        Err(Nonsense::LargeMtu {
            ifname,
            mtu,
            bridge,
            limit,
        }) => {
            let what = format!("MTU {mtu} is larger than the {limit} of bridge {bridge}");
            drifts.push(Drift { ifname, what });
            return Ok(drifts);
        }
    };
    let sockets = Socket::open().map_err(CheckError::Observe)?;
    let observed = netns.run(|| {
        let mut sockets = Sockets {
            node: sockets,
            pod: Socket::open()?,
        };
        observe::everything(&mut sockets, &desired)
    })?;
    let observed = observed.map_err(CheckError::Observe)?;
    let steps = plan(&desired, &observed);
    let made_anew: HashSet<_> = steps
        .iter()
        .filter(|step| step.deed == Deed::CreatePair)
        .map(|step| step.nic)
        .collect();
    // Of an interface that is missing nothing else is worth saying.
    // An MTU that the wiring does not name is not compared: an older version's result tells none, and `tuning` may
    // have set another.
    let compared = |step: &Step| {
        !matches!(step.deed, Deed::SetMtu(_))
            || wiring
                .interfaces
                .get(step.nic)
                .is_some_and(|one| one.mtu.is_some())
    };
    let telling = |step: &Step| {
        step.deed == Deed::CreatePair || (!made_anew.contains(&step.nic) && compared(step))
    };
    drifts.extend(steps.into_iter().filter(telling).filter_map(|step| {
        let ifname = desired.get(step.nic)?.pair.inside.clone();
        let what = describe(&step);
        Some(Drift { ifname, what })
    }));
    Ok(drifts)
}

/// What the missing step says about the state.
fn describe(step: &Step) -> String {
    match &step.deed {
        Deed::CreatePair => {
            "the interface or its port is missing, or they are not each other's end".to_owned()
        }
        Deed::AwaitForwarding => "the bridge does not forward for the port".to_owned(),
        _ => format!("to be done: {}", step.deed),
    }
}
