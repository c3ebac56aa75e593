use std::time::Duration;

use crate::fixture::{at, attachment, book, ip, request, settings, valid};
use crate::{Book, Change, Ended, ViewState};

fn state(book: &Book, address: &str) -> ViewState {
    book.who(ip(address))[0].state
}

#[test]
fn rules_decide_what_becomes_of_a_binding() {
    for (pod, expected, until) in [
        ("prod/db-0", ViewState::Held, None),
        ("lab/job-x", ViewState::Held, Some(at(70))),
        ("prod/web-x", ViewState::Quarantined, Some(at(610))),
    ] {
        let mut book = book();
        book.must_get(pod, "s1", at(0));
        book.must_release("s1", at(10));
        let view = book.who(ip("10.20.1.10")).remove(0);
        assert_eq!((view.state, view.until), (expected, until), "{pod}");
        assert_eq!(view.identity.unwrap().as_str(), pod);
    }
}

#[test]
fn attached_time_is_written_to_the_audit_log() {
    let mut book = book();
    let mut request = request("prod/db-0", "s1");
    request.pod_uid = Some("uid-1".parse().unwrap());
    book.must_allocate(&request, at(5));
    let changes = book.must_release("s1", at(10));
    let Change::Audit(entry) = &changes[0] else {
        panic!("{changes:?}");
    };
    assert_eq!(
        (entry.from, entry.to, entry.ended),
        (at(5), at(10), Ended::Released)
    );
    assert_eq!(entry.sandbox, Some(attachment("s1").sandbox));
    assert_eq!(entry.pod_uid, request.pod_uid);
    assert_eq!(entry.identity.as_str(), "prod/db-0");
}

#[test]
fn unknown_attachment_changes_nothing() {
    let plan = book().release(&attachment("s1"), at(0));
    assert_eq!(plan, crate::ReleasePlan::default());
}

#[test]
fn pool_without_quarantine_frees_at_once() {
    let mut settings = settings();
    settings.pools[0].quarantine = Duration::ZERO;
    let mut book = Book::new(valid(settings));
    book.must_get("prod/web-x", "s1", at(0));
    book.must_release("s1", at(1));
    assert!(book.who(ip("10.20.1.10")).is_empty());
    assert_eq!(book.pool_status()[0].free, 4);
}

#[test]
fn clock_that_jumped_back_does_not_shorten_a_quarantine() {
    let mut book = book();
    book.must_get("prod/web-x", "s1", at(10_000));
    book.must_release("s1", at(0));
    book.must_expire(at(599));
    assert_eq!(state(&book, "10.20.1.10"), ViewState::Quarantined);
    book.must_expire(at(600));
    assert!(book.who(ip("10.20.1.10")).is_empty());
}
