//! What must hold whatever happens to nodes, racks, freezes, proofs, terms and clocks, for any order of it.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proto_ids::NodeName;

use super::stories::enforced;
use super::{Truth, World, at, name};
use crate::decision::{Change, Hash, Outcome, verify};
use crate::freeze::{Freeze, Freezes, Scope};
use crate::observation::{FenceKind, FenceProof, Observations, Version};
use crate::verdict::Verdict;
use crate::{Action, Core, Moment};

const RACKS: usize = 6;
const PER_RACK: usize = 5;

/// Something that happens, and how long it is until the next.
#[derive(Clone, Debug)]
enum Event {
    Node(usize, usize, Truth),
    Rack(usize, Truth),
    Share(usize, Truth),
    Freeze(Option<usize>),
    Unreadable,
    Thaw,
    Prove(usize, usize, u32),
    Lag(bool),
    Pressure(usize, usize, bool),
    Fail(bool),
    Lead(bool),
}

fn truth() -> impl Strategy<Value = Truth> {
    prop_oneof![
        3 => Just(Truth::Up),
        2 => Just(Truth::Off),
        2 => Just(Truth::NoNetwork),
        1 => Just(Truth::NoApi),
        1 => Just(Truth::KubeletHung),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let (racks, nodes) = (0..RACKS, 0..PER_RACK);
    prop_oneof![
        6 => (racks.clone(), nodes.clone(), truth()).prop_map(|(rack, node, to)| Event::Node(rack, node, to)),
        2 => (racks.clone(), truth()).prop_map(|(rack, to)| Event::Rack(rack, to)),
        1 => (1..PER_RACK, truth()).prop_map(|(share, to)| Event::Share(share, to)),
        1 => proptest::option::of(racks.clone()).prop_map(Event::Freeze),
        1 => Just(Event::Unreadable),
        2 => Just(Event::Thaw),
        3 => (racks.clone(), nodes.clone(), 0..3_u32).prop_map(|(rack, node, one)| Event::Prove(rack, node, one)),
        1 => any::<bool>().prop_map(Event::Lag),
        1 => (racks, nodes, any::<bool>()).prop_map(|(rack, node, is)| Event::Pressure(rack, node, is)),
        1 => any::<bool>().prop_map(Event::Fail),
        1 => any::<bool>().prop_map(Event::Lead),
    ]
}

fn history() -> impl Strategy<Value = Vec<(Event, u64)>> {
    proptest::collection::vec((event(), 1..180_u64), 1..14)
}

fn proof(version: u32) -> FenceProof {
    FenceProof {
        kind: FenceKind::PowerOff,
        by: "bmc".to_owned(),
        version: Version::new(&version.to_string()),
    }
}

fn freeze(scope: Scope) -> Freezes {
    Freezes::Known(vec![Freeze {
        name: "stop".to_owned(),
        scope,
    }])
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Node(rack, node, truth) => world.set(&name(*rack, *node), *truth),
        Event::Rack(rack, truth) => world.rack(*rack, *truth),
        Event::Share(share, truth) => {
            for rack in 0..RACKS {
                for node in 0..*share {
                    world.set(&name(rack, node), *truth);
                }
            }
        }
        Event::Freeze(Some(rack)) => {
            let rack = format!("r{rack:02}").parse().unwrap();
            world.seen.freezes = freeze(Scope::Rack(rack));
        }
        Event::Freeze(None) => world.seen.freezes = freeze(Scope::Cluster),
        Event::Unreadable => world.seen.freezes = Freezes::Unreadable,
        Event::Thaw => world.seen.freezes = Freezes::none(),
        Event::Prove(rack, node, version) => {
            let node = world.seen.nodes.get_mut(&name(*rack, *node)).unwrap();
            node.fence = Some(proof(*version));
        }
        Event::Lag(is_behind) => {
            let lag = if *is_behind { 20 } else { 0 };
            world.seen.controller.watch_lag = Duration::from_secs(lag);
        }
        Event::Pressure(rack, node, is) => {
            let node = world.seen.nodes.get_mut(&name(*rack, *node)).unwrap();
            node.report.as_mut().unwrap().under_pressure = *is;
        }
        Event::Fail(fails) => world.replacements_fail = *fails,
        Event::Lead(leads) => world.seen.controller.term = leads.then_some(7),
    }
}

/// What a step saw of what it changes itself.
struct Before {
    freezes: Freezes,
    term: Option<u64>,
    /// Whether each carries our fenced mark.
    nodes: BTreeMap<NodeName, bool>,
}

/// Lives a history, with a look at every second after its step, and at what was seen in it.
fn live(
    history: &[(Event, u64)],
    mut look: impl FnMut(&World, &Before) -> Result<(), TestCaseError>,
) -> Result<World, TestCaseError> {
    let mut world = World::new(enforced(), (RACKS, 2), PER_RACK, 5);
    world.run(130);
    for (event, seconds) in history {
        happen(&mut world, event);
        for _ in 0..*seconds {
            // What the step sees of freezes, terms, marks and proofs is what it was before it.
            let before = Before {
                freezes: world.seen.freezes.clone(),
                term: world.seen.controller.term,
                nodes: world
                    .seen
                    .nodes
                    .iter()
                    .map(|(name, node)| (name.clone(), node.fence_marked))
                    .collect(),
            };
            world.second();
            look(&world, &before)?;
        }
    }
    Ok(world)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The most of these moments within a window.
fn most_within(moments: &[u64], window: u64) -> usize {
    let ends = moments.iter().enumerate();
    let counts = ends.map(|(last, end)| {
        let inside = moments[..=last]
            .iter()
            .filter(|start| end - **start < window);
        inside.count()
    });
    counts.max().unwrap_or(0)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nothing_is_deleted_hard_unless_its_node_is_fenced_and_marked(history in history()) {
        let world = live(&history, |world, before| {
            let (_, step) = world.steps.last().unwrap();
            for order in &step.orders {
                let name = order.action.node();
                match &order.action {
                    Action::HardDelete { .. } => {
                        prop_assert!(before.nodes[name]);
                        let verdict = world.core.node(name).map(|node| node.0);
                        prop_assert_eq!(verdict, Some(Verdict::FencedDead));
                    }
                    Action::Fence { .. } => prop_assert!(world.seen.nodes[name].fence.is_some()),
                    _ => {}
                }
            }
            Ok(())
        })?;
        for (_, truth, order) in &world.done {
            if matches!(order.action, Action::SoftEvict { .. }) {
                // Nodes that only lost the API server, or their kubelet, are never taken for lost.
                prop_assert!(!matches!(truth, Truth::NoApi | Truth::KubeletHung));
            }
        }
    }

    #[test]
    fn budgets_hold_in_every_window(history in history()) {
        let world = live(&history, |_, _| Ok(()))?;
        let pods: Vec<u64> = world
            .ordered
            .iter()
            .filter(|(_, order)| order.action.target().is_some())
            .map(|(when, _)| *when)
            .collect();
        for window in [1, 10, 60] {
            let most = most_within(&pods, window);
            prop_assert!(most as u64 <= 5 * window, "{most} Pods in {window} s");
        }
        let mut ends: BTreeMap<&NodeName, Vec<u64>> = BTreeMap::new();
        for (when, order) in world.ordered.iter().filter(|(_, order)| order.action.ends_pod()) {
            ends.entry(order.action.node()).or_default().push(*when);
        }
        for (node, moments) in ends {
            prop_assert!(most_within(&moments, 10) <= 2, "{node}: {moments:?}");
        }
        for decision in &world.decisions {
            let budget = decision.budget;
            prop_assert!(budget.dark_racks.0 <= budget.dark_racks.1, "{decision:?}");
        }
    }

    #[test]
    fn freeze_means_no_order_from_the_step_that_sees_it(history in history()) {
        live(&history, |world, before| {
            let (_, step) = world.steps.last().unwrap();
            for order in &step.orders {
                let node = &world.seen.nodes[order.action.node()];
                let held = before.freezes.hold(order.action.node(), node, None);
                prop_assert_eq!(held, None, "{:?}", order);
                prop_assert_eq!(before.term, Some(7));
            }
            Ok(())
        })?;
    }

    #[test]
    fn every_order_has_its_decision_and_the_chain_holds(history in history()) {
        let world = live(&history, |_, _| Ok(()))?;
        prop_assert_eq!(verify(Hash::default(), &world.decisions), Ok(()));
        let by_id: BTreeMap<_, _> = world.decisions.iter().map(|one| (one.id, one)).collect();
        prop_assert_eq!(by_id.len(), world.decisions.len());
        for (_, order) in &world.ordered {
            let decision = by_id[&order.decision];
            prop_assert_eq!(&decision.change, &Change::Action(order.action.clone()));
            prop_assert_eq!(&decision.outcome, &Outcome::Ordered);
            prop_assert!(!decision.evidence.is_empty());
        }
        let said = world.decisions.iter().filter(|one| one.outcome == Outcome::Ordered).count();
        prop_assert_eq!(said, world.ordered.len());
    }

    #[test]
    fn replay_of_what_was_seen_gives_the_same(history in history()) {
        let mut inputs: Vec<(Moment, Observations)> = Vec::new();
        let history = &history[..history.len().min(3)];
        let world = live(history, |world, _| {
            if world.now.is_multiple_of(5) {
                inputs.push((at(world.now), world.seen.clone()));
            }
            Ok(())
        })?;
        let mut first = Core::new(enforced(), 9, at(0), Hash::default());
        let mut second = Core::new(enforced(), 9, at(0), Hash::default());
        for (now, seen) in &inputs {
            let read: Observations =
                serde_json::from_str(&serde_json::to_string(seen).unwrap()).unwrap();
            prop_assert_eq!(first.step(*now, seen), second.step(*now, &read));
        }
        prop_assert!(!world.steps.is_empty());
    }

    #[test]
    fn breaker_never_latches(history in history()) {
        let mut world = live(&history, |_, _| Ok(()))?;
        for rack in 0..RACKS {
            world.rack(rack, Truth::Up);
        }
        world.seen.freezes = Freezes::none();
        world.seen.controller.watch_lag = Duration::ZERO;
        world.seen.controller.term = Some(7);
        world.seen.replacements.clear();
        world.replacements_fail = false;
        // All has been well for a while, however long the node had flapped.
        world.run(400);
        world.seen.replacements.clear();
        let dead = name(0, 0);
        for pod in world.seen.pods.get_mut(&dead).unwrap() {
            pod.soft_evicted = false;
            pod.terminating = false;
        }
        let uids: Vec<_> = world.seen.pods[&dead].iter().filter(|pod| crate::core::is_soft(pod)).collect();
        let expected = uids.len();
        world.set(&dead, Truth::Off);
        let before = world.count(&dead, |action| matches!(action, Action::SoftEvict { .. }));
        world.run(200);
        let after = world.count(&dead, |action| matches!(action, Action::SoftEvict { .. }));
        prop_assert_eq!(after - before, expected);
    }

    #[test]
    fn flapping_node_is_not_acted_on_more_than_damping_allows(down in 31..200_u64, up in 5..100_u64) {
        let mut world = World::new(enforced(), (RACKS, 2), PER_RACK, 5);
        world.run(130);
        let node = name(2, 3);
        while world.now < 3730 {
            world.set(&node, Truth::NoNetwork);
            world.run(down);
            world.set(&node, Truth::Up);
            world.run(up);
        }
        let cordons = world.count(&node, |action| matches!(action, Action::Cordon { .. }));
        let opened = world.count(&node, |action| matches!(action, Action::Uncordon { .. }));
        // It is closed once, at the third loss at the latest, and not opened before it has stayed.
        prop_assert!(cordons <= 1, "{cordons}");
        prop_assert_eq!(opened, 0);
        let restored = world.count(&node, |action| matches!(action, Action::RestoreEndpoints { .. }));
        prop_assert!(restored <= 3, "{restored}");
        let soft = world.count(&node, |action| matches!(action, Action::SoftEvict { .. }));
        let readopted = world.count(&node, |action| matches!(action, Action::Readopt { .. }));
        prop_assert!(soft <= 3 + readopted && readopted <= 6, "{soft} {readopted}");
    }
}
