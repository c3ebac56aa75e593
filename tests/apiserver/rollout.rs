//! `kubectl berth rollout` as it is typed, with the shipped rights of who releases and no others. What controllers would write (revisions,
//! status, the Pods' annotations) is the test's own: no controller and no kubelet runs here.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output, Pending, Process, binary, wait_patiently};

use crate::shipped::{Caller, NAMESPACE, installed, kubectl};

/// Kinds and roles are in force within a second or two on an idle machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// When everything of the test was.
const THEN: &str = "2026-01-01T00:00:00Z";

/// An API server with somebody who releases in the namespace `prod`, and somebody who may do nothing.
struct World {
    api: ApiServer,
    folder: tempfile::TempDir,
}

impl World {
    fn new(name: &str) -> Self {
        let api = installed(name);
        kubectl(&api, &["create", "namespace", "prod"]);
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "prod"}});
        // The controller that makes it does not run here.
        api.apply(&account.to_string()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let world = Self { api, folder };
        for account in ["jane", "nobody"] {
            let words = ["create", "serviceaccount", account, "-n", NAMESPACE];
            kubectl(&world.api, &words);
            world.write_kubeconfig(account);
        }
        let jane = format!("--serviceaccount={NAMESPACE}:jane");
        let words = [
            "create",
            "rolebinding",
            "berth-releasers",
            "-n",
            "prod",
            "--clusterrole=berth-releaser",
            &jane,
        ];
        kubectl(&world.api, &words);
        world
    }

    fn path(&self, account: &str) -> PathBuf {
        self.folder.path().join(account)
    }

    fn write_kubeconfig(&self, account: &str) {
        let caller = Caller::with_token(&self.api, account, &[]);
        let view = self.api.kubectl_json(&["config", "view", "--raw"]).unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": view["clusters"][0]["cluster"]}],
            "users": [{"name": "c", "user": {"token": caller.token()}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": "prod"}}],
        });
        fs::write(self.path(account), config.to_string()).unwrap();
    }

    /// What this account is told.
    fn rollout(&self, account: &str, words: &[&str]) -> Output {
        let program = binary("kubectl-berth").unwrap();
        let kubeconfig = format!("KUBECONFIG={}", self.path(account).display());
        let mut all = vec!["env", &kubeconfig, program.to_str().unwrap(), "rollout"];
        all.extend(words);
        self.api.machine().exec(&all).unwrap()
    }

    /// The same of who releases, which must end with this code and say all these words.
    #[track_caller]
    fn said(&self, code: i32, words: &[&str], all: &[&str]) -> String {
        let said = self.rollout("jane", words);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert_eq!(said.status.code(), Some(code), "{words:?}: {text}");
        for expected in all {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
        text
    }

    /// The same, going on beside.
    fn begin(&self, name: &str, words: &[&str]) -> Process {
        let machine = self.api.machine();
        let mut command = machine.command(binary("kubectl-berth").unwrap());
        command
            .arg("rollout")
            .args(words)
            .env("KUBECONFIG", self.path("jane"));
        machine.spawn_command(name, command).unwrap()
    }

    fn apply(&self, object: &Value) {
        let waited = wait_patiently("the object being taken", DEADLINE, || {
            let applied = self.api.apply(&object.to_string());
            applied.map_err(|error| Pending(format!("{error:#}")))
        });
        waited.unwrap();
    }

    fn set(&self) -> Value {
        let words = ["get", "inplaceset", "shop", "-n", "prod"];
        self.api.kubectl_json(&words).unwrap()
    }

    fn patch(&self, patch: &Value) {
        let patch = patch.to_string();
        let words = ["--type=merge", "-p", &patch];
        let all = [&["patch", "inplaceset", "shop", "-n", "prod"], &words[..]].concat();
        kubectl(&self.api, &all);
    }

    /// What a leader would say of the set as it is now; `more` adds to it.
    fn tell(&self, updated: u32, release: &Value) {
        let mut whole = json!({
            "id": "R-2", "fromRevision": "aa", "toRevision": "bb", "startedAt": THEN, "waitsFor": "", "pods": [],
        });
        for (key, value) in release.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let status = json!({"status": {
            "observedGeneration": self.set()["metadata"]["generation"], "replicas": 2, "readyReplicas": 2,
            "availableReplicas": 2, "updatedReplicas": updated, "updatedReadyReplicas": updated, "draining": 2 - updated,
            "upgrading": 0, "attaching": 0, "collisionCount": 0, "currentRevision": "aa", "updateRevision": "bb",
            "labelSelector": "app=shop", "release": whole, "conditions": [],
        }});
        let patch = status.to_string();
        let words = ["--subresource=status", "--type=merge", "-p", &patch];
        let all = [&["patch", "inplaceset", "shop", "-n", "prod"], &words[..]].concat();
        kubectl(&self.api, &all);
    }

    /// A Pod of the set; `state` of what is under way with it.
    fn add_pod(&self, name: &str, revision: &str, state: Option<&str>) {
        let uid = self.set()["metadata"]["uid"].clone();
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "prod", "ownerReferences": owner(&uid),
                "labels": {"app": "shop", "controller-revision-hash": revision},
            },
            "spec": {
                "automountServiceAccountToken": false,
                "containers": [{"name": "app", "image": "localhost/app:v1"}],
            },
        });
        if let Some(state) = state {
            let operation = json!({
                "op": "Upgrade", "releaseId": "R-2", "toRevision": "bb", "state": state, "since": THEN, "term": 1,
            });
            pod["metadata"]["annotations"] = json!({"berth.dev/lossless": operation.to_string()});
        }
        self.apply(&pod);
    }

    /// Its upgrade is over.
    fn finish(&self, name: &str) {
        let patch = json!({"metadata": {
            "annotations": {"berth.dev/lossless": null}, "labels": {"controller-revision-hash": "bb"},
        }});
        let patch = patch.to_string();
        let words = [
            "patch",
            "pod",
            name,
            "-n",
            "prod",
            "--type=merge",
            "-p",
            &patch,
        ];
        kubectl(&self.api, &words);
    }
}

fn owner(uid: &Value) -> Value {
    json!([{
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "name": "shop", "uid": uid, "controller": true,
    }])
}

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    })
}

fn set() -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "InPlaceSet", "metadata": {"name": "shop", "namespace": "prod"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "shop"}}, "template": template("localhost/app:v2"),
        },
    })
}

/// Revisions 1 and 2 of the set, and one of a set that had its name before.
fn add_revisions(world: &World) {
    let uid = world.set()["metadata"]["uid"].clone();
    for (hash, number, image, uid) in [
        ("aa", 1, "localhost/app:v1", &uid),
        ("bb", 2, "localhost/app:v2", &uid),
        ("zz", 7, "localhost/app:v0", &json!("another")),
    ] {
        world.apply(&json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {
                "name": format!("shop-{hash}"), "namespace": "prod", "ownerReferences": owner(uid),
                "labels": {"controller-revision-hash": hash},
            },
            "revision": number, "data": {"spec": {"template": template(image)}},
        }));
    }
}

#[test]
fn releases_are_followed_paused_taken_back_and_listed_with_the_rights_of_who_releases() {
    let world = World::new("api_rollout");
    world.apply(&set());
    let waited = wait_patiently("the rights of who releases", DEADLINE, || {
        let said = world.rollout("jane", &["history", "shop"]);
        said.success().then_some(()).ok_or(Pending(said.stderr))
    });
    waited.unwrap();
    nobody_has_looked(&world);
    add_revisions(&world);
    is_told_at_one_moment(&world);
    is_followed_until_it_ends(&world);
    is_listed(&world);
    is_paused_and_restarted(&world);
    is_taken_back(&world);
    is_written_to_what_was_read(&world);
}

fn nobody_has_looked(world: &World) {
    let words = ["status", "shop", "--watch=false"];
    let waits = "Progressing: waits for the controllers to look at the set";
    world.said(1, &words, &[waits]);
    world.said(0, &["history", "shop"], &["has no revisions"]);
    world.said(2, &["undo", "shop"], &["there is none at all"]);
    let gone = "there is no InPlaceSet prod/other";
    world.said(2, &["status", "other"], &[gone]);
    let said = world.rollout("nobody", &["pause", "shop"]);
    assert_eq!(said.status.code(), Some(2));
    assert!(said.stderr.contains("forbidden"), "{}", said.stderr);
}

fn is_told_at_one_moment(world: &World) {
    world.add_pod("shop-0", "bb", None);
    world.add_pod("shop-1", "aa", Some("Draining"));
    let waits = "finalizer protection.berth.dev/slb to go";
    let pods = json!([{"name": "shop-1", "state": "Draining", "waitsFor": waits, "since": THEN}]);
    world.tell(
        1,
        &json!({"phase": "Progressing", "waitsFor": "shop-1 waits", "since": THEN, "pods": pods}),
    );
    let once = ["status", "shop", "--watch=false"];
    let said = world.said(
        1,
        &once,
        &[
            "release R-2 from revision aa to bb",
            "1 of 2 Pods updated and ready, 1 draining",
            waits,
        ],
    );
    let line = |pod: &str| said.lines().find(|line| line.starts_with(pod)).unwrap();
    assert!(line("shop-0").contains("Released"), "{said}");
    assert!(line("shop-1").contains("Draining"), "{said}");
    let json = world.rollout("jane", &[&once[..], &["-o", "json"]].concat());
    let told: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&told["verdict"], &told["pods"][1]["waitsFor"]),
        (&json!("Progressing"), &json!(waits))
    );
    world.said(
        1,
        &["status", "shop", "--timeout=1"],
        &["TimedOut: ", "and goes on"],
    );

    world.tell(
        1,
        &json!({"phase": "Held", "waitsFor": "shop-1 was given up", "pods": pods}),
    );
    let back = "kubectl berth rollout undo prod/shop";
    world.said(1, &["status", "shop"], &["Held: shop-1 was given up", back]);
}

fn is_followed_until_it_ends(world: &World) {
    world.tell(1, &json!({"phase": "Progressing"}));
    let mut running = world.begin("rollout-status", &["status", "shop", "--color=never"]);
    let waited = wait_patiently("the Pod's first step", DEADLINE, || {
        let log = running.log();
        let told = log.contains("shop-1: Draining (since 2026-01-01T00:00:00Z)");
        told.then_some(()).ok_or(Pending(log))
    });
    waited.unwrap();
    world.finish("shop-1");
    world.tell(2, &json!({"phase": "Succeeded"}));
    let status = running.wait(DEADLINE).unwrap();
    let log = running.log();
    assert_eq!(status.code(), Some(0), "{log}");
    for words in [
        "shop-1: Released",
        "2 of 2 Pods updated and ready",
        "Succeeded: all 2 Pods are at revision bb and ready",
    ] {
        assert!(log.contains(words), "{log}");
    }
}

fn is_listed(world: &World) {
    let said = world.said(0, &["history", "inplaceset/shop"], &["IMAGES"]);
    let line = |number: &str| said.lines().find(|line| line.starts_with(number)).unwrap();
    for (number, words) in [
        ("1", ["aa", "localhost/app:v1", "current"]),
        ("2", ["bb", "localhost/app:v2", "update"]),
    ] {
        for word in words {
            assert!(line(number).contains(word), "{said}");
        }
    }
    assert!(!said.contains("zz"), "{said}");
    let words = ["history", "shop", "--revision=1"];
    world.said(0, &words, &["Revision 1 (aa)", "image: localhost/app:v1"]);
    let words = ["history", "shop", "--revision=7"];
    world.said(2, &words, &["has no revision 7; it has 1, 2"]);
}

fn is_paused_and_restarted(world: &World) {
    let restarted = || {
        let set = world.set();
        set["spec"]["template"]["metadata"]["annotations"]["berth.dev/restarted-at"].clone()
    };
    world.said(0, &["pause", "shop"], &["is paused: no further Pod"]);
    assert_eq!(world.set()["spec"]["paused"], true);
    world.said(0, &["pause", "shop"], &["is paused already"]);
    let refused = "kubectl berth rollout resume prod/shop, then again";
    world.said(2, &["restart", "shop"], &[refused]);
    assert!(restarted().is_null());
    world.said(0, &["resume", "shop"], &["goes on"]);
    assert_eq!(world.set()["spec"]["paused"], false);
    let status = "kubectl berth rollout status prod/shop";
    world.said(0, &["restart", "shop"], &["restarted in place", status]);
    assert!(restarted().as_str().unwrap().ends_with('Z'));
}

fn is_taken_back(world: &World) {
    world.said(
        2,
        &["undo", "shop", "--to-revision=9"],
        &["has no revision 9; there are 1 (aa), 2 (bb)"],
    );
    let before = world.set();
    world.said(
        0,
        &["undo", "shop", "--dry-run"],
        &["would get the template of revision 1 (aa)"],
    );
    assert_eq!(world.set(), before);
    world.said(
        0,
        &["undo", "shop", "--to-revision=1"],
        &["gets the template of revision 1 (aa)"],
    );
    // As a whole: what was there besides is gone.
    assert_eq!(
        world.set()["spec"]["template"],
        template("localhost/app:v1")
    );
    let words = ["undo", "shop", "--to-revision=1"];
    world.said(0, &words, &["is that of revision 1 (aa) already"]);
    world.said(
        0,
        &["undo", "shop"],
        &["gets the template of revision 2 (bb)"],
    );
    assert_eq!(
        world.set()["spec"]["template"],
        template("localhost/app:v2")
    );

    world.patch(&json!({"spec": {"revision": "bb"}}));
    for words in [&["undo", "shop"][..], &["restart", "shop"]] {
        world.said(2, words, &["is pinned to revision bb", "take the pin away"]);
    }
    world.patch(&json!({"spec": {"revision": null}}));
}

/// What the API server makes of the preconditions that the command writes: of an older version, and of another set of that name.
fn is_written_to_what_was_read(world: &World) {
    let old = world.set()["metadata"]["resourceVersion"].clone();
    world.patch(&json!({"spec": {"minReadySeconds": 1}}));
    let before = world.set();
    let template = json!([
        {"op": "replace", "path": "/metadata/resourceVersion", "value": old},
        {"op": "replace", "path": "/spec/template", "value": template("localhost/app:v9")},
    ]);
    let uid = json!({"metadata": {"uid": "5c1b0000-0000-0000-0000-000000000000"}, "spec": {"paused": true}});
    for (kind, patch, words) in [
        ("--type=json", template, "the object has been modified"),
        ("--type=merge", uid, "metadata.uid"),
    ] {
        let patch = patch.to_string();
        let words_of = [
            "patch",
            "inplaceset",
            "shop",
            "-n",
            "prod",
            kind,
            "-p",
            &patch,
        ];
        let said = world.api.kubectl(&words_of).unwrap();
        assert!(!said.success(), "{}", said.stdout);
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
    assert_eq!(world.set(), before);
}
