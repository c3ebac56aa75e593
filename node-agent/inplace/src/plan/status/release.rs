//! What is told of the release: how far it is, for whom it waits and since when, and the Pods under way.

use proto_crd::in_place_set::{PODS_LIMIT, Release, ReleasePhase, ReleasePod};
use proto_crd::time::Timestamp;

use super::super::SetView;
use super::super::grant::Member;
use super::{Outcome, cut};

/// The release, if there ever was one.
pub(super) fn release(
    set: &SetView,
    outcome: &Outcome<'_>,
    kept: &[Member<'_>],
    is_complete: bool,
    now: Timestamp,
) -> Option<Release> {
    let told = set.status.release.as_ref();
    let same = told.filter(|told| told.id == outcome.target.release);
    let is_wanted = outcome.chosen > 0
        || outcome.current != outcome.target.revision
        // One that is given up before anything was done is not left as it is.
        || told.is_some_and(|told| told.phase != ReleasePhase::Succeeded)
        || kept.iter().any(|member| member.pod.operation().is_some());
    if same.is_none() && !is_wanted {
        return told.cloned();
    }
    let pods = pods(kept);
    let (phase, waits_for) = phase(set, outcome, &pods, is_complete);
    let since = same
        .filter(|told| told.waits_for == waits_for && told.phase == phase)
        .map_or(Some(now), |told| told.since);
    Some(Release {
        id: outcome.target.release.clone(),
        phase,
        from_revision: same.map_or_else(
            || outcome.current.to_owned(),
            |told| told.from_revision.clone(),
        ),
        to_revision: outcome.target.revision.clone(),
        started_at: same.map_or(now, |told| told.started_at),
        since: (!waits_for.is_empty()).then_some(since).flatten(),
        waits_for,
        pods,
    })
}

fn phase(
    set: &SetView,
    outcome: &Outcome<'_>,
    pods: &[ReleasePod],
    is_complete: bool,
) -> (ReleasePhase, String) {
    if let Some(why) = &outcome.unknown {
        return (ReleasePhase::Held, cut(why));
    }
    if let Some((pod, reason, message)) = &outcome.failed {
        let text = format!("{pod}: {reason}: {message}");
        return (ReleasePhase::Held, cut(&text));
    }
    if is_complete {
        return (ReleasePhase::Succeeded, String::new());
    }
    let first = pods
        .iter()
        .find(|pod| !pod.waits_for.is_empty())
        .map(|pod| cut(&format!("{}: {}", pod.name, pod.waits_for)));
    let gone = || {
        let deleting = outcome.roster.deleting.first();
        deleting.map(|pod| format!("{}: its deletion to end", pod.name))
    };
    let missing = || {
        let ordinal = outcome.roster.missing.first();
        ordinal.map(|ordinal| format!("{}-{ordinal} to be made", set.name))
    };
    let waits_for = first
        .or_else(gone)
        .or_else(missing)
        .or_else(|| outcome.unavailable.as_deref().map(cut));
    if set.spec.paused {
        let paused = || "spec.paused to be false".to_owned();
        return (ReleasePhase::Paused, waits_for.unwrap_or_else(paused));
    }
    let rest = || "Pods to become available".to_owned();
    (ReleasePhase::Progressing, waits_for.unwrap_or_else(rest))
}

/// Those that failed, then those under way.
fn pods(kept: &[Member<'_>]) -> Vec<ReleasePod> {
    let failed = kept.iter().filter(|member| member.step.failure.is_some());
    let under_way = kept.iter().filter(|member| {
        let step = &member.step;
        step.failure.is_none() && (step.since.is_some() || !step.waits_for.is_empty())
    });
    failed
        .chain(under_way)
        .take(PODS_LIMIT)
        .map(|member| {
            let step = &member.step;
            let state = match &step.failure {
                Some(failure) => failure.reason.to_string(),
                None => step.state.to_string(),
            };
            ReleasePod {
                name: member.pod.name.clone(),
                state,
                waits_for: cut(&step.waits_for),
                since: step.since.unwrap_or(member.pod.created_at),
            }
        })
        .collect()
}
