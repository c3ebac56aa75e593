use super::*;
use crate::ViewState;
use crate::fixture::{at, attachment, book, ip, network, request, wish};

fn found(sandbox: &str, address: &str, identity: Option<&str>) -> AdoptedInterface {
    AdoptedInterface {
        attachment: attachment(sandbox),
        ifname: "eth0".parse().unwrap(),
        network: network("external"),
        mac: MacAddr::derived(ip(address)),
        addresses: vec![ip(address)],
        identity: identity.map(|identity| identity.parse().unwrap()),
        pod: None,
        pod_uid: None,
    }
}

fn adopt(book: &mut Book, interface: &AdoptedInterface) -> Identity {
    let plan = book.adopt(interface, at(0)).unwrap();
    book.apply(&plan.changes);
    let again = book.adopt(interface, at(1)).unwrap();
    assert_eq!(again.changes, [], "adopting twice changes nothing");
    assert_eq!(again.identity, plan.identity);
    plan.identity
}

#[test]
fn unnamed_interface_keeps_its_address_from_everybody() {
    let mut book = book();
    let identity = adopt(&mut book, &found("s1", "10.20.1.10", None));
    assert_eq!(identity.as_str(), "sandbox:s1");
    assert_eq!(book.must_get("prod/db-0", "s2", at(1)), ip("10.20.1.11"));
    book.must_release("s1", at(2));
    assert_eq!(book.who(ip("10.20.1.10"))[0].state, ViewState::Quarantined);
}

#[test]
fn repeated_add_names_the_adopted_interface() {
    let mut book = book();
    adopt(&mut book, &found("s1", "10.20.1.12", None));
    let grant = book.must_allocate(&request("prod/db-0", "s1"), at(1));
    assert_eq!(
        grant.interfaces[0].addresses[0].address.addr(),
        ip("10.20.1.12")
    );
    book.must_release("s1", at(2));
    let view = &book.who(ip("10.20.1.12"))[0];
    assert_eq!(view.state, ViewState::Held);
    assert_eq!(view.identity.as_ref().unwrap().as_str(), "prod/db-0");
}

#[test]
fn later_evidence_names_the_adopted_interface() {
    let mut book = book();
    adopt(&mut book, &found("s1", "10.20.1.12", None));
    let identity = adopt(&mut book, &found("s1", "10.20.1.12", Some("prod/db-0")));
    assert_eq!(identity.as_str(), "prod/db-0");
    assert_eq!(book.why(&identity)[0].state, ViewState::Attached);
    assert_eq!(book.why(&"sandbox:s1".parse().unwrap()), []);
    book.must_release("s1", at(2));
    assert_eq!(book.why(&identity)[0].state, ViewState::Held);
}

#[test]
fn held_binding_is_attached_again_by_its_interface() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    book.must_release("s1", at(0));
    for identity in [None, Some("prod/db-0")] {
        let mut book = book.clone();
        let adopted = adopt(&mut book, &found("s1", "10.20.1.10", identity));
        assert_eq!(adopted.as_str(), "prod/db-0");
        assert_eq!(book.who(ip("10.20.1.10"))[0].state, ViewState::Attached);
    }
}

#[test]
fn address_of_another_identity_is_refused() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    let error = book
        .adopt(&found("s2", "10.20.1.10", Some("prod/db-1")), at(1))
        .unwrap_err();
    assert!(matches!(error, AdoptError::AddressTaken { .. }), "{error}");
    let moved_on = book.adopt(&found("s0", "10.20.1.10", None), at(1));
    assert!(matches!(
        moved_on,
        Err(AdoptError::AttachedElsewhere { .. })
    ));
}

#[test]
fn held_address_gives_way_to_the_one_that_exists() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    book.must_release("s1", at(0));
    let identity = adopt(&mut book, &found("s2", "10.20.1.13", Some("prod/db-0")));
    let states: Vec<_> = book
        .why(&identity)
        .into_iter()
        .map(|view| (view.address, view.state))
        .collect();
    assert_eq!(
        states,
        [
            (ip("10.20.1.13"), ViewState::Attached),
            (ip("10.20.1.10"), ViewState::Quarantined)
        ]
    );
}

#[test]
fn address_outside_every_pool_is_remembered_and_not_handed_out() {
    let mut book = book();
    let identity = adopt(&mut book, &found("s1", "10.99.0.1", Some("prod/db-0")));
    assert_eq!(book.strays().len(), 1);
    let error = book
        .allocate(&request("prod/db-0", "s2"), at(1))
        .unwrap_err();
    assert!(matches!(error, crate::AllocateError::BoundOutside { .. }));
    assert_eq!(book.why(&identity)[0].pool, None);
}

#[test]
fn two_unnamed_interfaces_of_one_sandbox_have_two_names() {
    let mut book = book();
    let first = adopt(&mut book, &found("s1", "10.20.1.10", None));
    let mut second = found("s1", "10.20.1.11", None);
    second.attachment.ifname = "eth1".parse().unwrap();
    second.ifname = "eth1".parse().unwrap();
    assert_ne!(adopt(&mut book, &second), first);
}

#[test]
fn interface_without_addresses_or_with_two_of_a_family_is_refused() {
    let book = book();
    for addresses in [vec![], vec![ip("10.20.1.10"), ip("10.20.1.11")]] {
        let interface = AdoptedInterface {
            addresses,
            ..found("s1", "10.20.1.10", None)
        };
        let error = book.adopt(&interface, at(0)).unwrap_err();
        assert!(matches!(error, AdoptError::Addresses { .. }), "{error}");
    }
}

#[test]
fn address_set_aside_or_resting_is_taken_by_the_interface_that_has_it() {
    let mut book = book();
    book.must_allocate(&wish("prod/web-x", "s1", "10.20.1.12"), at(0));
    book.must_release("s1", at(0));
    let identity = adopt(&mut book, &found("s1", "10.20.1.12", None));
    assert_eq!(identity.as_str(), "sandbox:s1");
    assert_eq!(book.next_deadline(), None);
}
