use proto_crd::pod_containers::{ContainerFacts, specification_hash};

use super::*;
use crate::running::RunningContainer;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_milliseconds(seconds * 1000)
}

/// A Pod with kubelet and its agent, and what is on its node.
struct World {
    pod: RunningPod,
    pulled: Pulled,
    second: u64,
    upgrade: Upgrade,
}

const HOLDER: &str = "Upgrade/kubectl";

fn wanted(images: &[(&str, &str)]) -> Wanted {
    Wanted {
        images: images
            .iter()
            .map(|(name, image)| ((*name).to_owned(), (*image).to_owned()))
            .collect(),
        unready: Some(Duration::from_secs(3)),
        min_ready: Duration::from_secs(5),
        holder: HOLDER.to_owned(),
        take_over: false,
        deadline: at(600),
    }
}

impl World {
    /// `main` and `side` of version 1; `main` is to be of version 2.
    fn new(change: impl FnOnce(&mut RunningPod, &mut Wanted)) -> Self {
        let container = |name: &str| RunningContainer {
            name: name.to_owned(),
            image: format!("r/{name}:1"),
            id: format!("{name}-1"),
            ready: true,
            ..RunningContainer::default()
        };
        let mut pod = RunningPod {
            namespace: "prod".to_owned(),
            name: "shop-0".to_owned(),
            uid: "u".to_owned(),
            node: Some("n1".to_owned()),
            ips: vec!["10.20.1.100".to_owned()],
            containers: vec![container("main"), container("side")],
            ready: true,
            gate: Some(GateSeen {
                condition: Some(("True".to_owned(), String::new())),
            }),
            reports: true,
            ..RunningPod::default()
        };
        report(&mut pod);
        let mut wanted = wanted(&[("main", "r/main:2")]);
        change(&mut pod, &mut wanted);
        Self {
            pod,
            pulled: Pulled::NotAsked,
            second: 0,
            upgrade: Upgrade::new(wanted),
        }
    }

    fn next(&mut self) -> Step {
        let seen = Seen {
            pod: Some(self.pod.clone()),
            pulled: self.pulled.clone(),
            now: at(self.second),
        };
        self.upgrade.next(&seen)
    }

    /// The step in a word.
    fn step(&mut self) -> String {
        match self.next() {
            Step::AskReport => "ask".to_owned(),
            Step::Pull => "pull".to_owned(),
            Step::Hold => "hold".to_owned(),
            Step::Patch => "patch".to_owned(),
            Step::GiveBack => "give back".to_owned(),
            Step::Wait(words) => format!("wait {words}"),
            Step::End(End::Succeeded(words)) => format!("succeeded {words}"),
            Step::End(End::Failed(words)) => format!("failed {words}"),
            Step::End(End::Unknown(words)) => format!("unknown {words}"),
        }
    }

    fn assert(&mut self, begin: &str) {
        let step = self.step();
        assert!(step.starts_with(begin), "{step}, wanted {begin}");
    }

    fn hold(&mut self) {
        let condition = (
            "False".to_owned(),
            format!("[{{\"holder\":\"{HOLDER}\",\"since\":\"2026-01-01T00:00:00Z\"}}]"),
        );
        self.pod.gate = Some(GateSeen {
            condition: Some(condition),
        });
    }

    fn release(&mut self) {
        self.pod.gate = Some(GateSeen {
            condition: Some(("True".to_owned(), String::new())),
        });
    }

    /// kubelet has replaced the container, and its agent has seen it.
    fn replaced(&mut self, name: &str, id: &str) {
        let container = self.container(name);
        id.clone_into(&mut container.id);
        container.restarts += 1;
        container.ready = true;
        container.waiting = None;
        report(&mut self.pod);
    }

    fn container(&mut self, name: &str) -> &mut RunningContainer {
        let mut all = self.pod.containers.iter_mut();
        all.find(|it| it.name == name).unwrap()
    }

    /// Until the images are changed.
    fn patched(mut self) -> Self {
        self.assert("pull");
        self.pulled = Pulled::All;
        self.assert("hold");
        self.hold();
        self.pod.ready = false;
        self.assert("wait for 3 s");
        self.second = 3;
        self.assert("patch");
        "r/main:2".clone_into(&mut self.container("main").image);
        self
    }
}

/// What the agent reports of the Pod as it is.
fn report(pod: &mut RunningPod) {
    let facts = pod.containers.iter().map(|container| {
        let desired = specification_hash(&container.name, &container.image);
        let facts = ContainerFacts {
            reported: Some(desired.clone()),
            desired,
            id: Some(container.id.clone()),
            sandbox: Some("s".to_owned()),
        };
        (container.name.clone(), facts)
    });
    pod.facts = Some(facts.collect());
}

#[test]
fn images_are_there_before_the_pod_is_unready_and_it_is_unready_before_they_are_changed() {
    let mut world = World::new(|_, _| {});
    world.assert("pull");
    world.pulled = Pulled::Waiting("for image r/main:2".to_owned());
    world.assert("wait for image r/main:2");
    assert!(!world.upgrade.holds());
    world.pulled = Pulled::All;
    world.assert("hold");
    assert!(world.upgrade.holds());
    // The write was outrun: it is asked for again.
    world.assert("hold");
    world.hold();
    world.assert("wait for kubelet to call the Pod not ready");
    world.pod.ready = false;
    world.second = 10;
    world.assert("wait for 3 s");
    // Ready in between: its quiet time begins anew.
    world.pod.ready = true;
    world.second = 12;
    world.assert("wait for kubelet to call");
    world.pod.ready = false;
    world.second = 13;
    world.assert("wait for 3 s");
    world.second = 15;
    world.assert("wait for 3 s");
    world.second = 16;
    world.assert("patch");
    world.assert("patch");
    "r/main:2".clone_into(&mut world.container("main").image);
    world.assert("wait for container main to run its new image");
    world.container("main").ready = false;
    world.replaced("main", "main-2");
    world.container("main").ready = false;
    world.assert("wait for container main to be ready");
    world.container("main").ready = true;
    world.second = 20;
    world.assert("wait for 5 s of readiness");
    world.container("main").ready = false;
    world.assert("wait for container main to be ready");
    world.container("main").ready = true;
    world.second = 24;
    world.assert("wait for 5 s of readiness");
    world.second = 29;
    world.assert("give back");
    world.release();
    world.assert("wait for kubelet to call the Pod ready");
    world.pod.ready = true;
    world.assert(
        "succeeded the new containers are ready; Pod, sandbox and address unchanged (10.20.1.100)",
    );
}

#[test]
fn a_bad_image_is_found_before_anything_is_touched() {
    let mut world = World::new(|_, _| {});
    world.assert("pull");
    world.pulled = Pulled::Failed("the node cannot have image r/main:2: no such image".to_owned());
    world.assert("failed the node cannot have image r/main:2: no such image; nothing was touched");
    assert!(!world.upgrade.holds());
    assert!(world.upgrade.way_back().is_empty());
}

type Change = fn(&mut World);

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn rows_of_what_becomes_of_changed_images() {
    let rows: &[(&str, Change)] = &[
        ("failed container main: ImagePullBackOff", |world| {
            world.container("main").waiting = Some(("ImagePullBackOff".into(), "no".into()));
        }),
        ("failed container main: CrashLoopBackOff", |world| {
            world.replaced("main", "main-2");
            world.container("main").waiting = Some(("CrashLoopBackOff".into(), "no".into()));
        }),
        // The image was here minutes ago: kubelet keeps a container down that has not run yet.
        (
            "wait for container main to run its new image (CrashLoopBackOff: back-off 10s)",
            |world| {
                world.container("main").waiting =
                    Some(("CrashLoopBackOff".into(), "back-off 10s".into()));
            },
        ),
        (
            "wait for container main to run its new image (CreateContainerError: away)",
            |world| {
                world.container("main").waiting =
                    Some(("CreateContainerError".into(), "away".into()));
            },
        ),
        ("failed container main was restarted 2 times", |world| {
            world.replaced("main", "main-2");
            world.replaced("main", "main-3");
        }),
        // kubelet is at it.
        ("wait for container main to run", |world| {
            world.container("main").waiting = Some(("ContainerCreating".into(), String::new()));
        }),
        // The agent reports the new specification, and the old container.
        ("wait for container main to run", |world| {
            let facts = world.pod.facts.as_mut().unwrap();
            let main = facts.get_mut("main").unwrap();
            main.desired = specification_hash("main", "r/main:2");
        }),
        // The agent knows the new container, kubelet's status does not.
        (
            "wait for kubelet to tell of the new container main",
            |world| {
                world.replaced("main", "main-2");
                world.container("main").id = "main-1".to_owned();
            },
        ),
        ("failed container side was restarted too", |world| {
            world.replaced("main", "main-2");
            world.replaced("side", "side-2");
        }),
        ("failed container main runs in another sandbox", |world| {
            world.replaced("main", "main-2");
            let facts = world.pod.facts.as_mut().unwrap();
            facts.get_mut("main").unwrap().sandbox = Some("t".to_owned());
        }),
        (
            "failed the Pod's addresses are 10.20.1.101, and were 10.20.1.100",
            |world| {
                world.pod.ips = vec!["10.20.1.101".to_owned()];
            },
        ),
        ("failed Pod prod/shop-0 is now another one", |world| {
            world.pod.uid = "v".to_owned();
        }),
        (
            "failed Pod prod/shop-0 has changed: it is being deleted",
            |world| {
                world.pod.unfit = Some("it is being deleted");
            },
        ),
        (
            "failed not done by 1970-01-01T00:10:00Z: it waited for container main to run",
            |world| {
                world.second = 600;
            },
        ),
    ];
    for (wanted, change) in rows {
        let mut world = World::new(|_, _| {}).patched();
        change(&mut world);
        world.assert(wanted);
        // Whatever came of it: it is to be given back, and how to go back is known once the image is changed.
        assert!(world.upgrade.holds(), "{wanted}");
    }
}

#[test]
fn way_back_names_what_was_changed() {
    let mut world = World::new(|_, _| {}).patched();
    world.assert("wait");
    let back: Vec<_> = world.upgrade.way_back().iter().collect();
    assert_eq!(back, [(&"main".to_owned(), &"r/main:1".to_owned())]);
}

#[test]
fn rows_of_what_is_not_begun() {
    type Row = (&'static str, fn(&mut RunningPod, &mut Wanted));
    let rows: &[Row] = &[
        (
            "failed Pod prod/shop-0 cannot be upgraded in place: it has ended",
            |pod, _| {
                pod.unfit = Some("it has ended");
            },
        ),
        (
            "failed Pod prod/shop-0 has no container other; it has main, side",
            |_, wanted| {
                wanted.images.insert("other".into(), "r/x:1".into());
            },
        ),
        ("ask", |pod, _| pod.reports = false),
        ("wait for the node's agent to report", |pod, _| {
            pod.facts = None;
        }),
        // Reported of an earlier specification.
        ("wait for the node's agent to report", |pod, _| {
            pod.containers[1].image = "r/side:0".to_owned();
        }),
        (
            "succeeded the Pod runs these images already",
            |_, wanted| {
                wanted.images = [("main".into(), "r/main:1".into())].into();
            },
        ),
        (
            "failed an upgrade of Pod prod/shop-0 holds it unready already",
            |pod, _| {
                let message =
                    format!("[{{\"holder\":\"{HOLDER}\",\"since\":\"2026-01-01T00:00:00Z\"}}]");
                pod.gate.as_mut().unwrap().condition = Some(("False".into(), message));
            },
        ),
        (
            "failed the Pod's condition berth.dev/ServiceReady is False with a message",
            |pod, _| {
                pod.gate.as_mut().unwrap().condition = Some(("False".into(), "by hand".into()));
            },
        ),
    ];
    for (wanted, change) in rows {
        let mut world = World::new(change);
        world.assert(wanted);
        assert!(!world.upgrade.holds(), "{wanted}");
    }
    let mut gone = World::new(|_, _| {});
    let seen = Seen {
        pod: None,
        pulled: Pulled::NotAsked,
        now: at(0),
    };
    assert_eq!(
        gone.upgrade.next(&seen),
        failed("the Pod is gone".to_owned())
    );
}

#[test]
fn agent_that_reports_nothing_is_waited_for_two_minutes_and_the_pod_is_not_touched() {
    let mut world = World::new(|pod, _| pod.facts = None);
    world.assert("wait for the node's agent");
    world.second = 119;
    world.assert("wait for the node's agent");
    world.second = 120;
    world.assert("unknown the agent of node n1 does not report");
    assert!(!world.upgrade.holds());
}

#[test]
fn without_a_gate_or_where_it_is_to_stay_ready_images_are_changed_at_once() {
    for change in [
        (|pod: &mut RunningPod, _: &mut Wanted| pod.gate = None)
            as fn(&mut RunningPod, &mut Wanted),
        |_, wanted| wanted.unready = None,
    ] {
        let mut world = World::new(change);
        world.assert("pull");
        world.pulled = Pulled::All;
        world.assert("patch");
        "r/main:2".clone_into(&mut world.container("main").image);
        world.replaced("main", "main-2");
        world.assert("wait for 5 s of readiness");
        world.second = 5;
        world.assert("succeeded");
        assert!(!world.upgrade.holds());
    }
}

#[test]
fn a_container_that_crashes_all_the_time_is_given_another_image_all_the_same() {
    let mut world = World::new(|pod, _| {
        pod.ready = false;
        let main = &mut pod.containers[0];
        (main.ready, main.restarts) = (false, 5);
        main.waiting = Some(("CrashLoopBackOff".into(), "back-off 40s".into()));
        let facts = pod.facts.as_mut().unwrap().get_mut("main").unwrap();
        (facts.reported, facts.id, facts.sandbox) = (None, None, None);
    });
    world.assert("pull");
    world.pulled = Pulled::All;
    world.assert("hold");
    world.hold();
    world.assert("wait for 3 s");
    // It crashes once more before its image is changed.
    world.container("main").restarts = 6;
    world.second = 3;
    world.assert("patch");
    "r/main:2".clone_into(&mut world.container("main").image);
    world.assert("wait for container main to run its new image");
    world.replaced("main", "main-2");
    world.assert("wait for 5 s of readiness");
    // And where the new one does the same, that is told.
    world.container("main").waiting = Some(("CrashLoopBackOff".into(), "back-off 40s".into()));
    world.container("main").restarts = 7;
    world.assert("failed container main: CrashLoopBackOff");
}

#[test]
fn image_changed_by_somebody_else_meanwhile_is_not_written_over() {
    let mut world = World::new(|_, _| {});
    world.assert("pull");
    "r/main:3".clone_into(&mut world.container("main").image);
    world.pulled = Pulled::All;
    world.assert("hold");
    world.hold();
    world.pod.ready = false;
    world.assert("wait for 3 s");
    world.second = 3;
    world.assert("failed somebody else has changed the image of container main to r/main:3");
    assert!(world.upgrade.holds());
}

#[test]
fn hold_that_was_left_is_taken_over_and_given_back() {
    let mut world = World::new(|_, wanted| wanted.take_over = true);
    world.hold();
    world.pod.ready = false;
    world.assert("pull");
    assert!(world.upgrade.holds());
    world.pulled = Pulled::All;
    world.assert("wait for 3 s");

    let mut nothing_to_do = World::new(|_, wanted| {
        wanted.take_over = true;
        wanted.images = [("main".into(), "r/main:1".into())].into();
    });
    nothing_to_do.hold();
    nothing_to_do.assert("succeeded");
    assert!(nothing_to_do.upgrade.holds());
}

#[test]
fn pod_that_others_hold_too_has_succeeded_and_says_who_holds_it() {
    let mut world = World::new(|_, _| {}).patched();
    world.replaced("main", "main-2");
    world.assert("wait for 5 s");
    world.second = 8;
    world.assert("give back");
    let other = "[{\"holder\":\"ContainerRestart/x\",\"since\":\"2026-01-01T00:00:00Z\"}]";
    world.pod.gate.as_mut().unwrap().condition = Some(("False".into(), other.into()));
    let step = world.step();
    assert!(
        step.starts_with("succeeded")
            && step.ends_with("ContainerRestart/x holds the Pod unready still"),
        "{step}"
    );
    // Nobody holds it, and kubelet does not call it ready: that is for people.
    world.release();
    world.assert("wait for kubelet to call the Pod ready");
    world.second = 150;
    world.assert("unknown the new containers are ready");
}
