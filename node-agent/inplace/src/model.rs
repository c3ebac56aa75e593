//! Property: whatever happens in whatever order, a set keeps its promises.
//!
//! [`world::World`] is a small cluster; [`driver::Leader`] carries plans out, with old views, lost answers, crashes before any deed,
//! and writes that arrive when another leads already; people edit, scale, pause, delete and evict in between. What must hold is
//! asserted where a write lands; here, that everything ends or says for whom it waits, and comes to its end when nothing is wrong
//! any more.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proto_crd::in_place_set::{MaxUnavailable, ReleasePhase};

mod driver;
mod superseded;
mod world;

use driver::{Leader, Sight};
use world::{BAD, NODES, World, template};

#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(u64),
    Look(Sight),
    LeaderChanges,
    LateArrives,
    Template(u8, u8, u8, u8),
    Scale(u32),
    Pause(bool),
    Most(u32),
    Updated(Option<u32>),
    Mark(Option<u8>),
    Crash(usize),
    Delete(usize),
    Evict(usize),
    SoftEvict(usize),
    Readopt(usize),
    EndSuperseded(usize),
    Node(usize, bool),
    Slb(bool),
    Service(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let look = (
        prop_oneof![5 => Just(0_usize), 2 => 1..6_usize],
        prop_oneof![5 => Just(None), 1 => (0..4_usize).prop_map(Some)],
        any::<bool>(),
        prop_oneof![5 => Just(None), 1 => (0..4_usize).prop_map(Some)],
    );
    let images = prop_oneof![6 => 1..4_u8, 1 => Just(BAD)];
    let modes = prop_oneof![4 => Just(1_u8), 1 => Just(2_u8)];
    prop_oneof![
        14 => (1..5_u64).prop_map(Event::Pass),
        2 => (5..70_u64).prop_map(Event::Pass),
        24 => look.prop_map(|(age, crash, late, lost)| Event::Look(Sight { age, crash, late, lost })),
        1 => Just(Event::LeaderChanges),
        1 => Just(Event::LateArrives),
        3 => (images, 1..3_u8, 1..3_u8, modes).prop_map(|(a, b, c, d)| Event::Template(a, b, c, d)),
        1 => (0..6_u32).prop_map(Event::Scale),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => (1..4_u32).prop_map(Event::Most),
        1 => prop::option::of(0..5_u32).prop_map(Event::Updated),
        1 => prop::option::of(0..5_u8).prop_map(Event::Mark),
        1 => (0..5_usize).prop_map(Event::Crash),
        1 => (0..5_usize).prop_map(Event::Delete),
        1 => (0..5_usize).prop_map(Event::Evict),
        2 => (0..5_usize).prop_map(Event::SoftEvict),
        1 => (0..5_usize).prop_map(Event::Readopt),
        1 => (0..5_usize).prop_map(Event::EndSuperseded),
        1 => (0..3_usize, any::<bool>()).prop_map(|(node, up)| Event::Node(node, up)),
        1 => any::<bool>().prop_map(Event::Slb),
        1 => prop::bool::weighted(0.7).prop_map(Event::Service),
    ]
}

struct Run {
    world: World,
    leader: Leader,
}

impl Run {
    fn new(replicas: u32, lossless: bool, most: u32) -> Self {
        let mut run = Self {
            world: World::new(replicas, lossless, most),
            leader: Leader::default(),
        };
        run.leader.take_over(&run.world);
        run.settle(40);
        run
    }

    fn apply(&mut self, event: Event) {
        let (world, leader) = (&mut self.world, &mut self.leader);
        match event {
            Event::Pass(seconds) => (0..seconds).for_each(|_| world.pass()),
            Event::Look(sight) => {
                leader.look(world, sight);
            }
            Event::LeaderChanges => leader.take_over(world),
            Event::LateArrives => {
                if let Some(deed) = leader.late.take() {
                    world.arrives_late(&deed);
                }
            }
            Event::Template(a, b, c, mode) => {
                world.edit(|spec| spec.template = template(a, b, c, mode));
            }
            Event::Scale(replicas) => world.edit(|spec| spec.replicas = replicas),
            Event::Pause(paused) => world.edit(|spec| spec.paused = paused),
            Event::Most(most) => {
                world.edit(|spec| spec.max_unavailable = MaxUnavailable::Count(most));
            }
            Event::Updated(count) => world.edit(|spec| spec.updated_replicas = count),
            Event::Mark(ordinal) => world.edit(|spec| {
                spec.pods_to_delete = ordinal.map(|it| format!("shop-{it}")).into_iter().collect();
            }),
            Event::Crash(place) => world.crash(place),
            Event::Delete(place) => world.delete(place),
            Event::Evict(place) => world.evict(place),
            Event::SoftEvict(place) => world.soft_evict(place),
            Event::Readopt(place) => world.readopt(place),
            Event::EndSuperseded(place) => world.end_superseded(place),
            Event::Node(node, up) => world.node(NODES[node], up),
            Event::Slb(lives) => world.slb_lives = lives,
            Event::Service(there) => world.has_service = there,
        }
        self.world.lately_most = self
            .world
            .lately_most
            .max(self.world.set.spec.max_unavailable() as usize);
        self.world.check();
    }

    /// Time passes and the leader looks.
    fn settle(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.world.pass();
            self.leader.look(&mut self.world, Sight::default());
            self.world.check();
        }
    }

    /// Time passes until everything is as it is to be.
    fn finish(&mut self, most_seconds: u64) {
        // Long enough for what was edited last to be seen.
        self.settle(5);
        for _ in 0..most_seconds {
            if self.is_done() {
                break;
            }
            self.settle(1);
        }
    }

    /// Whether everything is as it is to be.
    fn is_done(&self) -> bool {
        let (set, spec) = (&self.world.set, &self.world.set.spec);
        let pods = &self.world.pods;
        let target = &set.status.update_revision;
        let at_target = pods
            .values()
            .filter(|pod| pod.view.revision.as_ref() == Some(target));
        pods.len() == spec.replicas as usize
            && at_target.count() >= spec.updated_replicas() as usize
            && pods
                .values()
                .all(|pod| pod.view.operation().is_none() && self.world.is_available(&pod.view))
            && set
                .status
                .release
                .as_ref()
                .is_none_or(|it| it.phase == ReleasePhase::Succeeded)
    }

    /// Nothing goes wrong any more; but what was broken by people stays broken.
    fn heal(&mut self) {
        self.leader.late = None;
        for node in NODES {
            self.world.node(node, true);
        }
        self.world.slb_lives = true;
        self.settle(5);
        self.world.settle_soft_evicted();
        self.finish(400);
        let release = self.world.set.status.release.clone();
        let told = &self.world.set.status.conditions;
        let told = told.iter().filter(|one| match one.r#type.as_str() {
            "Progressing" => true,
            "Available" => one.message.contains(": "),
            _ => false,
        });
        let waits: String = told.map(|one| one.message.clone()).collect();
        assert!(
            self.is_done() || !waits.is_empty(),
            "neither done nor waiting: {release:?} {}",
            self.world.brief()
        );
        // Now people mend what is theirs, too.
        self.world.edit(|spec| {
            spec.template = template(2, 2, 2, 1);
            spec.paused = true;
            spec.updated_replicas = None;
        });
        self.world.has_service = true;
        self.settle(40);
        self.world.edit(|spec| spec.paused = false);
        self.finish(600);
        assert!(self.is_done(), "not done: {}", self.world.brief());
        for pod in self.world.pods.values() {
            let (image, setting) = &pod.running["b"];
            let updated =
                pod.view.revision.as_ref() == Some(&self.world.set.status.update_revision);
            assert!(!updated || image == "app:2" && setting == "2", "{pod:?}");
        }
    }
}

fn run(lossless: bool, most: u32, events: Vec<Event>) -> World {
    let mut run = Run::new(4, lossless, most);
    for event in events {
        run.apply(event);
    }
    run.heal();
    run.world
}

/// One run is some hundred seconds of a cluster: `PROPTEST_CASES=4000` makes 500.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: (config.cases / 8).max(1),
        ..config
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn promises_hold_under_every_interleaving(
        most in 1..3_u32,
        events in prop::collection::vec(event(), 0..80),
    ) {
        run(true, most, events);
    }

    #[test]
    fn promises_hold_without_a_drain_too(
        most in 1..3_u32,
        events in prop::collection::vec(event(), 0..60),
    ) {
        run(false, most, events);
    }
}

/// Guards the property against being empty: the events do lead to what it speaks about.
#[test]
fn interleavings_reach_drains_patches_restarts_deletions_and_new_pods() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut all = std::collections::BTreeMap::<&str, usize>::new();
    let strategy = prop::collection::vec(event(), 0..80);
    for _ in 0..20 {
        let events = strategy.new_tree(&mut runner).unwrap().current();
        for (kind, count) in run(true, 1, events).deeds {
            *all.entry(kind).or_default() += count;
        }
    }
    for (kind, least) in [
        ("HoldGate", 20),
        ("PatchPod", 20),
        ("ReleaseGate", 20),
        ("DeletePod", 5),
        ("AskRestart", 2),
        ("CreatePod", 20),
        ("Recreate", 5),
        ("Replacement", 5),
    ] {
        let count = all.get(kind).copied().unwrap_or_default();
        assert!(count >= least, "{kind}: {all:?}");
    }
}

#[test]
fn rollback_while_pods_are_drained_brings_them_back_without_a_restart() {
    let mut run = Run::new(4, true, 2);
    run.world.slb_lives = false;
    run.apply(Event::Template(2, 2, 2, 1));
    run.settle(10);
    let draining = |run: &Run| run.world.set.status.draining;
    assert_eq!(draining(&run), 2, "{}", run.world.brief());
    run.apply(Event::Template(1, 1, 1, 1));
    run.world.slb_lives = true;
    run.finish(60);
    assert!(run.is_done(), "{}", run.world.brief());
    for pod in run.world.pods.values() {
        let restarts = pod.view.containers.iter().map(|one| one.restart_count);
        assert_eq!(restarts.sum::<u32>(), 0, "{}", pod.view.name);
    }
}

#[test]
fn bad_image_holds_the_release_with_nothing_drained() {
    let mut run = Run::new(4, true, 2);
    run.apply(Event::Template(BAD, 1, 1, 1));
    run.settle(30);
    let release = run.world.set.status.release.clone().unwrap();
    assert_eq!(release.phase, ReleasePhase::Held);
    assert!(release.waits_for.contains("app:9"), "{release:?}");
    assert_eq!(run.world.deeds.get("HoldGate"), None);
    assert!(run.world.pods.values().all(|pod| pod.view.ready.is_true));
    run.apply(Event::Template(1, 1, 1, 1));
    run.finish(30);
    assert!(run.is_done(), "{}", run.world.brief());
}

#[test]
fn image_and_setting_at_once_restart_each_container_once() {
    let mut run = Run::new(2, true, 1);
    run.apply(Event::Template(2, 1, 2, 1));
    run.finish(120);
    assert!(run.is_done(), "{}", run.world.brief());
    for pod in run.world.pods.values() {
        let restarts: Vec<u32> = pod
            .view
            .containers
            .iter()
            .map(|one| one.restart_count)
            .collect();
        assert_eq!(restarts, [1, 1], "{}", pod.view.name);
        assert_eq!(pod.running["b"], ("app:1".to_owned(), "2".to_owned()));
    }
    assert_eq!(run.world.deeds["AskRestart"], 2);
}

#[test]
fn finalizer_that_stays_is_named_and_the_pod_serves_again() {
    let mut run = Run::new(3, true, 1);
    run.world.slb_lives = false;
    run.apply(Event::Template(2, 1, 1, 1));
    run.settle(60);
    let release = run.world.set.status.release.clone().unwrap();
    assert_eq!(release.phase, ReleasePhase::Held);
    assert!(
        release
            .waits_for
            .contains("finalizer protection.berth.dev/slb to be removed"),
        "{release:?}"
    );
    assert!(run.world.pods.values().all(|pod| pod.view.ready.is_true));
    assert_eq!(run.world.deeds.get("PatchPod"), None);
    // Whoever is responsible mends it, pauses and resumes.
    run.world.slb_lives = true;
    run.apply(Event::Pause(true));
    run.settle(5);
    run.apply(Event::Pause(false));
    run.finish(200);
    assert!(run.is_done(), "{}", run.world.brief());
}

#[test]
fn what_cannot_change_in_place_makes_each_pod_anew_once_where_it_was_and_says_why() {
    let mut run = Run::new(4, true, 1);
    let pods = |run: &Run| -> Vec<(String, Option<String>, Vec<String>)> {
        let views = run.world.pods.values().map(|pod| &pod.view);
        let facts = views.map(|view| (view.uid.clone(), view.node.clone(), view.ips.clone()));
        facts.collect()
    };
    let before = pods(&run);
    let made = run.world.deeds["CreatePod"];
    run.apply(Event::Template(1, 1, 1, 2));
    run.finish(300);
    assert!(run.is_done(), "{}", run.world.brief());
    for ((uid, node, ips), (old_uid, old_node, old_ips)) in pods(&run).iter().zip(&before) {
        assert_ne!(uid, old_uid);
        assert_eq!((node, ips), (old_node, old_ips));
    }
    assert_eq!(run.world.deeds["CreatePod"] - made, 4);
    assert_eq!(run.world.deeds.get("PatchPod"), None);
    let told = &run.world.set.status.conditions;
    let told = told.iter().find(|one| one.r#type == "InPlace").unwrap();
    assert_eq!(told.reason, "MadeAnew");
    assert!(told.message.contains("env[MODE]"), "{}", told.message);
}

#[test]
fn rollback_while_pods_are_drained_to_be_made_anew_keeps_them() {
    let mut run = Run::new(4, true, 2);
    run.world.slb_lives = false;
    let uids = |run: &Run| -> Vec<String> {
        let pods = run.world.pods.values();
        pods.map(|pod| pod.view.uid.clone()).collect()
    };
    let before = uids(&run);
    run.apply(Event::Template(1, 1, 1, 2));
    run.settle(10);
    assert_eq!(run.world.set.status.draining, 2, "{}", run.world.brief());
    run.apply(Event::Template(1, 1, 1, 1));
    run.world.slb_lives = true;
    run.finish(60);
    assert!(run.is_done(), "{}", run.world.brief());
    assert_eq!(uids(&run), before);
}
