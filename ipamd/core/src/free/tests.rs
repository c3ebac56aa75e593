use super::*;
use crate::fixture::{at, book, ip, mac, network, pool, settings, valid};
use crate::{Change, Ended, ReserveRequest, Sighting, ViewState};

fn free(address: &str, quarantine: bool) -> FreeRequest {
    FreeRequest {
        network: None,
        address: ip(address),
        quarantine,
    }
}

#[test]
fn held_address_is_free_at_once_or_rests_as_asked() {
    for (quarantine, after) in [(false, None), (true, Some(ViewState::Quarantined))] {
        let mut book = book();
        book.must_get("prod/db-0", "s1", at(0));
        book.must_release("s1", at(1));
        let plan = book.free(&free("10.20.1.10", quarantine), at(2)).unwrap();
        assert_eq!(plan.was.state, ViewState::Held);
        assert!(matches!(&plan.changes[0], Change::Audit(entry) if entry.ended == Ended::Freed));
        book.apply(&plan.changes);
        let state = book.who(ip("10.20.1.10")).first().map(|view| view.state);
        assert_eq!(state, after);
    }
}

#[test]
fn attached_and_unused_addresses_are_refused() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    let attached = book.free(&free("10.20.1.10", false), at(1)).unwrap_err();
    assert!(matches!(attached, FreeError::Attached { .. }), "{attached}");
    let unused = book.free(&free("10.20.1.11", false), at(1)).unwrap_err();
    assert_eq!(unused.reason(), Reason::NotFound);
}

#[test]
fn quarantine_set_aside_and_conflict_can_be_ended() {
    let mut book = book();
    book.must_get("prod/web-x", "s1", at(0));
    book.must_release("s1", at(0));
    let aside = ReserveRequest {
        network: network("external"),
        address: Some(ip("10.20.1.11")),
        identity: None,
        mac: None,
        note: String::new(),
    };
    let changes = book.reserve(&aside, at(0)).unwrap().changes;
    book.apply(&changes);
    let sighting = Sighting {
        network: network("external"),
        address: ip("10.20.1.12"),
        mac: mac("02:00:00:00:00:99"),
    };
    let changes = book.conflict(&sighting, at(0)).changes;
    book.apply(&changes);
    assert_eq!(book.pool_status()[0].free, 1);
    for address in ["10.20.1.10", "10.20.1.11", "10.20.1.12"] {
        let plan = book.free(&free(address, false), at(1)).unwrap();
        book.apply(&plan.changes);
        assert!(book.who(ip(address)).is_empty(), "{address}");
    }
    assert_eq!(book.pool_status()[0].free, 4);
    assert_eq!(
        book.must_get("a/x", "s2", at(2)),
        ip("10.20.1.12"),
        "never used comes first"
    );
}

#[test]
fn address_known_in_two_networks_needs_the_network() {
    let mut settings = settings();
    settings
        .pools
        .push(pool("dmz-a", "dmz", "10.20.1.0/24", &["10.20.1.10"]));
    let mut book = Book::new(valid(settings));
    for name in ["external", "dmz"] {
        let aside = ReserveRequest {
            network: network(name),
            address: Some(ip("10.20.1.10")),
            identity: None,
            mac: None,
            note: String::new(),
        };
        let changes = book.reserve(&aside, at(0)).unwrap().changes;
        book.apply(&changes);
    }
    let error = book.free(&free("10.20.1.10", false), at(1)).unwrap_err();
    assert!(matches!(error, FreeError::Ambiguous { .. }), "{error}");
    let named = FreeRequest {
        network: Some(network("dmz")),
        ..free("10.20.1.10", false)
    };
    let plan = book.free(&named, at(1)).unwrap();
    book.apply(&plan.changes);
    assert_eq!(book.who(ip("10.20.1.10")).len(), 1);
}
