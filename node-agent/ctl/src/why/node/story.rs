//! What is known of a node's life, in sentences. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use proto_crd::lifecycle_freeze::LifecycleFreeze;
use proto_crd::names;
use proto_crd::node_decision::{ChangeType, NodeDecisionSpec, OutcomeType};

use super::super::Sentence;
use super::{Known, next};
use crate::age::{short, since};
use crate::decisions::{outcomes, when};
use crate::freeze::{FrozenScope, is_over, scope_of};
use crate::output::Tone;

/// A leader renews its Lease every few seconds.
const LEADER_ALIVE: Duration = Duration::from_secs(30);
/// So much evidence, and so many Pods, say enough; `kubectl berth decisions` has all.
const TOLD: usize = 12;

/// All of it.
pub(super) fn tell(known: &Known, now: Timestamp) -> Vec<Sentence> {
    let mut story = vec![present(known)];
    let verdict = last(&known.decisions, ChangeType::Verdict);
    let phase = last(&known.decisions, ChangeType::Phase);
    story.extend(verdict_words(known, verdict, now));
    if let Some(phase) = phase {
        let to = phase.change.to.as_deref().unwrap_or("?");
        let words = format!("It is {to}, since {}.", ago(phase, now));
        story.push(Sentence::plain(words));
    }
    // What was done since it was last healthy.
    let begin = known.decisions.iter().rposition(|it| {
        it.change.r#type == ChangeType::Phase && it.change.to.as_deref() == Some("Healthy")
    });
    let since_healthy = known.decisions.get(begin.map_or(0, |it| it + 1)..);
    story.extend(deeds(since_healthy.unwrap_or_default()));
    story.extend(marks(known));
    story.extend(holds(known, since_healthy.unwrap_or_default(), now));
    let to = phase.and_then(|phase| phase.change.to.as_deref());
    match to.and_then(|to| next::next(to, &known.name)) {
        Some((tone, text)) => story.push(Sentence::toned(tone, text)),
        None if to.is_some() => story.push(Sentence::plain(
            "What comes next this version does not know.",
        )),
        None => {}
    }
    story
}

fn last(decisions: &[NodeDecisionSpec], kind: ChangeType) -> Option<&NodeDecisionSpec> {
    decisions.iter().rev().find(|it| it.change.r#type == kind)
}

/// When it was decided, with its number.
fn ago(decision: &NodeDecisionSpec, now: Timestamp) -> String {
    let ago = when(decision).map_or_else(String::new, |time| {
        format!(", {} ago", short(since(time, now)))
    });
    format!("{} ({}{ago})", decision.time, decision.id)
}

fn present(known: &Known) -> Sentence {
    let name = &known.name;
    let Some(node) = &known.node else {
        return Sentence::toned(
            Tone::Doubtful,
            format!("Node {name} is not there (any more)."),
        );
    };
    let rack = match &node.rack {
        Some(rack) => format!(" in rack {rack}"),
        None => " has no rack".to_owned(),
    };
    let text = format!("Node {name}{rack}: {}.", node.readiness);
    match node.ready {
        Some(true) => Sentence::plain(text),
        Some(false) | None => Sentence::toned(Tone::Doubtful, text),
    }
}

fn verdict_words(
    known: &Known,
    verdict: Option<&NodeDecisionSpec>,
    now: Timestamp,
) -> Vec<Sentence> {
    let led = known.led.is_some_and(|led| since(led, now) < LEADER_ALIVE);
    let mut told = Vec::new();
    if !led {
        told.push(Sentence::toned(
            Tone::Doubtful,
            "No leader of Berth's controllers is at work: nothing is decided, and what follows may be old.",
        ));
    }
    let Some(verdict) = verdict else {
        told.push(Sentence::plain(
            "Nothing was decided about it that is kept: Berth takes it for healthy, or has not looked.",
        ));
        return told;
    };
    let to = verdict.change.to.as_deref().unwrap_or("?");
    let text = format!("Berth takes it for {to}, since {}", ago(verdict, now));
    if verdict.evidence.is_empty() {
        told.push(Sentence::plain(text + "."));
        return told;
    }
    told.push(Sentence::plain(text + ", because:"));
    let evidence = verdict.evidence.iter().take(TOLD);
    told.extend(evidence.map(|it| Sentence::plain(format!("  {}", it.text))));
    let more = verdict.evidence.len().saturating_sub(TOLD);
    if more > 0 {
        let id = &verdict.id;
        told.push(Sentence::plain(format!(
            "  and {more} more: kubectl get nd {id} -n {} -o yaml",
            names::NAMESPACE
        )));
    }
    told
}

/// What was done, and to whom: each action with what became of it; many Pods in one sentence.
fn deeds(decisions: &[NodeDecisionSpec]) -> Vec<Sentence> {
    let outcomes = outcomes(decisions);
    let mut groups: BTreeMap<(u64, String, String), Vec<String>> = BTreeMap::new();
    let mut order: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut told = Vec::new();
    for (place, decision) in (0..).zip(decisions) {
        match decision.change.r#type {
            ChangeType::Action => {
                let became = became(decision, outcomes.get(decision.id.as_str()).copied());
                if let Some(target) = decision.targets.first() {
                    let action = decision.change.action.clone().unwrap_or_default();
                    let key = (action.clone(), became.clone());
                    let place = *order.entry(key).or_insert(place);
                    let group = groups.entry((place, action, became)).or_default();
                    group.push(format!("{}/{}", target.namespace, target.name));
                } else {
                    let text = format!("{}  {}: {became}", decision.time, decision.change.text);
                    told.push((place, Sentence::plain(text)));
                }
            }
            ChangeType::Cancelled => {
                let text = format!("{}  {}", decision.time, decision.change.text);
                told.push((place, Sentence::plain(text)));
            }
            ChangeType::Escalated => {
                let text = format!("{}  {}", decision.time, decision.change.text);
                told.push((place, Sentence::toned(Tone::Wrong, text)));
            }
            _ => {}
        }
    }
    for ((place, action, became), pods) in groups {
        let first: Vec<_> = pods.iter().take(TOLD).map(String::as_str).collect();
        let more = pods.len().saturating_sub(TOLD);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let count = pods.len();
        let noun = if count == 1 { "Pod" } else { "Pods" };
        let text = format!(
            "{} {count} {noun} ({}{more}): {became}",
            verb(&action),
            first.join(", ")
        );
        told.push((place, Sentence::plain(text)));
    }
    told.sort_by_key(|(place, _)| *place);
    let mut told: Vec<_> = told.into_iter().map(|(_, sentence)| sentence).collect();
    for sentence in &mut told {
        sentence.text.insert_str(0, "  ");
    }
    if !told.is_empty() {
        told.insert(
            0,
            Sentence::plain("What was done since it was last healthy:"),
        );
    }
    told
}

/// What is done to Pods, in words; of an action that this version does not know, its name.
fn verb(action: &str) -> &str {
    match action {
        "SoftEvict" => "replace without deleting",
        "Readopt" => "count again",
        "Evict" => "evict, as disruption budgets allow,",
        "HardDelete" => "delete, the node being fenced,",
        "EndSuperseded" => "end, the replacement being ready,",
        other => other,
    }
}

/// What became of an action, in words.
fn became(decision: &NodeDecisionSpec, outcome: Option<&NodeDecisionSpec>) -> String {
    let last = outcome.unwrap_or(decision);
    let message = last.outcome.message.as_deref().unwrap_or("nobody said why");
    match last.outcome.r#type {
        OutcomeType::Done => "done".to_owned(),
        OutcomeType::WouldDo => "not done, it is in dry-run".to_owned(),
        OutcomeType::Failed => format!("failed: {message}"),
        OutcomeType::Recorded | OutcomeType::Ordered => "ordered".to_owned(),
    }
}

/// What stands on the Node itself.
fn marks(known: &Known) -> Vec<Sentence> {
    let mut told = Vec::new();
    for taint in &known.taints {
        let value = taint.value.as_deref().unwrap_or_default();
        if taint.key == names::CORDON_TAINT {
            told.push(Sentence::plain(format!(
                "It has the taint {}: it gets no new Pods.",
                names::CORDON_TAINT
            )));
        } else if taint.key == names::OUT_OF_SERVICE_TAINT {
            let by = match value {
                names::OUT_OF_SERVICE_BY_BERTH => "by Berth's decision",
                _ => "somebody says so",
            };
            told.push(Sentence::toned(
                Tone::Doubtful,
                format!("It is out of service, {by} (taint {}={value}).", taint.key),
            ));
        }
    }
    for (key, value) in &known.said {
        if key == names::FENCED_BY_ANNOTATION {
            told.push(Sentence::plain(format!(
                "It is proven to be off: {value} ({key})."
            )));
        } else if key == names::MAINTENANCE_ANNOTATION {
            told.push(Sentence::plain(format!(
                "People have said that it is down until {value} ({key})."
            )));
        }
    }
    told
}

/// What holds back what would be done.
fn holds(known: &Known, since_healthy: &[NodeDecisionSpec], now: Timestamp) -> Vec<Sentence> {
    let mut told = Vec::new();
    for freeze in known.freezes.iter().filter(|it| holds_node(it, known)) {
        told.push(Sentence::toned(Tone::Doubtful, frozen(freeze, now)));
    }
    let status = known.policy.as_ref().and_then(|it| it.status.as_ref());
    for breaker in status.iter().flat_map(|it| &it.breakers) {
        told.push(Sentence::toned(
            Tone::Doubtful,
            format!("Held by a breaker: {breaker}."),
        ));
    }
    // Said once, until the reason is another; what was done after it was not held by it.
    let last = since_healthy.iter().rev().find(|it| {
        matches!(
            it.change.r#type,
            ChangeType::Held | ChangeType::Action | ChangeType::Phase
        )
    });
    if let Some(held) = last.filter(|it| it.change.r#type == ChangeType::Held) {
        let hold = held.change.hold.as_deref().unwrap_or(&held.change.text);
        told.push(Sentence::toned(
            Tone::Doubtful,
            format!(
                "Something is due and was held: {hold}, since {}.",
                ago(held, now)
            ),
        ));
    }
    if known.policy.is_none() && !known.decisions.is_empty() {
        told.push(Sentence::plain(
            "There is no LifecyclePolicy: everything is in dry-run, decided and not done.",
        ));
    }
    told
}

fn frozen(freeze: &LifecycleFreeze, now: Timestamp) -> String {
    let name = freeze.name_any();
    let spec = &freeze.spec;
    let until = match spec.expiry_time {
        Some(end) if is_over(freeze, now) => {
            format!("its end, {end}, has passed, and no leader has taken it away")
        }
        Some(end) => format!("until {end}"),
        None => format!("until kubectl berth unfreeze {name}"),
    };
    let scope = scope_of(&spec.scope);
    format!(
        "Frozen by {name} ({scope}), says {}: {}; {until}.",
        spec.by, spec.reason
    )
}

fn holds_node(freeze: &LifecycleFreeze, known: &Known) -> bool {
    match scope_of(&freeze.spec.scope) {
        FrozenScope::Cluster => true,
        FrozenScope::Rack(rack) => known.rack() == Some(rack),
        FrozenScope::Node(node) => node == known.name,
        // Some of its Pods, perhaps.
        FrozenScope::Application(_) | FrozenScope::Unknown => false,
    }
}

#[cfg(test)]
mod tests;
