use super::*;
use crate::ViewState;
use crate::fixture::{at, book, ip, mac, network};

fn reservation(identity: Option<&str>, address: Option<&str>) -> ReserveRequest {
    ReserveRequest {
        network: network("external"),
        address: address.map(ip),
        identity: identity.map(|identity| identity.parse().unwrap()),
        mac: None,
        note: "ticket 7".to_owned(),
    }
}

fn reserve(book: &mut Book, request: &ReserveRequest) -> Vec<BindingView> {
    let plan = book.reserve(request, at(0)).unwrap();
    book.apply(&plan.changes);
    for view in &plan.bindings {
        assert_eq!(book.who(view.address), std::slice::from_ref(view));
    }
    plan.bindings
}

#[test]
fn reserved_address_waits_for_its_identity_and_comes_back_to_it() {
    let mut book = book();
    let reserved = reserve(
        &mut book,
        &reservation(Some("prod/web-x"), Some("10.20.1.12")),
    );
    assert_eq!(reserved[0].state, ViewState::Reserved);
    assert_eq!(reserved[0].note, "ticket 7");
    assert_eq!(book.must_get("prod/web-x", "s1", at(1)), ip("10.20.1.12"));
    book.must_release("s1", at(2));
    assert_eq!(book.who(ip("10.20.1.12"))[0].state, ViewState::Reserved);
}

#[test]
fn address_set_aside_is_nobodys() {
    let mut book = book();
    let aside = reserve(&mut book, &reservation(None, None));
    assert_eq!(aside[0].address, ip("10.20.1.10"));
    assert_eq!(aside[0].identity, None);
    assert_eq!(book.must_get("prod/db-0", "s1", at(1)), ip("10.20.1.11"));
    let again = book.reserve(&reservation(Some("x/y"), Some("10.20.1.10")), at(2));
    assert_eq!(again.unwrap_err().reason(), Reason::AddressTaken);
}

#[test]
fn living_binding_becomes_a_reservation_and_keeps_its_address() {
    let mut book = book();
    book.must_get("lab/job-x", "s1", at(0));
    book.must_release("s1", at(0));
    let differs = book.reserve(&reservation(Some("lab/job-x"), Some("10.20.1.13")), at(1));
    assert_eq!(differs.unwrap_err().reason(), Reason::AddressTaken);
    let kept = reserve(&mut book, &reservation(Some("lab/job-x"), None));
    assert_eq!((kept[0].address, kept[0].until), (ip("10.20.1.10"), None));
    assert_eq!(book.next_deadline(), None);
}

#[test]
fn mac_needs_an_identity() {
    let mut request = reservation(None, None);
    request.mac = Some(mac("02:00:00:00:00:01"));
    let error = book().reserve(&request, at(0)).unwrap_err();
    assert_eq!(error, ReserveError::MacWithoutIdentity);
    request.identity = Some("prod/db-0".parse().unwrap());
    let reserved = reserve(&mut book(), &request);
    assert_eq!(reserved[0].mac, request.mac);
}
