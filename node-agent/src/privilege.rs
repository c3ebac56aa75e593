//! The capabilities that the node role works with. Everything else is given up before the first thread starts.
//!
//! | capability | because |
//! | --- | --- |
//! | `NET_RAW` | ARP to each network's gateway: a packet socket. Switches police ICMP, and a ping would ask the node's routes |
//! | `SYSLOG` | the kernel's log by syslog(2), where `kernel.dmesg_restrict` is set: the usual case |
//! | `IPC_LOCK` | memory is locked ([`crate::locked`]); for as long as the process lives, since what is mapped later is locked too |
//!
//! Not needed: `SYS_PTRACE` (of processes only what everybody may read is read), `DAC_READ_SEARCH` (root's files are root's),
//! `SYS_TIME` (the clock is asked, never set), `NET_ADMIN` (links are read), `SYS_ADMIN`. One that is missing blinds what needs it,
//! which then says so; the rest goes on. The controllers need none.

use std::collections::BTreeSet;

use caps::Capability;
use ipamd_daemon::privilege::{self, Need, ReduceError};
use tracing::warn;

const NEEDS: [Need; 3] = [
    Need {
        capability: Capability::CAP_NET_RAW,
        advice: "gateways cannot be asked by ARP",
    },
    Need {
        capability: Capability::CAP_SYSLOG,
        advice: "the kernel's log can be read only where kernel.dmesg_restrict is 0",
    },
    Need {
        capability: Capability::CAP_IPC_LOCK,
        advice: "memory is locked only up to the limit of the process (ulimit -l)",
    },
];

/// Gives up all but what the role needs, for the calling thread and those it starts. Answers what the kernel says is left.
///
/// # Errors
/// The kernel refuses; the process must then not go on.
pub(crate) fn reduce(looks_at_the_node: bool) -> Result<BTreeSet<String>, ReduceError> {
    let wanted = if looks_at_the_node { &NEEDS[..] } else { &[] };
    let (left, missing) = privilege::reduce_to_held(wanted)?;
    for Need { capability, advice } in missing {
        warn!(%capability, because = advice, "a capability is missing; the manifests give it (install/manifests/agent.yaml)");
    }
    Ok(left)
}
