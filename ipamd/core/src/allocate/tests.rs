use std::time::Duration;

use proto_ids::{Attachment, MacAddr, Route};

use super::*;
use crate::fixture::{
    at, attachment, book, interface, ip, mac, network, pool, request, settings, valid, wish,
};
use crate::{Holder, Reason, Sighting};

fn refusal(book: &Book, request: &AllocateRequest) -> AllocateError {
    let error = book.allocate(request, at(0)).unwrap_err();
    assert!(!error.advice().is_empty());
    error
}

fn reason(book: &Book, request: &AllocateRequest) -> Reason {
    refusal(book, request).reason()
}

fn dispute(book: &mut Book, address: &str) {
    let sighting = Sighting {
        network: network("external"),
        address: ip(address),
        mac: mac("02:00:00:00:00:99"),
    };
    let plan = book.conflict(&sighting, at(0));
    book.apply(&plan.changes);
}

#[test]
fn grant_carries_what_the_pool_says() {
    let mut settings = settings();
    settings.pools[0].routes = vec![Route {
        dst: "10.0.0.0/8".parse().unwrap(),
        via: Some(ip("10.20.1.254")),
        metric: Some(50),
        mtu: None,
    }];
    let routes = settings.pools[0].routes.clone();
    let mut book = Book::new(valid(settings));
    let grant = book.must_allocate(&request("prod/db-0", "s1"), at(0));
    let [interface] = &*grant.interfaces else {
        panic!("one interface");
    };
    assert_eq!(grant.identity.as_str(), "prod/db-0");
    assert_eq!(interface.addresses[0].address.to_string(), "10.20.1.10/24");
    assert_eq!(interface.addresses[0].gateway, Some(ip("10.20.1.1")));
    assert_eq!(interface.addresses[0].pool.as_str(), "external-a");
    assert_eq!(interface.rack.as_str(), "a");
    assert_eq!(interface.mac, MacAddr::derived(ip("10.20.1.10")));
    assert_eq!(interface.routes, routes);
}

#[test]
fn never_used_addresses_come_first_and_then_those_used_longest_ago() {
    let mut book = book();
    for (pod, sandbox) in [("a/x", "s1"), ("a/y", "s2")] {
        book.must_get(pod, sandbox, at(0));
    }
    book.must_release("s2", at(1));
    book.must_release("s1", at(2));
    book.must_expire(at(10_000));
    let order = ["a/1", "a/2", "a/3", "a/4"].map(|pod| {
        let sandbox = pod.replace('/', "");
        book.must_get(pod, &sandbox, at(10_000)).to_string()
    });
    assert_eq!(
        order,
        ["10.20.1.12", "10.20.1.13", "10.20.1.11", "10.20.1.10"]
    );
}

#[test]
fn quarantined_address_goes_back_to_its_identity_and_to_nobody_else() {
    let mut book = book();
    let mut custom = request("a/web", "s1");
    custom.interfaces[0].mac = Some(mac("02:00:00:00:00:01"));
    book.must_allocate(&custom, at(0));
    book.must_release("s1", at(1));
    let taken = refusal(&book, &wish("a/other", "s2", "10.20.1.10"));
    assert!(matches!(
        taken,
        AllocateError::AddressTaken {
            holder: Holder::Quarantined { .. },
            ..
        }
    ));
    assert_eq!(book.must_get("a/other", "s2", at(2)), ip("10.20.1.11"));
    let grant = book.must_allocate(&request("a/web", "s3"), at(3));
    assert_eq!(
        grant.interfaces[0].addresses[0].address.addr(),
        ip("10.20.1.10")
    );
    assert_eq!(grant.interfaces[0].mac, mac("02:00:00:00:00:01"));
}

#[test]
fn newer_sandbox_moves_the_attachment_and_the_late_delete_does_nothing() {
    let mut book = book();
    let first = book.must_get("prod/db-0", "s1", at(0));
    let grant = book.must_allocate(&request("prod/db-0", "s2"), at(1));
    assert_eq!(grant.moved_from, Some(attachment("s1")));
    assert_eq!(grant.interfaces[0].addresses[0].address.addr(), first);
    let late = book.release(&attachment("s1"), at(2));
    assert!(!late.known && late.changes.is_empty());
    assert!(book.release(&attachment("s2"), at(2)).known);
}

#[test]
fn other_interface_of_the_same_sandbox_is_refused() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    let mut second = request("prod/db-0", "s1");
    second.attachment.ifname = "eth1".parse().unwrap();
    second.interfaces[0].ifname = "eth1".parse().unwrap();
    assert_eq!(reason(&book, &second), Reason::AlreadyAttached);
    let mut other_name = request("prod/db-0", "s1");
    other_name.attachment.cni_network = "other".parse().unwrap();
    assert_eq!(reason(&book, &other_name), Reason::AlreadyAttached);
}

#[test]
fn attachment_of_one_pod_is_not_given_to_another() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    let error = refusal(&book, &request("prod/db-1", "s1"));
    assert!(matches!(error, AllocateError::AttachmentTaken { .. }));
}

#[test]
fn named_identity_of_a_living_pod_is_not_taken_by_another_pod() {
    let mut book = book();
    let named = |pod, sandbox| AllocateRequest {
        identity: Some("vip".parse().unwrap()),
        ..request(pod, sandbox)
    };
    let first = book.must_allocate(&named("prod/blue-x", "s1"), at(0));
    let error = refusal(&book, &named("prod/green-x", "s2"));
    assert!(
        matches!(error, AllocateError::IdentityInUse { .. }),
        "{error}"
    );
    book.must_release("s1", at(1));
    let second = book.must_allocate(&named("prod/green-x", "s2"), at(2));
    assert_eq!(first.interfaces, second.interfaces);
}

#[test]
fn static_request_is_honoured_where_it_can_be() {
    let mut book = book();
    let grant = book.must_allocate(&wish("prod/db-0", "s1", "10.20.1.12"), at(0));
    assert_eq!(
        grant.interfaces[0].addresses[0].address.addr(),
        ip("10.20.1.12")
    );
    book.must_release("s1", at(1));
    for (request, expected) in [
        (wish("prod/db-1", "s2", "10.20.1.12"), Reason::AddressTaken),
        (wish("prod/db-0", "s2", "10.20.1.13"), Reason::AddressTaken),
        (
            wish("prod/db-1", "s2", "10.20.1.14"),
            Reason::AddressOutside,
        ),
        (wish("prod/db-1", "s2", "10.20.1.1"), Reason::AddressOutside),
        (
            wish("prod/db-1", "s2", "192.168.0.1"),
            Reason::AddressOutside,
        ),
        (wish("prod/db-1", "s2", "fd00::1"), Reason::AddressOutside),
        (wish("prod/db-0", "s2", "fd00::1"), Reason::AddressOutside),
    ] {
        assert_eq!(reason(&book, &request), expected, "{request:?}");
    }
    let differs = refusal(&book, &wish("prod/db-0", "s2", "10.20.1.13"));
    assert!(differs.to_string().contains("10.20.1.12"), "{differs}");
    assert!(differs.advice().contains("berth-ipamd release 10.20.1.12"));
    book.must_allocate(&wish("prod/db-0", "s2", "10.20.1.12"), at(2));
}

#[test]
fn mac_is_unique_in_its_network_and_never_changes_while_the_binding_lives() {
    let mut book = book();
    let with_mac = |pod, sandbox, text| {
        let mut request = request(pod, sandbox);
        request.interfaces[0].mac = Some(mac(text));
        request
    };
    book.must_allocate(&with_mac("prod/db-0", "s0", "02:00:00:00:00:01"), at(0));
    let taken = refusal(&book, &with_mac("prod/db-1", "s1", "02:00:00:00:00:01"));
    assert!(matches!(taken, AllocateError::MacTaken { .. }), "{taken}");
    let differs = refusal(&book, &with_mac("prod/db-0", "s2", "02:00:00:00:00:02"));
    assert!(
        matches!(differs, AllocateError::MacDiffers { .. }),
        "{differs}"
    );
    // The one that belongs to the address that is next in line.
    let derived = MacAddr::derived(ip("10.20.1.12"));
    book.must_allocate(&with_mac("prod/db-1", "s1", &derived.to_string()), at(1));
    let grant = book.must_allocate(&request("prod/db-2", "s2"), at(2));
    let interface = &grant.interfaces[0];
    assert_eq!(interface.addresses[0].address.addr(), ip("10.20.1.12"));
    assert_ne!(interface.mac, derived);
    assert!(interface.mac.is_unicast());
}

#[test]
fn conflicting_address_is_avoided_unless_somebody_is_bound_to_it() {
    let mut book = book();
    dispute(&mut book, "10.20.1.10");
    assert_eq!(book.must_get("prod/db-0", "s1", at(1)), ip("10.20.1.11"));
    assert_eq!(
        reason(&book, &wish("prod/db-1", "s2", "10.20.1.10")),
        Reason::AddressConflict
    );
    book.must_release("s1", at(2));
    dispute(&mut book, "10.20.1.11");
    let error = refusal(&book, &request("prod/db-0", "s2"));
    assert!(matches!(
        error,
        AllocateError::AddressConflict { foreign_mac, .. } if foreign_mac == mac("02:00:00:00:00:99")
    ));
}

#[test]
fn exhausted_network_says_what_holds_its_addresses_and_when_the_next_is_free() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    book.must_release("s1", at(1));
    book.must_get("prod/web-x", "s2", at(0));
    book.must_release("s2", at(2));
    book.must_get("prod/db-1", "s3", at(3));
    dispute(&mut book, "10.20.1.13");
    let error = refusal(&book, &request("prod/late", "s4"));
    let AllocateError::Exhausted {
        attached,
        held,
        quarantined,
        conflicting,
        next_free,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((attached, held, quarantined, conflicting), (1, 1, 1, 1));
    assert_eq!(next_free, Some(at(602)));
    assert_eq!(book.exhausted_networks(&[]), [network("external")]);
}

#[test]
fn all_interfaces_are_granted_or_none() {
    let mut settings = settings();
    settings.pools.push(pool(
        "internal-a",
        "internal",
        "10.30.0.0/30",
        &["10.30.0.1"],
    ));
    let mut book = Book::new(valid(settings));
    let both = |pod, sandbox| AllocateRequest {
        interfaces: vec![interface("eth0", "external"), interface("net1", "internal")],
        ..request(pod, sandbox)
    };
    let grant = book.must_allocate(&both("prod/db-0", "s1"), at(0));
    assert_eq!(grant.interfaces.len(), 2);
    assert_eq!(reason(&book, &both("prod/db-1", "s2")), Reason::Exhausted);
    assert_eq!(book.list(&crate::ListFilter::default()).len(), 2);
    let released = book.release(&attachment("s1"), at(1));
    assert_eq!(released.addresses, [ip("10.20.1.10"), ip("10.30.0.1")]);
}

#[test]
fn dual_stack_gives_one_address_of_each_family() {
    let mut settings = settings();
    settings
        .pools
        .push(pool("external-a6", "external", "fd00:20:1::/64", &[]));
    let mut book = Book::new(valid(settings));
    let grant = book.must_allocate(&request("prod/db-0", "s1"), at(0));
    let addresses: Vec<_> = grant.interfaces[0]
        .addresses
        .iter()
        .map(|assigned| assigned.address.to_string())
        .collect();
    assert_eq!(addresses, ["10.20.1.10/24", "fd00:20:1::1/64"]);
    assert_eq!(grant.interfaces[0].mac, MacAddr::derived(ip("10.20.1.10")));
}

#[test]
fn family_that_gets_its_first_pool_is_added_at_the_next_attachment() {
    let mut book = book();
    let mut settings = settings();
    book.must_get("prod/db-0", "s1", at(0));
    settings
        .pools
        .push(pool("external-a6", "external", "fd00:20:1::/64", &[]));
    let mut book = book.reconfigure(valid(settings)).unwrap().book;
    let repeated = book.must_allocate(&request("prod/db-0", "s1"), at(1));
    assert_eq!(
        repeated.interfaces[0].addresses.len(),
        1,
        "an answer is not changed"
    );
    let moved = book.must_allocate(&request("prod/db-0", "s2"), at(2));
    assert_eq!(moved.interfaces[0].addresses.len(), 2);
    assert_eq!(moved.interfaces[0].mac, repeated.interfaces[0].mac);
}

#[test]
fn pools_of_one_network_are_used_in_their_order() {
    let mut settings = settings();
    settings.pools[0].ranges = vec!["10.20.1.200".parse().unwrap()];
    settings
        .pools
        .push(pool("second", "external", "10.20.1.0/24", &["10.20.1.5"]));
    let mut book = Book::new(valid(settings));
    assert_eq!(book.must_get("a/x", "s1", at(0)), ip("10.20.1.200"));
    assert_eq!(book.must_get("a/y", "s2", at(0)), ip("10.20.1.5"));
}

#[test]
fn node_that_moved_to_another_rack_gives_new_addresses() {
    let racks = |rack: &str| {
        let mut settings = settings();
        let mut b = pool("external-b", "external", "10.20.2.0/24", &[]);
        b.rack = "b".parse().unwrap();
        settings.pools.push(b);
        settings.rack = rack.parse().unwrap();
        valid(settings)
    };
    let mut book = Book::new(racks("a"));
    book.must_get("prod/db-0", "s1", at(0));
    book.must_release("s1", at(1));
    let mut book = book.reconfigure(racks("b")).unwrap().book;
    let plan = book
        .allocate(&wish("prod/db-0", "s2", "10.20.2.7"), at(2))
        .unwrap();
    let assigned = &plan.grant.interfaces[0];
    assert_eq!(assigned.addresses[0].address.addr(), ip("10.20.2.7"));
    assert_eq!(assigned.rack.as_str(), "b");
    assert!(plan.changes.iter().any(|change| matches!(
        change,
        Change::Audit(entry) if entry.ended == crate::Ended::RackChanged
    )));
    book.apply(&plan.changes);
    let was = &book.who(ip("10.20.1.10"))[0];
    assert_eq!(was.state, crate::ViewState::Quarantined);
}

#[test]
fn network_without_pool_is_refused_with_what_there_is() {
    let book = book();
    let mut lost = request("prod/db-0", "s1");
    lost.interfaces[0].network = network("dmz");
    let error = refusal(&book, &lost);
    assert_eq!(error.reason(), Reason::NoPool);
    assert!(error.to_string().contains("external in rack a"), "{error}");
    assert_eq!(
        book.networks_without_pool(&[network("dmz"), network("external")]),
        [network("dmz")]
    );
}

#[test]
fn request_that_contradicts_itself_is_refused() {
    let book = book();
    let changed = |change: fn(&mut AllocateRequest)| {
        let mut request = request("prod/db-0", "s1");
        change(&mut request);
        reason(&book, &request)
    };
    let cases: [fn(&mut AllocateRequest); 4] = [
        |request| request.interfaces.clear(),
        |request| request.interfaces.push(interface("net1", "external")),
        |request| request.interfaces.push(interface("eth0", "internal")),
        |request| {
            request.interfaces[0].addresses = vec![ip("10.20.1.10"), ip("10.20.1.11")];
        },
    ];
    for case in cases {
        assert_eq!(changed(case), Reason::InvalidRequest);
    }
}

#[test]
fn sandbox_without_pod_is_its_own_identity_and_never_held() {
    let mut book = book();
    book.must_get("", "s1", at(0));
    book.must_release("s1", at(1));
    let was = &book.who(ip("10.20.1.10"))[0];
    assert_eq!(was.state, crate::ViewState::Quarantined);
    assert_eq!(was.identity.as_ref().unwrap().as_str(), "sandbox:s1");
}

#[test]
fn with_fifty_thousand_held_a_plan_is_as_small_as_when_empty() {
    let mut settings = settings();
    settings.pools = vec![pool("wide", "external", "10.0.0.0/12", &[])];
    settings.pools[0].quarantine = Duration::ZERO;
    let mut book = Book::new(valid(settings));
    for index in 0..50_000 {
        let pod = format!("prod/db-{index}");
        let sandbox = format!("s{index}");
        book.must_get(&pod, &sandbox, at(0));
        book.must_release(&sandbox, at(1));
    }
    let plan = book
        .allocate(&request("prod/web-x", "next"), at(2))
        .unwrap();
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(book.pool_status()[0].held, 50_000);
    let attachments: Vec<Attachment> = book.attachments().cloned().collect();
    assert_eq!(attachments, []);
}
