//! Terms and records: what a leader says in which mode, what the next one believes, and that the chain of records holds.

use super::stories::{enforced, world};
use super::{Truth, World, at, name};
use crate::decision::{Change, Hash, verify};
use crate::mode::{Mode, Modes};
use crate::verdict::Verdict;
use crate::{Action, Config};

#[test]
fn dry_run_says_the_same_once_and_orders_nothing_and_observe_says_no_action() {
    let dead = name(3, 4);
    let mut said = Vec::new();
    for mode in [Mode::DryRun, Mode::Observe] {
        let config = Config {
            modes: Modes::all(mode),
            ..Config::default()
        };
        let mut world = World::new(config, (10, 2), 10, 10);
        world.run(150);
        world.set(&dead, Truth::Off);
        world.run(300);
        assert_eq!(world.ordered, []);
        let proposed = world
            .decisions
            .iter()
            .filter(|one| matches!(one.change, Change::Action(_)));
        said.push(proposed.count());
        assert_eq!(
            world.core.node(&dead).map(|node| node.0),
            Some(Verdict::QuorumDead)
        );
    }
    assert_eq!(said, [8, 0], "taint, endpoints and six Pods; nothing");
}

#[test]
fn new_leader_believes_nothing_of_before_and_ends_where_the_old_one_did() {
    let mut world = world();
    let dead = name(3, 4);
    world.set(&dead, Truth::Off);
    world.run(60);
    world.core = crate::Core::new(enforced(), 8, at(world.now), Hash::default());
    world.seen.controller.term = Some(8);
    let before = world.done.len();
    world.run(30);
    assert_eq!(world.done.len(), before, "its ages are of its own");
    world.run(90);
    assert_eq!(
        world.count(&dead, |action| matches!(action, Action::SoftEvict { .. })),
        6
    );
}

#[test]
fn who_does_not_lead_orders_nothing() {
    let mut world = world();
    world.seen.controller.term = None;
    world.set(&name(3, 4), Truth::Off);
    world.run(300);
    assert_eq!(world.ordered, []);
}

#[test]
fn chain_holds_and_a_changed_or_missing_record_is_found() {
    let mut world = world();
    world.set(&name(3, 4), Truth::Off);
    world.run(150);
    assert_eq!(verify(Hash::default(), &world.decisions), Ok(()));
    let mut changed = world.decisions.clone();
    changed[3].evidence.clear();
    changed[3].breakers.push(crate::breaker::Cause::WatchLag);
    assert!(verify(Hash::default(), &changed).is_err());
    let mut short = world.decisions;
    short.remove(2);
    assert!(verify(Hash::default(), &short).is_err());
}

#[test]
fn term_begins_with_one_record_and_not_with_one_for_each_healthy_node() {
    let world = world();
    let changes: Vec<&Change> = world.decisions.iter().map(|it| &it.change).collect();
    assert_eq!(changes.first(), Some(&&Change::TermBegan { nodes: 100 }));
    // The breaker of the beginning opens and closes.
    assert!(
        matches!(
            changes[1..],
            [Change::BreakerOpened(_), Change::BreakerClosed(_)]
        ),
        "{changes:?}"
    );
}

#[test]
fn what_befalls_many_at_once_and_harms_none_is_told_together() {
    let mut world = world();
    let half: Vec<_> = world.truth.keys().step_by(2).cloned().collect();
    for name in &half {
        world.set(name, Truth::NoApi);
    }
    let before = world.decisions.len();
    world.run(200);
    let told = world.decisions.len() - before;
    assert!(told < 100, "{told} records for 50 nodes");
    // And every one of them is named.
    let named: std::collections::BTreeSet<_> = world.decisions[before..]
        .iter()
        .flat_map(|decision| {
            let members = decision
                .evidence
                .iter()
                .find_map(|evidence| match evidence {
                    crate::evidence::Evidence::Members(members) => Some(members.clone()),
                    _ => None,
                });
            members
                .unwrap_or_default()
                .into_iter()
                .chain(decision.node().cloned())
        })
        .collect();
    assert!(half.iter().all(|name| named.contains(name)));
}
