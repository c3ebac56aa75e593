//! Several nodes, one API server, and everything that can go wrong between them, with the decisions that production runs.
//!
//! Writes are late, lost or done twice; answers are late or lost; views are arbitrarily old; daemons die at every step; nodes lose
//! power, are cut off and are declared dead. Always: no address has two living sandboxes, no two nodes may hand out the same
//! one. In the end, with everything well again: every Pod starts, with the address its identity had.

mod server;
mod world;

use proptest::prelude::*;
use world::{Op, World};

/// Operations of one case, and cases of each test.
const OPERATIONS: usize = 160;
const CASES: u32 = 192;

fn op(nodes: usize) -> impl Strategy<Value = Op> {
    let node = 0..nodes;
    let pick = any::<prop::sample::Index>;
    prop_oneof![
        // The work goes on most of the time.
        30 => (node.clone(), pick()).prop_map(|(node, pick)| Op::Step { node, pick }),
        14 => (pick(), any::<bool>()).prop_map(|(pick, twice)| Op::Deliver { pick, twice }),
        14 => pick().prop_map(|pick| Op::Answer { pick }),
        4 => pick().prop_map(|pick| Op::LoseAnswer { pick }),
        2 => pick().prop_map(|pick| Op::LoseWrite { pick }),
        8 => (node.clone(), pick(), pick()).prop_map(|(node, pick, back)| Op::Watch { node, pick, back }),
        6 => node.clone().prop_map(|node| Op::Ahead { node }),
        6 => (0..world::IDENTITIES, node.clone()).prop_map(|(who, node)| Op::Bind { who, node }),
        14 => (0..world::IDENTITIES).prop_map(|who| Op::Add { who }),
        6 => (0..world::IDENTITIES).prop_map(|who| Op::Delete { who }),
        2 => (0..world::IDENTITIES).prop_map(|who| Op::ForceDelete { who }),
        4 => node.clone().prop_map(|node| Op::Kubelet { node }),
        3 => node.clone().prop_map(|node| Op::Crash { node }),
        2 => node.clone().prop_map(|node| Op::PowerOff { node }),
        3 => node.clone().prop_map(|node| Op::PowerOn { node }),
        2 => node.clone().prop_map(|node| Op::Fence { node }),
        1 => node.clone().prop_map(|node| Op::Unfence { node }),
        2 => pick().prop_map(|pick| Op::Release { pick }),
        2 => (node, any::<bool>()).prop_map(|(node, cut)| Op::Cut { node, cut }),
        5 => (0..45u64).prop_map(|seconds| Op::Wait { seconds }),
    ]
}

fn case() -> impl Strategy<Value = (usize, bool, Vec<Op>)> {
    (2..=4usize, any::<bool>()).prop_flat_map(|(nodes, dual)| {
        let ops = prop::collection::vec(op(nodes), OPERATIONS);
        (Just(nodes), Just(dual), ops)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn address_has_one_owner_and_a_pod_finds_its_address_whatever_goes_wrong((nodes, dual, ops) in case()) {
        let mut world = World::new(nodes, dual);
        for op in &ops {
            world.run(op);
            world.check();
        }
        world.heal();
    }
}
