//! The capabilities the daemon works with: `CAP_NET_RAW`, and none when nothing is probed.
//!
//! * `CAP_NET_RAW`: packet sockets, to send and hear ARP and ND on the segments. Needed for as long as the daemon runs,
//!   since a segment is first known when a Pod joins it.
//! * Nothing else. Store, spool and sockets are the daemon's own user's files, which needs no capability; links are read,
//!   never changed, and reading them is free to all; a peer's credentials are told by the kernel.
//!
//! Probing that was off for every pool at start is not switched on by a reload: what was given up cannot come back.

use std::collections::BTreeSet;

use caps::Capability;
use ipamd_daemon::privilege::{self, Need, ReduceError};

const RAW: Need = Need {
    capability: Capability::CAP_NET_RAW,
    advice: "pools are to be probed for addresses that other hosts use: run as root or with \
             AmbientCapabilities=CAP_NET_RAW, or set `probe = false` in every pool",
};

const fn needs(probing: bool) -> &'static [Need] {
    if probing { &[RAW] } else { &[] }
}

/// Gives up all but what is needed, for the calling thread and those it starts. Answers what the kernel says is left.
///
/// # Errors
/// When probing is wanted and may not be done, or when the kernel refuses; the process must then not go on.
pub(crate) fn reduce(probing: bool) -> Result<BTreeSet<String>, ReduceError> {
    privilege::reduce(needs(probing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn net_raw_is_needed_for_probing_only() {
        assert_eq!(needs(true), [RAW]);
        assert!(needs(false).is_empty());
        assert!(RAW.advice.contains("probe = false"));
    }
}
