//! How pools are told to people. Pure.

use std::fmt::Write as _;

use k8s_openapi::jiff::Timestamp;
use proto_crd::condition::Condition;

use super::view::{PoolView, Source};
use crate::age::{short, since};
use crate::output::{Cell, Paint, Tone, columns};

/// Less than that of a pool's addresses free is little: one in twenty.
const LITTLE: u64 = 20;

/// A line for each pool, then what is to be said of them.
pub(super) fn table(views: &[PoolView], now: Timestamp, paint: Paint) -> String {
    let rows = views.iter().map(|view| {
        [
            view.network.as_str().into(),
            view.rack.as_str().into(),
            view.pool.as_str().into(),
            view.capacity.to_string().into(),
            view.claimed.to_string().into(),
            view.bound.to_string().into(),
            view.attached.to_string().into(),
            free(view),
            exhausted(view, now),
        ]
    });
    let headings = [
        "NETWORK",
        "RACK",
        "POOL",
        "CAPACITY",
        "CLAIMED",
        "BOUND",
        "ATTACHED",
        "FREE",
        "EXHAUSTED",
    ];
    columns(headings, rows, paint) + &remarks(views, paint)
}

/// The same, with the subnet and where the numbers are from.
pub(super) fn wide(views: &[PoolView], now: Timestamp, paint: Paint) -> String {
    let rows = views.iter().map(|view| {
        [
            view.network.as_str().into(),
            view.rack.as_str().into(),
            view.pool.as_str().into(),
            view.subnet.as_str().into(),
            view.gateway.as_deref().unwrap_or("-").into(),
            view.capacity.to_string().into(),
            view.claimed.to_string().into(),
            view.bound.to_string().into(),
            view.attached.to_string().into(),
            free(view),
            exhausted(view, now),
            source(view, now).into(),
        ]
    });
    let headings = [
        "NETWORK",
        "RACK",
        "POOL",
        "SUBNET",
        "GATEWAY",
        "CAPACITY",
        "CLAIMED",
        "BOUND",
        "ATTACHED",
        "FREE",
        "EXHAUSTED",
        "COUNTED",
    ];
    columns(headings, rows, paint) + &remarks(views, paint)
}

fn free(view: &PoolView) -> Cell {
    let tone = match view.free {
        0 => Tone::Wrong,
        free if free.saturating_mul(LITTLE) < view.capacity => Tone::Doubtful,
        _ => Tone::Plain,
    };
    Cell::new(tone, view.free.to_string())
}

fn exhausted(view: &PoolView, now: Timestamp) -> Cell {
    match (view.free, view.exhausted_at, view.source) {
        (0, _, _) => Cell::new(Tone::Wrong, "now"),
        (_, Some(at), _) => {
            let left = since(now, at);
            Cell::new(Tone::Doubtful, format!("in {}", short(left)))
        }
        (_, None, Source::Status) => "-".into(),
        (_, None, Source::Claims) => "?".into(),
    }
}

fn source(view: &PoolView, now: Timestamp) -> String {
    match view.source {
        Source::Status => format!("status, so for {}", short(since(view.since, now))),
        Source::Claims => "claims, now".to_owned(),
    }
}

fn remarks(views: &[PoolView], paint: Paint) -> String {
    let mut text = String::new();
    let of = |source| views.iter().filter(move |view| view.source == source);
    let names = |source| {
        of(source)
            .map(|it| it.pool.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if of(Source::Status).next().is_some() {
        text += "\nNumbers of the controllers, who write them within half a minute.\n";
    }
    if of(Source::Claims).next().is_some() {
        let _ = writeln!(
            text,
            "\nCounted from the claims now: {}. The controllers have written no numbers of it as it is, or nobody leads (kubectl -n \
             berth-system get lease berth-controllers), so nobody knows the rate.",
            names(Source::Claims)
        );
    }
    for view in views {
        if let Some(refused) = view.refused() {
            text += &told(&view.pool, refused, paint);
        }
    }
    text
}

/// In the controllers' own words.
fn told(pool: &str, refused: &Condition, paint: Paint) -> String {
    let head = format!("{pool}: not accepted ({})", refused.reason);
    format!(
        "\n{} since {}\n  {}\n",
        paint.paint(Tone::Wrong, &head),
        refused.last_transition_time.0,
        refused.message
    )
}

#[cfg(test)]
mod tests;
