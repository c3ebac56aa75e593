//! Nodes that are emptied for what their agents find: by which Pods, when, and who does not wait for it.

use proto_ids::NodeName;

use super::stories::{enforced, first, world};
use super::{Truth, World, name};
use crate::decision::{Change, Outcome};
use crate::mode::{Mode, Modes};
use crate::observation::{Class, Finding, RuleName, Version};
use crate::phase::Phase;
use crate::verdict::Verdict;
use crate::window::{MinuteOfWeek, Window};
use crate::{Action, Config};

/// The node's agent reports that it has found something.
fn find(world: &mut World, node: &NodeName, rule: &str, class: Class) {
    let node = world.seen.nodes.get_mut(node).unwrap();
    let report = node.report.as_mut().unwrap();
    report.version = Version::new("sick");
    report.findings.push(Finding {
        rule: RuleName::new(rule),
        class,
    });
}

/// Everything enforced, with business on Mondays from nine to five.
fn in_business() -> Config {
    let business = Window {
        from: MinuteOfWeek::new(0, 9 * 60),
        until: MinuteOfWeek::new(0, 17 * 60),
    };
    Config {
        business: vec![business],
        ..enforced()
    }
}

#[test]
fn finding_cordons_then_drains_with_gaps_and_not_in_business_time() {
    let mut world = World::new(in_business(), (10, 2), 10, 10);
    world.seen.week = Some(MinuteOfWeek::new(0, 10 * 60));
    world.run(150);
    let sick = name(3, 4);
    find(&mut world, &sick, "disk-write", Class::Drain);
    world.run(400);
    assert_eq!(
        world.core.node(&sick),
        Some((Verdict::Degraded(Class::Drain), Phase::Cordoned))
    );
    assert!(world.seen.nodes[&sick].cordoned);
    assert!(
        !world
            .done
            .iter()
            .any(|(_, _, order)| order.action.ends_pod())
    );
    world.seen.week = Some(MinuteOfWeek::new(0, 18 * 60));
    world.run(300);
    assert_eq!(
        world.core.node(&sick).map(|node| node.1),
        Some(Phase::Empty)
    );
    assert_eq!(
        world.count(&sick, |action| matches!(action, Action::Evict { .. })),
        10
    );
}

#[test]
fn dry_run_says_each_eviction_once_at_the_pace_of_real_ones() {
    let config = Config {
        modes: Modes::all(Mode::DryRun),
        ..Config::default()
    };
    let mut world = World::new(config, (10, 2), 10, 10);
    world.run(150);
    let sick = name(3, 4);
    find(&mut world, &sick, "disk-write", Class::Drain);
    world.run(400);
    assert_eq!(world.ordered, []);
    let said = world.decisions.iter().filter(|one| {
        let is_evict = matches!(&one.change, Change::Action(Action::Evict { .. }));
        is_evict && one.outcome == Outcome::WouldDo
    });
    assert_eq!(said.count(), 10);
    let phase = world.core.node(&sick).map(|node| node.1);
    assert_eq!(phase, Some(Phase::Empty));
}

#[test]
fn pod_that_was_told_to_end_is_awaited_before_the_next_one_is() {
    let mut world = World::new(enforced(), (10, 2), 10, 10);
    world.run(150);
    let sick = name(3, 4);
    world.kept.insert(format!("uid-{sick}-0"));
    world.is_unheard = true;
    find(&mut world, &sick, "disk-write", Class::Drain);
    world.run(400);
    let evicts = world
        .ordered
        .iter()
        .filter(|(_, order)| order.action.ends_pod());
    let moments: Vec<_> = evicts.map(|(at, _)| *at).collect();
    // Seen to end, the next one follows after five seconds or six.
    assert!(moments[1] - moments[0] >= 30, "{moments:?}");
    assert!(moments[3] - moments[2] <= 10, "{moments:?}");
}

#[test]
fn pods_that_their_budget_keeps_hold_up_no_others_and_are_asked_for_ever_more_rarely() {
    let mut world = World::new(enforced(), (10, 2), 10, 10);
    world.run(150);
    let sick = name(3, 4);
    // The first that would be evicted, and another one of the same application.
    let kept = [0, 5].map(|index| format!("uid-{sick}-{index}"));
    world.kept.extend(kept.clone());
    find(&mut world, &sick, "disk-write", Class::Drain);
    world.run(1200);
    assert_eq!(
        world.core.node(&sick),
        Some((Verdict::Degraded(Class::Drain), Phase::Draining))
    );
    assert_eq!(
        world.count(&sick, |action| matches!(action, Action::Evict { .. })),
        8,
        "the others have gone"
    );
    let tries = world
        .ordered
        .iter()
        .filter(|(_, order)| {
            order
                .action
                .target()
                .is_some_and(|target| kept.contains(&target.uid.to_string()))
        })
        .map(|(at, _)| *at)
        .collect::<Vec<_>>();
    let before = world.now;
    world.run(3600);
    let later = world.ordered.iter().filter(|(at, _)| *at > before).count();
    assert!(
        tries.len() <= 16 && (11..=26).contains(&later),
        "{tries:?}, then {later} in an hour"
    );
    // The budget allows it.
    world.kept.clear();
    world.run(620);
    assert_eq!(
        world.core.node(&sick).map(|node| node.1),
        Some(Phase::Empty)
    );
}

#[test]
fn drains_that_wait_for_budgets_or_business_time_do_not_keep_a_lost_node_from_being_replaced() {
    for is_business in [false, true] {
        let mut world = World::new(in_business(), (10, 2), 10, 10);
        world.seen.week = Some(MinuteOfWeek::new(0, 8 * 60));
        world.run(150);
        // As many as may be in action in a cluster of a hundred.
        let sick = [name(3, 4), name(4, 4)];
        for node in &sick {
            let pods = (0..10).map(|index| format!("uid-{node}-{index}"));
            world.kept.extend(pods);
            find(&mut world, node, "disk-write", Class::Drain);
        }
        world.run(450);
        if is_business {
            world.seen.week = Some(MinuteOfWeek::new(0, 10 * 60));
            world.kept.clear();
            world.run(60);
        }
        let phases = |world: &World| sick.each_ref().map(|node| world.core.node(node).unwrap().1);
        assert_eq!(phases(&world), [Phase::Draining; 2]);

        let dead = name(5, 4);
        world.set(&dead, Truth::Off);
        let crash = world.now;
        world.run(110);
        let soft = first(&world, |action| matches!(action, Action::SoftEvict { .. }));
        assert!(soft.is_some_and(|soft| soft - crash < 110), "{soft:?}");

        world.kept.clear();
        world.seen.week = Some(MinuteOfWeek::new(0, 18 * 60));
        world.run(900);
        assert_eq!(phases(&world), [Phase::Empty; 2]);
        let used = world.decisions.iter().map(|one| one.budget.cluster);
        assert!(used.into_iter().all(|(used, limit)| used <= limit));
    }
}

#[test]
fn rule_that_finds_something_everywhere_drains_nothing() {
    let mut world = world();
    for rack in 0..10 {
        find(&mut world, &name(rack, 0), "new-rule", Class::Urgent);
    }
    world.run(600);
    assert_eq!(world.done, []);
}
