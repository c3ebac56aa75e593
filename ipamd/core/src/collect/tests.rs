use crate::fixture::{at, attachment, book, ip};
use crate::{Change, Ended, ViewState};

fn reasons(changes: &[Change]) -> Vec<Ended> {
    let entries = changes.iter().filter_map(|change| match change {
        Change::Audit(entry) => Some(entry.ended),
        _ => None,
    });
    entries.collect()
}

#[test]
fn what_is_not_listed_ends_and_holds_stay() {
    let mut book = book();
    for (pod, sandbox) in [
        ("prod/db-0", "s0"),
        ("prod/db-1", "s1"),
        ("prod/web-x", "s2"),
    ] {
        book.must_get(pod, sandbox, at(0));
    }
    book.must_release("s0", at(1));
    let plan = book.collect(&"bank".parse().unwrap(), &[attachment("s1")], at(2));
    assert_eq!(plan.ended, [attachment("s2")]);
    assert_eq!(reasons(&plan.changes), [Ended::Collected]);
    book.apply(&plan.changes);
    let states = ["10.20.1.10", "10.20.1.11", "10.20.1.12"].map(|a| book.who(ip(a))[0].state);
    assert_eq!(
        states,
        [ViewState::Held, ViewState::Attached, ViewState::Quarantined]
    );
}

#[test]
fn other_network_configurations_are_not_touched() {
    let mut book = book();
    book.must_get("prod/db-0", "s0", at(0));
    let plan = book.collect(&"other".parse().unwrap(), &[], at(1));
    assert_eq!(plan, crate::CollectPlan::default());
}

#[test]
fn reboot_ends_every_attachment_and_the_same_addresses_come_back() {
    let mut book = book();
    let first = book.must_get("prod/db-0", "old0", at(0));
    let second = book.must_get("prod/web-x", "old1", at(0));
    let plan = book.reboot(at(1));
    assert_eq!(plan.ended.len(), 2);
    assert_eq!(reasons(&plan.changes), [Ended::Reboot, Ended::Reboot]);
    book.apply(&plan.changes);
    assert_eq!(book.must_get("prod/web-x", "new1", at(2)), second);
    assert_eq!(book.must_get("prod/db-0", "new0", at(2)), first);
}
