//! What comes next for a node, by the phase of its life. Pure.

use proto_crd::names::FENCED_BY_ANNOTATION;

use crate::output::Tone;

/// What a phase means and what comes next, in a sentence; and how good that is. A phase that this version does not know: nothing.
#[expect(clippy::too_many_lines, reason = "one sentence a phase")]
pub(super) fn next(phase: &str, node: &str) -> Option<(Tone, String)> {
    let (tone, text) = match phase {
        "Healthy" => (Tone::Fine, "Nothing is done about it.".into()),
        "Cordoned" => (
            Tone::Doubtful,
            "It gets no new Pods, because of what its agent finds. When that is over for five minutes, it gets Pods again.".into(),
        ),
        "Draining" => (
            Tone::Doubtful,
            "It is in touch: its Pods are evicted one by one, as far as disruption budgets allow. Then it waits for people.".into(),
        ),
        "Empty" => (
            Tone::Doubtful,
            "It is drained, and waits for people. When what was found is over for five minutes, it gets Pods again.".into(),
        ),
        "Suspect" => (
            Tone::Doubtful,
            "Its kubelet is silent and nobody knows why. Nothing is done until enough others see it dead, or somebody sees it alive.".into(),
        ),
        "ControlPlaneCut" => (
            Tone::Doubtful,
            "It lives and does not reach the API server. It gets no new Pods; those that run are left alone, with their traffic. After half an \
             hour people are called."
                .into(),
        ),
        "KubeletDown" => (
            Tone::Wrong,
            "It lives and its kubelet does not. kubelet may be restarted; its Pods are left alone.".into(),
        ),
        "RackDark" | "QuorumDead" => (
            Tone::Wrong,
            "It is lost. When it has been for long enough, and nothing holds it, its Pods are replaced where another may run beside; none is deleted."
                .into(),
        ),
        "SoftEvicting" => (
            Tone::Wrong,
            format!(
                "Its Pods are replaced where another may run beside; none is deleted, since nothing proves that it is off. If it is, say so: \
                 kubectl annotate --overwrite node {node} {FENCED_BY_ANNOTATION}=operator:$USER:$(date -u +%FT%TZ)"
            ),
        ),
        "HardEvicting" => (
            Tone::Wrong,
            "It is proven to run nothing any more: what is left of its Pods is deleted one by one, and its addresses may be taken.".into(),
        ),
        "Gone" => (
            Tone::Wrong,
            "It is proven to run nothing any more, and nothing of it is left. When it is back, it is watched before it gets Pods.".into(),
        ),
        "Recovering" => (
            Tone::Doubtful,
            "It is back and nobody relies on it yet: it gets Pods when it has been well for two minutes, or longer for each time that it came and \
             went. What was replaced meanwhile is ended one Pod per five seconds."
                .into(),
        ),
        "Flapping" => (
            Tone::Doubtful,
            "It comes and goes: it gets no new Pods until it has been there for long enough.".into(),
        ),
        _ => return None,
    };
    Some((tone, text))
}

#[cfg(test)]
mod tests {
    use node_agent_lifecycle::phase::Phase;

    use super::*;

    #[test]
    fn every_phase_says_what_comes_next() {
        use Phase as P;
        for phase in [
            P::Healthy,
            P::Cordoned,
            P::Draining,
            P::Empty,
            P::Suspect,
            P::ControlPlaneCut,
            P::KubeletDown,
            P::RackDark,
            P::QuorumDead,
            P::SoftEvicting,
            P::HardEvicting,
            P::Gone,
            P::Recovering,
            P::Flapping,
        ] {
            let (tone, text) = next(&format!("{phase:?}"), "n7").unwrap();
            let lost = phase.is_lost() || phase == P::KubeletDown;
            assert_eq!(tone == Tone::Wrong, lost, "{phase:?}: {text}");
        }
        assert_eq!(next("Elsewhere", "n7"), None);
    }
}
