//! What changes of a claim whose holder lives.

use super::world::{FORBIDDEN, Row, UNBOUND, Who, World};
use super::{FINALIZER, MARKS_ONLY, NO_FENCE, NO_RELEASE, NOT_FENCED, ONLY_ASK};

const ATTACH: &str = r#"{"binding": {"attached": true}}"#;
const UNBIND: &str = r#"{"binding": null}"#;
const GIVE: &str = r#"{"node": "n2", "epoch": 4}"#;
const ASK: &str = r#"{"handover": {"to": "n2"}}"#;
const FENCE: &str = r#"{"fenced": MARK}"#;
const RELEASE: &str = r#"{"release": MARK}"#;
const LET_GO: &str = r#"{"metadata": {"finalizers": null}}"#;
const LABEL: &str = r#"{"metadata": {"labels": {"a": "b"}}, "spec": {"handover": {"to": "n2"}}}"#;
const NODE_UID: &str = r#"{"metadata": {"annotations": {"berth.dev/node-uid": "u2"}}, "spec": {"handover": {"to": "n2"}}}"#;
const OWNER: &str = r#"{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u2"}]}}"#;
const STUCK: &str = r#"{"metadata": {"finalizers": ["berth.dev/claim", "n2.example/stuck"]}, "spec": {"handover": {"to": "n2"}}}"#;

/// A claim with a held binding.
const HELD: &[Row] = &[
    (Who::N1, ATTACH, None),
    (Who::N1, UNBIND, None),
    (Who::N1, r#"{"epoch": 4}"#, None),
    (Who::N1, GIVE, None),
    (Who::N1, LET_GO, None),
    (Who::N1, r#"{"metadata": {"labels": {"a": "b"}}}"#, None),
    (Who::N1, FENCE, Some(NO_FENCE)),
    (Who::N1, RELEASE, Some(NO_RELEASE)),
    // Another node asks in its own name, and does nothing else.
    (Who::N2, ASK, None),
    (Who::N2, r#"{"handover": {"to": "n3"}}"#, Some(ONLY_ASK)),
    (
        Who::N2,
        r#"{"handover": {"to": "n2"}, "epoch": 4}"#,
        Some(ONLY_ASK),
    ),
    (
        Who::N2,
        r#"{"handover": {"to": "n2"}, "binding": null}"#,
        Some(ONLY_ASK),
    ),
    (
        Who::N2,
        r#"{"handover": {"to": "n2"}, "binding": {"mac": "b6:e7:00:00:00:01"}}"#,
        Some(ONLY_ASK),
    ),
    (Who::N2, LABEL, Some(ONLY_ASK)),
    (Who::N2, NODE_UID, Some(ONLY_ASK)),
    (Who::N2, OWNER, Some(ONLY_ASK)),
    (Who::N2, STUCK, Some(ONLY_ASK)),
    (Who::N2, GIVE, Some(NOT_FENCED)),
    (Who::N2, r#"{"node": "n3", "epoch": 4}"#, Some(ONLY_ASK)),
    (Who::N2, ATTACH, Some(ONLY_ASK)),
    (Who::N2, UNBIND, Some(ONLY_ASK)),
    (Who::N2, LET_GO, Some(ONLY_ASK)),
    (Who::N2, FENCE, Some(ONLY_ASK)),
    (Who::N2, RELEASE, Some(ONLY_ASK)),
    (Who::Unbound, ASK, Some(UNBOUND)),
    (Who::Unbound, UNBIND, Some(UNBOUND)),
    (Who::Agent, ASK, Some(FORBIDDEN)),
    // Marks, and nothing else.
    (Who::Operator, FENCE, None),
    (Who::Operator, RELEASE, None),
    (Who::Operator, GIVE, Some(MARKS_ONLY)),
    (Who::Operator, UNBIND, Some(MARKS_ONLY)),
    (Who::Operator, ASK, Some(MARKS_ONLY)),
    (
        Who::Operator,
        r#"{"fenced": MARK, "binding": null}"#,
        Some(MARKS_ONLY),
    ),
    (Who::Operator, LET_GO, Some(FINALIZER)),
    (Who::Editor, FENCE, Some(NO_FENCE)),
    (Who::Editor, RELEASE, Some(NO_RELEASE)),
    (Who::Editor, UNBIND, Some(MARKS_ONLY)),
    (Who::Controllers, FENCE, None),
    (Who::Controllers, RELEASE, None),
    (Who::Controllers, UNBIND, Some(MARKS_ONLY)),
    (Who::Controllers, GIVE, Some(MARKS_ONLY)),
    (Who::Controllers, LET_GO, Some(FINALIZER)),
];

const UNASK: &str = r#"{"handover": null}"#;

/// A claim that n2 asks for.
const ASKED: &[Row] = &[
    (
        Who::N1,
        r#"{"node": "n2", "epoch": 4, "handover": null}"#,
        None,
    ),
    (Who::N1, UNASK, None),
    (Who::N2, UNASK, None),
    (Who::N3, r#"{"handover": {"to": "n3"}}"#, None),
    (Who::N3, UNASK, Some(ONLY_ASK)),
    (
        Who::N2,
        r#"{"node": "n2", "epoch": 4, "handover": null}"#,
        Some(NOT_FENCED),
    ),
];

const KEEP: &str = r#"{"release": null}"#;

/// A claim whose binding is to be let go.
const TO_BE_RELEASED: &[Row] = &[
    (Who::N1, r#"{"release": null, "binding": null}"#, None),
    (Who::N1, KEEP, None),
    (
        Who::N1,
        r#"{"release": {"reason": "another"}}"#,
        Some(NO_RELEASE),
    ),
    (Who::N2, KEEP, Some(ONLY_ASK)),
    (Who::Operator, KEEP, None),
    (Who::Editor, KEEP, Some(NO_RELEASE)),
    (Who::Controllers, KEEP, None),
];

#[test]
fn claim_is_changed_by_its_holder_and_asked_for_by_other_nodes_in_their_own_names() {
    let world = World::new("api_claim_change");
    let people = world.people();
    world.have("10.20.1.100", "{}");
    people.try_all("external-a.10.20.1.100", HELD);
    world.have("10.20.1.101", r#"{"handover": {"to": "n2"}}"#);
    people.try_all("external-a.10.20.1.101", ASKED);
    world.have("10.20.1.102", r#"{"release": MARK}"#);
    people.try_all("external-a.10.20.1.102", TO_BE_RELEASED);
}
