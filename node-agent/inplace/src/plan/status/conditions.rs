//! The set's conditions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff;
use proto_crd::condition::{Condition, ConditionStatus};
use proto_crd::in_place_set::{InPlaceSetStatus, ReleasePhase};
use proto_crd::time::Timestamp;

use super::super::grant::Member;
use super::super::{SetView, Surroundings};
use super::{Outcome, cut};

/// Enough Pods are available.
const AVAILABLE: &str = "Available";
/// The set goes where it is to be, or is there.
const PROGRESSING: &str = "Progressing";
/// No further Pod is begun with.
const PAUSED: &str = "Paused";
/// A Pod could not be made.
const REPLICA_FAILURE: &str = "ReplicaFailure";
/// Whether the release changes Pods in place.
const IN_PLACE: &str = "InPlace";
/// It does not: they are made anew.
const MADE_ANEW: &str = "MadeAnew";

/// Writes them into a status.
pub(super) fn set(
    set: &SetView,
    outcome: &Outcome<'_>,
    surplus: &[Member<'_>],
    status: &mut InPlaceSetStatus,
    surroundings: &Surroundings,
    now: Timestamp,
) {
    let spec = &set.spec;
    let (available, replicas) = (status.available_replicas, spec.replicas);
    let least = replicas.saturating_sub(spec.max_unavailable());
    let mut rows = Vec::new();
    let lacks = outcome.unavailable.as_ref();
    let lacks = lacks.map(|lacks| format!(". {lacks}")).unwrap_or_default();
    rows.push(if available >= least {
        let text =
            format!("{available} of {replicas} Pods are available, and {least} must be{lacks}");
        (AVAILABLE, true, "MinimumReplicasAvailable", cut(&text))
    } else {
        let text = format!(
            "only {available} of {replicas} Pods are available, and {least} must be{lacks}"
        );
        (AVAILABLE, false, "MinimumReplicasUnavailable", cut(&text))
    });
    rows.push(progressing(set, outcome, surplus, status));
    rows.push(if spec.paused {
        let text = "spec.paused is true: no further Pod is begun with".to_owned();
        (PAUSED, true, "SpecPaused", text)
    } else {
        (PAUSED, false, "NotPaused", String::new())
    });
    rows.push(match &surroundings.refused {
        Some(why) => (REPLICA_FAILURE, true, "FailedCreate", cut(why)),
        None => (REPLICA_FAILURE, false, "NoFailure", String::new()),
    });
    rows.extend(in_place(set, outcome, status));
    let conditions = rows.into_iter().map(|(kind, holds, reason, message)| {
        let wanted = if holds {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        };
        let before = set.status.conditions.iter().find(|one| one.r#type == kind);
        let since = before
            .filter(|before| before.status == wanted)
            .map_or_else(|| time(now), |before| before.last_transition_time.clone());
        Condition {
            r#type: kind.to_owned(),
            status: wanted,
            reason: reason.to_owned(),
            message,
            last_transition_time: since,
        }
    });
    status.conditions = conditions.collect();
}

/// How the release changes Pods. Stays when the last of them is made, for whoever asks afterwards.
fn in_place(
    set: &SetView,
    outcome: &Outcome<'_>,
    status: &InPlaceSetStatus,
) -> Option<(&'static str, bool, &'static str, String)> {
    let release = status.release.as_ref()?;
    if let Some(obstacle) = &outcome.obstacle {
        let reason = if obstacle.is_refused {
            "Refused"
        } else {
            MADE_ANEW
        };
        return Some((IN_PLACE, false, reason, cut(&obstacle.why)));
    }
    let is_same = (set.status.release.as_ref()).is_some_and(|told| told.id == release.id);
    let told = made_anew(&set.status.conditions).filter(|_| is_same);
    Some(match told {
        Some(why) => (IN_PLACE, false, MADE_ANEW, why.to_owned()),
        None => (IN_PLACE, true, "PodsStay", String::new()),
    })
}

/// Why Pods are made anew, as conditions say.
pub(super) fn made_anew(conditions: &[Condition]) -> Option<&str> {
    let condition = conditions.iter().find(|one| one.r#type == IN_PLACE)?;
    (condition.reason == MADE_ANEW).then_some(condition.message.as_str())
}

/// For whom the number of Pods waits.
fn scaling(set: &SetView, outcome: &Outcome<'_>, surplus: &[Member<'_>]) -> Option<String> {
    let roster = outcome.roster;
    let deleting = roster
        .deleting
        .first()
        .map(|pod| format!("{}: its deletion to end", pod.name));
    let missing = roster.missing.first();
    let missing = missing.map(|ordinal| format!("{}-{ordinal} to be made", set.name));
    let surplus = surplus
        .first()
        .map(|member| format!("{} to go: {}", member.pod.name, member.step.waits_for));
    surplus.or(deleting).or(missing).map(|text| cut(&text))
}

fn progressing(
    set: &SetView,
    outcome: &Outcome<'_>,
    surplus: &[Member<'_>],
    status: &InPlaceSetStatus,
) -> (&'static str, bool, &'static str, String) {
    let scaling = scaling(set, outcome, surplus);
    let Some(release) = &status.release else {
        return match scaling {
            None => (PROGRESSING, true, "AllPodsThere", String::new()),
            Some(waits_for) => (PROGRESSING, true, "Scaling", waits_for),
        };
    };
    let waits_for = release.waits_for.clone();
    match release.phase {
        ReleasePhase::Held => {
            let reason = if outcome.unknown.is_some() {
                "NoWay"
            } else {
                "PodFailed"
            };
            (PROGRESSING, false, reason, waits_for)
        }
        ReleasePhase::Paused => (PROGRESSING, false, "Paused", waits_for),
        ReleasePhase::Progressing => (PROGRESSING, true, "ReleaseProgressing", waits_for),
        ReleasePhase::Succeeded => match scaling {
            None => (PROGRESSING, true, "ReleaseSucceeded", String::new()),
            Some(waits_for) => (PROGRESSING, true, "Scaling", waits_for),
        },
    }
}

/// As Kubernetes' own objects keep it: in whole seconds.
fn time(now: Timestamp) -> Time {
    let seconds = now.since(Timestamp::default()).as_secs();
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Time(jiff::Timestamp::from_second(seconds).unwrap_or_default())
}
