//! The traces. Each begins well; what goes wrong begins at [`FAULT`].

use crate::Seconds;
use crate::probes::Lie;
use crate::random::Random;
use crate::trace::{Change, Trace};
use crate::world::Size;

/// When things go wrong: a leader has warmed up by then.
const FAULT: Seconds = 100;
/// Of a thousand probes so many are lost on a good day.
const LOSS: u32 = 10;
const MINUTE: Seconds = 60;
const END_OF_20: Seconds = FAULT + 20 * MINUTE;

/// All traces for a cluster of this size, chosen from this seed.
pub fn all(size: Size, seed: u64) -> Vec<Trace> {
    let mut random = Random::new(seed ^ 0x7472_6163_6573);
    let mut traces = losses(size, &mut random);
    traces.extend(cuts(size, &mut random));
    traces.extend(alone(size, &mut random));
    traces.extend(tricks(size, &mut random));
    traces.extend(own_faults(size, &mut random));
    traces
}

/// One of them.
pub fn named(name: &str, size: Size, seed: u64) -> Option<Trace> {
    all(size, seed).into_iter().find(|trace| trace.name == name)
}

fn trace(
    name: &'static str,
    text: &'static str,
    seconds: Seconds,
    faults: Vec<(Seconds, Change)>,
) -> Trace {
    Trace {
        name,
        text,
        seconds,
        zones: 1,
        loss: LOSS,
        faults,
    }
}

/// Its nodes.
fn rack(size: Size, rack: usize) -> Vec<usize> {
    (rack * size.nodes..(rack + 1) * size.nodes).collect()
}

/// So many hundredths of all nodes.
fn percent(size: Size, percent: usize, random: &mut Random) -> Vec<usize> {
    let nodes = size.all_nodes();
    random.choose((nodes * percent / 100).max(1), nodes)
}

/// Something is really lost, or looks like it for a whole rack.
fn losses(size: Size, random: &mut Random) -> Vec<Trace> {
    let node = random.below(size.all_nodes());
    let lost = random.below(size.racks);
    let dark = |name, text, end: Seconds, seconds| {
        let faults = vec![
            (FAULT, Change::Switch(vec![lost], false)),
            (end, Change::Switch(vec![lost], true)),
        ];
        trace(name, text, seconds, faults)
    };
    let power = Change::Power(rack(size, lost), false);
    vec![
        trace(
            "node-crash",
            "one node loses power for good",
            700,
            vec![(FAULT, Change::Power(vec![node], false))],
        ),
        trace(
            "rack-power",
            "a rack loses power for good",
            1500,
            vec![(FAULT, power.clone())],
        ),
        dark(
            "rack-dark-8m",
            "a rack's switch is dark for 8 min",
            FAULT + 8 * MINUTE,
            1700,
        ),
        dark(
            "rack-dark-20m",
            "a rack's switch is dark for 20 min",
            END_OF_20,
            2500,
        ),
        trace(
            "failover",
            "a rack loses power for good, the leader ends 100 s later",
            1500,
            vec![(FAULT, power.clone()), (FAULT + 100, Change::FailOver(20))],
        ),
        trace(
            "bad-replacements",
            "a rack loses power for good, nothing new becomes ready for 15 min",
            2500,
            vec![
                (FAULT, power),
                (FAULT, Change::BrokenReplacements(true)),
                (FAULT + 15 * MINUTE, Change::BrokenReplacements(false)),
            ],
        ),
    ]
}

/// Nodes live and cannot call the API server.
fn cuts(size: Size, random: &mut Random) -> Vec<Trace> {
    let mut balancer = |name, text, share, zones| {
        let cut = percent(size, share, random);
        let faults = vec![
            (FAULT, Change::Api(cut.clone(), false)),
            (END_OF_20, Change::Api(cut, true)),
        ];
        Trace {
            zones,
            ..trace(name, text, 3500, faults)
        }
    };
    let mut traces = vec![
        balancer(
            "api-lb-50",
            "50 % of nodes cut from the API for 20 min, one zone",
            50,
            1,
        ),
        balancer(
            "api-lb-50-3z",
            "50 % of nodes cut from the API for 20 min, three zones",
            50,
            3,
        ),
        balancer(
            "api-lb-60",
            "60 % of nodes cut from the API for 20 min, one zone",
            60,
            1,
        ),
        balancer(
            "api-lb-60-3z",
            "60 % of nodes cut from the API for 20 min, three zones",
            60,
            3,
        ),
    ];
    traces.push(data_centre());
    traces.push(asymmetric(size));
    traces
}

fn data_centre() -> Trace {
    Trace {
        zones: 3,
        ..trace(
            "dc-cut",
            "one of three data centres is cut off for 20 min",
            3000,
            vec![
                (FAULT, Change::Link(2, false)),
                (END_OF_20, Change::Link(2, true)),
            ],
        )
    }
}

fn asymmetric(size: Size) -> Trace {
    let deaf = (1..size.racks)
        .step_by(2)
        .map(|other| (other, 0))
        .collect::<Vec<_>>();
    trace(
        "asymmetric",
        "a rack's nodes cut from the API, half of the racks cannot reach it one way, 20 min",
        2500,
        vec![
            (FAULT, Change::OneWay(deaf.clone(), false)),
            (FAULT, Change::Api(rack(size, 0), false)),
            (END_OF_20, Change::OneWay(deaf, true)),
            (END_OF_20, Change::Api(rack(size, 0), true)),
        ],
    )
}

/// One node looks lost and is not.
fn alone(size: Size, random: &mut Random) -> Vec<Trace> {
    let node = random.below(size.all_nodes());
    let mut flap = Vec::new();
    for start in (FAULT..FAULT + 60 * MINUTE).step_by(130) {
        flap.push((start, Change::Nic(vec![node], false)));
        flap.push((start + 70, Change::Nic(vec![node], true)));
    }
    let clocks = percent(size, 5, random);
    vec![
        trace(
            "flapping",
            "a node's NIC is down for 70 s and up for 60 s, for an hour",
            4200,
            flap,
        ),
        trace(
            "clock-steps",
            "5 % of nodes' clocks step back by 10 min, and forth again",
            1800,
            vec![
                (FAULT, Change::Clock(clocks.clone(), -600)),
                (FAULT + 1000, Change::Clock(clocks, 600)),
            ],
        ),
        trace(
            "hung-kubelet",
            "a node's kubelet hangs for 30 min, its Pods are well",
            2600,
            vec![
                (FAULT, Change::Kubelet(vec![node], false)),
                (FAULT + 30 * MINUTE, Change::Kubelet(vec![node], true)),
            ],
        ),
    ]
}

/// The evidence is false, or little of it comes.
fn tricks(size: Size, random: &mut Random) -> Vec<Trace> {
    let mut cut = percent(size, 10, random);
    // The liar looks at the next three of its rack, which are cut.
    let liar = random.below(size.racks) * size.nodes;
    let crash = random.below(size.all_nodes());
    cut.retain(|&node| node != liar && node != crash);
    cut.extend(
        [liar + 1, liar + 2, liar + 3]
            .iter()
            .filter(|&&node| node != crash),
    );
    let cut_for_20 = |change: Vec<(Seconds, Change)>| {
        let mut faults = vec![
            (FAULT, Change::Api(cut.clone(), false)),
            (END_OF_20, Change::Api(cut.clone(), true)),
        ];
        faults.extend(change);
        faults
    };
    let said_off = vec![
        (FAULT, Change::SaidOff(cut.clone(), true)),
        (END_OF_20, Change::SaidOff(cut.clone(), false)),
    ];
    vec![
        trace(
            "liar-dead",
            "10 % of nodes cut from the API for 20 min, one observer calls all its peers dead",
            2500,
            cut_for_20(vec![(0, Change::Lie(vec![liar], Some(Lie::Dead)))]),
        ),
        trace(
            "liar-alive",
            "one node loses power for good, one of its observers calls it alive",
            1300,
            vec![
                (0, Change::Lie(vec![liar], Some(Lie::Alive))),
                (FAULT, Change::Power(vec![liar + 1], false)),
            ],
        ),
        Trace {
            loss: 300,
            ..trace(
                "lost-probes",
                "30 % of probes lost, 10 % of nodes cut from the API for 20 min, one more crashes",
                2500,
                cut_for_20(vec![(FAULT, Change::Power(vec![crash], false))]),
            )
        },
        trace(
            "wrong-bmc",
            "10 % of nodes cut from the API for 20 min, and their management controllers call them off",
            2500,
            cut_for_20(said_off),
        ),
    ]
}

/// The control plane's and our own.
fn own_faults(size: Size, random: &mut Random) -> Vec<Trace> {
    let order = random.choose(size.all_nodes(), size.all_nodes());
    let batch = size.all_nodes().div_ceil(50);
    let mut rollout: Vec<(Seconds, Change)> = order
        .chunks(batch)
        .zip(0..)
        .map(|(nodes, step)| (FAULT + 10 * step, Change::Finding(nodes.to_vec(), Some(1))))
        .collect();
    rollout.push((FAULT + 30 * MINUTE, Change::Finding(order, None)));
    vec![
        trace(
            "stale-watch",
            "watches stand still for 5 min, all is well",
            1300,
            vec![
                (FAULT, Change::StaleWatch(true)),
                (FAULT + 5 * MINUTE, Change::StaleWatch(false)),
            ],
        ),
        trace(
            "bad-rule",
            "a health rule that calls every node worth draining is rolled out within 9 min, and back after 30",
            3000,
            rollout,
        ),
    ]
}
