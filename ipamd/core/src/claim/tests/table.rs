//! One claim, one node, one decision.

use super::*;
use crate::{AllocateError, Ended, NodeRack, RackUnknown};

/// A node with the address `10.0.0.10`, owned since epoch 3.
fn owner() -> Book {
    let mut book = Book::new(settings("n1", false));
    let create = ClaimWrite::Create(claim("n1", 3).content);
    let changes = book.claim_written(PLACE.get(), &create, Some(&claim("n1", 3)), at(0));
    book.apply(&changes);
    book
}

/// Where all of it happens.
struct Place {
    network: std::sync::LazyLock<NetworkName>,
}

static PLACE: Place = Place {
    network: std::sync::LazyLock::new(|| network("external")),
};

impl Place {
    fn get(&self) -> (&NetworkName, IpAddr) {
        (&self.network, ip("10.0.0.10"))
    }

    fn key(&self) -> (NetworkName, IpAddr) {
        (self.network.clone(), ip("10.0.0.10"))
    }
}

fn sight(claim: Option<&Claim>, consistent: bool, unchanged: Duration) -> Sight<'_> {
    let (network, address) = PLACE.get();
    Sight {
        network,
        address,
        claim,
        consistent,
        unchanged,
    }
}

fn plan(book: &Book, claim: Option<&Claim>, consistent: bool, wishes: &Wishes) -> ClaimPlan {
    book.plan_claim(&sight(claim, consistent, Duration::ZERO), wishes, at(0))
}

fn nothing() -> Wishes {
    Wishes::default()
}

fn wanting_address() -> Wishes {
    Wishes {
        addresses: [PLACE.key()].into(),
        ..nothing()
    }
}

fn wanting_identity() -> Wishes {
    Wishes {
        identities: [(network("external"), "t/app-0".parse().unwrap())].into(),
        ..nothing()
    }
}

fn bound(attached: bool) -> ClaimedBinding {
    ClaimedBinding {
        identity: "t/app-0".parse().unwrap(),
        mac: "b6:e7:0a:00:00:0a".parse().unwrap(),
        addresses: vec![ip("10.0.0.10")],
        policy: None,
        origin: Origin::Pod,
        reservation: None,
        attached,
        until: None,
    }
}

fn held_by(node: &str, epoch: u64) -> Claim {
    let mut claim = claim(node, epoch);
    claim.content.binding = Some(bound(false));
    claim
}

#[track_caller]
fn updated(plan: ClaimPlan) -> ClaimContent {
    match plan {
        ClaimPlan::Write(ClaimWrite::Update { content, .. }) => content,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn commit(book: &mut Book, plan: ClaimPlan) -> Vec<Change> {
    let ClaimPlan::Commit(changes) = plan else {
        panic!("{plan:?}")
    };
    book.apply(&changes);
    changes
}

#[test]
fn nothing_is_handed_out_before_it_is_claimed() {
    let book = Book::new(settings("n1", false));
    let refused = book.allocate(&request("t/app-0", "s1"), at(0)).unwrap_err();
    assert!(
        matches!(refused, AllocateError::Exhausted { .. }),
        "{refused}"
    );
    assert_eq!(owner().must_get("t/app-0", "s1", at(0)), ip("10.0.0.10"));
}

#[test]
fn address_that_is_wanted_is_claimed_by_creating() {
    let book = Book::new(settings("n1", false));
    assert_eq!(plan(&book, None, false, &nothing()), ClaimPlan::Idle);
    let planned = plan(&book, None, false, &wanting_address());
    assert!(
        matches!(planned, ClaimPlan::Write(ClaimWrite::Create(_))),
        "{planned:?}"
    );
}

#[test]
fn binding_that_arrives_before_the_rack_is_known_is_held_when_it_is() {
    let placed = settings("n2", false);
    let unplaced = Settings {
        rack: NodeRack::Unknown(Box::new(RackUnknown {
            cause: "nobody knows".to_owned(),
            advice: "ask".to_owned(),
            passing: true,
        })),
        ..placed.settings().clone()
    };
    let mut book = Book::new(valid(unplaced));
    let answer = held_by("n2", 9);
    let write = ClaimWrite::Create(answer.content.clone());
    let changes = book.claim_written(PLACE.get(), &write, Some(&answer), at(0));
    book.apply(&changes);
    assert_eq!(
        plan(&book, Some(&answer), true, &nothing()),
        ClaimPlan::Idle
    );
    let mut book = book.reconfigure(placed).unwrap().book;
    let planned = plan(&book, Some(&answer), false, &nothing());
    commit(&mut book, planned);
    assert_eq!(
        plan(&book, Some(&answer), false, &nothing()),
        ClaimPlan::Idle
    );
    assert_eq!(book.must_get("t/app-0", "s1", at(1)), ip("10.0.0.10"));
}

#[test]
fn claim_that_names_this_node_is_written_anew_before_it_is_believed() {
    let book = Book::new(settings("n1", false));
    let content = updated(plan(&book, Some(&held_by("n1", 3)), false, &nothing()));
    assert_eq!((content.epoch, content.binding), (4, Some(bound(false))));
}

#[test]
fn binding_that_arrives_with_its_claim_is_held_with_its_mac() {
    let mut book = Book::new(settings("n2", false));
    let answer = held_by("n2", 9);
    let write = ClaimWrite::Create(answer.content.clone());
    let changes = book.claim_written(PLACE.get(), &write, Some(&answer), at(0));
    book.apply(&changes);
    let grant = book.must_allocate(&request("t/app-0", "s1"), at(1));
    let interface = &grant.interfaces[0];
    assert_eq!(interface.addresses[0].address.addr(), ip("10.0.0.10"));
    assert_eq!(interface.mac, bound(false).mac);
}

#[test]
fn address_whose_binding_is_not_taken_in_rests_before_it_is_anybody_elses() {
    let mut book = Book::new(settings("n2", false));
    // Its identity has another address here by now.
    let mut first = held_by("n2", 9);
    first.content.binding = first.content.binding.map(|it| ClaimedBinding {
        addresses: vec![ip("10.0.0.11")],
        ..it
    });
    for (answer, address) in [(first, "10.0.0.11"), (held_by("n2", 9), "10.0.0.10")] {
        let write = ClaimWrite::Create(answer.content.clone());
        let place = (&network("external"), ip(address));
        let changes = book.claim_written(place, &write, Some(&answer), at(0));
        book.apply(&changes);
    }
    assert_eq!(book.must_get("t/app-0", "s1", at(1)), ip("10.0.0.11"));
    let refused = book.allocate(&request("t/other", "s2"), at(1)).unwrap_err();
    assert!(refused.to_string().contains("quarantine"), "{refused}");
}

#[test]
fn binding_with_two_addresses_is_used_only_when_both_have_come() {
    let mut book = Book::new(settings("n2", true));
    let both = ClaimedBinding {
        addresses: vec![ip("10.0.0.10"), ip("fd00::10")],
        ..bound(false)
    };
    let mut answer = claim("n2", 9);
    answer.content.binding = Some(both.clone());
    let write = ClaimWrite::Create(answer.content.clone());
    let external = network("external");
    let changes = book.claim_written((&external, ip("fd00::10")), &write, Some(&answer), at(0));
    book.apply(&changes);
    let refused = book.allocate(&request("t/app-0", "s1"), at(0)).unwrap_err();
    assert!(refused.to_string().contains("10.0.0.10"), "{refused}");
    let changes = book.claim_written((&external, ip("10.0.0.10")), &write, Some(&answer), at(0));
    book.apply(&changes);
    let grant = book.must_allocate(&request("t/app-0", "s1"), at(1));
    let granted = grant.interfaces[0].addresses.iter();
    let granted: Vec<_> = granted.map(|it| it.address.addr()).collect();
    assert_eq!(granted, both.addresses);
}

#[test]
fn another_nodes_claim_is_asked_for_only_when_its_identity_is_wanted() {
    let book = Book::new(settings("n2", false));
    let claim = held_by("n1", 3);
    assert_eq!(
        plan(&book, Some(&claim), false, &wanting_address()),
        ClaimPlan::Idle
    );
    let content = updated(plan(&book, Some(&claim), false, &wanting_identity()));
    assert_eq!(content.asked_by.unwrap().as_str(), "n2");
}

#[test]
fn question_of_another_node_is_replaced_only_when_it_has_settled() {
    let book = Book::new(settings("n2", false));
    let mut claim = held_by("n1", 3);
    claim.content.asked_by = Some("n3".parse().unwrap());
    let wishes = wanting_identity();
    assert!(matches!(
        plan(&book, Some(&claim), false, &wishes),
        ClaimPlan::Wait(ClaimWait::Asked { .. })
    ));
    let settled = sight(Some(&claim), false, ASK_SETTLES);
    let content = updated(book.plan_claim(&settled, &wishes, at(0)));
    assert_eq!(content.asked_by.unwrap().as_str(), "n2");
}

#[test]
fn holder_forgets_before_it_gives() {
    let mut book = owner();
    book.must_get("t/app-0", "s1", at(0));
    let mut seen = held_by("n1", 3);
    seen.content.asked_by = Some("n2".parse().unwrap());
    // A sandbox has it: the question waits; the API server learns who has it.
    let content = updated(plan(&book, Some(&seen), false, &nothing()));
    assert_eq!(
        (content.node.as_str(), content.binding),
        ("n1", Some(bound(true)))
    );
    book.must_release("s1", at(1));
    let planned = plan(&book, Some(&seen), false, &nothing());
    commit(&mut book, planned);
    assert!(book.allocate(&request("t/app-0", "s2"), at(2)).is_err());
    let content = updated(plan(&book, Some(&seen), false, &nothing()));
    assert_eq!((content.node.as_str(), content.epoch), ("n2", 4));
    assert_eq!(content.binding, Some(bound(false)));
}

#[test]
fn old_view_never_ends_a_tenure() {
    let book = owner();
    for seen in [None, Some(claim("n2", 2)), Some(claim("n1", 2))] {
        let planned = plan(&book, seen.as_ref(), false, &nothing());
        assert_eq!(planned, ClaimPlan::Look, "{seen:?}");
    }
}

#[test]
fn rebooted_node_hands_out_nothing_until_it_has_looked() {
    let mut book = owner();
    let address = book.must_get("t/app-0", "s1", at(0));
    let rebooted = book.reboot(at(1));
    book.apply(&rebooted.changes);
    assert!(book.allocate(&request("t/app-0", "s2"), at(2)).is_err());
    let seen = held_by("n1", 3);
    assert_eq!(plan(&book, Some(&seen), false, &nothing()), ClaimPlan::Look);
    let planned = plan(&book, Some(&seen), true, &nothing());
    commit(&mut book, planned);
    assert_eq!(book.must_get("t/app-0", "s2", at(3)), address);
}

#[test]
fn rebooted_node_that_was_declared_dead_forgets() {
    let mut book = owner();
    book.must_get("t/app-0", "s1", at(0));
    let rebooted = book.reboot(at(1));
    book.apply(&rebooted.changes);
    let mut fenced = held_by("n1", 3);
    fenced.fenced = true;
    assert_eq!(
        plan(&book, Some(&fenced), true, &nothing()),
        ClaimPlan::Wait(ClaimWait::FencedHere)
    );
    let planned = plan(&book, Some(&held_by("n2", 4)), true, &nothing());
    let changes = commit(&mut book, planned);
    let lost = |change: &Change| matches!(change, Change::Audit(it) if it.ended == Ended::Lost);
    assert!(changes.iter().any(lost));
    assert!(book.allocate(&request("t/app-0", "s2"), at(2)).is_err());
}

#[test]
fn fenced_claim_is_taken_when_the_fence_has_settled() {
    let book = Book::new(settings("n2", false));
    let mut fenced = held_by("n1", 3);
    fenced.fenced = true;
    let wishes = wanting_identity();
    assert!(matches!(
        plan(&book, Some(&fenced), false, &wishes),
        ClaimPlan::Wait(ClaimWait::Fence(_))
    ));
    let settled = sight(Some(&fenced), false, FENCE_SETTLES);
    let content = updated(book.plan_claim(&settled, &wishes, at(0)));
    assert_eq!((content.node.as_str(), content.epoch), ("n2", 4));
}

#[test]
fn surplus_is_forgotten_then_deleted() {
    let mut book = owner();
    let wishes = Wishes {
        surplus: [PLACE.key()].into(),
        ..nothing()
    };
    let seen = claim("n1", 3);
    let planned = plan(&book, Some(&seen), false, &wishes);
    commit(&mut book, planned);
    assert!(book.allocate(&request("t/app-0", "s1"), at(0)).is_err());
    let delete = plan(&book, Some(&seen), false, &nothing());
    let ClaimPlan::Write(write @ ClaimWrite::Delete { .. }) = delete else {
        panic!("{delete:?}")
    };
    let changes = book.claim_written(PLACE.get(), &write, None, at(1));
    book.apply(&changes);
    assert_eq!(book, Book::new(settings("n1", false)));
}

#[test]
fn what_is_in_no_pool_any_more_is_given_back() {
    let none = std::collections::BTreeMap::new();
    let kept = owner().claim_ahead(2, |_| 0, &none).surplus;
    assert!(kept.is_empty());
    let narrow = pool("ext4", "external", "10.0.0.0/24", &["10.0.0.11-10.0.0.19"]);
    let narrow = Settings {
        pools: vec![narrow],
        ..settings("n1", false).settings().clone()
    };
    let mut book = Book::new(valid(narrow));
    let create = ClaimWrite::Create(claim("n1", 3).content);
    let changes = book.claim_written(PLACE.get(), &create, Some(&claim("n1", 3)), at(0));
    book.apply(&changes);
    let surplus = book.claim_ahead(2, |_| 0, &none).surplus;
    assert_eq!(surplus, [PLACE.key()].into());
}

#[test]
fn nodes_begin_at_different_places_and_know_when_a_pool_is_short() {
    let none = std::collections::BTreeMap::new();
    let first = |node: &str| {
        let ahead = Book::new(settings(node, true)).claim_ahead(2, |_| 0, &none);
        assert_eq!(ahead.claim.len(), 4, "two of each family");
        assert!(ahead.short.is_empty());
        ahead.claim
    };
    let all: BTreeSet<_> = (1..20).map(|it| first(&format!("n{it}"))).collect();
    assert!(all.len() > 3, "{all:?}");
    let book = Book::new(settings("n1", false));
    let ahead = book.claim_ahead(2, |_| 9, &none);
    assert_eq!((ahead.claim.len(), ahead.short.len()), (10, 1));
}

#[test]
fn other_nodes_idle_addresses_are_asked_for_when_nothing_else_is_left_for_a_pod() {
    let all = (10..=19).map(|it| ip(&format!("10.0.0.{it}")));
    let others = all.map(|address| ((network("external"), address), address != ip("10.0.0.17")));
    let others = others.collect();
    let book = Book::new(settings("n1", false));
    assert!(
        book.claim_ahead(2, |_| 0, &others).claim.is_empty(),
        "warm ones are not worth it"
    );
    let claim = book.claim_ahead(2, |_| 1, &others).claim;
    assert_eq!(claim, [(network("external"), ip("10.0.0.17"))].into());
}

#[test]
fn release_mark_ends_a_held_binding_only() {
    let mut book = owner();
    let address = book.must_get("t/app-0", "s1", at(0));
    let marked = |attached| {
        let mut claim = claim("n1", 3);
        claim.content.binding = Some(bound(attached));
        claim.released = true;
        claim
    };
    // A sandbox has it: the mark came too late, and goes with the next write.
    let content = updated(plan(&book, Some(&marked(true)), true, &nothing()));
    assert_eq!(content.binding, Some(bound(true)));
    book.must_release("s1", at(1));
    assert_eq!(
        plan(&book, Some(&marked(false)), false, &nothing()),
        ClaimPlan::Look
    );
    let planned = plan(&book, Some(&marked(false)), true, &nothing());
    let changes = commit(&mut book, planned);
    let ended = changes.iter().find_map(|change| match change {
        Change::Audit(entry) => Some(entry.ended),
        _ => None,
    });
    assert_eq!(ended, Some(Ended::Unwanted));
    let rests = book.holder(&network("external"), address);
    assert!(
        matches!(rests, Some(crate::Holder::Quarantined { .. })),
        "{rests:?}"
    );
    let content = updated(plan(&book, Some(&marked(false)), true, &nothing()));
    assert_eq!(content.binding, None);
}

#[test]
fn deleted_claim_lets_its_held_binding_go_and_follows_after_the_quarantine() {
    let mut book = owner();
    book.must_get("t/app-0", "s1", at(0));
    let deleted = |binding: Option<ClaimedBinding>| {
        let mut claim = claim("n1", 3);
        claim.content.binding = binding;
        claim.deleting = true;
        claim
    };
    let planned = plan(&book, Some(&deleted(Some(bound(true)))), true, &nothing());
    assert_eq!(planned, ClaimPlan::Wait(ClaimWait::Deleting));
    book.must_release("s1", at(1));
    let planned = plan(&book, Some(&deleted(Some(bound(false)))), true, &nothing());
    commit(&mut book, planned);
    assert_eq!(
        updated(plan(
            &book,
            Some(&deleted(Some(bound(false)))),
            true,
            &nothing()
        ))
        .binding,
        None
    );
    assert_eq!(
        plan(&book, Some(&deleted(None)), true, &nothing()),
        ClaimPlan::Wait(ClaimWait::Deleting)
    );
    book.must_expire(at(1000));
    let planned = plan(&book, Some(&deleted(None)), true, &nothing());
    commit(&mut book, planned);
    let planned = plan(&book, Some(&deleted(None)), true, &nothing());
    assert!(
        matches!(planned, ClaimPlan::Write(ClaimWrite::Delete { .. })),
        "{planned:?}"
    );
}

#[test]
fn deadline_that_differs_by_what_clocks_differ_is_not_written_again() {
    let mut book = owner();
    let minute = PodPolicy {
        hold: Some(crate::Hold::For(Duration::from_secs(600))),
        owner: None,
    };
    let asked = request("t/app-0", "s1");
    let allocated = book.allocate_for(&asked, &minute, at(0)).unwrap();
    book.apply(&allocated.changes);
    book.must_release("s1", at(1));
    let held_until = |seconds| {
        let mut claim = claim("n1", 3);
        claim.content.binding = Some(ClaimedBinding {
            policy: Some(Box::new(minute.clone())),
            until: Some(at(seconds)),
            ..bound(false)
        });
        claim
    };
    let written = updated(plan(&book, Some(&claim("n1", 3)), true, &nothing()));
    assert_eq!(written.binding, held_until(601).content.binding);
    assert_eq!(
        plan(&book, Some(&held_until(600)), true, &nothing()),
        ClaimPlan::Idle
    );
    assert_eq!(
        updated(plan(&book, Some(&held_until(660)), true, &nothing())),
        written
    );
}

#[test]
fn address_that_another_node_may_use_is_in_no_conflict_when_it_is_heard() {
    let (network, address) = PLACE.key();
    let sighting = |address| crate::Sighting {
        network: network.clone(),
        address,
        mac: "02:00:00:00:00:99".parse().unwrap(),
    };
    let nobody = Book::new(settings("n1", false));
    assert!(!nobody.conflict(&sighting(address), at(0)).foreign);
    let owner = owner();
    assert!(owner.conflict(&sighting(address), at(0)).foreign);
    let others = sighting(ip("10.0.0.11"));
    assert!(!owner.conflict(&others, at(0)).foreign);
}
