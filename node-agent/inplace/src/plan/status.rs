//! What is told of a set: counts, its release, conditions, and Events where something changed.
//!
//! Always holds: a condition's time changes with its status only. A release that does not go on says why, or for whom it waits.

mod conditions;
mod release;

use proto_crd::in_place_set::{
    InPlaceSetStatus, ReleasePhase, SOFT_EVICTED_LIMIT, SoftEvictedPod, TEXT_LIMIT,
};
use proto_crd::time::Timestamp;

use super::goals::{Target, is_updated};
use super::grant::Member;
use super::roster::Roster;
use super::{Deed, SetView, Surroundings};
use crate::operation::{Reason, State};

/// Why Pods do not get to the update revision in place.
pub(super) struct Obstacle {
    /// Whether they do not get there at all; else they are made anew.
    pub(super) is_refused: bool,
    /// Which fields.
    pub(super) why: String,
}

/// What a decision came to.
pub(super) struct Outcome<'a> {
    pub(super) target: &'a Target,
    /// The revision that all Pods had last.
    pub(super) current: &'a str,
    /// Why the set has no update revision, or its Pods no way there.
    pub(super) unknown: Option<String>,
    /// Why Pods do not get there in place.
    pub(super) obstacle: Option<Obstacle>,
    /// How many Pods are still to get the update revision.
    pub(super) chosen: usize,
    /// How many are made anew with it.
    pub(super) made_updated: usize,
    pub(super) roster: &'a Roster<'a>,
    /// The first Pod that is not available while nothing is done with it, and what it lacks.
    pub(super) unavailable: Option<String>,
    /// The first Pod that failed: name, reason, message.
    pub(super) failed: Option<(String, Reason, String)>,
}

/// The release to a revision: the one that was told, or a new one, named so that it is the same until that is told.
pub(super) fn target(set: &SetView, revision: &str) -> Target {
    let told = set.status.release.as_ref();
    let same = told.filter(|release| release.to_revision == revision);
    Target {
        release: same.map_or_else(
            || format!("{revision}-{}", set.generation),
            |release| release.id.clone(),
        ),
        revision: revision.to_owned(),
    }
}

/// What is to be told now.
pub(super) fn status(
    set: &SetView,
    outcome: &Outcome<'_>,
    kept: &[Member<'_>],
    surplus: &[Member<'_>],
    surroundings: &Surroundings,
    now: Timestamp,
) -> InPlaceSetStatus {
    let all = || kept.iter().chain(surplus);
    let count = |of: &dyn Fn(&Member<'_>) -> bool| {
        u32::try_from(all().filter(|member| of(member)).count()).unwrap_or(u32::MAX)
    };
    let revision = &outcome.target.revision;
    let updated = |member: &Member<'_>| is_updated(member.pod, revision);
    let deleting = u32::try_from(outcome.roster.deleting.len()).unwrap_or(u32::MAX);
    let mut status = InPlaceSetStatus {
        observed_generation: set.generation,
        replicas: count(&|_| true).saturating_add(deleting),
        ready_replicas: count(&|member| member.pod.is_serving()),
        available_replicas: count(&|member| member.is_available),
        updated_replicas: count(&updated),
        updated_ready_replicas: count(&|member| updated(member) && member.is_available),
        draining: count(&|member| {
            matches!(
                member.step.state,
                State::Draining | State::Detached | State::Quiet
            )
        }),
        upgrading: count(&|member| {
            matches!(member.step.state, State::Upgrading | State::Verifying)
        })
        .saturating_add(deleting),
        attaching: count(&|member| member.step.state == State::Attaching && !member.is_available),
        soft_evicted_replicas: u32::try_from(outcome.roster.soft_evicted.len()).unwrap_or(u32::MAX),
        soft_evicted: soft_evicted(outcome.roster),
        current_revision: outcome.current.to_owned(),
        update_revision: revision.clone(),
        collision_count: set.status.collision_count,
        label_selector: set.spec.selector.to_string(),
        release: None,
        conditions: set.status.conditions.clone(),
    };
    let is_complete = outcome.chosen == 0
        && outcome.made_updated == 0
        && outcome.failed.is_none()
        && outcome.roster.deleting.is_empty()
        && kept.iter().all(|member| {
            !updated(member) || member.is_available && member.pod.operation().is_none()
        });
    let all_updated = kept.iter().all(updated) && outcome.roster.missing.is_empty();
    // A set without Pods has released what was to be released only if that was everything.
    let is_told = set.spec.updated_replicas.is_none() || !kept.is_empty();
    if is_complete && all_updated && is_told && outcome.unknown.is_none() {
        status.current_revision.clone_from(revision);
    }
    status.release = release::release(set, outcome, kept, is_complete, now);
    conditions::set(set, outcome, surplus, &mut status, surroundings, now);
    status
}

/// Who does not count any more, and who is there instead.
fn soft_evicted(roster: &Roster<'_>) -> Vec<SoftEvictedPod> {
    let told = roster.soft_evicted.iter().take(SOFT_EVICTED_LIMIT);
    told.map(|pod| SoftEvictedPod {
        name: pod.name.clone(),
        // What is longer is no id of ours.
        decision: (pod.soft_evicted.iter().flat_map(|id| id.chars()))
            .take(63)
            .collect(),
        replacement: roster.replacement(pod).map(|pod| pod.name.clone()),
    })
    .collect()
}

/// What people are told in Events: what is different from what was told last.
pub(super) fn tell(set: &SetView, status: &InPlaceSetStatus) -> Vec<Deed> {
    let all = tell_release(set, status).into_iter();
    all.chain(tell_obstacle(set, status)).collect()
}

/// Once, with the fields that make it so.
fn tell_obstacle(set: &SetView, status: &InPlaceSetStatus) -> Option<Deed> {
    let obstacle = conditions::made_anew(&status.conditions)?;
    let id = status.release.as_ref()?.id.as_str();
    let told = set.status.release.as_ref();
    let is_same = told.is_some_and(|told| told.id == id);
    if is_same && conditions::made_anew(&set.status.conditions) == Some(obstacle) {
        return None;
    }
    let message = format!("release {id} makes Pods anew, with the addresses they have: {obstacle}");
    Some(Deed::Tell {
        warning: false,
        reason: "PodsMadeAnew",
        message: cut(&message),
    })
}

fn tell_release(set: &SetView, status: &InPlaceSetStatus) -> Option<Deed> {
    let (before, after) = (set.status.release.as_ref(), status.release.as_ref()?);
    let is_new = before.is_none_or(|before| before.id != after.id);
    let is_other_phase = before.is_none_or(|before| before.phase != after.phase);
    if !is_new && !is_other_phase {
        return None;
    }
    let (from, to, id) = (&after.from_revision, &after.to_revision, &after.id);
    let (warning, reason, message) = match after.phase {
        ReleasePhase::Progressing if is_new => (
            false,
            "ReleaseStarted",
            format!("release {id} from {from} to {to} begins"),
        ),
        ReleasePhase::Progressing => (false, "ReleaseGoesOn", format!("release {id} goes on")),
        ReleasePhase::Paused => (false, "ReleasePaused", format!("release {id} is paused")),
        ReleasePhase::Held => (
            true,
            "ReleaseHeld",
            format!("release {id} does not go on: {}", after.waits_for),
        ),
        ReleasePhase::Succeeded => (
            false,
            "ReleaseSucceeded",
            format!("release {id} from {from} to {to} is done"),
        ),
    };
    Some(Deed::Tell {
        warning,
        reason,
        message: cut(&message),
    })
}

/// No longer than the API server takes it.
fn cut(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}
