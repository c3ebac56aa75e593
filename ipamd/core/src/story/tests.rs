use crate::fixture::{at, book, ip, mac, network};
use crate::{Book, Sighting};

fn story(book: &Book, identity: &str) -> String {
    book.story(&identity.parse().unwrap(), at(100)).join("\n")
}

#[test]
fn story_tells_the_state_and_what_happens_next() {
    let mut book = book();
    assert!(story(&book, "prod/db-0").contains("has no address"));
    book.must_get("prod/db-0", "s1", at(0));
    let attached = story(&book, "prod/db-0");
    assert!(attached.contains("10.20.1.10") && attached.contains("attached to sandbox s1"));
    assert!(attached.contains("held for ever"));
    book.must_release("s1", at(50));
    assert!(story(&book, "prod/db-0").contains("its next Pod gets it"));
    book.must_get("prod/web-x", "s2", at(0));
    book.must_release("s2", at(50));
    let resting = story(&book, "prod/web-x");
    assert!(
        resting.contains("rests until") && resting.contains("9m 10s more"),
        "{resting}"
    );
}

#[test]
fn story_tells_why_a_sticky_pod_does_not_start() {
    let mut book = book();
    book.must_get("prod/db-0", "s1", at(0));
    book.must_release("s1", at(1));
    let sighting = Sighting {
        network: network("external"),
        address: ip("10.20.1.10"),
        mac: mac("02:00:00:00:00:99"),
    };
    let plan = book.conflict(&sighting, at(2));
    book.apply(&plan.changes);
    assert!(story(&book, "prod/db-0").contains("foreign host with MAC 02:00:00:00:00:99"));
}
