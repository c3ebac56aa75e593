//! Forty address daemons and one pool, on a real API server: a rack that starts at once, a pool with too few addresses, an API server that is away, identities
//! that go back and forth under kills; and how many requests all that costs.
//!
//! Real processes with the tokens of their Pods, so that roles and admission policy are in force. Bounds are stated where they are asserted.

mod counts;
mod fleet;
mod mover;
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::wait::{holds, wait_until};
use tests_testbed::Component;

use self::counts::Counts;
use self::fleet::{Fleet, Plan, Sled};
use self::mover::{Mover, kill_around};
use self::truth::Truth;

const NODES: usize = 40;

const WARM: usize = 4;

/// 40 nodes with room for a good half more than all keep warm.
const RACK: Plan<'static> = Plan {
    name: "",
    nodes: NODES,
    warm: WARM,
    range: "10.20.1.0-10.20.1.255",
    quarantine: "10m",
};

/// Does it for every node at the same time.
fn on_each<T: Send>(sleds: &[Sled], work: impl Fn(&Sled) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let running: Vec<_> = sleds
            .iter()
            .map(|sled| scope.spawn(|| work(sled)))
            .collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(Result::unwrap).collect()
    })
}

/// Says something that belongs to the figures, whether the test passes or not.
#[expect(clippy::print_stderr, reason = "figures are read by people")]
fn note(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::cast_precision_loss, reason = "some hundred")]
fn many(count: usize) -> f64 {
    count as f64
}

#[test]
fn whole_rack_that_starts_at_once_shares_its_pool_in_a_bounded_number_of_requests() {
    let fleet = Fleet::new(Plan {
        name: "claims_start",
        ..RACK
    });
    let before = fleet.counts();
    let begin = Instant::now();
    fleet.start_all();
    fleet.wait_serving();
    fleet.wait_warm(WARM);
    let took = begin.elapsed();
    let cost = fleet.counts().since(before);
    note(&format!(
        "{NODES} nodes have {WARM} each after {took:?}: {cost}"
    ));
    // Each claim takes one write; what collides is written again. A node lists its own claims and the rack's, and the pool's when it collided.
    let claims = many(NODES * WARM);
    assert!(cost.creates - cost.conflicts <= claims * 1.25, "{cost}");
    assert!(cost.writes() <= claims * 2.0, "{cost}");
    assert!(cost.lists <= many(NODES) * 3.0, "{cost}");
    // A fresh API server puts off whom it cannot answer yet. Who is put off waits as it was told.
    assert!(cost.put_off <= many(NODES) * 2.0, "{cost}");

    // Nobody was told of these addresses by anybody but its own daemon, and none twice.
    let pods: Vec<(String, String)> = fleet
        .sleds()
        .iter()
        .flat_map(|sled| (0..WARM).map(move |number| (sled, format!("{}x{number}", sled.name))))
        .map(|(sled, pod)| (pod.clone(), fleet.bind(&pod, sled, &json!({}))))
        .collect();
    let given = on_each(fleet.sleds(), |sled| {
        let mine = pods.iter().filter(|(pod, _)| of(pod, sled));
        mine.map(|(pod, uid)| (sled.name.clone(), sled.add_patiently(pod, uid, pod)))
            .collect::<Vec<_>>()
    });
    let given: Vec<(String, String)> = given.into_iter().flatten().collect();
    let addresses: BTreeSet<&String> = given.iter().map(|(_, address)| address).collect();
    assert_eq!(addresses.len(), NODES * WARM, "an address is in two books");
    wait_until(
        "each address being its node's at the API server, and bound",
        || {
            let claims = fleet.claims();
            let bound: BTreeMap<_, _> = claims
                .iter()
                .filter(|claim| claim.bound.as_ref().is_some_and(|(_, attached)| *attached))
                .map(|claim| (&claim.address, &claim.node))
                .collect();
            let wrong = given
                .iter()
                .find(|(node, address)| bound.get(address) != Some(&node));
            holds(wrong.is_none(), || format!("{wrong:?} of {claims:?}"))
        },
    );
}

/// Whether a Pod of [`whole_rack_that_starts_at_once_shares_its_pool_in_a_bounded_number_of_requests`] and its like is this node's.
fn of(pod: &str, sled: &Sled) -> bool {
    pod.split('x').next() == Some(&sled.name)
}

#[test]
fn pool_with_too_few_addresses_starves_no_node_that_has_a_pod_on_its_way() {
    // 40 nodes would keep 160 warm.
    let fleet = Fleet::new(Plan {
        name: "claims_scarce",
        range: "10.20.1.0-10.20.1.99",
        quarantine: "1s",
        ..RACK
    });
    fleet.start_all();
    fleet.wait_serving();
    wait_until("every address being claimed", || {
        let count = fleet.claims().len();
        holds(count == 100, || format!("{count} claims"))
    });
    let before = fleet.counts();
    let begin = Instant::now();
    let granted = on_each(fleet.sleds(), |sled| {
        (0..2)
            .map(|number| {
                let pod = format!("{}x{number}", sled.name);
                let uid = fleet.bind(&pod, sled, &json!({}));
                sled.add_patiently(&pod, &uid, &pod)
            })
            .collect::<Vec<_>>()
    });
    let all: BTreeSet<String> = granted.into_iter().flatten().collect();
    assert_eq!(all.len(), NODES * 2, "an address was given twice");
    let cost = fleet.counts().since(before);
    note(&format!(
        "80 Pods on {NODES} nodes that share 100 addresses, all of them claimed: {:?}, {cost}",
        begin.elapsed()
    ));
    // An ADD costs a question, a gift, and what it binds; what others took since one last looked is tried four times, not one by one.
    assert!(cost.writes() <= 80.0 * 6.0, "{cost}");

    // The last twenty go too, and then there is nothing: the words say so.
    let last = &fleet.sleds()[0];
    for number in 2..22 {
        let pod = format!("{}x{number}", last.name);
        let uid = fleet.bind(&pod, last, &json!({}));
        last.add_patiently(&pod, &uid, &pod);
    }
    let uid = fleet.bind("too-many", last, &json!({}));
    let refused = last.add("too-many", &uid, "too-many").unwrap_err();
    assert!(
        refused
            .message()
            .contains("every one of the pools is claimed"),
        "{refused:?}"
    );
    // One address that is given back somewhere is enough.
    let other = &fleet.sleds()[7];
    fleet.unbind("n8x0");
    other.del("n8x0");
    last.add_patiently("too-many", &uid, "too-many");
}

#[test]
fn api_server_that_is_away_is_not_missed_and_not_stormed_when_it_is_back() {
    let mut fleet = Fleet::new(Plan {
        name: "claims_away",
        ..RACK
    });
    fleet.start_all();
    fleet.wait_serving();
    fleet.wait_warm(WARM);
    // Two Pods of each node are known; one runs and is held, the other starts meanwhile and has any address.
    let uids: BTreeMap<String, String> = fleet
        .sleds()
        .iter()
        .flat_map(|sled| {
            let held = json!({"berth.dev/hold": "forever"});
            [(sled, first(sled), held), (sled, second(sled), json!({}))]
        })
        .map(|(sled, pod, annotations)| {
            let uid = fleet.bind(&pod, sled, &annotations);
            (pod, uid)
        })
        .collect();
    let had = on_each(fleet.sleds(), |sled| {
        let pod = first(sled);
        sled.add_patiently(&pod, &uids[&pod], &pod)
    });
    wait_quiet(&fleet);

    work_while_it_is_away(&mut fleet, &uids, &had);

    fleet.api.start_component(Component::ApiServer).unwrap();
    fleet.api.wait_ready().unwrap();
    fleet.count_anew();
    let begin = Instant::now();
    let mut samples = vec![(Instant::now(), fleet.counts())];
    wait_until("the API server knowing what happened meanwhile", || {
        samples.push((Instant::now(), fleet.counts()));
        let claims = fleet.claims();
        let bound = |attached: bool| {
            let it = claims.iter().filter_map(|claim| claim.bound.as_ref());
            it.filter(|(_, is)| *is == attached).count()
        };
        let (attached, held) = (bound(true), bound(false));
        holds(attached == NODES && held == NODES, || {
            format!("{attached} attached, {held} held\n{}", fleet.log_of("n1"))
        })
    });
    let took = begin.elapsed();
    wait_quiet(&fleet);
    let cost = fleet.counts();
    let fastest = fastest_second(&samples);
    note(&format!(
        "caught up in {took:?} with {cost}; at most {fastest} writes in a second"
    ));
    // A Pod that was started and one that ended, however often in between; and a warm address for the one that was started.
    assert!(cost.writes() <= many(NODES) * 3.0, "{cost}");
    // Each node begins at a time of its own within ten seconds, and sends ten a second at most.
    assert!(
        fastest <= many(NODES),
        "{fastest} writes in a second: {samples:?}"
    );
}

fn first(sled: &Sled) -> String {
    format!("{}x0", sled.name)
}

fn second(sled: &Sled) -> String {
    format!("{}x1", sled.name)
}

/// Sandboxes come and go while the API server says nothing, and while it is not there at all; it is left so.
fn work_while_it_is_away(fleet: &mut Fleet, uids: &BTreeMap<String, String>, had: &[String]) {
    let again = |sled: &Sled| {
        let pod = first(sled);
        sled.del(&pod);
        sled.add(&pod, &uids[&pod], &pod).unwrap()
    };
    // It holds its connections and says nothing.
    fleet.api.freeze(Component::ApiServer, true).unwrap();
    assert_eq!(
        on_each(fleet.sleds(), again),
        had,
        "a sandbox made anew has another address"
    );
    fleet.api.freeze(Component::ApiServer, false).unwrap();
    fleet.api.kill(Component::ApiServer).unwrap();
    // The daemon of every fourth node starts without it.
    for sled in fleet.sleds().iter().step_by(4) {
        sled.kill();
        fleet.start(sled);
    }
    fleet.wait_serving();
    on_each(fleet.sleds(), |sled| {
        // A new Pod has one of the addresses that are claimed.
        let pod = second(sled);
        sled.add_patiently(&pod, &uids[&pod], &pod);
        for _ in 0..3 {
            again(sled);
        }
        sled.del(&first(sled));
    });
}

/// Waits until no claim was written for a while.
fn wait_quiet(fleet: &Fleet) {
    const QUIET: Duration = Duration::from_secs(3);
    let mut last = (f64::NAN, Instant::now());
    wait_until("no more writes", || {
        let writes = fleet.counts().writes();
        #[expect(clippy::float_cmp, reason = "counts")]
        if writes != last.0 {
            last = (writes, Instant::now());
        }
        holds(last.1.elapsed() >= QUIET, || format!("{writes} writes"))
    });
}

/// The most writes between two looks that are a second apart or less.
fn fastest_second(samples: &[(Instant, Counts)]) -> f64 {
    let ends = samples.iter().enumerate();
    let windows = ends.map(|(index, (end, last))| {
        let within = |(at, _): &&(Instant, Counts)| end.duration_since(*at).as_secs_f64() <= 1.0;
        let first = samples[..=index].iter().find(within);
        last.writes() - first.map_or_else(|| last.writes(), |(_, counts)| counts.writes())
    });
    windows.fold(0.0, f64::max)
}

#[test]
fn identities_that_go_back_and_forth_under_kills_are_never_attached_twice() {
    const IDENTITIES: usize = 6;
    const MOVES: usize = 8;
    let fleet = Fleet::new(Plan {
        name: "claims_moves",
        nodes: 5,
        warm: 2,
        ..RACK
    });
    fleet.start_all();
    fleet.wait_serving();
    fleet.wait_warm(2);
    let truth = Truth::default();
    let done = AtomicBool::new(false);
    let begin = Instant::now();
    let kills = thread::scope(|scope| {
        let movers: Vec<_> = (0..IDENTITIES)
            .map(|number| {
                let (fleet, truth) = (&fleet, &truth);
                scope.spawn(move || Mover::new(fleet, truth, number).run(MOVES))
            })
            .collect();
        let killer = scope.spawn(|| kill_around(&fleet, &done));
        let moved: Vec<_> = movers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        let kills = killer.join().unwrap();
        moved.into_iter().for_each(Result::unwrap);
        kills
    });
    note(&format!(
        "{} ADDs of {IDENTITIES} identities on 5 nodes in {:?}, with {kills} kills",
        truth.granted_count(),
        begin.elapsed()
    ));
    assert!(kills >= 5, "{kills} kills show little");
    fleet.wait_serving();
    // Books and claims say in the end what the test knows.
    let mut books = BTreeMap::new();
    for sled in fleet.sleds() {
        for (identity, address) in sled.attached() {
            let place = (sled.name.clone(), address);
            let other = books.insert(identity.clone(), place.clone());
            assert_eq!(
                other, None,
                "{identity} is attached twice, also by {place:?}"
            );
        }
    }
    assert_eq!(books, truth.attached());
    wait_until("the claims saying the same", || {
        let claims = fleet.claims();
        let bound = claims.iter().filter_map(|claim| {
            let (identity, attached) = claim.bound.as_ref()?;
            let place = (claim.node.clone(), claim.address.clone());
            attached.then(|| (identity.clone(), place))
        });
        let bound: BTreeMap<_, _> = bound.collect();
        holds(bound == truth.attached(), || format!("{claims:?}"))
    });
}

/// Nodes whose requests are counted, and Pods that come and go on each.
const FEW: usize = 10;
const PODS: usize = 10;

/// How long nothing happens while it is counted.
const IDLE: Duration = Duration::from_secs(60);

#[test]
fn requests_of_idle_nodes_and_of_pods_that_come_and_go_are_counted() {
    let fleet = Fleet::new(Plan {
        name: "claims_load",
        nodes: FEW,
        range: "10.20.16.0-10.20.31.255",
        quarantine: "1s",
        ..RACK
    });
    fleet.start_all();
    fleet.wait_serving();
    fleet.wait_warm(WARM);
    wait_quiet(&fleet);
    for round in ["new", "again"] {
        come_and_go(&fleet, "held", &json!({"berth.dev/hold": "forever"}), round);
    }
    for round in ["new", "again"] {
        come_and_go(&fleet, "others", &json!({}), round);
    }

    let begin = Instant::now();
    let before = fleet.counts();
    wait_until("a minute without a Pod", || {
        holds(begin.elapsed() >= IDLE, || format!("{:?}", begin.elapsed()))
    });
    let idle = fleet.counts().since(before);
    let hours = many(FEW) * begin.elapsed().as_secs_f64() / 3600.0;
    note(&format!(
        "idle: {idle} in {hours:.3} node-hours, which is {:.1} writes and {:.1} reads a node-hour",
        idle.writes() / hours,
        (idle.gets + idle.lists) / hours
    ));
    assert!(idle.writes() + idle.gets + idle.lists < 1.0, "{idle}");
}

/// Ten Pods on each node start and end; what that costs, a Pod.
fn come_and_go(fleet: &Fleet, kind: &str, annotations: &Value, round: &str) {
    let pods = |sled: &Sled| -> Vec<String> {
        let name = |number| format!("{}x{kind}x{number}", sled.name);
        (0..PODS).map(name).collect()
    };
    let before = fleet.counts();
    on_each(fleet.sleds(), |sled| {
        for pod in pods(sled) {
            let uid = fleet.bind(&pod, sled, annotations);
            sled.add_patiently(&pod, &uid, &format!("{pod}{round}"));
        }
    });
    wait_quiet(fleet);
    let started = fleet.counts();
    on_each(fleet.sleds(), |sled| {
        for pod in pods(sled) {
            fleet.unbind(&pod);
            sled.del(&format!("{pod}{round}"));
        }
    });
    wait_quiet(fleet);
    let ended = fleet.counts();
    let (start, end) = (started.since(before), ended.since(started));
    let count = many(FEW * PODS);
    note(&format!(
        "{kind}, {round}: {:.2} writes and {:.2} reads a start ({start}); {:.2} writes a DEL ({end})",
        start.writes() / count,
        (start.gets + start.lists) / count,
        end.writes() / count,
    ));
    // Claimed, bound, and another one that is warm instead.
    assert!(start.writes() <= count * 2.5, "{start}");
    // Unbound, and what is more than is kept given back.
    assert!(end.writes() <= count * 2.5, "{end}");
}
