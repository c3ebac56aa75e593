//! Everybody who may have to do with claims, with the tokens they would have, and how they try something.

use std::time::Duration;

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output, Pending, wait_patiently};

use crate::shipped::{Caller, NAMESPACE, add_node, installed, kubectl};

/// New kinds, roles and policies are in force within a second or two on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) const UNBOUND: &str = "the token is not bound to a node";
pub(super) const FORBIDDEN: &str = "orbidden";

const MARK: &str = r#"{"reason": "no power", "by": "alice", "at": "2026-01-01T00:00:00Z"}"#;

/// Who tries something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    /// The daemon of the claims' holder.
    N1,
    /// The daemon of another node.
    N2,
    /// And of a third.
    N3,
    /// Who has a token of the daemons' account that no kubelet made.
    Unbound,
    Controllers,
    Operator,
    /// May update claims, and has none of our verbs.
    Editor,
    Agent,
}

/// Who, what is merged into the claim (into its spec, where no metadata is named; `MARK` is a mark), and why not; nothing: it is
/// allowed.
pub(super) type Row = (Who, &'static str, Option<&'static str>);

/// An API server with all rights, three nodes, an operator and an editor.
pub(super) struct World {
    pub(super) api: ApiServer,
}

impl World {
    pub(super) fn new(name: &str) -> Self {
        let api = installed(name);
        for node in ["n1", "n2", "n3"] {
            add_node(&api, node);
        }
        let create = |words: &str| {
            let words = words.split(' ');
            let all: Vec<_> = ["create", "-n", NAMESPACE]
                .into_iter()
                .chain(words)
                .collect();
            kubectl(&api, &all)
        };
        create("serviceaccount alice");
        create("serviceaccount bob");
        create(
            "role editor --verb=get,list,create,update,patch,delete --resource=claims.berth.dev",
        );
        create("rolebinding editors --role=editor --serviceaccount=berth-system:bob");
        create(
            "clusterrolebinding operators --clusterrole=berth-operator --serviceaccount=berth-system:alice",
        );
        Self { api }
    }

    /// Everybody, once roles and policy are in force.
    pub(super) fn people(&self) -> People<'_> {
        let api = &self.api;
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
        wait_for("the policy being in force", || {
            let said = create(&people.unbound, &claim("10.20.1.1", "{}"));
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

    /// Puts a claim of n1 there, as who may do everything.
    pub(super) fn have(&self, address: &str, fields: &str) {
        let object = claim(address, fields).to_string();
        self.api.apply(&object).unwrap();
    }
}

/// Everybody's tokens.
pub(super) struct People<'a> {
    pub(super) n1: Caller<'a>,
    pub(super) n2: Caller<'a>,
    n3: Caller<'a>,
    pub(super) unbound: Caller<'a>,
    pub(super) controllers: Caller<'a>,
    pub(super) operator: Caller<'a>,
    pub(super) editor: Caller<'a>,
    pub(super) agent: Caller<'a>,
}

impl<'a> People<'a> {
    pub(super) fn get(&self, who: Who) -> &Caller<'a> {
        match who {
            Who::N1 => &self.n1,
            Who::N2 => &self.n2,
            Who::N3 => &self.n3,
            Who::Unbound => &self.unbound,
            Who::Controllers => &self.controllers,
            Who::Operator => &self.operator,
            Who::Editor => &self.editor,
            Who::Agent => &self.agent,
        }
    }

    /// Tries every row on a claim that stays as it is.
    pub(super) fn try_all(&self, name: &str, rows: &[Row]) {
        for (who, fields, because) in rows {
            let case = format!("{name}: {who:?}: {fields}");
            let said = merge(self.get(*who), name, fields);
            judge(&case, &said, *because);
        }
    }
}

/// A claim of node n1 with a held binding, and what else is merged into its spec.
pub(super) fn claim(address: &str, fields: &str) -> Value {
    let mut spec = json!({
        "pool": "external-a", "network": "external", "rack": "a", "address": address, "node": "n1", "epoch": 3,
        "binding": {
            "identity": "prod/db-0", "mac": "b6:e7:0a:14:01:64", "addresses": [address],
            "origin": {"kind": "Pod"}, "attached": false,
        },
    });
    let fields: Value = serde_json::from_str(&fields.replace("MARK", MARK)).unwrap();
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

pub(super) fn create(who: &Caller<'_>, object: &Value) -> Output {
    let words = ["create", "--dry-run=server", "-f", "-"];
    who.ask(&words, &object.to_string())
}

pub(super) fn delete(who: &Caller<'_>, name: &str) -> Output {
    who.ask(&["delete", "claim", name, "--dry-run=server"], "")
}

pub(super) fn merge(who: &Caller<'_>, name: &str, fields: &str) -> Output {
    let patch = whole(fields);
    let words = [
        "patch",
        "claim",
        name,
        "--dry-run=server",
        "--type=merge",
        "--patch",
        &patch,
    ];
    who.ask(&words, "")
}

/// The same, done.
pub(super) fn merge_now(who: &Caller<'_>, name: &str, fields: &str) {
    let patch = whole(fields);
    who.may(
        &["patch", "claim", name, "--type=merge", "--patch", &patch],
        "",
    );
}

fn whole(fields: &str) -> String {
    let fields = fields.replace("MARK", MARK);
    if fields.contains("\"metadata\"") {
        fields
    } else {
        format!("{{\"spec\": {fields}}}")
    }
}

/// It was allowed, or denied with these words.
pub(super) fn judge(case: &str, said: &Output, because: Option<&str>) {
    let Some(because) = because else {
        assert!(said.success(), "{case}: {}", said.stderr);
        return;
    };
    assert!(!said.success(), "{case} was allowed: {}", said.stdout);
    assert!(said.stderr.contains(because), "{case}: {}", said.stderr);
}

pub(super) fn wait_for(what: &str, holds: impl Fn() -> (bool, Output)) {
    let waited = wait_patiently(what, DEADLINE, || match holds() {
        (true, _) => Ok(()),
        (false, said) => Err(Pending::because(format!("{}{}", said.stdout, said.stderr))),
    });
    waited.unwrap();
}
