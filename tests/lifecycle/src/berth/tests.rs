use super::*;
use crate::replay::{Replay, run};
use crate::report::{Pair, misses};
use crate::trace::{Change, Trace, all, named};
use crate::upstream::Upstream;
use crate::world::Size;

const SIZE: Size = Size {
    racks: 10,
    nodes: 10,
    pods: 15,
    zones: 1,
};

/// Traces in which upstream deletes Pods that live, by the reference: where a node or more is silent for longer than six minutes and
/// lives. (Not `api-lb-60-3z`: zones of at most fifty nodes are not tainted at all then.)
const UPSTREAM_DELETES: [&str; 11] = [
    "rack-dark-8m",
    "rack-dark-20m",
    "api-lb-50",
    "api-lb-50-3z",
    "api-lb-60",
    "dc-cut",
    "asymmetric",
    "hung-kubelet",
    "liar-dead",
    "lost-probes",
    "wrong-bmc",
];

fn pair(trace: &Trace, seed: u64) -> (Pair, Vec<String>) {
    let mut berth = Berth::default();
    let pair = Pair {
        name: trace.name.to_owned(),
        upstream: run(trace, SIZE, seed, &mut Upstream::default()).unwrap(),
        berth: run(trace, SIZE, seed, &mut berth).unwrap(),
    };
    (pair, berth.story)
}

/// The last words before a miss, so that a failure explains itself.
fn tail(story: &[String]) -> String {
    story[story.len().saturating_sub(40)..].join("\n")
}

#[test]
fn every_aim_is_met_in_every_trace_and_upstream_misses_them_where_the_reference_says_so() {
    let mut missed = Vec::new();
    for trace in all(SIZE, 1) {
        let (pair, story) = pair(&trace, 1);
        let found = misses(&pair);
        if !found.is_empty() {
            missed.push(format!("{found:?}\n{pair:?}\n{}", tail(&story)));
        }
        let does_delete = pair.upstream.live_deleted > 0;
        if trace.name != "api-lb-60-3z" {
            assert_eq!(
                does_delete,
                UPSTREAM_DELETES.contains(&trace.name),
                "{pair:?}"
            );
        }
        // All Pods of a node at once, and the same judge says so of upstream.
        if does_delete {
            assert_eq!(pair.upstream.most_kills, SIZE.pods, "{pair:?}");
            let judged_as_ours = Pair {
                berth: pair.upstream,
                ..pair
            };
            assert!(misses(&judged_as_ours).len() >= 2, "{judged_as_ours:?}");
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}

#[test]
fn a_crashed_node_is_replaced_within_110_seconds_whoever_it_is_and_upstream_takes_six_minutes() {
    for seed in 1..=12 {
        let trace = named("node-crash", SIZE, seed).unwrap();
        let (pair, story) = pair(&trace, seed);
        assert_eq!(pair.berth.lost, SIZE.pods - 1);
        assert!(
            misses(&pair).is_empty(),
            "seed {seed}: {pair:?}\n{}",
            tail(&story)
        );
        assert!(pair.upstream.replaced_max.unwrap() > 340, "{pair:?}");
    }
}

#[test]
fn a_fenced_dead_node_is_emptied_and_nobody_is_deleted_before_that() {
    let node = 37;
    let trace = |said_off| {
        let mut faults = vec![(100, Change::Power(vec![node], false))];
        if said_off {
            faults.push((200, Change::SaidOff(vec![node], true)));
        }
        Trace {
            name: "fenced",
            text: "",
            seconds: 600,
            zones: 1,
            loss: 10,
            faults,
        }
    };
    for said_off in [false, true] {
        let trace = trace(said_off);
        let mut berth = Berth::default();
        let mut replay = Replay::new(&trace, SIZE, 3, &mut berth).unwrap();
        let mut first = None;
        while replay.step().unwrap() {
            let world = &replay.world;
            let mut pods = world.nodes[node].pods.iter();
            if pods.any(|&id| world.workload.pod(id).is_deleted) {
                first.get_or_insert(world.now);
            }
        }
        assert_eq!(first.is_some(), said_off);
        assert!(first.is_none_or(|at| at > 200), "{first:?}");
        assert_eq!(replay.world.nodes[node].is_fenced, said_off);
    }
}

#[test]
fn a_freeze_stops_everything_after_one_second_and_its_end_lets_it_go_on() {
    let lost: Vec<usize> = (20..30).collect();
    let trace = Trace {
        name: "frozen",
        text: "",
        seconds: 1200,
        zones: 1,
        loss: 10,
        faults: vec![
            (100, Change::Power(lost, false)),
            (270, Change::Freeze(true)),
            (700, Change::Freeze(false)),
        ],
    };
    let mut berth = Berth::default();
    let mut replay = Replay::new(&trace, SIZE, 3, &mut berth).unwrap();
    let mut made = Vec::new();
    while replay.step().unwrap() {
        made.push(replay.world.workload.len());
    }
    let at = |second: usize| made[second - 1];
    let row = replay.world.measure.row();
    assert!(
        at(270) > at(100),
        "the freeze came before anything was done"
    );
    assert!(
        at(270) < at(1200),
        "the freeze came after everything was done"
    );
    assert_eq!(at(272), at(700));
    assert_eq!(row.unreplaced, 0, "{row:?}");
}

#[test]
fn no_more_than_five_pods_a_second_are_replaced_in_any_window() {
    let trace = named("rack-power", SIZE, 2).unwrap();
    let mut berth = Berth::default();
    let mut replay = Replay::new(&trace, SIZE, 2, &mut berth).unwrap();
    let mut made = vec![replay.world.workload.len()];
    while replay.step().unwrap() {
        made.push(replay.world.workload.len());
    }
    for (length, most) in [(1, 5), (2, 10), (10, 55), (60, 305)] {
        let found = made
            .windows(length + 1)
            .map(|window| window[length] - window[0]);
        assert!(found.max().unwrap() <= most, "{length} s");
    }
    assert!(made.last().unwrap() - made[0] >= SIZE.nodes * (SIZE.pods - 1));
}

#[test]
fn the_same_seed_gives_the_same_decisions() {
    let trace = named("rack-dark-8m", SIZE, 4).unwrap();
    let story = || {
        let mut berth = Berth::default();
        run(&trace, SIZE, 4, &mut berth).unwrap();
        berth.story
    };
    let first = story();
    assert!(!first.is_empty());
    assert_eq!(first, story());
}

#[test]
fn one_liar_delays_replacement_and_does_not_prevent_it() {
    let trace = named("liar-alive", SIZE, 1).unwrap();
    let row = run(&trace, SIZE, 1, &mut Berth::default()).unwrap();
    assert!(row.lost > 0, "nothing was lost: {row:?}");
    assert_eq!((row.unreplaced, row.live_deleted), (0, 0), "{row:?}");
    assert!(row.replaced_max.is_some_and(|max| max <= 360), "{row:?}");
}
