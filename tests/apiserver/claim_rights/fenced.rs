//! What changes of a claim whose holder was declared dead.

use super::world::{Row, UNBOUND, Who, World, delete, judge, merge, merge_now};
use super::{FINALIZER, MARKS_ONLY, NO_FENCE, NO_RELEASE, ONLY_ASK};

const NAME: &str = "external-a.10.20.1.100";

const TAKE: &str = r#"{"node": "n2", "epoch": 4, "handover": null, "fenced": null}"#;
const TAKE_AS_THIRD: &str = r#"{"node": "n3", "epoch": 4, "handover": null, "fenced": null}"#;
const TAKE_WITH_UID: &str = r#"{"metadata": {"annotations": {"berth.dev/node-uid": "u2"}},
    "spec": {"node": "n2", "epoch": 4, "handover": null, "fenced": null}}"#;
const TAKE_WITH_LABEL: &str = r#"{"metadata": {"labels": {"a": "b"}},
    "spec": {"node": "n2", "epoch": 4, "handover": null, "fenced": null}}"#;
const UNFENCE: &str = r#"{"fenced": null}"#;
const LET_GO: &str = r#"{"metadata": {"finalizers": null}}"#;

/// A fenced claim that n2 asks for.
const FENCED: &[Row] = &[
    (Who::N2, TAKE, None),
    (Who::N3, TAKE_AS_THIRD, None),
    (Who::N2, TAKE_WITH_UID, None),
    (Who::N2, TAKE_AS_THIRD, Some(ONLY_ASK)),
    // With its binding as it is.
    (
        Who::N2,
        r#"{"node": "n2", "epoch": 4, "handover": null, "fenced": null, "binding": null}"#,
        Some(ONLY_ASK),
    ),
    (
        Who::N2,
        r#"{"node": "n2", "epoch": 4, "handover": null, "fenced": null, "binding": {"mac": "b6:e7:00:00:00:01"}}"#,
        Some(ONLY_ASK),
    ),
    (
        Who::N2,
        r#"{"node": "n2", "epoch": 4, "handover": null, "fenced": null, "binding": {"identity": "prod/thief"}}"#,
        Some(ONLY_ASK),
    ),
    (
        Who::N2,
        r#"{"node": "n2", "epoch": 4, "handover": null, "fenced": null, "binding": {"attached": true}}"#,
        Some(ONLY_ASK),
    ),
    (
        Who::N2,
        r#"{"node": "n2", "epoch": 4, "handover": null, "fenced": null, "release": MARK}"#,
        Some(NO_RELEASE),
    ),
    (Who::N2, TAKE_WITH_LABEL, Some(ONLY_ASK)),
    // The mark itself is not a node's.
    (Who::N2, UNFENCE, Some(ONLY_ASK)),
    (Who::N2, r#"{"fenced": {"reason": "mine"}}"#, Some(ONLY_ASK)),
    (Who::N2, LET_GO, Some(ONLY_ASK)),
    (Who::N3, r#"{"handover": {"to": "n3"}}"#, None),
    (Who::N1, UNFENCE, Some(NO_FENCE)),
    (Who::N1, TAKE, Some(NO_FENCE)),
    // A holder that lives after all says what is so, for whoever takes over.
    (Who::N1, r#"{"binding": null}"#, None),
    (Who::Unbound, TAKE, Some(UNBOUND)),
    (Who::Operator, UNFENCE, None),
    (Who::Operator, TAKE, Some(MARKS_ONLY)),
    (Who::Operator, LET_GO, Some(FINALIZER)),
    (Who::Editor, UNFENCE, Some(NO_FENCE)),
    (Who::Editor, TAKE, Some(MARKS_ONLY)),
    (Who::Controllers, UNFENCE, None),
    (Who::Controllers, TAKE, Some(MARKS_ONLY)),
    (Who::Controllers, LET_GO, None),
];

#[test]
fn fenced_claim_is_taken_over_as_it_is_and_unfenced_by_no_node() {
    let world = World::new("api_claim_fenced");
    let people = world.people();
    world.have(
        "10.20.1.100",
        r#"{"fenced": MARK, "handover": {"to": "n2"}}"#,
    );
    people.try_all(NAME, FENCED);
    judge(
        "controllers delete",
        &delete(&people.controllers, NAME),
        None,
    );
    let said = delete(&people.n2, NAME);
    judge("n2 deletes", &said, Some("may not delete it"));

    // Once done it is n2's, and n1, back again, may ask for it as everybody else.
    merge_now(&people.n2, NAME, TAKE);
    let back = merge(&people.n1, NAME, r#"{"node": "n1", "epoch": 5}"#);
    judge("n1 takes it back", &back, Some("node n2's and not fenced"));
    let ask = merge(&people.n1, NAME, r#"{"handover": {"to": "n1"}}"#);
    judge("n1 asks", &ask, None);
}
