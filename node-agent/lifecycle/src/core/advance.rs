//! The state machine without its gated arrows: where a node goes by itself.

use super::assess::Case;
use super::memory::Lease;
use crate::observation::Class;
use crate::phase::Phase;
use crate::verdict::Verdict;

/// Where the node is now, by this verdict. What needs to be admitted is not here.
pub(super) fn next(case: &Case<'_>, verdict: Verdict) -> Phase {
    let memory = case.memory;
    if memory.lease == Lease::Unproven {
        return memory.phase;
    }
    match verdict {
        Verdict::Healthy | Verdict::Degraded(_) => connected(case, verdict),
        Verdict::KubeletDown => Phase::KubeletDown,
        Verdict::ControlPlaneCut => Phase::ControlPlaneCut,
        Verdict::RackDark | Verdict::QuorumDead | Verdict::FencedDead => lost(case, verdict),
        Verdict::Unknown => match memory.phase {
            // Admitted already: it waits there, and nothing is done while nobody knows.
            Phase::SoftEvicting | Phase::HardEvicting | Phase::Gone => memory.phase,
            _ => Phase::Suspect,
        },
    }
}

fn connected(case: &Case<'_>, verdict: Verdict) -> Phase {
    let (memory, now, config) = (case.memory, case.now, case.config);
    let penalty = memory.penalty.at(now, &config.flapping);
    let stable = memory
        .connected_since
        .map(|since| now.since(since))
        .unwrap_or_default();
    let clean = memory.clean_for(case.node, now);
    let is_cleared = clean.is_some_and(|clean| clean >= config.timers.healthy_delay);
    match memory.phase {
        Phase::Healthy if verdict == Verdict::Healthy => Phase::Healthy,
        Phase::Cordoned if verdict == Verdict::Healthy && is_cleared => Phase::Healthy,
        Phase::Draining if verdict.asks_for(Class::Drain) => Phase::Draining,
        Phase::Healthy | Phase::Cordoned | Phase::Draining => Phase::Cordoned,
        Phase::Empty if is_cleared => Phase::Recovering,
        Phase::Empty => Phase::Empty,
        Phase::Flapping if penalty < config.flapping.reuse && stable >= config.timers.recovery => {
            Phase::Recovering
        }
        Phase::Flapping => Phase::Flapping,
        _ if penalty > config.flapping.suppress => Phase::Flapping,
        Phase::Recovering if stable < settled_after(case, penalty) || is_doubted(case) => {
            Phase::Recovering
        }
        Phase::Recovering if verdict != Verdict::Healthy => Phase::Cordoned,
        Phase::Recovering if clean.is_some() => Phase::Healthy,
        _ => Phase::Recovering,
    }
}

/// How long a node that is back must have been there.
fn settled_after(case: &Case<'_>, penalty: u32) -> std::time::Duration {
    let timers = &case.config.timers;
    let per_loss = case.config.flapping.per_loss.max(1);
    let flaps = penalty.saturating_add(per_loss / 2) / per_loss;
    let per_flap = timers.recovery_per_flap.saturating_mul(1 << flaps.min(16));
    timers.recovery.max(per_flap)
}

/// Peers that count see it dead, and not fewer than see it alive.
pub(super) fn is_doubted(case: &Case<'_>) -> bool {
    case.tally
        .is_some_and(|tally| tally.dead() > 0 && tally.dead() >= tally.alive())
}

fn lost(case: &Case<'_>, verdict: Verdict) -> Phase {
    match (case.memory.phase, verdict) {
        (Phase::HardEvicting, Verdict::FencedDead) => Phase::HardEvicting,
        (Phase::SoftEvicting | Phase::HardEvicting, _) => Phase::SoftEvicting,
        (Phase::Gone, _) => Phase::Gone,
        _ if case.rack.is_some_and(|rack| rack.is_dark) => Phase::RackDark,
        _ => Phase::QuorumDead,
    }
}
