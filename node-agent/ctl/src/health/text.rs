//! How health is told to people. Pure.

use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;
use proto_crd::node_health::{Decision, Signal, SignalState};

use super::peers;
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
            peers::cell(view),
            ago(view.report_time, now).into(),
            ago(view.agent_renew_time, now).into(),
        ]
    });
    let headings = [
        "NODE",
        "HEALTH",
        "WRONG OR UNKNOWN",
        "PEERS ALIVE",
        "REPORTED",
        "AGENT",
    ];
    let mut text = columns(headings, rows, paint);
    for view in views {
        text += &details(view, now, paint);
        if view.void.is_none() {
            text += &peers::details(view, now, paint);
        }
    }
    text
}

/// A line for each signal of each node, and for each of its peers.
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
            area(signal).into(),
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
        let mut signals: Vec<_> = view.signals.iter().collect();
        signals.sort_by_key(|signal| signal.area);
        let mut rows: Vec<_> = signals.into_iter().map(|it| row(view, it)).collect();
        if rows.is_empty() {
            let empty = || Cell::from("");
            let node = view.node.as_str().into();
            rows.push([
                node,
                empty(),
                empty(),
                state(view.state),
                empty(),
                empty(),
                "no report".into(),
                empty(),
            ]);
        }
        if view.void.is_none() {
            let of_peers = peers::lines(view).into_iter();
            rows.extend(of_peers.map(|line| of_peer(view, line, now)));
        }
        rows
    });
    let headings = [
        "NODE",
        "AREA",
        "SIGNAL",
        "HEALTH",
        "SINCE",
        "SEEN",
        "VALUE",
        "HEALTHY WHEN",
    ];
    columns(headings, rows, paint)
}

fn of_peer(
    view: &NodeView,
    (name, state, from, value, wanted): peers::Line,
    now: Timestamp,
) -> [Cell; 8] {
    [
        view.node.as_str().into(),
        "peers".into(),
        name.into(),
        state,
        short(since(from, now)).into(),
        ago(view.report_time, now).into(),
        value.into(),
        wanted.into(),
    ]
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

fn ago(time: Option<Timestamp>, now: Timestamp) -> String {
    time.map_or_else(
        || "never".to_owned(),
        |time| format!("{} ago", short(since(time, now))),
    )
}

/// Those that people are to look at, those of one part of the node together.
fn noted(view: &NodeView) -> Vec<&Signal> {
    let mut noted: Vec<_> = view
        .signals
        .iter()
        .filter(|it| is_noted(it.state))
        .collect();
    noted.sort_by_key(|signal| (signal.area, signal.state == SignalState::Unknown));
    noted
}

fn area(signal: &Signal) -> String {
    let area = signal.area.map(|area| format!("{area:?}"));
    area.unwrap_or_default().to_lowercase()
}

fn summary(view: &NodeView, now: Timestamp) -> String {
    if view.void.is_some() {
        return "no report in force".to_owned();
    }
    let mut text = String::new();
    let mut last = None;
    for signal in noted(view) {
        let of = area(signal);
        match &last {
            None => {}
            Some(before) if *before != of => text += "; ",
            Some(_) => text += ", ",
        }
        if last.as_ref() != Some(&of) && !of.is_empty() {
            let _ = write!(text, "{of}: ");
        }
        let doubt = if signal.state == SignalState::Unknown {
            "?"
        } else {
            ""
        };
        let lasting = short(since(signal.since.0, now));
        let _ = write!(text, "{}{doubt} {lasting}", signal.name);
        last = Some(of);
    }
    text
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
        let before = noted(view);
        for signal in &before {
            let name = &signal.name;
            let _ = writeln!(text, "  before  {name} was {}", word(signal.state));
        }
        let rest = view.signals.len() - before.len();
        if rest > 0 {
            let _ = writeln!(text, "  before  {rest} signals were as they should be");
        }
        return text;
    }
    for signal in noted(view) {
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
    let part = area(signal);
    let lines = [
        ("part", Some(part.as_str()).filter(|part| !part.is_empty())),
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
        Decision::Observe => "to look at it; nothing is done by itself",
        Decision::Cordon => {
            "to keep new Pods away (kubectl cordon); done by itself where the LifecyclePolicy enforces cordon"
        }
        Decision::Drain => {
            "to move Pods away (kubectl drain); done by itself where the LifecyclePolicy enforces drain"
        }
        Decision::Urgent => {
            "to move Pods away at once; done by itself where the LifecyclePolicy enforces drain"
        }
    }
}

#[cfg(test)]
mod tests;
