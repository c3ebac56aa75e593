//! How health is told to people. Pure.

use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;
use proto_crd::node_health::{Decision, Signal, SignalState};

use super::view::NodeView;
use crate::age::{short, since};
use crate::output::{Cell, Paint, Tone, columns};

/// A line for each node, then a paragraph for everything that is not as it should be.
pub(super) fn table(views: &[NodeView], now: Timestamp, paint: Paint) -> String {
    let rows = views.iter().map(|view| {
        [
            view.node.as_str().into(),
            state(view.state),
            summary(view, now).into(),
            reported(view, now).into(),
        ]
    });
    let headings = ["NODE", "HEALTH", "WRONG OR UNKNOWN", "REPORTED"];
    let mut text = columns(headings, rows, paint);
    for view in views {
        text += &details(view, now, paint);
    }
    text
}

/// A line for each signal of each node.
pub(super) fn wide(views: &[NodeView], now: Timestamp, paint: Paint) -> String {
    let row = |view: &NodeView, signal: &Signal| {
        let known = if view.void.is_some() {
            SignalState::Unknown
        } else {
            signal.state
        };
        let seen = signal.observed_time.as_ref();
        [
            view.node.as_str().into(),
            signal.name.as_str().into(),
            state(known),
            short(since(signal.since.0, now)).into(),
            seen.map_or_else(
                || "never".to_owned(),
                |time| format!("{} ago", short(since(time.0, now))),
            )
            .into(),
            signal.value.as_str().into(),
            signal.threshold.as_str().into(),
        ]
    };
    let rows = views.iter().flat_map(|view| {
        let mut rows: Vec<_> = view.signals.iter().map(|it| row(view, it)).collect();
        if rows.is_empty() {
            let empty = || Cell::from("");
            let node = view.node.as_str().into();
            rows.push([
                node,
                empty(),
                state(view.state),
                empty(),
                empty(),
                "no report".into(),
                empty(),
            ]);
        }
        rows
    });
    let headings = [
        "NODE",
        "SIGNAL",
        "HEALTH",
        "SINCE",
        "SEEN",
        "VALUE",
        "HEALTHY WHEN",
    ];
    columns(headings, rows, paint)
}

fn tone(state: SignalState) -> Tone {
    match state {
        SignalState::Healthy => Tone::Fine,
        SignalState::Unhealthy => Tone::Wrong,
        SignalState::Unknown => Tone::Doubtful,
        SignalState::Absent => Tone::Plain,
    }
}

/// Whether people are to look at it.
fn is_noted(state: SignalState) -> bool {
    matches!(state, SignalState::Unhealthy | SignalState::Unknown)
}

fn word(state: SignalState) -> &'static str {
    match state {
        SignalState::Healthy => "healthy",
        SignalState::Unhealthy => "unhealthy",
        SignalState::Unknown => "unknown",
        SignalState::Absent => "absent",
    }
}

fn state(state: SignalState) -> Cell {
    Cell::new(tone(state), word(state))
}

fn reported(view: &NodeView, now: Timestamp) -> String {
    view.report_time.map_or_else(
        || "never".to_owned(),
        |time| format!("{} ago", short(since(time, now))),
    )
}

fn summary(view: &NodeView, now: Timestamp) -> String {
    if view.void.is_some() {
        return "no report in force".to_owned();
    }
    let noted = view.signals.iter().filter(|it| is_noted(it.state));
    let named = noted.map(|signal| {
        let doubt = if signal.state == SignalState::Unknown {
            "?"
        } else {
            ""
        };
        format!(
            "{}{doubt} {}",
            signal.name,
            short(since(signal.since.0, now))
        )
    });
    named.collect::<Vec<_>>().join(", ")
}

fn details(view: &NodeView, now: Timestamp, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(void) = &view.void {
        let head = format!("{}: not known", view.node);
        let _ = write!(
            text,
            "\n{}\n  what    {}\n  to do   {}\n",
            paint.paint(Tone::Doubtful, &head),
            void.message,
            void.advice
        );
        for signal in &view.signals {
            let name = &signal.name;
            let _ = writeln!(text, "  before  {name} was {}", word(signal.state));
        }
        return text;
    }
    for signal in view.signals.iter().filter(|it| is_noted(it.state)) {
        text += &paragraph(&view.node, signal, now, paint);
    }
    text
}

fn paragraph(node: &str, signal: &Signal, now: Timestamp, paint: Paint) -> String {
    let head = format!("{node}: {} is {}", signal.name, word(signal.state));
    let mut text = format!(
        "\n{} since {} ({})\n",
        paint.paint(tone(signal.state), &head),
        signal.since.0,
        short(since(signal.since.0, now))
    );
    let lines = [
        ("what", signal.message.as_deref()),
        ("means", signal.impact.as_deref()),
        ("to do", signal.advice.as_deref()),
        ("enough", signal.decision.map(decision)),
    ];
    for (label, line) in lines {
        if let Some(line) = line {
            let _ = writeln!(text, "  {label:<7} {line}");
        }
    }
    text
}

/// What it is reason enough for.
fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Observe => "to look at it; Berth does nothing by itself",
        Decision::Cordon => "to keep new Pods away (kubectl cordon); Berth does nothing by itself",
        Decision::Drain => "to move Pods away (kubectl drain); Berth does nothing by itself",
        Decision::Urgent => "to move Pods away at once; Berth does nothing by itself",
    }
}

#[cfg(test)]
mod tests;
