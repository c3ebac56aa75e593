//! Decisions as a table in words. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proto_crd::node_decision::{ChangeType, NodeDecisionSpec, OutcomeType, SubjectKind};

use super::chain::Findings;
use crate::output::{Cell, Paint, Tone, columns};

/// So many faults say enough.
const TOLD: usize = 10;

/// What a decision is about, in words.
pub(super) fn about(decision: &NodeDecisionSpec) -> String {
    let name = decision.subject.name.as_deref().unwrap_or_default();
    match decision.subject.kind {
        SubjectKind::Cluster => "the cluster".to_owned(),
        SubjectKind::Rack => format!("rack {name}"),
        SubjectKind::Node => name.to_owned(),
    }
}

/// All of them.
pub(super) fn table(decisions: &[NodeDecisionSpec], wide: bool, paint: Paint) -> String {
    let by_id: BTreeMap<_, _> = decisions.iter().map(|it| (it.id.as_str(), it)).collect();
    let what = |decision: &NodeDecisionSpec| match decision.of.as_deref() {
        // Its own words are only the other's id.
        Some(of) => match by_id.get(of) {
            Some(of) => format!("{} ({})", of.change.text, of.id),
            None => decision.change.text.clone(),
        },
        None => decision.change.text.clone(),
    };
    if wide {
        let rows = decisions.iter().map(|it| {
            [
                Cell::from(it.id.clone()),
                it.time.to_string().into(),
                about(it).into(),
                it.rack.clone().unwrap_or_default().into(),
                what(it).into(),
                outcome(it),
                it.change.mode.clone().unwrap_or_default().into(),
                budget(it).into(),
                it.leader.clone().into(),
                evidence(it).into(),
            ]
        });
        let headings = [
            "ID", "TIME", "ABOUT", "RACK", "WHAT", "OUTCOME", "MODE", "BUDGET", "LEADER", "BECAUSE",
        ];
        return columns(headings, rows, paint);
    }
    let rows = decisions.iter().map(|it| {
        [
            Cell::from(it.time.to_string()),
            about(it).into(),
            what(it).into(),
            outcome(it),
        ]
    });
    columns(["TIME", "ABOUT", "WHAT", "OUTCOME"], rows, paint)
}

/// What became of it, in words.
pub(crate) fn outcome(decision: &NodeDecisionSpec) -> Cell {
    let message = decision.outcome.message.as_deref().unwrap_or_default();
    let tone = match decision.change.r#type {
        ChangeType::Escalated => Tone::Wrong,
        ChangeType::Held | ChangeType::BreakerOpened => Tone::Doubtful,
        _ => Tone::Plain,
    };
    match decision.outcome.r#type {
        OutcomeType::Recorded => Cell::new(tone, "noted"),
        OutcomeType::Ordered => "ordered".into(),
        OutcomeType::WouldDo => Cell::new(Tone::Doubtful, "not done: dry-run"),
        OutcomeType::Done => Cell::new(Tone::Fine, "done"),
        OutcomeType::Failed => Cell::new(Tone::Wrong, format!("failed: {message}")),
    }
}

fn budget(decision: &NodeDecisionSpec) -> String {
    let budget = &decision.budget;
    let part = |name, part: proto_crd::node_decision::BudgetUse| {
        (part.limit > 0).then(|| format!("{name} {}/{}", part.used, part.limit))
    };
    let parts = [
        part("cluster", budget.cluster),
        part("rack", budget.rack),
        part("dark racks", budget.dark_racks),
        Some(format!("pods {}", budget.pods)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn evidence(decision: &NodeDecisionSpec) -> String {
    let texts: Vec<_> = decision
        .evidence
        .iter()
        .map(|it| it.text.as_str())
        .collect();
    texts.join("; ")
}

/// Whether the record holds together, in words.
pub(super) fn chain(findings: &Findings, paint: Paint) -> String {
    let mut text = String::new();
    let Findings {
        sound,
        unrecorded,
        links,
        broken,
        missing,
    } = findings;
    if *sound + *unrecorded + broken.len() == 0 {
        return text;
    }
    text.push('\n');
    if broken.is_empty() {
        let _ = write!(
            text,
            "The record holds together: {sound} decisions are what was written down, {links} follow the one before"
        );
        if *unrecorded > 0 {
            let _ = write!(
                text,
                "; {unrecorded} are too long to be verified here, the archive has them"
            );
        }
        text.push('\n');
    } else {
        text += &paint.paint(Tone::Wrong, "The record does not hold together:");
        text.push('\n');
        text += &some(broken, paint, Tone::Wrong);
    }
    if !missing.is_empty() {
        text += &paint.paint(
            Tone::Doubtful,
            "Not here (removed because there are many, of which the archive has them; or by somebody):",
        );
        text.push('\n');
        text += &some(missing, paint, Tone::Doubtful);
    }
    text
}

fn some(lines: &[String], paint: Paint, tone: Tone) -> String {
    let mut text = String::new();
    for line in lines.iter().take(TOLD) {
        let _ = writeln!(text, "  {}", paint.paint(tone, line));
    }
    if lines.len() > TOLD {
        let _ = writeln!(text, "  and {} more", lines.len() - TOLD);
    }
    text
}

#[cfg(test)]
mod tests;
