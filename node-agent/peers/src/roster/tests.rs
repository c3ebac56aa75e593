use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn member(rack: &str, node: impl Into<String>) -> Member {
    Member {
        rack: rack.to_owned(),
        node: node.into(),
    }
}

/// So many nodes in each rack.
fn cluster(sizes: &[usize]) -> Vec<Member> {
    let racks = sizes.iter().enumerate().flat_map(|(rack, size)| {
        (0..*size).map(move |node| member(&format!("r{rack}"), format!("n{rack}-{node}")))
    });
    racks.collect()
}

/// Whom each node looks at, by name.
fn named(members: &[Member]) -> BTreeMap<&str, BTreeSet<&str>> {
    let chosen = choose(members);
    let name = |place: &usize| members[*place].node.as_str();
    let pairs = members.iter().zip(&chosen);
    pairs
        .map(|(member, targets)| (member.node.as_str(), targets.iter().map(name).collect()))
        .collect()
}

#[test]
fn each_looks_at_three_of_its_rack_and_two_of_two_others() {
    // Sizes of racks; how many of the own rack a node of the first one looks at, how many of others, of how many racks.
    for (sizes, own, other, racks) in [
        (vec![1], 0, 0, 0),
        (vec![2], 1, 0, 0),
        (vec![9], 3, 0, 0),
        (vec![2, 1], 1, 1, 1),
        (vec![2, 2], 1, 2, 1),
        (vec![4, 4], 3, 2, 1),
        (vec![3, 1, 1], 2, 2, 2),
        (vec![1, 1, 1], 0, 2, 2),
        (vec![40, 40, 40], 3, 2, 2),
    ] {
        let members = cluster(&sizes);
        let chosen = choose(&members);
        for (place, targets) in chosen.iter().take(sizes[0]).enumerate() {
            let mine = |target: &&usize| members[**target].rack == members[place].rack;
            let of_others = || targets.iter().filter(|it| !mine(it));
            assert_eq!(targets.iter().filter(mine).count(), own, "{sizes:?}");
            assert_eq!(of_others().count(), other, "{sizes:?}");
            let seen: BTreeSet<_> = of_others().map(|it| &members[*it].rack).collect();
            assert_eq!(seen.len(), racks, "{sizes:?}");
        }
    }
    assert!(choose(&[]).is_empty());
}

#[test]
fn a_small_rack_beside_a_large_one_is_not_drowned() {
    let members = cluster(&[100, 2]);
    let chosen = choose(&members);
    let mut observers = vec![0; members.len()];
    for target in chosen.iter().flatten() {
        observers[*target] += 1;
    }
    assert!(observers.iter().all(|count| *count <= OBSERVER_LIMIT));
    assert_eq!(observers[100], 1 + OTHER_OBSERVERS);
}

#[test]
fn in_a_large_cluster_nobody_is_forgotten_and_a_node_that_comes_moves_few() {
    let sizes = vec![40; 50];
    let members = cluster(&sizes);
    let before = named(&members);
    let mut observers = BTreeMap::<&str, usize>::new();
    for target in before.values().flatten() {
        *observers.entry(target).or_default() += 1;
    }
    assert_eq!(observers.len(), members.len());
    let (least, most) = (observers.values().min(), observers.values().max());
    assert!(
        (least, most) == (Some(&5), Some(&5)),
        "{least:?} to {most:?}"
    );
    let mut moved_most = 0;
    for new in 0..20 {
        let mut members = members.clone();
        members.push(member("r7", format!("new-{new}")));
        let after = named(&members);
        let moved = before.iter().filter(|(node, old)| after[*node] != **old);
        moved_most = moved_most.max(moved.count());
    }
    assert!(moved_most <= 12, "{moved_most} of {}", members.len());
}

fn any_cluster() -> impl Strategy<Value = Vec<Member>> {
    proptest::collection::btree_set((0_u8..5, 0_u16..500), 0..60).prop_map(|pairs| {
        let of = |(rack, node)| member(&format!("r{rack}"), format!("n{rack}-{node}"));
        pairs.into_iter().map(of).collect()
    })
}

proptest! {
    #[test]
    fn every_choice_is_full_and_fair(members in any_cluster()) {
        let chosen = choose(&members);
        let in_rack = |place: usize| members.iter().filter(|it| it.rack == members[place].rack).count();
        let mut observers = vec![(0, 0); members.len()];
        for (place, targets) in chosen.iter().enumerate() {
            let distinct: BTreeSet<_> = targets.iter().collect();
            prop_assert_eq!(distinct.len(), targets.len());
            prop_assert!(!targets.contains(&place));
            let own = targets.iter().filter(|it| members[**it].rack == members[place].rack).count();
            prop_assert_eq!(own, OWN_RACK.min(in_rack(place) - 1));
            prop_assert!(targets.len() - own <= OTHER_RACKS);
            for target in targets {
                let is_own = members[*target].rack == members[place].rack;
                let count = &mut observers[*target];
                if is_own { count.0 += 1 } else { count.1 += 1 }
            }
        }
        for (place, (own, other)) in observers.into_iter().enumerate() {
            prop_assert_eq!(own, OWN_RACK.min(in_rack(place) - 1));
            prop_assert!(other <= OTHER_OBSERVERS);
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(members in any_cluster(), seed: u64) {
        let mut shuffled = members.clone();
        shuffled.sort_by_key(|it| rank(&[&it.node, &seed.to_string()]));
        prop_assert_eq!(named(&members), named(&shuffled));
    }

    #[test]
    fn within_a_rack_a_node_that_goes_moves_three(members in any_cluster(), which: prop::sample::Index) {
        prop_assume!(!members.is_empty());
        let gone = which.get(&members).clone();
        let rest: Vec<_> = members.iter().filter(|it| **it != gone).cloned().collect();
        let (before, after) = (named(&members), named(&rest));
        let of_rack = |of: &BTreeSet<&str>, rack: &str| -> BTreeSet<String> {
            let is_of = |node: &&&str| members.iter().any(|it| it.node == **node && it.rack == rack);
            of.iter().filter(is_of).map(|it| (*it).to_owned()).collect()
        };
        let moved = rest.iter().filter(|it| {
            let node = it.node.as_str();
            of_rack(&before[node], &it.rack) != of_rack(&after[node], &it.rack)
        });
        prop_assert!(moved.count() <= OWN_RACK);
    }
}

/// How long a choice takes in a large cluster; `cargo test -p node-agent-peers -- --ignored --nocapture a_choice`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr, reason = "a figure for people")]
fn a_choice_for_ten_thousand_nodes() {
    let members = cluster(&[40; 250]);
    let begun = crate::fixture::start();
    assert_eq!(choose(&members).len(), 10_000);
    eprintln!("{:?}", begun.elapsed());
}
