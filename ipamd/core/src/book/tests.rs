//! The book against a simple model, over random operations.
//!
//! `PROPTEST_CASES` runs more; a failure prints its seed and keeps it in `proptest-regressions/`, from where every
//! later run begins; `PROPTEST_RNG_SEED` fixes the seed of a whole run.

mod invariants;
mod model;
mod world;

use proptest::prelude::*;
use proto_ids::Attachment;

use super::*;
use crate::fixture;
use crate::time::Timestamp;
use crate::{FreeRequest, ReserveRequest, Sighting};
use model::Model;
use world::{AddressPick, Op};

/// Operations of one case, and cases of each of the two tests: together 102,400 operations a run.
const OPERATIONS: usize = 200;
const CASES: u32 = 256;
const CHECK_EVERY: usize = 10;

/// The book under test and the model, in step.
struct Pair {
    book: Book,
    model: Model,
    /// What is on disk: the changes of every plan, and nothing else.
    store: BTreeMap<Vec<u8>, Record>,
    now: Timestamp,
    /// Every attachment that was ever asked for: late DELs pick from here.
    seen: Vec<Attachment>,
}

impl Pair {
    fn new(variant: usize) -> Self {
        let settings = world::settings(variant);
        Self {
            book: Book::new(settings.clone()),
            model: Model::new(settings),
            store: BTreeMap::new(),
            now: Timestamp::from_unix_milliseconds(1_000_000_000),
            seen: Vec::new(),
        }
    }

    /// Stores the changes of a plan, then applies them.
    fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(record) => {
                    self.store.insert(record.key().to_bytes(), record.clone());
                }
                Change::Remove(key) => {
                    self.store.remove(&key.to_bytes());
                }
                Change::Audit(_) => {}
            }
        }
        self.book.apply(changes);
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Allocate(ask) => self.allocate(ask),
            Op::Release { pick } => self.release(*pick),
            Op::Collect { keep } => self.collect(*keep),
            Op::Reserve { who, network, pick } => self.reserve(*who, *network, *pick),
            Op::Free {
                network,
                pick,
                quarantine,
            } => self.free(*network, *pick, *quarantine),
            Op::Conflict { network, pick, mac } => self.conflict(*network, *pick, *mac),
            Op::Clear { network, pick } => {
                let (network, address) = (world::network(*network), pick.address());
                let changes = self.book.clear_conflict(&network, address);
                self.commit(&changes);
                self.model.clear(&network, address);
            }
            Op::Pass { milliseconds } => self.pass(*milliseconds),
            Op::Expire => self.expire(),
            Op::Reload => self.reload(),
            Op::Reboot => {
                let plan = self.book.reboot(self.now);
                self.commit(&plan.changes);
                self.model.end(|_| true, self.now);
            }
            Op::Reconfigure { variant } => self.reconfigure(*variant),
            Op::Adopt { sandbox, pick } => self.adopt(*sandbox, *pick),
        }
    }

    fn check(&self) {
        invariants::check(&self.book);
        self.model.compare(&self.book);
    }

    fn allocate(&mut self, ask: &world::Ask) {
        let request = ask.request();
        let before = self.book.clone();
        let expected = self.model.allocate(&request, self.now);
        self.seen.push(request.attachment.clone());
        match (self.book.allocate(&request, self.now), expected) {
            (Ok(plan), Ok(expected)) => {
                let granted: Vec<_> = plan
                    .grant
                    .interfaces
                    .iter()
                    .map(|interface| {
                        let addresses = interface.addresses.iter();
                        (
                            interface.network.clone(),
                            addresses.map(|assigned| assigned.address.addr()).collect(),
                            interface.mac,
                        )
                    })
                    .collect();
                assert_eq!(granted, expected, "{request:?}");
                invariants::grant_is_safe(&before, &request, &plan.grant, self.now);
                self.commit(&plan.changes);
                let again = self.book.allocate(&request, self.now).expect("granted");
                assert!(again.changes.is_empty(), "a repeated ADD changes nothing");
                assert_eq!(again.grant.interfaces, plan.grant.interfaces);
            }
            (Err(error), Err(expected)) => {
                assert_eq!(error.reason(), expected, "{error} for {request:?}");
                assert!(!error.to_string().is_empty() && !error.advice().is_empty());
            }
            (found, expected) => panic!("{found:?}, expected {expected:?}, for {request:?}"),
        }
    }

    fn release(&mut self, pick: usize) {
        if self.seen.is_empty() {
            return;
        }
        let attachment = self.seen[pick % self.seen.len()].clone();
        let plan = self.book.release(&attachment, self.now);
        self.commit(&plan.changes);
        let ended = self.model.end(|other| *other == attachment, self.now);
        assert_eq!(plan.known, ended);
        assert_eq!(plan.changes.is_empty(), !plan.known);
        assert!(!self.book.release(&attachment, self.now).known);
    }

    fn collect(&mut self, keep: u64) {
        let kept = |index: usize| keep >> (index % 64) & 1 == 1;
        let keep: Vec<_> = self
            .seen
            .iter()
            .enumerate()
            .filter(|&(index, _)| kept(index))
            .map(|(_, attachment)| attachment.clone())
            .collect();
        let plan = self.book.collect(&world::cni_network(), &keep, self.now);
        self.commit(&plan.changes);
        self.model
            .end(|attachment| !keep.contains(attachment), self.now);
    }

    fn reserve(&mut self, who: Option<usize>, network: usize, pick: Option<AddressPick>) {
        let request = ReserveRequest {
            network: world::network(network),
            address: pick.map(AddressPick::address),
            identity: who.map(world::identity),
            mac: None,
            note: "for the auditors".to_owned(),
        };
        let expected = self.model.reserve(&request, self.now);
        match (self.book.reserve(&request, self.now), expected) {
            (Ok(plan), Ok(())) => self.commit(&plan.changes),
            (Err(error), Err(expected)) => assert_eq!(error.reason(), expected, "{error}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}, for {request:?}"),
        }
    }

    fn free(&mut self, network: usize, pick: AddressPick, quarantine: bool) {
        let request = FreeRequest {
            network: Some(world::network(network)),
            address: pick.address(),
            quarantine,
        };
        let expected = self.model.free(&request, self.now);
        match (self.book.free(&request, self.now), expected) {
            (Ok(plan), true) => self.commit(&plan.changes),
            (Err(_), false) => {}
            (found, expected) => panic!("{found:?}, expected {expected:?}, for {request:?}"),
        }
    }

    fn conflict(&mut self, network: usize, pick: AddressPick, mac: u8) {
        let sighting = Sighting {
            network: world::network(network),
            address: pick.address(),
            mac: world::mac(mac),
        };
        let plan = self.book.conflict(&sighting, self.now);
        self.commit(&plan.changes);
        assert_eq!(plan.foreign, self.model.conflict(&sighting), "{sighting:?}");
        let again = self.book.conflict(&sighting, self.now);
        assert!(again.changes.is_empty());
    }

    fn pass(&mut self, milliseconds: i64) {
        let now = self.now.unix_milliseconds();
        self.now = Timestamp::from_unix_milliseconds(now.saturating_add_signed(milliseconds));
    }

    fn expire(&mut self) {
        let due = self
            .book
            .next_deadline()
            .is_some_and(|next| next <= self.now);
        let plan = self.book.expire(self.now, usize::MAX);
        assert_eq!(due, !plan.changes.is_empty());
        self.commit(&plan.changes);
        self.model.expire(self.now);
        assert!(self.book.next_deadline().is_none_or(|next| next > self.now));
    }

    /// The daemon is killed and comes back with what was stored.
    fn reload(&mut self) {
        let stored = self.store.values().cloned();
        let restored = Book::restore(self.book.settings().clone(), stored);
        assert_eq!(restored, Ok(self.book.clone()));
        self.book = restored.unwrap();
    }

    /// What is stored is text or bytes: nothing may be lost on the way.
    fn write_and_read(&self) {
        let records: Vec<_> = self.store.values().cloned().collect();
        let text = serde_json::to_string(&records).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Record>>(&text).unwrap(), records);
        let keys = self.book.records().map(|record| record.key().to_bytes());
        let stored: BTreeSet<_> = self.store.keys().cloned().collect();
        assert_eq!(keys.collect::<BTreeSet<_>>(), stored);
    }

    fn reconfigure(&mut self, variant: usize) {
        let settings = world::settings(variant);
        let displaces = self.model.displaces(&settings);
        match self.book.reconfigure(settings.clone()) {
            Ok(plan) => {
                assert!(!displaces);
                self.book = plan.book;
                self.model.reconfigure(settings);
            }
            Err(error) => assert!(displaces, "{error}"),
        }
    }

    /// An interface of an unknown Pod turns up. The model has no opinion on what it becomes, only on what must stay.
    fn adopt(&mut self, sandbox: usize, pick: AddressPick) {
        let found = world::found(sandbox, pick);
        let before = self.book.clone();
        self.seen.push(found.attachment.clone());
        let Ok(plan) = self.book.adopt(&found, self.now) else {
            return;
        };
        self.commit(&plan.changes);
        invariants::adoption_is_safe(&before, &self.book, &found, &plan.identity);
        let again = self.book.adopt(&found, self.now).expect("adopted");
        assert!(again.changes.is_empty());
        self.model.relearn(&self.book);
    }
}

fn play(variant: usize, operations: &[Op]) {
    let mut pair = Pair::new(variant);
    for (index, operation) in operations.iter().enumerate() {
        pair.run(operation);
        // A wrong index stays wrong: looking now and then finds it as surely.
        if index % CHECK_EVERY == 0 {
            pair.check();
        }
    }
    pair.check();
    pair.reload();
    pair.write_and_read();
}

fn operations() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(world::operation(), OPERATIONS)
}

proptest! {
    // Two tests, so that two cores share the work.
    #![proptest_config(ProptestConfig {
        cases: std::cmp::max(CASES, ProptestConfig::default().cases),
        ..ProptestConfig::default()
    })]

    #[test]
    fn book_agrees_with_the_model_and_keeps_the_promises(operations in operations()) {
        play(0, &operations);
    }

    #[test]
    fn book_agrees_with_the_model_where_nothing_rests(operations in operations()) {
        play(3, &operations);
    }
}

fn held(identity: &str, addresses: &[&str]) -> Record {
    Record::Binding(crate::BindingRecord {
        identity: identity.parse().unwrap(),
        network: fixture::network("external"),
        rack: "a".parse().unwrap(),
        mac: fixture::mac("02:00:00:00:00:01"),
        addresses: addresses.iter().map(|text| fixture::ip(text)).collect(),
        policy: None,
        origin: crate::Origin::Pod,
        reservation: None,
        since: fixture::at(0),
        state: crate::BindingState::Held { until: None },
    })
}

#[test]
fn records_that_contradict_each_other_make_no_book() {
    let retired = Record::Address(AddressRecord {
        network: fixture::network("external"),
        address: fixture::ip("10.20.1.10"),
        state: AddressUse::Retired { sequence: 1 },
    });
    let one = || held("prod/db-0", &["10.20.1.10"]);
    let other = || held("prod/db-1", &["10.20.1.10"]);
    for (records, count) in [
        (vec![one()], 0),
        (vec![one(), other()], 1),
        (vec![one(), retired.clone()], 1),
        (vec![retired, one()], 1),
        (vec![held("prod/db-0", &[])], 1),
        (vec![held("prod/db-0", &["10.20.1.10", "10.20.1.11"])], 1),
    ] {
        let restored = Book::restore(fixture::valid(fixture::settings()), records.clone());
        let found = restored.err().map_or(0, |error| error.contradictions.len());
        assert_eq!(found, count, "{records:?}");
    }
}

#[test]
fn removing_a_binding_leaves_an_address_that_another_was_given_since() {
    let mut book = fixture::book();
    let one = held("prod/db-0", &["10.20.1.10"]);
    book.apply(&[
        Change::Put(one.clone()),
        Change::Put(held("prod/db-1", &["10.20.1.10"])),
        Change::Remove(one.key()),
    ]);
    let views = book.who(fixture::ip("10.20.1.10"));
    assert_eq!(views[0].identity.as_ref().unwrap().as_str(), "prod/db-1");
}
