//! Whether a write still does no harm, by what was read from the API just now.
//!
//! Always holds: what a view says is never enough for an image, a deletion or a gate.

use super::decide::holder;
use super::{Basis, Deed, SetView};
use crate::operation::{Kind, Operation, State};
use crate::pod::{Owner, PodView};
use crate::revision;

/// Why a write is not made. The next plan decides anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no Pod of that name.
    #[error("Pod {name} is gone")]
    Gone {
        /// Its name.
        name: String,
    },
    /// It is another one of that name, or was changed since.
    #[error("Pod {name} is another one, or was changed since it was looked at")]
    Changed {
        /// Its name.
        name: String,
    },
    /// It is not held unready.
    #[error(
        "Pod {name} may get traffic: its gate berth.dev/ServiceReady is not held False for the set"
    )]
    InService {
        /// Its name.
        name: String,
    },
    /// The set wants another revision.
    #[error("the set wants revision {wanted} now, not {planned}")]
    OtherTarget {
        /// What it wants.
        wanted: String,
        /// What was planned.
        planned: String,
    },
    /// The set's spec is another one than was looked at: how many Pods it wants, how many may be out of service.
    #[error("the set was changed since it was looked at")]
    OtherSpec,
    /// The set is being deleted, or paused.
    #[error("the set is being deleted, or was paused")]
    Stopped,
    /// The Pod is another's.
    #[error("Pod {name} is not this set's to take or leave")]
    NotOurs {
        /// Its name.
        name: String,
    },
}

/// Asked right before a write, with the Pod and the set read from the API just now (`pod`: nothing, where there is none) and the
/// generation of the set that was planned for. Writes that touch no Pod that exists are asked with the set alone.
///
/// # Errors
/// See [`Refusal`].
pub fn confirm(
    deed: &Deed,
    pod: Option<&PodView>,
    set: &SetView,
    planned_for: i64,
) -> Result<(), Refusal> {
    match deed {
        Deed::PatchPod {
            pod: basis,
            patch,
            operation,
            ..
        } => {
            let pod = ours(same(basis, pod)?)?;
            target(set, &patch.revision)?;
            let images = patch.images.len() + patch.init_images.len();
            if set.spec.lossless.is_some() && (images > 0 || operation.is_some()) {
                out_of_service(set, pod)?;
            }
            Ok(())
        }
        Deed::DeletePod {
            pod: basis,
            drained,
        } => {
            let pod = ours(same(basis, pod)?)?;
            same_spec(set, planned_for)?;
            if *drained {
                out_of_service(set, pod)?;
            }
            Ok(())
        }
        Deed::HoldGate {
            pod: basis,
            operation,
            ..
        } => {
            let pod = ours(same(basis, pod)?)?;
            alive(set)?;
            begins(set, pod, operation, planned_for)
        }
        Deed::Stamp { pod: basis, .. }
        | Deed::ReleaseGate { pod: basis, .. }
        | Deed::Finish { pod: basis }
        | Deed::Orphan { pod: basis } => ours(same(basis, pod)?).map(drop),
        Deed::AskRestart {
            pod: basis,
            containers,
            ..
        } => still_old(basis, ours(same_one(basis, pod)?)?, containers),
        Deed::Adopt { pod: basis } => adoptable(same(basis, pod)?, set),
        Deed::CreatePod { .. } => same_spec(set, planned_for),
        Deed::CreateRevision { .. } | Deed::AdoptRevision { .. } => alive(set),
        Deed::AskPull { .. }
        | Deed::EndPull { .. }
        | Deed::NumberRevision { .. }
        | Deed::DeleteRevision { .. }
        | Deed::WriteStatus
        | Deed::Tell { .. } => Ok(()),
    }
}

fn adoptable(pod: &PodView, set: &SetView) -> Result<(), Refusal> {
    alive(set)?;
    if pod.owner != Owner::Nobody || !pod.selected || pod.deleting {
        return Err(not_ours(pod));
    }
    Ok(())
}

/// A Pod that runs nowhere has nobody who could have made its gate True.
fn out_of_service(set: &SetView, pod: &PodView) -> Result<(), Refusal> {
    let is_nowhere = pod.node.is_none() && pod.gate.status.is_none();
    if is_nowhere || pod.gate.is_held_by(&holder(&set.name)) {
        return Ok(());
    }
    Err(Refusal::InService {
        name: pod.name.clone(),
    })
}

/// A container that is another one already is not stopped once more, nor one of a Pod that is to be left alone.
fn still_old(basis: &Basis, pod: &PodView, containers: &[String]) -> Result<(), Refusal> {
    let under_way = pod.operation().filter(|it| it.state == State::Upgrading);
    let is_old = |name: &String| {
        let runs = pod.containers.iter().find(|one| one.name == *name);
        let before = under_way.and_then(|it| it.before.get(name));
        before.is_some() && runs.and_then(|one| one.id.as_ref()) == before
    };
    if containers.iter().all(is_old) && pod.soft_evicted.is_none() {
        return Ok(());
    }
    Err(changed(basis))
}

/// The first step out of service is not made for what is not wanted any more.
fn begins(
    set: &SetView,
    pod: &PodView,
    operation: &Operation,
    planned_for: i64,
) -> Result<(), Refusal> {
    let goes_on = pod.operation().is_some_and(|before| before.state.is_held());
    if goes_on {
        return Ok(());
    }
    same_spec(set, planned_for)?;
    if operation.op == Kind::Remove {
        return Ok(());
    }
    if set.spec.paused {
        return Err(Refusal::Stopped);
    }
    if operation.op == Kind::Upgrade {
        target(set, &operation.to_revision)?;
    }
    Ok(())
}

fn same<'a>(basis: &Basis, pod: Option<&'a PodView>) -> Result<&'a PodView, Refusal> {
    let pod = same_one(basis, pod)?;
    if pod.version != basis.version {
        return Err(changed(basis));
    }
    Ok(pod)
}

fn same_one<'a>(basis: &Basis, pod: Option<&'a PodView>) -> Result<&'a PodView, Refusal> {
    let pod = pod.ok_or_else(|| Refusal::Gone {
        name: basis.name.clone(),
    })?;
    if pod.uid != basis.uid {
        return Err(changed(basis));
    }
    Ok(pod)
}

fn changed(basis: &Basis) -> Refusal {
    Refusal::Changed {
        name: basis.name.clone(),
    }
}

fn not_ours(pod: &PodView) -> Refusal {
    Refusal::NotOurs {
        name: pod.name.clone(),
    }
}

fn ours(pod: &PodView) -> Result<&PodView, Refusal> {
    if pod.owner == Owner::Ours {
        Ok(pod)
    } else {
        Err(not_ours(pod))
    }
}

const fn alive(set: &SetView) -> Result<(), Refusal> {
    if set.deleting {
        Err(Refusal::Stopped)
    } else {
        Ok(())
    }
}

/// What a plan did for a set of other replicas, or of another budget, would be done beside what the next one does.
fn same_spec(set: &SetView, planned_for: i64) -> Result<(), Refusal> {
    alive(set)?;
    if set.generation == planned_for {
        Ok(())
    } else {
        Err(Refusal::OtherSpec)
    }
}

fn target(set: &SetView, planned: &str) -> Result<(), Refusal> {
    alive(set)?;
    let recorded = revision::record(
        &set.spec.template,
        &set.revisions,
        set.status.collision_count,
    );
    let wanted = revision::update(set.spec.revision.as_deref(), &recorded, &set.revisions);
    let wanted = wanted.unwrap_or_default();
    if wanted == planned {
        return Ok(());
    }
    Err(Refusal::OtherTarget {
        wanted: wanted.to_owned(),
        planned: planned.to_owned(),
    })
}
