use std::time::Duration;

use proto_crd::claim::Mark;
use proto_ids::MacAddr;

use super::*;

fn pool() -> Pool {
    Pool {
        name: "external-a".parse().unwrap(),
        network: "external".parse().unwrap(),
        rack: "a".parse().unwrap(),
        node: None,
        subnet: "10.20.1.0/24".parse().unwrap(),
        ranges: Vec::new(),
        exclude: Vec::new(),
        gateway: None,
        quarantine: Duration::ZERO,
        routes: Vec::new(),
        probe: true,
    }
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn address() -> IpAddr {
    "10.20.1.7".parse().unwrap()
}

fn binding() -> ClaimedBinding {
    ClaimedBinding {
        identity: "prod/db-0".parse().unwrap(),
        mac: MacAddr::derived(address()),
        addresses: vec![address(), "fd00::7".parse().unwrap()],
        origin: Origin::Named {
            pod: Some(Box::new("prod/db-x".parse().unwrap())),
        },
        policy: Some(Box::new(PodPolicy {
            hold: Some(Hold::For(Duration::from_secs(90))),
            owner: Some(Owner {
                api_version: "apps/v1".to_owned(),
                kind: "StatefulSet".to_owned(),
                name: "db".to_owned(),
                uid: "u1".to_owned(),
                ordinal: Some(0),
            }),
        })),
        reservation: Some("for the audit".to_owned()),
        attached: false,
        until: Some(Timestamp::from_unix_milliseconds(1_700_000_000_000)),
    }
}

fn content(holder: &str, epoch: u64) -> ClaimContent {
    ClaimContent {
        node: node(holder),
        epoch,
        binding: Some(binding()),
        asked_by: None,
    }
}

fn mark() -> Mark {
    Mark {
        reason: "off".to_owned(),
        by: "somebody".to_owned(),
        at: Time(jiff::Timestamp::UNIX_EPOCH),
    }
}

fn created(holder: &str) -> Object {
    let me = node(holder);
    let writer = Writer {
        node: &me,
        uid: Some("uid-of-it"),
    };
    create(&pool(), address(), &content(holder, 1), writer)
}

#[test]
fn what_is_written_is_read_again() {
    let object = created("n1");
    assert_eq!(
        object.metadata.name.as_deref(),
        Some("external-a.10.20.1.7")
    );
    let (place, claim) = read(&object).unwrap();
    assert_eq!(place, (pool().network, address()));
    assert_eq!(claim.content, content("n1", 1));
    // And through JSON, as the API server has it.
    let text = serde_json::to_string(&object).unwrap();
    let again: Object = serde_json::from_str(&text).unwrap();
    assert_eq!(read(&again).unwrap().1, claim);
}

#[test]
fn every_origin_is_read_as_it_was_written() {
    let me = node("n1");
    let writer = Writer {
        node: &me,
        uid: None,
    };
    for origin in [
        Origin::Pod,
        Origin::Named { pod: None },
        Origin::Sandbox,
        Origin::Adopted,
        Origin::Reserved,
    ] {
        let mut content = content("n1", 1);
        content.binding = content.binding.map(|binding| ClaimedBinding {
            origin: origin.clone(),
            policy: None,
            until: None,
            ..binding
        });
        let object = create(&pool(), address(), &content, writer);
        assert_eq!(read(&object).unwrap().1.content, content, "{origin:?}");
    }
}

#[test]
fn holder_takes_the_release_mark_away_and_a_question_leaves_every_mark() {
    let mut seen = created("n1");
    seen.spec.fenced = Some(mark());
    seen.spec.release = Some(mark());
    let labels = [("theirs".to_owned(), "yes".to_owned())];
    seen.metadata.labels = Some(labels.into());
    let (me, other) = (node("n1"), node("n2"));
    let holder = Writer {
        node: &me,
        uid: Some("u"),
    };
    let asker = Writer {
        node: &other,
        uid: Some("u2"),
    };
    let written = update(&seen, &content("n1", 1), false, holder);
    assert_eq!(
        (&written.spec.release, written.spec.fenced.is_some()),
        (&None, true)
    );
    assert_eq!(written.metadata.labels, seen.metadata.labels);

    let question = ClaimContent {
        asked_by: Some(other.clone()),
        ..content("n1", 1)
    };
    let questioned = update(&seen, &question, false, asker);
    assert!(questioned.spec.fenced.is_some() && questioned.spec.release.is_some());
    assert_eq!(questioned.spec.handover.as_ref().unwrap().to, "n2");
    assert_eq!(uid_of(&questioned), Some("uid-of-it"));

    let taken = update(&seen, &content("n2", 2), true, asker);
    assert!(taken.spec.fenced.is_none() && taken.spec.release.is_none());
    assert_eq!(uid_of(&taken), Some("u2"));

    // Whoever gives does not know the other Node's UID.
    let given = update(&seen, &content("n2", 2), false, holder);
    assert_eq!((given.spec.node.as_str(), uid_of(&given)), ("n2", None));
}

fn uid_of(object: &Object) -> Option<&str> {
    let annotations = object.metadata.annotations.as_ref()?;
    annotations.get(NODE_UID).map(String::as_str)
}

#[test]
fn finalizer_is_put_back_but_on_what_is_being_deleted() {
    let me = node("n1");
    let writer = Writer {
        node: &me,
        uid: None,
    };
    let mut seen = let_go(&created("n1"));
    assert_eq!(seen.metadata.finalizers, Some(Vec::new()));
    let written = update(&seen, &content("n1", 1), false, writer);
    let ours = [names::CLAIM_FINALIZER.to_owned()];
    assert_eq!(written.metadata.finalizers.as_deref(), Some(&ours[..]));
    // The API server refuses a new finalizer there.
    seen.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let written = update(&seen, &content("n1", 1), false, writer);
    assert_eq!(written.metadata.finalizers, Some(Vec::new()));
}

#[test]
fn object_that_makes_no_sense_names_the_field() {
    type Spoil = fn(&mut ClaimSpec);
    let cases: [(Spoil, &str); 5] = [
        (|spec| spec.address = "10.20.1".to_owned(), "spec.address"),
        (|spec| spec.node = String::new(), "spec.node"),
        (|spec| spec.epoch = -1, "spec.epoch"),
        (
            |spec| spec.binding.as_mut().unwrap().mac = "x".to_owned(),
            "spec.binding.mac",
        ),
        (
            |spec| spec.binding.as_mut().unwrap().hold = Some("long".to_owned()),
            "spec.binding.hold",
        ),
    ];
    for (spoil, field) in cases {
        let mut object = created("n1");
        spoil(&mut object.spec);
        let error = read(&object).unwrap_err().to_string();
        assert!(
            error.contains("external-a.10.20.1.7") && error.contains(field),
            "{error}"
        );
    }
}
