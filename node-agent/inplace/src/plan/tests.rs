use std::time::Instant;

use proto_crd::in_place_set::{InPlaceSetStatus, Release, ReleasePhase};
use proto_crd::names;
use proto_crd::pod_containers::{ContainerFacts, specification_hash};
use proto_crd::time::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::operation::{Kind, State};
use crate::pod::{Condition, Container, Gate, Owner, Phase, PodView, Underway};
use crate::revision;

mod history;
mod soft_evicted;

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_milliseconds(seconds * 1000)
}

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    })
}

pub(crate) fn revision_of(image: &str, number: i64) -> Revision {
    let hash = revision::hash(&template(image), 0);
    Revision {
        name: format!("shop-{hash}"),
        uid: hash.clone(),
        version: "1".to_owned(),
        template: template(image),
        hash,
        number,
    }
}

/// A set of `app:1` that is to be of `app:2`.
fn set(spec: &Value) -> SetView {
    let mut all = json!({
        "replicas": 3, "selector": {"matchLabels": {"app": "shop"}},
        "template": template("app:2"),
        "lossless": {"protections": [names::ENDPOINTS_PROTECTION]},
    });
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    SetView {
        name: "shop".to_owned(),
        uid: "set".to_owned(),
        version: "1".to_owned(),
        generation: 2,
        deleting: false,
        orphaning: false,
        spec: serde_json::from_value(all).unwrap(),
        status: InPlaceSetStatus {
            current_revision: revision_of("app:1", 1).hash,
            ..InPlaceSetStatus::default()
        },
        revisions: vec![revision_of("app:1", 1), revision_of("app:2", 2)],
        orphans: Vec::new(),
    }
}

/// A Pod that serves, of `app:1`.
pub(crate) fn pod(ordinal: u32) -> PodView {
    let is_true = Condition {
        is_true: true,
        since: Some(at(10)),
    };
    let hash = specification_hash("app", "app:1");
    let id = format!("c{ordinal}");
    PodView {
        name: format!("shop-{ordinal}"),
        uid: format!("u{ordinal}"),
        version: "7".to_owned(),
        generation: 1,
        observed_generation: Some(1),
        ordinal: Some(ordinal),
        created_at: at(1),
        node: Some(format!("n{}", ordinal % 100)),
        phase: Phase::Running,
        deleting: false,
        owner: Owner::Ours,
        selected: true,
        revision: Some(revision_of("app:1", 1).hash),
        release: None,
        operation: Underway::Nothing,
        protections: Some(vec![names::ENDPOINTS_PROTECTION.to_owned()]),
        force_drain: None,
        gate: Gate {
            declared: true,
            status: Some("True".to_owned()),
            message: String::new(),
            since: Some(at(9)),
        },
        ready: is_true,
        containers_ready: is_true,
        containers: vec![Container {
            name: "app".to_owned(),
            image: "app:1".to_owned(),
            id: Some(id.clone()),
            ready: true,
            started_at: Some(at(8)),
            ..Container::default()
        }],
        reported: [(
            "app".to_owned(),
            ContainerFacts {
                desired: hash.clone(),
                reported: Some(hash),
                id: Some(id),
                sandbox: Some("box".to_owned()),
            },
        )]
        .into(),
        finalizers: vec![names::ENDPOINTS_PROTECTION.to_owned()],
        ips: vec![format!("10.0.{}.{}", ordinal / 250, ordinal % 250)],
        soft_evicted: None,
        replaces: None,
    }
}

fn around(pods: &[PodView]) -> Surroundings {
    Surroundings {
        term: 1,
        nodes_well: pods.iter().filter_map(|pod| pod.node.clone()).collect(),
        endpoints: pods
            .iter()
            .map(|pod| (pod.uid.clone(), Endpoint::Ready))
            .collect(),
        ..Surroundings::default()
    }
}

/// What is written on which Pod, in short.
fn writes(plan: &Plan) -> Vec<String> {
    let words = plan.deeds.iter().filter_map(|deed| {
        Some(match deed {
            Deed::CreatePod { name, .. } => format!("create {name}"),
            Deed::DeletePod { pod, .. } => format!("delete {}", pod.name),
            Deed::Stamp { pod, operation, .. } => format!("{} {}", operation.state, pod.name),
            Deed::HoldGate { pod, .. } => format!("hold {}", pod.name),
            Deed::ReleaseGate { pod, .. } => format!("release {}", pod.name),
            Deed::PatchPod { pod, .. } => format!("patch {}", pod.name),
            Deed::Finish { pod } => format!("finish {}", pod.name),
            Deed::Adopt { pod } => format!("adopt {}", pod.name),
            Deed::Orphan { pod } => format!("orphan {}", pod.name),
            Deed::AskPull { node, .. } => format!("pull {node}"),
            _ => return None,
        })
    });
    words.collect()
}

fn planned(set: &SetView, pods: &[PodView]) -> Vec<String> {
    writes(&plan(set, pods, &around(pods), at(100)))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row a case")]
fn rows_of_what_is_done_first() {
    let three = || vec![pod(0), pod(1), pod(2)];
    let with = |change: &dyn Fn(&mut Vec<PodView>)| {
        let mut pods = three();
        change(&mut pods);
        pods
    };
    let down = |pod: &mut PodView| {
        pod.ready.is_true = false;
        pod.containers_ready.is_true = false;
    };
    let none = json!({});
    let rows: Vec<(&str, Value, Vec<PodView>, &[&str])> = vec![
        (
            "the highest ordinal first",
            none.clone(),
            three(),
            &["pull n2"],
        ),
        (
            "who is down comes first, and costs nothing",
            none.clone(),
            with(&|pods| down(&mut pods[0])),
            &["pull n0", "pull n2"],
        ),
        ("nobody while paused", json!({"paused": true}), three(), &[]),
        (
            "nobody where none is to be updated",
            json!({"updatedReplicas": 0}),
            three(),
            &[],
        ),
        (
            "who was evicted makes room",
            none.clone(),
            with(&|pods| {
                pods[1].phase = Phase::Ended;
                down(&mut pods[1]);
            }),
            &["delete shop-1", "pull n2"],
        ),
        (
            "missing Pods are made, lowest first",
            json!({"replicas": 5, "paused": true}),
            three(),
            &["create shop-3", "create shop-4"],
        ),
        (
            "the highest go, out of service first",
            json!({"replicas": 2, "paused": true}),
            three(),
            &["hold shop-2"],
        ),
        (
            "those that are named go first",
            json!({"replicas": 2, "paused": true, "podsToDelete": ["shop-0"]}),
            three(),
            &["hold shop-0"],
        ),
        (
            "names change nothing where there are not too many",
            json!({"paused": true, "podsToDelete": ["shop-0"]}),
            three(),
            &[],
        ),
        (
            "as many go as may be missing",
            json!({"replicas": 0, "paused": true}),
            three(),
            &["hold shop-2", "hold shop-1", "hold shop-0"],
        ),
        (
            "nobody's Pod is adopted by name and labels",
            json!({"paused": true}),
            with(&|pods| pods[2].owner = Owner::Nobody),
            &["adopt shop-2"],
        ),
        (
            "a Pod whose labels say otherwise is let go",
            json!({"paused": true, "replicas": 2}),
            with(&|pods| pods[2].selected = false),
            &["orphan shop-2"],
        ),
        (
            "a foreign Pod is not touched",
            json!({"paused": true, "replicas": 0}),
            vec![PodView {
                owner: Owner::Other,
                ..pod(0)
            }],
            &[],
        ),
        (
            "a name is free when its Pod is gone",
            json!({"paused": true}),
            with(&|pods| pods[1].deleting = true),
            &[],
        ),
        (
            "without a drain the patch comes after the pull, too",
            json!({"lossless": null}),
            three(),
            &["pull n2"],
        ),
        (
            "what cannot be in place goes and is made anew",
            json!({"upgradePolicy": "ReCreate"}),
            three(),
            &["hold shop-2"],
        ),
        (
            "a Pod without the gate cannot be drained: it is made anew",
            none,
            with(&|pods| pods[2].gate = Gate::default()),
            &["delete shop-2", "pull n1"],
        ),
    ];
    for (name, spec, pods, wanted) in rows {
        assert_eq!(planned(&set(&spec), &pods), wanted, "{name}");
    }
}

#[test]
fn who_lacks_its_traffic_still_serves_and_is_not_taken_for_down() {
    let mut pods = [pod(0), pod(1), pod(2)];
    for pod in &mut pods {
        pod.finalizers.clear();
    }
    let mut around = around(&pods);
    around.pulls = pods
        .iter()
        .map(|pod| (pod.node.clone().unwrap(), present()))
        .collect();
    let plan = plan(&released(), &pods, &around, at(100));
    assert_eq!(writes(&plan), [""; 0], "none of them may lose its service");
    let told = &plan.status.conditions[0];
    assert_eq!(told.reason, "MinimumReplicasUnavailable");
}

/// A set whose release is told.
fn released() -> SetView {
    let mut set = set(&json!({}));
    set.status.release = Some(Release {
        id: "r".to_owned(),
        phase: ReleasePhase::Progressing,
        from_revision: revision_of("app:1", 1).hash,
        to_revision: revision_of("app:2", 2).hash,
        started_at: at(50),
        waits_for: String::new(),
        since: None,
        pods: Vec::new(),
    });
    set
}

fn prepared(pod: &PodView) -> Operation {
    Operation {
        op: Kind::Upgrade,
        release_id: "r".to_owned(),
        to_revision: revision_of("app:2", 2).hash,
        state: State::Draining,
        since: pod.created_at.max(at(90)),
        attempts: 0,
        term: 1,
        before: BTreeMap::new(),
        restart: Vec::new(),
        identity: None,
        forced: false,
        failure: None,
    }
}

fn present() -> NodePulls {
    NodePulls {
        requested_by: "r".to_owned(),
        since: Some(at(90)),
        images: [("app:2".to_owned(), Pull::Present)].into(),
    }
}

#[test]
fn a_node_is_asked_once_for_a_release_and_what_was_asked_for_is_taken_back_in_time() {
    let pods = [pod(0), pod(1), pod(2)];
    let pulls = |plan: &Plan| -> Vec<Deed> {
        let of_pulls = |deed: &&Deed| matches!(deed, Deed::AskPull { .. } | Deed::EndPull { .. });
        plan.deeds.iter().filter(of_pulls).cloned().collect()
    };
    let end = |in_time| Deed::EndPull {
        node: "n2".to_owned(),
        in_time,
    };
    let mut around = around(&pods);
    let failed = Pull::Failed("no such image".to_owned());
    let mut asked = present();
    for (state, paused, then) in [
        (Pull::Pending(String::new()), false, vec![]),
        (Pull::Present, false, vec![]),
        (failed.clone(), false, vec![]),
        (Pull::Pending(String::new()), true, vec![]),
        // It is asked for anew when the set goes on.
        (failed, true, vec![end(false)]),
    ] {
        asked.images.insert("app:2".to_owned(), state.clone());
        around.pulls = [("n2".to_owned(), asked.clone())].into();
        let mut set = released();
        set.spec.paused = paused;
        let plan = plan(&set, &pods, &around, at(100));
        assert_eq!(pulls(&plan), then, "{state:?} {paused}");
    }
    // For a release that is given up, and when all is done.
    asked.images.insert("app:2".to_owned(), Pull::Present);
    around.pulls = [("n2".to_owned(), asked)].into();
    let mut back = released();
    back.spec.revision = Some(revision_of("app:1", 1).hash);
    let over = plan(&back, &pods, &around, at(100));
    assert_eq!(pulls(&over), [end(true)]);
    let release = over.status.release.expect("it is told");
    assert_eq!(release.phase, ReleasePhase::Succeeded, "{release:?}");
    assert_eq!(release.to_revision, revision_of("app:1", 1).hash);
}

#[test]
fn a_leader_of_an_earlier_term_does_nothing() {
    let mut first = pod(0);
    first.operation = Underway::This(Box::new(Operation {
        term: 9,
        ..prepared(&first)
    }));
    let pods = [first, pod(1), pod(2)];
    let plan = plan(&set(&json!({})), &pods, &around(&pods), at(100));
    assert_eq!(plan.deeds, []);
}

#[test]
fn live_reads_refuse_what_a_view_allowed() {
    let set = released();
    let mut held = pod(2);
    held.gate.status = Some("False".to_owned());
    held.gate.message =
        r#"[{"holder":"InPlaceSet/shop","since":"2026-01-01T00:00:00Z"}]"#.to_owned();
    held.ready.is_true = false;
    let patch = |revision: &str| Deed::PatchPod {
        pod: held.basis(),
        patch: PodPatch {
            revision: revision.to_owned(),
            images: [("app".to_owned(), "app:2".to_owned())].into(),
            ..PodPatch::default()
        },
        operation: Some(prepared(&held)),
        release: "r".to_owned(),
        instead_of: None,
    };
    let target = revision_of("app:2", 2).hash;
    assert_eq!(
        confirm(&patch(&target), Some(&held), &set, set.generation),
        Ok(())
    );
    let other = revision_of("app:1", 1).hash;
    let refused = confirm(&patch(&other), Some(&held), &set, set.generation);
    assert!(
        matches!(refused, Err(Refusal::OtherTarget { .. })),
        "{refused:?}"
    );
    let live = |change: &dyn Fn(&mut PodView)| {
        let mut live = held.clone();
        change(&mut live);
        confirm(&patch(&target), Some(&live), &set, set.generation)
            .unwrap_err()
            .to_string()
    };
    for (said, words) in [
        (
            live(&|pod| pod.gate.status = Some("True".to_owned())),
            "may get traffic",
        ),
        (live(&|pod| pod.gate.message.clear()), "may get traffic"),
        (live(&|pod| pod.uid = "other".to_owned()), "another one"),
        (live(&|pod| pod.version = "8".to_owned()), "was changed"),
        (live(&|pod| pod.owner = Owner::Nobody), "not this set's"),
    ] {
        assert!(said.contains(words), "{said}");
    }
    let gone = confirm(&patch(&target), None, &set, set.generation).unwrap_err();
    assert!(gone.to_string().contains("is gone"), "{gone}");
    // How many Pods go depends on what the set wants.
    let deletion = Deed::DeletePod {
        pod: held.basis(),
        drained: true,
    };
    let of = |planned_for| confirm(&deletion, Some(&held), &set, planned_for);
    assert_eq!(of(set.generation), Ok(()));
    assert_eq!(of(set.generation - 1), Err(Refusal::OtherSpec));
}

/// How long a plan takes: `cargo test -p node-agent-inplace -- --ignored --nocapture a_plan`.
#[test]
#[ignore = "prints figures"]
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures, and prints what it measured"
)]
fn a_plan_of_five_thousand_pods() {
    let pods: Vec<PodView> = (0..5_000).map(pod).collect();
    let mut set = released();
    set.spec.replicas = 5_000;
    let around = around(&pods);
    let begin = Instant::now();
    let rounds = 20;
    let mut deeds = 0;
    for _ in 0..rounds {
        deeds = plan(&set, &pods, &around, at(100)).deeds.len();
    }
    let each = begin.elapsed() / rounds;
    println!("a plan of 5,000 Pods: {each:?}, {deeds} writes");
}
