use k8s_openapi::api::core::v1::Taint;
use node_agent_lifecycle::action::{Action, PodTarget};
use node_agent_lifecycle::decision::{Change, DecisionId, Hash, Hold, Outcome};
use node_agent_lifecycle::evidence::Evidence;
use node_agent_lifecycle::phase::Phase;
use node_agent_lifecycle::verdict::Verdict;
use serde_json::{Value, json};

use super::*;
use crate::decisions::fixture::{Draft, chain, draft};
use crate::seen::NodeSeen;

fn now() -> Timestamp {
    "2026-01-31T12:10:00Z".parse().unwrap()
}

fn verdict(to: Verdict, at: u64) -> Draft {
    let from = Verdict::Healthy;
    let stale = Duration::from_secs(30);
    Draft {
        at,
        evidence: vec![Evidence::KubeletLease {
            age: Duration::from_secs(41),
            stale_after: stale,
        }],
        ..draft("n7", ChangeType::Verdict, Change::Verdict { from, to })
    }
}

fn phase(to: Phase, at: u64) -> Draft {
    let from = Phase::Healthy;
    Draft {
        at,
        ..draft("n7", ChangeType::Phase, Change::Phase { from, to })
    }
}

fn soft(pod: &str, outcome: Outcome, at: u64) -> Draft {
    let action = Action::SoftEvict {
        node: "n7".parse().unwrap(),
        target: PodTarget {
            pod: format!("shop/{pod}").parse().unwrap(),
            uid: "u".parse().unwrap(),
            version: node_agent_lifecycle::observation::Version::new("5"),
        },
    };
    Draft {
        outcome,
        at,
        ..draft("n7", ChangeType::Action, Change::Action(action))
    }
}

fn held(hold: Hold, at: u64) -> Draft {
    Draft {
        at,
        ..draft("n7", ChangeType::Held, Change::Held(hold))
    }
}

fn known(drafts: Vec<Draft>) -> Known {
    Known {
        name: "n7".into(),
        node: Some(NodeSeen {
            name: "n7".into(),
            rack: Some("a".into()),
            ready: None,
            readiness: "Ready=Unknown since 2026-01-31T12:00:00Z".into(),
            out_of_service: false,
        }),
        decisions: chain(3, Hash::default(), drafts),
        led: Some("2026-01-31T12:09:58Z".parse().unwrap()),
        policy: Some(serde_json::from_value(json!({"metadata": {}, "spec": {}})).unwrap()),
        ..Known::default()
    }
}

fn freeze(name: &str, scope: &Value, end: Option<&str>) -> LifecycleFreeze {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"scope": scope, "reason": "works on the switch", "by": "ann", "expiryTime": end},
    }))
    .unwrap()
}

fn text(known: &Known) -> String {
    let told = tell(known, now());
    told.iter().map(|it| it.text.clone() + "\n").collect()
}

#[test]
fn lost_node_tells_its_verdict_its_evidence_what_was_done_and_what_comes_next() {
    let of = DecisionId {
        term: 3,
        sequence: 3,
    };
    let replaced = soft("web-0", Outcome::Ordered, 120);
    let action = replaced.change.action().unwrap().clone();
    let done = Draft {
        outcome: Outcome::Done,
        at: 121,
        ..draft("n7", ChangeType::Outcome, Change::Outcome { of, action })
    };
    let known = known(vec![
        verdict(Verdict::QuorumDead, 60),
        phase(Phase::SoftEvicting, 120),
        replaced,
        done,
        soft("web-1", Outcome::WouldDo, 121),
        soft("web-2", Outcome::WouldDo, 122),
    ]);
    assert_eq!(
        text(&known),
        "Node n7 in rack a: Ready=Unknown since 2026-01-31T12:00:00Z.\n\
         Berth takes it for QuorumDead, since 2026-01-31T12:01:00Z (3-1, 9m ago), because:\n  \
         kubelet's Lease unchanged for 41 s (stale after 30 s)\n\
         It is SoftEvicting, since 2026-01-31T12:02:00Z (3-2, 8m ago).\n\
         What was done since it was last healthy:\n  \
         replace without deleting 1 Pod (shop/web-0): done\n  \
         replace without deleting 2 Pods (shop/web-1, shop/web-2): not done, it is in dry-run\n\
         Its Pods are replaced where another may run beside; none is deleted, since nothing proves that it is off. If it is, \
         say so: kubectl annotate --overwrite node n7 berth.dev/fenced-by=operator:$USER:$(date -u +%FT%TZ)\n"
    );
    assert!(
        tell(&known, now())
            .iter()
            .any(|it| it.tone == Some(Tone::Wrong))
    );
}

#[test]
fn what_was_before_it_was_last_healthy_is_not_told() {
    let known = known(vec![
        soft("web-0", Outcome::Done, 10),
        held(Hold::RackBudget, 11),
        verdict(Verdict::Healthy, 20),
        phase(Phase::Healthy, 20),
    ]);
    let told = text(&known);
    assert!(!told.contains("web-0") && !told.contains("held"), "{told}");
    assert!(told.contains("Nothing is done about it."), "{told}");
    assert!(
        !tell(&known, now())
            .iter()
            .any(|it| it.tone == Some(Tone::Wrong))
    );
}

#[test]
fn what_holds_it_is_told_with_who_and_until_when() {
    let mut known = known(vec![
        verdict(Verdict::QuorumDead, 60),
        phase(Phase::QuorumDead, 60),
        held(Hold::RackBudget, 120),
    ]);
    known.freezes = vec![
        freeze("cluster-x", &json!({"cluster": true}), None),
        freeze(
            "rack-a-x",
            &json!({"rack": "a"}),
            Some("2026-01-31T13:00:00Z"),
        ),
        freeze(
            "node-n7-x",
            &json!({"node": "n7"}),
            Some("2026-01-31T12:00:00Z"),
        ),
        freeze("rack-b-x", &json!({"rack": "b"}), None),
        freeze("node-n8-x", &json!({"node": "n8"}), None),
    ];
    let policy = json!({"metadata": {}, "spec": {}, "status": {"breakers": ["too much of the cluster is silent"]}});
    known.policy = Some(serde_json::from_value(policy).unwrap());
    let told = text(&known);
    for part in [
        "Frozen by cluster-x (the cluster), says ann: works on the switch; until kubectl berth unfreeze cluster-x.",
        "Frozen by rack-a-x (rack a), says ann: works on the switch; until 2026-01-31T13:00:00Z.",
        "Frozen by node-n7-x (node n7), says ann: works on the switch; its end, 2026-01-31T12:00:00Z, has passed, and no leader has taken it away.",
        "Held by a breaker: too much of the cluster is silent.",
        "Something is due and was held: RackBudget, since 2026-01-31T12:02:00Z (3-3, 8m ago).",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(
        !told.contains("rack-b-x") && !told.contains("node-n8-x"),
        "{told}"
    );
}

#[test]
fn hold_that_something_was_done_after_is_over() {
    let drafts = || {
        vec![
            phase(Phase::SoftEvicting, 60),
            held(Hold::AppBudget, 61),
            soft("web-0", Outcome::Done, 90),
        ]
    };
    let told = text(&known(drafts()));
    assert!(!told.contains("was held"), "{told}");
    let mut drafts = drafts();
    drafts.swap(1, 2);
    let told = text(&known(drafts));
    assert!(told.contains("was held: AppBudget"), "{told}");
}

#[test]
fn marks_on_the_node_are_told() {
    let mut known = known(Vec::new());
    let taint = |key: &str, value: Option<&str>| Taint {
        key: key.into(),
        value: value.map(Into::into),
        ..Taint::default()
    };
    known.taints = vec![
        taint("berth.dev/cordon", None),
        taint("node.kubernetes.io/out-of-service", Some("berth")),
        taint("theirs", None),
    ];
    known.said = vec![
        ("berth.dev/fenced-by".into(), "poweroff".into()),
        (
            "berth.dev/maintenance".into(),
            "2026-01-31T14:00:00Z".into(),
        ),
    ];
    let told = text(&known);
    for part in [
        "It has the taint berth.dev/cordon",
        "It is out of service, by Berth's decision",
        "It is proven to be off: poweroff",
        "down until 2026-01-31T14:00:00Z",
        "Nothing was decided about it that is kept",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("theirs"), "{told}");
}

#[test]
fn without_a_leader_that_is_said_and_without_a_policy_that_it_is_dry_run() {
    let mut known = known(vec![verdict(Verdict::Unknown, 60)]);
    known.led = Some("2026-01-31T12:00:00Z".parse().unwrap());
    known.policy = None;
    known.node = None;
    let told = text(&known);
    for part in [
        "Node n7 is not there (any more).",
        "No leader of Berth's controllers is at work",
        "There is no LifecyclePolicy: everything is in dry-run",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
