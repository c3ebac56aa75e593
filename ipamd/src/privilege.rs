//! The capabilities the daemon works with: `CAP_NET_RAW`, and none when nothing is probed.
//!
//! * `CAP_NET_RAW`: packet sockets, to send and hear ARP and ND on the segments. Needed for as long as the daemon runs,
//!   since a segment is first known when a Pod joins it.
//! * Nothing else. Store, spool and sockets are the daemon's own user's files, which needs no capability; links are read,
//!   never changed, and reading them is free to all; a peer's credentials are told by the kernel.
//!
//! Capabilities belong to threads: [`reduce`] runs before the first thread is started, and every later one inherits.
//! What was given up cannot come back ("no new privileges" is set too), so probing that was off for every pool at start
//! is not switched on by a reload.

use std::collections::BTreeSet;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;

/// Why the daemon does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReduceError {
    /// The kernel did not say what the process has.
    #[error("reading the {set:?} capabilities")]
    Read {
        /// The set.
        set: CapSet,
        /// The kernel's answer.
        #[source]
        source: CapsError,
    },
    /// A needed one is not there.
    #[error(
        "CAP_NET_RAW is missing, and pools are to be probed for addresses that other hosts use; \
         run as root or with AmbientCapabilities=CAP_NET_RAW, or set `probe = false` in every pool"
    )]
    Missing,
    /// The kernel refused to take one away.
    #[error("dropping {what}")]
    Drop {
        /// What.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: CapsError,
    },
    /// The kernel refused to promise.
    #[error("setting no_new_privs")]
    NoNewPrivileges {
        /// The kernel's answer.
        #[source]
        source: Errno,
    },
}

/// What the process has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    permitted: CapsHashSet,
    effective: CapsHashSet,
    bounding: CapsHashSet,
}

/// What is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    keep: CapsHashSet,
    drop_bounding: Vec<Capability>,
}

fn observe() -> Result<Held, ReduceError> {
    let read = |set| caps::read(None, set).map_err(|source| ReduceError::Read { set, source });
    Ok(Held {
        permitted: read(CapSet::Permitted)?,
        effective: read(CapSet::Effective)?,
        bounding: read(CapSet::Bounding)?,
    })
}

fn plan(held: &Held, probing: bool) -> Result<Plan, ReduceError> {
    let mut keep = CapsHashSet::new();
    if probing {
        if !held.permitted.contains(&Capability::CAP_NET_RAW) {
            return Err(ReduceError::Missing);
        }
        keep.insert(Capability::CAP_NET_RAW);
    }
    // The bounding set only limits what an exec could gain. Without CAP_SETPCAP it cannot be reduced, and
    // "no new privileges" alone closes that door.
    let mut drop_bounding = Vec::new();
    if held.effective.contains(&Capability::CAP_SETPCAP) {
        drop_bounding.extend(held.bounding.difference(&keep));
        drop_bounding.sort_by_key(Capability::index);
    }
    Ok(Plan {
        keep,
        drop_bounding,
    })
}

/// Gives up all but what is needed, for the calling thread and those it starts. Answers what the kernel says is left.
///
/// # Errors
/// When probing is wanted and may not be done, or when the kernel refuses; the process must then not go on.
pub(crate) fn reduce(probing: bool) -> Result<BTreeSet<String>, ReduceError> {
    let plan = plan(&observe()?, probing)?;
    let drop = |what| move |source| ReduceError::Drop { what, source };
    for capability in plan.drop_bounding {
        caps::drop(None, CapSet::Bounding, capability).map_err(drop("bounding capabilities"))?;
    }
    caps::clear(None, CapSet::Ambient).map_err(drop("ambient capabilities"))?;
    // The effective set must always lie within the permitted one: it goes first.
    caps::set(None, CapSet::Effective, &plan.keep).map_err(drop("effective capabilities"))?;
    caps::set(None, CapSet::Permitted, &plan.keep).map_err(drop("permitted capabilities"))?;
    caps::clear(None, CapSet::Inheritable).map_err(drop("inheritable capabilities"))?;
    prctl::set_no_new_privs().map_err(|source| ReduceError::NoNewPrivileges { source })?;
    let left = observe()?;
    Ok(left.permitted.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(capabilities: &[Capability]) -> Held {
        let set: CapsHashSet = capabilities.iter().copied().collect();
        Held {
            permitted: set.clone(),
            effective: set.clone(),
            bounding: set,
        }
    }

    #[test]
    fn root_keeps_net_raw_only_and_only_for_probing() {
        let root = Held {
            permitted: caps::all(),
            effective: caps::all(),
            bounding: caps::all(),
        };
        let probing = plan(&root, true).unwrap();
        assert_eq!(probing.keep, CapsHashSet::from([Capability::CAP_NET_RAW]));
        assert_eq!(probing.drop_bounding.len(), caps::all().len() - 1);
        assert!(!probing.drop_bounding.contains(&Capability::CAP_NET_RAW));

        let silent = plan(&root, false).unwrap();
        assert!(silent.keep.is_empty());
        assert_eq!(silent.drop_bounding.len(), caps::all().len());
    }

    #[test]
    fn probing_without_the_right_to_is_refused_with_advice() {
        let error = plan(&held(&[Capability::CAP_NET_ADMIN]), true).unwrap_err();
        assert!(error.to_string().contains("probe = false"), "{error}");
        assert!(plan(&held(&[]), false).is_ok());
    }

    #[test]
    fn bounding_set_is_left_where_it_cannot_be_reduced() {
        let plan = plan(&held(&[Capability::CAP_NET_RAW]), true).unwrap();
        assert!(plan.drop_bounding.is_empty());
    }
}
