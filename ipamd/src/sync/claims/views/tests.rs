use std::time::Duration;

use super::*;
use proto_crd::claim::ClaimSpec;

fn object(node: &str, version: &str) -> Object {
    let mut object = Object::new(
        "external-a.10.20.1.7",
        ClaimSpec {
            pool: "external-a".to_owned(),
            network: "external".to_owned(),
            rack: "a".to_owned(),
            address: "10.20.1.7".to_owned(),
            node: node.to_owned(),
            epoch: 1,
            binding: None,
            handover: None,
            fenced: None,
            release: None,
        },
    );
    object.metadata.resource_version = Some(version.to_owned());
    object
}

fn place() -> Place {
    ("external".parse().unwrap(), "10.20.1.7".parse().unwrap())
}

fn views() -> Views {
    Views::new("n1".parse().unwrap())
}

fn version(views: &Views) -> Option<String> {
    let seen = views.seen(&place())?;
    seen.claim.as_ref().map(|claim| claim.version.clone())
}

fn is_consistent(views: &Views) -> bool {
    views.seen(&place()).unwrap().consistent
}

#[test]
fn older_version_never_replaces_a_newer_one() {
    let now = Instant::now();
    let mut views = views();
    views.see(object("n1", "10"), Source::Watch, now).unwrap();
    let (_, new) = views.see(object("n1", "9"), Source::Watch, now).unwrap();
    assert!(!new);
    assert_eq!(version(&views).as_deref(), Some("10"));
    assert_eq!(views.leaves(&object("n1", "9"), now), None);
    assert_eq!(views.leaves(&object("n1", "11"), now), Some(place()));
    assert_eq!(version(&views), None);
}

#[test]
fn view_is_consistent_only_by_a_read_that_was_sent_after_the_last_change_here() {
    let start = Instant::now();
    let later = |seconds| start + Duration::from_secs(seconds);
    let mut views = views();
    views.see(object("n1", "1"), Source::Watch, start).unwrap();
    assert!(!is_consistent(&views));
    views
        .see(object("n1", "1"), Source::Answer(start), start)
        .unwrap();
    assert!(is_consistent(&views));
    // The watch says the same once more.
    views
        .see(object("n1", "1"), Source::Watch, later(1))
        .unwrap();
    assert!(is_consistent(&views));
    views.touch(&place(), later(2));
    assert!(!is_consistent(&views));
    // This read was under way when it changed.
    let sent = Source::Answer(later(1));
    views.see(object("n1", "2"), sent, later(3)).unwrap();
    assert!(!is_consistent(&views));
    let sent = Source::Answer(later(3));
    views.see(object("n1", "2"), sent, later(4)).unwrap();
    assert!(is_consistent(&views));
    views.see_none(&place(), Source::Answer(later(1)), later(5));
    assert!(!is_consistent(&views));
}

#[test]
fn how_long_a_claim_has_been_as_it_is_counts_from_its_last_change() {
    let start = Instant::now();
    let later = start + Duration::from_secs(5);
    let mut views = views();
    views.see(object("n2", "1"), Source::Watch, start).unwrap();
    views
        .see(object("n2", "1"), Source::Answer(later), later)
        .unwrap();
    assert_eq!(views.seen(&place()).unwrap().since, start);
    views
        .see(object("n2", "2"), Source::Answer(later), later)
        .unwrap();
    assert_eq!(views.seen(&place()).unwrap().since, later);
}

#[test]
fn own_claims_that_a_whole_list_does_not_have_are_named() {
    let now = Instant::now();
    let mut views = views();
    views.see(object("n1", "1"), Source::Watch, now).unwrap();
    assert_eq!(views.missing_from(&BTreeSet::new()), [place()]);
    assert_eq!(views.missing_from(&[place()].into()), []);
    // Another node's is in no list of this node's.
    views.see(object("n2", "2"), Source::Watch, now).unwrap();
    assert_eq!(views.missing_from(&BTreeSet::new()), []);
}

#[test]
fn what_there_is_nothing_to_do_about_is_forgotten() {
    let now = Instant::now();
    let mut views = views();
    views.see(object("n2", "1"), Source::Watch, now).unwrap();
    let snapshot = views.snapshot();
    views.keep(|_, _| false);
    assert!(views.seen(&place()).is_none() && views.object(&place()).is_none());
    // A round that is under way keeps what it began with.
    assert_eq!(snapshot.len(), 1);
}

#[test]
fn given_claim_comes_until_the_book_knows_of_it() {
    let now = Instant::now();
    let identity: Identity = "prod/db-0".parse().unwrap();
    let bound = |node: &str, version: &str| {
        let mut object = object(node, version);
        object.spec.binding = Some(proto_crd::claim::ClaimBinding {
            identity: identity.to_string(),
            mac: "02:00:00:00:00:07".to_owned(),
            addresses: vec!["10.20.1.7".to_owned()],
            origin: proto_crd::claim::ClaimOrigin {
                kind: proto_crd::claim::OriginKind::Pod,
                pod: Some(identity.to_string()),
            },
            reservation: None,
            hold: None,
            owner: None,
            attached: false,
            until: None,
        });
        object
    };
    let nothing = BTreeSet::new();
    let mut views = views();
    assert!(!views.comes(&place(), &identity, &nothing));
    views.see(bound("n2", "1"), Source::Watch, now).unwrap();
    assert!(views.comes(&place(), &identity, &nothing));
    assert!(!views.comes(&place(), &"prod/db-1".parse().unwrap(), &nothing));
    // It is this node's by what was heard, and not by an answer yet.
    views.see(bound("n1", "2"), Source::Watch, now).unwrap();
    assert!(views.comes(&place(), &identity, &nothing));
    // The book knows: what is on the claim still is not written over yet.
    assert!(!views.comes(&place(), &identity, &[place()].into()));
}
