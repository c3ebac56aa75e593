//! Whole stories: what the rule does to a node or a rack from the first silence to the end.

use proto_ids::NodeName;

use super::{Truth, World, name};
use crate::decision::{Change, Subject};
use crate::freeze::{Freeze, Freezes, Scope};
use crate::mode::{Mode, Modes};
use crate::observation::{FenceKind, FenceProof, Version};
use crate::phase::Phase;
use crate::verdict::Verdict;
use crate::{Action, Config};

/// Everything enforced.
pub(crate) fn enforced() -> Config {
    Config {
        modes: Modes::all(Mode::Enforce),
        ..Config::default()
    }
}

/// Ten racks of ten nodes in two zones, ten Pods each, long enough up to be believed.
pub(super) fn world() -> World {
    let mut world = World::new(enforced(), (10, 2), 10, 10);
    world.run(150);
    world
}

pub(super) fn first(world: &World, is: impl Fn(&Action) -> bool) -> Option<u64> {
    let found = world.done.iter().find(|(_, _, order)| is(&order.action));
    found.map(|(when, _, _)| *when)
}

fn proof(version: &str) -> FenceProof {
    FenceProof {
        kind: FenceKind::PowerOff,
        by: "bmc".to_owned(),
        version: Version::new(version),
    }
}

#[test]
fn healthy_cluster_is_left_alone() {
    let mut world = world();
    world.run(300);
    assert_eq!(world.done, []);
    let verdicts = world.truth.keys().map(|name| world.core.node(name));
    assert!(
        verdicts
            .into_iter()
            .all(|node| node == Some((Verdict::Healthy, Phase::Healthy)))
    );
}

#[test]
fn crashed_node_is_replaced_within_110_seconds_and_nothing_is_deleted() {
    let mut world = world();
    let dead = name(3, 4);
    world.set(&dead, Truth::Off);
    let crash = world.now;
    world.run(110);
    assert_eq!(
        world.core.node(&dead),
        Some((Verdict::QuorumDead, Phase::SoftEvicting))
    );
    let soft = world.count(&dead, |action| matches!(action, Action::SoftEvict { .. }));
    assert_eq!(soft, 6, "of ten Pods six have no name or address to keep");
    assert!(world.seen.nodes[&dead].cordoned);
    assert!(world.seen.nodes[&dead].endpoints_withdrawn);
    assert!(
        !world
            .done
            .iter()
            .any(|(_, _, order)| order.action.ends_pod())
    );
    let last = world.done.iter().map(|(when, _, _)| *when).max();
    assert!(last.is_some_and(|last| last - crash <= 110), "{last:?}");
    world.run(3600);
    assert!(
        !world
            .done
            .iter()
            .any(|(_, _, order)| order.action.ends_pod())
    );
}

#[test]
fn pods_that_the_api_server_does_not_delete_hold_up_no_other_pod_and_no_other_node() {
    let mut world = world();
    // As many nodes as may be in action in a cluster of a hundred.
    let fenced = [name(3, 4), name(4, 4)];
    for dead in &fenced {
        world.set(dead, Truth::Off);
        // The oldest of those that nobody replaces: it is the first.
        world.kept.insert(format!("uid-{dead}-3"));
        world.seen.nodes.get_mut(dead).unwrap().fence = Some(proof("1"));
    }
    world.run(400);
    for dead in &fenced {
        let deleted = world.count(dead, |action| matches!(action, Action::HardDelete { .. }));
        assert_eq!(deleted, 9);
        let node = world.core.node(dead);
        assert_eq!(node.map(|node| node.1), Some(Phase::HardEvicting));
    }
    let dead = name(5, 4);
    world.set(&dead, Truth::Off);
    world.run(110);
    let soft = world.count(&dead, |action| matches!(action, Action::SoftEvict { .. }));
    assert_eq!(soft, 6);
    // Whatever refused it does so no more.
    world.kept.clear();
    world.run(320);
    for dead in &fenced {
        let node = world.core.node(dead);
        assert_eq!(node.map(|node| node.1), Some(Phase::Gone));
    }
}

#[test]
fn fenced_node_is_emptied_one_pod_at_a_time_and_its_claims_are_marked_first() {
    let mut world = world();
    let dead = name(3, 4);
    world.set(&dead, Truth::Off);
    world.run(100);
    world.seen.nodes.get_mut(&dead).unwrap().fence = Some(proof("1"));
    world.run(120);
    let fence = first(&world, |action| matches!(action, Action::Fence { .. }));
    let deletes: Vec<u64> = world
        .done
        .iter()
        .filter(|(_, _, order)| matches!(order.action, Action::HardDelete { .. }))
        .map(|(when, _, _)| *when)
        .collect();
    assert_eq!(deletes.len(), 10);
    assert!(fence.is_some_and(|fence| fence < deletes[0]));
    assert!(
        deletes.windows(2).all(|pair| pair[1] - pair[0] >= 5),
        "{deletes:?}"
    );
    assert_eq!(
        world.core.node(&dead),
        Some((Verdict::FencedDead, Phase::Gone))
    );
}

#[test]
fn proof_of_before_the_node_returned_proves_nothing() {
    let mut world = world();
    let dead = name(3, 4);
    world.seen.nodes.get_mut(&dead).unwrap().fence = Some(proof("old"));
    world.run(30);
    world.set(&dead, Truth::Off);
    world.run(200);
    assert_eq!(
        world.core.node(&dead),
        Some((Verdict::QuorumDead, Phase::SoftEvicting))
    );
    world.seen.nodes.get_mut(&dead).unwrap().fence = Some(proof("new"));
    world.run(10);
    assert_eq!(
        world.core.node(&dead).map(|node| node.0),
        Some(Verdict::FencedDead)
    );
}

#[test]
fn returning_node_is_cancelled_in_the_same_step_and_its_superseded_pods_go_one_by_one() {
    let mut world = world();
    let lost = name(3, 4);
    world.set(&lost, Truth::NoNetwork);
    world.run(150);
    world.set(&lost, Truth::Up);
    let back = world.now;
    world.run(10);
    let cancelled = world
        .steps
        .iter()
        .filter(|(_, step)| step.cancelled.contains(&lost));
    assert_eq!(cancelled.count(), 1);
    world.run(200);
    let ends: Vec<u64> = world
        .done
        .iter()
        .filter(|(when, _, order)| *when > back && order.action.ends_pod())
        .map(|(when, _, _)| *when)
        .collect();
    assert_eq!(ends.len(), 6);
    assert!(
        ends.windows(2).all(|pair| pair[1] - pair[0] >= 5),
        "{ends:?}"
    );
    assert_eq!(
        world.core.node(&lost),
        Some((Verdict::Healthy, Phase::Healthy))
    );
    assert!(!world.seen.nodes[&lost].cordoned);
    assert!(!world.seen.nodes[&lost].endpoints_withdrawn);
}

/// A node is back, and none of those that replace its Pods is ready.
fn back_without_replacements() -> (World, NodeName) {
    let mut world = world();
    world.replacements_fail = true;
    let lost = name(3, 4);
    world.set(&lost, Truth::NoNetwork);
    world.run(150);
    world.set(&lost, Truth::Up);
    (world, lost)
}

#[test]
fn returning_node_keeps_no_pods_whose_replacements_are_ready_and_only_not_known_to_be() {
    let (mut world, lost) = back_without_replacements();
    // They were read before the return.
    world.run(10);
    world.replacements_fail = false;
    world.run(200);
    let of = |wanted: fn(&Action) -> bool| world.count(&lost, wanted);
    let evicted = of(|action| matches!(action, Action::SoftEvict { .. }));
    assert!(evicted >= 3);
    assert_eq!(of(|action| matches!(action, Action::Readopt { .. })), 0);
    let ended = of(|action| matches!(action, Action::EndSuperseded { .. }));
    assert_eq!(ended, evicted);
}

#[test]
fn returning_node_keeps_the_pods_whose_replacements_are_not_ready() {
    let (mut world, lost) = back_without_replacements();
    world.run(30);
    let evicted = world.count(&lost, |action| matches!(action, Action::SoftEvict { .. }));
    let readopted = world.count(&lost, |action| matches!(action, Action::Readopt { .. }));
    assert!(evicted >= 3);
    assert_eq!(readopted, evicted);
    assert!(
        !world
            .done
            .iter()
            .any(|(_, _, order)| order.action.ends_pod())
    );
}

#[test]
fn recovery_waits_while_the_node_is_under_pressure() {
    let mut world = world();
    let lost = name(3, 4);
    world.set(&lost, Truth::NoNetwork);
    world.run(150);
    world.set(&lost, Truth::Up);
    let report = world
        .seen
        .nodes
        .get_mut(&lost)
        .unwrap()
        .report
        .as_mut()
        .unwrap();
    report.under_pressure = true;
    world.run(60);
    assert!(
        !world
            .done
            .iter()
            .any(|(_, _, order)| order.action.ends_pod())
    );
    let report = world
        .seen
        .nodes
        .get_mut(&lost)
        .unwrap()
        .report
        .as_mut()
        .unwrap();
    report.under_pressure = false;
    world.run(60);
    assert!(
        world
            .done
            .iter()
            .any(|(_, _, order)| order.action.ends_pod())
    );
}

#[test]
fn node_cut_from_the_api_keeps_its_endpoints_and_its_pods() {
    let mut world = world();
    let cut = name(3, 4);
    world.set(&cut, Truth::NoApi);
    world.run(40 * 60);
    assert_eq!(
        world.core.node(&cut),
        Some((Verdict::ControlPlaneCut, Phase::ControlPlaneCut))
    );
    let actions: Vec<&Action> = world
        .done
        .iter()
        .map(|(_, _, order)| &order.action)
        .collect();
    assert_eq!(actions, [&Action::Cordon { node: cut.clone() }]);
    let calls = world
        .decisions
        .iter()
        .filter(|one| one.change == Change::Escalated);
    assert_eq!(calls.count(), 1);
    world.set(&cut, Truth::Up);
    world.run(200);
    assert_eq!(
        world.core.node(&cut),
        Some((Verdict::Healthy, Phase::Healthy))
    );
    assert!(!world.seen.nodes[&cut].cordoned);
}

#[test]
fn hung_kubelet_is_restarted_twice_then_cordoned_and_its_pods_are_left_alone() {
    let mut world = world();
    let hung = name(3, 4);
    world.set(&hung, Truth::KubeletHung);
    world.run(40);
    assert_eq!(
        world.core.node(&hung),
        Some((Verdict::KubeletDown, Phase::KubeletDown))
    );
    assert!(!world.seen.nodes[&hung].cordoned);
    world.run(600);
    let restarts = world.count(&hung, |action| {
        matches!(action, Action::RestartKubelet { .. })
    });
    assert_eq!(restarts, 2);
    assert!(world.seen.nodes[&hung].cordoned);
    assert_eq!(world.done.len(), 3);
}

#[test]
fn dark_rack_is_one_decision_and_comes_back_quietly() {
    let mut world = world();
    world.rack(2, Truth::NoNetwork);
    world.run(600);
    let of_rack: Vec<&Change> = world
        .decisions
        .iter()
        .filter(|one| matches!(&one.subject, Subject::Rack(_)))
        .map(|one| &one.change)
        .collect();
    let admitted = of_rack
        .iter()
        .filter(|change| matches!(change, Change::Phase { .. }));
    assert_eq!(admitted.count(), 1, "{of_rack:?}");
    let soft = world
        .done
        .iter()
        .filter(|(_, _, order)| matches!(order.action, Action::SoftEvict { .. }));
    assert_eq!(soft.count(), 60);
    assert!(
        !world
            .done
            .iter()
            .any(|(_, _, order)| order.action.ends_pod())
    );
    world.rack(2, Truth::Up);
    world.run(400);
    for node in 0..10 {
        let own: Vec<u64> = world
            .done
            .iter()
            .filter(|(_, _, order)| {
                *order.action.node() == name(2, node) && order.action.ends_pod()
            })
            .map(|(when, _, _)| *when)
            .collect();
        assert!(own.windows(2).all(|pair| pair[1] - pair[0] >= 5), "{own:?}");
        assert_eq!(own.len(), 6);
    }
}

#[test]
fn half_the_cluster_cut_from_the_api_opens_the_breaker_and_nothing_is_replaced() {
    let mut world = world();
    for rack in 0..10 {
        for node in 0..5 {
            world.set(&name(rack, node), Truth::NoApi);
        }
    }
    world.run(1200);
    let disturbing = world
        .done
        .iter()
        .filter(|(_, _, order)| order.action.disturbs());
    assert_eq!(disturbing.count(), 0);
    assert!(
        world
            .decisions
            .iter()
            .any(|one| matches!(one.change, Change::BreakerOpened(_)))
    );
    for rack in 0..10 {
        world.rack(rack, Truth::Up);
    }
    world.run(400);
    assert!(
        world
            .decisions
            .iter()
            .any(|one| matches!(one.change, Change::BreakerClosed(_)))
    );
    let dead = name(1, 1);
    world.set(&dead, Truth::Off);
    world.run(150);
    assert!(world.count(&dead, |action| matches!(action, Action::SoftEvict { .. })) > 0);
}

#[test]
fn failing_replacements_stop_further_ones() {
    let mut world = world();
    world.replacements_fail = true;
    world.rack(2, Truth::Off);
    world.run(900);
    let soft = world
        .done
        .iter()
        .filter(|(_, _, order)| matches!(order.action, Action::SoftEvict { .. }));
    let soft = soft.count();
    assert!(soft < 60, "{soft}");
    let opened = world.decisions.iter().filter_map(|one| match &one.change {
        Change::BreakerOpened(cause) => Some(cause),
        _ => None,
    });
    assert!(
        opened
            .into_iter()
            .any(|cause| matches!(cause, crate::breaker::Cause::FailedReplacements(_)))
    );
}

#[test]
fn freeze_of_a_node_a_rack_an_app_or_everything_holds_just_that() {
    let dead = name(3, 4);
    let app = world().seen.apps.keys().next().cloned().unwrap();
    let cases = [
        (Freezes::Unreadable, 0),
        (scoped(Scope::Cluster), 0),
        (scoped(Scope::Rack("r03".parse().unwrap())), 0),
        (scoped(Scope::Node(dead.clone())), 0),
        (scoped(Scope::App(app)), 4),
        (scoped(Scope::Node(name(3, 5))), 6),
        (scoped(Scope::Rack("r04".parse().unwrap())), 6),
        (Freezes::none(), 6),
    ];
    for (freezes, expected) in cases {
        let mut world = world();
        world.seen.freezes = freezes.clone();
        world.set(&dead, Truth::Off);
        world.run(150);
        let soft = world.count(&dead, |action| matches!(action, Action::SoftEvict { .. }));
        assert_eq!(soft, expected, "{freezes:?}");
        world.seen.freezes = Freezes::none();
        world.run(60);
        let soft = world.count(&dead, |action| matches!(action, Action::SoftEvict { .. }));
        assert_eq!(soft, 6, "after {freezes:?}");
    }
}

fn scoped(scope: Scope) -> Freezes {
    Freezes::Known(vec![Freeze {
        name: "stop".to_owned(),
        scope,
    }])
}

#[test]
fn one_liar_delays_replacement_and_does_not_prevent_it_but_no_fence_is_believed_against_it() {
    let mut world = world();
    let (dead, liar) = (name(3, 4), name(3, 3));
    world.liars.insert(liar.clone());
    world.set(&dead, Truth::Off);
    let crash = world.now;
    world.run(120);
    assert_eq!(
        world.core.node(&dead).map(|node| node.0),
        Some(Verdict::ControlPlaneCut)
    );
    world.run(240);
    let soft = first(&world, |action| matches!(action, Action::SoftEvict { .. }));
    assert!(
        soft.is_some_and(|soft| (180..300).contains(&(soft - crash))),
        "{soft:?}"
    );
    world.seen.nodes.get_mut(&dead).unwrap().fence = Some(proof("1"));
    world.run(60);
    let is_fenced = world.done.iter().any(|(_, _, order)| {
        matches!(
            order.action,
            Action::Fence { .. } | Action::HardDelete { .. }
        )
    });
    assert!(!is_fenced);
    // Nobody says so any more.
    world.liars.clear();
    world.run(60);
    assert!(first(&world, |action| matches!(action, Action::Fence { .. })).is_some());
}

#[test]
fn proof_that_comes_right_after_the_power_went_is_not_spent_by_the_last_lease() {
    let mut world = world();
    let dead = name(3, 4);
    world.set(&dead, Truth::Off);
    world.run(2);
    // The Lease is fresh still, and so the node healthy.
    world.seen.nodes.get_mut(&dead).unwrap().fence = Some(proof("1"));
    world.run(3);
    assert_eq!(
        world.core.node(&dead).map(|node| node.0),
        Some(Verdict::Healthy)
    );
    world.run(115);
    assert_eq!(
        world.core.node(&dead).map(|node| node.0),
        Some(Verdict::FencedDead)
    );
}

/// A cluster of five nodes: three in one rack, two in the other.
fn five() -> World {
    let mut world = World::new(enforced(), (2, 1), 3, 5);
    let extra = name(1, 2);
    world.truth.remove(&extra);
    world.seen.nodes.remove(&extra);
    world.seen.pods.remove(&extra);
    world.look_at_all();
    world
}

#[test]
fn five_nodes_replace_one_that_is_dead_and_a_dark_rack_of_two() {
    let mut world = five();
    world.run(150);
    world.set(&name(0, 1), Truth::Off);
    world.run(110);
    assert_eq!(
        world.core.node(&name(0, 1)),
        Some((Verdict::QuorumDead, Phase::SoftEvicting))
    );
    let mut world = five();
    world.run(150);
    world.rack(1, Truth::Off);
    world.run(200);
    for node in 0..2 {
        assert_eq!(
            world.core.node(&name(1, node)),
            Some((Verdict::RackDark, Phase::SoftEvicting))
        );
    }
}
