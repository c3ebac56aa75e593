//! Containers restarted in place by `ContainerRestart`, on real nodes: what stays, how a stop goes, and that a verdict is one.
//!
//! By the Pods' own kernel and by Kubernetes' objects, never by what the agent says of itself alone.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};
use tests_testbed::Cluster;

use crate::seen::{container, exec_in, pod, remove, wait_for};
use crate::site::{Seen, look, shared, wait_ready};

mod outage;
mod turns;
mod unready;

/// Ends at once when it is told to.
const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";

/// Notes the first line of each request, and answers it: not before it was asked.
const LISTENER: &str = r#"
echo 'read -r line; echo "$line" >> /tmp/asked; printf "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"' > /tmp/answer
exec nc -ll -p 7000 -e sh /tmp/answer
"#;

/// What a Pod is, as its own kernel and Kubernetes say it.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    uid: String,
    node: String,
    seen: Seen,
    /// The numbers of both ends of its link: those of another sandbox are others.
    pair: String,
}

/// One container, as Kubernetes says it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Runs {
    id: String,
    restarts: u64,
}

fn object(cluster: &Cluster, kind: &str, name: &str) -> Result<Value, String> {
    let object = cluster.kubectl_json(&["get", kind, name]);
    object.map_err(|error| format!("{error:#}"))
}

fn facts(cluster: &Cluster, name: &str) -> Facts {
    let object = object(cluster, "pod", name).unwrap();
    let link = exec_in(
        cluster,
        name,
        "app",
        &["ip", "-o", "link", "show", "dev", "eth0"],
    );
    let pair: Vec<&str> = link.split_whitespace().take(2).collect();
    Facts {
        uid: text(&object["metadata"]["uid"]),
        node: text(&object["spec"]["nodeName"]),
        seen: look(cluster, name),
        pair: pair.join(" "),
    }
}

fn containers(cluster: &Cluster, name: &str) -> BTreeMap<String, Runs> {
    let object = object(cluster, "pod", name).unwrap();
    let statuses = object["status"]["containerStatuses"].as_array().unwrap();
    let runs = |status: &Value| Runs {
        id: text(&status["containerID"]),
        restarts: status["restartCount"].as_u64().unwrap(),
    };
    statuses
        .iter()
        .map(|status| (text(&status["name"]), runs(status)))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A time of Kubernetes', in seconds.
fn seconds(value: &Value) -> u64 {
    let time: proto_crd::time::Timestamp = value.as_str().unwrap().parse().unwrap();
    time.since(proto_crd::time::Timestamp::default()).as_secs()
}

/// A Pod with these containers on a node.
fn apply_pod(cluster: &Cluster, name: &str, node: &str, containers: &[Value], more: &Value) {
    let mut spec = json!({
        "nodeSelector": {"kubernetes.io/hostname": node}, "terminationGracePeriodSeconds": 30, "containers": containers,
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    cluster.apply(&pod(name, &spec).to_string()).unwrap();
}

/// A container that ends at once when it is told to, with a preStop hook.
fn hooked(hook: &Value) -> Value {
    let mut container = container("app", FOREVER);
    container["lifecycle"] = json!({"preStop": hook});
    container
}

/// Asks for a restart of containers of a Pod. `spec` adds to the request.
fn ask(cluster: &Cluster, name: &str, of: &str, containers: &[&str], spec: &Value) {
    let pod = object(cluster, "pod", of).unwrap();
    let targets: Vec<Value> = containers
        .iter()
        .map(|name| json!({"name": name}))
        .collect();
    let mut request = json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "ContainerRestart", "metadata": {"name": name},
        "spec": {
            "nodeName": pod["spec"]["nodeName"], "podName": of, "podUID": pod["metadata"]["uid"], "containers": targets,
        },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        request["spec"][key] = value.clone();
    }
    cluster.apply(&request.to_string()).unwrap();
}

/// Waits until the status of a request is as wanted.
fn wait_status(cluster: &Cluster, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("{name}: {what}"), || {
        let status = object(cluster, "containerrestart", name)?["status"].clone();
        if holds(&status) {
            return Ok(status);
        }
        Err(status.to_string())
    })
}

/// Waits for the verdict on a request.
fn wait_end(cluster: &Cluster, name: &str) -> Value {
    wait_status(cluster, name, "a verdict", |status| {
        ["Succeeded", "Failed"]
            .map(Value::from)
            .contains(&status["phase"])
    })
}

fn wait_succeeded(cluster: &Cluster, name: &str) -> Value {
    let status = wait_end(cluster, name);
    assert_eq!(status["phase"], "Succeeded", "{status}");
    status
}

fn wait_failed(cluster: &Cluster, name: &str, reason: &str) -> Value {
    let status = wait_end(cluster, name);
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&"Failed".into(), &reason.into()),
        "{status}"
    );
    status
}

/// The agent tells of the verdict where people look at the Pod, once.
fn assert_told(cluster: &Cluster, request: &str, of: &str, reason: &str) {
    wait_for(&format!("an Event {reason} on {of}"), || {
        let words = ["get", "events.events.k8s.io"];
        let all = cluster.kubectl_json(&words);
        let all = all.map_err(|error| format!("{error:#}"))?;
        let all = all["items"].as_array().cloned().unwrap_or_default();
        let is_this = |it: &&Value| {
            it["reportingController"] == "berth.dev/agent"
                && it["regarding"]["kind"] == "Pod"
                && it["regarding"]["name"] == of
                && it["related"]["name"] == request
        };
        let found: Vec<_> = all.iter().filter(is_this).collect();
        match found[..] {
            [one] if one["reason"] == reason => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    });
}

/// How many seconds a stop took: from the decision to the end of the container that ran before.
fn stop_took(cluster: &Cluster, status: &Value, pod: &str) -> u64 {
    let object = object(cluster, "pod", pod).unwrap();
    let statuses = object["status"]["containerStatuses"].as_array().unwrap();
    let app = statuses
        .iter()
        .find(|status| status["name"] == "app")
        .unwrap();
    let ended = seconds(&app["lastState"]["terminated"]["finishedAt"]);
    ended - seconds(&status["containers"][0]["killedAt"])
}

#[test]
fn container_is_another_one_and_everything_else_is_as_it_was_with_both_runtimes() {
    let cluster = shared();
    let pods = [("restart-n1", "n1"), ("restart-n2", "n2")];
    let both = [container("app", FOREVER), container("side", FOREVER)];
    for (name, node) in pods {
        apply_pod(&cluster, name, node, &both, &json!({}));
    }
    let before = pods.map(|(name, _)| {
        wait_ready(&cluster, name, "");
        (facts(&cluster, name), containers(&cluster, name))
    });
    for ((name, _), (facts_before, before)) in pods.iter().zip(before) {
        // Not both at once: what has ended is gone after its time, also while the other is still being looked at.
        let spec = json!({"strategy": {"minStartedSeconds": 5}, "ttlSecondsAfterFinished": 20});
        ask(&cluster, name, name, &["app"], &spec);
        let status = wait_succeeded(&cluster, name);
        let app = &status["containers"][0];
        let after = containers(&cluster, name);
        assert_eq!(facts(&cluster, name), facts_before);
        assert_eq!(after["side"], before["side"]);
        assert_eq!((before["app"].restarts, after["app"].restarts), (0, 1));
        assert!(
            before["app"].id.ends_with(&text(&app["oldContainerID"])),
            "{status}"
        );
        assert!(
            after["app"].id.ends_with(&text(&app["newContainerID"])),
            "{status}"
        );
        assert_ne!(after["app"].id, before["app"].id);
        // What it compared was what the Pod has.
        let macs = &facts_before.seen.macs;
        assert!(
            macs.contains(&text(&status["sandbox"]["mac"])),
            "{status} {macs:?}"
        );
        assert_told(&cluster, name, name, "RestartedInPlace");
        let ready_for = seconds(&status["completedAt"]) - seconds(&app["startedAt"]);
        assert!(ready_for >= 5, "{status}");
        wait_for("the request being gone", || {
            match object(&cluster, "containerrestart", name) {
                Err(error) if error.contains("NotFound") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    remove(&cluster, &["pod/restart-n1", "pod/restart-n2"]);
}

/// A request that does not wait for long after the start; `strategy` adds to it.
fn quick(strategy: &Value) -> Value {
    let mut spec = json!({"strategy": {"minStartedSeconds": 1}});
    for (key, value) in strategy.as_object().into_iter().flatten() {
        spec["strategy"][key] = value.clone();
    }
    spec
}

#[test]
fn containers_are_stopped_in_order_where_that_is_asked_for_and_at_once_otherwise() {
    let cluster = shared();
    let slow = |name: &str| {
        let mut container = container(name, FOREVER);
        container["lifecycle"] = json!({"postStart": {"exec": {"command": ["sleep", "5"]}}});
        container
    };
    let one = [container("app", FOREVER), slow("second")];
    let other = [slow("app"), container("second", FOREVER)];
    apply_pod(&cluster, "at-once", "n2", &one, &json!({}));
    apply_pod(&cluster, "ordered", "n1", &other, &json!({}));
    for name in ["at-once", "ordered"] {
        wait_ready(&cluster, name, "");
        let spec = quick(&json!({"ordered": name == "ordered"}));
        ask(&cluster, name, name, &["app", "second"], &spec);
    }
    let status = wait_succeeded(&cluster, "at-once");
    let killed = [0, 1].map(|index| seconds(&status["containers"][index]["killedAt"]));
    assert!(killed[0].abs_diff(killed[1]) < 3, "{status}");
    let status = wait_succeeded(&cluster, "ordered");
    let [first, second] = [0, 1].map(|index| &status["containers"][index]);
    let apart = seconds(&second["killedAt"]) - seconds(&first["startedAt"]);
    assert!(apart >= 5, "{status}");
    remove(
        &cluster,
        &["pod/at-once", "pod/ordered", "crst/at-once", "crst/ordered"],
    );
}

/// A Pod with a hook, and a request for it.
struct Hooked {
    name: &'static str,
    node: &'static str,
    /// A command of eight seconds, or a sleep of four.
    is_command: bool,
    grace_seconds: Option<u32>,
    /// How many seconds its stop takes.
    takes: Range<u64>,
}

const HOOKED: [Hooked; 3] = [
    Hooked {
        name: "hook-long",
        node: "n1",
        is_command: true,
        grace_seconds: None,
        takes: 8..20,
    },
    Hooked {
        name: "hook-cut",
        node: "n2",
        is_command: true,
        grace_seconds: Some(3),
        takes: 3..8,
    },
    Hooked {
        name: "hook-sleep",
        node: "n1",
        is_command: false,
        grace_seconds: None,
        takes: 4..12,
    },
];

#[test]
fn hooks_run_inside_the_grace_period_and_nothing_is_stopped_after_the_deadline() {
    let cluster = shared();
    let sleeps = json!({"exec": {"command": ["sleep", "8"]}});
    let rests = json!({"sleep": {"seconds": 4}});
    for it in HOOKED {
        let hook = if it.is_command { &sleeps } else { &rests };
        apply_pod(&cluster, it.name, it.node, &[hooked(hook)], &json!({}));
    }
    apply_pod(&cluster, "hook-late", "n2", &[hooked(&sleeps)], &json!({}));
    let asks = json!({"httpGet": {"path": "/bye", "port": 7000}});
    let mut listener = container("listener", LISTENER);
    listener["readinessProbe"] = json!({"tcpSocket": {"port": 7000}, "periodSeconds": 1});
    let get = [hooked(&asks), listener];
    apply_pod(&cluster, "hook-get", "n2", &get, &json!({}));
    for it in HOOKED {
        wait_ready(&cluster, it.name, "");
        let mut grace = json!({});
        if let Some(seconds) = it.grace_seconds {
            grace["terminationGracePeriodSeconds"] = seconds.into();
        }
        ask(&cluster, it.name, it.name, &["app"], &quick(&grace));
    }
    for name in ["hook-late", "hook-get"] {
        wait_ready(&cluster, name, "");
    }
    let plain = quick(&json!({}));
    ask(&cluster, "hook-get", "hook-get", &["app"], &plain);
    let mut late = quick(&json!({}));
    late["activeDeadlineSeconds"] = 3.into();
    ask(&cluster, "hook-late", "hook-late", &["app"], &late);

    // The deadline comes in the middle of the hook: TERM is never sent, and a later request is the first that restarts it.
    let status = wait_failed(&cluster, "hook-late", "DeadlineExceeded");
    let message = text(&status["message"]);
    assert!(message.contains("nothing more is stopped"), "{status}");
    ask(&cluster, "hook-late-again", "hook-late", &["app"], &plain);
    for it in HOOKED {
        let status = wait_succeeded(&cluster, it.name);
        let took = stop_took(&cluster, &status, it.name);
        assert!(it.takes.contains(&took), "{}: {took} s", it.name);
    }
    wait_succeeded(&cluster, "hook-get");
    let asked = exec_in(&cluster, "hook-get", "listener", &["cat", "/tmp/asked"]);
    assert!(asked.contains("GET /bye HTTP/1.1"), "{asked}");
    wait_succeeded(&cluster, "hook-late-again");
    assert_eq!(containers(&cluster, "hook-late")["app"].restarts, 1);
    cluster
        .kubectl(&["delete", "crst", "--all", "--wait=false"])
        .unwrap();
    let names = HOOKED.map(|it| format!("pod/{}", it.name));
    remove(&cluster, &names.each_ref().map(String::as_str));
    remove(&cluster, &["pod/hook-late", "pod/hook-get"]);
}
