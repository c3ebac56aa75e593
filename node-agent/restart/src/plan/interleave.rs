//! Property: whatever happens in whatever order, a request keeps its promises.
//!
//! [`world::World`] is a Pod under kubelet's rules, with several requests and a driver as the README wants it. The driver
//! crashes before and after it stores, reads old Pods and old statuses, and finds the runtime or the API server away;
//! containers crash, flap and are replaced by kubelet. What must hold is asserted where it happens, in
//! [`driver`]; here, that every request ends by its deadline and gives the gate back.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

mod driver;
mod world;

use driver::Crash;
use world::World;

#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(u64),
    Look {
        request: usize,
        age: Option<usize>,
        runtime: bool,
        stale_status: bool,
        crash: Option<Crash>,
    },
    LookAtAll,
    DriverRestarts,
    ContainerEnds(usize),
    Flaps(usize),
    ImageChanges(usize),
    KubeletRestarts,
    SandboxChanges,
    PodGoes,
    Asks {
        containers: usize,
        strategy: u8,
        deadline: u32,
    },
    Deletes(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let crash = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Crash::BeforeStore)),
        1 => Just(Some(Crash::BeforeStep)),
        1 => Just(Some(Crash::AfterStep)),
    ];
    let look = (
        0..3_usize,
        prop_oneof![6 => Just(Some(0)), 2 => (1..4_usize).prop_map(Some), 1 => Just(None)],
        prop::bool::weighted(0.95),
        prop::bool::weighted(0.15),
        crash,
    );
    prop_oneof![
        12 => (1..15_u64).prop_map(Event::Pass),
        1 => (15..700_u64).prop_map(Event::Pass),
        16 => look.prop_map(|(request, age, runtime, stale_status, crash)| Event::Look {
            request, age, runtime, stale_status, crash,
        }),
        12 => Just(Event::LookAtAll),
        1 => Just(Event::DriverRestarts),
        1 => (0..2_usize).prop_map(Event::ContainerEnds),
        1 => (0..2_usize).prop_map(Event::Flaps),
        1 => (0..2_usize).prop_map(Event::ImageChanges),
        1 => Just(Event::KubeletRestarts),
        1 => prop::bool::weighted(0.2).prop_map(|it| if it { Event::SandboxChanges } else { Event::Pass(1) }),
        1 => prop::bool::weighted(0.1).prop_map(|it| if it { Event::PodGoes } else { Event::Pass(1) }),
        2 => asks(),
        1 => (0..3_usize).prop_map(Event::Deletes),
    ]
}

fn asks() -> impl Strategy<Value = Event> {
    let deadline = prop::sample::select(vec![3_u32, 40, 120, 900]);
    (1..4_usize, any::<u8>(), deadline).prop_map(|(containers, strategy, deadline)| Event::Asks {
        containers,
        strategy,
        deadline,
    })
}

fn run(first: Event, events: Vec<Event>) -> Outcome {
    let mut world = World::new();
    for event in std::iter::once(first).chain(events) {
        apply(&mut world, event);
    }
    world.heal();
    Outcome {
        succeeded: world.count(super::Phase::Succeeded),
        failed: world.count(super::Phase::Failed),
        stops: world.stops(),
        resumed: world.resumed(),
    }
}

#[derive(Debug, Default)]
struct Outcome {
    succeeded: usize,
    failed: usize,
    stops: usize,
    resumed: usize,
}

fn apply(world: &mut World, event: Event) {
    match event {
        Event::Pass(seconds) => (0..seconds).for_each(|_| world.pass()),
        Event::Look {
            request,
            age,
            runtime,
            stale_status,
            crash,
        } => {
            world.look(
                request,
                &driver::Sight {
                    age,
                    runtime,
                    stale_status,
                    crash,
                },
            );
        }
        Event::LookAtAll => world.look_at_all(),
        Event::DriverRestarts => world.driver_restarts(),
        Event::ContainerEnds(index) => world.ends(index, 1),
        Event::Flaps(index) => world.flaps(index),
        Event::ImageChanges(index) => world.image_changes(index),
        Event::KubeletRestarts => world.kubelet_restarts(),
        Event::SandboxChanges => world.sandbox_changes(),
        Event::PodGoes => world.pod_goes(),
        Event::Asks {
            containers,
            strategy,
            deadline,
        } => world.asks(containers, strategy, deadline),
        Event::Deletes(request) => world.deletes(request),
    }
}

proptest! {
    #[test]
    fn promises_hold_under_every_interleaving(
        first in asks(),
        events in prop::collection::vec(event(), 0..60),
    ) {
        run(first, events);
    }
}

/// Guards the property against being empty: the events do lead to what it speaks about.
#[test]
fn interleavings_reach_good_and_bad_ends_and_resumed_stops() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut all = Outcome::default();
    let strategy = (asks(), prop::collection::vec(event(), 0..60));
    for _ in 0..200 {
        let (first, events) = strategy.new_tree(&mut runner).unwrap().current();
        let outcome = run(first, events);
        all.succeeded += outcome.succeeded;
        all.failed += outcome.failed;
        all.stops += outcome.stops;
        all.resumed += outcome.resumed;
    }
    let enough = all.succeeded > 20 && all.failed > 20 && all.stops > 50 && all.resumed > 3;
    assert!(enough, "{all:?}");
}
