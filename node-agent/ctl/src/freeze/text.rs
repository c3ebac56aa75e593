//! Freezes in words. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use proto_crd::lifecycle_freeze::LifecycleFreeze;

use super::{FrozenScope, is_over, scope_of};
use crate::age::{short, since};
use crate::output::{Cell, Paint, Tone, columns};

const HOLDS: &str = "Berth, and Kubernetes' own controllers of nodes";
const NO_LEADER: &str = "No leader of Berth's controllers is at work: a freeze whose end has passed stays until one is, or until kubectl berth unfreeze.\n";

/// What was made, and from when it holds; `took`: none where that was not seen. `led`: whether a leader is at work.
pub(super) fn made(freeze: &LifecycleFreeze, took: Option<Duration>, led: Option<bool>) -> String {
    let name = freeze.name_any();
    let scope = scope_of(&freeze.spec.scope);
    let mut text = String::new();
    match took {
        Some(took) => {
            let _ = writeln!(
                text,
                "{name}: {scope} is frozen, since {:.2} s after the freeze was made. {}",
                took.as_secs_f64(),
                what(&scope)
            );
        }
        None => {
            let _ = writeln!(
                text,
                "{name}: made, but the API server does not hold by it yet. One that has just started learns of freezes within half a minute; \
                 longer than that, its policy is not there (kubectl get validatingadmissionpolicies berth-freeze berth-freeze-probe). \
                 Berth's own controllers read freezes themselves"
            );
        }
    }
    let until = match freeze.spec.expiry_time {
        Some(end) => format!("until {end}, or until"),
        None => "until".to_owned(),
    };
    let _ = writeln!(text, "That holds {until} kubectl berth unfreeze {name}");
    if matches!(scope, FrozenScope::Rack(_)) {
        text += "Kubernetes' own are held everywhere until Berth's leader has written down which nodes are the rack's.\n";
    }
    if led == Some(false) {
        text += NO_LEADER;
    }
    text
}

fn what(scope: &FrozenScope<'_>) -> String {
    match scope {
        FrozenScope::Application(_) => format!("{HOLDS}, end none of its Pods"),
        FrozenScope::Cluster | FrozenScope::Unknown => {
            format!("{HOLDS}, end no Pod and condemn no node")
        }
        FrozenScope::Rack(_) => format!("{HOLDS}, end no Pod there and condemn none of its nodes"),
        FrozenScope::Node(_) => format!("{HOLDS}, end no Pod there and do not condemn it"),
    }
}

/// What was ended, and what is left; `over`: the API server holds by none of them any more.
pub(super) fn ended(ended: &[LifecycleFreeze], left: &[LifecycleFreeze], over: bool) -> String {
    let mut text = String::new();
    if ended.is_empty() {
        text += "nothing was frozen\n";
    }
    for freeze in ended {
        let _ = writeln!(
            text,
            "{}: {} is not frozen by it any more",
            freeze.name_any(),
            scope_of(&freeze.spec.scope)
        );
    }
    if !over {
        text += "The API server does not say so yet: look at kubectl berth freezes\n";
    }
    if !left.is_empty() {
        let names: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
        let _ = writeln!(text, "Still in force: {}", names.join(", "));
    }
    text
}

/// All of them.
pub(super) fn table(
    freezes: &[LifecycleFreeze],
    now: Timestamp,
    led: Option<bool>,
    wide: bool,
    paint: Paint,
) -> String {
    if freezes.is_empty() {
        return "nothing is frozen\n".to_owned();
    }
    let rows = freezes.iter().map(|freeze| {
        let made = freeze.creation_timestamp();
        let age = made.map_or_else(String::new, |made| short(since(made.0, now)));
        [
            Cell::from(freeze.name_any()),
            scope_of(&freeze.spec.scope).to_string().into(),
            state(freeze, now),
            freeze.spec.by.clone().into(),
            age.into(),
            freeze.spec.ticket.clone().unwrap_or_default().into(),
            freeze.spec.reason.clone().into(),
        ]
    });
    let mut text = if wide {
        columns(
            ["NAME", "FROZEN", "UNTIL", "BY", "AGE", "TICKET", "REASON"],
            rows,
            paint,
        )
    } else {
        let rows = rows
            .map(|[name, scope, until, by, age, _, reason]| [name, scope, until, by, age, reason]);
        columns(
            ["NAME", "FROZEN", "UNTIL", "BY", "AGE", "REASON"],
            rows,
            paint,
        )
    };
    let expired = freezes.iter().any(|freeze| is_over(freeze, now));
    if led == Some(false) && (expired || freezes.iter().any(|it| it.spec.expiry_time.is_some())) {
        text.push('\n');
        text += NO_LEADER;
    }
    text
}

fn state(freeze: &LifecycleFreeze, now: Timestamp) -> Cell {
    match freeze.spec.expiry_time {
        None => "taken away".into(),
        Some(_) if is_over(freeze, now) => {
            Cell::new(Tone::Doubtful, "its end, which has passed: it still holds")
        }
        Some(end) => end.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn freeze(name: &str, scope: &serde_json::Value, end: Option<&str>) -> LifecycleFreeze {
        serde_json::from_value(json!({
            "apiVersion": "berth.dev/v1alpha1", "kind": "LifecycleFreeze",
            "metadata": {"name": name, "creationTimestamp": "2026-01-31T12:00:00Z"},
            "spec": {"scope": scope, "reason": "works on the switch", "by": "ann", "expiryTime": end, "ticket": "T-1"},
        }))
        .unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-31T12:05:00Z".parse().unwrap()
    }

    #[test]
    fn what_holds_is_said_with_its_end_and_how_to_end_it() {
        let cluster = freeze(
            "cluster-x",
            &json!({"cluster": true}),
            Some("2026-01-31T14:00:00Z"),
        );
        let text = made(&cluster, Some(Duration::from_millis(84)), Some(true));
        assert_eq!(
            text,
            "cluster-x: the cluster is frozen, since 0.08 s after the freeze was made. Berth, and Kubernetes' own controllers of nodes, \
             end no Pod and condemn no node\nThat holds until 2026-01-31T14:00:00Z, or until kubectl berth unfreeze cluster-x\n"
        );
        for (led, told) in [(Some(true), false), (None, false), (Some(false), true)] {
            let text = made(&cluster, Some(Duration::ZERO), led);
            assert_eq!(text.contains("No leader"), told, "{text}");
        }
        let rack = freeze("rack-a-x", &json!({"rack": "a"}), None);
        let text = made(&rack, Some(Duration::ZERO), Some(true));
        assert!(text.contains("rack a is frozen"), "{text}");
        assert!(
            text.contains("That holds until kubectl berth unfreeze rack-a-x"),
            "{text}"
        );
        assert!(
            text.contains("held everywhere until Berth's leader"),
            "{text}"
        );
    }

    #[test]
    fn what_does_not_hold_is_not_said_to() {
        let node = freeze("node-n1-x", &json!({"node": "n1"}), None);
        let text = made(&node, None, Some(true));
        assert!(text.contains("does not hold by it yet"), "{text}");
        assert!(!text.contains("is frozen"), "{text}");
    }

    #[test]
    fn expired_freeze_that_is_there_is_told_to_hold() {
        let all = [
            freeze("cluster-x", &json!({"cluster": true}), None),
            freeze(
                "node-n1-x",
                &json!({"node": "n1"}),
                Some("2026-01-31T12:04:59Z"),
            ),
            freeze(
                "app-shop-x",
                &json!({"application": {"namespace": "prod", "name": "shop"}}),
                Some("2026-01-31T13:00:00Z"),
            ),
        ];
        let text = table(&all, now(), Some(false), false, Paint::NONE);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[1].contains("the cluster") && lines[1].contains("taken away"),
            "{text}"
        );
        assert!(lines[2].contains("has passed: it still holds"), "{text}");
        assert!(lines[3].contains("application prod/shop"), "{text}");
        assert!(text.contains("No leader"), "{text}");
        assert!(!text.contains("T-1"), "{text}");
        let wide = table(&all, now(), Some(true), true, Paint::NONE);
        assert!(
            wide.contains("T-1") && !wide.contains("No leader"),
            "{wide}"
        );
        assert_eq!(
            table(&[], now(), None, false, Paint::NONE),
            "nothing is frozen\n"
        );
    }

    #[test]
    fn what_is_left_is_told_when_some_are_ended() {
        let one = freeze("cluster-x", &json!({"cluster": true}), None);
        let other = freeze("node-n1-x", &json!({"node": "n1"}), None);
        let text = ended(&[one], &[other], true);
        assert_eq!(
            text,
            "cluster-x: the cluster is not frozen by it any more\nStill in force: node-n1-x\n"
        );
        assert_eq!(ended(&[], &[], true), "nothing was frozen\n");
    }
}
