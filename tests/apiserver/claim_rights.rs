//! Who may write what of a claim: the shipped roles and the shipped policy, tried with the tokens of two nodes and of everybody
//! else who could. What is denied is denied with words that say why.
//!
//! Rows are tried without being done (`--dry-run=server` runs every check), so that each finds the claim as it is described.

use std::time::Duration;

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output, Pending, wait_patiently};

use crate::shipped::{Caller, NAMESPACE, add_node, installed, kubectl};

/// New kinds, roles and policies are in force within a second or two on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

const UNBOUND: &str = "the token is not bound to a node";
const FORBIDDEN: &str = "orbidden";
const NO_FENCE: &str = "may not set, change or remove the mark fenced";
const NO_RELEASE: &str = "may not set, change or remove the mark release";
const MARKS_ONLY: &str = "may only set or remove the marks fenced and release of a claim";
const ONLY_ASK: &str =
    "may only ask for it in its own name (handover.to), or take it over as it is once it is fenced";
const NOT_FENCED: &str = "claim external-a.10.20.1.100 is node n1's and not fenced; node n2 may ask for it (handover.to), not take it";
const FINALIZER: &str = "is removed by the address daemon of node n1, which lets the address go, or by the controllers once that node is fenced";

const MARK: &str = r#"{"reason": "no power", "by": "alice", "at": "2026-01-01T00:00:00Z"}"#;

/// A claim of node n1 with a held binding, and what else is merged into its spec.
fn claim(address: &str, fields: &str) -> Value {
    let mut spec = json!({
        "pool": "external-a", "network": "external", "rack": "a", "address": address, "node": "n1", "epoch": 3,
        "binding": {
            "identity": "prod/db-0", "mac": "b6:e7:0a:14:01:64", "addresses": [address],
            "origin": {"kind": "Pod"}, "attached": false,
        },
    });
    let fields: Value = serde_json::from_str(fields).unwrap();
    let all = spec.as_object_mut().unwrap();
    all.extend(fields.as_object().unwrap().clone());
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Claim",
        "metadata": {
            "name": format!("external-a.{address}"), "namespace": NAMESPACE, "finalizers": ["berth.dev/claim"],
            "annotations": {"berth.dev/node-uid": "u1"},
        },
        "spec": spec,
    })
}

fn name(last: u8) -> String {
    format!("external-a.10.20.1.{last}")
}

/// Everybody.
struct World {
    api: ApiServer,
}

/// Who tries something.
struct People<'a> {
    n1: Caller<'a>,
    n2: Caller<'a>,
    n3: Caller<'a>,
    unbound: Caller<'a>,
    controllers: Caller<'a>,
    operator: Caller<'a>,
    /// May update claims, and has none of our verbs.
    editor: Caller<'a>,
    agent: Caller<'a>,
}

impl World {
    fn new(name: &str) -> Self {
        let api = installed(name);
        for node in ["n1", "n2", "n3"] {
            add_node(&api, node);
        }
        for account in ["alice", "bob"] {
            kubectl(
                &api,
                &["create", "serviceaccount", account, "-n", NAMESPACE],
            );
        }
        let role = [
            "create",
            "role",
            "editor",
            "-n",
            NAMESPACE,
            "--verb=get,list,create,update,patch,delete",
            "--resource=claims.berth.dev",
        ];
        kubectl(&api, &role);
        let bind = |words: &[&str]| kubectl(&api, &[&["create"], words].concat());
        let alice = format!("--serviceaccount={NAMESPACE}:alice");
        let bob = format!("--serviceaccount={NAMESPACE}:bob");
        bind(&[
            "clusterrolebinding",
            "operators",
            "--clusterrole=berth-operator",
            &alice,
        ]);
        bind(&[
            "rolebinding",
            "editors",
            "-n",
            NAMESPACE,
            "--role=editor",
            &bob,
        ]);
        Self { api }
    }

    /// Everybody's tokens, once roles and policy are in force.
    fn people(&self) -> People<'_> {
        let api: &ApiServer = &self.api;
        let people = People {
            n1: Caller::in_pod(api, "berth-ipamd", "n1"),
            n2: Caller::in_pod(api, "berth-ipamd", "n2"),
            n3: Caller::in_pod(api, "berth-ipamd", "n3"),
            unbound: Caller::with_token(api, "berth-ipamd", &[]),
            controllers: Caller::with_token(api, "berth-controllers", &[]),
            operator: Caller::with_token(api, "alice", &[]),
            editor: Caller::with_token(api, "bob", &[]),
            agent: Caller::in_pod(api, "berth-agent", "n1"),
        };
        let probe = claim("10.20.1.1", "{}");
        wait_for("the policy being in force", || {
            let said = create(&people.unbound, &probe);
            (said.stderr.contains(UNBOUND), said)
        });
        for (who, what) in [(&people.operator, "fence"), (&people.editor, "update")] {
            wait_for("the roles being in force", || {
                let said = who.ask(&["auth", "can-i", what, "claims.berth.dev"], "");
                (said.stdout.trim() == "yes", said)
            });
        }
        people
    }

    fn have(&self, address: &str, fields: &str) {
        self.api.apply(&claim(address, fields).to_string()).unwrap();
    }

    fn get(&self, name: &str) -> Value {
        let words = ["get", "claim", name, "-n", NAMESPACE];
        self.api.kubectl_json(&words).unwrap()
    }
}

fn wait_for(what: &str, holds: impl Fn() -> (bool, Output)) {
    let waited = wait_patiently(what, DEADLINE, || match holds() {
        (true, _) => Ok(()),
        (false, said) => Err(Pending::because(format!("{}{}", said.stdout, said.stderr))),
    });
    waited.unwrap();
}

fn create(who: &Caller<'_>, object: &Value) -> Output {
    who.ask(
        &["create", "--dry-run=server", "-f", "-"],
        &object.to_string(),
    )
}

fn delete(who: &Caller<'_>, name: &str) -> Output {
    who.ask(&["delete", "claim", name, "--dry-run=server"], "")
}

fn merge(who: &Caller<'_>, name: &str, fields: &str) -> Output {
    let words = [
        "patch",
        "claim",
        name,
        "--dry-run=server",
        "--type=merge",
        "--patch",
        fields,
    ];
    who.ask(&words, "")
}

fn allowed(case: &str, said: &Output) {
    assert!(said.success(), "{case}: {}", said.stderr);
}

fn denied(case: &str, said: &Output, because: &str) {
    assert!(!said.success(), "{case} was allowed: {}", said.stdout);
    assert!(said.stderr.contains(because), "{case}: {}", said.stderr);
}

/// Who, what is merged into the claim, and why not; nothing: it is allowed.
type Row<'a, 'b> = (&'a str, &'a Caller<'b>, &'a str, Option<&'a str>);

fn try_all(name: &str, rows: &[Row<'_, '_>]) {
    for (who, caller, fields, because) in rows {
        let case = format!("{name}: {who}: {fields}");
        let said = merge(caller, name, fields);
        match because {
            None => allowed(&case, &said),
            Some(because) => denied(&case, &said, because),
        }
    }
}

fn spec(fields: &str) -> String {
    format!("{{\"spec\": {fields}}}")
}

#[test]
fn claims_are_made_and_deleted_by_their_holders_only() {
    let world = World::new("api_claim_make");
    let people = world.people();
    let People {
        n1,
        n2,
        unbound,
        controllers,
        operator,
        editor,
        agent,
        ..
    } = &people;
    let mine = claim("10.20.1.100", "{}");
    let marked = |mark: &str| claim("10.20.1.100", &format!("{{\"{mark}\": {MARK}}}"));
    let mut bare = mine.clone();
    bare["metadata"]["finalizers"] = json!([]);
    let mut elsewhere = mine.clone();
    elsewhere["metadata"]["namespace"] = "default".into();
    let for_other =
        "the address daemon of node n2 may claim addresses for that node only, not for n1";
    for (who, caller, object, because) in [
        ("n1", n1, &mine, None),
        ("n2", n2, &mine, Some(for_other)),
        ("unbound", unbound, &mine, Some(UNBOUND)),
        (
            "n1 without the finalizer",
            n1,
            &bare,
            Some("has the finalizer berth.dev/claim from the beginning"),
        ),
        ("n1, fenced", n1, &marked("fenced"), Some(NO_FENCE)),
        (
            "n1, to be released",
            n1,
            &marked("release"),
            Some(NO_RELEASE),
        ),
        ("n1 in another namespace", n1, &elsewhere, Some("namespace")),
        ("editor", editor, &mine, Some(MARKS_ONLY)),
        ("operator", operator, &mine, Some(FORBIDDEN)),
        ("controllers", controllers, &mine, Some(FORBIDDEN)),
        ("agent", agent, &mine, Some(FORBIDDEN)),
    ] {
        let said = create(caller, object);
        match because {
            None => allowed(who, &said),
            Some(because) => denied(who, &said, because),
        }
    }
    let in_default = ["create", "--dry-run=server", "-n", "default", "-f", "-"];
    n1.may_not(&in_default, &elsewhere.to_string(), FORBIDDEN);

    n1.may(&["create", "-f", "-"], &mine.to_string());
    let mut second = mine.clone();
    second["spec"]["node"] = "n2".into();
    n2.may_not(&["create", "-f", "-"], &second.to_string(), "AlreadyExists");

    let name = name(100);
    let others = format!("claim {name} is node n1's; node n2 may not delete it");
    for (who, caller, because) in [
        ("n1", n1, None),
        ("n2", n2, Some(&*others)),
        ("unbound", unbound, Some(UNBOUND)),
        ("operator", operator, None),
        (
            "controllers",
            controllers,
            Some("the controllers may delete fenced claims only"),
        ),
        ("agent", agent, Some(FORBIDDEN)),
    ] {
        let said = delete(caller, &name);
        match because {
            None => allowed(who, &said),
            Some(because) => denied(who, &said, because),
        }
    }
    // Not all at once, and not by way of what is no part of a claim.
    let all = format!("/apis/berth.dev/v1alpha1/namespaces/{NAMESPACE}/claims");
    n1.may_not(&["delete", "--raw", &all], "", FORBIDDEN);
    let part = [
        "patch",
        "claim",
        &name,
        "--subresource=status",
        "--type=merge",
        "--patch",
        "{}",
    ];
    n1.may_not(&part, "", FORBIDDEN);
}

#[test]
fn claim_is_changed_by_its_holder_and_asked_for_by_other_nodes_in_their_own_names() {
    let world = World::new("api_claim_change");
    let people = world.people();
    let People {
        n1,
        n2,
        n3,
        unbound,
        controllers,
        operator,
        editor,
        agent,
    } = &people;
    world.have("10.20.1.100", "{}");
    let give = spec(r#"{"node": "n2", "epoch": 4}"#);
    let take = give.as_str();
    let attach = spec(r#"{"binding": {"attached": true}}"#);
    let ask = spec(r#"{"handover": {"to": "n2"}}"#);
    let unbind = spec(r#"{"binding": null}"#);
    let fence = spec(&format!("{{\"fenced\": {MARK}}}"));
    let release = spec(&format!("{{\"release\": {MARK}}}"));
    let no_finalizer = r#"{"metadata": {"finalizers": null}}"#;
    try_all(
        &name(100),
        &[
            ("n1 binds", n1, &attach, None),
            ("n1 unbinds", n1, &unbind, None),
            ("n1 counts", n1, &spec(r#"{"epoch": 4}"#), None),
            ("n1 gives", n1, &give, None),
            ("n1 lets go", n1, no_finalizer, None),
            (
                "n1 labels",
                n1,
                r#"{"metadata": {"labels": {"a": "b"}}}"#,
                None,
            ),
            ("n1 fences itself", n1, &fence, Some(NO_FENCE)),
            ("n1 releases", n1, &release, Some(NO_RELEASE)),
            ("n2 takes", n2, take, Some(NOT_FENCED)),
            (
                "n2 gives to n3",
                n2,
                &spec(r#"{"node": "n3", "epoch": 4}"#),
                Some(ONLY_ASK),
            ),
            ("n2 asks", n2, &ask, None),
            (
                "n2 asks for n3",
                n2,
                &spec(r#"{"handover": {"to": "n3"}}"#),
                Some(ONLY_ASK),
            ),
            (
                "n2 asks and counts",
                n2,
                &spec(r#"{"handover": {"to": "n2"}, "epoch": 4}"#),
                Some(ONLY_ASK),
            ),
            (
                "n2 asks and unbinds",
                n2,
                &spec(r#"{"handover": {"to": "n2"}, "binding": null}"#),
                Some(ONLY_ASK),
            ),
            (
                "n2 asks and changes the MAC",
                n2,
                &spec(r#"{"handover": {"to": "n2"}, "binding": {"mac": "b6:e7:00:00:00:01"}}"#),
                Some(ONLY_ASK),
            ),
            (
                "n2 asks and labels",
                n2,
                r#"{"metadata": {"labels": {"a": "b"}}, "spec": {"handover": {"to": "n2"}}}"#,
                Some(ONLY_ASK),
            ),
            (
                "n2 asks and says whose Node it is",
                n2,
                r#"{"metadata": {"annotations": {"berth.dev/node-uid": "u2"}}, "spec": {"handover": {"to": "n2"}}}"#,
                Some(ONLY_ASK),
            ),
            (
                "n2 makes another its owner",
                n2,
                r#"{"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u2"}]}}"#,
                Some(ONLY_ASK),
            ),
            ("n2 binds", n2, &attach, Some(ONLY_ASK)),
            ("n2 unbinds", n2, &unbind, Some(ONLY_ASK)),
            ("n2 removes the finalizer", n2, no_finalizer, Some(ONLY_ASK)),
            (
                "n2 adds a finalizer",
                n2,
                r#"{"metadata": {"finalizers": ["berth.dev/claim", "n2.example/stuck"]}, "spec": {"handover": {"to": "n2"}}}"#,
                Some(ONLY_ASK),
            ),
            ("n2 fences", n2, &fence, Some(ONLY_ASK)),
            ("n2 releases", n2, &release, Some(ONLY_ASK)),
            ("unbound asks", unbound, &ask, Some(UNBOUND)),
            ("unbound unbinds", unbound, &unbind, Some(UNBOUND)),
            ("agent asks", agent, &ask, Some(FORBIDDEN)),
            ("operator fences", operator, &fence, None),
            ("operator releases", operator, &release, None),
            ("operator gives", operator, &give, Some(MARKS_ONLY)),
            ("operator unbinds", operator, &unbind, Some(MARKS_ONLY)),
            ("operator asks", operator, &ask, Some(MARKS_ONLY)),
            (
                "operator fences and unbinds",
                operator,
                &spec(&format!("{{\"fenced\": {MARK}, \"binding\": null}}")),
                Some(MARKS_ONLY),
            ),
            (
                "operator removes the finalizer",
                operator,
                no_finalizer,
                Some(FINALIZER),
            ),
            ("editor fences", editor, &fence, Some(NO_FENCE)),
            ("editor releases", editor, &release, Some(NO_RELEASE)),
            ("editor unbinds", editor, &unbind, Some(MARKS_ONLY)),
            ("controllers fence", controllers, &fence, None),
            ("controllers release", controllers, &release, None),
            ("controllers unbind", controllers, &unbind, Some(MARKS_ONLY)),
            (
                "controllers remove the finalizer",
                controllers,
                no_finalizer,
                Some(FINALIZER),
            ),
        ],
    );

    // With a question on it.
    world.have("10.20.1.101", r#"{"handover": {"to": "n2"}}"#);
    let unask = spec(r#"{"handover": null}"#);
    try_all(
        &name(101),
        &[
            (
                "n1 gives",
                n1,
                &spec(r#"{"node": "n2", "epoch": 4, "handover": null}"#),
                None,
            ),
            ("n1 does not hear", n1, &unask, None),
            ("n2 asks no more", n2, &unask, None),
            (
                "n3 asks too",
                n3,
                &spec(r#"{"handover": {"to": "n3"}}"#),
                None,
            ),
            ("n3 takes the question away", n3, &unask, Some(ONLY_ASK)),
            (
                "n2 takes",
                n2,
                &spec(r#"{"node": "n2", "epoch": 4, "handover": null}"#),
                Some("and not fenced"),
            ),
        ],
    );

    // With a binding that is to be let go.
    world.have("10.20.1.102", &format!("{{\"release\": {MARK}}}"));
    let keep = spec(r#"{"release": null}"#);
    let other = spec(r#"{"release": {"reason": "another"}}"#);
    try_all(
        &name(102),
        &[
            (
                "n1 lets go",
                n1,
                &spec(r#"{"release": null, "binding": null}"#),
                None,
            ),
            ("n1 keeps it", n1, &keep, None),
            ("n1 changes the reason", n1, &other, Some(NO_RELEASE)),
            ("n2 keeps it", n2, &keep, Some(ONLY_ASK)),
            ("operator keeps it", operator, &keep, None),
            ("editor keeps it", editor, &keep, Some(NO_RELEASE)),
            ("controllers keep it", controllers, &keep, None),
        ],
    );
}

#[test]
fn fenced_claim_is_taken_over_as_it_is_and_by_nobody_else_unfenced() {
    let world = World::new("api_claim_fenced");
    let people = world.people();
    let People {
        n1,
        n2,
        n3,
        unbound,
        controllers,
        operator,
        editor,
        ..
    } = &people;
    world.have(
        "10.20.1.100",
        &format!("{{\"fenced\": {MARK}, \"handover\": {{\"to\": \"n2\"}}}}"),
    );
    let taken = r#"{"node": "n2", "epoch": 4, "handover": null, "fenced": null}"#;
    let take = spec(taken);
    let unfence = spec(r#"{"fenced": null}"#);
    let no_finalizer = r#"{"metadata": {"finalizers": null}}"#;
    let with_uid = format!(
        "{{\"metadata\": {{\"annotations\": {{\"berth.dev/node-uid\": \"u2\"}}}}, \"spec\": {taken}}}"
    );
    let labelled = format!("{{\"metadata\": {{\"labels\": {{\"a\": \"b\"}}}}, \"spec\": {taken}}}");
    let but = |fields: &str| {
        let mut all: Value = serde_json::from_str(taken).unwrap();
        let fields: Value = serde_json::from_str(fields).unwrap();
        let all_fields = all.as_object_mut().unwrap();
        all_fields.extend(fields.as_object().unwrap().clone());
        spec(&all.to_string())
    };
    let but_third = but(r#"{"node": "n3"}"#);
    let but_unbound = but(r#"{"binding": null}"#);
    let but_mac = but(r#"{"binding": {"mac": "b6:e7:00:00:00:01"}}"#);
    let but_identity = but(r#"{"binding": {"identity": "prod/thief"}}"#);
    let but_attached = but(r#"{"binding": {"attached": true}}"#);
    let but_released = but(&format!("{{\"release\": {MARK}}}"));
    try_all(
        &name(100),
        &[
            ("n2 takes", n2, &take, None),
            ("n3 takes", n3, &but_third, None),
            ("n2 takes and says whose Node it is", n2, &with_uid, None),
            ("n2 takes for n3", n2, &but_third, Some(ONLY_ASK)),
            (
                "n2 takes without the binding",
                n2,
                &but_unbound,
                Some(ONLY_ASK),
            ),
            ("n2 takes with another MAC", n2, &but_mac, Some(ONLY_ASK)),
            (
                "n2 takes with another identity",
                n2,
                &but_identity,
                Some(ONLY_ASK),
            ),
            ("n2 takes as attached", n2, &but_attached, Some(ONLY_ASK)),
            ("n2 takes and releases", n2, &but_released, Some(NO_RELEASE)),
            ("n2 takes and labels", n2, &labelled, Some(ONLY_ASK)),
            ("n2 unfences", n2, &unfence, Some(ONLY_ASK)),
            (
                "n2 changes the reason",
                n2,
                &spec(r#"{"fenced": {"reason": "mine"}}"#),
                Some(ONLY_ASK),
            ),
            ("n2 removes the finalizer", n2, no_finalizer, Some(ONLY_ASK)),
            ("n3 asks", n3, &spec(r#"{"handover": {"to": "n3"}}"#), None),
            ("n1 unfences itself", n1, &unfence, Some(NO_FENCE)),
            (
                "n1 gives, and so unfences itself",
                n1,
                &take,
                Some(NO_FENCE),
            ),
            (
                "n1 says that nobody has it",
                n1,
                &spec(r#"{"binding": null}"#),
                None,
            ),
            ("unbound takes", unbound, &take, Some(UNBOUND)),
            ("operator unfences", operator, &unfence, None),
            ("operator takes for n2", operator, &take, Some(MARKS_ONLY)),
            ("editor unfences", editor, &unfence, Some(NO_FENCE)),
            ("editor takes for n2", editor, &take, Some(MARKS_ONLY)),
            ("controllers unfence", controllers, &unfence, None),
            (
                "controllers take for n2",
                controllers,
                &take,
                Some(MARKS_ONLY),
            ),
            (
                "controllers remove the finalizer",
                controllers,
                no_finalizer,
                None,
            ),
            (
                "operator removes the finalizer",
                operator,
                no_finalizer,
                Some(FINALIZER),
            ),
        ],
    );
    allowed("controllers delete", &delete(controllers, &name(100)));
    denied("n2 deletes", &delete(n2, &name(100)), "may not delete it");

    // Once done it is n2's, and n1, back again, may ask for it as everybody else.
    let take = [
        "patch",
        "claim",
        &name(100),
        "--type=merge",
        "--patch",
        &take,
    ];
    n2.may(&take, "");
    let back = spec(r#"{"node": "n1", "epoch": 5}"#);
    denied(
        "n1 takes it back",
        &merge(n1, &name(100), &back),
        "node n2's and not fenced",
    );
    allowed(
        "n1 asks",
        &merge(n1, &name(100), &spec(r#"{"handover": {"to": "n1"}}"#)),
    );
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
    let (one, other) = (name(100), name(101));
    world.have("10.20.1.100", "{}");
    world.have("10.20.1.101", &format!("{{\"fenced\": {MARK}}}"));
    operator.may(&["delete", "claim", &one, "--wait=false"], "");
    controllers.may(&["delete", "claim", &other, "--wait=false"], "");
    for name in [&one, &other] {
        let claim = world.get(name);
        assert!(
            claim["metadata"]["deletionTimestamp"].is_string(),
            "{claim}"
        );
        assert_eq!(claim["spec"]["binding"]["identity"], "prod/db-0");
    }

    let no_finalizer = r#"{"metadata": {"finalizers": null}}"#;
    denied("n2", &merge(n2, &one, no_finalizer), ONLY_ASK);
    denied("operator", &merge(operator, &one, no_finalizer), FINALIZER);
    denied(
        "controllers",
        &merge(controllers, &one, no_finalizer),
        FINALIZER,
    );
    n1.may(
        &[
            "patch",
            "claim",
            &one,
            "--type=merge",
            "--patch",
            no_finalizer,
        ],
        "",
    );
    // A dead holder lets nothing go.
    denied(
        "operator",
        &merge(operator, &other, no_finalizer),
        FINALIZER,
    );
    controllers.may(
        &[
            "patch",
            "claim",
            &other,
            "--type=merge",
            "--patch",
            no_finalizer,
        ],
        "",
    );
    let rest = kubectl(
        &world.api,
        &["get", "claims", "-n", NAMESPACE, "-o", "name"],
    );
    assert_eq!(rest.trim(), "");
}

#[test]
fn pools_are_read_by_nodes_and_written_by_operators() {
    let world = World::new("api_pool_rights");
    let people = world.people();
    let People {
        n1,
        controllers,
        operator,
        editor,
        agent,
        ..
    } = &people;
    let pool = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "external-a", "namespace": NAMESPACE},
        "spec": {"network": "external", "rack": "a", "subnet": "10.20.1.0/24"},
    });
    let pool = pool.to_string();
    let create = ["create", "-f", "-"];
    let gateway = [
        "patch",
        "pool",
        "external-a",
        "--type=merge",
        "--patch",
        r#"{"spec": {"gateway": "10.20.1.1"}}"#,
    ];
    let status = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "external-a", "namespace": NAMESPACE},
        "status": {
            "observedGeneration": 1, "capacity": 253, "claimed": 0, "bound": 0, "attached": 0,
            "updateTime": "2026-01-01T00:00:00Z",
        },
    });
    let status = status.to_string();
    let count = ["apply", "--server-side", "--subresource=status", "-f", "-"];
    for who in [n1, controllers, editor, agent] {
        who.may_not(&create, &pool, FORBIDDEN);
    }
    operator.may(&create, &pool);
    for who in [n1, controllers, editor, agent] {
        who.may_not(&gateway, "", FORBIDDEN);
        who.may_not(&["delete", "pool", "external-a"], "", FORBIDDEN);
    }
    for who in [n1, operator, editor, agent] {
        who.may_not(&count, &status, FORBIDDEN);
    }
    controllers.may(&count, &status);
    operator.may(&gateway, "");
    n1.may(&["get", "pools"], "");
    agent.may_not(&["get", "pools"], "", FORBIDDEN);
    agent.may_not(&["get", "claims"], "", FORBIDDEN);
    operator.may(&["delete", "pool", "external-a"], "");
}

#[test]
fn role_alone_would_let_a_node_take_every_claim() {
    let world = World::new("api_claim_unpoliced");
    let people = world.people();
    world.have("10.20.1.100", "{}");
    let take = spec(r#"{"node": "n2", "epoch": 4}"#);
    denied("n2", &merge(&people.n2, &name(100), &take), NOT_FENCED);
    let binding = "validatingadmissionpolicybinding/berth-claims-are-their-holders";
    kubectl(&world.api, &["delete", binding]);
    // So it is the policy that refuses in the other tests.
    wait_for("the policy being gone", || {
        let said = merge(&people.n2, &name(100), &take);
        (said.success(), said)
    });
}
