use super::*;
use crate::network::Place;

const RACKS: usize = 10;
const PER_RACK: usize = 6;

struct Eyes {
    network: Network,
    probes: Probes,
    agents: Vec<Agent>,
    random: Random,
    now: Seconds,
}

impl Eyes {
    fn open() -> Self {
        let place = |node| Place {
            rack: node / PER_RACK,
            zone: 0,
        };
        let network = Network::new((0..RACKS * PER_RACK).map(place).collect());
        let mut random = Random::new(3);
        let agent = Agent {
            runs: true,
            ..Agent::default()
        };
        Self {
            probes: Probes::new(&network, RACKS, PER_RACK, &mut random),
            agents: vec![agent; RACKS * PER_RACK],
            network,
            random,
            now: 0,
        }
    }

    fn run(&mut self, seconds: Seconds) {
        for _ in 0..seconds {
            self.now += 1;
            self.probes
                .step(self.now, &self.network, &self.agents, &mut self.random);
        }
    }

    /// The votes on a node that are given: alive, dead.
    fn votes(&self, target: usize) -> (usize, usize) {
        let given = (0..RACKS * PER_RACK)
            .map(|observer| self.probes.report(observer))
            .filter(|report| report.is_given)
            .flat_map(|report| report.sights.iter())
            .filter(|sight| sight.target == target);
        let (alive, dead): (Vec<&Sight>, _) = given.partition(|sight| sight.is_alive);
        (alive.len(), dead.len())
    }
}

#[test]
fn each_node_is_looked_at_by_three_of_its_rack_and_two_of_two_others() {
    let eyes = Eyes::open();
    for target in 0..RACKS * PER_RACK {
        let mut racks: Vec<usize> = (0..RACKS * PER_RACK)
            .filter(|&observer| eyes.probes.targets(observer).any(|seen| seen == target))
            .map(|observer| observer / PER_RACK)
            .collect();
        let own = racks
            .iter()
            .filter(|&&rack| rack == target / PER_RACK)
            .count();
        assert_eq!((racks.len(), own), (5, 3), "{target}");
        racks.dedup();
        racks.sort_unstable();
        racks.dedup();
        assert_eq!(racks.len(), 3, "{target}");
    }
}

#[test]
fn all_five_say_dead_of_a_node_without_power_within_forty_seconds() {
    let mut eyes = Eyes::open();
    eyes.run(400);
    eyes.agents[7].runs = false;
    eyes.run(4);
    assert_eq!(eyes.votes(7), (5, 0));
    eyes.run(36);
    assert_eq!(eyes.votes(7), (0, 5));
}

#[test]
fn who_is_cut_off_withdraws_what_it_sees_as_soon_as_it_can_say_so() {
    let mut eyes = Eyes::open();
    eyes.run(400);
    eyes.network.set_nic(7, false);
    eyes.run(60);
    assert_eq!(eyes.votes(7), (0, 5));
    let dead_by_seven = |eyes: &Eyes| {
        eyes.probes
            .report(7)
            .sights
            .iter()
            .filter(|sight| !sight.is_alive)
            .count()
    };
    // It could not tell anybody: what it told before is what readers have.
    assert_eq!(dead_by_seven(&eyes), 0);
    eyes.network.set_nic(7, true);
    eyes.run(40);
    assert_eq!(eyes.votes(7), (5, 0));
}

#[test]
fn a_liar_says_dead_of_all_its_peers_and_gives_its_vote() {
    let mut eyes = Eyes::open();
    eyes.agents[7].lie = Some(Lie::Dead);
    eyes.run(400);
    let target = eyes.probes.targets(7).next().unwrap();
    assert_eq!(eyes.votes(target), (4, 1));
}

#[test]
fn one_probe_in_three_that_is_lost_makes_few_dead() {
    let mut eyes = Eyes::open();
    eyes.probes.loss = 300;
    eyes.run(600);
    let votes = (0..RACKS * PER_RACK).map(|target| eyes.votes(target));
    let (alive, dead) = votes.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(dead < alive / 20, "{dead} dead of {alive}");
}
