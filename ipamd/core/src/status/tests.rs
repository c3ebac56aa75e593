use super::*;
use crate::fixture::{at, book, network, pool, settings, valid};

#[test]
fn pools_are_counted_in_the_order_of_the_settings() {
    let mut settings = settings();
    settings.pools.push(pool("a6", "another", "fd00::/64", &[]));
    let mut book = Book::new(valid(settings));
    book.must_get("prod/db-0", "s0", at(0));
    book.must_get("prod/db-1", "s1", at(0));
    book.must_release("s1", at(1));
    let [external, six] = &*book.pool_status() else {
        panic!("two pools");
    };
    assert_eq!(external.pool.as_str(), "external-a");
    assert_eq!(external.gateway, Some("10.20.1.1".parse().unwrap()));
    assert_eq!(
        (external.capacity, external.attached, external.held),
        (4, 1, 1)
    );
    assert_eq!(
        (external.quarantined, external.conflicting, external.free),
        (0, 0, 2)
    );
    // 2^64 less the subnet-router anycast address.
    assert_eq!((six.capacity, six.free), (u64::MAX, u64::MAX));
}

#[test]
fn exhaustion_is_told_of_the_networks_asked_for() {
    let mut book = book();
    assert_eq!(book.exhausted_networks(&[]), []);
    for index in 0..4 {
        book.must_get(&format!("prod/db-{index}"), &format!("s{index}"), at(0));
    }
    assert_eq!(book.exhausted_networks(&[]), [network("external")]);
    assert_eq!(book.exhausted_networks(&[network("other")]), []);
}
