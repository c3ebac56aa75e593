//! SIGKILL at random instants, of the daemon and of the plugin, under concurrent load: promises 1 to 4 must hold.
//!
//! The seed of the instants is printed; `BERTH_SEED` repeats a run's choices. What a runtime does after a call that
//! was killed is done here too: DEL until it succeeds, then ADD again.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::plugin::{Answer, Call, gc_keys};
use tests::site::{Ask, Pod, Setup, Site, bare_address};
use tests::wait::{holds, wait_at_most, wait_until};

use crate::dice::{Dice, say, seed};

/// Kills per run, of both binaries together.
const KILLS: usize = 300;
/// Of these, at least so many of the daemon.
const DAEMON_KILLS: usize = 60;
/// Pods that come and go at once.
const WORKERS: usize = 4;
/// A whole run; two busy cores need a fraction of it.
const RUN: Duration = Duration::from_secs(300);

/// What answered ADDs have given to whom, and everything that must not be.
#[derive(Default)]
struct Ledger {
    live: Mutex<HashMap<String, String>>,
    // Addresses, each with the MAC of its interface.
    sticky: Mutex<HashMap<String, Vec<String>>>,
    // A runtime does not collect while it adds: written by GC, read by ADDs.
    collecting: RwLock<()>,
    violations: Mutex<Vec<String>>,
    plugin_kills: AtomicUsize,
    daemon_kills: AtomicUsize,
    collections: AtomicUsize,
    calls: AtomicUsize,
    over: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    fn violated(&self, what: String) {
        locked(&self.violations).push(what);
    }

    /// An ADD was answered with these addresses and MACs.
    fn added(&self, container: &str, identity: &str, addresses: &[String], macs: &[String]) {
        let mut live = locked(&self.live);
        for address in addresses {
            if let Some(other) = live.insert(address.clone(), container.to_owned()) {
                self.violated(format!("{address} is {container}'s and {other}'s at once"));
            }
        }
        let pairs = addresses.iter().zip(macs);
        let given: Vec<String> = pairs.map(|(ip, mac)| format!("{ip} {mac}")).collect();
        let mut sticky = locked(&self.sticky);
        match sticky.get(identity) {
            Some(before) if *before != given => {
                self.violated(format!("{identity} had {before:?} and got {given:?}"));
            }
            Some(_) => {}
            None => {
                sticky.insert(identity.to_owned(), given);
            }
        }
    }

    fn deleting(&self, container: &str) {
        locked(&self.live).retain(|_, owner| owner != container);
    }

    fn kills(&self) -> usize {
        self.plugin_kills.load(Ordering::Relaxed) + self.daemon_kills.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Runs a call; one of three is killed within its first 40 ms, if it lasts so long.
fn call(site: &Site, ledger: &Ledger, dice: &mut Dice, ask: &Ask, verb: &str) -> Answer {
    let call = ask.call(verb).config(&site.ask_config(ask));
    let mut running = call.start(site.command(std::path::Path::new("berth")));
    ledger.calls.fetch_add(1, Ordering::Relaxed);
    if dice.below(3) != 0 {
        return running.finish();
    }
    let fuse = Instant::now() + Duration::from_micros(dice.below(40_000));
    while running.is_running() && Instant::now() < fuse {
        std::thread::park_timeout(Duration::from_micros(200));
    }
    if !running.is_running() {
        return running.finish();
    }
    let answer = running.kill();
    if answer.code.is_none() || answer.code == Some(137) {
        ledger.plugin_kills.fetch_add(1, Ordering::Relaxed);
    }
    answer
}

/// One Pod's lives, one after the other, each as a runtime would have it.
fn worker(site: &Site, ledger: &Ledger, number: usize, pod: &Pod<'_>, seed: u64) {
    let mut dice = Dice::new(seed.wrapping_add(number as u64 * 0x1_0000_0001));
    let mut life = 0;
    while !ledger.is_over() {
        life += 1;
        // Some are sticky, some are not, and each worker has identities of its own.
        let identity = match dice.below(4) {
            0 => format!("web-{number}-{life}x"),
            n => format!("db-{number}-{n}"),
        };
        let ask = Ask::new(&identity, pod)
            .container_id(&format!("cid-{number}-{life}"))
            .key(
                "timeouts",
                json!({"allocateSeconds": 5, "releaseSeconds": 0.5}),
            );
        let adding = ledger
            .collecting
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let answer = call(site, ledger, &mut dice, &ask, "ADD");
        if answer.succeeded() {
            let result = answer.result();
            let (addresses, macs) = given(&result);
            let sticky = if identity.starts_with("db-") {
                identity
            } else {
                ask.container().to_owned()
            };
            ledger.added(ask.container(), &sticky, &addresses, &macs);
            drop(adding);
            wears(ledger, pod, &addresses, &macs);
            site.cache(ask.container(), Some(result));
            if dice.below(2) == 0 {
                let check = call(site, ledger, &mut dice, &ask, "CHECK");
                // CHECK may be killed or find the daemon away; it may not call a live attachment wrong.
                if check.code == Some(1)
                    && !["ipamd", "try again"]
                        .iter()
                        .any(|w| check.stdout.contains(w))
                {
                    ledger.violated(format!("CHECK of a live Pod: {check:?}"));
                }
            }
        } else {
            drop(adding);
        }
        ledger.deleting(ask.container());
        delete(site, ledger, &mut dice, &ask);
        let left = pod.interfaces();
        if left != ["lo"] {
            ledger.violated(format!("{left:?} after DEL of {}", ask.container()));
        }
    }
}

/// The Pod has what the result says, and nothing else.
fn wears(ledger: &Ledger, pod: &Pod<'_>, addresses: &[String], macs: &[String]) {
    let inside: Vec<String> = ["eth0", "net1"]
        .iter()
        .flat_map(|ifname| pod.addresses(ifname))
        .map(|address| bare_address(&address))
        .collect();
    if inside != addresses {
        ledger.violated(format!("result {addresses:?}, in the Pod {inside:?}"));
    }
    let worn = ["eth0", "net1"].map(|ifname| pod.link(ifname)["address"].clone());
    if macs.iter().any(|mac| !worn.contains(&json!(mac))) {
        ledger.violated(format!("result {macs:?}, in the Pod {worn:?}"));
    }
}

/// Addresses of a result, and the MAC of each one's interface.
fn given(result: &Value) -> (Vec<String>, Vec<String>) {
    let ips = result["ips"].as_array().unwrap().iter();
    ips.map(|ip| {
        let index = usize::try_from(ip["interface"].as_u64().unwrap()).unwrap();
        let mac = result["interfaces"][index]["mac"].as_str().unwrap();
        (
            bare_address(ip["address"].as_str().unwrap()),
            mac.to_owned(),
        )
    })
    .unzip()
}

/// DEL until it succeeds.
fn delete(site: &Site, ledger: &Ledger, dice: &mut Dice, ask: &Ask) {
    wait_until("DEL succeeds", || {
        let answer = call(site, ledger, dice, ask, "DEL");
        if answer.code == Some(1) {
            ledger.violated(format!("DEL failed: {answer:?}"));
        }
        holds(answer.succeeded(), || format!("{answer:?}"))
    });
    site.cache(ask.container(), None);
}

/// Kills the daemon after a random number of calls, again and again.
fn reaper(site: &Site, ledger: &Ledger, seed: u64) {
    let mut dice = Dice::new(seed ^ 0xdead);
    let begin = Instant::now();
    while !(ledger.kills() >= KILLS && ledger.daemon_kills.load(Ordering::Relaxed) >= DAEMON_KILLS)
    {
        if begin.elapsed() > RUN {
            ledger.violated(format!("only {} kills in {RUN:?}", ledger.kills()));
            break;
        }
        let goal =
            ledger.calls.load(Ordering::Relaxed) + 1 + usize::try_from(dice.below(12)).unwrap();
        wait_at_most(RUN, "some calls more", || {
            let calls = ledger.calls.load(Ordering::Relaxed);
            // A daemon that is gone stops all calls: time alone goes on then.
            holds(calls >= goal || begin.elapsed() > RUN, || {
                format!("{calls} of {goal}")
            })
        });
        site.kill_ipamd();
        ledger.daemon_kills.fetch_add(1, Ordering::Relaxed);
        site.spawn_ipamd();
        // Half of the time it is killed while it recovers.
        if dice.below(2) == 0 {
            site.wait_phase(proto_ipam::v1::Phase::Serving);
            nothing_answered_is_lost(site, ledger);
            collect(site, ledger);
            nothing_answered_is_lost(site, ledger);
        }
    }
    ledger.over.store(true, Ordering::Relaxed);
}

/// GC with all that is live: what killed calls left behind ends, and nothing else.
fn collect(site: &Site, ledger: &Ledger) {
    let _alone = ledger
        .collecting
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    let live: BTreeSet<String> = locked(&ledger.live).values().cloned().collect();
    let valid: Vec<(&str, &str)> = live.iter().map(|owner| (owner.as_str(), "eth0")).collect();
    let config = gc_keys(&site.config("1.1.0", &site.networks()), &valid);
    let answer = site.run("berth", &Call::bare("GC").config(&config));
    ledger.collections.fetch_add(1, Ordering::Relaxed);
    if !answer.succeeded() {
        ledger.violated(format!("GC of {valid:?}: {answer:?}"));
    }
}

/// Whatever is live before and after the look into the book must be in it, with its owner.
fn nothing_answered_is_lost(site: &Site, ledger: &Ledger) {
    let before = locked(&ledger.live).clone();
    let book: HashMap<String, String> = site
        .list()
        .into_iter()
        .filter_map(|binding| Some((bare_address(&binding.address), binding.attachment?.sandbox)))
        .collect();
    let after = locked(&ledger.live);
    for (address, owner) in &before {
        if after.get(address) == Some(owner) && book.get(address) != Some(owner) {
            ledger.violated(format!(
                "{address} of {owner} is {:?}'s after a restart of the daemon",
                book.get(address)
            ));
        }
    }
}

#[test]
fn random_kills_under_load_lose_nothing_leak_nothing_and_give_no_address_twice() {
    let seed = seed("crash test");
    let site = Site::build(
        "crash",
        Setup::dual_stack().pool_line("quarantine = \"1s\""),
    );
    // With an address of its own the node has a route to every Pod, which must go with it.
    site.add_management_nic();
    let ledger = Ledger::default();
    let pods: Vec<Pod<'_>> = (0..WORKERS).map(|n| site.pod(&format!("w{n}"))).collect();

    std::thread::scope(|scope| {
        for (number, pod) in pods.iter().enumerate() {
            let (site, ledger) = (&site, &ledger);
            scope.spawn(move || worker(site, ledger, number, pod, seed));
        }
        reaper(&site, &ledger, seed);
    });

    say(&format!(
        "crash test: {} kills of berth, {} of ipamd, {} calls, {} collections",
        ledger.plugin_kills.load(Ordering::Relaxed),
        ledger.daemon_kills.load(Ordering::Relaxed),
        ledger.calls.load(Ordering::Relaxed),
        ledger.collections.load(Ordering::Relaxed),
    ));
    site.wait_phase(proto_ipam::v1::Phase::Serving);
    assert_eq!(
        *locked(&ledger.violations),
        Vec::<String>::new(),
        "BERTH_SEED={seed}"
    );
    wait_until("no tombstone is left", || {
        holds(site.tombstones() == 0, || format!("{}", site.tombstones()))
    });
    assert_eq!(site.attached(), Vec::<String>::new(), "BERTH_SEED={seed}");
    assert_eq!(site.ports(), Vec::<String>::new(), "BERTH_SEED={seed}");
    for (family, ours) in [
        ("-4", ["10.20.1.1", "10.30.1.1"]),
        ("-6", ["fd00:20:", "fd00:30:"]),
    ] {
        let routes = site.ip(&[family, "route", "show"]).to_string();
        assert!(
            !ours.iter().any(|address| routes.contains(address)),
            "BERTH_SEED={seed} {routes}"
        );
    }
    assert!(
        ledger.collections.load(Ordering::Relaxed) > 0,
        "BERTH_SEED={seed}: GC was never called"
    );
    // Findings are those of the last start, which met half-made attachments; a start in peace must find nothing.
    site.kill_ipamd();
    site.start_ipamd();
    let fsck = site.client().fsck().unwrap();
    assert_eq!(fsck.findings, Vec::<String>::new(), "BERTH_SEED={seed}");
}

#[test]
fn answered_adds_survive_a_daemon_that_is_killed_at_once() {
    let site = Site::serving("crash-add");
    for round in 0..20 {
        let pod = site.pod(&format!("p{round}"));
        let ask = Ask::new(&format!("db-{round}"), &pod);
        let result = site.add(&ask).result();
        site.kill_ipamd();
        site.start_ipamd();
        let address = bare_address(result["ips"][0]["address"].as_str().unwrap());
        assert!(
            site.attached().contains(&address),
            "round {round}: {address}"
        );
    }
    assert_eq!(site.attached().len(), 40);
}
