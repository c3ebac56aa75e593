//! What everything else depends on, shown on a real kubelet and a real agent: the rules by which fake nodes (`tests/fake-node`) are kept.

use std::time::Duration;

use serde_json::{Value, json};
use tests_testbed::{Cluster, Pending, wait_patiently};

use super::{BAD, V1, V2};
use crate::seen::{container, pod, remove};

/// One Pod with everything, one whose container ends by itself, and one with an image that nobody has.
const CHANGED: &str = "rules-changed";
const CRASHES: &str = "rules-crashes";
const REFUSED: &str = "rules-refused";

/// Longer than two looks take on a busy machine.
const STOP_SECONDS: u32 = 8;

/// A gate of somebody who never says anything.
const OTHER_GATE: &str = "example.com/other";

const FOREVER: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";

/// Kubelet's second start of a container is at once, its third ten seconds after the second's end.
const DEADLINE: Duration = Duration::from_secs(240);

fn create_pods(cluster: &Cluster) {
    let on_n1 = json!({"kubernetes.io/hostname": "n1"});
    let stops =
        format!("trap 'sleep {STOP_SECONDS}; exit 0' TERM; while :; do sleep 3600 & wait; done");
    let mut sidecar = container("sidecar", FOREVER);
    sidecar["restartPolicy"] = json!("Always");
    let mut changed = pod(
        CHANGED,
        &json!({
            "nodeSelector": on_n1, "terminationGracePeriodSeconds": 30,
            "readinessGates": [{"conditionType": "berth.dev/ServiceReady"}, {"conditionType": OTHER_GATE}],
            "initContainers": [container("first", "true"), sidecar],
            "containers": [container("app", &stops), container("side", FOREVER)],
        }),
    );
    changed["metadata"]["annotations"] = json!({"berth.dev/report-containers": "true"});
    let crashes = json!({"nodeSelector": on_n1, "containers": [container("app", "exit 1")]});
    // Its hook takes longer than the whole grace period.
    let mut hooked = container(
        "app",
        "trap 'exit 7' TERM; while :; do sleep 3600 & wait; done",
    );
    hooked["lifecycle"] = json!({"preStop": {"exec": {"command": ["sleep", "60"]}}});
    hooked["imagePullPolicy"] = json!("IfNotPresent");
    let mut refused = pod(
        REFUSED,
        &json!({"nodeSelector": on_n1, "terminationGracePeriodSeconds": 3, "containers": [hooked]}),
    );
    refused["metadata"]["finalizers"] = json!(["example.com/kept"]);
    for pod in [changed, pod(CRASHES, &crashes), refused] {
        cluster.apply(&pod.to_string()).unwrap();
    }
}

/// kubelet and the agent keep the rules by which fake nodes are kept.
pub(super) fn are_kept(cluster: &Cluster) {
    create_pods(cluster);
    ready_needs_every_gate(cluster);
    another_image_replaces_its_container_alone(cluster);
    sidecars_run_anew_and_init_containers_do_not(cluster);
    image_that_nobody_has_is_found_after_the_stop(cluster);
    crashes_are_backed_off(cluster);
    deleted_pod_ends_and_its_object_stays_for_its_finalizers(cluster);
    remove(cluster, &["pod/rules-changed", "pod/rules-crashes"]);
}

fn get(cluster: &Cluster, name: &str) -> Result<Value, Pending> {
    let asked = cluster.kubectl_json(&["get", "pod", name]);
    asked.map_err(|error| Pending::because(format!("{error:#}")))
}

/// Waits until a Pod is so; the Pod.
fn wait_pod(cluster: &Cluster, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let waited = wait_patiently(&format!("{name}: {what}"), DEADLINE, || {
        let pod = get(cluster, name)?;
        if is(&pod) {
            return Ok(pod);
        }
        Err(Pending::because(&pod["status"]))
    });
    waited.unwrap()
}

/// What kubelet says of one container, of whichever kind.
fn status<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = ["containerStatuses", "initContainerStatuses"];
    let mut all = all
        .iter()
        .filter_map(|kind| pod["status"][kind].as_array())
        .flatten();
    all.find(|it| it["name"] == name).unwrap_or(&Value::Null)
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    let all = pod["status"]["conditions"].as_array();
    let found = all.and_then(|all| all.iter().find(|it| it["type"] == kind));
    found.unwrap_or(&Value::Null)
}

/// What the agent says of one container.
fn report(pod: &Value, name: &str) -> Value {
    let text = pod["metadata"]["annotations"]["berth.dev/containers"].as_str();
    let all: Value = serde_json::from_str(text.unwrap_or("{}")).unwrap();
    all[name].clone()
}

fn patch(cluster: &Cluster, name: &str, patch: &Value, words: &[&str]) {
    let patch = patch.to_string();
    let all = [&["patch", "pod", name, "--patch", &patch], words].concat();
    cluster.kubectl(&all).unwrap();
}

fn set_image(cluster: &Cluster, name: &str, kind: &str, container: &str, image: &str) {
    let spec = json!({"spec": {kind: [{"name": container, "image": image}]}});
    patch(cluster, name, &spec, &[]);
}

fn ready_needs_every_gate(cluster: &Cluster) {
    let pod = wait_pod(
        cluster,
        CHANGED,
        "containers ready, and the agent's gate",
        |pod| {
            condition(pod, "ContainersReady")["status"] == "True"
                && condition(pod, "berth.dev/ServiceReady")["status"] == "True"
                && report(pod, "app")["id"].is_string()
        },
    );
    // kubelet writes no condition of a gate; one that is not there counts as False.
    assert!(condition(&pod, OTHER_GATE).is_null(), "{pod}");
    assert_eq!(condition(&pod, "Ready")["status"], "False", "{pod}");
    assert_eq!(condition(&pod, "Ready")["reason"], "ReadinessGatesNotReady");
    let gate = json!({"status": {"conditions": [{"type": OTHER_GATE, "status": "True"}]}});
    patch(cluster, CHANGED, &gate, &["--subresource=status"]);
    wait_pod(cluster, CHANGED, "ready with every gate", |pod| {
        condition(pod, "Ready")["status"] == "True"
    });
}

fn another_image_replaces_its_container_alone(cluster: &Cluster) {
    let before = get(cluster, CHANGED).unwrap();
    let id = |pod: &Value, name: &str| status(pod, name)["containerID"].clone();
    set_image(cluster, CHANGED, "containers", "app", V2);
    let mut stopping = 0;
    let waited = wait_patiently("the new container, with its report", DEADLINE, || {
        let pod = get(cluster, CHANGED)?;
        let app = status(&pod, "app");
        if id(&pod, "app") == id(&before, "app") && !app["state"]["running"].is_null() {
            // It is being stopped, and is as ready as before until it has ended.
            assert_eq!(app["ready"], true, "{app}");
            stopping += 1;
        }
        let said = report(&pod, "app");
        let anew = id(&pod, "app") != id(&before, "app") && app["ready"] == true;
        if anew && said["desired"] == said["reported"] && said["id"] != report(&before, "app")["id"]
        {
            return Ok(pod);
        }
        Err(Pending::because(&pod["status"]["containerStatuses"]))
    });
    let after = waited.unwrap();
    assert!(stopping > 0, "the stop took less than a look");
    assert_eq!(status(&after, "app")["restartCount"], 1);
    for name in ["side", "sidecar", "first"] {
        assert_eq!(id(&after, name), id(&before, name), "{name}");
        assert_eq!(status(&after, name)["restartCount"], 0, "{name}");
    }
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["status"]["podIPs"], before["status"]["podIPs"]);
    let sandbox = |pod: &Value| report(pod, "app")["sandbox"].clone();
    assert_eq!(sandbox(&after), sandbox(&before));
    assert!(sandbox(&after).is_string(), "{after}");
}

fn sidecars_run_anew_and_init_containers_do_not(cluster: &Cluster) {
    let before = get(cluster, CHANGED).unwrap();
    set_image(cluster, CHANGED, "initContainers", "first", V2);
    set_image(cluster, CHANGED, "initContainers", "sidecar", V2);
    let after = wait_pod(cluster, CHANGED, "its sidecar anew", |pod| {
        let now = status(pod, "sidecar");
        now["restartCount"] == 1 && !now["state"]["running"].is_null()
    });
    for name in ["first", "app", "side"] {
        assert_eq!(
            status(&after, name)["containerID"],
            status(&before, name)["containerID"],
            "{name}"
        );
    }
}

fn image_that_nobody_has_is_found_after_the_stop(cluster: &Cluster) {
    let before = wait_pod(cluster, REFUSED, "running", |pod| {
        !status(pod, "app")["state"]["running"].is_null()
    });
    set_image(cluster, REFUSED, "containers", "app", BAD);
    let down = wait_pod(cluster, REFUSED, "its image being refused again", |pod| {
        status(pod, "app")["state"]["waiting"]["reason"] == "ImagePullBackOff"
    });
    let ended = &status(&down, "app")["lastState"]["terminated"];
    assert_eq!(ended["containerID"], status(&before, "app")["containerID"]);
    // The hook had taken the whole grace period, and TERM came all the same.
    assert_eq!(ended["exitCode"], 7, "{ended}");
    set_image(cluster, REFUSED, "containers", "app", V1);
    let up = wait_pod(cluster, REFUSED, "running again", |pod| {
        !status(pod, "app")["state"]["running"].is_null()
    });
    assert_eq!(up["status"]["podIPs"], before["status"]["podIPs"]);
}

fn crashes_are_backed_off(cluster: &Cluster) {
    let pod = wait_pod(cluster, CRASHES, "started for the third time", |pod| {
        let app = status(pod, "app");
        app["restartCount"].as_u64() >= Some(2) && !app["lastState"]["terminated"].is_null()
    });
    // Its second run is the last one but for the third, unless there was a fourth.
    if status(&pod, "app")["restartCount"] == 2 {
        let app = status(&pod, "app");
        let second = seconds(&app["lastState"]["terminated"]["finishedAt"]);
        let state = &app["state"];
        let third = [&state["running"], &state["terminated"]];
        let third = third.into_iter().find(|it| !it.is_null());
        if let Some(third) = third {
            let pause = seconds(&third["startedAt"]) - second;
            assert!(pause >= 9, "the third start came after {pause} s: {app}");
        }
    }
    wait_pod(cluster, CRASHES, "kept down", |pod| {
        status(pod, "app")["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    });
}

/// Of a time of the API, within a day.
fn seconds(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_default();
    let clock = text.get(11..19).unwrap_or_default().split(':');
    clock.fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap())
}

fn deleted_pod_ends_and_its_object_stays_for_its_finalizers(cluster: &Cluster) {
    remove(cluster, &["pod/rules-refused"]);
    let ended = wait_pod(cluster, REFUSED, "ended", |pod| {
        !status(pod, "app")["state"]["terminated"].is_null()
            && ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or(""))
    });
    assert!(ended["metadata"]["deletionTimestamp"].is_string());
    let none = json!({"metadata": {"finalizers": null}});
    patch(cluster, REFUSED, &none, &["--type=merge"]);
    let waited = wait_patiently("the object being gone", DEADLINE, || {
        let words = ["get", "pods", "--output=name"];
        let all = cluster.kubectl(&words);
        let all = all.map_err(|error| Pending::because(format!("{error:#}")))?;
        if all.contains(REFUSED) {
            return Err(Pending::because(all));
        }
        Ok(())
    });
    waited.unwrap();
}
