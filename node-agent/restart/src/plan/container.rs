//! How far one container is: what runs now against what ran when the request was accepted.

use proto_crd::container_restart::{ContainerPhase, ContainerStatus, Reason};
use proto_crd::time::Timestamp;

use super::Failure;
use crate::backoff::Foreseen;
use crate::observed::{ContainerState, LiveContainer, Observed, PodContainer, PodFacts, Runtime};

/// What is seen of the world by which a container is judged.
pub(super) struct View<'a> {
    pub(super) seen: &'a Observed,
    pub(super) runtime: &'a Runtime,
    pub(super) pod: Option<&'a PodFacts>,
    pub(super) deadline: Timestamp,
}

/// What kubelet says when an image cannot be had by waiting a little.
const NO_IMAGE: [&str; 4] = [
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
];

/// Brings a container's status up to what is seen.
pub(super) fn progress(status: &mut ContainerStatus, view: &View<'_>) -> Result<(), Failure> {
    if status.phase == ContainerPhase::Failed {
        return Ok(());
    }
    let pod = view.pod.and_then(|pod| pod.container(&status.name));
    match view.runtime.newest(&status.name) {
        None => {
            "for kubelet to create it".clone_into(&mut status.message);
            Ok(())
        }
        Some(live) if live.id != status.old_container_id => anew(status, live, pod, view),
        // An older look than the one before.
        Some(_) if !status.new_container_id.is_empty() => Ok(()),
        Some(live) => as_before(status, live, pod, view),
    }
}

/// The container that ran when the request was accepted.
fn as_before(
    status: &mut ContainerStatus,
    live: &LiveContainer,
    pod: Option<&PodContainer>,
    view: &View<'_>,
) -> Result<(), Failure> {
    let ContainerState::Exited { finished_at, .. } = live.state else {
        if status.killed_at.is_some() {
            status.phase = ContainerPhase::Recreating;
            "for it to end".clone_into(&mut status.message);
        }
        return Ok(());
    };
    status.phase = ContainerPhase::Recreating;
    if let Some(waiting) = pod.and_then(|pod| pod.waiting.as_ref())
        && NO_IMAGE.contains(&waiting.reason.as_str())
    {
        return Err(Failure::new(
            Reason::Image,
            format!(
                "container {}: {}: {}",
                status.name, waiting.reason, waiting.message
            ),
        ));
    }
    let foreseen = foreseen(finished_at, status, pod, view);
    status.backoff_until = Some(foreseen.latest.rounded_up());
    if foreseen.earliest >= view.deadline {
        return Err(Failure::new(
            Reason::BackOff,
            format!(
                "kubelet keeps container {} down until {} at least, past the deadline {}; it comes back without this request",
                status.name, foreseen.earliest, view.deadline
            ),
        ));
    }
    status.message = format!(
        "for kubelet to start it again, by {} unless something else keeps it",
        foreseen.latest.rounded_up()
    );
    Ok(())
}

/// When kubelet starts it again: as it says itself, or else as reckoned.
fn foreseen(
    finished_at: Timestamp,
    status: &ContainerStatus,
    pod: Option<&PodContainer>,
    view: &View<'_>,
) -> Foreseen {
    let told = pod
        .and_then(|pod| pod.waiting.as_ref())
        .filter(|waiting| waiting.reason == "CrashLoopBackOff")
        .and_then(|waiting| Foreseen::told(finished_at, &waiting.message));
    let runs = view.runtime.runs(&status.name);
    let remembered = view
        .seen
        .back_off
        .remembered(&runs, view.seen.kubelet_started_at);
    match (told, remembered) {
        (Some(told), _) => told,
        (None, Some(memory)) => memory.foresee(finished_at),
        (None, None) => Foreseen::at_once(finished_at),
    }
}

/// The container that kubelet started after it.
fn anew(
    status: &mut ContainerStatus,
    live: &LiveContainer,
    pod: Option<&PodContainer>,
    view: &View<'_>,
) -> Result<(), Failure> {
    let crash = |how: String| {
        Failure::new(
            Reason::Crash,
            format!(
                "the new container {} {how}; its log says why (kubectl logs --previous)",
                status.name
            ),
        )
    };
    let known = !status.new_container_id.is_empty();
    let skipped = !status.old_container_id.is_empty()
        && live
            .restart_count()
            .is_some_and(|count| count > status.restart_count.saturating_add(1));
    if (known && status.new_container_id != live.id) || skipped {
        return Err(crash("ended and was started once more".to_owned()));
    }
    if let ContainerState::Exited {
        exit_code, reason, ..
    } = &live.state
    {
        return Err(crash(format!(
            "ended with exit code {exit_code} ({reason})"
        )));
    }
    status.new_container_id.clone_from(&live.id);
    status.backoff_until = None;
    let ContainerState::Running { started_at } = live.state else {
        status.phase = ContainerPhase::Recreating;
        "for it to start".clone_into(&mut status.message);
        return Ok(());
    };
    status.started_at = Some(started_at);
    ready(status, live, pod, view, started_at);
    Ok(())
}

fn ready(
    status: &mut ContainerStatus,
    live: &LiveContainer,
    pod: Option<&PodContainer>,
    view: &View<'_>,
    started_at: Timestamp,
) {
    let Some(pod) = pod else {
        // Not known is not "not ready": the caller's `watching_since` says whether there was a gap.
        if status.phase != ContainerPhase::Succeeded {
            status.phase = ContainerPhase::Recreating;
        }
        "to know whether it is ready".clone_into(&mut status.message);
        return;
    };
    if pod.id != live.id || !pod.ready {
        status.phase = ContainerPhase::Recreating;
        "for it to be ready".clone_into(&mut status.message);
        return;
    }
    let since = *status
        .ready_since
        .get_or_insert_with(|| view.seen.now.rounded_up());
    let counted = since
        .max(started_at)
        .max(view.seen.watching_since)
        .after(view.seen.spec.strategy.min_started());
    if view.seen.now >= counted {
        status.phase = ContainerPhase::Succeeded;
        status.message.clear();
    } else {
        status.phase = ContainerPhase::Recreating;
        status.message = format!("for it to be ready until {}", counted.rounded_up());
    }
}

/// It failed.
pub(super) fn fail(status: &mut ContainerStatus, failure: &Failure) {
    status.phase = ContainerPhase::Failed;
    status.reason = Some(failure.reason);
    status.message.clone_from(&failure.message);
}

/// The request ended badly: what is under way has failed with it, what was not begun is left alone.
pub(super) fn end(status: &mut ContainerStatus, failure: &Failure) {
    match status.phase {
        ContainerPhase::Recreating => fail(status, failure),
        ContainerPhase::Pending => "left as it was".clone_into(&mut status.message),
        ContainerPhase::Succeeded | ContainerPhase::Failed => {}
    }
}
