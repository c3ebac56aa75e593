//! What letting a binding go would break. Pure.

use std::fmt::Write as _;

use proto_crd::claim::ClaimBinding;
use serde::Serialize;

use crate::claims::{ClaimSeen, State, mark_words};
use crate::cluster::StatefulSetSeen;
use crate::output::{Paint, Tone};
use crate::seen::PodSeen;

/// A claim with what decides about it.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// The claim.
    pub(super) claim: ClaimSeen,
    /// Whether its owner still wants it.
    pub(super) wanted: Wanted,
    /// Its Pod, if there is one.
    pub(super) pod: Option<PodSeen>,
}

/// Whether the owner of a Pod still wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It has no owner, or that is gone, or its replicas do not include it any more.
    Nobody,
    /// It does.
    Yes,
    /// That could not be found out.
    Unknown(String),
}

impl Wanted {
    /// By the `StatefulSet` of the same UID, if there is one.
    pub(super) fn by(set: Option<StatefulSetSeen>, ordinal: Option<i64>) -> Self {
        let wants = set.is_some_and(|set| {
            let ordinals = set.first..set.first.saturating_add(set.replicas);
            !set.deleting && ordinal.is_none_or(|ordinal| ordinals.contains(&ordinal))
        });
        if wants { Self::Yes } else { Self::Nobody }
    }
}

/// What is said of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "verdict")]
pub(super) enum Verdict {
    /// It can go.
    Fine,
    /// It can go, and then this breaks.
    Warned { because: Vec<String> },
    /// It cannot go.
    Refused { because: String },
    /// There is nothing to let go, or somebody has said so already.
    Nothing { because: String },
}

impl Verdict {
    /// A mark is to be set.
    pub(super) fn is_to_be_marked(&self) -> bool {
        matches!(self, Self::Fine | Self::Warned { .. })
    }

    /// How bad that is.
    pub(super) fn tone(&self) -> Tone {
        match self {
            Self::Fine => Tone::Fine,
            Self::Warned { .. } => Tone::Doubtful,
            Self::Refused { .. } => Tone::Wrong,
            Self::Nothing { .. } => Tone::Plain,
        }
    }
}

/// What becomes of it.
pub(super) fn judge(observed: &Observed) -> Verdict {
    let claim = &observed.claim;
    let spec = &claim.spec;
    let Some(binding) = &spec.binding else {
        return Verdict::Nothing {
            because: format!(
                "it belongs to nobody: node {} has it for its next Pod, and gives it back by itself when it has too many",
                spec.node
            ),
        };
    };
    let identity = &binding.identity;
    if claim.state() == State::Attached {
        return Verdict::Refused {
            because: format!(
                "it is attached to {identity} on node {}: delete that Pod first. If the Pod is gone already, kubectl berth check \
                 says more; if the node is off, kubectl berth fence {}",
                spec.node, spec.node
            ),
        };
    }
    if let Some(mark) = &spec.release {
        return Verdict::Nothing {
            because: format!(
                "it was released {}; node {} has not let it go yet",
                mark_words(mark),
                spec.node
            ),
        };
    }
    let because = breaks(observed, binding);
    if because.is_empty() {
        Verdict::Fine
    } else {
        Verdict::Warned { because }
    }
}

/// What does not work any more without the binding.
fn breaks(observed: &Observed, binding: &ClaimBinding) -> Vec<String> {
    let identity = &binding.identity;
    let mut because = Vec::new();
    match (&observed.wanted, &binding.owner) {
        (Wanted::Yes, Some(owner)) => because.push(format!(
            "{} {} still wants {identity}: its next Pod gets another address and MAC",
            owner.kind, owner.name
        )),
        (Wanted::Unknown(why), _) => because.push(why.clone()),
        _ => {}
    }
    if let Some(pod) = observed.pod.as_ref().filter(|pod| !pod.has_ended()) {
        let node = pod.node.as_ref();
        because.push(format!(
            "Pod {} exists{} and does not have it yet: it may be starting, and would get another",
            pod.key(),
            node.map_or_else(String::new, |node| format!(" on node {node}"))
        ));
    }
    if let Some(note) = &binding.reservation {
        let note = if note.is_empty() {
            "without a note"
        } else {
            note
        };
        because.push(format!("somebody has reserved it for {identity} ({note})"));
    }
    if let Some(handover) = &observed.claim.spec.handover {
        because.push(format!(
            "node {} asks for it, for a Pod of that identity",
            handover.to
        ));
    }
    because
}

/// All of it for people.
pub(super) fn text(observed: &[Observed], verdicts: &[Verdict], paint: Paint) -> String {
    let mut text = String::new();
    for (it, verdict) in observed.iter().zip(verdicts) {
        let spec = &it.claim.spec;
        let head = format!(
            "{} of network {}, {} for {}, held by node {}",
            spec.address,
            spec.network,
            it.claim.words(),
            it.claim.identity().unwrap_or("nobody"),
            spec.node
        );
        let _ = writeln!(text, "{}", paint.paint(verdict.tone(), &head));
        let (label, reasons) = match verdict {
            Verdict::Fine => ("breaks", vec!["nothing".to_owned()]),
            Verdict::Warned { because } => ("breaks", because.clone()),
            Verdict::Refused { because } => ("refused", vec![because.clone()]),
            Verdict::Nothing { because } => ("nothing", vec![because.clone()]),
        };
        for reason in reasons {
            let _ = writeln!(text, "  {label:<8} {reason}");
        }
        if let Some(mark) = spec.fenced.as_ref().filter(|_| verdict.is_to_be_marked()) {
            let _ = writeln!(
                text,
                "  note     its node was fenced {}: it is let go once a node that lives holds it",
                mark_words(mark)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests;
