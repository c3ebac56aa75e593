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

    /// How many look at a node.
    fn observers(&self, target: usize) -> usize {
        (0..RACKS * PER_RACK)
            .filter(|&observer| self.probes.targets(observer).any(|seen| seen == target))
            .count()
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
fn each_node_looks_at_three_of_its_rack_and_two_of_two_others_and_is_looked_at_as_often() {
    let eyes = Eyes::open();
    let mut others = vec![0; RACKS * PER_RACK];
    for observer in 0..RACKS * PER_RACK {
        let own = observer / PER_RACK;
        let racks = eyes
            .probes
            .targets(observer)
            .map(|target| target / PER_RACK);
        let (own, mut foreign): (Vec<usize>, Vec<usize>) = racks.partition(|&rack| rack == own);
        foreign.dedup();
        assert_eq!((own.len(), foreign.len()), (3, 2), "{observer}");
        let targets = eyes.probes.targets(observer);
        for target in targets.filter(|target| target / PER_RACK != observer / PER_RACK) {
            others[target] += 1;
        }
    }
    assert!(others.iter().all(|&count| count == 2), "{others:?}");
}

#[test]
fn all_who_look_say_dead_of_a_node_without_power_within_forty_seconds() {
    let mut eyes = Eyes::open();
    eyes.run(400);
    eyes.agents[7].runs = false;
    eyes.run(4);
    let all = eyes.observers(7);
    assert_eq!(eyes.votes(7), (all, 0));
    eyes.run(36);
    assert_eq!(eyes.votes(7), (0, all));
}

#[test]
fn who_is_cut_off_withdraws_what_it_sees_as_soon_as_it_can_say_so() {
    let mut eyes = Eyes::open();
    eyes.run(400);
    eyes.network.set_nic(7, false);
    eyes.run(60);
    let all = eyes.observers(7);
    assert_eq!(eyes.votes(7), (0, all));
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
    assert_eq!(eyes.votes(7), (all, 0));
}

#[test]
fn a_liar_says_dead_of_all_its_peers_and_gives_its_vote() {
    let mut eyes = Eyes::open();
    eyes.agents[7].lie = Some(Lie::Dead);
    eyes.run(400);
    let target = eyes.probes.targets(7).next().unwrap();
    assert_eq!(eyes.votes(target), (eyes.observers(target) - 1, 1));
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
