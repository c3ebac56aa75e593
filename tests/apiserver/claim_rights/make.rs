//! The beginning and the end of a claim.

use serde_json::{Value, json};

use super::world::{
    FORBIDDEN, People, UNBOUND, Who, World, claim, create, delete, judge, merge, merge_now,
    wait_for,
};
use super::{FINALIZER, MARKS_ONLY, NO_FENCE, NO_RELEASE, NOT_FENCED, ONLY_ASK};
use crate::shipped::{NAMESPACE, kubectl};

const NAME: &str = "external-a.10.20.1.100";
const LET_GO: &str = r#"{"metadata": {"finalizers": null}}"#;

/// Who makes a claim of n1's, with what in its spec, and why not.
const MAKERS: &[(Who, &str, Option<&str>)] = &[
    (Who::N1, "{}", None),
    (Who::N1, r#"{"fenced": MARK}"#, Some(NO_FENCE)),
    (Who::N1, r#"{"release": MARK}"#, Some(NO_RELEASE)),
    (
        Who::N2,
        "{}",
        Some("the address daemon of node n2 may claim addresses for that node only, not for n1"),
    ),
    (Who::Unbound, "{}", Some(UNBOUND)),
    (Who::Editor, "{}", Some(MARKS_ONLY)),
    (Who::Operator, "{}", Some(FORBIDDEN)),
    (Who::Controllers, "{}", Some(FORBIDDEN)),
    (Who::Agent, "{}", Some(FORBIDDEN)),
];

#[test]
fn claims_are_made_for_its_own_node_by_an_address_daemon_and_the_first_has_it() {
    let world = World::new("api_claim_make");
    let people = world.people();
    for (who, fields, because) in MAKERS {
        let said = create(people.get(*who), &claim("10.20.1.100", fields));
        judge(&format!("{who:?}: {fields}"), &said, *because);
    }
    let mine = claim("10.20.1.100", "{}");
    let mut bare = mine.clone();
    bare["metadata"]["finalizers"] = json!([]);
    let words = "has the finalizer berth.dev/claim from the beginning";
    judge("bare", &create(&people.n1, &bare), Some(words));
    let mut elsewhere = mine.clone();
    elsewhere["metadata"]["namespace"] = "default".into();
    let in_default = ["create", "--dry-run=server", "-n", "default", "-f", "-"];
    people
        .n1
        .may_not(&in_default, &elsewhere.to_string(), FORBIDDEN);

    let create = ["create", "-f", "-"];
    people.n1.may(&create, &mine.to_string());
    let mut second = mine;
    second["spec"]["node"] = "n2".into();
    people
        .n2
        .may_not(&create, &second.to_string(), "AlreadyExists");
}

const DELETERS: &[(Who, Option<&str>)] = &[
    (Who::N1, None),
    (
        Who::N2,
        Some("claim external-a.10.20.1.100 is node n1's; node n2 may not delete it"),
    ),
    (Who::Unbound, Some(UNBOUND)),
    (Who::Operator, None),
    (
        Who::Controllers,
        Some("the controllers may delete fenced claims only"),
    ),
    (Who::Agent, Some(FORBIDDEN)),
];

#[test]
fn claims_are_deleted_by_their_holders_and_by_operators() {
    let world = World::new("api_claim_delete");
    let people = world.people();
    world.have("10.20.1.100", "{}");
    for (who, because) in DELETERS {
        let said = delete(people.get(*who), NAME);
        judge(&format!("{who:?}"), &said, *because);
    }
    // Not all at once, and not by way of what is no part of a claim.
    let all = format!("/apis/berth.dev/v1alpha1/namespaces/{NAMESPACE}/claims");
    people.n1.may_not(&["delete", "--raw", &all], "", FORBIDDEN);
    let part = "--subresource=status";
    let part = [
        "patch",
        "claim",
        NAME,
        part,
        "--type=merge",
        "--patch",
        "{}",
    ];
    people.n1.may_not(&part, "", FORBIDDEN);
}

fn found(world: &World, name: &str) -> Value {
    let words = ["get", "claim", name, "-n", NAMESPACE];
    world.api.kubectl_json(&words).unwrap()
}

#[test]
fn deleted_claim_goes_when_its_holder_lets_it_go() {
    let world = World::new("api_claim_deleted");
    let people = world.people();
    let People {
        n1,
        n2,
        controllers,
        operator,
        ..
    } = &people;
    let other = "external-a.10.20.1.101";
    world.have("10.20.1.100", "{}");
    world.have("10.20.1.101", r#"{"fenced": MARK}"#);
    operator.may(&["delete", "claim", NAME, "--wait=false"], "");
    controllers.may(&["delete", "claim", other, "--wait=false"], "");
    for name in [NAME, other] {
        let claim = found(&world, name);
        assert!(
            claim["metadata"]["deletionTimestamp"].is_string(),
            "{claim}"
        );
        assert_eq!(claim["spec"]["binding"]["identity"], "prod/db-0");
    }

    judge("n2", &merge(n2, NAME, LET_GO), Some(ONLY_ASK));
    judge("operator", &merge(operator, NAME, LET_GO), Some(FINALIZER));
    judge(
        "controllers",
        &merge(controllers, NAME, LET_GO),
        Some(FINALIZER),
    );
    merge_now(n1, NAME, LET_GO);
    // A dead holder lets nothing go.
    judge("operator", &merge(operator, other, LET_GO), Some(FINALIZER));
    merge_now(controllers, other, LET_GO);
    let rest = kubectl(
        &world.api,
        &["get", "claims", "-n", NAMESPACE, "-o", "name"],
    );
    assert_eq!(rest.trim(), "");
}

#[test]
fn claim_that_is_let_go_before_it_is_deleted_is_its_holders_to_the_end() {
    let world = World::new("api_claim_let_go");
    let people = world.people();
    world.have("10.20.1.100", "{}");
    merge_now(&people.n1, NAME, LET_GO);
    let said = delete(&people.n2, NAME);
    judge("n2", &said, Some("node n2 may not delete it"));
    // Who asks puts the finalizer back, as a daemon does.
    let ask =
        r#"{"metadata": {"finalizers": ["berth.dev/claim"]}, "spec": {"handover": {"to": "n2"}}}"#;
    judge("n2", &merge(&people.n2, NAME, ask), None);
    people
        .n1
        .may(&["delete", "claim", NAME, "--wait=false"], "");
    let rest = kubectl(
        &world.api,
        &["get", "claims", "-n", NAMESPACE, "-o", "name"],
    );
    assert_eq!(rest.trim(), "");
}

#[test]
fn role_alone_would_let_a_node_take_every_claim() {
    let world = World::new("api_claim_unpoliced");
    let people = world.people();
    world.have("10.20.1.100", "{}");
    let take = r#"{"node": "n2", "epoch": 4}"#;
    judge("n2", &merge(&people.n2, NAME, take), Some(NOT_FENCED));
    let binding = "validatingadmissionpolicybinding/berth-claims-are-their-holders";
    kubectl(&world.api, &["delete", binding]);
    // So it is the policy that refuses in the other tests.
    wait_for("the policy being gone", || {
        let said = merge(&people.n2, NAME, take);
        (said.success(), said)
    });
}
