use proto_ids::MacAddr;

use super::*;
use crate::ViewState;
use crate::fixture::{at, book, ip, mac, network};

fn seen(address: &str, mac: MacAddr) -> Sighting {
    Sighting {
        network: network("external"),
        address: ip(address),
        mac,
    }
}

fn foreign() -> MacAddr {
    mac("02:00:00:00:00:99")
}

#[test]
fn own_mac_is_not_foreign_in_any_state() {
    let mut book = book();
    let own = MacAddr::derived(ip("10.20.1.10"));
    book.must_get("prod/web-x", "s1", at(0));
    assert!(!book.conflict(&seen("10.20.1.10", own), at(1)).foreign);
    book.must_release("s1", at(1));
    assert!(!book.conflict(&seen("10.20.1.10", own), at(2)).foreign);
    book.must_expire(at(9_999));
    let on_another_node = book.conflict(&seen("10.20.1.10", own), at(9_999));
    assert!(on_another_node.foreign);
}

#[test]
fn addresses_that_are_not_ours_do_not_concern_us() {
    let book = book();
    for address in ["10.20.1.1", "10.20.1.99", "192.168.0.1", "fd00::1"] {
        assert!(
            !book.conflict(&seen(address, foreign()), at(0)).foreign,
            "{address}"
        );
    }
    let elsewhere = Sighting {
        network: network("dmz"),
        ..seen("10.20.1.10", foreign())
    };
    assert!(!book.conflict(&elsewhere, at(0)).foreign);
}

#[test]
fn conflict_names_the_holder_and_is_stored_once() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    let plan = book.conflict(&seen("10.20.1.10", foreign()), at(1));
    assert!(matches!(plan.holder, Some(Holder::Attached { .. })));
    book.apply(&plan.changes);
    let again = book.conflict(&seen("10.20.1.10", foreign()), at(2));
    assert!(again.foreign && again.changes.is_empty());
    let conflict = &book.conflicts()[0];
    assert_eq!((conflict.foreign_mac, conflict.since), (foreign(), at(1)));
    let view = &book.who(ip("10.20.1.10"))[0];
    assert_eq!(view.state, ViewState::Attached);
    assert!(view.note.contains("02:00:00:00:00:99"));
}

#[test]
fn cleared_address_is_handed_out_again() {
    let mut book = book();
    let plan = book.conflict(&seen("10.20.1.10", foreign()), at(0));
    book.apply(&plan.changes);
    assert_eq!(book.pool_status()[0].conflicting, 1);
    let changes = book.clear_conflict(&network("external"), ip("10.20.1.10"));
    book.apply(&changes);
    assert_eq!(book.pool_status()[0].conflicting, 0);
    assert_eq!(book.must_get("prod/db-0", "s1", at(1)), ip("10.20.1.10"));
    let nothing = book.clear_conflict(&network("external"), ip("10.20.1.10"));
    assert_eq!(nothing, []);
}
