use super::*;

const SIZE: Size = Size {
    racks: 4,
    nodes: 5,
    pods: 15,
    zones: 2,
};

fn world() -> World {
    World::new(SIZE, 9, true)
}

fn run(world: &mut World, seconds: Seconds) {
    for _ in 0..seconds {
        world.step();
    }
}

#[test]
fn a_healthy_cluster_renews_leases_every_ten_seconds_and_agents_about_every_thirty() {
    let mut world = world();
    run(&mut world, 600);
    for node in &world.nodes {
        assert_eq!(node.lease, 61);
        assert!(
            (21..=28).contains(&node.agent_lease),
            "{}",
            node.agent_lease
        );
    }
}

#[test]
fn deletes_of_a_node_that_is_cut_off_wait_and_all_end_at_once_when_it_is_back() {
    let mut world = world();
    run(&mut world, 30);
    world.network.set_api(3, false);
    for id in world.nodes[3].pods.clone() {
        world.delete(id);
    }
    run(&mut world, 100);
    assert_eq!(world.running(3), 15);
    world.network.set_api(3, true);
    run(&mut world, 1);
    let row = world.measure.row();
    assert_eq!((row.most_kills, row.live_deleted), (15, 15));
}

#[test]
fn a_node_whose_api_is_cut_is_bound_to_until_somebody_says_it_is_unknown() {
    let mut world = world();
    for node in 0..19 {
        world.nodes[node].is_cordoned = true;
    }
    let id = world.nodes[0].pods[1];
    world.delete(id);
    run(&mut world, 1);
    assert_eq!(world.nodes[19].pods.len(), 16);
    world.nodes[19].ready = Ready::Unknown;
    world.network.set_api(19, false);
    let id = world.nodes[0].pods[2];
    world.delete(id);
    run(&mut world, 20);
    assert_eq!(world.nodes[19].pods.len(), 16);
}

#[test]
fn same_seed_is_the_same_run() {
    let hash = |seed| {
        let mut world = World::new(SIZE, seed, true);
        world.probes.loss = 300;
        run(&mut world, 300);
        format!("{:?} {:?}", world.nodes, world.probes)
    };
    assert_eq!(hash(4), hash(4));
    assert_ne!(hash(4), hash(5));
}
