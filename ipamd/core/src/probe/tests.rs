use super::*;
use crate::fixture::{at, book, ip, network, pool, settings, valid};

fn addresses(candidates: Vec<ProbeCandidate>) -> Vec<String> {
    candidates
        .into_iter()
        .map(|candidate| candidate.address.to_string())
        .collect()
}

#[test]
fn next_addresses_are_probed_in_the_order_they_are_handed_out() {
    let mut book = book();
    book.must_get("a/x", "s1", at(0));
    book.must_release("s1", at(1));
    book.must_expire(at(9_999));
    let all = addresses(book.probe_candidates(9));
    assert_eq!(
        all,
        ["10.20.1.11", "10.20.1.12", "10.20.1.13", "10.20.1.10"]
    );
    assert_eq!(addresses(book.probe_candidates(2)), all[..2]);
}

#[test]
fn pools_that_want_no_probing_and_other_racks_are_left_out() {
    let mut settings = settings();
    settings.pools[0].probe = false;
    let mut other = pool("external-b", "external", "10.20.2.0/24", &[]);
    other.rack = "b".parse().unwrap();
    settings.pools.push(other);
    let mut book = Book::new(valid(settings));
    book.must_get("prod/db-0", "s1", at(0));
    book.must_release("s1", at(1));
    assert_eq!(book.probe_candidates(9), []);
    assert_eq!(book.held_candidates(None, 9), []);
}

#[test]
fn held_addresses_are_visited_in_turns() {
    let mut book = book();
    for index in 0..4 {
        book.must_get(&format!("prod/db-{index}"), &format!("s{index}"), at(0));
    }
    for sandbox in ["s0", "s2", "s3"] {
        book.must_release(sandbox, at(1));
    }
    let first = book.held_candidates(None, 2);
    assert_eq!(first[0].own_mac, Some(MacAddr::derived(ip("10.20.1.10"))));
    assert_eq!(addresses(first), ["10.20.1.10", "10.20.1.12"]);
    let external = network("external");
    let rest = book.held_candidates(Some((&external, ip("10.20.1.12"))), 2);
    assert_eq!(addresses(rest), ["10.20.1.13"]);
}
