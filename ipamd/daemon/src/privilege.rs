//! Giving up the capabilities that a daemon does not need.
//!
//! Capabilities belong to threads: [`reduce`] runs before the first thread is started, and every later one inherits.
//! What was given up cannot come back ("no new privileges" is set too). Which capabilities to keep, and why, is the
//! daemon's to say.

use std::collections::BTreeSet;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;

/// Why the daemon does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ReduceError {
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
    #[error("{capability} is missing; {advice}")]
    Missing {
        /// Which.
        capability: Capability,
        /// What to do about it.
        advice: &'static str,
    },
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

/// A capability to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Which.
    pub capability: Capability,
    /// What to do where it was not given.
    pub advice: &'static str,
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

fn plan(held: &Held, needs: &[Need]) -> Result<Plan, ReduceError> {
    let mut keep = CapsHashSet::new();
    for Need { capability, advice } in needs.iter().copied() {
        if !held.permitted.contains(&capability) {
            return Err(ReduceError::Missing { capability, advice });
        }
        keep.insert(capability);
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
/// When something needed is missing, or when the kernel refuses; the process must then not go on.
pub fn reduce(needs: &[Need]) -> Result<BTreeSet<String>, ReduceError> {
    let plan = plan(&observe()?, needs)?;
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

/// Like [`reduce`], but goes on without what it was not given. Answers also what is missing.
///
/// # Errors
/// When the kernel refuses; the process must then not go on.
pub fn reduce_to_held(wanted: &[Need]) -> Result<(BTreeSet<String>, Vec<Need>), ReduceError> {
    let permitted = observe()?.permitted;
    let is_held = |need: &Need| permitted.contains(&need.capability);
    let (held, missing): (Vec<_>, Vec<_>) = wanted.iter().copied().partition(is_held);
    Ok((reduce(&held)?, missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: Need = Need {
        capability: Capability::CAP_NET_RAW,
        advice: "give it",
    };

    fn held(capabilities: &[Capability]) -> Held {
        let set: CapsHashSet = capabilities.iter().copied().collect();
        Held {
            permitted: set.clone(),
            effective: set.clone(),
            bounding: set,
        }
    }

    #[test]
    fn root_keeps_what_is_needed_and_nothing_else() {
        let root = Held {
            permitted: caps::all(),
            effective: caps::all(),
            bounding: caps::all(),
        };
        let one = plan(&root, &[RAW]).unwrap();
        assert_eq!(one.keep, CapsHashSet::from([Capability::CAP_NET_RAW]));
        assert_eq!(one.drop_bounding.len(), caps::all().len() - 1);
        assert!(!one.drop_bounding.contains(&Capability::CAP_NET_RAW));

        let none = plan(&root, &[]).unwrap();
        assert!(none.keep.is_empty());
        assert_eq!(none.drop_bounding.len(), caps::all().len());
    }

    #[test]
    fn what_is_needed_and_missing_is_refused_with_advice() {
        let error = plan(&held(&[Capability::CAP_NET_ADMIN]), &[RAW]).unwrap_err();
        assert_eq!(error.to_string(), "CAP_NET_RAW is missing; give it");
        assert!(plan(&held(&[]), &[]).is_ok());
    }

    #[test]
    fn bounding_set_is_left_where_it_cannot_be_reduced() {
        let plan = plan(&held(&[Capability::CAP_NET_RAW]), &[RAW]).unwrap();
        assert!(plan.drop_bounding.is_empty());
    }
}
