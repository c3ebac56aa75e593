use std::time::Duration;

use super::*;
use crate::ListFilter;
use crate::fixture::{at, book, ip, pool, settings, valid};

#[test]
fn settings_that_lose_a_bound_address_are_refused_whole() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    book.must_get("prod/db-1", "s2", at(0));
    book.must_release("s2", at(0));
    let mut smaller = settings();
    smaller.pools[0].ranges = vec!["10.20.1.12-10.20.1.20".parse().unwrap()];
    let ReconfigureError::Displaces { first, all } = book.reconfigure(valid(smaller)).unwrap_err();
    assert_eq!(all.len(), 2);
    assert_eq!(
        (first.address, first.identity.as_str()),
        (ip("10.20.1.10"), "prod/db-0")
    );
}

#[test]
fn nothing_stored_changes_and_resting_addresses_may_fall_out() {
    let mut book = book();
    book.must_get("prod/web-x", "s1", at(0));
    book.must_release("s1", at(0));
    let mut smaller = settings();
    smaller.pools[0].ranges = vec!["10.20.1.12-10.20.1.20".parse().unwrap()];
    let plan = book.reconfigure(valid(smaller)).unwrap();
    assert!(plan.book.records().eq(book.records()));
    assert_eq!(plan.book.pool_status()[0].quarantined, 0);
    let back = plan.book.reconfigure(valid(settings())).unwrap().book;
    assert_eq!(back, book);
    assert_eq!(back.list(&ListFilter::default()).len(), 1);
}

#[test]
fn report_says_what_changes() {
    let mut other = settings();
    other.pools[0].quarantine = Duration::from_secs(1);
    other
        .pools
        .push(pool("second", "external", "10.20.1.0/24", &["10.20.1.30"]));
    other.rules.clear();
    let report = book().reconfigure(valid(other)).unwrap().report;
    assert_eq!(
        report,
        [
            "pool external-a: changed",
            "pool second: added",
            "rules: changed; bindings that are held already keep their deadlines"
        ]
    );
    assert!(
        book()
            .reconfigure(valid(settings()))
            .unwrap()
            .report
            .is_empty()
    );
}
