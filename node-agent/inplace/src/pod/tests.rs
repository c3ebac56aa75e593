use std::collections::BTreeMap;
use std::time::Duration;

use proto_crd::in_place_set::{Lossless, OnDrainTimeout};
use proto_crd::names;
use proto_crd::pod_containers::specification_hash;

use super::{Condition, Endpoint, Goal, Look, Next, PodView, Step, Underway, step};
use crate::operation::{Failure, Identity, Kind, Operation, Reason, State};
use crate::plan::tests::{at, pod, revision_of};
use crate::plan::{Deed, NodePulls, PodPatch, Pull};

/// Everything is looked at at this second.
const NOW: u64 = 1_000;

/// A Pod, its endpoint and what its set says: what a row changes.
struct Case {
    pod: PodView,
    /// Since when its images are asked for.
    asked_since: u64,
    /// For how long the leader knows that no traffic is led to it.
    detached_for: Option<Duration>,
    endpoint: Endpoint,
    lossless: Lossless,
    pull: Pull,
    node_is_well: bool,
    paused: bool,
    target: &'static str,
}

/// A Pod of `app:1` at this state for so many seconds, as its signals are then when all goes well.
fn case(state: State, seconds: u64) -> Case {
    let mut pod = pod(0);
    let is_out = state >= State::Draining && state != State::Attaching;
    if is_out {
        pod.gate.status = Some("False".to_owned());
        pod.gate.message =
            r#"[{"holder":"InPlaceSet/shop","since":"2026-01-01T00:00:00Z"}]"#.to_owned();
        pod.ready = Condition {
            is_true: false,
            since: Some(at(NOW - seconds)),
        };
        pod.finalizers.clear();
    }
    let is_patched = state >= State::Upgrading;
    if is_patched {
        pod.containers[0].image = "app:2".to_owned();
        pod.containers[0].id = Some("new".to_owned());
        pod.containers[0].started_at = Some(at(NOW - seconds));
        pod.revision = Some(revision_of("app:2", 2).hash);
        let hash = specification_hash("app", "app:2");
        let facts = pod.reported.get_mut("app").unwrap();
        facts.desired.clone_from(&hash);
        facts.reported = Some(hash);
        facts.id = Some("new".to_owned());
    }
    pod.release = is_patched.then(|| "r".to_owned());
    pod.gate.since = Some(at(NOW - seconds));
    if !matches!(state, State::PrePull | State::Attaching) {
        pod.operation = Underway::This(Box::new(operation(&pod, state, seconds)));
    }
    Case {
        pod,
        asked_since: NOW - seconds,
        detached_for: (state == State::Quiet).then_some(Duration::from_secs(seconds)),
        endpoint: if is_out {
            Endpoint::NotReady
        } else {
            Endpoint::Ready
        },
        lossless: Lossless {
            protections: vec![names::ENDPOINTS_PROTECTION.to_owned()],
            ..Lossless::default()
        },
        pull: Pull::Present,
        node_is_well: true,
        paused: false,
        target: if is_patched { "stay" } else { "app:2" },
    }
}

/// What is written on a Pod that is there for so many seconds.
fn operation(pod: &PodView, state: State, seconds: u64) -> Operation {
    Operation {
        op: Kind::Upgrade,
        release_id: "r".to_owned(),
        to_revision: revision_of("app:2", 2).hash,
        // That it is quiet the leader remembers.
        state: if state == State::Quiet {
            State::Draining
        } else {
            state
        },
        since: at(NOW - seconds),
        attempts: 1,
        term: 1,
        before: [("app".to_owned(), "c0".to_owned())].into(),
        restart: Vec::new(),
        identity: Some(Identity {
            ips: pod.ips.clone(),
            sandbox: "box".to_owned(),
        }),
        forced: false,
        failure: None,
    }
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// With what was written when it was given up, or forced.
    fn written(mut self, state: State, failure: Option<Reason>) -> Self {
        let seconds = NOW - self.asked_since;
        let operation = Operation {
            state,
            forced: failure.is_none(),
            failure: failure.map(|reason| Failure {
                reason,
                message: "why".to_owned(),
            }),
            ..operation(&self.pod, state, seconds)
        };
        self.pod.operation = Underway::This(Box::new(operation));
        self
    }

    fn operation(&mut self) -> &mut Operation {
        match &mut self.pod.operation {
            Underway::This(operation) => operation,
            _ => panic!("it has one"),
        }
    }

    fn step(&self) -> Step {
        let patch = PodPatch {
            revision: revision_of(self.target, 2).hash,
            images: [("app".to_owned(), self.target.to_owned())].into(),
            ..PodPatch::default()
        };
        let release = if self.target == "app:2" { "r" } else { "s" };
        self.step_to(&match self.target {
            "stay" => Goal::Stay,
            "leave" => Goal::Leave {
                kind: Kind::Remove,
                release: "remove",
            },
            _ => Goal::Upgrade {
                release,
                patch: &patch,
                restart: &[],
            },
        })
    }

    fn step_to(&self, goal: &Goal<'_>) -> Step {
        let pulls = NodePulls {
            requested_by: "r".to_owned(),
            since: Some(at(self.asked_since)),
            images: [("app:2".to_owned(), self.pull.clone())].into(),
        };
        let look = Look {
            pod: &self.pod,
            endpoint: self.endpoint,
            holder: "InPlaceSet/shop",
            lossless: Some(&self.lossless),
            min_ready: Duration::from_secs(5),
            progress_deadline: Duration::from_secs(600),
            pre_pull_timeout: Duration::from_secs(600),
            node_is_well: self.node_is_well,
            pulls: Some(&pulls),
            restarts: &BTreeMap::new(),
            detached_for: self.detached_for,
            release: Some("r"),
            paused: self.paused,
            term: 1,
            now: at(NOW),
        };
        step(&look, goal)
    }
}

/// The write, for whom it waits, and why it failed.
fn told(step: &Step) -> String {
    let deed = match &step.next {
        Next::Nothing => None,
        Next::AskImages => return "ask".to_owned(),
        Next::Do(deed) | Next::Free(deed) | Next::Drain(deed) => Some(deed),
    };
    let write = deed.map_or_else(String::new, |deed| match deed {
        Deed::Stamp { operation, .. } if operation.forced => {
            format!("{} by force", operation.state)
        }
        Deed::Stamp { operation, .. } => operation.state.to_string(),
        Deed::HoldGate { operation, .. } => format!("hold: {}", operation.state),
        Deed::ReleaseGate { operation, .. } => {
            let failure = operation.as_ref().and_then(|it| it.failure.as_ref());
            format!(
                "release{}",
                failure
                    .map(|it| format!(": {}", it.reason))
                    .unwrap_or_default()
            )
        }
        Deed::PatchPod { patch, .. } => format!("patch {}", patch.images["app"]),
        Deed::DeletePod { drained, .. } => format!("delete, drained: {drained}"),
        Deed::Finish { .. } => "finish".to_owned(),
        other => format!("{other:?}"),
    });
    let failure = step.failure.as_ref().map(|it| format!(" !{}", it.reason));
    format!(
        "{write}{} | {}",
        failure.unwrap_or_default(),
        step.waits_for
    )
}

#[test]
#[expect(
    clippy::too_many_lines,
    clippy::large_stack_arrays,
    reason = "one row a case"
)]
fn rows_of_what_follows_what() {
    use State::{Attaching, Draining, PrePull, Quiet, Upgrading};
    let rows = [
        ("image there", case(PrePull, 1), "hold: Draining | "),
        (
            "image on its way",
            case(PrePull, 1).with(|it| it.pull = Pull::Pending("7 %".into())),
            " | image app:2 (7 %)",
        ),
        (
            "bad image",
            case(PrePull, 1).with(|it| it.pull = Pull::Failed("no".into())),
            " !ImagePullFailed | image app:2 cannot be pulled: no",
        ),
        (
            "bad image, paused",
            case(PrePull, 1).with(|it| {
                it.pull = Pull::Failed("no".into());
                it.paused = true;
            }),
            " !ImagePullFailed | ",
        ),
        (
            "image late",
            case(PrePull, 600).with(|it| it.pull = Pull::Pending("7 %".into())),
            " !PrePullTimeout | node n0 does not have image app:2",
        ),
        (
            "node down before anything",
            case(PrePull, 1).with(|it| it.node_is_well = false),
            " | node n0",
        ),
        (
            "target taken back before anything",
            case(PrePull, 1).with(|it| it.target = "stay"),
            " | ",
        ),
        (
            "other target before anything",
            case(PrePull, 1).with(|it| it.target = "app:3"),
            "ask",
        ),
        ("detached", case(Draining, 1), " | the quiet time to end"),
        (
            "detached long ago, by a leader who is gone",
            case(Draining, 200),
            " | the quiet time to end",
        ),
        (
            "detached, with no quiet time",
            case(Draining, 1).with(|it| it.lossless.quiet_seconds = 0),
            "patch app:2 | ",
        ),
        (
            "still ready",
            case(Draining, 1).with(|it| it.pod.ready.is_true = true),
            " | kubelet to report it not ready",
        ),
        (
            "endpoint still ready",
            case(Draining, 1).with(|it| it.endpoint = Endpoint::Ready),
            " | its endpoint in EndpointSlices to be not ready",
        ),
        (
            "finalizer there",
            case(Draining, 1)
                .with(|it| it.pod.finalizers = vec![names::ENDPOINTS_PROTECTION.into()]),
            " | finalizer protection.berth.dev/endpoints to be removed",
        ),
        (
            "its finalizer in no Service",
            case(Draining, 1).with(|it| {
                it.pod.finalizers = vec![names::ENDPOINTS_PROTECTION.into()];
                it.endpoint = Endpoint::None;
            }),
            " | the quiet time to end",
        ),
        (
            "a finalizer that nobody declared",
            case(Draining, 1).with(|it| it.pod.finalizers = vec!["example.com/slow".into()]),
            " | the quiet time to end",
        ),
        (
            "drained too long",
            case(Draining, 300).with(|it| it.endpoint = Endpoint::Ready),
            "release: DrainTimeout | its endpoint",
        ),
        (
            "drained too long, to go on",
            case(Draining, 300).with(|it| {
                it.endpoint = Endpoint::Ready;
                it.lossless.on_drain_timeout = OnDrainTimeout::Proceed;
            }),
            "Quiet by force | ",
        ),
        (
            "drained too long, forced",
            case(Draining, 300).with(|it| {
                it.endpoint = Endpoint::Ready;
                it.pod.force_drain = Some("r".into());
            }),
            "Quiet by force | ",
        ),
        (
            "forced for another release",
            case(Draining, 300).with(|it| {
                it.endpoint = Endpoint::Ready;
                it.pod.force_drain = Some("q".into());
            }),
            "release: DrainTimeout | ",
        ),
        (
            "gate let go by somebody",
            case(Draining, 1).with(|it| it.pod.gate.status = Some("True".into())),
            "hold: Draining | ",
        ),
        (
            "gate set by hand",
            case(Draining, 1).with(|it| it.pod.gate.message = "repair".into()),
            " | the Pod's condition",
        ),
        (
            "rollback while drained",
            case(Draining, 1).with(|it| it.target = "stay"),
            "release | ",
        ),
        (
            "other target while drained",
            case(Draining, 1).with(|it| it.target = "app:3"),
            "release | ",
        ),
        (
            "scaled in while drained",
            case(Draining, 1).with(|it| it.target = "leave"),
            " | the quiet time to end",
        ),
        ("quiet", case(Quiet, 2), " | the quiet time to end"),
        ("quiet long enough", case(Quiet, 3), "patch app:2 | "),
        (
            "quiet, and traffic again",
            case(Quiet, 3).with(|it| it.endpoint = Endpoint::Ready),
            "Draining | its endpoint",
        ),
        (
            "quiet, by force",
            case(Quiet, 3)
                .written(Quiet, None)
                .with(|it| it.endpoint = Endpoint::Ready),
            "patch app:2 | ",
        ),
        (
            "quiet, by force, and the gate True",
            case(Quiet, 3)
                .written(Quiet, None)
                .with(|it| it.pod.gate.status = Some("True".into())),
            "hold: Draining | ",
        ),
        (
            "quiet, node down",
            case(Quiet, 3).with(|it| it.node_is_well = false),
            " | node n0 to be ready",
        ),
        (
            "quiet, to be deleted",
            case(Quiet, 3).with(|it| it.target = "leave"),
            "delete, drained: true | ",
        ),
        ("all new and ready", case(Upgrading, 5), "release | "),
        (
            "all new, not long enough",
            case(Upgrading, 4),
            " | its containers to stay ready",
        ),
        (
            "same digest, other tag: the id tells",
            case(Upgrading, 5).with(|it| it.pod.containers[0].id = Some("c0".into())),
            " | kubelet to replace container app",
        ),
        (
            "not reported yet",
            case(Upgrading, 5).with(|it| it.pod.reported.clear()),
            " | the node's agent to report container app",
        ),
        (
            "kubelet has not seen the patch",
            case(Upgrading, 5).with(|it| it.pod.generation = 2),
            " | kubelet to take note",
        ),
        (
            "not up in time",
            case(Upgrading, 600).with(|it| it.pod.containers_ready.is_true = false),
            " !ProgressDeadlineExceeded | it is not up in time",
        ),
        (
            "rollback of what failed waits for nothing",
            case(Upgrading, 600).with(|it| {
                it.pod.containers_ready.is_true = false;
                it.target = "app:1";
            }),
            "patch app:1 | ",
        ),
        (
            "rollback with the gate let go",
            case(Upgrading, 9).with(|it| {
                it.pod.gate.status = Some("True".into());
                it.target = "app:1";
            }),
            "hold: Upgrading | ",
        ),
        (
            "another address",
            case(Upgrading, 5).with(|it| it.pod.ips = vec!["10.9.9.9".into()]),
            "release: IdentityLost | ",
        ),
        ("all back", case(Attaching, 1), " | "),
        (
            "finalizer not back",
            case(Attaching, 1).with(|it| it.pod.finalizers.clear()),
            " | finalizer protection.berth.dev/endpoints to be put",
        ),
        (
            "endpoint not back",
            case(Attaching, 1).with(|it| it.endpoint = Endpoint::NotReady),
            " | its endpoint in EndpointSlices to be ready",
        ),
        (
            "in no Service",
            case(Attaching, 1).with(|it| {
                it.pod.finalizers.clear();
                it.endpoint = Endpoint::None;
            }),
            " | ",
        ),
        (
            "not back, of a release before this one",
            case(Attaching, 300).with(|it| {
                it.pod.finalizers.clear();
                it.pod.release = Some("q".into());
            }),
            " | ",
        ),
        (
            "not back, since it was unready again",
            case(Attaching, 300).with(|it| {
                it.pod.finalizers.clear();
                it.pod.ready.since = Some(at(NOW - 299));
            }),
            " | finalizer protection.berth.dev/endpoints to be put",
        ),
        (
            "not back, and down",
            case(Attaching, 300).with(|it| {
                it.pod.finalizers.clear();
                it.pod.containers_ready.is_true = false;
            }),
            " | ",
        ),
        (
            "held by somebody else",
            case(Attaching, 1).with(|it| {
                it.pod.gate.status = Some("False".into());
                it.pod.gate.message =
                    r#"[{"holder":"ContainerRestart/r1","since":"2026-01-01T00:00:00Z"}]"#.into();
            }),
            " | ContainerRestart/r1 to let it be ready",
        ),
        (
            "not back in time",
            case(Attaching, 300).with(|it| it.pod.finalizers.clear()),
            " !AttachTimeout | its traffic was not led back",
        ),
        (
            "given up",
            case(Attaching, 9)
                .written(Attaching, Some(Reason::DrainTimeout))
                .with(|it| it.target = "app:2"),
            " !DrainTimeout | why",
        ),
        (
            "given up, paused",
            case(Attaching, 9)
                .written(Attaching, Some(Reason::DrainTimeout))
                .with(|it| {
                    it.target = "app:2";
                    it.paused = true;
                }),
            "finish !DrainTimeout | why",
        ),
        (
            "given up, then forced",
            case(Attaching, 9)
                .written(Attaching, Some(Reason::DrainTimeout))
                .with(|it| {
                    it.target = "app:2";
                    it.pod.force_drain = Some("r".into());
                }),
            "hold: Draining | ",
        ),
        (
            "given up, then another release",
            case(Attaching, 9)
                .written(Attaching, Some(Reason::DrainTimeout))
                .with(|it| {
                    it.target = "app:3";
                    it.pod.finalizers.clear();
                }),
            "ask",
        ),
        (
            "a later leader's",
            case(Quiet, 9).with(|it| it.operation().term = 2),
            " | the leader of a later term",
        ),
        (
            "being deleted",
            case(Quiet, 9).with(|it| it.pod.deleting = true),
            " | its deletion to end",
        ),
    ];
    for (name, case, wanted) in rows {
        let told = told(&case.step());
        let is_it = told.starts_with(wanted) && (wanted != " | " || told == wanted);
        assert!(is_it, "{name}: {told:?}, not {wanted:?}");
    }
}

#[test]
fn no_pod_waits_without_saying_for_whom() {
    for state in [
        State::PrePull,
        State::Draining,
        State::Quiet,
        State::Upgrading,
        State::Attaching,
    ] {
        for broken in 0..4 {
            let case = case(state, 1).with(|it| match broken {
                0 => it.pull = Pull::Pending(String::new()),
                1 if state == State::Attaching => it.endpoint = Endpoint::NotReady,
                2 if state == State::Attaching => it.pod.finalizers.clear(),
                1 => it.endpoint = Endpoint::Ready,
                2 => it.pod.finalizers = vec![names::ENDPOINTS_PROTECTION.into()],
                _ => it.pod.containers_ready.is_true = false,
            });
            let step = case.step();
            let is_back = state == State::Attaching && !matches!(broken, 1..=2);
            let says = !step.waits_for.is_empty() || step.next != Next::Nothing || is_back;
            assert!(says, "{state} {broken}: {step:?}");
        }
    }
}

#[test]
fn what_the_target_before_has_not_come_to_is_still_awaited_and_restarted() {
    let mut case = case(State::Upgrading, 1);
    let mut side = case.pod.containers[0].clone();
    side.name = "side".to_owned();
    side.id = Some("s0".to_owned());
    case.pod.containers[0].id = Some("c0".to_owned());
    case.pod.containers.push(side);
    // A label that side reads was changed with app's image, and neither is another one yet.
    case.operation().before.insert("side".into(), "s0".into());
    case.operation().restart.push("side".into());
    let another = |image: Option<(&str, &str)>, restart: &[&str]| PodPatch {
        revision: format!("{image:?}{restart:?}"),
        images: image
            .map(|(name, image)| (name.to_owned(), image.to_owned()))
            .into_iter()
            .collect(),
        ..PodPatch::default()
    };
    let to = |case: &Case, patch: &PodPatch, restart: &[&str]| {
        let restart: Vec<String> = restart.iter().map(|name| (*name).to_owned()).collect();
        let step = case.step_to(&Goal::Upgrade {
            release: "s",
            patch,
            restart: &restart,
        });
        let Next::Do(Deed::PatchPod {
            operation: Some(operation),
            ..
        }) = step.next
        else {
            panic!("{step:?}");
        };
        let before = operation.before.iter();
        let before: Vec<String> = before.map(|(name, id)| format!("{name}={id}")).collect();
        format!("{} | {}", before.join(" "), operation.restart.join(" "))
    };
    let rows = [
        (None, vec![], "app=c0 side=s0 | side"),
        (None, vec!["app"], "app=c0 side=s0 | app side"),
        // Kubelet replaces it: the agent must not stop it too.
        (Some(("side", "side:2")), vec![], "app=c0 side=s0 | "),
    ];
    for (image, restart, expected) in rows {
        let patch = another(image, &restart);
        assert_eq!(to(&case, &patch, &restart), expected);
    }
    // What is another one already was restarted by the target before.
    case.pod.containers[1].id = Some("s1".to_owned());
    assert_eq!(to(&case, &another(None, &[]), &[]), "app=c0 | ");
}
