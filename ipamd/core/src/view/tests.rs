use super::*;
use crate::fixture::{at, attachment, book, ip};

#[test]
fn list_is_filtered_by_pool_network_and_state() {
    let mut book = book();
    book.must_get("prod/db-0", "s0", at(0));
    book.must_get("prod/db-1", "s1", at(0));
    book.must_release("s1", at(1));
    let count = |filter: ListFilter| book.list(&filter).len();
    let filter = ListFilter::default;
    assert_eq!(count(filter()), 2);
    for (filter, expected) in [
        (
            ListFilter {
                state: Some(ViewState::Held),
                ..filter()
            },
            1,
        ),
        (
            ListFilter {
                state: Some(ViewState::Conflicting),
                ..filter()
            },
            0,
        ),
        (
            ListFilter {
                pool: "external-a".parse().ok(),
                ..filter()
            },
            2,
        ),
        (
            ListFilter {
                pool: "other".parse().ok(),
                ..filter()
            },
            0,
        ),
        (
            ListFilter {
                network: "external".parse().ok(),
                ..filter()
            },
            2,
        ),
        (
            ListFilter {
                network: "other".parse().ok(),
                ..filter()
            },
            0,
        ),
    ] {
        assert_eq!(count(filter.clone()), expected, "{filter:?}");
    }
}

#[test]
fn attached_address_shows_its_attachment() {
    let mut book = book();
    book.must_get("prod/db-0", "s0", at(7));
    let view = book.who(ip("10.20.1.10")).remove(0);
    assert_eq!(view.attachment, Some(attachment("s0")));
    assert_eq!(view.ifname.unwrap().as_str(), "eth0");
    assert_eq!((view.since, view.until), (at(7), None));
    assert_eq!(view.rack.unwrap().as_str(), "a");
}

#[test]
fn why_shows_what_lives_and_what_rests() {
    let mut book = book();
    book.must_get("prod/web-x", "s0", at(0));
    book.must_release("s0", at(1));
    let views = book.why(&"prod/web-x".parse().unwrap());
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].state, ViewState::Quarantined);
    assert_eq!(book.why(&"prod/other".parse().unwrap()), []);
}

#[test]
fn states_are_read_as_they_are_written() {
    for state in ViewState::ALL {
        assert_eq!(state.to_string().parse(), Ok(state));
    }
    assert!("free".parse::<ViewState>().is_err());
}
