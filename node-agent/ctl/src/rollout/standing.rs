//! How a release stands: under way, ended, or held. Pure.

use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;
use proto_crd::condition::{Condition, ConditionStatus};
use proto_crd::in_place_set::{InPlaceSet, InPlaceSetStatus, Release, ReleasePhase};

use super::key;
use crate::age::{short, since};

/// How a release stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It goes on; what it waits for.
    UnderWay(String),
    /// As many Pods as were asked for are at the update revision and serve.
    Succeeded(String),
    /// It does not go on by itself; why, and what to do.
    Held(String),
}

/// How the last release of a set stands.
pub(super) fn of(set: &InPlaceSet) -> Standing {
    let Some(status) = observed(set) else {
        return Standing::UnderWay("the controllers to look at the set".to_owned());
    };
    if set.metadata.deletion_timestamp.is_some() {
        return Standing::Held(format!("InPlaceSet {} is being deleted", key(set)));
    }
    match &status.release {
        Some(release) if release.phase == ReleasePhase::Held => Standing::Held(held(set, release)),
        Some(release) if release.phase != ReleasePhase::Succeeded => {
            Standing::UnderWay(waits(set, release))
        }
        _ => complete(set, status),
    }
}

/// The status, where it is of the set as it is.
pub(super) fn observed(set: &InPlaceSet) -> Option<&InPlaceSetStatus> {
    let status = set.status.as_ref()?;
    let generation = set.metadata.generation.unwrap_or(0);
    (status.observed_generation >= generation).then_some(status)
}

/// Why Pods could not be made, if so.
pub(super) fn failure(status: &InPlaceSetStatus) -> Option<&Condition> {
    let failed =
        |it: &&Condition| it.r#type == "ReplicaFailure" && it.status == ConditionStatus::True;
    status.conditions.iter().find(failed)
}

/// No release is under way; whether all Pods that are wanted are there and serve.
fn complete(set: &InPlaceSet, status: &InPlaceSetStatus) -> Standing {
    let (wanted, updated) = (set.spec.replicas, set.spec.updated_replicas());
    let (are, serve) = (status.replicas, status.updated_ready_replicas);
    if are != wanted {
        return Standing::UnderWay(format!("{wanted} Pods to be there, of which {are} are"));
    }
    if serve < updated {
        return Standing::UnderWay(format!(
            "{updated} Pods to be ready at revision {}, of which {serve} are",
            status.update_revision
        ));
    }
    if status.ready_replicas < wanted {
        return Standing::UnderWay(format!(
            "{wanted} Pods to be ready, of which {} are",
            status.ready_replicas
        ));
    }
    let part = if updated < wanted {
        format!("{updated} of {wanted} Pods, as spec.updatedReplicas says, are")
    } else if wanted == 1 {
        "the one Pod is".to_owned()
    } else {
        format!("all {wanted} Pods are")
    };
    Standing::Succeeded(format!(
        "{part} at revision {} and ready",
        status.update_revision
    ))
}

fn waits(set: &InPlaceSet, release: &Release) -> String {
    if release.phase == ReleasePhase::Paused {
        let rest = if release.waits_for.is_empty() {
            String::new()
        } else {
            format!(" ({})", release.waits_for)
        };
        return format!(
            "somebody to let it go on: kubectl berth rollout resume {}{rest}",
            key(set)
        );
    }
    if release.waits_for.is_empty() {
        "its Pods".to_owned()
    } else {
        release.waits_for.clone()
    }
}

fn held(set: &InPlaceSet, release: &Release) -> String {
    let why = if release.waits_for.is_empty() {
        "it does not say why"
    } else {
        &release.waits_for
    };
    let key = key(set);
    format!(
        "{why}. Remove the cause, or go back: kubectl berth rollout undo {key}; what each Pod waits for: kubectl berth rollout status \
         {key} --watch=false"
    )
}

/// One line about the whole: how far, and since when.
pub(super) fn counts(set: &InPlaceSet) -> String {
    let Some(status) = &set.status else {
        return format!(
            "0 of {} Pods updated and ready",
            set.spec.updated_replicas()
        );
    };
    let mut text = format!(
        "{} of {} Pods updated and ready",
        status.updated_ready_replicas,
        set.spec.updated_replicas()
    );
    for (count, words) in [
        (status.draining, "draining"),
        (status.upgrading, "upgrading"),
        (status.attaching, "attaching"),
        (
            status.replicas.saturating_sub(status.available_replicas),
            "unavailable",
        ),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {words}");
        }
    }
    text
}

/// What release it is.
pub(super) fn title(set: &InPlaceSet, now: Timestamp) -> String {
    let key = key(set);
    let release = observed(set).and_then(|it| it.release.as_ref());
    let Some(release) = release else {
        return format!("InPlaceSet {key}: no release yet");
    };
    let from = if release.from_revision.is_empty() {
        String::new()
    } else {
        format!(" from revision {}", release.from_revision)
    };
    format!(
        "InPlaceSet {key}: release {}{from} to {}, begun {} ago",
        release.id,
        release.to_revision,
        short(since(instant(release.started_at), now))
    )
}

/// As other times are reckoned here.
pub(super) fn instant(time: proto_crd::time::Timestamp) -> Timestamp {
    time.to_string().parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
