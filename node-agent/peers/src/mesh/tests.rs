use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::datagram::KEY_SIZE;
use crate::fixture::start;
use crate::judge::MISSES;
use crate::vote::Withdrawal;

const KEY: [u8; KEY_SIZE] = [7; KEY_SIZE];
const PORT: u16 = 9424;

fn keys(byte: u8) -> Keys {
    Keys::new(&[byte; KEY_SIZE], None)
}

fn address(node: usize) -> IpAddr {
    format!("10.0.0.{}", node + 1).parse().unwrap()
}

fn peer(node: usize) -> Peer {
    Peer {
        node: format!("n{node}"),
        rack: "a".to_owned(),
        address: address(node),
    }
}

/// Some nodes that all look at each other, and the wire between them.
struct Wire {
    meshes: Vec<Mesh>,
    begun: Instant,
    now: Moment,
    nonce: u128,
}

impl Wire {
    fn new(count: usize) -> Self {
        let now = Moment {
            at: start(),
            wall_micros: 0,
        };
        let mut wire = Self {
            meshes: Vec::new(),
            begun: now.at,
            now,
            nonce: 0,
        };
        let peers: Vec<_> = (0..count).map(peer).collect();
        for node in 0..count {
            let mut mesh = Mesh::new(&Identity {
                node: format!("n{node}"),
                boot: format!("boot-{node}"),
                address: SocketAddr::new(address(node), PORT),
            });
            mesh.set_keys(Keys::new(&KEY, None));
            mesh.set_peers(&peers, now);
            wire.meshes.push(mesh);
        }
        wire
    }

    fn pass(&mut self, millis: u64) {
        self.now.at += Duration::from_millis(millis);
        self.now.wall_micros += i64::try_from(millis * 1000).unwrap();
    }

    /// A node's second begins.
    fn tick(&mut self, node: usize) -> Vec<Outgoing> {
        let nonce = &mut self.nonce;
        let sequence = u64::try_from((self.now.at - self.begun).as_micros()).unwrap();
        self.meshes[node].tick(self.now, sequence, || {
            *nonce += 1;
            Nonce(nonce.to_be_bytes())
        })
    }

    fn give(&mut self, from: usize, outgoing: Outgoing) -> Result<Received, Dropped> {
        let place = (0..self.meshes.len()).find(|it| address(*it) == outgoing.to.ip());
        let from = SocketAddr::new(address(from), PORT);
        self.meshes[place.unwrap()].receive(&outgoing.bytes, from, self.now)
    }

    /// A second in which everything arrives that may: from whom to whom.
    fn second(&mut self, may: impl Fn(usize, usize) -> bool) {
        for node in 0..self.meshes.len() {
            for probe in self.tick(node) {
                let to = (0..self.meshes.len()).find(|it| address(*it) == probe.to.ip());
                let to = to.unwrap();
                if !may(node, to) {
                    continue;
                }
                if let Ok(Received::Asked(answer)) = self.give(node, probe)
                    && may(to, node)
                {
                    self.give(to, answer).unwrap();
                }
            }
        }
        self.pass(1000);
    }

    fn states(&self, node: usize) -> BTreeMap<&str, State> {
        let of = |(peer, track): (&'_ Peer, &Track)| (peer.node.clone(), track.state());
        let states: BTreeMap<_, _> = self.meshes[node].peers().map(of).collect();
        let names = ["n0", "n1", "n2", "n3", "n4", "n5"];
        names
            .into_iter()
            .filter_map(|name| Some((name, *states.get(name)?)))
            .collect()
    }

    fn vote(&self, node: usize) -> Vote {
        let age = Some(Duration::ZERO);
        self.meshes[node].vote(age, Gateway::NotWatched, self.now.at)
    }
}

const GIVEN: Vote = Vote::Given {
    is_gateway_watched: false,
};

#[test]
fn all_see_each_other_and_one_that_is_cut_off_is_dead_to_the_others_and_has_no_vote() {
    let mut wire = Wire::new(4);
    wire.second(|_, _| true);
    for node in 0..4 {
        assert!(wire.states(node).values().all(|it| *it == State::Alive));
        assert_eq!(wire.states(node).len(), 3, "not itself");
        assert_eq!(wire.vote(node), GIVEN);
    }
    for _ in 0..=MISSES {
        wire.second(|from, to| from != 3 && to != 3);
    }
    for node in 0..3 {
        assert_eq!(wire.states(node)["n3"], State::Dead);
        assert_eq!(wire.vote(node), GIVEN);
    }
    assert_eq!(wire.vote(3), Vote::Withdrawn(Withdrawal::Isolated));
    wire.second(|_, _| true);
    for node in 0..4 {
        assert!(wire.states(node).values().all(|it| *it == State::Alive));
        assert_eq!(wire.vote(node), GIVEN);
    }
}

#[test]
fn what_is_not_right_changes_nothing_and_is_told_apart() {
    let mut wire = Wire::new(3);
    let probe = wire.tick(0)[0];
    let there = probe.to.ip();
    let from = |node: usize| SocketAddr::new(address(node), PORT);
    let now = wire.now;
    let forged = {
        let mut mesh = Mesh::new(&Identity {
            node: "n0".into(),
            boot: "boot-0".into(),
            address: from(0),
        });
        mesh.set_keys(keys(99));
        mesh.set_peers(&[peer(1)], now);
        mesh.tick(now, 1, || Nonce([1; 16]))[0]
    };
    assert_eq!(there, address(1));
    let mut changed = probe.bytes;
    changed[30] ^= 1;
    let table: [(&[u8], usize, Dropped); 5] = [
        (b"hello", 0, Dropped::Alien),
        (&[0; SIZE], 0, Dropped::Alien),
        (&changed, 0, Dropped::Forged),
        (&forged.bytes, 0, Dropped::Forged),
        // Recorded, and sent from elsewhere.
        (&probe.bytes, 2, Dropped::Forged),
    ];
    for (bytes, sender, expected) in table {
        let dropped = wire.meshes[1].receive(bytes, from(sender), now);
        assert_eq!(dropped, Err(expected));
    }
    // To a node that it is not for it is a forgery too, since it is signed for its addresses.
    let dropped = wire.meshes[2].receive(&probe.bytes, from(0), now);
    assert_eq!(dropped, Err(Dropped::Forged));
    let Ok(Received::Asked(answer)) = wire.give(0, probe) else {
        panic!("not answered");
    };
    assert_eq!(wire.give(0, probe), Err(Dropped::Replayed));
    assert!(matches!(wire.give(1, answer), Ok(Received::Told(_))));
    assert_eq!(wire.give(1, answer), Err(Dropped::Unasked));
    let mut keyless = Mesh::new(&Identity {
        node: "n1".into(),
        boot: "b".into(),
        address: from(1),
    });
    let dropped = keyless.receive(&probe.bytes, from(0), now);
    assert_eq!(dropped, Err(Dropped::NoKey));
    assert_eq!(keyless.tick(now, 0, || Nonce([0; 16])), []);
}

#[test]
fn a_node_that_took_the_address_of_another_does_not_answer_for_it() {
    let mut wire = Wire::new(2);
    let probe = wire.tick(0)[0];
    let mut other = Mesh::new(&Identity {
        node: "n9".into(),
        boot: "b".into(),
        address: probe.to,
    });
    other.set_keys(keys(7));
    let from = SocketAddr::new(address(0), PORT);
    let dropped = other.receive(&probe.bytes, from, wire.now);
    assert_eq!(dropped, Err(Dropped::Misdirected));
}

#[test]
fn a_process_that_stood_still_accuses_nobody_and_does_not_vote() {
    let mut wire = Wire::new(3);
    wire.second(|_, _| true);
    // Its probes were sent, and nothing was heard, since it stood still.
    wire.tick(0);
    wire.pass(30_000);
    wire.tick(0);
    assert_eq!(wire.states(0)["n1"], State::Alive);
    assert_eq!(wire.vote(0), Vote::Withdrawn(Withdrawal::Lagging));
    for _ in 0..10 {
        wire.second(|_, _| true);
    }
    assert_eq!(wire.vote(0), GIVEN);
}

#[test]
fn a_flood_is_not_read_and_who_is_flooded_does_not_vote() {
    let mut wire = Wire::new(3);
    wire.second(|_, _| true);
    let from = SocketAddr::new(address(9), 1);
    let now = wire.now;
    let mesh = &mut wire.meshes[0];
    let read = (0..5000).filter(|_| mesh.receive(b"?", from, now) == Err(Dropped::Alien));
    assert!(read.count() <= READ_BURST as usize);
    assert_eq!(wire.vote(0), Vote::Withdrawn(Withdrawal::Flooded));
}

#[test]
fn who_stays_in_the_roster_keeps_its_history_and_a_roster_is_not_believed_everything() {
    let mut wire = Wire::new(3);
    wire.second(|_, _| true);
    let now = wire.now;
    let moved = Peer {
        address: address(5),
        ..peer(2)
    };
    wire.meshes[0].set_peers(&[peer(0), peer(1), moved], now);
    assert_eq!(
        wire.states(0),
        [("n1", State::Alive), ("n2", State::Unknown)].into()
    );
    let many: Vec<_> = (1..30).map(peer).collect();
    wire.meshes[0].set_peers(&many, now);
    assert_eq!(wire.meshes[0].peers().count(), PEER_LIMIT);
}

/// What the wire does with one datagram.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    /// Held back until the next of the same way has passed.
    Late,
    Changed(usize),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
        1 => (0..SIZE).prop_map(Fate::Changed),
    ]
}

/// Two nodes with a bad wire, and somebody who records everything and sends it again.
struct BadWire {
    wire: Wire,
    held: Vec<(usize, Outgoing)>,
    recorded: Vec<(usize, Outgoing)>,
    /// Authentic answers that reached node 0 in time, in this second.
    told: usize,
}

impl BadWire {
    fn carry(&mut self, from: usize, outgoing: Outgoing, fate: Fate) -> Vec<Received> {
        self.recorded.push((from, outgoing));
        let mut outgoing = outgoing;
        let copies = match fate {
            Fate::Arrives => 1,
            Fate::Twice => 2,
            Fate::Lost => 0,
            Fate::Late => {
                self.held.push((from, outgoing));
                0
            }
            Fate::Changed(at) => {
                outgoing.bytes[at] ^= 0x10;
                let given = self.wire.give(from, outgoing);
                assert!(matches!(given, Err(Dropped::Alien | Dropped::Forged)));
                0
            }
        };
        let given: Vec<_> = (0..copies)
            .map(|_| self.wire.give(from, outgoing))
            .collect();
        if let Some(again) = given.get(1) {
            assert!(again.is_err(), "{again:?}");
        }
        given.into_iter().filter_map(Result::ok).collect()
    }

    fn second(&mut self, fates: [Fate; 2]) {
        let mut received = Vec::new();
        for probe in self.wire.tick(0) {
            received.extend(self.carry(0, probe, fates[0]).into_iter().map(|it| (1, it)));
        }
        for (from, held) in std::mem::take(&mut self.held) {
            let given = self.wire.give(from, held).ok();
            received.extend(given.map(|it| (1 - from, it)));
        }
        for (at, received) in received {
            match received {
                Received::Told(_) => self.told += 1,
                Received::Asked(answer) => {
                    let told = self.carry(at, answer, fates[1]);
                    self.told += told.len();
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn only_answers_that_arrive_are_signs_of_life(
        course in proptest::collection::vec((fate(), fate(), any::<i64>()), 1..60),
        replays in proptest::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let mut bad = BadWire { wire: Wire::new(2), held: Vec::new(), recorded: Vec::new(), told: 0 };
        let (mut row, mut was_told) = (0_u32, false);
        for (there, back, clock) in course {
            bad.told = 0;
            bad.second([there, back]);
            // Everything that was ever sent, sent again. One that was lost is only late to who gets it; the rest is nothing.
            for replay in &replays {
                let (from, outgoing) = *replay.get(&bad.recorded);
                if let Ok(Received::Told(_)) = bad.wire.give(from, outgoing) {
                    bad.told += 1;
                }
            }
            bad.wire.now.at += PERIOD;
            // Clocks step as they like.
            bad.wire.now.wall_micros = clock >> 1;
            row = if bad.told > 0 { 0 } else { row + 1 };
            was_told |= bad.told > 0;
            let seen = bad.wire.states(0)["n1"];
            match row {
                0 => prop_assert_eq!(seen, State::Alive),
                1..MISSES if was_told => prop_assert!(seen != State::Unknown),
                _ if row > MISSES + 1 => prop_assert_eq!(seen, State::Dead),
                _ => prop_assert!(was_told || seen != State::Alive),
            }
        }
    }

    #[test]
    fn without_a_key_nothing_can_be_said(bytes in proptest::collection::vec(any::<u8>(), SIZE), times in 1_usize..20) {
        let mut wire = Wire::new(2);
        let from = SocketAddr::new(address(1), PORT);
        for _ in 0..times {
            let now = wire.now;
            prop_assert!(wire.meshes[0].receive(&bytes, from, now).is_err());
            wire.tick(0);
            wire.pass(1000);
        }
        prop_assert!(wire.states(0)["n1"] != State::Alive);
    }
}
