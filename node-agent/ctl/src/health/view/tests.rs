use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_763_719_200 + second).unwrap()
}

fn report(states: &[&str]) -> NodeHealth {
    let signal = |(index, state): (usize, &&str)| {
        json!({
            "name": format!("s{index}"), "state": state, "since": at(-60), "observedTime": at(0),
            "ttlSeconds": 60, "value": "", "threshold": "",
        })
    };
    let signals: Vec<_> = states.iter().enumerate().map(signal).collect();
    serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "NodeHealth",
        "metadata": {"name": "n1"}, "spec": {"nodeName": "n1"},
        "status": {
            "bootId": "boot-1", "agentVersion": "0.1.0", "reportTime": at(0), "expiryTime": at(720),
            "problems": 0, "unknowns": 0, "conditions": [], "signals": signals,
        },
    }))
    .unwrap()
}

#[test]
fn node_is_as_its_worst_signal() {
    for (states, expected) in [
        (&["Healthy", "Healthy"][..], SignalState::Healthy),
        (&["Healthy", "Unknown"], SignalState::Unknown),
        (&["Unknown", "Unhealthy"], SignalState::Unhealthy),
        (&[], SignalState::Unknown),
    ] {
        let report = report(states);
        let seen = Seen {
            report: Some(&report),
            boot_id: Some("boot-1"),
            renewed: None,
        };
        let view = judge("n1", seen, at(10));
        assert_eq!((view.state, view.void), (expected, None), "{states:?}");
    }
}

#[test]
fn report_that_is_not_in_force_makes_the_node_unknown_and_says_why() {
    let healthy = report(&["Healthy"]);
    let mut empty = healthy.clone();
    empty.status = None;
    let table = [
        ("no object", None, None, 0, "there is no report"),
        ("no status", Some(&empty), None, 0, "there is no report"),
        ("expired", Some(&healthy), None, 720, "expired 0s ago"),
        (
            "long expired",
            Some(&healthy),
            None,
            720 + 7_200,
            "expired 2h ago",
        ),
        (
            "another boot",
            Some(&healthy),
            Some("boot-2"),
            0,
            "last boot",
        ),
    ];
    for (case, report, boot_id, second, words) in table {
        let seen = Seen {
            report,
            boot_id,
            renewed: None,
        };
        let view = judge("n1", seen, at(second));
        assert_eq!(view.state, SignalState::Unknown, "{case}");
        let void = view.void.unwrap();
        assert!(void.message.contains(words), "{case}: {void:?}");
        assert!(void.advice.contains("spec.nodeName=n1"), "{case}");
    }
    for boot_id in [None, Some("boot-1"), Some("")] {
        let seen = Seen {
            report: Some(&healthy),
            boot_id,
            renewed: None,
        };
        assert!(judge("n1", seen, at(719)).is_healthy(), "{boot_id:?}");
    }
}

#[test]
fn agent_that_lives_and_reports_nothing_is_told_from_one_that_is_gone() {
    let report = report(&["Healthy"]);
    let told = |renewed| {
        let seen = Seen {
            report: Some(&report),
            boot_id: None,
            renewed,
        };
        judge("n1", seen, at(2000)).void.unwrap()
    };
    let alive = told(Some(at(1990)));
    assert!(
        alive
            .message
            .contains("its agent lives (its Lease was renewed 10s ago)"),
        "{alive:?}"
    );
    assert!(!alive.advice.contains("get node"), "{alive:?}");
    let gone = told(Some(at(1000)));
    assert!(gone.message.contains("last heard of 16m ago"), "{gone:?}");
    assert!(gone.advice.contains("kubectl get node n1"), "{gone:?}");
}
