//! Pods of one name that come back on another node over and over, and a hand that kills daemons meanwhile.
//!
//! What runtime and kubelet would do is done in their order, but for one thing: half of the ADDs on the next node come before the DEL on the last, as
//! when a node is slow. The [truth](Truth) judges every answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::wait::{holds, wait_until};

use super::fleet::{Fleet, Sled, identity};
use super::truth::Truth;

/// Kills one daemon after the other and starts it again, until the others are done; how often.
pub(super) fn kill_around(fleet: &Fleet, done: &AtomicBool) -> usize {
    let mut kills = 0;
    let mut chance = Chance(7);
    while !done.load(Ordering::Relaxed) {
        let sleds = fleet.sleds();
        let sled = &sleds[chance.below(sleds.len())];
        sled.kill();
        fleet.start(sled);
        sled.wait_serving();
        kills += 1;
        // Another instant within what a hand-over takes.
        let until = Instant::now() + Duration::from_millis(200 + chance.below(1300) as u64);
        wait_until("the next kill", || {
            holds(
                done.load(Ordering::Relaxed) || Instant::now() >= until,
                String::new,
            )
        });
    }
    kills
}

/// Numbers that look like chance and are the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

/// A Pod of a name that is deleted and comes back on another node, over and over.
pub(super) struct Mover<'a> {
    fleet: &'a Fleet,
    truth: &'a Truth,
    pod: String,
    chance: Chance,
    sandboxes: usize,
}

/// Where it is.
struct At<'a> {
    sled: &'a Sled,
    sandbox: String,
}

impl<'a> Mover<'a> {
    pub(super) fn new(fleet: &'a Fleet, truth: &'a Truth, number: usize) -> Self {
        Self {
            fleet,
            truth,
            pod: format!("db-{number}"),
            chance: Chance(number as u64 + 100),
            sandboxes: 0,
        }
    }

    pub(super) fn run(mut self, moves: usize) {
        let sleds = self.fleet.sleds();
        let mut index = self.chance.below(sleds.len());
        let uid = self.bind(&sleds[index]);
        let mut at = self.arrive(&sleds[index], &uid);
        for _ in 0..moves {
            // Any other node.
            index = (index + 1 + self.chance.below(sleds.len() - 1)) % sleds.len();
            at = self.go(&at, &sleds[index]);
        }
    }

    fn bind(&self, sled: &Sled) -> String {
        let annotations = json!({"berth.dev/hold": "forever"});
        self.fleet.bind(&self.pod, sled, &annotations)
    }

    /// The Pod is replaced by one of its name on another node, which may not have the address before it is let go.
    fn go(&mut self, from: &At<'_>, to: &'a Sled) -> At<'a> {
        self.fleet.unbind(&self.pod);
        let uid = self.bind(to);
        // Its first ADD is too early: a sandbox elsewhere has the address. Whatever it answers, the truth judges it.
        if self.chance.below(2) == 0 {
            let early = self.sandbox();
            if let Ok(address) = to.add(&self.pod, &uid, &early) {
                self.truth.granted(&identity(&self.pod), &to.name, &address);
            }
            to.del(&early);
        }
        self.truth.ending(&identity(&self.pod));
        from.sled.del(&from.sandbox);
        self.arrive(to, &uid)
    }

    fn arrive(&mut self, sled: &'a Sled, uid: &str) -> At<'a> {
        let sandbox = self.sandbox();
        let address = sled.add_patiently(&self.pod, uid, &sandbox);
        self.truth
            .granted(&identity(&self.pod), &sled.name, &address);
        // It is written behind the answer, kills or not; a Pod that is moved before that is not looked for here.
        let bound = Some((identity(&self.pod), true));
        wait_until("the claim saying who has it", || {
            let claims = self.fleet.claims();
            let claim = claims.iter().find(|claim| claim.address == address);
            let is_so = claim.is_some_and(|it| it.node == sled.name && it.bound == bound);
            holds(is_so, || {
                format!("{claim:?}, not {bound:?} on {}", sled.name)
            })
        });
        At { sled, sandbox }
    }

    fn sandbox(&mut self) -> String {
        self.sandboxes += 1;
        format!("{}-{}", self.pod, self.sandboxes)
    }
}
