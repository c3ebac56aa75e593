//! `ImagePull`s as a real API server takes them: what is refused before any agent sees it, how several ask for one node, that a status
//! only goes forward; and who may write what, and read which secrets.

use std::time::Duration;

use serde_json::{Value, json};
use tests_testbed::{ApiServer, Output, Pending, wait_patiently};

use crate::shipped::{Caller, NAMESPACE, add_node, defined, installed, kubectl};

/// New policies are in force within a second or two on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn object(node: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ImagePull",
        "metadata": {"name": node}, "spec": spec,
    })
}

/// What is asked for by this writer alone.
fn asks(api: &ApiServer, namespace: &str, manager: &str, spec: &Value) -> Output {
    let manager = format!("--field-manager={manager}");
    let words = [
        "apply",
        "--server-side",
        &manager,
        "-n",
        namespace,
        "-f",
        "-",
    ];
    api.kubectl_with(&words, &object("n1", spec).to_string())
        .unwrap()
}

#[track_caller]
fn is_refused(api: &ApiServer, spec: &Value, words: &str) {
    let input = object("n1", spec).to_string();
    let said = api.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &input);
    let said = said.unwrap();
    assert!(!said.success(), "{spec} was taken");
    assert!(said.stderr.contains(words), "{spec}: {}", said.stderr);
}

fn one(entry: &Value) -> Value {
    json!({"nodeName": "n1", "images": [entry]})
}

const NO_IMAGE: &str = "is not the name of an image with a tag or a digest";

/// Names that are none, or say no version.
const NOT_NAMES: [&str; 14] = [
    "registry.example/app",
    "registry.example:5000/app",
    "app@sha256:0123",
    "app@md5:0123456789abcdef0123456789abcdef",
    "Registry/App:v1",
    "registry.example/app:",
    "registry.example/app:-v1",
    "registry.example//app:v1",
    "/app:v1",
    "registry.example/app :v1",
    "registry.example/app:v1\n",
    "https://registry.example/app:v1",
    "user:password@registry.example/app:v1",
    "registry.example/app?x:v1",
];

#[test]
fn image_that_could_not_be_pulled_is_refused() {
    let api = defined("api_imagepull");
    for name in NOT_NAMES {
        is_refused(&api, &one(&json!({"image": name})), NO_IMAGE);
    }
    let names = [
        "app:v1".to_owned(),
        "team/app:v1".to_owned(),
        "localhost/app:v1".to_owned(),
        "registry.example:5000/a/b__c/d-e.f:V1.2_3".to_owned(),
        "[fd00::1]:5000/app:v1".to_owned(),
        format!("registry.example/app@{DIGEST}"),
        format!("registry.example/app:v1@{DIGEST}"),
        format!("registry.example/{}:v1", "a".repeat(480)),
    ];
    let images: Vec<_> = names.iter().map(|name| json!({"image": name})).collect();
    let said = asks(
        &api,
        "default",
        "me",
        &json!({"nodeName": "n1", "images": images}),
    );
    said.ok().unwrap();
}

fn numbered(number: usize) -> Value {
    json!({"image": format!("r.example/app:v{number}")})
}

fn many(count: usize) -> Vec<Value> {
    (0..count).map(numbered).collect()
}

/// One image with this field.
fn with(field: &str, value: Value) -> Value {
    let mut entry = numbered(1);
    entry[field] = value;
    one(&entry)
}

/// What is beyond a bound, and words of the answer.
fn unbounded() -> Vec<(Value, &'static str)> {
    let node = |field: &str, value: Value| json!({"nodeName": "n1", field: value});
    let twice = json!([numbered(1), numbered(1)]);
    let long = format!("r.example/{}:v1", "a".repeat(510));
    vec![
        (json!({"nodeName": "n2"}), "the name must be the node's"),
        (json!({"images": []}), "nodeName"),
        (node("parallelism", 0.into()), "greater than or equal to 1"),
        (node("parallelism", 9.into()), "less than or equal to 8"),
        (node("images", many(65).into()), "at most 64"),
        (node("images", twice), "Duplicate"),
        (with("timeoutSeconds", 0.into()), "greater than or equal"),
        (with("timeoutSeconds", 86_401.into()), "less than or equal"),
        (with("backOffLimit", 65.into()), "less than or equal to 64"),
        (with("backOffLimit", (-1).into()), "greater than or equal"),
        (with("pullPolicy", "Never".into()), "Unsupported value"),
        (
            with("pullSecrets", json!(["a", "b", "c", "d", "e"])),
            "at most 4",
        ),
        (with("pullSecrets", json!(["a", "a"])), "Duplicate"),
        (with("pullSecrets", json!(["../a"])), "should match"),
        (with("pullSecrets", json!(["other/a"])), "should match"),
        (with("requestedBy", "x".repeat(254).into()), "Too long"),
        (with("image", long.into()), "Too long"),
    ]
}

#[test]
fn bounds_are_kept_defaults_filled_in_and_the_node_stays() {
    let api = defined("api_imagepull_bounds");
    for (spec, words) in unbounded() {
        is_refused(&api, &spec, words);
    }
    let said = asks(
        &api,
        "default",
        "me",
        &json!({"nodeName": "n1", "images": many(64)}),
    );
    said.ok().unwrap();
    let made = api.kubectl_json(&["get", "impull", "n1"]).unwrap();
    assert_eq!(made["spec"]["parallelism"], 2);
    let filled = json!({
        "image": "r.example/app:v0", "pullPolicy": "IfNotPresent", "timeoutSeconds": 600, "backOffLimit": 3,
    });
    assert_eq!(made["spec"]["images"][0], filled);
    let words = [
        "patch",
        "impull",
        "n1",
        "--type=merge",
        "-p",
        r#"{"spec": {"nodeName": "n2"}}"#,
    ];
    let said = api.kubectl(&words).unwrap().stderr;
    assert!(
        said.contains("the node of an ImagePull cannot be changed"),
        "{said}"
    );
}

#[test]
fn several_ask_for_one_node_and_each_takes_back_its_own_only() {
    let api = defined("api_imagepull_share");
    let (a, b) = (
        json!({"image": "r.example/a:v1"}),
        json!({"image": "r.example/b:v1"}),
    );
    let images = || -> Vec<String> {
        let object = api.kubectl_json(&["get", "impull", "n1"]).unwrap();
        let images = object["spec"]["images"].as_array().into_iter().flatten();
        images
            .map(|it| it["image"].as_str().unwrap().to_owned())
            .collect()
    };
    asks(&api, "default", "one", &one(&a)).ok().unwrap();
    asks(
        &api,
        "default",
        "two",
        &json!({"nodeName": "n1", "images": [a, b]}),
    )
    .ok()
    .unwrap();
    assert_eq!(images(), ["r.example/a:v1", "r.example/b:v1"]);
    // The one wants nothing any more; the other still wants both.
    asks(&api, "default", "one", &json!({"nodeName": "n1"}))
        .ok()
        .unwrap();
    assert_eq!(images(), ["r.example/a:v1", "r.example/b:v1"]);
    // Who wants the same image otherwise is told whose it is.
    let said = asks(
        &api,
        "default",
        "one",
        &one(&json!({"image": "r.example/a:v1", "timeoutSeconds": 7})),
    );
    said.ok().unwrap();
    let said = asks(
        &api,
        "default",
        "two",
        &one(&json!({"image": "r.example/a:v1", "timeoutSeconds": 9})),
    );
    assert!(
        said.stderr.contains("conflict with \"one\""),
        "{}",
        said.stderr
    );
    asks(&api, "default", "two", &json!({"nodeName": "n1"}))
        .ok()
        .unwrap();
    assert_eq!(images(), ["r.example/a:v1"]);
}

/// A status with one image of this phase.
fn status(phase: &str, request: &str, attempts: u32, more: &Value) -> Value {
    let mut image = json!({"image": "r.example/a:v1", "request": request, "phase": phase, "attempts": attempts});
    for (field, value) in more.as_object().unwrap() {
        image[field] = value.clone();
    }
    let count = |of: &str| u32::from(of == phase);
    json!({
        "observedGeneration": 1, "wanted": 1, "pulling": count("Pulling"),
        "succeeded": count("Succeeded"), "failed": count("Failed"), "images": [image],
    })
}

fn write_status(api: &ApiServer, status: &Value) -> Output {
    let object = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ImagePull",
        "metadata": {"name": "n1", "namespace": "default"}, "status": status,
    });
    let words = [
        "apply",
        "--server-side",
        "--subresource=status",
        "--force-conflicts",
        "-f",
        "-",
    ];
    api.kubectl_with(&words, &object.to_string()).unwrap()
}

const NOW: &str = "2026-01-01T00:00:00Z";

/// What no status may say after this one, and words of the answer.
fn backward(pulling: &Value) -> Vec<(Value, &'static str)> {
    let mut miscounted = pulling.clone();
    miscounted["pulling"] = 0.into();
    let of = |phase: &str, more: Value| status(phase, "aa", 2, &more);
    let ill = json!({"reason": "Registry", "message": "500"});
    let strange = json!({"completedAt": NOW, "digest": "sha256:0"});
    let earlier = status("Pulling", "aa", 1, &json!({"startedAt": NOW}));
    vec![
        (miscounted, "pulling is the number of images in phase"),
        (of("Pulling", json!({})), "says since when"),
        (of("Succeeded", json!({})), "says when (completedAt)"),
        (
            of("Pending", json!({"completedAt": NOW})),
            "says when (completedAt)",
        ),
        (of("BackOff", ill), "nextAttemptAt"),
        (of("BackOff", json!({"nextAttemptAt": NOW})), "says why"),
        (of("Succeeded", strange), "should match"),
        (earlier, "attempts only become more"),
    ]
}

#[test]
fn status_of_an_image_goes_forward_only_and_says_what_it_must() {
    let api = defined("api_imagepull_status");
    let asked = one(&json!({"image": "r.example/a:v1"}));
    asks(&api, "default", "me", &asked).ok().unwrap();
    let on_its_way = json!({"startedAt": NOW, "progress": {"receivedBytes": 1, "knownBytes": 2}});
    let pulling = status("Pulling", "aa", 2, &on_its_way);
    write_status(&api, &pulling).ok().unwrap();
    for (status, words) in backward(&pulling) {
        let said = write_status(&api, &status);
        assert!(!said.success(), "{status} was taken");
        assert!(said.stderr.contains(words), "{status}: {}", said.stderr);
    }
    let failed = json!({"completedAt": NOW, "reason": "NotFound", "message": "no such image"});
    let failed = status("Failed", "aa", 2, &failed);
    write_status(&api, &failed).ok().unwrap();
    let said = write_status(&api, &pulling).stderr;
    assert!(
        said.contains("stays so until the entry is changed"),
        "{said}"
    );
    let shown = kubectl(&api, &["get", "impull", "-o", "wide"]);
    assert!(shown.contains("no such image"), "{shown}");
    // Another request for the same image begins anew.
    let anew = status("Pending", "bb", 0, &json!({}));
    write_status(&api, &anew).ok().unwrap();
    let succeeded = json!({"completedAt": NOW, "digest": DIGEST});
    let succeeded = status("Succeeded", "bb", 1, &succeeded);
    write_status(&api, &succeeded).ok().unwrap();
}

const UNBOUND: &str = "the token is not bound to a node";

/// As an agent writes it: kubectl's own patch would read first.
const APPLY_STATUS: &[&str] = &["apply", "--server-side", "--subresource=status", "-f", "-"];

/// An agent's write of a status, with these labels.
fn report(node: &str, labels: &Value) -> String {
    let report = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ImagePull",
        "metadata": {"name": node, "namespace": NAMESPACE, "labels": labels},
        "status": {
            "observedGeneration": 1, "wanted": 1, "pulling": 0, "succeeded": 0, "failed": 0,
            "images": [{"image": "r.example/a:v1", "request": "aa", "phase": "Pending", "attempts": 0}],
        },
    });
    report.to_string()
}

fn ask(caller: &Caller<'_>, words: &[&str], input: &str) -> String {
    let said = caller.ask(words, input);
    if said.success() {
        format!("allowed: {}", said.stdout)
    } else {
        said.stderr
    }
}

/// Two nodes that are asked for an image, and a secret of the same name in three namespaces.
fn asked(name: &str) -> ApiServer {
    let api = installed(name);
    for node in ["n1", "n2"] {
        add_node(&api, node);
        let spec = json!({"nodeName": node, "images": [{"image": "r.example/a:v1"}]});
        let mut asked = object(node, &spec);
        asked["metadata"]["namespace"] = NAMESPACE.into();
        api.apply(&asked.to_string()).unwrap();
    }
    for namespace in ["berth-pull-secrets", NAMESPACE, "default"] {
        let make = ["create", "secret", "docker-registry", "r", "-n", namespace];
        let login = [
            "--docker-server=r.example",
            "--docker-username=u",
            "--docker-password=p",
        ];
        kubectl(&api, &[&make[..], &login].concat());
    }
    let unbound = Caller::with_token(&api, "berth-agent", &[]);
    let waited = wait_patiently("the policy in force", DEADLINE, || {
        let said = ask(&unbound, APPLY_STATUS, &report("n1", &json!({})));
        if said.contains(UNBOUND) {
            return Ok(());
        }
        Err(Pending::because(said))
    });
    waited.unwrap();
    api
}

#[test]
fn agent_reports_on_its_own_node_and_asks_for_nothing() {
    let api = asked("api_imagepull_rights");
    let n1 = Caller::in_pod(&api, "berth-agent", "n1");
    let n2 = Caller::in_pod(&api, "berth-agent", "n2");
    let plain = report("n1", &json!({}));
    let said = ask(&n2, APPLY_STATUS, &plain);
    let words = "the agent of node n2 may write ImagePull n2 only, not n1";
    assert!(said.contains(words), "{said}");
    n1.may(APPLY_STATUS, &plain);
    // Of what comes along with a status nothing is taken.
    n1.may(APPLY_STATUS, &report("n1", &json!({"a": "b"})));
    let words = ["get", "imagepull", "n1", "-n", NAMESPACE];
    let written = api.kubectl_json(&words).unwrap();
    assert_eq!(written["status"]["wanted"], 1);
    assert_eq!(written["metadata"]["labels"], Value::Null);
    let follow = ["get", "imagepulls", "--field-selector=metadata.name=n1"];
    n1.may(&follow, "");

    let spec = object("n1", &json!({"nodeName": "n1", "parallelism": 8})).to_string();
    let path = "/apis/berth.dev/v1alpha1/namespaces/berth-system/imagepulls/n1";
    let denied: [(&[&str], &str); 3] = [
        (&["apply", "--server-side", "-f", "-"], &spec),
        (&["get", "imagepull", "n1"], ""),
        (&["delete", "--raw", path], ""),
    ];
    for (words, input) in denied {
        n1.may_not(words, input, "orbidden");
    }
    secrets(&n1);
}

/// Of secrets an agent reads those of registries, by their names.
fn secrets(agent: &Caller<'_>) {
    let get = |namespace: &'static str| ["get", "secret", "r", "-o", "name", "-n", namespace];
    agent.may(&get("berth-pull-secrets"), "");
    let make = [
        "create",
        "secret",
        "generic",
        "x",
        "-n",
        "berth-pull-secrets",
    ];
    let denied: [&[&str]; 4] = [
        &["get", "secrets", "-n", "berth-pull-secrets"],
        &make,
        &get(NAMESPACE),
        &get("default"),
    ];
    for words in denied {
        agent.may_not(words, "", "orbidden");
    }
}
