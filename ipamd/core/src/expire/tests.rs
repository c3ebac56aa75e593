use crate::fixture::{at, book, interface, ip, network, pool, request, settings, valid};
use crate::{Book, Change, Ended, ListFilter, ViewState};

#[test]
fn hold_ends_in_quarantine_and_quarantine_ends_free() {
    let mut book = book();
    book.must_get("lab/job-x", "s1", at(0));
    book.must_release("s1", at(0));
    assert_eq!(book.next_deadline(), Some(at(60)));
    assert!(book.expire(at(59), 9).changes.is_empty());
    let plan = book.expire(at(60), 9);
    assert_eq!((plan.holds, plan.quarantines), (1, 0));
    let Change::Audit(entry) = &plan.changes[0] else {
        panic!("{plan:?}");
    };
    assert_eq!((entry.ended, &entry.sandbox), (Ended::Expired, &None));
    book.apply(&plan.changes);
    assert_eq!(book.who(ip("10.20.1.10"))[0].state, ViewState::Quarantined);
    assert_eq!(book.next_deadline(), Some(at(660)));
    let plan = book.expire(at(660), 9);
    assert_eq!((plan.holds, plan.quarantines), (0, 1));
    book.apply(&plan.changes);
    assert!(book.who(ip("10.20.1.10")).is_empty());
    assert_eq!(book.next_deadline(), None);
}

#[test]
fn limit_takes_the_oldest_first() {
    let mut book = book();
    for (pod, sandbox) in [("a/x", "s1"), ("a/y", "s2"), ("a/z", "s3")] {
        book.must_get(pod, sandbox, at(0));
    }
    for (sandbox, second) in [("s2", 1), ("s3", 2), ("s1", 3)] {
        book.must_release(sandbox, at(second));
    }
    let plan = book.expire(at(9_999), 2);
    assert_eq!(plan.quarantines, 2);
    book.apply(&plan.changes);
    assert_eq!(book.next_deadline(), Some(at(603)));
    assert!(!book.who(ip("10.20.1.10")).is_empty());
}

#[test]
fn binding_that_came_back_does_not_expire() {
    let mut book = book();
    book.must_get("lab/job-x", "s1", at(0));
    book.must_release("s1", at(0));
    book.must_get("lab/job-x", "s2", at(30));
    assert_eq!(book.next_deadline(), None);
}

#[test]
fn oldest_is_the_oldest_of_all_networks() {
    let mut settings = settings();
    settings
        .pools
        .push(pool("dmz-a", "dmz", "10.40.0.0/24", &[]));
    let mut book = Book::new(valid(settings));
    for (joined, sandbox, second) in [("dmz", "s1", 5), ("external", "s2", 1)] {
        let mut request = request("prod/web-x", sandbox);
        request.interfaces = vec![interface("eth0", joined)];
        book.must_allocate(&request, at(0));
        book.must_release(sandbox, at(second));
    }
    let plan = book.expire(at(9_999), 1);
    book.apply(&plan.changes);
    let left = book.list(&ListFilter::default());
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].network, network("dmz"));
}
